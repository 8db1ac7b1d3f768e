//! Answer, trials and circumstances of a search → its report.

use super::{
    AfterSearch, BrokeFirst, CapacityReport, GoalReport, LoadLimit, NamedFigure, OutcomeReport, OutcomeWord,
    Required, RequiredOutcome, Schedulings, SearchPlace, SearchSettings, TrialReport,
};
use crate::metrics::{Metric, Summary};
use crate::record::Environment;
use crate::report::json;
use crate::search::{
    Answer, Conditions, Costs, Ending, Goal, GoalAnswer, Load, Outcome, Require, Search, Settings, Traffic,
    Trial,
};
use crate::values::{Ns, Span, Value};
use std::time::Duration;

/// Version of the document.
pub(super) const FORMAT: u32 = 1;

/// Parts that a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The answer of the search.
    pub answer: &'a Answer,
    /// Its trials, in their order.
    pub trials: &'a [Trial],
    /// Its settings.
    pub settings: &'a Settings,
    /// Its goals.
    pub goals: &'a [Goal],
    /// Conditions of `--require`.
    pub requirements: &'a [Require],
    /// The largest load, and what the driver manages.
    pub limit: &'a LoadLimit,
    /// Machine and programs: those of the last trial's run.
    pub environment: &'a Environment,
    /// Start of the search, UTC, RFC 3339.
    pub started_at: &'a str,
    /// Time of the whole search.
    pub elapsed: Duration,
}

impl CapacityReport {
    /// The report of a search. What came after it is added by its caller.
    pub fn of(sources: &Sources<'_>) -> CapacityReport {
        let Sources { answer, environment, .. } = *sources;
        let requirements: Vec<_> =
            sources.requirements.iter().map(|require| Required::of(require, answer)).collect();
        CapacityReport {
            format: FORMAT,
            name: environment.name.clone(),
            kind: answer.kind,
            outcome: overall(&requirements),
            goals: answer.goals.iter().map(|goal| goal_report(goal, sources.goals)).collect(),
            none_lost: answer.none_lost.map(Load::number),
            geometric_mean: answer.geometric_mean.map(|mean| (mean * 100.0).round() / 100.0),
            requirements,
            trials: trials(sources),
            limit: sources.limit.clone(),
            after: Vec::new(),
            settings: SearchSettings::of(sources.settings),
            remarks: answer.remarks.clone(),
            environment: SearchPlace {
                started_at: sources.started_at.into(),
                elapsed_s: sources.elapsed.as_secs_f64(),
                ..SearchPlace::of(environment)
            },
        }
    }
}

impl CapacityReport {
    /// True if every capacity is known as far as it was asked for.
    pub fn is_answered(&self) -> bool {
        let [regular, wavering, floor, _, _, _, _, minimum_fails, ..] = ENDINGS;
        self.goals
            .iter()
            .all(|goal| [regular, wavering, floor, minimum_fails].contains(&goal.ending.as_str()))
    }

    /// True if a breakage ended the search before its answer.
    pub fn has_broken(&self) -> bool {
        let [.., broke, _] = ENDINGS;
        self.goals.iter().any(|goal| goal.ending == broke)
    }

    /// True if the user ended the search before its answer.
    pub fn was_interrupted(&self) -> bool {
        let [.., interrupted] = ENDINGS;
        self.goals.iter().any(|goal| goal.ending == interrupted)
    }
}

/// Fail outweighs inconclusive, as among gates.
fn overall(requirements: &[Required]) -> Option<RequiredOutcome> {
    let any = |outcome| requirements.iter().any(|required| required.outcome == outcome);
    let worst =
        [RequiredOutcome::Fail, RequiredOutcome::Inconclusive].into_iter().find(|outcome| any(*outcome));
    (!requirements.is_empty()).then(|| worst.unwrap_or(RequiredOutcome::Pass))
}

fn goal_report(answer: &GoalAnswer, goals: &[Goal]) -> GoalReport {
    let gates = goals.iter().find(|goal| goal.name == answer.goal);
    GoalReport {
        goal: answer.goal.clone(),
        gates: gates.into_iter().flat_map(|goal| &goal.gates).map(|gate| gate.text.clone()).collect(),
        lower: answer.lower.map(Load::number),
        upper: answer.upper.map(Load::number),
        regular: answer.is_regular(),
        ending: ending(&answer.ending).into(),
        broke: answer.broke.as_ref().map(|broke| BrokeFirst {
            gate: broke.gate.clone(),
            actual: broke.actual.clone(),
            asterisk_cores: broke.asterisk_cores,
            machine_cores: broke.machine_cores,
            full_of_own_load: broke.full_of_own_load,
        }),
        per_core: answer.per_core,
        sentence: answer.sentence.clone(),
    }
}

/// Words for endings, in the document.
pub(super) const ENDINGS: [&str; 10] = [
    "regular",
    "wavering",
    "floor",
    "driver_limit",
    "out_of_time",
    "void_too_often",
    "undecided",
    "minimum_fails",
    "broke",
    "interrupted",
];

fn ending(ending: &Ending) -> &'static str {
    let [
        regular,
        wavering,
        floor,
        driver_limit,
        out_of_time,
        void,
        undecided,
        minimum_fails,
        broke,
        interrupted,
    ] = ENDINGS;
    match ending {
        Ending::Regular => regular,
        Ending::Wavering { .. } => wavering,
        Ending::Floor { .. } => floor,
        Ending::DriverLimit => driver_limit,
        Ending::OutOfTime => out_of_time,
        Ending::VoidTooOften { .. } => void,
        Ending::Undecided { .. } => undecided,
        Ending::MinimumFails => minimum_fails,
        Ending::Broke { .. } => broke,
        Ending::Interrupted => interrupted,
    }
}

