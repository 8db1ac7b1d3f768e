//! The text at the end of a run.

mod tables;

use std::fmt::Write as _;

use super::{headline, lanes, shards, stages, targets, words};
use crate::analysis::fault::Recovery;
use crate::diagnosis::{self, Finding};
use crate::gate::{GateResult, Outcome, Verdict};
use crate::metrics::{EndingCount, Summary};
use crate::values::{Unit, Value, WIDTH, wrapped};

/// The form of the text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look<'a> {
    /// Place of the report; empty without one.
    pub place: &'a str,
    /// Colours are wanted.
    pub colour: bool,
    /// The long tables are wanted: every latency, every count.
    pub tables: bool,
}

/// A finished run as text for a terminal or a pipe. What a reader needs first comes last, where a terminal
/// leaves it in sight: verdict, headline, findings, place. Ends in a line break.
pub fn summary(summary: &Summary, verdict: &Verdict, look: Look<'_>) -> String {
    let pen = Pen { colour: look.colour };
    let mut text = String::new();
    if look.tables {
        tables::all(&mut text, pen, summary);
    }
    endings(&mut text, pen, summary);
    faults(&mut text, pen, summary);
    leaks(&mut text, pen, summary);
    let remark = |remark: &String| ("  ".into(), remark.clone(), false);
    list(&mut text, pen, "Remarks", summary.environment.remarks.iter().map(remark).collect());
    stages(&mut text, pen, summary);
    targets(&mut text, pen, summary);
    shards(&mut text, pen, summary);
    lanes(&mut text, pen, summary);
    gates(&mut text, pen, verdict);
    head(&mut text, pen, summary, verdict);
    figures(&mut text, pen, summary);
    found(&mut text, pen, &diagnosis::findings(summary, verdict));
    if !look.place.is_empty() {
        let _ = writeln!(text, "\n{} {}", pen.bold("Report"), look.place);
    }
    text.trim_start_matches('\n').into()
}

/// Escape codes of the text, besides the one that ends each.
pub const COLOURS: [&str; 5] = [BOLD, DIM, GREEN, RED, YELLOW];
const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "1;32";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";

/// Escape codes, or none.
#[derive(Clone, Copy)]
pub(super) struct Pen {
    pub(super) colour: bool,
}

impl Pen {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint(BOLD, text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint(DIM, text)
    }

    pub(super) fn outcome(self, outcome: Outcome, text: &str) -> String {
        let code = match outcome {
            Outcome::Pass => GREEN,
            Outcome::Fail | Outcome::Regressed => RED,
            Outcome::Inconclusive => YELLOW,
        };
        self.paint(code, text)
    }
}

/// Columns that names take.
pub(super) const NAME: usize = 15;
/// Columns of the text behind the longest lead.
const NARROWEST: usize = 20;
/// Most ways of ending that have a line.
const MOST_ENDINGS: usize = 8;

