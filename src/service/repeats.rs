//! Lines of the log that would come again and again: the first is said, then one in a while with their number.

use std::collections::HashMap;
use std::time::Duration;

use crate::stamp::Stamp;

/// Interval between two later lines of one kind.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The kinds of lines so far. A kind is a word of the program's own, so that there are few.
#[derive(Debug, Default)]
pub struct Repeats(HashMap<&'static str, Repeat>);

#[derive(Debug, Default)]
struct Repeat {
    total: u64,
    unsaid: u64,
    said_at: Stamp,
}

impl Repeats {
    /// Counts a line of a kind. Returns the number of those that were not said before it, or `None` if it is
    /// not to be said either.
    pub fn add(&mut self, kind: &'static str, now: Stamp) -> Option<u64> {
        let repeat = self.0.entry(kind).or_default();
        repeat.total += 1;
        if repeat.total > 1 && now.since(repeat.said_at) < REPORT_EVERY {
            repeat.unsaid += 1;
            return None;
        }
        repeat.said_at = now;
        Some(std::mem::take(&mut repeat.unsaid))
    }

    /// All lines of a kind, said or not.
    pub fn total(&self, kind: &'static str) -> u64 {
        self.0.get(kind).map_or(0, |repeat| repeat.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_come_again_are_said_once_in_a_while_with_their_number() {
        let mut repeats = Repeats::default();
        let at = |second| Stamp::ZERO + Duration::from_secs(second);
        let said: Vec<_> = (0..=23).filter_map(|second| repeats.add("a", at(second))).collect();
        assert_eq!((said, repeats.total("a")), (vec![0, 9, 9], 24));
        assert_eq!(repeats.add("b", at(3)), Some(0), "another kind");
    }
}
