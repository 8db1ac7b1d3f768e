//! Offers and answers in mid-call: a far end that has us offer, and answers in its ACK; offers that cross.

use super::callee::{SDP, Script, response_from};
use super::pair::{Pair, at_ms, config, hold_of, spelt};
use super::{CallEvent, CallRemark};
use crate::sip::message::Message;
use crate::sip::sdp::MediaDirection;

/// A description with another port.
fn moved() -> String {
    SDP.replace("audio 11000", "audio 12000")
}

/// A call whose far end has had it offer its media: the request's number is 10.
fn offering() -> Pair {
    let mut pair = Pair::up(Script::default());
    let invite = pair.callee.request("INVITE", 10, "z9hG4bKx", "", "");
    let (sent, events) = pair.say(2000, &invite);
    assert_eq!(spelt(&sent), ["200 INVITE"]);
    assert_eq!(events, [CallEvent::MediaOffered { at: at_ms(2000) }]);
    assert_eq!(sent[0].body(), config().media.to_sdp().as_bytes(), "it is what was offered before");
    pair
}

fn ack(pair: &mut Pair, now_ms: u64, cseq: u32, body: &str) -> Vec<CallEvent> {
    let ack = pair.callee.request("ACK", cseq, "z9hG4bKack", "", body);
    let (sent, events) = pair.say(now_ms, &ack);
    assert!(sent.is_empty(), "{sent:?}");
    events
}

fn port(events: &[CallEvent]) -> u16 {
    let [CallEvent::MediaChanged { answer, .. }] = events else { panic!("{events:?}") };
    answer.rtp_address.port()
}

#[test]
fn the_answer_in_an_ack_moves_the_media_once() {
    let mut pair = offering();
    assert_eq!(spelt(&pair.wait(2500).0), ["200 INVITE"], "until its ACK comes");
    assert_eq!(ack(&mut pair, 2600, 9, &moved()), vec![], "another INVITE's");
    assert_eq!(port(&ack(&mut pair, 2700, 10, &moved())), 12_000);
    assert_eq!(ack(&mut pair, 2800, 10, SDP), vec![], "it comes again");
    assert!(pair.wait(3500).0.is_empty() && pair.call.is_up());
    // An ACK that nothing was offered for.
    let offered = pair.callee.request("INVITE", 11, "z9hG4bKy", "", SDP);
    assert_eq!(port(&pair.say(4000, &offered).1), 11_000);
    assert_eq!(ack(&mut pair, 4100, 11, &moved()), vec![]);
}

