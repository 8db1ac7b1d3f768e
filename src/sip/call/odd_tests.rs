//! A call whose peer describes more than was asked for, or says what cannot be read, in virtual time.

use super::callee::{SDP, Script, response};
use super::pair::{PERFECT, Pair, at_ms, config, hold_of, ms, vet};
use super::{CallConfig, CallEvent, CallOutput, CallRemark, FailReason};
use crate::sip::message::Message;
use crate::sip::sdp::MediaDirection;
use crate::sip::{Heard, hear, parse};

/// A pair whose call has been up for a while.
fn up() -> Pair {
    let mut pair = Pair::new(Script::default());
    pair.run_until(at_ms(1000));
    assert!(pair.call.is_up());
    pair
}

/// Hands the call a datagram of the peer's; what it sends and tells.
fn say(pair: &mut Pair, now_ms: u64, bytes: &[u8]) -> (Vec<Message>, Vec<CallEvent>) {
    match hear(bytes) {
        Heard::Message(message) => pair.call.handle_message(at_ms(now_ms), &message, &vet),
        Heard::Unreadable(unreadable) => pair.call.handle_unreadable(at_ms(now_ms), &unreadable),
    }
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = pair.call.poll() {
        match output {
            CallOutput::Send(datagram) => {
                sent.push(parse(&datagram.bytes).expect("what the call sends parses"))
            }
            CallOutput::Event(event) => events.push(event),
        }
    }
    (sent, events)
}

/// The `m=` lines and the version of a description.
fn streams(message: &Message) -> (Vec<String>, String) {
    let text = String::from_utf8_lossy(message.body()).into_owned();
    let version = text.split(' ').nth(2).unwrap_or_default().to_string();
    (text.lines().filter(|line| line.starts_with("m=")).map(String::from).collect(), version)
}

