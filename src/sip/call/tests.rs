//! A call against a scripted callee in virtual time: the ordinary ways, and the timers to the millisecond.

use super::callee::Script;
use super::pair::{Network, PERFECT, Pair, at_ms, config, ms};
use super::{CallConfig, CallEvent, FailReason};
use crate::sip::digest::AuthError;
use crate::sip::message::Method;
use crate::sip::sdp::SdpError;

/// The times at which an INVITE without any answer is sent (RFC 3261 17.1.1.2).
const TIMER_A_MS: [u64; 7] = [0, 500, 1500, 3500, 7500, 15_500, 31_500];
/// The same for other requests (RFC 3261 17.1.2.2).
const TIMER_E_MS: [u64; 11] = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];

fn silent() -> Script {
    Script { provisional: vec![], answer: None, deaf_to: vec![Method::Invite], ..Script::default() }
}

#[test]
fn a_call_is_placed_answered_and_hung_up() {
    let mut pair = Pair::new(Script::default()).hang_up_at(ms(5000));
    pair.run();
    assert!(matches!(pair.events[0], CallEvent::Provisional { code: 100, .. }));
    assert!(matches!(pair.events[1], CallEvent::Provisional { code: 180, .. }));
    let CallEvent::Answered { at, ref answer } = pair.events[2] else { panic!("{:?}", pair.events) };
    assert_eq!(at, at_ms(102));
    assert_eq!(answer.rtp_address, "192.0.2.1:11000".parse().unwrap());
    assert_eq!(*pair.ending(), CallEvent::HungUp { at: at_ms(5002), code: Some(200) });
    assert_eq!(pair.call.times().session_request_delay(), Some(ms(22)));
    assert_eq!(pair.call.times().answer_delay(), Some(ms(102)));
    assert_eq!(pair.call.times().session_disconnect_delay(), Some(ms(2)));
    assert_eq!(pair.sent.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>(), ["INVITE", "ACK", "BYE"]);
    assert_eq!(pair.call.retransmissions(), 0);
    assert!(pair.call.is_terminated() && !pair.callee.is_up);
}

#[test]
fn an_invite_that_nobody_answers_follows_timers_a_and_b() {
    let mut pair = Pair::new(silent());
    pair.run();
    assert_eq!(pair.sent_ms("INVITE"), TIMER_A_MS);
    assert_eq!(pair.call.retransmissions(), 6);
    assert_eq!(*pair.ending(), CallEvent::Failed { reason: FailReason::Timeout, at: at_ms(32_000) });
    assert!(pair.call.is_terminated());
    assert_eq!(pair.now, at_ms(32_000));
}

#[test]
fn a_provisional_response_stops_the_retransmissions() {
    let script = Script { provisional: vec![(ms(1600), 180)], answer: Some((ms(20_000), 200)), ..silent() };
    let script = Script { deaf_to: vec![], ..script };
    let mut pair = Pair::new(script).hang_up_at(ms(25_000));
    pair.run();
    assert_eq!(pair.sent_ms("INVITE"), [0, 500, 1500]);
    assert!(matches!(pair.ending(), CallEvent::HungUp { code: Some(200), .. }));
}

#[test]
fn a_bye_that_nobody_answers_follows_timers_e_and_f() {
    let script = Script { deaf_to: vec![Method::Bye], ..Script::default() };
    let mut pair = Pair::new(script).hang_up_at(ms(1000));
    pair.run();
    assert_eq!(pair.sent_ms("BYE"), TIMER_E_MS.map(|t| t + 1000));
    let ending = CallEvent::HungUp { at: at_ms(33_000), code: None };
    assert_eq!(*pair.ending(), ending);
    assert_eq!(pair.call.times().session_disconnect_delay(), None);
    assert!(pair.call.is_terminated());
}

#[test]
fn a_bye_to_a_dialog_that_is_gone_ends_the_call_all_the_same() {
    let mut pair = Pair::new(Script { bye_code: 481, ..Script::default() }).hang_up_at(ms(1000));
    pair.run();
    assert!(matches!(pair.ending(), CallEvent::HungUp { code: Some(481), .. }));
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let script =
        Script { provisional: vec![(ms(700), 180)], answer: Some((ms(9000), 200)), ..Script::default() };
    let mut pair = Pair::new(script).hang_up_at(ms(100));
    pair.run();
    assert_eq!(pair.sent_ms("CANCEL"), [702]);
    assert_eq!(pair.sent_ms("ACK"), [704]);
    assert_eq!(*pair.ending(), CallEvent::Cancelled { at: at_ms(704) });
    assert!(pair.call.is_terminated());
}

#[test]
fn a_call_cancelled_in_silence_ends_with_timer_b() {
    let mut pair = Pair::new(silent()).hang_up_at(ms(100));
    pair.run();
    assert!(pair.sent_ms("CANCEL").is_empty());
    assert_eq!(*pair.ending(), CallEvent::Cancelled { at: at_ms(32_000) });
}

