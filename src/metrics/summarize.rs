//! A run's records → Summary.

use std::collections::BTreeMap;

use super::distribution::quantile;
use super::facts::Facts;
use super::{EndingCount, Part, PercentileRow, Summary, catalogue, stages, targets};
use crate::analysis::drift::{last_minus_first, theil_sen};
use crate::analysis::fault::recoveries;
use crate::record::{CallRecord, CallSecond, Ending, Latencies, Run, Series};
use crate::values::Ns;

/// The Summary of a run.
pub fn summarize(run: Run) -> Summary {
    let stages = stages::of(&run);
    let summary = sum_up(run, Part::Whole);
    Summary { stages, targets: targets::of(&summary), ..summary }
}

/// The Summary of one stage's records.
pub(super) fn of_stage(run: Run) -> Summary {
    sum_up(run, Part::Stage)
}

fn sum_up(mut run: Run, part: Part) -> Summary {
    drifts(&mut run);
    if run.environment.has_seconds() {
        percentiles_by_second(&mut run);
    }
    let mut summary = Summary {
        explanation: None,
        metrics: Vec::new(),
        percentiles: Vec::new(),
        faults: recoveries(&run),
        endings: endings(&run.calls),
        environment: run.environment,
        calls: run.calls,
        call_seconds: run.call_seconds,
        silences: run.silences,
        turns: run.turns,
        talk: run.talk,
        signals: run.signals,
        quality: run.quality,
        seconds: run.seconds,
        intervals: run.intervals,
        stages: Vec::new(),
        targets: Vec::new(),
        part,
    };
    let facts = Facts::recorded(&summary);
    let metrics = catalogue::all().map(|definition| definition.measure(&facts)).collect();
    let (percentiles, explained) = (percentiles(&facts), facts.explained());
    (summary.metrics, summary.percentiles) = (metrics, percentiles);
    summary.explanation = explained.map(|explained| explained.to_string());
    summary
}

/// Fills in each second's percentiles over the packets that came back, from the interval log.
fn percentiles_by_second(run: &mut Run) {
    let mut sum = Latencies::default();
    let mut of = |second, series| {
        sum.reset();
        sum.extend(run.intervals.second(second, series));
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|q| sum.quantile(q, 0).ns());
        (p50, p95, p99, sum.max().map(Ns))
    };
    for s in &mut run.seconds {
        (s.rtt_p50_ms, s.rtt_p95_ms, s.rtt_p99_ms, s.rtt_max_ms) = of(s.second, Series::Rtt);
        (s.control_p50_ms, _, s.control_p99_ms, s.control_max_ms) = of(s.second, Series::Control);
    }
}

/// Works out each call's drift from its seconds within the measured window.
fn drifts(run: &mut Run) {
    let environment = &run.environment;
    let of_stages = environment.stages.iter().filter_map(|stage| Some(stage.from_s?..stage.to_s?));
    // Of stages, what lies between them is not measured.
    let windows: Vec<_> = match environment.stages.is_empty() {
        true => environment.window().into_iter().collect(),
        false => of_stages.collect(),
    };
    let inside = |s: &CallSecond| {
        let second = f64::from(s.second);
        windows.iter().any(|window| second >= window.start && second + 1.0 <= window.end)
    };
    let mut points: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for s in run.call_seconds.iter().filter(|s| inside(s)) {
        points.entry(s.call).or_default().push((f64::from(s.second), f64::from(s.rtt_p50_ms)));
    }
    for call in &mut run.calls {
        if let Some(points) = points.get(&call.call) {
            call.drift_ms_per_min = theil_sen(points);
            call.last_minus_first_ms = last_minus_first(points);
        }
    }
}

/// The percentiles of the distribution table: each tail ten times rarer than the last, as far as
/// the samples reach.
fn percentiles(facts: &Facts<'_>) -> Vec<PercentileRow> {
    let rtt = facts.histogram(Series::Rtt);
    let sent = rtt.len() + facts.lost;
    let mut at = vec![0.0, 1.0, 5.0, 10.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0];
    let mut tail = 10.0;
    while tail >= 100.0 / sent.max(1) as f64 && tail > 1e-7 {
        at.extend([1.0, 0.75, 0.5, 0.25, 0.2, 0.15].map(|part| 100.0 - tail * part));
        tail /= 10.0;
    }
    at.push(100.0);
    if sent == 0 {
        at.clear();
    }
    let row = |percentile: f64| {
        let of = |series| quantile(facts.histogram(series), percentile / 100.0, facts.lost_of(series));
        PercentileRow {
            // 100 − 0.00075 is not quite a double: without this it would read 99.99925000000000.
            percentile: (percentile * 1e9).round() / 1e9,
            one_in: one_in(percentile),
            rtt: of(Series::Rtt),
            rtt_intended: of(Series::RttIntended),
            control: of(Series::Control),
            send_lateness: of(Series::SendLateness),
        }
    };
    at.into_iter().map(row).collect()
}

