//! RTP as this tool uses it: packets, the probe in their payload, sequence bookkeeping, the echo.
//!
//! Pure: bytes and stamps in, bytes and facts out.

pub mod packet;
pub mod probe;
pub mod reflector;
pub mod sequence;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

/// The G.711 codecs (RFC 3551 section 4.5.14). Both carry one byte a sample at 8 kHz, and Asterisk
/// passes them through unchanged when both legs use the same one: the probe depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Display, IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
pub enum Codec {
    /// G.711 µ-law, payload type 0.
    #[default]
    Pcmu,
    /// G.711 A-law, payload type 8.
    Pcma,
}

/// Samples a second of both codecs; also the unit of their RTP timestamps.
pub const SAMPLE_RATE: u32 = 8000;

impl Codec {
    /// The static payload type of RFC 3551 table 4.
    pub const fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
        }
    }

    /// The encoding name of RFC 3551, as in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The name that Asterisk gives this format.
    pub const fn asterisk_name(self) -> &'static str {
        match self {
            Codec::Pcmu => "ulaw",
            Codec::Pcma => "alaw",
        }
    }

    /// The byte that decodes to silence; it fills a packet behind the probe.
    pub const fn silence(self) -> u8 {
        match self {
            Codec::Pcmu => 0xFF,
            Codec::Pcma => 0xD5,
        }
    }
}

/// Samples, which are also payload bytes, in one packet of `ptime`.
pub const fn samples_per_packet(ptime: Duration) -> usize {
    (ptime.as_millis() as usize) * (SAMPLE_RATE as usize / 1000)
}
