//! Transactions (RFC 3261 17), one function per input, without a socket or a clock. Over a reliable transport nothing is
//! sent again, and nobody waits for what would be.

mod client;
mod invite_client;
mod retransmit;
mod server;

pub(super) use client::Client;
pub(super) use invite_client::InviteClient;
pub(super) use server::{Key, Server};

use super::outgoing::SipDatagram;

/// Work that a transaction's timers ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TimerAction {
    /// None.
    Nothing,
    /// Send the message again.
    Resend(SipDatagram),
    /// No answer in time (RFC 3261 8.1.3.1: to be treated as a 408).
    TimedOut,
}

#[cfg(test)]
pub(super) mod tests {
    use super::TimerAction;
    use crate::sip::message::Method;
    use crate::sip::outgoing::Request;
    use crate::sip::transport::Transport;
    use crate::stamp::Stamp;

    pub(super) fn request(method: Method) -> Request {
        Request {
            method,
            uri: "sip:b@h".into(),
            local: "192.0.2.9:5070".parse().expect("an address"),
            transport: Transport::Udp,
            branch: "z9hG4bKt".into(),
            from: "<sip:a@h>;tag=a".into(),
            to: "<sip:b@h>".into(),
            call_id: "c".into(),
            cseq: 1,
            routes: Vec::new(),
            credentials: Vec::new(),
            headers: Vec::new(),
            sdp: None,
            destination: "192.0.2.1:5060".parse().expect("an address"),
        }
    }

    /// The same over a reliable transport.
    pub(super) fn over_tcp(method: Method) -> Request {
        Request { transport: Transport::Tcp, ..request(method) }
    }

    /// Lets a transaction's timers run out: the milliseconds of its retransmissions, and its end.
    pub(super) fn sends(
        poll_timeout: impl Fn() -> Option<Stamp>,
        handle_timeout: impl Fn(Stamp) -> TimerAction,
    ) -> (Vec<u64>, (u64, TimerAction)) {
        let (mut sent, mut end) = (Vec::new(), (0, TimerAction::Nothing));
        while let Some(now) = poll_timeout() {
            let at_ms = now.as_ns() / 1_000_000;
            match handle_timeout(now) {
                TimerAction::Resend(_) => sent.push(at_ms),
                due => end = (at_ms, due),
            }
        }
        (sent, end)
    }
}
