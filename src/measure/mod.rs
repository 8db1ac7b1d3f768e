//! One packet's life, measured: slot wheel, send and receive bookkeeping, its source, holds, the measured window.
//!
//! Pure: times come in as arguments, so that a whole run plays in virtual time.

mod attribution;
mod extras;
mod hold;
#[cfg(test)]
mod hostile_tests;
mod jitter;
mod lateness;
mod medians;
mod own_voice;
mod receiver;
mod seconds;
mod sender;
mod source;
mod stall;
mod talk;
mod wheel;
mod window;

pub use attribution::{Attribution, Losses};
pub use extras::Extras;
pub use lateness::Lateness;
pub use medians::Medians;
pub use receiver::{ReceiveTally, ReceivedEcho, StreamReceiver, StreamReport};
pub use seconds::MediaSecond;
pub use sender::{SendTally, Sent, StreamSent};
pub use source::{SourceLatch, Sources, Verdict};
pub use stall::{Heartbeat, StallWatch};
pub use talk::{Listened, Listener, TalkCounts};
pub use wheel::{Share, Wheel};
pub use window::{MOST_WINDOWS, Window};

use std::time::Duration;

use crate::rtp::probe::RunKey;
use crate::stamp::Stamp;

/// Purpose of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A call's media.
    Call,
    /// A call's media that is speech: packets are sent as ever, and none is awaited.
    Talk,
    /// The same probes on the same schedule to a reflector beside the driver, past Asterisk: what
    /// these feel, the machine did.
    Control,
}

/// Settings that all streams of a run measure by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Name and secret of the run's probes.
    pub key: RunKey,
    /// Start of the run: second 0 begins here.
    pub epoch: Stamp,
    /// Packet interval.
    pub ptime: Duration,
    /// Playout depth behind which a packet is late.
    pub late_after: Duration,
    /// Time after which a packet is lost.
    pub lost_after: Duration,
    /// True if the reflector's stamps are of the same clock: only then is there an up and a down.
    pub shared_clock: bool,
}

impl Rules {
    /// The second of the run in which `at` lies.
    pub fn second(&self, at: Stamp) -> u32 {
        u32::try_from(at.since(self.epoch).as_secs()).unwrap_or(u32::MAX)
    }
}
