//! One driver among several: its number, and its share of what a scenario wants.
//!
//! Call k of a scenario is shard k mod N's. Nobody has to be asked for that, and it is the same whether the shards
//! have a network between them or not.

mod identity;

pub use identity::{Identified, IdentityError, NAMES, identify};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::values::PortRange;

/// Most shards of a run: each has a connection to the coordinator, and a row in the report.
pub const MOST_SHARDS: u32 = 256;

/// A driver's number among those of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shard {
    /// From 0, below `count`.
    pub index: u32,
    /// Number of shards; at least one.
    pub count: u32,
}

impl Default for Shard {
    fn default() -> Self {
        Shard::ONLY
    }
}

impl Shard {
    /// The one driver of an ordinary run.
    pub const ONLY: Shard = Shard { index: 0, count: 1 };

    /// Shard `index` of `count`; `None` where there is no such one.
    pub fn new(index: u32, count: u32) -> Option<Shard> {
        (index < count && count <= MOST_SHARDS).then_some(Shard { index, count })
    }

    /// True for the one driver of a run.
    pub fn is_only(self) -> bool {
        self.count == 1
    }

    /// True if call, line or account number `number` is this shard's.
    pub fn has(self, number: u32) -> bool {
        number % self.count.max(1) == self.index
    }

    /// Number, in the whole run, of the `nth` that this shard has, from 0.
    pub fn nth(self, nth: u32) -> u32 {
        nth.saturating_mul(self.count).saturating_add(self.index)
    }

    /// The first number from `from` on that is this shard's.
    pub fn first_from(self, from: u32) -> u32 {
        let count = self.count.max(1);
        from.saturating_add((self.index + count - from % count) % count)
    }

    /// Number of those below `whole` that are this shard's.
    pub fn share(self, whole: u32) -> u32 {
        let count = self.count.max(1);
        whole / count + u32::from(whole % count > self.index)
    }

    /// This shard's part of a range of ports, beginning with an even one; `None` where there are too few.
    pub fn ports(self, range: PortRange) -> Option<PortRange> {
        if self.is_only() {
            return Some(range);
        }
        let pairs = range.even_ports() / self.count.max(1);
        let first = u32::from(range.from).next_multiple_of(2) + self.index * pairs * 2;
        let last = (first + pairs * 2).checked_sub(1)?.min(range.to.into());
        let (from, to) = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
        (pairs > 0 && from <= to).then_some(PortRange { from, to })
    }
}

impl fmt::Display for Shard {
    /// `0/3`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let wrong = || {
            format!(
                "`{text}` is no shard: write its number from 0 and how many there are, up to {MOST_SHARDS}, as in 0/3"
            )
        };
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let (index, count) =
            (index.trim().parse().map_err(|_| wrong())?, count.trim().parse().map_err(|_| wrong())?);
        Shard::new(index, count).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_is_one_shards_and_shares_add_up(count in 1u32..40, whole in 0u32..500, from in 0u32..500) {
            let shards: Vec<_> = (0..count).map(|index| Shard::new(index, count).unwrap()).collect();
            for number in 0..whole {
                prop_assert_eq!(shards.iter().filter(|shard| shard.has(number)).count(), 1);
            }
            prop_assert_eq!(shards.iter().map(|shard| shard.share(whole)).sum::<u32>(), whole);
            for shard in shards {
                let own: Vec<_> = (0..whole).filter(|number| shard.has(*number)).collect();
                let nth: Vec<_> = (0..shard.share(whole)).map(|n| shard.nth(n)).collect();
                prop_assert_eq!(own, nth);
                let first = shard.first_from(from);
                prop_assert!(shard.has(first) && (from..from + count).contains(&first));
            }
        }

        #[test]
        fn ports_are_dealt_without_overlap(count in 1u32..40, from in 1024u16..60000, length in 0u16..5000) {
            let range = PortRange { from, to: from.saturating_add(length) };
            let parts: Vec<_> = (0..count).filter_map(|index| Shard::new(index, count)?.ports(range)).collect();
            prop_assert!(parts.is_empty() || parts.len() == count as usize);
            for (n, part) in parts.iter().enumerate() {
                prop_assert!(range.from <= part.from && part.to <= range.to);
                prop_assert_eq!(part.even_ports(), if count == 1 { range.even_ports() } else { range.even_ports() / count });
                prop_assert!(parts.iter().skip(n + 1).all(|other| !part.overlaps(*other)));
            }
        }
    }

    #[test]
    fn a_shard_is_read_as_it_is_written_and_nothing_else_is_one() {
        let shard: Shard = "2/3".parse().unwrap();
        assert_eq!((shard, shard.to_string().as_str()), (Shard { index: 2, count: 3 }, "2/3"));
        for wrong in
            ["3/3", "1", "1/0", "0/0", "-1/3", "a/b", "1/3/4", "0/257", "", "4294967296/3", "0/4294967297"]
        {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("0/3"), "{wrong}");
        }
    }
}
