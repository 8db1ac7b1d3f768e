//! Calls without a port: all are counted, and said once in a while.

use std::time::Duration;

use crate::stamp::Stamp;

/// Interval between two lines of the log about refused calls.
const REPORT_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Refusals {
    total: u64,
    unreported: u64,
    reported_at: Option<Stamp>,
}

impl Refusals {
    /// Counts a refused call. Returns the number of those to report, this one included, or `None` when
    /// some were reported a moment ago.
    pub fn add(&mut self, now: Stamp) -> Option<u64> {
        self.total += 1;
        self.unreported += 1;
        if self.reported_at.is_some_and(|at| now.since(at) < REPORT_EVERY) {
            return None;
        }
        self.reported_at = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }

    /// All refused calls.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_reported_once_in_a_while_with_their_number() {
        let mut refusals = Refusals::default();
        let at = |second| Stamp::ZERO + Duration::from_secs(second);
        let reported: Vec<_> = (0..=12).filter_map(|second| refusals.add(at(second))).collect();
        assert_eq!((reported, refusals.total()), (vec![1, 10], 13));
    }
}
