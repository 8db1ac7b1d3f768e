//! `trials.jsonl`: the trials of a search, one record a line, in their order.
//!
//! Whoever reads it has not written it: text, numbers and names are bounded, and a name is no path.

use super::trial::{FORMAT, Figures, Outcome, Trial};
use crate::values::{Value, cut};

/// Longest file that is read.
pub const MOST_BYTES: u64 = 64 << 20;
/// Most trials of a search, of which each takes seconds at the least.
pub(crate) const MOST_TRIALS: usize = 10_000;
/// Longest line of a trial.
const LONGEST_LINE: usize = 64 << 10;
/// Longest text in a record, in bytes.
pub(super) const LONGEST_TEXT: usize = 1000;
/// Most goals of a search.
pub(crate) const MOST_GOALS: usize = 8;
/// Longest name of a goal.
pub(crate) const LONGEST_NAME: usize = 64;
/// Longest that a trial may have taken, in seconds: a week.
const LONGEST_S: f64 = 7.0 * 24.0 * 3600.0;
/// More calls, or leaks, than any trial has.
const MOST_COUNTED: u64 = 1 << 53;

/// The reason for which trials cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "trials.jsonl, line {line}: {reason}; take the search's folder as it was written, or search anew without --resume"
)]
pub struct StoredError {
    /// From 1.
    pub line: u64,
    /// The fault.
    pub reason: String,
}

/// Reads the trials of a search. A last line that was cut off, as by a full disk, is left out.
///
/// # Errors
/// A line that is no record, a record that cannot be true, trials of two kinds or out of their order.
pub fn read(text: &str) -> Result<Vec<Trial>, StoredError> {
    let mut trials: Vec<Trial> = Vec::new();
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let Some(line) = line.strip_suffix('\n') else { break };
        let fault = |reason| StoredError { line: number, reason };
        let trial = trial(line).map_err(fault)?;
        let expected = trials.last().map_or(1, |last| last.number + 1);
        if trial.number != expected {
            return Err(fault(format!("it is trial {}, and trial {expected} is missing", trial.number)));
        }
        if trials.first().is_some_and(|first| first.load.kind() != trial.load.kind()) {
            return Err(fault("calls and attempts a second are two searches".into()));
        }
        if trials.len() == MOST_TRIALS {
            return Err(fault(format!("more than {MOST_TRIALS} trials are no search")));
        }
        trials.push(trial);
    }
    Ok(trials)
}

/// The line of a trial, with its line break.
pub fn write(trial: &Trial) -> String {
    // Invariant: a record is numbers and texts, and every number is finite or absent.
    let mut line = serde_json::to_string(trial).expect("it can be written");
    line.push('\n');
    line
}

fn trial(line: &str) -> Result<Trial, String> {
    if line.len() > LONGEST_LINE {
        return Err(format!("it has {} bytes, {LONGEST_LINE} are allowed", line.len()));
    }
    let trial: Trial = serde_json::from_str(line).map_err(|error| cut(&error.to_string(), LONGEST_TEXT))?;
    check(&trial).map_or(Ok(trial), |fault| Err(fault.into()))
}

/// A fault of a record.
fn check(trial: &Trial) -> Option<&'static str> {
    let Trial { format, planned_s, effective_s, took_s, outcomes, folder, figures, .. } = trial;
    let is_time = |s: f64| (0.0..=LONGEST_S).contains(&s);
    let faults = [
        (*format != FORMAT, "it was written by another version of loadtest"),
        (![*planned_s, *effective_s, *took_s].into_iter().all(is_time), "a time in it cannot be true"),
        (outcomes.is_empty() || outcomes.len() > MOST_GOALS, "it has no goals, or too many"),
        (!outcomes.keys().all(|name| is_goal_name(name)), "a goal's name is none"),
        (!outcomes.values().all(is_readable), "a text in it is too long, or commands a terminal"),
        (!is_folder(folder), "its folder's name is none"),
        (!are_figures(figures) || trial.leaks > Some(MOST_COUNTED), "a figure in it cannot be true"),
    ];
    faults.into_iter().find(|(is_broken, _)| *is_broken).map(|(_, fault)| fault)
}

/// True for 1 to 64 letters, digits, `-` and `_`: a goal's name stands before a colon in `--require`.
pub(crate) fn is_goal_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(fits)
}

fn is_readable(outcome: &Outcome) -> bool {
    let is_text = |text: &String| text.len() <= LONGEST_TEXT && !text.contains(char::is_control);
    match outcome {
        Outcome::Good => true,
        Outcome::Bad { gate, actual } => is_text(gate) && is_text(actual),
        Outcome::Void { reason } => is_text(reason),
    }
}

/// True for the name of a folder within the search's own: a page links to it.
pub(crate) fn is_folder(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=255).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.')
}

