//! Sign test over pairs of segments: is one build slower than the other by one metric?
//!
//! Packets are not independent of each other, so tests over packets see a difference between almost any
//! two runs. The replicate is the segment: a short run of its own. A and B alternate (ABBA…), so that
//! drift falls on both. Integers are counted and nothing is drawn at random: the same segments always
//! give the same verdict.

use std::fmt;

use crate::analysis::drift::median;

/// Chance that two identical builds are told apart, over all metrics compared: that of 10 or more heads
/// in 12 throws.
const FALSE_ALARM: f64 = 0.0194;

/// One metric of one segment in milliseconds: a percentile of RTT, infinite where it falls among the
/// lost, and the same percentile of the control stream; or a time of turns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// The calls' figure.
    pub ms: f64,
    /// The same percentile of the control stream; `None` without one, and for turns.
    pub control_ms: Option<f64>,
    /// The control stream's 99th percentile; its scatter sets the absolute margin.
    pub control_p99_ms: Option<f64>,
    /// The percentile rests on too few samples.
    pub too_few: bool,
}

/// Two segments measured one after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// A segment of A, the base.
    pub a: Segment,
    /// A segment of B, the build under judgement.
    pub b: Segment,
}

/// Smallest difference that counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margins {
    /// Smallest relative difference of a pair that counts, 0–1.
    pub relative: f64,
    /// Smallest absolute one, in milliseconds; raised where the control stream scatters more.
    pub absolute_ms: f64,
    /// Metrics compared at once: the more, the more pairs must agree.
    pub metrics: usize,
}

impl Default for Margins {
    fn default() -> Self {
        Margins { relative: 0.10, absolute_ms: 0.1, metrics: 1 }
    }
}

/// Result by one metric. Displayed, it is the word in reports.
#[derive(Debug, Clone, PartialEq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Finding {
    /// B is slower.
    Regressed,
    /// B is faster.
    Improved,
    /// Neither, by more than the margins.
    Unchanged,
    /// Undecided, and why.
    Inconclusive(String),
}

/// Two builds compared by one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricComparison {
    /// The metric's name.
    pub metric: &'static str,
    /// Its value in each pair.
    pub pairs: Vec<Pair>,
    /// The result.
    pub finding: Finding,
    /// Pairs in which B was slower by more than both margins.
    pub worse: usize,
    /// Pairs in which B was faster, likewise.
    pub better: usize,
    /// Pairs that must agree.
    pub needed: Option<usize>,
    /// exp(median of ln B − ln A) − 1: 0.1 is a tenth slower. `None` where lost ones leave no median.
    pub effect: Option<f64>,
    /// Its interval, of the coverage that the number of pairs allows: 96.1 % for twelve.
    pub interval: Option<(f64, f64)>,
    /// Pairs in which B was slower, and in which it was faster, by more than the margins would be if the control
    /// stream did not scatter.
    pub below_scatter: [usize; 2],
    /// The absolute margin in force, in milliseconds.
    pub absolute_ms: f64,
    /// exp(median of ln B − ln A) − 1 of the control stream.
    pub control_effect: Option<f64>,
    /// Smallest move of the control stream in a pair that counts, likewise.
    pub control_margin: f64,
    /// Pairs in which the control stream was slower beside B by more than that.
    pub control_slower: usize,
    /// Pairs in which it was faster beside B, likewise.
    pub control_faster: usize,
}

