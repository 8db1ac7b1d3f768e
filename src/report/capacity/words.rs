//! Words and numbers for people that the reports of a search share.

use super::{CapacityReport, GoalReport, OutcomeReport, OutcomeWord, TrialReport};
use crate::report::words::{one_line, span};
use crate::search::{Ended, Kind, Load};
use crate::values::{Unit, Value, counted, show};

/// A load's number, its thousands set apart: `196`, `1,400`, `12.5`.
pub(in crate::report) fn number(kind: Kind, load: f64) -> String {
    match kind {
        Kind::Calls => show(Value::Number(load), Unit::Count),
        Kind::Rate => load.to_string(),
    }
}

/// A load: `196 calls`, `12.5/s`.
pub(in crate::report) fn load(kind: Kind, load: f64) -> String {
    let off_the_grid = || match kind {
        Kind::Calls => format!("{load:.1} calls"),
        Kind::Rate => format!("{load:.1}/s"),
    };
    Load::of(kind, load).map_or_else(off_the_grid, |load| load.to_string())
}

/// The word for loads, as the head of a column.
pub(in crate::report) fn loads(kind: Kind) -> &'static str {
    match kind {
        Kind::Calls => "calls",
        Kind::Rate => "attempts/s",
    }
}

/// A load that may not be known.
pub(super) fn bound(kind: Kind, load: Option<f64>) -> String {
    load.map_or("–".into(), |load| number(kind, load))
}

/// Calls for each core: `109`, `8.8`.
pub(super) fn per_core(goal: &GoalReport) -> String {
    goal.per_core.map_or("–".into(), |each| match each >= 100.0 {
        true => format!("{each:.0}"),
        false => format!("{each:.1}"),
    })
}

/// The search in a line: trials, time, media, start.
pub(in crate::report) fn circumstances(report: &CapacityReport) -> String {
    let place = &report.environment;
    let trials = counted(report.trials.len() as u64, "trial");
    let started = place.started_at.trim_end_matches('Z').replacen('T', " ", 1);
    one_line(&format!(
        "{trials} in {}, {} {} ms, {started} UTC",
        span(place.elapsed_s),
        place.codec,
        place.ptime_ms
    ))
}

/// Seconds that count: `60`, or `11.3 of 60` of a trial that was cut short.
pub(in crate::report) fn seconds(trial: &TrialReport) -> String {
    let short = |s: f64| if s.fract() == 0.0 { format!("{s:.0}") } else { format!("{s:.1}") };
    match trial.effective_s < trial.planned_s - 0.05 {
        true => format!("{} of {}", short(trial.effective_s), short(trial.planned_s)),
        false => short(trial.effective_s),
    }
}

/// The gate of a bad trial with its value, the reason of a void one; nothing of a good one.
fn why(outcome: &OutcomeReport) -> String {
    let text = |text: &Option<String>| text.as_deref().map_or(String::new(), one_line);
    match outcome.outcome {
        OutcomeWord::Good => String::new(),
        OutcomeWord::Bad => format!("{}: {}", text(&outcome.gate), text(&outcome.actual)),
        OutcomeWord::Void => text(&outcome.reason),
    }
}

/// Outcomes of a trial in words, with what decided the outcome: goals that say the same are named together, a single
/// one is not named.
pub(super) fn outcomes(report: &CapacityReport, trial: &TrialReport) -> Vec<(OutcomeWord, String)> {
    let mut alike: Vec<(OutcomeWord, String, Vec<String>)> = Vec::new();
    for outcome in &trial.outcomes {
        let (word, why, goal) = (outcome.outcome, why(outcome), one_line(&outcome.goal));
        match alike.iter_mut().find(|(other, its, _)| *other == word && *its == why) {
            Some((.., goals)) => goals.push(goal),
            None => alike.push((word, why, vec![goal])),
        }
    }
    let several = report.goals.len() > 1;
    let said = |(word, why, goals): (OutcomeWord, String, Vec<String>)| {
        let lead = if several { goals.join(", ") } else { word.to_string() };
        (word, if why.is_empty() { lead } else { format!("{lead}: {why}") })
    };
    alike.into_iter().map(said).collect()
}

/// Remarks on a trial beside its outcome.
pub(super) fn beside(trial: &TrialReport) -> Vec<String> {
    let is_good = trial.outcomes.iter().all(|outcome| outcome.outcome == OutcomeWord::Good);
    let full = (trial.full_of_own_load && !is_good).then(|| "nobody but the run used the machine".into());
    let ended = match trial.ended {
        Ended::Planned | Ended::ByGate => None,
        Ended::Broke => Some("the run broke".into()),
        Ended::Interrupted => Some("interrupted".into()),
    };
    let left = trial.leaks.filter(|left| *left > 0);
    let leaks = left.map(|left| format!("{left} left behind"));
    [full, ended, leaks].into_iter().flatten().collect()
}

/// Asterisk's share of the machine: `1.71 of 2 cores`.
pub(super) fn cores(asterisk: Option<f64>, machine: u32) -> String {
    match asterisk {
        Some(cores) if machine > 0 => format!("{cores:.2} of {}", counted(machine.into(), "core")),
        Some(cores) => format!("{cores:.2} cores"),
        None => "–".into(),
    }
}

/// Lines on what limits the load, beside the service.
pub(super) fn limit(report: &CapacityReport) -> String {
    let limit = &report.limit;
    let most = format!("Largest load: {} ({})", load(report.kind, limit.load), one_line(&limit.reason));
    match limit.driver_load {
        None => format!("{most}. The driver's own limit was not measured"),
        Some(driver) => {
            let driver = load(report.kind, driver);
            let more = if limit.driver_reached_it { ", and may manage more" } else { "" };
            format!("{most}. Against its own echo the driver managed {driver}{more}")
        }
    }
}