#[test]
fn further_streams_are_refused_and_stay_in_what_is_offered_later() {
    let mut pair = up();
    let ours = "m=audio 40000 RTP/AVP 0".to_string();
    let refused = "m=video 0 RTP/AVP 31".to_string();
    let video = format!("{SDP}m=video 40404 RTP/AVP 31\r\n").replace("11000", "12000");
    let offer = pair.callee.request("INVITE", 10, "z9hG4bKx", "", &video);
    let (sent, events) = say(&mut pair, 2000, &offer);
    assert_eq!(
        (sent[0].status(), streams(&sent[0])),
        (Some(200), (vec![ours.clone(), refused.clone()], "2".into()))
    );
    let [CallEvent::MediaChanged { answer, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(answer.rtp_address.port(), 12_000);
    // No stream goes away in a session (RFC 3264 8): our own offer names it too, and is no other version.
    let without = pair.callee.request("INVITE", 11, "z9hG4bKy", "", "");
    let (sent, events) = say(&mut pair, 2100, &without);
    assert_eq!(streams(&sent[0]), (vec![ours.clone(), refused.clone()], "2".into()));
    assert!(matches!(events[..], [CallEvent::MediaOffered { .. }]), "{events:?}");
    let ack = pair.callee.request("ACK", 11, "z9hG4bKack", "", &video);
    assert_eq!(say(&mut pair, 2101, &ack).0, vec![]);
    let held = pair.callee.request("UPDATE", 12, "z9hG4bKz", "", &video.replace("sendrecv", "inactive"));
    let (sent, events) = say(&mut pair, 2200, &held);
    assert_eq!(streams(&sent[0]), (vec![ours, refused], "3".into()));
    assert_eq!(hold_of(&events), Some(MediaDirection::Inactive));
    assert!(pair.call.is_up());
}

#[test]
fn a_call_that_is_answered_on_hold_is_up_and_resumed_later() {
    for (from, to, direction) in [
        ("sendrecv", "inactive", MediaDirection::Inactive),
        ("sendrecv", "sendonly", MediaDirection::SendOnly),
        ("sendrecv", "recvonly", MediaDirection::RecvOnly),
        ("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0", MediaDirection::Inactive),
    ] {
        let mut pair = Pair::new(Script { sdp: SDP.replace(from, to), ..Script::default() });
        pair.run_until(at_ms(1000));
        assert!(pair.call.is_up(), "{to}");
        let answered: Vec<_> =
            pair.events.iter().filter(|event| matches!(event, CallEvent::Answered { .. })).cloned().collect();
        assert_eq!(hold_of(&answered), Some(direction));
        let resumed = pair.callee.request("INVITE", 10, "z9hG4bKx", "", SDP);
        let (sent, events) = say(&mut pair, 2000, &resumed);
        assert_eq!((sent[0].status(), hold_of(&events)), (Some(200), None), "{to}");
    }
}

#[test]
fn an_offer_without_audio_is_refused_and_changes_nothing() {
    for streams in
        ["m=image 40404 udptl t38", "m=audio 0 RTP/AVP 0\r\nm=image 40404 udptl t38\r\na=T38FaxVersion:0"]
    {
        let mut pair = up();
        let (session, _) = SDP.split_once("m=").expect("a stream");
        let fax = pair.callee.request("INVITE", 10, "z9hG4bKx", "", &format!("{session}{streams}\r\n"));
        let (sent, events) = say(&mut pair, 2000, &fax);
        assert_eq!(sent[0].status(), Some(488), "{streams}");
        let remark = CallRemark::OfferRefused { code: 488, why: "no audio stream".into() };
        if streams.contains("m=audio") {
            let [CallEvent::Remark(CallRemark::OfferRefused { code: 488, why })] = &events[..] else {
                panic!("{events:?}")
            };
            assert!(why.contains("port 0"), "{why}");
        } else {
            assert_eq!(events, [CallEvent::Remark(remark)]);
        }
        let ack = pair.callee.request("ACK", 10, "z9hG4bKx", "", "");
        assert_eq!(say(&mut pair, 2001, &ack), (vec![], vec![]));
        let same = pair.callee.request("INVITE", 11, "z9hG4bKy", "", SDP);
        let (sent, _) = say(&mut pair, 3000, &same);
        assert_eq!((sent[0].status(), sent[0].body()), (Some(200), config().media.to_sdp().as_bytes()));
        assert!(pair.call.is_up());
    }
}

#[test]
fn the_payload_type_of_an_offer_is_that_of_its_answer() {
    let mut pair = up();
    let mapped = SDP.replace("RTP/AVP 0", "RTP/AVPF 97").replace("rtpmap:0", "rtpmap:97");
    let offer = pair.callee.request("INVITE", 10, "z9hG4bKx", "", &mapped);
    let (sent, events) = say(&mut pair, 2000, &offer);
    let [CallEvent::MediaChanged { answer, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((answer.payload_type, streams(&sent[0]).0), (97, vec!["m=audio 40000 RTP/AVPF 97".into()]));
}

#[test]
fn a_body_that_is_encoded_is_refused_with_what_would_do() {
    let mut pair = up();
    let zipped = pair.callee.request("INVITE", 10, "z9hG4bKx", "Content-Encoding: gzip\r\n", SDP);
    let (sent, events) = say(&mut pair, 2000, &zipped);
    assert_eq!(sent[0].status(), Some(415));
    let [CallEvent::Remark(CallRemark::OfferRefused { code: 415, why })] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(why.contains("encoded (`gzip`)"), "{why}");
    assert_eq!(sent[0].header("Accept-Encoding").as_deref(), Some("identity"));
    assert!(pair.call.is_up());
}

#[test]
fn an_answer_among_other_parts_is_an_answer() {
    let mut pair = Pair::new(Script { answer: None, ..Script::default() });
    pair.run_until(at_ms(500));
    let invite = pair.callee.received[0].clone();
    let body = format!(
        "--b\r\nContent-Type: application/isup\r\n\r\n\u{1}\r\n--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}--b--"
    );
    let ok = response(&invite, 200, "", &body);
    let ok = String::from_utf8(ok)
        .unwrap()
        .replace("application/sdp\r\nContent-Length", "multipart/mixed;boundary=b\r\nContent-Length");
    let (_, events) = say(&mut pair, 600, ok.as_bytes());
    let [CallEvent::Answered { answer, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((answer.rtp_address.port(), answer.ptime_ms), (11_000, Some(20)));
}

#[test]
fn another_packet_time_is_told_of_once() {
    let sdp = SDP.replace("ptime:20", "ptime:40");
    let mut pair = Pair::new(Script { sdp: sdp.clone(), ..Script::default() });
    pair.run_until(at_ms(1000));
    let remark = CallRemark::OtherPtime { said_ms: 40, ours_ms: 20 };
    let words = "the far end asks for a packet every 40 ms (a=ptime), and gets one every 20 ms; media.ptime = \"40ms\" does as it asks";
    assert_eq!(remark.to_string(), words);
    assert!(!CallRemark::OtherPtime { said_ms: 35, ours_ms: 20 }.to_string().contains("media.ptime"));
    let [.., CallEvent::Answered { .. }, told] = &pair.events[..] else { panic!("{:?}", pair.events) };
    assert_eq!(*told, CallEvent::Remark(remark));
    let again = pair.callee.request("INVITE", 10, "z9hG4bKx", "", &sdp);
    let (_, events) = say(&mut pair, 2000, &again);
    assert!(matches!(events[..], [CallEvent::MediaChanged { .. }]), "{events:?}");
}

/// The peer's 200 with a Content-Length that promises more than there is.
fn cut_off(invite: &Message) -> Vec<u8> {
    let ok = String::from_utf8(response(invite, 200, "", SDP)).unwrap();
    ok.replace(&format!("Content-Length: {}", SDP.len()), &format!("Content-Length: {}", SDP.len() + 2))
        .into_bytes()
}

#[test]
fn an_answer_that_cannot_be_read_is_told_of_once_and_is_the_reason_at_the_end() {
    for provisional in [vec![], vec![(ms(20), 180)]] {
        let script = Script { provisional, answer: None, ..Script::default() };
        let mut pair = Pair::with(CallConfig { setup_timeout: ms(4000), ..config() }, script, PERFECT, 1);
        pair.run_until(at_ms(1000));
        let cut_off = cut_off(&pair.callee.received[0].clone());
        let (sent, events) = say(&mut pair, 1000, &cut_off);
        let why =
            format!("SIP/2.0 200 Because: the body ends after {} of {} bytes", SDP.len(), SDP.len() + 2);
        assert_eq!(
            (sent.len(), &events[..]),
            (0, &[CallEvent::Remark(CallRemark::Unreadable { why: why.clone() })][..])
        );
        assert_eq!(say(&mut pair, 1500, &cut_off), (vec![], vec![]), "once");
        pair.run();
        let reason = FailReason::Unreadable(why);
        assert!(reason.to_string().starts_with("the far end answers, but cannot be read: SIP/2.0 200"));
        assert_eq!(*pair.ending(), CallEvent::Failed { reason, at: at_ms(4000) });
        assert!(pair.call.is_terminated());
    }
}

#[test]
fn what_cannot_be_read_changes_nothing_by_itself() {
    let mut pair = Pair::new(Script { answer: None, ..Script::default() });
    pair.run_until(at_ms(500));
    let invite = pair.callee.received[0].clone();
    say(&mut pair, 500, &cut_off(&invite));
    let (_, events) = say(&mut pair, 600, &response(&invite, 200, "", SDP));
    assert!(matches!(events[..], [CallEvent::Answered { .. }]), "{events:?}");
    let bye = pair.callee.request("BYE", 10, "z9hG4bKx", "Call-ID: again\r\n", "");
    assert_eq!(say(&mut pair, 700, &bye), (vec![], vec![]), "it was told already");
    assert!(pair.call.is_up());
}
