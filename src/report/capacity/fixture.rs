//! Made-up searches, played by the search itself against services that are formulas.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{AfterSearch, CapacityReport, LoadLimit, NamedFigure, OutcomeWord, Sources};
use crate::gate::Gate;
use crate::record::fixture::SCRIPT;
use crate::report::fixture;
use crate::search::{
    Conditions, Costs, Cut, Ended, FORMAT, Figures, Goal, Kind, Load, Outcome, Require, Search, Settings,
    Step, Traffic, Trial,
};
use crate::values::Value;

/// A service under load: figures by the load, and the disturbance of a trial by its number.
struct Service {
    /// The load at which its queue begins to grow.
    knee: f64,
    /// Trials that another program disturbs.
    disturbed: &'static [u64],
    /// It fills the machine above its knee.
    is_full: bool,
    /// Resources that it keeps of each trial.
    leaks: u64,
}

const SHARP: Service = Service { knee: 191.0, disturbed: &[], is_full: false, leaks: 0 };

const MACHINE: u32 = 2;

impl Service {
    fn figures(&self, number: u64, load: Load) -> Figures {
        // Trials differ by a few per cent, always the same ones.
        let noise = 1.0 + 0.04 * ((number * 7 % 5) as f64 - 2.0) / 2.0;
        let (calls, over) = (load.number(), (load.number() / self.knee - 1.0).max(0.0));
        let wait = (calls / self.knee).min(0.995);
        let queue = 0.05 / (1.0 - wait) + 240.0 * over;
        let ms = |ms: f64| Value::Number((ms * noise * 1000.0).round() / 1000.0);
        let p99 = if over > 0.5 { Value::Lost } else { ms(0.41 + 3.1 * queue) };
        // Above the knee the machine has no more to give.
        let share = 0.96 * (calls / self.knee).min(1.0 + over * 0.05).min(1.04) * f64::from(MACHINE);
        let cores = |of: f64| Value::Number((share * of * noise * 1000.0).round() / 1000.0);
        let lost = (over * 0.05 * noise * 1e6).round() / 1e6;
        Figures {
            rtt_p50_ms: ms(0.19 + 0.4 * queue),
            rtt_p95_ms: ms(0.29 + 1.5 * queue),
            rtt_p99_ms: p99,
            turn_response_p50_ms: Value::NoData,
            turn_response_p95_ms: Value::NoData,
            turn_response_mean_ms: Value::NoData,
            loss_ratio: Value::Number(lost),
            srd_p50_ms: ms(2.2 + 1.2 * queue),
            srd_p95_ms: ms(2.9 + 3.0 * queue),
            srd_p99_ms: ms(3.3 + 4.0 * queue),
            send_lateness_p99_ms: ms(0.2),
            asterisk_cores: cores(0.74),
            service_cores: cores(0.15),
            driver_cores: cores(0.11),
            machine_cores: MACHINE,
            offered: calls as u64,
            carried: (calls * (1.0 - over * 0.1)) as u64,
            suppressed: 0,
            calls_lost: (calls * over * 0.1) as u64,
        }
    }

    fn outcome(&self, number: u64, figures: &Figures, goal: &Goal) -> Outcome {
        if self.disturbed.contains(&number) {
            let reason = "`rtt.p99 < 20ms` is open (12.310 ms); this machine was disturbed: in the seconds that were \
                          not quiet, other programs used 61 % of it and its host took 2 %; driver 9 %, service 12 %, \
                          Asterisk 31 %";
            return Outcome::Void { reason: reason.into() };
        }
        let broken = goal.gates.iter().find_map(|gate| {
            let value = match gate.subject.name() {
                "rtt.p99" => figures.rtt_p99_ms,
                _ => figures.loss_ratio,
            };
            let holds = value.number().is_some_and(|value| gate.op.holds(value, gate.bound));
            (!holds).then(|| (gate, crate::values::show(value, gate.subject.unit())))
        });
        broken.map_or(Outcome::Good, |(gate, actual)| Outcome::Bad { gate: gate.text.clone(), actual })
    }

    fn trial(&self, number: u64, step: (Load, f64, crate::search::Length), goals: &[Goal]) -> Trial {
        let (load, planned_s, length) = step;
        let figures = self.figures(number, load);
        let outcomes: BTreeMap<_, _> =
            goals.iter().map(|goal| (goal.name.clone(), self.outcome(number, &figures, goal))).collect();
        let is_bad = outcomes.values().all(|outcome| matches!(outcome, Outcome::Bad { .. }));
        let is_far_off = is_bad && figures.rtt_p99_ms == Value::Lost;
        let effective_s = if is_far_off { planned_s.min(11.3) } else { planned_s };
        Trial {
            format: FORMAT,
            number,
            load,
            planned_s,
            effective_s,
            took_s: effective_s + 9.0 + load.number() / 10.0,
            length: if is_far_off { crate::search::Length::Short } else { length },
            ended: if is_far_off { Ended::ByGate } else { Ended::Planned },
            outcomes,
            full_of_own_load: self.is_full && load.number() > self.knee,
            leaks: Some(self.leaks),
            figures,
            folder: format!("trial-{number:02}"),
        }
    }
}

