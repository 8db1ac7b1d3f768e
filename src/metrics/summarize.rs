//! Computes every metric of the catalogue from a run's samples.

use std::collections::BTreeMap;

use super::ari;
use super::catalogue::{COUNTS, LATENCIES, SIGNALLING, STATISTICS};
use super::{Definition, EndingCount, Metric, PercentileRow, Summary};
use crate::analysis::drift::{last_minus_first, theil_sen};
use crate::analysis::explain::{Explained, Tail, explain};
use crate::analysis::fault::{Recovery, recoveries};
use crate::analysis::mos::{Concealment, burst_r, mos, mouth_to_ear_ms, r_factor};
use crate::record::{CallRecord, CallSecond, Ending, Latencies, Phase, Quantile, Run, SecondRecord, Series};
use crate::values::Ns;
use crate::values::Value;

/// Samples a percentile p must rest on, times (1 − p).
const TAIL_SAMPLES: f64 = 100.0;

/// The Summary of a run.
pub fn summarize(mut run: Run) -> Summary {
    drifts(&mut run);
    let lost = run.calls.iter().map(|c| c.lost).sum();
    let empty = Latencies::default();
    let of = |series| run.histograms.get(&series).unwrap_or(&empty);
    let explained = explained(&run, lost);
    let median_ms = quantile(of(Series::Rtt), 0.5, lost).number();
    let faults = recoveries(&run);
    let counts = Counts { run: &run, lost, median_ms, explained, faults: &faults };
    let mut metrics: Vec<Metric> = COUNTS.iter().map(|d| counts.metric(d)).collect();
    for (block, delays) in SIGNALLING.iter().zip(signalling(&run.calls)) {
        metrics.extend(latency(block, &delays, 0));
    }
    for (block, series) in LATENCIES.iter().zip(Series::ALL) {
        metrics.extend(latency(block, of(series), missing(series, of(series), lost)));
    }
    let percentiles = percentiles(
        of(Series::Rtt),
        [of(Series::RttIntended), of(Series::Control), of(Series::SendLateness)],
        lost,
    );
    let endings = endings(&run.calls);
    Summary {
        explanation: explained.map(|e| e.to_string()),
        environment: run.environment,
        metrics,
        percentiles,
        faults,
        endings,
        calls: run.calls,
        call_seconds: run.call_seconds,
        silences: run.silences,
        seconds: run.seconds,
    }
}

/// What of the calls' tail the machine explains. Nothing can be said on too few samples, and not where
/// the calls' packets were held back on purpose: the control stream's were not.
fn explained(run: &Run, lost: u64) -> Option<Explained> {
    let tail = |series: Series, lost: u64| {
        let latencies = run.histograms.get(&series)?;
        let enough = (latencies.len() + lost) as f64 * (1.0 - 0.99) >= TAIL_SAMPLES;
        let tail = Tail::between(quantile(latencies, 0.5, lost), quantile(latencies, 0.99, lost));
        tail.filter(|_| enough && !run.environment.impaired)
    };
    let (sent, received) = control_in_hold(run);
    explain(tail(Series::Rtt, lost)?, tail(Series::Control, sent.saturating_sub(received))?)
}

/// Control packets sent in the seconds of the hold phase, and those of them that came back.
fn control_in_hold(run: &Run) -> (u64, u64) {
    let held = run.seconds.iter().filter(|s| s.phase == Phase::Hold);
    held.fold((0, 0), |(sent, received), s| (sent + s.control_sent, received + s.control_received))
}

/// How many lost packets rank in this series as the slowest: all of them in what a caller feels,
/// none in the instrument's own times, and none where the far end does not stamp at all.
fn missing(series: Series, recorded: &Latencies, lost: u64) -> u64 {
    match series {
        Series::SendLateness | Series::SendCall | Series::ReceiveLag | Series::Control | Series::Ipdv => 0,
        Series::Rtt | Series::RttIntended => lost,
        _ if recorded.is_empty() => 0,
        _ => lost,
    }
}

