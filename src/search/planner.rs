//! The next trial of a search, or its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::{Answer, Ending, GoalAnswer, SoFar};
use super::bounds::{AtLoad, Bounds, Course, Tally, bounds, course, has_contradictions, none_lost, unsteady};
use super::classify::{Rules, Sums, bad_to_reject};
use super::load::{Kind, Load};
use super::samples::{Goal, Traffic};
use super::settings::Settings;
use super::trial::{Length, Trial};
use super::wording;
use crate::gate::Gate;
use crate::values::Span;

/// Times that a void trial is repeated at one load.
const VOIDS_REPEATED: u64 = 2;
/// Trials at one load, beyond those that decide it if each takes its time, after which it stays undecided: those that
/// a gate ends early add little.
const TRIALS_TO_SPARE: u64 = 20;

/// Trials after which a search ends undecided: one of a service that is good and bad by chance would go on for days.
const MOST_TRIALS: u64 = 1000;

/// Time of a trial beside its hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Costs {
    /// Warm-up, drain, residuals and leak check.
    pub fixed: Duration,
    /// Ramp of each call, or of each attempt a second.
    pub ramp_of_one: Duration,
}

/// The largest load that something carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Most {
    /// The load.
    pub load: Load,
    /// The resource that carries no more, in words: `media.ports 10000-20000`.
    pub by: String,
}

/// Circumstances of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// Traffic of its trials.
    pub traffic: Traffic,
    /// Time of a trial beside its hold.
    pub costs: Costs,
    /// The largest load that the driver manages against its own echo; `None` where that was not measured.
    pub driver_most: Option<Load>,
    /// The largest load that ports, descriptors and the scenario's own cap carry; `None` where that is not known.
    pub cap: Option<Most>,
}

/// A search: its settings, and its trials summed up by load.
#[derive(Debug, Clone)]
pub struct Search {
    kind: Kind,
    rules: Rules,
    min: Load,
    /// The largest load that it was told to try.
    named: Option<Load>,
    /// The largest load to try.
    max: Most,
    is_max_the_drivers: bool,
    /// In millionths.
    width: u64,
    initial: Option<Duration>,
    full: Duration,
    /// Full trials that decide a load, if each takes its time.
    full_trials: u64,
    /// Time up to which bounds are tried again where trials contradict each other.
    revisit: Duration,
    time_limit: Option<Duration>,
    conditions: Conditions,
    goals: Vec<String>,
    gates: Vec<Gate>,
    loads: BTreeMap<Load, AtLoad>,
    trials: u64,
    leaking: u64,
}

/// The next step of a search.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A trial.
    Trial {
        /// The load to offer.
        load: Load,
        /// The length of the hold.
        hold: Span,
        /// The length as it counts.
        length: Length,
        /// The time after which a trial that is bad beyond hope says no more.
        enough: Span,
        /// The goal that wants it; it serves all.
        goal: String,
    },
    /// The answer.
    Done(Box<Answer>),
}

/// The reason for which a search ends before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// The time limit.
    OutOfTime,
    /// The user.
    Interrupted,
    /// Asterisk, the service or the driver, which broke in a trial at that load, for a reason in words.
    Broke(Load, String),
}

/// A trial that a goal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    load: Load,
    length: Length,
    goal: usize,
}

impl Search {
    /// A search without trials, of a valid scenario's settings.
    pub fn new(settings: &Settings, goals: Vec<Goal>, conditions: Conditions) -> Search {
        let min = settings.smallest().unwrap_or_else(|| settings.kind.usual_min());
        let named = settings.largest();
        let of_settings = named.map(|load| Most { load, by: "search.max".into() });
        let most = of_settings.into_iter().chain(conditions.cap.clone()).min_by_key(|most| most.load);
        let largest = settings.kind.load(u32::MAX);
        let most =
            most.unwrap_or_else(|| Most { load: largest, by: "the largest load that there is".into() });
        let driver_most = conditions.driver_most.filter(|driver| *driver < most.load);
        let (goals, gates): (_, Vec<_>) = goals.into_iter().map(|goal| (goal.name, goal.gates)).unzip();
        Search {
            kind: settings.kind,
            rules: settings.rules(),
            min,
            named,
            max: driver_most.map(|load| Most { load, by: "the driver".into() }).unwrap_or(most),
            is_max_the_drivers: driver_most.is_some(),
            width: settings.width_millionths(),
            initial: settings.initial_ms().map(Duration::from_millis),
            full: Duration::from_millis(settings.final_ms()),
            full_trials: settings.full_trials(),
            revisit: if settings.strict { Duration::ZERO } else { settings.revisit.0 },
            time_limit: settings.time_limit.map(|limit| limit.0),
            conditions,
            goals,
            gates: gates.into_iter().flatten().collect(),
            loads: BTreeMap::new(),
            trials: 0,
            leaking: 0,
        }
    }

