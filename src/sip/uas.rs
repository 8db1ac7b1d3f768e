//! Answers to requests that belong to no call (RFC 3261 8.2, 11.2), and the refusals shared with calls.

use super::message::{Message, Method};
use super::outgoing::{ALLOW, Response, SUPPORTED};

/// The answer to a request outside of every call, or `None` where none may be sent.
///
/// OPTIONS gets 200, so that a qualifying PBX sees us alive. INVITE gets 405: this is a caller, and
/// nobody can be called here. A request in a dialog that is not known gets 481. ACK and responses are
/// never answered, and what does not parse never gets here. Nothing is remembered: a request that
/// comes again is answered again, alike. `tag` is the tag for To, where it has none.
pub fn answer(request: &Message, tag: &str) -> Option<Vec<u8>> {
    if !request.is_request() || *request.method() == Method::Ack {
        return None;
    }
    let code = refusal_outside_of_calls(request).unwrap_or(200);
    Some(refuse(request, code, tag).to_bytes())
}

fn refusal_outside_of_calls(request: &Message) -> Option<u16> {
    let method = request.method();
    if *method == Method::Cancel {
        return Some(481);
    }
    let is_in_dialog = request.to_tag().is_some();
    let refusal = refusal_by_method_or_extension(request);
    match method {
        _ if is_in_dialog && refusal != Some(501) => Some(481),
        Method::Options => refusal,
        // These live in dialogs only (RFC 3261 15.1.2, RFC 6086 4.2.1, RFC 3311 5.2, RFC 3262 3).
        Method::Bye | Method::Info | Method::Update | Method::Prack => Some(481),
        Method::Invite => Some(405),
        _ => refusal,
    }
}

/// 501 for an unknown method, 405 for one that we do not take (RFC 3261 8.2.1), 420 for an extension
/// that the peer requires and we do not have (8.2.2.3).
pub(super) fn refusal_by_method_or_extension(request: &Message) -> Option<u16> {
    let is_taken = |method: &Method| ALLOW.split(", ").any(|name| name == method.as_str());
    match request.method() {
        Method::Other(_) => Some(501),
        method if !is_taken(method) => Some(405),
        _ if unsupported(request).next().is_some() => Some(420),
        _ => None,
    }
}

/// The extensions that the peer requires and we do not have.
fn unsupported(request: &Message) -> impl Iterator<Item = &str> {
    let is_ours = |tag: &&str| SUPPORTED.split(", ").any(|ours| ours.eq_ignore_ascii_case(tag));
    request.require().filter(move |tag| !is_ours(tag))
}

/// A refusal with the headers that its code calls for. Allow is in every response.
pub(super) fn refuse<'a>(request: &'a Message, code: u16, tag: &'a str) -> Response<'a> {
    let response = Response::new(request, code, tag);
    match code {
        420 => {
            let unsupported: Vec<&str> = unsupported(request).collect();
            response.header("Unsupported", unsupported.join(", "))
        }
        // The body may come again as it is (RFC 3261 8.2.3).
        415 => response.header("Accept", super::outgoing::SDP).header("Accept-Encoding", "identity"),
        // Says that only this request is wrong, not the dialog.
        500 => response.header("Retry-After", "1"),
        200 if *request.method() == Method::Options => response.header("Accept", super::outgoing::SDP),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse;

    fn request(method: &str, to_tag: &str, extra: &str) -> Message {
        let text = format!(
            "{method} sip:x@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP pbx.example:5061;branch=z9hG4bKx;rport\r\n\
             From: <sip:a@h>;tag=a\r\nTo: <sip:x@192.0.2.9>{to_tag}\r\nCall-ID: c\r\nCSeq: 7 {method}\r\n{extra}\r\n"
        );
        let mut message = parse(text.as_bytes()).expect("it parses");
        message.received_from("192.0.2.1:40404".parse().unwrap());
        message
    }

    #[test]
    fn each_request_gets_its_code() {
        for (method, to_tag, extra, code) in [
            ("OPTIONS", "", "", Some(200)),
            ("OPTIONS", "", "Require: 100rel, Timer\r\n", Some(200)),
            ("OPTIONS", "", "Require: timer, path\r\n", Some(420)),
            ("PRACK", "", "", Some(481)),
            ("OPTIONS", ";tag=gone", "", Some(481)),
            ("INVITE", "", "", Some(405)),
            ("INVITE", ";tag=gone", "", Some(481)),
            ("BYE", ";tag=gone", "", Some(481)),
            ("BYE", "", "", Some(481)),
            ("CANCEL", "", "", Some(481)),
            ("INFO", "", "", Some(481)),
            ("REGISTER", "", "", Some(405)),
            ("NOTIFY", "", "", Some(405)),
            ("NOTIFY", ";tag=gone", "", Some(481)),
            ("BREW", ";tag=gone", "", Some(501)),
            ("ACK", ";tag=gone", "", None),
            ("ACK", "", "", None),
        ] {
            let answered =
                answer(&request(method, to_tag, extra), "us").map(|b| parse(&b).expect("it parses"));
            assert_eq!(answered.as_ref().and_then(Message::status), code, "{method}{to_tag}");
        }
    }

    #[test]
    fn an_answer_finds_its_way_back() {
        let request = request("OPTIONS", "", "");
        assert_eq!(request.answer_to(), Some("192.0.2.1:40404".parse().unwrap()));
        let answer = parse(&answer(&request, "us").expect("an answer")).expect("it parses");
        assert_eq!(
            answer.via(),
            "SIP/2.0/UDP pbx.example:5061;branch=z9hG4bKx;received=192.0.2.1;rport=40404"
        );
        assert_eq!((answer.from_tag(), answer.to_tag()), (Some("a"), Some("us")));
        assert_eq!((answer.call_id(), answer.cseq()), ("c", request.cseq()));
        assert_eq!(answer.header("Allow").as_deref(), Some(ALLOW));
    }

    #[test]
    fn responses_are_not_answered() {
        let text = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\n\
            To: <sip:b@h>;tag=b\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        assert_eq!(answer(&parse(text.as_bytes()).expect("it parses"), "us"), None);
    }
}
