//! Summary and gates → verdict.
//!
//! A run that broke, was interrupted, or whose clock was set is inconclusive, whatever its gates say.
//! Otherwise a failed gate outranks an inconclusive one, and that a pass. A run of several drivers, of which one is in
//! doubt, does not pass.

use super::doubt::{Doubt, Extent, doubt};
use super::every_call::judge_calls;
use super::expression::{Gate, Op, Subject};
use super::{Figure, GateResult, Interval, Limits, Outcome, Verdict};
use crate::metrics::{Definition, Group, InDoubt, Metric, Readings, RestsOn, Statistic, Summary};
use crate::record::EndedEarly;
use crate::values::Value;

/// Judges a run.
pub fn judge(summary: &Summary, gates: &[Gate], limits: &Limits) -> Verdict {
    let mut doubt = doubt(summary, limits);
    let doubts: Vec<_> = summary.stages.iter().map(|stage| super::doubt(&stage.summary, limits)).collect();
    let of_stages: Vec<_> = summary
        .stages
        .iter()
        .zip(&doubts)
        .map(|(stage, doubt)| Evidence::of(&stage.summary, doubt))
        .collect();
    let evidence = Evidence::of(summary, &doubt);
    let judged = |gate: &Gate| match gate.subject {
        // Stages that the run did not come to have no figures.
        Subject::Stage(number, _) => of_stages
            .get(number.wrapping_sub(1))
            .map_or_else(|| GateResult::without_data(gate), |of| of.judge(gate)),
        _ => evidence.judge(gate),
    };
    let gates: Vec<_> = gates.iter().map(judged).collect();
    let any = |outcome| gates.iter().any(|g| g.outcome == outcome);
    let outcome = if any(Outcome::Fail) {
        Outcome::Fail
    } else if any(Outcome::Inconclusive) || doubt.extent == Extent::Everything {
        Outcome::Inconclusive
    } else if summary.environment.shards.iter().any(|shard| !shard.is_well()) {
        // A driver in doubt is no smaller run: whatever the others say, its share is not known.
        Outcome::Inconclusive
    } else if let Some(early) = &summary.environment.ended_early {
        // Judged by other gates than those it was run with.
        doubt.reasons.push(format!("the run was not held as long as planned: {} was {early}", early.gate));
        Outcome::Inconclusive
    } else if summary.environment.wants_calls()
        // Of a run whose calls were all on hold it is known: nothing was to be sent.
        && has_nothing(summary)
    {
        doubt.reasons.push("no packet was measured".into());
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    Verdict { outcome, gates, doubt }
}

/// True if neither a packet nor, of a conversation, a turn, nor a burst or a passage was measured.
fn has_nothing(summary: &Summary) -> bool {
    let lacks = |name: &str| summary.metric(name).is_none_or(|metric| metric.value == Value::NoData);
    ["loss.count", "turn.count", "signal_delay.count", "speech_quality.count"].into_iter().all(lacks)
}

/// A run's figures, with the readings that its doubt allows.
pub(super) struct Evidence<'a> {
    pub summary: &'a Summary,
    extent: Extent,
    in_doubt: Option<InDoubt<'a>>,
}

