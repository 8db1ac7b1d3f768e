//! The text at the end of a run.

use std::fmt::Write as _;

use super::{headline, words};
use crate::analysis::fault::Recovery;
use crate::gate::{GateResult, Outcome, Verdict};
use crate::metrics::{Definition, EndingCount, Group, Metric, Statistic, Summary, catalogue};
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
    let remark = |remark: &String| ("  ".into(), remark.clone(), false);
    list(&mut text, pen, "Remarks", summary.environment.remarks.iter().map(remark).collect());
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

/// A table with a row per latency and a column per statistic.
fn latencies(text: &mut String, pen: Pen, summary: &Summary, title: &str, blocks: &[[Definition; 8]]) {
    let known = |d: &Definition| summary.metric(d.name).is_some_and(|m| m.value != Value::NoData);
    // A row without any figure says nothing.
    let blocks: Vec<_> = blocks.iter().filter(|block| block.iter().any(known)).collect();
    if blocks.is_empty() {
        return;
    }
    let heads = Statistic::ALL.map(|statistic| format!("{} ", statistic.key()));
    let cells = |block: &[Definition; 8]| block.each_ref().map(|d| cell(summary.metric(d.name)));
    let rows = blocks.into_iter().map(|block| (block[0].family().to_string(), cells(block)));
    table(text, pen, &format!("{title:NAME$}"), 0, heads, rows.collect());
}

/// Writes a table whose names have the room of its title, and whose columns are as wide as they must be, but
/// no narrower than `least`.
fn table<const N: usize>(
    text: &mut String,
    pen: Pen,
    title: &str,
    least: usize,
    heads: [String; N],
    rows: Vec<(String, [String; N])>,
) {
    let widths: [usize; N] = std::array::from_fn(|n| {
        let cells = rows.iter().map(|(_, cells)| &cells[n]).chain([&heads[n]]);
        cells.map(|cell| cell.chars().count()).fold(least, usize::max)
    });
    let line = |cells: &[String; N]| {
        let aligned = cells.iter().zip(widths).map(|(cell, wide)| format!(" {cell:>wide$}"));
        aligned.collect::<String>().trim_end().to_string()
    };
    let _ = writeln!(text, "\n{}{}", pen.bold(title), pen.dim(&line(&heads)));
    let room = title.chars().count() - 2;
    for (name, cells) in &rows {
        let _ = writeln!(text, "  {name:room$.room$}{}", line(cells));
    }
}

/// The service's own account: from a caller's StasisStart on.
fn service(text: &mut String, pen: Pen, summary: &Summary) {
    if summary.environment.service_record.is_none() {
        return;
    }
    let heads = headline::STATISTICS.map(|key| format!("{key} "));
    let rows = headline::STAGES.map(|stage| {
        let of = |key| cell(summary.metric(&format!("ari.{stage}_{key}")));
        (stage.to_string(), headline::STATISTICS.map(of))
    });
    table(text, pen, &format!("{:NAME$}", "Service, ms"), 10, heads, rows.into());
}

/// A figure without its unit, `*` where it rests on too few samples.
fn cell(metric: Option<&Metric>) -> String {
    let shown = metric.map_or("–".into(), words::bare);
    let mark = if metric.is_some_and(|m| m.too_few) { '*' } else { ' ' };
    format!("{shown}{mark}")
}

fn endings(text: &mut String, pen: Pen, summary: &Summary) {
    let wide = summary.endings.iter().map(|e| e.count.to_string().len()).max().unwrap_or(0);
    let ending = |e: &EndingCount| (format!("  {:wide$}  ", e.count), e.what.clone(), !e.good);
    list(text, pen, "Endings", summary.endings.iter().map(ending).collect());
}

/// Writes a title and a paragraph per line: what stands before it, its words, and whether they tell of
/// something bad. Without lines writes nothing.
fn list(text: &mut String, pen: Pen, title: &str, lines: Vec<(String, String, bool)>) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", pen.bold(title));
    for (lead, words, is_bad) in lines {
        let paint = |line: &str| if is_bad { pen.outcome(Outcome::Fail, line) } else { line.into() };
        paragraph(text, &lead, &words, paint);
    }
}

fn faults(text: &mut String, pen: Pen, summary: &Summary) {
    if summary.faults.is_empty() {
        return;
    }
    const KEYS: [&str; 6] = ["at", "ready", "answered", "heard", "served", "restored"];
    /// `asterisk restart` is the longest.
    const FAULT: usize = 18;
    let row = |f: &Recovery| {
        let row = [f.into_hold_s, f.outage_s, f.answered_s, f.heard_s, f.served_s, f.restored_s];
        let name = words::one_line(&f.fault.target) + " " + &words::one_line(&f.fault.action);
        (name, row.map(|s| s.map_or("–".into(), |s| format!("{s:.1}"))))
    };
    let rows = summary.faults.iter().map(row).collect();
    table(text, pen, &format!("{:FAULT$}", "Faults, s"), 8, KEYS.map(String::from), rows);
    let legend =
        "at counts from the start of the hold, served from the process's return, the others from the fault";
    paragraph(text, "  ", legend, |line| pen.dim(line));
    for fault in &summary.faults {
        paragraph(text, "  ", &fault.to_string(), str::to_string);
    }
}

/// Only what is left is worth a line; that nothing is stands among the counts.
fn leaks(text: &mut String, pen: Pen, summary: &Summary) {
    let left = summary.environment.leaks.parts.iter().filter(|part| part.leaked > 0).map(|part| {
        let names = words::listed(&part.names, part.leaked);
        ("  ".into(), format!("{}: {} left{names}", part.what, part.leaked), true)
    });
    list(text, pen, "Left behind", left.collect());
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
