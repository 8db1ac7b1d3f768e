//! Answers to requests that belong to no call (RFC 3261 8.2, 11.2), and the refusals shared with calls.

use super::message::{Message, Method};
use super::outgoing::{ALLOW, Response};

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
        // These live in dialogs only (RFC 3261 15.1.2, RFC 6086 4.2.1, RFC 3311 5.2).
        Method::Bye | Method::Info | Method::Update => Some(481),
        Method::Invite => Some(405),
        _ => refusal,
    }
}

/// 501 for an unknown method, 405 for one that we do not take (RFC 3261 8.2.1), 420 for an extension
/// that the peer requires and we do not have (8.2.2.3). We have none, so that any will do.
pub(super) fn refusal_by_method_or_extension(request: &Message) -> Option<u16> {
    let is_taken = |method: &Method| ALLOW.split(", ").any(|name| name == method.as_str());
    match request.method() {
        Method::Other(_) => Some(501),
        method if !is_taken(method) => Some(405),
        _ if request.require().next().is_some() => Some(420),
        _ => None,
    }
}

/// A refusal with the headers that its code calls for. Allow is in every response.
pub(super) fn refuse<'a>(request: &'a Message, code: u16, tag: &'a str) -> Response<'a> {
    let response = Response::new(request, code, tag);
    match code {
        420 => {
            let unsupported: Vec<&str> = request.require().collect();
            response.header("Unsupported", unsupported.join(", "))
        }
        // Says that only this request is wrong, not the dialog.
        500 => response.header("Retry-After", "1"),
        200 if *request.method() == Method::Options => response.header("Accept", super::outgoing::SDP),
        _ => response,
    }
}