/// Works out each call's drift from its seconds within the measured window.
fn drifts(run: &mut Run) {
    let environment = &run.environment;
    let (from, to) = (environment.window_from_s.unwrap_or(0.0), environment.window_to_s.unwrap_or(0.0));
    let inside = |s: &CallSecond| f64::from(s.second) >= from && f64::from(s.second) + 1.0 <= to;
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

/// Whether the quantile `q` (0–1) of so many samples rests on too few.
pub fn too_few(samples: u64, q: f64) -> bool {
    (samples as f64 * (1.0 - q)).round() < TAIL_SAMPLES
}

pub(super) fn plain(definition: &'static Definition, value: Value) -> Metric {
    Metric { definition, value, samples: None, too_few: false }
}

/// The eight statistics of one latency.
pub(super) fn latency(
    block: &'static [Definition; 8],
    l: &Latencies,
    lost: u64,
) -> impl Iterator<Item = Metric> {
    let samples = l.len() + lost;
    block.iter().zip(STATISTICS).map(move |(definition, (key, q))| {
        let value = match (key, q) {
            (_, Some(q)) => quantile(l, q, lost),
            ("min", _) => milliseconds(l.min()),
            ("max", _) if lost > 0 => Value::Lost,
            ("max", _) => milliseconds(l.max()),
            _ => l.mean().map_or(Value::NoData, |ns| Value::Number(ns / 1e6)),
        };
        let too_few = q.is_some_and(|q| samples > 0 && too_few(samples, q));
        Metric { definition, value, samples: Some(samples), too_few }
    })
}

fn milliseconds(ns: Option<u64>) -> Value {
    ns.map_or(Value::NoData, |ns| Value::Number(ns as f64 / 1e6))
}

fn quantile(l: &Latencies, q: f64, lost: u64) -> Value {
    match l.quantile(q, lost) {
        Quantile::At(ns) => Value::Number(ns as f64 / 1e6),
        // Beyond the histogram's 60 s a packet is as good as lost to any caller.
        Quantile::Above | Quantile::Lost => Value::Lost,
        Quantile::NoData => Value::NoData,
    }
}

/// The delays of [`SIGNALLING`], in its order.
fn signalling(calls: &[CallRecord]) -> [Latencies; SIGNALLING.len()] {
    let gather = |delay: fn(&CallRecord) -> Option<Ns>| {
        let mut l = Latencies::default();
        calls.iter().filter_map(delay).for_each(|ns| l.record(ns.0));
        l
    };
    [gather(|c| c.srd_ms), gather(|c| c.answer_delay_ms), gather(|c| c.first_echo_ms), gather(|c| c.sdd_ms)]
}

/// The percentiles of the distribution table: each tail ten times rarer than the last, as far as
/// the samples reach.
fn percentiles(
    rtt: &Latencies,
    [intended, control, lateness]: [&Latencies; 3],
    lost: u64,
) -> Vec<PercentileRow> {
    let sent = rtt.len() + lost;
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
    at.into_iter()
        .map(|percentile| PercentileRow {
            percentile,
            rtt: quantile(rtt, percentile / 100.0, lost),
            rtt_intended: quantile(intended, percentile / 100.0, lost),
            control: quantile(control, percentile / 100.0, 0),
            send_lateness: quantile(lateness, percentile / 100.0, 0),
        })
        .collect()
}

fn endings(calls: &[CallRecord]) -> Vec<EndingCount> {
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
    endings
}

/// Works out the metrics of `COUNTS`, each by its name.
struct Counts<'a> {
    run: &'a Run,
    lost: u64,
    /// Median RTT, for the delay in the MOS estimate.
    median_ms: Option<f64>,
    explained: Option<Explained>,
    faults: &'a [Recovery],
}

