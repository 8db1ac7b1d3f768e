//! Control messages of chan_websocket (docs.asterisk.org, "WebSocket" channel driver): events from Asterisk and
//! commands to it, each the text of one WebSocket TEXT message, in JSON or in the older plain form.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;

/// Form of a call's control messages: `f(json)` in `transport_data`, plain text by default and before 22.8.
///
/// A command has to come in the call's form: to plain text in a JSON call Asterisk answers `ERROR`, JSON in a plain
/// call it passes over, and either command is lost (22.10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlForm {
    /// `{"event":"MEDIA_XOFF", …}`.
    Json,
    /// `STATUS channel_id:… queue_length:3 …`; deprecated.
    Plain,
}

impl ControlForm {
    /// The form in which an event came, so of the call.
    pub fn of(text: &str) -> Self {
        if text.trim_start().starts_with('{') { ControlForm::Json } else { ControlForm::Plain }
    }
}

/// Longest event that is read, in bytes. MEDIA_START carries all of the channel's variables.
pub const LONGEST_EVENT: usize = 65_536;

/// An event, as far as a service needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first event of a connection.
    MediaStart(MediaStart),
    /// The queue is full: frames sent from now on are dropped.
    Xoff,
    /// The queue has room again.
    Xon,
    /// Answer to GET_STATUS.
    Status(Status),
    /// The queue ran empty after REPORT_QUEUE_DRAINED.
    QueueDrained,
    /// Audio before a mark has left the queue; the mark's name, if it has one.
    MarkProcessed(Option<String>),
    /// Audio sent within START_ and STOP_MEDIA_BUFFERING has left the queue; its name, if it has one.
    BufferingCompleted(Option<String>),
    /// A digit that the caller has pressed: `0`–`9`, `*`, `#`, `A`–`D`.
    DtmfEnd(char),
    /// A command that Asterisk refused, in its words.
    Error(String),
    /// An event of another name; not an error, for new ones come with new versions.
    Unknown(String),
}

/// Facts of a connection's media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaStart {
    /// Name by which the connection was made.
    pub connection_id: String,
    /// The channel's unique id; none from the first versions.
    pub channel_id: Option<String>,
    /// Name of the codec (`ulaw`, `slin16`); none from the first versions.
    pub format: Option<String>,
    /// Bytes of one frame: only whole frames are kept.
    pub optimal_frame_size: u32,
    /// Time in a frame, in milliseconds; none from the first versions.
    pub ptime_ms: Option<u32>,
}

/// State of the queue from the service to Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Frames that wait for Asterisk's timer.
    pub queue_length: u32,
    /// The queue reached its limit, and frames are dropped.
    pub queue_full: bool,
    /// Within START_ and STOP_MEDIA_BUFFERING.
    pub bulk_media: bool,
    /// Paused by the service; false from the first versions.
    pub media_paused: bool,
}

impl Status {
    /// Time by which audio sent now is heard later, at one frame each `ptime`.
    pub fn backlog(&self, ptime: Duration) -> Duration {
        ptime.saturating_mul(self.queue_length)
    }
}

/// Reasons for which an event cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EventError {
    /// Longer than [`LONGEST_EVENT`].
    #[error("a control message of {0} bytes; chan_websocket's are shorter than {LONGEST_EVENT}")]
    TooLong(usize),
    /// Nothing but blanks.
    #[error("an empty control message")]
    Empty,
    /// Begins as JSON and is none.
    #[error("a control message that is not valid JSON: {0}")]
    NotJson(String),
    /// JSON without the event's name.
    #[error("a control message without `event`")]
    NoName,
    /// A field that the event needs is not there.
    #[error("{event} without `{field}`")]
    Missing {
        /// The event's name.
        event: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A field holds something else than it should.
    #[error("{event} with `{field}` = {found}")]
    Wrong {
        /// The event's name.
        event: &'static str,
        /// The field's name.
        field: &'static str,
        /// The beginning of its value.
        found: String,
    },
}

