//! Figures of a run under way, which gates are held against before its end.

use std::ops::AddAssign;

use super::{Latencies, Quantile, Suppressed};
use crate::values::Ns;

/// Counts so far. Packets are those of the measured window of which nothing can come back any more, so
/// that the same packets are in every figure.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Packets sent.
    pub sent: u64,
    /// Of these, packets not back within `lost_after`.
    pub lost: u64,
    /// Of those back, the late ones, against each call's smallest round trip so far: never too many.
    pub late: u64,
    /// Round trips of those back.
    pub rtt: Latencies,
    /// Round trips of the control stream in the same seconds.
    pub control: Latencies,
    /// Packets of the control stream that did not come back in them.
    pub control_lost: u64,
    /// Attempts answered, all phases, as the counts below.
    pub answered: u64,
    /// Attempts that failed; those that are still under way are neither.
    pub failed: u64,
    /// Answered calls that ended before their time.
    pub dropped: u64,
    /// Among them: given up because nothing was heard any more.
    pub media_lost: u64,
    /// Attempts that the schedule wanted and that could not be placed.
    pub suppressed: Suppressed,
}

/// Adds what another driver has counted.
impl AddAssign<&Live> for Live {
    fn add_assign(&mut self, other: &Live) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.late += other.late;
        self.rtt.extend(other.rtt.counts());
        self.control.extend(other.control.counts());
        self.control_lost += other.control_lost;
        self.answered += other.answered;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.media_lost += other.media_lost;
        self.suppressed += other.suppressed;
    }
}

/// Live figures over the last settled seconds (every packet received or lost), in any phase. Lost packets
/// rank as the slowest.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Recent {
    /// Median round trip; `None` before the first settled second.
    pub rtt_p50: Option<Quantile>,
    /// 99th percentile of the round trip.
    pub rtt_p99: Option<Quantile>,
    /// 99th percentile of the control stream's.
    pub control_p99: Option<Quantile>,
    /// Share of packets lost, 0–1; `None` when none was sent.
    pub loss: Option<f64>,
    /// Share of packets that were late.
    pub late: Option<f64>,
    /// Greatest lateness of a packet that was sent.
    pub send_lateness_max: Option<Ns>,
    /// Turns, where callers talk; `None` before the first.
    pub turns: Option<RecentTurns>,
}

/// Live figures of conversations, as callers notice the answers. Turns are judged at each call's end, which discards some.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecentTurns {
    /// Turns of the run so far whose fate is known.
    pub count: u64,
    /// Of these, turns without an answer in time.
    pub missing: u64,
    /// Median response of the last 30 s.
    pub response_p50: Quantile,
    /// 95th percentile of the same.
    pub response_p95: Quantile,
}
