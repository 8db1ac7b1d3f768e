//! A run held against a stored baseline: further lines of its verdict.

use super::expression::{Gate, Subject};
use super::{GateResult, Outcome, Verdict};
use crate::analysis::baseline::{Baseline, METRICS, Tripwire};
use crate::analysis::{Summary, Unit, Value, show};

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
    let lines: Vec<_> = metrics.into_iter().map(|metric| line(summary, metric, baseline)).collect();
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
    let Some(tripwire) = baseline.tripwire(&summary.environment, name) else {
        return GateResult {
            expression: format!("{name}, against the baseline"),
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
        Some(true) => (Outcome::Regressed, left_out.unwrap_or_default()),
        Some(false) => (Outcome::Pass, left_out.unwrap_or_default()),
    };
    GateResult { expression: expression(&tripwire), outcome, actual: show(value, Unit::Ms), reason }
}

/// As a gate would be written, and what it comes from.
fn expression(tripwire: &Tripwire) -> String {
    let Tripwire { metric, median_ms, bound_ms, runs } = tripwire;
    let ms = |ms: f64| if ms.is_finite() { show(Value::Number(ms), Unit::Ms) } else { "lost".into() };
    let of = if *runs == 1 { "1 run".into() } else { format!("{runs} runs") };
    format!("{metric} <= {} (baseline of {of}: {})", ms(*bound_ms), ms(*median_ms))
}
