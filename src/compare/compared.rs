//! Two builds compared, as a whole: every metric's comparison, and what else the runs say.

use super::alike;
use super::pairs::{Comparison, Finding, Margins, Pair, Segment, compare, serves_fewer};
use crate::metrics::Summary;
use crate::record::Environment;

/// Percentiles that are compared, and the control stream's of the same rank.
pub const METRICS: [(&str, &str); 4] = [
    ("rtt.p50", "control.p50"),
    ("rtt.p90", "control.p90"),
    ("rtt.p95", "control.p95"),
    ("rtt.p99", "control.p99"),
];

/// Shares of calls served, in the mean of all runs, that differ by less are the same.
const SERVED_ALIKE: f64 = 0.01;

/// What a comparison needs of a run: little, so that a thousand of them fit into memory.
#[derive(Debug, Clone)]
pub struct Extract {
    /// The run's name, as its folder's.
    pub name: String,
    environment: Environment,
    /// By the places of [`METRICS`].
    segments: [Option<Segment>; METRICS.len()],
    served: f64,
    doubt: Doubt,
}

/// Whether a run's instrument is to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// It is.
    None,
    /// It was late at times, or lost packets by itself: the control stream shows what that did.
    Late,
    /// Its figures are of no use: why.
    Whole(String),
}

/// The share of a run's calls that were answered and kept to their planned end.
fn served(summary: &Summary) -> f64 {
    let number = |name: &str| summary.metric(name).and_then(|m| m.value.number()).unwrap_or(0.0);
    let kept = 1.0 - (number("calls.dropped_count") / number("calls.answered_count").max(1.0)).min(1.0);
    number("calls.answered") * kept
}

impl Extract {
    /// Of a run that was judged as to whether its instrument can be trusted.
    pub fn of(name: String, summary: &Summary, doubt: Doubt) -> Extract {
        let environment = summary.environment.fingerprint();
        let segments = METRICS.map(|(metric, control)| Segment::of(summary, metric, control));
        Extract { name, environment, segments, served: served(summary), doubt }
    }

    /// The percentile of `metric`, one of [`METRICS`].
    pub fn segment(&self, metric: &str) -> Option<Segment> {
        let at = METRICS.iter().position(|(name, _)| *name == metric)?;
        self.segments[at]
    }
}

/// One metric, compared.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Its name.
    pub metric: &'static str,
    /// What it was in each pair.
    pub pairs: Vec<Pair>,
    /// What that says.
    pub comparison: Comparison,
}

/// Two builds, compared.
#[derive(Debug, Clone)]
pub struct Compared {
    /// What A and B are, in words.
    pub sides: [String; 2],
    /// The runs of each pair.
    pub runs: Vec<(Extract, Extract)>,
    /// By metric.
    pub metrics: Vec<Judged>,
    /// Metrics that a run has not measured.
    pub missing: Vec<&'static str>,
    /// Why the runs cannot be compared at all.
    pub obstacle: Option<String>,
}

/// The answer as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The second is slower by some metric, or serves fewer of its calls.
    Regressed,
    /// By no metric slower, and by one faster.
    Improved,
    /// Neither.
    Unchanged,
    /// By no metric slower, and by one nothing can be said.
    Inconclusive,
}

impl Answer {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Answer::Regressed => "regressed",
            Answer::Improved => "improved",
            Answer::Unchanged => "unchanged",
            Answer::Inconclusive => "inconclusive",
        }
    }
}

