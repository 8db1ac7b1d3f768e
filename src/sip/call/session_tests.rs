//! Session timers (RFC 4028) in virtual time: both sides refresh, or do not.

use super::callee::{SDP, Script, response_from};
use super::pair::{Pair, at_ms, config, spelt};
use super::{CallConfig, CallEvent, FailReason};
use crate::sip::message::{Message, Method};

const CONTACT: &str = "Contact: <sip:192.0.2.1:5060>\r\n";
/// The time at which the calls here are answered.
const UP_MS: u64 = 102;

/// A call that was answered with these headers.
fn up(headers: &str) -> Pair {
    Pair::up(Script { headers: format!("{CONTACT}{headers}"), ..Script::default() })
}

/// The one message that was sent.
fn one((sent, events): (Vec<Message>, Vec<CallEvent>)) -> Message {
    assert!(events.is_empty(), "{events:?}");
    let [message] = &sent[..] else { panic!("{:?}", spelt(&sent)) };
    message.clone()
}

fn answer(request: &Message, code: u16, headers: &str) -> Vec<u8> {
    let sdp = if *request.method() == Method::Invite && code < 300 { SDP } else { "" };
    response_from("callee-tag", request, code, &format!("{CONTACT}{headers}"), sdp)
}

/// The reason of a session that ran out, and the BYE's.
fn expired((sent, events): (Vec<Message>, Vec<CallEvent>)) -> (String, String) {
    let [CallEvent::Expired { why, .. }] = &events[..] else { panic!("{events:?}") };
    let bye = sent.last().expect("a BYE");
    assert_eq!(*bye.method(), Method::Bye);
    (why.clone(), bye.header("Reason").expect("a Reason"))
}

/// The next deadline, in milliseconds.
fn next_ms(pair: &Pair) -> u64 {
    pair.call.poll_timeout().map_or(0, |at| at.as_ns() / 1_000_000)
}

const OURS: &str = "Session-Expires: 100;refresher=uac\r\nRequire: timer\r\n";
const THEIRS: &str = "Session-Expires: 100;refresher=uas\r\n";

#[test]
fn we_refresh_by_update_where_it_is_taken() {
    let mut pair = up(&format!("Allow: INVITE, ACK,UPDATE\r\n{OURS}"));
    assert_eq!(pair.wait(UP_MS + 49_999), (vec![], vec![]));
    let update = one(pair.wait(UP_MS + 50_000));
    assert_eq!((update.method(), update.body().len()), (&Method::Update, 0));
    assert_eq!(update.header("Session-Expires").as_deref(), Some("100;refresher=uac"));
    assert_eq!(update.header("Supported").as_deref(), Some("100rel, timer"));
    assert!(
        update.contact().is_some()
            && update.to_tag() == Some("callee-tag")
            && update.header("Min-SE").is_none()
    );
    assert_eq!(one(pair.wait(UP_MS + 50_500)), update, "timer E");
    assert_eq!(pair.say(60_000, &answer(&update, 200, OURS)), (vec![], vec![]));
    assert_eq!(pair.wait(109_999), (vec![], vec![]));
    let second = one(pair.wait(110_000));
    assert_eq!((second.method(), second.cseq().number), (&Method::Update, update.cseq().number + 1));
    // Another interval, or another refresher, holds from then on; none at all ends the timers.
    pair.say(110_100, &answer(&second, 200, "Session-Expires: 60\r\n"));
    let third = one(pair.wait(140_100));
    pair.say(140_200, &answer(&third, 200, THEIRS));
    assert_eq!(pair.wait(140_200 + 67_999), (vec![], vec![]));
    let theirs = pair.callee.request("UPDATE", 10, "z9hG4bKx", "Supported: timer\r\n", "");
    assert_eq!(one(pair.say(140_200 + 67_999, &theirs)).header("Session-Expires"), None);
    assert_eq!(pair.wait(9_000_000), (vec![], vec![]));
    assert!(pair.call.is_up());
}

