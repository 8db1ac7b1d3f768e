//! Datagram → [`Message`] (RFC 3261 7, 18.3): start line, headers and body, each read once.
//!
//! rsip reads the header lines. It knows no compact names, no folding and no space before the colon, so
//! these are brought into its form line by line; the usual line is handed over as it is. A line that it refuses
//! ends nothing unless it is of a header that every call needs. The start line is read here: rsip refuses
//! extension methods and IPv6 Request-URIs, and forgets reason phrases.

use std::borrow::Cow;

use rsip::Header;
use rsip::headers::header::Tokenizer;
use rsip::prelude::UntypedHeader as _;
use thiserror::Error;

use super::grammar;
use super::message::{Message, Method, Start};

/// The longest message accepted: what a UDP datagram can carry.
pub const MAX_MESSAGE_BYTES: usize = 65_536;
/// The most header lines kept. Asterisk sends about fifteen; more than these are passed over, unless they are needed.
pub const MAX_HEADERS: usize = 256;

/// Fault of a datagram that is no usable SIP message, in words; hostile text in it is an excerpt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ParseError(pub(super) String);

impl ParseError {
    /// A header that every message has (RFC 3261 8.1.1) is missing.
    pub(super) fn missing(name: &str) -> Self {
        ParseError(format!("no {name} header"))
    }

    /// A header that may occur once occurs again (RFC 3261 7.3.1).
    pub(super) fn repeated(name: &str) -> Self {
        ParseError(format!("more than one {name} header"))
    }
}

/// Compact names (RFC 3261 7.3.3 and the IANA registry of header fields).
const COMPACT: &[(&str, &str)] = &[
    ("a", "Accept-Contact"),
    ("b", "Referred-By"),
    ("c", "Content-Type"),
    ("d", "Request-Disposition"),
    ("e", "Content-Encoding"),
    ("f", "From"),
    ("i", "Call-ID"),
    ("j", "Reject-Contact"),
    ("k", "Supported"),
    ("l", "Content-Length"),
    ("m", "Contact"),
    ("n", "Identity-Info"),
    ("o", "Event"),
    ("r", "Refer-To"),
    ("s", "Subject"),
    ("t", "To"),
    ("u", "Allow-Events"),
    ("v", "Via"),
    ("x", "Session-Expires"),
    ("y", "Identity"),
];

/// Headers without which no call can be led (RFC 3261 8.1.1, 12, 18.3): a line of theirs is never passed over.
const NEEDED: [&str; 9] =
    ["Via", "From", "To", "Call-ID", "CSeq", "Content-Length", "Contact", "Record-Route", "Route"];

/// The header lines of a message, as far as they can be read.
#[derive(Debug, Default)]
pub(super) struct HeaderLines {
    pub(super) headers: Vec<Header>,
    /// Lines that were passed over.
    pub(super) passed_over: u32,
}

/// Reads one datagram (RFC 3261 7, 18.3).
///
/// # Errors
/// No SIP message, or one without a header that every message must have (RFC 3261 8.1.1).
pub fn parse(datagram: &[u8]) -> Result<Message, ParseError> {
    if datagram.len() > MAX_MESSAGE_BYTES {
        return Err(ParseError(format!("{} bytes, {MAX_MESSAGE_BYTES} allowed", datagram.len())));
    }
    // Line ends before the start line are to be ignored; nothing else is a keep-alive (RFC 3261 7.5).
    let empty = || ParseError("an empty message".into());
    let at = datagram.iter().position(|b| !b"\r\n".contains(b)).ok_or_else(empty)?;
    let (lines, rest) = unfold(&datagram[at..]);
    let (start_line, lines) = lines.split_first().ok_or_else(empty)?;
    let start = start(start_line)?;
    let lines = header_lines(lines)?;
    let body = cut(rest, content_length(&lines.headers)?)?;
    Message::new(start, lines, body.to_vec())
}

/// The lines up to the empty one, continuation lines joined to theirs (RFC 3261 7.3.1), and the rest.
pub(super) fn unfold(bytes: &[u8]) -> (Vec<Cow<'_, str>>, &[u8]) {
    let mut lines: Vec<Cow<'_, str>> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let is_continuation = line.starts_with(b" ") || line.starts_with(b"\t");
        match lines.last_mut() {
            Some(last) if is_continuation => {
                let more = tidy(line);
                if !more.is_empty() {
                    let last = last.to_mut();
                    last.push(' ');
                    last.push_str(&more);
                }
            }
            _ => lines.push(tidy(line)),
        }
    }
    (lines, rest)
}

/// A line without white space at its ends and without characters that could pass for a line end.
pub(super) fn tidy(line: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(line) {
        Ok(text) if !text.contains(char::is_control) => Cow::Borrowed(text.trim_matches(' ')),
        _ => Cow::Owned(grammar::one_line(&String::from_utf8_lossy(line))),
    }
}

