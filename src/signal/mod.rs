//! Delay through a path that changes the audio: coded bursts, the caller that plays them, the ear that keeps what comes
//! back, the correlation that finds each burst in it, and the search for a caller's echo beside somebody else's speech.
//!
//! Pure: times come in as arguments. All audio here has [`RATE_HZ`] samples a second, so a delay is known to 125 us.

mod burst;
mod correlate;
mod ear;
mod echo;
mod fft;
mod mouth;
#[cfg(test)]
mod tests;

pub use burst::{BURST_LEN, Burst, burst};
pub use correlate::{Correlator, Match};
pub use ear::{Ear, Excerpt};
pub use echo::{Echo, EchoFinder, LEAST_SAID, LONGEST_ECHO, MOST_SAID};
pub use mouth::{Mouth, Sent};

/// Samples a second: the telephone's rate, and the resolution of a delay.
pub const RATE_HZ: u32 = 8000;

/// Smallest magnitude of a correlation that is the burst: noise and other bursts stay below 0.55.
pub const LEAST_PEAK: f32 = 0.7;

/// Time of so many samples.
pub fn time_of(samples: u64) -> std::time::Duration {
    std::time::Duration::from_nanos(samples.saturating_mul(1_000_000_000 / u64::from(RATE_HZ)))
}

/// Samples of so much time.
fn samples_in(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos() / (1_000_000_000 / u128::from(RATE_HZ))).unwrap_or(u64::MAX)
}

/// Fate of a burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It came back.
    Found {
        /// From the sending of its first sample to the receipt of the same.
        delay: std::time::Duration,
        /// Normalised correlation, 0.7 to 1.
        peak: f32,
        /// It came back with its sign reversed.
        inverted: bool,
    },
    /// Nothing in the audio is like it enough; the greatest correlation.
    Unlike(f32),
    /// There was no audio to look in.
    Silence,
}
