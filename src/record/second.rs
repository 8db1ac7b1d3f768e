//! The record of one second of the run: a row of `seconds.csv`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::values::Ns;

/// The part of the run that a second belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Calls are being set up.
    #[default]
    Ramp,
    /// All calls are up; the path settles.
    Warmup,
    /// The measured window.
    Hold,
    /// Calls are being hung up.
    Drain,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Ramp => "ramp",
            Phase::Warmup => "warm-up",
            Phase::Hold => "hold",
            Phase::Drain => "drain",
        })
    }
}

/// One second. Packets are counted in the second in which the schedule intended them sent, all
/// calls together, whether or not the second lies in the measured window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SecondRecord {
    /// Whole seconds since the run's start.
    pub second: u32,
    /// The phase in which the second began.
    pub phase: Phase,
    /// Calls up at the end of the second.
    pub calls_up: u32,
    /// INVITEs of new attempts.
    pub attempts: u32,
    /// Calls answered.
    pub answered: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// Answered calls that ended, by either side.
    pub ended: u32,
    /// Probes sent.
    pub sent: u64,
    /// Distinct probes back within `lost_after`.
    pub received: u64,
    /// Sent before the call's first echo and not back: set-up, not loss.
    pub clipped: u64,
    /// Sent after the first echo, and not back within `lost_after`.
    pub lost: u64,
    /// Late by the scenario's `late_after`, anchored on each call's minimum RTT so far.
    pub late: u64,
    /// Came back again.
    pub duplicates: u64,
    /// Came back out of order.
    pub reordered: u64,
    /// Corrupted packets received in this second.
    pub corrupted: u64,
    /// Median RTT of the packets that came back.
    pub rtt_p50_ms: Option<Ns>,
    /// 95th percentile, likewise.
    pub rtt_p95_ms: Option<Ns>,
    /// 99th percentile, likewise.
    pub rtt_p99_ms: Option<Ns>,
    /// Largest RTT.
    pub rtt_max_ms: Option<Ns>,
    /// Probes sent on the control stream.
    pub control_sent: u64,
    /// Of these, distinct ones back within `lost_after`.
    pub control_received: u64,
    /// Median RTT of the control stream.
    pub control_p50_ms: Option<Ns>,
    /// 99th percentile, likewise.
    pub control_p99_ms: Option<Ns>,
    /// Largest RTT of the control stream.
    pub control_max_ms: Option<Ns>,
    /// Packets sent later than the next one of their stream was due.
    pub missed_slots: u64,
    /// Packets of the measured window among those sent.
    pub measured_sent: u64,
    /// Packets of the measured window among the missed slots.
    pub measured_missed_slots: u64,
    /// Largest send lateness.
    pub send_lateness_max_ms: Option<Ns>,
    /// Datagrams that sockets dropped for want of buffer space.
    pub socket_drops: u64,
    /// CPU of the driver in cores (1.0 is one core busy).
    pub cpu_driver: Option<f64>,
    /// CPU of the driver's busiest thread, in cores.
    pub cpu_busiest_thread: Option<f64>,
    /// CPU of the service under test in cores.
    pub cpu_service: Option<f64>,
    /// CPU of Asterisk in cores.
    pub cpu_asterisk: Option<f64>,
    /// CPU of the whole machine, all programs, as a share of all cores (0–1).
    pub cpu_machine: Option<f64>,
    /// CPU time that the hypervisor gave to others, as a share of all cores (0–1).
    pub cpu_steal: Option<f64>,
    /// Resident memory of the driver in MiB.
    pub driver_rss_mib: Option<f64>,
    /// Resident memory of Asterisk in MiB.
    pub asterisk_rss_mib: Option<f64>,
    /// Resident memory of the service in MiB.
    pub service_rss_mib: Option<f64>,
}

/// One call's second: a row of `call_seconds.csv`, from which drift and the heat map are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CallSecond {
    /// Number of the attempt.
    pub call: u32,
    /// Second of the run in which the schedule intended the packets sent.
    pub second: u32,
    /// Median RTT of those that came back, in ms, to 2 digits.
    pub rtt_p50_ms: f32,
}
