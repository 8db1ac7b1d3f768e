//! A call over a reliable transport, in virtual time.

use std::net::SocketAddr;

use super::pair::{at_ms, config, vet};
use super::{Call, CallConfig, CallEvent, CallOutput, CallRemark, FailReason};
use crate::sip::message::{Message, Method};
use crate::sip::{Broken, Heard, Transport, hear, parse};

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 11000 RTP/AVP 0\r\n";

/// A call that has just been placed over TCP, and its INVITE.
fn placed() -> (Call, Message) {
    let mut call = Call::new(CallConfig { transport: Transport::Tcp, ..config() });
    call.invite(at_ms(0));
    let (mut sent, _) = drained(&mut call);
    (call, sent.remove(0))
}

fn drained(call: &mut Call) -> (Vec<Message>, Vec<CallEvent>) {
    let (sent, events) = said(call);
    assert!(sent.iter().all(|(_, to)| *to == config().remote), "{sent:?}");
    (sent.into_iter().map(|(message, _)| message).collect(), events)
}

/// Messages with their destinations, and events.
fn said(call: &mut Call) -> (Vec<(Message, SocketAddr)>, Vec<CallEvent>) {
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = call.poll() {
        match output {
            CallOutput::Send(datagram) => {
                sent.push((parse(&datagram.bytes).expect("it parses"), datagram.destination));
            }
            CallOutput::Event(event) => events.push(event),
        }
    }
    (sent, events)
}

/// Another transport's Contact, which is not followed.
const ELSEWHERE: &str = "Contact: <sip:them@192.0.2.77:5060>\r\n";

fn response(request: &Message, code: u16, headers: &str, sdp: &str) -> Message {
    let tag = if request.to_tag().is_some() { "" } else { ";tag=them" };
    let text = format!(
        "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n\
         {headers}Content-Type: application/sdp\r\n\r\n{sdp}",
        request.via(),
        request.from(),
        request.to(),
        request.call_id(),
        request.cseq().number,
        request.method(),
    );
    parse(text.as_bytes()).expect("it parses")
}

fn answer(
    call: &mut Call,
    now_ms: u64,
    request: &Message,
    code: u16,
    sdp: &str,
) -> (Vec<Message>, Vec<CallEvent>) {
    call.handle_message(at_ms(now_ms), &response(request, code, ELSEWHERE, sdp), &vet);
    drained(call)
}

/// The end of a connection that was open.
fn ended(peer: SocketAddr, why: &str) -> Broken {
    Broken { peer, why: why.into(), was_open: true, is_unreadable: false }
}

#[test]
fn via_and_contact_name_the_transport_and_nothing_is_sent_again() {
    let (mut call, invite) = placed();
    assert!(invite.via().starts_with("SIP/2.0/TCP 192.0.2.9:5070;"), "{}", invite.via());
    assert_eq!(invite.contact(), Some("sip:alice@192.0.2.9:5070;transport=tcp"));
    let (sent, events) = answer(&mut call, 100, &invite, 200, SDP);
    assert_eq!((sent.len(), sent[0].method()), (1, &Method::Ack));
    assert!(matches!(events[..], [CallEvent::Answered { .. }]), "{events:?}");
    // A 200 that comes again is acknowledged again.
    let (sent, events) = answer(&mut call, 600, &invite, 200, SDP);
    assert_eq!((sent.len(), sent[0].method(), events.len()), (1, &Method::Ack, 0));
    call.hang_up(at_ms(1000));
    let (sent, _) = drained(&mut call);
    let (_, events) = answer(&mut call, 1100, &sent[0], 200, "");
    assert!(matches!(events[..], [CallEvent::HungUp { code: Some(200), .. }]), "{events:?}");
    while let Some(at) = call.poll_timeout() {
        call.handle_timeout(at);
        assert_eq!(drained(&mut call), (vec![], vec![]));
    }
    assert!(call.is_terminated());
}