/// Text behind `lead`, whose width its further lines keep free; each line painted.
pub(super) fn paragraph(text: &mut String, lead: &str, words: &str, paint: impl Fn(&str) -> String) {
    let indent = visible(lead);
    for (n, line) in
        wrapped(&words::one_line(words), WIDTH.saturating_sub(indent).max(NARROWEST)).iter().enumerate()
    {
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
    let _ = writeln!(text, "\n{outcome}  {}", pen.bold(&name));
    paragraph(text, "      ", &words::circumstances(&summary.environment), str::to_string);
    let lead = format!("  {} ", pen.outcome(Outcome::Inconclusive, "?"));
    for (n, reason) in verdict.doubt.sentences().enumerate() {
        let start = if n == 0 { "in doubt: " } else { "" };
        paragraph(text, &lead, &format!("{start}{reason}"), str::to_string);
    }
}

/// A paragraph a stage.
fn stages(text: &mut String, pen: Pen, summary: &Summary) {
    let Some(table) = stages::table(summary) else { return };
    let _ = writeln!(text, "\n{}", pen.bold("Stages"));
    for row in &table.rows {
        let _ = writeln!(text, "  {}  {}, held {}", row.number, pen.bold(&row.load), row.window);
        let figures: Vec<_> =
            table.heads.iter().zip(row.shown()).map(|(head, shown)| format!("{head} {shown}")).collect();
        paragraph(text, "     ", &figures.join(" · "), str::to_string);
    }
}

/// A paragraph a target.
fn targets(text: &mut String, pen: Pen, summary: &Summary) {
    let Some(rows) = targets::table(summary) else { return };
    let _ = writeln!(text, "\n{}", pen.bold("Targets"));
    for row in &rows {
        let _ = writeln!(text, "  {}", pen.bold(&words::one_line(&row.target)));
        let figures: Vec<_> =
            targets::HEADS.iter().zip(&row.cells).map(|(head, shown)| format!("{head} {shown}")).collect();
        paragraph(text, "     ", &figures.join(" · "), str::to_string);
    }
}

/// A line a shard.
fn shards(text: &mut String, pen: Pen, summary: &Summary) {
    let rows = shards::rows(summary);
    if rows.is_empty() {
        return;
    }
    let spread = shards::spread(summary).map_or(String::new(), |spread| format!("  {spread}"));
    let _ = writeln!(text, "\n{}{spread}", pen.bold("Shards"));
    for row in rows {
        let [index, machine, attempts, packets, clock, start, late, state] =
            row.map(|cell| words::one_line(&cell));
        let said = format!(
            "{machine} · {attempts} attempts, {packets} packets · clock {clock} · start {start} · late p99 {late} ms · {state}"
        );
        paragraph(text, &format!("  {index}  "), &said, str::to_string);
    }
}

/// A paragraph a lane.
fn lanes(text: &mut String, pen: Pen, summary: &Summary) {
    let Some(rows) = lanes::table(summary) else { return };
    let _ = writeln!(text, "\n{}", pen.bold("Lanes of the driver"));
    for row in &rows {
        let figures: Vec<_> =
            lanes::HEADS.iter().zip(&row.cells).map(|(head, shown)| format!("{head} {shown}")).collect();
        paragraph(text, &format!("  {}  ", row.number), &figures.join(" · "), str::to_string);
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
        let interval = words::interval(gate).map(|interval| format!("  ({interval})")).unwrap_or_default();
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
    if words::has_intervals(verdict) {
        paragraph(text, "  ", words::INTERVALS, |line| pen.dim(line));
    }
}

/// The figures that a reader asks for first, a line each.
fn figures(text: &mut String, pen: Pen, summary: &Summary) {
    let shown = |(name, label): &(&str, &str)| {
        let metric = summary.metric(name).filter(|m| m.value != Value::NoData)?;
        let few = if metric.too_few { "*" } else { "" };
        let value = match metric.definition.unit {
            // The title has the unit.
            Unit::Cores => words::bare(metric),
            _ => metric.to_string(),
        };
        Some(format!("{} {value}{few}", pen.dim(label)))
    };
    for (title, of) in headline::LINES {
        let known: Vec<_> = of.iter().filter_map(shown).collect();
        if !known.is_empty() {
            let _ = writeln!(text, "      {title:11} {}", known.join("  "));
        }
    }
    if headline::LINES
        .iter()
        .flat_map(|(_, of)| *of)
        .any(|(name, _)| summary.metric(name).is_some_and(|m| m.too_few))
    {
        let _ = writeln!(text, "      {}", pen.dim("* rests on fewer than 100 / (1 - p) samples"));
    }
}

/// Findings alone, without colours; nothing where there are none.
pub fn findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    found(&mut text, Pen { colour: false }, findings);
    text
}

/// Findings, each with its cause and its cure.
fn found(text: &mut String, pen: Pen, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", pen.bold("Findings"));
    for (n, finding) in (1..).zip(findings) {
        paragraph(text, &format!("  {n}. "), &finding.what, |line| pen.bold(line));
        for (word, words) in
            [("likely ", &finding.cause), ("try    ", &finding.cure), ("seen in", &finding.seen)]
        {
            paragraph(text, &format!("     {} ", pen.dim(word)), words, str::to_string);
        }
    }
}

/// Writes a table whose names have the room of its title, and whose columns are as wide as they must be, but
/// no narrower than `least`.
pub(super) fn table<const N: usize>(
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

fn endings(text: &mut String, pen: Pen, summary: &Summary) {
    let wide = summary.endings.iter().map(|e| e.count.to_string().len()).max().unwrap_or(0);
    let ending = |e: &EndingCount| (format!("  {:wide$}  ", e.count), e.what.clone(), !e.good);
    let mut lines: Vec<_> = summary.endings.iter().take(MOST_ENDINGS).map(ending).collect();
    let more: u64 = summary.endings.iter().skip(MOST_ENDINGS).map(|e| e.count).sum();
    if more > 0 {
        lines.push((format!("  {more:wide$}  "), "in other ways (calls.csv)".into(), true));
    }
    list(text, pen, "Endings", lines);
}

/// Writes a title and a paragraph per line: what stands before it, its words, and whether they tell of
/// something bad. Without lines writes nothing.
pub(super) fn list(text: &mut String, pen: Pen, title: &str, lines: Vec<(String, String, bool)>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    const WHOLE: Look<'_> = Look { place: "/tmp/reports/50x5m/report.html", colour: false, tables: true };

    #[test]
    fn it_looks_like_this() {
        let (run, verdict) = fixture::typical();
        insta::assert_snapshot!("pass", summary(&run, &verdict, WHOLE));
        let (run, verdict) = fixture::failing();
        insta::assert_snapshot!("fail", summary(&run, &verdict, WHOLE));
        let (run, verdict) = fixture::in_doubt();
        let text = summary(&run, &verdict, Look::default());
        insta::assert_snapshot!("in_doubt", text);
        let (run, verdict) = fixture::nothing_answered();
        insta::assert_snapshot!("no_data", summary(&run, &verdict, Look::default()));
    }

    #[test]
    fn faults_and_what_was_left_are_named() {
        let (run, verdict) = fixture::faulted();
        let text = summary(&run, &verdict, Look::default());
        let part: Vec<_> = text.lines().skip_while(|l| !l.starts_with("Faults")).take(14).collect();
        insta::assert_snapshot!("faulted", part.join("\n"));
    }

    #[test]
    fn registrations_and_another_transport_are_told_of() {
        let (run, verdict) = fixture::registered();
        let text = summary(&run, &verdict, Look::default());
        assert!(text.contains("50 calls over TLS, 5 min measured"), "{text}");
        assert!(text.contains("Registered  granted 100 %  of 3  in 2.1"), "{text}");
    }

    #[test]
    fn colours_are_all_that_colour_changes() {
        let (run, verdict) = fixture::failing();
        let coloured = summary(&run, &verdict, Look { colour: true, ..WHOLE });
        let mut plain = String::new();
        for (n, part) in coloured.split('\x1b').enumerate() {
            plain.push_str(if n == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        assert_eq!(plain, summary(&run, &verdict, WHOLE));
        assert!(coloured.matches('\x1b').count() > 20);
    }

    #[test]
    fn eighty_columns_are_enough() {
        for (run, verdict) in [fixture::failing(), fixture::in_doubt(), fixture::faulted()] {
            for colour in [false, true] {
                let text = summary(&run, &verdict, Look { colour, ..WHOLE });
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
        let text = summary(&run, &verdict, Look::default());
        assert!(!text.contains(['\x1b', '\r', '\x07']), "{text}");
        assert!(!text.lines().any(|line| line == "PASS"));
    }
}
