//! What can be told of a message that cannot be read: whose call it belongs to, how it begins, and why.

use std::fmt;

use super::message::Message;
use super::parse::{ParseError, excerpt, parse, tidy};

/// The most lines in which a Call-ID is looked for.
const MOST_LINES: usize = 64;
/// Longest Call-ID that is looked for.
const MOST_CALL_ID: usize = 256;

/// A datagram on a SIP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Message),
    /// Anything else.
    Unreadable(Unreadable),
}

/// A datagram that is no usable SIP message. It may have been meant as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its Call-ID, where one can be made out.
    pub call_id: Option<String>,
    /// Its first line, an excerpt.
    pub start: String,
    /// Its fault.
    pub why: ParseError,
}

impl Unreadable {
    /// True if it belongs to a call, or begins as an answer does.
    pub fn is_meant_as_sip(&self) -> bool {
        self.call_id.is_some() || self.is_response()
    }

    /// True if it begins as a response does.
    pub fn is_response(&self) -> bool {
        self.start.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("SIP/2.0 "))
    }
}

/// `SIP/2.0 200 OK: the body ends after 142 of 144 bytes`.
impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unreadable { start, why, .. } = self;
        write!(f, "{start}: {why}")
    }
}

/// Reads a datagram, or says what is wrong with it.
pub fn hear(datagram: &[u8]) -> Heard {
    match parse(datagram) {
        Ok(message) => Heard::Message(message),
        Err(why) => Heard::Unreadable(salvaged(datagram, why)),
    }
}

/// Of a message that must not be read, with the reason.
pub(super) fn unreadable(message: &[u8], why: String) -> Unreadable {
    salvaged(message, ParseError(why))
}

fn salvaged(datagram: &[u8], why: ParseError) -> Unreadable {
    let begin = datagram.iter().position(|b| !b"\r\n".contains(b)).unwrap_or(datagram.len());
    let mut lines =
        datagram[begin..].split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = lines.next().map(|line| excerpt(&tidy(line))).unwrap_or_default();
    let head = lines.take_while(|line| !line.is_empty()).take(MOST_LINES);
    let call_id = head.map(tidy).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_its = ["Call-ID", "i"].iter().any(|known| known.eq_ignore_ascii_case(name.trim_end()));
        Some(value.trim_matches(' ').to_string())
            .filter(|id| is_its && (1..=MOST_CALL_ID).contains(&id.len()))
    });
    Unreadable { call_id, start, why }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\n\
        To: <sip:x@h>;tag=b\r\nCall-ID: c@h\r\nCSeq: 7 INVITE\r\nContent-Length: 5\r\n\r\nv=0\r\n";

    fn unreadable(text: &str) -> Unreadable {
        match hear(text.as_bytes()) {
            Heard::Unreadable(unreadable) => unreadable,
            Heard::Message(message) => panic!("{message:?}\n{text}"),
        }
    }

    #[test]
    fn the_call_and_the_reason_are_told_of_every_kind_of_fault() {
        for (from, to, told) in [
            ("Length: 5", "Length: 7", "SIP/2.0 200 OK: the body ends after 5 of 7 bytes"),
            ("Length: 5", "Length: five", "SIP/2.0 200 OK: bad Content-Length `five`"),
            ("Call-ID: c@h", "i :  c@h\r\nCall-ID: d@h", "SIP/2.0 200 OK: more than one Call-ID header"),
            ("CSeq: 7 INVITE", "CSeq: seven", "SIP/2.0 200 OK: bad CSeq `seven`"),
            ("From:", "Form:", "SIP/2.0 200 OK: no From header"),
            (
                "SIP/2.0 200 OK",
                "SIP/2.0 2000 OK",
                "SIP/2.0 2000 OK: the first line is not SIP's: `SIP/2.0 2000 OK`",
            ),
            ("SIP/2.0 200 OK", "SIP/2.0 OK", "SIP/2.0 OK: the first line is not SIP's: `SIP/2.0 OK`"),
        ] {
            let text = GOOD.replace(from, to);
            let bare = text.replace("\r\n", "\n").replace("Length: 5", "Length: 4");
            for text in [text.clone(), bare, format!("\r\n\r\n{text}")] {
                let unreadable = unreadable(&text);
                assert!(unreadable.is_response());
                assert_eq!(unreadable.call_id.as_deref(), Some("c@h"), "{text}");
                let told = told.replace("after 5", if text.contains('\r') { "after 5" } else { "after 4" });
                assert_eq!(unreadable.to_string(), told, "{text}");
            }
        }
    }

    #[test]
    fn a_datagram_that_tells_nothing_is_of_no_call() {
        for text in ["", "\r\n", "\0\u{1}", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "INVITE"] {
            let unreadable = unreadable(text);
            assert_eq!((unreadable.call_id.as_deref(), unreadable.is_response()), (None, false), "{text}");
        }
        let no_call_id = GOOD.replace("Call-ID: c@h\r\n", "");
        assert_eq!((unreadable(&no_call_id).call_id, unreadable(&no_call_id).is_response()), (None, true));
        // Neither a body nor a header far below is searched, and nothing endless is kept.
        assert_eq!(unreadable("SIP/2.0 200 OK\r\n\r\nCall-ID: c@h\r\n").call_id, None);
        let far = format!("SIP/2.0 200 OK\r\n{}Call-ID: c@h\r\n", "X: y\r\n".repeat(MOST_LINES));
        assert_eq!(unreadable(&far).call_id, None);
        let long = format!("{}\r\nCall-ID: {}\r\n", "x".repeat(9000), "y".repeat(9000));
        let long = unreadable(&long);
        assert_eq!((long.call_id.as_deref(), long.start.len()), (None, 80));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            if let Heard::Unreadable(unreadable) = hear(&bytes) {
                prop_assert!(unreadable.to_string().len() <= 1024);
            }
        }
    }
}
