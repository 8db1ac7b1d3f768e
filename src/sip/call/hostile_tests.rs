//! A call among messages that nobody sane would send, in any order: it neither panics nor hangs.

use std::time::Duration;

use proptest::prelude::*;

use super::callee::{SDP, Script};
use super::pair::{Pair, config, ms, vet};
use super::{Call, CallEvent, CallOutput, CallRemark, FailReason};
use crate::sip::{SipDatagram, anywhere, parse};
use crate::stamp::Stamp;

/// One thing that happens to the call.
#[derive(Debug, Clone)]
enum Step {
    Message(String),
    /// The call's last message, sent back to it.
    Echo,
    Wait(Duration),
    TimerAction,
    HangUp,
    Invite,
}

/// A message that could be from the call's peer: near enough to get past the first checks.
fn message() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec![
        "INVITE", "BYE", "CANCEL", "ACK", "OPTIONS", "UPDATE", "INFO", "NOTIFY", "PRACK", "BREW",
    ]);
    let start = prop_oneof![
        3 => (100..700u16).prop_map(|code| format!("SIP/2.0 {code} x")),
        3 => prop::sample::select(vec![100u16, 180, 183, 200, 202, 401, 407, 481, 487])
            .prop_map(|code| format!("SIP/2.0 {code} x")),
        2 => Just("REQUEST sip:x@y SIP/2.0".to_string()),
    ];
    let branch = prop_oneof![4 => (1..6u32).prop_map(|n| format!("000000000000feed-{n}")), 1 => "[a-z]{0,4}"];
    let tags = (
        prop::sample::select(vec!["caller-tag", "caller-tag", "x", ""]),
        prop::sample::select(vec!["a", "b", "c", ""]),
    );
    let headers = prop::sample::subsequence(
        vec![
            "Contact: <sip:192.0.2.1>",
            "Contact: <sip:[::1]>;x",
            "Contact: ,<<>>\"",
            "Record-Route: <sip:a;lr>,<sip:b>",
            "Record-Route: ;;\"",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"",
            "WWW-Authenticate: Digest realm=\"é\", nonce=\"n\", stale=true, qop=\"auth\"",
            "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256",
            "Require: timer",
            "Reason: Q.850;cause=16",
            "Content-Type: application/sdp",
        ],
        0..6,
    );
    let body = prop::sample::select(vec!["", SDP, "v=0", "m=audio"]);
    (start, method, branch, tags, 0..6u32, headers, body).prop_map(
        |(start, method, branch, (ours, theirs), cseq, headers, body)| {
            let start = start.replace("REQUEST", method);
            let (from, to) = if start.starts_with("SIP") { (ours, theirs) } else { (theirs, ours) };
            let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
            format!(
                "{start}\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK{branch};rport\r\n\
                 From: <sip:a@b>;tag={from}\r\nTo: <sip:c@d>;tag={to}\r\nCall-ID: call-1@loadtest\r\n\
                 CSeq: {cseq} {method}\r\n{headers}\r\n{body}"
            )
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => message().prop_map(Step::Message),
        2 => Just(Step::Echo),
        2 => (0..40_000u64).prop_map(|n| Step::Wait(ms(n))),
        3 => Just(Step::TimerAction),
        1 => Just(Step::HangUp),
        1 => Just(Step::Invite),
    ]
}

