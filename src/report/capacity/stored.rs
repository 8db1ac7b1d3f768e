//! `capacity.json`: the report as it is stored, and read again.
//!
//! Whoever reads it has not written it: lists, texts and numbers are bounded, and a folder's name is no path.

use super::sources::{ENDINGS, FORMAT};
use crate::search::{MOST_TRIALS, is_folder, is_goal_name};

use super::{
    AfterSearch, CapacityReport, FIGURES, GoalReport, OutcomeReport, Schedulings, SearchPlace, TrialReport,
};
use crate::values::cut;

/// Longest document that is read: some ten thousand trials.
pub const MOST_BYTES: u64 = 64 << 20;
/// Longest text: a sentence with the reason that somebody else gave.
const LONGEST_TEXT: usize = 4096;
/// Longest part of what the reader of JSON says.
const LONGEST_SAID: usize = 500;
/// Most entries of any other list: a goal has up to 1,000 gates, and a command line as many conditions.
const MOST_ENTRIES: usize = 4000;
/// Largest number of any figure.
const LARGEST: f64 = 1e12;

/// The reason for which a stored report cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("capacity.json is damaged: {reason}; take the search's folder as it was written, or search anew")]
pub struct CapacityError {
    /// The fault.
    pub reason: String,
}

/// The document, indented, in an order that does not change.
pub(super) fn document(report: &CapacityReport) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(report)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads the report of a stored search.
///
/// # Errors
/// Text that is no such document, one of another version, a record that cannot be true.
pub fn read(text: &str) -> Result<CapacityReport, CapacityError> {
    let fault = |reason: String| CapacityError { reason };
    if text.len() as u64 > MOST_BYTES {
        return Err(fault(format!("it has {} bytes, {MOST_BYTES} are allowed", text.len())));
    }
    let report: CapacityReport =
        serde_json::from_str(text).map_err(|error| fault(cut(&error.to_string(), LONGEST_SAID)))?;
    check(&report).map_or(Ok(report), |reason| Err(fault(reason.into())))
}

/// A fault of a report.
fn check(report: &CapacityReport) -> Option<&'static str> {
    let CapacityReport { goals, trials, after, requirements, remarks, limit, settings, .. } = report;
    let lists =
        [goals.len(), after.len(), requirements.len(), remarks.len(), report.environment.command.len()];
    let loads = [report.none_lost, report.geometric_mean, Some(limit.load), limit.driver_load];
    let lengths = [
        settings.min,
        settings.width_ratio,
        settings.initial_trial_s,
        settings.final_trial_s,
        settings.duration_sum_s,
        settings.exceed_ratio,
        settings.revisit_s,
        report.environment.elapsed_s,
    ];
    let are_numbers = are(loads) && are(lengths.map(Some)) && are([settings.time_limit_s]);
    let faults = [
        (report.format != FORMAT, "it was written by another version of loadtest"),
        (!texts(report).all(|text| text.len() <= LONGEST_TEXT), "a text in it is too long"),
        (trials.len() > MOST_TRIALS, "it has too many trials"),
        (
            goals.is_empty() || lists.iter().any(|len| *len > MOST_ENTRIES),
            "a list in it is too long, or empty",
        ),
        (!are_numbers, "a number in it cannot be true"),
        (!goals.iter().all(is_goal), "a goal in it cannot be true"),
        (!trials.iter().all(is_trial), "a trial in it cannot be true"),
        (!after.iter().all(is_after), "a trial after the search cannot be true"),
    ];
    faults.into_iter().find(|(is_broken, _)| *is_broken).map(|(_, fault)| fault)
}

/// Every text of a report that is not checked otherwise.
fn texts(report: &CapacityReport) -> impl Iterator<Item = &String> {
    let CapacityReport { goals, trials, after, requirements, remarks, limit, environment, .. } = report;
    let SearchPlace { version, started_at, command, codec, host, cpu, kernel, asterisk, service, .. } =
        environment;
    let Schedulings { driver, service: of_service, asterisk: of_asterisk } = &environment.scheduling;
    let of_place =
        [version, started_at, codec, host, cpu, kernel, asterisk, service, &environment.scenario_hash];
    let goals = goals.iter().flat_map(|goal| {
        let broke = goal.broke.iter().flat_map(|broke| [&broke.gate, &broke.actual]);
        goal.gates.iter().chain([&goal.sentence]).chain(broke)
    });
    let trials = trials.iter().flat_map(|trial| &trial.outcomes).flat_map(|outcome| {
        let OutcomeReport { goal, gate, actual, reason, .. } = outcome;
        [gate, actual, reason].into_iter().flatten().chain([goal])
    });
    let after = after.iter().flat_map(|after| {
        let figures = after.figures.iter().flat_map(|figure| [&figure.name, &figure.unit, &figure.shown]);
        after.lines.iter().chain([&after.title]).chain(figures)
    });
    let requirements = requirements.iter().flat_map(|required| [&required.expression, &required.goal]);
    let rest = [&report.name, &limit.reason, driver, of_service, of_asterisk];
    goals
        .chain(trials)
        .chain(after)
        .chain(requirements)
        .chain(remarks)
        .chain(command)
        .chain(of_place)
        .chain(rest)
}

fn are<const N: usize>(numbers: [Option<f64>; N]) -> bool {
    numbers.into_iter().flatten().all(|number| (0.0..=LARGEST).contains(&number))
}

fn is_goal(goal: &GoalReport) -> bool {
    let cores = goal.broke.as_ref().and_then(|broke| broke.asterisk_cores);
    are([goal.lower, goal.upper, goal.per_core, cores])
        && ENDINGS.contains(&goal.ending.as_str())
        && is_goal_name(&goal.goal)
        && goal.gates.len() <= MOST_ENTRIES
}

fn is_trial(trial: &TrialReport) -> bool {
    let numbers = [trial.load, trial.planned_s, trial.effective_s, trial.took_s].map(Some);
    let bounds = trial.outcomes.iter().all(|outcome| are([outcome.lower, outcome.upper]));
    let figures = FIGURES.iter().all(|figure| are([(figure.of)(&trial.figures).number()]));
    are(numbers) && bounds && figures && trial.outcomes.len() <= MOST_ENTRIES && is_folder(&trial.folder)
}

fn is_after(after: &AfterSearch) -> bool {
    let lists = [after.figures.len(), after.lines.len()];
    let figures = after.figures.iter().all(|figure| are([figure.value.number().map(f64::abs)]));
    are([Some(after.load), Some(after.effective_s)])
        && figures
        && lists.iter().all(|len| *len <= MOST_ENTRIES)
        && is_folder(&after.folder)
}
