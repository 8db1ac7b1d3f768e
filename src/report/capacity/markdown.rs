//! `summary.md` of a search, for a pull request or a job's page.

use std::fmt::Write as _;

use super::{CapacityReport, RequiredOutcome, TrialReport, words};
use crate::report::markdown::{escape, sign};
use crate::report::words as common;

/// GitHub-flavoured Markdown: the answer, requirements, goals, trials.
pub(super) fn page(report: &CapacityReport) -> String {
    let mut text = String::new();
    let name = escape(&report.name);
    let head = match report.outcome {
        Some(outcome) => format!("{} {}: {name}", sign(outcome.into()), outcome.to_string().to_uppercase()),
        None => format!("Capacity of {name}"),
    };
    let _ = writeln!(text, "## {head}\n");
    for goal in &report.goals {
        let (bounds, rest) = goal.parted();
        let lead = if report.goals.len() > 1 { format!("{}: ", escape(&goal.goal)) } else { String::new() };
        let rest = if rest.is_empty() { String::new() } else { format!(": {}", escape(rest)) };
        let _ = writeln!(text, "{lead}**{}**{rest}\n", escape(bounds));
    }
    let _ = writeln!(text, "{}\n", escape(&words::circumstances(report)));
    requirements(&mut text, report);
    goals(&mut text, report);
    trials(&mut text, report);
    after(&mut text, report);
    let _ = writeln!(text, "{}.\n", escape(&words::limit(report)));
    for remark in &report.remarks {
        let _ = writeln!(text, "- {}", escape(remark));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn requirements(text: &mut String, report: &CapacityReport) {
    if report.requirements.is_empty() {
        return;
    }
    text.push_str("| | required | found |\n|---|---|---|\n");
    for required in &report.requirements {
        let answer = report.goals.iter().find(|goal| goal.goal == required.goal);
        let found = answer.map_or("–", |goal| goal.parted().0);
        let mark = sign(required.outcome.into());
        let _ = writeln!(text, "| {mark} | {} | {} |", escape(&required.expression), escape(found));
    }
    if report.requirements.iter().any(|required| required.outcome == RequiredOutcome::Inconclusive) {
        text.push_str("\n❔ the bounds allow both\n");
    }
    text.push('\n');
}

/// The table N(goal).
fn goals(text: &mut String, report: &CapacityReport) {
    let kind = report.kind;
    let _ =
        writeln!(text, "| goal | carried | not carried | for each core of Asterisk |\n|---|---:|---:|---:|");
    for goal in &report.goals {
        let bounds = [goal.lower, goal.upper].map(|load| words::bound(kind, load));
        let _ =
            writeln!(text, "| {} | {} | {} |", escape(&goal.goal), bounds.join(" | "), words::per_core(goal));
    }
    if let Some(none_lost) = report.none_lost {
        let _ = writeln!(text, "| carried without losing a call | {} | | |", words::number(kind, none_lost));
    }
    if let Some(mean) = report.geometric_mean.filter(|_| report.goals.len() > 1) {
        let _ = writeln!(text, "| geometric mean | {mean:.1} | | |");
    }
    text.push('\n');
}

fn trials(text: &mut String, report: &CapacityReport) {
    let _ = writeln!(text, "<details><summary>Trials</summary>\n");
    let _ =
        writeln!(text, "| trial | {} | seconds | outcome |\n|---:|---:|---:|---|", words::loads(report.kind));
    for trial in &report.trials {
        let (load, seconds) = (words::number(report.kind, trial.load), words::seconds(trial));
        let _ = writeln!(text, "| {} | {load} | {seconds} | {} |", trial.trial, outcomes(report, trial));
    }
    text.push_str("\n</details>\n\n");
}

fn outcomes(report: &CapacityReport, trial: &TrialReport) -> String {
    let outcomes = words::outcomes(report, trial).into_iter();
    let marked = outcomes.map(|(word, said)| format!("{} {}", sign(word.into()), escape(&said)));
    marked.chain(words::beside(trial)).collect::<Vec<_>>().join("; ")
}

fn after(text: &mut String, report: &CapacityReport) {
    for after in &report.after {
        let load = words::load(report.kind, after.load);
        let sign = sign(after.outcome.into());
        let (title, time) = (escape(&after.title), common::span(after.effective_s));
        let _ = writeln!(text, "{sign} **{title}**, {load} for {time}: {}\n", after.outcome);
        for line in &after.lines {
            let _ = writeln!(text, "- {}", escape(line));
        }
        let figures: Vec<_> =
            after.figures.iter().map(|f| format!("{} **{}**", escape(&f.name), escape(&f.shown))).collect();
        let _ = writeln!(text, "- {}\n", figures.join(" · "));
    }
}
