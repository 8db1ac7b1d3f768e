//! Summary and gates → verdict.
//!
//! A run that broke, was interrupted, or whose clock was set is inconclusive, whatever its gates say.
//! Otherwise a failed gate outranks an inconclusive one, and that a pass.

use super::doubt::{Doubt, Extent, doubt};
use super::expression::{Gate, Op, Subject};
use super::{GateResult, Interval, Limits, Outcome, Verdict};
use crate::metrics::per_call::{CallValue, PerCall};
use crate::metrics::{Definition, Group, InDoubt, Metric, Readings, RestsOn, Statistic, Summary};
use crate::record::{CallRecord, EndedEarly};
use crate::values::{Value, show};

/// Judges a run.
pub fn judge(summary: &Summary, gates: &[Gate], limits: &Limits) -> Verdict {
    let mut doubt = doubt(summary, limits);
    let evidence = Evidence::of(summary, &doubt);
    let gates: Vec<_> = gates.iter().map(|gate| evidence.judge(gate)).collect();
    let any = |outcome| gates.iter().any(|g| g.outcome == outcome);
    let outcome = if any(Outcome::Fail) {
        Outcome::Fail
    } else if any(Outcome::Inconclusive) || doubt.extent == Extent::Everything {
        Outcome::Inconclusive
    } else if let Some(early) = &summary.environment.ended_early {
        // Judged by other gates than those it was run with.
        doubt.reasons.push(format!("the run was not held as long as planned: {} was {early}", early.gate));
        Outcome::Inconclusive
    } else if summary.metric("packets.sent").is_none_or(|m| m.value == Value::Number(0.0)) {
        doubt.reasons.push("no packet was measured".into());
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    Verdict { outcome, gates, doubt }
}

/// A run's figures, with the readings that its doubt allows.
pub(super) struct Evidence<'a> {
    summary: &'a Summary,
    extent: Extent,
    in_doubt: Option<InDoubt<'a>>,
}

impl<'a> Evidence<'a> {
    pub fn of(summary: &'a Summary, doubt: &'a Doubt) -> Evidence<'a> {
        let in_doubt = (doubt.extent == Extent::Limits).then(|| InDoubt::of(summary, doubt.enough_quiet()));
        Evidence { summary, extent: doubt.extent, in_doubt }
    }

    fn judge(&self, gate: &Gate) -> GateResult {
        let result = match gate.subject {
            Subject::Run(definition) => self.judge_run(gate, definition),
            Subject::EveryCall(metric) => self.judge_calls(gate, metric),
        };
        match &self.summary.environment.ended_early {
            Some(early) if early.gate == gate.text => ended_by(result, early),
            _ => result,
        }
    }

    fn judge_run(&self, gate: &Gate, definition: &Definition) -> GateResult {
        let Some(metric) = self.summary.metric(definition.name) else {
            return GateResult::without_data(gate);
        };
        let (readings, slow) = self.readings(metric, gate.op, gate.bound);
        let (outcome, reason) = judge_metric(gate.op, gate.bound, metric, &readings);
        let reason = match slow {
            Some(control) if outcome == Outcome::Inconclusive && reason.is_empty() => {
                machine_is_slow(control)
            }
            _ => reason,
        };
        GateResult {
            expression: gate.text.clone(),
            outcome,
            actual: metric.to_string(),
            interval: Interval::of(readings, definition.unit),
            reason,
        }
    }

    /// Readings of a metric, and the statistic of the control stream that leaves a bound from above
    /// without a best reading.
    pub fn readings(&self, metric: &Metric, op: Op, bound: f64) -> (Readings, Option<&Metric>) {
        let readings = match (self.extent, &self.in_doubt) {
            (Extent::Nothing, _) => Readings::exactly(metric.value),
            (_, Some(in_doubt)) => in_doubt.readings(metric),
            (Extent::Packets, _) if metric.definition.rests_on == RestsOn::Records => {
                Readings::exactly(metric.value)
            }
            _ => Readings::UNBOUNDED,
        };
        let is_of_packets = metric.definition.group == Group::Packets;
        let slow = metric.definition.statistic.filter(|_| is_of_packets);
        self.slow_machine(slow, op, bound, readings)
    }

    /// A machine that cannot echo to itself in time proves nothing about Asterisk: where the control stream's
    /// own statistic breaks a bound from above, nothing bounds the best reading.
    fn slow_machine(
        &self,
        statistic: Option<Statistic>,
        op: Op,
        bound: f64,
        readings: Readings,
    ) -> (Readings, Option<&Metric>) {
        let control = statistic.and_then(|of| self.summary.metric(&format!("control.{}", of.key())));
        let control = control.filter(|control| breaks_from_above(op, bound, control.value));
        let best = if control.is_some() { None } else { readings.best };
        (Readings { best, ..readings }, control)
    }

    /// Every call that was answered and measured must hold the gate. Shown is the one that is furthest from
    /// doing so.
    fn judge_calls(&self, gate: &Gate, metric: &PerCall) -> GateResult {
        let judged = metric.values(self.summary, |call, value| self.call_readings(gate, metric, call, value));
        let number = |of: &CallValue| of.value.number().unwrap_or(f64::INFINITY);
        let furthest =
            |a: &&CallValue, b: &&CallValue| distance(gate, number(a)).total_cmp(&distance(gate, number(b)));
        let known = || judged.iter().filter(|of| of.value != Value::NoData);
        let Some(worst) = known().max_by(furthest) else {
            let reason = "no call was answered and measured".into();
            return GateResult { reason, ..GateResult::without_data(gate) };
        };
        let (outcome, reason) = judge_values(gate, metric, &judged);
        GateResult {
            expression: gate.text.clone(),
            outcome,
            actual: format!("{} (call {})", show(worst.value, metric.unit), worst.call),
            interval: Interval::of(worst.readings, metric.unit),
            reason,
        }
    }

    fn call_readings(&self, gate: &Gate, metric: &PerCall, call: &CallRecord, value: Value) -> Readings {
        let readings = match (self.extent, &self.in_doubt) {
            (Extent::Nothing, _) => Readings::exactly(value),
            (_, Some(in_doubt)) => in_doubt.call_readings(metric, call),
            _ => Readings::UNBOUNDED,
        };
        self.slow_machine(metric.statistic, gate.op, gate.bound, readings).0
    }
}

