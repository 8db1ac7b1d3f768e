//! Stalls of a thread: gaps between its looks at the clock, in which it did not run.

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