impl Counts<'_> {
    fn metric(&self, definition: &'static Definition) -> Metric {
        let Some(("ari", key)) = definition.name.split_once('.') else {
            return plain(definition, self.value(definition.name));
        };
        let Some(service) = &self.run.environment.service_record else {
            return plain(definition, Value::NoData);
        };
        let (value, rests_on) = ari::value(service, key);
        let too_few = rests_on.is_some_and(|(n, q)| n > 0 && too_few(n, q));
        Metric { definition, value, samples: rests_on.map(|(n, _)| n), too_few }
    }

    fn value(&self, name: &str) -> Value {
        match name.split_once('.').unwrap_or((name, "")) {
            ("calls", key) => self.calls(key),
            ("late", key) => self.late(key),
            ("mos", key) => self.mos(if key == "plain" { Concealment::No } else { Concealment::Yes }),
            ("control", key) => self.control(key),
            ("fault", key) => self.fault(key),
            ("leaks", key) => self.leaks(key),
            ("cpu" | "memory" | "slots" | "sockets", _) => self.machine(name),
            _ => self.packets(name),
        }
    }

    fn calls(&self, key: &str) -> Value {
        let calls = &self.run.calls;
        let attempts = calls.len() as u64;
        let count = |is: &dyn Fn(&CallRecord) -> bool| calls.iter().filter(|c| is(c)).count() as u64;
        let status = |codes: &[u16]| count(&|c: &CallRecord| c.status.is_some_and(|s| codes.contains(&s)));
        let answered = count(&|c| c.ending.was_answered());
        let redirected = count(&|c| c.status.is_some_and(|s| (300..400).contains(&s)));
        match key {
            "attempts" => number(attempts),
            "answered" => ratio(answered, attempts),
            "answered_count" => number(answered),
            "failed_count" => number(attempts - answered),
            "dropped_count" => {
                number(count(&|c| matches!(c.ending, Ending::RemoteHangup | Ending::MediaLost)))
            }
            "media_lost_count" => number(count(&|c| c.ending == Ending::MediaLost)),
            "silent_count" => number(count(&CallRecord::is_silent)),
            "suppressed_count" => number(self.run.environment.suppressed_attempts),
            "held" => ratio(self.run.environment.calls_at_start.into(), self.run.environment.calls.into()),
            "ser" => ratio(answered, attempts - redirected),
            "seer" => ratio(answered + status(&[480, 486, 600, 603]), attempts - redirected),
            "isa" => {
                let silent_failures = count(&|c| c.ending == Ending::Timeout);
                ratio(status(&[408, 500, 503, 504]) + silent_failures, attempts)
            }
            "scr" => ratio(count(&|c| c.ending == Ending::Completed), attempts),
            _ => Value::NoData,
        }
    }

    fn late(&self, key: &str) -> Value {
        let late = |of: &dyn Fn(&CallRecord) -> u64| self.run.calls.iter().map(of).sum::<u64>();
        let part = |n: u64| ratio(n, self.sent());
        match key {
            "count" => self.when_sent(late(&|c| c.late)),
            "ratio" => part(late(&|c| c.late)),
            "ratio_20ms" => part(late(&|c| c.late_20ms)),
            "ratio_40ms" => part(late(&|c| c.late_40ms)),
            "ratio_60ms" => part(late(&|c| c.late_60ms)),
            "ratio_100ms" => part(late(&|c| c.late_100ms)),
            "ratio_200ms" => part(late(&|c| c.late_200ms)),
            _ => Value::NoData,
        }
    }

    fn packets(&self, name: &str) -> Value {
        let sum = |of: fn(&CallRecord) -> u64| self.run.calls.iter().map(of).sum::<u64>();
        match name {
            "sip.retransmissions" => number(sum(|c| c.retransmissions.into())),
            "sip.garbage_count" => number(self.run.environment.sip_garbage),
            "sip.stray_count" => number(self.run.environment.sip_strays),
            "packets.sent" => number(self.sent()),
            "packets.received" => number(sum(|c| c.received)),
            "packets.clipped" => number(sum(|c| c.total_clipped)),
            "loss.count" => self.when_sent(self.lost),
            "loss.ratio" => ratio(self.lost, self.sent()),
            "loss.up_count" => self.attributed(|c| c.lost_up),
            "loss.down_count" => self.attributed(|c| c.lost_down),
            "loss.unattributed_count" => {
                self.attributed(|c| Some(c.lost.saturating_sub(c.lost_up? + c.lost_down?)))
            }
            "loss.burst_mean" => self.mean_burst().map_or(Value::NoData, Value::Number),
            "drift.max" => self.steepest(|c| c.drift_ms_per_min),
            "drift.last_minus_first_max" => self.steepest(|c| c.last_minus_first_ms),
            "duplicate.count" => self.when_sent(sum(|c| c.duplicates)),
            "reordered.count" => self.when_sent(sum(|c| c.reordered)),
            "corrupted.count" => number(sum(|c| c.corrupted)),
            "strangers.count" => number(sum(|c| c.strangers)),
            "jitter.max" => {
                milliseconds(self.run.calls.iter().filter_map(|c| c.jitter_ms).max().map(|ns| ns.0))
            }
            _ => Value::NoData,
        }
    }

    /// A sum over the calls whose far end stamps; no data where none does.
    fn attributed(&self, of: fn(&CallRecord) -> Option<u64>) -> Value {
        self.run.calls.iter().filter_map(of).reduce(|a, b| a + b).map_or(Value::NoData, number)
    }

    fn steepest(&self, of: fn(&CallRecord) -> Option<f64>) -> Value {
        self.run.calls.iter().filter_map(of).reduce(f64::max).map_or(Value::NoData, Value::Number)
    }

    /// Mean length of the runs of lost packets.
    fn mean_burst(&self) -> Option<f64> {
        let runs: u64 = self.run.calls.iter().map(|c| c.lost_runs).sum();
        (runs > 0).then(|| self.lost as f64 / runs as f64)
    }

    /// The E-model's estimate for the average packet, over all calls alike.
    fn mos(&self, concealment: Concealment) -> Value {
        let late: u64 = self.run.calls.iter().map(|c| c.late).sum();
        let (Some(rtt_ms), sent @ 1..) = (self.median_ms, self.sent()) else { return Value::NoData };
        let environment = &self.run.environment;
        let ta = mouth_to_ear_ms(rtt_ms, environment.ptime_ms as f64, environment.late_after_ms);
        let ppl = 100.0 * (self.lost + late) as f64 / sent as f64;
        let burst = self.mean_burst().map_or(1.0, |mean| burst_r(self.lost as f64 / sent as f64, mean));
        Value::Number(mos(r_factor(ta, ppl, burst, concealment)))
    }

    fn control(&self, key: &str) -> Value {
        let (sent, received) = control_in_hold(self.run);
        match key {
            "tail_share" => self.explained.map_or(Value::NoData, |e| Value::Number(e.share)),
            "sent_count" if sent > 0 => number(sent),
            "lost_count" if sent > 0 => number(sent.saturating_sub(received)),
            _ => Value::NoData,
        }
    }

    fn fault(&self, key: &str) -> Value {
        let faults = self.faults;
        let sum = |of: fn(&Recovery) -> u64| match faults {
            [] => Value::NoData,
            faults => number(faults.iter().map(of).sum()),
        };
        match key {
            "count" => number(faults.len() as u64),
            "outage_max" => self.slowest(|r| r.outage_s.map(Some)),
            // Where nobody called, nobody can have waited for an answer.
            "answered_max" => self.slowest(|r| r.answered_s.map(Some).or((!r.was_tried).then_some(None))),
            "heard_max" => self.slowest(|r| r.heard_s.map(Some)),
            "served_max" => self.slowest(|r| r.served_s.map(Some)),
            "restored_max" => self.slowest(|r| r.restored_s.map(Some)),
            "calls_lost" => sum(|r| r.calls_lost),
            "attempts_failed" => sum(|r| r.attempts_failed),
            "packets_lost" => sum(|r| r.packets_lost),
            _ => Value::NoData,
        }
    }

    /// The longest of a duration, in milliseconds; `Lost` where one never ended (`None`). A fault for
    /// which it means nothing (`Some(None)`) is passed over.
    fn slowest(&self, of: fn(&Recovery) -> Option<Option<f64>>) -> Value {
        let durations: Option<Vec<_>> = self.faults.iter().map(of).collect();
        let Some(durations) = durations else { return Value::Lost };
        let longest = durations.into_iter().flatten().reduce(f64::max);
        longest.map_or(Value::NoData, |s| Value::Number(s * 1000.0))
    }

    fn leaks(&self, key: &str) -> Value {
        let kind = (key != "total").then_some(key);
        self.run.environment.leaks.total(kind).map_or(Value::NoData, number)
    }

    fn machine(&self, name: &str) -> Value {
        let held = || self.run.seconds.iter().filter(|s| s.phase == Phase::Hold);
        let mean = |of: fn(&SecondRecord) -> Option<f64>| {
            let values: Vec<f64> = held().filter_map(of).collect();
            if values.is_empty() {
                Value::NoData
            } else {
                Value::Number(values.iter().sum::<f64>() / values.len() as f64)
            }
        };
        let most = |of: fn(&SecondRecord) -> Option<f64>| {
            held().filter_map(of).reduce(f64::max).map_or(Value::NoData, Value::Number)
        };
        match name {
            "slots.missed_ratio" => {
                let seconds = &self.run.seconds;
                let missed: u64 = seconds.iter().map(|s| s.measured_missed_slots).sum();
                let sent: u64 = seconds.iter().map(|s| s.measured_sent).sum();
                ratio(missed, sent + self.run.environment.skipped)
            }
            "sockets.drops" => number(self.run.seconds.iter().map(|s| s.socket_drops).sum()),
            "cpu.busiest_thread_max" => most(|s| s.cpu_busiest_thread),
            "cpu.driver_mean" => mean(|s| s.cpu_driver),
            "cpu.service_mean" => mean(|s| s.cpu_service),
            "cpu.asterisk_mean" => mean(|s| s.cpu_asterisk),
            "cpu.machine_mean" => mean(|s| s.cpu_machine),
            "cpu.steal_max" => most(|s| s.cpu_steal),
            "memory.driver_max" => {
                let rss = self.run.seconds.iter().filter_map(|s| s.driver_rss_mib);
                rss.reduce(f64::max).map_or(Value::NoData, Value::Number)
            }
            _ => Value::NoData,
        }
    }

    fn sent(&self) -> u64 {
        self.run.calls.iter().map(|c| c.sent).sum()
    }

    /// A count of packets; without a packet sent, zero would say more than is known.
    fn when_sent(&self, count: u64) -> Value {
        if self.sent() == 0 { Value::NoData } else { number(count) }
    }
}

