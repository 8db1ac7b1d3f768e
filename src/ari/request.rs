//! The REST operations of a call as values, and what Asterisk's answers to them mean.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use strum::{Display, IntoStaticStr, VariantArray};

use super::{CallIds, MediaPeer, MediaPlace, MediaTarget};

/// A request's operation; at most one of each is under way for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
    /// The name in metrics and files.
    pub fn key(self) -> &'static str {
        self.into()
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

/// Reason of a hang-up, as `reason` of `DELETE /channels/{id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUpReason {
    /// Q.850 cause 16.
    Normal,
    /// Q.850 cause 34; towards an unanswered SIP caller 503.
    Congestion,
}

/// One REST request: a DELETE if its operation deletes, else a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AriRequest {
    /// Its operation.
    pub operation: Operation,
    /// Path and query below `/ari`, with everything that comes from outside percent-encoded.
    pub path: String,
}

impl AriRequest {
    /// The request of a call for `operation`. `None` only for the media channel of a caller that is
    /// turned away, who has no `target`.
    pub fn of(
        operation: Operation,
        ids: &CallIds,
        target: Option<&MediaTarget>,
        reason: HangUpReason,
    ) -> Option<Self> {
        let [caller, media, bridge] = [&ids.caller, &ids.media, &ids.bridge].map(|id| encoded(id));
        let path = match operation {
            Operation::Answer => format!("/channels/{caller}/answer"),
            Operation::CreateBridge => format!("/bridges?type=mixing&bridgeId={bridge}"),
            Operation::CreateMedia => create_media(target?, &media),
            // Both at once.
            Operation::AddChannels => format!("/bridges/{bridge}/addChannel?channel={caller},{media}"),
            Operation::HangUp => {
                let reason = match reason {
                    HangUpReason::Normal => "normal",
                    HangUpReason::Congestion => "congestion",
                };
                format!("/channels/{caller}?reason={reason}")
            }
            Operation::DeleteMedia => format!("/channels/{media}"),
            Operation::DeleteBridge => format!("/bridges/{bridge}"),
        };
        Some(AriRequest { operation, path })
    }
}

/// The request for a call's media channel, by the way of its media.
///
/// chan_audiosocket takes linear audio alone; chan_websocket is to speak JSON (`f(json)`).
fn create_media(target: &MediaTarget, media: &str) -> String {
    let MediaTarget { app, place, format } = target;
    let way = match place {
        MediaPlace::Rtp(host) => {
            format!("&external_host={}&format={format}", encoded(&host.to_string()))
        }
        MediaPlace::AudioSocket(host, uuid) => format!(
            "&external_host={}&format=slin&encapsulation=audiosocket&transport=tcp&data={uuid}",
            encoded(&host.to_string())
        ),
        MediaPlace::WebSocket => format!(
            "&format={format}&encapsulation=none&transport=websocket&connection_type=server&transport_data={}",
            encoded("f(json)")
        ),
    };
    format!("/channels/externalMedia?app={}&channelId={media}{way}", encoded(app))
}

/// The request that deletes a channel or bridge of ours of which nothing but its id is known.
pub fn delete_stray(operation: Operation, id: &str) -> AriRequest {
    let kind = if operation == Operation::DeleteBridge { "bridges" } else { "channels" };
    AriRequest { operation, path: format!("/{kind}/{}", encoded(id)) }
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

/// True for the answer to an account that may only read (`read_only` of ari.conf): Asterisk gives it to every request
/// but GET, before it looks at what is asked for.
pub fn is_read_only(status: u16, body: &[u8]) -> bool {
    const DENIED: &[u8] = b"Write access denied";
    status == 403 && body.windows(DENIED.len()).any(|part| part == DENIED)
}

/// Path of a thing that is not there, to be deleted: the answer says whether the account may write.
pub const NOTHING: &str = "/playbacks/loadtest-asks-whether-it-may-write";

/// Such an account, in a sentence with its cure.
pub fn read_only(url: &str, user: &str) -> String {
    format!(
        "Asterisk at {url} lets user `{user}` read and not write, so that no call can be answered: set read_only = no in \
         that user's section of its ari.conf, and reload it (`module reload res_ari.so`)"
    )
}

/// The place of Asterisk's side of the media, from the answer to [`Operation::CreateMedia`].
///
/// `None` where it tells neither an address and port nor a WebSocket's name.
pub fn media_peer(body: &[u8]) -> Option<MediaPeer> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let variable = |name: &str| body["channelvars"][name].as_str();
    if let Some(id) = variable("MEDIA_WEBSOCKET_CONNECTION_ID") {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let is_name =
            !id.is_empty() && id.len() <= LONGEST_NAME && id.chars().all(is_word) && id != "." && id != "..";
        return is_name.then(|| MediaPeer::WebSocket(id.into()));
    }
    let address: IpAddr = variable("UNICASTRTP_LOCAL_ADDRESS")?.parse().ok()?;
    let port: u16 = variable("UNICASTRTP_LOCAL_PORT")?.parse().ok()?;
    (port != 0 && !address.is_unspecified()).then(|| MediaPeer::Rtp(SocketAddr::new(address, port)))
}

