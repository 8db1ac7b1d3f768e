//! Intended times of an open load: attempts at a rate that does not depend on how calls end.
//!
//! The rate is a line over time: it rises over the ramp and stays. Attempt k of an even load comes when the
//! integral of the rate has reached k, and of a Poisson process when it has reached the sum of k draws of a unit
//! exponential distribution (time change of a non-homogeneous Poisson process).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::Suppression;
use super::lines::{Due, Slot};
use crate::scenario::{self, CallDuration, LONGEST_IN_MEANS, Load};
use crate::shard::Shard;
use crate::stamp::Stamp;

/// Longest that an attempt may be behind its intended time and still be placed. A driver that was held up for
/// longer would place a burst that the rate does not have; shorter delays stand in the calls' records.
pub(super) const LATEST: Duration = Duration::from_millis(100);
/// An attempt this far away never comes: longer than any run.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Attempts at their intended times, and the lines that are free for them.
#[derive(Debug)]
pub(super) struct Arrivals {
    shard: Shard,
    /// Number of the next attempt, of all shards.
    number: u32,
    spacing: scenario::Arrivals,
    random: Xoshiro256PlusPlus,
    lengths: Lengths,
    rise: Rise,
    /// Start of the rise.
    from: Stamp,
    /// Integral of the rate from there to the next attempt.
    until_next: f64,
    next: Option<Stamp>,
    /// Lines without a call, the lowest first.
    free: BinaryHeap<Reverse<u32>>,
}

impl Arrivals {
    /// Attempts from `epoch` on.
    pub(super) fn new(load: &Load, shard: Shard, epoch: Stamp) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(load.seed.into());
        let until_next = gap(load.arrivals, &mut random) - even(load.arrivals);
        let mut arrivals = Arrivals {
            shard,
            number: 0,
            spacing: load.arrivals,
            random,
            lengths: Lengths::new(load),
            rise: Rise::default(),
            from: epoch,
            until_next,
            next: None,
            free: (0..load.calls).filter(|line| shard.has(*line)).map(Reverse).collect(),
        };
        arrivals.change(0.0, Duration::ZERO, epoch);
        arrivals
    }

    /// Changes the rate, over `ramp` from `now` on. The way to the next attempt that is behind counts.
    pub(super) fn change(&mut self, rate: f64, ramp: Duration, now: Stamp) {
        let (behind, from_rate) = self.rise.at(now.since(self.from));
        self.until_next = (self.until_next - behind).max(0.0);
        self.from = now;
        self.rise = Rise { from: from_rate, to: rate, over_s: ramp.as_secs_f64() };
        self.plan();
    }

    fn plan(&mut self) {
        let after = self.rise.reaches(self.until_next);
        self.next = after.filter(|after| *after < NEVER).map(|after| self.from + after);
    }

    /// The earliest intended time.
    pub(super) fn next(&self) -> Option<Stamp> {
        self.next
    }

    /// Takes the earliest attempt that is due. Its length is drawn whatever becomes of it, so that one seed gives
    /// the same calls to a quick driver and to a slow one.
    pub(super) fn take(&mut self, now: Stamp) -> Option<Due> {
        let intended_at = self.next.filter(|at| *at <= now)?;
        let length = self.lengths.draw();
        self.until_next += gap(self.spacing, &mut self.random);
        self.plan();
        let is_own = self.shard.has(self.number);
        self.number = self.number.wrapping_add(1);
        if !is_own {
            return Some(Due::Foreign);
        }
        if now.since(intended_at) > LATEST {
            return Some(Due::Suppressed(Suppression::Late));
        }
        Some(match self.free.pop() {
            Some(Reverse(line)) => Due::Call(Slot { line, intended_at, length }),
            None => Due::Suppressed(Suppression::Cap),
        })
    }

    /// The line is free for another attempt.
    pub(super) fn rest(&mut self, line: u32) {
        self.free.push(Reverse(line));
    }

    /// No more attempts.
    pub(super) fn close(&mut self) {
        (self.rise, self.next) = (Rise::default(), None);
    }
}

/// Integral of the rate from one attempt to the next.
fn gap(spacing: scenario::Arrivals, random: &mut Xoshiro256PlusPlus) -> f64 {
    match spacing {
        scenario::Arrivals::Even => 1.0,
        scenario::Arrivals::Poisson => exponential(random),
    }
}

/// The gap before the first attempt of an even load, which comes at once.
fn even(spacing: scenario::Arrivals) -> f64 {
    if spacing == scenario::Arrivals::Even { 1.0 } else { 0.0 }
}

