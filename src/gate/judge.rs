//! Summary and gates → verdict.

use super::expression::{Gate, Op, Subject};
use super::{GateResult, Outcome, Verdict};
use crate::metrics::per_call::{CallValue, PerCall};
use crate::metrics::{Definition, Metric, RestsOn, Summary};
use crate::record::Environment;
use crate::values::{Unit, Value, show};

/// Beyond which values the instrument itself is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trust {
    /// Largest 99th percentile of send lateness, in milliseconds.
    pub send_lateness_p99_ms: f64,
    /// Largest share of missed slots.
    pub missed_slots: f64,
    /// Most datagrams dropped by sockets.
    pub socket_drops: u64,
    /// Largest share of a core that a media thread may use.
    pub thread_cpu: f64,
}

/// Judges a run. A broken gate over what the instrument cannot have bent outranks distrust, distrust
/// outranks every other broken gate, and that a gate without data.
pub fn judge(summary: &Summary, gates: &[Gate], trust: &Trust) -> Verdict {
    let Distrust { mut reasons, spares_records } = distrust(summary, trust);
    let distrusted = |gate: &Gate| {
        let is_record = matches!(gate.subject, Subject::Run(metric) if metric.rests_on == RestsOn::Records);
        let touched = !is_record || !spares_records;
        !reasons.is_empty() && touched
    };
    let judged = gates.iter().map(|gate| match judge_one(summary, gate) {
        result if result.outcome != Outcome::Inconclusive && distrusted(gate) => {
            let reason = match &summary.environment.ended_early {
                Some(early) if early.gate == gate.text => format!("{}; {early}", distrusted_for(&reasons)),
                _ => distrusted_for(&reasons),
            };
            GateResult { outcome: Outcome::Inconclusive, reason, ..result }
        }
        result => result,
    });
    let gates: Vec<_> = judged.collect();
    let any = |outcome| gates.iter().any(|g| g.outcome == outcome);
    let outcome = if any(Outcome::Fail) {
        Outcome::Fail
    } else if !reasons.is_empty() || any(Outcome::Inconclusive) {
        Outcome::Inconclusive
    } else if let Some(early) = &summary.environment.ended_early {
        // Judged by other gates than those it was run with.
        reasons.push(format!("the run was not held as long as planned: {} was {early}", early.gate));
        Outcome::Inconclusive
    } else if summary.metric("packets.sent").is_none_or(|m| m.value == Value::Number(0.0)) {
        reasons.push("no packet was measured".into());
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    Verdict { outcome, gates, distrust: reasons }
}

/// Beside the value of a gate whose metric rests on what is not trusted.
pub(super) fn distrusted_for(reasons: &[String]) -> String {
    format!("not to be trusted: {}", reasons.first().map_or("", String::as_str))
}

fn judge_one(summary: &Summary, gate: &Gate) -> GateResult {
    let result = match gate.subject {
        Subject::Run(definition) => judge_metric(gate, definition, summary.metric(definition.name)),
        Subject::EveryCall(metric) => judge_calls(summary, gate, metric),
    };
    match &summary.environment.ended_early {
        // Whatever it has come to in the last packets: the run could not be held for it.
        Some(early) if early.gate == gate.text => {
            GateResult { outcome: Outcome::Fail, reason: early.to_string(), ..result }
        }
        _ => result,
    }
}

/// Judges one figure.
pub(super) fn judge_metric(gate: &Gate, definition: &Definition, metric: Option<&Metric>) -> GateResult {
    let value = metric.map_or(Value::NoData, |m| m.value);
    let few = metric.filter(|m| m.too_few).and_then(|m| m.samples);
    let (outcome, reason) = match value {
        Value::NoData => (Outcome::Inconclusive, "nothing was measured".to_string()),
        // Slower than any bound: a packet that never came back breaks `<`, whatever the number.
        Value::Lost => (holds(gate, f64::INFINITY), String::new()),
        Value::Number(n) => (holds(gate, n), String::new()),
    };
    let (outcome, reason) = match few {
        // Losses are counted, not estimated: too few samples do not excuse them.
        Some(samples) if value != Value::Lost => (Outcome::Inconclusive, few_samples(definition, samples)),
        _ => (outcome, reason),
    };
    GateResult { expression: gate.text.clone(), outcome, actual: show(value, definition.unit), reason }
}

/// Every call that was answered and measured must hold the gate. Shown is the one that is furthest
/// from doing so.
fn judge_calls(summary: &Summary, gate: &Gate, metric: &PerCall) -> GateResult {
    let judged = metric.values(summary);
    let result = |outcome, actual: String, reason: String| GateResult {
        expression: gate.text.clone(),
        outcome,
        actual,
        reason,
    };
    let shown = |of: &CallValue| format!("{} (call {})", show(of.value, metric.unit), of.call);
    let number = |of: &CallValue| of.value.number().unwrap_or(f64::INFINITY);
    let furthest =
        |a: &&CallValue, b: &&CallValue| distance(gate, number(a)).total_cmp(&distance(gate, number(b)));
    let known = || judged.iter().filter(|of| of.value != Value::NoData);
    let Some(worst) = known().max_by(furthest) else {
        return result(Outcome::Inconclusive, "no data".into(), "no call was answered and measured".into());
    };
    // A packet that never came back is counted, not estimated; other percentiles need their samples.
    let few = |of: &CallValue| of.missing_samples.filter(|_| of.value != Value::Lost);
    let breaks = |of: &&CallValue| few(of).is_none() && !gate.op.holds(number(of), gate.bound);
    let broken = known().filter(breaks).count();
    if broken > 0 {
        return result(Outcome::Fail, shown(worst), format!("broken by {broken} of {} calls", judged.len()));
    }
    if let Some(of) = judged.iter().find(|of| of.value == Value::NoData) {
        let reason = format!("call {} has no such figure", of.call);
        return result(Outcome::Inconclusive, shown(worst), reason);
    }
    if let Some((call, (has, needs))) = judged.iter().find_map(|of| Some((of.call, few(of)?))) {
        let reason = format!("call {call} sent {has} packets, {needs} are needed; make the calls longer");
        return result(Outcome::Inconclusive, shown(worst), reason);
    }
    result(Outcome::Pass, shown(worst), String::new())
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

/// Why a percentile is not to be judged, and how many samples would do.
fn few_samples(metric: &Definition, samples: u64) -> String {
    let needed = metric.samples_needed().unwrap_or_default();
    format!("rests on {samples} samples, {needed} are needed; make the run longer or gate a lower percentile")
}

fn holds(gate: &Gate, actual: f64) -> Outcome {
    if gate.op.holds(actual, gate.bound) { Outcome::Pass } else { Outcome::Fail }
}

/// Why the instrument cannot be trusted, and with what.
struct Distrust {
    reasons: Vec<String>,
    /// Whether all that is wrong is a matter of packets and their times.
    spares_records: bool,
}

fn distrust(summary: &Summary, trust: &Trust) -> Distrust {
    let environment = &summary.environment;
    let mut reasons = timing(summary, trust);
    // A busy machine makes a driver late; it neither breaks a run nor sets a clock.
    let busy = if reasons.is_empty() { None } else { busy(summary) };
    reasons.extend(stamps(environment));
    let whole = whole(environment, trust);
    let spares_records = whole.is_empty();
    reasons.extend(whole);
    reasons.extend(busy);
    Distrust { reasons, spares_records }
}

/// What a machine that is too slow or too busy does: the driver is late, and buffers overflow.
fn timing(summary: &Summary, trust: &Trust) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut check = |name: &str, limit: f64, unit: Unit, what: &str| {
        // A percentile of too few samples says nothing, here as in a gate.
        let metric = summary.metric(name).filter(|m| !m.too_few);
        if let Some(actual) = metric.and_then(|m| m.value.number()).filter(|n| *n > limit) {
            let (actual, limit) = (show(Value::Number(actual), unit), show(Value::Number(limit), unit));
            reasons.push(format!("{what}: {name} is {actual}, at most {limit} is allowed"));
        }
    };
    check("send_lateness.p99", trust.send_lateness_p99_ms, Unit::Ms, "the driver could not send on time");
    check("slots.missed_ratio", trust.missed_slots, Unit::Ratio, "the driver fell a whole packet behind");
    check("sockets.drops", trust.socket_drops as f64, Unit::Count, "the driver's socket buffers overflowed");
    check("cpu.busiest_thread_max", trust.thread_cpu, Unit::Cores, "a thread of the driver was too busy");
    let environment = &summary.environment;
    // A service that is held still on purpose cannot read what comes meanwhile.
    let held_still = environment.faults.iter().any(|f| f.target == "service" && f.action == "stop");
    let service_drops = if held_still { 0 } else { environment.service_drops };
    let dropped = [
        (environment.impair_overflows, "the impairment's own queue"),
        (service_drops, "the service's sockets"),
        (environment.control_drops, "the control stream's echo"),
    ];
    reasons.extend(dropped.into_iter().filter_map(|(count, whose)| overflow(count, whose, trust)));
    reasons
}

fn overflow(count: u64, whose: &str, trust: &Trust) -> Option<String> {
    let most = trust.socket_drops;
    (count > most).then(|| format!("{whose} dropped {count} datagrams, at most {most} are allowed"))
}

/// What makes single packets' times worthless.
fn stamps(environment: &Environment) -> Vec<String> {
    let mut reasons: Vec<String> = environment.clock_set().into_iter().collect();
    if environment.unstamped > 0 {
        reasons.push(format!(
            "{} packets came without the kernel's receive stamp: their delays include this program's own",
            environment.unstamped
        ));
    }
    reasons
}

/// What the run as a whole suffers from, calls and all.
fn whole(environment: &Environment, trust: &Trust) -> Vec<String> {
    let mut reasons = Vec::new();
    if !environment.broken.is_empty() {
        reasons.push(format!("the run broke: {}", environment.broken));
    } else if environment.interrupted {
        reasons.push("the run was interrupted".into());
    }
    reasons.extend(overflow(environment.sip_drops, "the driver's SIP socket", trust));
    if environment.skipped > 0 {
        reasons.push(format!(
            "this machine was stopped for so long that {} packets were never sent: nothing is known of them",
            environment.skipped
        ));
    }
    if environment.unsent > 0 {
        reasons.push(format!(
            "the kernel of this machine would not send {} packets; they count as lost, and nobody else lost them",
            environment.unsent
        ));
    }
    // A run that was ended early need not have come to all of its faults.
    if environment.faults_undone > 0 && environment.ended_early.is_none() {
        reasons.push(format!(
            "{} of the planned faults did not take place, or were not over when the run ended",
            environment.faults_undone
        ));
    }
    reasons
}

/// What the machine's CPU was doing, where it was so busy that it is the likely cause.
fn busy(summary: &Summary) -> Option<String> {
    let shown = |name: &str| summary.metric(name).map(Metric::to_string).unwrap_or_default();
    let above = |name: &str, limit: f64| {
        summary.metric(name).and_then(|m| m.value.number()).is_some_and(|n| n > limit)
    };
    (above("cpu.machine_mean", 0.8) || above("cpu.steal_max", 0.05)).then(|| {
        format!(
            "the machine was busy: {} of its CPU in the mean, of it Asterisk {}, the service {}, the driver {}; \
             up to {} was taken by other guests of its host",
            shown("cpu.machine_mean"),
            shown("cpu.asterisk_mean"),
            shown("cpu.service_mean"),
            shown("cpu.driver_mean"),
            shown("cpu.steal_max"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::summarize;
    use crate::record::{
        CallRecord, EndedEarly, Ending, Latencies, LeakPart, Leaks, Quantile, Run, Scope, Series,
    };

    const TRUST: Trust =
        Trust { send_lateness_p99_ms: 2.0, missed_slots: 0.001, socket_drops: 0, thread_cpu: 0.9 };

    fn summary(rtts: u64, lost: u64, lateness_ms: u64) -> Summary {
        let mut call = CallRecord::default();
        (call.sent, call.received, call.lost, call.ending) = (rtts + lost, rtts, lost, Ending::Completed);
        let (mut rtt, mut lateness) = (Latencies::default(), Latencies::default());
        (0..rtts).for_each(|_| rtt.record(5_000_000));
        (0..rtts).for_each(|_| lateness.record(lateness_ms * 1_000_000));
        let calls = if rtts + lost > 0 { vec![call] } else { vec![] };
        let intervals = [(Series::Rtt, rtt), (Series::SendLateness, lateness)]
            .map(|(series, latencies)| (0, series, Scope::Measured, latencies));
        summarize(Run { calls, intervals: intervals.into_iter().collect(), ..Run::default() })
    }

    fn verdict(summary: &Summary, gates: &[&str]) -> Verdict {
        let gates: Vec<_> = gates.iter().map(|g| Gate::parse(g).unwrap()).collect();
        judge(summary, &gates, &TRUST)
    }

    #[test]
    fn gates_hold_or_break() {
        let s = summary(100_000, 0, 0);
        assert_eq!(verdict(&s, &["rtt.p99 < 6ms", "loss.ratio == 0%"]).outcome, Outcome::Pass);
        let broken = verdict(&s, &["rtt.p99 < 6ms", "rtt.p50 < 4ms"]);
        assert_eq!(broken.outcome, Outcome::Fail);
        assert_eq!(broken.gates[1].actual, "5.001 ms");
        assert_eq!(verdict(&s, &[]).outcome, Outcome::Pass);
    }

    #[test]
    fn lost_is_slower_than_any_bound() {
        let s = summary(1000, 100, 0);
        let v = verdict(&s, &["rtt.p99 < 60s"]);
        assert_eq!((v.outcome, v.gates[0].actual.as_str()), (Outcome::Fail, "lost"));
    }

    #[test]
    fn no_data_and_too_few_samples_never_pass() {
        let few = verdict(&summary(500, 0, 0), &["rtt.p99 < 6ms"]);
        assert_eq!(few.outcome, Outcome::Inconclusive);
        assert!(few.gates[0].reason.contains("500 samples"));
        let none = verdict(&summary(0, 0, 0), &["loss.ratio < 1%"]);
        assert_eq!(none.outcome, Outcome::Inconclusive);
        assert_eq!(none.gates[0].actual, "no data");
        assert_eq!(verdict(&summary(0, 0, 0), &[]).outcome, Outcome::Inconclusive);
        assert_eq!(verdict(&summary(0, 0, 0), &["calls.attempts > 0"]).outcome, Outcome::Fail);
    }

    /// Calls that sent and lost so many packets.
    fn calls(sent_and_lost: &[(u64, u64)]) -> Summary {
        let mut s = summary(100_000, 0, 0);
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
    fn an_instrument_that_cannot_be_trusted_outranks_a_broken_gate() {
        let v = verdict(&summary(100_000, 0, 3), &["rtt.p50 < 4ms", "rtt.p50 < 1s"]);
        assert_eq!(v.outcome, Outcome::Inconclusive);
        assert!(v.distrust[0].contains("send_lateness.p99"), "{:?}", v.distrust);
        for gate in &v.gates {
            assert_eq!(
                (gate.outcome, gate.reason.starts_with("not to be trusted: ")),
                (Outcome::Inconclusive, true)
            );
        }
    }

    #[test]
    fn a_late_driver_excuses_no_leak_and_no_call_that_failed() {
        let mut s = summary(100_000, 0, 3);
        let leaks = |after| Leaks {
            unknown: String::new(),
            parts: vec![LeakPart::counted("channels", "channels", 0, after, 0)],
        };
        s.environment.leaks = leaks(2);
        let with_leaks = |s: &Summary| {
            let intervals = [(0, Series::SendLateness, Scope::Measured, lateness(3))].into_iter().collect();
            let (environment, calls) = (s.environment.clone(), s.calls.clone());
            summarize(Run { environment, calls, intervals, ..Run::default() })
        };
        let v = verdict(&with_leaks(&s), &["leaks == 0", "loss.ratio < 1%"]);
        assert_eq!(v.outcome, Outcome::Fail, "{v:?}");
        assert_eq!((v.gates[0].outcome, v.gates[1].outcome), (Outcome::Fail, Outcome::Inconclusive));
        s.environment.leaks = leaks(0);
        let v = verdict(&with_leaks(&s), &["leaks == 0", "calls.answered == 100%"]);
        assert_eq!((v.outcome, v.gates[0].outcome), (Outcome::Inconclusive, Outcome::Pass));
        // A run that broke has leaks of its own.
        s.environment.leaks = leaks(2);
        s.environment.broken = "Asterisk ended".into();
        assert_eq!(verdict(&with_leaks(&s), &["leaks == 0"]).outcome, Outcome::Inconclusive);
    }

    fn lateness(ms: u64) -> Latencies {
        let mut lateness = Latencies::default();
        lateness.record_n(ms * 1_000_000, 100_000);
        lateness
    }

    #[test]
    fn lateness_is_judged_on_enough_samples_only() {
        assert_eq!(verdict(&summary(9_900, 0, 3), &["loss.ratio < 1%"]).outcome, Outcome::Pass);
        assert_eq!(verdict(&summary(10_000, 0, 3), &["loss.ratio < 1%"]).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_run_that_a_gate_has_ended_does_not_pass_by_any_gate() {
        let mut s = summary(100_000, 0, 0);
        let (gate, actual) = ("rtt.p50 < 6ms".to_string(), "7.000 ms".to_string());
        s.environment.ended_early = Some(EndedEarly { gate, actual, since_s: 32.0, at_s: 62.3 });
        let v = verdict(&s, &["rtt.p50 < 6ms", "rtt.p99 < 1s", "srd.p99 < 1s"]);
        assert_eq!(v.outcome, Outcome::Fail, "although it held in the end");
        assert_eq!(
            v.gates[0].reason,
            "broken at 1:02 of the hold (7.000 ms), as ever since 0:32; run ended early"
        );
        assert_eq!(v.gates[2].outcome, Outcome::Inconclusive);
        let other = verdict(&s, &["rtt.p50 < 1s"]);
        assert_eq!(other.outcome, Outcome::Inconclusive);
        assert!(other.distrust[0].contains("rtt.p50 < 6ms"), "{:?}", other.distrust);
    }

    #[test]
    fn a_busy_machine_explains_lateness_and_nothing_else() {
        let busy = |s: &mut Summary| {
            for m in &mut s.metrics {
                if m.name() == "cpu.machine_mean" {
                    m.value = Value::Number(0.97);
                }
            }
        };
        let mut s = summary(100_000, 0, 3);
        busy(&mut s);
        assert!(verdict(&s, &[]).distrust.iter().any(|r| r.contains("the machine was busy")));
        let mut s = summary(100_000, 0, 0);
        busy(&mut s);
        s.environment.interrupted = true;
        assert_eq!(verdict(&s, &[]).distrust, ["the run was interrupted"]);
    }
}
