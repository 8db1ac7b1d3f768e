//! Late packets of a call: those that a playout buffer of a given depth would have missed.

use std::borrow::Cow;

use hdrhistogram::Histogram;

use crate::record::{DIGITS, HIGHEST_NS, LOWEST_NS, PLAYOUT_DEPTHS_MS, Quantile, rank};

/// Playout depths counted: the published sweep and the scenario's own.
const DEPTHS: usize = PLAYOUT_DEPTHS_MS.len() + 1;

/// RTTs that wait for their histogram. Its cells are far from the processor, where there are thousands of calls, and a call
/// needs the same few again and again: it is cheaper to have them come once for many.
const RECENT: usize = 64;

/// RTTs of one call, and how many lie more than each playout depth above the smallest.
///
/// The smallest RTT of the whole call is known only at its end. Counts are kept against the
/// smallest so far; when it drops, they are taken anew from the histogram, so that memory is bounded.
/// A packet within a histogram's step (0.1 %) above a threshold then counts as not late.
#[derive(Debug, Clone)]
pub struct Lateness {
    depths_ns: [u64; DEPTHS],
    smallest: Option<u64>,
    late: [u64; DEPTHS],
    /// The last measured RTTs, which are not in the histogram yet.
    recent_ns: Vec<u64>,
    rtts: Histogram<u32>,
}

impl Default for Lateness {
    fn default() -> Self {
        Lateness::new(0)
    }
}

impl Lateness {
    /// Counts for the published sweep and for `late_after_ns`.
    pub fn new(late_after_ns: u64) -> Self {
        let mut depths_ns = [late_after_ns; DEPTHS];
        for (depth, ms) in depths_ns.iter_mut().zip(PLAYOUT_DEPTHS_MS) {
            *depth = ms * 1_000_000;
        }
        // Invariant: valid bounds. It grows with the longest RTT, by 4 KB each time that doubles: 30 KB
        // for a call within 100 ms, 70 KB at the most.
        let mut rtts = Histogram::new_with_bounds(LOWEST_NS, 2_000_000, DIGITS).expect("valid bounds");
        rtts.auto(true);
        Lateness { depths_ns, smallest: None, late: [0; DEPTHS], recent_ns: Vec::new(), rtts }
    }

    /// Notes an RTT. Only a `measured` one is counted; any may be the call's smallest. Says whether
    /// it is late by the scenario's depth, as far as is known by now.
    pub fn record(&mut self, rtt_ns: u64, measured: bool) -> bool {
        if self.smallest.is_none_or(|s| rtt_ns < s) {
            self.anchor(rtt_ns);
        }
        let above = rtt_ns - self.smallest.unwrap_or(rtt_ns);
        if measured {
            self.recent_ns.push(rtt_ns.min(HIGHEST_NS));
            if self.recent_ns.len() == RECENT {
                self.settle();
            }
            for (late, depth) in self.late.iter_mut().zip(self.depths_ns) {
                *late += u64::from(above > depth);
            }
        }
        above > self.depths_ns[DEPTHS - 1]
    }

    /// Enters the last RTTs, after which the reading of them copies nothing.
    pub fn settle(&mut self) {
        for rtt in self.recent_ns.drain(..) {
            // It grows as far as it is asked to, so there is nothing to refuse.
            let _ = self.rtts.record(rtt);
        }
    }