#[test]
fn a_connection_that_ends_takes_an_open_invite_with_it_and_nothing_else() {
    let (mut call, _) = placed();
    call.handle_transport_error(at_ms(10), &ended("192.0.2.1:5061".parse().unwrap(), "elsewhere"));
    assert_eq!(drained(&mut call), (vec![], vec![]));
    call.handle_transport_error(at_ms(10), &ended(config().remote, "the TCP connection was refused"));
    let (sent, events) = drained(&mut call);
    let reason = FailReason::Unreachable("the TCP connection was refused".into());
    assert_eq!((sent, events), (vec![], vec![CallEvent::Failed { reason, at: at_ms(10) }]));
    assert!(call.is_terminated());

    let (mut call, invite) = placed();
    answer(&mut call, 100, &invite, 200, SDP);
    call.handle_transport_error(at_ms(500), &ended(config().remote, "closed"));
    assert_eq!(drained(&mut call), (vec![], vec![]), "a call that is up has nothing under way");
    call.hang_up(at_ms(1000));
    let (bye, _) = drained(&mut call);
    for sent_anew in [1, 0] {
        call.handle_transport_error(at_ms(1001), &ended(config().remote, "closed"));
        let (sent, events) = drained(&mut call);
        assert_eq!((sent.len(), events.len()), (sent_anew, 0));
        assert!(sent.iter().all(|again| *again == bye[0]));
    }
    let (_, events) = answer(&mut call, 1100, &bye[0], 200, "");
    assert!(matches!(events[..], [CallEvent::HungUp { code: Some(200), .. }]), "{events:?}");
}

#[test]
fn an_invite_whose_answers_cannot_be_told_apart_was_answered() {
    let unreadable =
        Broken { is_unreadable: true, ..ended(config().remote, "it sent a message without an end") };
    let (mut call, _) = placed();
    call.handle_transport_error(at_ms(10), &unreadable);
    let reason = FailReason::Unreadable("it sent a message without an end".into());
    assert_eq!(drained(&mut call).1, [CallEvent::Failed { reason, at: at_ms(10) }]);
    // Its own message says more.
    let (mut call, invite) = placed();
    let text = format!("SIP/2.0 200 OK\r\nCall-ID: {}\r\n\r\n", invite.call_id());
    let Heard::Unreadable(own) = hear(text.as_bytes()) else { panic!("it can be read") };
    call.handle_unreadable(at_ms(10), &own);
    call.handle_transport_error(at_ms(10), &unreadable);
    let (_, events) = drained(&mut call);
    let Some(CallEvent::Failed { reason: FailReason::Unreadable(why), .. }) = events.last() else {
        panic!("{events:?}")
    };
    assert!(why.starts_with("SIP/2.0 200 OK: no "), "{why}");
}

/// A call whose session is refreshed by us every 200 s, with this header more, and its first refresh at 100.1 s.
fn refreshing(allow: &str) -> (Call, Message) {
    let (mut call, invite) = placed();
    let ok = response(&invite, 200, &format!("{ELSEWHERE}{TIMED}{allow}"), SDP);
    call.handle_message(at_ms(100), &ok, &vet);
    drained(&mut call);
    call.handle_timeout(at_ms(100_100));
    let (mut sent, events) = drained(&mut call);
    assert_eq!((sent.len(), events.len()), (1, 0), "{sent:?} {events:?}");
    (call, sent.remove(0))
}

const TIMED: &str = "Session-Expires: 200;refresher=uac\r\n";

#[test]
fn a_refresh_whose_connection_has_ended_is_followed_by_another() {
    for (allow, method) in [("", Method::Invite), ("Allow: INVITE, UPDATE\r\n", Method::Update)] {
        for answered in [0, 1] {
            let (mut call, first) = refreshing(allow);
            assert_eq!(*first.method(), method);
            call.handle_transport_error(at_ms(100_200), &ended(config().remote, "closed"));
            assert_eq!(drained(&mut call), (vec![], vec![]));
            assert_eq!(call.poll_timeout(), Some(at_ms(101_200)));
            call.handle_timeout(at_ms(101_200));
            let (sent, _) = drained(&mut call);
            let [second] = &sent[..] else { panic!("{sent:?}") };
            assert_eq!((second.method(), second.cseq().number), (&method, first.cseq().number + 1));
            // The first one's time runs out, and says nothing.
            call.handle_timeout(at_ms(132_150));
            assert_eq!(drained(&mut call), (vec![], vec![]));
            // So late its 200 is nobody's; the second one's keeps the call.
            let request = [&first, second][answered];
            let ok = response(request, 200, &format!("{ELSEWHERE}{TIMED}"), SDP);
            call.handle_message(at_ms(132_160), &ok, &vet);
            let (sent, events) = drained(&mut call);
            let is_heard = method == Method::Invite && answered == 1;
            assert_eq!(
                (sent.len(), events.len()),
                (usize::from(is_heard), 0),
                "{method} {answered}: {sent:?}"
            );
        }
    }
}

