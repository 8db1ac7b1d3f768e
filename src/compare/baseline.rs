//! One run held against stored ones: a tripwire for the same scenario on the same machine.
//!
//! It compares different hours, so it is coarse on purpose; `compare` over runs made in turn is the gate
//! to trust.

use super::digest::{METRICS, RunDigest, is_same_run, other_machine, other_scenario};
use super::pairs::{Margins, median_and_mad};
use crate::record::Environment;

/// Smallest relative difference that counts: ln 1.15.
const LEAST: f64 = 0.139_761_942_375_158_7;
/// Three standard deviations of a normal distribution, in median absolute deviations.
const SCATTER: f64 = 3.0 * 1.4826;

/// Stored runs that a new one is held against.
#[derive(Debug, Clone, Default)]
pub struct Baseline(Vec<RunDigest>);

/// The bound of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Tripwire {
    /// The metric.
    pub metric: &'static str,
    /// Its median in the baseline, in milliseconds.
    pub median_ms: f64,
    /// A value above is slower, in milliseconds.
    pub bound_ms: f64,
    /// Runs in the baseline.
    pub runs: usize,
}

impl FromIterator<RunDigest> for Baseline {
    fn from_iter<I: IntoIterator<Item = RunDigest>>(runs: I) -> Baseline {
        Baseline(runs.into_iter().collect())
    }
}

impl Baseline {
    /// The bound of a metric for a run like `run`; `None` where no comparable run has measured it.
    ///
    /// Median + max(ln 1.15, 3·1.4826·MAD) of ln q, and at least [`Margins::absolute_ms`] above the median:
    /// below that a difference is one of timers, whatever its percentage.
    pub fn tripwire(&self, run: &Environment, metric: &str) -> Option<Tripwire> {
        let metric = METRICS.into_iter().find(|name| *name == metric)?;
        let fit = self.0.iter().filter(|stored| unfit(run, stored, metric).is_none());
        let segments = fit.filter_map(|stored| stored.segment(metric));
        let logs: Vec<f64> = segments.filter(|s| !s.too_few && s.ms > 0.0).map(|s| s.ms.ln()).collect();
        let runs = logs.len();
        let (middle, mad) = median_and_mad(logs.into_iter())?;
        let median_ms = middle.exp();
        let relative_ms = (middle + LEAST.max(SCATTER * mad)).exp();
        let bound_ms = relative_ms.max(median_ms + Margins::default().absolute_ms);
        Some(Tripwire { metric, median_ms, bound_ms, runs })
    }

    /// True if any stored run is comparable with `run`.
    pub fn is_of_use(&self, run: &Environment) -> bool {
        self.0.iter().any(|stored| unfit(run, stored, "").is_none())
    }

    /// The number of stored runs that do not count for `run` and a metric, and the reason of the first.
    pub fn left_out(&self, run: &Environment, metric: &str) -> Option<String> {
        let reasons: Vec<_> = self.0.iter().filter_map(|stored| unfit(run, stored, metric)).collect();
        let first = reasons.first()?;
        Some(format!("{} of {} stored runs do not count: {first}", reasons.len(), self.0.len()))
    }
}

/// Reason for leaving a stored run out. One in doubt counts: a baseline of calm runs alone would call the
/// machine's noise a regression. One that is lost does not: half of them would leave no bound.
fn unfit(run: &Environment, stored: &RunDigest, metric: &str) -> Option<String> {
    let is_lost = stored.segment(metric).is_some_and(|segment| segment.ms.is_infinite());
    is_same_run(run, &stored.environment)
        .then(|| "it is the run itself".into())
        .or_else(|| stored.worthless.clone())
        .or_else(|| stored.cut_short.map(String::from))
        .or_else(|| other_machine(run, &stored.environment))
        .or_else(|| other_scenario(run, &stored.environment))
        .or_else(|| is_lost.then(|| format!("its {metric} falls among the lost packets")))
}

#[cfg(test)]
mod tests {
    use super::super::digest::tests::digest;
    use super::*;

    /// A stored run of `ms` at the 99th percentile.
    fn stored(ms: f64, environment: &Environment) -> RunDigest {
        digest("stored", |run| {
            run.environment = environment.clone();
            let p99 = run.segments[3].take();
            run.segments = [None; METRICS.len()];
            run.segments[3] = p99.map(|segment| super::super::pairs::Segment { ms, ..segment });
        })
    }

    fn baseline(values: &[f64]) -> Baseline {
        values.iter().map(|ms| stored(*ms, &Environment::default())).collect()
    }