/// Longest name of a WebSocket that is believed; Asterisk's are UUIDs.
const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Uuid;

    #[test]
    fn requests_spell_what_asterisk_reads() {
        let place = MediaPlace::Rtp("127.0.0.1:21000".parse().unwrap());
        let ids = CallIds { caller: "1.2".into(), media: "a&b c".into(), bridge: "../x".into() };
        let target = MediaTarget { app: "a/b".into(), place, format: "ulaw" };
        let path = |operation| {
            AriRequest::of(operation, &ids, Some(&target), HangUpReason::Congestion).expect("a target").path
        };
        assert_eq!(path(Operation::AddChannels), "/bridges/..%2Fx/addChannel?channel=1.2,a%26b%20c");
        assert_eq!(
            path(Operation::CreateMedia),
            "/channels/externalMedia?app=a%2Fb&channelId=a%26b%20c&external_host=127.0.0.1%3A21000&format=ulaw"
        );
        for (place, words) in [
            (
                MediaPlace::AudioSocket("127.0.0.1:9000".parse().unwrap(), Uuid::from_random([7; 16])),
                "&external_host=127.0.0.1%3A9000&format=slin&encapsulation=audiosocket&transport=tcp&\
                 data=07070707-0707-4707-8707-070707070707",
            ),
            (
                MediaPlace::WebSocket,
                "&format=ulaw&encapsulation=none&transport=websocket&connection_type=server&\
                 transport_data=f%28json%29",
            ),
        ] {
            let target = MediaTarget { place, ..target.clone() };
            let request = AriRequest::of(Operation::CreateMedia, &ids, Some(&target), HangUpReason::Normal);
            let path = request.expect("a target").path;
            assert_eq!(path, format!("/channels/externalMedia?app=a%2Fb&channelId=a%26b%20c{words}"));
        }
        assert_eq!(path(Operation::HangUp), "/channels/1.2?reason=congestion");
        assert!(AriRequest::of(Operation::CreateMedia, &ids, None, HangUpReason::Normal).is_none());
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
    fn an_account_that_may_only_read_is_known_by_the_words_of_its_403() {
        let denied = br#"{"message":"Write access denied"}"#;
        assert!(is_read_only(403, denied));
        assert!(!is_read_only(403, b"<h1>Forbidden</h1>"), "a proxy's");
        assert!(!is_read_only(404, denied) && !is_read_only(403, b""));
        let said = read_only("http://h:8088", "u");
        assert!(said.contains("user `u`") && said.contains("read_only = no"), "{said}");
    }

    #[test]
    fn the_media_address_is_found_or_nothing() {
        let body = |address: &str, port: &str| {
            format!(
                r#"{{"id":"x","channelvars":{{"UNICASTRTP_LOCAL_ADDRESS":{address},"UNICASTRTP_LOCAL_PORT":{port}}}}}"#
            )
        };
        let found = |address, port| media_peer(body(address, port).as_bytes());
        let expected = MediaPeer::Rtp("127.0.0.1:12000".parse().unwrap());
        assert_eq!(found(r#""127.0.0.1""#, r#""12000""#), Some(expected));
        assert_eq!(found(r#""127.0.0.1""#, r#""0""#), None);
        assert_eq!(found(r#""0.0.0.0""#, r#""9""#), None);
        assert_eq!(found(r#""host""#, r#""9""#), None);
        assert_eq!(found("7", "null"), None);
        assert_eq!(media_peer(b"{}"), None);
        let named = |name: &str| {
            let body = format!(r#"{{"channelvars":{{"MEDIA_WEBSOCKET_CONNECTION_ID":"{name}"}}}}"#);
            media_peer(body.as_bytes())
        };
        assert_eq!(named("media/9-a"), None);
        assert_eq!(named(".."), None);
        assert_eq!(named("9f-a"), Some(MediaPeer::WebSocket("9f-a".into())));
    }
}