#[test]
fn a_lost_reinvite_that_is_answered_all_the_same_is_acknowledged() {
    let (mut call, first) = refreshing("");
    call.handle_transport_error(at_ms(100_200), &ended(config().remote, "closed"));
    let ok = response(&first, 200, &format!("{ELSEWHERE}{TIMED}"), SDP);
    call.handle_message(at_ms(100_900), &ok, &vet);
    let (sent, _) = drained(&mut call);
    assert_eq!((sent.len(), sent[0].method()), (1, &Method::Ack));
    call.handle_timeout(at_ms(101_200));
    assert_eq!(drained(&mut call), (vec![], vec![]), "it has refreshed the session");
}

#[test]
fn a_session_whose_connection_cannot_be_had_ends_with_that_as_the_reason() {
    let (mut call, _) = refreshing("");
    let (mut tries, mut now) = (1, at_ms(100_100));
    let why = loop {
        call.handle_transport_error(now, &ended(config().remote, "refused"));
        now = call.poll_timeout().expect("a timer");
        call.handle_timeout(now);
        let (sent, events) = drained(&mut call);
        if let [CallEvent::Expired { why, .. }] = &events[..] {
            assert_eq!(sent.last().map(Message::method), Some(&Method::Bye));
            break why.clone();
        }
        tries += sent.len();
    };
    assert!(why.contains("no refresh got through") && why.contains("refused"), "{why}");
    assert_eq!(now, at_ms(168_100), "32 s before its end");
    assert!((60..=70).contains(&tries), "about one a second: {tries}");
}

#[test]
fn a_contact_where_no_connection_can_be_opened_is_left_for_the_way_of_the_invite() {
    let nobody: SocketAddr = "192.0.2.99:5999".parse().unwrap();
    let no_way = Broken { was_open: false, ..ended(nobody, "could not be opened: refused") };
    for bye_is_under_way in [false, true] {
        let (mut call, invite) = placed();
        let ok = response(&invite, 200, "Contact: <sip:them@192.0.2.99:5999;transport=tcp>\r\n", SDP);
        call.handle_message(at_ms(100), &ok, &vet);
        let (sent, _) = said(&mut call);
        let [(ack, to)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((ack.method(), *to), (&Method::Ack, nobody));
        if bye_is_under_way {
            call.hang_up(at_ms(200));
            let (sent, _) = said(&mut call);
            assert_eq!((sent[0].0.method(), sent[0].1), (&Method::Bye, nobody));
            // It was open, and has ended: another try goes there.
            call.handle_transport_error(at_ms(300), &ended(nobody, "closed"));
            assert_eq!(said(&mut call).0, sent);
        }
        call.handle_transport_error(at_ms(400), &no_way);
        let (sent, events) = drained(&mut call);
        let remark = CallRemark::NoWay {
            contact: "sip:them@192.0.2.99:5999;transport=tcp".into(),
            why: "could not be opened: refused".into(),
        };
        assert_eq!(events, [CallEvent::Remark(remark)]);
        assert_eq!(sent[0], *ack);
        if !bye_is_under_way {
            assert_eq!(sent.len(), 1);
            call.handle_transport_error(at_ms(500), &no_way);
            assert_eq!(drained(&mut call), (vec![], vec![]), "nothing goes there any more");
            call.hang_up(at_ms(600));
        }
        let bye = match bye_is_under_way {
            true => sent[1].clone(),
            false => drained(&mut call).0.remove(0),
        };
        assert_eq!((bye.method(), bye.uri()), (&Method::Bye, Some("sip:them@192.0.2.99:5999;transport=tcp")));
        let (_, events) = answer(&mut call, 700, &bye, 200, "");
        assert!(matches!(events[..], [CallEvent::HungUp { code: Some(200), .. }]), "{events:?}");
    }
}