impl Compared {
    /// Compares pair by pair by `metrics`, which are of [`METRICS`].
    pub fn of(
        sides: [String; 2],
        runs: Vec<(Extract, Extract)>,
        metrics: &[&'static str],
        margins: &Margins,
    ) -> Compared {
        let obstacle = obstacle(&runs);
        let mut compared = Compared { sides, runs, metrics: Vec::new(), missing: Vec::new(), obstacle };
        if compared.obstacle.is_some() {
            return compared;
        }
        for &metric in metrics {
            let pairs = compared
                .runs
                .iter()
                .map(|(a, b)| Some(Pair { a: a.segment(metric)?, b: b.segment(metric)? }));
            match pairs.collect::<Option<Vec<_>>>() {
                Some(pairs) => {
                    let comparison = compare(&pairs, margins);
                    compared.metrics.push(Judged { metric, pairs, comparison });
                }
                None => compared.missing.push(metric),
            }
        }
        compared
    }

    /// Whether the second serves fewer of its calls than the first, for certain.
    pub fn serves_fewer(&self) -> bool {
        self.obstacle.is_none() && serves_fewer(&self.shares())
    }

    /// Whether it may serve fewer, but not in enough pairs to say so.
    pub fn may_serve_fewer(&self) -> bool {
        let (a, b) = self.served();
        self.obstacle.is_none() && !self.serves_fewer() && b < a - SERVED_ALIKE
    }

    /// The shares of calls served, pair by pair.
    fn shares(&self) -> Vec<(f64, f64)> {
        self.runs.iter().map(|(a, b)| (a.served, b.served)).collect()
    }

    /// Means of the shares of calls that were answered and kept.
    pub fn served(&self) -> (f64, f64) {
        let n = self.runs.len().max(1) as f64;
        let (a, b) = self.shares().into_iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        (a / n, b / n)
    }

    /// Runs whose instrument was late.
    pub fn distrusted(&self) -> usize {
        self.runs.iter().flat_map(|(a, b)| [a, b]).filter(|run| run.doubt == Doubt::Late).count()
    }

    /// The answer as a whole.
    pub fn answer(&self) -> Answer {
        let any = |is: fn(&Finding) -> bool| self.metrics.iter().any(|m| is(&m.comparison.finding));
        if self.serves_fewer() || any(|f| *f == Finding::Regressed) {
            Answer::Regressed
        } else if self.obstacle.is_some()
            || self.may_serve_fewer()
            || !self.missing.is_empty()
            || any(|f| matches!(f, Finding::Inconclusive(_)))
        {
            Answer::Inconclusive
        } else if any(|f| *f == Finding::Improved) {
            Answer::Improved
        } else {
            Answer::Unchanged
        }
    }
}

fn obstacle(runs: &[(Extract, Extract)]) -> Option<String> {
    let (first, _) = runs.first()?;
    runs.iter().flat_map(|(a, b)| [a, b]).find_map(|run| {
        let unusable = alike::unusable(&run.environment).map(|why| format!("run {}: {why}", run.name));
        let doubted = match &run.doubt {
            Doubt::Whole(why) => Some(format!("run {}: {why}", run.name)),
            Doubt::None | Doubt::Late => None,
        };
        unusable.or(doubted).or_else(|| alike::unlike(&first.environment, &run.environment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::summarize;
    use crate::record::{CallRecord, Ending, Run};

    fn extract(name: &str, change: impl FnOnce(&mut Extract)) -> Extract {
        let segment = Segment { ms: 1.0, control_ms: Some(0.1), control_p99_ms: Some(0.1), too_few: false };
        let mut extract = Extract {
            name: name.into(),
            environment: Environment::default(),
            segments: [Some(segment); METRICS.len()],
            served: 1.0,
            doubt: Doubt::None,
        };
        change(&mut extract);
        extract
    }

    fn compared(change: fn(&mut Extract)) -> Compared {
        let pairs = (0..12).map(|n| (extract(&n.to_string(), |_| {}), extract(&n.to_string(), change)));
        Compared::of(Default::default(), pairs.collect(), &["rtt.p50", "rtt.p99"], &Margins::default())
    }

    #[test]
    fn the_worst_answer_of_several_metrics_is_the_answer() {
        assert_eq!(compared(|_| {}).answer(), Answer::Unchanged);
        let slower = |run: &mut Extract| run.segments[3].as_mut().unwrap().ms *= 2.0;
        assert_eq!(compared(slower).answer(), Answer::Regressed);
        let faster = |run: &mut Extract| run.segments[0].as_mut().unwrap().ms /= 4.0;
        assert_eq!(compared(faster).answer(), Answer::Improved);
        let both = |run: &mut Extract| {
            run.segments[0].as_mut().unwrap().ms /= 4.0;
            run.segments[3].as_mut().unwrap().ms *= 2.0;
        };
        assert_eq!(compared(both).answer(), Answer::Regressed);
        let little = |run: &mut Extract| run.segments[0].as_mut().unwrap().too_few = true;
        assert_eq!(compared(little).answer(), Answer::Inconclusive);
    }

    #[test]
    fn a_build_that_answers_nobody_is_no_fast_one() {
        let silent = |run: &mut Extract| {
            run.served = 0.0;
            run.segments = [None; METRICS.len()];
        };
        let compared = compared(silent);
        assert_eq!(compared.answer(), Answer::Regressed);
        assert_eq!(compared.served(), (1.0, 0.0));
        // In one run of twelve: too little to say so, too much to say that all is well.
        let (good, bad) = (extract("g", |_| {}), extract("b", |run| run.served = 0.0));
        let mut pairs = vec![(good.clone(), good.clone()); 12];
        pairs[5].1 = bad;
        let compared = Compared::of(Default::default(), pairs, &["rtt.p50"], &Margins::default());
        assert_eq!(compared.answer(), Answer::Inconclusive);
    }

    #[test]
    fn a_call_that_is_given_up_is_one_call() {
        let mut calls = [0, 1, 2, 3].map(|n| CallRecord::blank(n, n));
        calls.iter_mut().for_each(|call| call.ending = Ending::Completed);
        calls[0].ending = Ending::MediaLost;
        let run = Run { calls: calls.into(), ..Run::default() };
        assert_eq!(served(&summarize(run)), 0.75);
    }

    #[test]
    fn runs_that_are_not_alike_are_not_compared() {
        let of_another = compared(|run| run.environment.cpu = "another".into());
        assert_eq!((of_another.answer(), of_another.metrics.len()), (Answer::Inconclusive, 0));
        assert!(of_another.obstacle.unwrap().contains("another"));
        assert_eq!(compared(|run| run.environment.interrupted = true).answer(), Answer::Inconclusive);
        let clock = compared(|run| run.doubt = Doubt::Whole("the clock was set".into()));
        assert!(clock.answer() == Answer::Inconclusive && clock.obstacle.unwrap().contains("clock"));
        let late = compared(|run| run.doubt = Doubt::Late);
        assert_eq!((late.answer(), late.distrusted()), (Answer::Unchanged, 12));
    }
}
