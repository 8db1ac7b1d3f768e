//! Observations beside the calls: set-up, ARI's state, lines of logs. Part of `environment.json`; the diagnosis
//! rests on them.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::Ladder;

/// Most distinct lines of a log that are kept.
pub const MOST_LINES: usize = 8;
/// Most characters of a kept line.
pub const MOST_LINE_CHARS: usize = 300;

/// State of Asterisk and the service during a trial, as far as somebody asked or read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Observed {
    /// Whom the run called, and as whom.
    pub setup: Setup,
    /// The first call, step by step.
    pub first_call: FirstCall,
    /// ARI's channels and bridges while calls were up, at the first silence where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ari: Option<AriState>,
    /// UDP datagrams that came to this machine in the trial, and for which no socket was there: of calls of which
    /// nothing is heard, their media from another address than the SDP names.
    pub unmatched: u64,
    /// First distinct SIP messages of the far end that could not be read, each with its fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<LogLine>,
    /// First distinct remarks on far ends whose Contact nobody hears at, or that sent callers on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub odd: Vec<LogLine>,
    /// SIP messages of the calls to look at first: those that went wrong, then the slowest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ladders: Vec<Ladder>,
    /// First distinct warnings and errors of Asterisk's log, without those of its own start and end.
    pub asterisk_log: Vec<LogLine>,
    /// First distinct lines of the service's output that look like errors, and its last line.
    pub service_log: Vec<LogLine>,
}

/// Addresses and names that the run used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Setup {
    /// True if the run started Asterisk itself.
    pub managed: bool,
    /// `builtin`, `command`, `external` or `none`.
    pub service: String,
    /// Address that SIP was sent to.
    pub target: String,
    /// User of the request's URI and To.
    pub to: String,
    /// User of From.
    pub from: String,
    /// User of the digest; empty without credentials.
    pub user: String,
    /// File of callers; absent without one, and in runs of older versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub accounts: String,
    /// Name of the ARI application.
    pub app: String,
    /// Time allowed for an answer, in words.
    pub setup_timeout: String,
}

impl Setup {
    /// True unless the target answers by itself; runs of older versions do not say.
    pub fn has_application(&self) -> bool {
        !matches!(self.service.as_str(), "none" | "")
    }
}

/// Answers of the far end in the first call of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct FirstCall {
    /// SIP answers in the order in which they came, the first ones.
    pub answers: Vec<SipAnswer>,
    /// Realm of the challenge; empty without one.
    pub realm: String,
    /// Address that the answer's SDP wants media sent to.
    pub media: String,
    /// Address that its packets came from, the first other than the SDP's where there was one; empty where none came.
    pub heard_from: String,
    /// RTP payload type of the answer's SDP.
    pub payload_type: Option<u8>,
}

/// One SIP answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SipAnswer {
    /// Milliseconds from the run's start.
    pub at_ms: f64,
    /// Method that it answers.
    pub method: String,
    /// Status code.
    pub status: u16,
    /// Reason phrase, cut.
    pub reason: String,
}

/// Channels and bridges at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct AriState {
    /// Seconds from the run's start.
    pub at_s: f64,
    /// Channels of callers of this run.
    pub callers: u64,
    /// Of them, those in no bridge.
    pub unbridged: u64,
    /// Of them, those that are not in the application under test.
    pub outside: u64,
    /// Channels of external media of the application.
    pub media: u64,
    /// Of these, those in no bridge.
    pub media_unbridged: u64,
    /// Bridges that hold a single channel.
    pub lone_bridges: u64,
}

/// Adds what another Asterisk shows.
impl AddAssign<&AriState> for AriState {
    fn add_assign(&mut self, other: &AriState) {
        self.at_s = self.at_s.max(other.at_s);
        self.callers += other.callers;
        self.unbridged += other.unbridged;
        self.outside += other.outside;
        self.media += other.media;
        self.media_unbridged += other.media_unbridged;
        self.lone_bridges += other.lone_bridges;
    }
}

/// A distinct line of a log; numbers that differ do not make it another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogLine {
    /// The line without its time, cut.
    pub text: String,
    /// Number of times that it was seen.
    pub count: u64,
}
