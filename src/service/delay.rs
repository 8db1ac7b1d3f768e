//! A service slow on purpose: what comes from Asterisk is held for a while before it is sent back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::reflector::DATAGRAM;
use crate::impair::DelayLine;
use crate::stamp::Stamp;

/// Packets held at once, at the most: 1,000 calls of 20 ms packets for a second, and some. Its memory
/// is touched only as far as it is used.
const MOST: usize = 1 << 16;

/// Time for which packets are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hold {
    /// Every packet.
    pub each: Duration,
    /// Longer for every call that is up: a service with a known capacity.
    pub per_call: Duration,
}

impl Hold {
    /// True if no packet is held.
    pub fn is_none(&self) -> bool {
        self.each.is_zero() && self.per_call.is_zero()
    }
}

/// The packets that are held, and the timer that wakes for the next.
pub struct Delay {
    hold: Hold,
    /// Calls up on all lanes.
    calls: Arc<AtomicU32>,
    /// By stream and time of arrival.
    line: DelayLine<(u64, Stamp)>,
    timer: TimerFd,
}

impl Delay {
    /// Holds packets as long as `hold` says, of which `calls` is the number of all calls that are up.
    ///
    /// # Errors
    /// Errors of timerfd_create(2), for want of descriptors.
    pub fn new(hold: Hold, calls: Arc<AtomicU32>) -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Delay { hold, calls, line: DelayLine::new(MOST, DATAGRAM), timer })
    }

    /// Readable when [`Delay::release`] has something to do.
    pub fn timer(&self) -> &TimerFd {
        &self.timer
    }

    /// Counts a call that has come up.
    pub fn joined(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    /// Counts a call that has ended.
    pub fn left(&self) {
        // One that has left had joined.
        self.calls.fetch_sub(1, Relaxed);
    }

    /// Takes a packet of `stream` in; false when there is no room, and it is lost.
    pub fn hold(&mut self, stream: u64, in_at: Stamp, packet: &[u8], now: Stamp) -> bool {
        let is_first = self.line.is_empty();
        let by = self.hold.each + self.hold.per_call * self.calls.load(Relaxed);
        let is_held = self.line.push(in_at + by, packet, (stream, in_at));
        if is_first {
            self.set(now);
        }
        is_held
    }

    /// Hands over what is due: its stream, when it came, its bytes.
    pub fn release(&mut self, now: Stamp, mut each: impl FnMut(u64, Stamp, &[u8])) {
        while let Some(due) = self.line.pop_due(now) {
            let (stream, in_at) = due.tag;
            each(stream, in_at, due.bytes);
        }
        self.set(now);
    }

    /// Sets the timer for the next packet, which makes it unreadable until then.
    fn set(&self, now: Stamp) {
        let result = match self.line.next_due() {
            // Zero would stop it.
            Some(due) => {
                let wait = due.since(now).max(Duration::from_nanos(1));
                self.timer.set(Expiration::OneShot(TimeSpec::from(wait)), TimerSetTimeFlags::empty())
            }
            None => self.timer.unset(),
        };
        if let Err(error) = result {
            tracing::error!(%error, "cannot set the timer of the delay: what is held is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::poller::Poller;

    #[test]
    fn packets_leave_in_their_order_when_their_time_has_come_and_the_timer_says_so() {
        let ms = Duration::from_millis;
        let mut delay = Delay::new(Hold { each: ms(2), ..Hold::default() }, Arc::default()).unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(delay.timer(), 7).unwrap();
        let start = crate::clock::now();
        assert!(delay.hold(1, start, b"a", start) && delay.hold(2, start + ms(1), b"b", start + ms(1)));
        let mut seen = Vec::new();
        delay.release(start + ms(1), |stream, at, packet| seen.push((stream, at, packet.to_vec())));
        assert!(seen.is_empty());
        for n in 2..4 {
            let mut tokens = Vec::new();
            poller.wait(60_000, |token| tokens.push(token)).unwrap();
            assert_eq!(tokens, [7], "the timer wakes");
            delay.release(start + ms(n), |stream, at, packet| seen.push((stream, at, packet.to_vec())));
        }
        assert_eq!(seen, [(1, start, b"a".to_vec()), (2, start + ms(1), b"b".to_vec())]);
        poller.wait(0, |_| panic!("nothing is held, and the timer rests")).unwrap();
    }

    #[test]
    fn each_call_that_is_up_holds_every_packet_a_little_longer() {
        let ms = Duration::from_millis;
        let mut delay = Delay::new(Hold { each: ms(1), per_call: ms(2) }, Arc::default()).unwrap();
        let start = crate::clock::now();
        let after = |delay: &mut Delay| {
            assert!(delay.hold(1, start, b"a", start));
            let is_due = |delay: &mut Delay, n| {
                let mut seen = 0;
                delay.release(start + ms(n), |_, at, _| seen += u64::from(at == start));
                seen == 1
            };
            (0..).find(|n| is_due(delay, *n)).unwrap()
        };
        delay.joined();
        assert_eq!(after(&mut delay), 3);
        delay.joined();
        delay.joined();
        assert_eq!(after(&mut delay), 7);
        delay.left();
        assert_eq!(after(&mut delay), 5);
    }
}
