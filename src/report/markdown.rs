//! `summary.md`: the verdict and the headline for a pull request or a job's page.

use std::fmt::Write as _;

use super::{headline, lanes, shards, stages, targets, words};
use crate::diagnosis::{Finding, findings};
use crate::gate::{Outcome, Verdict};
use crate::metrics::Summary;
use crate::values::Value;

/// Most endings in a line.
const MOST_ENDINGS: usize = 6;

/// GitHub-flavoured Markdown: verdict, gates, headline figures.
pub(super) fn page(summary: &Summary, verdict: &Verdict) -> String {
    let mut text = String::new();
    let environment = &summary.environment;
    let outcome = verdict.outcome.to_string().to_uppercase();
    let _ = writeln!(text, "## {} {outcome}: {}\n", sign(verdict.outcome), escape(&environment.name));
    let _ = writeln!(text, "{}\n", escape(&words::circumstances(environment)));
    for reason in verdict.doubt.sentences() {
        let _ = writeln!(text, "> **In doubt:** {}\n", escape(&reason));
    }
    gates(&mut text, verdict);
    endings(&mut text, summary);
    found(&mut text, &findings(summary, verdict));
    latencies(&mut text, summary);
    let known = headline::COUNTS.iter().filter_map(|(name, what)| {
        let metric = summary.metric(name).filter(|m| m.value != Value::NoData)?;
        Some(format!("{what} **{metric}**"))
    });
    let known: Vec<_> = known.collect();
    if !known.is_empty() {
        let _ = writeln!(text, "{}\n", known.join(" · "));
    }
    stages(&mut text, summary);
    targets(&mut text, summary);
    shards(&mut text, summary);
    lanes(&mut text, summary);
    if let Some(explanation) = &summary.explanation {
        let _ = writeln!(text, "{}\n", escape(explanation));
    }
    for remark in &environment.remarks {
        let _ = writeln!(text, "- {}", escape(remark));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

pub(super) fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✅",
        Outcome::Fail | Outcome::Regressed => "❌",
        Outcome::Inconclusive => "❔",
    }
}

fn gates(text: &mut String, verdict: &Verdict) {
    if verdict.gates.is_empty() {
        return;
    }
    text.push_str("| | gate | actual | |\n|---|---|---:|---|\n");
    for gate in &verdict.gates {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            sign(gate.outcome),
            escape(&gate.expression),
            escape(&words::actual(gate)),
            escape(&gate.reason)
        );
    }
    if words::has_intervals(verdict) {
        let _ = write!(text, "\n{}\n", escape(words::INTERVALS));
    }
    text.push('\n');
}

/// Endings other than as planned: with all calls completed the table of gates says enough.
fn endings(text: &mut String, summary: &Summary) {
    if summary.endings.iter().all(|ending| ending.good) {
        return;
    }
    let all: Vec<_> = words::endings(summary, MOST_ENDINGS).iter().map(|line| escape(line)).collect();
    let _ = writeln!(text, "**Calls:** {}\n", all.join(" · "));
}

fn found(text: &mut String, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    text.push_str("### Findings\n\n");
    for (n, finding) in (1..).zip(findings) {
        let what = escape(&finding.what);
        let [cause, cure, seen] =
            [&finding.cause, &finding.cure, &finding.seen].map(|words| escape(&words::sentence(words)));
        let _ =
            writeln!(text, "{n}. **{what}**  \n   Likely: {cause}  \n   Try: {cure}  \n   Seen in {seen}");
    }
    text.push('\n');
}

fn stages(text: &mut String, summary: &Summary) {
    let Some(table) = stages::table(summary) else { return };
    let _ = writeln!(text, "| stage | load | held | {} |", table.heads.join(" | "));
    let _ = writeln!(text, "|---|---|---|{}", "---:|".repeat(table.heads.len()));
    for row in &table.rows {
        let cells: Vec<_> = row.shown().iter().map(|cell| escape(cell)).collect();
        let cells = cells.join(" | ");
        let _ = writeln!(text, "| {} | {} | {} | {cells} |", row.number, row.load, row.window);
    }
    text.push('\n');
}

fn targets(text: &mut String, summary: &Summary) {
    let Some(rows) = targets::table(summary) else { return };
    let _ = writeln!(text, "| target | {} |", targets::HEADS.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(targets::HEADS.len()));
    for row in &rows {
        let cells: Vec<_> = row.cells.iter().map(|cell| escape(cell)).collect();
        let _ = writeln!(text, "| {} | {} |", escape(&row.target), cells.join(" | "));
    }
    text.push('\n');
}

fn shards(text: &mut String, summary: &Summary) {
    let rows = shards::rows(summary);
    if rows.is_empty() {
        return;
    }
    if let Some(spread) = shards::spread(summary) {
        let _ = writeln!(text, "{}\n", escape(&spread));
    }
    let _ = writeln!(text, "| {} |\n|{}", shards::HEADS.join(" | "), "---|".repeat(shards::HEADS.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.map(|cell| escape(&cell)).join(" | "));
    }
    text.push('\n');
}

fn lanes(text: &mut String, summary: &Summary) {
    let Some(rows) = lanes::table(summary) else { return };
    let _ = writeln!(text, "| lane of the driver | {} |", lanes::HEADS.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(lanes::HEADS.len()));
    for row in &rows {
        let _ = writeln!(text, "| {} | {} |", row.number, row.cells.join(" | "));
    }
    text.push('\n');
}

fn latencies(text: &mut String, summary: &Summary) {
    let known = |(group, _): &(&str, &str)| {
        let cells = headline::STATISTICS.map(|key| summary.metric(&format!("{group}.{key}")));
        cells.iter().flatten().any(|m| m.value != Value::NoData)
    };
    // A head above nothing says nothing.
    if !headline::LATENCIES.iter().any(known) {
        return;
    }
    let _ = writeln!(text, "| ms | {} |", headline::STATISTICS.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(headline::STATISTICS.len()));
    for (group, what) in headline::LATENCIES.iter().filter(|row| known(row)) {
        let cells = headline::STATISTICS.map(|key| summary.metric(&format!("{group}.{key}")));
        let shown = cells.map(|m| m.map_or("–".into(), words::bare) + star(m.is_some_and(|m| m.too_few)));
        let _ = writeln!(text, "| {what} | {} |", shown.join(" | "));
    }
    if summary.metrics.iter().any(|m| m.too_few) {
        text.push_str("\n\\* rests on fewer than 100 / (1 − p) samples\n");
    }
    text.push('\n');
}

fn star(too_few: bool) -> &'static str {
    if too_few { " \\*" } else { "" }
}

/// Foreign text that stays text: on one line, without Markdown's and HTML's signs.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in words::one_line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '@' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_page_for_a_pull_request() {
        let (summary, verdict) = fixture::typical();
        insta::assert_snapshot!("markdown", page(&summary, &verdict));
    }

    #[test]
    fn registrations_are_counted() {
        let (summary, verdict) = fixture::registered();
        let text = page(&summary, &verdict);
        assert!(text.contains("registrations **3** · registered **100 %**"), "{text}");
    }

    #[test]
    fn hostile_text_stays_text() {
        let (summary, verdict) = fixture::hostile();
        let text = page(&summary, &verdict);
        assert!(!text.contains("<script") && !text.contains('\u{1b}'), "{text}");
    }
}
