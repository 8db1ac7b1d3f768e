//! Ways of a call's media between Asterisk and an ARI application (`POST /channels/externalMedia`).

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantArray};

/// Way of media between Asterisk and the service.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    VariantArray,
    clap::ValueEnum,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum MediaWay {
    /// RTP over UDP.
    #[default]
    Rtp,
    /// AudioSocket over TCP, in linear audio.
    #[value(name = "audiosocket")]
    AudioSocket,
    /// A WebSocket to Asterisk's HTTP server (chan_websocket).
    #[value(name = "websocket")]
    WebSocket,
}