/// Compares two builds by `metric`.
///
/// Undecided where the control stream, which bypasses both builds, explains the difference: it moved the
/// same way in as many pairs as the sign test asks for of one metric, for there is one machine, by more than
/// half the margin. Scatter in both directions is noise, which the sign test bears.
pub fn compare(metric: &'static str, pairs: Vec<Pair>, margins: &Margins) -> MetricComparison {
    let absolute_ms = margins.absolute_ms.max(3.0 * scatter(&pairs));
    let threshold = margins.relative.ln_1p();
    let beyond = |sign: f64, margin_ms: f64| {
        let is_beyond =
            |p: &&Pair| sign * log_ratio(p.a.ms, p.b.ms) > threshold && sign * (p.b.ms - p.a.ms) > margin_ms;
        pairs.iter().filter(is_beyond).count()
    };
    let mut differences: Vec<_> = pairs.iter().map(|p| log_ratio(p.a.ms, p.b.ms)).collect();
    let effect = median(&mut differences).filter(|d| !d.is_nan()).map(f64::exp_m1);
    differences.sort_unstable_by(f64::total_cmp);
    let control = pairs.iter().filter_map(|p| Some(log_ratio(p.a.control_ms?, p.b.control_ms?)));
    let mut control: Vec<f64> = control.collect();
    let needed = needed(pairs.len(), margins.metrics);
    let mut comparison = MetricComparison {
        metric,
        finding: Finding::Unchanged,
        worse: beyond(1.0, absolute_ms),
        better: beyond(-1.0, absolute_ms),
        below_scatter: [1.0, -1.0].map(|sign| beyond(sign, margins.absolute_ms)),
        needed,
        effect,
        interval: needed.map(|t| (differences[pairs.len() - t].exp_m1(), differences[t - 1].exp_m1())),
        absolute_ms,
        control_effect: median(&mut control).map(f64::exp_m1),
        control_margin: (threshold / 2.0).exp_m1(),
        control_slower: control.iter().filter(|shift| **shift > threshold / 2.0).count(),
        control_faster: control.iter().filter(|shift| **shift < -threshold / 2.0).count(),
        pairs,
    };
    comparison.finding = comparison.find();
    comparison
}

/// True if B serves fewer of its calls than A, by the share that each served, pair by pair.
///
/// Percentiles are of packets that were sent: a build that answers nobody sends none and would look
/// fast. Any difference counts here, for a call that is not served is slower than all others.
pub fn serves_fewer(shares: &[(f64, f64)]) -> bool {
    let fewer = shares.iter().filter(|(a, b)| b < a).count();
    needed(shares.len(), 1).is_some_and(|needed| fewer >= needed)
}

/// ln b − ln a; two percentiles among the lost are alike.
fn log_ratio(a: f64, b: f64) -> f64 {
    if a == b { 0.0 } else { b.ln() - a.ln() }
}

/// The fewest of `pairs` that two identical builds reach with a chance of at most 1.94 %, shared
/// by `metrics`. `None` where not even all of them would do.
pub fn needed(pairs: usize, metrics: usize) -> Option<usize> {
    let allowed = FALSE_ALARM / metrics.max(1) as f64;
    (0..=pairs).rev().take_while(|heads| tail(pairs, *heads) <= allowed).last()
}

/// The chance of `heads` or more in `throws`.
fn tail(throws: usize, heads: usize) -> f64 {
    (heads..=throws).map(|k| binomial(throws, k) / 2f64.powi(throws as i32)).sum()
}

fn binomial(n: usize, k: usize) -> f64 {
    (0..k.min(n - k)).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64)
}

/// Median absolute deviation of the control stream's 99th percentile over all segments, in milliseconds.
fn scatter(pairs: &[Pair]) -> f64 {
    let all = pairs.iter().flat_map(|p| [p.a.control_p99_ms, p.b.control_p99_ms]).flatten();
    median_and_mad(all.filter(|ms| ms.is_finite())).map_or(0.0, |(_, mad)| mad)
}

/// The median of finite values and the median absolute deviation from it; `None` of nothing.
pub(super) fn median_and_mad(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.collect();
    let middle = median(&mut values)?;
    let mut deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    Some((middle, median(&mut deviations)?))
}

