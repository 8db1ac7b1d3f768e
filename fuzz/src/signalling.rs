//! SIP messages and session descriptions.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::rtp::Codec;
use loadtest::sip::digest::{Authorizations, Credentials, Tries};
use loadtest::sip::sdp::{self, LocalMedia, MOST_STREAMS, answer_to_ours, choose};
use loadtest::sip::{CallConfig, Identity, Transport, uas};
use loadtest::sip::{Heard, MAX_HEADERS, Message, hear, parse};

/// Longest text of an error: it goes into logs and reports.
const ERROR: usize = 512;
/// Longest Call-ID that is made out of a message which cannot be read: one that is not UTF-8 grows.
const MOST_CALL_ID: usize = 256;

fn source() -> SocketAddr {
    "192.0.2.200:5072".parse().expect("an address")
}

/// One datagram: read, looked at from all sides, and answered.
pub fn message(input: &[u8]) {
    let mut message = match hear(input) {
        Heard::Message(message) => message,
        Heard::Unreadable(unreadable) => {
            assert!(unreadable.to_string().len() <= 2 * ERROR, "{unreadable}");
            assert!(unreadable.call_id.is_none_or(|id| (1..=MOST_CALL_ID).contains(&id.len())));
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
    let _ = (message.contact(), message.to_tag(), message.method(), message.vias().count());
    if let Ok(Some(sdp)) = message.session_description() {
        assert!(!sdp.is_empty() && sdp.len() <= message.body().len());
        description(sdp);
    }
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
    // A source was added to the topmost Via: it may be longer now than one that is read.
    if message.via().len() > 1024 {
        return;
    }
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

/// The answers to challenges are one line each, and no more than a few.
fn challenge(message: &Message) {
    let credentials = Credentials { username: "u".into(), password: "p".into() };
    let mut authorizations = Authorizations::new(Some(credentials), "sip:u@h".into(), 1);
    let mut tries = Tries::default();
    let is_answered = authorizations.challenged(message, &mut tries);
    let lines = authorizations.answers(message.method(), "sip:a@b");
    assert!(lines.len() <= 8 && (is_answered.is_err() || !lines.is_empty()));
    for (_, line) in lines {
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
    // Only the age of a nonce is a reason to answer it again, once.
    let again = authorizations.challenged(message, &mut tries).is_ok();
    assert!(!again || authorizations.challenged(message, &mut tries).is_err(), "{message:?}");
}

/// A call that has credentials, between two addresses of documentation.
pub fn config() -> CallConfig {
    let (local, remote): (SocketAddr, SocketAddr) =
        ("192.0.2.9:5070".parse().expect("it is one"), "192.0.2.1:5060".parse().expect("it is one"));
    CallConfig {
        target: format!("sip:echo@{remote}"),
        remote,
        local,
        transport: Transport::Udp,
        identity: Identity::plain("sip:caller@192.0.2.9:5070", "sip:echo@192.0.2.1:5060"),
        habits: Default::default(),
        call_id: "c@h".into(),
        from_tag: "ours".into(),
        seed: 1,
        credentials: Some(Credentials { username: "u".into(), password: "p".into() }),
        media: media(),
        setup_timeout: Duration::from_secs(10),
        session_expires: None,
    }
}

fn media() -> LocalMedia {
    LocalMedia {
        ip: "192.0.2.9".parse().expect("it is one"),
        rtp_port: 4000,
        codec: Codec::Pcmu,
        ptime_ms: 20,
        session_id: 1,
        srtp: None,
        events: false,
    }
}

/// A session description; what is understood of it reads back the same when it is written by us, and an answer to it
/// has as many streams.
pub fn description(input: &[u8]) {
    let ours = media();
    let Ok(read) = sdp::parse(input) else { return assert!(input.is_empty(), "{input:?}") };
    assert!(read.streams.len() <= MOST_STREAMS);
    for stream in &read.streams {
        assert!(
            stream.fault.as_ref().is_none_or(|fault| fault.len() <= ERROR)
                && stream.crypto.len() <= MOST_STREAMS
        );
    }
    let answer = match answer_to_ours(&read, &ours) {
        Ok(answer) => answer,
        Err(error) => {
            assert!(error.to_string().len() <= ERROR, "{error}");
            assert!(choose(&read, &ours).is_err());
            return;
        }
    };
    assert!(answer.rtp_address.port() != 0 && answer.payload_type < 128);
    let ip = answer.rtp_address.ip();
    assert!(!ip.is_multicast() && (answer.has_no_address() || ip.is_ipv4()));
    assert!(answer.on_hold().is_some() || !answer.has_no_address());
    let theirs = LocalMedia { ip, rtp_port: answer.rtp_address.port(), ..media() };
    let again = sdp::parse(theirs.describe(7, answer.direction, None).as_bytes()).expect("ours is one");
    let again = answer_to_ours(&again, &ours).expect("ours is usable");
    assert_eq!((again.rtp_address, again.direction), (answer.rtp_address, answer.direction));
    let Ok(choice) = choose(&read, &ours) else { return assert!(read.is_cut, "{read:?}") };
    assert_eq!(choice.media, answer);
    let written = ours.describe(8, answer.answering(), Some(&choice));
    let own = sdp::parse(written.as_bytes()).expect("ours is one");
    assert_eq!(own.streams.len(), read.streams.len(), "{written}");
    assert_eq!(own.streams.iter().filter(|stream| stream.port != 0).count(), 1, "{written}");
    assert!(answer_to_ours(&own, &ours).is_ok(), "{written}");
}
