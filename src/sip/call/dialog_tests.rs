//! A call's dialog: requests from the peer, routes, forks and messages that come again.

use super::callee::{SDP, Script, response, response_from};
use super::pair::{Pair, at_ms, config, hold_of, ms};
use super::{Call, CallConfig, CallEvent, CallOutput};
use crate::sip::message::{Message, Method};
use crate::sip::sdp::{LocalMedia, MediaDirection};
use crate::sip::{SipDatagram, anywhere, parse};

/// A pair whose call has been up for a while.
fn up() -> Pair {
    let mut pair = Pair::new(Script::default());
    pair.run_until(at_ms(1000));
    assert!(pair.call.is_up());
    pair
}

/// Everything that the call says to a message of the peer's.
fn say(call: &mut Call, now_ms: u64, bytes: &[u8]) -> (Vec<Message>, Vec<CallEvent>) {
    call.handle_message(at_ms(now_ms), &parse(bytes).expect("the test's message parses"), &anywhere);
    drain(call)
}

fn wait(call: &mut Call, now_ms: u64) -> (Vec<Message>, Vec<CallEvent>) {
    call.handle_timeout(at_ms(now_ms));
    drain(call)
}

fn drain(call: &mut Call) -> (Vec<Message>, Vec<CallEvent>) {
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = call.poll() {
        match output {
            CallOutput::Send(datagram) => {
                sent.push(parse(&datagram.bytes).expect("what the call sends parses"))
            }
            CallOutput::Event(event) => events.push(event),
        }
    }
    (sent, events)
}

fn codes(sent: &[Message]) -> Vec<u16> {
    sent.iter().filter_map(Message::status).collect()
}

#[test]
fn requests_in_the_dialog_get_what_the_rfc_wants() {
    for (method, headers, code) in [
        ("OPTIONS", "", 200),
        ("INFO", "", 200),
        ("UPDATE", "", 200),
        ("NOTIFY", "", 405),
        ("REFER", "", 405),
        ("MESSAGE", "", 405),
        ("PRACK", "", 481),
        ("UPDATE", "Require: timer\r\n", 200),
        ("INFO", "Require: 100rel\r\n", 200),
        ("FROBNICATE", "", 501),
        ("OPTIONS", "Require: foo, bar\r\n", 420),
        ("CANCEL", "", 481),
    ] {
        let mut pair = up();
        let request = pair.callee.request(method, 10, "z9hG4bKx", headers, "");
        let (sent, events) = say(&mut pair.call, 2000, &request);
        assert_eq!((codes(&sent), events), (vec![code], vec![]), "{method}");
        assert!(sent[0].header("Allow").is_some());
        assert_eq!(sent[0].header("Unsupported").as_deref(), (code == 420).then_some("foo, bar"));
        assert!(pair.call.is_up(), "{method}");
    }
}

#[test]
fn requests_of_other_dialogs_are_refused() {
    let mut pair = up();
    let bye = String::from_utf8(pair.callee.request("BYE", 10, "z9hG4bKx", "", "")).unwrap();
    for (from, to) in [("callee-tag", "other"), ("tag=caller-tag", "tag=other"), (";tag=caller-tag", "")] {
        let (sent, events) =
            say(&mut pair.call, 2000, bye.replace(from, to).replace("bKx", &format!("bK{to}")).as_bytes());
        assert_eq!((codes(&sent), events), (vec![481], vec![]), "{from}");
    }
    assert!(pair.call.is_up());
}

#[test]
fn a_request_that_comes_again_gets_the_same_answer() {
    let mut pair = up();
    let bye = pair.callee.request("BYE", 10, "z9hG4bKx", "", "");
    let (first, events) = say(&mut pair.call, 2000, &bye);
    assert!(matches!(events[..], [CallEvent::RemoteHangup { .. }]));
    let (again, events) = say(&mut pair.call, 2500, &bye);
    assert_eq!((again, events), (first, vec![]));
    // Timer J: 64·T1 after the answer.
    wait(&mut pair.call, 33_999);
    assert!(!pair.call.is_terminated());
    wait(&mut pair.call, 34_000);
    assert!(pair.call.is_terminated());
}