/// 1 / (1 − p): of so many packets one is slower; infinite at 100.
fn one_in(percentile: f64) -> f64 {
    let exact = 100.0 / (100.0 - percentile).max(0.0);
    // 99.99 is not a double: without this, one in 10000 would read 10000.000000010000.
    if exact < 1e9 { (exact * 1e6).round() / 1e6 } else { exact }
}

/// Reasons that are told apart: a far end may have one of its own for each call.
const MOST_ENDINGS: usize = 32;

impl Summary {
    /// Endings of the attempts that were not answered, most frequent first.
    pub fn unanswered(&self) -> Vec<EndingCount> {
        endings(self.calls.iter().filter(|call| !call.ending.was_answered()))
    }
}

fn endings<'a>(calls: impl IntoIterator<Item = &'a CallRecord>) -> Vec<EndingCount> {
    let mut counts: BTreeMap<(bool, String), u64> = BTreeMap::new();
    for call in calls {
        let what = match (call.ending, call.status) {
            (Ending::Rejected, Some(status)) => format!("rejected: {status} {}", call.reason),
            (ending, _) if call.reason.is_empty() => ending.name().replace('_', " "),
            (ending, _) => format!("{}: {}", ending.name().replace('_', " "), call.reason),
        };
        *counts.entry((call.ending == Ending::Completed, what)).or_default() += 1;
    }
    let mut endings: Vec<_> =
        counts.into_iter().map(|((good, what), count)| EndingCount { what, count, good }).collect();
    endings.sort_by_key(|e| std::cmp::Reverse(e.count));
    let (good, mut bad): (Vec<_>, Vec<_>) = endings.into_iter().partition(|e| e.good);
    let more = bad.split_off(bad.len().min(MOST_ENDINGS));
    if !more.is_empty() {
        let (kinds, count) = (more.len(), more.iter().map(|e| e.count).sum());
        bad.push(EndingCount { what: format!("{kinds} more reasons"), count, good: false });
    }
    let mut endings: Vec<_> = bad.into_iter().chain(good).collect();
    endings.sort_by_key(|e| std::cmp::Reverse(e.count));
    endings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metric;
    use crate::record::{
        FaultRecord, Intervals, LeakPart, Milliseconds, Offered, Phase, QualityRow, RegisterRecord, Scope,
        SecondRecord, ServiceRecord, SignalRow, TurnKind, TurnRow,
    };
    use crate::values::Value;

    fn run(calls: Vec<CallRecord>, rtts_ms: &[u64]) -> Run {
        let mut rtt = Latencies::default();
        rtts_ms.iter().for_each(|ms| rtt.record(ms * 1_000_000));
        let mut intervals = Intervals::default();
        intervals.add(0, Series::Rtt, Scope::Measured, &rtt);
        Run { calls, intervals, ..Run::default() }
    }

    fn call(ending: Ending, status: Option<u16>) -> CallRecord {
        CallRecord { ending, status, ..CallRecord::default() }
    }

    /// A turn of each kind that is judged.
    fn turns() -> Vec<TurnRow> {
        let turn = |kind| TurnRow { kind, said_to_s: 100.0, ..TurnRow::default() };
        vec![
            TurnRow { response_ms: Some(Ns(1)), ..turn(TurnKind::Greeting) },
            TurnRow { response_ms: Some(Ns(1)), content_ms: Some(Ns(1)), ..turn(TurnKind::Say) },
            TurnRow { stop_ms: Some(Ns(1)), ..turn(TurnKind::Interruption) },
            TurnRow { false_stop: Some(false), ..turn(TurnKind::Backchannel) },
        ]
    }

    fn scored() -> QualityRow {
        let (mos_lqo, missing_ratio) = (Some(4.0), Some(0.0));
        QualityRow { sent_s: 100.0, mos_lqo, missing_ratio, ..QualityRow::default() }
    }

    #[test]
    fn every_metric_of_the_catalogue_is_worked_out() {
        let mut one = call(Ending::Completed, Some(200));
        (one.sent, one.received, one.total_sent, one.total_received) = (10_000, 9_998, 10_000, 9_998);
        (one.lost, one.lost_runs) = (2, 1);
        one.jitter_ms = Some(Ns(1));
        (one.lost_up, one.lost_down) = (Some(0), Some(0));
        let rtts: Vec<u64> = (0..9_998).map(|n| 1 + n / 3_000).collect();
        let mut run = run(vec![one], &rtts);
        run.environment.calls = 1;
        (run.environment.window_from_s, run.environment.window_to_s) = (Some(0.0), Some(300.0));
        run.call_seconds = (0..300).map(|second| CallSecond { call: 0, second, rtt_p50_ms: 1.0 }).collect();
        let mut control = Latencies::default();
        (0..10_000).for_each(|n| control.record(1_000_000 + n * 100));
        run.intervals.add(0, Series::Control, Scope::Measured, &control);
        let busy = SecondRecord {
            phase: Phase::Hold,
            measured_sent: 10,
            control_sent: 3,
            control_received: 3,
            cpu_driver: Some(0.1),
            cpu_busiest_thread: Some(0.1),
            cpu_service: Some(0.1),
            cpu_asterisk: Some(0.1),
            cpu_machine: Some(0.1),
            cpu_steal: Some(0.0),
            driver_rss_mib: Some(9.0),
            service_rss_mib: Some(9.0),
            asterisk_rss_mib: Some(9.0),
            ..Default::default()
        };
        // A slope needs ten points.
        run.seconds = (0..10).map(|second| SecondRecord { second, ..busy.clone() }).collect();
        let (target, action) = ("asterisk".to_string(), "kill".to_string());
        let fault = FaultRecord { target, action, down_s: -1.0, back_s: Some(0.0), ..Default::default() };
        run.environment.faults = vec![fault];
        let parts = ["channels", "bridges", "ports", "descriptors", "threads"];
        run.environment.leaks.parts = parts.map(|kind| LeakPart::counted(kind, kind, 0, 0)).into();
        run.environment.elapsed_s = 300.0;
        let ms = Milliseconds {
            count: 1,
            p50_ms: Some(1.0),
            p95_ms: Some(1.0),
            p99_ms: Some(1.0),
            max_ms: Some(1.0),
            ..Default::default()
        };
        run.environment.offered = Some(Offered { rate_per_s: 1.5, mean_call_s: 30.0 });
        let mut service = ServiceRecord::default();
        let stages = &mut service.stages;
        for times in [&mut stages.answered, &mut stages.bridged, &mut stages.first_packet] {
            *times = ms.into();
        }
        service.events.lag = ms.into();
        run.environment.service_record = Some(service);
        let register = RegisterRecord { attempts: 1, registered: 1, time: ms.into(), ..Default::default() };
        run.environment.register = Some(register);
        run.calls[0].answer_delay_ms = Some(Ns(1));
        (run.calls[0].first_echo_ms, run.calls[0].last_echo_s) = (Some(Ns(1)), Some(200.0));
        (run.calls[0].srtp_received, run.calls[0].srtp_decrypted) = (Some(9), Some(8));
        run.turns = turns();
        let found = SignalRow { sent_s: 100.0, delay_ms: Some(Ns(1)), ..SignalRow::default() };
        (run.signals, run.quality) = (vec![found], vec![scored()]);
        let summary = summarize(run);
        assert_eq!(summary.metric("srtp.undecrypted_count").unwrap().value, Value::Number(1.0));
        let names: Vec<_> = catalogue::all().map(|d| d.name).collect();
        assert_eq!(summary.metrics.iter().map(Metric::name).collect::<Vec<_>>(), names);
        let missing: Vec<_> = catalogue::counts()
            .filter(|d| summary.metric(d.name).unwrap().value == Value::NoData)
            .map(|d| d.name)
            .collect();
        assert_eq!(missing, ["calls.held"], "an open load wants no number of calls");
        assert_eq!(summary.metric("calls.offered_erlang").unwrap().value, Value::Number(45.0));
    }

    #[test]
    fn a_fault_without_recovery_breaks_its_gates_and_one_without_callers_is_no_data() {
        let fault = |done_s: f64| FaultRecord {
            done_s,
            down_s: done_s,
            back_s: Some(done_s + 1.0),
            ..Default::default()
        };
        let value = |faults: Vec<FaultRecord>, calls: Vec<CallRecord>, name: &str| {
            let mut run = run(calls, &[]);
            (run.environment.faults, run.environment.elapsed_s) = (faults, 60.0);
            summarize(run).metric(name).unwrap().value
        };
        let tried = CallRecord { intended_s: 12.0, ..call(Ending::Timeout, None) };
        assert_eq!(value(vec![fault(10.0)], vec![tried.clone()], "fault.answered_max"), Value::Lost);
        assert_eq!(value(vec![fault(10.0)], vec![], "fault.answered_max"), Value::NoData);
        assert_eq!(value(vec![fault(10.0)], vec![], "fault.heard_max"), Value::Lost);
        assert_eq!(value(vec![fault(10.0)], vec![], "fault.outage_max"), Value::Number(1000.0));
        assert_eq!(value(vec![], vec![], "fault.heard_max"), Value::NoData);
        assert_eq!(value(vec![], vec![], "fault.count"), Value::Number(0.0));
        let answered = CallRecord {
            intended_s: 22.0,
            answer_delay_ms: Some(Ns(0)),
            ..call(Ending::Completed, Some(200))
        };
        // One fault whose callers were answered, and one after which nobody called.
        let both = vec![fault(20.0), fault(40.0)];
        assert_eq!(value(both, vec![answered], "fault.answered_max"), Value::Number(2000.0));
        assert_eq!(value(vec![fault(10.0), fault(20.0)], vec![tried], "fault.answered_max"), Value::Lost);
    }

    #[test]
    fn without_calls_nothing_is_known_but_that_there_were_none() {
        let summary = summarize(run(vec![], &[]));
        let known: Vec<_> =
            summary.metrics.iter().filter(|m| matches!(m.value, Value::Number(n) if n != 0.0)).collect();
        assert!(known.is_empty(), "{known:?}");
        assert_eq!(summary.metric("rtt.p99").unwrap().value, Value::NoData);
        assert_eq!(summary.metric("loss.ratio").unwrap().value, Value::NoData);
        assert_eq!(summary.metric("calls.answered").unwrap().value, Value::NoData);
        assert!(summary.percentiles.is_empty());
    }

    #[test]
    fn lost_packets_worsen_percentiles_and_never_improve_them() {
        let mut lossy = call(Ending::Completed, Some(200));
        (lossy.sent, lossy.received, lossy.lost) = (1000, 980, 20);
        let summary = summarize(run(vec![lossy], &[5; 980]));
        assert_eq!(summary.metric("rtt.p99").unwrap().value, Value::Lost);
        assert_eq!(summary.metric("rtt.max").unwrap().value, Value::Lost);
        assert_eq!(summary.metric("loss.ratio").unwrap().value, Value::Number(0.02));
        let p95 = summary.metric("rtt.p95").unwrap();
        assert!(p95.value.number().is_some_and(|ms| (ms - 5.0).abs() < 0.01) && p95.too_few);
        assert!(!summary.metric("rtt.p90").unwrap().too_few);
    }

    #[test]
    fn session_ratios_follow_rfc_6076() {
        let calls = vec![
            call(Ending::Completed, Some(200)),
            call(Ending::RemoteHangup, Some(200)),
            call(Ending::Rejected, Some(486)),
            call(Ending::Rejected, Some(503)),
            call(Ending::Rejected, Some(302)),
        ];
        let summary = summarize(run(calls, &[]));
        let value = |name| summary.metric(name).unwrap().value.number().unwrap();
        assert_eq!((value("calls.ser"), value("calls.seer")), (0.5, 0.75));
        assert_eq!((value("calls.isa"), value("calls.scr")), (0.2, 0.2));
        assert_eq!(summary.endings[0].count, 1);
    }

    #[test]
    fn only_so_many_reasons_are_told_apart_and_none_is_left_out_of_the_count() {
        let rejected = |n: u64| {
            let reason = format!("number {}", n / 2);
            CallRecord { reason, ..call(Ending::Rejected, Some(486)) }
        };
        let mut calls: Vec<_> = (0..2000).map(rejected).collect();
        calls.push(call(Ending::Completed, Some(200)));
        let endings = summarize(run(calls, &[])).endings;
        assert_eq!(endings.iter().map(|e| e.count).sum::<u64>(), 2001);
        assert_eq!(endings.len(), MOST_ENDINGS + 2);
        assert!(endings.iter().any(|e| e.good && e.count == 1), "the good one is told");
        assert_eq!(endings[0].what, "968 more reasons");
    }
}