fn goal(name: &str, gates: &[&str]) -> Goal {
    Goal { name: name.into(), gates: gates.iter().map(|gate| Gate::parse(gate).unwrap()).collect() }
}

fn usual() -> Vec<Goal> {
    vec![goal("gates", &["rtt.p99 < 20ms", "loss.ratio < 0.2%"])]
}

/// Plays a search to its end, or as long as it may last.
fn played(service: &Service, settings: Settings, goals: &[Goal], require: &[&str]) -> CapacityReport {
    let traffic = Traffic { ptime: Duration::from_millis(20), call_duration: None, warmup: Duration::ZERO };
    let costs = Costs { fixed: Duration::from_secs(9), ramp_of_one: Duration::from_millis(100) };
    let conditions = Conditions { traffic, costs, driver_most: None, cap: None };
    let mut search = Search::new(&settings, goals.to_vec(), conditions);
    let (mut trials, mut spent) = (Vec::new(), 0.0);
    let answer = loop {
        match search.next(Duration::from_secs_f64(spent)) {
            Step::Done(answer) => break *answer,
            Step::Trial { load, hold, length, .. } if trials.len() < 60 => {
                let planned = (load, hold.0.as_secs_f64(), length);
                let trial = service.trial(trials.len() as u64 + 1, planned, goals);
                spent += trial.took_s;
                search.add(&trial);
                trials.push(trial);
            }
            Step::Trial { .. } => break search.answer(Cut::OutOfTime),
        }
    };
    let names: Vec<_> = goals.iter().map(|goal| goal.name.as_str()).collect();
    let require: Vec<_> =
        require.iter().map(|text| Require::parse(text, settings.kind, &names).unwrap()).collect();
    let (run, _) = fixture::typical();
    let mut environment = run.environment;
    environment.command = ["loadtest", "search", "50x5m.toml"].map(String::from).into();
    (environment.cpus, environment.machine_cpus) = (MACHINE, MACHINE);
    environment.scheduling = "real-time priority (SCHED_FIFO 10), any CPU".into();
    let most = settings.largest().map_or(900.0, Load::number);
    let limit = LoadLimit {
        load: most,
        reason: "search.max".into(),
        driver_load: Some(most),
        driver_reached_it: true,
    };
    CapacityReport::of(&Sources {
        answer: &answer,
        trials: &trials,
        settings: &settings,
        goals,
        requirements: &require,
        limit: &limit,
        environment: &environment,
        started_at: "2026-11-26T09:12:40Z",
        elapsed: Duration::from_secs_f64(spent),
    })
}

fn settings() -> Settings {
    Settings { max: Some(900.0), ..Settings::default() }
}

/// A regular answer: 10, 20, 40, 80, 160, 320, and the middle of what is left.
pub(in crate::report) fn typical() -> CapacityReport {
    played(&SHARP, settings(), &usual(), &[])
}

/// With a condition that holds, one that does not, and one that the bounds leave open.
pub(in crate::report) fn required() -> CapacityReport {
    let require = ["capacity.calls >= 150", "capacity.calls >= 300", "capacity.calls >= 185"];
    played(&SHARP, settings(), &usual(), &require)
}

/// No load failed up to the maximum.
pub(in crate::report) fn floor() -> CapacityReport {
    played(&SHARP, Settings { max: Some(120.0), ..settings() }, &usual(), &["capacity.calls >= 100"])
}

/// The time limit came before the bounds were close.
pub(in crate::report) fn out_of_time() -> CapacityReport {
    let limit = "9m".parse().ok();
    played(&SHARP, Settings { time_limit: limit, ..settings() }, &usual(), &[])
}

/// Trials that others disturbed, one load thrice.
pub(in crate::report) fn disturbed() -> CapacityReport {
    let service = Service { disturbed: &[4, 11, 12, 13, 14, 15, 16], ..SHARP };
    played(&service, settings(), &usual(), &[])
}

