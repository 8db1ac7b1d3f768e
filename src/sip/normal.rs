//! Brings a datagram into the plain form that rsip reads: long names, one line a header, exact body.

use super::message::{MAX_HEADERS, MAX_MESSAGE_BYTES, ParseError, excerpt};

/// A datagram in its parts.
pub(super) struct Raw<'a> {
    /// The first line, trimmed.
    pub(super) start_line: String,
    /// `Name: value` lines parted by CRLF, without one at the end.
    pub(super) headers: String,
    /// The body, cut at Content-Length.
    pub(super) body: &'a [u8],
}

/// Compact header names and what they stand for (RFC 3261 7.3.3 and the IANA registry).
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

/// Takes a datagram apart, without judging what its headers say.
pub(super) fn normalise(datagram: &[u8]) -> Result<Raw<'_>, ParseError> {
    if datagram.len() > MAX_MESSAGE_BYTES {
        return Err(ParseError::TooLong { bytes: datagram.len() });
    }
    // Line ends before the start line are to be ignored (RFC 3261 7.5).
    let at = datagram.iter().position(|b| !b"\r\n".contains(b)).ok_or(ParseError::Empty)?;
    let (lines, rest) = unfold(&datagram[at..])?;
    let mut lines = lines.into_iter();
    let start_line = lines.next().ok_or(ParseError::Empty)?;
    let mut headers = Vec::new();
    let mut content_length = None;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| ParseError::Header(excerpt(&line)))?;
        let (name, value) = (long_name(name.trim()), value.trim());
        if name.eq_ignore_ascii_case("Content-Length") {
            let length = parse_length(value)?;
            if content_length.is_some_and(|earlier| earlier != length) {
                return Err(ParseError::Repeated("Content-Length"));
            }
            content_length = Some(length);
        }
        headers.push(format!("{name}: {value}"));
    }
    Ok(Raw { start_line, headers: headers.join("\r\n"), body: cut(rest, content_length)? })
}

/// The lines up to the empty one, continuation lines joined to theirs (RFC 3261 7.3.1), and the rest.
fn unfold(bytes: &[u8]) -> Result<(Vec<String>, &[u8]), ParseError> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let is_continuation = line.starts_with(b" ") || line.starts_with(b"\t");
        let text = tidy(&String::from_utf8_lossy(line));
        match lines.last_mut() {
            Some(last) if is_continuation => {
                last.push(' ');
                last.push_str(&text);
            }
            _ => lines.push(text),
        }
        if lines.len() > MAX_HEADERS + 1 {
            return Err(ParseError::TooManyHeaders);
        }
    }
    Ok((lines, rest))
}

/// A line without white space at its ends and without characters that could pass for a line end.
fn tidy(line: &str) -> String {
    line.replace(|c: char| c.is_control(), " ").trim().to_string()
}

fn long_name(name: &str) -> &str {
    COMPACT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name)).map_or(name, |(_, long)| long)
}

fn parse_length(value: &str) -> Result<u64, ParseError> {
    let bad = || ParseError::ContentLength(excerpt(value));
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    // A length past u64 is a number all the same: one that no datagram can hold.
    Ok(value.parse().unwrap_or(u64::MAX))
}

/// The body: what Content-Length says, or over UDP all there is (RFC 3261 18.3).
fn cut(rest: &[u8], length: Option<u64>) -> Result<&[u8], ParseError> {
    let Some(expected) = length else { return Ok(rest) };
    let end = usize::try_from(expected).unwrap_or(usize::MAX);
    rest.get(..end).ok_or(ParseError::Truncated { expected, got: rest.len() })
}
