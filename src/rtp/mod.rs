//! RTP as this tool uses it: codecs, packets, the probe in their payload, sequence bookkeeping, the echo.
//!
//! Pure: bytes and stamps in, bytes and facts out.

mod codec;
pub mod packet;
pub mod probe;
pub mod reflector;
pub mod sequence;

pub use codec::{Codec, Format};

/// Samples a second of G.711; also the unit of its RTP timestamps.
pub const SAMPLE_RATE: u32 = Codec::Pcmu.clock_hz();
