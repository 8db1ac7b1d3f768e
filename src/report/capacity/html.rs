//! `report.html` of a search: one page that fetches nothing.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{CapacityReport, GoalReport, OutcomeWord, TrialReport, when_carried, words};
use crate::gate::Outcome;
use crate::report::html::SCRIPT;
use crate::report::html::charts::PageCharts;
use crate::report::{Failure, words as common};
use crate::search::{Figures, Kind};
use crate::values::{Unit, Value, counted, show};

/// Data of the page: words and figures, ready to stand between tags.
#[derive(Template)]
#[template(path = "capacity.html")]
struct CapacityPage<'a> {
    report: &'a CapacityReport,
    /// The banner's class: an outcome, or `answer` without requirements.
    class: String,
    circumstances: String,
    /// The word for loads.
    loads: &'static str,
    cards: Vec<Card>,
    goals: Vec<GoalRow<'a>>,
    /// Heads of the figures in the table of trials.
    heads: Vec<&'static str>,
    trials: Vec<TrialRow<'a>>,
    /// The latency that stands beside a goal's capacity.
    latency: &'static str,
    charts: PageCharts,
    /// Style rules with the charts' colours.
    colours: String,
    method: Vec<String>,
    circumstances_table: Vec<(&'static str, String)>,
    /// The charts' values as JSON.
    notes: String,
    /// The one script that the page allows.
    script_hash: String,
}

/// A figure at the top of the page.
struct Card {
    label: String,
    figure: String,
    /// More on it, in small letters.
    more: String,
}

/// A goal's capacity as text.
struct GoalRow<'a> {
    name: &'a str,
    cells: [String; 4],
    gates: &'a [String],
}

/// A trial as text.
struct TrialRow<'a> {
    trial: &'a TrialReport,
    load: String,
    seconds: String,
    outcomes: Vec<OutcomeCell>,
    beside: String,
    cells: Vec<String>,
    /// A gate was broken for every goal.
    is_bad: bool,
}

struct OutcomeCell {
    mark: &'static str,
    class: String,
    said: String,
}

impl GoalReport {
    /// Clauses of the sentence behind its bounds, each with true if it is code: what stands between backticks.
    fn clauses(&self) -> Vec<(bool, &str)> {
        let parts = self.parted().1.split('`').enumerate().map(|(n, part)| (n % 2 == 1, part));
        parts.filter(|(_, part)| !part.is_empty()).collect()
    }
}

/// A column of the table of trials.
struct Column {
    head: &'static str,
    unit: Unit,
    of: fn(&Figures) -> Value,
    /// True for a figure of media, which only runs of one kind have.
    is_of_some: bool,
}

const fn of_some(head: &'static str, unit: Unit, of: fn(&Figures) -> Value) -> Column {
    Column { head, unit, of, is_of_some: true }
}

const fn of_all(head: &'static str, unit: Unit, of: fn(&Figures) -> Value) -> Column {
    Column { head, unit, of, is_of_some: false }
}

/// Figures in the table of trials.
static COLUMNS: [Column; 9] = [
    of_some("RTT p50, ms", Unit::Ms, |f| f.rtt_p50_ms),
    of_some("RTT p99, ms", Unit::Ms, |f| f.rtt_p99_ms),
    of_some("response p50, ms", Unit::Ms, |f| f.turn_response_p50_ms),
    of_some("response p95, ms", Unit::Ms, |f| f.turn_response_p95_ms),
    of_some("lost", Unit::Ratio, |f| f.loss_ratio),
    of_all("SRD p95, ms", Unit::Ms, |f| f.srd_p95_ms),
    of_all("Asterisk", Unit::Cores, |f| f.asterisk_cores),
    of_all("service", Unit::Cores, |f| f.service_cores),
    of_all("driver", Unit::Cores, |f| f.driver_cores),
];

/// The columns of a search: none of media that it has no figure of.
fn columns(report: &CapacityReport) -> Vec<&'static Column> {
    let has =
        |column: &Column| report.trials.iter().any(|trial| (column.of)(&trial.figures) != Value::NoData);
    COLUMNS.iter().filter(|column| !column.is_of_some || has(column)).collect()
}

/// Rows of the table of trials, at most; `capacity.csv` has every one.
const MOST_ROWS: usize = 1000;

