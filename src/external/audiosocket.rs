//! AudioSocket framing (docs.asterisk.org, "AudioSocket"): one type byte, the payload's length in 16 bits of network
//! order, the payload.
//!
//! Asterisk hangs its channel for good on half a header (asterisk#2089), and closes on an empty payload or an unknown
//! type: the writer makes whole messages only, and the reader closes on any doubt.

use std::time::Duration;

use thiserror::Error;

use crate::stamp::Stamp;
use crate::values::Uuid;

/// Bytes in front of a payload.
pub const HEADER_LEN: usize = 3;

const HANG_UP: u8 = 0x00;
const UUID: u8 = 0x01;
const DTMF: u8 = 0x03;
const ERROR: u8 = 0xff;

/// Rate of linear audio, mono, 16 bit, little-endian; each has its own message type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AudioRate(u8);

/// Message types of linear audio and their samples a second.
const RATES: [(u8, u32); 9] = [
    (0x10, 8_000),
    (0x11, 12_000),
    (0x12, 16_000),
    (0x13, 24_000),
    (0x14, 32_000),
    (0x15, 44_100),
    (0x16, 48_000),
    (0x17, 96_000),
    (0x18, 192_000),
];

impl AudioRate {
    /// 8000 Hz, the format `slin`.
    pub const SLIN: AudioRate = AudioRate(RATES[0].0);
    /// 16000 Hz, the format `slin16`.
    pub const SLIN16: AudioRate = AudioRate(RATES[2].0);

    /// The rate of so many samples a second, if a message type exists for it.
    pub fn from_hz(hz: u32) -> Option<Self> {
        RATES.iter().find(|(_, rate)| *rate == hz).map(|(kind, _)| AudioRate(*kind))
    }

    /// Samples a second.
    pub fn hz(self) -> u32 {
        // Invariant: an AudioRate is made from a row of RATES; 8000 never shows.
        RATES.iter().find(|(kind, _)| *kind == self.0).map_or(8_000, |(_, hz)| *hz)
    }

    fn from_kind(kind: u8) -> Option<Self> {
        RATES.iter().any(|(known, _)| *known == kind).then_some(AudioRate(kind))
    }
}

/// A message as read; audio borrows from the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The end, asked for by the peer.
    HangUp,
    /// The stream's name; always first.
    Uuid(Uuid),
    /// A digit that the caller has pressed: `0`–`9`, `*`, `#`, `A`–`D`.
    Dtmf(char),
    /// Linear audio of at least one sample.
    Audio(AudioRate, Samples<'a>),
    /// An error that the peer reports, with its code (1 hang-up, 2 frame forwarding, 4 memory); none if it has sent no
    /// or several bytes.
    Error(Option<u8>),
}

/// Linear samples as they came over the wire, 16 bit, little-endian; whole ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samples<'a>(&'a [u8]);

impl<'a> Samples<'a> {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// True without any sample; the reader makes none such.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The samples in their order.
    pub fn iter(&self) -> impl Iterator<Item = i16> + 'a {
        self.0.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair))
    }
}

/// Reasons for which a stream cannot be read on; the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The first message names no stream.
    #[error("the first AudioSocket message is of type {0:#04x}, not a UUID")]
    NoUuidFirst(u8),
    /// A stream was named twice.
    #[error("a second AudioSocket UUID in one connection")]
    SecondUuid,
    /// A type of message that the protocol lacks.
    #[error("AudioSocket message of unknown type {0:#04x}: the stream is out of step or not AudioSocket")]
    UnknownType(u8),
    /// A payload of a length that its type cannot have.
    #[error("AudioSocket message of type {kind:#04x} with a payload of {len} bytes")]
    Length {
        /// The message's type.
        kind: u8,
        /// Its payload's length in bytes.
        len: u16,
    },
    /// A byte that stands for no DTMF digit.
    #[error("AudioSocket DTMF digit {0:#04x}, which no telephone has")]
    NotADigit(u8),
    /// Something came after the hang-up.
    #[error("AudioSocket data after the hang-up")]
    AfterHangUp,
    /// The connection ended within a message.
    #[error("the AudioSocket connection ended within a message, {missing} bytes short")]
    CutShort {
        /// Bytes missing of the header, or of the payload.
        missing: usize,
    },
}

