//! What the service has counted: filled in while it runs, reported at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::reflector::MediaCounts;
use crate::ari::outcome::{CallRecord, Outcome};
use crate::ari::request::Operation;
use crate::stamp::Stamp;

/// A distribution of durations from 1 µs to 60 s, three significant digits.
#[derive(Debug, Clone)]
pub struct Durations {
    histogram: Histogram<u64>,
    /// Durations above 60 s: counted here and not in the percentiles.
    pub above: u64,
}

const LOWEST_NS: u64 = 1_000;
const HIGHEST_NS: u64 = 60_000_000_000;

impl Default for Durations {
    fn default() -> Self {
        // Invariant: constants within what the histogram's constructor asks for.
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3).expect("valid constant bounds");
        Durations { histogram, above: 0 }
    }
}

impl Durations {
    /// Counts one duration; what is below 1 µs counts as 1 µs.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(LOWEST_NS);
        if self.histogram.record(ns).is_err() {
            self.above += 1;
        }
    }

    /// The distribution, in nanoseconds.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// How many were counted, those above the range included.
    pub fn count(&self) -> u64 {
        self.histogram.len() + self.above
    }

    /// The value at `quantile` (0 to 1) in milliseconds; `None` without any.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.histogram.is_empty()).then(|| to_ms(self.histogram.value_at_quantile(quantile)))
    }

    /// The mean in milliseconds; `None` without any.
    pub fn mean_ms(&self) -> Option<f64> {
        (!self.histogram.is_empty()).then(|| self.histogram.mean() / 1e6)
    }

    /// The largest in milliseconds; `None` without any.
    pub fn max_ms(&self) -> Option<f64> {
        (!self.histogram.is_empty()).then(|| to_ms(self.histogram.max()))
    }

    /// The share of those counted that are longer than `limit`; `None` without any.
    pub fn share_above(&self, limit: Duration) -> Option<f64> {
        let within = self.histogram.count_between(0, u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        (self.count() > 0).then(|| (self.count() - within) as f64 / self.count() as f64)
    }
}

fn to_ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// One REST operation over all calls.
#[derive(Debug, Clone, Default)]
pub struct OperationStats {
    /// From asking to the whole answer, of requests that were answered.
    pub latency: Durations,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
}

/// How long a call's stages took, each counted from the caller's StasisStart.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// To the answer's 204.
    pub answered: Durations,
    /// To the media channel's StasisStart.
    pub media_ready: Durations,
    /// To the later ChannelEnteredBridge.
    pub bridged: Durations,
    /// To the kernel's stamp of the first media packet.
    pub first_packet: Durations,
    /// From the end of the call to nothing held.
    pub released: Durations,
}

/// Everything that the service has counted.
#[derive(Debug, Clone, Default)]
pub struct ServiceReport {
    /// Callers that entered the application.
    pub calls: u64,
    /// Callers that were left alone because there were far too many.
    pub unheeded: u64,
    /// Calls that are not over yet.
    pub active: u64,
    /// Calls that were bridged.
    pub bridged: u64,
    /// Bridged calls during which no media packet came at all.
    pub silent: u64,
    /// Calls that are over, by how they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Calls after which something could not be deleted.
    pub left_behind: u64,
    /// Requests that were repeated.
    pub retries: u64,
    /// The stages of set-up and teardown.
    pub stages: Stages,
    /// Every operation that was asked for.
    pub operations: BTreeMap<Operation, OperationStats>,
    /// Events that were read.
    pub events: u64,
    /// Events among them that no call depends on.
    pub events_ignored: u64,
    /// Channels that entered through the dialplan's extension `h`, after they had hung up. They are
    /// not calls; the dialplan should keep `h` out of the application.
    pub hung_up_starts: u64,
    /// Messages that were no events.
    pub events_malformed: u64,
    /// Times that the event connection was lost.
    pub disconnects: u64,
    /// Channels and bridges of ours that no call knew of, and that were deleted.
    pub strays: u64,
    /// The media of calls that are over.
    pub media: MediaCounts,
}

impl ServiceReport {
    /// Counts a call that is over.
    pub fn add_call(&mut self, record: &CallRecord, media: &MediaCounts) {
        *self.outcomes.entry(record.outcome).or_default() += 1;
        self.left_behind += u64::from(record.left_behind.any());
        self.retries += u64::from(record.retries);
        let since_start = |stamp: Stamp| stamp.since(record.started_at);
        let stages = &mut self.stages;
        // The bridged stage is counted at the moment itself, so that /metrics has it at once.
        for (stage, at) in [
            (&mut stages.answered, record.answered_at),
            (&mut stages.media_ready, record.media_ready_at),
            (&mut stages.first_packet, media.first_at),
        ] {
            if let Some(at) = at {
                stage.record(since_start(at));
            }
        }
        stages.released.record(record.released_at.since(record.ended_at));
        self.silent += u64::from(record.bridged_at.is_some() && media.received == 0);
        self.media.add(media);
    }

    /// Counts an answer to a request, or its absence.
    pub fn add_answer(&mut self, operation: Operation, status: Option<u16>, took: Duration) {
        let stats = self.operations.entry(operation).or_default();
        match status {
            Some(status) => {
                stats.latency.record(took);
                *stats.statuses.entry(status).or_default() += 1;
            }
            None => stats.unanswered += 1,
        }
    }
}

impl MediaCounts {
    /// Adds another call's counts; the first packet is the earlier one.
    pub fn add(&mut self, other: &MediaCounts) {
        self.received += other.received;
        self.reflected += other.reflected;
        self.plain += other.plain;
        self.not_rtp += other.not_rtp;
        self.strangers += other.strangers;
        self.bytes += other.bytes;
        self.send_errors += other.send_errors;
        self.drops += other.drops;
        self.expected += other.expected;
        self.distinct += other.distinct;
        self.first_at = [self.first_at, other.first_at].into_iter().flatten().min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_hide_nothing() {
        let mut d = Durations::default();
        assert_eq!((d.count(), d.quantile_ms(0.5), d.share_above(Duration::ZERO)), (0, None, None));
        for ms in [1, 2, 3, 70_000] {
            d.record(Duration::from_millis(ms));
        }
        assert_eq!((d.count(), d.above), (4, 1));
        assert_eq!(d.share_above(Duration::from_millis(2)), Some(0.5));
        assert!((d.quantile_ms(0.5).unwrap() - 2.0).abs() < 0.01);
    }
}
