//! Answer of a search: each goal's bounds, and how they came about.

use serde::{Deserialize, Serialize};

use super::bounds::{Bad, Bounds, Tally};
use super::load::{Kind, Load};
use super::wording;

/// The answer of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The kind of its loads.
    pub kind: Kind,
    /// Each goal's answer.
    pub goals: Vec<GoalAnswer>,
    /// The largest load that a full trial held without losing a call, below any at which one was lost.
    pub none_lost: Option<Load>,
    /// Geometric mean of the goals' lower bounds; `None` where one of them has none.
    pub geometric_mean: Option<f64>,
    /// Number of trials.
    pub trials: u64,
    /// Of these, those after which resources were left behind.
    pub leaking: u64,
    /// Remarks on the search as a whole.
    pub remarks: Vec<String>,
}

/// The answer for one goal: its capacity is the lower bound, or more, and less than the upper bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoalAnswer {
    /// The goal's name.
    pub goal: String,
    /// Relevant lower bound: the largest load that was carried, below the upper bound.
    pub lower: Option<Load>,
    /// Relevant upper bound: the smallest load that was not carried.
    pub upper: Option<Load>,
    /// Regular, or the reason why not.
    pub ending: Ending,
    /// The gate that broke first at the upper bound.
    pub broke: Option<Broke>,
    /// Calls, or attempts a second, for each core that Asterisk used at the lower bound.
    pub per_core: Option<f64>,
    /// The answer in words.
    pub sentence: String,
}

/// Ending of the search for one goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ending", deny_unknown_fields)]
pub enum Ending {
    /// The bounds are no further apart than the width.
    Regular,
    /// Loads between the bounds are carried at times, and at times not.
    Wavering {
        /// The smallest of those that were tried.
        from: Load,
        /// The largest.
        to: Load,
    },
    /// No load up to the largest of the search failed: the lower bound is a floor.
    Floor {
        /// The limit that ends the search there, in words.
        by: String,
    },
    /// No load failed up to the largest that the driver manages.
    DriverLimit,
    /// The time limit came first.
    OutOfTime,
    /// Trials at one load were void again and again.
    VoidTooOften {
        /// The load.
        load: Load,
        /// The reason for the last one.
        reason: String,
    },
    /// Trials at one load were too short to decide it.
    Undecided {
        /// The load.
        load: Load,
    },
    /// The smallest load of the search failed.
    MinimumFails,
    /// Asterisk, the service or the driver broke in a trial: that may be the answer.
    Broke {
        /// The load.
        load: Load,
        /// The breakage.
        reason: String,
    },
    /// The user interrupted it.
    Interrupted,
}

impl Ending {
    pub(super) fn of_wavering((from, to): (Load, Load)) -> Ending {
        Ending::Wavering { from, to }
    }
}

/// The gate that broke first, and Asterisk's share of the machine then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broke {
    /// The gate as written.
    pub gate: String,
    /// Its actual value, for people.
    pub actual: String,
    /// CPU of Asterisk in cores, where it is known.
    pub asterisk_cores: Option<f64>,
    /// Cores of the machine.
    pub machine_cores: u32,
    /// True if the machine was full of the run's own load: it is the capacity of this machine with driver, service
    /// and Asterisk on it.
    pub full_of_own_load: bool,
}

/// Loads that an answer which came too early leaves undecided.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SoFar<'a> {
    /// The largest that was good so far.
    pub hopeful: Option<Load>,
    /// The smallest that was bad so far.
    pub suspect: Option<(Load, &'a Tally)>,
}

impl Answer {
    pub(super) fn of(
        kind: Kind,
        goals: Vec<GoalAnswer>,
        none_lost: Option<Load>,
        trials: u64,
        leaking: u64,
    ) -> Answer {
        let lower: Option<Vec<f64>> = goals.iter().map(|goal| goal.lower.map(Load::number)).collect();
        let geometric_mean = lower.filter(|lower| !lower.is_empty()).map(|lower| {
            let logarithms: f64 = lower.iter().map(|number| number.ln()).sum();
            (logarithms / lower.len() as f64).exp()
        });
        let remarks = wording::leaks(leaking, trials).into_iter().collect();
        Answer { kind, goals, none_lost, geometric_mean, trials, leaking, remarks }
    }

    /// The answer for a goal.
    pub fn goal(&self, name: &str) -> Option<&GoalAnswer> {
        self.goals.iter().find(|goal| goal.goal == name)
    }
}

impl GoalAnswer {
    pub(super) fn of(
        goal: &str,
        Bounds { lower, upper, .. }: Bounds,
        ending: Ending,
        at_lower: Option<&Tally>,
        at_upper: Option<&Tally>,
        SoFar { hopeful, suspect }: SoFar<'_>,
    ) -> GoalAnswer {
        let broke = at_upper.and_then(|tally| tally.bad.as_ref()).map(Broke::of);
        let per_core = lower.zip(at_lower).and_then(|(load, tally)| per_core(load, tally.good));
        let suspect = suspect.and_then(|(load, tally)| Some((load, Broke::of(tally.bad.as_ref()?))));
        let undecided = wording::Undecided { good: hopeful, bad: suspect.as_ref() };
        let sentence = wording::sentence(lower, upper, &ending, broke.as_ref(), undecided);
        GoalAnswer { goal: goal.into(), lower, upper, ending, broke, per_core, sentence }
    }