impl MetricComparison {
    fn find(&self) -> Finding {
        let count = |is: fn(&Segment) -> bool| self.pairs.iter().flat_map(|p| [p.a, p.b]).filter(is).count();
        let (few, lost, all) = (count(|s| s.too_few), count(|s| s.ms.is_infinite()), 2 * self.pairs.len());
        let Some(needed) = self.needed else {
            return Finding::Inconclusive(format!("{} pairs are too few to tell", self.pairs.len()));
        };
        if few > 0 {
            return Finding::Inconclusive(format!(
                "in {few} of {all} runs the percentile rests on too few samples; make them longer, or take a \
                 lower one"
            ));
        }
        let (worse, better) = (self.worse >= needed, self.better >= needed);
        let moved = if worse { self.control_slower } else { self.control_faster };
        let has_machine_moved = self::needed(self.pairs.len(), 1).is_some_and(|needed| moved >= needed);
        if (worse || better) && has_machine_moved {
            return Finding::Inconclusive(format!(
                "B was {0} in {1} of {2} pairs, but so was the control stream, which bypasses both, in {moved}: \
                 the machine was not the same for both, or B changes how busy it is",
                if worse { "slower" } else { "faster" },
                if worse { self.worse } else { self.better },
                self.pairs.len(),
            ));
        }
        let hidden = self.below_scatter.iter().zip(["slower", "faster"]).find(|(count, _)| **count >= needed);
        match (worse, better) {
            (true, _) => Finding::Regressed,
            (_, true) => Finding::Improved,
            _ if lost > 0 => Finding::Inconclusive(format!(
                "in {lost} of {all} runs the percentile falls among the lost packets; take a lower one"
            )),
            _ => match hidden {
                Some((count, how)) => Finding::Inconclusive(format!(
                    "B was {how} in {count} of {} pairs, but by less than {:.3} ms, three times the scatter of the \
                     control stream's p99: this machine is too restless to tell",
                    self.pairs.len(),
                    self.absolute_ms,
                )),
                None => Finding::Unchanged,
            },
        }
    }

    /// Coverage of the interval, 0–1, whatever the distribution.
    pub fn coverage(&self) -> f64 {
        self.needed.map_or(0.0, |needed| 1.0 - 2.0 * tail(self.pairs.len(), needed))
    }
}

impl fmt::Display for MetricComparison {
    /// One sentence: `B is slower: in 11 of 12 pairs by more than 10 % …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = self.effect.map_or("beyond measure".into(), percent);
        let interval = match self.interval {
            Some((low, high)) => {
                format!(" ({:.1} % interval {} to {})", 100.0 * self.coverage(), percent(low), percent(high))
            }
            None => String::new(),
        };
        let needed = self.needed.map(|t| format!(", {t} are needed")).unwrap_or_default();
        let pairs = self.pairs.len();
        match &self.finding {
            Finding::Regressed => {
                write!(f, "B is slower than A, {effect}{interval}: in {} of {pairs} pairs", self.worse)
            }
            Finding::Improved => {
                write!(f, "B is faster than A, {effect}{interval}: in {} of {pairs} pairs", self.better)
            }
            Finding::Unchanged => write!(
                f,
                "no difference that counts, {effect}{interval}: B was slower in {} of {pairs} pairs, faster in {}{needed}",
                self.worse, self.better
            ),
            Finding::Inconclusive(why) => write!(f, "nothing can be said: {why}"),
        }
    }
}

