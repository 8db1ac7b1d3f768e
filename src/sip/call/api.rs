//! Inputs and outputs of a call.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::sip::digest::{AuthError, Credentials};
use crate::sip::identity::Identity;
use crate::sip::message::Method;
use crate::sip::outgoing::SipDatagram;
use crate::sip::sdp::{Answer, LocalMedia, SdpError};
use crate::sip::transport::Transport;
use crate::stamp::Stamp;

/// Everything that a call is placed with.
#[derive(Debug, Clone)]
pub struct CallConfig {
    /// The Request-URI, e.g. `sip:echo@192.0.2.1:5060`.
    pub target: String,
    /// Destination of the INVITE, a proxy where there is one; later requests follow the peer's Contact and Record-Route.
    pub remote: SocketAddr,
    /// Our own address as others reach it: never 0.0.0.0. Of a connection its own, port and all.
    pub local: SocketAddr,
    /// Transport of all messages.
    pub transport: Transport,
    /// From, To, headers of one's own, and the route to a proxy.
    pub identity: Identity,
    /// What is done where far ends are odd.
    pub habits: Habits,
    /// The Call-ID, unique in the run: responses and requests find their call by it.
    pub call_id: String,
    /// Our tag, which names our end of the dialog.
    pub from_tag: String,
    /// Makes the branches and client nonces: the same seed, the same call. Differs between calls.
    pub seed: u64,
    /// Answers challenges, if configured.
    pub credentials: Option<Credentials>,
    /// Our side of the media.
    pub media: LocalMedia,
    /// Longest wait for an answer; after it the call is cancelled.
    pub setup_timeout: Duration,
    /// Seconds within which the session is to be refreshed (RFC 4028), if that is asked for. What the far end asks for
    /// is kept to either way.
    pub session_expires: Option<u32>,
}

/// What a call does where far ends are odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Habits {
    /// A 3xx is followed, once.
    pub follow_redirects: bool,
    /// All requests of a call go where its INVITE went, wherever Contact and Record-Route point.
    pub ignore_contact: bool,
}

/// Output of a call, to be handled in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutput {
    /// A datagram to be sent.
    Send(SipDatagram),
    /// An event for the call's owner.
    Event(CallEvent),
}

/// Event of a call. Each call ends with exactly one of those that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEvent {
    /// A provisional response (RFC 3261 13.2.2.1).
    Provisional {
        /// 100 to 199.
        code: u16,
        /// Time of its receipt.
        at: Stamp,
    },
    /// The call is up: the 200 has come and been acknowledged.
    Answered {
        /// Receipt of the 200.
        at: Stamp,
        /// The peer's media, which may be on hold.
        answer: Answer,
    },
    /// The peer moved, held or resumed the media with a re-INVITE or UPDATE, and we agreed: [`Answer::on_hold`] says
    /// whether it takes no media, or gives none.
    MediaChanged {
        /// Receipt of the request.
        at: Stamp,
        /// The peer's media from now on.
        answer: Answer,
    },
    /// We described our media as the peer asked: it may send from elsewhere as soon as it has read that, before its
    /// answer comes.
    MediaOffered {
        /// Receipt of the request.
        at: Stamp,
    },
    /// Something about the peer that its owner should know, and that changes nothing by itself.
    Remark(CallRemark),
    /// The call did not come up. Ends the call.
    Failed {
        /// The reason.
        reason: FailReason,
        /// Time at which that was known.
        at: Stamp,
    },
    /// The peer sent BYE. Ends the call.
    RemoteHangup {
        /// Receipt of the BYE.
        at: Stamp,
        /// The BYE's Reason header (RFC 3326), e.g. `Q.850;cause=16`.
        cause: Option<String>,
    },
    /// The session was not refreshed in its time (RFC 4028), and we hung up. Ends the call.
    Expired {
        /// Time at which the BYE was sent.
        at: Stamp,
        /// What the far end did not do.
        why: String,
    },
    /// We hung up a call that was up. Ends the call.
    HungUp {
        /// Receipt of its final answer, or the end of the wait for it.
        at: Stamp,
        /// The final answer; `None` if none came in 32 s (timer F).
        code: Option<u16>,
    },
    /// We gave up a call before it was up. Ends the call.
    Cancelled {
        /// Receipt of the peer's agreement, or the end of the wait for it.
        at: Stamp,
    },
}

/// A peculiarity of the peer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallRemark {
    /// It sent a message that cannot be read; said once a call.
    Unreadable {
        /// Its first line and its fault.
        why: String,
    },
    /// It had us offer the media in mid-call, and its ACK has no answer that can be used: the media stays as it was.
    OfferUnanswered {
        /// The fault.
        why: String,
    },
    /// It offered media in mid-call that cannot be used, or while an offer of ours was open: it was refused, and the call
    /// goes on as it was.
    OfferRefused {
        /// The status that refused it.
        code: u16,
        /// The fault.
        why: String,
    },
    /// It asks for packets of another length than ours, and gets ours; said once a call.
    OtherPtime {
        /// Milliseconds of audio in a packet, as its session description says.
        said_ms: u32,
        /// Ours.
        ours_ms: u32,
    },
    /// It sent an answer to INVITE that is not to ours, which is discarded; said once a call.
    Unmatched {
        /// The status, and what is not ours.
        why: String,
    },
    /// It takes no notice of a request that went where its Contact or Record-Route points; said once a call.
    Unheard {
        /// ACK where it repeats its 200, PRACK where it repeats a provisional answer, BYE where it does not answer.
        method: Method,
        /// Its Contact; empty where it gave none.
        contact: String,
        /// Destination of the request.
        sent_to: SocketAddr,
    },
    /// No connection can be opened where its Contact or Record-Route points: all goes where the INVITE went.
    NoWay {
        /// Its Contact; empty where it gave none.
        contact: String,
        /// The reason.
        why: String,
    },
    /// It sent the caller elsewhere, and there we went.
    Redirected {
        /// The new Request-URI.
        to: String,
    },
}

