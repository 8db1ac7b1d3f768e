//! One run held against stored ones: a tripwire for the same scenario on the same machine.
//!
//! It compares different hours, so it is coarse on purpose; `compare` over runs made in turn is the gate
//! to trust.

use super::alike::unusable;
use super::pairs::middle_and_scatter;
use crate::metrics::Summary;
use crate::record::Environment;
use crate::values::Value;

/// What is slower by less is never called so: ln 1.15.
const LEAST: f64 = 0.139_761_942_375_158_7;
/// Standard deviations of a normal distribution in its median absolute deviation, and how many of
/// them are beyond scatter.
const SCATTER: f64 = 3.0 * 1.4826;

/// Stored runs that a new one is held against.
#[derive(Debug, Clone, Default)]
pub struct Baseline(Vec<Stored>);

#[derive(Debug, Clone)]
struct Stored {
    environment: Environment,
    is_trusted: bool,
    /// By the places of [`METRICS`], in milliseconds.
    values: [Option<f64>; METRICS.len()],
}

/// A metric held against the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Tripwire {
    /// The metric.
    pub metric: &'static str,
    /// Its median in the baseline, in milliseconds.
    pub median_ms: f64,
    /// What is above is slower, in milliseconds.
    pub bound_ms: f64,
    /// Runs in the baseline.
    pub runs: usize,
}

/// RTT percentiles that can be held against a baseline.
pub const METRICS: [&str; 5] = ["rtt.p50", "rtt.p90", "rtt.p95", "rtt.p99", "rtt.p99.9"];

impl Baseline {
    /// Takes a stored run in, and whether its instrument is to be trusted.
    pub fn add(&mut self, stored: &Summary, is_trusted: bool) {
        let value = |name| match stored.metric(name).filter(|m| !m.too_few || m.value == Value::Lost)?.value {
            Value::Number(ms) if ms > 0.0 => Some(ms),
            Value::Lost => Some(f64::INFINITY),
            Value::Number(_) | Value::NoData => None,
        };
        // The rest of it is of no use here and may be long.
        let environment = stored.environment.fingerprint();
        self.0.push(Stored { environment, is_trusted, values: METRICS.map(value) });
    }

    /// The bound of a metric for a run like `run`; `None` where no run of the same fingerprint has
    /// measured it.
    pub fn tripwire(&self, run: &Environment, metric: &str) -> Option<Tripwire> {
        let at = METRICS.iter().position(|name| *name == metric)?;
        let alike = self.0.iter().filter(|stored| unfit(run, stored).is_none());
        let logs: Vec<f64> = alike.filter_map(|stored| stored.values[at]).map(f64::ln).collect();
        let runs = logs.len();
        let (middle, scatter) = middle_and_scatter(logs)?;
        let beyond = LEAST.max(SCATTER * scatter);
        Some(Tripwire {
            metric: METRICS[at],
            median_ms: middle.exp(),
            bound_ms: (middle + beyond).exp(),
            runs,
        })
    }

    /// Whether any stored run counts for `run`.
    pub fn is_of_use(&self, run: &Environment) -> bool {
        self.0.iter().any(|stored| unfit(run, stored).is_none())
    }

    /// How many of the stored runs do not count for `run`, and why the first of them does not.
    pub fn left_out(&self, run: &Environment) -> Option<String> {
        let reasons: Vec<_> = self.0.iter().filter_map(|stored| unfit(run, stored)).collect();
        let first = reasons.first()?;
        Some(format!("{} of {} stored runs do not count: {first}", reasons.len(), self.0.len()))
    }
}

fn unfit(run: &Environment, Stored { environment, is_trusted, .. }: &Stored) -> Option<String> {
    let is_itself = run.started_at == environment.started_at && !run.started_at.is_empty();
    let why = if is_itself {
        Some("it is the run itself")
    } else if !is_trusted {
        Some("its machine was not to be trusted")
    } else {
        unusable(environment)
    };
    why.map(String::from).or_else(|| other_fingerprint(run, environment))
}

fn other_fingerprint(run: &Environment, stored: &Environment) -> Option<String> {
    let parts = [
        ("CPU", &run.cpu, &stored.cpu),
        ("kernel", &run.kernel, &stored.kernel),
        ("scenario", &run.scenario_hash, &stored.scenario_hash),
        ("loadtest", &run.version, &stored.version),
    ];
    let (what, ours, theirs) = parts.into_iter().find(|(_, ours, theirs)| ours != theirs)?;
    if what == "scenario" {
        return Some("another scenario, or other --set".into());
    }
    Some(format!("another {what}: {theirs}, not {ours}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(ms: f64, environment: Environment) -> Stored {
        Stored {
            environment,
            is_trusted: true,
            values: METRICS.map(|name| (name == "rtt.p99").then_some(ms)),
        }
    }

    fn baseline(values: &[f64]) -> Baseline {
        Baseline(values.iter().map(|ms| stored(*ms, Environment::default())).collect())
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
    fn what_was_lost_has_no_bound_and_what_is_missing_none_either() {
        let lost = tripwire(&baseline(&[f64::INFINITY; 3]), "rtt.p99").unwrap();
        assert_eq!((lost.bound_ms, lost.runs), (f64::INFINITY, 3));
        assert_eq!(tripwire(&baseline(&[1.0]), "rtt.p50"), None);
        assert_eq!(tripwire(&baseline(&[]), "rtt.p99"), None);
        assert_eq!(tripwire(&baseline(&[1.0]), "loss.ratio"), None);
    }

    #[test]
    fn another_fingerprint_is_named() {
        let run = Environment { cpu: "EPYC".into(), scenario_hash: "a".into(), ..Environment::default() };
        assert_eq!(other_fingerprint(&run, &run), None);
        let other = Environment { cpu: "Xeon".into(), ..run.clone() };
        assert_eq!(other_fingerprint(&run, &other).unwrap(), "another CPU: Xeon, not EPYC");
        let other = Environment { scenario_hash: "b".into(), ..run.clone() };
        assert!(other_fingerprint(&run, &other).unwrap().contains("--set"));
        let mixed = Baseline(vec![stored(1.0, other), stored(2.0, run.clone())]);
        assert_eq!(mixed.tripwire(&run, "rtt.p99").map(|t| (t.runs, t.median_ms)), Some((1, 2.0)));
        let late = Baseline(vec![Stored { is_trusted: false, ..stored(1.0, run.clone()) }]);
        assert!(late.tripwire(&run, "rtt.p99").is_none() && late.left_out(&run).unwrap().contains("trusted"));
        let itself = Environment { started_at: "2026".into(), ..run.clone() };
        let alone = Baseline(vec![stored(1.0, itself.clone())]);
        assert!(alone.left_out(&itself).unwrap().contains("itself"));
        assert!(mixed.left_out(&run).unwrap().starts_with("1 of 2 stored runs"));
    }
}
