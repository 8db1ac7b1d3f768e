//! Made-up runs that tests render: a typical one, and the odd ones.
//!
//! Seeded, so that snapshots stay as they are. The figures fit together as far as a reader would
//! notice: counts add up, and percentiles follow one distribution per latency.

use crate::analysis::{EndingCount, Metric, PercentileRow, Summary, Value, catalogue};
use crate::gate::{GateResult, Outcome, Verdict};
use crate::samples::{CallRecord, Ending, Environment, FORMAT_VERSION, Ns, Phase, SecondRecord};

/// Packets sent in the measured window of [`typical`].
pub(crate) const SENT: u64 = 50 * 300 * 50;
const LOST: u64 = 37;
const LATE: u64 = 212;

const WARMUP_FROM: u32 = 5;
const HOLD_FROM: u32 = 7;
const HOLD_TO: u32 = 307;
const END: u32 = 313;

/// Seeded noise (SplitMix64).
struct Noise(u64);

impl Noise {
    /// Uniform in 0–1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Around 1, now and then well above.
    fn burst(&mut self) -> f64 {
        let (a, b) = (self.next(), self.next());
        0.85 + 0.3 * a + if b > 0.93 { 12.0 * (b - 0.93) } else { 0.0 }
    }
}

fn ns(ms: f64) -> Ns {
    Ns((ms * 1e6).round() as u64)
}

/// A made-up distribution: latencies in ms at percentiles, straight lines between them over
/// log 1/(1−p).
struct Curve {
    at: &'static [(f64, f64)],
    /// The share of packets that never came back.
    lost: f64,
}

const fn curve(at: &'static [(f64, f64)], lost: f64) -> Curve {
    Curve { at, lost }
}

impl Curve {
    fn value(&self, percentile: f64) -> Value {
        if percentile / 100.0 > 1.0 - self.lost {
            return Value::Lost;
        }
        let x = |p: f64| -((1.0 - p / 100.0).max(1e-6)).log10();
        let after = self.at.iter().position(|(p, _)| *p >= percentile).unwrap_or(self.at.len() - 1).max(1);
        let ((p0, v0), (p1, v1)) = (self.at[after - 1], self.at[after]);
        let share = ((x(percentile) - x(p0)) / (x(p1) - x(p0))).clamp(0.0, 1.0);
        Value::Number(ns(v0 + (v1 - v0) * share).as_ms())
    }
}

const RATIO_LOST: f64 = LOST as f64 / SENT as f64;

fn curve_of(group: &str) -> Curve {
    let rtt = &[
        (0.0, 0.121),
        (50.0, 0.214),
        (90.0, 0.342),
        (95.0, 0.402),
        (99.0, 4.912),
        (99.9, 16.21),
        (99.99, 27.4),
        (100.0, 31.44),
    ];
    let from_intention = &[
        (0.0, 0.122),
        (50.0, 0.219),
        (90.0, 0.371),
        (95.0, 0.448),
        (99.0, 5.071),
        (99.9, 16.48),
        (99.99, 27.92),
        (100.0, 32.61),
    ];
    let service = &[(0.0, 0.004), (50.0, 0.011), (90.0, 0.024), (99.0, 2.84), (99.9, 9.7), (100.0, 14.9)];
    let path = &[(0.0, 0.112), (50.0, 0.201), (90.0, 0.317), (99.0, 2.11), (99.9, 7.3), (100.0, 17.0)];
    let way = &[(0.0, 0.051), (50.0, 0.103), (90.0, 0.161), (99.0, 1.07), (99.9, 3.9), (100.0, 9.2)];
    let lateness = &[
        (0.0, 0.0),
        (50.0, 0.004),
        (90.0, 0.031),
        (99.0, 0.118),
        (99.9, 0.41),
        (99.99, 1.1),
        (100.0, 1.742),
    ];
    let call = &[(0.0, 0.002), (50.0, 0.0041), (90.0, 0.0068), (99.0, 0.014), (99.9, 0.052), (100.0, 0.61)];
    let lag = &[(0.0, 0.003), (50.0, 0.0102), (90.0, 0.031), (99.0, 0.16), (99.9, 0.9), (100.0, 2.2)];
    let srd = &[(0.0, 1.42), (50.0, 1.93), (90.0, 2.71), (99.0, 4.4), (100.0, 4.4)];
    let answer = &[(0.0, 8.3), (50.0, 11.2), (90.0, 15.9), (99.0, 22.7), (100.0, 22.7)];
    let echo = &[(0.0, 14.8), (50.0, 26.1), (90.0, 38.8), (99.0, 61.3), (100.0, 61.3)];
    let sdd = &[(0.0, 0.71), (50.0, 0.94), (90.0, 1.48), (99.0, 2.93), (100.0, 2.93)];
    match group {
        "rtt" => curve(rtt, RATIO_LOST),
        "rtt_intended" => curve(from_intention, RATIO_LOST),
        "service_time" => curve(service, RATIO_LOST),
        "path_rtt" => curve(path, RATIO_LOST),
        "up" | "down" => curve(way, RATIO_LOST),
        "send_lateness" => curve(lateness, 0.0),
        "send_call" => curve(call, 0.0),
        "receive_lag" => curve(lag, 0.0),
        "srd" => curve(srd, 0.0),
        "answer_delay" => curve(answer, 0.0),
        "first_echo" => curve(echo, 0.0),
        _ => curve(sdd, 0.0),
    }
}

