//! Attempts that an open load offered, and those that were not placed, by cause.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use strum::Display;

/// Cause for which an attempt that was wanted is not placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display)]
pub enum Suppression {
    /// As many calls as may be were there.
    #[strum(to_string = "as many calls as load.calls allows were there")]
    Cap,
    /// No port was free for it.
    #[strum(to_string = "no port was free")]
    Port,
    /// The driver was held up beyond its time.
    #[strum(to_string = "the driver was too late for it")]
    Late,
}

/// Attempts that were not placed, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Suppressed {
    /// As many calls as `load.calls` were there.
    pub cap: u64,
    /// No port was free.
    pub port: u64,
    /// The driver was held up beyond their time.
    pub late: u64,
}

impl Suppressed {
    /// Counts one.
    pub fn count(&mut self, why: Suppression) {
        match why {
            Suppression::Cap => self.cap += 1,
            Suppression::Port => self.port += 1,
            Suppression::Late => self.late += 1,
        }
    }

    /// True if there is none.
    pub fn is_none(&self) -> bool {
        self.total() == 0
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.cap + self.port + self.late
    }
}

impl AddAssign for Suppressed {
    fn add_assign(&mut self, other: Suppressed) {
        self.cap += other.cap;
        self.port += other.port;
        self.late += other.late;
    }
}

/// A stage of a run: its load, its times in seconds from the run's start, and what was not placed in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StageRecord {
    /// Calls held, of a closed load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// Traffic offered, by an open load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// Start of its ramp.
    pub begin_s: f64,
    /// Start of its measured window; absent where the run ended before.
    pub from_s: Option<f64>,
    /// End of its measured window.
    pub to_s: Option<f64>,
    /// Calls that were up when its measured window began.
    pub calls_at_start: u32,
    /// Attempts that were not placed, from the start of its ramp on.
    pub suppressed: Suppressed,
}

/// Traffic that an open load offers.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Offered {
    /// Attempts a second.
    pub rate_per_s: f64,
    /// Mean length of the calls in seconds, as planned.
    pub mean_call_s: f64,
}

impl Offered {
    /// Offered traffic in erlang.
    pub fn erlang(&self) -> f64 {
        self.rate_per_s * self.mean_call_s
    }
}
