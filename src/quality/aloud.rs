//! The caller that reads passages aloud.

use std::sync::Arc;

use super::{Passages, RATE_HZ};
use crate::signal::{Burst, Sent, time_of};
use crate::stamp::Stamp;

/// Silence before the first passage: a second, in which the far end connects the call.
const SILENT_AT_FIRST: usize = RATE_HZ as usize;

/// Mouth of one call.
#[derive(Debug)]
pub struct Reader {
    passages: Arc<Passages>,
    /// Call, and number of the passage that is read or comes next.
    next: Burst,
    /// Samples of silence that are left.
    silent: usize,
    /// Samples read of the passage.
    read: usize,
}

impl Reader {
    /// A mouth of call number `call`, which reads the passages in turn until the call ends.
    pub fn new(call: u32, passages: Arc<Passages>) -> Self {
        Reader { passages, next: Burst { call, number: 0 }, silent: SILENT_AT_FIRST, read: 0 }
    }

    /// Fills the next packet, which is sent at `at`; tells of the passage that begins in it.
    pub fn play(&mut self, at: Stamp, packet: &mut [i16]) -> Option<Sent> {
        let mut begun = None;
        for (offset, sample) in packet.iter_mut().enumerate() {
            if self.silent > 0 {
                (self.silent, *sample) = (self.silent - 1, 0);
                continue;
            }
            let passage = self.passages.of(self.next.number);
            if self.read == 0 {
                let at = at + time_of(offset as u64);
                begun = Some(Sent { burst: self.next, at, len: passage.len() });
            }
            *sample = passage.get(self.read).copied().unwrap_or(0);
            self.read += 1;
            if self.read >= passage.len() {
                (self.read, self.next.number) = (0, self.next.number.wrapping_add(1));
            }
        }
        begun
    }
}
