//! Provisional responses that say more than that it rings: early session descriptions, and those that want a PRACK.

use super::callee::{SDP, response_from};
use super::pair::{Pair, at_ms, config, spelt};
use super::{CallEvent, FailReason};
use crate::sip::message::{Message, Method};

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 17\r\n";

fn invited() -> (Pair, Message) {
    let pair = Pair::invited(config());
    let invite = pair.invite();
    (pair, invite)
}

/// A description with another port.
fn at_port(port: u16) -> String {
    SDP.replace("audio 11000", &format!("audio {port}"))
}

/// The port of the media of a call that was answered.
fn answered_port(events: &[CallEvent]) -> u16 {
    let [CallEvent::Answered { answer, .. }] = events else { panic!("{events:?}") };
    answer.rtp_address.port()
}

fn bad_answer(events: &[CallEvent]) -> String {
    let [CallEvent::Failed { reason: FailReason::BadAnswer(error), .. }] = events else {
        panic!("{events:?}")
    };
    error.to_string()
}

#[test]
fn a_bare_200_takes_the_media_that_its_early_dialog_has_described() {
    for code in [180, 183, 199] {
        for (early, last, port) in [
            (SDP.to_string(), String::new(), 11_000),
            (SDP.to_string(), SDP.to_string(), 11_000),
            (SDP.to_string(), at_port(12_000), 12_000),
            (SDP.replace("sendrecv", "inactive"), SDP.to_string(), 11_000),
            ("v=0\r\nm=audio 0 RTP/AVP 0\r\n".into(), SDP.to_string(), 11_000),
        ] {
            let (mut pair, invite) = invited();
            let (sent, events) = pair.say(100, &response_from("a", &invite, code, "", &early));
            assert!(sent.is_empty() && matches!(events[..], [CallEvent::Provisional { .. }]), "{events:?}");
            // It rings again, and that says nothing of the media.
            pair.say(200, &response_from("a", &invite, 180, "", ""));
            let (sent, events) = pair.say(300, &response_from("a", &invite, 200, "", &last));
            assert_eq!(
                (spelt(&sent), answered_port(&events)),
                (vec!["ACK".to_string()], port),
                "{early}\n{last}"
            );
        }
    }
}

#[test]
fn the_last_early_description_of_a_branch_counts_and_no_other_branchs() {
    let (mut pair, invite) = invited();
    for (tag, port) in [("a", 12_000), ("b", 13_000), ("a", 14_000), ("c", 15_000)] {
        pair.say(100, &response_from(tag, &invite, 183, "", &at_port(port)));
    }
    let (_, events) = pair.say(200, &response_from("a", &invite, 200, "", ""));
    assert_eq!(answered_port(&events), 14_000);
}

#[test]
fn a_bare_200_without_a_good_early_description_says_what_there_was() {
    for (early, why) in [
        ("", "no session description"),
        ("v=0\r\nm=audio 0 RTP/AVP 0\r\n", "refused (port 0)"),
        (
            SDP.replace("192.0.2.1", "192.0.2.9").replace("11000", "40000").as_str(),
            "192.0.2.9:40000 is refused",
        ),
    ] {
        let (mut pair, invite) = invited();
        pair.say(100, &response_from("a", &invite, 183, "", early));
        let (sent, events) = pair.say(200, &response_from("a", &invite, 200, "", ""));
        assert!(bad_answer(&events).contains(why), "{events:?}");
        assert_eq!(spelt(&sent), ["ACK", "BYE"]);
    }
    let (mut pair, invite) = invited();
    pair.say(100, &response_from("early", &invite, 183, "", SDP));
    let (_, events) = pair.say(200, &response_from("late", &invite, 200, "", ""));
    let why = bad_answer(&events);
    assert!(why.contains("(To tag `late`)") && why.contains("another branch (`early`)"), "{why}");
}

