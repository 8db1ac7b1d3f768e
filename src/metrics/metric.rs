//! A metric: its definition and one figure of a run.

use std::fmt;

use crate::values::{Unit, Value, show};

/// What a metric is, whatever its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// `group.key`, as in gates and in `summary.json`.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// One line on what it is, with the source of the definition.
    pub help: &'static str,
    /// What its value rests on.
    pub rests_on: RestsOn,
}

/// What a metric's value rests on: whether an instrument that falls behind may have bent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestsOn {
    /// Packets sent in time and stamped in time: a driver that is late, or a socket that overflows, may
    /// have made it what it is.
    Packets,
    /// What was said or left, and was counted whenever it was looked at: who was answered, how calls
    /// ended, what stayed behind, how much CPU was used.
    Records,
}

/// One figure of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// What it is.
    pub definition: &'static Definition,
    /// Its value.
    pub value: Value,
    /// For percentiles: how many samples it rests on.
    pub samples: Option<u64>,
    /// True for a percentile p that rests on fewer than 100 / (1 − p) samples.
    pub too_few: bool,
}

impl Metric {
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
