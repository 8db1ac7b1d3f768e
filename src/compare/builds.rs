//! Two builds compared as a whole: every metric, and the calls served.

use super::digest::{RunDigest, other_load, other_machine};
use super::pairs::{Finding, Margins, MetricComparison, Pair, compare, serves_fewer};

/// Average shares of calls served that differ by less are the same.
const SAME_SERVED: f64 = 0.01;

/// Two builds, A and B, compared.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// A and B in words.
    pub sides: [String; 2],
    /// The pairs of runs that count.
    pub runs: Vec<(RunDigest, RunDigest)>,
    /// The shares of calls served, in every pair: calls are calls whatever the clock did, and a run that broke
    /// has served none.
    shares: Vec<(f64, f64)>,
    /// Reasons of pairs that do not count, one sentence each.
    pub left_out: Vec<String>,
    /// By metric.
    pub metrics: Vec<MetricComparison>,
    /// Metrics that a run has not measured.
    pub missing: Vec<&'static str>,
    /// Reason of runs that are not comparable at all.
    pub obstacle: Option<String>,
}

/// The answer over all metrics. Displayed, it is the word in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Conclusion {
    /// B is slower by some metric, or serves fewer of its calls.
    Regressed,
    /// B is slower by no metric, and faster by one.
    Improved,
    /// B is neither.
    Unchanged,
    /// B is slower by no metric, and one is undecided.
    Inconclusive,
}

impl Comparison {
    /// Compares pair by pair by `metrics`, which are of [`super::digest::METRICS`].
    ///
    /// A pair with worthless figures is left out. A run in doubt counts: both sides bear the machine, and a
    /// build that brings the machine into doubt must not be excused by it.
    pub fn of(
        sides: [String; 2],
        runs: Vec<(RunDigest, RunDigest)>,
        metrics: &[&'static str],
        margins: &Margins,
    ) -> Comparison {
        let obstacle = obstacle(&runs);
        let left_out = runs.iter().filter_map(worthless).collect();
        let shares = runs.iter().map(|(a, b)| (a.served, b.served)).collect();
        let runs: Vec<_> = runs.into_iter().filter(|pair| worthless(pair).is_none()).collect();
        let (mut compared, mut missing) = (Vec::new(), Vec::new());
        for &metric in metrics.iter().filter(|_| obstacle.is_none()) {
            let pair =
                |(a, b): &(RunDigest, RunDigest)| Some(Pair { a: a.segment(metric)?, b: b.segment(metric)? });
            match runs.iter().map(pair).collect::<Option<Vec<_>>>() {
                Some(pairs) => compared.push(compare(metric, pairs, margins)),
                None => missing.push(metric),
            }
        }
        Comparison { sides, runs, shares, left_out, metrics: compared, missing, obstacle }
    }

    /// True if B serves fewer of its calls than A, in enough pairs.
    pub fn serves_fewer(&self) -> bool {
        self.obstacle.is_none() && serves_fewer(&self.shares)
    }

    /// True if B serves fewer of its calls than A on average, or none in a pair, but not in enough pairs.
    pub fn may_serve_fewer(&self) -> bool {
        let (a, b) = self.served();
        let fewer = b < a - SAME_SERVED || self.shares.iter().any(|(a, b)| *a > 0.0 && *b == 0.0);
        self.obstacle.is_none() && !self.serves_fewer() && fewer
    }

    /// Average shares of calls that were answered and kept.
    pub fn served(&self) -> (f64, f64) {
        let n = self.shares.len().max(1) as f64;
        let (a, b) = self.shares.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        (a / n, b / n)
    }

    /// Runs in doubt.
    pub fn in_doubt(&self) -> usize {
        self.runs.iter().flat_map(|(a, b)| [a, b]).filter(|run| run.in_doubt).count()
    }

    /// The answer over all metrics.
    pub fn answer(&self) -> Conclusion {
        let any = |is: fn(&Finding) -> bool| self.metrics.iter().any(|m| is(&m.finding));
        if self.serves_fewer() || any(|f| *f == Finding::Regressed) {
            Conclusion::Regressed
        } else if self.obstacle.is_some()
            || self.may_serve_fewer()
            || !self.missing.is_empty()
            || any(|f| matches!(f, Finding::Inconclusive(_)))
        {
            Conclusion::Inconclusive
        } else if any(|f| *f == Finding::Improved) {
            Conclusion::Improved
        } else {
            Conclusion::Unchanged
        }
    }
}

fn worthless((a, b): &(RunDigest, RunDigest)) -> Option<String> {
    let side = |letter, run: &RunDigest| Some(format!("{letter} {}: {}", run.name, run.worthless.as_ref()?));
    side('A', a).or_else(|| side('B', b))
}

fn obstacle(runs: &[(RunDigest, RunDigest)]) -> Option<String> {
    let whole = || runs.iter().flat_map(|(a, b)| [a, b]).filter(|run| run.worthless.is_none());
    let first = &whole().next()?.environment;
    whole().find_map(|run| {
        let theirs = &run.environment;
        let other = || other_machine(first, theirs).or_else(|| other_load(first, theirs));
        let why = run.cut_short.map(String::from).or_else(other)?;
        Some(format!("run {}: {why}", run.name))
    })
}

#[cfg(test)]
mod tests {
    use super::super::digest::{METRICS, tests::digest};
    use super::*;

