//! How many packets a playout buffer of a given depth would have missed.

use hdrhistogram::Histogram;

use crate::samples::{PLAYOUT_DEPTHS_MS, Quantile, rank};

/// Playout depths counted: the published sweep and the scenario's own.
const DEPTHS: usize = PLAYOUT_DEPTHS_MS.len() + 1;

/// RTTs of one call, and how many lie more than each playout depth above the smallest.
///
/// The smallest RTT of the whole call is known only at its end. Counts are kept against the
/// smallest so far; when it drops, the packets in between are added from the histogram, so that
/// memory is bounded and only packets within 1 % of a threshold can fall on its wrong side.
#[derive(Debug, Clone)]
pub struct Lateness {
    depths_ns: [u64; DEPTHS],
    smallest: Option<u64>,
    late: [u64; DEPTHS],
    rtts: Histogram<u32>,
}

impl Lateness {
    /// Counts for the published sweep and for `late_after_ns`.
    pub fn new(late_after_ns: u64) -> Self {
        let mut depths_ns = [late_after_ns; DEPTHS];
        for (depth, ms) in depths_ns.iter_mut().zip(PLAYOUT_DEPTHS_MS) {
            *depth = ms * 1_000_000;
        }
        // Invariant: valid bounds. Two digits keep a thousand calls within 11 MB.
        let rtts = Histogram::new_with_bounds(1_000, 60_000_000_000, 2).expect("valid bounds");
        Lateness { depths_ns, smallest: None, late: [0; DEPTHS], rtts }
    }

    /// Notes an RTT. Only a `measured` one is counted; any may be the call's smallest. Says whether
    /// it is late by the scenario's depth, as far as is known by now.
    pub fn record(&mut self, rtt_ns: u64, measured: bool) -> bool {
        if self.smallest.is_none_or(|s| rtt_ns < s) {
            self.anchor(rtt_ns);
        }
        let above = rtt_ns - self.smallest.unwrap_or(rtt_ns);
        if measured {
            self.rtts.saturating_record(rtt_ns);
            for (late, depth) in self.late.iter_mut().zip(self.depths_ns) {
                *late += u64::from(above > depth);
            }
        }
        above > self.depths_ns[DEPTHS - 1]
    }

    /// Moves the anchor down to `smallest` and counts who is late by it now and was not before.
    fn anchor(&mut self, smallest: u64) {
        if let Some(old) = self.smallest {
            for (late, depth) in self.late.iter_mut().zip(self.depths_ns) {
                // Whole buckets strictly between the new threshold and the old one: what lies above
                // the old one has been counted already.
                let next = self.rtts.next_non_equivalent(smallest + depth);
                let last = self.rtts.lowest_equivalent(old + depth).saturating_sub(1);
                if next <= last && next <= self.rtts.max() {
                    *late += self.rtts.count_between(next, last);
                }
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

    /// The largest measured RTT, to 2 digits.
    pub fn largest_ns(&self) -> Option<u64> {
        (!self.rtts.is_empty()).then(|| self.rtts.max())
    }

    /// Hands over how far each measured RTT lies above the smallest of the call, with how often.
    pub fn spread(&self, mut each: impl FnMut(u64, u64)) {
        let Some(smallest) = self.smallest else { return };
        for step in self.rtts.iter_recorded() {
            each(step.value_iterated_to().saturating_sub(smallest), u64::from(step.count_at_value()));
        }
    }

    /// A percentile over the measured packets, `lost` of them ranking last; to 2 digits.
    pub fn quantile(&self, q: f64, lost: u64) -> Quantile {
        let sent = self.rtts.len() + lost;
        if sent == 0 {
            return Quantile::NoData;
        }
        let rank = rank(q, sent);
        if rank > self.rtts.len() {
            return Quantile::Lost;
        }
        Quantile::At(self.rtts.value_at_quantile(rank as f64 / self.rtts.len() as f64).min(self.rtts.max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    proptest! {
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