#[test]
fn an_answer_that_crosses_cancel_is_acknowledged_and_hung_up() {
    // CANCEL is sent at 100 and arrives at 101, when the 200 is on its way.
    let mut pair = Pair::new(Script::default()).hang_up_at(ms(101));
    pair.run();
    let what: Vec<_> = pair.sent.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(what, ["INVITE", "CANCEL", "ACK", "BYE"]);
    assert!(matches!(pair.ending(), CallEvent::Cancelled { .. }));
    assert!(!pair.events.iter().any(|e| matches!(e, CallEvent::Answered { .. })));
    assert!(pair.call.is_terminated() && !pair.callee.is_up);
}

#[test]
fn an_invite_that_outlives_its_cancel_is_given_up() {
    let script = Script { answer: None, deaf_to: vec![Method::Cancel], ..Script::default() };
    let mut pair = Pair::new(script).hang_up_at(ms(1000));
    pair.run();
    assert_eq!(pair.sent_ms("CANCEL"), TIMER_E_MS.map(|t| t + 1000));
    assert_eq!(*pair.ending(), CallEvent::Cancelled { at: at_ms(33_000) });
    assert!(pair.call.is_terminated());
}

#[test]
fn a_call_that_rings_too_long_times_out_and_is_cancelled() {
    let script = Script { answer: None, ..Script::default() };
    let config = CallConfig { setup_timeout: ms(3000), ..config() };
    let mut pair = Pair::with(config, script, PERFECT, 1);
    pair.run();
    assert_eq!(*pair.ending(), CallEvent::Failed { reason: FailReason::Timeout, at: at_ms(3000) });
    assert_eq!(pair.sent_ms("CANCEL"), [3000]);
    assert!(pair.call.is_terminated());
}

#[test]
fn a_late_answer_after_the_setup_timeout_is_not_left_up() {
    let script = Script { provisional: vec![], answer: Some((ms(6000), 200)), ..Script::default() };
    let config = CallConfig { setup_timeout: ms(3000), ..config() };
    let mut pair = Pair::with(config, script, PERFECT, 1);
    pair.run();
    assert_eq!(*pair.ending(), CallEvent::Failed { reason: FailReason::Timeout, at: at_ms(3000) });
    assert_eq!((pair.sent_ms("ACK"), pair.sent_ms("BYE")), (vec![6002], vec![6002]));
    assert!(!pair.callee.is_up);
}

#[test]
fn a_rejection_is_acknowledged_and_keeps_its_cause() {
    let headers = "Reason: Q.850;cause=34\r\n".into();
    let mut pair = Pair::new(Script { answer: Some((ms(50), 503)), headers, ..Script::default() });
    pair.run();
    let CallEvent::Failed { reason, .. } = pair.ending() else { panic!("{:?}", pair.events) };
    assert!(matches!(reason, FailReason::Rejected { code: 503, .. }), "{reason:?}");
    assert_eq!(reason.to_string(), "Because (Q.850;cause=34)");
    assert_eq!(pair.sent_ms("ACK"), [52]);
    let (invite, ack) = (&pair.callee.received[0], &pair.callee.received[1]);
    assert_eq!((ack.branch(), ack.cseq().number), (invite.branch(), invite.cseq().number));
    assert_eq!(ack.to_tag(), Some("callee-tag"));
    // Timer D: the rejection could come again until then.
    assert_eq!(pair.now, at_ms(32_052));
}

#[test]
fn a_challenge_is_answered_once() {
    let mut pair = Pair::new(Script { challenges: 1, ..Script::default() }).hang_up_at(ms(1000));
    pair.run();
    assert!(matches!(pair.ending(), CallEvent::HungUp { .. }));
    assert_eq!(pair.sent_ms("INVITE"), [0, 2]);
    let received = &pair.callee.received;
    let invites: Vec<_> = received.iter().filter(|m| *m.method() == Method::Invite).collect();
    assert_eq!((invites[0].cseq().number, invites[1].cseq().number), (1, 2));
    assert_ne!(invites[0].branch(), invites[1].branch());
    let credentials = invites[1].header("Authorization").expect("credentials");
    let ack = received.iter().rfind(|m| *m.method() == Method::Ack).expect("an ACK");
    assert_eq!((ack.header("Authorization"), ack.cseq().number), (Some(credentials), 2));
    assert_eq!(pair.call.times().invite_sent_at, Some(at_ms(0)));
    let sent = pair.sent.iter().filter(|(_, what)| what == "INVITE").map(|(at, _)| *at);
    assert_eq!(sent.collect::<Vec<_>>(), [at_ms(0), at_ms(2)]);
}

