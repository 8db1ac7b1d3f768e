//! Messages as people read them: first line, headers and body as text, without what nobody else is to know.

use super::Way;
use super::message::SipMessage;
use crate::record::LadderMessage;
use crate::stamp::Stamp;

/// Headers whose values hold an answer to a challenge, from which a password can be guessed.
const SECRET: [&str; 2] = ["authorization", "proxy-authorization"];
/// Parameters of these that tell nothing of the password.
const OPEN: [&str; 6] = ["username", "realm", "uri", "algorithm", "qop", "nc"];

/// A message of a ladder that counts from `epoch`; `own` is the call's key of SRTP, empty without one.
pub(super) fn message(message: &SipMessage, own: &str, epoch: Stamp) -> LadderMessage {
    let text = String::from_utf8_lossy(&message.without_keys(own, b'*')).replace("\r\n", "\n");
    let text = text.trim_start_matches('\n');
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let cut = match message.length - message.bytes.len() {
        0 => String::new(),
        more => format!("\n… ({more} bytes more)"),
    };
    let (headers, body) = match body {
        "" => (open(headers) + &cut, String::new()),
        body => (open(headers), body.trim_end_matches('\n').to_string() + &cut),
    };
    LadderMessage {
        at_ms: message.at.ns_since(epoch) as f64 / 1e6,
        sent: message.way == Way::Sent,
        peer: message.peer.to_string(),
        line: line.into(),
        headers,
        body,
    }
}

/// Header lines with the secret parts of credentials crossed out.
fn open(headers: &str) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut is_secret = false;
    for line in headers.trim_end_matches('\n').split('\n') {
        // A line that begins with a blank goes on with the one before (RFC 3261 section 7.3.1).
        let is_more = line.starts_with([' ', '\t']);
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if !is_more {
            is_secret = SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(name.trim()));
        }
        shown.push(match (is_secret, is_more) {
            (false, _) => line.into(),
            (true, true) => " ***".into(),
            (true, false) => format!("{}: {}", name.trim(), credentials(value.trim())),
        });
    }
    shown.join("\n")
}

/// `Digest username="alice", realm="x", response=***`.
fn credentials(value: &str) -> String {
    let (scheme, params) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    let shown: Vec<String> = split(params)
        .map(|param| {
            let (name, _) = param.split_once('=').unwrap_or((param, ""));
            let is_open = OPEN.iter().any(|open| open.eq_ignore_ascii_case(name.trim()));
            if is_open { param.trim().into() } else { format!("{}=***", name.trim()) }
        })
        .collect();
    match scheme.eq_ignore_ascii_case("Digest") {
        true => format!("{scheme} {}", shown.join(", ")),
        // Of Basic and others there is nothing that may be shown.
        false => format!("{scheme} ***"),
    }
}

/// Parts between commas that are not in quotes.
fn split(params: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    params.split(move |c: char| {
        // Behind a backslash a quote is no end (RFC 3261 25.1 quoted-pair).
        is_quoted ^= c == '"' && !(is_quoted && is_escaped);
        is_escaped = c == '\\' && !is_escaped;
        c == ',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> LadderMessage {
        let at = Stamp::from_ns(2_500_000);
        message(
            &SipMessage::new(at, Way::Received, "192.0.2.1:5060".parse().unwrap(), text.as_bytes()),
            "",
            Stamp::ZERO,
        )
    }

    #[test]
    fn a_message_is_told_by_its_line_its_headers_and_its_body() {
        let told = shown("\r\nSIP/2.0 200 OK\r\nVia: x\r\nTo: y\r\n\r\nv=0\r\ns=-\r\n");
        let wanted = LadderMessage {
            at_ms: 2.5,
            sent: false,
            peer: "192.0.2.1:5060".into(),
            line: "SIP/2.0 200 OK".into(),
            headers: "Via: x\nTo: y".into(),
            body: "v=0\ns=-".into(),
        };
        assert_eq!(told, wanted);
        let told = shown(&format!("BYE x SIP/2.0\nX: {}\n\n", "a".repeat(5000)));
        assert!(told.headers.ends_with("a\n… (923 bytes more)"), "{}", &told.headers[4000..]);
        assert_eq!((shown("").line.as_str(), shown("x").line.as_str()), ("", "x"));
    }

    #[test]
    fn credentials_keep_what_tells_nothing_of_the_password() {
        let told = shown(
            "INVITE x SIP/2.0\r\nPROXY-Authorization : Digest username=\"a,response=b\", realm=\"r\",nonce=\"n1\",\r\n \
             response=\"secret\"\r\nAuthorization: Digest uri=\"sip:x\", response=\"secret\", cnonce=\"secret\"\r\n\
             Authorization: Basic secret\r\nX-Authorization: open\r\n\r\n",
        );
        let wanted = "PROXY-Authorization: Digest username=\"a,response=b\", realm=\"r\", nonce=***, =***\n ***\n\
            Authorization: Digest uri=\"sip:x\", response=***, cnonce=***\nAuthorization: Basic ***\n\
            X-Authorization: open";
        assert_eq!(told.headers, wanted);
    }

    proptest! {
        #[test]
        fn nothing_secret_gets_out(before in "[ -~]{0,20}", after in "[ -~\r\n]{0,40}") {
            let headers = format!("Authorization: Digest {before}\r\n response=\"TOPSECRET\"{after}");
            prop_assume!(!before.contains("TOPSECRET"));
            let told = format!("{:?}", shown(&format!("INVITE x SIP/2.0\r\n{headers}\r\n\r\n")));
            prop_assert!(!told.contains("TOPSECRET"));
        }
    }
}
