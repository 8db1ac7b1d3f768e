//! Interarrival jitter of one stream.

use std::time::Duration;

use crate::rtp::Codec;
use crate::stamp::Stamp;
use crate::values::Ns;

/// Interarrival jitter (RFC 3550 section 6.4.1 and appendix A.8), in nanoseconds.
#[derive(Debug)]
pub(super) struct Jitter {
    ns_per_tick: f64,
    previous: Option<(Stamp, u32)>,
    ns: f64,
    any: bool,
}

impl Jitter {
    pub(super) fn new(codec: Codec) -> Self {
        Jitter { ns_per_tick: codec.ns_per_tick(), previous: None, ns: 0.0, any: false }
    }

    pub(super) fn arrive(&mut self, at: Stamp, rtp_timestamp: u32) {
        if let Some((before, timestamp)) = self.previous.replace((at, rtp_timestamp)) {
            let ticks = f64::from(rtp_timestamp.wrapping_sub(timestamp) as i32);
            let difference = (at.ns_since(before) as f64 - ticks * self.ns_per_tick).abs();
            self.ns += (difference - self.ns) / 16.0;
            self.any = true;
        }
    }

    pub(super) fn value(&self) -> Option<Ns> {
        self.any.then(|| Ns::from(Duration::from_nanos(self.ns as u64)))
    }
}
