//! The server transaction of a request that was answered at once (RFC 3261 17.2, 13.3.1.4).
//!
//! Every request is answered finally when it comes, so there is no Trying and no Proceeding here.

use crate::sip::message::{Message, Method};
use crate::sip::outgoing::SipDatagram;
use crate::sip::timers::{T2, TIMER_H, TIMER_J};
use crate::stamp::Stamp;

use super::TimerAction;
use super::retransmit::Retransmit;

/// Name of a server transaction (RFC 3261 17.2.3). ACK is never a transaction of its own.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sip) struct Key {
    branch: String,
    sent_by: String,
    method: Method,
}

impl Key {
    /// The name of `request`'s transaction. It goes through the topmost Via: once for a request is enough.
    pub(in crate::sip) fn of(request: &Message) -> Self {
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
    /// Timer G until the ACK of an INVITE's answer, with H; J for other requests.
    timer: Retransmit,
}

impl Server {
    /// The transaction of `request`, whose name is `key`, just answered with `answer`.
    pub(in crate::sip) fn new(now: Stamp, request: &Message, key: Key, answer: SipDatagram) -> Self {
        // A 2xx to INVITE is sent again over any transport (RFC 3261 13.3.1.4); nothing else is over a stream.
        let is_reliable = request.came_over_stream();
        let is_success = answer.bytes.starts_with(b"SIP/2.0 2");
        let mut timer = Retransmit::start(now, answer, T2, TIMER_H);
        if *request.method() != Method::Invite {
            timer.end_at((!is_reliable).then_some(now + TIMER_J));
        } else if is_reliable && !is_success {
            timer.stop();
        }
        Server { key, cseq: request.cseq().number, timer }
    }

    pub(in crate::sip) fn answer(&self) -> SipDatagram {
        self.timer.datagram.clone()
    }

    /// True if a request of this name is the answered one, sent again.
    pub(in crate::sip) fn matches(&self, key: &Key) -> bool {
        self.key == *key
    }

    /// True if a CANCEL of this name means this transaction (RFC 3261 9.2).
    pub(in crate::sip) fn is_cancelled_by(&self, cancel: &Key) -> bool {
        let Key { branch, sent_by, method } = &self.key;
        *method == Method::Invite && *branch == cancel.branch && *sent_by == cancel.sent_by
    }

    /// An ACK: the answer to the INVITE with this CSeq has arrived.
    pub(in crate::sip) fn on_ack(&mut self, ack: &Message) {
        if self.key.method == Method::Invite && self.cseq == ack.cseq().number {
            self.timer.stop();
        }
    }

    pub(in crate::sip) fn is_over(&self) -> bool {
        self.timer.poll_timeout().is_none()
    }

    pub(in crate::sip) fn handle_timeout(&mut self, now: Stamp) -> TimerAction {
        self.timer.handle_timeout(now)
    }

    pub(in crate::sip) fn poll_timeout(&self) -> Option<Stamp> {
        self.timer.poll_timeout()
    }
}
