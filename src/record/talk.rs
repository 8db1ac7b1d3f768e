//! `talk.csv`: who spoke when around the worst turns of a run, and in the calls that `[capture]` names.

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

/// Most worst turns of a run: more are not looked at.
pub const MOST_WORST: usize = 5;
/// Most calls of `capture.calls` that have an excerpt.
pub const MOST_NAMED: usize = 20;
/// Most excerpts of a run.
pub const MOST_EXCERPTS: usize = MOST_WORST + MOST_NAMED;

/// Contents of a row.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TalkSide {
    /// The excerpt itself, before its other rows.
    #[default]
    Excerpt,
    /// The caller spoke, or dialled.
    Caller,
    /// The service spoke.
    Service,
    /// Packets of the service were lost.
    Lost,
}

/// Reason for which an excerpt was chosen, the gravest first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Why {
    /// No answer came in time, or no greeting.
    NoReply,
    /// The answer began in a pause of the caller's own sentence.
    Premature,
    /// The service fell silent for a backchannel.
    FalseStop,
    /// It took longest to answer.
    LongestResponse,
    /// It took longest to fall silent when it was interrupted.
    LongestStop,
    /// `capture.calls` names the call.
    #[default]
    Named,
}

/// One row. Seconds count from the start of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TalkRow {
    /// Number of the excerpt, from 1.
    pub excerpt: u32,
    /// Contents.
    pub side: TalkSide,
    /// The call's number in the run.
    pub call: u32,
    /// The turn's number in the call, of the excerpt of a turn.
    pub turn: Option<u32>,
    /// Reason of the excerpt.
    pub why: Why,
    /// Start.
    pub from_s: f64,
    /// End.
    pub to_s: f64,
    /// File of its audio in the run's folder; empty without one, and in all rows but the excerpt's own.
    pub audio: String,
}

impl TalkRow {
    /// The name that the audio of an excerpt has.
    pub fn audio_name(&self) -> String {
        let why: &str = self.why.into();
        match self.turn {
            Some(turn) => format!("audio/call-{:05}-turn-{turn:03}-{}.wav", self.call, why.replace('_', "-")),
            None => format!("audio/call-{:05}.wav", self.call),
        }
    }

    /// The file of its audio, where it is one of ours: a page links to it.
    pub fn audio_file(&self) -> Option<&str> {
        (self.side == TalkSide::Excerpt && self.audio == self.audio_name()).then_some(self.audio.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_named_as_ours_is_none() {
        let mut row = TalkRow { call: 3, turn: Some(7), why: Why::NoReply, ..TalkRow::default() };
        assert_eq!(row.audio_file(), None);
        for name in ["/etc/passwd", "audio/../summary.json", "javascript:alert(1)"] {
            row.audio = name.into();
            assert_eq!(row.audio_file(), None, "{name}");
        }
        row.audio = row.audio_name();
        assert_eq!(row.audio_file(), Some("audio/call-00003-turn-007-no-reply.wav"));
        row.turn = None;
        assert_eq!((row.audio_name().as_str(), row.audio_file()), ("audio/call-00003.wav", None));
        row.side = TalkSide::Caller;
        row.audio = row.audio_name();
        assert_eq!(row.audio_file(), None, "a part of an excerpt has no audio");
    }
}
