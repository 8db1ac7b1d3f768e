//! The Asterisk REST Interface: events, requests, and one call's way through them.
//!
//! Pure: parsed events, answers and stamps in; requests and facts out.

pub mod call;
pub mod event;
pub mod exchange;
pub mod outcome;
pub mod request;
mod steps;

use std::net::SocketAddr;

use crate::values::Uuid;

/// Names of what a call owns in Asterisk, chosen by us and derived from the caller's channel id.
///
/// Choosing them ourselves closes the race between creating a thing and hearing about it, and tells
/// our own channels from callers. The application's name is part of them, so that two services on
/// one Asterisk leave each other's things alone. A media channel's name is never used twice: Asterisk ends with a crash
/// where a second chan_websocket channel gets the name of one that lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallIds {
    /// The caller's channel.
    pub caller: String,
    /// Our external media channel.
    pub media: String,
    /// Our bridge.
    pub bridge: String,
}

const MEDIA: &str = "-media-";
const BRIDGE: &str = "-bridge-";
const BEFORE_CALLER: char = '~';

impl CallIds {
    /// The names for the call of channel `caller` in application `app`; `life` differs between services, `serial`
    /// between the calls of one.
    pub fn new(app: &str, caller: &str, life: u32, serial: u64) -> Self {
        CallIds {
            caller: caller.to_string(),
            media: format!("{app}{MEDIA}{life:08x}.{serial}{BEFORE_CALLER}{caller}"),
            bridge: format!("{app}{BRIDGE}{caller}"),
        }
    }

    /// The caller that `media`, a channel id, was made for; `None` for a channel that is not ours.
    pub fn caller_of_media<'a>(app: &str, media: &'a str) -> Option<&'a str> {
        let (_, caller) = caller_behind(app, MEDIA, media)?.split_once(BEFORE_CALLER)?;
        Some(caller)
    }

    /// The caller that `bridge`, a bridge id, was made for; `None` for a bridge that is not ours.
    pub fn caller_of_bridge<'a>(app: &str, bridge: &'a str) -> Option<&'a str> {
        caller_behind(app, BRIDGE, bridge)
    }
}

fn caller_behind<'a>(app: &str, kind: &str, id: &'a str) -> Option<&'a str> {
    let caller = id.strip_prefix(app)?.strip_prefix(kind)?;
    // An application may be called "app-media-x": what is its own is not ours.
    (!caller.contains(kind)).then_some(caller)
}

/// The part of a call's configuration that all calls share, and its own place for media.
#[derive(Debug, Clone)]
pub struct MediaTarget {
    /// The ARI application that the media channel enters.
    pub app: String,
    /// The way of its media.
    pub place: MediaPlace,
    /// Asterisk's name of the codec.
    pub format: &'static str,
}

/// The way of a call's media between Asterisk and the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaPlace {
    /// Asterisk sends RTP to our socket.
    Rtp(SocketAddr),
    /// Asterisk connects to our listener, and names the call by a UUID.
    AudioSocket(SocketAddr, Uuid),
    /// We connect to Asterisk's HTTP server.
    WebSocket,
}

/// The place of Asterisk's side of a call's media, from its answer to [`request::Operation::CreateMedia`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaPeer {
    /// Address on which it receives RTP.
    Rtp(SocketAddr),
    /// It connects to us by itself.
    Connects,
    /// Name of the WebSocket below `/media/`.
    WebSocket(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_things_are_recognised_and_nobody_elses() {
        let ids = CallIds::new("app", "1700000000.12", 1, 2);
        assert_ne!(ids.media, CallIds::new("app", "1700000000.12", 1, 3).media);
        assert_eq!(CallIds::caller_of_media("app", &ids.media), Some("1700000000.12"));
        assert_eq!(CallIds::caller_of_bridge("app", &ids.bridge), Some("1700000000.12"));
        assert_eq!(CallIds::caller_of_media("other", &ids.media), None);
        let other = CallIds::new("app-media-x", "1.2", 1, 2);
        assert_eq!(CallIds::caller_of_media("app", &other.media), None);
        assert_eq!(CallIds::caller_of_media("app-media-x", &other.media), Some("1.2"));
        assert_eq!(CallIds::caller_of_media("app", &ids.bridge), None);
        assert_eq!(CallIds::caller_of_media("app", &ids.caller), None);
    }
}
