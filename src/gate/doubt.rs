//! Doubt about a run's instrument: which limits it broke, and what else keeps its figures from being certain.

use std::collections::BTreeSet;

use super::Limits;
use super::quiet::{Quiet, Shares, quiet_seconds};
use crate::metrics::Summary;
use crate::record::{Environment, Phase, ShardRecord};
use crate::values::{Ns, Unit, Value, counted, show};

/// Share of the machine from which a run's own load fills it.
const FULL: f64 = 0.8;
/// Share from which it is busy with it: threads wait for each other long before the mean is near the whole.
const BUSY: f64 = 0.5;

/// Standing still that long shows in the delays of calls, which are some tens of milliseconds where all is well.
const MOST_LATE_IN_SETUP_MS: f64 = 200.0;

/// Figures that a doubt touches, from the fewest to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Extent {
    /// None.
    #[default]
    Nothing,
    /// Limits are broken: figures of packets are intervals.
    Limits,
    /// Times are not the kernel's: nothing is known of packets.
    Packets,
    /// The run broke, was interrupted, or its clock was set: nothing is known at all.
    Everything,
}

/// Users of the machine in the seconds that were not quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineLoad {
    /// The run's own processes.
    Full,
    /// The run's own processes as well, and nobody else; the machine is not full on average.
    Busy,
    /// Other programs, or other guests of the host.
    Disturbed,
    /// Other programs, or a process of the run that cannot be told from them.
    Unknown,
}

/// Doubt about a run's instrument.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Doubt {
    /// The reasons, each a sentence; empty without doubt.
    pub reasons: Vec<String>,
    /// The figures that it touches.
    pub extent: Extent,
    /// The machine's load, where it is one of the reasons.
    pub load: Option<MachineLoad>,
    /// The seconds that the best readings are over; `None` where no second is known to be quiet or not.
    pub quiet: Option<Quiet>,
}

impl Doubt {
    /// True if there is any.
    pub fn is_any(&self) -> bool {
        self.extent != Extent::Nothing
    }

    /// Reasons, and the quiet seconds where readings rest on them.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        let of_quiet = self.quiet.as_ref().filter(|_| self.extent == Extent::Limits).map(|quiet| {
            let few = if quiet.are_enough() { "" } else { ": too few for a best reading of times" };
            match quiet.seconds.len() {
                0 => format!(
                    "not one of {} was quiet: times have no best reading",
                    counted(quiet.of as u64, "second")
                ),
                1 => format!("1 of {} was quiet{few}", counted(quiet.of as u64, "second")),
                n => format!("{n} of {} seconds were quiet{few}", quiet.of),
            }
        });
        self.reasons.iter().cloned().chain(of_quiet)
    }

    /// The quiet seconds where they are enough for a best reading; none otherwise.
    pub(super) fn enough_quiet(&self) -> &BTreeSet<u32> {
        const NONE: &BTreeSet<u32> = &BTreeSet::new();
        self.quiet.as_ref().filter(|quiet| quiet.are_enough()).map_or(NONE, |quiet| &quiet.seconds)
    }
}

/// Doubt about the instrument of a run, by its limits.
pub fn doubt(summary: &Summary, limits: &Limits) -> Doubt {
    let environment = &summary.environment;
    let mut doubt = Doubt { quiet: quiet_seconds(summary, limits), ..Doubt::default() };
    doubt.add(Extent::Limits, broken_limits(summary, limits));
    doubt.add(Extent::Limits, unsent(environment));
    doubt.add(Extent::Limits, late_in_setup(summary));
    doubt.add(Extent::Limits, unjudged(summary));
    // It explains a doubt, and is none by itself.
    let is_all_quiet = doubt.quiet.as_ref().is_some_and(|quiet| quiet.seconds.len() == quiet.of);
    let load = load(summary, &doubt).filter(|_| doubt.is_any() && !is_all_quiet);
    if let Some((load, reason)) = load {
        doubt.load = Some(load);
        doubt.add(Extent::Limits, [reason]);
    }
    doubt.add(
        Extent::Limits,
        of_shards(environment, |shard| match shard.doubts.as_slice() {
            [] | [_] => shard.doubts.concat(),
            [first, more @ ..] => format!("{first}, and {} more", counted(more.len() as u64, "reason")),
        }),
    );
    doubt.add(Extent::Packets, unstamped(environment));
    doubt.add(Extent::Everything, environment.clock_set());
    doubt.add(Extent::Everything, cut_off(environment));
    doubt.add(Extent::Everything, of_shards(environment, |shard| shard.missing.clone()));
    doubt
}

