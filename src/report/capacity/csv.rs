//! `capacity.csv`: a row for each trial, under the words of `capacity.json`.

use super::{CapacityReport, FIGURES, TrialReport};
use crate::record::guarded;
use crate::values::{Unit, Value};

/// Columns before the outcomes.
const TRIAL: [&str; 7] = ["trial", "load", "length", "planned_s", "effective_s", "took_s", "ended"];
/// Columns for each goal, behind its name and a dot.
const OUTCOME: [&str; 6] = ["outcome", "gate", "actual", "reason", "lower", "upper"];
/// Columns between the outcomes and the figures.
const STATE: [&str; 2] = ["full_of_own_load", "leaks"];

/// The table; what was not measured is an empty cell.
pub(super) fn table(report: &CapacityReport) -> Result<Vec<u8>, ::csv::Error> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let of_goals = report
        .goals
        .iter()
        .flat_map(|goal| OUTCOME.map(|column| guarded(&format!("{}.{column}", goal.goal)).into_owned()));
    let figures = FIGURES.iter().map(|figure| figure.name.to_string());
    let heads = TRIAL.map(String::from).into_iter().chain(of_goals).chain(STATE.map(String::from));
    writer.write_record(heads.chain(figures).chain(["folder".into()]))?;
    for trial in &report.trials {
        writer.write_record(row(report, trial))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn row(report: &CapacityReport, trial: &TrialReport) -> Vec<String> {
    let mut row = vec![
        trial.trial.to_string(),
        trial.load.to_string(),
        word(trial.length),
        trial.planned_s.to_string(),
        trial.effective_s.to_string(),
        trial.took_s.to_string(),
        word(trial.ended),
    ];
    let text =
        |text: &Option<String>| text.as_deref().map_or(String::new(), |text| guarded(text).into_owned());
    let number = |n: Option<f64>| n.map_or(String::new(), |n| n.to_string());
    for goal in &report.goals {
        row.extend(match trial.outcome(&goal.goal) {
            None => OUTCOME.map(|_| String::new()),
            Some(outcome) => [
                outcome.outcome.to_string(),
                text(&outcome.gate),
                text(&outcome.actual),
                text(&outcome.reason),
                number(outcome.lower),
                number(outcome.upper),
            ],
        });
    }
    row.push(trial.full_of_own_load.to_string());
    row.push(trial.leaks.map_or(String::new(), |leaks| leaks.to_string()));
    row.extend(FIGURES.iter().map(|figure| cell((figure.of)(&trial.figures), figure.unit)));
    row.push(trial.folder.clone());
    row
}

/// A figure as it stands in the document; empty where nothing was measured.
fn cell(value: Value, unit: Unit) -> String {
    match value {
        Value::Number(n) if unit == Unit::Count => format!("{n:.0}"),
        Value::Number(n) => n.to_string(),
        Value::Lost => "lost".into(),
        Value::NoData => String::new(),
    }
}

/// The word of an enum in the document.
fn word(of: impl serde::Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|word| word.as_str().map(String::from)).unwrap_or_default()
}
