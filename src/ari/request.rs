//! The REST operations of a call as values, and what Asterisk's answers to them mean.

use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;

use serde::Deserialize;

use super::{CallIds, MediaTarget};

/// A request's operation; at most one of each is under way for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Answer the caller.
    Answer,
    /// Create the bridge.
    CreateBridge,
    /// Create the external media channel.
    CreateMedia,
    /// Put both channels into the bridge.
    AddChannels,
    /// Hang up the caller.
    HangUp,
    /// Hang up the external media channel.
    DeleteMedia,
    /// Destroy the bridge.
    DeleteBridge,
}

impl Operation {
    /// All operations, each at the index that it has as a number.
    pub const ALL: [Operation; 7] = [
        Operation::Answer,
        Operation::CreateBridge,
        Operation::CreateMedia,
        Operation::AddChannels,
        Operation::HangUp,
        Operation::DeleteMedia,
        Operation::DeleteBridge,
    ];

    /// The name in metrics and files.
    pub const fn key(self) -> &'static str {
        match self {
            Operation::Answer => "answer",
            Operation::CreateBridge => "create_bridge",
            Operation::CreateMedia => "create_media",
            Operation::AddChannels => "add_channels",
            Operation::HangUp => "hang_up",
            Operation::DeleteMedia => "delete_media",
            Operation::DeleteBridge => "delete_bridge",
        }
    }

    /// True if it takes something away.
    pub const fn deletes(self) -> bool {
        matches!(self, Operation::HangUp | Operation::DeleteMedia | Operation::DeleteBridge)
    }

    /// True if doing it a second time does no harm when the first answer was lost.
    ///
    /// A second external media channel under the same id is refused, and the first one's local
    /// address stays unknown: that one is not repeated.
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Operation::CreateMedia)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Answer => "answer",
            Operation::CreateBridge => "create bridge",
            Operation::CreateMedia => "create external media",
            Operation::AddChannels => "add channels to bridge",
            Operation::HangUp => "hang up caller",
            Operation::DeleteMedia => "delete external media",
            Operation::DeleteBridge => "delete bridge",
        })
    }
}

/// HTTP methods that ARI uses here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// DELETE
    Delete,
}

/// Reason of a hang-up, as `reason` of `DELETE /channels/{id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUpReason {
    /// Q.850 cause 16.
    Normal,
    /// Q.850 cause 34; towards an unanswered SIP caller 503.
    Congestion,
}

/// One REST request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `POST /channels/{id}/answer`
    Answer {
        /// The caller.
        channel: String,
    },
    /// `POST /bridges` with an id of our own
    CreateBridge {
        /// The bridge's id.
        bridge: String,
    },
    /// `POST /channels/externalMedia`
    CreateMedia {
        /// The application that the channel enters.
        app: String,
        /// The channel's id.
        channel: String,
        /// Our socket, which Asterisk sends the media to.
        host: SocketAddr,
        /// Asterisk's name of the codec.
        format: &'static str,
    },
    /// `POST /bridges/{id}/addChannel` with both channels at once
    AddChannels {
        /// The bridge.
        bridge: String,
        /// The caller.
        caller: String,
        /// Our external media channel.
        media: String,
    },
    /// `DELETE /channels/{id}` of the caller
    HangUp {
        /// The caller.
        channel: String,
        /// The reason.
        reason: HangUpReason,
    },
    /// `DELETE /channels/{id}` of our external media channel
    DeleteMedia {
        /// The channel.
        channel: String,
    },
    /// `DELETE /bridges/{id}`
    DeleteBridge {
        /// The bridge.
        bridge: String,
    },
}

