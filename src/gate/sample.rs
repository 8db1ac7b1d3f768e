//! Runs for the tests of verdicts, described second by second.

use super::{Gate, Limits, Verdict, judge};
use crate::metrics::{Summary, summarize};
use crate::record::{
    CallRecord, Ending, Environment, FORMAT_VERSION, Latencies, Phase, Quantile, Run, Scope, SecondRecord,
    Series,
};
use crate::values::Ns;

/// One second of the hold phase, all its packets alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Second {
    pub rtt_ms: f64,
    pub lateness_ms: f64,
    pub control_ms: f64,
    pub sent: u64,
    pub lost: u64,
    pub missed: u64,
    pub drops: u64,
    /// Shares of the machine.
    pub own: f64,
    pub others: f64,
    pub steal: f64,
    pub busiest_thread: f64,
}

/// A second in which nothing is wrong.
pub(crate) const QUIET: Second = Second {
    rtt_ms: 5.0,
    lateness_ms: 0.01,
    control_ms: 0.1,
    sent: 1000,
    lost: 0,
    missed: 0,
    drops: 0,
    own: 0.3,
    others: 0.0,
    steal: 0.0,
    busiest_thread: 0.2,
};

/// A second in which another program takes the CPU, and the driver sends 5 ms late.
pub(crate) const DISTURBED: Second = Second { lateness_ms: 5.0, others: 0.6, ..QUIET };

const CPUS: u32 = 2;

/// A run of these seconds, before it is summed up.
pub(crate) fn run(seconds: &[Second]) -> Run {
    let mut run = Run {
        environment: Environment {
            format: FORMAT_VERSION,
            cpus: CPUS,
            calls: 1,
            calls_at_start: 1,
            window_from_s: Some(0.0),
            window_to_s: Some(seconds.len() as f64),
            ..Default::default()
        },
        ..Run::default()
    };
    let mut call = CallRecord { ending: Ending::Completed, ..Default::default() };
    for (n, second) in (0..).zip(seconds) {
        let ns = |ms: f64| (ms * 1e6) as u64;
        let back = second.sent - second.lost;
        let mut add = |series, ms, count| {
            let mut latencies = Latencies::default();
            latencies.record_n(ns(ms), count);
            run.intervals.add(n, series, Scope::Measured, &latencies);
        };
        add(Series::Rtt, second.rtt_ms, back);
        add(Series::RttIntended, second.rtt_ms + second.lateness_ms, back);
        add(Series::Up, second.rtt_ms / 2.0, back);
        add(Series::SendLateness, second.lateness_ms, second.sent);
        add(Series::Control, second.control_ms, 100);
        let own = second.own * f64::from(CPUS);
        run.seconds.push(SecondRecord {
            second: n,
            phase: Phase::Hold,
            calls_up: 1,
            sent: second.sent,
            received: back,
            lost: second.lost,
            control_sent: 100,
            control_received: 100,
            missed_slots: second.missed,
            measured_sent: second.sent,
            measured_missed_slots: second.missed,
            socket_drops: second.drops,
            cpu_driver: Some(own / 2.0),
            cpu_asterisk: Some(own / 2.0),
            cpu_busiest_thread: Some(second.busiest_thread),
            cpu_machine: Some(second.own + second.others),
            cpu_steal: Some(second.steal),
            ..Default::default()
        });
        call.sent += second.sent;
        call.received += back;
        call.lost += second.lost;
    }
    (call.total_sent, call.total_received) = (call.sent, call.received);
    let slowest = seconds.iter().map(|s| (s.rtt_ms * 1e6) as u64).max();
    call.rtt_p95_ms = slowest.map_or(Quantile::NoData, Quantile::At);
    (call.rtt_min_ms, call.rtt_max_ms) = (slowest.map(Ns), slowest.map(Ns));
    run.calls = vec![call];
    run
}

/// So many seconds of the one kind, and then of the other.
pub(crate) fn seconds(quiet: usize, kind: Second, others: usize, other: Second) -> Vec<Second> {
    [vec![kind; quiet], vec![other; others]].concat()
}

pub(super) fn summary(seconds: &[Second]) -> Summary {
    summarize(run(seconds))
}

pub(super) fn limits() -> Limits {
    Limits::default()
}

pub(super) fn verdict(summary: &Summary, gates: &[&str]) -> Verdict {
    judge(summary, &parsed(gates), &limits())
}

pub(super) fn parsed(gates: &[&str]) -> Vec<Gate> {
    gates.iter().map(|gate| Gate::parse(gate).unwrap()).collect()
}
