//! The client transaction of every request but INVITE (RFC 3261 17.1.2).

use crate::sip::message::{Message, Method};
use crate::sip::outgoing::Request;
use crate::sip::timers::{T2, TIMER_F, TIMER_K};
use crate::stamp::Stamp;

use super::retransmit::Retransmit;
use super::{Datagram, TimerAction};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
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
    state: ClientState,
    /// Timer E, with F until answered and K after.
    timer: Retransmit,
}

impl Client {
    /// The transaction in Trying; the request itself is in [`Client::datagram`].
    pub(in crate::sip) fn new(now: Stamp, request: &Request) -> Self {
        Client {
            datagram: Datagram { destination: request.destination, bytes: request.to_bytes() },
            branch: request.branch.clone(),
            method: request.method.clone(),
            state: ClientState::Trying,
            timer: Retransmit::start(now, T2, TIMER_F),
        }
    }

    pub(in crate::sip) fn datagram(&self) -> Datagram {
        self.datagram.clone()
    }

    /// True if a response is this transaction's (RFC 3261 17.1.3).
    pub(in crate::sip) fn matches(&self, response: &Message) -> bool {
        response.branch() == Some(self.branch.as_str()) && *response.method() == self.method
    }

    /// Takes a response; true if it is the first final one.
    pub(in crate::sip) fn on_response(&mut self, now: Stamp, code: u16) -> bool {
        match self.state {
            ClientState::Trying | ClientState::Proceeding if code < 200 => {
                self.state = ClientState::Proceeding;
                self.timer.slow_down();
                false
            }
            ClientState::Trying | ClientState::Proceeding => {
                self.state = ClientState::Completed;
                self.timer.end_at(Some(now + TIMER_K));
                true
            }
            ClientState::Completed | ClientState::Terminated => false,
        }
    }

    pub(in crate::sip) fn handle_timeout(&mut self, now: Stamp) -> TimerAction {
        let due = self.timer.handle_timeout(now);
        if due != TimerAction::TimedOut {
            return due;
        }
        let was_answered = self.state == ClientState::Completed;
        self.state = ClientState::Terminated;
        if was_answered { TimerAction::Nothing } else { TimerAction::TimedOut }
    }

    pub(in crate::sip) fn poll_timeout(&self) -> Option<Stamp> {
        self.timer.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::transaction::tests::{request, sends};

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
}