impl Doubt {
    fn add(&mut self, extent: Extent, reasons: impl IntoIterator<Item = String>) {
        for reason in reasons {
            self.extent = self.extent.max(extent);
            self.reasons.push(reason);
        }
    }
}

/// Signs of a machine that is too slow or too busy: the driver is late, and buffers overflow.
fn broken_limits(summary: &Summary, limits: &Limits) -> Vec<String> {
    // Lateness is no estimate from a sample: those packets were late, however few there were.
    let figures = [
        ("send_lateness.p99", limits.send_lateness_p99.as_ms(), "the driver could not send on time"),
        ("slots.missed_ratio", limits.missed_slots.0, "the driver fell a whole packet behind"),
        ("sockets.drops", limits.socket_drops as f64, "the driver's socket buffers overflowed"),
        ("cpu.busiest_thread_max", limits.thread_cpu.0, "a thread of the driver was too busy"),
    ];
    let broken = figures.into_iter().filter_map(|(name, limit, what)| {
        let metric = summary.metric(name).filter(|m| is_above(m.value, limit))?;
        let limit = show(Value::Number(limit), metric.definition.unit);
        Some(format!("{what}: {name} is {metric}, at most {limit} is allowed"))
    });
    let environment = &summary.environment;
    // A service that is held still on purpose cannot read what comes meanwhile.
    let held_still = environment.faults.iter().any(|f| f.target == "service" && f.action == "stop");
    let dropped = [
        (environment.impair_overflows, "the impairment's own queue"),
        (if held_still { 0 } else { environment.service_drops }, "the service's sockets"),
        (environment.control_drops, "the control stream's echo"),
        (environment.sip_drops, "the driver's SIP socket"),
    ];
    let most = limits.socket_drops;
    let dropped = dropped.into_iter().filter(|(count, _)| *count > most);
    let overflows = dropped
        .map(|(count, whose)| format!("{whose} dropped {count} datagrams, at most {most} are allowed"));
    broken.chain(overflows).collect()
}

/// True beyond 60 s too, where a time is no number any more.
fn is_above(value: Value, limit: f64) -> bool {
    value == Value::Lost || value.number().is_some_and(|n| n > limit)
}

/// Packets and faults that were planned and did not take place.
fn unsent(environment: &Environment) -> impl Iterator<Item = String> {
    let &Environment { skipped, unsent, faults_undone, .. } = environment;
    // A run that was ended early need not have come to all of its faults.
    let faults_undone = if environment.ended_early.is_some() { 0 } else { faults_undone };
    let counted = [
        (
            skipped,
            format!(
                "this machine was stopped for so long that {skipped} packets were never sent: at worst they are lost"
            ),
        ),
        (
            unsent,
            format!(
                "the kernel of this machine refused to send {unsent} packets: they count as lost, at best they are not"
            ),
        ),
        (
            faults_undone,
            format!(
                "{faults_undone} of the planned faults did not take place, or were not over when the run ended"
            ),
        ),
    ];
    counted.into_iter().filter(|(count, _)| *count > 0).map(|(_, reason)| reason)
}

/// Bursts and passages that the driver had no time to judge.
fn unjudged(summary: &Summary) -> Option<String> {
    let window = summary.environment.window();
    let window = window.as_ref();
    let bursts = summary.signals.iter().filter(|row| row.is_unjudged() && row.is_within(window)).count();
    let passages = summary.quality.iter().filter(|row| row.is_unjudged() && row.is_within(window)).count();
    let all = bursts + passages;
    (all > 0).then(|| {
        let pieces = counted(all as u64, "piece");
        format!("{pieces} of audio not judged, for the driver did not keep up: at best they do not count")
    })
}

