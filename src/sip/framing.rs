//! Messages out of a stream of bytes (RFC 3261 18.3): each ends where its Content-Length says, and between them there
//! may be line ends that keep the connection alive (RFC 5626 4.4.1).

use std::borrow::Cow;

use thiserror::Error;

use super::parse::{MAX_MESSAGE_BYTES, excerpt, tidy, unfold};
use super::salvage::{Unreadable, unreadable};

/// Longest head of a message: what is longer is no SIP, or nobody's friend.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The answer to a ping, and half of one (RFC 5626 4.4.1).
pub const PONG: &[u8] = b"\r\n";
/// Keeps a connection alive.
pub const PING: &[u8] = b"\r\n\r\n";

/// A stream that is not SIP, or not any more. Nobody can tell where the next message begins: the connection is of no
/// use after it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FramingError {
    /// A message without Content-Length; its first line, an excerpt.
    #[error("a message without Content-Length, `{0}`: over a stream nobody can tell where it ends")]
    NoLength(String),
    /// A Content-Length that is no number, or several that differ; an excerpt.
    #[error("a message with the Content-Length `{0}`")]
    BadLength(String),
    /// A message that is longer than any that is read.
    #[error("a message of {0} bytes, {MAX_MESSAGE_BYTES} allowed")]
    TooLong(u64),
    /// No end of the header lines.
    #[error("a message whose header lines do not end within {MAX_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// No message begins where the one before ends; the line there, and the first line of the one before, excerpts.
    #[error("`{0}` where a message should begin: the Content-Length of `{1}` before it is wrong")]
    OutOfStep(String, String),
}

impl FramingError {
    /// The fault of the message in which it was found.
    fn of_message(&self) -> String {
        match self {
            FramingError::NoLength(_) => {
                "no Content-Length header: over a stream nobody can tell where it ends".into()
            }
            FramingError::BadLength(value) => {
                format!("bad Content-Length `{value}`: over a stream nobody can tell where it ends")
            }
            FramingError::TooLong(length) => format!("{length} bytes, {MAX_MESSAGE_BYTES} allowed"),
            FramingError::HeadTooLong => format!("its header lines do not end within {MAX_HEAD_BYTES} bytes"),
            FramingError::OutOfStep(_, before) => {
                format!("no message begins here: the Content-Length of `{before}` before it is wrong")
            }
        }
    }
}

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The bytes of one message.
    Message(Vec<u8>),
    /// Two line ends: the peer asks for one.
    Ping,
}

/// Lengths of the message in front.
#[derive(Debug, Clone, Copy)]
struct Front {
    head: usize,
    whole: usize,
}

/// Bytes of a connection until they are whole messages. Holds one message at the most, and what came with its end.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes in which the end of the head has been looked for.
    searched: usize,
    /// The message in front, once its head is there.
    front: Option<Front>,
    /// Line ends since the last message or ping.
    line_ends: u32,
    /// First line of the last message, an excerpt.
    before: Option<String>,
    /// The end of the stream, and the bytes that have brought it about.
    error: Option<(FramingError, Vec<u8>)>,
}

