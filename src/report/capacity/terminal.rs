//! The text at the end of a search.

use std::fmt::Write as _;

use super::{CapacityReport, GoalReport, OutcomeWord, TrialReport, words};
use crate::gate::Outcome;
use crate::report::terminal::{Look, NAME, Pen, list, paragraph, table};
use crate::report::words as common;

/// A finished search as text for a terminal or a pipe. The answer comes last, where a terminal leaves it in sight. Ends
/// in a line break.
pub fn text(report: &CapacityReport, look: Look<'_>) -> String {
    let pen = Pen { colour: look.colour };
    let mut text = String::new();
    trials(&mut text, pen, report);
    goals(&mut text, pen, report);
    after(&mut text, pen, report);
    let remarks = report.remarks.iter().cloned().chain([format!("{}.", words::limit(report))]);
    list(&mut text, pen, "Remarks", remarks.map(|remark| ("  ".into(), remark, false)).collect());
    requirements(&mut text, pen, report);
    if !look.place.is_empty() {
        let _ = writeln!(text, "\n{} {}", pen.bold("Report"), look.place);
    }
    answer(&mut text, pen, report);
    text.trim_start_matches('\n').into()
}

fn trials(text: &mut String, pen: Pen, report: &CapacityReport) {
    let cells = |trial: &TrialReport| {
        [trial.trial.to_string(), words::number(report.kind, trial.load), words::seconds(trial)]
    };
    let rows: Vec<_> = report.trials.iter().map(cells).collect();
    let heads = ["#", words::loads(report.kind), "seconds"];
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).fold(heads[n].len(), usize::max);
    let [number, load, seconds] = [0, 1, 2].map(width);
    let line = |[a, b, c]: [&str; 3]| format!("  {a:>number$}  {b:>load$}  {c:>seconds$}");
    let _ = writeln!(text, "\n{}\n{}", pen.bold("Trials"), pen.dim(&format!("{}  outcome", line(heads))));
    for (trial, row) in report.trials.iter().zip(&rows) {
        let mut lead = format!("{}  ", line([&row[0], &row[1], &row[2]]));
        for (mark, words) in outcomes(pen, report, trial) {
            paragraph(text, &format!("{lead}{mark} "), &words, str::to_string);
            lead = " ".repeat(number + load + seconds + 8);
        }
    }
}

/// Mark and words of outcomes, the last with what else there is to say of the trial.
fn outcomes(pen: Pen, report: &CapacityReport, trial: &TrialReport) -> Vec<(String, String)> {
    let mut outcomes = words::outcomes(report, trial);
    if let Some((_, last)) = outcomes.last_mut() {
        words::beside(trial).iter().for_each(|more| last.extend(["; ", more]));
    }
    let marked = |(word, said): (OutcomeWord, String)| {
        let outcome = Outcome::from(word);
        (pen.outcome(outcome, common::mark(outcome)), said)
    };
    outcomes.into_iter().map(marked).collect()
}

/// The table N(goal); of a single goal the answer says as much.
fn goals(text: &mut String, pen: Pen, report: &CapacityReport) {
    if report.goals.len() < 2 {
        return;
    }
    let kind = report.kind;
    let row = |name: &str, cells: [String; 3]| (common::one_line(name), cells);
    let mut rows: Vec<_> = report
        .goals
        .iter()
        .map(|goal| {
            let [lower, upper] = [goal.lower, goal.upper].map(|load| words::bound(kind, load));
            row(&goal.goal, [lower, upper, words::per_core(goal)])
        })
        .collect();
    let none = || "–".to_string();
    rows.push(row("none lost", [words::bound(kind, report.none_lost), none(), none()]));
    if let Some(mean) = report.geometric_mean {
        rows.push(row("geometric mean", [format!("{mean:.1}"), none(), none()]));
    }
    let title = format!("{:1$}", format!("Goals, {}", words::loads(kind)), NAME + 3);
    table(text, pen, &title, 8, ["carried", "not carried", "per core"].map(String::from), rows);
}

fn after(text: &mut String, pen: Pen, report: &CapacityReport) {
    for after in &report.after {
        let outcome = Outcome::from(after.outcome);
        let mark = pen.outcome(outcome, common::mark(outcome));
        let (load, time) = (words::load(report.kind, after.load), common::span(after.effective_s));
        let title = common::one_line(&after.title);
        let _ = writeln!(text, "\n{} {load} for {time}: {mark} {}", pen.bold(&title), after.outcome);
        let figures = after.figures.iter().map(|figure| format!("{} {}", figure.name, figure.shown));
        let figures = figures.collect::<Vec<_>>().join(", ");
        for line in after.lines.iter().chain([&figures]).filter(|line| !line.is_empty()) {
            paragraph(text, "  ", line, str::to_string);
        }
    }
}

/// Columns of the longest condition beside which answers are lined up.
const WIDEST: usize = 40;

fn requirements(text: &mut String, pen: Pen, report: &CapacityReport) {
    if report.requirements.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", pen.bold("Required"));
    let wide =
        report.requirements.iter().map(|r| r.expression.chars().count()).max().unwrap_or(0).min(WIDEST);
    for required in &report.requirements {
        let outcome = Outcome::from(required.outcome);
        let mark = pen.outcome(outcome, common::mark(outcome));
        let answer = report.goals.iter().find(|goal| goal.goal == required.goal);
        let found = answer.map_or("–", |goal| goal.parted().0);
        let lead = format!("  {mark} {:wide$}  ", common::one_line(&required.expression));
        paragraph(text, &lead, found, str::to_string);
    }
}

/// The head of the answer and a sentence for each goal.
fn answer(text: &mut String, pen: Pen, report: &CapacityReport) {
    let head = match report.outcome {
        Some(outcome) => pen.outcome(outcome.into(), &outcome.to_string().to_uppercase()),
        None => pen.bold("CAPACITY"),
    };
    let _ = writeln!(text, "\n{head}  {}", pen.bold(&common::one_line(&report.name)));
    let _ = writeln!(text, "      {}", words::circumstances(report));
    // Of several goals the table says it.
    if let [GoalReport { per_core: Some(_), lower: Some(lower), .. }] = report.goals.as_slice() {
        let (each, lower) = (words::per_core(&report.goals[0]), words::number(report.kind, *lower));
        let unit = words::loads(report.kind);
        let _ = writeln!(text, "      {each} {unit} for each core that Asterisk used at {lower}");
    }
    let wide = report.goals.iter().map(|goal| goal.goal.chars().count()).max().unwrap_or(0);
    for goal in &report.goals {
        let lead = match report.goals.len() {
            1 => "      ".to_string(),
            _ => format!("      {:wide$}  ", common::one_line(&goal.goal)),
        };
        paragraph(text, &lead, &goal.sentence, |line| pen.bold(line));
    }
}
