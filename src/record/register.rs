//! Registrations of a run, counted over the whole of it.

use serde::{Deserialize, Serialize};

use super::{Durations, LogLine};

/// What became of the registrations of `sip.register`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RegisterRecord {
    /// Registrations that the scenario wants: one for each account.
    pub wanted: u64,
    /// Rate at which they are asked for.
    pub rate_per_s: f64,
    /// Seconds from the first REGISTER to the last outcome.
    pub took_s: f64,
    /// Registrations that were asked for, however often each was challenged.
    pub attempts: u64,
    /// Of these, those that were granted.
    pub registered: u64,
    /// Of these, those that were refused, or not answered in time.
    pub failed: u64,
    /// Times that one was made fresh.
    pub refreshed: u64,
    /// Times that this failed.
    pub refresh_failed: u64,
    /// Registrations that were to be taken back at the end.
    pub leaving: u64,
    /// Of these, those of which the registrar agreed to that.
    pub left: u64,
    /// Time from the first REGISTER of each to its 200, challenges included.
    pub time: Durations,
    /// First distinct reasons of failures.
    pub failures: Vec<LogLine>,
}