fn header_lines(lines: &[Cow<'_, str>]) -> Result<HeaderLines, ParseError> {
    let mut read = HeaderLines::default();
    let mut needed = 0;
    for line in lines {
        let is_needed = is_needed(name_of(line));
        needed += usize::from(is_needed);
        if needed > MAX_HEADERS {
            return Err(ParseError(format!("more than {MAX_HEADERS} headers")));
        }
        match header(line)? {
            Some(header) if is_needed || read.headers.len() < MAX_HEADERS => read.headers.push(header),
            _ => read.passed_over += 1,
        }
    }
    Ok(read)
}

/// Reads a header line; `None` for one without a name. One that rsip refuses is a header that nobody knows.
fn header(line: &str) -> Result<Option<Header>, ParseError> {
    let Some((written, value)) = line.split_once(':') else { return Ok(None) };
    let name = name_of(line);
    let plain = if name == written {
        Cow::Borrowed(line)
    } else {
        Cow::Owned(format!("{name}: {}", value.trim_matches(' ')))
    };
    let read = Tokenizer::tokenize(plain.as_bytes()).ok().and_then(|(_, tokens)| tokens.try_into().ok());
    match read {
        Some(header) => Ok(Some(header)),
        None if is_needed(name) => Err(ParseError(format!("not a header: `{}`", excerpt(line)))),
        None if name.is_empty() => Ok(None),
        None => Ok(Some(Header::Other(name.into(), value.trim_matches(' ').into()))),
    }
}

/// The long name of a line's header; empty without one.
fn name_of(line: &str) -> &str {
    line.split_once(':').map_or("", |(written, _)| long_name(written.trim_end()))
}

fn is_needed(name: &str) -> bool {
    NEEDED.iter().any(|needed| needed.eq_ignore_ascii_case(name))
}

fn long_name(name: &str) -> &str {
    let is_short = name.len() == 1;
    let long = COMPACT.iter().find(|(short, _)| is_short && short.eq_ignore_ascii_case(name));
    long.map_or(name, |(_, long)| long)
}

fn start(line: &str) -> Result<Start, ParseError> {
    let bad = || ParseError(format!("the first line is not SIP's: `{}`", excerpt(line)));
    let (first, rest) = line.split_once(' ').ok_or_else(bad)?;
    let (second, third) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
    let third = third.trim();
    if first.eq_ignore_ascii_case("SIP/2.0") {
        let digits = second.len() == 3 && second.bytes().all(|b| b.is_ascii_digit());
        let code = second.parse().ok().filter(|code| digits && (100..700).contains(code)).ok_or_else(bad)?;
        return Ok(Start::Response { code, reason: third.to_string() });
    }
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    let is_request = third.eq_ignore_ascii_case("SIP/2.0")
        && !first.is_empty()
        && first.chars().all(is_token)
        && grammar::is_uri(second);
    if !is_request {
        return Err(bad());
    }
    Ok(Start::Request { method: Method::from_name(first), uri: second.to_string() })
}

/// Content-Length, which may be repeated as long as it says the same.
fn content_length(headers: &[Header]) -> Result<Option<u64>, ParseError> {
    let mut length = None;
    for header in headers {
        let Header::ContentLength(header) = header else { continue };
        let value = header.value();
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseError(format!("bad Content-Length `{}`", excerpt(value))));
        }
        // A length past u64 is a number all the same: one that no datagram can hold.
        let this = value.parse().unwrap_or(u64::MAX);
        if length.is_some_and(|earlier| earlier != this) {
            return Err(ParseError::repeated("Content-Length"));
        }
        length = Some(this);
    }
    Ok(length)
}

/// The body: what Content-Length says, or over UDP all there is (RFC 3261 18.3).
fn cut(rest: &[u8], length: Option<u64>) -> Result<&[u8], ParseError> {
    let Some(expected) = length else { return Ok(rest) };
    let end = usize::try_from(expected).unwrap_or(usize::MAX);
    rest.get(..end)
        .ok_or_else(|| ParseError(format!("the body ends after {} of {expected} bytes", rest.len())))
}

/// Bytes of a peer's words that are kept: a phrase of 60 KB from each of ten thousand calls would fill memory
/// and reports.
const MOST_WORDS: usize = 128;

/// A peer's phrase as it may be kept: on one line, and cut where it is long.
pub(super) fn phrase(text: &str) -> String {
    if text.len() <= MOST_WORDS {
        return grammar::one_line(text);
    }
    let end = (0..=MOST_WORDS).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    grammar::one_line(&text[..end]) + "…"
}

/// The start of a hostile text, short enough for a log line.
pub(super) fn excerpt(text: &str) -> String {
    grammar::one_line(text).chars().take(80).collect()
}
