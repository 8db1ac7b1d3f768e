//! A run held against a stored baseline: further lines of its verdict.

use super::expression::{Gate, Subject};
use super::judge::distrusted_for;
use super::{GateResult, Outcome, Verdict};
use crate::compare::baseline::{Baseline, Tripwire};
use crate::compare::digest::METRICS;
use crate::metrics::Summary;
use crate::values::{Unit, Value, show};

/// Held against the baseline where no gate names a percentile of the round trip.
const USUAL: &str = "rtt.p99";

/// Adds a line for every RTT percentile that a gate names, and what they make of the verdict: a broken
/// gate outranks a regression, and that what is not known.
pub fn hold_against(verdict: &mut Verdict, summary: &Summary, gates: &[Gate], baseline: &Baseline) {
    let named = |name: &&str| {
        gates.iter().any(|gate| matches!(gate.subject, Subject::Run(definition) if definition.name == *name))
    };
    let mut metrics: Vec<&str> = METRICS.into_iter().filter(named).collect();
    if metrics.is_empty() {
        metrics.push(USUAL);
    }
    let judged = metrics.into_iter().map(|metric| match line(summary, metric, baseline) {
        line if line.outcome != Outcome::Inconclusive && !verdict.distrust.is_empty() => {
            GateResult { outcome: Outcome::Inconclusive, reason: distrusted_for(&verdict.distrust), ..line }
        }
        line => line,
    });
    let lines: Vec<_> = judged.collect();
    let any = |outcome| lines.iter().any(|line| line.outcome == outcome);
    if verdict.outcome == Outcome::Pass {
        verdict.outcome = match (any(Outcome::Regressed), any(Outcome::Inconclusive)) {
            (true, _) => Outcome::Regressed,
            (false, true) => Outcome::Inconclusive,
            (false, false) => Outcome::Pass,
        };
    }
    verdict.gates.extend(lines);
}

fn line(summary: &Summary, name: &str, baseline: &Baseline) -> GateResult {
    let metric = summary.metric(name);
    let value = metric.map_or(Value::NoData, |m| m.value);
    let left_out = baseline.left_out(&summary.environment);
    // Bounds are measured, and change with every baseline; the name by which CI servers know it does not.
    let expression = format!("{name}, against the baseline");
    let Some(tripwire) = baseline.tripwire(&summary.environment, name) else {
        return GateResult {
            expression,
            outcome: Outcome::Inconclusive,
            actual: show(value, Unit::Ms),
            reason: left_out.unwrap_or_else(|| "no stored run has measured it".into()),
        };
    };
    let is_slower = match value {
        Value::Number(ms) => Some(ms > tripwire.bound_ms),
        Value::Lost => Some(tripwire.bound_ms.is_finite()),
        Value::NoData => None,
    };
    let few = metric.is_some_and(|m| m.too_few && value != Value::Lost);
    let (outcome, reason) = match is_slower {
        None => (Outcome::Inconclusive, "nothing was measured".into()),
        Some(_) if few => (Outcome::Inconclusive, "rests on too few samples".into()),
        Some(true) => (Outcome::Regressed, basis(&tripwire)),
        Some(false) => (Outcome::Pass, basis(&tripwire)),
    };
    let reason = [Some(reason), left_out].into_iter().flatten().collect::<Vec<_>>().join("; ");
    GateResult { expression, outcome, actual: show(value, Unit::Ms), reason }
}

/// The bound and what it comes from.
fn basis(tripwire: &Tripwire) -> String {
    let Tripwire { median_ms, bound_ms, runs, .. } = tripwire;
    let ms = |ms: f64| if ms.is_finite() { show(Value::Number(ms), Unit::Ms) } else { "lost".into() };
    let of = if *runs == 1 { "1 run".into() } else { format!("{runs} runs") };
    format!("at most {}, by a baseline of {of} with a median of {}", ms(*bound_ms), ms(*median_ms))
}
