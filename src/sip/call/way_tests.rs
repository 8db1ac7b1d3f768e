//! A call's way: names and headers of its INVITE, a proxy, redirections, and a Contact at which nobody hears.

use std::net::SocketAddr;

use super::callee::{Script, response};
use super::pair::{PERFECT, Pair, at_ms, config, ms, vet};
use super::{Call, CallConfig, CallEvent, CallOutput, CallRemark, FailReason, Habits};
use crate::sip::message::Method;
use crate::sip::{Identity, Message, parse};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What the call says since the last look: messages with their destinations, and events.
fn drained(call: &mut Call) -> (Vec<(Message, SocketAddr)>, Vec<CallEvent>) {
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

#[test]
fn names_headers_and_the_route_to_a_proxy_stand_in_the_invite_alone() {
    let identity = Identity {
        headers: vec![("X-Tenant".into(), "acme".into()), ("X-Odd".into(), "a\r\nVia: b".into())],
        routes: vec!["<sip:edge.example;lr>".into()],
        ..Identity::plain("sip:alice@pbx.example", "sip:echo@pbx.example")
    };
    let config = CallConfig { target: "sip:echo@pbx.example".into(), identity, ..config() };
    let mut pair = Pair::with(config, Script::default(), PERFECT, 1).hang_up_at(ms(3000));
    pair.run();
    let of = |method: Method| {
        let mut received = pair.callee.received.iter().filter(|message| *message.method() == method);
        received.find(|message| message.is_request()).expect("it was sent").clone()
    };
    let invite = of(Method::Invite);
    assert_eq!((invite.uri(), invite.to()), (Some("sip:echo@pbx.example"), "<sip:echo@pbx.example>"));
    assert!(invite.from().starts_with("<sip:alice@pbx.example>;tag="), "{}", invite.from());
    assert_eq!(invite.header("X-Tenant").as_deref(), Some("acme"));
    assert_eq!((invite.header("X-Odd").as_deref(), invite.vias().count()), (Some("a  Via: b"), 1));
    assert_eq!(invite.routes().collect::<Vec<_>>(), ["<sip:edge.example;lr>"]);
    for method in [Method::Ack, Method::Bye] {
        let request = of(method);
        assert_eq!((request.header("X-Tenant"), request.routes().count()), (None, 0));
        assert_eq!(request.uri(), Some("sip:192.0.2.1:5060"), "Contact");
    }
}

/// A call that has placed its INVITE, and got a 302 with these Contacts.
fn redirected(habits: Habits, contacts: &str) -> (Call, Message, Vec<(Message, SocketAddr)>, Vec<CallEvent>) {
    let mut call = Call::new(CallConfig { habits, ..config() });
    call.invite(at_ms(0));
    let (sent, _) = drained(&mut call);
    call.handle_message(at_ms(50), &parse(&response(&sent[0].0, 100, "", "")).expect("it parses"), &vet);
    assert_eq!(call.times().trying_delay(), Some(ms(50)));
    drained(&mut call);
    let invite = sent[0].0.clone();
    let bytes = response(&invite, 302, contacts, "");
    call.handle_message(at_ms(100), &parse(&bytes).expect("it parses"), &vet);
    let (sent, events) = drained(&mut call);
    (call, invite, sent, events)
}

const FOLLOWS: Habits = Habits { follow_redirects: true, ignore_contact: false };

#[test]
fn a_redirection_leads_to_a_new_invite_under_the_same_names() {
    let contacts = "Contact: <sip:x@pbx.invalid>, <sip:new@192.0.2.7:5070;a=b?Subject=x>;q=0.1\r\n";
    let (mut call, first, sent, events) = redirected(FOLLOWS, contacts);
    let to = "sip:new@192.0.2.7:5070;a=b";
    assert_eq!(events, [CallEvent::Remark(CallRemark::Redirected { to: to.into() })]);
    let [(ack, old), (invite, new)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((ack.method(), *old), (&Method::Ack, address("192.0.2.1:5060")));
    assert_eq!((invite.uri(), *new), (Some(to), address("192.0.2.7:5070")));
    assert_eq!(
        (invite.to(), invite.call_id(), invite.from_tag()),
        (first.to(), first.call_id(), first.from_tag())
    );
    assert_eq!(invite.cseq().number, first.cseq().number + 1);
    assert_ne!(invite.branch(), first.branch());
    assert_eq!(call.times().trying_delay(), None, "the new place has not answered");
    // The second one ends it, and so does a repeat of the first one not.
    let again = parse(&response(&first, 302, contacts, "")).expect("it parses");
    call.handle_message(at_ms(200), &again, &vet);
    let (sent, events) = drained(&mut call);
    assert_eq!((sent.len(), events.len()), (1, 0), "the ACK again");
    let on = parse(&response(invite, 301, "Contact: <sip:y@192.0.2.8>\r\n", "")).expect("it parses");
    call.handle_message(at_ms(300), &on, &vet);
    let (_, events) = drained(&mut call);
    let [CallEvent::Failed { reason: FailReason::Rejected { code: 301, reason, .. }, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(reason.contains("sip:y@192.0.2.8"), "{reason}");
}

#[test]
fn what_may_not_be_followed_is_the_reason() {
    for (habits, contacts, words) in [
        (Habits::default(), "Contact: <sip:new@192.0.2.7>\r\n", "sip.follow_redirects"),
        (FOLLOWS, "", "no Contact"),
        (FOLLOWS, "Contact: *\r\n", "no Contact"),
        (FOLLOWS, "Contact: <sip:new@192.0.2.255>\r\n", "is refused"),
        (FOLLOWS, "Contact: <sip:new@192.0.2.7:0>\r\n", "one host"),
        (FOLLOWS, "Contact: <sip:new@192.0.2.7;transport=TCP>\r\n", "another transport"),
        (FOLLOWS, "Contact: <sip:a;transport=tcp@pbx.example>\r\n", "names are not looked up"),
    ] {
        let (call, _, sent, events) = redirected(habits, contacts);
        assert_eq!(sent.len(), 1, "the ACK: {contacts}");
        let [CallEvent::Failed { reason, .. }] = &events[..] else { panic!("{events:?}") };
        assert!(reason.to_string().contains(words), "{contacts}: {reason}");
        assert!(!call.is_up());
    }
}

#[test]
fn a_name_is_followed_where_it_is_the_target_or_behind_a_proxy() {
    let named = CallConfig { target: "sip:echo@pbx.example:5070".into(), habits: FOLLOWS, ..config() };
    let proxied = Identity { routes: vec!["<sip:192.0.2.1;lr>".into()], ..config().identity };
    for (config, contact) in [
        (named, "sip:new@PBX.example:5070"),
        (CallConfig { identity: proxied, habits: FOLLOWS, ..config() }, "sip:new@other.example"),
    ] {
        let mut call = Call::new(config);
        call.invite(at_ms(0));
        let (sent, _) = drained(&mut call);
        let moved = response(&sent[0].0, 302, &format!("Contact: <{contact}>\r\n"), "");
        call.handle_message(at_ms(100), &parse(&moved).expect("it parses"), &vet);
        let (sent, _) = drained(&mut call);
        assert_eq!((sent[1].0.uri(), sent[1].1), (Some(contact), address("192.0.2.1:5060")));
    }
}

#[test]
fn a_call_that_is_given_up_follows_nobody() {
    let mut call = Call::new(CallConfig { habits: FOLLOWS, ..config() });
    call.invite(at_ms(0));
    let (sent, _) = drained(&mut call);
    call.hang_up(at_ms(50));
    let moved = response(&sent[0].0, 302, "Contact: <sip:new@192.0.2.7>\r\n", "");
    call.handle_message(at_ms(100), &parse(&moved).expect("it parses"), &vet);
    let (sent, events) = drained(&mut call);
    assert_eq!((sent.len(), &events[..]), (1, &[CallEvent::Cancelled { at: at_ms(100) }][..]));
}

/// A callee behind NAT that says its inner address, and does not hear the ACK that goes there.
fn inner() -> Script {
    let headers = "Contact: <sip:far@192.0.2.99:5999>\r\n".into();
    Script { headers, deaf_to: vec![Method::Ack], ..Script::default() }
}

#[test]
fn a_200_that_comes_again_and_again_says_that_nobody_hears_at_the_contact() {
    let mut pair = Pair::new(inner());
    pair.run_until(at_ms(20_000));
    let unheard = CallRemark::Unheard {
        method: Method::Ack,
        contact: "sip:far@192.0.2.99:5999".into(),
        sent_to: address("192.0.2.99:5999"),
    };
    let remarks: Vec<_> = pair.events.iter().filter(|event| matches!(event, CallEvent::Remark(_))).collect();
    assert_eq!(remarks, [&CallEvent::Remark(unheard)], "once a call");
    assert!(pair.destinations.contains(&address("192.0.2.99:5999")));
}

#[test]
fn a_bye_that_nobody_answers_at_the_contact_says_so_unless_the_ack_was_heard_there() {
    for (contact, hang_up_ms, is_told) in [
        ("sip:far@192.0.2.99:5999", 300, true),
        ("sip:far@192.0.2.99:5999", 3000, false),
        ("sip:far@192.0.2.1:5060", 300, false),
    ] {
        let headers = format!("Contact: <{contact}>\r\n");
        let script = Script { headers, deaf_to: vec![Method::Bye], ..Script::default() };
        let mut pair = Pair::new(script).hang_up_at(ms(hang_up_ms));
        pair.run_until(at_ms(60_000));
        let told = pair.events.iter().filter_map(|event| match event {
            CallEvent::Remark(remark) => Some(remark.to_string()),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), usize::from(is_told), "{told:?}");
        assert!(
            told.iter().all(|told| told.starts_with("nobody hears BYE at 192.0.2.99:5999, ")),
            "{told:?}"
        );
        assert!(matches!(pair.ending(), CallEvent::HungUp { code: None, .. }));
    }
}

#[test]
fn a_200_that_comes_again_from_where_it_was_called_says_nothing() {
    let mut pair = Pair::new(Script { deaf_to: vec![Method::Ack], ..Script::default() });
    pair.run_until(at_ms(20_000));
    assert!(!pair.events.iter().any(|event| matches!(event, CallEvent::Remark(_))), "{:?}", pair.events);
}

#[test]
fn a_contact_that_is_not_believed_is_in_the_request_uri_and_on_no_way() {
    for headers in [
        "Contact: <sip:far@192.0.2.99:5999>\r\n",
        "Record-Route: <sip:192.0.2.98;lr>\r\nContact: <sip:far@192.0.2.99:5999>\r\n",
    ] {
        let habits = Habits { ignore_contact: true, ..Habits::default() };
        let script = Script { headers: headers.into(), ..Script::default() };
        let mut pair = Pair::with(CallConfig { habits, ..config() }, script, PERFECT, 1).hang_up_at(ms(3000));
        pair.run();
        let is_same = |to: &SocketAddr| *to == address("192.0.2.1:5060");
        assert!(pair.destinations.iter().all(is_same), "{:?}", pair.destinations);
        let bye =
            pair.callee.received.iter().find(|message| *message.method() == Method::Bye).expect("a BYE");
        assert_eq!(bye.uri(), Some("sip:far@192.0.2.99:5999"));
        assert!(matches!(pair.ending(), CallEvent::HungUp { code: Some(200), .. }));
    }
}
