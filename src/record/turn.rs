//! `turns.csv`: one row for each turn of each call of a conversation, and for its greeting and dead air.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::values::Ns;

/// Contents of a row.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TurnKind {
    /// The service's greeting, awaited from the answer on.
    Greeting,
    /// A prompt of the caller's, for which the service was silent.
    #[default]
    Say,
    /// A prompt over the service's talk, for which it should stop.
    Interruption,
    /// A "mhm" over the service's talk, for which it should not stop.
    Backchannel,
    /// Digits.
    Dtmf,
    /// Nobody spoke for longer than 2 s in the service's turn.
    DeadAir,
    /// The service talked for a minute, or for most of the call up to its end, without 700 ms of silence.
    Endless,
    /// The service did not speak in the whole call, though it was given the time.
    Mute,
    /// The caller's own voice came back for half of what it said, and more.
    OwnVoice,
}

impl TurnKind {
    /// The word in CSV.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// True for what is no turn: a remark on the call.
    pub fn is_remark(self) -> bool {
        matches!(self, TurnKind::DeadAir | TurnKind::Endless | TurnKind::Mute | TurnKind::OwnVoice)
    }

    /// True for what the caller says or dials and waits for an answer to.
    pub fn is_answered(self) -> bool {
        matches!(self, TurnKind::Say | TurnKind::Interruption | TurnKind::Dtmf)
    }
}

/// One turn. Seconds count from the start of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TurnRow {
    /// The call's number in the run.
    pub call: u32,
    /// The turn's number in the call, from 0.
    pub turn: u32,
    /// Place in the script, from 0.
    pub entry: u32,
    /// Contents.
    pub kind: TurnKind,
    /// Send stamp of the caller's first voiced sample; of dead air and endless talk its start, else the answer.
    pub said_from_s: f64,
    /// Send stamp of the caller's last voiced sample; of a greeting the answer, of dead air and endless talk its end, else
    /// the end of the call.
    pub said_to_s: f64,
    /// From there to the receipt of the service's first voiced sample.
    pub response_ms: Option<Ns>,
    /// From there to the start of its first segment of 400 ms and longer.
    pub content_ms: Option<Ns>,
    /// From the caller's onset over the service's talk to the service's last voiced sample.
    pub stop_ms: Option<Ns>,
    /// Time in which both spoke.
    pub talk_over_ms: Ns,
    /// True if the answer began in a pause of the caller's own sentence.
    pub premature: bool,
    /// True if no answer came in time.
    pub no_reply: bool,
    /// Of a backchannel: true if the service fell silent for it; empty where that cannot be judged.
    pub false_stop: Option<bool>,
    /// Reason for which the response is not judged; empty where it is.
    pub discarded: String,
    /// Reason for which the stop is not judged; empty where it is, or none is awaited.
    pub stop_discarded: String,
    /// Start of the answer.
    pub reply_from_s: Option<f64>,
    /// Its end.
    pub reply_to_s: Option<f64>,
}

impl TurnRow {
    /// True for a turn that counts: its caller ended in the measured window, in seconds from the start of the run.
    pub fn is_within(&self, window: Option<&Range<f64>>) -> bool {
        window.is_some_and(|window| window.contains(&self.said_to_s))
    }

    /// True for a turn of the caller's that waits for an answer and is judged.
    pub fn is_judged(&self) -> bool {
        self.response_ms.is_some() || self.no_reply
    }
}