/// How much slower than usual a second is: a bump of twelve seconds.
fn load_of(second: u32) -> f64 {
    match second {
        140..=151 => 12.0 - f64::from(second.abs_diff(146)) * 1.6,
        _ => 1.0,
    }
}

fn second(n: u32, noise: &mut Noise) -> SecondRecord {
    let phase = match n {
        _ if n < WARMUP_FROM => Phase::Ramp,
        _ if n < HOLD_FROM => Phase::Warmup,
        _ if n < HOLD_TO => Phase::Hold,
        _ => Phase::Drain,
    };
    let calls_up = match phase {
        Phase::Ramp => (n + 1) * 10,
        Phase::Warmup | Phase::Hold => 50,
        Phase::Drain => (HOLD_TO + 4 - n.min(HOLD_TO + 4)) * 10,
    };
    let load = load_of(n);
    let sent = u64::from(calls_up) * 50;
    let lost = if n == 200 {
        29
    } else if n == 201 {
        8
    } else {
        0
    };
    let heard = (sent > 0).then_some(());
    let attempts = if n < WARMUP_FROM { 10 + u32::from(n == 2) } else { 0 };
    let shake = noise.burst();
    SecondRecord {
        second: n,
        phase,
        calls_up,
        attempts,
        answered: attempts - u32::from(n == 2),
        failed: u32::from(n == 2),
        ended: if phase == Phase::Drain && n < HOLD_TO + 5 { 10 } else { 0 },
        sent,
        received: sent - lost,
        lost,
        late: if (140..=151).contains(&n) { (load * load * 0.3) as u64 } else { 0 },
        rtt_p50_ms: heard.map(|()| ns(0.208 * load.powf(0.6) * (0.96 + 0.08 * noise.next()))),
        rtt_p95_ms: heard.map(|()| ns(0.37 * load * (0.9 + 0.2 * noise.next()))),
        rtt_p99_ms: heard.map(|()| ns(0.61 * load.powf(1.2) * noise.burst())),
        rtt_max_ms: heard.map(|()| ns(1.3 * load * shake)),
        send_lateness_max_ms: heard.map(|()| ns(0.21 * shake)),
        cpu_driver: Some(0.31 * f64::from(calls_up) / 50.0 + 0.03 * noise.next()),
        cpu_media_thread: Some(0.18 * f64::from(calls_up) / 50.0 + 0.02 * noise.next()),
        cpu_service: Some((0.22 + 0.01 * load) * f64::from(calls_up) / 50.0 + 0.02 * noise.next()),
        cpu_asterisk: (!(230..236).contains(&n))
            .then(|| (0.4 + 0.03 * load) * f64::from(calls_up) / 50.0 + 0.05 * noise.next()),
        cpu_machine: Some((0.27 + 0.02 * load) * f64::from(calls_up) / 50.0 + 0.03 * noise.next()),
        cpu_steal: Some(if noise.next() > 0.9 { 0.02 * noise.next() } else { 0.0 }),
        driver_rss_mib: Some(41.0 + f64::from(calls_up) * 0.05),
        asterisk_rss_mib: Some(88.0),
        service_rss_mib: Some(24.0),
        ..SecondRecord::default()
    }
}

