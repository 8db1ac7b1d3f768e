//! Two runs beside each other, metric by metric, without a verdict.

use std::fmt::Write as _;

use super::headline::{CARDS, COUNTS, LATENCIES, STATISTICS};
use super::words::one_line;
use crate::compare::digest::differences;
use crate::metrics::Summary;
use crate::values::{Value, show};

/// A run, and the words for it.
pub type Named<'a> = (&'a str, &'a Summary);

/// The table, what of the two runs differs besides, and what would give a verdict.
pub fn text([(base_name, base), (new_name, new)]: [Named<'_>; 2]) -> String {
    let mut text = format!("A: {}\nB: {}\n\n", one_line(base_name), one_line(new_name));
    let _ = writeln!(text, "  {:<24} {:>14} {:>14} {:>9}", "", "A", "B", "B to A");
    for name in names() {
        let values =
            [base, new].map(|run| run.metric(&name).map(|metric| (metric.value, metric.definition.unit)));
        if let [Some((a, unit)), Some((b, _))] = values
            && (a, b) != (Value::NoData, Value::NoData)
        {
            let change = change(a, b);
            let _ = writeln!(text, "  {name:<24} {:>14} {:>14} {change:>9}", show(a, unit), show(b, unit));
        }
    }
    text.push('\n');
    for difference in differences(&base.environment, &new.environment) {
        let _ = writeln!(text, "B differs in more than its figures: {}", one_line(&difference));
    }
    text.push_str(
        "One run of each tells no verdict: what differs may be the hour. `loadtest ab` makes runs of both in turn and \
         says which is slower; `loadtest report B --baseline A` holds one run against stored ones.\n",
    );
    text
}

/// The metrics that a reader sees first in other reports, each once.
fn names() -> Vec<String> {
    let latencies =
        LATENCIES.iter().flat_map(|(group, _)| STATISTICS.map(|statistic| format!("{group}.{statistic}")));
    let cards = CARDS.iter().map(|(name, ..)| name.to_string());
    let mut names: Vec<String> = Vec::new();
    for name in cards.chain(latencies).chain(COUNTS.iter().map(|(name, _)| name.to_string())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn change(a: Value, b: Value) -> String {
    match (a.number(), b.number()) {
        (Some(a), Some(b)) if a == b => "=".into(),
        (Some(a), Some(b)) if a > 0.0 => format!("{:+.1} %", 100.0 * (b / a - 1.0)),
        _ => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn two_runs_stand_side_by_side_without_a_verdict() {
        let ((base, _), (mut new, _)) = (fixture::typical(), fixture::all_lost());
        new.environment.kernel = "Linux\u{1b}[31m 7".into();
        let text = text([("old", &base), ("new", &new)]);
        let row = |name: &str| {
            text.lines()
                .find(|line| line.trim_start().starts_with(name))
                .unwrap_or_else(|| panic!("{name}: {text}"))
        };
        assert!(row("rtt.p99 ").contains("lost") && row("rtt.p99 ").ends_with('–'));
        assert!(row("loss.ratio").contains("100 %"));
        assert!(row("B differs").contains("another kernel") && !text.contains('\u{1b}'));
        assert!(text.contains("loadtest ab") && text.contains("--baseline"), "{text}");
        let same = super::text([("a", &base), ("b", &base)]);
        assert!(same.lines().any(|line| line.contains("rtt.p50") && line.ends_with('=')), "{same}");
        assert!(!same.contains("B differs"));
    }
}
