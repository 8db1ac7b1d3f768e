//! The pacer's bookkeeping: what was sent, how late, and how long sending took.

use std::time::Duration;

use super::{Rules, SentSecond, Window};
use crate::samples::{Latencies, Ns};
use crate::stamp::Stamp;

/// What was sent on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamSent {
    /// All packets.
    pub total: u64,
    /// Packets of the measured window.
    pub measured: u64,
    /// Packets that the kernel would not send.
    pub refused: u64,
}

/// What one pacer thread has sent, over all its streams.
#[derive(Debug)]
pub struct SendTally {
    rules: Rules,
    current: SentSecond,
    lateness: Latencies,
    send_call: Latencies,
}

impl SendTally {
    /// Nothing sent yet.
    pub fn new(rules: Rules) -> Self {
        SendTally {
            rules,
            current: SentSecond::default(),
            lateness: Latencies::default(),
            send_call: Latencies::default(),
        }
    }

    /// Notes a packet sent. `call_from` is when its call begins to count.
    pub fn sent(
        &mut self,
        stream: &mut StreamSent,
        intended_at: Stamp,
        sent_at: Stamp,
        call_took: Duration,
        window: &Window,
        call_from: Stamp,
    ) {
        let lateness = sent_at.since(intended_at);
        stream.total += 1;
        let missed = lateness > self.rules.ptime;
        if window.holds(intended_at, call_from) {
            stream.measured += 1;
            self.current.measured += 1;
            self.current.measured_missed += u64::from(missed);
            self.lateness.record(Ns::from(lateness).0);
            self.send_call.record(Ns::from(call_took).0);
        }
        self.current.sent += 1;
        self.current.missed += u64::from(missed);
        self.current.lateness_max = self.current.lateness_max.max(Some(lateness.into()));
    }

    /// Notes packets given up because the machine was asleep when they were due, until `at`.
    pub fn skipped(&mut self, packets: u64, at: Stamp, window: &Window) {
        self.current.missed += packets;
        if window.holds(at, Stamp::ZERO) {
            self.current.measured_missed += packets;
        }
    }

    /// The second that ended before the slot intended at `at`, if one did.
    pub fn turn(&mut self, at: Stamp) -> Option<SentSecond> {
        let second = self.rules.second(at);
        (second > self.current.second)
            .then(|| std::mem::replace(&mut self.current, SentSecond { second, ..Default::default() }))
    }

    /// The last second, and the histograms of send lateness and of the send call's duration.
    pub fn finish(self) -> (SentSecond, Latencies, Latencies) {
        (self.current, self.lateness, self.send_call)
    }
}
