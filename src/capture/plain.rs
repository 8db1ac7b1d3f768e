//! Session descriptions for captures that show SRTP's packets decrypted.

/// SRTP's profile in an `m=` line, with the blank before it, and the plain one (RFC 3551, RFC 3711 section 12).
const PROTECTED: &[u8] = b" RTP/SAVP";
const PLAIN: &[u8] = b" RTP/AVP";

/// The message with its media named plain, as their packets are in such a capture: behind RTP/SAVP Wireshark takes the
/// end of each for a tag, and has no audio to play. The port gets a zero in front, which RFC 8866 allows (`port =
/// 1*DIGIT`), so that every length stays right.
pub(super) fn named_plain(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| media_line(line).unwrap_or_else(|| line.to_vec())).collect()
}

/// An `m=` line of SRTP under the plain profile.
fn media_line(line: &[u8]) -> Option<Vec<u8>> {
    let port = line.starts_with(b"m=").then(|| line.iter().position(|byte| *byte == b' '))?? + 1;
    let profile = port + line[port..].windows(PROTECTED.len()).position(|word| word == PROTECTED)?;
    Some([&line[..port], b"0", &line[port..profile], PLAIN, &line[profile + PROTECTED.len()..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn media_are_named_as_their_packets_are_and_lengths_stay() {
        for (line, plain) in [
            ("m=audio 4000 RTP/SAVP 0 8\r\n", "m=audio 04000 RTP/AVP 0 8\r\n"),
            ("m=audio 0 RTP/SAVPF 0", "m=audio 00 RTP/AVPF 0"),
            ("m=audio 4000 RTP/AVP 0\n", "m=audio 4000 RTP/AVP 0\n"),
            ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\n", "m=audio 4000 UDP/TLS/RTP/SAVPF 0\n"),
            ("a=x m=audio 1 RTP/SAVP 0\n", "a=x m=audio 1 RTP/SAVP 0\n"),
            ("m= RTP/SAVP", "m= RTP/SAVP"),
            ("m=", "m="),
        ] {
            let message = format!("SIP/2.0 200 OK\r\nContent-Length: 9\r\n\r\nv=0\r\n{line}");
            let shown = String::from_utf8(named_plain(message.as_bytes())).unwrap();
            assert_eq!(shown.len(), message.len());
            assert!(shown.ends_with(&format!("v=0\r\n{plain}")), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(text in "(m=|a|0| |RTP/SAVP|\\PC|\r|\n){0,60}") {
            prop_assert_eq!(named_plain(text.as_bytes()).len(), text.len());
        }
    }
}
