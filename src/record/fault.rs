//! Faults made on purpose, with their times: part of `environment.json`.

use serde::{Deserialize, Serialize};

/// One planned fault, as it came about. Times are seconds since the run's start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaultRecord {
    /// `asterisk` or `service`.
    pub target: String,
    /// `kill`, `restart` or `stop`.
    pub action: String,
    /// Time at which the scenario wanted it.
    pub planned_s: f64,
    /// Time of the signal.
    pub done_s: f64,
    /// Time from which on the process was gone or held still, and served nobody.
    pub down_s: f64,
    /// Time at which it was ready again; `None` if it never was.
    pub back_s: Option<f64>,
    /// Trouble with it; empty without any.
    pub trouble: String,
}

/// A time during a call in which nothing came back, although something did before and after: a row
/// of `silences.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Silence {
    /// Number of the attempt.
    pub call: u32,
    /// Seconds from the run's start to the last packet back before it.
    pub from_s: f64,
    /// Seconds from the run's start to the first packet back after it.
    pub to_s: f64,
}