#[test]
fn we_refresh_by_reinvite_where_update_is_not_taken() {
    for allow in ["", "Allow: INVITE, ACK, BYE\r\n"] {
        let mut pair = up(&format!("{allow}{OURS}"));
        let invite = one(pair.wait(UP_MS + 50_000));
        assert_eq!((invite.method(), invite.body()), (&Method::Invite, config().media.to_sdp().as_bytes()));
        assert_eq!(invite.header("Session-Expires").as_deref(), Some("100;refresher=uac"));
        assert_eq!(pair.say(50_200, &answer(&invite, 180, "")), (vec![], vec![]));
        let ok = answer(&invite, 200, OURS);
        let ack = one(pair.say(50_300, &ok));
        assert_eq!((ack.method(), ack.cseq().number), (&Method::Ack, invite.cseq().number));
        assert_eq!(one(pair.say(50_800, &ok)), ack, "its 200 comes again");
        let second = one(pair.wait(100_300));
        assert_eq!((second.method(), second.cseq().number), (&Method::Invite, invite.cseq().number + 1));
        // The answer may move the media.
        let moved =
            String::from_utf8(answer(&second, 200, OURS)).unwrap().replace("audio 11000", "audio 12000");
        let (sent, events) = pair.say(100_400, moved.as_bytes());
        let [CallEvent::MediaChanged { answer, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((spelt(&sent), answer.rtp_address.port()), (vec!["ACK".to_string()], 12_000));
        pair.call.hang_up(at_ms(101_000));
        let bye = one(pair.said());
        assert_eq!((bye.method(), bye.header("Reason")), (&Method::Bye, None));
        assert_eq!(pair.wait(300_000).0, vec![]);
    }
}

#[test]
fn a_reinvite_without_a_final_answer_is_helped_by_an_update() {
    for code in [None, Some(180)] {
        let mut pair = up(OURS);
        let invite = one(pair.wait(UP_MS + 50_000));
        if let Some(code) = code {
            pair.say(50_200, &answer(&invite, code, ""));
        }
        // Half-way between the refresh and the end, which is 32 s before that of the interval.
        let (sent, _) = pair.wait(UP_MS + 59_000);
        let update = sent.last().expect("an UPDATE");
        assert_eq!(*update.method(), Method::Update);
        assert_eq!(pair.say(59_200, &answer(update, 200, OURS)), (vec![], vec![]));
        // Whatever comes of the re-INVITE, the session has been refreshed.
        pair.wait(UP_MS + 50_000 + 32_000);
        assert!(pair.call.is_up());
        pair.say(84_000, &answer(&invite, 481, ""));
        assert!(pair.call.is_up());
    }
}

#[test]
fn a_reinvite_of_a_short_session_is_helped_as_well() {
    let mut pair = up("Session-Expires: 6;refresher=uac\r\n");
    one(pair.wait(UP_MS + 3000));
    let (sent, _) = pair.wait(UP_MS + 3500);
    assert_eq!(sent.iter().filter(|message| *message.method() == Method::Update).count(), 1, "{sent:?}");
}

#[test]
fn a_refresh_that_is_refused_ends_the_call_or_is_tried_again() {
    let allow = format!("Allow: INVITE, UPDATE\r\n{OURS}");
    let refused = |code: u16, headers: &str| {
        let mut pair = up(&allow);
        let update = one(pair.wait(UP_MS + 50_000));
        let said = pair.say(51_000, &answer(&update, code, headers));
        (pair, said)
    };
    for code in [481, 408] {
        let (why, reason) = expired(refused(code, "").1);
        assert!(
            why.contains("refresh") && reason == "SIP;cause=408;text=\"Session timer expired\"",
            "{why}, {reason}"
        );
    }
    for code in [405, 501] {
        assert_eq!(*one(refused(code, "").1).method(), Method::Invite);
    }
    let (pair, said) = refused(491, "");
    let wait = next_ms(&pair) - 51_000;
    assert!(said.0.is_empty() && (2100..=4000).contains(&wait) && wait.is_multiple_of(10), "{wait}");
    let (mut pair, said) = refused(500, "");
    assert_eq!((said.0.len(), pair.wait(56_000)), (0, (vec![], vec![])), "timer K");
    assert_eq!(next_ms(&pair), 51_000 + (UP_MS + 68_000 - 51_000) / 2, "half-way to the end");
    assert_eq!(*one(pair.wait(next_ms(&pair))).method(), Method::Update);
    // A longer interval is taken, twice.
    let (mut pair, said) = refused(422, "Min-SE: 120\r\n");
    let raised = one(said);
    assert_eq!(raised.header("Session-Expires").as_deref(), Some("120;refresher=uac"));
    assert_eq!(raised.header("Min-SE").as_deref(), Some("120"));
    let raised = one(pair.say(51_100, &answer(&raised, 422, "Min-SE: 130\r\n")));
    assert_eq!(pair.say(51_200, &answer(&raised, 422, "Min-SE: 140\r\n")), (vec![], vec![]));
    assert!(pair.call.is_up());
    // A challenge is answered.
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    let (mut pair, said) = refused(401, challenge);
    let again = one(said);
    assert!(again.header("Authorization").is_some() && again.header("Session-Expires").is_some());
    pair.say(51_100, &answer(&again, 200, OURS));
    assert!(pair.call.is_up());
}

#[test]
fn a_reinvite_is_refused_as_an_update_is() {
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    for (code, headers, sent) in [
        (401, challenge, ["ACK", "INVITE"]),
        (422, "Min-SE: 120\r\n", ["ACK", "INVITE"]),
        (481, "", ["ACK", "BYE"]),
    ] {
        let mut pair = up(OURS);
        let invite = one(pair.wait(UP_MS + 50_000));
        let rejection = answer(&invite, code, headers);
        let (answered, _) = pair.say(51_000, &rejection);
        assert_eq!(spelt(&answered), sent, "{code}");
        assert_eq!(spelt(&pair.say(51_500, &rejection).0), ["ACK"], "{code} comes again");
    }
}

#[test]
fn a_refresh_that_nobody_answers_ends_the_call() {
    let mut pair = up("Allow: UPDATE\r\nSession-Expires: 200;refresher=uac\r\n");
    assert_eq!(*one(pair.wait(UP_MS + 100_000)).method(), Method::Update);
    let (why, _) = expired(pair.wait(UP_MS + 132_000));
    assert!(why.contains("answered no refresh"), "{why}");
    // The UPDATE is not sent any more; the BYE is.
    assert_eq!(spelt(&pair.wait(UP_MS + 132_500).0), ["BYE"]);
}

#[test]
fn a_far_end_that_does_not_refresh_is_hung_up_with_a_reason() {
    for (interval, end_ms) in [(100, 68_000), (90, 60_000), (6, 4_000), (1800, 1_768_000)] {
        let mut pair = up(&format!("x: {interval} ; refresher = UAS\r\n"));
        assert_eq!(pair.wait(UP_MS + end_ms - 1), (vec![], vec![]), "{interval}");
        let (why, reason) = expired(pair.wait(UP_MS + end_ms));
        assert_eq!(why, format!("the far end did not refresh it within its {interval} s (RFC 4028)"));
        assert!(reason.starts_with("SIP;cause=408"));
        assert!(!pair.call.is_up());
    }
}

#[test]
fn a_far_end_that_refreshes_keeps_the_call() {
    let mut pair = up(THEIRS);
    for (n, method) in ["UPDATE", "INVITE", "UPDATE"].into_iter().enumerate() {
        let at = UP_MS + 50_000 * (n as u64 + 1);
        let headers = "Supported: timer\r\nRequire: timer\r\nSession-Expires: 100;refresher=uac\r\n";
        let body = if method == "INVITE" { SDP } else { "" };
        let request = pair.callee.request(method, 10 + n as u32, &format!("z9hG4bK{n}"), headers, body);
        let ok = pair.say(at, &request).0.remove(0);
        assert_eq!(ok.status(), Some(200));
        assert_eq!(ok.header("Session-Expires").as_deref(), Some("100;refresher=uac"));
        assert_eq!(
            (ok.header("Require").as_deref(), ok.header("Supported").as_deref()),
            (Some("timer"), Some("100rel, timer"))
        );
        let ack = pair.callee.request("ACK", 10 + n as u32, "z9hG4bKack", "", "");
        pair.say(at + 1, &ack);
    }
    let end = UP_MS + 150_000 + 68_000;
    assert!(pair.wait(end - 1).1.is_empty() && pair.call.is_up());
    expired(pair.wait(end));
}

#[test]
fn who_refreshes_is_said_relative_to_the_request() {
    for (headers, answered, ours) in [
        ("Supported: timer\r\nSession-Expires: 100;refresher=uac\r\n", "100;refresher=uac", false),
        ("Supported: timer\r\nSession-Expires: 100\r\n", "100;refresher=uac", false),
        ("k: foo, TIMER\r\nx: 100;a=b\r\n", "100;refresher=uac", false),
        ("Supported: timer\r\nSession-Expires: 100;refresher=uas\r\n", "100;refresher=uas", true),
        // A proxy asks, on behalf of one that has no timers.
        ("Session-Expires: 100\r\n", "100;refresher=uas", true),
        ("Session-Expires: 100;refresher=uac\r\n", "100;refresher=uas", true),
    ] {
        let mut pair = up("");
        let request = pair.callee.request("UPDATE", 10, "z9hG4bKx", headers, "");
        let ok = one(pair.say(2000, &request));
        assert_eq!(ok.header("Session-Expires").as_deref(), Some(answered), "{headers}");
        assert_eq!(ok.header("Require").is_some(), !ours, "{headers}");
        let (sent, events) = pair.wait(52_000);
        assert_eq!(
            (spelt(&sent), events.len()),
            (if ours { vec!["UPDATE".to_string()] } else { vec![] }, 0),
            "{headers}"
        );
    }
}

#[test]
fn an_interval_that_is_too_small_is_raised_and_kept() {
    let config = CallConfig { session_expires: Some(90), ..config() };
    let mut pair = Pair::invited(config);
    let mut invite = pair.invite();
    assert_eq!(invite.header("Session-Expires").as_deref(), Some("90"));
    for least in ["120", "150"] {
        let too_small = response_from("a", &invite, 422, &format!("Min-SE: {least};x=y\r\n"), "");
        let (sent, events) = pair.say(100, &too_small);
        assert_eq!((spelt(&sent), events), (vec!["ACK".to_string(), "INVITE".into()], vec![]));
        assert_eq!(sent[1].cseq().number, invite.cseq().number + 1);
        assert_eq!(sent[1].from_tag(), invite.from_tag());
        invite = sent[1].clone();
        assert_eq!(invite.header("Session-Expires").as_deref(), Some(least));
        assert_eq!(invite.header("Min-SE").as_deref(), Some(least));
    }
    let (_, events) =
        pair.say(300, &response_from("a", &invite, 200, "Session-Expires: 150;refresher=uac\r\n", SDP));
    assert!(matches!(events[..], [CallEvent::Answered { .. }]));
    let refresh = one(pair.wait(75_300));
    assert_eq!(refresh.header("Min-SE").as_deref(), Some("150"));
    assert_eq!(refresh.header("Session-Expires").as_deref(), Some("150;refresher=uac"));
}

#[test]
fn a_422_that_asks_for_nothing_longer_is_a_rejection() {
    for least in ["", "Min-SE: 90\r\n", "Min-SE: soon\r\n", "Min-SE: 60\r\n"] {
        let mut pair = Pair::invited(CallConfig { session_expires: Some(90), ..config() });
        let invite = pair.invite();
        let (_, events) = pair.say(100, &response_from("a", &invite, 422, least, ""));
        assert!(
            matches!(events[..], [CallEvent::Failed { reason: FailReason::Rejected { code: 422, .. }, .. }]),
            "{events:?}"
        );
    }
    // One that was not asked for anything may want something all the same, and no more than twice.
    let mut pair = Pair::invited(config());
    let mut invite = pair.invite();
    for n in 0..3 {
        let (sent, _) =
            pair.say(100, &response_from("a", &invite, 422, &format!("Min-SE: {}\r\n", 100 + n), ""));
        assert_eq!(sent.len(), if n < 2 { 2 } else { 1 });
        invite = sent.last().expect("an INVITE").clone();
    }
}

#[test]
fn intervals_that_cannot_be_meant_do_no_harm() {
    for odd in [
        "Session-Expires: soon\r\n",
        "Session-Expires:\r\n",
        "Session-Expires: -5\r\n",
        "Session-Expires: ;refresher=uas\r\n",
    ] {
        let mut pair = up(odd);
        assert_eq!(pair.wait(9_000_000), (vec![], vec![]), "{odd}");
    }
    let mut pair = up("Session-Expires: 99999999999999999999;refresher=uas\r\n");
    assert_eq!(pair.wait(9_000_000), (vec![], vec![]));
    // One of no length is no flood: a refresh a second.
    let mut pair = up("Allow: UPDATE\r\nSession-Expires: 0;refresher=uac\r\n");
    let (mut now, mut refreshes) = (1000, 0);
    while now < 21_000 {
        now = next_ms(&pair).max(now);
        for request in pair.wait(now).0 {
            refreshes += 1;
            pair.say(now, &answer(&request, 200, "Session-Expires: 0;refresher=uac\r\n"));
        }
    }
    assert!((15..=22).contains(&refreshes), "{refreshes}");
    assert!(pair.call.is_up());
}