impl Request {
    /// The request of a call for `operation`. `None` only for the media channel of a caller that is
    /// turned away, who has no `target`.
    pub fn of(
        operation: Operation,
        ids: &CallIds,
        target: Option<&MediaTarget>,
        reason: HangUpReason,
    ) -> Option<Self> {
        let CallIds { caller, media, bridge } = ids.clone();
        Some(match operation {
            Operation::Answer => Request::Answer { channel: caller },
            Operation::CreateBridge => Request::CreateBridge { bridge },
            Operation::CreateMedia => {
                let MediaTarget { app, host, format } = target?.clone();
                Request::CreateMedia { app, channel: media, host, format }
            }
            Operation::AddChannels => Request::AddChannels { bridge, caller, media },
            Operation::HangUp => Request::HangUp { channel: caller, reason },
            Operation::DeleteMedia => Request::DeleteMedia { channel: media },
            Operation::DeleteBridge => Request::DeleteBridge { bridge },
        })
    }

    /// Its operation.
    pub fn operation(&self) -> Operation {
        match self {
            Request::Answer { .. } => Operation::Answer,
            Request::CreateBridge { .. } => Operation::CreateBridge,
            Request::CreateMedia { .. } => Operation::CreateMedia,
            Request::AddChannels { .. } => Operation::AddChannels,
            Request::HangUp { .. } => Operation::HangUp,
            Request::DeleteMedia { .. } => Operation::DeleteMedia,
            Request::DeleteBridge { .. } => Operation::DeleteBridge,
        }
    }

    /// The HTTP method.
    pub fn method(&self) -> Method {
        match self {
            Request::HangUp { .. } | Request::DeleteMedia { .. } | Request::DeleteBridge { .. } => {
                Method::Delete
            }
            _ => Method::Post,
        }
    }