fn are_figures(figures: &Figures) -> bool {
    let Figures { offered, carried, suppressed, calls_lost, .. } = *figures;
    let values = [
        figures.rtt_p50_ms,
        figures.rtt_p95_ms,
        figures.rtt_p99_ms,
        figures.turn_response_p50_ms,
        figures.turn_response_p95_ms,
        figures.turn_response_mean_ms,
        figures.loss_ratio,
        figures.srd_p50_ms,
        figures.srd_p95_ms,
        figures.srd_p99_ms,
        figures.send_lateness_p99_ms,
        figures.asterisk_cores,
        figures.service_cores,
        figures.driver_cores,
    ];
    let is_value = |value: Value| value.number().is_none_or(|n| (0.0..=1e12).contains(&n));
    values.into_iter().all(is_value)
        && [offered, carried, suppressed, calls_lost].into_iter().all(|count| count <= MOST_COUNTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"format":1,"number":1,"load":{"calls":20},"planned_s":15.0,"effective_s":15.0,"took_s":24.5,"length":"short","ended":"planned","outcomes":{"good":{"outcome":"good"},"tight":{"outcome":"bad","gate":"rtt.p99 < 20ms","actual":"lost"}},"full_of_own_load":false,"leaks":0,"figures":{"rtt_p50_ms":1.5,"rtt_p95_ms":2.0,"rtt_p99_ms":"lost","turn_response_p50_ms":null,"turn_response_p95_ms":null,"turn_response_mean_ms":null,"loss_ratio":0.0,"srd_p50_ms":null,"srd_p95_ms":null,"srd_p99_ms":null,"send_lateness_p99_ms":0.1,"asterisk_cores":0.5,"service_cores":0.1,"driver_cores":0.2,"machine_cores":2,"offered":20,"carried":20,"suppressed":0,"calls_lost":0},"folder":"trial-001"}"#;

    fn with(change: &[(&str, &str)]) -> String {
        let changed = change.iter().fold(LINE.to_string(), |line, (from, to)| {
            assert!(line.contains(from), "{from}");
            line.replacen(from, to, 1)
        });
        changed + "\n"
    }

    #[test]
    fn a_record_is_one_line_that_reads_back() {
        let trials = read(&with(&[])).unwrap();
        assert_eq!(write(&trials[0]), with(&[]));
        let of_turns = ["p50", "p95", "mean"].map(|of| format!("\"turn_response_{of}_ms\":null,"));
        let older = of_turns.each_ref().map(|figure| (figure.as_str(), ""));
        assert_eq!(read(&with(&older)).unwrap(), trials, "it knew no conversations");
        assert_eq!(read("").unwrap(), []);
        let second = [("\"number\":1", "\"number\":2")];
        assert_eq!(read(&(with(&[]) + &with(&second))).unwrap().len(), 2);
        assert_eq!(read(&(with(&[]) + "{\"format\":1,\"num")).unwrap().len(), 1, "cut off");
    }

    #[test]
    fn what_cannot_be_a_record_is_refused_with_its_line() {
        for (change, said) in [
            (("\"format\":1", "\"format\":2"), "another version"),
            (("\"number\":1", "\"number\":3"), "trial 1 is missing"),
            (("\"calls\":20", "\"calls\":0"), "0 is no load"),
            (("15.0", "-1.0"), "a time in it"),
            (("24.5", "1e9"), "a time in it"),
            (("24.5", "1e999"), "out of range"),
            (("\"good\":{", "\"go od\":{"), "name is none"),
            (("\"good\":{", "\"good:\":{"), "name is none"),
            (("rtt.p99 <", "\\u001b[2J <"), "commands a terminal"),
            (("trial-001", "../../etc"), "its folder"),
            (("trial-001", ".."), "its folder"),
            (("trial-001", ""), "its folder"),
            (("\"carried\":20", "\"carried\":18446744073709551615"), "a figure in it"),
            (("\"asterisk_cores\":0.5", "\"asterisk_cores\":-0.5"), "a figure in it"),
            (("\"ended\":\"planned\"", "\"ended\":\"well\""), "unknown variant"),
            (("\"leaks\":0", "\"leaks\":0,\"more\":1"), "unknown field"),
            (("ms\":\"lost\"", "ms\":\"found\""), "a value is a number"),
        ] {
            let error = read(&with(&[change])).unwrap_err();
            assert!(error.reason.contains(said) && error.line == 1, "{change:?}: {error}");
        }
        let rate = [("\"number\":1", "\"number\":2"), ("\"calls\":20", "\"rate\":2.5")];
        let error = read(&(with(&[]) + &with(&rate))).unwrap_err();
        assert_eq!((error.line, error.reason.as_str()), (2, "calls and attempts a second are two searches"));
        let long = with(&[("lost", &"x".repeat(70_000))]);
        assert!(read(&long).unwrap_err().to_string().len() < 300);
        let noise = "[".repeat(100_000) + "\n";
        assert!(read(&noise).is_err() && read("\n").is_err() && read("\u{1b}\n").is_err());
    }
}
