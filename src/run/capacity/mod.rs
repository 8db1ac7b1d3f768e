//! A search's dealings with the machine: plans of its trials, what caps the load, the driver's own limit.

mod driver_limit;

use std::time::Duration;

pub use driver_limit::{DriverLimit, driver_limit};

use super::RunPlan;
use super::preflight::free_pools;
use crate::gate::Gate;
use crate::scenario::{self, Needs, Pool, Scenario};
use crate::search::{Conditions, Costs, Goal, Kind, Load, Most};
use crate::values::{Ramp, Rate, Span, counted};

/// 10,000 attempts a second, in hundredths: the largest rate of a search.
const MOST_HUNDREDTHS: f64 = 1e6;
/// Time of a trial that depends on nothing: SIP's last answers, leak check, reports.
const BESIDES: Duration = Duration::from_secs(3);

/// The largest number of calls that ports and descriptors carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// Calls.
    pub calls: u32,
    /// The resource that ends first, in words.
    pub by: String,
}

/// The cap of a scenario on this machine, whose processes may have so many descriptors, and on which other programs hold
/// some of the ports.
pub fn cap(scenario: &Scenario, descriptors: u64) -> Cap {
    let one = Scenario { load: scenario::Load { calls: 1, ..scenario.load.clone() }, ..scenario.clone() };
    let two = Scenario { load: scenario::Load { calls: 2, ..scenario.load.clone() }, ..scenario.clone() };
    let (one, two) = (Needs::of(&one), Needs::of(&two));
    let pools = Pool::all(scenario).into_iter().zip(free_pools(scenario)).map(|(whole, free)| {
        let Pool { key, range, .. } = free;
        let held = match whole.slots.saturating_sub(free.slots) {
            0 => String::new(),
            held => format!(" (other programs hold {held} of the {} {})", whole.slots, whole.name),
        };
        Cap { calls: free.carries(scenario), by: format!("{key} {range}{held}") }
    });
    let each = (two.descriptors - one.descriptors).max(1);
    let calls = descriptors.saturating_sub(one.descriptors) / each + 1;
    let by_descriptors = Cap {
        calls: u32::try_from(calls).unwrap_or(u32::MAX),
        by: format!("{descriptors} file descriptors (`ulimit -Hn`)"),
    };
    // Invariant: the driver's ports and the descriptors are always there.
    pools.chain([by_descriptors]).min_by_key(|cap| cap.calls).expect("a scenario has a pool of ports")
}

impl RunPlan {
    /// The plan of one trial of a search: its load, held for so long. The gates without which no goal can hold may end
    /// it early once they have been broken for `enough`, and for as long as the scenario wants in any case.
    pub fn of_trial(&self, load: Load, hold: Span, enough: Span, goals: &[Goal]) -> RunPlan {
        let mut plan = self.at_load(load, hold, all_gates(goals));
        plan.enders = common_gates(goals);
        let gates = &mut plan.resolved.scenario.gates;
        gates.abort_on_fail = !plan.enders.is_empty();
        gates.abort_after = gates.abort_after.max(enough);
        plan
    }

    /// The plan of a run at a load, held for so long whatever becomes of its gates.
    pub fn at_load(&self, load: Load, hold: Span, gates: Vec<Gate>) -> RunPlan {
        let mut plan = self.clone();
        offer(&mut plan.resolved.scenario, load);
        let scenario = &mut plan.resolved.scenario;
        scenario.load.duration = hold;
        scenario.gates.require = gates.iter().map(|gate| gate.text.clone()).collect();
        scenario.gates.abort_on_fail = false;
        plan.enders.clone_from(&gates);
        plan.gates = gates;
        plan.baseline = None;
        plan
    }
}

fn offer(scenario: &mut Scenario, load: Load) {
    match load.kind() {
        // On the grid of calls every number is whole.
        Kind::Calls => scenario.load.calls = load.number() as u32,
        Kind::Rate => scenario.load.rate = Some(Rate(load.number())),
    }
}