/// A driver that stood still outside of the hold phase, or left answers unread: delays of calls include that.
fn late_in_setup(summary: &Summary) -> Option<String> {
    let others = summary.seconds.iter().filter(|s| matches!(s.phase, Phase::Ramp | Phase::Warmup));
    let sent_late_ms = others.filter_map(|s| s.send_lateness_max_ms).map(Ns::as_ms).fold(0.0, f64::max);
    let late_ms = sent_late_ms.max(summary.environment.sip_read_lag_max_ms);
    (late_ms > MOST_LATE_IN_SETUP_MS).then(|| {
        let late = show(Value::Number(late_ms), Unit::Ms);
        format!("the driver stood still for {late} while calls were set up: their delays and first echoes include that")
    })
}

/// A run of several drivers rests on each of them: what their sum hides, one of them tells.
fn of_shards<'a>(
    environment: &'a Environment,
    why: fn(&ShardRecord) -> String,
) -> impl Iterator<Item = String> + 'a {
    let told = move |shard: &ShardRecord| {
        let why = why(shard);
        let at = if shard.host.is_empty() { String::new() } else { format!(" ({})", shard.host) };
        (!why.is_empty()).then(|| format!("shard {}{at}: {why}", shard.index))
    };
    environment.shards.iter().filter_map(told)
}

fn unstamped(environment: &Environment) -> Option<String> {
    let count = environment.unstamped;
    // Without any stamps times are upper bounds, which the run's remarks say: a gate that holds by them holds.
    (count > 0 && !environment.no_stamps).then(|| {
        format!(
            "{count} packets came without the kernel's receive stamp: their delays include this program's own"
        )
    })
}

/// A run that did not take its course, calls and all.
fn cut_off(environment: &Environment) -> Option<String> {
    match environment {
        Environment { broken, .. } if !broken.is_empty() => Some(format!("the run broke: {broken}")),
        Environment { interrupted: true, .. } => Some("the run was interrupted".into()),
        _ => None,
    }
}

/// Users of the machine in the seconds that were not quiet, with or without doubt; in all of the hold phase where each
/// second was quiet, as a control stream that is slow throughout leaves them.
pub fn machine_load(summary: &Summary, doubt: &Doubt) -> Option<MachineLoad> {
    load(summary, doubt).map(|(load, _)| load)
}