/// The trials, each with every goal's bounds after it: the search is replayed.
fn trials(sources: &Sources<'_>) -> Vec<TrialReport> {
    // Bounds follow from the trials alone, whatever their traffic, costs and driver.
    let traffic = Traffic { ptime: Duration::from_millis(20), call_duration: None, warmup: Duration::ZERO };
    let conditions = Conditions { traffic, costs: Costs::default(), driver_most: None, cap: None };
    let mut replayed = Search::new(sources.settings, sources.goals.to_vec(), conditions);
    let report = |trial: &Trial| {
        replayed.add(trial);
        let outcomes = trial.outcomes.iter().map(|(goal, outcome)| {
            let (lower, upper) = replayed.bounds(goal);
            outcome_report(goal, outcome, [lower, upper].map(|load| load.map(Load::number)))
        });
        TrialReport {
            trial: trial.number,
            load: trial.load.number(),
            length: trial.length,
            planned_s: trial.planned_s,
            effective_s: trial.effective_s,
            took_s: trial.took_s,
            ended: trial.ended,
            outcomes: outcomes.collect(),
            full_of_own_load: trial.full_of_own_load,
            leaks: trial.leaks,
            figures: trial.figures.clone(),
            folder: trial.folder.clone(),
        }
    };
    sources.trials.iter().map(report).collect()
}

fn outcome_report(goal: &str, outcome: &Outcome, [lower, upper]: [Option<f64>; 2]) -> OutcomeReport {
    let (word, gate, actual, reason) = match outcome {
        Outcome::Good => (OutcomeWord::Good, None, None, None),
        Outcome::Bad { gate, actual } => (OutcomeWord::Bad, Some(gate), Some(actual), None),
        Outcome::Void { reason } => (OutcomeWord::Void, None, None, Some(reason)),
    };
    let [gate, actual, reason] = [gate, actual, reason].map(|text| text.cloned());
    OutcomeReport { goal: goal.into(), outcome: word, gate, actual, reason, lower, upper }
}

impl Required {
    fn of(require: &Require, answer: &Answer) -> Required {
        let outcome = require.judge(answer).into();
        Required { expression: require.text.clone(), goal: require.goal.clone(), outcome }
    }
}

impl SearchSettings {
    /// The settings in force: strict ones have no exceed ratio and no sum of their own.
    fn of(settings: &Settings) -> SearchSettings {
        let seconds = |span: Span| Ns::from(span.0).as_ms() / 1000.0;
        let final_trial_s = seconds(settings.final_trial);
        let sum = if settings.strict { settings.final_trial } else { settings.duration_sum };
        SearchSettings {
            min: settings.smallest().map_or(0.0, Load::number),
            width_ratio: settings.width.0,
            initial_trial_s: seconds(settings.initial_trial),
            final_trial_s,
            duration_sum_s: seconds(sum),
            exceed_ratio: if settings.strict { 0.0 } else { settings.exceed.0 },
            strict: settings.strict,
            revisit_s: if settings.strict { 0.0 } else { seconds(settings.revisit) },
            time_limit_s: settings.time_limit.map(seconds),
        }
    }
}

impl SearchPlace {
    /// Machine and programs of a run.
    pub fn of(environment: &Environment) -> SearchPlace {
        let e = environment.clone();
        SearchPlace {
            machine_cpus: environment.all_cpus(),
            version: e.version,
            started_at: e.started_at,
            elapsed_s: e.elapsed_s,
            command: e.command,
            codec: environment.media(),
            ptime_ms: e.ptime_ms,
            host: e.host,
            cpu: e.cpu,
            cpus: e.cpus,
            memory_mib: e.memory_mib,
            kernel: e.kernel,
            asterisk: e.asterisk,
            service: e.service,
            scheduling: Schedulings { driver: e.scheduling, ..Schedulings::default() },
            scenario_hash: e.scenario_hash,
        }
    }
}

impl AfterSearch {
    /// A run after the search by its record, with these of its figures.
    pub fn of(title: &str, trial: &Trial, summary: &Summary, figures: &[&str]) -> AfterSearch {
        let outcome = trial.outcomes.values().next();
        let (outcome, line) = match outcome {
            Some(Outcome::Good) => (OutcomeWord::Good, None),
            Some(Outcome::Bad { gate, actual }) => (OutcomeWord::Bad, Some(format!("{gate}: {actual}"))),
            Some(Outcome::Void { reason }) => (OutcomeWord::Void, Some(reason.clone())),
            None => (OutcomeWord::Void, None),
        };
        let measured = figures.iter().filter_map(|name| summary.metric(name));
        let measured = measured.filter(|metric| metric.value != Value::NoData);
        AfterSearch {
            title: title.into(),
            load: trial.load.number(),
            effective_s: trial.effective_s,
            outcome,
            figures: measured.map(NamedFigure::of).collect(),
            lines: line.into_iter().collect(),
            folder: trial.folder.clone(),
        }
    }
}

impl NamedFigure {
    /// A metric of a run after the search.
    pub fn of(metric: &Metric) -> NamedFigure {
        NamedFigure {
            name: metric.name().into(),
            value: metric.value,
            unit: json::unit(metric.definition.unit).into(),
            shown: metric.to_string(),
        }
    }
}
