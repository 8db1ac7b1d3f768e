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

    /// The message with SRTP's keys crossed out by `instead`, character by character, so that every length stays right:
    /// those that it names as keys, and the call's `own`, wherever a far end gives it back.
    pub fn without_keys(&self, own: &str, instead: u8) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        cross_out(&mut bytes, instead);
        cross_out_own(&mut bytes, own.as_bytes(), instead);
        bytes
    }
}

/// Word before a key in a session description (RFC 4568 section 6.1).
const INLINE: &[u8] = b"inline:";
/// Start of a line that holds a key by itself (RFC 8866 section 5.12).
const K_LINE: &[u8] = b"k=";
/// Least start of a key that is taken for one where the message was cut.
const LEAST_OF_KEY: usize = 8;

fn cross_out(bytes: &mut [u8], instead: u8) {
    let mut from = 0;
    while let Some(at) =
        bytes[from..].windows(INLINE.len()).position(|word| word.eq_ignore_ascii_case(INLINE))
    {
        from += at + INLINE.len();
        from += space(&bytes[from..]);
        // Up to the lifetime, which is no secret (RFC 4568 section 6.1).
        let is_key = |byte: &&mut u8| !byte.is_ascii_whitespace() && **byte != b'|';
        while let Some(byte) = bytes.get_mut(from).filter(is_key) {
            *byte = instead;
            from += 1;
        }
    }
    for line in bytes.split_mut(|byte| *byte == b'\n').filter(|line| line.starts_with(K_LINE)) {
        let key = line.iter().position(|byte| *byte == b':').map_or(K_LINE.len(), |method| method + 1);
        line[key..].iter_mut().filter(|byte| **byte != b'\r').for_each(|byte| *byte = instead);
    }
}

/// Length of the blanks at the start of `bytes`, and of line ends that continue a line (RFC 3261 section 7.3.1).
fn space(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let line_end = match &bytes[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => 0,
        };
        match bytes.get(at + line_end) {
            Some(b' ' | b'\t') => at += line_end + 1,
            _ => return at,
        }
    }
}

/// Crosses out `key` wherever it stands, be it broken by white space or by the message's end.
fn cross_out_own(bytes: &mut [u8], key: &[u8], instead: u8) {
    let mut from = 0;
    while from < bytes.len() {
        let length = length_of(key, &bytes[from..]);
        let of_key = bytes[from..from + length].iter_mut().filter(|byte| !byte.is_ascii_whitespace());
        of_key.for_each(|byte| *byte = instead);
        from += length.max(1);
    }
}

/// Number of bytes over which `key` spreads from the start of `bytes`; 0 if it does not stand there.
fn length_of(key: &[u8], bytes: &[u8]) -> usize {
    let mut found = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match key.get(found) {
            Some(wanted) if wanted == byte => found += 1,
            Some(_) if found > 0 && byte.is_ascii_whitespace() => {}
            _ => return 0,
        }
        if found == key.len() {
            return at + 1;
        }
    }
    if found >= LEAST_OF_KEY { bytes.len() } else { 0 }
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
        let shown = message.without_keys("", b'*');
        assert_eq!(shown.len(), sdp.len());
        let text = String::from_utf8(shown).unwrap();
        assert!(
            text.contains("_80 inline:****")
                && text.contains("*|2^20|1:4 X\r\n")
                && text.ends_with("INLINE:***\r\nb")
        );
        assert!(!text.contains("d0Rm"), "{text}");
    }

    #[test]
    fn the_calls_own_key_is_crossed_out_in_every_form() {
        const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
        let broken = format!("{}\r\n\t{}", &KEY[..20], &KEY[20..]);
        for (text, shown) in [
            (format!("X: inline:\r\n {KEY}|2^20\r\n"), format!("X: inline:\r\n {}|2^20\r\n", "*".repeat(40))),
            (format!("X-Plain: {KEY}, y\r\n"), format!("X-Plain: {}, y\r\n", "*".repeat(40))),
            (format!("k=base64:{KEY}\r\na=x"), format!("k=base64:{}\r\na=x", "*".repeat(40))),
            (format!("x{KEY}{KEY}x"), format!("x{}x", "*".repeat(80))),
            (format!("d0d0 {broken} d0"), format!("d0d0 {}\r\n\t{} d0", "*".repeat(20), "*".repeat(20))),
            (format!("X: {}", &KEY[..30]), format!("X: {}", "*".repeat(30))),
            ("d0RmdMCM d0Rm".into(), "d0RmdMCM d0Rm".into()),
            ("k=clear:secret\r\nk=x\nb=k=y".into(), "k=clear:******\r\nk=*\nb=k=y".into()),
            ("a=crypto:1 X inline:\r\nm=audio".into(), "a=crypto:1 X inline:\r\nm=audio".into()),
        ] {
            let peer = "127.0.0.1:1".parse().unwrap();
            let message = SipMessage::new(Stamp::ZERO, Way::Received, peer, text.as_bytes());
            assert_eq!(String::from_utf8(message.without_keys(KEY, b'*')).unwrap(), shown, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_own_key_is_too_strange(key in "[ab]{0,12}", text in "[ab \r\n]{0,60}") {
            let mut bytes = text.clone().into_bytes();
            cross_out_own(&mut bytes, key.as_bytes(), b'*');
            let packed: String = String::from_utf8(bytes).unwrap().split_whitespace().collect();
            prop_assert!(key.is_empty() || !packed.contains(&key), "{packed}");
            prop_assert_eq!(packed.len(), text.split_whitespace().collect::<String>().len());
        }

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