/// An attempt that came to nothing.
fn failed_call(call: u32, ending: Ending, status: Option<u16>, reason: &str) -> CallRecord {
    CallRecord {
        call,
        line: call.min(49),
        call_id: format!("{:016x}@127.0.0.1", u64::from(call).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        rtp_port: 40_000 + (call as u16) * 2,
        intended_s: f64::from(call) / 10.0,
        invite_late_ms: ns(0.05),
        ending,
        status,
        reason: reason.into(),
        srd_ms: None,
        answer_delay_ms: None,
        sdd_ms: None,
        first_echo_ms: None,
        held_ms: None,
        retransmissions: if status.is_none() { 6 } else { 0 },
        total_sent: 0,
        total_received: 0,
        total_clipped: 0,
        sent: 0,
        received: 0,
        lost: 0,
        late: 0,
        late_20ms: 0,
        late_40ms: 0,
        late_60ms: 0,
        late_100ms: 0,
        late_200ms: 0,
        duplicates: 0,
        reordered: 0,
        corrupted: 0,
        strangers: 0,
        rtt_min_ms: None,
        rtt_p50_ms: None,
        rtt_p95_ms: None,
        rtt_p99_ms: None,
        rtt_max_ms: None,
        jitter_ms: None,
    }
}

fn answered_call(call: u32, noise: &mut Noise) -> CallRecord {
    let (sent, lost) = (15_000, if call % 17 == 3 { 12 } else { 0 } + u64::from(call == 50));
    let late = LATE / 50 + u64::from(call % 4 == 1);
    let slow = noise.burst();
    CallRecord {
        srd_ms: Some(ns(1.42 + 1.3 * noise.next() * slow)),
        answer_delay_ms: Some(ns(8.3 + 7.0 * noise.next() * slow)),
        sdd_ms: Some(ns(0.71 + 0.6 * noise.next())),
        first_echo_ms: Some(ns(14.8 + 22.0 * noise.next() * slow)),
        held_ms: Some(ns((306.0 - f64::from(call) / 100.0) * 1000.0)),
        retransmissions: u32::from(call == 31),
        total_sent: 15_420,
        total_received: 15_418 - lost,
        total_clipped: 2,
        sent,
        received: sent - lost,
        lost,
        late,
        late_20ms: late * 3,
        late_40ms: late * 2,
        late_60ms: late,
        reordered: u64::from(call == 12),
        rtt_min_ms: Some(ns(0.121 + 0.02 * noise.next())),
        rtt_p50_ms: Some(ns(0.21 + 0.01 * noise.next())),
        rtt_p95_ms: Some(ns(0.39 + 0.04 * noise.next())),
        rtt_p99_ms: Some(ns(4.3 + 1.2 * noise.next() * slow)),
        rtt_max_ms: Some(ns(26.0 + 5.4 * noise.next())),
        jitter_ms: Some(ns(0.03 + 0.02 * noise.next())),
        ..failed_call(call, Ending::Completed, Some(200), "")
    }
}

fn environment() -> Environment {
    Environment {
        format: FORMAT_VERSION,
        name: "50x5m".into(),
        version: "0.1.0".into(),
        started_at: "2026-11-20T14:03:11Z".into(),
        elapsed_s: 313.4,
        interrupted: false,
        window_from_s: Some(7.1),
        window_to_s: Some(307.1),
        calls: 50,
        calls_at_start: 50,
        suppressed_attempts: 0,
        codec: "PCMU".into(),
        ptime_ms: 20,
        late_after_ms: 60,
        lost_after_ms: 2000,
        host: "lab-3".into(),
        cpu: "AMD EPYC 7763 64-Core Processor".into(),
        cpus: 4,
        memory_mib: 16_000,
        kernel: "Linux 6.12.9".into(),
        asterisk: "Asterisk 20.11.1".into(),
        service: "built-in echo service".into(),
        scenario_hash: "9f2c51d0c3a1f7e64b0a8d2e1c5f9b7a3d4e6f8091a2b3c4d5e6f708192a3b4c".into(),
        command: ["loadtest", "run", "50x5m.toml", "--report", "html,png"].map(String::from).into(),
        clock_step_ns: 0,
        negative_rtt: 0,
        remarks: vec!["asterisk: 2 warnings in its log".into()],
    }
}

/// Every figure of the catalogue: percentiles from [`curve_of`], `samples` by group, counts by name.
fn metrics(packets: u64, calls: u64, count: impl Fn(&str) -> Value) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = catalogue::COUNTS
        .iter()
        .map(|definition| Metric { definition, value: count(definition.name), samples: None, too_few: false })
        .collect();
    let blocks = catalogue::SIGNALLING.iter().map(|b| (b, calls));
    for (block, samples) in blocks.chain(catalogue::LATENCIES.iter().map(|b| (b, packets))) {
        for (definition, (key, quantile)) in block.iter().zip(catalogue::STATISTICS) {
            let group = definition.name.split('.').next().unwrap_or_default();
            let curve = curve_of(group);
            let value = match (key, quantile) {
                _ if samples == 0 => Value::NoData,
                (_, Some(q)) => curve.value(q * 100.0),
                ("min", _) => curve.value(0.0),
                ("mean", _) => curve.value(62.0),
                _ => Curve { lost: 0.0, ..curve }.value(100.0),
            };
            let too_few = quantile.is_some_and(|q| samples as f64 * (1.0 - q) < 100.0 - 1e-6);
            let samples = quantile.map(|_| samples);
            metrics.push(Metric { definition, value, samples, too_few: too_few && value != Value::NoData });
        }
    }
    metrics
}

