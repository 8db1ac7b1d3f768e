//! Messages out of a stream of bytes (RFC 3261 18.3): each ends where its Content-Length says, and between them there
//! may be line ends that keep the connection alive (RFC 5626 4.4.1).

use thiserror::Error;

use super::parse::{MAX_MESSAGE_BYTES, excerpt, unfold};

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
}

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The bytes of one message.
    Message(Vec<u8>),
    /// Two line ends: the peer asks for one.
    Ping,
}

/// Bytes of a connection until they are whole messages. Holds one message at the most, and what came with its end.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes in which the end of the head has been looked for.
    searched: usize,
    /// Length of the message in front, once its head is there.
    whole: Option<usize>,
    /// Line ends since the last message or ping.
    line_ends: u32,
    error: Option<FramingError>,
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
    pub fn next(&mut self) -> Result<Option<Frame>, FramingError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.take_line_ends() {
            return Ok(Some(Frame::Ping));
        }
        let whole = match self.whole {
            Some(whole) => whole,
            None => match self.measure() {
                Ok(Some(whole)) => *self.whole.insert(whole),
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.buffer = Vec::new();
                    return Err(self.error.insert(error).clone());
                }
            },
        };
        if self.buffer.len() < whole {
            return Ok(None);
        }
        (self.searched, self.whole, self.line_ends) = (0, None, 0);
        let rest = self.buffer.split_off(whole);
        Ok(Some(Frame::Message(std::mem::replace(&mut self.buffer, rest))))
    }

    /// Takes line ends off the front; true once there were two.
    fn take_line_ends(&mut self) -> bool {
        let is_between = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let mut taken = 0;
        for byte in self.buffer.iter().take_while(|byte| is_between(byte)) {
            taken += 1;
            self.line_ends += u32::from(*byte == b'\n');
            if self.line_ends == 2 {
                break;
            }
        }
        self.buffer.drain(..taken);
        let is_ping = self.line_ends == 2;
        self.line_ends = if is_ping { 0 } else { self.line_ends };
        is_ping
    }

    /// Length of the message in front, if its head is whole.
    fn measure(&mut self) -> Result<Option<usize>, FramingError> {
        let Some(head) = self.head() else {
            let is_endless = self.buffer.len() > MAX_HEAD_BYTES;
            return if is_endless { Err(FramingError::HeadTooLong) } else { Ok(None) };
        };
        if head > MAX_HEAD_BYTES {
            return Err(FramingError::HeadTooLong);
        }
        let body = content_length(&self.buffer[..head])?;
        let whole = (head as u64).saturating_add(body);
        match usize::try_from(whole) {
            Ok(length) if length <= MAX_MESSAGE_BYTES => Ok(Some(length)),
            _ => Err(FramingError::TooLong(whole)),
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

/// The Content-Length of a head. It may come twice if it says the same.
fn content_length(head: &[u8]) -> Result<u64, FramingError> {
    let (lines, _) = unfold(head);
    let mut length = None;
    for line in &lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim_end(), value.trim());
        if !["Content-Length", "l"].iter().any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        let bad = || FramingError::BadLength(excerpt(value));
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        // A length past u64 is one that no message has.
        let this = value.parse().unwrap_or(u64::MAX);
        if length.is_some_and(|earlier| earlier != this) {
            return Err(bad());
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
                match framer.next() {
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
            (with("Content-Length: 5\r\nl: 6"), bad("6")),
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
        assert!(framer.next().is_err());
        framer.push(EMPTY.as_bytes());
        assert!(framer.next().is_err() && framer.buffer.is_empty());
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
            let whole = frames([&stream[..]]);
            let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(frames(pieces), whole);
        }
    }
}
