//! Results of the trials: sums by load and goal, and each goal's relevant bounds.

use std::collections::BTreeMap;

use super::classify::{Rules, Standing, Sums, leans_bad, standing};
use super::load::Load;
use super::trial::{Ended, Length, Outcome, Trial};
use crate::values::Value;

/// Trials at one load, summed up: what a search keeps of them.
#[derive(Debug, Clone, Default)]
pub(super) struct AtLoad {
    /// By the goal's place in the search.
    pub tallies: Vec<Tally>,
    /// A full trial lost no call.
    pub held_all: bool,
    /// A trial lost one.
    pub lost_some: bool,
}

/// Trials at one load for one goal.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Their time.
    pub sums: Sums,
    /// Number of those that count.
    pub counted: u64,
    /// Number of those that are void.
    pub voids: u64,
    /// Reason of the last void one.
    pub void_reason: String,
    /// Asterisk's cores in the good ones, summed, and in how many of them they were measured.
    pub good: (f64, u32),
    /// The last bad one.
    pub bad: Option<Bad>,
}

/// Asterisk's cores of the machine's in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Cores {
    pub asterisk: Value,
    pub machine: u32,
}

/// The gate that broke first in a bad trial.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bad {
    pub gate: String,
    pub actual: String,
    pub cores: Cores,
    pub full: bool,
}

/// The relevant bounds of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    /// The largest lower bound below the upper one, and below any load that wavers.
    pub lower: Option<Load>,
    /// The smallest load that is an upper bound.
    pub upper: Option<Load>,
    /// The smallest and the largest load below the upper bound that wavers.
    pub wavers: Option<(Load, Load)>,
}

impl Tally {
    fn add(&mut self, trial: &Trial, outcome: &Outcome) {
        let ms = trial.effective_ms();
        let cores = Cores { asterisk: trial.figures.asterisk_cores, machine: trial.figures.machine_cores };
        let sum = match (outcome, trial.length) {
            (Outcome::Good, Length::Short) => &mut self.sums.short_good,
            (Outcome::Good, Length::Full) => &mut self.sums.full_good,
            (Outcome::Bad { .. }, Length::Short) => &mut self.sums.short_bad,
            (Outcome::Bad { .. }, Length::Full) => &mut self.sums.full_bad,
            // They say nothing of the load, and nothing of the machine.
            (Outcome::Void { .. }, _) if matches!(trial.ended, Ended::Broke | Ended::Interrupted) => return,
            (Outcome::Void { reason }, _) => {
                self.voids += 1;
                self.void_reason.clone_from(reason);
                return;
            }
        };
        *sum = sum.saturating_add(ms);
        self.counted += 1;
        match outcome {
            Outcome::Bad { gate, actual } => {
                let full = trial.full_of_own_load;
                self.bad = Some(Bad { gate: gate.clone(), actual: actual.clone(), cores, full });
            }
            _ => {
                if let Some(cores) = cores.asterisk.number() {
                    self.good = (self.good.0 + cores, self.good.1 + 1);
                }
            }
        }
    }
}

impl AtLoad {
    pub fn add(&mut self, trial: &Trial, goals: &[String]) {
        self.tallies.resize_with(goals.len(), Tally::default);
        for (tally, goal) in self.tallies.iter_mut().zip(goals) {
            if let Some(outcome) = trial.outcomes.get(goal) {
                tally.add(trial, outcome);
            }
        }
        if !trial.is_void() {
            let is_clean = trial.figures.calls_lost == 0 && trial.figures.suppressed == 0;
            self.held_all |= is_clean && trial.length == Length::Full;
            self.lost_some |= !is_clean;
        }
    }
}

fn sums(at: &AtLoad, goal: usize) -> Sums {
    at.tallies.get(goal).map_or(Sums::default(), |tally| tally.sums)
}

/// From the smallest to the largest load of these and a further one.
fn widened(loads: Option<(Load, Load)>, load: Load) -> Option<(Load, Load)> {
    loads.map(|(first, _)| (first, load)).or(Some((load, load)))
}

/// The relevant bounds of the goal at place `goal`.
pub(super) fn bounds(loads: &BTreeMap<Load, AtLoad>, goal: usize, rules: Rules) -> Bounds {
    let mut bounds = Bounds::default();
    for (load, at) in loads {
        match standing(&sums(at, goal), rules) {
            // Above a load that wavers it was luck.
            Standing::Carried if bounds.wavers.is_none() => bounds.lower = Some(*load),
            Standing::Wavering => bounds.wavers = widened(bounds.wavers, *load),
            Standing::Rejected => return Bounds { upper: Some(*load), ..bounds },
            Standing::Carried | Standing::Undecided => {}
        }
    }
    bounds
}

