//! Key figures of a trial: a table of names, units and words, which every report reads.

use super::{CapacityReport, GoalReport, OutcomeWord, TrialReport};
use crate::search::Figures;
use crate::values::{Unit, Value};

/// A key figure of a trial.
pub(in crate::report) struct KeyFigure {
    /// Its key in `capacity.json`, and its column in `capacity.csv`.
    pub name: &'static str,
    pub unit: Unit,
    /// Its meaning, in a line: the schema's, which is made by a test.
    #[cfg_attr(not(test), expect(dead_code, reason = "the schema is made by a test"))]
    pub help: &'static str,
    pub of: fn(&Figures) -> Value,
}

const fn key(name: &'static str, unit: Unit, help: &'static str, of: fn(&Figures) -> Value) -> KeyFigure {
    KeyFigure { name, unit, help, of }
}

fn count(n: u64) -> Value {
    Value::Number(n as f64)
}

/// All key figures, in the order of the files.
pub(in crate::report) const FIGURES: [KeyFigure; 19] = [
    key("rtt_p50_ms", Unit::Ms, "median round trip", |f| f.rtt_p50_ms),
    key("rtt_p95_ms", Unit::Ms, "95th percentile of the round trip", |f| f.rtt_p95_ms),
    key("rtt_p99_ms", Unit::Ms, "99th percentile of the round trip", |f| f.rtt_p99_ms),
    key("turn_response_p50_ms", Unit::Ms, "median response of a conversation's turns", |f| {
        f.turn_response_p50_ms
    }),
    key("turn_response_p95_ms", Unit::Ms, "95th percentile of the response of a conversation's turns", |f| {
        f.turn_response_p95_ms
    }),
    key("turn_response_mean_ms", Unit::Ms, "mean response of a conversation's turns", |f| {
        f.turn_response_mean_ms
    }),
    key("loss_ratio", Unit::Ratio, "packets lost, of those sent", |f| f.loss_ratio),
    key("srd_p50_ms", Unit::Ms, "median session request delay", |f| f.srd_p50_ms),
    key("srd_p95_ms", Unit::Ms, "95th percentile of the session request delay", |f| f.srd_p95_ms),
    key("srd_p99_ms", Unit::Ms, "99th percentile of the session request delay", |f| f.srd_p99_ms),
    key("send_lateness_p99_ms", Unit::Ms, "99th percentile of the driver's send lateness", |f| {
        f.send_lateness_p99_ms
    }),
    key("asterisk_cores", Unit::Cores, "CPU of Asterisk", |f| f.asterisk_cores),
    key("service_cores", Unit::Cores, "CPU of the service", |f| f.service_cores),
    key("driver_cores", Unit::Cores, "CPU of the driver", |f| f.driver_cores),
    key("machine_cores", Unit::Count, "cores of the machine", |f| count(f.machine_cores.into())),
    key("offered", Unit::Count, "attempts that the schedule wanted", |f| count(f.offered)),
    key("carried", Unit::Count, "of these, calls that were answered", |f| count(f.carried)),
    key("suppressed", Unit::Count, "attempts that could not be placed", |f| count(f.suppressed)),
    key(
        "calls_lost",
        Unit::Count,
        "attempts without an answer, calls that ended before their time or were silent",
        |f| count(f.calls_lost),
    ),
];

/// Median over the trials that count at each load, in the order of loads; `None` where one had no number.
pub(in crate::report) fn medians(
    report: &CapacityReport,
    of: impl Fn(&TrialReport) -> Option<f64>,
) -> Vec<(f64, Option<f64>)> {
    let mut trials: Vec<_> = report.trials.iter().filter(|trial| !trial.is_void()).collect();
    trials.sort_by(|a, b| a.load.total_cmp(&b.load));
    let at_load = |trials: &[&TrialReport]| {
        let mut values: Option<Vec<f64>> = trials.iter().map(|trial| of(trial)).collect();
        values.as_mut().and_then(|values| middle(values))
    };
    trials.chunk_by(|a, b| a.load == b.load).map(|trials| (trials[0].load, at_load(trials))).collect()
}

/// Median over the trials that were good for a goal at its lower bound: what calls get that are carried. `None` where one
/// had no number.
pub(in crate::report) fn when_carried(
    report: &CapacityReport,
    goal: &GoalReport,
    of: impl Fn(&TrialReport) -> Option<f64>,
) -> Option<f64> {
    let lower = goal.lower?;
    let was_good = |trial: &&TrialReport| {
        trial.load == lower && trial.outcome(&goal.goal).is_some_and(|o| o.outcome == OutcomeWord::Good)
    };
    let mut values: Vec<f64> = report.trials.iter().filter(was_good).map(of).collect::<Option<_>>()?;
    middle(&mut values)
}

/// Median; of an even number the mean of the two in the middle.
fn middle(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_record() {
        let record = serde_json::to_value(Figures::default()).unwrap();
        let mut names: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        let mut of_table = FIGURES.map(|figure| figure.name).to_vec();
        names.sort_unstable();
        of_table.sort_unstable();
        assert_eq!(of_table, names);
    }

    #[test]
    fn medians_are_of_what_is_there() {
        assert_eq!(middle(&mut []), None);
        assert_eq!(middle(&mut [3.0]), Some(3.0));
        assert_eq!(middle(&mut [9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(middle(&mut [4.0, 1.0]), Some(2.5));
    }
}