/// The page.
pub(super) fn page(report: &CapacityReport) -> Result<Vec<u8>, Failure> {
    let charts = PageCharts::of_search(report);
    let notes = charts.notes()?;
    let class = report.outcome.map_or("answer".into(), |outcome| outcome.to_string());
    let columns = columns(report);
    let page = CapacityPage {
        report,
        class,
        circumstances: words::circumstances(report),
        loads: words::loads(report.kind),
        cards: cards(report),
        goals: goals(report),
        trials: report.trials.iter().take(MOST_ROWS).map(|trial| row(report, trial, &columns)).collect(),
        heads: columns.iter().map(|column| column.head).collect(),
        latency: latency(report).0,
        charts,
        colours: crate::report::charts::css(),
        method: method(report),
        circumstances_table: circumstances_table(report),
        notes,
        script_hash: STANDARD.encode(Sha256::digest(SCRIPT)),
    };
    Ok(page.render()?.into_bytes())
}

/// Each goal's capacity; of the goal that carries least, calls per core and what broke first.
fn cards(report: &CapacityReport) -> Vec<Card> {
    let several = report.goals.len() > 1;
    let loads = words::loads(report.kind);
    let of_goal = |goal: &GoalReport| {
        let label = if several { format!("{}, {loads}", goal.goal) } else { capitalised(loads) };
        Card { label, figure: bounds(report.kind, goal), more: ending(goal) }
    };
    let mut cards: Vec<_> = report.goals.iter().map(of_goal).collect();
    let least = |a: &&GoalReport, b: &&GoalReport| {
        let load = |goal: &GoalReport| goal.upper.or(goal.lower).unwrap_or(f64::INFINITY);
        load(a).total_cmp(&load(b))
    };
    let Some(goal) = report.goals.iter().min_by(least) else { return cards };
    let at = |load: f64| {
        let of = if several { format!("{}: ", goal.goal) } else { String::new() };
        format!("{of}at {}", words::load(report.kind, load))
    };
    if let (Some(_), Some(lower)) = (goal.per_core, goal.lower) {
        let label = format!("{} for each core of Asterisk", capitalised(loads));
        cards.push(Card { label, figure: words::per_core(goal), more: at(lower) });
    }
    if let (Some(broke), Some(upper)) = (&goal.broke, goal.upper) {
        let label = format!("Broke first: {}", broke.gate);
        cards.push(Card { label, figure: broke.actual.clone(), more: at(upper) });
        let figure = words::cores(broke.asterisk_cores, broke.machine_cores);
        cards.push(Card { label: "CPU of Asterisk then".into(), figure, more: at(upper) });
    }
    cards
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The bounds in short: `187–196`, `≥ 400`, `< 10`.
fn bounds(kind: Kind, goal: &GoalReport) -> String {
    let number = |load| words::number(kind, load);
    match (goal.lower, goal.upper) {
        (Some(lower), Some(upper)) => format!("{} – {}", number(lower), number(upper)),
        (Some(lower), None) => format!("≥ {}", number(lower)),
        (None, Some(upper)) => format!("< {}", number(upper)),
        (None, None) => "not known".into(),
    }
}

fn ending(goal: &GoalReport) -> String {
    match goal.regular {
        true => "carried – not carried".into(),
        false => goal.ending.replace('_', " "),
    }
}

fn row<'a>(report: &CapacityReport, trial: &'a TrialReport, columns: &[&Column]) -> TrialRow<'a> {
    let outcomes = words::outcomes(report, trial).into_iter().map(|(word, said)| {
        let class = Outcome::from(word);
        OutcomeCell { mark: common::mark(class), class: class.to_string(), said }
    });
    TrialRow {
        trial,
        load: words::number(report.kind, trial.load),
        seconds: words::seconds(trial),
        outcomes: outcomes.collect(),
        beside: words::beside(trial).join("; "),
        cells: columns.iter().map(|column| bare((column.of)(&trial.figures), column.unit)).collect(),
        is_bad: trial.outcomes.iter().all(|outcome| outcome.outcome == OutcomeWord::Bad),
    }
}

/// A value without its unit, which is in the column's head; a ratio has it.
fn bare(value: Value, unit: Unit) -> String {
    match value {
        Value::NoData => "–".to_string(),
        Value::Number(_) if unit != Unit::Ratio => {
            show(value, unit).split(' ').next().unwrap_or_default().to_string()
        }
        value => show(value, unit),
    }
}

/// The latency that stands beside a goal's capacity, and its name.
fn latency(report: &CapacityReport) -> (&'static str, fn(&Figures) -> Value) {
    let has =
        |of: fn(&Figures) -> Value| report.trials.iter().any(|trial| of(&trial.figures) != Value::NoData);
    match has(|f| f.turn_response_p95_ms) {
        true => ("response p95", |f| f.turn_response_p95_ms),
        false => ("RTT p99", |f| f.rtt_p99_ms),
    }
}

