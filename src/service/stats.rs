//! What the service has counted: filled in while it runs, reported at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::media::MediaCounts;
use crate::ari::outcome::{CallRecord, Outcome};
use crate::ari::request::Operation;
use crate::stamp::Stamp;

/// A distribution of durations from 1 µs to 60 s, three significant digits.
#[derive(Debug, Clone)]
pub struct Durations {
    histogram: Histogram<u64>,
    sum: Duration,
    /// Durations above 60 s: counted here and not in the percentiles.
    pub above: u64,
}

const LOWEST_NS: u64 = 1_000;
const HIGHEST_NS: u64 = 60_000_000_000;

impl Default for Durations {
    fn default() -> Self {
        // Invariant: constants within what the histogram's constructor asks for.
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3).expect("valid constant bounds");
        Durations { histogram, sum: Duration::ZERO, above: 0 }
    }
}

impl Durations {
    /// Counts one duration; what is below 1 µs counts as 1 µs.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(LOWEST_NS);
        self.sum = self.sum.saturating_add(duration);
        if ns > HIGHEST_NS || self.histogram.record(ns).is_err() {
            self.above += 1;
        }
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Durations) {
        // Invariant: all have the same bounds.
        self.histogram.add(&other.histogram).expect("histograms of the same bounds");
        self.sum = self.sum.saturating_add(other.sum);
        self.above += other.above;
    }

    /// Forgets everything, and keeps its memory.
    pub fn reset(&mut self) {
        self.histogram.reset();
        (self.sum, self.above) = (Duration::ZERO, 0);
    }

    /// The sum of all.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// How many are up to `limit`.
    pub fn count_within(&self, limit: Duration) -> u64 {
        self.histogram.count_between(0, u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
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
        let above = self.count() - self.count_within(limit);
        (self.count() > 0).then(|| above as f64 / self.count() as f64)
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
    /// Requests that repeated an earlier one.
    pub retries: u64,
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

/// The port pool in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PortCounts {
    /// Ports that calls hold.
    pub in_use: u64,
    /// Ports that can be taken.
    pub free: u64,
    /// Ports that other programs held when they were last tried.
    pub held_by_others: u64,
    /// Calls that were turned away because there was no port.
    pub refused: u64,
}

/// Everything that the service has counted.
#[derive(Debug, Clone, Default)]
pub struct ServiceReport {
    /// Callers that entered the application.
    pub calls: u64,
    /// Callers among them that were found waiting there, and not told of by an event.
    pub adopted: u64,
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
    /// Requests that repeated an earlier one.
    pub retries: u64,
    /// The stages of set-up and teardown.
    pub stages: Stages,
    /// Every operation that was asked for.
    pub operations: BTreeMap<Operation, OperationStats>,
    /// Events that were read, by their type.
    pub events: BTreeMap<&'static str, u64>,
    /// From the time that Asterisk gives an event, cut to milliseconds, until it was dealt with.
    pub event_lag: Durations,
    /// Events whose time is later than their reading: Asterisk's clock is ahead of this machine's.
    pub events_ahead: u64,
    /// Channels that entered through the dialplan's extension `h`, after they had hung up. They are
    /// not calls; the dialplan should keep `h` out of the application.
    pub hung_up_starts: u64,
    /// Messages that were no events.
    pub events_malformed: u64,
    /// Times that the event connection was lost.
    pub disconnects: u64,
    /// Channels and bridges of ours that no call knew of, and that were deleted.
    pub strays: u64,
    /// The port pool as it is now.
    pub ports: PortCounts,
    /// The media of calls that are over.
    pub media: MediaCounts,
}

impl ServiceReport {
    /// Counts a call that is over.
    pub fn add_call(&mut self, record: &CallRecord, media: &MediaCounts) {
        *self.outcomes.entry(record.outcome).or_default() += 1;
        self.left_behind += u64::from(record.left_behind.any());
        let since_start = |stamp: Stamp| stamp.since(record.started_at);
        let stages = &mut self.stages;
        // Answered and bridged are counted at the moment itself, so that /metrics has them at once.
        for (stage, at) in
            [(&mut stages.media_ready, record.media_ready_at), (&mut stages.first_packet, media.first_at)]
        {
            if let Some(at) = at {
                stage.record(since_start(at));
            }
        }
        stages.released.record(record.released_at.since(record.ended_at));
        self.silent += u64::from(record.bridged_at.is_some() && media.received == 0);
        self.media.add(media);
    }

    /// Counts an event that Asterisk made at `made_at` and that was read and dealt with.
    pub fn add_event(&mut self, kind: &'static str, made_at: Option<Stamp>, read_at: Stamp, dealt_at: Stamp) {
        *self.events.entry(kind).or_default() += 1;
        match made_at {
            Some(made_at) if made_at > read_at => self.events_ahead += 1,
            Some(made_at) => self.event_lag.record(dealt_at.since(made_at)),
            None => {}
        }
    }

    /// Counts a request that is sent for the `attempt`th time.
    pub fn add_attempt(&mut self, operation: Operation, attempt: u8) {
        if attempt > 1 {
            self.retries += 1;
            self.operations.entry(operation).or_default().retries += 1;
        }
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
        assert_eq!((d.sum(), d.count_within(Duration::from_millis(1))), (Duration::from_millis(70_006), 1));
        let mut sum = Durations::default();
        sum.add(&d);
        sum.add(&d);
        assert_eq!((sum.count(), sum.above, sum.sum()), (8, 2, Duration::from_millis(140_012)));
        d.reset();
        assert_eq!((d.count(), d.sum()), (0, Duration::ZERO));
    }
}