fn percentiles() -> Vec<PercentileRow> {
    let tail = (0..=46).map(|step| 100.0 - 100.0 / 10f64.powf(f64::from(step) / 8.0));
    let named = [50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 100.0];
    let mut all: Vec<f64> = tail.chain(named).map(|p| (p * 1e6).round() / 1e6).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let row = |percentile| PercentileRow {
        percentile,
        rtt: curve_of("rtt").value(percentile),
        rtt_intended: curve_of("rtt_intended").value(percentile),
        send_lateness: curve_of("send_lateness").value(percentile),
    };
    all.into_iter().map(row).collect()
}

fn typical_count(name: &str) -> Value {
    Value::Number(match name {
        "calls.attempts" => 51.0,
        "calls.answered" | "calls.ser" | "calls.scr" => 50.0 / 51.0,
        "calls.isa" => 1.0 / 51.0,
        "calls.seer" => 50.0 / 51.0,
        "calls.answered_count" => 50.0,
        "calls.failed_count" | "sip.retransmissions" | "reordered.count" => 1.0,
        "calls.held" => 1.0,
        "packets.sent" => SENT as f64,
        "packets.received" => (SENT - LOST) as f64,
        "packets.clipped" => 100.0,
        "loss.ratio" => RATIO_LOST,
        "loss.count" => LOST as f64,
        "late.count" => LATE as f64,
        "late.ratio" | "late.ratio_60ms" => LATE as f64 / SENT as f64,
        "late.ratio_20ms" => 648.0 / SENT as f64,
        "late.ratio_40ms" => 430.0 / SENT as f64,
        "jitter.max" => 0.049_713,
        "slots.missed_ratio" => 4.0 / SENT as f64,
        "cpu.media_thread_max" => 0.203,
        "cpu.driver_mean" => 0.326,
        "cpu.service_mean" => 0.245,
        "cpu.asterisk_mean" => 0.462,
        "cpu.machine_mean" => 0.309,
        "cpu.steal_max" => 0.018,
        "memory.driver_max" => 43.5,
        _ => 0.0,
    })
}

fn gate(expression: &str, outcome: Outcome, actual: &str, reason: &str) -> GateResult {
    GateResult { expression: expression.into(), outcome, actual: actual.into(), reason: reason.into() }
}

fn ending(what: &str, count: u64, good: bool) -> EndingCount {
    EndingCount { what: what.into(), count, good }
}

/// 50 calls for 5 minutes: a slow patch, a burst of loss, one call refused. It passes.
pub(crate) fn typical() -> (Summary, Verdict) {
    let mut noise = Noise(42);
    let calls = (0..51).map(|n| match n {
        23 => failed_call(n, Ending::Rejected, Some(503), "Service Unavailable"),
        _ => answered_call(n, &mut noise),
    });
    let calls = calls.collect();
    let summary = Summary {
        environment: environment(),
        metrics: metrics(SENT, 50, typical_count),
        percentiles: percentiles(),
        endings: vec![ending("completed", 50, true), ending("rejected 503 Service Unavailable", 1, false)],
        calls,
        seconds: (0..END).map(|n| second(n, &mut noise)).collect(),
    };
    let gates = vec![
        gate("calls.answered >= 98%", Outcome::Pass, "98.0392 %", ""),
        gate("rtt.p95 < 15ms", Outcome::Pass, "0.402 ms", ""),
        gate("rtt.p99 < 20ms", Outcome::Pass, "4.912 ms", ""),
        gate("late.ratio < 0.1%", Outcome::Pass, "0.0283 %", ""),
        gate("loss.ratio < 0.2%", Outcome::Pass, "0.0049 %", ""),
    ];
    (summary, Verdict { outcome: Outcome::Pass, gates, distrust: Vec::new() })
}

