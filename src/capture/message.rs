//! A call's SIP messages as bytes, and the call that a message belongs to.

use std::net::SocketAddr;

use super::Way;
use crate::stamp::Stamp;

/// Bytes of a message that are kept.
pub(super) const MOST_KEPT: usize = 4096;
/// Lines in which a Call-ID is looked for; far ends may put what they like before it.
const MOST_LINES: usize = 64;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct SipMessage {
    pub at: Stamp,
    pub way: Way,
    /// The far end's address.
    pub peer: SocketAddr,
    /// What is kept of it.
    pub bytes: Box<[u8]>,
    /// Its length.
    pub length: usize,
}

impl SipMessage {
    pub fn new(at: Stamp, way: Way, peer: SocketAddr, message: &[u8]) -> Self {
        let bytes = message[..message.len().min(MOST_KEPT)].into();
        SipMessage { at, way, peer, bytes, length: message.len() }
    }

    /// The message with SRTP's keys crossed out by `instead`, character by character, so that every length stays right.
    pub fn without_keys(&self, instead: u8) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        cross_out(&mut bytes, instead);
        bytes
    }
}

/// Word before a key in a session description (RFC 4568 section 6.1).
const INLINE: &[u8] = b"inline:";

fn cross_out(bytes: &mut [u8], instead: u8) {
    let mut from = 0;
    while let Some(at) =
        bytes[from..].windows(INLINE.len()).position(|word| word.eq_ignore_ascii_case(INLINE))
    {
        from += at + INLINE.len();
        // Up to the lifetime, which is no secret (RFC 4568 section 6.1).
        let is_key = |byte: &&mut u8| !byte.is_ascii_whitespace() && **byte != b'|';
        while let Some(byte) = bytes.get_mut(from).filter(is_key) {
            *byte = instead;
            from += 1;
        }
    }
}

/// The call of the run `run_id` that has this Call-ID.
pub fn number_of(run_id: u32, call_id: &str) -> Option<u32> {
    let (seed, _) = call_id.split_once('@')?;
    let seed = Some(seed).filter(|seed| seed.len() == 16 && seed.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let seed = u64::from_str_radix(seed, 16).ok()?;
    ((seed >> 32) as u32 == run_id).then_some(seed as u32)
}

/// The call that a message of the run `run_id` belongs to, be it well-formed or not.
pub(super) fn call_of(run_id: u32, message: &[u8]) -> Option<u32> {
    let begin = message.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let lines = message[begin..].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let head = lines.take_while(|line| !line.is_empty()).take(MOST_LINES);
    head.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let is_call_id = [&b"call-id"[..], b"i"].iter().any(|known| known.eq_ignore_ascii_case(name));
        std::str::from_utf8(value).ok().filter(|_| is_call_id).and_then(|value| number_of(run_id, value))
    })
    .next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_is_its_calls_by_the_call_id_of_the_run() {
        let id = "0000abcd00000011@127.0.0.1";
        assert_eq!(number_of(0xABCD, id), Some(17));
        for other in
            ["0000abcd00000011", "+000abcd00000011@h", "abcd00000011@h", "", "@", "0000abce00000011@h"]
        {
            assert_eq!(number_of(0xABCD, other), None, "{other}");
        }
        for head in ["Call-ID: ", "i:", "CALL-ID \t: ", "To: x\r\nCall-ID: else\r\nCall-ID: "] {
            let message = format!("\r\n\r\nSIP/2.0 200 OK\r\nVia: x\r\n{head}{id}\r\n\r\nCall-ID: body");
            assert_eq!(call_of(0xABCD, message.as_bytes()), Some(17), "{head}");
            assert_eq!(call_of(0xABCD, message.replace("\r\n", "\n").as_bytes()), Some(17), "{head}");
            assert_eq!(call_of(1, message.as_bytes()), None);
        }
        let in_body = format!("SIP/2.0 200 OK\r\n\r\nCall-ID: {id}\r\n");
        assert_eq!(call_of(0xABCD, in_body.as_bytes()), None);
    }

    #[test]
    fn keys_are_crossed_out_and_lengths_stay() {
        let sdp = b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4 X\r\n\
            a=crypto:2 X INLINE:abc\r\nb";
        let message = SipMessage::new(Stamp::ZERO, Way::Sent, "127.0.0.1:1".parse().unwrap(), sdp);
        let shown = message.without_keys(b'*');
        assert_eq!(shown.len(), sdp.len());
        let text = String::from_utf8(shown).unwrap();
        assert!(
            text.contains("_80 inline:****")
                && text.contains("*|2^20|1:4 X\r\n")
                && text.ends_with("INLINE:***\r\nb")
        );
        assert!(!text.contains("d0Rm") && !text.contains("|1:4"), "{text}");
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..40_usize) {
            call_of(1, &bytes);
            let mut bytes = [&b"inline:"[..], &bytes[..]].concat();
            bytes.truncate(cut);
            let len = bytes.len();
            cross_out(&mut bytes, b'*');
            prop_assert_eq!(bytes.len(), len);
        }
    }
}
