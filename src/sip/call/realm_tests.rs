//! Calls that several realms want credentials for.

use super::callee::{SDP, response_from};
use super::pair::{Pair, at_ms, config, spelt};
use super::{CallEvent, FailReason};
use crate::sip::digest::AuthError;
use crate::sip::message::Message;

fn invited() -> (Pair, Message) {
    let pair = Pair::invited(config());
    let invite = pair.invite();
    (pair, invite)
}

/// A challenge of a proxy's, or with `401` of the server's.
fn challenge(code: u16, realm: &str, more: &str) -> String {
    let name = if code == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
    format!("{name}: Digest realm=\"{realm}\", nonce=\"n-{realm}\", qop=\"auth\"{more}\r\n")
}

/// Answers the last INVITE with challenges; the INVITE that follows, or the call's end.
fn challenged(pair: &mut Pair, invite: &Message, code: u16, headers: &str) -> Result<Message, FailReason> {
    let (sent, events) = pair.say(100, &response_from("a", invite, code, headers, ""));
    assert_eq!(spelt(&sent)[0], "ACK");
    match &events[..] {
        [] => Ok(sent[1].clone()),
        [CallEvent::Failed { reason, .. }] => Err(reason.clone()),
        other => panic!("{other:?}"),
    }
}

/// Realms that a request answers, with `P` for those of proxies.
fn answered(request: &Message) -> Vec<String> {
    let realm = |line: &String| {
        line.split("realm=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?").to_string()
    };
    let of = |name: &str, mark: &str| {
        let values = request.header_values(name);
        values.iter().map(|line| format!("{mark}{}", realm(line))).collect::<Vec<_>>()
    };
    [of("Proxy-Authorization", "P:"), of("Authorization", "")].concat()
}

#[test]
fn realms_are_answered_as_they_ask() {
    // Two proxies in a row, a server behind them, and a third proxy behind that.
    let (mut pair, mut invite) = invited();
    for (code, realm, answers) in [
        (407, "one", vec!["P:one"]),
        (407, "two", vec!["P:one", "P:two"]),
        (401, "one", vec!["P:one", "P:two", "one"]),
        (407, "three", vec!["P:one", "P:two", "P:three", "one"]),
    ] {
        let before = invite.cseq().number;
        invite = challenged(&mut pair, &invite, code, &challenge(code, realm, "")).expect("it is answered");
        assert_eq!(
            (answered(&invite), invite.cseq().number),
            (answers.into_iter().map(String::from).collect(), before + 1)
        );
    }
    // ACK repeats what the INVITE had, and what follows in the dialog has it too, counted on.
    let (ack, events) = pair.say(200, &response_from("a", &invite, 200, "", SDP));
    assert!(matches!(events[..], [CallEvent::Answered { .. }]));
    assert_eq!(ack[0].header_values("Proxy-Authorization"), invite.header_values("Proxy-Authorization"));
    pair.call.hang_up(at_ms(300));
    let (bye, _) = pair.said();
    assert_eq!(answered(&bye[0]), answered(&invite));
    let count = bye[0].header("Authorization").expect("it is there");
    assert!(count.contains("nc=00000003"), "{count}");
}

#[test]
fn realms_that_ask_at_once_are_answered_at_once() {
    for code in [401, 407] {
        let (mut pair, invite) = invited();
        let all = [
            challenge(407, "one", ""),
            challenge(407, "two", ", algorithm=SHA-256"),
            challenge(401, "three", ""),
        ];
        let again = challenged(&mut pair, &invite, code, &all.concat()).expect("all are answered");
        assert_eq!(answered(&again), ["P:one", "P:two", "three"]);
        let two = &again.header_values("Proxy-Authorization")[1];
        assert!(two.contains("algorithm=SHA-256"), "{two}");
    }
}

#[test]
fn the_topmost_algorithm_of_each_realm_that_is_known_is_taken() {
    let (mut pair, invite) = invited();
    let all = [
        challenge(401, "r", ", algorithm=SHA3-1"),
        challenge(401, "r", ", algorithm=SHA-256"),
        challenge(401, "r", ", algorithm=MD5"),
        challenge(401, "s", ", algorithm=MD5"),
    ];
    let again = challenged(&mut pair, &invite, 401, &all.concat()).expect("it is answered");
    assert_eq!(answered(&again), ["r", "s"]);
    assert!(again.header_values("Authorization")[0].contains("algorithm=SHA-256"));
}

#[test]
fn the_realm_that_refuses_is_named() {
    let (mut pair, invite) = invited();
    let again = challenged(&mut pair, &invite, 407, &challenge(407, "one", "")).expect("it is answered");
    let again = challenged(&mut pair, &again, 407, &challenge(407, "two", "")).expect("it is answered");
    // A nonce may be too old, once.
    let again =
        challenged(&mut pair, &again, 407, &challenge(407, "two", ", stale=true")).expect("it is answered");
    assert_eq!(answered(&again), ["P:one", "P:two"]);
    let both = challenge(407, "three", "") + &challenge(407, "two", ", stale=true");
    let reason = challenged(&mut pair, &again, 407, &both).expect_err("it is refused");
    let told = "it was told user `alice` for realm `two`, From sip:alice@192.0.2.9:5070";
    assert_eq!(reason, FailReason::AuthFailed(AuthError::Refused(told.into())));
}

#[test]
fn challenges_without_end_come_to_one() {
    let (mut pair, mut invite) = invited();
    for n in 0.. {
        assert!(n < 20, "it never ends");
        let one = challenge(407, &format!("r{}", n / 2), ", stale=true");
        match challenged(&mut pair, &invite, 407, &one) {
            Ok(again) => invite = again,
            Err(reason) => {
                assert_eq!((n, reason), (10, FailReason::AuthFailed(AuthError::Endless(10))));
                return;
            }
        }
    }
}

#[test]
fn a_403_names_the_identity_that_was_told() {
    let (mut pair, invite) = invited();
    let again = challenged(&mut pair, &invite, 401, &challenge(401, "one", "")).expect("it is answered");
    let reason = challenged(&mut pair, &again, 403, "").expect_err("it is refused");
    assert!(reason.to_string().contains("user `alice` for realm `one`"), "{reason}");
}