    /// True if the bounds are no further apart than the width.
    pub fn is_regular(&self) -> bool {
        self.ending == Ending::Regular
    }

    /// The smallest and the largest capacity that the bounds allow: from the lower one to one step of the grid below
    /// the upper one.
    pub(super) fn range(&self) -> (f64, f64) {
        let most = self.upper.map_or(f64::INFINITY, |upper| match upper.units() {
            1 => 0.0,
            units => upper.kind().load(units - 1).number(),
        });
        (self.lower.map_or(0.0, Load::number), most)
    }
}

impl Broke {
    fn of(bad: &Bad) -> Broke {
        let Bad { gate, actual, cores, full } = bad;
        Broke {
            gate: gate.clone(),
            actual: actual.clone(),
            asterisk_cores: cores.asterisk.number(),
            machine_cores: cores.machine,
            full_of_own_load: *full,
        }
    }
}

/// An Asterisk that uses next to nothing of a core says nothing of what fits one.
fn per_core(load: Load, (cores, trials): (f64, u32)) -> Option<f64> {
    let cores = cores / f64::from(trials);
    (cores >= 0.01).then(|| load.number() / cores)
}

/// A goal's capacity beside that of another search.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The goal.
    pub goal: String,
    /// The difference.
    pub change: Change,
    /// The difference in words.
    pub sentence: String,
}

/// Difference of two capacities. It is told only where their intervals are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// The new capacity is smaller.
    Less,
    /// It is larger.
    More,
    /// The intervals meet, or one of them has no end on that side.
    None,
}

/// Compares each goal that two searches of one kind have in common.
pub fn compare(base: &Answer, new: &Answer) -> Vec<Comparison> {
    if base.kind != new.kind {
        return Vec::new();
    }
    let pairs = new.goals.iter().filter_map(|new| Some((base.goal(&new.goal)?, new)));
    let comparison = |(base, new): (&GoalAnswer, &GoalAnswer)| {
        let is_apart = |below: Option<Load>, above: Option<Load>| {
            below.zip(above).is_some_and(|(upper, lower)| upper <= lower)
        };
        let change = if is_apart(new.upper, base.lower) {
            Change::Less
        } else if is_apart(base.upper, new.lower) {
            Change::More
        } else {
            Change::None
        };
        Comparison { goal: new.goal.clone(), change, sentence: wording::change(base, new, change) }
    };
    pairs.map(comparison).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(goals: &[(&str, Option<u32>, Option<u32>)]) -> Answer {
        let load = |calls: Option<u32>| calls.and_then(Load::calls);
        let goals = goals.iter().map(|(name, lower, upper)| {
            let bounds = Bounds { lower: load(*lower), upper: load(*upper), wavers: None };
            GoalAnswer::of(name, bounds, Ending::Regular, None, None, SoFar::default())
        });
        Answer::of(Kind::Calls, goals.collect(), None, 9, 0)
    }

    #[test]
    fn the_mean_of_several_goals_is_geometric_and_needs_all_of_them() {
        let of = |goals: &[_]| answer(goals).geometric_mean.map(|mean| mean.round());
        assert_eq!(of(&[("a", Some(100), None), ("b", Some(400), Some(410))]), Some(200.0));
        assert_eq!(of(&[("a", Some(100), None), ("b", None, Some(10))]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn capacities_differ_only_where_their_intervals_are_apart() {
        let base = answer(&[("good", Some(187), Some(196))]);
        let change = |lower, upper| {
            let found = compare(&base, &answer(&[("good", lower, upper), ("other", Some(1), Some(2))]));
            assert_eq!(found.len(), 1);
            (found[0].change, found[0].sentence.clone())
        };
        assert_eq!(
            change(Some(120), Some(126)),
            (Change::Less, "120 to 126 calls, 187 to 196 before: 33 to 39 % less".into())
        );
        assert_eq!(
            change(Some(196), Some(205)),
            (Change::More, "196 to 205 calls, 187 to 196 before: 0 to 10 % more".into())
        );
        assert_eq!(
            change(Some(300), None),
            (Change::More, "at least 300 calls, 187 to 196 before: 53 % more at the least".into())
        );
        assert_eq!(
            change(None, Some(10)),
            (Change::Less, "fewer than 10 calls, 187 to 196 before: 95 % less at the least".into())
        );
        let none = change(Some(190), Some(200));
        assert_eq!(
            none,
            (Change::None, "190 to 200 calls, 187 to 196 before: no difference is certain".into())
        );
        assert_eq!(change(Some(150), None).0, Change::None, "a floor may lie below and be more");
        assert_eq!(change(None, None).0, Change::None);
        let rate = Answer { kind: Kind::Rate, ..answer(&[("good", Some(1), Some(2))]) };
        assert!(compare(&base, &rate).is_empty());
    }

    #[test]
    fn an_answer_reads_back_from_a_file() {
        let mut of = answer(&[("good", Some(187), Some(196))]);
        of.goals[0].ending =
            Ending::VoidTooOften { load: Load::calls(190).unwrap(), reason: "disturbed".into() };
        let text = serde_json::to_string(&of).unwrap();
        assert!(text.contains(r#""ending":{"ending":"void_too_often","load":{"calls":190}"#), "{text}");
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), of);
    }
}
