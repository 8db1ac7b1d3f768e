//! The server transaction of a request that was answered at once (RFC 3261 17.2, 13.3.1.4).
//!
//! Every request is answered finally when it comes, so there is no Trying and no Proceeding here.

use std::time::Duration;

use crate::sip::message::{Message, Method};
use crate::sip::timers::{T1, T2, TIMER_H, TIMER_J, earliest, is_due};
use crate::stamp::Stamp;

use super::Datagram;

/// What names a server transaction (RFC 3261 17.2.3). ACK is never a transaction of its own.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    branch: String,
    sent_by: String,
    method: Method,
}

impl Key {
    fn of(request: &Message) -> Self {
        // A peer from before RFC 3261 sends no branch; its whole Via has to do.
        let branch = request.branch().unwrap_or(request.via()).to_string();
        Key { branch, sent_by: request.sent_by(), method: request.method().clone() }
    }
}

/// A request that has been answered, until its peer cannot send it again any more.
#[derive(Debug)]
pub(in crate::sip) struct Server {
    key: Key,
    cseq: u32,
    answer: Datagram,
    /// The next retransmission of the answer: only for INVITE, until its ACK.
    resend: Option<Stamp>,
    interval: Duration,
    /// Timer H or J.
    end: Stamp,
}

impl Server {
    /// The transaction of `request`, just answered with `answer`.
    pub(in crate::sip) fn new(now: Stamp, request: &Message, answer: Datagram) -> Self {
        let is_invite = *request.method() == Method::Invite;
        Server {
            key: Key::of(request),
            cseq: request.cseq().number,
            answer,
            resend: is_invite.then(|| now + T1),
            interval: T1,
            end: now + if is_invite { TIMER_H } else { TIMER_J },
        }
    }

    pub(in crate::sip) fn answer(&self) -> Datagram {
        self.answer.clone()
    }

    /// Whether a request is the one that was answered, sent again.
    pub(in crate::sip) fn matches(&self, request: &Message) -> bool {
        self.key == Key::of(request)
    }

    /// Whether a CANCEL means this transaction (RFC 3261 9.2).
    pub(in crate::sip) fn is_cancelled_by(&self, cancel: &Message) -> bool {
        self.key == Key { method: Method::Invite, ..Key::of(cancel) }
    }

    /// An ACK: the answer to the INVITE with this CSeq has arrived.
    pub(in crate::sip) fn on_ack(&mut self, ack: &Message) {
        if self.key.method == Method::Invite && self.cseq == ack.cseq().number {
            self.resend = None;
        }
    }

    pub(in crate::sip) fn is_over(&self, now: Stamp) -> bool {
        self.end <= now
    }

    /// Whether the answer has to be sent again.
    pub(in crate::sip) fn handle_timeout(&mut self, now: Stamp) -> bool {
        if !is_due(self.resend, now) {
            return false;
        }
        self.interval = (self.interval * 2).min(T2);
        self.resend = Some(now + self.interval);
        true
    }

    pub(in crate::sip) fn poll_timeout(&self) -> Option<Stamp> {
        earliest([self.resend, Some(self.end)])
    }
}
