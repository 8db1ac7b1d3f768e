//! `quality.csv`: one row for each passage that a caller read aloud, with the score of what came back of it.

use std::ops::Range;

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
    /// File of its audio in the run's folder, of the worst ones; empty without one.
    pub audio: String,
}

impl QualityRow {
    /// True for a passage that counts: it began in the measured window, in seconds from the start of the run.
    pub fn is_within(&self, window: Option<&Range<f64>>) -> bool {
        window.is_some_and(|window| window.contains(&self.sent_s))
    }

    /// True if the driver did not keep up, which says nothing of the path.
    pub fn is_unjudged(&self) -> bool {
        self.unscored == Some(NoScore::NotJudged)
    }

    /// The name that its audio has.
    pub fn audio_name(&self) -> String {
        format!("audio/call-{:05}-passage-{:03}.wav", self.call, self.number)
    }

    /// The file of its audio, where it is one of ours: a page links to it.
    pub fn audio_file(&self) -> Option<&str> {
        (self.audio == self.audio_name()).then_some(self.audio.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_named_as_ours_is_none() {
        let mut row = QualityRow { call: 3, number: 7, ..QualityRow::default() };
        for name in ["", "/etc/passwd", "audio/../summary.json", "audio/call-00003-passage-008.wav"] {
            row.audio = name.into();
            assert_eq!(row.audio_file(), None, "{name}");
        }
        row.audio = row.audio_name();
        assert_eq!(row.audio_file(), Some("audio/call-00003-passage-007.wav"));
    }
}
