//! `quality.csv`: one row for each passage that a caller read aloud, with the score of what came back of it.

use serde::{Deserialize, Serialize};

/// Reason for which a passage has no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoScore {
    /// No speech came back.
    Silence,
    /// What came back could not be matched with what was said.
    NoMatch,
    /// The call ended while it might still have come back. It counts as neither.
    CutOff,
    /// Scoring did not keep up: the driver's own doing.
    NotJudged,
}

/// One passage. Seconds count from the start of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QualityRow {
    /// The call's number in the run.
    pub call: u32,
    /// The passage's number in the call, from 0.
    pub number: u32,
    /// Sending of its first sample.
    pub sent_s: f64,
    /// Listening quality of what came back, 1 to 4.55; empty where there is no score.
    pub mos_lqo: Option<f64>,
    /// Share of its audio that never came, 0 to 1; empty where there is no score.
    pub missing_ratio: Option<f64>,
    /// Reason for which it has no score.
    pub unscored: Option<NoScore>,
}