    /// Adds a trial, new or stored. What it says of a goal that the search does not have is left out, and so is a
    /// trial of another kind of load, or of one below the smallest or above the largest that its settings name. What
    /// the driver manages today bounds new trials alone.
    pub fn add(&mut self, trial: &Trial) {
        let is_above = self.named.is_some_and(|most| trial.load > most);
        if trial.load.kind() != self.kind || trial.load < self.min || is_above {
            return;
        }
        self.loads.entry(trial.load).or_default().add(trial, &self.goals);
        self.trials += 1;
        self.leaking += u64::from(trial.leaks.is_some_and(|left| left > 0));
    }

    /// The next trial, or the answer, after so much time.
    pub fn next(&self, spent: Duration) -> Step {
        let wishes = (0..self.goals.len()).filter_map(|goal| self.wish(goal, spent).ok());
        let fits = |wish: &Wish| self.time_limit.is_none_or(|limit| spent + self.cost(wish) <= limit);
        // Smaller loads first; of one load the longer trial, which says as much as the shorter.
        let order = |wish: &Wish| (wish.load, wish.length == Length::Short, wish.goal);
        let again = || (0..self.goals.len()).filter_map(|goal| self.again(goal, spent)).filter(fits);
        match wishes.filter(fits).min_by_key(order).or_else(|| again().min_by_key(order)) {
            Some(wish) => Step::Trial {
                load: wish.load,
                hold: Span(self.hold(wish.length)),
                length: wish.length,
                enough: Span(self.enough(&wish)),
                goal: self.goals[wish.goal].clone(),
            },
            None => Step::Done(Box::new(self.answer(Cut::OutOfTime))),
        }
    }

    /// The answer by the trials so far. Goals that want more trials end for the reason of the cut.
    pub fn answer(&self, cut: Cut) -> Answer {
        let goals = (0..self.goals.len()).map(|goal| {
            let ending = match (self.wish(goal, Duration::ZERO), &cut) {
                (Err(ending), _) => ending,
                (Ok(_), Cut::OutOfTime) => Ending::OutOfTime,
                (Ok(_), Cut::Interrupted) => Ending::Interrupted,
                (Ok(_), Cut::Broke(load, reason)) => Ending::Broke { load: *load, reason: reason.clone() },
            };
            let (bounds, course) = (self.relevant(goal), self.course(goal));
            let tally = |load: Option<Load>| load.and_then(|load| self.tally(load, goal));
            // A load that was bad so far, and which more trials would have decided.
            let suspect = course.upper.filter(|_| !course.is_rejected);
            let so_far = SoFar { hopeful: course.hopeful, suspect: suspect.zip(tally(suspect)) };
            let (at_lower, at_upper) = (tally(bounds.lower), tally(bounds.upper));
            GoalAnswer::of(&self.goals[goal], bounds, ending, at_lower, at_upper, so_far)
        });
        let mut answer =
            Answer::of(self.kind, goals.collect(), none_lost(&self.loads), self.trials, self.leaking);
        let several = self.goals.len() > 1;
        let unsteady = (0..self.goals.len()).filter_map(|goal| {
            let (least, most) = unsteady(&self.loads, goal, self.relevant(goal))?;
            Some(wording::unsteady(several.then(|| self.goals[goal].as_str()), least, most))
        });
        answer.remarks.extend(unsteady);
        answer
    }

    /// The relevant bounds of a goal so far, the lower and the upper one.
    pub fn bounds(&self, goal: &str) -> (Option<Load>, Option<Load>) {
        let place = self.goals.iter().position(|name| name == goal);
        let bounds = place.map_or(Bounds::default(), |goal| self.relevant(goal));
        (bounds.lower, bounds.upper)
    }