/// Draws from the exponential distribution of mean 1.
fn exponential(random: &mut Xoshiro256PlusPlus) -> f64 {
    // The upper 53 bits fill a double's mantissa; one more keeps the logarithm from zero.
    let draw = ((random.next_u64() >> 11) + 1) as f64 * (1.0 / (1u64 << 53) as f64);
    -draw.ln()
}

/// A rate that goes in a line from one value to another, and stays. Per second.
#[derive(Debug, Clone, Copy, Default)]
struct Rise {
    from: f64,
    to: f64,
    over_s: f64,
}

impl Rise {
    /// Integral up to `after`, and the rate then.
    fn at(&self, after: Duration) -> (f64, f64) {
        let (after, slope) = (after.as_secs_f64(), (self.to - self.from) / self.over_s);
        if after < self.over_s {
            return (after * (self.from + slope * after / 2.0), self.from + slope * after);
        }
        (self.whole() + self.to * (after - self.over_s), self.to)
    }

    /// Integral over the rise.
    fn whole(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.over_s
    }

    /// Time at which the integral reaches `sum`; `None` if it never does.
    fn reaches(&self, sum: f64) -> Option<Duration> {
        let Rise { from, to, over_s } = *self;
        let seconds = if sum < self.whole() {
            // The root of a parabola, in the form that loses no digits where the slope is small.
            let slope = (to - from) / over_s;
            2.0 * sum / (from + (from * from + 2.0 * slope * sum).max(0.0).sqrt())
        } else {
            over_s + (sum - self.whole()) / to
        };
        match seconds {
            // Of nothing over nothing: the rate is 0 where the first attempt of an even load is due at once.
            seconds if seconds.is_nan() => (to > 0.0).then_some(Duration::ZERO),
            seconds => Duration::try_from_secs_f64(seconds).ok(),
        }
    }
}

/// Lengths of calls in turn.
#[derive(Debug)]
pub(super) struct Lengths {
    duration: Option<CallDuration>,
    random: Xoshiro256PlusPlus,
    /// Lengths before the next one that are other shards'.
    foreign: u32,
    /// The same between any two.
    foreign_each: u32,
}

