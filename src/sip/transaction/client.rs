//! The client transaction of every request but INVITE (RFC 3261 17.1.2).

use std::net::SocketAddr;

use crate::sip::message::{Message, Method};
use crate::sip::outgoing::{Request, SipDatagram};
use crate::sip::timers::{T2, TIMER_F, TIMER_K};
use crate::stamp::Stamp;

use super::TimerAction;
use super::retransmit::Retransmit;

/// One request other than INVITE on its way.
#[derive(Debug)]
pub(in crate::sip) struct Client {
    branch: String,
    method: Method,
    /// A final answer has come; it may come again.
    is_answered: bool,
    /// Timer E, with F until answered and K after.
    timer: Retransmit,
    /// Timers E and K are zero (RFC 3261 17.1.2.2).
    is_reliable: bool,
    /// It was sent once more because its connection had ended.
    was_sent_anew: bool,
}

impl Client {
    /// The transaction in Trying (RFC 3261 figure 6); the request itself is in [`Client::datagram`].
    pub(in crate::sip) fn new(now: Stamp, request: &Request) -> Self {
        let is_reliable = request.transport.is_reliable();
        let mut timer = Retransmit::start(now, request.datagram(), T2, TIMER_F);
        if is_reliable {
            timer.stop();
        }
        Client {
            branch: request.branch.clone(),
            method: request.method.clone(),
            is_answered: false,
            timer,
            is_reliable,
            was_sent_anew: false,
        }
    }

    pub(in crate::sip) fn datagram(&self) -> SipDatagram {
        self.timer.datagram.clone()
    }

    /// True if a response is this transaction's (RFC 3261 17.1.3).
    pub(in crate::sip) fn matches(&self, response: &Message) -> bool {
        response.branch() == Some(self.branch.as_str()) && *response.method() == self.method
    }

    /// Takes a response; true if it is the first final one.
    pub(in crate::sip) fn on_response(&mut self, now: Stamp, code: u16) -> bool {
        let is_over = self.timer.poll_timeout().is_none();
        if self.is_answered || is_over {
            return false;
        }
        if code < 200 {
            self.timer.slow_down();
            return false;
        }
        self.is_answered = true;
        self.timer.end_at((!self.is_reliable).then_some(now + TIMER_K));
        true
    }

    /// True for one that went to `peer` and has no final answer yet.
    pub(in crate::sip) fn is_open_at(&self, peer: SocketAddr) -> bool {
        let is_over = self.timer.poll_timeout().is_none();
        !self.is_answered && !is_over && self.timer.datagram.destination == peer
    }

    /// The connection to `peer` has ended: the request once more, for another one, if it went there and has no answer.
    /// The peer may have had it, and knows it again by its branch.
    pub(in crate::sip) fn on_transport_error(&mut self, peer: SocketAddr) -> Option<SipDatagram> {
        if self.was_sent_anew || !self.is_open_at(peer) {
            return None;
        }
        self.was_sent_anew = true;
        Some(self.datagram())
    }

    /// There is no way to `peer`: the request for another destination, if it went there and has no answer.
    pub(in crate::sip) fn on_no_way(&mut self, peer: SocketAddr, other: SocketAddr) -> Option<SipDatagram> {
        if !self.is_open_at(peer) {
            return None;
        }
        self.timer.datagram.destination = other;
        Some(self.datagram())
    }

    pub(in crate::sip) fn handle_timeout(&mut self, now: Stamp) -> TimerAction {
        match self.timer.handle_timeout(now) {
            TimerAction::TimedOut if self.is_answered => TimerAction::Nothing,
            due => due,
        }
    }

    pub(in crate::sip) fn poll_timeout(&self) -> Option<Stamp> {
        self.timer.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::transaction::tests::{over_tcp, request, sends};

    fn at_ms(n: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(n)
    }

    fn rest(client: &mut Client) -> (Vec<u64>, (u64, TimerAction)) {
        let client = std::cell::RefCell::new(client);
        sends(|| client.borrow().poll_timeout(), |now| client.borrow_mut().handle_timeout(now))
    }

    #[test]
    fn timer_e_doubles_up_to_t2_and_timer_f_ends_it() {
        let mut client = Client::new(Stamp::ZERO, &request(Method::Bye));
        let (sent, end) = rest(&mut client);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert_eq!(end, (32_000, TimerAction::TimedOut));
    }

    #[test]
    fn a_provisional_answer_slows_retransmissions_to_t2() {
        let mut client = Client::new(Stamp::ZERO, &request(Method::Bye));
        assert!(!client.on_response(at_ms(100), 100));
        let (sent, end) = rest(&mut client);
        assert_eq!(sent, [500, 4500, 8500, 12_500, 16_500, 20_500, 24_500, 28_500]);
        assert_eq!(end, (32_000, TimerAction::TimedOut));
    }

    #[test]
    fn the_first_final_answer_counts_and_timer_k_absorbs_the_rest() {
        let mut client = Client::new(Stamp::ZERO, &request(Method::Bye));
        assert!(client.on_response(at_ms(100), 200));
        assert!(!client.on_response(at_ms(200), 200));
        let (sent, end) = rest(&mut client);
        assert_eq!((sent, end), (vec![], (5100, TimerAction::Nothing)));
    }

    #[test]
    fn over_a_reliable_transport_only_timer_f_is_left() {
        let mut client = Client::new(Stamp::ZERO, &over_tcp(Method::Bye));
        assert!(!client.on_response(at_ms(100), 100));
        assert_eq!(rest(&mut client), (vec![], (32_000, TimerAction::TimedOut)));
        let mut client = Client::new(Stamp::ZERO, &over_tcp(Method::Bye));
        assert!(client.on_response(at_ms(100), 200) && !client.on_response(at_ms(101), 200));
        assert_eq!(client.poll_timeout(), None);
    }

    #[test]
    fn a_request_whose_connection_has_ended_is_sent_once_more() {
        let (there, elsewhere) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.1:5061".parse().unwrap());
        let mut client = Client::new(Stamp::ZERO, &over_tcp(Method::Bye));
        assert_eq!(client.on_transport_error(elsewhere), None);
        assert_eq!(client.on_transport_error(there), Some(client.datagram()));
        assert_eq!(client.on_transport_error(there), None);
        let mut answered = Client::new(Stamp::ZERO, &over_tcp(Method::Bye));
        answered.on_response(at_ms(100), 200);
        assert_eq!(answered.on_transport_error(there), None);
        assert_eq!(answered.on_no_way(there, elsewhere), None);
    }

    #[test]
    fn a_request_to_which_there_is_no_way_goes_another() {
        let (there, elsewhere) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.1:5061".parse().unwrap());
        let mut client = Client::new(Stamp::ZERO, &over_tcp(Method::Bye));
        client.on_transport_error(there);
        assert_eq!(client.on_no_way(elsewhere, there), None);
        let sent = client.on_no_way(there, elsewhere).expect("the request");
        assert_eq!((sent.destination, &sent.bytes), (elsewhere, &client.datagram().bytes));
        assert!(client.is_open_at(elsewhere) && !client.is_open_at(there));
        assert_eq!(client.on_no_way(there, elsewhere), None);
    }
}
