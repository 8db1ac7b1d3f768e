//! A call among messages that nobody sane would send, in any order: it neither panics nor hangs.

use std::time::Duration;

use proptest::prelude::*;

use super::callee::{SDP, Script};
use super::pair::{config, ms};
use super::{Call, CallOutput};
use crate::sip::{SipDatagram, parse};
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
                Step::Message(text) => call.handle_message(now, &parse(text.as_bytes()).expect("it parses")),
                Step::Echo => parse(&last).iter().for_each(|echo| call.handle_message(now, echo)),
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
    let mut pair = super::pair::Pair::new(Script::default());
    pair.run_until(Stamp::ZERO + ms(500));
    pair.call.hang_up(Stamp::ZERO);
    pair.call.handle_timeout(Stamp::from_ns(u64::MAX));
    pair.call.handle_timeout(Stamp::ZERO);
    while pair.call.poll().is_some() {}
    assert!(pair.call.is_terminated());
}
