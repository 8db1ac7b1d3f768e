//! A finished run → Summary: every figure of a report, each computed once and in one place.

pub mod catalogue;
mod counts;
mod distribution;
mod facts;
mod latencies;
mod metric;
pub mod per_call;
mod quality;
mod readings;
mod registrations;
mod rows;
mod signals;
mod stages;
mod summarize;
mod targets;
mod turns;

pub use metric::{Better, Course, Definition, Group, Metric, RestsOn, Statistic};
pub use readings::{InDoubt, Readings};
pub use stages::Stage;
pub use summarize::summarize;
pub use targets::{OF_RTT, TargetFigures, TargetStatistic};
pub use turns::SHORTEST_TURN;

use serde::Serialize;

use crate::analysis::fault;
use crate::record::{
    CallRecord, CallSecond, Environment, Intervals, QualityRow, SecondRecord, SignalRow, Silence, TalkRow,
    TurnRow,
};
use crate::values::Value;

/// All that reports show and gates judge. Exporters only turn it into bytes.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The circumstances of the run.
    pub environment: Environment,
    /// Every figure by its name, in the order of [`catalogue::all`].
    pub metrics: Vec<Metric>,
    /// Share of the tail that the machine itself explains, in words; `None` without a control stream.
    pub explanation: Option<String>,
    /// RTT over all packets sent in the measured window: the rows of `percentiles.csv`.
    pub percentiles: Vec<PercentileRow>,
    /// Outcome of each planned fault.
    pub faults: Vec<fault::Recovery>,
    /// Endings of the attempts, most frequent first.
    pub endings: Vec<EndingCount>,
    /// A record per call.
    pub calls: Vec<CallRecord>,
    /// Median RTT by call and second.
    pub call_seconds: Vec<CallSecond>,
    /// Long silences of calls.
    pub silences: Vec<Silence>,
    /// Turns of conversations.
    pub turns: Vec<TurnRow>,
    /// Excerpts of conversations.
    pub talk: Vec<TalkRow>,
    /// Bursts of calls whose path is measured by its audio.
    pub signals: Vec<SignalRow>,
    /// Passages that callers read aloud.
    pub quality: Vec<QualityRow>,
    /// A record per second.
    pub seconds: Vec<SecondRecord>,
    /// Latencies by second and series.
    pub intervals: Intervals,
    /// The stages, each with its own figures; empty of a load without stages.
    pub stages: Vec<Stage>,
    /// The targets, each with its own figures; empty of a run with one.
    pub targets: Vec<TargetFigures>,
    /// Part of the run that the records are of.
    pub(crate) part: Part,
}

/// Part of a run that figures are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Part {
    /// All of it: packets are counted call by call.
    #[default]
    Whole,
    /// One stage, which calls may outlast: packets are counted second by second.
    Stage,
}

/// One row of the RTT distribution, and of `percentiles.csv`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PercentileRow {
    /// 0–100.
    pub percentile: f64,
    /// One packet in so many is slower; infinite at 100.
    #[serde(rename = "1/(1-p)")]
    pub one_in: f64,
    /// RTT in milliseconds, or `Lost` where the rank falls among the lost.
    #[serde(rename = "rtt_ms")]
    pub rtt: Value,
    /// RTT from the intended send time, likewise.
    #[serde(rename = "rtt_intended_ms")]
    pub rtt_intended: Value,
    /// RTT of the control stream, likewise: what the machine does by itself.
    #[serde(rename = "control_ms")]
    pub control: Value,
    /// Send lateness of the driver, likewise: what the generator itself added.
    #[serde(rename = "send_lateness_ms")]
    pub send_lateness: Value,
}

/// Count of the attempts that ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EndingCount {
    /// In words: `completed`, `rejected 486 Busy here`, …
    pub what: String,
    /// Number of calls.
    pub count: u64,
    /// True if a call should end so.
    pub good: bool,
}

impl Summary {
    /// The stages with their numbers, from 1.
    pub fn numbered_stages(&self) -> impl Iterator<Item = (usize, &Stage)> {
        (1..).zip(&self.stages)
    }

    /// The metric of that name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|m| m.name() == name)
    }
}
