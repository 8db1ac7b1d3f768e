//! Asterisk's own work on a call's audio: the mixer of its bridges, and the jitter buffer of a channel.

use serde::{Deserialize, Serialize};
use strum::{Display, VariantArray};

/// Technology of a bridge of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Display, VariantArray)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum BridgeKind {
    /// Passes each packet on (bridge_simple, bridge_native_rtp).
    #[default]
    Simple,
    /// Mixes every 20 ms, as a conference of three and more does (bridge_softmix).
    Softmix,
}

/// Jitter buffer of a caller's channel, with Asterisk's settings for its kind (func_jitterbuffer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display, VariantArray)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum JitterBuffer {
    /// Of one length, 200 ms.
    Fixed,
    /// As long as the packets' jitter makes it, 1 s at the most.
    Adaptive,
}
