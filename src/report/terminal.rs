//! The text at the end of a run.

use std::fmt::Write as _;

use super::{headline, words};
use crate::gate::{GateResult, Outcome, Verdict};
use crate::metrics::{Definition, Group, Metric, Statistic, Summary, catalogue};
use crate::values::{Unit, Value};

/// A finished run as text for a terminal or a pipe: the gates, the figures, and `place`, where the
/// report lies. Colours only where `colour` says so. Ends in a line break.
pub fn summary(summary: &Summary, verdict: &Verdict, place: &str, colour: bool) -> String {
    let pen = Pen { colour };
    let mut text = String::new();
    head(&mut text, pen, summary, verdict);
    gates(&mut text, pen, verdict);
    endings(&mut text, pen, summary);
    faults(&mut text, pen, summary);
    leaks(&mut text, pen, summary);
    remarks(&mut text, pen, summary);
    latencies(&mut text, pen, summary, "Packets, ms", &catalogue::LATENCIES);
    latencies(&mut text, pen, summary, "Calls, ms", &catalogue::SIGNALLING);
    service(&mut text, pen, summary);
    if summary.metrics.iter().any(|m| m.too_few) {
        text.push_str("  * rests on fewer than 100 / (1 - p) samples\n");
    }
    if let Some(explanation) = &summary.explanation {
        text.push('\n');
        paragraph(&mut text, "  ", explanation, str::to_string);
    }
    counts(&mut text, pen, summary);
    if !place.is_empty() {
        let _ = writeln!(text, "\n{} {place}", pen.bold("Report"));
    }
    text
}

/// Escape codes, or none.
#[derive(Clone, Copy)]
struct Pen {
    colour: bool,
}

impl Pen {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn outcome(self, outcome: Outcome, text: &str) -> String {
        let code = match outcome {
            Outcome::Pass => "1;32",
            Outcome::Fail | Outcome::Regressed => "1;31",
            Outcome::Inconclusive => "1;33",
        };
        self.paint(code, text)
    }
}

/// Columns that the text keeps to where it can, and those of them that names take.
const WIDTH: usize = 80;
const NAME: usize = 15;

/// Text behind `lead`, whose width its further lines keep free; each line painted.
fn paragraph(text: &mut String, lead: &str, words: &str, paint: impl Fn(&str) -> String) {
    let indent = visible(lead);
    for (n, line) in words::wrapped(&words::one_line(words), WIDTH - indent).iter().enumerate() {
        let lead = if n == 0 { lead.to_string() } else { " ".repeat(indent) };
        let _ = writeln!(text, "{lead}{}", paint(line));
    }
}

/// Columns that a text takes, its escape codes left out.
fn visible(text: &str) -> usize {
    let codes = |part: &str| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count());
    let mut parts = text.split('\x1b');
    parts.next().map_or(0, |first| first.chars().count()) + parts.map(codes).sum::<usize>()
}

fn head(text: &mut String, pen: Pen, summary: &Summary, verdict: &Verdict) {
    let outcome = pen.outcome(verdict.outcome, &verdict.outcome.to_string().to_uppercase());
    let name = words::one_line(&summary.environment.name);
    let _ = writeln!(text, "{outcome}  {}", pen.bold(&name));
    let _ = writeln!(text, "      {}", words::circumstances(&summary.environment));
    let lead = format!("  {} ", pen.outcome(Outcome::Inconclusive, "?"));
    for (n, reason) in verdict.doubt.sentences().enumerate() {
        let start = if n == 0 { "in doubt: " } else { "" };
        paragraph(text, &lead, &format!("{start}{reason}"), str::to_string);
    }
}

fn gates(text: &mut String, pen: Pen, verdict: &Verdict) {
    if verdict.gates.is_empty() {
        let _ = writeln!(text, "\n{}", pen.dim("No gate was set: nothing was judged but the instrument."));
        return;
    }
    let _ = writeln!(text, "\n{}", pen.bold("Gates"));
    let width =
        |of: fn(&GateResult) -> &str| verdict.gates.iter().map(|g| of(g).chars().count()).max().unwrap_or(0);
    let (wide, actual_wide) = (width(|g| &g.expression), width(|g| &g.actual));
    for gate in &verdict.gates {
        let mark = pen.outcome(gate.outcome, words::mark(gate.outcome));
        let interval = gate.interval.map(|interval| format!("  ({interval})")).unwrap_or_default();
        let line = format!("{:wide$}  {:>actual_wide$}{interval}", gate.expression, gate.actual);
        let reason = words::one_line(&gate.reason);
        let both = format!("{line}  {reason}");
        if both.chars().count() + 4 <= WIDTH {
            let _ = writeln!(text, "  {mark} {}", both.trim_end());
        } else {
            let _ = writeln!(text, "  {mark} {line}");
            paragraph(text, "      ", &reason, str::to_string);
        }
    }
}