    /// Every load that was tried, in order, with its standing for each goal, in theirs.
    #[cfg(test)]
    pub(super) fn standings(&self) -> impl Iterator<Item = (Load, Vec<super::Standing>)> + '_ {
        self.loads.iter().map(|(load, at)| {
            let stands = |tally: &Tally| super::standing(&tally.sums, self.rules);
            (*load, at.tallies.iter().map(stands).collect())
        })
    }

    /// The longest that the search can still take, without void trials, and if no load that was bad is carried in the
    /// end.
    pub fn longest(&self, spent: Duration) -> Duration {
        let open = (0..self.goals.len()).filter(|goal| self.wish(*goal, spent).is_ok());
        let longest: Duration = open.map(|goal| self.longest_for(self.course(goal))).sum();
        let again = (0..self.goals.len()).find_map(|goal| self.again(goal, spent));
        let longest = longest.max(again.map_or(Duration::ZERO, |_| self.revisit.saturating_sub(spent)));
        self.time_limit.map_or(longest, |limit| longest.min(limit.saturating_sub(spent)))
    }

    fn longest_for(&self, Course { floor, upper, .. }: Course) -> Duration {
        let first = floor.map_or_else(|| self.first_at(self.min), |_| Duration::ZERO);
        let floor = floor.unwrap_or(self.min);
        let rest =
            upper.map_or_else(|| self.longest_above(floor), |upper| self.longest_between(floor, upper));
        first.saturating_add(rest)
    }

    /// Time of the first trial at a load.
    fn first_at(&self, load: Load) -> Duration {
        let length = if self.begins_short(load, &Tally::default()) { Length::Short } else { Length::Full };
        self.cost_of(load, self.hold(length))
    }

    /// The longest that trials take which decide a load.
    fn settled_at(&self, load: Load) -> Duration {
        let full_trials = u32::try_from(self.full_trials).unwrap_or(u32::MAX);
        self.cost_of(load, self.full).saturating_mul(full_trials)
    }

    fn longest_above(&self, floor: Load) -> Duration {
        if floor >= self.max.load {
            return self.settled_at(floor);
        }
        let next = floor.doubled(self.max.load);
        let rest = self.longest_between(floor, next).max(self.longest_above(next));
        self.first_at(next).saturating_add(rest)
    }

    fn longest_between(&self, floor: Load, upper: Load) -> Duration {
        if floor.is_close_to(upper, self.width) {
            return self.settled_at(floor).saturating_add(self.settled_at(upper));
        }
        let middle = floor.between(upper);
        let rest = self.longest_between(floor, middle).max(self.longest_between(middle, upper));
        self.first_at(middle).saturating_add(rest)
    }

    /// The trial that a goal wants, or the ending that it has come to.
    fn wish(&self, goal: usize, spent: Duration) -> Result<Wish, Ending> {
        let next = self.next_load(goal, spent)?;
        let load = self.closing(goal, spent).unwrap_or(next);
        let none = Tally::default();
        let tally = self.tally(load, goal).unwrap_or(&none);
        if tally.voids > VOIDS_REPEATED {
            return Err(Ending::VoidTooOften { load, reason: tally.void_reason.clone() });
        }
        if self.has_had_enough(tally.counted) {
            return Err(Ending::Undecided { load });
        }
        let length = if self.begins_short(load, tally) { Length::Short } else { Length::Full };
        Ok(Wish { load, length, goal })
    }

    /// The load for the rest of a time that is short, where trials contradict each other: an answer that is wide says more
    /// than one that is open. It is the largest below which all was well, until that is decided, and then the smallest
    /// above it that was never good.
    fn closing(&self, goal: usize, spent: Duration) -> Option<Load> {
        let rest = self.time_limit?.saturating_sub(spent);
        // Trials that agree are better spent on halving the distance.
        if !has_contradictions(&self.loads, goal) {
            return None;
        }
        let sums = |load: Load| self.sums(load, goal);
        let tried = || self.loads.keys().copied().filter(|load| !sums(*load).are_empty());
        let Bounds { lower, upper, .. } = self.relevant(goal);
        let carried = lower.or_else(|| tried().take_while(|load| !sums(*load).has_bad()).last())?;
        let never_good = || tried().find(|load| *load > carried && !sums(*load).has_good());
        let rejected = upper.or_else(never_good)?;
        let full_ms = self.full.as_millis() as u64;
        let lasting = |load: Load, ms: u64| {
            let trials = u32::try_from(ms.div_ceil(full_ms.max(1))).unwrap_or(u32::MAX);
            self.cost_of(load, self.full).saturating_mul(trials)
        };
        let to_carry = match lower {
            Some(_) => 0,
            None => (full_ms * self.full_trials).saturating_sub(sums(carried).full_good),
        };
        let to_reject = if upper.is_some() { 0 } else { bad_to_reject(&sums(rejected), self.rules) };
        let wanted = lasting(carried, to_carry) + lasting(rejected, to_reject);
        // One trial more than that may still go elsewhere.
        let is_short = !wanted.is_zero() && rest < wanted + self.cost_of(rejected, self.full);
        is_short.then_some(if lower.is_some() { rejected } else { carried })
    }

    /// A further trial at a bound that is found already, where trials have contradicted each other and there is time: the
    /// one of the two that has had fewer.
    fn again(&self, goal: usize, spent: Duration) -> Option<Wish> {
        let is_found = matches!(self.wish(goal, spent), Err(Ending::Regular | Ending::Wavering { .. }));
        if !is_found || spent >= self.revisit || !has_contradictions(&self.loads, goal) {
            return None;
        }
        let Bounds { lower, upper, .. } = self.relevant(goal);
        let counted = |load: &Load| self.tally(*load, goal).map_or(0, |tally| tally.counted);
        let load = [upper?, lower?].into_iter().filter(|load| *load <= self.max.load).min_by_key(counted)?;
        (!self.has_had_enough(counted(&load))).then_some(Wish { load, length: Length::Full, goal })
    }

    /// True for a load with so many trials that count, or a search with so many, that another one is of no use.
    fn has_had_enough(&self, counted: u64) -> bool {
        counted >= self.full_trials + TRIALS_TO_SPARE || self.trials >= MOST_TRIALS
    }

    /// The load to try next for a goal: the first, twice the last that was good, one in the middle; in the end, in
    /// turn, the last that was good and the first that was bad, until both are decided.
    fn next_load(&self, goal: usize, spent: Duration) -> Result<Load, Ending> {
        if self.min > self.max.load {
            return Err(Ending::DriverLimit);
        }
        let course = self.course(goal);
        match (course.floor, course.upper) {
            (_, Some(upper)) if upper <= self.min && course.is_rejected => Err(Ending::MinimumFails),
            (_, Some(upper)) if upper <= self.min => Ok(upper),
            (None, _) => Ok(self.min),
            (Some(floor), _) if course.hopeful.is_some() && !course.trusts_good => {
                self.within_reach(course.hopeful.unwrap_or(floor), floor)
            }
            (Some(floor), None) => self.above(goal, &course, floor, spent),
            (Some(floor), Some(upper)) => self.between(goal, &course, (floor, upper), spent),
        }
    }

    /// The next load where none has been bad so far.
    fn above(&self, goal: usize, course: &Course, floor: Load, spent: Duration) -> Result<Load, Ending> {
        let next = floor.doubled(self.max.load);
        match course.hopeful {
            // Confirmed in the end.
            Some(_) if floor < self.max.load && self.may_trust(goal, next, spent) => return Ok(next),
            Some(hopeful) => return self.within_reach(hopeful, hopeful),
            None if floor < self.max.load => return Ok(next),
            None => {}
        }
        match course.wavers {
            Some(wavers) => self.below(course, wavers).map_or_else(|| Err(Ending::of_wavering(wavers)), Ok),
            None if self.is_max_the_drivers => Err(Ending::DriverLimit),
            None => Err(Ending::Floor { by: self.max.by.clone() }),
        }
    }

    /// The next load between one that was not bad so far and one that was.
    fn between(
        &self,
        goal: usize,
        course: &Course,
        (floor, upper): (Load, Load),
        spent: Duration,
    ) -> Result<Load, Ending> {
        let hopeful = course.hopeful;
        if !floor.is_close_to(upper, self.width_of(course)) {
            let middle = floor.between(upper);
            return match hopeful {
                // No time for more: what is good so far is worth the rest of it.
                Some(hopeful) if !self.may_trust(goal, middle, spent) => self.within_reach(hopeful, floor),
                _ => self.within_reach(middle, floor),
            };
        }
        if let Some(load) = course.wavers.and_then(|wavers| self.below(course, wavers)) {
            return Ok(load);
        }
        let counted = |load: Load| self.tally(load, goal).map_or(0, |tally| tally.counted);
        match (hopeful, course.is_rejected) {
            // In turn, so that both see the machine at more than one time.
            (Some(hopeful), false) if counted(upper) < counted(hopeful) => self.within_reach(upper, floor),
            (Some(hopeful), _) => self.within_reach(hopeful, floor),
            (None, false) => self.within_reach(upper, floor),
            (None, true) => Err(course.wavers.map_or(Ending::Regular, Ending::of_wavering)),
        }
    }

    /// A load to try between the last one that was good and the first that wavers, where they are far apart.
    fn below(&self, course: &Course, (first, _): (Load, Load)) -> Option<Load> {
        let good = course.hopeful.or(course.lower)?;
        (!good.is_close_to(first, self.width_of(course))).then(|| good.between(first))
    }

    /// The width that bounds are to have, in millionths: twice as much where loads waver, for there they are no sharper.
    fn width_of(&self, course: &Course) -> u64 {
        if course.wavers.is_some() { self.width.saturating_mul(2) } else { self.width }
    }

    /// True if a load that was good in a short trial is enough to go on to the next one by: it is confirmed in the end.
    /// Not where the next one was void too often, and not where no time is left to confirm it.
    fn may_trust(&self, goal: usize, next: Load, spent: Duration) -> bool {
        let is_void = self.tally(next, goal).is_some_and(|tally| tally.voids > VOIDS_REPEATED);
        let both = self.first_at(next).saturating_add(self.settled_at(next));
        !is_void && self.time_limit.is_none_or(|limit| spent.saturating_add(both) <= limit)
    }

    /// A load to try next, or the largest that the driver manages today where it managed more before.
    fn within_reach(&self, load: Load, lower: Load) -> Result<Load, Ending> {
        match load <= self.max.load {
            true => Ok(load),
            false if lower < self.max.load => Ok(self.max.load),
            false => Err(Ending::DriverLimit),
        }
    }

    /// True if a load that was not tried begins with a short trial: where there is one, and it gives every gate its
    /// samples. One that has said nothing is followed by a full one, which may say more.
    fn begins_short(&self, load: Load, tally: &Tally) -> bool {
        let judges = |hold| self.conditions.traffic.unjudged(&self.gates, load, hold).is_none();
        tally.sums.are_empty() && tally.voids == 0 && self.initial.is_some_and(judges)
    }

    fn course(&self, goal: usize) -> Course {
        course(&self.loads, goal, self.rules)
    }

    fn relevant(&self, goal: usize) -> Bounds {
        bounds(&self.loads, goal, self.rules)
    }

    fn tally(&self, load: Load, goal: usize) -> Option<&Tally> {
        self.loads.get(&load)?.tallies.get(goal)
    }

    fn sums(&self, load: Load, goal: usize) -> Sums {
        self.tally(load, goal).map_or(Sums::default(), |tally| tally.sums)
    }

    /// A short trial has said what it can once it is bad; a full one is to reject its load.
    fn enough(&self, wish: &Wish) -> Duration {
        match wish.length {
            Length::Short => Duration::ZERO,
            Length::Full => {
                Duration::from_millis(bad_to_reject(&self.sums(wish.load, wish.goal), self.rules))
            }
        }
    }

    fn hold(&self, length: Length) -> Duration {
        match length {
            Length::Short => self.initial.unwrap_or(self.full),
            Length::Full => self.full,
        }
    }

    fn cost(&self, wish: &Wish) -> Duration {
        self.cost_of(wish.load, self.hold(wish.length))
    }

    fn cost_of(&self, load: Load, hold: Duration) -> Duration {
        let Costs { fixed, ramp_of_one } = self.conditions.costs;
        fixed + ramp_of_one.mul_f64(load.number()) + hold
    }
}
