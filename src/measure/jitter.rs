//! Interarrival jitter of one stream.

use std::time::Duration;

use crate::rtp::SAMPLE_RATE;
use crate::stamp::Stamp;
use crate::values::Ns;

const NS_PER_TICK: i64 = 1_000_000_000 / SAMPLE_RATE as i64;

/// Interarrival jitter (RFC 3550 section 6.4.1 and appendix A.8), in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Jitter {
    previous: Option<(Stamp, u32)>,
    ns: f64,
    any: bool,
}

impl Jitter {
    pub(super) fn arrive(&mut self, at: Stamp, rtp_timestamp: u32) {
        if let Some((before, timestamp)) = self.previous.replace((at, rtp_timestamp)) {
            let spacing = i64::from(rtp_timestamp.wrapping_sub(timestamp) as i32) * NS_PER_TICK;
            let difference = at.ns_since(before).saturating_sub(spacing).unsigned_abs();
            self.ns += (difference as f64 - self.ns) / 16.0;
            self.any = true;
        }
    }

    pub(super) fn value(&self) -> Option<Ns> {
        self.any.then(|| Ns::from(Duration::from_nanos(self.ns as u64)))
    }
}
