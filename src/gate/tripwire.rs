//! A run held against a stored baseline: further lines of its verdict.

use super::expression::{Gate, Subject};
use super::judge::Evidence;
use super::{Figure, GateResult, Op, Outcome, Verdict};
use crate::compare::baseline::{Baseline, Tripwire};
use crate::compare::digest::{METRICS, usual};
use crate::metrics::{Metric, Summary};
use crate::values::{Unit, Value, show};

/// Adds a line for every time that a gate names and that can be compared, or for the usual one, and what they make of the verdict: a broken
/// gate outranks a regression, and that what is not known.
pub fn hold_against(verdict: &mut Verdict, summary: &Summary, gates: &[Gate], baseline: &Baseline) {
    let named = |name: &&str| {
        gates.iter().any(|gate| matches!(gate.subject, Subject::Run(definition) if definition.name == *name))
    };
    let mut names: Vec<&str> = METRICS.into_iter().filter(named).collect();
    if names.is_empty() {
        names.push(usual(!summary.turns.is_empty()));
    }
    let evidence = Evidence::of(summary, &verdict.doubt);
    let metrics = names.into_iter().filter_map(|name| summary.metric(name));
    let lines: Vec<_> = metrics.map(|metric| line(&evidence, metric, baseline)).collect();
    if verdict.outcome == Outcome::Pass {
        let mut by_rank = [Outcome::Regressed, Outcome::Inconclusive].into_iter();
        let worst = by_rank.find(|outcome| lines.iter().any(|line| line.outcome == *outcome));
        verdict.outcome = worst.unwrap_or(Outcome::Pass);
    }
    verdict.gates.extend(lines);
}

/// The line of a percentile: a gate at the baseline's bound, in doubt judged by its interval as any other.
fn line(evidence: &Evidence<'_>, metric: &Metric, baseline: &Baseline) -> GateResult {
    let environment = &evidence.summary.environment;
    // Bounds are measured, and change with every baseline; the name by which CI servers know it does not.
    let text = format!("{}, against the baseline", metric.name());
    let left_out = baseline.left_out(environment, metric.name());
    let Some(tripwire) = baseline.tripwire(environment, metric.name()) else {
        let reason = left_out.unwrap_or_else(|| "no stored run has measured it".into());
        let figure = Figure { value: metric.value, unit: metric.definition.unit, bound: None };
        return GateResult {
            expression: text,
            outcome: Outcome::Inconclusive,
            actual: metric.to_string(),
            figure,
            interval: None,
            reason,
        };
    };
    let subject = Subject::Run(metric.definition);
    let line = evidence.judge(&Gate { text, subject, op: Op::AtMost, bound: tripwire.bound_ms });
    let outcome = if line.outcome == Outcome::Fail { Outcome::Regressed } else { line.outcome };
    let own = Some(line.reason).filter(|reason| !reason.is_empty());
    let reason = [own, Some(basis(&tripwire)), left_out].into_iter().flatten().collect::<Vec<_>>().join("; ");
    GateResult { outcome, reason, ..line }
}

/// The bound and what it comes from.
fn basis(tripwire: &Tripwire) -> String {
    let Tripwire { median_ms, bound_ms, runs, .. } = tripwire;
    let ms = |ms: &f64| show(Value::Number(*ms), Unit::Ms);
    let of = if *runs == 1 { "1 run".into() } else { format!("{runs} runs") };
    let times = bound_ms / median_ms;
    // Twice as slow, and nobody would be told.
    let restless = match times.is_finite() && times > 2.0 {
        true => format!(", which scatter so much that only a run {times:.1} times as slow would be told"),
        false => String::new(),
    };
    format!("at most {}, by a baseline of {of} with a median of {}{restless}", ms(bound_ms), ms(median_ms))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{DISTURBED, QUIET, Second, parsed, seconds, summary, verdict};
    use super::*;
    use crate::compare::digest::RunDigest;

    /// A run held against one whose round trip was 5 ms throughout, so that 5.75 ms is the bound.
    fn held(seconds: &[Second]) -> Verdict {
        let run = summary(seconds);
        let stored = summary(&[QUIET; 12]);
        let baseline: Baseline = [RunDigest::of("usual".into(), &stored, false)].into_iter().collect();
        let gates = ["rtt.p99 < 60s"];
        let mut verdict = verdict(&run, &gates);
        hold_against(&mut verdict, &run, &parsed(&gates), &baseline);
        verdict
    }

    #[test]
    fn in_doubt_a_line_is_judged_by_its_interval() {
        let [calm, late] = [QUIET, DISTURBED];
        let slow = |second| Second { rtt_ms: 9.0, ..second };
        assert_eq!(held(&[calm; 12]).outcome, Outcome::Pass);
        assert_eq!(held(&[slow(calm); 12]).outcome, Outcome::Regressed);
        // Slow in its quiet seconds, slow only with the machine, and without a quiet second.
        assert_eq!(held(&seconds(20, slow(calm), 10, slow(late))).outcome, Outcome::Regressed);
        let with_machine = held(&seconds(20, calm, 10, slow(late)));
        assert_eq!(with_machine.outcome, Outcome::Inconclusive);
        assert!(with_machine.gates[1].interval.is_some(), "{with_machine:?}");
        assert_eq!(held(&[slow(late); 12]).outcome, Outcome::Inconclusive);
        // Late by too little to reach the bound.
        let hardly = Second { lateness_ms: 0.5, missed: 5, ..calm };
        let passes = held(&seconds(20, calm, 10, hardly));
        assert!(passes.outcome == Outcome::Pass && passes.doubt.is_any(), "{passes:?}");
        // The machine alone is beyond the bound, and the line says so.
        let by_machine = held(&[Second { control_ms: 7.0, ..slow(calm) }; 12]);
        assert_eq!(by_machine.outcome, Outcome::Inconclusive);
        let why = "control.p99 is 7.000 ms: this machine alone breaks the bound";
        assert!(by_machine.gates[1].reason.starts_with(why), "{by_machine:?}");
    }
}
