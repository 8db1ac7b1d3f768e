//! The INVITE client transaction (RFC 3261 17.1.1, with the Accepted state of RFC 6026 7.2).

use std::time::Duration;

use crate::sip::message::Message;
use crate::sip::outgoing::{Request, SipDatagram};
use crate::sip::timers::{TIMER_B, TIMER_D, TIMER_M};
use crate::stamp::Stamp;

use super::TimerAction;
use super::retransmit::Retransmit;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InviteState {
    Calling,
    Proceeding,
    /// Rejected and acknowledged; waits for the rejection to come again.
    Completed,
    /// Accepted; waits for the 2xx to come again, or from another branch of a fork.
    Accepted,
    Terminated,
}

/// One INVITE on its way.
#[derive(Debug)]
pub(in crate::sip) struct InviteClient {
    request: Request,
    state: InviteState,
    /// Timer A, with B while calling, D when rejected and M when accepted.
    timer: Retransmit,
}

impl InviteClient {
    /// The transaction in Calling; the request itself is in [`InviteClient::datagram`].
    pub(in crate::sip) fn new(now: Stamp, request: Request) -> Self {
        // Timer A doubles without a bound (RFC 3261 17.1.1.2).
        let mut timer = Retransmit::start(now, request.datagram(), Duration::MAX, TIMER_B);
        if request.transport.is_reliable() {
            timer.stop();
        }
        InviteClient { state: InviteState::Calling, timer, request }
    }

    pub(in crate::sip) fn request(&self) -> &Request {
        &self.request
    }

    pub(in crate::sip) fn datagram(&self) -> SipDatagram {
        self.timer.datagram.clone()
    }

    /// True if a response is this transaction's (RFC 3261 17.1.3).
    pub(in crate::sip) fn matches(&self, response: &Message) -> bool {
        response.branch() == Some(self.request.branch.as_str()) && response.cseq().number == self.request.cseq
    }

    /// True until the final response.
    pub(in crate::sip) fn is_pending(&self) -> bool {
        matches!(self.state, InviteState::Calling | InviteState::Proceeding)
    }

    /// True between a provisional and the final response.
    pub(in crate::sip) fn is_proceeding(&self) -> bool {
        self.state == InviteState::Proceeding
    }

    /// A 1xx: no more retransmissions. False if the answer has already been final.
    pub(in crate::sip) fn on_provisional(&mut self) -> bool {
        if self.is_pending() {
            self.state = InviteState::Proceeding;
            self.timer.end_at(None);
        }
        self.is_proceeding()
    }

    /// A 2xx. False if the transaction had ended otherwise; the dialog's ACK is not ours to send.
    pub(in crate::sip) fn on_success(&mut self, now: Stamp) -> bool {
        if self.is_pending() {
            self.state = InviteState::Accepted;
            self.timer.end_at(Some(now + TIMER_M));
        }
        self.state == InviteState::Accepted
    }

    /// A 3xx to 6xx: the ACK to send, and whether this is the first of them.
    pub(in crate::sip) fn on_rejection(
        &mut self,
        now: Stamp,
        rejection: &Message,
    ) -> Option<(SipDatagram, bool)> {
        let is_first = self.is_pending();
        if is_first {
            self.state = InviteState::Completed;
            // Timer D is zero where nothing comes again (RFC 3261 17.1.1.2).
            self.timer.end_at((!self.request.transport.is_reliable()).then_some(now + TIMER_D));
        }
        if self.state != InviteState::Completed {
            return None;
        }
        Some((self.request.ack_rejection(rejection).datagram(), is_first))
    }

    /// Gives up an INVITE that nobody answers finally, not even after CANCEL (RFC 3261 9.1).
    pub(in crate::sip) fn abandon(&mut self) {
        self.state = InviteState::Terminated;
        self.timer.end_at(None);
    }

    pub(in crate::sip) fn handle_timeout(&mut self, now: Stamp) -> TimerAction {
        let due = self.timer.handle_timeout(now);
        if due != TimerAction::TimedOut {
            return due;
        }
        let was_calling = self.state == InviteState::Calling;
        self.state = InviteState::Terminated;
        if was_calling { TimerAction::TimedOut } else { TimerAction::Nothing }
    }