    fn compared(change: fn(&mut RunDigest)) -> Comparison {
        let pairs = (0..12).map(|n| (digest(&n.to_string(), |_| {}), digest(&n.to_string(), change)));
        Comparison::of(Default::default(), pairs.collect(), &["rtt.p50", "rtt.p99"], &Margins::default())
    }

    #[test]
    fn the_worst_answer_of_several_metrics_is_the_answer() {
        assert_eq!(compared(|_| {}).answer(), Conclusion::Unchanged);
        let slower = |run: &mut RunDigest| run.segments[3].as_mut().unwrap().ms *= 2.0;
        assert_eq!(compared(slower).answer(), Conclusion::Regressed);
        let faster = |run: &mut RunDigest| run.segments[0].as_mut().unwrap().ms /= 4.0;
        assert_eq!(compared(faster).answer(), Conclusion::Improved);
        let both = |run: &mut RunDigest| {
            run.segments[0].as_mut().unwrap().ms /= 4.0;
            run.segments[3].as_mut().unwrap().ms *= 2.0;
        };
        assert_eq!(compared(both).answer(), Conclusion::Regressed);
        let little = |run: &mut RunDigest| run.segments[0].as_mut().unwrap().too_few = true;
        assert_eq!(compared(little).answer(), Conclusion::Inconclusive);
    }

    #[test]
    fn a_build_that_answers_nobody_is_no_fast_one() {
        let silent = |run: &mut RunDigest| {
            run.served = 0.0;
            run.segments = [None; METRICS.len()];
        };
        let compared = compared(silent);
        assert_eq!(compared.answer(), Conclusion::Regressed);
        assert_eq!(compared.served(), (1.0, 0.0));
        // In one run of twelve: too little to say so, too much to say that all is well.
        let (good, bad) = (digest("g", |_| {}), digest("b", |run| run.served = 0.0));
        let mut pairs = vec![(good.clone(), good.clone()); 12];
        pairs[5].1 = bad;
        let compared = Comparison::of(Default::default(), pairs, &["rtt.p50"], &Margins::default());
        assert_eq!(compared.answer(), Conclusion::Inconclusive);
    }

    #[test]
    fn runs_of_other_conditions_are_not_compared() {
        let of_another = compared(|run| {
            let environment = crate::record::Environment { cpu: "another one".into(), ..Default::default() };
            run.environment = environment;
        });
        assert_eq!((of_another.answer(), of_another.metrics.len()), (Conclusion::Inconclusive, 0));
        assert!(of_another.obstacle.unwrap().contains("another one"));
        assert_eq!(compared(|run| run.cut_short = Some("cut")).answer(), Conclusion::Inconclusive);
    }

    #[test]
    fn a_build_that_breaks_has_kept_none_of_its_calls() {
        let breaks = |run: &mut RunDigest| {
            (run.worthless, run.served) = (Some("it broke".into()), 0.0);
        };
        let (whole, broken) = (digest("whole", |_| {}), digest("broken", breaks));
        let answer = |by_b: usize, by_a: usize| {
            let mut pairs = vec![(whole.clone(), whole.clone()); 200];
            pairs[..by_b].fill((whole.clone(), broken.clone()));
            pairs[by_b..by_b + by_a].fill((broken.clone(), whole.clone()));
            Comparison::of(Default::default(), pairs, &["rtt.p50"], &Margins::default()).answer()
        };
        assert_eq!(answer(0, 3), Conclusion::Unchanged, "A alone breaks");
        assert_eq!(answer(1, 0), Conclusion::Inconclusive);
        assert_eq!(answer(1, 3), Conclusion::Inconclusive);
        assert_eq!(answer(180, 0), Conclusion::Regressed);
        assert_eq!(answer(200, 0), Conclusion::Regressed);
    }

    #[test]
    fn a_run_in_doubt_counts_and_a_broken_one_is_left_out() {
        let slower_in_doubt = compared(|run| {
            run.in_doubt = true;
            run.segments[3].as_mut().unwrap().ms *= 2.0;
        });
        assert_eq!((slower_in_doubt.answer(), slower_in_doubt.in_doubt()), (Conclusion::Regressed, 12));
        let slow = |run: &mut RunDigest| run.segments[0].as_mut().unwrap().ms = 2.0;
        let broken = |run: &mut RunDigest| run.worthless = Some("it broke".into());
        let mut pairs = vec![(digest("a", |_| {}), digest("b", slow)); 12];
        pairs[..2].fill((digest("a", broken), digest("b", |_| {})));
        let answer = |pairs: &[(RunDigest, RunDigest)]| {
            Comparison::of(Default::default(), pairs.to_vec(), &["rtt.p50"], &Margins::default())
        };
        let ten = answer(&pairs);
        assert_eq!(
            (ten.answer(), ten.runs.len(), ten.metrics[0].needed),
            (Conclusion::Regressed, 10, Some(9))
        );
        assert_eq!(ten.left_out, ["A a: it broke", "A a: it broke"]);
        pairs.fill((digest("a", |_| {}), digest("b", broken)));
        let none = answer(&pairs);
        assert_eq!((none.answer(), none.runs.len()), (Conclusion::Inconclusive, 0));
    }
}
