//! SIP ladders: the messages of the calls to look at first, both ways. Part of `environment.json`.

use serde::{Deserialize, Serialize};

/// Most calls of a run that have a ladder: as many as its page tells of.
pub const MOST_LADDERS: usize = 10;

/// SIP messages of one call, in the order in which they were sent and received.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Ladder {
    /// Number of the call.
    pub call: u32,
    /// File of its capture in the run's folder; empty without one.
    pub capture: String,
    /// Its first messages.
    pub messages: Vec<LadderMessage>,
    /// Number of later ones, which are not kept.
    pub left_out: u64,
}

/// One message. Credentials and keys are crossed out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LadderMessage {
    /// Milliseconds from the run's start.
    pub at_ms: f64,
    /// True for one of the driver's, false for one of the far end's.
    pub sent: bool,
    /// Address of the far end.
    pub peer: String,
    /// First line.
    pub line: String,
    /// Header lines, cut where they are very long.
    pub headers: String,
    /// Body, likewise; empty without one.
    pub body: String,
}