#[test]
fn only_so_many_early_dialogs_are_kept() {
    let (mut pair, invite) = invited();
    for n in 0..100 {
        let (sent, _) = pair.say(100, &response_from(&format!("t{n}"), &invite, 183, RELIABLE, SDP));
        assert_eq!(sent.len(), usize::from(n < 8), "so many PRACKs are out at once");
    }
    assert_eq!(pair.call.early.len(), 32);
    let (_, events) = pair.say(200, &response_from("t99", &invite, 200, "", SDP));
    assert_eq!(answered_port(&events), 11_000);
}

#[test]
fn branches_that_only_ring_make_room_for_one_that_wants_a_prack() {
    let (mut pair, invite) = invited();
    for n in 0..100 {
        pair.say(100, &response_from(&format!("t{n}"), &invite, 180, "", ""));
    }
    let (sent, _) = pair.say(100, &response_from("late", &invite, 183, RELIABLE, SDP));
    assert_eq!((sent.len(), pair.call.early.len()), (1, 32));
    let (_, events) = pair.say(200, &response_from("late", &invite, 200, "", ""));
    assert_eq!(answered_port(&events), 11_000);
}

#[test]
fn an_invite_says_what_it_has() {
    let (_, invite) = invited();
    assert_eq!(invite.header("Supported").as_deref(), Some("100rel, timer"));
    assert!(invite.header("Allow").is_some_and(|allow| allow.contains("PRACK") && allow.contains("UPDATE")));
    assert_eq!(invite.header("Session-Expires"), None);
}

#[test]
fn each_reliable_response_gets_one_prack_in_its_turn() {
    let (mut pair, invite) = invited();
    let numbered = |rseq: &str| {
        response_from("a", &invite, 183, &format!("Require: foo, 100REL\r\nRSeq: {rseq}\r\n"), "")
    };
    let (sent, events) = pair.say(100, &numbered("17"));
    let [prack] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((prack.method(), prack.header("RAck").as_deref()), (&Method::Prack, Some("17 1 INVITE")));
    assert_eq!((prack.cseq().number, prack.to_tag()), (2, Some("a")));
    assert!(matches!(events[..], [CallEvent::Provisional { code: 183, .. }]));
    // One that comes again, that comes too early, or that is older, is not looked at.
    for rseq in ["17", "19", "16", "1"] {
        assert_eq!(pair.say(200, &numbered(rseq)), (vec![], vec![]), "{rseq}");
    }
    let (sent, _) = pair.say(300, &numbered("18"));
    assert_eq!((sent[0].header("RAck").as_deref(), sent[0].cseq().number), (Some("18 1 INVITE"), 3));
    assert_eq!(pair.say(310, &response_from("a", prack, 200, "", "")), (vec![], vec![]));
    // The 200 to INVITE may overtake that to PRACK. Its ACK has the INVITE's number, and BYE goes on.
    let (sent, events) = pair.say(400, &response_from("a", &invite, 200, "", SDP));
    assert_eq!((answered_port(&events), sent[0].cseq().number), (11_000, 1));
    pair.call.hang_up(at_ms(500));
    let (sent, _) = pair.said();
    assert_eq!((spelt(&sent), sent[0].cseq().number), (vec!["BYE".to_string()], 4));
}

#[test]
fn a_reliable_answer_that_comes_again_and_again_says_that_nobody_hears_at_its_contact() {
    for (contact, is_told) in [("sip:b@192.0.2.77:5066", true), ("sip:b@192.0.2.1:5060", false)] {
        let (mut pair, invite) = invited();
        let ringing = response_from("a", &invite, 183, &format!("{RELIABLE}Contact: <{contact}>\r\n"), "");
        let said: Vec<_> = (1..6).flat_map(|n| pair.say(100 * n, &ringing).1).collect();
        let told = said.iter().filter_map(|event| match event {
            CallEvent::Remark(remark) => Some(remark.to_string()),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), usize::from(is_told), "{said:?}");
        assert!(told.iter().all(|told| told.contains("nobody hears PRACK at 192.0.2.77:5066")), "{told:?}");
    }
}