    pub(in crate::sip) fn poll_timeout(&self) -> Option<Stamp> {
        self.timer.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Method;
    use crate::sip::parse;
    use crate::sip::transaction::tests::{over_tcp, request, sends};

    fn at_ms(n: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(n)
    }

    fn rest(invite: &mut InviteClient) -> (Vec<u64>, (u64, TimerAction)) {
        let invite = std::cell::RefCell::new(invite);
        sends(|| invite.borrow().poll_timeout(), |now| invite.borrow_mut().handle_timeout(now))
    }

    #[test]
    fn timer_a_doubles_and_timer_b_ends_it() {
        let mut invite = InviteClient::new(Stamp::ZERO, request(Method::Invite));
        assert_eq!(
            rest(&mut invite),
            (vec![500, 1500, 3500, 7500, 15_500, 31_500], (32_000, TimerAction::TimedOut))
        );
        assert!(!invite.on_provisional() && !invite.on_success(at_ms(32_001)));
    }

    #[test]
    fn a_provisional_answer_stops_the_timers() {
        let mut invite = InviteClient::new(Stamp::ZERO, request(Method::Invite));
        assert!(invite.on_provisional() && invite.on_provisional());
        assert_eq!(invite.poll_timeout(), None);
    }

    #[test]
    fn an_accepted_invite_waits_for_more_and_takes_no_other_end() {
        let mut invite = InviteClient::new(Stamp::ZERO, request(Method::Invite));
        assert!(invite.on_success(at_ms(100)) && invite.on_success(at_ms(200)));
        assert!(!invite.on_provisional());
        assert!(invite.on_rejection(at_ms(300), &rejection()).is_none());
        assert_eq!(rest(&mut invite), (vec![], (32_100, TimerAction::Nothing)));
    }

    #[test]
    fn each_rejection_is_acknowledged_until_timer_d() {
        let mut invite = InviteClient::new(Stamp::ZERO, request(Method::Invite));
        let (ack, is_first) = invite.on_rejection(at_ms(100), &rejection()).expect("an ACK");
        assert!(is_first);
        assert_eq!(invite.on_rejection(at_ms(600), &rejection()), Some((ack.clone(), false)));
        let ack = parse(&ack.bytes).expect("the ACK parses");
        assert_eq!((ack.branch(), ack.to_tag()), (Some("z9hG4bKt"), Some("b")));
        assert!(ack.body().is_empty() && ack.header("Contact").is_none());
        assert_eq!(rest(&mut invite), (vec![], (32_100, TimerAction::Nothing)));
        assert!(invite.on_rejection(at_ms(33_000), &rejection()).is_none());
    }

    #[test]
    fn over_a_reliable_transport_it_is_sent_once_and_a_rejection_ends_it() {
        let mut invite = InviteClient::new(Stamp::ZERO, over_tcp(Method::Invite));
        assert_eq!(rest(&mut invite), (vec![], (32_000, TimerAction::TimedOut)));
        let mut invite = InviteClient::new(Stamp::ZERO, over_tcp(Method::Invite));
        let (ack, is_first) = invite.on_rejection(at_ms(100), &rejection()).expect("an ACK");
        assert!(is_first && invite.poll_timeout().is_none());
        let ack = parse(&ack.bytes).expect("the ACK parses");
        assert!(ack.via().starts_with("SIP/2.0/TCP "), "{}", ack.via());
        // A 2xx may come again over any transport (RFC 3261 13.3.1.4), and from other branches of a fork.
        let mut invite = InviteClient::new(Stamp::ZERO, over_tcp(Method::Invite));
        assert!(invite.on_success(at_ms(100)));
        assert_eq!(rest(&mut invite), (vec![], (32_100, TimerAction::Nothing)));
    }

    fn rejection() -> Message {
        let text = "SIP/2.0 486 Busy\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKt\r\n\
            From: <sip:a@h>;tag=a\r\nTo: <sip:b@h>;tag=b\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";
        parse(text.as_bytes()).expect("it parses")
    }
}