/// A table with a row per latency and a column per statistic, each as wide as it must be.
fn latencies(text: &mut String, pen: Pen, summary: &Summary, title: &str, blocks: &[[Definition; 8]]) {
    let known = |d: &Definition| summary.metric(d.name).is_some_and(|m| m.value != Value::NoData);
    // A row without any figure says nothing.
    let blocks: Vec<_> = blocks.iter().filter(|block| block.iter().any(known)).collect();
    if blocks.is_empty() {
        return;
    }
    let rows: Vec<[String; 8]> = blocks
        .iter()
        .map(|block| block.each_ref().map(|definition| cell(summary.metric(definition.name))))
        .collect();
    let keys = Statistic::ALL.map(|statistic| format!("{} ", statistic.key()));
    let widths: [usize; 8] = std::array::from_fn(|n| {
        rows.iter().map(|row| row[n].chars().count()).chain([keys[n].len()]).max().unwrap_or(0)
    });
    let line = |cells: &[String; 8]| {
        let aligned = cells.iter().zip(widths).map(|(cell, wide)| format!(" {cell:>wide$}"));
        aligned.collect::<String>().trim_end().to_string()
    };
    let _ = writeln!(text, "\n{}{}", pen.bold(&format!("{title:NAME$}")), pen.dim(&line(&keys)));
    for (block, row) in blocks.iter().zip(&rows) {
        let _ = writeln!(text, "  {:wide$}{}", block[0].family(), line(row), wide = NAME - 2);
    }
}

/// The service's own account: from a caller's StasisStart on.
fn service(text: &mut String, pen: Pen, summary: &Summary) {
    if summary.environment.service_record.is_none() {
        return;
    }
    let head: String = headline::STATISTICS.iter().map(|key| format!(" {key:>9} ")).collect();
    let _ = writeln!(text, "\n{}{}", pen.bold(&format!("{:NAME$}", "Service, ms")), pen.dim(head.trim_end()));
    for stage in headline::STAGES {
        let cells = headline::STATISTICS
            .map(|key| format!(" {:>10}", cell(summary.metric(&format!("ari.{stage}_{key}")))));
        let _ = writeln!(text, "  {stage:wide$}{}", cells.concat().trim_end(), wide = NAME - 2);
    }
}

/// A figure without its unit, `*` where it rests on too few samples.
fn cell(metric: Option<&Metric>) -> String {
    let shown = metric.map_or("–".into(), words::bare);
    let mark = if metric.is_some_and(|m| m.too_few) { '*' } else { ' ' };
    format!("{shown}{mark}")
}

fn endings(text: &mut String, pen: Pen, summary: &Summary) {
    if summary.endings.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", pen.bold("Endings"));
    let wide = summary.endings.iter().map(|e| e.count.to_string().len()).max().unwrap_or(0);
    for ending in &summary.endings {
        let paint = |line: &str| match ending.good {
            true => line.to_string(),
            false => pen.outcome(Outcome::Fail, line),
        };
        paragraph(text, &format!("  {:wide$}  ", ending.count), &ending.what, paint);
    }
}

fn faults(text: &mut String, pen: Pen, summary: &Summary) {
    if summary.faults.is_empty() {
        return;
    }
    const KEYS: [&str; 6] = ["at", "ready", "answered", "heard", "served", "restored"];
    /// `asterisk restart` is the longest.
    const FAULT: usize = 18;
    let line = |cells: [String; 6]| cells.map(|cell| format!(" {cell:>8}")).concat();
    let head = line(KEYS.map(String::from));
    let _ = writeln!(text, "\n{}{}", pen.bold(&format!("{:FAULT$}", "Faults, s")), pen.dim(&head));
    for fault in &summary.faults {
        let row = [
            fault.into_hold_s,
            fault.outage_s,
            fault.answered_s,
            fault.heard_s,
            fault.served_s,
            fault.restored_s,
        ];
        let row = line(row.map(|s| s.map_or("–".into(), |s| format!("{s:.1}"))));
        let name = words::one_line(&fault.fault.target) + " " + &words::one_line(&fault.fault.action);
        let _ = writeln!(text, "  {name:rest$.rest$}{row}", rest = FAULT - 2);
    }
    let legend =
        "at counts from the start of the hold, served from the process's return, the others from the fault";
    paragraph(text, "  ", legend, |line| pen.dim(line));
    for fault in &summary.faults {
        paragraph(text, "  ", &fault.to_string(), str::to_string);
    }
}

