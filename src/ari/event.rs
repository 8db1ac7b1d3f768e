//! The events of ARI's WebSocket that a call depends on, read from their JSON.

use serde::Deserialize;
use strum::IntoStaticStr;

use crate::stamp::Stamp;
use crate::values::cut;

/// Longest event that is read; Asterisk's own are about 1 KB.
pub const MAX_EVENT_LEN: usize = 256 * 1024;

/// Longest channel or bridge id that is accepted; Asterisk's own limit is 149 characters.
pub const MAX_ID_LEN: usize = 160;

/// Bytes of the reason for which an event is malformed: it may quote the event.
const REASON_MAX: usize = 200;

/// Most dialplan arguments that are kept of a StasisStart.
pub const MAX_ARGS: usize = 8;

/// An event. Fields that no call depends on are not kept.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
pub enum Event {
    /// A channel has entered the application.
    StasisStart {
        /// The channel.
        channel: String,
        /// The dialplan's arguments to `Stasis()` behind the application's name.
        args: Vec<String>,
        /// The signalling protocol's own name for the call (SIP: Call-ID); Asterisk 20 and later.
        protocol_id: Option<String>,
        /// True if it came by the dialplan's extension `h`, which runs after a hang-up: a pattern
        /// such as `_.` matches that too, and the channel that seems to call has just ended.
        hung_up: bool,
    },
    /// A channel has left the application.
    StasisEnd {
        /// The channel.
        channel: String,
    },
    /// A channel is no more.
    ChannelDestroyed {
        /// The channel.
        channel: String,
    },
    /// A channel is now in a bridge.
    ChannelEnteredBridge {
        /// The bridge.
        bridge: String,
        /// The channel.
        channel: String,
    },
    /// A channel is no longer in a bridge.
    ChannelLeftBridge {
        /// The bridge.
        bridge: String,
        /// The channel.
        channel: String,
    },
    /// A bridge is no more.
    BridgeDestroyed {
        /// The bridge.
        bridge: String,
    },
    /// Another connection has taken over the application's events.
    ApplicationReplaced,
    /// Anything else.
    Other,
}

/// A message that is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Longer than [`MAX_EVENT_LEN`].
    #[error("an event of {0} bytes, more than {MAX_EVENT_LEN}")]
    TooLong(usize),
    /// Not JSON, or a known event with a field of another type.
    #[error("a malformed event: {}", cut(&.0.to_string(), REASON_MAX))]
    Malformed(#[from] serde_json::Error),
    /// A known event whose channel or bridge has no id, or one of too many characters.
    #[error("an event without an id of 1 to {MAX_ID_LEN} characters")]
    BadId,
}

/// First look: the rest of an unknown event may have any shape.
#[derive(Deserialize)]
struct EventHead<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    timestamp: Option<std::borrow::Cow<'a, str>>,
}

/// The fields of the known events.
#[derive(Deserialize)]
struct Body {
    channel: Option<Named>,
    bridge: Option<Named>,
    #[serde(default)]
    args: Vec<String>,
}

/// A channel or a bridge.
#[derive(Deserialize)]
struct Named {
    id: String,
    protocol_id: Option<String>,
    dialplan: Option<Dialplan>,
}

#[derive(Deserialize)]
struct Dialplan {
    #[serde(default)]
    exten: String,
}

impl Event {
    /// Reads one WebSocket message.
    ///
    /// # Errors
    /// [`EventError`] for what is no event. An unknown type is not an error but [`Event::Other`].
    pub fn parse(text: &str) -> Result<Event, EventError> {
        Ok(Event::parse_dated(text)?.0)
    }

    /// Reads one WebSocket message and when Asterisk made it, by Asterisk's clock and cut to
    /// milliseconds; `None` where it does not say.
    ///
    /// # Errors
    /// As [`Event::parse`].
    pub fn parse_dated(text: &str) -> Result<(Event, Option<Stamp>), EventError> {
        if text.len() > MAX_EVENT_LEN {
            return Err(EventError::TooLong(text.len()));
        }
        let kind: EventHead<'_> = serde_json::from_str(text)?;
        let made_at = kind.timestamp.as_deref().and_then(date);
        Ok((Event::of_kind(&kind.kind, text)?, made_at))
    }