    /// All measured RTTs.
    fn all(&self) -> Cow<'_, Histogram<u32>> {
        if self.recent_ns.is_empty() {
            return Cow::Borrowed(&self.rtts);
        }
        let mut settled = self.clone();
        settled.settle();
        Cow::Owned(settled.rtts)
    }

    /// Moves the anchor down to `smallest` and counts anew who is late by it.
    fn anchor(&mut self, smallest: u64) {
        self.settle();
        if self.smallest.is_some() && !self.rtts.is_empty() {
            for (late, depth) in self.late.iter_mut().zip(self.depths_ns) {
                let next = self.rtts.next_non_equivalent(smallest + depth);
                let most = self.rtts.max();
                *late = if next <= most { self.rtts.count_between(next, most) } else { 0 };
            }
        }
        self.smallest = Some(smallest);
    }

    /// Late counts for [`PLAYOUT_DEPTHS_MS`].
    pub fn sweep(&self) -> [u64; PLAYOUT_DEPTHS_MS.len()] {
        std::array::from_fn(|n| self.late[n])
    }

    /// Late by the scenario's own depth.
    pub fn late(&self) -> u64 {
        self.late[DEPTHS - 1]
    }

    /// The smallest RTT of the call so far, measured or not.
    pub fn smallest_ns(&self) -> Option<u64> {
        self.smallest
    }

    /// The largest measured RTT, to 3 digits.
    pub fn largest_ns(&self) -> Option<u64> {
        let all = self.all();
        (!all.is_empty()).then(|| all.max())
    }

    /// Hands over how far each measured RTT lies above the smallest of the call, with how often.
    pub fn spread(&self, mut each: impl FnMut(u64, u64)) {
        let Some(smallest) = self.smallest else { return };
        for step in self.all().iter_recorded() {
            each(step.value_iterated_to().saturating_sub(smallest), u64::from(step.count_at_value()));
        }
    }

    /// The smallest RTT of each bucket in use with its count, ascending: as in a histogram of
    /// [`crate::record::Latencies`], which has the same buckets.
    pub fn counts(&self) -> Vec<(u64, u64)> {
        let all = self.all();
        let steps = all.iter_recorded();
        steps
            .map(|step| (all.lowest_equivalent(step.value_iterated_to()), u64::from(step.count_at_value())))
            .collect()
    }

    /// A percentile over the measured packets, `lost` of them ranking last; to 3 digits.
    pub fn quantile(&self, q: f64, lost: u64) -> Quantile {
        let all = self.all();
        let sent = all.len() + lost;
        if sent == 0 {
            return Quantile::NoData;
        }
        let rank = rank(q, sent);
        if rank > all.len() {
            return Quantile::Lost;
        }
        Quantile::At(all.value_at_quantile(rank as f64 / all.len() as f64).min(all.max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Latencies;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_minimum_found_late_still_anchors_every_packet() {
        let mut l = Lateness::new(60 * MS);
        for rtt in [50, 50, 120, 95, 50] {
            l.record(rtt * MS, true);
        }
        assert_eq!((l.late(), l.sweep()), (1, [2, 2, 1, 0, 0]));
        l.record(10 * MS, false);
        // Against 10 ms: 40 40 110 85 40 above the smallest.
        assert_eq!((l.late(), l.sweep()), (2, [5, 2, 2, 1, 0]));
    }

    #[test]
    fn no_packet_is_counted_late_twice() {
        let mut l = Lateness::new(60 * MS);
        l.record(50 * MS, true);
        for _ in 0..100 {
            l.record(110 * MS + 50_000, true);
        }
        l.record(49 * MS, true);
        assert_eq!(l.late(), 100);
    }

    #[test]
    fn a_queue_that_drains_slowly_hides_nothing() {
        for step_ns in [10_000, 100_000, 1_000_000] {
            let mut l = Lateness::new(60 * MS);
            let rtts: Vec<u64> = (0..=200 * MS / step_ns).map(|n| 250 * MS - n * step_ns).collect();
            rtts.iter().for_each(|rtt| {
                l.record(*rtt, true);
            });
            for (late, depth) in l.sweep().into_iter().zip(PLAYOUT_DEPTHS_MS) {
                let above = |ms: f64| rtts.iter().filter(|r| **r as f64 > ms * MS as f64).count() as u64;
                let threshold = 50.0 + depth as f64;
                let truth = above(threshold * 1.001)..=above(threshold);
                assert!(truth.contains(&late), "{late} of {truth:?} at {depth} ms in steps of {step_ns} ns");
            }
        }
    }

    #[test]
    fn the_spread_is_as_fine_as_the_round_trip() {
        let mut l = Lateness::new(60 * MS);
        for rtt in [20_000_000, 20_025_000, 20_050_000] {
            l.record(rtt, true);
        }
        let mut spread = Vec::new();
        l.spread(|above, count| spread.push((above / 5_000, count)));
        assert_eq!(spread.iter().map(|(_, n)| n).sum::<u64>(), 3);
        assert!(spread.last().unwrap().0 <= 13, "{spread:?}");
    }

    proptest! {
        #[test]
        fn its_buckets_are_those_of_latencies(rtts in proptest::collection::vec(0u64..70_000 * MS, 0..200)) {
            let (mut of_call, mut all, mut folded) = (Lateness::new(60 * MS), Latencies::default(), Latencies::default());
            for rtt in rtts {
                of_call.record(rtt, true);
                all.record(rtt.min(HIGHEST_NS));
            }
            folded.extend(of_call.counts());
            prop_assert_eq!(folded.counts().collect::<Vec<_>>(), all.counts().collect::<Vec<_>>());
        }

        /// Values on a 27 ms grid are never within a histogram step of a threshold, so the counts
        /// must be exact.
        #[test]
        fn counts_are_those_of_the_whole_list(grid in proptest::collection::vec((0u64..16, any::<bool>()), 1..200)) {
            let mut l = Lateness::new(60 * MS);
            let rtts: Vec<_> = grid.iter().map(|(g, m)| (g * 27 * MS + MS, *m)).collect();
            rtts.iter().for_each(|(rtt, measured)| { l.record(*rtt, *measured); });
            let smallest = rtts.iter().map(|r| r.0).min().unwrap();
            let count = |depth: u64| rtts.iter().filter(|(r, m)| *m && r - smallest > depth).count() as u64;
            prop_assert_eq!(l.late(), count(60 * MS));
            prop_assert_eq!(l.sweep(), [20, 40, 60, 100, 200].map(|d| count(d * MS)));
        }
    }
}