impl<'a> Evidence<'a> {
    pub fn of(summary: &'a Summary, doubt: &'a Doubt) -> Evidence<'a> {
        let in_doubt = (doubt.extent == Extent::Limits).then(|| InDoubt::of(summary, doubt.enough_quiet()));
        Evidence { summary, extent: doubt.extent, in_doubt }
    }

    pub fn judge(&self, gate: &Gate) -> GateResult {
        let result = match gate.subject {
            Subject::Run(definition) | Subject::Stage(_, definition) => self.judge_run(gate, definition),
            Subject::EveryCall(metric) => judge_calls(self, gate, metric),
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
        let statistic = definition.statistic().filter(|_| definition.group == Group::Packets);
        let is_record = definition.rests_on == RestsOn::Records;
        let readings = self.readings(metric.value, is_record, |in_doubt| in_doubt.readings(metric));
        let (readings, slow) = self.beside_control(readings, statistic, gate);
        let (outcome, reason) = judge_metric(gate, metric, &readings);
        let reason = match slow {
            Some(control) if outcome == Outcome::Inconclusive && reason.is_empty() => {
                format!("{} is {control}: this machine alone breaks the bound", control.name())
            }
            _ if metric.value == Value::NoData => missing(self.summary, &reason),
            _ => reason,
        };
        GateResult {
            expression: gate.text.clone(),
            outcome,
            actual: metric.to_string(),
            figure: gate.figure(metric.value),
            interval: Interval::of(readings, definition.unit, definition.better),
            reason,
        }
    }

    /// The readings of a value that the doubt leaves. Without the kernel's stamps nothing is known but of
    /// records.
    pub fn readings(
        &self,
        value: Value,
        is_record: bool,
        in_doubt: impl FnOnce(&InDoubt<'a>) -> Readings,
    ) -> Readings {
        match (self.extent, &self.in_doubt) {
            (Extent::Nothing, _) => Readings::exactly(value),
            (_, Some(readings)) => in_doubt(readings),
            (Extent::Packets, _) if is_record => Readings::exactly(value),
            _ => Readings::UNBOUNDED,
        }
    }

    /// A machine that cannot echo to itself in time proves nothing about Asterisk: where the control stream's
    /// own statistic, which is returned, breaks a bound from above, nothing bounds the best reading.
    pub fn beside_control(
        &self,
        readings: Readings,
        statistic: Option<Statistic>,
        gate: &Gate,
    ) -> (Readings, Option<&Metric>) {
        let control = statistic.and_then(|of| self.summary.metric(&format!("control.{}", of.key())));
        let control = control.filter(|control| breaks_from_above(gate, control.value));
        let best = if control.is_some() { None } else { readings.best };
        (Readings { best, ..readings }, control)
    }
}

/// True if a value breaks a bound from above.
pub(super) fn breaks_from_above(gate: &Gate, value: Value) -> bool {
    let is_broken = match value {
        Value::Number(n) => !gate.op.holds(n, gate.bound),
        Value::Lost => true,
        Value::NoData => false,
    };
    is_broken && matches!(gate.op, Op::Less | Op::AtMost)
}

impl Gate {
    /// Its numbers, with a metric's value.
    pub(super) fn figure(&self, value: Value) -> Figure {
        Figure { value, unit: self.subject.unit(), bound: Some((self.op, self.bound)) }
    }
}

impl GateResult {
    pub(super) fn without_data(gate: &Gate) -> GateResult {
        GateResult {
            expression: gate.text.clone(),
            outcome: Outcome::Inconclusive,
            actual: "no data".into(),
            figure: gate.figure(Value::NoData),
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

/// Judges one figure by its readings.
pub(super) fn judge_metric(gate: &Gate, metric: &Metric, readings: &Readings) -> (Outcome, String) {
    match metric.value {
        Value::NoData => (Outcome::Inconclusive, "nothing was measured".into()),
        // Losses are counted, not estimated: too few samples do not excuse them.
        value if metric.too_few && value != Value::Lost => (Outcome::Inconclusive, few_samples(metric)),
        _ => (judge_range(gate.op, gate.bound, readings.range(metric.definition.better)), String::new()),
    }
}

/// The reason for a gate without data: `otherwise`, unless far ends had every call on hold.
pub(super) fn missing(summary: &Summary, otherwise: &str) -> String {
    let number = |name: &str| summary.metric(name).and_then(|metric| metric.value.number());
    // Losses of a run that has sent nothing are known where nothing was to be sent.
    let are_held = number("packets.sent") == Some(0.0) && number("loss.count").is_some();
    if are_held { "all calls were on hold, and nothing was sent".into() } else { otherwise.into() }
}

/// Pass if every value from `least` to `most` holds, fail if none does.
pub fn judge_range(op: Op, bound: f64, (least, most): (f64, f64)) -> Outcome {
    let (least_holds, most_holds) = (op.holds(least, bound), op.holds(most, bound));
    // Between two that hold, or two that do not, lies none that differs, but for (in)equality.
    let is_between = matches!(op, Op::Equal | Op::Differs) && least < bound && bound < most;
    match (least_holds, most_holds) {
        (true, true) if !is_between => Outcome::Pass,
        (false, false) if !is_between => Outcome::Fail,
        _ => Outcome::Inconclusive,
    }
}

/// The reason for not judging a percentile, and the number of samples that would do.
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
    use crate::metrics::{Better, summarize};
    use crate::record::{FaultRecord, LeakPart, Leaks, Run};
    use crate::values::Ns;

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
    fn a_gate_without_data_says_where_every_call_was_on_hold() {
        let mut held = run(&[]);
        held.calls[0].holds = 1;
        let v = verdict(&summarize(held), &["rtt.p99 < 6ms", "every call: rtt.p95 < 6ms"]);
        for gate in &v.gates {
            assert_eq!(gate.outcome, Outcome::Inconclusive, "{gate:?}");
            assert_eq!(gate.reason, "all calls were on hold, and nothing was sent");
        }
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
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "best 5.001 … worst 10.002 ms");
        // A one-way time has no intention; the lateness of the same rank stands in for it.
        assert_eq!(v.gates[1].interval.unwrap().to_string(), "best 2.501 … worst 7.502 ms");
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
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "best unknown … worst 60.031 ms");
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
        for statistic in ["min", "p95", "max"] {
            let gate = format!("every call: rtt.{statistic} < 1ms");
            assert_eq!(verdict(&s, &[&gate]).outcome, Outcome::Inconclusive, "{gate}");
        }
        assert_eq!(verdict(&s, &["rtt.p95 > 2ms"]).outcome, Outcome::Pass, "no bound from above");
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
    fn a_short_run_is_in_doubt_by_its_lateness_as_a_long_one_is() {
        let short = |lateness_ms| summary(&[Second { sent: 250, lateness_ms, ..QUIET }; 2]);
        assert!(!verdict(&short(1.9), &[]).doubt.is_any());
        let v = verdict(&short(50.0), &["rtt.p50 < 20ms", "rtt.p50 < 60ms"]);
        assert!(v.doubt.reasons[0].contains("send_lateness.p99 is 50"), "{:?}", v.doubt);
        assert_eq!((v.gates[0].outcome, v.gates[1].outcome), (Outcome::Inconclusive, Outcome::Pass));
        assert!(verdict(&short(61_000.0), &[]).doubt.is_any(), "beyond what a histogram tells apart");
    }

    #[test]
    fn faults_that_did_not_take_place_and_lost_sip_are_a_doubt_about_times_and_not_about_records() {
        let gates = ["leaks == 0", "sip.retransmissions == 0", "srd.p50 < 1ms", "fault.outage_max < 99s"];
        let changed = |change: fn(&mut Run)| {
            let mut r = run(&seconds(20, QUIET, 10, QUIET));
            (r.environment.elapsed_s, r.calls[0].srd_ms, r.calls[0].retransmissions) =
                (30.0, Some(Ns(2_000_000)), 1);
            r.calls.extend(vec![r.calls[0].clone(); 199]);
            r.environment.faults = vec![FaultRecord { back_s: Some(10.0), ..FaultRecord::default() }];
            change(&mut r);
            let parts = vec![LeakPart::counted("channels", "channels", 0, 1)];
            r.environment.leaks = Leaks { unknown: String::new(), parts };
            verdict(&summarize(r), &gates)
        };
        let (fail, open, pass) = (Outcome::Fail, Outcome::Inconclusive, Outcome::Pass);
        let outcomes = |v: &Verdict| v.gates.iter().map(|gate| gate.outcome).collect::<Vec<_>>();
        let certain = changed(|_| {});
        assert_eq!((outcomes(&certain), certain.doubt.is_any()), (vec![fail, fail, fail, pass], false));
        let undone = changed(|r| r.environment.faults_undone = 1);
        assert_eq!(outcomes(&undone), [fail, fail, open, open], "{undone:?}");
        assert!(undone.doubt.reasons[0].starts_with("1 of the planned faults did not take place"));
        let dropped = changed(|r| r.environment.sip_drops = 3);
        assert_eq!(outcomes(&dropped), [fail, fail, open, pass], "{dropped:?}");
        assert!(dropped.doubt.reasons[0].starts_with("the driver's SIP socket dropped 3 datagrams"));
    }

    #[test]
    fn a_control_stream_that_loses_packets_breaks_a_bound_as_one_that_is_slow() {
        let losing = |lost| {
            let mut r = run(&[QUIET; 12]);
            r.seconds.iter_mut().for_each(|s| s.control_received -= lost);
            summarize(r)
        };
        let of = |lost| verdict(&losing(lost), &["rtt.p95 < 1ms"]).outcome;
        assert_eq!((of(0), of(5), of(6)), (Outcome::Fail, Outcome::Fail, Outcome::Inconclusive));
        assert_eq!(losing(6).metric("control.p95").map(|m| m.value), Some(Value::Lost));
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
            let all = Readings::UNBOUNDED.range(Better::Smaller);
            assert_eq!(judge_range(op, 5.0, all), Outcome::Inconclusive, "{op:?}");
        }
    }
}
