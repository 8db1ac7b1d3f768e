//! Decides what happens to each packet of one direction of one stream.

use std::ops::AddAssign;
use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::Impairment;
use crate::stamp::Stamp;

/// Packets by their fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImpairCounts {
    /// Let through, once or twice.
    pub passed: u64,
    /// Dropped.
    pub lost: u64,
    /// Let through twice.
    pub duplicated: u64,
    /// Sent at once while others of the stream may be held back. What a receiver counts as
    /// reordered are the packets that these overtook, so the two need not be equal.
    pub reordered: u64,
    /// Copies held back for any time at all.
    pub delayed: u64,
    /// Copies that found no room among those held back: lost, but not on purpose.
    pub overflows: u64,
}

impl ImpairCounts {
    /// Packets that came by.
    pub fn seen(&self) -> u64 {
        self.passed + self.lost
    }
}

impl AddAssign for ImpairCounts {
    fn add_assign(&mut self, other: ImpairCounts) {
        self.passed += other.passed;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.delayed += other.delayed;
        self.overflows += other.overflows;
    }
}

/// Fate of one packet: lost, or on its way once or twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    delays: [Duration; 2],
    copies: u8,
}

impl Fate {
    /// The extra delay of every copy, in the order in which they leave; empty if the packet is lost.
    pub fn copies(&self) -> &[Duration] {
        &self.delays[..usize::from(self.copies.min(2))]
    }

    fn add(&mut self, delay: Duration) {
        if let Some(free) = self.delays.get_mut(usize::from(self.copies)) {
            *free = delay;
            self.copies += 1;
        }
    }
}

/// The network of one direction of one stream.
///
/// Every packet takes the same number of draws, whatever becomes of it: with the same seed the same
/// packets are lost whether or not they are delayed too.
#[derive(Debug, Clone)]
pub struct Impairer {
    rng: Xoshiro256PlusPlus,
    shortest: Duration,
    /// From the shortest delay to the longest.
    spread_ns: u64,
    /// Chance that a packet is lost after one that was not, and after one that was.
    lose: f64,
    lose_again: f64,
    duplicate: f64,
    reorder: f64,
    losing: bool,
    /// Departure of the last copy that was held back.
    last_due: Stamp,
    counts: ImpairCounts,
}

impl Impairer {
    /// A network by `impairment`. Shares beyond 0–1 count as 0 or 1; whatever is no number, as none.
    pub fn new(impairment: &Impairment, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let shortest = impairment.delay.0.saturating_sub(impairment.jitter.0);
        let spread = impairment.longest().saturating_sub(shortest);
        let loss = share(impairment.loss.0);
        let (lose, lose_again) = gilbert(loss, impairment.burst);
        Impairer {
            // The chain starts as it goes on: with the long-run share of its bad state.
            losing: chance(rng.next_u64(), loss),
            rng,
            shortest,
            spread_ns: u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX),
            lose,
            lose_again,
            duplicate: share(impairment.duplicate.0),
            reorder: if impairment.longest().is_zero() { 0.0 } else { share(impairment.reorder.0) },
            last_due: Stamp::ZERO,
            counts: ImpairCounts::default(),
        }
    }

    /// Decides on the packet that comes by at `now`. Allocates nothing.
    ///
    /// Packets must be passed in their order. If `now` steps back, nothing is held longer than the
    /// longest delay, but packets around the step may overtake each other.
    pub fn pass(&mut self, now: Stamp) -> Fate {
        let [loss, reorder, delay, duplicate, delay_of_copy] = std::array::from_fn(|_| self.rng.next_u64());
        self.losing = chance(loss, if self.losing { self.lose_again } else { self.lose });
        let mut fate = Fate::default();
        if self.losing {
            self.counts.lost += 1;
            return fate;
        }
        self.counts.passed += 1;
        if chance(reorder, self.reorder) {
            self.counts.reordered += 1;
            fate.add(Duration::ZERO);
        } else {
            fate.add(self.hold_back(now, delay));
        }
        if chance(duplicate, self.duplicate) {
            self.counts.duplicated += 1;
            fate.add(self.hold_back(now, delay_of_copy));
        }
        self.counts.delayed += fate.copies().iter().filter(|d| !d.is_zero()).count() as u64;
        fate
    }

    /// Counts so far.
    pub fn counts(&self) -> ImpairCounts {
        self.counts
    }

    /// The delay by a draw, long enough to leave after all that were held back before.
    fn hold_back(&mut self, now: Stamp, draw: u64) -> Duration {
        let drawn = (u128::from(draw) * (u128::from(self.spread_ns) + 1)) >> 64;
        let earliest = now + self.shortest;
        let latest = earliest + Duration::from_nanos(self.spread_ns);
        let due = earliest + Duration::from_nanos(drawn as u64);
        self.last_due = due.max(self.last_due).min(latest);
        self.last_due.since(now)
    }
}