impl Framer {
    /// Takes what the connection has given. Frames are to be taken after each call of this.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next frame, if it is whole. After an error there is nothing but that error.
    ///
    /// # Errors
    /// The stream is of no use any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        if let Some((error, _)) = &self.error {
            return Err(error.clone());
        }
        if self.take_line_ends() {
            return Ok(Some(Frame::Ping));
        }
        let Front { whole, .. } = match self.front {
            Some(front) => front,
            None => match self.measure() {
                Ok(Some(front)) => *self.front.insert(front),
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.error = Some((error.clone(), std::mem::take(&mut self.buffer)));
                    return Err(error);
                }
            },
        };
        if self.buffer.len() < whole {
            return Ok(None);
        }
        (self.searched, self.front, self.line_ends) = (0, None, 0);
        let rest = self.buffer.split_off(whole);
        let message = std::mem::replace(&mut self.buffer, rest);
        let first = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.before = Some(excerpt(&tidy(first)));
        Ok(Some(Frame::Message(message)))
    }

    /// True while the rest of a message is awaited.
    pub fn is_waiting(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes of which no message has come: one whose rest is awaited, or the one that has ended the stream. With them
    /// stands what there is to be told of it.
    pub fn unfinished(&self) -> Option<(&[u8], Unreadable)> {
        let (bytes, why) = match (&self.error, self.front) {
            (Some((error, bytes)), _) => (bytes.as_slice(), error.of_message()),
            (None, _) if self.buffer.is_empty() => return None,
            (None, Some(Front { head, whole })) => {
                let (came, expected) = (self.buffer.len() - head, whole - head);
                (self.buffer.as_slice(), format!("the body ends after {came} of {expected} bytes"))
            }
            (None, None) => (self.buffer.as_slice(), "its header lines have no end".into()),
        };
        Some((bytes, unreadable(bytes, why)))
    }

    /// Takes line ends off the front, all at once; true once there were two. Many are one ping: a flood of them is not
    /// answered one by one.
    fn take_line_ends(&mut self) -> bool {
        let is_between = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let taken = self.buffer.iter().take_while(is_between).count();
        let line_ends = self.buffer[..taken].iter().filter(|byte| **byte == b'\n').count();
        self.line_ends = self.line_ends.saturating_add(u32::try_from(line_ends).unwrap_or(u32::MAX));
        self.buffer.drain(..taken);
        let is_ping = self.line_ends >= 2;
        self.line_ends = if is_ping { self.line_ends % 2 } else { self.line_ends };
        is_ping
    }

    /// Lengths of the message in front, if its head is whole.
    fn measure(&mut self) -> Result<Option<Front>, FramingError> {
        let Some(head) = self.head() else {
            let is_endless = self.buffer.len() > MAX_HEAD_BYTES;
            return if is_endless { Err(FramingError::HeadTooLong) } else { Ok(None) };
        };
        if head > MAX_HEAD_BYTES {
            return Err(FramingError::HeadTooLong);
        }
        let (lines, _) = unfold(&self.buffer[..head]);
        let first = lines.first().map_or("", |line| &**line);
        if let Some(before) = self.before.as_ref().filter(|_| !is_start(first)) {
            return Err(FramingError::OutOfStep(excerpt(first), before.clone()));
        }
        let length = (head as u64).saturating_add(content_length(&lines)?);
        match usize::try_from(length) {
            Ok(whole) if whole <= MAX_MESSAGE_BYTES => Ok(Some(Front { head, whole })),
            _ => Err(FramingError::TooLong(length)),
        }
    }

    /// Length of the head: up to the empty line, and with it.
    fn head(&mut self) -> Option<usize> {
        // A line end may have been cut: the last three bytes are looked at again.
        let from = self.searched.saturating_sub(3);
        let ends = (from..self.buffer.len()).filter(|at| self.buffer[*at] == b'\n');
        let end = ends.map(|at| at + 1).find_map(|next| match self.buffer.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        });
        self.searched = self.buffer.len();
        end
    }
}

/// True for a line that names SIP where a message's first one does, in whatever version.
fn is_start(line: &str) -> bool {
    let is_sip = |word: &str| word.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/"));
    is_sip(line) || line.rsplit(' ').next().is_some_and(is_sip)
}

