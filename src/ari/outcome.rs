//! A call's end and its stages.

use strum::IntoStaticStr;

use super::request::Operation;
use crate::stamp::Stamp;

/// The end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ServiceOutcome {
    /// Bridged, until the caller hung up, or the service at the planned end.
    Completed,
    /// The caller hung up before the call was bridged.
    CallerGone,
    /// Not bridged within [`SETUP_LIMIT`](super::call::SETUP_LIMIT).
    NotBridged,
    /// One of the channels left the bridge and did not come back.
    Unbridged,
    /// The external media channel ended under the call.
    MediaLost,
    /// The bridge was destroyed under the call.
    BridgeLost,
    /// Asterisk was started anew: the call went with the old one.
    AsteriskRestarted,
    /// Asterisk created the media channel and did not say where its media are.
    NoMediaAddress,
    /// Asterisk refused an operation, or never answered it.
    Refused {
        /// The operation.
        operation: Operation,
        /// The status; `None` when there was no answer.
        status: Option<u16>,
    },
    /// No port was free: turned away.
    NoPort,
    /// The caller was in the application before the service was, and what an earlier service had made
    /// for it could not be cleared away: hung up.
    NotCleared,
    /// The service was shutting down.
    #[default]
    Shutdown,
}

impl ServiceOutcome {
    /// The name in metrics and files.
    pub fn key(self) -> &'static str {
        self.into()
    }
}

/// The stages of one call, and its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceCall {
    /// StasisStart of the caller.
    pub started_at: Stamp,
    /// The answer's 204.
    pub answered_at: Option<Stamp>,
    /// StasisStart of the external media channel.
    pub media_ready_at: Option<Stamp>,
    /// The later of the two ChannelEnteredBridge.
    pub bridged_at: Option<Stamp>,
    /// The call's end, before anything was deleted.
    pub ended_at: Stamp,
    /// The deletion of the last thing that it held.
    pub released_at: Stamp,
    /// Its end.
    pub outcome: ServiceOutcome,
    /// Requests that were repeated.
    pub retries: u32,
    /// Everything that could not be deleted.
    pub left_behind: LeftBehind,
}

/// Things that may still exist in Asterisk after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftBehind {
    /// The caller's channel.
    pub caller: bool,
    /// The external media channel.
    pub media: bool,
    /// The bridge.
    pub bridge: bool,
}

impl LeftBehind {
    /// True if there is anything.
    pub fn any(self) -> bool {
        self.caller || self.media || self.bridge
    }
}