/// True if a value breaks a bound from above.
pub(super) fn breaks_from_above(op: Op, bound: f64, value: Value) -> bool {
    let is_broken = match value {
        Value::Number(n) => !op.holds(n, bound),
        Value::Lost => true,
        Value::NoData => false,
    };
    is_broken && matches!(op, Op::Less | Op::AtMost)
}

impl GateResult {
    fn without_data(gate: &Gate) -> GateResult {
        GateResult {
            expression: gate.text.clone(),
            outcome: Outcome::Inconclusive,
            actual: "no data".into(),
            interval: None,
            reason: "nothing was measured".into(),
        }
    }
}

/// A gate that ended its run has failed, whatever it came to in the last packets; in doubt only if every
/// reading says so.
fn ended_by(result: GateResult, early: &EndedEarly) -> GateResult {
    let outcome = match (&result.interval, result.outcome) {
        (None, _) | (_, Outcome::Fail) => Outcome::Fail,
        _ => Outcome::Inconclusive,
    };
    GateResult { outcome, reason: early.to_string(), ..result }
}

fn machine_is_slow(control: &Metric) -> String {
    format!("{} is {control}: this machine alone breaks the bound", control.name())
}

/// Judges one figure by its readings.
pub(super) fn judge_metric(op: Op, bound: f64, metric: &Metric, readings: &Readings) -> (Outcome, String) {
    match metric.value {
        Value::NoData => (Outcome::Inconclusive, "nothing was measured".into()),
        // Losses are counted, not estimated: too few samples do not excuse them.
        value if metric.too_few && value != Value::Lost => (Outcome::Inconclusive, few_samples(metric)),
        _ => (judge_range(op, bound, readings.range(metric.definition.unit)), String::new()),
    }
}

/// Pass if every value from `least` to `most` holds, fail if none does.
fn judge_range(op: Op, bound: f64, (least, most): (f64, f64)) -> Outcome {
    let (least_holds, most_holds) = (op.holds(least, bound), op.holds(most, bound));
    // Between two that hold, or two that do not, lies none that differs, but for (in)equality.
    let is_between = matches!(op, Op::Equal | Op::Differs) && least < bound && bound < most;
    match (least_holds, most_holds) {
        (true, true) if !is_between => Outcome::Pass,
        (false, false) if !is_between => Outcome::Fail,
        _ => Outcome::Inconclusive,
    }
}

