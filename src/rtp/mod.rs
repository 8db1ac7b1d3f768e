//! RTP as this tool uses it: codecs, packets, other datagrams on their port, SRTP, the probe in their payload, sequence
//! bookkeeping, the echo.
//!
//! Pure: bytes and stamps in, bytes and facts out.

mod codec;
pub mod coder;
pub mod g711;
pub mod kind;
pub mod packet;
pub mod probe;
pub mod reflector;
pub mod sequence;
pub mod srtp;

use serde::{Deserialize, Serialize};

pub use codec::{Codec, Format};

/// Sources whose packets count as a call's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MediaSource {
    /// The address that the far end's SDP names, or another one from which the call's own packets come back.
    #[default]
    Any,
    /// The address that the far end's SDP names, and no other.
    Sdp,
}