pub(super) fn number(n: u64) -> Value {
    Value::Number(n as f64)
}

pub(super) fn ratio(part: u64, whole: u64) -> Value {
    if whole == 0 { Value::NoData } else { Value::Number(part as f64 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Environment, FaultRecord, LeakPart};
    use crate::record::{Milliseconds, ServiceRecord};

    fn run(calls: Vec<CallRecord>, rtts_ms: &[u64]) -> Run {
        let mut rtt = Latencies::default();
        rtts_ms.iter().for_each(|ms| rtt.record(ms * 1_000_000));
        Run {
            environment: Environment::default(),
            calls,
            seconds: vec![],
            call_seconds: vec![],
            silences: vec![],
            histograms: [(Series::Rtt, rtt)].into(),
        }
    }

    fn call(ending: Ending, status: Option<u16>) -> CallRecord {
        CallRecord { ending, status, ..CallRecord::blank(0, 0) }
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
        run.histograms.insert(Series::Control, control);
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
            ..Default::default()
        };
        run.seconds = vec![busy];
        let (target, action) = ("asterisk".to_string(), "kill".to_string());
        let fault = FaultRecord { target, action, down_s: -1.0, back_s: Some(0.0), ..Default::default() };
        run.environment.faults = vec![fault];
        let parts = ["channels", "bridges", "ports", "descriptors", "threads"];
        run.environment.leaks.parts = parts.map(|kind| LeakPart::counted(kind, kind, 0, 0, 0)).into();
        run.environment.elapsed_s = 300.0;
        let ms = Milliseconds {
            count: 1,
            p50_ms: Some(1.0),
            p95_ms: Some(1.0),
            p99_ms: Some(1.0),
            max_ms: Some(1.0),
        };
        let mut service = ServiceRecord::default();
        (service.stages.answered, service.stages.bridged, service.stages.first_packet) = (ms, ms, ms);
        service.events.lag = ms;
        run.environment.service_record = Some(service);
        run.calls[0].answer_delay_ms = Some(Ns(1));
        (run.calls[0].first_echo_ms, run.calls[0].last_echo_s) = (Some(Ns(1)), Some(200.0));
        let summary = summarize(run);
        let names: Vec<_> = super::super::catalogue::all().map(|d| d.name).collect();
        assert_eq!(summary.metrics.iter().map(Metric::name).collect::<Vec<_>>(), names);
        let missing: Vec<_> =
            COUNTS.iter().filter(|d| summary.metric(d.name).unwrap().value == Value::NoData).collect();
        assert!(missing.is_empty(), "{missing:?}");
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
}
