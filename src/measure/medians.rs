//! A call's median round trip, second by second.

use hdrhistogram::Histogram;

use crate::record::{CallSecond, HIGHEST_NS, LOWEST_NS};

/// Collects RTTs of one second at a time and keeps the median of each.
///
/// Twelve bytes a second and call: fifty calls for an hour take 2.2 MB.
#[derive(Debug, Clone)]
pub struct Medians {
    call: u32,
    second: u32,
    rtts: Histogram<u32>,
    medians: Vec<CallSecond>,
}

impl Medians {
    /// No RTT of attempt `call` yet.
    pub fn new(call: u32) -> Self {
        // Invariant: valid bounds. Two digits do for a trend.
        let rtts = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 2).expect("valid bounds");
        Medians { call, second: 0, rtts, medians: Vec::new() }
    }

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
            let rtt_p50_ms = (self.rtts.value_at_quantile(0.5) as f64 / 1e6) as f32;
            self.medians.push(CallSecond { call: self.call, second: self.second, rtt_p50_ms });
            self.rtts.reset();
        }
    }

    /// The medians of all seconds.
    pub fn finish(mut self) -> Vec<CallSecond> {
        self.close();
        self.medians
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_median() {
        let mut medians = Medians::new(0);
        for (second, ms) in [(3, 1), (3, 2), (3, 3), (5, 10), (4, 99), (5, 10), (6, 7)] {
            medians.record(second, ms * 1_000_000);
        }
        let rounded = |row: &CallSecond| (row.second, row.rtt_p50_ms.round() as u32);
        let rounded: Vec<_> = medians.finish().iter().map(rounded).collect();
        assert_eq!(rounded, [(3, 2), (5, 10), (6, 7)]);
    }
}
