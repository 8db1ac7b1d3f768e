//! Inputs and outputs of a call's state machine.

use std::time::Duration;

use super::MediaPeer;
use super::event::Event;
use super::outcome::ServiceCall;
use super::request::{AriRequest, Operation};
use crate::stamp::Stamp;

/// An input of a call.
#[derive(Debug, Clone)]
pub enum AriInput<'a> {
    /// An event about one of the call's channels or its bridge.
    Event(&'a Event),
    /// Asterisk answered a request.
    Answer {
        /// The request's operation.
        operation: Operation,
        /// The HTTP status.
        status: u16,
        /// Of [`Operation::CreateMedia`]: the place of Asterisk's side of the media, where it tells one.
        media: Option<MediaPeer>,
    },
    /// A request failed without an answer.
    NoAnswer {
        /// The request's operation.
        operation: Operation,
        /// True if Asterisk may have received it.
        sent: bool,
    },
    /// The call has lasted as long as it should.
    HangUp,
    /// The service is shutting down.
    Shutdown,
    /// Asterisk was started anew since the call began: nothing that it had is there any more.
    AsteriskRestarted,
    /// The time that [`AriCall::poll_timeout`](super::call::AriCall::poll_timeout) named has come.
    Timeout,
}

/// An output of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AriOutput {
    /// Send this; the answer is owed as [`AriInput::Answer`] or [`AriInput::NoAnswer`].
    Request(AriRequest),
    /// Fix the peer of the media.
    ConnectMedia(MediaPeer),
    /// Give the place of the media back. Once, unless the call never had one.
    ReleasePort,
    /// The caller was answered.
    Answered(Stamp),
    /// The media channel has entered the application.
    MediaReady(Stamp),
    /// Caller and media are in the bridge.
    Bridged(Stamp),
    /// Nothing is held any more; always the last output.
    Ended(ServiceCall),
    /// Worth a line in a log.
    Note(Note),
}

/// Oddities that do not change a call's course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// An operation is tried again.
    Retry {
        /// The request's operation.
        operation: Operation,
        /// The answer to the last attempt.
        status: Option<u16>,
        /// The pause before the next.
        after: Duration,
    },
    /// A deletion failed for good.
    NotDeleted {
        /// The request's operation.
        operation: Operation,
        /// The answer to the last attempt.
        status: Option<u16>,
    },
    /// A hang-up was accepted and the channel's end was not heard of within [`GONE_LIMIT`](super::call::GONE_LIMIT).
    EndNotHeard {
        /// The request's operation.
        operation: Operation,
    },
}
