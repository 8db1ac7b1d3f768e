//! A metric: its definition, with its computation, and its value in one run.

use std::fmt;

use super::facts::Facts;
use super::latencies::control_so_far;
use crate::record::Live;
use crate::values::{Unit, Value, show};

/// One row of the table of metrics.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// `group.key`, as in gates and in `summary.json`.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// One line on its meaning, with the source of the definition.
    pub help: &'static str,
    /// The part of a report that it belongs to.
    pub group: Group,
    /// Basis of its value.
    pub rests_on: RestsOn,
    /// Direction in which it improves.
    pub better: Better,
    /// Which statistic of a distribution it is; `None` for any other figure.
    pub statistic: Option<Statistic>,
    pub(super) of: Of,
    pub(super) live: Option<(Course, OfLive)>,
}

/// Computation of a metric of a finished run.
pub(super) type Of = fn(&Facts<'_>) -> Measured;
/// Computation of a metric from what has been counted so far.
pub(super) type OfLive = fn(&Live) -> Measured;

/// Names are unique, so a name stands for its row.
impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Definition {
    /// The metric in a finished run.
    pub(super) fn measure(&'static self, facts: &Facts<'_>) -> Metric {
        Metric::of(self, (self.of)(facts))
    }

    /// The metric so far, and how it may still change; `None` where it is known only at the end.
    pub fn so_far(&'static self, live: &Live) -> Option<(Metric, Course)> {
        self.live.map(|(course, of)| (Metric::of(self, of(live)), course))
    }

    /// The same statistic of the control stream so far; `None` for what is none of the calls' packets.
    pub fn control_so_far(&self, live: &Live) -> Option<Value> {
        let statistic = self.statistic.filter(|_| self.group == Group::Packets)?;
        Some(control_so_far(live, statistic))
    }

    /// Samples that a percentile needs, so that 100 lie beyond it; `None` for any other metric.
    pub fn samples_needed(&self) -> Option<u64> {
        self.statistic?.samples_needed()
    }

    /// Its name, parted at the first dot.
    pub fn family_and_key(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or((self.name, ""))
    }

    /// The part of its name before the first dot.
    pub fn family(&self) -> &'static str {
        self.family_and_key().0
    }
}

/// The part of a report that a metric belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Counts and ratios of calls and SIP messages.
    Calls,
    /// Delays of call set-up and tear-down.
    SetUp,
    /// Times and counts of the built-in service.
    Service,
    /// Counts and ratios of packets, and what is derived from them.
    Traffic,
    /// Packets too late for a playout buffer.
    Late,
    /// Slow rise of the round trip.
    Drift,
    /// Times of the calls' packets.
    Packets,
    /// The control stream.
    Control,
    /// The load generator's own lateness and losses.
    Instrument,
    /// CPU and memory.
    Resources,
    /// Planned faults.
    Faults,
    /// Leak check.
    Leaks,
}

/// Basis of a metric's value, by which an instrument that falls behind may have bent it or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestsOn {
    /// Packets sent in time and stamped in time: a driver that is late, or a socket that overflows, may
    /// have bent it. In doubt it is an interval from the best to the worst reading.
    Packets,
    /// Messages, leftovers and the instrument's own figures: who was answered, how calls ended, what stayed
    /// behind, how much CPU was used, how late the driver was. In doubt it keeps its value.
    Records,
}

/// Direction in which a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// As of a delay, or of what was lost.
    Smaller,
    /// As of what came back, or of a score.
    Larger,
}

/// Change of a metric that is possible while the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It can only grow.
    Grows,
    /// It may rise and fall.
    Varies,
}

/// A statistic of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// The smallest.
    Min,
    /// The average.
    Mean,
    /// The median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P999,
    /// The largest.
    Max,
}

impl Statistic {
    /// All, in the order of reports.
    pub const ALL: [Statistic; 8] = [
        Statistic::Min,
        Statistic::Mean,
        Statistic::P50,
        Statistic::P90,
        Statistic::P95,
        Statistic::P99,
        Statistic::P999,
        Statistic::Max,
    ];

    /// The last part of a metric's name.
    pub const fn key(self) -> &'static str {
        match self {
            Statistic::Min => "min",
            Statistic::Mean => "mean",
            Statistic::P50 => "p50",
            Statistic::P90 => "p90",
            Statistic::P95 => "p95",
            Statistic::P99 => "p99",
            Statistic::P999 => "p99.9",
            Statistic::Max => "max",
        }
    }

    /// 0–1 for a percentile.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Statistic::P50 => Some(0.5),
            Statistic::P90 => Some(0.9),
            Statistic::P95 => Some(0.95),
            Statistic::P99 => Some(0.99),
            Statistic::P999 => Some(0.999),
            Statistic::Min | Statistic::Mean | Statistic::Max => None,
        }
    }

    /// Samples that a percentile needs, so that 100 lie beyond it.
    pub fn samples_needed(self) -> Option<u64> {
        self.quantile().map(|q| (100.0 / (1.0 - q)).round() as u64)
    }

    /// True for a percentile that rests on too few of so many samples.
    pub fn is_too_few(self, samples: u64) -> bool {
        self.samples_needed().is_some_and(|needed| samples < needed)
    }
}

/// A computed value, and the samples behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub value: Value,
    pub samples: Option<u64>,
    pub too_few: bool,
}

impl From<Value> for Measured {
    fn from(value: Value) -> Self {
        Measured { value, samples: None, too_few: false }
    }
}

/// One metric of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its row in the table.
    pub definition: &'static Definition,
    /// Its value.
    pub value: Value,
    /// For a statistic: the samples that it rests on.
    pub samples: Option<u64>,
    /// True for a percentile p that rests on fewer than 100 / (1 − p) samples.
    pub too_few: bool,
}

impl Metric {
    fn of(definition: &'static Definition, Measured { value, samples, too_few }: Measured) -> Metric {
        Metric { definition, value, samples, too_few }
    }

    /// The metric's name.
    pub fn name(&self) -> &'static str {
        self.definition.name
    }
}

impl fmt::Display for Metric {
    /// For people: `0.213 ms`, `0.02 %`, `lost`, `no data`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(self.value, self.definition.unit))
    }
}
