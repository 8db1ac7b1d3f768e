//! A call's median round trip, second by second.

use hdrhistogram::Histogram;

use crate::record::{HIGHEST_NS, LOWEST_NS};

/// Collects RTTs of one second at a time and keeps the median of each.
///
/// Eight bytes a second and call: fifty calls for an hour take 1.4 MB.
#[derive(Debug, Clone)]
pub struct Medians {
    second: u32,
    rtts: Histogram<u32>,
    medians: Vec<(u32, f32)>,
}

impl Default for Medians {
    fn default() -> Self {
        // Invariant: valid bounds. Two digits do for a trend.
        let rtts = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 2).expect("valid bounds");
        Medians { second: 0, rtts, medians: Vec::new() }
    }
}

impl Medians {
    /// Notes an RTT of a packet intended in `second` of the run. A packet of an earlier second that
    /// comes back after the first of a later one is left out.
    pub fn record(&mut self, second: u32, rtt_ns: u64) {
        if second > self.second {
            self.close();
            self.second = second;
        }
        if second == self.second {
            self.rtts.saturating_record(rtt_ns);
        }
    }

    fn close(&mut self) {
        if !self.rtts.is_empty() {
            let median_ms = self.rtts.value_at_quantile(0.5) as f64 / 1e6;
            self.medians.push((self.second, median_ms as f32));
            self.rtts.reset();
        }
    }

    /// The medians: second of the run, milliseconds.
    pub fn finish(mut self) -> Vec<(u32, f32)> {
        self.close();
        self.medians
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_median() {
        let mut medians = Medians::default();
        for (second, ms) in [(3, 1), (3, 2), (3, 3), (5, 10), (4, 99), (5, 10), (6, 7)] {
            medians.record(second, ms * 1_000_000);
        }
        let rounded: Vec<_> = medians.finish().into_iter().map(|(s, ms)| (s, ms.round() as u32)).collect();
        assert_eq!(rounded, [(3, 2), (5, 10), (6, 7)]);
    }
}