/// The gates of all goals, each once.
fn all_gates(goals: &[Goal]) -> Vec<Gate> {
    let mut all: Vec<Gate> = Vec::new();
    for gate in goals.iter().flat_map(|goal| &goal.gates) {
        if all.iter().all(|known| known.text != gate.text) {
            all.push(gate.clone());
        }
    }
    all
}

/// Gates without which no goal can hold: only they may end a trial before its time.
fn common_gates(goals: &[Goal]) -> Vec<Gate> {
    let Some((first, others)) = goals.split_first() else { return Vec::new() };
    let in_all = |gate: &&Gate| others.iter().all(|goal| goal.gates.iter().any(|g| g.text == gate.text));
    first.gates.iter().filter(in_all).cloned().collect()
}

/// The largest load that ports, descriptors and the scenario's own cap carry; `None` where that is none at all.
pub fn most(scenario: &Scenario, cap: &Cap) -> Option<Most> {
    let load = &scenario.load;
    let (lines, by) = match scenario.search.kind {
        Kind::Calls => return Some(Most { load: Load::calls(cap.calls)?, by: cap.by.clone() }),
        Kind::Rate if load.calls <= cap.calls => (load.calls, format!("load.calls = {}", load.calls)),
        Kind::Rate => (cap.calls, cap.by.clone()),
    };
    // On the grid of hundredths, and below it rather than above.
    let hundredths = (load.erlang_on(lines) / load.erlang(1.0) * 100.0).floor().min(MOST_HUNDREDTHS);
    Some(Most { load: Load::rate(hundredths / 100.0)?, by })
}

/// The circumstances of a search with a scenario's traffic.
pub fn conditions(scenario: &Scenario, driver: &DriverLimit, cap: &Cap) -> Conditions {
    let Scenario { load, measure, .. } = scenario;
    let kind = scenario.search.kind;
    let calls_of_one = if kind == Kind::Rate { load.erlang(1.0) } else { 1.0 };
    // Up and down again.
    let (ramp, ramp_of_one) = match load.ramp {
        Ramp::Within(span) => (span.0 * 2, Duration::ZERO),
        Ramp::At(_) => (Duration::ZERO, scenario::Load::ramp_over(load.ramp, calls_of_one) * 2),
    };
    let settling = if kind == Kind::Rate { load.settles_after() } else { Duration::ZERO };
    let fixed =
        ramp + settling.max(measure.warmup.0) + measure.lost_after.0 + scenario.search.rest.0 + BESIDES;
    // Attempts that find no call free are counted as suppressed.
    let of_calls = |_: &Load| kind == Kind::Calls;
    Conditions {
        traffic: scenario.traffic(),
        costs: Costs { fixed, ramp_of_one },
        driver_most: driver.broke.as_ref().and(Load::calls(driver.streams)).filter(of_calls),
        cap: most(scenario, cap),
    }
}

/// The circumstances of a stored search, whose bounds rest on its trials alone.
pub fn unlimited(scenario: &Scenario) -> Conditions {
    Conditions { traffic: scenario.traffic(), costs: Costs::default(), driver_most: None, cap: None }
}

/// Calls that the largest load of a search may hold.
pub fn most_calls(scenario: &Scenario, cap: &Cap) -> u32 {
    let wanted = match (scenario.search.largest(), scenario.search.kind) {
        (Some(most), Kind::Calls) => most.number() as u32,
        (_, Kind::Rate) => scenario.load.calls,
        (None, Kind::Calls) => cap.calls,
    };
    wanted.min(cap.calls)
}

/// A line that says what caps a search, before its first trial.
pub fn told(scenario: &Scenario, cap: &Cap) -> String {
    let calls = format!("at most {} fit: {} ends first", counted(cap.calls.into(), "call"), cap.by);
    match most(scenario, cap).filter(|_| scenario.search.kind == Kind::Rate) {
        Some(Most { load, by }) => format!("{calls}; at most {load} of these calls: {by} ends first"),
        None => calls,
    }
}
