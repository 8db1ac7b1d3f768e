//! A call's median round trip, second by second.

use crate::record::CallSecond;

/// Collects RTTs of one second at a time and keeps the median of each.
///
/// Twelve bytes a second and call: fifty calls for an hour take 2.2 MB.
#[derive(Debug, Clone)]
pub struct Medians {
    call: u32,
    second: u32,
    /// Those of the open second, as many as a stream has packets in it.
    rtts_ns: Vec<u64>,
    medians: Vec<CallSecond>,
}

impl Medians {
    /// No RTT of attempt `call` yet.
    pub fn new(call: u32) -> Self {
        Medians { call, second: 0, rtts_ns: Vec::new(), medians: Vec::new() }
    }

    /// Notes an RTT of a packet intended in `second` of the run. A packet of an earlier second that
    /// comes back after the first of a later one is left out.
    pub fn record(&mut self, second: u32, rtt_ns: u64) {
        if second > self.second {
            self.close();
            self.second = second;
        }
        if second == self.second {
            self.rtts_ns.push(rtt_ns);
        }
    }

    fn close(&mut self) {
        if let Some(last) = self.rtts_ns.len().checked_sub(1) {
            let (_, median, _) = self.rtts_ns.select_nth_unstable(last / 2);
            let rtt_p50_ms = (*median as f64 / 1e6) as f32;
            self.medians.push(CallSecond { call: self.call, second: self.second, rtt_p50_ms });
            self.rtts_ns.clear();
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
