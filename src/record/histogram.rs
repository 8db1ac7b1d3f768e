//! Latencies as an HdrHistogram, with a rank for packets that never came back.

use std::iter;

use hdrhistogram::Histogram;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::values::{Ns, Value};

/// Largest latency with a place of its own, 60 s; beyond it values are only counted.
pub const HIGHEST_NS: u64 = 60_000_000_000;
/// Smallest latency told apart, 1 µs.
pub const LOWEST_NS: u64 = 1_000;
/// Significant digits of every recorded round trip.
pub const DIGITS: u8 = 3;

/// Range with memory from the start, 2 ms in 24 KB; a longer latency lets the histogram grow by 8 KB for
/// each doubling, to 147 KB at the most.
const FIRST_RANGE_NS: u64 = 2_000_000;

/// Position of a percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quantile {
    /// At this latency in nanoseconds, exact to 3 digits.
    At(u64),
    /// Beyond 60 s.
    Above,
    /// Among the packets that never came back.
    Lost,
    /// Nothing was sent.
    #[default]
    NoData,
}

impl Quantile {
    /// The latency, where it is one.
    pub fn ns(self) -> Option<Ns> {
        match self {
            Quantile::At(ns) => Some(Ns(ns)),
            Quantile::Above | Quantile::Lost | Quantile::NoData => None,
        }
    }
}

impl From<Quantile> for Value {
    /// Milliseconds. Beyond 60 s a packet is as good as lost to any caller.
    fn from(quantile: Quantile) -> Value {
        match quantile {
            Quantile::At(ns) => Value::Number(Ns(ns).as_ms()),
            Quantile::Above | Quantile::Lost => Value::Lost,
            Quantile::NoData => Value::NoData,
        }
    }
}

const LOST: &str = "lost";

/// A cell of a table: milliseconds, `lost`, or empty.
impl Serialize for Quantile {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Quantile::At(ns) => Ns(*ns).serialize(to),
            Quantile::Above | Quantile::Lost => to.serialize_str(LOST),
            Quantile::NoData => to.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Quantile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Quantile, D::Error> {
        let Some(cell) = Option::<String>::deserialize(from)? else { return Ok(Quantile::NoData) };
        if cell == LOST {
            return Ok(Quantile::Lost);
        }
        let ms: f64 = cell.parse().map_err(D::Error::custom)?;
        Ns::from_ms(ms).map(|ns| Quantile::At(ns.0)).map_err(D::Error::custom)
    }
}

/// The rank of percentile `q` (0–1) among `sent` packets, of which there is at least one.
pub fn rank(q: f64, sent: u64) -> u64 {
    // 1e-9 of slack keeps 0.95 × 100 from becoming rank 96.
    ((q.clamp(0.0, 1.0) * sent as f64 - 1e-9).ceil() as u64).clamp(1, sent)
}

/// A histogram of latencies in nanoseconds, 1 µs to 60 s, 3 significant digits.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    above: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        // Invariant: these constants are within the limits of HdrHistogram.
        let mut histogram =
            Histogram::new_with_bounds(LOWEST_NS, FIRST_RANGE_NS, DIGITS).expect("valid bounds");
        histogram.auto(true);
        Latencies { histogram, above: 0 }
    }
}

/// Adds counts as [`Latencies::counts`] gives them.
impl Extend<(u64, u64)> for Latencies {
    fn extend<T: IntoIterator<Item = (u64, u64)>>(&mut self, counts: T) {
        counts.into_iter().for_each(|(ns, count)| self.record_n(ns, count));
    }
}

impl Latencies {
    /// Counts one latency. Above 60 s it is counted apart, never clipped.
    pub fn record(&mut self, ns: u64) {
        self.record_n(ns, 1);
    }

    /// Counts the same latency `count` times.
    pub fn record_n(&mut self, ns: u64, count: u64) {
        if ns > HIGHEST_NS {
            self.above += count;
        } else if count > 0 {
            // HdrHistogram takes a largest value of 0 for none; 1 is of the same bucket.
            // Invariant: a growing histogram takes every value up to its 64 bits.
            self.histogram.record_n(ns.max(1), count).expect("it grows");
        }
    }