/// The chances to lose a packet after a good and after a lost one, for a share of `loss` in runs of
/// `burst` on average. A run ends with chance r, so its mean length is 1 / r, and the chain spends
/// q / (q + r) of its time losing if a run begins with chance q (Gilbert, BSTJ 39, 1960). With
/// r = 1 − loss the two chances are equal, which is loss at random; runs are never shorter than that.
fn gilbert(loss: f64, burst: f64) -> (f64, f64) {
    if loss >= 1.0 {
        return (1.0, 1.0);
    }
    let random = 1.0 - loss;
    let end = if burst > 1.0 { (1.0 / burst).min(random) } else { random };
    (loss * end / random, 1.0 - end)
}

fn share(ratio: f64) -> f64 {
    if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) }
}

/// True with chance `p`, by a draw from all 64-bit numbers; never for 0, always for 1.
fn chance(draw: u64, p: f64) -> bool {
    // The upper 53 bits fill a double's mantissa: evenly spread over 0 ≤ x < 1.
    ((draw >> 11) as f64) * (1.0 / (1u64 << 53) as f64) < p
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Percent, Span};
    use proptest::prelude::*;

    const PTIME: Duration = Duration::from_millis(20);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The fates of `n` packets of one stream, with the time at which each came by.
    fn play(impairment: &Impairment, seed: u64, n: usize) -> (Vec<(Stamp, Fate)>, ImpairCounts) {
        let mut impairer = Impairer::new(impairment, seed);
        let mut now = Stamp::from_ns(1_000_000_000);
        let fates = (0..n).map(|_| {
            now += PTIME;
            (now, impairer.pass(now))
        });
        (fates.collect(), impairer.counts())
    }

    /// Within four and a half standard deviations of a share of `p`, drawn `n` times. Runs make the
    /// draws depend on each other, which widens it by (1 + ρ) / (1 − ρ), ρ being the correlation of
    /// neighbours.
    fn near(count: u64, n: u64, p: f64, correlation: f64) -> bool {
        let widened = p * (1.0 - p) * n as f64 * (1.0 + correlation) / (1.0 - correlation);
        (count as f64 - p * n as f64).abs() <= 4.5 * widened.sqrt()
    }

    #[test]
    fn shares_are_those_asked_for_and_runs_are_as_long() {
        for (seed, (loss, burst)) in
            [(0.001, 1.0), (0.02, 1.0), (0.02, 3.0), (0.1, 8.0), (0.3, 1.0), (0.5, 2.0), (0.9, 20.0)]
                .into_iter()
                .enumerate()
        {
            let impairment = Impairment { loss: Percent(loss), burst, ..Default::default() };
            let (fates, counts) = play(&impairment, seed as u64, 400_000);
            let mean = burst.max(1.0 / (1.0 - loss));
            let correlation = 1.0 - 1.0 / mean - loss / (1.0 - loss) / mean;
            assert!(near(counts.lost, 400_000, loss, correlation.max(0.0)), "{impairment:?} {counts:?}");
            let lost: Vec<bool> = fates.iter().map(|(_, f)| f.copies().is_empty()).collect();
            let runs = lost.windows(2).filter(|w| !w[0] && w[1]).count() + usize::from(lost[0]);
            let measured = counts.lost as f64 / runs as f64;
            // The lengths of runs spread by about their mean.
            let tolerance = 4.5 * mean / (runs as f64).sqrt();
            assert!((measured - mean).abs() <= tolerance, "{impairment:?}: runs of {measured}");
        }
    }

    #[test]
    fn duplicates_and_reordered_are_shares_of_what_passes() {
        let impairment = Impairment {
            delay: Span(ms(50)),
            loss: Percent(0.1),
            duplicate: Percent(0.05),
            reorder: Percent(0.25),
            ..Default::default()
        };
        let (_, c) = play(&impairment, 7, 200_000);
        assert!(near(c.duplicated, c.passed, 0.05, 0.0), "{c:?}");
        assert!(near(c.reordered, c.passed, 0.25, 0.0), "{c:?}");
        assert_eq!(c.delayed, (c.passed + c.duplicated) - c.reordered);
    }

    #[test]
    fn delays_spread_evenly_over_delay_plus_minus_jitter() {
        let impairment = Impairment { delay: Span(ms(30)), jitter: Span(ms(5)), ..Default::default() };
        let (fates, _) = play(&impairment, 3, 100_000);
        let mut tenths = [0u64; 10];
        for (_, fate) in &fates {
            let above = fate.copies()[0] - ms(25);
            tenths[(above.as_nanos() as usize * 10 / 10_000_001).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| near(*count, 100_000, 0.1, 0.0)), "{tenths:?}");
    }

    #[test]
    fn all_none_and_nonsense() {
        let all = Impairment { loss: Percent(1.0), burst: f64::NAN, ..Default::default() };
        assert_eq!(play(&all, 1, 1000).1, ImpairCounts { lost: 1000, ..Default::default() });
        let twice = Impairment {
            duplicate: Percent(7.0),
            reorder: Percent(1.0),
            loss: Percent(f64::NAN),
            ..Default::default()
        };
        let expected = ImpairCounts { passed: 1000, duplicated: 1000, ..Default::default() };
        assert_eq!(play(&twice, 1, 1000).1, expected);
        let longest =
            Impairment { delay: Span(Duration::MAX), jitter: Span(Duration::MAX), ..Default::default() };
        assert_eq!(play(&longest, 1, 10).1.delayed, 10);
        assert_eq!(play(&Impairment::default(), 1, 10).1, ImpairCounts { passed: 10, ..Default::default() });
    }

    #[test]
    fn one_packet_sent_at_once_is_ahead_of_those_held_back() {
        let impairment = Impairment { delay: Span(ms(30)), reorder: Percent(0.3), ..Default::default() };
        let (fates, counts) = play(&impairment, 5, 1000);
        let leaves: Vec<_> = fates.iter().map(|(now, fate)| *now + fate.copies()[0]).collect();
        let at_once = |n: usize| fates[n].1.copies()[0].is_zero();
        let overtaken = (1..1000).filter(|n| at_once(*n) && !at_once(n - 1)).count();
        assert!(overtaken > 100 && counts.reordered >= overtaken as u64);
        assert_eq!(leaves.windows(2).filter(|w| w[1] < w[0]).count(), overtaken);
    }

    #[test]
    fn a_clock_set_back_holds_nothing_longer_than_the_longest_delay() {
        let impairment = Impairment { delay: Span(ms(30)), jitter: Span(ms(10)), ..Default::default() };
        let mut impairer = Impairer::new(&impairment, 1);
        impairer.pass(Stamp::from_ns(9_000_000_000_000));
        for n in 0..100 {
            let fate = impairer.pass(Stamp::from_ns(n));
            assert!(fate.copies().iter().all(|d| *d <= ms(40)));
        }
    }

    prop_compose! {
        fn impairments()(
            delay in 0u64..200, jitter in 0u64..200, loss in 0.0..1.0f64, burst in 1.0..20.0f64,
            duplicate in 0.0..1.0f64, reorder in 0.0..1.0f64,
        ) -> Impairment {
            Impairment { delay: Span(ms(delay)), jitter: Span(ms(jitter)), loss: Percent(loss), burst, duplicate: Percent(duplicate), reorder: Percent(reorder) }
        }
    }

    proptest! {
        #[test]
        fn counts_are_what_the_fates_say(impairment in impairments(), seed in any::<u64>()) {
            let (fates, counts) = play(&impairment, seed, 500);
            let of = |copies: usize| fates.iter().filter(|(_, f)| f.copies().len() == copies).count() as u64;
            prop_assert_eq!((of(0), of(1) + of(2), of(2)), (counts.lost, counts.passed, counts.duplicated));
            prop_assert_eq!(counts.seen(), 500);
            let delays: Vec<_> = fates.iter().flat_map(|(_, f)| f.copies()).collect();
            prop_assert_eq!(delays.len() as u64, counts.passed + counts.duplicated);
            prop_assert_eq!(delays.iter().filter(|d| !d.is_zero()).count() as u64, counts.delayed);
            prop_assert!(delays.iter().all(|d| **d <= impairment.longest()));
        }

        #[test]
        fn the_same_seed_is_the_same_network(impairment in impairments(), seed in any::<u64>()) {
            prop_assert_eq!(play(&impairment, seed, 200), play(&impairment, seed, 200));
            let only_loss = Impairment { loss: impairment.loss, burst: impairment.burst, ..Default::default() };
            let lost = |i| play(i, seed, 200).0.iter().map(|(_, f)| f.copies().is_empty()).collect::<Vec<_>>();
            prop_assert_eq!(lost(&impairment), lost(&only_loss));
        }

        #[test]
        fn order_is_kept_unless_reordering_is_asked_for(impairment in impairments(), seed in any::<u64>()) {
            let impairment = Impairment { reorder: Percent(0.0), ..impairment };
            let shortest = impairment.delay.0.saturating_sub(impairment.jitter.0);
            let (fates, _) = play(&impairment, seed, 500);
            let leaves: Vec<_> = fates.iter().flat_map(|(now, f)| f.copies().iter().map(|d| *now + *d)).collect();
            prop_assert!(leaves.is_sorted());
            prop_assert!(fates.iter().flat_map(|(_, f)| f.copies()).all(|d| *d >= shortest));
        }
    }
}