/// Reader of one connection, fed with bytes in chunks of any size. Holds one message, 64 KiB at most.
#[derive(Debug, Default)]
pub struct Reader {
    /// The message begun; whole if `is_taken`, and to be dropped before the next.
    held: Vec<u8>,
    is_taken: bool,
    has_uuid: bool,
    has_hung_up: bool,
    broken: Option<ReadError>,
}

impl Reader {
    /// A reader at the start of a connection.
    pub fn new() -> Self {
        Reader::default()
    }

    /// The next whole message; `bytes` loses those that were read. None once all of `bytes` is read and a message is
    /// incomplete. After an error every call returns that error.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Message<'_>>, ReadError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        if self.is_taken {
            self.held.clear();
            self.is_taken = false;
        }
        if self.has_hung_up {
            return if bytes.is_empty() { Ok(None) } else { Err(self.fail(ReadError::AfterHangUp)) };
        }
        // A header is judged before its payload is waited for.
        self.fill(bytes, HEADER_LEN);
        let Some((kind, len)) = self.header() else { return Ok(None) };
        if let Err(error) = judge_header(kind, len, self.has_uuid) {
            return Err(self.fail(error));
        }
        let whole = HEADER_LEN + usize::from(len);
        self.fill(bytes, whole);
        if self.held.len() < whole {
            return Ok(None);
        }
        self.is_taken = true;
        self.has_uuid |= kind == UUID;
        self.has_hung_up |= kind == HANG_UP;
        match message(kind, &self.held[HEADER_LEN..]) {
            Ok(message) => Ok(Some(message)),
            Err(error) => {
                self.broken = Some(error);
                Err(error)
            }
        }
    }

    /// Judges the end of the connection: an error if it came within a message.
    pub fn finish(&self) -> Result<(), ReadError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        if self.is_taken || self.held.is_empty() {
            return Ok(());
        }
        let whole = HEADER_LEN + self.header().map_or(0, |(_, len)| usize::from(len));
        Err(ReadError::CutShort { missing: whole.saturating_sub(self.held.len()) })
    }

    /// Moves bytes until so many are held or none is left.
    fn fill(&mut self, bytes: &mut &[u8], whole: usize) {
        let wanted = whole.saturating_sub(self.held.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at(wanted);
        self.held.extend_from_slice(taken);
        *bytes = rest;
    }

    fn header(&self) -> Option<(u8, u16)> {
        let ([kind, high, low], _) = self.held.split_first_chunk::<HEADER_LEN>()?;
        Some((*kind, u16::from_be_bytes([*high, *low])))
    }

    fn fail(&mut self, error: ReadError) -> ReadError {
        self.broken = Some(error);
        error
    }
}

fn judge_header(kind: u8, len: u16, has_uuid: bool) -> Result<(), ReadError> {
    let is_audio = AudioRate::from_kind(kind).is_some();
    let fits = match kind {
        HANG_UP => len == 0,
        UUID => len == 16,
        DTMF => len == 1,
        // An application's error code may have any length.
        ERROR => true,
        _ if is_audio => len > 0 && len.is_multiple_of(2),
        _ => return Err(ReadError::UnknownType(kind)),
    };
    match kind {
        // A channel may end before its stream is named.
        HANG_UP | ERROR => {}
        UUID if has_uuid => return Err(ReadError::SecondUuid),
        UUID => {}
        _ if !has_uuid => return Err(ReadError::NoUuidFirst(kind)),
        _ => {}
    }
    if fits { Ok(()) } else { Err(ReadError::Length { kind, len }) }
}

