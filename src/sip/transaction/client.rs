//! The client transaction of every request but INVITE (RFC 3261 17.1.2).

use std::time::Duration;

use crate::sip::message::{Message, Method};
use crate::sip::outgoing::Request;
use crate::sip::timers::{T1, T2, TIMER_F, TIMER_K, earliest, is_due};
use crate::stamp::Stamp;

use super::{Datagram, Due};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    /// Answered; waits for the answer to come again.
    Completed,
    Terminated,
}

/// One request other than INVITE on its way.
#[derive(Debug)]
pub(in crate::sip) struct Client {
    branch: String,
    method: Method,
    datagram: Datagram,
    state: State,
    /// Timer E: the next retransmission, and the interval that led to it.
    resend: Option<Stamp>,
    interval: Duration,
    /// Timer F until answered, K after.
    end: Option<Stamp>,
}

impl Client {
    /// The transaction in Trying; the request itself is in [`Client::datagram`].
    pub(in crate::sip) fn new(now: Stamp, request: &Request) -> Self {
        Client {
            datagram: Datagram { destination: request.destination, bytes: request.to_bytes() },
            branch: request.branch.clone(),
            method: request.method.clone(),
            state: State::Trying,
            resend: Some(now + T1),
            interval: T1,
            end: Some(now + TIMER_F),
        }
    }

    pub(in crate::sip) fn datagram(&self) -> Datagram {
        self.datagram.clone()
    }

    /// Whether a response is this transaction's (RFC 3261 17.1.3).
    pub(in crate::sip) fn matches(&self, response: &Message) -> bool {
        response.branch() == Some(self.branch.as_str()) && *response.method() == self.method
    }

    /// Takes a response; true if it is the first final one.
    pub(in crate::sip) fn on_response(&mut self, now: Stamp, code: u16) -> bool {
        match self.state {
            State::Trying | State::Proceeding if code < 200 => {
                // From the next firing on, retransmissions come every T2 (RFC 3261 17.1.2.2).
                self.state = State::Proceeding;
                false
            }
            State::Trying | State::Proceeding => {
                self.state = State::Completed;
                self.resend = None;
                self.end = Some(now + TIMER_K);
                true
            }
            State::Completed | State::Terminated => false,
        }
    }

    pub(in crate::sip) fn handle_timeout(&mut self, now: Stamp) -> Due {
        if is_due(self.end, now) {
            let timed_out = self.state != State::Completed;
            self.state = State::Terminated;
            self.resend = None;
            self.end = None;
            return if timed_out { Due::TimedOut } else { Due::Nothing };
        }
        if is_due(self.resend, now) {
            let doubled = (self.interval * 2).min(T2);
            self.interval = if self.state == State::Proceeding { T2 } else { doubled };
            self.resend = Some(now + self.interval);
            return Due::Resend;
        }
        Due::Nothing
    }

    pub(in crate::sip) fn poll_timeout(&self) -> Option<Stamp> {
        earliest([self.resend, self.end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::transaction::tests::{request, sends};

    fn at_ms(n: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(n)
    }

    fn rest(client: &mut Client) -> (Vec<u64>, (u64, Due)) {
        let client = std::cell::RefCell::new(client);
        sends(|| client.borrow().poll_timeout(), |now| client.borrow_mut().handle_timeout(now))
    }

    #[test]
    fn timer_e_doubles_up_to_t2_and_timer_f_ends_it() {
        let mut client = Client::new(Stamp::ZERO, &request(Method::Bye));
        let (sent, end) = rest(&mut client);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert_eq!(end, (32_000, Due::TimedOut));
    }

    #[test]
    fn a_provisional_answer_slows_retransmissions_to_t2() {
        let mut client = Client::new(Stamp::ZERO, &request(Method::Bye));
        assert!(!client.on_response(at_ms(100), 100));
        let (sent, end) = rest(&mut client);
        assert_eq!(sent, [500, 4500, 8500, 12_500, 16_500, 20_500, 24_500, 28_500]);
        assert_eq!(end, (32_000, Due::TimedOut));
    }

    #[test]
    fn the_first_final_answer_counts_and_timer_k_absorbs_the_rest() {
        let mut client = Client::new(Stamp::ZERO, &request(Method::Bye));
        assert!(client.on_response(at_ms(100), 200));
        assert!(!client.on_response(at_ms(200), 200));
        let (sent, end) = rest(&mut client);
        assert_eq!((sent, end), (vec![], (5100, Due::Nothing)));
    }
}