/// The outcome over all calls that were answered and measured, and why.
fn judge_values(gate: &Gate, metric: &PerCall, judged: &[CallValue]) -> (Outcome, String) {
    // A packet that never came back is counted, not estimated; other percentiles need their samples.
    let few = |of: &CallValue| of.missing_samples.filter(|_| of.value != Value::Lost);
    let outcome = |of: &CallValue| judge_range(gate.op, gate.bound, of.readings.range(metric.unit));
    let has_figure = |of: &&CallValue| few(of).is_none() && of.value != Value::NoData;
    let count = |is| judged.iter().filter(has_figure).filter(|of| outcome(of) == is).count();
    let calls = judged.len();
    match (count(Outcome::Fail), count(Outcome::Inconclusive)) {
        (0, 0) => {}
        (0, open) => return (Outcome::Inconclusive, format!("open for {open} of {calls} calls")),
        (broken, _) => return (Outcome::Fail, format!("broken by {broken} of {calls} calls")),
    }
    if let Some(of) = judged.iter().find(|of| of.value == Value::NoData) {
        return (Outcome::Inconclusive, format!("call {} has no such figure", of.call));
    }
    if let Some((call, (has, needs))) = judged.iter().find_map(|of| Some((of.call, few(of)?))) {
        let reason = format!("call {call} sent {has} packets, {needs} are needed; make the calls longer");
        return (Outcome::Inconclusive, reason);
    }
    (Outcome::Pass, String::new())
}

/// How far on the wrong side of the gate's bound a value lies; negative on the right side.
fn distance(gate: &Gate, value: f64) -> f64 {
    match gate.op {
        Op::Less | Op::AtMost => value - gate.bound,
        Op::More | Op::AtLeast => gate.bound - value,
        Op::Equal => (value - gate.bound).abs(),
        Op::Differs => -(value - gate.bound).abs(),
    }
}