#[test]
fn requests_out_of_order_are_refused_without_harm() {
    let mut pair = up();
    let newer = pair.callee.request("OPTIONS", 10, "z9hG4bKx", "", "");
    assert_eq!(codes(&say(&mut pair.call, 2000, &newer).0), [200]);
    let older = pair.callee.request("BYE", 9, "z9hG4bKy", "", "");
    assert_eq!(codes(&say(&mut pair.call, 2001, &older).0), [500]);
    assert!(pair.call.is_up());
}

#[test]
fn a_reinvite_is_answered_until_its_ack() {
    let mut pair = up();
    let moved = SDP.replace("audio 11000", "audio 12000").replace("sendrecv", "sendonly");
    let reinvite = pair.callee.request("INVITE", 10, "z9hG4bKx", "", &moved);
    let (sent, events) = say(&mut pair.call, 2000, &reinvite);
    assert_eq!(codes(&sent), [200]);
    assert_eq!(hold_of(&events), Some(MediaDirection::SendOnly));
    let sdp = String::from_utf8(sent[0].body().to_vec()).unwrap();
    assert!(sdp.contains("a=recvonly") && sdp.contains("o=- 7 2 "), "{sdp}");
    assert!(sent[0].contact().is_some());
    assert_eq!(codes(&wait(&mut pair.call, 2500).0), [200]);
    assert_eq!(codes(&wait(&mut pair.call, 3500).0), [200]);
    let ack = pair.callee.request("ACK", 10, "z9hG4bKack", "", "");
    assert!(say(&mut pair.call, 3600, &ack).0.is_empty());
    assert!(wait(&mut pair.call, 7500).0.is_empty());
    assert!(pair.call.is_up());
}

#[test]
fn a_session_refresh_changes_nothing() {
    for (method, body) in [("INVITE", ""), ("INVITE", SDP), ("UPDATE", SDP)] {
        let mut pair = up();
        let refresh = pair.callee.request(method, 10, "z9hG4bKx", "", body);
        let (sent, _) = say(&mut pair.call, 2000, &refresh);
        assert_eq!(codes(&sent), [200]);
        assert_eq!(sent[0].body(), config().media.to_sdp().as_bytes());
    }
}

