//! Record of a search for its reports.

use serde::{Deserialize, Serialize};

use crate::gate;
use crate::search::{Ended, Figures, Kind, Length};
use crate::values::Value;

/// Answer, trials and circumstances of one search.
///
/// Every load is a number of calls held at once, or of attempts a second, as `kind` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CapacityReport {
    /// Version of the document.
    pub format: u32,
    /// The scenario's name.
    pub name: String,
    /// Kind of every load in the document: calls held at once, or attempts a second.
    #[cfg_attr(test, schemars(schema_with = "super::schema::kind"))]
    pub kind: Kind,
    /// Outcome of all requirements, after which the program's exit code goes; null where there are none.
    pub outcome: Option<RequiredOutcome>,
    /// The answer for each goal.
    pub goals: Vec<GoalReport>,
    /// The largest load that a full trial held without losing a call, below any at which one was lost.
    pub none_lost: Option<f64>,
    /// Geometric mean of the goals' lower bounds; null where a goal has none.
    pub geometric_mean: Option<f64>,
    /// Conditions on the capacity, judged.
    pub requirements: Vec<Required>,
    /// Trials in their order.
    pub trials: Vec<TrialReport>,
    /// The largest load of the search, and what the driver manages.
    pub limit: LoadLimit,
    /// Trials after the search, on request: a soak, an overload.
    pub after: Vec<AfterSearch>,
    /// Settings of the search in force.
    pub settings: SearchSettings,
    /// Remarks on the search as a whole.
    pub remarks: Vec<String>,
    /// Circumstances: place, time, machine, programs.
    pub environment: SearchPlace,
}

/// The answer for one goal: its capacity is the lower bound or more, and less than the upper bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GoalReport {
    /// The goal's name.
    pub goal: String,
    /// Its gates, all of which must hold.
    pub gates: Vec<String>,
    /// Relevant lower bound: the largest load that was carried, below the upper bound; null where none was.
    pub lower: Option<f64>,
    /// Relevant upper bound: the smallest load that was not carried; null where none failed.
    pub upper: Option<f64>,
    /// True if the bounds are no further apart than the width.
    pub regular: bool,
    /// Ending of the search for this goal: `regular`, or the reason why it is not.
    #[cfg_attr(test, schemars(schema_with = "super::schema::ending"))]
    pub ending: String,
    /// The gate that broke first at the upper bound; null where it is not known.
    pub broke: Option<BrokeFirst>,
    /// Calls, or attempts a second, for each core that Asterisk used at the lower bound.
    pub per_core: Option<f64>,
    /// The answer in words.
    pub sentence: String,
}

/// The gate that broke first, and Asterisk's share of the machine then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BrokeFirst {
    /// The gate as written.
    pub gate: String,
    /// Its actual value, for people.
    pub actual: String,
    /// CPU of Asterisk in cores.
    pub asterisk_cores: Option<f64>,
    /// Cores of the machine.
    pub machine_cores: u32,
    /// True if the machine was full of the run's own load, or busy with it and the driver late: driver, service and an Asterisk on it.
    pub full_of_own_load: bool,
}

/// A condition on the capacity, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Required {
    /// As it was written: `capacity.calls >= 150`.
    pub expression: String,
    /// The goal whose capacity it is.
    pub goal: String,
    /// Pass if all that the bounds allow holds, fail if none does.
    pub outcome: RequiredOutcome,
}

/// Outcome of a condition on the capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum RequiredOutcome {
    /// It holds for all that the bounds allow.
    Pass,
    /// It holds for none.
    Fail,
    /// It holds for a part.
    Inconclusive,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrialReport {
    /// Its number in the search, from 1.
    pub trial: u64,
    /// The load that was wanted.
    pub load: f64,
    /// `short` if it could reject the load alone, `full` if it was as long as the final trial.
    #[cfg_attr(test, schemars(schema_with = "super::schema::length"))]
    pub length: Length,
    /// The hold that was planned.
    pub planned_s: f64,
    /// The hold that counts.
    pub effective_s: f64,
    /// The whole trial: ramp, drain and leak check included.
    pub took_s: f64,
    /// End of the trial: as planned, by a broken gate, by a breakage, by the user.
    #[cfg_attr(test, schemars(schema_with = "super::schema::ended"))]
    pub ended: Ended,
    /// Outcome for each goal, and its bounds so far.
    pub outcomes: Vec<OutcomeReport>,
    /// True if the machine was full of the run's own load, or busy with it and the driver late.
    pub full_of_own_load: bool,
    /// Resources that its calls left behind; null where they could not be counted.
    pub leaks: Option<u64>,
    /// Key figures.
    #[cfg_attr(test, schemars(schema_with = "super::schema::figures"))]
    pub figures: Figures,
    /// Folder of its run, within the folder of the search.
    pub folder: String,
}

/// Outcome of a trial for one goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OutcomeReport {
    /// The goal's name.
    pub goal: String,
    /// The outcome.
    pub outcome: OutcomeWord,
    /// The gate that broke first; null unless the trial was bad.
    pub gate: Option<String>,
    /// That gate's actual value, for people; null unless the trial was bad.
    pub actual: Option<String>,
    /// The disturbance or the breakage; null unless the trial was void.
    pub reason: Option<String>,
    /// The goal's relevant lower bound after this trial; null where there was none.
    pub lower: Option<f64>,
    /// The goal's relevant upper bound after this trial; null where there was none.
    pub upper: Option<f64>,
}