/// Drains the call into the last datagram and the count of ending events.
fn drain(call: &mut Call, last: &mut Vec<u8>, endings: &mut usize) {
    while let Some(output) = call.poll() {
        match output {
            CallOutput::Send(SipDatagram { bytes, .. }) => {
                parse(&bytes).expect("what the call sends parses");
                *last = bytes;
            }
            CallOutput::Event(event) => *endings += usize::from(event.ends_call()),
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_the_call_ends(steps in prop::collection::vec(step(), 0..60)) {
        let mut call = Call::new(config());
        let (mut now, mut last, mut endings) = (Stamp::from_ns(1), Vec::new(), 0);
        call.invite(now);
        for step in steps {
            match step {
                Step::Message(text) => call.handle_message(now, &parse(text.as_bytes()).expect("it parses"), &anywhere),
                Step::Echo => parse(&last).iter().for_each(|echo| call.handle_message(now, echo, &anywhere)),
                Step::Wait(time) => now += time,
                Step::TimerAction => now = call.poll_timeout().unwrap_or(now).max(now),
                Step::HangUp => call.hang_up(now),
                Step::Invite => call.invite(now),
            }
            call.handle_timeout(now);
            drain(&mut call, &mut last, &mut endings);
            prop_assert!(endings <= 1);
        }
        call.hang_up(now);
        // The most that can follow each other: the setup, CANCEL's wait, BYE, and the answers' waits.
        let end = now + Duration::from_secs(32 * 5);
        while let Some(next) = call.poll_timeout().filter(|at| *at <= end) {
            now = next.max(now);
            call.handle_timeout(now);
            prop_assert!(call.poll_timeout() != Some(next) , "a timer that is handled must move");
            drain(&mut call, &mut last, &mut endings);
        }
        drain(&mut call, &mut last, &mut endings);
        prop_assert!(call.is_terminated(), "{call:?}");
        prop_assert_eq!(endings, 1);
    }
}

#[test]
fn a_time_that_jumps_back_or_far_ahead_does_no_harm() {
    let mut pair = Pair::new(Script::default());
    pair.run_until(Stamp::ZERO + ms(500));
    pair.call.hang_up(Stamp::ZERO);
    pair.call.handle_timeout(Stamp::from_ns(u64::MAX));
    pair.call.handle_timeout(Stamp::ZERO);
    while pair.call.poll().is_some() {}
    assert!(pair.call.is_terminated());
}

/// A call that is answered with this session description and these headers, and hung up after half a second.
fn answered_with(sdp: String, headers: &str) -> Pair {
    let headers = format!("Contact: <sip:192.0.2.1:5060>\r\n{headers}");
    let mut pair = Pair::new(Script { sdp, headers, ..Script::default() }).hang_up_at(ms(600));
    pair.run();
    pair
}

#[test]
fn an_answer_that_names_a_socket_of_ours_or_many_hosts_is_a_bad_one() {
    for (sdp, why) in [
        (
            SDP.replace("192.0.2.1", "192.0.2.9").replace("audio 11000", "audio 40000"),
            "192.0.2.9:40000 is refused",
        ),
        (
            SDP.replace("192.0.2.1", "192.0.2.9").replace("audio 11000", "audio 5070"),
            "192.0.2.9:5070 is refused",
        ),
        (SDP.replace("192.0.2.1", "127.255.255.255"), "127.255.255.255:11000 is refused"),
        (SDP.replace("192.0.2.1", "224.0.0.5"), "not a unicast"),
        (SDP.replace("192.0.2.1", "255.255.255.255"), "not a unicast"),
        (SDP.replace("IP4 192.0.2.1", "IP6 ::ffff:192.0.2.1"), "another family"),
        (SDP.replace("audio 11000", "audio 0"), "port 0"),
        (SDP.replace("audio 11000", "audio 123"), "port 123"),
    ] {
        let pair = answered_with(sdp.clone(), "");
        let CallEvent::Failed { reason: FailReason::BadAnswer(error), .. } = pair.ending() else {
            panic!("{sdp}: {:?}", pair.events)
        };
        assert!(error.to_string().contains(why), "{error}, not {why}");
        let sent: Vec<_> = pair.sent.iter().map(|(_, what)| what.as_str()).collect();
        assert_eq!(sent, ["INVITE", "ACK", "BYE"], "it is hung up in order");
    }
}

#[test]
fn media_is_not_moved_to_a_socket_of_ours_or_to_many_hosts() {
    for (from, to) in [
        ("192.0.2.1\r\nt=0 0\r\nm=audio 11000", "192.0.2.9\r\nt=0 0\r\nm=audio 40000"),
        ("c=IN IP4 192.0.2.1", "c=IN IP4 127.255.255.255"),
        ("c=IN IP4 192.0.2.1", "c=IN IP4 224.0.0.1"),
        ("audio 11000", "audio 22"),
    ] {
        let mut pair = Pair::new(Script::default());
        pair.run_until(Stamp::ZERO + ms(500));
        let sdp = SDP.replace(from, to);
        assert_ne!(sdp, SDP);
        let moved = pair.callee.request("INVITE", 10, "z9hG4bKmoved", "", &sdp);
        let before = pair.events.len();
        pair.call.handle_message(Stamp::ZERO + ms(600), &parse(&moved).unwrap(), &vet);
        let told = pair.call.poll();
        assert!(
            matches!(
                &told,
                Some(CallOutput::Event(CallEvent::Remark(CallRemark::OfferRefused { code: 488, .. })))
            ),
            "{told:?}"
        );
        let Some(CallOutput::Send(answer)) = pair.call.poll() else { panic!("an answer") };
        assert_eq!(parse(&answer.bytes).unwrap().status(), Some(488), "{to}");
        assert_eq!((pair.call.poll(), pair.events.len()), (None, before), "and the call goes on");
        assert!(pair.call.is_up());
    }
}

#[test]
fn requests_go_nowhere_but_to_the_peer_or_where_it_may_send_them() {
    for contact in [
        "192.0.2.9:5070",
        "192.0.2.9:40000",
        "127.255.255.255",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "1.2.3.4:0",
    ] {
        for headers in
            [format!("Contact: <sip:{contact}>\r\n"), format!("Record-Route: <sip:{contact};lr>\r\n")]
        {
            let mut pair = Pair::new(Script { headers, ..Script::default() }).hang_up_at(ms(600));
            pair.run();
            assert_eq!(pair.destinations.len(), 3);
            assert!(
                pair.destinations.iter().all(|to| *to == config().remote),
                "{contact}: {:?}",
                pair.destinations
            );
        }
    }
}

/// Bytes that a call keeps, by what it says of itself.
fn kept(pair: &Pair) -> usize {
    format!("{:?} {:?}", pair.call, pair.events).len()
}

#[test]
fn sixty_kilobytes_of_a_peers_words_are_not_kept() {
    let long = "x".repeat(50_000);
    let plain = kept(&answered_with(SDP.into(), ""));
    let scripts = [
        Script { headers: format!("Reason: {long}\r\n"), answer: Some((ms(50), 503)), ..Script::default() },
        Script { headers: format!("Contact: <sip:{long}@192.0.2.1>\r\n"), ..Script::default() },
        Script { headers: format!("Record-Route: <sip:{long};lr>\r\n"), ..Script::default() },
        Script {
            sdp: SDP.replace("m=audio 11000 RTP/AVP 0", &format!("m=audio 11000 RTP/AVP {long}")),
            ..Script::default()
        },
    ];
    for script in scripts {
        let mut pair = Pair::new(script).hang_up_at(ms(600));
        pair.run();
        pair.ending();
        assert!(kept(&pair) < plain + 8000, "{} bytes, {plain} of a plain call", kept(&pair));
    }
    let mut pair = Pair::new(Script { provisional: vec![], answer: None, ..Script::default() });
    pair.run_until(Stamp::ZERO + ms(100));
    let invite = &pair.callee.received[0];
    let busy = String::from_utf8(super::callee::response_from(&long, invite, 486, "", "")).unwrap();
    let busy = busy.replace("Because", &"é".repeat(5_000));
    pair.call.handle_message(Stamp::ZERO + ms(100), &parse(busy.as_bytes()).unwrap(), &vet);
    let events: Vec<_> = std::iter::from_fn(|| pair.call.poll()).collect();
    let Some(CallOutput::Event(CallEvent::Failed { reason, .. })) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(reason.to_string(), "é".repeat(64) + "…");
    assert!(kept(&pair) < plain + 8000);
    // A request that is answered is remembered until it cannot come again, but not at any length.
    let mut pair = Pair::new(Script::default());
    pair.run_until(Stamp::ZERO + ms(500));
    for n in 0..16 {
        let below = format!("Via: SIP/2.0/UDP h;branch={long}\r\n");
        let info = pair.callee.request("INFO", 10 + n, &format!("z9hG4bK{n}"), &below, "");
        pair.call.handle_message(Stamp::ZERO + ms(600), &parse(&info).unwrap(), &vet);
        assert!(matches!(pair.call.poll(), Some(CallOutput::Send(_))));
    }
    assert!(kept(&pair) < plain + 8000);
}
