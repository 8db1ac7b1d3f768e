//! Gates that every call must hold.

use super::expression::{Gate, Op};
use super::judge::{Evidence, judge_range, missing};
use super::{GateResult, Interval, Outcome};
use crate::metrics::Readings;
use crate::metrics::per_call::{self, Bounds, PerCall};
use crate::values::{Value, show};

/// A call held against the gate.
struct Judged {
    call: u32,
    value: Value,
    readings: Readings,
    /// `None` where it has no such figure, or one on too few samples.
    outcome: Option<Outcome>,
    /// Samples that it has and those that it needs, where those are fewer.
    missing_samples: Option<(u64, u64)>,
}

/// Judges every call that was answered and measured. Shown is the one that is furthest from holding the gate.
pub(super) fn judge_calls(evidence: &Evidence<'_>, gate: &Gate, metric: &PerCall) -> GateResult {
    let judged = per_call::judged(evidence.summary).map(|call| {
        let value = metric.value(call);
        let is_record = metric.bounds == Bounds::Fixed;
        let readings = evidence.readings(value, is_record, |in_doubt| in_doubt.call_readings(metric, call));
        let (readings, _) = evidence.beside_control(readings, metric.statistic, gate);
        // A packet that never came back is counted, not estimated; other percentiles need their samples.
        let missing_samples = metric.missing_samples(call).filter(|_| value != Value::Lost);
        let has_figure = missing_samples.is_none() && value != Value::NoData;
        let outcome = has_figure.then(|| judge_range(gate.op, gate.bound, readings.range(metric.better)));
        Judged { call: call.call, value, readings, outcome, missing_samples }
    });
    let judged: Vec<_> = judged.collect();
    let beyond = |of: &&Judged| distance(gate, of.value.number().unwrap_or(f64::INFINITY));
    let known = judged.iter().filter(|of| of.value != Value::NoData);
    let Some(worst) = known.max_by(|a, b| beyond(a).total_cmp(&beyond(b))) else {
        let reason = missing(evidence.summary, "no call was answered and measured");
        return GateResult { reason, ..GateResult::without_data(gate) };
    };
    let (outcome, reason) = sum_up(&judged);
    GateResult {
        expression: gate.text.clone(),
        outcome,
        actual: format!("{} (call {})", show(worst.value, metric.unit), worst.call),
        figure: gate.figure(worst.value),
        interval: Interval::of(worst.readings, metric.unit, metric.better),
        reason,
    }
}

/// The outcome over all calls, and why.
fn sum_up(judged: &[Judged]) -> (Outcome, String) {
    let count = |is| judged.iter().filter(|of| of.outcome == Some(is)).count();
    let calls = judged.len();
    match (count(Outcome::Fail), count(Outcome::Inconclusive)) {
        (0, 0) => {}
        (0, open) => return (Outcome::Inconclusive, format!("open for {open} of {calls} calls")),
        (broken, _) => return (Outcome::Fail, format!("broken by {broken} of {calls} calls")),
    }
    if let Some(of) = judged.iter().find(|of| of.value == Value::NoData) {
        return (Outcome::Inconclusive, format!("call {} has no such figure", of.call));
    }
    if let Some((call, (has, needs))) = judged.iter().find_map(|of| Some((of.call, of.missing_samples?))) {
        let reason = format!("call {call} sent {has} packets, {needs} are needed; make the calls longer");
        return (Outcome::Inconclusive, reason);
    }
    (Outcome::Pass, String::new())
}

/// Distance of a value from the gate's bound, on the wrong side; negative on the right one.
fn distance(gate: &Gate, value: f64) -> f64 {
    match gate.op {
        Op::Less | Op::AtMost => value - gate.bound,
        Op::More | Op::AtLeast => gate.bound - value,
        Op::Equal => (value - gate.bound).abs(),
        Op::Differs => -(value - gate.bound).abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{DISTURBED, QUIET, Second, run, seconds, summary, verdict};
    use super::*;
    use crate::metrics::{Summary, summarize};
    use crate::record::{CallRecord, Ending, Quantile};

    /// Calls that sent and lost so many packets.
    fn calls(sent_and_lost: &[(u64, u64)]) -> Summary {
        let mut s = summary(&[QUIET; 12]);
        s.calls = (0..)
            .zip(sent_and_lost)
            .map(|(n, (sent, lost))| {
                let mut call = CallRecord { call: n, line: n, ..CallRecord::default() };
                (call.sent, call.lost, call.received, call.ending) =
                    (*sent, *lost, sent - lost, Ending::Completed);
                call.rtt_p95_ms = if lost * 20 <= *sent { Quantile::At(5_000_000) } else { Quantile::Lost };
                call
            })
            .collect();
        s
    }

    #[test]
    fn one_dead_call_cannot_hide_in_the_average() {
        let s = calls(&[(5000, 2), (5000, 5000), (5000, 7)]);
        let v = verdict(&s, &["every call: loss.ratio < 1%"]);
        assert_eq!(v.outcome, Outcome::Fail);
        assert_eq!(
            (v.gates[0].actual.as_str(), v.gates[0].reason.as_str()),
            ("100 % (call 1)", "broken by 1 of 3 calls")
        );
        let v = verdict(&s, &["every call: rtt.p95 < 60s"]);
        assert_eq!((v.outcome, v.gates[0].actual.as_str()), (Outcome::Fail, "lost (call 1)"));
        let v = verdict(
            &calls(&[(5000, 2), (5000, 7)]),
            &["every call: loss.count <= 7", "every call: packets.sent >= 5000"],
        );
        assert_eq!(v.outcome, Outcome::Pass);
        assert_eq!(v.gates[0].actual, "7 (call 1)");
    }

    #[test]
    fn calls_without_data_or_samples_never_pass() {
        assert_eq!(verdict(&calls(&[]), &["every call: loss.ratio < 1%"]).outcome, Outcome::Inconclusive);
        assert_eq!(
            verdict(&calls(&[(5000, 0)]), &["every call: jitter < 1s"]).outcome,
            Outcome::Inconclusive
        );
        let few = verdict(&calls(&[(5000, 0), (1999, 0)]), &["every call: rtt.p95 < 1s"]);
        assert_eq!(few.outcome, Outcome::Inconclusive);
        assert!(few.gates[0].reason.contains("call 1 sent 1999 packets, 2000"), "{}", few.gates[0].reason);
    }

    #[test]
    fn calls_have_readings_of_their_own() {
        let s = summary(&seconds(20, QUIET, 10, DISTURBED));
        // Nobody's packets were later than the latest.
        let gates = ["every call: rtt.p95 < 11ms", "every call: rtt.p95 < 8ms", "every call: rtt.p95 < 1ms"];
        let v = verdict(&s, &gates);
        let outcomes: Vec<_> = v.gates.iter().map(|gate| gate.outcome).collect();
        assert_eq!(outcomes, [Outcome::Pass, Outcome::Inconclusive, Outcome::Inconclusive]);
        assert_eq!(v.gates[1].reason, "open for 1 of 1 calls");
        assert_eq!(v.gates[1].interval.unwrap().to_string(), "best unknown … worst 10.001 ms");
        let mut r = run(&[Second { lost: 40, ..QUIET }; 12]);
        r.environment.unsent = 100;
        let v = verdict(&summarize(r), &["every call: loss.count < 400", "every call: loss.count < 350"]);
        assert_eq!((v.gates[0].outcome, v.gates[1].outcome), (Outcome::Inconclusive, Outcome::Fail));
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "best 380 … worst 480");
    }
}
