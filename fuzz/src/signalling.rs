//! SIP messages and session descriptions.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::rtp::Codec;
use loadtest::sip::digest::{Challenge, Credentials};
use loadtest::sip::sdp::{Offer, parse_answer};
use loadtest::sip::{CallConfig, uas};
use loadtest::sip::{MAX_HEADERS, Message, parse};

/// Longest text of an error: it goes into logs and reports.
const ERROR: usize = 512;

fn source() -> SocketAddr {
    "192.0.2.200:5072".parse().expect("an address")
}

/// One datagram: read, looked at from all sides, and answered.
pub fn message(input: &[u8]) {
    let mut message = match parse(input) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.to_string().len() <= ERROR, "{error}");
            return;
        }
    };
    assert_eq!(parse(input).as_ref(), Ok(&message), "the same bytes are the same message");
    assert!(!message.call_id().is_empty() && message.body().len() <= input.len());
    assert!(
        message.is_request() == message.uri().is_some() && message.is_request() != message.status().is_some()
    );
    assert!(
        message.status().is_none_or(|code| (100..700).contains(&code)) && message.cseq().number < 1 << 31
    );
    assert!(message.via_lines().count() <= MAX_HEADERS && message.record_routes().count() <= input.len());
    challenge(&message);
    let _ =
        (message.contact(), message.to_tag(), message.has_sdp(), message.method(), message.vias().count());
    message.received_from(source());
    if message.is_request() && message.branch().is_some() {
        let _ = message.answer_to();
    }
    answered(&message, input.len());
}

/// The answer to a message outside of every call is SIP again, about the same request, and bounded.
fn answered(message: &Message, len: usize) {
    let Some(answer) = uas::answer(message, "tag") else { return };
    assert!(message.is_request(), "a response is never answered");
    // A byte that is no UTF-8 becomes three, and a compact header its long name.
    assert!(answer.len() <= 4 * len + 1024, "{} bytes for {len}", answer.len());
    let again = parse(&answer).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&answer)));
    assert_eq!((again.call_id(), again.cseq()), (message.call_id(), message.cseq()));
    assert_eq!((again.from_tag(), again.branch()), (message.from_tag(), message.branch()));
    assert_eq!(again.vias().count(), message.vias().count());
    assert_eq!(again.from(), message.from());
    // A tag is put behind whatever To holds; behind a bracket that is not closed nobody can read it.
    let (to, asked) = (again.to(), message.to());
    assert!(to == asked || to == format!("{asked};tag=tag"), "{to}");
    assert!(again.to_tag().is_some() || message.to_tag().is_none());
}

/// A challenge's answer is one line.
fn challenge(message: &Message) {
    let Ok(challenge) = Challenge::of(message) else { return };
    let credentials = Credentials { username: "u".into(), password: "p".into() };
    if let Ok(line) = challenge.answer(&credentials, message.method(), "sip:a@b", "0badc0de") {
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
}

/// A call that has credentials, between two addresses of documentation.
pub fn config() -> CallConfig {
    let (local, remote): (SocketAddr, SocketAddr) =
        ("192.0.2.9:5070".parse().expect("it is one"), "192.0.2.1:5060".parse().expect("it is one"));
    CallConfig {
        target: format!("sip:echo@{remote}"),
        remote,
        local,
        caller: "caller".into(),
        call_id: "c@h".into(),
        from_tag: "ours".into(),
        seed: 1,
        credentials: Some(Credentials { username: "u".into(), password: "p".into() }),
        offer: offer(),
        setup_timeout: Duration::from_secs(10),
    }
}

fn offer() -> Offer {
    Offer {
        ip: "192.0.2.9".parse().expect("it is one"),
        rtp_port: 4000,
        codec: Codec::Pcmu,
        ptime_ms: 20,
        session_id: 1,
    }
}

/// A session description; what is understood of it reads back the same when it is written by us.
pub fn description(input: &[u8]) {
    let answer = match parse_answer(input, &offer()) {
        Ok(answer) => answer,
        Err(error) => {
            assert!(error.to_string().len() <= ERROR, "{error}");
            return;
        }
    };
    assert!(answer.rtp_address.port() != 0 && answer.payload_type < 128);
    let ip = answer.rtp_address.ip();
    assert!(!ip.is_unspecified() && !ip.is_multicast() && ip.is_ipv4());
    let ours = Offer { ip, rtp_port: answer.rtp_address.port(), ..offer() };
    let again = parse_answer(ours.describe(7, answer.direction).as_bytes(), &offer()).expect("ours is one");
    assert_eq!((again.rtp_address, again.direction), (answer.rtp_address, answer.direction));
}
