//! A call over a reliable transport, in virtual time.

use super::pair::{at_ms, config, vet};
use super::{Call, CallConfig, CallEvent, CallOutput, FailReason};
use crate::sip::message::{Message, Method};
use crate::sip::{Transport, parse};

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
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = call.poll() {
        match output {
            CallOutput::Send(datagram) => {
                assert_eq!(datagram.destination, config().remote);
                sent.push(parse(&datagram.bytes).expect("it parses"));
            }
            CallOutput::Event(event) => events.push(event),
        }
    }
    (sent, events)
}

/// Answers a request; the Contact is over another transport, which is not followed.
fn answer(
    call: &mut Call,
    now_ms: u64,
    request: &Message,
    code: u16,
    sdp: &str,
) -> (Vec<Message>, Vec<CallEvent>) {
    let tag = if request.to_tag().is_some() { "" } else { ";tag=them" };
    let text = format!(
        "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n\
         Contact: <sip:them@192.0.2.77:5060>\r\nContent-Type: application/sdp\r\n\r\n{sdp}",
        request.via(),
        request.from(),
        request.to(),
        request.call_id(),
        request.cseq().number,
        request.method(),
    );
    call.handle_message(at_ms(now_ms), &parse(text.as_bytes()).expect("it parses"), &vet);
    drained(call)
}

#[test]
fn via_and_contact_name_the_transport_and_nothing_is_sent_again() {
    let (mut call, invite) = placed();
    assert!(invite.via().starts_with("SIP/2.0/TCP 192.0.2.9:5070;"), "{}", invite.via());
    assert_eq!(invite.contact(), Some("sip:loadtest@192.0.2.9:5070;transport=tcp"));
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
    call.handle_transport_error(at_ms(10), "192.0.2.1:5061".parse().unwrap(), "elsewhere");
    assert_eq!(drained(&mut call), (vec![], vec![]));
    call.handle_transport_error(at_ms(10), config().remote, "the TCP connection was refused");
    let (sent, events) = drained(&mut call);
    let reason = FailReason::Unreachable("the TCP connection was refused".into());
    assert_eq!((sent, events), (vec![], vec![CallEvent::Failed { reason, at: at_ms(10) }]));
    assert!(call.is_terminated());

    let (mut call, invite) = placed();
    answer(&mut call, 100, &invite, 200, SDP);
    call.handle_transport_error(at_ms(500), config().remote, "closed");
    assert_eq!(drained(&mut call), (vec![], vec![]), "a call that is up has nothing under way");
    call.hang_up(at_ms(1000));
    let (bye, _) = drained(&mut call);
    for sent_anew in [1, 0] {
        call.handle_transport_error(at_ms(1001), config().remote, "closed");
        let (sent, events) = drained(&mut call);
        assert_eq!((sent.len(), events.len()), (sent_anew, 0));
        assert!(sent.iter().all(|again| *again == bye[0]));
    }
    let (_, events) = answer(&mut call, 1100, &bye[0], 200, "");
    assert!(matches!(events[..], [CallEvent::HungUp { code: Some(200), .. }]), "{events:?}");
}
