//! The timers of RFC 3261 17 and Table 4, and small helpers for deadlines. Over a reliable transport A, D, E, I, J and K are
//! zero, and G repeats a 2xx alone (17.1.1.2, 17.1.2.2, 17.2): the transactions know.

use std::time::Duration;

use crate::stamp::Stamp;

/// Estimate of the round-trip time (RFC 3261 17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions of anything but INVITE (RFC 3261 17.1.2.2).
pub const T2: Duration = Duration::from_secs(4);
/// The longest that a message stays in the network (RFC 3261 17.1.2.2).
pub const T4: Duration = Duration::from_secs(5);
/// INVITE without any answer (RFC 3261 17.1.1.2): 64·T1.
pub const TIMER_B: Duration = Duration::from_secs(32);
/// Wait of a rejected INVITE for retransmitted rejections (RFC 3261 17.1.1.2): at least 32 s.
pub const TIMER_D: Duration = Duration::from_secs(32);
/// A request other than INVITE without a final answer (RFC 3261 17.1.2.2): 64·T1.
pub const TIMER_F: Duration = Duration::from_secs(32);
/// Retransmissions of an INVITE's answer without an ACK end after this (RFC 3261 17.2.1): 64·T1.
pub const TIMER_H: Duration = Duration::from_secs(32);
/// Wait of a server transaction for retransmitted requests (RFC 3261 17.2.2): 64·T1.
pub const TIMER_J: Duration = Duration::from_secs(32);
/// Wait of an answered request for retransmitted answers (RFC 3261 17.1.2.2): T4.
pub const TIMER_K: Duration = T4;
/// Wait of an accepted INVITE for retransmitted or forked 2xx (RFC 6026 7.2): 64·T1.
pub const TIMER_M: Duration = Duration::from_secs(32);
/// Wait of a cancelled INVITE for its final answer (RFC 3261 9.1): 64·T1.
pub const CANCEL_WAIT: Duration = Duration::from_secs(32);

/// True if a deadline is set and has come.
pub(super) fn is_due(deadline: Option<Stamp>, now: Stamp) -> bool {
    deadline.is_some_and(|at| at <= now)
}

/// The earliest of the deadlines that are set.
pub(super) fn earliest(deadlines: impl IntoIterator<Item = Option<Stamp>>) -> Option<Stamp> {
    deadlines.into_iter().flatten().min()
}
