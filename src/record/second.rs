//! The record of one second of the run: a row of `seconds.csv`.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use strum::Display;

use crate::values::Ns;

/// The part of the run that a second belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Calls are being set up.
    #[default]
    Ramp,
    /// All calls are up; the path settles.
    #[strum(to_string = "warm-up")]
    Warmup,
    /// The measured window.
    Hold,
    /// Calls are being hung up.
    Drain,
}

/// One second. Packets are counted in the second in which the schedule intended them sent, all
/// calls together, whether or not the second lies in the measured window.
///
/// Percentiles of round trips are no part of what is recorded: `summarize` takes them from the interval
/// log. Those of format 1 are as stored.
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
    /// Packets that were under way when their call was put on hold, and did not come back. Once the second is concluded,
    /// they are not among those sent.
    #[serde(default)]
    pub excused: u64,
    /// Packets of the measured window among these.
    #[serde(default)]
    pub measured_excused: u64,
}

impl SecondRecord {
    /// Works out what was lost, once nothing is counted any more: of what was sent, and not excused.
    pub fn conclude(&mut self) {
        self.sent = self.sent.saturating_sub(self.excused);
        self.measured_sent = self.measured_sent.saturating_sub(self.measured_excused);
        self.lost = self.sent.saturating_sub(self.received + self.clipped);
    }

    /// Packets of the control stream that did not come back.
    pub fn control_lost(&self) -> u64 {
        self.control_sent.saturating_sub(self.control_received)
    }
}

/// Adds what another source has counted of the same second. Percentiles cannot be added: they are left to
/// the interval log.
impl AddAssign<&SecondRecord> for SecondRecord {
    fn add_assign(&mut self, other: &SecondRecord) {
        self.phase = self.phase.max(other.phase);
        // Files of others may hold anything.
        self.calls_up = self.calls_up.saturating_add(other.calls_up);
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.answered = self.answered.saturating_add(other.answered);
        self.failed = self.failed.saturating_add(other.failed);
        self.ended = self.ended.saturating_add(other.ended);
        self.sent += other.sent;
        self.received += other.received;
        self.clipped += other.clipped;
        self.lost += other.lost;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.control_sent += other.control_sent;
        self.control_received += other.control_received;
        self.missed_slots += other.missed_slots;
        self.measured_sent += other.measured_sent;
        self.measured_missed_slots += other.measured_missed_slots;
        self.send_lateness_max_ms = self.send_lateness_max_ms.max(other.send_lateness_max_ms);
        self.socket_drops += other.socket_drops;
        self.excused += other.excused;
        self.measured_excused += other.measured_excused;
        self.cpu_busiest_thread =
            self.cpu_busiest_thread.into_iter().chain(other.cpu_busiest_thread).reduce(f64::max);
        let or = |mine: &mut Option<f64>, other| *mine = mine.or(other);
        or(&mut self.cpu_driver, other.cpu_driver);
        or(&mut self.cpu_service, other.cpu_service);
        or(&mut self.cpu_asterisk, other.cpu_asterisk);
        or(&mut self.cpu_machine, other.cpu_machine);
        or(&mut self.cpu_steal, other.cpu_steal);
        or(&mut self.driver_rss_mib, other.driver_rss_mib);
        or(&mut self.asterisk_rss_mib, other.asterisk_rss_mib);
        or(&mut self.service_rss_mib, other.service_rss_mib);
    }
}

/// One call's second: a row of `call_seconds.csv`, from which drift and the heat map are made.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CallSecond {
    /// Number of the attempt.
    pub call: u32,
    /// Second of the run in which the schedule intended the packets sent.
    pub second: u32,
    /// Median RTT of those that came back, in ms, to 2 digits.
    pub rtt_p50_ms: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_added_but_percentiles() {
        let row = "7,hold,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,0.5,0.25,34,35,36,37,38";
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(row.as_bytes());
        let full: SecondRecord = reader.deserialize().next().unwrap().unwrap();
        let mut sum = SecondRecord { second: 7, ..Default::default() };
        sum += &full;
        let (rtt_p50_ms, rtt_p95_ms, rtt_p99_ms, rtt_max_ms) = Default::default();
        let (control_p50_ms, control_p99_ms, control_max_ms) = Default::default();
        let added = SecondRecord {
            rtt_p50_ms,
            rtt_p95_ms,
            rtt_p99_ms,
            rtt_max_ms,
            control_p50_ms,
            control_p99_ms,
            control_max_ms,
            ..full.clone()
        };
        assert_eq!(sum, added);
        sum += &full;
        assert_eq!(
            (sum.sent, sum.cpu_driver, sum.send_lateness_max_ms),
            (2 * full.sent, full.cpu_driver, full.send_lateness_max_ms)
        );
    }
}