/// Why a percentile is not judged, and how many samples would do.
fn few_samples(metric: &Metric) -> String {
    let (has, needs) =
        (metric.samples.unwrap_or_default(), metric.definition.samples_needed().unwrap_or_default());
    format!("rests on {has} samples, {needs} are needed; make the run longer or gate a lower percentile")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{DISTURBED, QUIET, Second, run, seconds, summary, verdict};
    use super::*;
    use crate::metrics::summarize;
    use crate::record::{Ending, LeakPart, Leaks, Quantile};
    use crate::values::Unit;

    /// Twelve seconds hold a 99th percentile.
    fn quiet() -> Summary {
        summary(&[QUIET; 12])
    }

    fn outcomes(summary: &Summary, gates: &[&str]) -> Vec<Outcome> {
        verdict(summary, gates).gates.iter().map(|gate| gate.outcome).collect()
    }

    #[test]
    fn gates_hold_or_break() {
        let s = quiet();
        assert_eq!(verdict(&s, &["rtt.p99 < 6ms", "loss.ratio == 0%"]).outcome, Outcome::Pass);
        let broken = verdict(&s, &["rtt.p99 < 6ms", "rtt.p50 < 4ms"]);
        assert_eq!((broken.outcome, broken.doubt.is_any()), (Outcome::Fail, false));
        assert_eq!((broken.gates[1].actual.as_str(), broken.gates[1].interval), ("5.001 ms", None));
        assert_eq!(verdict(&s, &[]).outcome, Outcome::Pass);
    }

    #[test]
    fn lost_is_slower_than_any_bound() {
        let s = summary(&[Second { lost: 100, ..QUIET }; 12]);
        let v = verdict(&s, &["rtt.p99 < 60s"]);
        assert_eq!((v.outcome, v.gates[0].actual.as_str()), (Outcome::Fail, "lost"));
    }

    #[test]
    fn no_data_and_too_few_samples_never_pass() {
        let few = verdict(&summary(&[Second { sent: 500, ..QUIET }]), &["rtt.p99 < 6ms"]);
        assert_eq!(few.outcome, Outcome::Inconclusive);
        assert!(few.gates[0].reason.contains("500 samples, 10000 are needed"), "{:?}", few.gates);
        let mut none = run(&[]);
        none.calls.clear();
        let none = summarize(none);
        let v = verdict(&none, &["loss.ratio < 1%"]);
        assert_eq!((v.outcome, v.gates[0].actual.as_str()), (Outcome::Inconclusive, "no data"));
        assert_eq!(verdict(&none, &[]).outcome, Outcome::Inconclusive);
        assert_eq!(verdict(&none, &["calls.attempts > 0"]).outcome, Outcome::Fail);
    }

    #[test]
    fn gates_that_hold_in_the_worst_reading_pass_and_the_doubt_is_said_once() {
        let s = summary(&seconds(50, QUIET, 10, DISTURBED));
        let v = verdict(&s, &["rtt.p99 < 20ms", "up.p99 < 20ms", "loss.ratio < 1%", "late.ratio < 1%"]);
        assert_eq!(v.outcome, Outcome::Pass, "{v:#?}");
        assert!(
            v.doubt.reasons[0].contains("send_lateness.p99 is 5.001 ms, at most 2.000 ms"),
            "{:?}",
            v.doubt
        );
        assert_eq!(v.doubt.quiet.as_ref().map(|quiet| (quiet.seconds.len(), quiet.of)), Some((50, 60)));
        assert!(v.gates.iter().all(|gate| gate.reason.is_empty()));
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "5.001 … 10.002 ms");
        // A one-way time has no intention; the lateness of the same rank stands in for it.
        assert_eq!(v.gates[1].interval.unwrap().to_string(), "2.501 … 7.502 ms");
        assert_eq!(v.gates[2].interval, None, "both readings agree");
        assert_eq!(verdict(&s, &[]).outcome, Outcome::Pass, "doubt is no verdict");
    }

    #[test]
    fn a_bound_between_the_readings_is_inconclusive() {
        let s = summary(&seconds(50, QUIET, 10, DISTURBED));
        assert_eq!(outcomes(&s, &["rtt.p99 < 8ms", "rtt.p50 < 8ms"]), [Outcome::Inconclusive, Outcome::Pass]);
        // Broken by its value, but not in quiet seconds.
        let slow = Second { rtt_ms: 30.0, ..DISTURBED };
        let s = summary(&seconds(50, QUIET, 10, slow));
        assert_eq!(
            outcomes(&s, &["rtt.p99 < 20ms", "rtt.p99 > 40ms"]),
            [Outcome::Inconclusive, Outcome::Fail]
        );
    }

    #[test]
    fn a_service_that_is_slow_in_quiet_seconds_fails() {
        let slow = |second| Second { rtt_ms: 55.0, ..second };
        let s = summary(&seconds(12, slow(QUIET), 48, slow(DISTURBED)));
        let v = verdict(&s, &["rtt.p50 < 20ms"]);
        assert_eq!((v.outcome, v.doubt.enough_quiet().len()), (Outcome::Fail, 12), "{v:?}");
        // 11 of 60 seconds are less than a fifth.
        let s = summary(&seconds(11, slow(QUIET), 49, slow(DISTURBED)));
        let v = verdict(&s, &["rtt.p50 < 20ms"]);
        assert_eq!(v.outcome, Outcome::Inconclusive);
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "unbounded … 60.031 ms");
        // Enough seconds, but too few packets for the percentile.
        let sparse = |second| Second { sent: 100, ..slow(second) };
        let s = summary(&seconds(60, sparse(QUIET), 60, sparse(DISTURBED)));
        assert_eq!(
            outcomes(&s, &["rtt.p50 < 20ms", "rtt.p99 < 20ms"]),
            [Outcome::Fail, Outcome::Inconclusive]
        );
    }

    #[test]
    fn a_machine_that_breaks_the_bound_alone_fails_nobody() {
        let on_slow = |rtt_ms| summary(&[Second { rtt_ms, control_ms: 1.8, ..QUIET }; 12]);
        let s = on_slow(2.5);
        let v = verdict(&s, &["rtt.p95 < 1ms", "rtt.p95 < 2ms", "rtt.p95 < 3ms", "loss.ratio < 1%"]);
        let outcomes: Vec<_> = v.gates.iter().map(|gate| gate.outcome).collect();
        assert_eq!(outcomes, [Outcome::Inconclusive, Outcome::Fail, Outcome::Pass, Outcome::Pass]);
        assert!(!v.doubt.is_any());
        assert_eq!(v.gates[0].reason, "control.p95 is 1.800 ms: this machine alone breaks the bound");
        assert_eq!(verdict(&on_slow(0.8), &["rtt.p95 < 1ms"]).outcome, Outcome::Pass);
        assert_eq!(verdict(&s, &["every call: rtt.p95 < 1ms"]).outcome, Outcome::Inconclusive);
        assert_eq!(verdict(&s, &["rtt.p95 > 2ms"]).outcome, Outcome::Pass, "no bound from above");
    }

    #[test]
    fn packets_that_the_driver_lost_are_lost_at_worst_and_received_at_best() {
        let mut r = run(&[QUIET; 12]);
        r.environment.skipped = 240;
        let s = summarize(r.clone());
        let v = verdict(&s, &["loss.ratio == 0%", "loss.ratio < 5%", "rtt.p99 < 1s", "rtt.p50 < 1s"]);
        let [none, some, p99, p50] = &v.gates[..] else { panic!() };
        assert_eq!(none.interval.unwrap().to_string(), "0 … 1.96 %");
        assert_eq!((none.outcome, some.outcome), (Outcome::Inconclusive, Outcome::Pass));
        assert_eq!((p99.outcome, p50.outcome), (Outcome::Inconclusive, Outcome::Pass));
        assert!(p99.interval.unwrap().to_string().ends_with("… lost"));
        let lossy = Second { lost: 20, drops: 20, ..QUIET };
        let v = verdict(&summary(&seconds(12, QUIET, 3, lossy)), &["loss.count == 0"]);
        assert_eq!((v.outcome, v.gates[0].actual.as_str()), (Outcome::Inconclusive, "60"));
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "0 … 60");
        let v = verdict(&summary(&seconds(12, QUIET, 3, Second { lost: 30, ..lossy })), &["loss.count == 0"]);
        assert_eq!(v.outcome, Outcome::Fail, "30 of them were lost elsewhere");
    }

    /// With so many channels left behind.
    fn left(seconds: &[Second], channels: u64) -> Summary {
        let mut r = run(seconds);
        let parts = vec![LeakPart::counted("channels", "channels", 0, channels)];
        r.environment.leaks = Leaks { unknown: String::new(), parts };
        summarize(r)
    }

    #[test]
    fn a_late_driver_excuses_no_leak_and_no_call_that_failed() {
        let disturbed = seconds(20, QUIET, 10, DISTURBED);
        let v = verdict(&left(&disturbed, 2), &["leaks == 0", "rtt.p99 < 8ms"]);
        assert_eq!((v.gates[0].outcome, v.gates[1].outcome), (Outcome::Fail, Outcome::Inconclusive));
        assert_eq!(v.outcome, Outcome::Fail);
        let v = verdict(&left(&disturbed, 0), &["leaks == 0", "calls.answered == 100%"]);
        assert_eq!(v.outcome, Outcome::Pass);
    }

    #[test]
    fn a_run_that_broke_or_whose_clock_was_set_is_inconclusive_whatever_its_gates_say() {
        let gates = &["leaks == 0", "rtt.p50 < 1s", "rtt.p50 > 1s"];
        let changed = |change: fn(&mut Summary)| {
            let mut s = left(&[QUIET; 12], 2);
            change(&mut s);
            verdict(&s, gates)
        };
        for v in [
            changed(|s| s.environment.broken = "Asterisk ended".into()),
            changed(|s| s.environment.interrupted = true),
            changed(|s| s.environment.negative_rtt = 1),
            changed(|s| s.environment.clock_step_ns = 2_000_000),
            changed(|s| s.environment.faults_undone = 1),
        ] {
            assert_eq!(v.outcome, Outcome::Inconclusive, "{v:?}");
            assert!(v.gates.iter().all(|gate| gate.outcome == Outcome::Inconclusive), "{v:?}");
            assert_eq!(v.doubt.reasons.len(), 1, "{v:?}");
        }
        // Without the kernel's stamps a leak is still a leak.
        let v = changed(|s| s.environment.unstamped = 1);
        let outcomes: Vec<_> = v.gates.iter().map(|gate| gate.outcome).collect();
        assert_eq!(outcomes, [Outcome::Fail, Outcome::Inconclusive, Outcome::Inconclusive]);
    }

    #[test]
    fn lateness_counts_on_enough_samples_only() {
        let late = |sent| summary(&[Second { sent, lateness_ms: 3.0, ..QUIET }]);
        assert!(!verdict(&late(9_900), &[]).doubt.is_any());
        assert!(verdict(&late(10_000), &[]).doubt.is_any());
    }

    fn ended_early(mut s: Summary) -> Summary {
        let (gate, actual) = ("rtt.p50 < 6ms".to_string(), "7.000 ms".to_string());
        s.environment.ended_early = Some(EndedEarly { gate, actual, since_s: 32.0, at_s: 62.3 });
        s
    }

    #[test]
    fn a_run_that_a_gate_has_ended_does_not_pass_by_any_gate() {
        let s = ended_early(quiet());
        let v = verdict(&s, &["rtt.p50 < 6ms", "rtt.p99 < 1s", "srd.p99 < 1s"]);
        assert_eq!(v.outcome, Outcome::Fail, "although it held in the end");
        assert_eq!(
            v.gates[0].reason,
            "broken at 1:02 of the hold (7.000 ms), as ever since 0:32; run ended early"
        );
        assert_eq!(v.gates[2].outcome, Outcome::Inconclusive);
        let other = verdict(&s, &["rtt.p50 < 1s"]);
        assert_eq!(other.outcome, Outcome::Inconclusive);
        assert!(other.doubt.reasons[0].contains("rtt.p50 < 6ms"), "{:?}", other.doubt);
    }

    #[test]
    fn a_run_that_was_ended_in_doubt_fails_only_if_every_reading_says_so() {
        let judged = |rtt_ms, quiet| {
            let [calm, disturbed] = [QUIET, DISTURBED].map(|second| Second { rtt_ms, ..second });
            let s = ended_early(summary(&seconds(quiet, calm, 60 - quiet, disturbed)));
            verdict(&s, &["rtt.p50 < 6ms"]).outcome
        };
        assert_eq!(judged(7.0, 20), Outcome::Fail, "its quiet seconds say so");
        assert_eq!(judged(7.0, 5), Outcome::Inconclusive, "no quiet to speak of");
        assert_eq!(judged(5.0, 20), Outcome::Inconclusive, "it held in the end");
        // The machine alone breaks the bound.
        let s = ended_early(summary(&[Second { rtt_ms: 7.0, control_ms: 6.5, ..QUIET }; 12]));
        assert_eq!(verdict(&s, &["rtt.p50 < 6ms"]).outcome, Outcome::Inconclusive);
    }

    /// Calls that sent and lost so many packets.
    fn calls(sent_and_lost: &[(u64, u64)]) -> Summary {
        let mut s = quiet();
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
        assert_eq!(v.gates[1].interval.unwrap().to_string(), "unbounded … 10.001 ms");
        let mut r = run(&[Second { lost: 40, ..QUIET }; 12]);
        r.environment.unsent = 100;
        let v = verdict(&summarize(r), &["every call: loss.count < 400", "every call: loss.count < 350"]);
        assert_eq!((v.gates[0].outcome, v.gates[1].outcome), (Outcome::Inconclusive, Outcome::Fail));
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "380 … 480");
    }

    proptest! {
        /// Against the values of an interval, one by one.
        #[test]
        fn an_interval_passes_if_all_of_it_holds_and_fails_if_none_does(
            least in 0i32..9, wide in 0i32..5, bound in 0i32..9, op in 0usize..6,
        ) {
            let ops = [Op::Less, Op::AtMost, Op::Equal, Op::AtLeast, Op::More, Op::Differs];
            // Halves between the whole bounds stand for the values between.
            let values: Vec<f64> = (0..=2 * wide).map(|n| f64::from(least) + f64::from(n) / 2.0).collect();
            let (op, bound) = (ops[op], f64::from(bound));
            let holding = values.iter().filter(|value| op.holds(**value, bound)).count();
            let expected = match holding {
                0 => Outcome::Fail,
                n if n == values.len() => Outcome::Pass,
                _ => Outcome::Inconclusive,
            };
            prop_assert_eq!(judge_range(op, bound, (f64::from(least), f64::from(least + wide))), expected);
        }
    }

    #[test]
    fn without_bounds_no_comparison_is_decided() {
        for op in [Op::Less, Op::AtMost, Op::Equal, Op::AtLeast, Op::More, Op::Differs] {
            let all = Readings::UNBOUNDED.range(Unit::Ms);
            assert_eq!(judge_range(op, 5.0, all), Outcome::Inconclusive, "{op:?}");
        }
    }
}