#[test]
fn media_that_we_cannot_do_is_refused_and_the_call_stays() {
    let mut pair = up();
    let video = SDP.replace("m=audio", "m=video");
    let reinvite = pair.callee.request("INVITE", 10, "z9hG4bKx", "", &video);
    assert_eq!(codes(&say(&mut pair.call, 2000, &reinvite).0), [488]);
    let held = SDP.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0");
    let reinvite = pair.callee.request("INVITE", 11, "z9hG4bKy", "", &held);
    let (sent, events) = say(&mut pair.call, 2001, &reinvite);
    assert_eq!(codes(&sent), [200]);
    assert_eq!(hold_of(&events), Some(MediaDirection::Inactive));
    let moved = SDP.replace("audio 11000", "audio 12000");
    let reinvite = pair.callee.request("INVITE", 12, "z9hG4bKz", "", &moved);
    let (_, events) = say(&mut pair.call, 2002, &reinvite);
    let [CallEvent::MediaChanged { answer, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(answer.rtp_address.port(), 12_000);
    assert!(pair.call.is_up());
}

#[test]
fn requests_before_the_answer() {
    let mut pair = Pair::new(Script { answer: None, ..Script::default() });
    pair.run_until(at_ms(1000));
    let update = pair.callee.request("UPDATE", 10, "z9hG4bKx", "", "");
    assert_eq!(codes(&say(&mut pair.call, 1000, &update).0), [200]);
    let with_offer = pair.callee.request("UPDATE", 11, "z9hG4bKy", "", SDP);
    assert_eq!(codes(&say(&mut pair.call, 1001, &with_offer).0), [491]);
    let bye = pair.callee.request("BYE", 12, "z9hG4bKz", "", "");
    let (sent, events) = say(&mut pair.call, 1002, &bye);
    assert!(matches!(events[..], [CallEvent::Failed { .. }]));
    assert_eq!(sent.iter().map(|m| m.method().clone()).collect::<Vec<_>>(), [Method::Cancel, Method::Bye]);
    pair.run();
    assert!(pair.call.is_terminated());
}

#[test]
fn nonsense_in_routes_and_contact_does_not_reach_our_requests() {
    let headers = "Record-Route: ;;\", <>\r\nContact: <sip:two words@h>\r\n".into();
    let mut pair = Pair::new(Script { headers, ..Script::default() }).hang_up_at(ms(500));
    pair.run();
    let bye = pair.callee.received.iter().find(|m| *m.method() == Method::Bye).expect("a BYE");
    assert_eq!((bye.uri(), bye.header("Route")), (Some("sip:echo@192.0.2.1:5060"), None));
}

/// An answer from the peer under `tag` to the INVITE that the callee has seen.
fn success(pair: &Pair, tag: &str, headers: &str) -> Vec<u8> {
    response_from(tag, &pair.callee.received[0], 200, headers, SDP)
}

#[test]
fn an_answer_that_comes_again_is_acknowledged_again() {
    let mut pair = up();
    let again = success(&pair, "callee-tag", "Contact: <sip:192.0.2.1:5060>\r\n");
    let (sent, events) = say(&mut pair.call, 2000, &again);
    let [ack] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((ack.method(), events), (&Method::Ack, vec![]));
    let first = pair.callee.received.iter().find(|m| *m.method() == Method::Ack).unwrap();
    assert_eq!(ack, first);
    assert_eq!(pair.call.retransmissions(), 1);
    // Also after the call has been hung up, as long as the peer may send it.
    pair.call.hang_up(at_ms(3000));
    drain(&mut pair.call);
    assert_eq!(say(&mut pair.call, 3001, &again).0.len(), 1);
}

#[test]
fn another_branch_that_answers_is_hung_up() {
    let mut pair = up();
    let other = success(&pair, "other-tag", "Contact: <sip:192.0.2.77:5066>\r\n");
    pair.call.handle_message(at_ms(2000), &parse(&other).unwrap(), &anywhere);
    let mut sent = Vec::new();
    while let Some(CallOutput::Send(SipDatagram { destination, bytes })) = pair.call.poll() {
        assert_eq!(destination, "192.0.2.77:5066".parse().unwrap());
        sent.push(parse(&bytes).unwrap());
    }
    assert_eq!(sent.iter().map(|m| m.method().clone()).collect::<Vec<_>>(), [Method::Ack, Method::Bye]);
    assert!(sent.iter().all(|m| m.to_tag() == Some("other-tag")));
    assert!(pair.call.is_up());
    // The forked branch's BYE is repeated and given up without touching the call.
    for now in [2500, 3500, 40_000] {
        let (_, events) = wait(&mut pair.call, now);
        assert!(events.is_empty());
    }
    assert!(pair.call.is_up());
}

#[test]
fn routes_are_followed() {
    let contact = "Contact: \"Ast\" <sip:asterisk@[2001:db8::5]:5080>\r\n";
    for (record_route, uri, routes) in [
        (
            "Record-Route: <sip:192.0.2.50;lr>, <sip:192.0.2.51:5090;lr>\r\n",
            "sip:asterisk@[2001:db8::5]:5080",
            vec!["<sip:192.0.2.51:5090;lr>", "<sip:192.0.2.50;lr>"],
        ),
        (
            "Record-Route: <sip:192.0.2.50;lr>\r\nRecord-Route: <sip:192.0.2.51:5090>\r\n",
            "sip:192.0.2.51:5090",
            vec!["<sip:192.0.2.50;lr>", "<sip:asterisk@[2001:db8::5]:5080>"],
        ),
    ] {
        let headers = format!("{record_route}{contact}");
        let mut pair = Pair::new(Script { headers, ..Script::default() }).hang_up_at(ms(500));
        pair.run();
        for method in [Method::Ack, Method::Bye] {
            let request = pair.callee.received.iter().find(|m| *m.method() == method).unwrap();
            assert_eq!(request.uri(), Some(uri), "{method}");
            assert_eq!(request.routes().collect::<Vec<_>>(), routes, "{method}");
        }
    }
}

#[test]
fn responses_that_are_not_ours_change_nothing() {
    let mut pair = Pair::new(Script { provisional: vec![], answer: None, ..Script::default() });
    pair.run_until(at_ms(100));
    let ours = String::from_utf8(success(&pair, "callee-tag", "")).unwrap();
    for theirs in [
        ours.replace("-1;rport", "-99;rport"),
        ours.replace("tag=caller-tag", "tag=somebody"),
        ours.replace("CSeq: 1 INVITE", "CSeq: 2 INVITE"),
        ours.replace("Call-ID: call-1", "Call-ID: call-2"),
        ours.replace("From:", "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKother\r\nFrom:"),
        ours.replace("CSeq: 1 INVITE", "CSeq: 1 OPTIONS"),
        ours.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ours.replace("CSeq: 1 INVITE", "CSeq: 1 CANCEL"),
    ] {
        assert_ne!(theirs, ours);
        let (sent, events) = say(&mut pair.call, 150, theirs.as_bytes());
        // An answer that is not to our INVITE is told of.
        let is_told = |event: &CallEvent| matches!(event, CallEvent::Remark(_));
        assert!(sent.is_empty() && events.iter().all(is_told), "{theirs}");
    }
    assert_eq!(say(&mut pair.call, 151, ours.as_bytes()).1.len(), 1);
}

#[test]
fn a_challenged_bye_is_sent_again_with_credentials() {
    let mut pair = up();
    pair.call.hang_up(at_ms(2000));
    let bye = drain(&mut pair.call).0.remove(0);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    let (sent, events) = say(&mut pair.call, 2001, &response_from("x", &bye, 401, challenge, ""));
    let [again] = &sent[..] else { panic!("{sent:?}") };
    assert!(again.header("Authorization").is_some() && events.is_empty());
    assert_eq!(again.cseq().number, bye.cseq().number + 1);
    let (sent, events) = say(&mut pair.call, 2002, &response_from("x", again, 401, challenge, ""));
    assert!(sent.is_empty());
    assert!(matches!(events[..], [CallEvent::HungUp { code: Some(401), .. }]));
}

#[test]
fn only_so_many_requests_are_remembered() {
    let mut pair = up();
    for n in 0..100 {
        let request = pair.callee.request("INFO", 10 + n, &format!("z9hG4bK{n}"), "", "");
        say(&mut pair.call, 2000, &request);
    }
    assert!(pair.call.servers.len() <= 16);
    for n in 0..100 {
        let fork = success(&pair, &format!("fork-{n}"), "");
        say(&mut pair.call, 2001, &fork);
    }
    assert!(pair.call.forked.len() <= 8);
}

#[test]
fn a_call_over_ipv6_follows_its_contact_and_routes() {
    let (remote, local) = ("[2001:db8::1]:5060".parse().unwrap(), "[2001:db8::9]:5070".parse().unwrap());
    let media = LocalMedia { ip: "2001:db8::9".parse().unwrap(), ..config().media };
    let target = format!("sip:echo@{remote}");
    let mut call = Call::new(CallConfig { target, remote, local, media, ..config() });
    call.invite(at_ms(0));
    let invite = &drain(&mut call).0[0];
    assert_eq!((invite.uri(), invite.sent_by()), (Some("sip:echo@[2001:db8::1]:5060"), local.to_string()));
    assert_eq!(invite.contact(), Some("sip:alice@[2001:db8::9]:5070"));
    let sdp = SDP.replace("IP4 192.0.2.1", "IP6 2001:db8::1");
    let headers = "Contact: <sip:a.b@[2001:db8::5]:5080>\r\nRecord-Route: <sip:[2001:db8::50]:5070;lr>\r\n";
    call.handle_message(at_ms(100), &parse(&response(invite, 200, headers, &sdp)).unwrap(), &anywhere);
    let mut destinations = Vec::new();
    let mut sent = Vec::new();
    call.hang_up(at_ms(200));
    while let Some(output) = call.poll() {
        if let CallOutput::Send(SipDatagram { destination, bytes }) = output {
            destinations.push(destination);
            sent.push(parse(&bytes).unwrap());
        }
    }
    assert_eq!(sent.iter().map(Message::method).collect::<Vec<_>>(), [&Method::Ack, &Method::Bye]);
    assert_eq!(destinations, ["[2001:db8::50]:5070".parse().unwrap(); 2]);
    for request in sent {
        assert_eq!(request.uri(), Some("sip:a.b@[2001:db8::5]:5080"));
        assert_eq!(request.routes().collect::<Vec<_>>(), ["<sip:[2001:db8::50]:5070;lr>"]);
    }
}