impl Event {
    /// Reads an event in either form.
    pub fn parse(text: &str) -> Result<Event, EventError> {
        if text.len() > LONGEST_EVENT {
            return Err(EventError::TooLong(text.len()));
        }
        let text = text.trim();
        let fields = match ControlForm::of(text) {
            ControlForm::Json => json_fields(text)?,
            ControlForm::Plain => plain_fields(text)?,
        };
        let Some(Value::String(name)) = fields.get("event") else { return Err(EventError::NoName) };
        match name.as_str() {
            "MEDIA_START" => media_start(Fields("MEDIA_START", &fields)),
            "MEDIA_XOFF" => Ok(Event::Xoff),
            "MEDIA_XON" => Ok(Event::Xon),
            "STATUS" => status(Fields("STATUS", &fields)),
            "QUEUE_DRAINED" => Ok(Event::QueueDrained),
            "MEDIA_MARK_PROCESSED" => {
                Fields("MEDIA_MARK_PROCESSED", &fields).text("correlation_id").map(Event::MarkProcessed)
            }
            "MEDIA_BUFFERING_COMPLETED" => Fields("MEDIA_BUFFERING_COMPLETED", &fields)
                .text("correlation_id")
                .map(Event::BufferingCompleted),
            "DTMF_END" => digit(Fields("DTMF_END", &fields)),
            "ERROR" => Ok(Event::Error(
                Fields("ERROR", &fields).text("error_text").ok().flatten().unwrap_or_default(),
            )),
            _ => Ok(Event::Unknown(beginning(name))),
        }
    }
}

/// Fields of an event, and its name for errors.
struct Fields<'a>(&'static str, &'a Map<String, Value>);

impl Fields<'_> {
    /// The field's text, or none if it is absent or empty.
    fn text(&self, field: &'static str) -> Result<Option<String>, EventError> {
        match self.1.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(field, other)),
        }
    }

    /// The field's number; plain text holds it as digits.
    fn number(&self, field: &'static str) -> Result<Option<u32>, EventError> {
        let Some(value) = self.1.get(field).filter(|value| !value.is_null()) else { return Ok(None) };
        let number = match value {
            Value::String(digits) => digits.parse().ok(),
            other => other.as_u64().and_then(|n| u32::try_from(n).ok()),
        };
        number.map(Some).ok_or_else(|| self.wrong(field, value))
    }

    /// The field's truth; false if absent.
    fn is(&self, field: &'static str) -> Result<bool, EventError> {
        match self.1.get(field) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(is)) => Ok(*is),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(self.wrong(field, other)),
        }
    }

    fn missing(&self, field: &'static str) -> EventError {
        EventError::Missing { event: self.0, field }
    }

    fn wrong(&self, field: &'static str, found: &Value) -> EventError {
        EventError::Wrong { event: self.0, field, found: beginning(&found.to_string()) }
    }
}

/// The first 40 characters of foreign text, for errors.
fn beginning(text: &str) -> String {
    text.chars().take(40).collect()
}

fn json_fields(text: &str) -> Result<Map<String, Value>, EventError> {
    serde_json::from_str(text).map_err(|error| EventError::NotJson(error.to_string()))
}

