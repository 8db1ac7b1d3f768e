//! The interval log in memory: latencies by second and series, of which every other distribution is a sum.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Latencies, Series};

/// The packets that an interval counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Those of the measured window.
    Measured,
    /// All others, which only the figures by second count.
    Outside,
}

/// The histograms of one second while it is open, each made when its first latency comes.
#[derive(Debug, Clone, Default)]
pub struct OpenIntervals([[Option<Latencies>; 2]; Series::ALL.len()]);

impl OpenIntervals {
    /// Counts one latency.
    pub fn record(&mut self, series: Series, scope: Scope, ns: u64) {
        self.record_n(series, scope, ns, 1);
    }

    /// Counts the same latency `count` times.
    pub fn record_n(&mut self, series: Series, scope: Scope, ns: u64, count: u64) {
        self.0[series as usize][scope as usize].get_or_insert_with(Latencies::default).record_n(ns, count);
    }

    /// The latencies of one series, if there are any.
    pub fn get(&self, series: Series, scope: Scope) -> Option<&Latencies> {
        self.0[series as usize][scope as usize].as_ref()
    }
}

/// The latencies of a run by second and series. Sums of intervals are exact: what a histogram over several
/// seconds holds is what their intervals hold together.
///
/// Runs of format 1 have one interval for the whole window, in second 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intervals {
    seconds: BTreeMap<(u32, Series, Scope), Packed>,
    /// Measured round trips of the whole run by target, where there are several.
    targets: BTreeMap<u32, Packed>,
}

impl Intervals {
    /// Adds latencies to an interval.
    pub fn add(&mut self, second: u32, series: Series, scope: Scope, latencies: &Latencies) {
        if !latencies.is_empty() {
            self.add_packed((second, series, scope), Packed::new(latencies));
        }
    }

    /// Adds the latencies of an open second.
    pub fn add_second(&mut self, second: u32, open: &OpenIntervals) {
        for series in Series::ALL.iter().copied() {
            for scope in [Scope::Measured, Scope::Outside] {
                if let Some(latencies) = open.get(series, scope) {
                    self.add(second, series, scope, latencies);
                }
            }
        }
    }

    fn add_packed(&mut self, key: (u32, Series, Scope), packed: Packed) {
        match self.seconds.entry(key) {
            Entry::Vacant(entry) => drop(entry.insert(packed)),
            Entry::Occupied(mut entry) => {
                let sum = entry.get().plus(packed.counts());
                entry.insert(sum);
            }
        }
    }

    /// Adds measured round trips of the calls to target number `target`.
    pub fn add_target(&mut self, target: u32, latencies: &Latencies) {
        if latencies.is_empty() {
            return;
        }
        let sum = match self.targets.get(&target) {
            Some(before) => before.plus(latencies.counts()),
            None => Packed::new(latencies),
        };
        self.targets.insert(target, sum);
    }

    /// Measured round trips of the whole run by target; none where there is one.
    pub fn targets(&self) -> impl Iterator<Item = (u32, Latencies)> + '_ {
        self.targets.iter().map(|(target, packed)| (*target, packed.unpacked()))
    }

    /// The last second that has an interval.
    pub fn last_second(&self) -> u32 {
        self.seconds.keys().map(|(second, ..)| *second).next_back().unwrap_or_default()
    }

    /// The measured latencies of every series in the seconds that `among` names.
    pub fn totals_among(&self, among: impl Fn(u32) -> bool) -> BTreeMap<Series, Latencies> {
        let mut totals: BTreeMap<Series, Latencies> = BTreeMap::new();
        for ((second, series, scope), packed) in &self.seconds {
            if *scope == Scope::Measured && among(*second) {
                totals.entry(*series).or_default().extend(packed.counts());
            }
        }
        totals
    }

    /// Counts of one series in one second, measured or not.
    pub fn second(&self, second: u32, series: Series) -> impl Iterator<Item = (u64, u64)> + '_ {
        let scopes = [Scope::Measured, Scope::Outside].into_iter();
        scopes.filter_map(move |scope| self.seconds.get(&(second, series, scope))).flat_map(Packed::counts)
    }

    /// All intervals, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Series, Scope, Latencies)> + '_ {
        self.seconds
            .iter()
            .map(|((second, series, scope), packed)| (*second, *series, *scope, packed.unpacked()))
    }

    /// Number of intervals and bytes that their counts take.
    pub fn size(&self) -> (usize, usize) {
        (self.seconds.len(), self.seconds.values().map(|packed| packed.0.len()).sum())
    }
}