impl Lengths {
    /// Those of a load. Arrivals draw from the same seed: a stream of their own keeps either from changing the other.
    pub(super) fn new(load: &Load) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(u64::from(load.seed) | 1 << 32);
        Lengths { duration: load.call_duration.clone(), random, foreign: 0, foreign_each: 0 }
    }

    /// Those that one shard has of a load's: every N-th.
    pub(super) fn dealt(load: &Load, shard: Shard) -> Self {
        Lengths { foreign: shard.index, foreign_each: shard.count - 1, ..Lengths::new(load) }
    }

    /// Length of the next call; `None` is to the end of the run.
    pub(super) fn draw(&mut self) -> Option<Duration> {
        for _ in 0..std::mem::replace(&mut self.foreign, self.foreign_each) {
            self.draw_next();
        }
        self.draw_next()
    }

    fn draw_next(&mut self) -> Option<Duration> {
        Some(match self.duration.as_ref()? {
            CallDuration::Constant(span) => span.0,
            CallDuration::Exponential(mean) => {
                mean.0.mul_f64(exponential(&mut self.random).min(LONGEST_IN_MEANS.into()))
            }
            CallDuration::List(list) => {
                let n = list.len().max(1) as u64;
                // A list has up to a thousand elements: of 2^64 draws none is preferred by more than 1 in 10^16.
                list.get((self.random.next_u64() % n) as usize)?.0
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Rate, Span};
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    fn epoch() -> Stamp {
        Stamp::ZERO + 1000 * S
    }

    fn load(spacing: scenario::Arrivals, seed: u32) -> Load {
        let call_duration = Some(CallDuration::Exponential(Span(30 * S)));
        Load { rate: Some(Rate(1.0)), arrivals: spacing, seed, call_duration, ..Load::default() }
    }

    /// Intended times of `count` attempts that are all taken in time, since the start.
    fn times(arrivals: &mut Arrivals, count: usize) -> Vec<f64> {
        let mut next = || {
            let at = arrivals.next().expect("there is a next one");
            arrivals.take(at).expect("it is due");
            at.since(epoch()).as_secs_f64()
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        #[test]
        fn even_attempts_come_exactly_at_k_over_the_rate(rate in 0.001f64..10_000.0, skip in 0usize..3000) {
            let mut arrivals = Arrivals::new(&load(scenario::Arrivals::Even, 1), Shard::ONLY, epoch());
            arrivals.change(rate, Duration::ZERO, epoch());
            let times = times(&mut arrivals, skip + 3);
            for (k, at) in times.iter().enumerate().skip(skip) {
                let due = Duration::from_secs_f64(k as f64 / rate).as_secs_f64();
                prop_assert!((at - due).abs() < 2e-9, "attempt {k} at {at}, not {due}");
            }
        }

        #[test]
        fn a_rate_that_changes_keeps_its_integral(
            rates in prop::collection::vec((0.5f64..500.0, 0u64..20, 1u64..20), 1..6),
        ) {
            let mut arrivals = Arrivals::new(&load(scenario::Arrivals::Even, 1), Shard::ONLY, epoch());
            let (mut now, mut integral, mut before, mut count) = (epoch(), 0.0, 0.0, 0u32);
            for (rate, ramp, stays) in rates {
                arrivals.change(rate, ramp as u32 * S, now);
                now += (ramp + stays) as u32 * S;
                integral += (before + rate) / 2.0 * ramp as f64 + rate * stays as f64;
                before = rate;
                while arrivals.next().is_some_and(|at| at < now) {
                    arrivals.take(now);
                    count += 1;
                }
                // The first comes at once.
                prop_assert!((f64::from(count) - integral).abs() <= 1.001, "{count} of {integral}");
            }
        }
    }

    #[test]
    fn a_rate_rises_over_the_ramp() {
        let mut arrivals = Arrivals::new(&load(scenario::Arrivals::Even, 1), Shard::ONLY, epoch());
        assert_eq!(arrivals.next(), None, "no rate yet");
        arrivals.change(10.0, 8 * S, epoch());
        // Half the rate on average: 40 attempts within the ramp, of which the first comes at once.
        let times = times(&mut arrivals, 51);
        assert_eq!((times[0], times[40]), (0.0, 8.0));
        assert!((times[10] - 4.0).abs() < 1e-9, "a quarter of them in half the time: {}", times[10]);
        assert_eq!((times[41], times[50]), (8.1, 9.0));
    }

    #[test]
    fn a_poisson_process_has_the_mean_and_the_variance_of_one_and_a_seed_repeats_it() {
        let of = |seed| {
            let mut arrivals = Arrivals::new(&load(scenario::Arrivals::Poisson, seed), Shard::ONLY, epoch());
            arrivals.change(50.0, Duration::ZERO, epoch());
            times(&mut arrivals, 20_000)
        };
        let (one, again, other) = (of(1), of(1), of(2));
        assert!(one == again && one != other);
        let gaps: Vec<_> = one.windows(2).map(|pair| (pair[1] - pair[0]) * 50.0).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / n;
        // Standard errors: 1/√n of the mean, √8/√n of the variance. Five of them.
        assert!((mean - 1.0).abs() < 5.0 / n.sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 5.0 * (8.0 / n).sqrt(), "{variance}");
        // Counts by second are as scattered as their mean is large.
        let counts: Vec<_> =
            (0..390u32).map(|s| one.iter().filter(|at| **at as u32 == s).count() as f64).collect();
        let mean = counts.iter().sum::<f64>() / 390.0;
        let scatter = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 390.0 / mean;
        assert!(
            (mean - 50.0).abs() < 5.0 * (50.0f64 / 390.0).sqrt() && (0.6..1.4).contains(&scatter),
            "{mean} {scatter}"
        );
    }

    #[test]
    fn lengths_have_their_mean_and_their_bound() {
        let draw = |duration: CallDuration, count: u32| {
            let mut lengths = Lengths::new(&Load { call_duration: Some(duration), ..Load::default() });
            (0..count).map(|_| lengths.draw().unwrap().as_secs_f64()).collect::<Vec<_>>()
        };
        let drawn = draw(CallDuration::Exponential(Span(2 * S)), 40_000);
        let mean = drawn.iter().sum::<f64>() / 40_000.0;
        assert!((mean - 2.0).abs() < 5.0 * 2.0 / 200.0, "{mean}");
        assert!(drawn.iter().all(|length| (0.0..=20.0).contains(length)));
        let list = [1u32, 5, 60].map(|s| Span(s * S)).to_vec();
        let drawn = draw(CallDuration::List(list), 3000);
        for length in [1.0, 5.0, 60.0] {
            let count = drawn.iter().filter(|drawn| **drawn == length).count();
            assert!((870..1130).contains(&count), "{count} of {length} s");
        }
        assert_eq!(Lengths::new(&Load::default()).draw(), None);
    }
}