/// The typical run against a harder scenario, with an instrument that cannot be trusted either.
pub(crate) fn failing() -> (Summary, Verdict) {
    let (mut summary, mut verdict) = typical();
    summary.environment.interrupted = true;
    verdict.outcome = Outcome::Fail;
    verdict.gates[0] = gate("calls.answered == 100%", Outcome::Fail, "98.0392 %", "");
    verdict.gates[2] = gate("rtt.p99 < 2ms", Outcome::Fail, "4.912 ms", "");
    verdict.gates.push(gate(
        "srd.p99 < 10ms",
        Outcome::Inconclusive,
        "4.400 ms",
        "50 samples, 10000 needed for a 99th percentile",
    ));
    verdict.distrust = vec!["send lateness p99 is 3.210 ms, 2 ms allowed".into()];
    (summary, verdict)
}

/// Names and reasons that are not what they seem.
pub(crate) fn hostile() -> (Summary, Verdict) {
    let (mut summary, mut verdict) = failing();
    let script = "<script>alert('x')</script> & \"quotes\" ]]>";
    summary.environment.name = script.into();
    summary.environment.command.push(script.into());
    summary.calls[23].reason = script.into();
    summary.endings[1].what = script.into();
    verdict.gates[0].reason = script.into();
    verdict.distrust.push(script.into());
    (summary, verdict)
}

/// No call was answered: no packet was ever sent.
pub(crate) fn nothing_answered() -> (Summary, Verdict) {
    let (mut summary, _) = typical();
    summary.environment.window_from_s = None;
    summary.environment.window_to_s = None;
    summary.environment.calls_at_start = 0;
    summary.metrics = metrics(0, 0, |name| match name {
        "calls.attempts" | "calls.failed_count" => Value::Number(50.0),
        "calls.answered" | "calls.answered_count" | "packets.sent" => Value::Number(0.0),
        _ => Value::NoData,
    });
    summary.percentiles.clear();
    summary.calls = (0..50).map(|n| failed_call(n, Ending::Timeout, None, "no answer in 10 s")).collect();
    summary.endings = vec![ending("timeout: no answer in 10 s", 50, false)];
    summary.seconds = (0..5)
        .map(|n| SecondRecord { second: n, attempts: 10, failed: 10, ..SecondRecord::default() })
        .collect();
    let gates = vec![gate("rtt.p99 < 20ms", Outcome::Inconclusive, "no data", "nothing was measured")];
    (summary, Verdict { outcome: Outcome::Inconclusive, gates, distrust: Vec::new() })
}

/// A run that was over before its first second.
pub(crate) fn no_seconds() -> (Summary, Verdict) {
    let (mut summary, verdict) = nothing_answered();
    summary.seconds.clear();
    summary.calls.clear();
    summary.endings.clear();
    (summary, verdict)
}

/// A run of one second.
pub(crate) fn one_second() -> (Summary, Verdict) {
    let (mut summary, verdict) = typical();
    summary.seconds.drain(1..);
    summary.calls.drain(1..);
    (summary, verdict)
}

/// Answered, but not a packet came back.
pub(crate) fn all_lost() -> (Summary, Verdict) {
    let (mut summary, verdict) = typical();
    for metric in &mut summary.metrics {
        if metric.samples == Some(SENT) && !metric.name().starts_with("send") {
            metric.value = Value::Lost;
        }
    }
    for row in &mut summary.percentiles {
        (row.rtt, row.rtt_intended) = (Value::Lost, Value::Lost);
    }
    for s in &mut summary.seconds {
        (s.received, s.lost) = (0, s.sent);
        (s.rtt_p50_ms, s.rtt_p95_ms, s.rtt_p99_ms, s.rtt_max_ms) = (None, None, None, None);
    }
    (summary, verdict)
}

/// A thousand calls.
pub(crate) fn many_calls() -> (Summary, Verdict) {
    let (mut summary, verdict) = typical();
    let mut noise = Noise(3);
    summary.calls = (0..1000).map(|n| answered_call(n, &mut noise)).collect();
    summary.environment.calls = 1000;
    (summary, verdict)
}
