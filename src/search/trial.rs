//! Record of a trial: one line of `trials.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::load::Load;
use crate::values::Value;

/// Version of the record; a line of another one is refused.
pub const FORMAT: u32 = 1;

/// One trial of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Version of the record.
    pub format: u32,
    /// Number of the trial in its search, from 1.
    pub number: u64,
    /// The load that was wanted.
    pub load: Load,
    /// Seconds that the hold was to last.
    pub planned_s: f64,
    /// Seconds that it lasted.
    pub effective_s: f64,
    /// Seconds that the trial took in all, ramp, drain and leak check included.
    pub took_s: f64,
    /// Short or full, as it counts.
    pub length: Length,
    /// End of the trial.
    pub ended: Ended,
    /// Outcome by the name of the goal.
    pub outcomes: BTreeMap<String, Outcome>,
    /// True if the machine was full of the run's own load, or busy with it and the driver late: driver, service and an Asterisk on it.
    pub full_of_own_load: bool,
    /// Resources left behind by its calls; `None` where they could not be counted.
    pub leaks: Option<u64>,
    /// Key figures.
    pub figures: Figures,
    /// Folder of its run, within the folder of the search.
    pub folder: String,
}

/// Length of a trial, as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// It can reject a load, and not confirm it.
    Short,
    /// As long as the final trial.
    Full,
}

/// End of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// As planned.
    Planned,
    /// A broken gate ended it. It counts as short, with the seconds that it took. Only a gate without which no goal
    /// can hold may end a trial: to the other goals it says too little.
    ByGate,
    /// The run broke.
    Broke,
    /// The user interrupted it.
    Interrupted,
}

/// Outcome of a trial for one goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", deny_unknown_fields)]
pub enum Outcome {
    /// Every gate held.
    Good,
    /// A gate was broken.
    Bad {
        /// The gate that broke first, as written.
        gate: String,
        /// Its actual value, for people.
        actual: String,
    },
    /// Nothing can be said of the load.
    Void {
        /// The disturbance, or the breakage.
        reason: String,
    },
}

/// Key figures of a trial. What was not measured is `null`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Median RTT.
    pub rtt_p50_ms: Value,
    /// 95th percentile of the RTT.
    pub rtt_p95_ms: Value,
    /// 99th percentile of the RTT.
    pub rtt_p99_ms: Value,
    /// Median response of a conversation's turns. Trials of older versions have none.
    #[serde(default)]
    pub turn_response_p50_ms: Value,
    /// 95th percentile of it.
    #[serde(default)]
    pub turn_response_p95_ms: Value,
    /// Mean of it.
    #[serde(default)]
    pub turn_response_mean_ms: Value,
    /// Packets lost, of those sent.
    pub loss_ratio: Value,
    /// Median session request delay.
    pub srd_p50_ms: Value,
    /// 95th percentile of the session request delay.
    pub srd_p95_ms: Value,
    /// 99th percentile of the session request delay.
    pub srd_p99_ms: Value,
    /// 99th percentile of the driver's send lateness.
    pub send_lateness_p99_ms: Value,
    /// CPU of Asterisk, in cores.
    pub asterisk_cores: Value,
    /// CPU of the service, in cores.
    pub service_cores: Value,
    /// CPU of the driver, in cores.
    pub driver_cores: Value,
    /// Cores of the machine.
    pub machine_cores: u32,
    /// Attempts that the schedule wanted.
    pub offered: u64,
    /// Of these, calls that were answered.
    pub carried: u64,
    /// Attempts that could not be placed.
    pub suppressed: u64,
    /// Attempts without an answer, and calls that ended before their time or of which nothing was heard.
    pub calls_lost: u64,
}

impl Trial {
    /// True if no goal can be judged by it.
    pub fn is_void(&self) -> bool {
        self.outcomes.values().all(|outcome| matches!(outcome, Outcome::Void { .. }))
    }

    /// Milliseconds that count.
    pub(super) fn effective_ms(&self) -> u64 {
        (self.effective_s * 1000.0).round() as u64
    }
}