/// The Content-Length of a head. It may come twice if it says the same.
fn content_length(lines: &[Cow<'_, str>]) -> Result<u64, FramingError> {
    let mut length: Option<u64> = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim_end(), value.trim());
        if !["Content-Length", "l"].iter().any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FramingError::BadLength(excerpt(value)));
        }
        // A length past u64 is one that no message has.
        let this = value.parse().unwrap_or(u64::MAX);
        if let Some(earlier) = length.filter(|earlier| *earlier != this) {
            return Err(FramingError::BadLength(format!("{earlier}, {this}")));
        }
        length = Some(this);
    }
    let first = lines.first().map(|line| excerpt(line)).unwrap_or_default();
    length.ok_or(FramingError::NoLength(first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "OPTIONS sip:a@h SIP/2.0\r\nVia: x\r\nContent-Length: 0\r\n\r\n";
    const WITH_BODY: &str = "SIP/2.0 200 OK\r\nl  : 5\r\nX: folded\r\n  on\r\n\r\nv=0\r\n";
    /// A body that looks like two messages and a ping.
    const SLY: &str =
        "BYE sip:a@h SIP/2.0\r\ncontent-length: 37\r\n\r\nSIP/2.0 200 OK\r\n\r\n\r\n\r\nBYE x SIP/2.0\r\n";

    /// Frames of a stream that comes in these pieces, and the error that ends it.
    fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FramingError>) {
        let (mut framer, mut frames) = (Framer::default(), Vec::new());
        for piece in pieces {
            framer.push(piece);
            loop {
                match framer.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
            assert!(framer.buffer.len() <= MAX_MESSAGE_BYTES + piece.len());
        }
        (frames, None)
    }

    fn message(text: &str) -> Frame {
        Frame::Message(text.as_bytes().to_vec())
    }

    #[test]
    fn messages_and_pings_come_out_as_they_went_in() {
        let stream = ["\r\n", EMPTY, "\r\n\r\n", WITH_BODY, SLY, "\r\n\r\n\r\n", EMPTY].concat();
        let expected =
            [message(EMPTY), Frame::Ping, message(WITH_BODY), message(SLY), Frame::Ping, message(EMPTY)];
        assert_eq!(frames([stream.as_bytes()]), (expected.to_vec(), None));
        assert_eq!(frames(stream.as_bytes().chunks(1)), (expected.to_vec(), None));
        // Line ends without a carriage return, as some write them.
        let bare = EMPTY.replace("\r\n", "\n");
        assert_eq!(frames([bare.as_bytes()]).0, [message(&bare)]);
    }

    #[test]
    fn what_has_no_end_that_can_be_known_ends_the_stream() {
        let with = |length: &str| WITH_BODY.replace("l  : 5", length);
        let bad = |text: &str| Some(FramingError::BadLength(text.into()));
        for (stream, error) in [
            (with("Y: 5"), Some(FramingError::NoLength("SIP/2.0 200 OK".into()))),
            (with("Content-Length: 5\r\nl: 5"), None),
            (with("Content-Length: 5\r\nl: 6"), bad("5, 6")),
            (with("Content-Length: five"), bad("five")),
            (with("Content-Length: -5"), bad("-5")),
            (with("Content-Length:"), bad("")),
            (with("Content-Length: 65536"), Some(FramingError::TooLong(65_536 + 50))),
            (with("Content-Length: 18446744073709551615"), Some(FramingError::TooLong(u64::MAX))),
            (with("Content-Length: 99999999999999999999999"), Some(FramingError::TooLong(u64::MAX))),
            ("x".repeat(MAX_HEAD_BYTES + 1), Some(FramingError::HeadTooLong)),
            (format!("{}\r\n\r\n", "x: y\r\n".repeat(6000)), Some(FramingError::HeadTooLong)),
        ] {
            let (got, ended_by) = frames([stream.as_bytes()]);
            match (&error, &ended_by) {
                // The head's length is not the point here.
                (Some(FramingError::TooLong(wanted)), Some(FramingError::TooLong(found)))
                    if *wanted < u64::MAX =>
                {
                    assert!(found.abs_diff(*wanted) < 64, "{found}");
                }
                _ => assert_eq!(ended_by, error, "{:.60}", stream),
            }
            assert_eq!(got.len(), usize::from(error.is_none()));
        }
    }

    #[test]
    fn nothing_comes_after_an_error_and_nothing_is_kept() {
        let mut framer = Framer::default();
        framer.push(b"SIP/2.0 200 OK\r\n\r\n");
        assert!(framer.next_frame().is_err());
        framer.push(EMPTY.as_bytes());
        assert!(framer.next_frame().is_err() && framer.buffer.is_empty());
    }

    /// What is told of the bytes of which no message has come.
    fn told(stream: &str) -> Option<(Option<String>, String)> {
        let mut framer = Framer::default();
        framer.push(stream.as_bytes());
        while let Ok(Some(_)) = framer.next_frame() {}
        let (bytes, unreadable) = framer.unfinished()?;
        assert!(stream.as_bytes().ends_with(bytes), "{bytes:?}");
        Some((unreadable.call_id.clone(), unreadable.to_string()))
    }

    #[test]
    fn a_message_without_an_end_is_told_of_with_its_call() {
        let with =
            |from: &str, to: &str| WITH_BODY.replace("X: folded", "i: c@h\r\nX: folded").replace(from, to);
        for (stream, words) in [
            (with("l  : 5", "l: 7"), "SIP/2.0 200 OK: the body ends after 5 of 7 bytes"),
            (with("l  : 5", "l: 70000"), "SIP/2.0 200 OK: 70080 bytes, 65536 allowed"),
            (
                with("l  : 5", "Y: 5"),
                "SIP/2.0 200 OK: no Content-Length header: over a stream nobody can tell where it ends",
            ),
            (
                with("l  : 5", "l: five"),
                "SIP/2.0 200 OK: bad Content-Length `five`: over a stream nobody can tell where it ends",
            ),
            (with("\r\n\r\nv=0\r\n", "\r\n"), "SIP/2.0 200 OK: its header lines have no end"),
        ] {
            for before in ["", EMPTY, "\r\n\r\n"] {
                let (call_id, told) = told(&format!("{before}{stream}")).expect("something to tell");
                assert_eq!(call_id.as_deref(), Some("c@h"), "{stream}");
                let is_length = words.contains("allowed");
                assert!(told == words || (is_length && told.ends_with("bytes, 65536 allowed")), "{told}");
            }
        }
        for whole in ["", EMPTY, "\r\n", &format!("{EMPTY}\r\n{WITH_BODY}")] {
            assert_eq!(told(whole), None, "{whole}");
        }
    }

    #[test]
    fn a_length_that_does_not_fit_is_found_out_where_the_next_message_should_begin() {
        let next = "SIP/2.0 180 Ringing\r\ni: d@h\r\nl: 0\r\n\r\n";
        for (length, line) in
            [("l: 7", "P/2.0 180 Ringing"), ("l: 0", "v=0"), ("l: 3", "SIP/2.0 180 Ringing")]
        {
            let stream = format!("{}{next}", WITH_BODY.replace("l  : 5", length));
            let (got, error) = frames([stream.as_bytes()]);
            if line.starts_with("SIP/") {
                // The rest of the body was line ends, which are nobody's.
                assert_eq!((got.len(), error), (2, None));
                continue;
            }
            assert_eq!(
                error,
                Some(FramingError::OutOfStep(line.into(), "SIP/2.0 200 OK".into())),
                "{length}"
            );
            assert_eq!(got.len(), 1, "{length}");
            let (call_id, told) = told(&stream).expect("something to tell");
            assert_eq!(call_id.as_deref(), Some("d@h"), "{length}");
            assert!(told.contains("the Content-Length of `SIP/2.0 200 OK` before it is wrong"), "{told}");
        }
        // One that begins like SIP is its reader's business.
        let odd = next.replace("SIP/2.0", "SIP/3.0");
        assert_eq!(frames([EMPTY.as_bytes(), odd.as_bytes()]), (vec![message(EMPTY), message(&odd)], None));
    }

    /// The same with one ping for several in a row: how many there are depends on how they come.
    fn few_pings(
        (mut frames, error): (Vec<Frame>, Option<FramingError>),
    ) -> (Vec<Frame>, Option<FramingError>) {
        frames.dedup_by(|next, before| *next == Frame::Ping && *before == Frame::Ping);
        (frames, error)
    }

    proptest! {
        #[test]
        fn the_same_frames_come_however_the_stream_is_cut(
            parts in prop::collection::vec(0usize..6, 0..12),
            cuts in prop::collection::vec(1usize..60, 0..80),
            junk in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let known = [EMPTY, WITH_BODY, SLY, "\r\n", "\r\n\r\n", "\n"];
            let mut stream = parts.iter().map(|n| known[*n]).collect::<String>().into_bytes();
            stream.extend(junk);
            let whole = few_pings(frames([&stream[..]]));
            let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(few_pings(frames(pieces)), whole);
        }
    }
}