    fn of_kind(kind: &str, text: &str) -> Result<Event, EventError> {
        let body = || serde_json::from_str::<Body>(text);
        Ok(match kind {
            "StasisStart" => stasis_start(body()?)?,
            "StasisEnd" => Event::StasisEnd { channel: id(body()?.channel)? },
            "ChannelDestroyed" => Event::ChannelDestroyed { channel: id(body()?.channel)? },
            "ChannelEnteredBridge" => {
                let Body { channel, bridge, .. } = body()?;
                Event::ChannelEnteredBridge { bridge: id(bridge)?, channel: id(channel)? }
            }
            "ChannelLeftBridge" => {
                let Body { channel, bridge, .. } = body()?;
                Event::ChannelLeftBridge { bridge: id(bridge)?, channel: id(channel)? }
            }
            "BridgeDestroyed" => Event::BridgeDestroyed { bridge: id(body()?.bridge)? },
            "ApplicationReplaced" => Event::ApplicationReplaced,
            _ => Event::Other,
        })
    }

    /// The type's name, as Asterisk spells it; `Other` for those that are not read.
    pub fn kind(&self) -> &'static str {
        self.into()
    }

    /// The channel that the event is about.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Event::StasisStart { channel, .. }
            | Event::StasisEnd { channel }
            | Event::ChannelDestroyed { channel }
            | Event::ChannelEnteredBridge { channel, .. }
            | Event::ChannelLeftBridge { channel, .. } => Some(channel),
            Event::BridgeDestroyed { .. } | Event::ApplicationReplaced | Event::Other => None,
        }
    }
}

/// `2026-11-22T14:40:07.517+0000`: the offset without a colon, which RFC 3339 wants.
fn date(text: &str) -> Option<Stamp> {
    let (local, offset) = text.split_at_checked(text.len().checked_sub(5)?)?;
    let local = humantime::parse_rfc3339_weak(local).ok()?;
    let local = u64::try_from(local.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()).ok()?;
    let number = |digits: &str| digits.parse::<u8>().ok().map(u64::from);
    let minutes = number(offset.get(1..3)?)? * 60 + number(offset.get(3..5)?)?;
    let ahead_ns = minutes * 60 * 1_000_000_000;
    let utc = match offset.get(..1)? {
        "+" => local.checked_sub(ahead_ns),
        "-" => local.checked_add(ahead_ns),
        _ => None,
    };
    utc.map(Stamp::from_ns)
}

fn stasis_start(body: Body) -> Result<Event, EventError> {
    let Body { channel: Some(channel), mut args, .. } = body else { return Err(EventError::BadId) };
    args.truncate(MAX_ARGS);
    let hung_up = channel.dialplan.as_ref().is_some_and(|dialplan| dialplan.exten == "h");
    let protocol_id = channel.protocol_id.clone().filter(|id| !id.is_empty());
    Ok(Event::StasisStart { channel: id(Some(channel))?, args, protocol_id, hung_up })
}