/// The method in short, and what it does not say.
fn method(report: &CapacityReport) -> Vec<String> {
    let settings = &report.settings;
    let percent = |ratio: f64| show(Value::Number(ratio), Unit::Ratio);
    let (one, fulls) = (common::span(settings.final_trial_s), common::span(settings.duration_sum_s));
    let first = match settings.initial_trial_s {
        0.0 => String::new(),
        s => format!(
            " A load begins with a trial of {}, which can reject it and not confirm it.",
            common::span(s)
        ),
    };
    let exceed = match settings.exceed_ratio {
        0.0 => format!("One good trial of {one} carries a load, and one bad trial rejects it."),
        ratio => format!(
            "A load is carried once gates can no longer be broken in more than {} of {fulls} of trials of {one}, and \
             rejected once they were in more than {}; what is neither wavers, and makes the answer as wide.",
            percent(ratio),
            percent(ratio.max(1.0 - ratio))
        ),
    };
    let machine = match report.environment.asterisk.is_empty() {
        true => String::new(),
        false => format!(" and {}", common::one_line(&report.environment.asterisk)),
    };
    vec![
        format!(
            "Loads are classified by RFC 9971 (MLRsearch), Appendix A. {exceed}{first} Loads double from {} until one is \
             bad; then the geometric middle is tried, until a good load and a bad one are within {} of each other, and \
             these are decided in turn.",
            words::load(report.kind, settings.min),
            percent(settings.width_ratio)
        ),
        "A trial is bad when a gate is broken, whichever it is: an extension of section 4.7.1, where loss alone makes \
         it so. A trial that a broken gate ended early counts as a short one, with the seconds it took."
            .into(),
        "A trial is void when its gates cannot be judged because others took the machine, or when it broke, was \
         interrupted, or offered less than was wanted for a want of ports or calls. It is not classified, and is repeated. That deviates from RFC 9971, section 4.9.1, which counts it as loss: that \
         would blame the service for its tester. A machine that the run's own load fills, or makes the driver late on, voids nothing: then the \
         answer is the capacity of this machine with driver, service and Asterisk on it."
            .into(),
        format!(
            "It is the capacity of this machine{machine}, for this scenario's media, set-up rate and length of calls. \
             Nothing is restarted between trials, so what leaks or drifts shows in later ones. It says nothing of \
             another codec, of hours of load, or of a machine twice the size."
        ),
        format!("{}.", words::limit(report)),
    ]
}

fn circumstances_table(report: &CapacityReport) -> Vec<(&'static str, String)> {
    let e = &report.environment;
    let rows = vec![
        ("Command line", common::command_line(&e.command)),
        ("Started", e.started_at.clone()),
        ("Took", common::span(e.elapsed_s)),
        ("Trials", counted(report.trials.len() as u64, "trial")),
        ("Media", format!("{}, a packet every {} ms", e.codec, e.ptime_ms)),
        ("Asterisk", e.asterisk.clone()),
        ("Service", e.service.clone()),
        ("Host", e.host.clone()),
        ("CPU", format!("{}, {} of {} to use", e.cpu, e.cpus, e.machine_cpus)),
        ("Memory", format!("{} MiB", e.memory_mib)),
        ("Kernel", e.kernel.clone()),
        ("Media threads", e.scheduling.driver.clone()),
        ("Service's scheduling", e.scheduling.service.clone()),
        ("Asterisk's scheduling", e.scheduling.asterisk.clone()),
        ("loadtest", e.version.clone()),
        ("Scenario, SHA-256", e.scenario_hash.clone()),
    ];
    rows.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// The table N(goal), with what stands beside it.
fn goals(report: &CapacityReport) -> Vec<GoalRow<'_>> {
    let (_, latency) = latency(report);
    let at_lower = |goal: &GoalReport| {
        let ms = when_carried(report, goal, |trial| latency(&trial.figures).number());
        ms.map_or("–".into(), |ms| show(Value::Number(ms), Unit::Ms))
    };
    let rows = report.goals.iter().map(|goal| {
        let [lower, upper] = [goal.lower, goal.upper].map(|load| words::bound(report.kind, load));
        let cells = [lower, upper, words::per_core(goal), at_lower(goal)];
        GoalRow { name: &goal.goal, cells, gates: &goal.gates }
    });
    let alone = |name, figure: String| {
        let none = String::new;
        GoalRow { name, cells: [figure, none(), none(), none()], gates: &[] }
    };
    let none_lost =
        report.none_lost.map(|load| alone("carried without losing a call", words::number(report.kind, load)));
    let mean = report.geometric_mean.filter(|_| report.goals.len() > 1);
    let mean = mean.map(|mean| alone("geometric mean", format!("{mean:.1}")));
    rows.chain(none_lost).chain(mean).collect()
}