/// Fields of `EVENT key:value key:value`, in the shape of those of JSON. An id alone, as after
/// MEDIA_BUFFERING_COMPLETED, is `correlation_id`; the text of an error goes to the end of the line.
fn plain_fields(text: &str) -> Result<Map<String, Value>, EventError> {
    let (name, mut rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if name.is_empty() {
        return Err(EventError::Empty);
    }
    let mut fields = Map::new();
    let mut put = |key: &str, value: &str| {
        fields.insert(key.to_string(), Value::String(value.to_string()));
    };
    let carries_an_id = matches!(name, "MEDIA_BUFFERING_COMPLETED" | "MEDIA_MARK_PROCESSED");
    while !rest.trim_start().is_empty() {
        rest = rest.trim_start();
        if let Some(words) = rest.strip_prefix("error_text:") {
            put("error_text", words);
            break;
        }
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match word.split_once(':') {
            // An id may hold a colon itself; only these two fields come with such an event.
            Some((key, value)) if !carries_an_id || matches!(key, "channel_id" | "correlation_id") => {
                put(key, value);
            }
            _ if carries_an_id => put("correlation_id", word),
            _ => {}
        }
        rest = after;
    }
    put("event", name);
    Ok(fields)
}

fn media_start(fields: Fields<'_>) -> Result<Event, EventError> {
    let size = fields.number("optimal_frame_size")?;
    Ok(Event::MediaStart(MediaStart {
        connection_id: fields.text("connection_id")?.ok_or_else(|| fields.missing("connection_id"))?,
        channel_id: fields.text("channel_id")?,
        format: fields.text("format")?,
        optimal_frame_size: size.ok_or_else(|| fields.missing("optimal_frame_size"))?,
        ptime_ms: fields.number("ptime")?,
    }))
}

fn status(fields: Fields<'_>) -> Result<Event, EventError> {
    Ok(Event::Status(Status {
        queue_length: fields.number("queue_length")?.ok_or_else(|| fields.missing("queue_length"))?,
        queue_full: fields.is("queue_full")?,
        bulk_media: fields.is("bulk_media")?,
        media_paused: fields.is("media_paused")?,
    }))
}

fn digit(fields: Fields<'_>) -> Result<Event, EventError> {
    let text = fields.text("digit")?.ok_or_else(|| fields.missing("digit"))?;
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(digit @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) => Ok(Event::DtmfEnd(digit)),
        _ => Err(EventError::Wrong { event: "DTMF_END", field: "digit", found: beginning(&text) }),
    }
}

/// A command of the service. Asterisk drops one longer than 128 bytes without an answer; none of these is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Answers the channel, where it was made not to answer by itself.
    Answer,
    /// Hangs the channel up.
    HangUp,
    /// Asks for STATUS.
    GetStatus,
    /// Throws away all audio in the queue.
    FlushMedia,
    /// Asks for QUEUE_DRAINED, once.
    ReportQueueDrained,
    /// Puts a mark with this number into the queue (not in the first versions).
    MarkMedia(u64),
    /// From now on frames are cut from the bytes of all messages together.
    StartMediaBuffering,
    /// The end of that: the last frame is filled up with silence. The number comes back in BufferingCompleted.
    StopMediaBuffering(Option<u64>),
}

impl Command {
    /// The text of the message.
    pub fn text(self, form: ControlForm) -> String {
        let (name, id) = match self {
            Command::Answer => ("ANSWER", None),
            Command::HangUp => ("HANGUP", None),
            Command::GetStatus => ("GET_STATUS", None),
            Command::FlushMedia => ("FLUSH_MEDIA", None),
            Command::ReportQueueDrained => ("REPORT_QUEUE_DRAINED", None),
            Command::MarkMedia(id) => ("MARK_MEDIA", Some(id)),
            Command::StartMediaBuffering => ("START_MEDIA_BUFFERING", None),
            Command::StopMediaBuffering(id) => ("STOP_MEDIA_BUFFERING", id),
        };
        let mut text = match form {
            ControlForm::Json => format!(r#"{{"command":"{name}""#),
            ControlForm::Plain => name.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = match (form, id) {
            (ControlForm::Json, Some(id)) => write!(text, r#","correlation_id":"{id}"}}"#),
            (ControlForm::Json, None) => text.write_char('}'),
            (ControlForm::Plain, Some(id)) => write!(text, " {id}"),
            (ControlForm::Plain, None) => Ok(()),
        };
        text
    }
}

#[cfg(test)]
mod tests;