impl fmt::Display for CallRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallRemark::Unreadable { why } | CallRemark::Unmatched { why } => {
                write!(f, "the far end answers, but cannot be read: {why}")
            }
            CallRemark::OfferUnanswered { why } => {
                write!(f, "the far end's answer to our offer cannot be used: {why}")
            }
            CallRemark::OfferRefused { code, why } => {
                write!(f, "its offer in mid-call was refused with {code}: {why}")
            }
            CallRemark::OtherPtime { said_ms, ours_ms } => {
                write!(
                    f,
                    "the far end asks for a packet every {said_ms} ms (a=ptime), and gets one every {ours_ms} ms"
                )?;
                match said_ms.is_multiple_of(10) && (10..=60).contains(said_ms) {
                    true => write!(f, "; media.ptime = \"{said_ms}ms\" does as it asks"),
                    false => Ok(()),
                }
            }
            CallRemark::Unheard { method, contact, sent_to } => {
                let seen = match method {
                    Method::Prack => "its provisional answer comes again and again: nobody hears PRACK",
                    Method::Bye => "nobody hears BYE",
                    _ => "its 200 comes again and again: nobody hears ACK and BYE",
                };
                write!(
                    f,
                    "{seen} at {sent_to}, where its Contact `{contact}` or its Record-Route points; sip.ignore_contact = \
                     true sends such requests where the INVITE went"
                )
            }
            CallRemark::NoWay { contact, why } => write!(
                f,
                "nobody hears ACK and BYE where its Contact `{contact}` or its Record-Route points, so they go where the \
                 INVITE went: {why}"
            ),
            CallRemark::Redirected { to } => write!(f, "the far end had sent the caller on, to {to}"),
        }
    }
}

/// Reason of a call that did not come up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FailReason {
    /// The peer answered 300 to 699.
    #[error("{reason}{}", .cause.as_ref().map(|c| format!(" ({c})")).unwrap_or_default())]
    Rejected {
        /// The status code.
        code: u16,
        /// The reason phrase.
        reason: String,
        /// The Reason header (RFC 3326), e.g. `Q.850;cause=34`.
        cause: Option<String>,
    },
    /// No final answer in time: to be read as a 408 (RFC 3261 8.1.3.1).
    #[error("no answer in time")]
    Timeout,
    /// No final answer in time that could be read; the first that could not, and its fault.
    #[error("the far end answers, but cannot be read: {0}")]
    Unreadable(String),
    /// The peer asked for credentials, and that came to nothing.
    #[error("{0}")]
    AuthFailed(AuthError),
    /// The peer accepted the call with media that we cannot use; the call was hung up.
    #[error("bad SDP answer: {0}")]
    BadAnswer(SdpError),
    /// The connection over which the INVITE went could not be opened, or has ended; the reason.
    #[error("{0}")]
    Unreachable(String),
    /// The peer sent BYE before it answered.
    #[error("hung up before it was answered")]
    HungUpEarly,
}

/// The times that a call is measured by. Those of received messages are the stamps passed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// The first INVITE was sent.
    pub invite_sent_at: Option<Stamp>,
    /// The first provisional answer came, 100 included: of the place that a redirection names, where one was followed.
    pub trying_at: Option<Stamp>,
    /// The first 180 to 199 came. SRD ends here or at the 2xx, whichever is first (RFC 6076 4.3).
    pub progress_at: Option<Stamp>,
    /// The 2xx came.
    pub answered_at: Option<Stamp>,
    /// Our BYE was first sent.
    pub bye_sent_at: Option<Stamp>,
    /// Its final answer came.
    pub bye_answered_at: Option<Stamp>,
}

impl Times {
    /// Session request delay: INVITE → first 18x or 2xx (RFC 6076 4.3.1).
    pub fn session_request_delay(&self) -> Option<Duration> {
        let first = [self.progress_at, self.answered_at].into_iter().flatten().min()?;
        Some(first.since(self.invite_sent_at?))
    }

    /// INVITE → first provisional answer.
    pub fn trying_delay(&self) -> Option<Duration> {
        Some(self.trying_at?.since(self.invite_sent_at?))
    }

    /// Answer delay: INVITE → 200.
    pub fn answer_delay(&self) -> Option<Duration> {
        Some(self.answered_at?.since(self.invite_sent_at?))
    }

    /// Session disconnect delay: BYE → its final answer (RFC 6076 4.4).
    pub fn session_disconnect_delay(&self) -> Option<Duration> {
        Some(self.bye_answered_at?.since(self.bye_sent_at?))
    }
}