/// Outcome of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OutcomeWord {
    /// Every gate held.
    Good,
    /// A gate was broken.
    Bad,
    /// Nothing can be said of the load.
    Void,
}

/// The largest load of a search, and what the driver manages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LoadLimit {
    /// The largest load that the search was allowed to try.
    pub load: f64,
    /// Reason for this limit, in words.
    pub reason: String,
    /// The largest load that the driver managed against its own echo on this machine; null where that was not
    /// measured.
    pub driver_load: Option<f64>,
    /// True if the driver managed all that was asked of it, so that its own limit may lie higher.
    pub driver_reached_it: bool,
}

/// A trial after the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AfterSearch {
    /// Its name: `soak`, `overload`.
    pub title: String,
    /// The load that was wanted.
    pub load: f64,
    /// The hold that counts.
    pub effective_s: f64,
    /// Its outcome.
    pub outcome: OutcomeWord,
    /// Figures to be read with it.
    pub figures: Vec<NamedFigure>,
    /// Sentences on what was seen.
    pub lines: Vec<String>,
    /// Folder of its run, within the folder of the search.
    pub folder: String,
}

/// A figure by the name that it has in `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NamedFigure {
    /// The metric's name.
    pub name: String,
    /// Its value in `unit`; null where nothing was measured.
    #[cfg_attr(test, schemars(schema_with = "super::schema::value"))]
    pub value: Value,
    /// Its unit.
    #[cfg_attr(test, schemars(schema_with = "super::super::schema::unit"))]
    pub unit: String,
    /// The value for people.
    pub shown: String,
}

/// Settings of a search in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SearchSettings {
    /// Smallest load.
    pub min: f64,
    /// Distance of the bounds, as a share of the upper one, at which the search ends.
    pub width_ratio: f64,
    /// Length of a first trial, which can reject a load alone; 0 where there is none of its own.
    pub initial_trial_s: f64,
    /// Length of a trial that can confirm a load.
    pub final_trial_s: f64,
    /// Time of trials at one load that decides it whatever they say.
    pub duration_sum_s: f64,
    /// Share of the time at one load in which gates may be broken, and the load is carried nonetheless.
    pub exceed_ratio: f64,
    /// True for the settings of RFC 2544: one full trial decides, and none may be bad.
    pub strict: bool,
    /// Time of the search up to which bounds are tried again where trials contradict each other.
    pub revisit_s: f64,
    /// Longest time of the search; null where there was no limit.
    pub time_limit_s: Option<f64>,
}

/// Circumstances of a search.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SearchPlace {
    /// `loadtest` version.
    pub version: String,
    /// Start of the search, UTC, RFC 3339.
    pub started_at: String,
    /// Time of the whole search.
    pub elapsed_s: f64,
    /// The command line.
    pub command: Vec<String>,
    /// Codec on the wire.
    pub codec: String,
    /// Packet interval.
    pub ptime_ms: u64,
    /// Host name.
    pub host: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs that the driver may use.
    pub cpus: u32,
    /// CPUs of the machine.
    pub machine_cpus: u32,
    /// Memory of the machine.
    pub memory_mib: u64,
    /// Kernel name and release.
    pub kernel: String,
    /// Asterisk's version, as it says.
    pub asterisk: String,
    /// Service or target that answered the calls, in words.
    pub service: String,
    /// Scheduling of the programs, in words.
    pub scheduling: Schedulings,
    /// SHA-256 over the scenario's keys that differ from their defaults.
    pub scenario_hash: String,
}

/// Scheduling of the programs of a search, in words; empty where it is not known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Schedulings {
    /// The driver's media threads.
    pub driver: String,
    /// The service.
    pub service: String,
    /// Asterisk.
    pub asterisk: String,
}

impl GoalReport {
    /// Bounds and circumstances of the answer's sentence: `187 to 196 calls` and all behind its colon.
    pub fn parted(&self) -> (&str, &str) {
        self.sentence.split_once(": ").unwrap_or((&self.sentence, ""))
    }
}

impl TrialReport {
    /// Outcome for a goal.
    pub fn outcome(&self, goal: &str) -> Option<&OutcomeReport> {
        self.outcomes.iter().find(|outcome| outcome.goal == goal)
    }

    /// True if no goal can be judged by it.
    pub fn is_void(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.outcome == OutcomeWord::Void)
    }
}

impl From<gate::Outcome> for RequiredOutcome {
    fn from(outcome: gate::Outcome) -> RequiredOutcome {
        match outcome {
            gate::Outcome::Pass => RequiredOutcome::Pass,
            gate::Outcome::Fail | gate::Outcome::Regressed => RequiredOutcome::Fail,
            gate::Outcome::Inconclusive => RequiredOutcome::Inconclusive,
        }
    }
}

/// For marks and colours.
impl From<RequiredOutcome> for gate::Outcome {
    fn from(outcome: RequiredOutcome) -> gate::Outcome {
        match outcome {
            RequiredOutcome::Pass => gate::Outcome::Pass,
            RequiredOutcome::Fail => gate::Outcome::Fail,
            RequiredOutcome::Inconclusive => gate::Outcome::Inconclusive,
        }
    }
}

/// For marks and colours: what says nothing is as open as what can be read either way.
impl From<OutcomeWord> for gate::Outcome {
    fn from(outcome: OutcomeWord) -> gate::Outcome {
        match outcome {
            OutcomeWord::Good => gate::Outcome::Pass,
            OutcomeWord::Bad => gate::Outcome::Fail,
            OutcomeWord::Void => gate::Outcome::Inconclusive,
        }
    }
}
