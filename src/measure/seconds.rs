//! Seconds of the media threads, each closed once nothing can be added to it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Rules;
use crate::record::{OpenIntervals, SecondRecord};
use crate::stamp::Stamp;

/// One thread's part of a second: its counts, and the latencies of the packets intended in it.
#[derive(Debug, Clone, Default)]
pub struct MediaSecond {
    /// Counts; fields of other threads are empty.
    pub record: SecondRecord,
    /// Packets of the measured window among those received.
    pub measured_received: u64,
    /// Packets of the measured window among the late ones.
    pub measured_late: u64,
    /// Latencies.
    pub latencies: OpenIntervals,
}

impl MediaSecond {
    /// An empty one.
    pub fn new(second: u32) -> Box<MediaSecond> {
        Box::new(MediaSecond { record: SecondRecord { second, ..Default::default() }, ..Default::default() })
    }
}

/// The seconds to which packets may still come back.
#[derive(Debug)]
pub(super) struct OpenSeconds {
    rules: Rules,
    // Boxed, since each is handed over to another thread as it is.
    open: VecDeque<Box<MediaSecond>>,
    /// Number of the first open second.
    first: u32,
}

/// Most seconds open at once, far more than `lost_after` asks for: a stamp so far ahead cannot be true.
const MOST_OPEN: usize = 120;

impl OpenSeconds {
    pub fn new(rules: Rules) -> Self {
        OpenSeconds { rules, open: VecDeque::new(), first: 0 }
    }

    /// The second of packets intended at `at`; `None` if it is closed, or too far ahead.
    pub fn at(&mut self, at: Stamp) -> Option<&mut MediaSecond> {
        let index = self.rules.second(at).checked_sub(self.first)? as usize;
        (index < MOST_OPEN).then(|| self.open(index))
    }

    /// The same, or the nearest open one: a packet that was sent long after its time can come back when
    /// its second is closed, and has to be counted all the same.
    pub fn nearest(&mut self, at: Stamp) -> &mut MediaSecond {
        let index = self.rules.second(at).saturating_sub(self.first) as usize;
        let newest = self.open.len().saturating_sub(1);
        self.open(if index < MOST_OPEN { index } else { newest })
    }

    fn open(&mut self, index: usize) -> &mut MediaSecond {
        while self.open.len() <= index {
            self.open.push_back(MediaSecond::new(self.first + self.open.len() as u32));
        }
        &mut self.open[index]
    }

    /// Hands over the seconds to which at `now` nothing can come back any more.
    pub fn close(&mut self, now: Stamp, mut each: impl FnMut(Box<MediaSecond>)) {
        let settled = now - self.rules.lost_after - Duration::from_secs(1);
        let settled = if settled < self.rules.epoch { return } else { self.rules.second(settled) };
        while self.first <= settled {
            // One in which nothing came is over as well: all of it is lost.
            each(self.open.pop_front().unwrap_or_else(|| MediaSecond::new(self.first)));
            self.first += 1;
        }
    }

    /// Hands over all seconds.
    pub fn close_all(&mut self, mut each: impl FnMut(Box<MediaSecond>)) {
        for second in self.open.drain(..) {
            each(second);
            self.first += 1;
        }
    }
}
