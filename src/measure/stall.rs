//! Stalls of a thread: gaps between its looks at the clock, in which it did not run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::stamp::Stamp;

/// Follows a thread that looks at the clock again and again.
#[derive(Debug)]
pub struct StallWatch {
    longest_gap: Duration,
    looked_at: Stamp,
    awake_since: Stamp,
}

impl StallWatch {
    /// A thread that begins at `now`, and is stalled if it does not look for longer than `longest_gap`.
    pub fn new(now: Stamp, longest_gap: Duration) -> Self {
        StallWatch { longest_gap, looked_at: now, awake_since: now }
    }

    /// Notes a look; says whether the thread was stalled before it.
    pub fn look(&mut self, now: Stamp) -> bool {
        let was_stalled = now.since(self.looked_at) > self.longest_gap;
        self.looked_at = now;
        if was_stalled {
            self.awake_since = now;
        }
        was_stalled
    }

    /// End of the last stall, or the thread's beginning.
    pub fn awake_since(&self) -> Stamp {
        self.awake_since
    }
}

/// The work of one thread as another sees it: whoever was not sent to cannot be heard.
#[derive(Debug)]
pub struct Heartbeat {
    longest_gap: Duration,
    looked_at: AtomicU64,
    awake_since: AtomicU64,
}

impl Heartbeat {
    /// Of a thread that is to look at the clock at least so often while there is anything to do.
    pub fn new(longest_gap: Duration) -> Self {
        Heartbeat { longest_gap, looked_at: AtomicU64::new(0), awake_since: AtomicU64::new(0) }
    }

    /// Notes a look of the thread that is followed.
    pub fn beat(&self, now: Stamp) {
        let last = Stamp::from_ns(self.looked_at.load(Ordering::Relaxed));
        if now.since(last) > self.longest_gap {
            self.awake_since.store(now.as_ns(), Ordering::Relaxed);
        }
        self.looked_at.store(now.as_ns(), Ordering::Release);
    }

    /// End of the thread's last stall; `now` if it is stalled, or has nothing to do.
    pub fn awake_since(&self, now: Stamp) -> Stamp {
        let looked_at = Stamp::from_ns(self.looked_at.load(Ordering::Acquire));
        match now.since(looked_at) > self.longest_gap {
            true => now,
            false => Stamp::from_ns(self.awake_since.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_stalled_or_was_has_been_awake_only_since() {
        let at = |ms: u64| Stamp::ZERO + Duration::from_millis(10_000 + ms);
        let heart = Heartbeat::new(Duration::from_millis(200));
        assert_eq!(heart.awake_since(at(5)), at(5), "it has not begun");
        (0..1000).for_each(|ms| heart.beat(at(ms)));
        assert_eq!(heart.awake_since(at(1100)), at(0));
        assert_eq!(heart.awake_since(at(1500)), at(1500), "it is stalled");
        heart.beat(at(7000));
        assert_eq!(heart.awake_since(at(7010)), at(7000));
    }
}