    /// The smallest latency of each bucket in use with its count, ascending; what lay above 60 s comes
    /// last, as `u64::MAX`.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let within = self.histogram.iter_recorded();
        within
            .map(|v| (self.histogram.lowest_equivalent(v.value_iterated_to()), v.count_at_value()))
            .chain(iter::once((u64::MAX, self.above)).filter(|(_, count)| *count > 0))
    }

    /// Empties the histogram, keeping its memory.
    pub fn reset(&mut self) {
        self.histogram.reset();
        self.above = 0;
    }

    /// Number of latencies counted.
    pub fn len(&self) -> u64 {
        self.histogram.len() + self.above
    }

    /// True if none was counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of latencies above 60 s.
    pub fn above(&self) -> u64 {
        self.above
    }

    /// The percentile over all packets sent: `q` in 0–1, `lost` packets ranking as slower than any
    /// that came back. So losing slow packets cannot improve a percentile.
    pub fn quantile(&self, q: f64, lost: u64) -> Quantile {
        let sent = self.len().saturating_add(lost);
        if sent == 0 {
            return Quantile::NoData;
        }
        let rank = rank(q, sent);
        let in_bounds = self.histogram.len();
        if rank > self.len() {
            Quantile::Lost
        } else if rank > in_bounds {
            Quantile::Above
        } else {
            Quantile::At(self.value_at_rank(rank))
        }
    }

    fn value_at_rank(&self, rank: u64) -> u64 {
        let mut seen = 0;
        for step in self.histogram.iter_recorded() {
            seen += step.count_at_value();
            if seen >= rank {
                return self.histogram.highest_equivalent(step.value_iterated_to()).min(self.histogram.max());
            }
        }
        self.histogram.max()
    }

    /// The mean in nanoseconds of what lies within the bounds; `None` when empty.
    pub fn mean(&self) -> Option<f64> {
        (!self.histogram.is_empty()).then(|| self.histogram.mean())
    }

    /// The smallest latency in nanoseconds, to histogram resolution; `None` when empty.
    pub fn min(&self) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.min())
    }

    /// The largest latency in nanoseconds within the bounds, to histogram resolution.
    pub fn max(&self) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.max())
    }

    /// The histogram itself, for serialising.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packets_rank_as_the_slowest() {
        let mut l = Latencies::default();
        (1..=98).for_each(|ms| l.record(ms * 1_000_000));
        let ms = |q| match l.quantile(q, 2) {
            Quantile::At(ns) => (ns as f64 / 1e6).round(),
            other => panic!("{other:?}"),
        };
        assert_eq!((ms(0.5), ms(0.95), ms(0.98)), (50.0, 95.0, 98.0));
        assert_eq!(l.quantile(0.99, 2), Quantile::Lost);
        assert_eq!(Latencies::default().quantile(0.5, 0), Quantile::NoData);
        assert_eq!(Latencies::default().quantile(0.5, 1), Quantile::Lost);
    }

    #[test]
    fn counts_add_up_elsewhere_to_the_same_histogram() {
        let (mut l, mut sum) = (Latencies::default(), Latencies::default());
        (1..=1000).for_each(|n| l.record(n * 12_345));
        [0, HIGHEST_NS, HIGHEST_NS + 1].into_iter().for_each(|ns| l.record(ns));
        (0..2).for_each(|_| sum.extend(l.counts()));
        assert_eq!((sum.len(), sum.above(), sum.min(), sum.max()), (2006, 2, l.min(), l.max()));
        assert_eq!(sum.mean(), l.mean());
        for q in [0.0, 0.25, 0.5, 0.99, 0.999, 1.0] {
            assert_eq!(sum.quantile(q, 0), l.quantile(q, 0), "{q}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_counted_and_never_clipped() {
        let mut l = Latencies::default();
        l.record(5_000_000);
        l.record(HIGHEST_NS + 1);
        assert_eq!((l.len(), l.above()), (2, 1));
        assert_eq!(l.quantile(1.0, 0), Quantile::Above);
        assert_eq!(l.quantile(1.0, 1), Quantile::Lost);
    }
}