/// Resolution of [`Latencies`] at its lower end; each of its buckets begins at a multiple of it.
const UNIT_NS: u64 = 512;

/// The counts of an interval in LEB128: distance to the bucket before in units, count. Two bytes a bucket
/// in use are usual, where the histogram takes at least 24 KB.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Packed(Box<[u8]>);

impl Packed {
    fn new(latencies: &Latencies) -> Packed {
        let (mut bytes, mut before) = (Vec::new(), 0);
        for (ns, count) in latencies.counts() {
            let unit = ns / UNIT_NS;
            put(&mut bytes, unit - before);
            put(&mut bytes, count);
            before = unit;
        }
        Packed(bytes.into())
    }

    fn unpacked(&self) -> Latencies {
        let mut latencies = Latencies::default();
        latencies.extend(self.counts());
        latencies
    }

    fn plus(&self, more: impl Iterator<Item = (u64, u64)>) -> Packed {
        let mut sum = self.unpacked();
        sum.extend(more);
        Packed::new(&sum)
    }

    fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (mut bytes, mut unit) = (self.0.iter(), 0);
        std::iter::from_fn(move || {
            unit += take(&mut bytes)?;
            Some((unit * UNIT_NS, take(&mut bytes)?))
        })
    }
}

fn put(bytes: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
}

fn take<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<u64> {
    let (mut n, mut shift) = (0, 0);
    loop {
        let byte = *bytes.next()?;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::HIGHEST_NS;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

        /// Latencies spread over all magnitudes, over ten seconds and two scopes.
        #[test]
        fn sums_of_intervals_are_the_histogram_of_all(
            packets in prop::collection::vec((0u32..10, any::<bool>(), 0u32..38, any::<u64>()), 0..100),
            some in 0u32..10,
        ) {
            let mut log = Intervals::default();
            let [mut all, mut part, mut of_second] = [(); 3].map(|()| Latencies::default());
            for (second, is_measured, magnitude, noise) in packets {
                let ns = (1u64 << magnitude) + noise % (1 << magnitude);
                let scope = if is_measured { Scope::Measured } else { Scope::Outside };
                let mut open = OpenIntervals::default();
                open.record(Series::Rtt, scope, ns);
                open.record(Series::Control, scope, 1);
                log.add_second(second, &open);
                if is_measured { all.record(ns); }
                if is_measured && second >= some { part.record(ns); }
                if second == some { of_second.record(ns); }
            }
            let counts = |l: &Latencies| l.counts().collect::<Vec<_>>();
            let totals = log.totals_among(|_| true);
            prop_assert_eq!(totals.get(&Series::Rtt).map(counts).unwrap_or_default(), counts(&all));
            let among = log.totals_among(|second| second >= some);
            prop_assert_eq!(among.get(&Series::Rtt).map(counts).unwrap_or_default(), counts(&part));
            let mut second = Latencies::default();
            second.extend(log.second(some, Series::Rtt));
            prop_assert_eq!(counts(&second), counts(&of_second));
            prop_assert_eq!((second.min(), second.max(), second.mean()), (of_second.min(), of_second.max(), of_second.mean()));
        }
    }

    #[test]
    fn a_second_of_fifty_calls_takes_a_kilobyte() {
        let mut l = Latencies::default();
        (0..2500u64).for_each(|n| l.record(150_000 + (n * 7919 % 2500) * 80));
        l.record(HIGHEST_NS);
        let mut log = Intervals::default();
        log.add(7, Series::Rtt, Scope::Measured, &l);
        let (count, bytes) = log.size();
        assert!(count == 1 && bytes < 1024, "{bytes} bytes");
    }
}