/// Only what is left is worth a line; that nothing is stands among the counts.
fn leaks(text: &mut String, pen: Pen, summary: &Summary) {
    let left: Vec<_> = summary.environment.leaks.parts.iter().filter(|p| p.leaked > 0).collect();
    if left.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", pen.bold("Left behind"));
    for part in left {
        let line = format!("{}: {} left{}", part.what, part.leaked, words::listed(&part.names, part.leaked));
        paragraph(text, "  ", &line, |line| pen.outcome(Outcome::Fail, line));
    }
}

fn remarks(text: &mut String, pen: Pen, summary: &Summary) {
    if summary.environment.remarks.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", pen.bold("Remarks"));
    for remark in &summary.environment.remarks {
        paragraph(text, "  ", remark, str::to_string);
    }
}

/// Every other figure: a paragraph per group, each figure behind the rest of its name.
fn counts(text: &mut String, pen: Pen, summary: &Summary) {
    let _ = writeln!(text, "\n{}", pen.bold("Counts and ratios"));
    let mut group = "";
    let mut room = 0;
    for metric in catalogue::counts().filter_map(|d| summary.metric(d.name)) {
        // The service's times have a table of their own.
        let elsewhere = metric.definition.group == Group::Service && metric.definition.unit == Unit::Ms;
        if metric.value == Value::NoData || elsewhere {
            continue;
        }
        let (this, key) = metric.definition.family_and_key();
        let value = metric.to_string();
        let wide = key.len() + value.chars().count() + 3;
        if this == group && wide <= room {
            text.push_str("  ");
        } else {
            let name = if this == group { "" } else { this };
            let end = if group.is_empty() { "" } else { "\n" };
            let _ = write!(text, "{end}  {name:rest$} ", rest = NAME - 2);
            room = WIDTH - NAME;
        }
        group = this;
        room = room.saturating_sub(wide);
        let _ = write!(text, "{} {value}", pen.dim(key));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn it_looks_like_this() {
        let (run, verdict) = fixture::typical();
        insta::assert_snapshot!("pass", summary(&run, &verdict, "reports/50x5m", false));
        let (run, verdict) = fixture::failing();
        insta::assert_snapshot!("fail", summary(&run, &verdict, "reports/50x5m", false));
        let (run, verdict) = fixture::in_doubt();
        let text = summary(&run, &verdict, "", false);
        insta::assert_snapshot!("in_doubt", text.lines().take(14).collect::<Vec<_>>().join("\n"));
        let (run, verdict) = fixture::nothing_answered();
        insta::assert_snapshot!("no_data", summary(&run, &verdict, "", false));
    }

    #[test]
    fn faults_and_what_was_left_are_named() {
        let (run, verdict) = fixture::faulted();
        let text = summary(&run, &verdict, "", false);
        let part: Vec<_> = text.lines().skip_while(|l| !l.starts_with("Faults")).take(14).collect();
        insta::assert_snapshot!("faulted", part.join("\n"));
    }

    #[test]
    fn colours_are_all_that_colour_changes() {
        let (run, verdict) = fixture::failing();
        let coloured = summary(&run, &verdict, "reports/50x5m", true);
        let mut plain = String::new();
        for (n, part) in coloured.split('\x1b').enumerate() {
            plain.push_str(if n == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        assert_eq!(plain, summary(&run, &verdict, "reports/50x5m", false));
        assert!(coloured.matches('\x1b').count() > 20);
    }

    #[test]
    fn eighty_columns_are_enough() {
        for (run, verdict) in [fixture::failing(), fixture::in_doubt(), fixture::faulted()] {
            for colour in [false, true] {
                let text = summary(&run, &verdict, "reports/50x5m", colour);
                let wide: Vec<_> = text.lines().filter(|line| visible(line) > WIDTH).collect();
                assert!(wide.is_empty(), "{}", wide.join("\n"));
            }
        }
    }

    #[test]
    fn foreign_text_brings_no_escape_codes_and_no_lines() {
        let (mut run, mut verdict) = fixture::failing();
        run.environment.name = "a\x1b[2Jb\nPASS".into();
        verdict.gates[0].reason = "\x1b[31mred".into();
        run.endings[1].what = "\r\x07bell".into();
        let text = summary(&run, &verdict, "", false);
        assert!(!text.contains(['\x1b', '\r', '\x07']), "{text}");
        assert!(!text.lines().any(|line| line == "PASS"));
    }
}