/// The message of a payload whose length fits its type.
fn message(kind: u8, payload: &[u8]) -> Result<Message<'_>, ReadError> {
    let wrong = || ReadError::Length { kind, len: u16::try_from(payload.len()).unwrap_or(u16::MAX) };
    match kind {
        HANG_UP => Ok(Message::HangUp),
        UUID => payload.try_into().map(|bytes| Message::Uuid(Uuid::from_bytes(bytes))).map_err(|_| wrong()),
        DTMF => match *payload {
            [digit @ (b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D')] => Ok(Message::Dtmf(char::from(digit))),
            [other] => Err(ReadError::NotADigit(other)),
            _ => Err(wrong()),
        },
        ERROR => Ok(Message::Error(if let &[code] = payload { Some(code) } else { None })),
        _ => match AudioRate::from_kind(kind) {
            Some(rate) => Ok(Message::Audio(rate, Samples(payload))),
            None => Err(ReadError::UnknownType(kind)),
        },
    }
}

/// Most samples of one message; the length has 16 bits.
const MOST_SAMPLES: usize = (u16::MAX / 2) as usize;

/// Appends audio in whole messages, one for up to 32767 samples, none for none.
pub fn put_audio(out: &mut Vec<u8>, rate: AudioRate, samples: &[i16]) {
    for part in samples.chunks(MOST_SAMPLES) {
        put_header(out, rate.0, part.len() * 2);
        out.extend(part.iter().flat_map(|sample| sample.to_le_bytes()));
    }
}

/// Appends one message of silence; `samples` is cut to 1–32767, for Asterisk closes on an empty one.
pub fn put_silence(out: &mut Vec<u8>, rate: AudioRate, samples: usize) {
    let len = samples.clamp(1, MOST_SAMPLES) * 2;
    put_header(out, rate.0, len);
    out.resize(out.len() + len, 0);
}

/// Appends the hang-up.
pub fn put_hang_up(out: &mut Vec<u8>) {
    put_header(out, HANG_UP, 0);
}

/// Appends a stream's name, as Asterisk does first of all.
pub fn put_uuid(out: &mut Vec<u8>, uuid: Uuid) {
    put_header(out, UUID, 16);
    out.extend_from_slice(uuid.as_bytes());
}

/// Appends a digit, as Asterisk does once the caller has let go of it; of other characters nothing.
pub fn put_dtmf(out: &mut Vec<u8>, digit: char) {
    if matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
        put_header(out, DTMF, 1);
        // Invariant: the digits above are ASCII.
        out.push(digit as u8);
    }
}

fn put_header(out: &mut Vec<u8>, kind: u8, len: usize) {
    // Invariant: callers keep the length within 16 bits.
    let len = u16::try_from(len).unwrap_or(u16::MAX);
    out.push(kind);
    out.extend_from_slice(&len.to_be_bytes());
}

/// Silence from Asterisk's side after which the first frame is sent to keep its reader from spinning.
pub const QUIET: Duration = Duration::from_millis(60);
/// Time between two such frames while the quiet lasts.
pub const REPEAT: Duration = Duration::from_millis(20);

/// Timer of the frames of silence that keep Asterisk's reader alive (asterisk#2089: it can spin, waiting for a header,
/// while SIP blocks on its mutexes). Audio of the service's own serves as well.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    due: Stamp,
}

impl KeepAlive {
    /// A timer of a connection accepted at `now`.
    pub fn new(now: Stamp) -> Self {
        KeepAlive { due: now + QUIET }
    }

    /// Audio was received, or sent by the service of itself.
    pub fn heard_or_sent(&mut self, now: Stamp) {
        self.due = self.due.max(now + QUIET);
    }

    /// True if a frame of silence is to be sent now; counts as sent.
    pub fn is_due(&mut self, now: Stamp) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + REPEAT;
        }
        is_due
    }

    /// The next time at which `is_due` may say yes.
    pub fn timeout(&self) -> Stamp {
        self.due
    }
}

#[cfg(test)]
mod tests;
