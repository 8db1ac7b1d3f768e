//! Excerpts of calls that talk: the audio of both sides around a run's worst turns, and who spoke when in it.
//!
//! Nothing here reads a clock or writes a file: packets come in with their stamps, and rows and WAV files go out at the end.
//! Everything is bounded: the bytes of a ring, the length and the number of excerpts.

mod collector;
mod ring;
mod worst;

pub use collector::{Collector, Settings, Talk};
pub use ring::{SpeechRing, room};
