//! `signals.csv`: one row for each burst of each call whose path is measured by its audio.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::values::Ns;

/// Reason for which a burst has no delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalRejection {
    /// Nothing in the audio was like it enough.
    Unlike,
    /// No audio came.
    Silence,
    /// The call ended while it might still have come back. It counts as neither.
    CutOff,
    /// The correlation did not keep up: the driver's own doing.
    NotJudged,
}

/// One burst. Seconds count from the start of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SignalRow {
    /// The call's number in the run.
    pub call: u32,
    /// The burst's number in the call, from 0.
    pub number: u32,
    /// Sending of its first sample.
    pub sent_s: f64,
    /// From there to the receipt of the same; empty where it was rejected.
    pub delay_ms: Option<Ns>,
    /// Greatest normalised correlation, 0 to 1; empty where there was no audio.
    pub peak: Option<f64>,
    /// True if it came back with its sign reversed.
    pub inverted: bool,
    /// Reason for which it has no delay.
    pub rejected: Option<SignalRejection>,
}

impl SignalRow {
    /// True for a burst that counts: it began in the measured window, in seconds from the start of the run.
    pub fn is_within(&self, window: Option<&Range<f64>>) -> bool {
        window.is_some_and(|window| window.contains(&self.sent_s))
    }

    /// True if the driver did not keep up, which says nothing of the path.
    pub fn is_unjudged(&self) -> bool {
        self.rejected == Some(SignalRejection::NotJudged)
    }
}