#[test]
fn credentials_that_are_refused_fail_the_call() {
    let told = "it was told user `alice` for realm `asterisk`, From sip:alice@192.0.2.9:5070";
    let reason = FailReason::AuthFailed(AuthError::Refused(told.into()));
    let mut pair = Pair::new(Script { challenges: 2, ..Script::default() });
    pair.run();
    assert!(reason.to_string().contains(told), "{reason}");
    assert_eq!(*pair.ending(), CallEvent::Failed { reason, at: at_ms(4) });

    let forbidden = Script { challenges: 1, answer: Some((ms(50), 403)), ..Script::default() };
    let mut pair = Pair::new(forbidden);
    pair.run();
    let CallEvent::Failed { reason, .. } = pair.ending() else { panic!("{:?}", pair.events) };
    assert_eq!(reason.to_string(), format!("Because; {told}"));

    let mut stale = Pair::new(Script { challenges: 2, stale: true, ..Script::default() }).hang_up_at(ms(900));
    stale.run();
    assert!(matches!(stale.ending(), CallEvent::HungUp { .. }), "{:?}", stale.events);

    let mut always_stale = Pair::new(Script { challenges: 9, stale: true, ..Script::default() });
    always_stale.run();
    assert!(matches!(
        always_stale.ending(),
        CallEvent::Failed { reason: FailReason::AuthFailed(AuthError::Refused(_)), .. }
    ));
    assert_eq!(always_stale.sent_ms("INVITE").len(), 3);

    let anonymous = CallConfig { credentials: None, ..config() };
    let mut pair = Pair::with(anonymous, Script { challenges: 1, ..Script::default() }, PERFECT, 1);
    pair.run();
    let reason = FailReason::AuthFailed(AuthError::NoCredentials);
    assert_eq!(*pair.ending(), CallEvent::Failed { reason, at: at_ms(2) });
}

#[test]
fn a_bad_answer_is_acknowledged_and_hung_up() {
    for (sdp, error) in [
        (String::new(), SdpError::Missing),
        (super::callee::SDP.replace("audio 11000", "audio 0"), SdpError::Refused),
    ] {
        let mut pair = Pair::new(Script { sdp, ..Script::default() });
        pair.run();
        let reason = FailReason::BadAnswer(error);
        assert_eq!(*pair.ending(), CallEvent::Failed { reason, at: at_ms(102) });
        assert_eq!((pair.sent_ms("ACK"), pair.sent_ms("BYE")), (vec![102], vec![102]));
        assert!(pair.call.is_terminated() && !pair.callee.is_up);
    }
}

#[test]
fn the_peer_hangs_up() {
    let mut pair = Pair::new(Script { hangs_up: Some(ms(1000)), ..Script::default() });
    pair.run();
    let cause = Some("Q.850;cause=16".to_string());
    assert_eq!(*pair.ending(), CallEvent::RemoteHangup { at: at_ms(1102), cause });
    assert_eq!(pair.sent_ms("200 BYE"), [1102]);
    assert!(pair.call.is_terminated());
}

#[test]
fn both_hang_up_at_once() {
    let script = Script { hangs_up: Some(ms(1000)), ..Script::default() };
    let mut pair = Pair::new(script).hang_up_at(ms(1101));
    pair.run();
    assert!(matches!(pair.ending(), CallEvent::HungUp { code: Some(481), .. }), "{:?}", pair.events);
    assert_eq!(pair.sent_ms("200 BYE"), [1102]);
}

#[test]
fn a_call_that_is_hung_up_before_it_is_placed_sends_nothing() {
    let mut call = super::Call::new(config());
    call.hang_up(at_ms(5));
    call.invite(at_ms(6));
    let ending = super::CallOutput::Event(CallEvent::Cancelled { at: at_ms(5) });
    assert_eq!((call.poll(), call.poll()), (Some(ending), None));
    assert!(call.is_terminated());
}

/// Whatever the network does, both ends come to rest, agree that the call is gone, and the call has
/// told its owner exactly once how it ended.
#[test]
fn any_network_ends_in_agreement() {
    let scripts = [
        Script::default(),
        Script { challenges: 1, ..Script::default() },
        Script { answer: Some((ms(300), 486)), ..Script::default() },
        Script { hangs_up: Some(ms(2500)), ..Script::default() },
        Script { provisional: vec![], ..Script::default() },
        Script { answer: None, ..Script::default() },
    ];
    for seed in 0..400 {
        let loss_percent = [0, 5, 20, 40][seed as usize % 4];
        let network = Network { loss_percent, duplicate_percent: 20, longest_ms: 1 + 40 * (seed % 7) };
        for (n, script) in scripts.iter().enumerate() {
            let hang_up = ms([10, 110, 700, 3000][(seed as usize / 4 + n) % 4]);
            let mut pair = Pair::with(config(), script.clone(), network, seed * 10 + n as u64);
            pair = pair.hang_up_at(hang_up);
            pair.run();
            pair.ending();
            assert!(pair.call.is_terminated(), "seed {seed}, script {n}: {:?}", pair.call);
            assert!(!pair.callee.is_up, "seed {seed}, script {n}: {:#?}", pair.sent);
        }
    }
}
