//! The table of metrics: every one's name, unit, definition and computation, in the order of reports.

use super::counts::{CALLS, FAULTS, LEAKS, MACHINE, SERVICE_COUNTS, SERVICE_TIMES, TRAFFIC};
pub use super::latencies::{LATENCIES, SIGNALLING};
use super::metric::Definition;
use super::quality::{QUALITY_COUNTS, QUALITY_SCORES};
use super::registrations::{REGISTER_TIMES, REGISTRATIONS};
use super::signals::{SIGNAL_COUNTS, SIGNAL_TIMES};
use super::turns::TURN_COUNTS;
pub use super::turns::TURN_TIMES;

/// Counts, ratios and single figures.
pub fn counts() -> impl Iterator<Item = &'static Definition> {
    let service = SERVICE_TIMES.iter().flatten().chain(&SERVICE_COUNTS);
    let registrations = REGISTRATIONS.iter().chain(REGISTER_TIMES.iter());
    CALLS
        .iter()
        .chain(registrations)
        .chain(&TURN_COUNTS)
        .chain(TURN_TIMES.iter().flatten())
        .chain(&SIGNAL_COUNTS)
        .chain(SIGNAL_TIMES.iter())
        .chain(&QUALITY_SCORES)
        .chain(&QUALITY_COUNTS)
        .chain(service)
        .chain(&TRAFFIC)
        .chain(&MACHINE)
        .chain(&FAULTS)
        .chain(&LEAKS)
}

/// Every metric there is.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    counts().chain(SIGNALLING.iter().flatten()).chain(LATENCIES.iter().flatten())
}

/// The metric of a name.
pub fn find(name: &str) -> Option<&'static Definition> {
    all().find(|definition| definition.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Course, Metric, Statistic};
    use crate::record::{Live, Series};
    use crate::values::Value;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_say_their_series_and_statistic() {
        let names: HashSet<_> = all().map(|d| d.name).collect();
        assert_eq!(names.len(), all().count());
        assert_eq!(Series::ALL.len(), LATENCIES.len());
        for (series, block) in Series::ALL.iter().zip(LATENCIES.iter()) {
            for (definition, statistic) in block.iter().zip(Statistic::ALL) {
                assert_eq!(definition.name, format!("{}.{}", series.name(), statistic.key()));
            }
        }
        for definition in all() {
            let Some(statistic) = definition.statistic() else { continue };
            assert!(definition.name.ends_with(statistic.key()), "{}", definition.name);
        }
    }

    fn at(live: &Live, name: &str) -> Option<(Metric, Course)> {
        find(name).unwrap().so_far(live)
    }

    #[test]
    fn what_is_known_before_the_end_is_what_it_will_be() {
        let mut live = Live { sent: 20_000, lost: 100, late: 40, answered: 9, failed: 1, ..Live::default() };
        (0..19_900).for_each(|n| live.rtt.record(1_000_000 + n * 1000));
        let value = |name| at(&live, name).map(|(m, _)| m.value);
        assert_eq!(value("loss.ratio"), Some(Value::Number(0.005)));
        assert_eq!(value("late.count"), Some(Value::Number(40.0)));
        assert_eq!(value("calls.answered"), Some(Value::Number(0.9)));
        assert_eq!(value("rtt.max"), Some(Value::Lost));
        let (p99, course) = at(&live, "rtt.p99").unwrap();
        assert_eq!((p99.samples, p99.too_few, course), (Some(20_000), false, Course::Varies));
        assert!(p99.value.number().is_some_and(|ms| (ms - 20.8).abs() < 0.05), "{p99}");
        assert!(at(&live, "rtt.p99.9").unwrap().0.too_few);
        for name in ["leaks.total", "srd.p99", "jitter.max", "packets.sent", "up.p99", "rtt.min"] {
            assert_eq!(value(name), None, "{name}");
        }
    }

    #[test]
    fn nothing_counted_is_no_data() {
        let live = Live::default();
        for name in ["loss.ratio", "loss.count", "late.ratio", "calls.answered", "rtt.p50", "rtt.max"] {
            assert_eq!(at(&live, name).unwrap().0.value, Value::NoData, "{name}");
        }
    }
}