    fn tripwire(baseline: &Baseline, metric: &str) -> Option<Tripwire> {
        baseline.tripwire(&Environment::default(), metric)
    }

    #[test]
    fn fifteen_per_cent_or_three_times_the_scatter_whichever_is_more() {
        let bound = |values: &[f64]| tripwire(&baseline(values), "rtt.p99").unwrap().bound_ms;
        assert!((LEAST - 1.15f64.ln()).abs() < 1e-15);
        assert!((bound(&[2.0]) - 2.3).abs() < 1e-12);
        assert!((bound(&[1.0, 1.0, 1.0, 9.0]) - 1.15).abs() < 1e-12, "one odd run does not widen it");
        // Deviations of the logarithm: 0.2, 0, 0.2.
        let scattered: Vec<f64> = [-0.2f64, 0.0, 0.2].map(f64::exp).into();
        assert!((bound(&scattered) - (SCATTER * 0.2).exp()).abs() < 1e-12);
    }

    #[test]
    fn a_tenth_of_a_millisecond_is_no_regression_whatever_its_percentage() {
        let bound = |ms| tripwire(&baseline(&[ms]), "rtt.p99").unwrap().bound_ms;
        assert!((bound(0.2) - 0.3).abs() < 1e-12, "15 % would be 0.23 ms");
        assert!((bound(0.6) - 0.7).abs() < 1e-12);
        assert!((bound(0.7) - 0.805).abs() < 1e-12);
    }

    #[test]
    fn a_lost_percentile_does_not_count_and_is_named() {
        let why = |baseline: &Baseline| baseline.left_out(&Environment::default(), "rtt.p99").unwrap();
        let half = baseline(&[1.0, f64::INFINITY]);
        assert_eq!(tripwire(&half, "rtt.p99").map(|t| (t.median_ms, t.runs)), Some((1.0, 1)));
        assert!(why(&half).starts_with("1 of 2 stored runs do not count: its rtt.p99 falls among the lost"));
        let lost = baseline(&[f64::INFINITY; 3]);
        assert_eq!(tripwire(&lost, "rtt.p99"), None);
        assert!(why(&lost).starts_with("3 of 3"));
        assert_eq!(tripwire(&baseline(&[1.0]), "rtt.p50"), None);
        assert_eq!(tripwire(&baseline(&[]), "rtt.p99"), None);
        assert_eq!(tripwire(&baseline(&[1.0]), "loss.ratio"), None);
    }

    #[test]
    fn stored_runs_that_do_not_count_are_named() {
        let run = Environment { cpu: "EPYC".into(), scenario_hash: "a".into(), ..Environment::default() };
        let why = |change: fn(&mut RunDigest), environment: &Environment| {
            let mut other = stored(1.0, environment);
            change(&mut other);
            let alone = Baseline(vec![other]);
            assert!(!alone.is_of_use(&run) && alone.tripwire(&run, "rtt.p99").is_none());
            alone.left_out(&run, "rtt.p99").unwrap()
        };
        let other_cpu = Environment { cpu: "Xeon".into(), ..run.clone() };
        assert!(why(|_| {}, &other_cpu).ends_with("another CPU: Xeon, not EPYC"));
        let other_scenario = Environment { scenario_hash: "b".into(), ..run.clone() };
        assert!(why(|_| {}, &other_scenario).contains("older loadtest"));
        assert!(why(|stored| stored.worthless = Some("it broke".into()), &run).contains("broke"));
        assert!(why(|stored| stored.cut_short = Some("a gate ended it"), &run).contains("gate"));
        let itself = Environment { started_at: "2026".into(), ..run.clone() };
        let alone = Baseline(vec![stored(1.0, &itself)]);
        assert!(alone.left_out(&itself, "rtt.p99").unwrap().contains("itself"));
        let mixed = Baseline(vec![stored(1.0, &other_cpu), stored(2.0, &run)]);
        assert_eq!(mixed.tripwire(&run, "rtt.p99").map(|t| (t.runs, t.median_ms)), Some((1, 2.0)));
        assert!(mixed.left_out(&run, "rtt.p99").unwrap().starts_with("1 of 2 stored runs"));
        let doubted = digest("doubted", |stored| {
            (stored.environment, stored.in_doubt) = (run.clone(), true);
        });
        let doubted = Baseline(vec![doubted]);
        assert!(doubted.is_of_use(&run) && doubted.tripwire(&run, "rtt.p99").is_some());
        assert_eq!(
            doubted.left_out(&run, "rtt.p99"),
            None,
            "one of the same fingerprint counts, in doubt or not"
        );
    }
}
