//! The timers of one transaction: retransmissions at growing intervals, and the end.

use std::time::Duration;

use super::TimerAction;
use crate::sip::outgoing::SipDatagram;
use crate::sip::timers::{T1, T2, earliest, is_due};
use crate::stamp::Stamp;

/// Timer A, E or G for a message, and the timer that ends the transaction.
#[derive(Debug)]
pub(super) struct Retransmit {
    pub(super) datagram: SipDatagram,
    next: Option<Stamp>,
    /// The interval that led to `next`, and the bounds of those that follow.
    interval: Duration,
    least: Duration,
    most: Duration,
    end: Option<Stamp>,
}

impl Retransmit {
    /// Retransmissions from T1 on, at intervals that double up to `most`, for `lasting`.
    pub(super) fn start(now: Stamp, datagram: SipDatagram, most: Duration, lasting: Duration) -> Self {
        let (next, end) = (Some(now + T1), Some(now + lasting));
        Retransmit { datagram, next, interval: T1, least: T1, most, end }
    }

    /// From the next retransmission on they come every T2 (RFC 3261 17.1.2.2, Proceeding).
    pub(super) fn slow_down(&mut self) {
        self.least = T2;
    }

    /// No more retransmissions; the end stays where it is.
    pub(super) fn stop(&mut self) {
        self.next = None;
    }

    /// No more retransmissions, and another end; `None` is no end.
    pub(super) fn end_at(&mut self, end: Option<Stamp>) {
        self.next = None;
        self.end = end;
    }

    /// [`TimerAction::TimedOut`] once, at the end.
    pub(super) fn handle_timeout(&mut self, now: Stamp) -> TimerAction {
        if is_due(self.end, now) {
            self.end_at(None);
            return TimerAction::TimedOut;
        }
        if !is_due(self.next, now) {
            return TimerAction::Nothing;
        }
        self.interval = (self.interval * 2).clamp(self.least, self.most);
        self.next = Some(now + self.interval);
        TimerAction::Resend(self.datagram.clone())
    }

    pub(super) fn poll_timeout(&self) -> Option<Stamp> {
        earliest([self.next, self.end])
    }
}