#[test]
fn what_is_not_reliable_gets_no_prack() {
    for headers in [
        "",
        "RSeq: 1\r\n",
        "Require: 100rel\r\n",
        "Require: 100rel\r\nRSeq: 0\r\n",
        "Require: 100rel\r\nRSeq: one\r\n",
        "Require: 100rel\r\nRSeq: -1\r\n",
        "Require: 100rel\r\nRSeq: 99999999999\r\n",
        "Supported: 100rel\r\nRSeq: 1\r\n",
    ] {
        let (mut pair, invite) = invited();
        let (sent, events) = pair.say(100, &response_from("a", &invite, 183, headers, ""));
        assert!(sent.is_empty() && events.len() == 1, "{headers}: {sent:?}");
    }
    let (mut pair, invite) = invited();
    assert!(
        pair.say(100, &response_from("a", &invite, 100, RELIABLE, "")).0.is_empty(),
        "100 is never reliable"
    );
    assert!(
        pair.say(200, &response_from("a", &invite, 200, RELIABLE, SDP))
            .0
            .iter()
            .all(|m| *m.method() == Method::Ack)
    );
}

#[test]
fn a_prack_is_sent_until_it_is_answered_and_its_answer_decides_nothing() {
    for code in [200, 481, 500] {
        let (mut pair, invite) = invited();
        let (sent, _) = pair.say(100, &response_from("a", &invite, 183, RELIABLE, SDP));
        assert_eq!(pair.wait(600).0, sent, "timer E");
        assert_eq!(pair.say(700, &response_from("a", &sent[0], code, "", "")), (vec![], vec![]), "{code}");
        assert_eq!(pair.wait(5600).0, vec![]);
        // After a PRACK the 200 has no description, as Asterisk's.
        let (_, events) = pair.say(6000, &response_from("a", &invite, 200, "", ""));
        assert_eq!(answered_port(&events), 11_000);
    }
}

#[test]
fn a_prack_that_is_challenged_is_sent_again_with_credentials() {
    let (mut pair, invite) = invited();
    let (sent, _) = pair.say(100, &response_from("a", &invite, 183, RELIABLE, ""));
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    let (again, _) = pair.say(110, &response_from("a", &sent[0], 407, challenge, ""));
    assert_eq!(spelt(&again), ["PRACK"]);
    assert_eq!(again[0].header("RAck"), sent[0].header("RAck"));
    assert!(again[0].header("Proxy-Authorization").is_some());
    assert_eq!(again[0].cseq().number, 3);
    assert_eq!(pair.say(120, &response_from("a", &again[0], 407, challenge, "")), (vec![], vec![]), "once");
}

#[test]
fn a_prack_follows_the_route_of_its_early_dialog() {
    let (mut pair, invite) = invited();
    let headers =
        format!("{RELIABLE}Record-Route: <sip:192.0.2.50;lr>\r\nContact: <sip:b@192.0.2.77:5066>\r\n");
    let (sent, _) = pair.say(100, &response_from("a", &invite, 183, &headers, ""));
    assert_eq!(sent[0].uri(), Some("sip:b@192.0.2.77:5066"));
    assert_eq!(sent[0].routes().collect::<Vec<_>>(), ["<sip:192.0.2.50;lr>"]);
}

#[test]
fn a_call_that_is_given_up_stops_its_pracks() {
    let (mut pair, invite) = invited();
    pair.say(100, &response_from("a", &invite, 183, RELIABLE, ""));
    pair.call.hang_up(at_ms(200));
    let (cancel, _) = pair.said();
    assert_eq!((spelt(&cancel), cancel[0].cseq().number), (vec!["CANCEL".to_string()], 1));
    let (_, events) = pair.say(300, &response_from("a", &invite, 487, "", ""));
    assert!(matches!(events[..], [CallEvent::Cancelled { .. }]));
    assert_eq!(spelt(&pair.wait(700).0), ["CANCEL"]);
}

#[test]
fn an_endless_row_of_reliable_responses_is_not_followed() {
    let (mut pair, invite) = invited();
    let mut sent = 0;
    for rseq in 1..200 {
        let headers = format!("Require: 100rel\r\nRSeq: {rseq}\r\n");
        sent += pair.say(100, &response_from("a", &invite, 183, &headers, "")).0.len();
    }
    assert_eq!((sent, pair.call.pending.len()), (8, 8));
}