#[test]
fn an_answer_in_an_ack_may_hold_the_call_or_map_its_codec_anew() {
    let mut pair = offering();
    let events = ack(&mut pair, 2100, 10, &SDP.replace("sendrecv", "inactive"));
    assert_eq!(hold_of(&events), Some(MediaDirection::Inactive));
    let mut pair = offering();
    let events = ack(
        &mut pair,
        2100,
        10,
        &moved().replace("AVP 0", "AVP 8 97").replace("rtpmap:0", "rtpmap:97").replace("20", "30"),
    );
    let [CallEvent::MediaChanged { answer, .. }, CallEvent::Remark(remark)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((answer.payload_type, answer.ptime_ms), (97, Some(30)));
    assert_eq!(*remark, CallRemark::OtherPtime { said_ms: 30, ours_ms: 20 });
}

#[test]
fn an_ack_without_a_good_answer_leaves_the_media_and_is_told_of() {
    for (body, why) in [
        (String::new(), "no session description"),
        (SDP.replace("AVP 0", "AVP 8").replace("0 PCMU", "8 PCMA"), "no common codec"),
        (SDP.replace("audio 11000", "audio 0"), "refused (port 0)"),
        (SDP.replace("192.0.2.1", "192.0.2.9").replace("11000", "40000"), "192.0.2.9:40000 is refused"),
        ("x".repeat(5000), "no audio stream"),
    ] {
        let mut pair = offering();
        let events = ack(&mut pair, 2100, 10, &body);
        let [CallEvent::Remark(CallRemark::OfferUnanswered { why: told })] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(told.contains(why), "{told}, not {why}");
        assert!(pair.call.is_up());
    }
}

#[test]
fn an_offer_that_closes_its_streams_holds_the_call_and_one_that_goes_on_to_fax_is_refused() {
    let mut pair = Pair::up(Script::default());
    let closed = SDP.replace("audio 11000", "audio 0");
    let fax = format!("{closed}m=image 11000 udptl t38\r\n");
    let invite = pair.callee.request("INVITE", 10, "z9hG4bKx", "", &fax);
    assert_eq!(spelt(&pair.say(2000, &invite).0), ["488 INVITE"]);
    let invite = pair.callee.request("INVITE", 11, "z9hG4bKy", "", &closed);
    let (sent, events) = pair.say(2100, &invite);
    assert_eq!((spelt(&sent), hold_of(&events)), (vec!["200 INVITE".into()], Some(MediaDirection::Inactive)));
    let answer = String::from_utf8_lossy(sent[0].body());
    assert!(answer.contains("m=audio 0 RTP/AVP "), "{answer}");
    ack(&mut pair, 2150, 11, "");
    // Asked to offer, we offer a stream that has a port.
    let invite = pair.callee.request("INVITE", 12, "z9hG4bKz", "", "");
    let (sent, _) = pair.say(2200, &invite);
    let offer = String::from_utf8_lossy(sent[0].body());
    assert!(!offer.contains("m=audio 0 ") && offer.contains("a=sendrecv"), "{offer}");
    assert_eq!(port(&ack(&mut pair, 2250, 12, &moved())), 12_000);
}

/// The answers to requests with and without an offer: INVITE, UPDATE, UPDATE without.
fn crossing(pair: &mut Pair, now_ms: u64, cseq: u32) -> [u16; 3] {
    [("UPDATE", SDP), ("UPDATE", ""), ("INVITE", SDP)].map(|(method, body)| {
        let branch = format!("z9hG4bK{cseq}{method}{}", body.len());
        let request = pair.callee.request(method, cseq, &branch, "", body);
        let (sent, _) = pair.say(now_ms, &request);
        sent.first().and_then(Message::status).expect("an answer")
    })
}

#[test]
fn an_offer_that_crosses_ours_is_pending() {
    let mut pair = offering();
    // The far end's next INVITE shows that the 200 has come.
    assert_eq!(crossing(&mut pair, 2100, 11), [491, 200, 200]);
    assert_eq!(crossing(&mut pair, 2200, 12), [200, 200, 200]);
    // An ACK that never comes does not keep it open for good.
    let mut pair = offering();
    assert_eq!(crossing(&mut pair, 33_999, 11)[0], 491);
    let mut pair = offering();
    assert_eq!(crossing(&mut pair, 34_000, 11)[0], 200);
}

#[test]
fn an_offer_that_crosses_our_reinvite_is_pending() {
    let headers = "Contact: <sip:192.0.2.1:5060>\r\nSession-Expires: 100;refresher=uac\r\n".into();
    let mut pair = Pair::up(Script { headers, ..Script::default() });
    let (sent, _) = pair.wait(51_000);
    assert_eq!(spelt(&sent), ["INVITE"]);
    assert_eq!(crossing(&mut pair, 51_100, 11), [491, 200, 491]);
    let (ours, events) = pair.say(51_200, &response_from("callee-tag", &sent[0], 200, "", SDP));
    assert_eq!((spelt(&ours), events), (vec!["ACK".to_string()], vec![]));
    assert_eq!(crossing(&mut pair, 51_300, 12), [200, 200, 200]);
}

#[test]
fn early_media_moves_where_it_was_agreed_on_reliably() {
    const RELIABLE: &str = "Require: 100rel\r\nRSeq: 1\r\n";
    // An answer that repeats what has been moved since moves nothing back.
    for (headers, code, last) in [(RELIABLE, 200, ""), (RELIABLE, 200, SDP), ("", 491, ""), ("", 491, SDP)] {
        let mut pair = Pair::invited(config());
        let invite = pair.invite();
        pair.say(100, &response_from("callee-tag", &invite, 183, headers, SDP));
        let update = pair.callee.request("UPDATE", 10, "z9hG4bKx", "", &moved());
        let (sent, events) = pair.say(200, &update);
        assert_eq!((sent[0].status(), events), (Some(code), vec![]));
        let (_, events) = pair.say(300, &response_from("callee-tag", &invite, 200, "", last));
        let [CallEvent::Answered { answer, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(answer.rtp_address.port(), if code == 200 { 12_000 } else { 11_000 });
    }
}

#[test]
fn an_offer_that_is_refused_is_told_of_once_until_one_is_taken() {
    let mut pair = Pair::up(Script::default());
    let other = SDP.replace("AVP 0", "AVP 8").replace("0 PCMU", "8 PCMA");
    let said = [other.as_str(), &other, SDP, &other].into_iter().zip(10..).map(|(body, cseq)| {
        let invite = pair.callee.request("INVITE", cseq, &format!("z9hG4bK{cseq}"), "", body);
        let (sent, events) = pair.say(2000 + 100 * u64::from(cseq), &invite);
        let told: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                CallEvent::Remark(remark @ CallRemark::OfferRefused { .. }) => Some(remark.to_string()),
                _ => None,
            })
            .collect();
        (sent[0].status(), told)
    });
    let said: Vec<_> = said.collect();
    let told = vec![
        "its offer in mid-call was refused with 488: no common codec: offered PCMU, answered `8` (PCMA/8000)"
            .to_string(),
    ];
    let expected = [(Some(488), told.clone()), (Some(488), vec![]), (Some(200), vec![]), (Some(488), told)];
    assert_eq!(said, expected);
    assert!(pair.call.is_up());
}