/// Course of a goal's search: its lower bound, and the load that it looks below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Course {
    /// The largest lower bound below `upper`, and below any load that wavers.
    pub lower: Option<Load>,
    /// The largest load above `lower`, and below any that wavers, that has been good so far and is not decided.
    pub hopeful: Option<Load>,
    /// The smallest and the largest load that wavers.
    pub wavers: Option<(Load, Load)>,
    /// The largest load below `upper`: one that is carried, good so far, or wavers.
    pub floor: Option<Load>,
    /// The smallest load that is an upper bound, or has been bad so far.
    pub upper: Option<Load>,
    /// True if that one is an upper bound.
    pub is_rejected: bool,
    /// True if one good trial is taken for a sign.
    pub trusts_good: bool,
}

/// Loads that were bad at first and carried in the end, after which a bad trial is no sign any more: each is rejected, or
/// not, before the search goes on. So chance cannot lead it astray for long.
const MOST_ACCIDENTS: usize = 3;
/// Loads that were good at first and bad later, after which a good trial is no sign any more: each is carried, or not,
/// before the search goes on. So it does not run after a service that carries less from trial to trial.
const MOST_TURNS: usize = 3;

/// The course of the goal at place `goal`. A load that has been good, or bad, so far is not tried again until the search
/// has come close to it: most of those are far away, and to decide each of them would take the most time of all.
pub(super) fn course(loads: &BTreeMap<Load, AtLoad>, goal: usize, rules: Rules) -> Course {
    let was_accident = |at: &&AtLoad| {
        let sums = sums(at, goal);
        sums.has_bad() && standing(&sums, rules) == Standing::Carried
    };
    let has_turned = |at: &&AtLoad| {
        let sums = sums(at, goal);
        let stands = standing(&sums, rules);
        let is_bad = leans_bad(&sums, rules) || matches!(stands, Standing::Wavering | Standing::Rejected);
        sums.has_good() && is_bad
    };
    let trusts = loads.values().filter(was_accident).count() < MOST_ACCIDENTS;
    let trusts_good = trusts && loads.values().filter(has_turned).count() < MOST_TURNS;
    let mut course = Course { trusts_good, ..Course::default() };
    for (load, at) in loads {
        let sums = sums(at, goal);
        match standing(&sums, rules) {
            Standing::Rejected => return Course { upper: Some(*load), is_rejected: true, ..course },
            Standing::Undecided if trusts && leans_bad(&sums, rules) => {
                return Course { upper: Some(*load), ..course };
            }
            Standing::Undecided if sums.are_empty() => continue,
            Standing::Carried if course.wavers.is_none() => {
                (course.lower, course.hopeful) = (Some(*load), None);
            }
            Standing::Carried => {}
            Standing::Wavering => course.wavers = widened(course.wavers, *load),
            // Without trust each is decided in its turn.
            Standing::Undecided if !trusts => course.hopeful = course.hopeful.or(Some(*load)),
            Standing::Undecided if course.wavers.is_none() => course.hopeful = Some(*load),
            Standing::Undecided => {}
        }
        course.floor = Some(*load);
    }
    course
}

/// The largest load that a full trial has held without a lost call, below the smallest at which some were lost.
pub(super) fn none_lost(loads: &BTreeMap<Load, AtLoad>) -> Option<Load> {
    let below = loads.iter().take_while(|(_, at)| !at.lost_some);
    below.filter(|(_, at)| at.held_all).map(|(load, _)| *load).last()
}

/// True if trials at one load have contradicted each other, for the goal at place `goal`.
pub(super) fn has_contradictions(loads: &BTreeMap<Load, AtLoad>, goal: usize) -> bool {
    loads.values().map(|at| sums(at, goal)).any(|sums| sums.has_good() && sums.has_bad())
}

/// The smallest and the largest load below the upper bound of the goal at place `goal` at which a trial was bad, where
/// that load, or a larger one, was carried all the same.
pub(super) fn unsteady(
    loads: &BTreeMap<Load, AtLoad>,
    goal: usize,
    Bounds { lower, .. }: Bounds,
) -> Option<(Load, Load)> {
    let lower = lower?;
    let was_bad = |at: &AtLoad| sums(at, goal).has_bad();
    let mut bad = loads.range(..=lower).filter(|(_, at)| was_bad(at)).map(|(load, _)| *load);
    let least = bad.next()?;
    Some((least, bad.next_back().unwrap_or(least)))
}
