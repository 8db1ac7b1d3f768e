//! Speech quality of a path: passages that callers read aloud, and the score of what came back of each against what was said.
//!
//! Pure: samples and stamps in, samples and scores out. All audio here has [`RATE_HZ`] samples a second.

mod aloud;
mod heard;
mod passage;
mod score;
#[cfg(test)]
mod tests;
mod worst;

pub use aloud::Reader;
pub use heard::{Fate, judge};
pub use passage::{LONGEST_PROMPT_SECONDS, Passages, Unreadable};
pub use score::{MAX_SECONDS, MIN_SECONDS, Unscorable, score};
pub use worst::{MOST_WORST, Worst};

/// Samples a second: the telephone's rate.
pub const RATE_HZ: u32 = 8000;
