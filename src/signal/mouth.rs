//! The caller that plays bursts.

use std::time::Duration;

use super::burst::{BURST_LEN, Burst};
use super::{RATE_HZ, time_of};
use crate::stamp::Stamp;

/// A burst that was begun, or another piece of audio that is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its name.
    pub burst: Burst,
    /// Sending of its first sample: that of the packet, and the sample's offset therein.
    pub at: Stamp,
    /// Its samples.
    pub len: usize,
}

/// Mouth of one call.
#[derive(Debug)]
pub struct Mouth {
    next: Burst,
    /// Samples from one burst's begin to the next's.
    every: u64,
    /// Samples played, of silence before the first burst too.
    played: u64,
    /// Sample with which the next burst begins.
    begins: u64,
    /// Burst that is being played, and its begin.
    playing: Option<(Burst, u64)>,
}

impl Mouth {
    /// A mouth of call number `call` that begins a burst every so often, which is longer than a burst. Calls take their
    /// turns: not all of them burst at once.
    pub fn new(call: u32, every: Duration) -> Self {
        let every = (every.as_millis() as u64 * u64::from(RATE_HZ / 1000)).max(BURST_LEN as u64 + 1);
        // Steps of the golden ratio leave no two calls close to each other.
        let begins = (u64::from(call.wrapping_mul(0x9E37_79B9)) * every) >> 32;
        Mouth { next: Burst { call, number: 0 }, every, played: 0, begins, playing: None }
    }

    /// Fills the next packet, which is sent at `at`; tells of the burst that begins in it.
    pub fn play(&mut self, at: Stamp, packet: &mut [i16]) -> Option<Sent> {
        let mut begun = None;
        for (offset, sample) in packet.iter_mut().enumerate() {
            if self.played == self.begins {
                self.playing = Some((self.next, self.begins));
                begun = Some(Sent { burst: self.next, at: at + time_of(offset as u64), len: BURST_LEN });
                self.next.number = self.next.number.wrapping_add(1);
                self.begins = self.begins.saturating_add(self.every);
            }
            *sample = self.playing.map_or(0, |(burst, from)| burst.sample((self.played - from) as usize));
            self.played += 1;
        }
        begun
    }
}
