//! Counts of the calls' media.

use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};

use crate::record::{ServiceEcho, ServiceLinks, ServiceTalk};
use crate::talk::BotCounts;

/// Media of one call or of several, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaCounts {
    /// Datagrams from the peer.
    pub received: u64,
    /// Datagrams sent back: probes with the reflection added, other RTP unchanged.
    pub sent: u64,
    /// Datagrams that were not RTP, and went nowhere.
    pub not_rtp: u64,
    /// Datagrams from anybody else, or from before the peer was known.
    pub strangers: u64,
    /// Sends that failed.
    pub send_errors: u64,
    /// Datagrams that the kernel dropped for lack of buffer space.
    pub drops: u64,
    /// Probe numbers up to the highest that came, of each call.
    pub expected: u64,
    /// Probes that came.
    pub distinct: u64,
}

impl AddAssign for MediaCounts {
    fn add_assign(&mut self, more: MediaCounts) {
        self.received += more.received;
        self.sent += more.sent;
        self.not_rtp += more.not_rtp;
        self.strangers += more.strangers;
        self.send_errors += more.send_errors;
        self.drops += more.drops;
        self.expected += more.expected;
        self.distinct += more.distinct;
    }
}

impl MediaCounts {
    /// Probes that did not arrive here, as gaps in their numbers show it. What was lost after the last
    /// arrival of a call is not seen.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.distinct)
    }

    /// The share of probes that did not arrive here; `None` without probes.
    pub fn loss_ratio(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.lost() as f64 / self.expected as f64)
    }
}

/// All calls' media, readable from other threads while it runs.
#[derive(Debug, Default)]
pub struct MediaTotals {
    /// By lane: none waits for another.
    counts: Vec<Mutex<MediaCounts>>,
    /// Packets to the echo server, up to a second ago; `None` without one.
    pub(super) echo: Option<Mutex<ServiceEcho>>,
    /// Connections of the links; `None` where the reflector thread has the media.
    links: Option<Mutex<ServiceLinks>>,
    /// Turns of bots, of calls that are over.
    talked: Mutex<Option<ServiceTalk>>,
}

impl MediaTotals {
    /// Nothing counted yet.
    pub fn new(has_echo: bool, lanes: u32) -> Self {
        let counts = (0..lanes.max(1)).map(|_| Mutex::default()).collect();
        MediaTotals { counts, echo: has_echo.then(Mutex::default), ..MediaTotals::default() }
    }

    /// The same for media over connections.
    pub fn of_links() -> Self {
        MediaTotals { links: Some(Mutex::default()), ..MediaTotals::new(false, 1) }
    }

    /// Counts something of the connections.
    pub fn links(&self, count: impl FnOnce(&mut ServiceLinks)) {
        if let Some(links) = &self.links {
            count(&mut links.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Counts the turns of a call that is over.
    pub fn talked(&self, told: BotCounts) {
        let mut talked = self.talked.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = talked.get_or_insert_default();
        sum.heard += u64::from(told.heard);
        sum.answered += u64::from(told.answered);
        sum.kept_silent += u64::from(told.kept_silent);
        sum.yielded += u64::from(told.yielded);
        sum.talked_through += u64::from(told.talked_through);
        sum.resumed += u64::from(told.resumed);
        sum.digits += u64::from(told.digits);
    }

    /// Turns of calls that are over; `None` where nobody talks.
    pub fn talked_now(&self) -> Option<ServiceTalk> {
        *self.talked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts of the connections; `None` without any.
    pub fn links_now(&self) -> Option<ServiceLinks> {
        self.links.as_ref().map(|links| *links.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds `new` of a lane and empties it. While somebody is reading it stays for the next time, unless this one is to
    /// wait: a media thread does not.
    pub fn add(&self, lane: usize, new: &mut MediaCounts, wait: bool) {
        let Some(counts) = self.counts.get(lane) else { return };
        let counts = match wait {
            true => Some(counts.lock().unwrap_or_else(PoisonError::into_inner)),
            false => counts.try_lock().ok(),
        };
        if let Some(mut counts) = counts {
            *counts += std::mem::take(new);
        }
    }

    /// The totals as they are now.
    pub fn now(&self) -> MediaCounts {
        let mut sum = MediaCounts::default();
        for counts in &self.counts {
            sum += *counts.lock().unwrap_or_else(PoisonError::into_inner);
        }
        sum
    }

    /// Packets to the echo server and back, up to a second ago; `None` without one.
    pub fn echo(&self) -> Option<ServiceEcho> {
        self.echo.as_ref().map(|echo| echo.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Counts from zero.
    pub fn reset(&self) {
        for counts in &self.counts {
            *counts.lock().unwrap_or_else(PoisonError::into_inner) = MediaCounts::default();
        }
        if let Some(echo) = &self.echo {
            *echo.lock().unwrap_or_else(PoisonError::into_inner) = ServiceEcho::default();
        }
        self.links(|links| *links = ServiceLinks::default());
        *self.talked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
