//! The pacer's bookkeeping: packets sent, their lateness, the duration of the send call.

use std::time::Duration;

use super::{Class, MediaSecond, Rules, Window};
use crate::record::{Scope, Series};
use crate::stamp::Stamp;
use crate::values::Ns;

/// Packets sent on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamSent {
    /// All packets.
    pub total: u64,
    /// Packets of the measured window.
    pub measured: u64,
}

/// One packet's way out.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Time at which the schedule wanted it sent.
    pub intended_at: Stamp,
    /// The clock just before the send call.
    pub sent_at: Stamp,
    /// Duration of the send call.
    pub call_took: Duration,
}

/// Counts of one pacer thread, over all its streams.
#[derive(Debug)]
pub struct SendTally {
    rules: Rules,
    current: Box<MediaSecond>,
    /// Measured packets given up, because the machine was stopped when they were due.
    pub skipped: u64,
    /// Packets that the kernel of this machine would not send, all phases.
    pub unsent: u64,
}

impl SendTally {
    /// Nothing sent yet.
    pub fn new(rules: Rules) -> Self {
        SendTally { rules, current: MediaSecond::new(0), skipped: 0, unsent: 0 }
    }

    /// Notes a packet sent. `counts_from` is when its stream begins to count.
    pub fn sent(
        &mut self,
        stream: &mut StreamSent,
        packet: &Sent,
        class: Class,
        window: &Window,
        counts_from: Stamp,
    ) {
        let lateness = packet.sent_at.since(packet.intended_at);
        stream.total += 1;
        let missed = lateness > self.rules.ptime;
        let MediaSecond { record, latencies, .. } = &mut *self.current;
        if class == Class::Control {
            record.control_sent += 1;
            return;
        }
        if class == Class::Talk {
            record.send_lateness_max_ms = record.send_lateness_max_ms.max(Some(lateness.into()));
            if window.holds(packet.intended_at, counts_from) {
                record.measured_missed_slots += u64::from(missed);
                latencies.record(Series::SendLateness, Scope::Measured, Ns::from(lateness).0);
                latencies.record(Series::SendCall, Scope::Measured, Ns::from(packet.call_took).0);
            }
            record.missed_slots += u64::from(missed);
            return;
        }
        if window.holds(packet.intended_at, counts_from) {
            stream.measured += 1;
            record.measured_sent += 1;
            record.measured_missed_slots += u64::from(missed);
            latencies.record(Series::SendLateness, Scope::Measured, Ns::from(lateness).0);
            latencies.record(Series::SendCall, Scope::Measured, Ns::from(packet.call_took).0);
        }
        record.sent += 1;
        record.missed_slots += u64::from(missed);
        record.send_lateness_max_ms = record.send_lateness_max_ms.max(Some(lateness.into()));
    }

    /// Notes measured packets given up because the machine was asleep when they were due, `late` ago
    /// or less.
    pub fn skipped(&mut self, packets: u64, late: Duration) {
        self.skipped += packets;
        let MediaSecond { record, latencies, .. } = &mut *self.current;
        record.missed_slots += packets;
        record.measured_missed_slots += packets;
        latencies.record_n(Series::SendLateness, Scope::Measured, Ns::from(late).0, packets);
    }

    /// Notes the lateness of a measured packet that had been held back on purpose.
    pub fn released(&mut self, late: Duration) {
        self.current.latencies.record(Series::SendLateness, Scope::Measured, Ns::from(late).0);
    }

    /// The second that ended before the slot intended at `at`, if one did.
    pub fn turn(&mut self, at: Stamp) -> Option<Box<MediaSecond>> {
        let second = self.rules.second(at);
        (second > self.current.record.second)
            .then(|| std::mem::replace(&mut self.current, MediaSecond::new(second)))
    }

    /// The last second.
    pub fn finish(self) -> Box<MediaSecond> {
        self.current
    }
}