/// Users of the machine, where they explain a late driver, and the reason in words.
fn load(summary: &Summary, doubt: &Doubt) -> Option<(MachineLoad, String)> {
    let environment = &summary.environment;
    let is_quiet = |second: u32| doubt.quiet.as_ref().is_some_and(|quiet| quiet.seconds.contains(&second));
    let shares = |all: bool| -> Vec<_> {
        let held = summary.seconds.iter().filter(|s| s.phase == Phase::Hold && (all || !is_quiet(s.second)));
        held.filter_map(|s| Shares::of(s, environment)).collect()
    };
    let not_quiet = shares(false);
    let shares = if not_quiet.is_empty() { shares(true) } else { not_quiet };
    let mean = |of: fn(&Shares) -> f64| shares.iter().map(of).sum::<f64>() / shares.len().max(1) as f64;
    let mean = Shares { own: mean(|s| s.own), others: mean(|s| s.others), steal: mean(|s| s.steal) };
    let percent = |share| show(Value::Number(share), Unit::Ratio);
    let users = [("driver", "the driver used"), ("service", "the service"), ("asterisk", "Asterisk")];
    let user = |(name, who)| {
        let used = summary.metric(&format!("cpu.{name}_mean")).filter(|m| m.value != Value::NoData)?;
        Some(format!("{who} {used}"))
    };
    let own = users.into_iter().filter_map(user).collect::<Vec<_>>().join(", ");
    // Held to some of the CPUs, a run is full of its own load when it has filled those. More than all of them
    // shows that others of the run are not held to them.
    let of_allowed = mean.own * f64::from(environment.all_cpus()) / f64::from(environment.cpus.max(1));
    let of_allowed = if of_allowed > 1.0 { mean.own } else { of_allowed };
    if mean.are_disturbed() {
        let (others, steal) = (percent(mean.others), percent(mean.steal));
        let (load, what, and) = match environment.unseen.as_str() {
            unseen if !unseen.is_empty() && !mean.is_stolen() => (
                MachineLoad::Unknown,
                "whether this machine was disturbed is not known",
                format!(" and {unseen}"),
            ),
            _ => (MachineLoad::Disturbed, "this machine was disturbed", String::new()),
        };
        let reason = format!(
            "{what}: in the seconds that were not quiet, other programs{and} used {others} of it and its host took \
             {steal}; {own}"
        );
        Some((load, reason))
    } else if of_allowed >= FULL {
        let used = percent(of_allowed);
        let reason = format!(
            "this machine was full of this run's own load, {used} of the CPUs that it may use: {own}"
        );
        Some((MachineLoad::Full, reason))
    } else if of_allowed >= BUSY {
        let used = percent(of_allowed);
        let reason = format!(
            "nobody else used this machine, and this run's own load {used} of the CPUs that it may use: {own}"
        );
        Some((MachineLoad::Busy, reason))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::sample::{DISTURBED, QUIET, Second, limits, run, seconds, summary, verdict};
    use super::*;
    use crate::metrics::summarize;
    use crate::record::{Latencies, Run, Scope, Series, SignalRejection, SignalRow};

    fn said(seconds: &[Second]) -> Vec<String> {
        doubt(&summary(seconds), &limits()).sentences().collect()
    }

    #[test]
    fn disturbed_and_full_are_told_apart() {
        assert!(said(&[QUIET; 12]).is_empty());
        let disturbed = said(&seconds(20, QUIET, 10, DISTURBED));
        assert!(
            disturbed[1].starts_with(
                "this machine was disturbed: in the seconds that were not quiet, other programs used 60.00 % of it \
                 and its host took 0 %; the driver used 0.30 cores"
            ),
            "{disturbed:?}"
        );
        assert_eq!(disturbed[2], "20 of 30 seconds were quiet");
        let full = said(&[Second { own: 0.95, others: 0.02, lateness_ms: 5.0, ..QUIET }; 12]);
        assert!(
            full[1].starts_with(
                "this machine was full of this run's own load, 95.00 % of the CPUs that it may use:"
            ),
            "{full:?}"
        );
        let busy = said(&[Second { own: 0.6, others: 0.02, lateness_ms: 5.0, ..QUIET }; 12]);
        assert!(
            busy[1].starts_with(
                "nobody else used this machine, and this run's own load 60.00 % of the CPUs that it may use:"
            ),
            "{busy:?}"
        );
        assert_eq!(full[2], "not one of 12 seconds was quiet: times have no best reading");
        let mut unseen = summary(&seconds(20, QUIET, 10, DISTURBED));
        unseen.environment.unseen = "Asterisk".into();
        let unseen = doubt(&unseen, &limits()).reasons;
        assert!(
            unseen[1].starts_with(
                "whether this machine was disturbed is not known: in the seconds that were not quiet, other \
                 programs and Asterisk used 60.00 % of it"
            ),
            "{unseen:?}"
        );
        let mut held = summary(&[Second { own: 0.24, lateness_ms: 5.0, ..QUIET }; 12]);
        (held.environment.cpus, held.environment.machine_cpus) = (1, 4);
        held.seconds.iter_mut().for_each(|s| s.cpu_driver = Some(0.7));
        let held = doubt(&held, &limits()).reasons;
        assert!(held[1].contains("94.00 % of the CPUs that it may use"), "{held:?}");
        let neither = said(&[Second { lateness_ms: 5.0, ..QUIET }; 12]);
        assert_eq!(neither.len(), 2, "{neither:?}");
    }

    #[test]
    fn a_driver_that_stood_still_while_calls_were_set_up_is_said() {
        let mut stalled = summary(&[QUIET; 12]);
        stalled.seconds[0].phase = Phase::Ramp;
        stalled.seconds[0].send_lateness_max_ms = Some(Ns(800_000_000));
        let reasons = doubt(&stalled, &limits()).reasons;
        assert!(reasons[0].starts_with("the driver stood still for 800.000 ms while"), "{reasons:?}");
        stalled.seconds[0].phase = Phase::Drain;
        assert!(!doubt(&stalled, &limits()).is_any(), "no call is set up then");
        stalled.environment.sip_read_lag_max_ms = 199.0;
        assert!(!doubt(&stalled, &limits()).is_any());
        stalled.environment.sip_read_lag_max_ms = 300.0;
        let stalled = doubt(&stalled, &limits());
        assert_eq!(stalled.extent, Extent::Limits, "{stalled:?}");
    }

    #[test]
    fn a_busy_machine_is_no_reason_by_itself() {
        assert!(said(&[Second { others: 0.6, ..QUIET }; 12]).is_empty());
        let mut interrupted = summary(&[Second { others: 0.6, ..QUIET }; 12]);
        interrupted.environment.interrupted = true;
        assert_eq!(doubt(&interrupted, &limits()).reasons, ["the run was interrupted"]);
    }

    #[test]
    fn packets_that_the_driver_lost_are_lost_at_worst_and_received_at_best() {
        let mut r = run(&[QUIET; 12]);
        r.environment.skipped = 240;
        let s = summarize(r.clone());
        let v = verdict(&s, &["loss.ratio == 0%", "loss.ratio < 5%", "rtt.p99 < 1s", "rtt.p50 < 1s"]);
        let [none, some, p99, p50] = &v.gates[..] else { panic!() };
        assert_eq!(none.interval.unwrap().to_string(), "best 0 … worst 1.96 %");
        assert_eq!((none.outcome, some.outcome), (Outcome::Inconclusive, Outcome::Pass));
        assert_eq!((p99.outcome, p50.outcome), (Outcome::Inconclusive, Outcome::Pass));
        assert!(p99.interval.unwrap().to_string().ends_with("… worst lost"));
        let lossy = Second { lost: 20, drops: 20, ..QUIET };
        let v = verdict(&summary(&seconds(12, QUIET, 3, lossy)), &["loss.count == 0"]);
        assert_eq!((v.outcome, v.gates[0].actual.as_str()), (Outcome::Inconclusive, "60"));
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "best 0 … worst 60");
        let v = verdict(&summary(&seconds(12, QUIET, 3, Second { lost: 30, ..lossy })), &["loss.count == 0"]);
        assert_eq!(v.outcome, Outcome::Fail, "30 of them were lost elsewhere");
    }

    #[test]
    fn more_packets_received_are_better_and_drops_of_the_driver_break_no_bound_from_below() {
        let lossy = Second { lost: 20, drops: 20, ..QUIET };
        let s = summary(&seconds(12, QUIET, 3, lossy));
        let v = verdict(
            &s,
            &["packets.received >= 15000", "packets.received > 14939", "packets.received > 15000"],
        );
        let outcomes: Vec<_> = v.gates.iter().map(|gate| gate.outcome).collect();
        assert_eq!(outcomes, [Outcome::Inconclusive, Outcome::Pass, Outcome::Fail]);
        assert_eq!(v.gates[0].interval.unwrap().to_string(), "best 15,000 … worst 14,940");
        let each = verdict(&s, &["every call: packets.received >= 15000"]);
        assert_eq!(each.outcome, Outcome::Inconclusive, "{each:?}");
    }

    /// A run of bursts, one of them not found for this reason.
    fn playing(why: SignalRejection) -> Run {
        let mut r = run(&[QUIET; 12]);
        for (n, second) in (0..).zip(&mut r.seconds) {
            (second.sent, second.received, second.measured_sent) = (0, 0, 0);
            let mut calls = Latencies::default();
            calls.record_n(5000, 250);
            r.intervals.add(n, Series::SendCall, Scope::Measured, &calls);
        }
        (r.calls[0].sent, r.calls[0].received, r.calls[0].lost) = (0, 0, 0);
        let burst = SignalRow { sent_s: 5.0, delay_ms: Some(Ns(80_000_000)), ..SignalRow::default() };
        r.signals = vec![burst.clone(); 9];
        r.signals.push(SignalRow { delay_ms: None, rejected: Some(why), ..burst });
        r
    }

    const OF_BURSTS: [&str; 2] = ["signal_delay.rejected_ratio == 0%", "signal_delay.p50 < 70ms"];

    #[test]
    fn a_stall_while_callers_play_is_a_doubt_about_what_they_heard() {
        let certain = verdict(&summarize(playing(SignalRejection::Silence)), &OF_BURSTS[..1]);
        assert_eq!((certain.outcome, certain.doubt.is_any()), (Outcome::Fail, false), "{certain:?}");
        let mut stalled = playing(SignalRejection::Silence);
        (stalled.environment.skipped, stalled.seconds[5].measured_missed_slots) = (1000, 1000);
        stalled.seconds[5].missed_slots = 1000;
        let stalled = summarize(stalled);
        // 12 times 250 were sent.
        assert_eq!(stalled.metric("slots.missed_ratio").map(|m| m.value), Some(Value::Number(0.25)));
        let v = verdict(&stalled, &OF_BURSTS);
        assert!(v.gates.iter().all(|gate| gate.outcome == Outcome::Inconclusive), "{v:#?}");
        assert!(v.doubt.reasons.iter().any(|why| why.contains("slots.missed_ratio is 25.00 %")), "{v:#?}");
    }

    #[test]
    fn bursts_that_the_driver_did_not_judge_break_no_gate() {
        let v = verdict(&summarize(playing(SignalRejection::NotJudged)), &OF_BURSTS[..1]);
        assert_eq!((v.outcome, v.gates[0].actual.as_str()), (Outcome::Inconclusive, "10.00 %"));
        assert!(v.doubt.reasons[0].starts_with("1 piece of audio not judged"), "{v:#?}");
    }

    /// A run in which 30 packets of a second are 100 ms late, and so many in each of its last, disturbed ones.
    fn with_late_packets(kind: Second, late: u64) -> Run {
        let mut r = run(&seconds(30, QUIET, 30, kind));
        r.environment.late_after_ms = 60.0;
        let mut all_late = 0;
        for (n, row) in (0..).zip(&mut r.seconds) {
            row.late = if n < 30 { 30 } else { late };
            (row.sent, row.measured_sent) = (1000 + row.late, 1000 + row.late);
            let mut slow = Latencies::default();
            slow.record_n(105_000_000, row.late);
            r.intervals.add(n, Series::Rtt, Scope::Measured, &slow);
            all_late += row.late;
        }
        let call = &mut r.calls[0];
        (call.sent, call.received) = (call.sent + all_late, call.received + all_late);
        (call.late, call.late_20ms, call.late_60ms) = (all_late, all_late, all_late);
        r
    }

    #[test]
    fn late_packets_have_the_same_readings_at_every_playout_depth() {
        let s = summarize(with_late_packets(DISTURBED, 1000));
        let names = ["late.ratio", "late.ratio_60ms", "late.ratio_20ms", "late.ratio_100ms", "mos.plain"];
        let v = verdict(&s, &names.map(|name| format!("{name} > 0")).each_ref().map(String::as_str));
        let shown = |n: usize| v.gates[n].interval.map(|interval| interval.to_string());
        assert_eq!(shown(0), Some("best 2.91 … worst 33.99 %".into()));
        assert_eq!((shown(1), shown(2), shown(3)), (shown(0), shown(0), None));
        // The estimate at best is that of a run that is all quiet.
        let calm = summarize(with_late_packets(QUIET, 30));
        let best = v.gates[4].interval.and_then(|interval| interval.readings.best);
        assert_eq!(best, calm.metric("mos.plain").map(|metric| metric.value));
    }
}
