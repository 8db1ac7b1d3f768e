//! The metrics that are known before a run's end, from what has been counted so far.

use super::catalogue::LATENCIES;
use super::summarize::{latency, number, plain, ratio};
use super::{Definition, Metric};
pub use crate::record::Live;
use crate::values::Value;

/// How a metric may change while the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It can only grow.
    Grows,
    /// It may rise and fall.
    Varies,
}

/// The metric as it stands, and how it may change; `None` where it is known only at the end: because it
/// is a matter of whole calls, of what was left behind, or of the whole run.
pub fn metric(live: &Live, definition: &'static Definition) -> Option<(Metric, Course)> {
    let counted = |n: u64| (number(n), Course::Grows);
    let packets = |n: u64| if live.sent == 0 { (Value::NoData, Course::Grows) } else { counted(n) };
    let (value, course) = match definition.name {
        "loss.count" => packets(live.lost),
        "loss.ratio" => (ratio(live.lost, live.sent), Course::Varies),
        "late.count" => packets(live.late),
        "late.ratio" => (ratio(live.late, live.sent), Course::Varies),
        "calls.answered" => (ratio(live.answered, live.answered + live.failed), Course::Varies),
        "calls.answered_count" => counted(live.answered),
        "calls.failed_count" => counted(live.failed),
        "calls.dropped_count" => counted(live.dropped),
        "calls.media_lost_count" => counted(live.media_lost),
        "calls.suppressed_count" => counted(live.suppressed),
        "rtt.min" => return None,
        name => {
            let [rtt, ..] = &LATENCIES;
            let course = if name == "rtt.max" { Course::Grows } else { Course::Varies };
            let known = latency(rtt, &live.rtt, live.lost).find(|m| m.name() == name);
            return known.map(|metric| (metric, course));
        }
    };
    Some((plain(definition, value), course))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue;

    fn at(live: &Live, name: &str) -> Option<(Metric, Course)> {
        metric(live, catalogue::all().find(|d| d.name == name).unwrap())
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
