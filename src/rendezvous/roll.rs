//! The roll of a run's shards: what the coordinator knows of each.

use std::fmt;

use crate::stamp::Stamp;

/// Reason for which a shard is missing from a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// It did not come in time.
    NeverCame {
        /// The last one that wanted to be it and was refused, where there was one.
        refused: Option<String>,
    },
    /// It came, and was not ready in time.
    NotReady,
    /// Its connection ended.
    Gone,
    /// Nothing was heard of it any more.
    Silent,
    /// It is heard, and has not ended its calls long after another one had.
    Overdue,
    /// It was ended with the others, before its first call.
    Parted,
    /// It said that it cannot go on.
    Failed(String),
    /// It sent what no shard of this run sends.
    Wrong(String),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absence::NeverCame { refused: None } => f.write_str("did not come to the rendezvous in time"),
            Absence::NeverCame { refused: Some(why) } => {
                write!(f, "did not come to the rendezvous in time; one was refused: {why}")
            }
            Absence::NotReady => f.write_str("came late to the barrier: it was not ready in time"),
            Absence::Gone => f.write_str("was lost: its connection ended"),
            Absence::Silent => f.write_str("was lost: nothing was heard of it for 4 s"),
            Absence::Overdue => f.write_str("did not end its calls within two minutes of the others"),
            Absence::Parted => f.write_str("was ended with the others, before its first call"),
            Absence::Failed(why) => write!(f, "could not go on: {why}"),
            Absence::Wrong(why) => write!(f, "was sent away: {why}"),
        }
    }
}

/// One shard on the roll.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attendance {
    /// Its machine; empty of one that never came.
    pub host: String,
    /// Its clock less the coordinator's, by the shortest of the exchanges.
    pub offset_ns: Option<i64>,
    /// There and back of that exchange: the offset is known to half of it.
    pub way_ns: Option<u64>,
    /// When it was about to place its first call, by the coordinator's clock.
    pub started_at: Option<Stamp>,
    /// Reason for which it is missing.
    pub absence: Option<Absence>,
}

/// One shard's exchanges of stamps with the coordinator, of which the one with the shortest way counts.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    sent: Option<(u32, Stamp)>,
    pub(super) count: u32,
    /// Way and offset.
    best: Option<(u64, i64)>,
}

impl Exchanges {
    /// Begins the next one; returns its number.
    pub(super) fn begin(&mut self, now: Stamp) -> u32 {
        self.count = self.count.wrapping_add(1);
        self.sent = Some((self.count, now));
        self.count
    }

    /// Ends the one that is under way; false for an answer to any other.
    pub(super) fn end(&mut self, number: u32, theirs: Stamp, now: Stamp) -> bool {
        let Some((_, sent_at)) = self.sent.take_if(|(wanted, _)| *wanted == number) else { return false };
        let way = now.since(sent_at);
        let offset = theirs.ns_since(sent_at + way / 2);
        let way = u64::try_from(way.as_nanos()).unwrap_or(u64::MAX);
        if self.best.is_none_or(|(shortest, _)| way < shortest) {
            self.best = Some((way, offset));
        }
        true
    }

    pub(super) fn offset_ns(&self) -> Option<i64> {
        self.best.map(|(_, offset)| offset)
    }

    pub(super) fn way_ns(&self) -> Option<u64> {
        self.best.map(|(way, _)| way)
    }

    /// A time of the coordinator's by the shard's clock.
    pub(super) fn theirs(&self, at: Stamp) -> Stamp {
        shifted(at, self.offset_ns().unwrap_or_default())
    }

    /// A time of the shard's by the coordinator's clock.
    pub(super) fn ours(&self, at: Stamp) -> Stamp {
        shifted(at, self.offset_ns().unwrap_or_default().saturating_neg())
    }
}

fn shifted(at: Stamp, by_ns: i64) -> Stamp {
    Stamp::from_ns(at.as_ns().saturating_add_signed(by_ns))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Ways there and back of any length: the offset is right to half of the shortest.
        #[test]
        fn the_shortest_exchange_says_the_offset(
            skew in -20_000_000_000i64..20_000_000_000,
            ways in prop::collection::vec((0u64..50_000_000, 0u64..50_000_000), 1..20),
        ) {
            let mut exchanges = Exchanges::default();
            let mut now = Stamp::from_ns(1_000_000_000_000);
            for (there, back) in &ways {
                let number = exchanges.begin(now);
                let theirs = shifted(now + Duration::from_nanos(*there), skew);
                now += Duration::from_nanos(there + back);
                prop_assert!(!exchanges.end(number + 1, theirs, now));
                prop_assert!(exchanges.end(number, theirs, now));
                prop_assert!(!exchanges.end(number, theirs, now), "an answer counts once");
            }
            let shortest = ways.iter().map(|(there, back)| there + back).min().unwrap();
            prop_assert_eq!(exchanges.way_ns(), Some(shortest));
            let error = (exchanges.offset_ns().unwrap() - skew).unsigned_abs();
            prop_assert!(error <= shortest / 2 + 1, "{error} of {shortest}");
            let at = Stamp::from_ns(2_000_000_000_000);
            prop_assert_eq!(exchanges.ours(exchanges.theirs(at)), at);
        }
    }
}