fn percent(ratio: f64) -> String {
    if ratio.is_infinite() { "beyond measure".into() } else { format!("{:+.1} %", 100.0 * ratio) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(ms: f64) -> Segment {
        Segment { ms, control_ms: Some(0.05), control_p99_ms: Some(0.05), too_few: false }
    }

    fn pairs(values: &[(f64, f64)]) -> Vec<Pair> {
        values.iter().map(|(a, b)| Pair { a: segment(*a), b: segment(*b) }).collect()
    }

    fn compared(pairs: Vec<Pair>) -> MetricComparison {
        compare("rtt.p99", pairs, &Margins::default())
    }

    fn finding(values: &[(f64, f64)]) -> Finding {
        compared(pairs(values)).finding
    }

    #[test]
    fn ten_of_twelve_pairs_decide_and_eleven_with_five_metrics() {
        assert_eq!([1, 2, 5, 6].map(|metrics| needed(12, metrics)), [10, 11, 11, 11].map(Some));
        assert_eq!((needed(6, 1), needed(5, 1), needed(0, 1)), (Some(6), None, None));
        let mut values = vec![(1.0, 1.3); 10];
        values.extend([(1.0, 1.0); 2]);
        assert_eq!(finding(&values), Finding::Regressed);
        values[0] = (1.0, 1.0);
        assert_eq!(finding(&values), Finding::Unchanged);
        let swapped: Vec<_> = vec![(1.3, 1.0); 12];
        assert_eq!(finding(&swapped), Finding::Improved);
    }

    #[test]
    fn both_margins_must_be_passed() {
        assert_eq!(finding(&[(0.2, 0.29); 12]), Finding::Unchanged, "45 %, but below 100 µs");
        assert_eq!(finding(&[(20.0, 21.5); 12]), Finding::Unchanged, "1.5 ms, but below 10 %");
    }

    #[test]
    fn a_difference_below_the_machines_scatter_is_not_called_none() {
        let restless = |n: usize, b| {
            let p99 = if n.is_multiple_of(2) { 0.1 } else { 2.1 };
            let [a, b] = [0.15, b].map(|ms| Segment { control_p99_ms: Some(p99), ..segment(ms) });
            Pair { a, b }
        };
        let of = |b| compared((0..12).map(|n| restless(n, b)).collect());
        let (c, said) = (of(1.25), of(1.25).to_string());
        assert!(matches!(c.finding, Finding::Inconclusive(_)) && c.absolute_ms > 2.9, "{c:?}");
        assert!(said.contains("slower in 12 of 12 pairs") && said.contains("restless"), "{said}");
        assert_eq!(of(0.2).finding, Finding::Unchanged, "below 100 µs");
        assert_eq!(of(4.0).finding, Finding::Regressed);
    }

    #[test]
    fn the_interval_is_made_of_order_statistics() {
        let values: Vec<_> = (1..=12).map(|n| (1.0, (f64::from(n) / 100.0).exp())).collect();
        let c = compared(pairs(&values));
        let (low, high) = c.interval.unwrap();
        assert!((low - 0.03f64.exp_m1()).abs() < 1e-12 && (high - 0.10f64.exp_m1()).abs() < 1e-12);
        assert!((c.coverage() - 0.961).abs() < 1e-3, "{}", c.coverage());
        assert!((c.effect.unwrap() - 0.065f64.exp_m1()).abs() < 1e-12);
    }

    #[test]
    fn what_is_lost_is_slower_than_anything_and_equal_to_itself() {
        let lost = f64::INFINITY;
        assert_eq!(finding(&[(1.0, lost); 12]), Finding::Regressed);
        // Half of them lost on the one side, half on the other: nothing to build on.
        let mut mixed = [(1.0, lost); 12];
        mixed[..6].fill((lost, 1.0));
        let c = compared(pairs(&mixed));
        assert!(matches!(c.finding, Finding::Inconclusive(_)) && c.effect.is_none(), "{c}");
        assert!(matches!(finding(&[(lost, lost); 12]), Finding::Inconclusive(_)));
        assert!(!compared(pairs(&[(1.0, lost); 12])).to_string().contains("inf"));
    }

    #[test]
    fn ten_pairs_of_a_moved_control_stream_decide_however_many_metrics_are_compared() {
        let five = Margins { metrics: 5, ..Margins::default() };
        let of = |moved| compare("rtt.p99", beside(1.3, 12, moved, 0.054).pairs, &five);
        assert_eq!((of(9).finding, of(9).needed), (Finding::Regressed, Some(11)));
        assert!(matches!(of(10).finding, Finding::Inconclusive(_)));
    }

    /// `of` pairs in which B takes `b` ms, in `moved` of which the control stream goes from 50 µs to
    /// `control` ms.
    fn beside(b: f64, of: usize, moved: usize, control: f64) -> MetricComparison {
        let pair = |n| Pair {
            a: Segment { control_ms: Some(0.050), ..segment(1.0) },
            b: Segment { control_ms: Some(if n < moved { control } else { 0.050 }), ..segment(b) },
        };
        compared((0..of).map(pair).collect())
    }

    #[test]
    fn a_difference_that_the_control_stream_shows_too_is_the_machines() {
        let c = beside(1.3, 12, 10, 0.054);
        assert!(matches!(c.finding, Finding::Inconclusive(_)), "{c:?}");
        assert!(
            c.to_string().contains("slower in 12 of 12 pairs") && c.to_string().contains("in 10:"),
            "{c}"
        );
        assert!(matches!(beside(0.7, 12, 11, 0.046).finding, Finding::Inconclusive(_)));
        // As many as the sign test asks of so many pairs.
        assert!(matches!(beside(1.3, 6, 6, 0.054).finding, Finding::Inconclusive(_)));
        assert_eq!(beside(1.3, 6, 5, 0.054).finding, Finding::Regressed);
    }

    #[test]
    fn a_control_stream_that_moves_otherwise_explains_nothing() {
        assert_eq!(beside(1.3, 12, 9, 0.054).finding, Finding::Regressed, "in too few pairs");
        assert_eq!(beside(1.3, 12, 12, 0.0524).finding, Finding::Regressed, "by less than half of ln 1.1");
        assert_eq!(beside(1.3, 12, 12, 0.040).finding, Finding::Regressed, "the other way");
        assert_eq!(beside(1.0, 12, 12, 0.054).finding, Finding::Unchanged, "without the builds");
        // Both ways, and far: the median stands still or not, it is noise.
        let mut noisy = pairs(&[(1.0, 1.3); 12]);
        for (n, pair) in noisy.iter_mut().enumerate() {
            pair.b.control_ms = Some(if n < 4 { 0.02 } else { 0.2 });
        }
        assert_eq!(compared(noisy).finding, Finding::Regressed);
    }

    #[test]
    fn too_few_packets_say_nothing() {
        let mut pairs = pairs(&[(1.0, 1.3); 12]);
        pairs[3].b.too_few = true;
        let said = compared(pairs).to_string();
        assert!(said.contains("in 1 of 24 runs"), "{said}");
    }

    #[test]
    fn calls_that_are_not_served_count_whatever_the_others_measure() {
        let mut shares = [(1.0, 0.96); 12];
        assert!(serves_fewer(&shares) && !serves_fewer(&shares.map(|(a, b)| (b, a))));
        shares[..3].fill((1.0, 1.0));
        assert!(!serves_fewer(&shares), "9 of 12");
        assert!(serves_fewer(&[(1.0, 0.4); 6]));
        assert!(!serves_fewer(&[(1.0, 0.0); 3]), "too few pairs");
    }

    proptest! {
        #[test]
        fn a_comparison_is_the_same_the_other_way_round(
            values in proptest::collection::vec((0.1f64..10.0, 0.1f64..10.0), 0..20),
        ) {
            let there = compared(pairs(&values));
            let swapped: Vec<_> = values.iter().map(|(a, b)| (*b, *a)).collect();
            let back = compared(pairs(&swapped));
            prop_assert_eq!((there.worse, there.better), (back.better, back.worse));
            let mirrored = match back.finding {
                Finding::Regressed => Finding::Improved,
                Finding::Improved => Finding::Regressed,
                same => same,
            };
            prop_assert_eq!(there.finding, mirrored);
        }
    }

    /// Segments of one build on a machine whose noise level lasts for several of them.
    #[test]
    fn identical_builds_are_hardly_ever_told_apart() {
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut alarms = 0;
        for _ in 0..2000 {
            let mut level = 1.0;
            let mut next = || {
                level = 0.8 * level + 0.4 * noise();
                level * (0.5 + noise())
            };
            let values: Vec<_> = (0..12)
                .map(|n| {
                    let (first, second) = (next(), next());
                    if n % 2 == 0 { (first, second) } else { (second, first) }
                })
                .collect();
            alarms += usize::from(finding(&values) == Finding::Regressed);
        }
        // 1.93 % of 2,000 are 39; five standard deviations above are 69.
        assert!(alarms <= 69, "{alarms} of 2000");
    }
}
