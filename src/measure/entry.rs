//! A stream's counts as they are entered into the record of its call.

use super::{StreamReport, StreamSent};
use crate::record::CallRecord;
use crate::values::Ns;

impl StreamReport {
    /// Enters what was `sent` and what came back.
    pub fn enter(&self, sent: &StreamSent, record: &mut CallRecord) {
        record.total_sent = sent.total;
        record.total_received = self.total_received;
        record.total_clipped = self.total_clipped;
        record.sent = sent.measured;
        record.received = self.received;
        record.lost = sent.measured.saturating_sub(self.received);
        record.lost_up = self.stamps.then_some(self.losses.up);
        record.lost_down = self.stamps.then_some(self.losses.down);
        let told = self.losses.up + self.losses.down + self.losses.unknown;
        // What was lost behind the last packet that came back is one run more.
        record.lost_runs = self.losses.runs + u64::from(record.lost > told);
        record.late = self.lateness.late();
        [record.late_20ms, record.late_40ms, record.late_60ms, record.late_100ms, record.late_200ms] =
            self.lateness.sweep();
        record.duplicates = self.duplicates;
        record.reordered = self.reordered;
        record.corrupted = self.corrupted;
        record.strangers = self.strangers;
        record.jitter_ms = self.jitter;
        [record.rtt_p50_ms, record.rtt_p95_ms, record.rtt_p99_ms] =
            [0.5, 0.95, 0.99].map(|q| self.lateness.quantile(q, record.lost));
        record.rtt_min_ms = self.lateness.smallest_ns().map(Ns);
        record.rtt_max_ms = self.lateness.largest_ns().map(Ns);
    }
}