    /// Path and query below `/ari`, with everything that comes from outside percent-encoded.
    pub fn path_and_query(&self) -> String {
        match self {
            Request::Answer { channel } => format!("/channels/{}/answer", encoded(channel)),
            Request::CreateBridge { bridge } => {
                format!("/bridges?type=mixing&bridgeId={}", encoded(bridge))
            }
            Request::CreateMedia { app, channel, host, format } => format!(
                "/channels/externalMedia?app={}&channelId={}&external_host={}&format={format}",
                encoded(app),
                encoded(channel),
                encoded(&host.to_string()),
            ),
            Request::AddChannels { bridge, caller, media } => format!(
                "/bridges/{}/addChannel?channel={},{}",
                encoded(bridge),
                encoded(caller),
                encoded(media)
            ),
            Request::HangUp { channel, reason } => {
                let reason = match reason {
                    HangUpReason::Normal => "normal",
                    HangUpReason::Congestion => "congestion",
                };
                format!("/channels/{}?reason={reason}", encoded(channel))
            }
            Request::DeleteMedia { channel } => format!("/channels/{}", encoded(channel)),
            Request::DeleteBridge { bridge } => format!("/bridges/{}", encoded(bridge)),
        }
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986 section 2.3.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Invariant: writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The meaning of an answer for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It is done.
    Done,
    /// Its object is no more. For a deletion that is as good as done; for the caller it means
    /// that it has hung up.
    Gone,
    /// Not now, but perhaps in a moment.
    Later,
    /// No, and asking again would not change that.
    Refused,
}

/// The meaning of `status` as the answer to `operation`.
///
/// Read in Asterisk 22's res_ari_channels.c, res_ari_bridges.c and the resources behind them.
pub fn meaning(operation: Operation, status: u16) -> Meaning {
    use Operation::*;
    match (operation, status) {
        (_, 200..=299) => Meaning::Done,
        // The channel is registered before its StasisStart is published: it was there, and is not
        // any more. 409: no longer in the application. 500: hung up while it was being answered.
        (Answer, 404 | 409 | 500) => Meaning::Gone,
        // Still down, as between two states of its own.
        (Answer, 412) => Meaning::Later,
        // Ours already, from an attempt whose answer was lost.
        (CreateBridge, 409) => Meaning::Done,
        // One of the two channels is no more.
        (AddChannels, 400) => Meaning::Gone,
        // One of the two is not in the application, which can be a matter of time.
        (AddChannels, 422) => Meaning::Later,
        (HangUp | DeleteMedia | DeleteBridge, 404) => Meaning::Gone,
        // Out of memory, out of threads, starting or stopping.
        (_, 500 | 503) => Meaning::Later,
        _ => Meaning::Refused,
    }
}

/// The address on which Asterisk receives our media, from the answer to [`Request::CreateMedia`].
///
/// `None` where it is not told or not an address and port.
pub fn media_address(body: &[u8]) -> Option<SocketAddr> {
    #[derive(Deserialize)]
    struct Body {
        channelvars: Vars,
    }
    #[derive(Deserialize)]
    struct Vars {
        #[serde(rename = "UNICASTRTP_LOCAL_ADDRESS")]
        address: String,
        #[serde(rename = "UNICASTRTP_LOCAL_PORT")]
        port: String,
    }
    let vars = serde_json::from_slice::<Body>(body).ok()?.channelvars;
    let address: std::net::IpAddr = vars.address.parse().ok()?;
    let port: u16 = vars.port.parse().ok()?;
    (port != 0 && !address.is_unspecified()).then(|| SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_spell_what_asterisk_reads() {
        let add = Request::AddChannels { bridge: "b".into(), caller: "1.2".into(), media: "a&b c".into() };
        assert_eq!(add.path_and_query(), "/bridges/b/addChannel?channel=1.2,a%26b%20c");
        assert_eq!(add.method(), Method::Post);
        let media = Request::CreateMedia {
            app: "a/b".into(),
            channel: "m".into(),
            host: "127.0.0.1:21000".parse().unwrap(),
            format: "ulaw",
        };
        assert_eq!(
            media.path_and_query(),
            "/channels/externalMedia?app=a%2Fb&channelId=m&external_host=127.0.0.1%3A21000&format=ulaw"
        );
        let hang_up = Request::HangUp { channel: "../x".into(), reason: HangUpReason::Congestion };
        assert_eq!(hang_up.path_and_query(), "/channels/..%2Fx?reason=congestion");
        assert_eq!(hang_up.method(), Method::Delete);
    }

    #[test]
    fn answers_mean_what_asterisk_means_by_them() {
        use Operation::*;
        for (operation, status, expected) in [
            (Answer, 204, Meaning::Done),
            (Answer, 404, Meaning::Gone),
            (Answer, 409, Meaning::Gone),
            (Answer, 500, Meaning::Gone),
            (Answer, 412, Meaning::Later),
            (AddChannels, 400, Meaning::Gone),
            (AddChannels, 422, Meaning::Later),
            (AddChannels, 404, Meaning::Refused),
            (AddChannels, 409, Meaning::Refused),
            (DeleteBridge, 404, Meaning::Gone),
            (CreateMedia, 409, Meaning::Refused),
            (CreateMedia, 503, Meaning::Later),
            (CreateBridge, 401, Meaning::Refused),
        ] {
            assert_eq!(meaning(operation, status), expected, "{operation} {status}");
        }
    }

    #[test]
    fn each_operation_is_at_its_own_index() {
        for (n, operation) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, n);
        }
    }

    #[test]
    fn the_media_address_is_found_or_nothing() {
        let body = |address: &str, port: &str| {
            format!(
                r#"{{"id":"x","channelvars":{{"UNICASTRTP_LOCAL_ADDRESS":{address},"UNICASTRTP_LOCAL_PORT":{port}}}}}"#
            )
        };
        let found = |address, port| media_address(body(address, port).as_bytes());
        assert_eq!(found(r#""127.0.0.1""#, r#""12000""#), Some("127.0.0.1:12000".parse().unwrap()));
        assert_eq!(found(r#""127.0.0.1""#, r#""0""#), None);
        assert_eq!(found(r#""0.0.0.0""#, r#""9""#), None);
        assert_eq!(found(r#""host""#, r#""9""#), None);
        assert_eq!(found("7", "null"), None);
        assert_eq!(media_address(b"{}"), None);
    }
}