/// Two goals from the same trials, on a machine that the load fills; a service that leaks; a soak and an overload.
pub(in crate::report) fn two_goals() -> CapacityReport {
    let goals = [
        goal("good", &["rtt.p99 < 20ms", "loss.ratio < 0.2%"]),
        goal("tolerable", &["rtt.p99 < 150ms", "loss.ratio < 1%"]),
    ];
    let service = Service { is_full: true, leaks: 1, ..SHARP };
    let require = ["good: capacity.calls >= 150", "tolerable: capacity.calls >= 150"];
    let mut report = played(&service, settings(), &goals, &require);
    let (run, _) = fixture::typical();
    let figures = ["rtt.p99", "loss.ratio", "drift.max"];
    let figures: Vec<_> = figures.iter().filter_map(|name| run.metric(name)).map(NamedFigure::of).collect();
    let after = |title: &str, load, outcome, line: &str| AfterSearch {
        title: title.into(),
        load,
        effective_s: 600.0,
        outcome,
        figures: figures.clone(),
        lines: vec![line.into()],
        folder: title.into(),
    };
    report.after = vec![
        after("soak", 187.0, OutcomeWord::Good, "nothing drifted, nothing was left behind"),
        after("overload", 280.0, OutcomeWord::Bad, "31 of 280 calls were refused, 503 Service Unavailable"),
    ];
    report
}

/// Attempts a second.
pub(in crate::report) fn rate() -> CapacityReport {
    let settings = Settings { kind: Kind::Rate, max: Some(50.0), ..Settings::default() };
    played(&Service { knee: 12.3, ..SHARP }, settings, &usual(), &["capacity.rate >= 10"])
}

/// The smallest load fails.
pub(in crate::report) fn fails_at_once() -> CapacityReport {
    played(&Service { knee: 3.0, ..SHARP }, settings(), &usual(), &[])
}

/// Interrupted before its first trial.
pub(in crate::report) fn nothing() -> CapacityReport {
    let mut report = typical();
    report.trials.clear();
    report.none_lost = None;
    let goal = &mut report.goals[0];
    (goal.lower, goal.upper, goal.regular, goal.ending) = (None, None, false, "interrupted".into());
    (goal.broke, goal.per_core) = (None, None);
    goal.sentence = "the capacity is not known: interrupted before the bounds came close".into();
    report
}

/// A single trial of which nothing was measured.
pub(in crate::report) fn one_trial() -> CapacityReport {
    let mut report = typical();
    report.trials.truncate(1);
    report.trials[0].figures = Figures::default();
    report
}

/// Callers that talk: responses leave their level behind the knee.
pub(in crate::report) fn conversation() -> CapacityReport {
    let mut report = typical();
    report.goals[0].gates = vec!["turn.response.p95 < 1500ms".into()];
    for trial in &mut report.trials {
        let over = (trial.load / SHARP.knee - 1.0).max(0.0);
        let figures = &mut trial.figures;
        figures.turn_response_p50_ms = Value::Number(700.0 + trial.load / 10.0 + 900.0 * over);
        figures.turn_response_p95_ms = Value::Number(790.0 + trial.load / 5.0 + 4000.0 * over);
        figures.turn_response_mean_ms = Value::Number(710.0 + trial.load / 8.0 + 1200.0 * over);
        (figures.rtt_p50_ms, figures.rtt_p95_ms) = (Value::NoData, Value::NoData);
        (figures.rtt_p99_ms, figures.loss_ratio) = (Value::NoData, Value::NoData);
    }
    report
}

/// Texts that are not what they seem.
pub(in crate::report) fn hostile() -> CapacityReport {
    let mut report = two_goals();
    let words = |report: &mut CapacityReport, text: &str| {
        report.name = text.into();
        report.limit.reason = text.into();
        report.remarks.push(text.into());
        for goal in &mut report.goals {
            goal.gates.push(text.into());
            goal.sentence = format!("{text}: {text}");
        }
        for trial in &mut report.trials {
            for outcome in &mut trial.outcomes {
                outcome.reason = Some(text.into());
                outcome.gate = outcome.gate.as_ref().map(|_| text.into());
            }
        }
        for after in &mut report.after {
            after.title = text.into();
            after.lines.push(text.into());
            after.figures[0].name = text.into();
            after.figures[0].shown = text.into();
        }
        for required in &mut report.requirements {
            required.expression = text.into();
        }
        let place = &mut report.environment;
        (place.asterisk, place.cpu, place.host) = (text.into(), text.into(), text.into());
        place.command.push(text.into());
        place.scheduling.service = text.into();
    };
    words(&mut report, SCRIPT);
    report
}

/// All of them.
pub(in crate::report) fn all() -> Vec<CapacityReport> {
    vec![
        typical(),
        required(),
        floor(),
        out_of_time(),
        disturbed(),
        two_goals(),
        rate(),
        fails_at_once(),
        nothing(),
        one_trial(),
        conversation(),
        hostile(),
    ]
}
