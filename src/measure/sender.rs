//! The pacer's bookkeeping: what was sent, how late, and how long sending took.

use std::time::Duration;

use super::{Class, Rules, SentSecond, Window};
use crate::record::Latencies;
use crate::stamp::Stamp;
use crate::values::Ns;

/// What was sent on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamSent {
    /// All packets.
    pub total: u64,
    /// Packets of the measured window.
    pub measured: u64,
}

/// What one pacer thread has sent, in all.
#[derive(Debug, Default)]
pub struct SentTotals {
    /// Time sent − time intended, of measured packets.
    pub lateness: Latencies,
    /// Duration of the send call, likewise.
    pub send_call: Latencies,
    /// Measured packets given up, because the machine was stopped when they were due.
    pub skipped: u64,
    /// Packets that the kernel of this machine would not send, all phases.
    pub unsent: u64,
}

/// One packet's way out.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// When the schedule wanted it sent.
    pub intended_at: Stamp,
    /// The clock just before the send call.
    pub sent_at: Stamp,
    /// How long the send call took.
    pub call_took: Duration,
}

/// What one pacer thread has sent, over all its streams.
#[derive(Debug)]
pub struct SendTally {
    rules: Rules,
    current: SentSecond,
    totals: SentTotals,
}

impl SendTally {
    /// Nothing sent yet.
    pub fn new(rules: Rules) -> Self {
        SendTally { rules, current: SentSecond::default(), totals: SentTotals::default() }
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
        if class == Class::Control {
            self.current.control_sent += 1;
            return;
        }
        if window.holds(packet.intended_at, counts_from) {
            stream.measured += 1;
            self.current.measured += 1;
            self.current.measured_missed += u64::from(missed);
            self.totals.lateness.record(Ns::from(lateness).0);
            self.totals.send_call.record(Ns::from(packet.call_took).0);
        }
        self.current.sent += 1;
        self.current.missed += u64::from(missed);
        self.current.lateness_max = self.current.lateness_max.max(Some(lateness.into()));
    }

    /// Notes measured packets given up because the machine was asleep when they were due, `late` ago
    /// or less.
    pub fn skipped(&mut self, packets: u64, late: Duration) {
        self.current.missed += packets;
        self.current.measured_missed += packets;
        self.totals.skipped += packets;
        self.totals.lateness.record_n(Ns::from(late).0, packets);
    }

    /// Notes a packet that the kernel of this machine would not send.
    pub fn unsent(&mut self) {
        self.totals.unsent += 1;
    }

    /// Notes how late a packet left that had been held back on purpose.
    pub fn released(&mut self, late: Duration) {
        self.totals.lateness.record(Ns::from(late).0);
    }

    /// The second that ended before the slot intended at `at`, if one did.
    pub fn turn(&mut self, at: Stamp) -> Option<SentSecond> {
        let second = self.rules.second(at);
        (second > self.current.second)
            .then(|| std::mem::replace(&mut self.current, SentSecond { second, ..Default::default() }))
    }

    /// The last second, and the totals.
    pub fn finish(self) -> (SentSecond, SentTotals) {
        (self.current, self.totals)
    }
}