fn id(named: Option<Named>) -> Result<String, EventError> {
    let id = named.map(|named| named.id).filter(|id| (1..=MAX_ID_LEN).contains(&id.len()));
    id.ok_or(EventError::BadId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Asterisk 22.10.1 sent it.
    const START: &str = r#"{"type":"StasisStart","timestamp":"2026-11-22T14:40:07.517+0000","args":["ulaw"],
        "channel":{"id":"1795358407.0","name":"PJSIP/driver-00000000","state":"Ring","protocol_id":"1-77@127.0.0.1",
        "caller":{"name":"sipp","number":"sipp"},"connected":{"name":"","number":""},"accountcode":"",
        "dialplan":{"context":"loadtest","exten":"service","priority":1,"app_name":"Stasis","app_data":"loadtest,ulaw"},
        "creationtime":"2026-11-22T14:40:07.516+0000","language":"en"},
        "asterisk_id":"02:fc:00:00:00:01","application":"loadtest"}"#;

    #[test]
    fn a_malformed_event_is_not_quoted_at_length() {
        let long = format!(r#"{{"type":"StasisEnd","channel":"{}"}}"#, "x".repeat(200_000));
        let said = Event::parse(&long).unwrap_err().to_string();
        assert!(
            said.starts_with("a malformed event: invalid type: string \"xxx") && said.len() < 300,
            "{said}"
        );
    }

    #[test]
    fn reads_what_a_call_depends_on() {
        let start = Event::parse(START).unwrap();
        let Event::StasisStart { channel, args, protocol_id, hung_up } = &start else { panic!("a start") };
        assert_eq!((channel.as_str(), args.as_slice()), ("1795358407.0", &["ulaw".to_string()][..]));
        assert!(!hung_up);
        assert_eq!(protocol_id.as_deref(), Some("1-77@127.0.0.1"));
        assert_eq!(start.channel(), Some("1795358407.0"));

        let read = |text| Event::parse(text).unwrap();
        assert_eq!(
            read(r#"{"type":"ChannelDestroyed","cause":16,"cause_txt":"x","channel":{"id":"c"}}"#),
            Event::ChannelDestroyed { channel: "c".into() }
        );
        assert_eq!(
            read(
                r#"{"type":"ChannelEnteredBridge","bridge":{"id":"b","channels":["c"]},"channel":{"id":"c"}}"#
            ),
            Event::ChannelEnteredBridge { bridge: "b".into(), channel: "c".into() }
        );
        assert_eq!(read(r#"{"type":"ApplicationReplaced","application":"a"}"#), Event::ApplicationReplaced);
    }

    #[test]
    fn the_time_of_an_event_is_that_of_the_world() {
        let made_at = |text: &str| Event::parse_dated(text).unwrap().1;
        let expected = Some(Stamp::from_ns(1_795_358_407_517_000_000));
        assert_eq!(made_at(START), expected);
        assert_eq!(made_at(&START.replace("T14:40:07.517+0000", "T16:10:07.517+0130")), expected);
        assert_eq!(made_at(&START.replace("T14:40:07.517+0000", "T13:40:07.517-0100")), expected);
        for odd in ["", "x", "2026", "+0000", "2026-11-22T14:40:07.517Z", "2026-11-22T14:40:07.517+é00"] {
            assert_eq!(made_at(&START.replace("2026-11-22T14:40:07.517+0000", odd)), None, "{odd}");
        }
        assert_eq!(made_at(r#"{"type":"Other"}"#), None);
    }

    #[test]
    fn the_hang_up_extension_is_no_call() {
        let text = START.replace(r#""exten":"service""#, r#""exten":"h""#);
        assert!(matches!(Event::parse(&text).unwrap(), Event::StasisStart { hung_up: true, .. }));
    }

    #[test]
    fn an_unknown_event_may_have_any_shape() {
        let text = r#"{"type":"Tomorrow","channel":7,"args":{"a":null},"bridge":[],"cause":"x"}"#;
        assert_eq!(Event::parse(text).unwrap(), Event::Other);
    }

    #[test]
    fn a_known_event_without_its_fields_is_malformed() {
        for text in [
            r#"{"type":"StasisEnd"}"#,
            r#"{"type":"StasisEnd","channel":{"id":7}}"#,
            r#"{"type":"StasisEnd","channel":{"id":""}}"#,
            r#"{"type":"ChannelEnteredBridge","channel":{"id":"c"}}"#,
            r#"{"channel":{"id":"c"}}"#,
            "[1,2]",
            "",
        ] {
            assert!(Event::parse(text).is_err(), "{text}");
        }
        let long = format!(r#"{{"type":"StasisEnd","channel":{{"id":"{}"}}}}"#, "x".repeat(200));
        assert!(matches!(Event::parse(&long), Err(EventError::BadId)));
        assert!(matches!(Event::parse(&" ".repeat(MAX_EVENT_LEN + 1)), Err(EventError::TooLong(_))));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"type\":\"Other\",\"x\":{}", "[".repeat(100_000));
        assert!(Event::parse(&deep).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".{0,200}") {
            let _ = Event::parse(&text);
        }

        #[test]
        fn no_cut_or_change_is_too_strange(at in 0usize..500, byte in any::<u8>()) {
            let mut bytes = START.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Event::parse(&String::from_utf8_lossy(&bytes));
            let _ = Event::parse(&String::from_utf8_lossy(&bytes[..at]));
        }
    }
}
