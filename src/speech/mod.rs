//! Speech as samples: prompts from WAV files or built in, and the detector of who speaks when.
//!
//! Pure: bytes, samples and stamps in, samples and segments out. Levels are in dB relative to a full-scale square wave.

mod loudness;
mod resample;
mod segmenter;
mod voice;
mod wav;

use std::ops::Range;
use std::sync::Arc;

pub use loudness::{Live, Loudness, Segment, voiced_parts};
pub use voice::{BUILTIN, builtin};
pub use wav::{MAX_CLIP_SECONDS, WavError};

use crate::stamp::Stamp;

/// A clip that a caller has just said.
#[derive(Debug, Clone)]
pub struct Uttered {
    /// Its audio.
    pub clip: Arc<Clip>,
    /// First voiced sample to one past the last.
    pub voiced: Range<usize>,
    /// Sending of the end of the last voiced sample.
    pub to: Stamp,
}

/// Mono speech, linear 16 bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Samples a second: 8000 or 16,000.
    pub rate_hz: u32,
    /// The audio.
    pub samples: Vec<i16>,
}

impl Clip {
    /// Reads a WAV file: 8 or 16 kHz, mono, 16 bit PCM, at most [`MAX_CLIP_SECONDS`] long.
    ///
    /// # Errors
    /// Anything else, and a file in which nobody speaks; the error says what the file is and how to convert it.
    pub fn from_wav(bytes: &[u8]) -> Result<Clip, WavError> {
        let clip = wav::read(bytes)?;
        if clip.voiced().is_none() { Err(WavError::Silent) } else { Ok(clip) }
    }

    /// A stereo WAV file of 16 bit PCM; the shorter side is padded with silence.
    ///
    /// Samples beyond the 4 GB of a WAV file are left out.
    pub fn to_wav_stereo(left: &[i16], right: &[i16], rate_hz: u32) -> Vec<u8> {
        wav::write_stereo(left, right, rate_hz)
    }

    /// The clip at another rate, sample 0 at the same instant.
    ///
    /// Converts between 8000 and 16,000 Hz; for any other pair it returns the clip as it is, at its own rate.
    pub fn at_rate(&self, rate_hz: u32) -> Clip {
        resample::at_rate(self, rate_hz)
    }

    /// First voiced sample to one past the last, by the detector; `None` if nobody speaks for 60 ms.
    ///
    /// An edge is the outermost sample of the edge's step of 2 ms whose magnitude reaches the threshold.
    pub fn voiced(&self) -> Option<Range<usize>> {
        let parts = self.voiced_parts();
        Some(parts.first()?.start..parts.last()?.end)
    }

    /// Gaps of 200 ms and longer between voiced parts, in samples.
    pub fn pauses(&self) -> Vec<Range<usize>> {
        self.voiced_parts().windows(2).map(|pair| pair[0].end..pair[1].start).collect()
    }

    fn voiced_parts(&self) -> Vec<Range<usize>> {
        loudness::voiced_parts(&self.samples, self.rate_hz)
    }
}
