//! Cases: a run with one trouble, and the finding that has to come first.

use super::steps::Step;
use super::*;
use crate::gate::{Limits, MachineLoad, Outcome, judge};
use crate::metrics::summarize;
use crate::record::{AriState, Breakage, Death, FirstCall, Phase, Run, Setup, SipAnswer, TestedProcess};
use crate::values::Ns;

/// Ten calls at an Asterisk with a service, all as they should be.
pub(super) fn healthy() -> Run {
    let call = |n| CallRecord {
        call: n,
        ending: Ending::Completed,
        status: Some(200),
        srd_ms: Some(Ns(2_000_000)),
        answer_delay_ms: Some(Ns(9_000_000)),
        total_sent: 500,
        total_received: 500,
        sent: 400,
        received: 400,
        ..Default::default()
    };
    let mut run = Run { calls: (0..10).map(call).collect(), ..Run::default() };
    run.environment.codec = "PCMU".into();
    run.environment.observed.setup = Setup {
        managed: false,
        service: "command".into(),
        target: "192.0.2.7:5060".into(),
        to: "4711".into(),
        from: "loadtest".into(),
        user: String::new(),
        app: "echo".into(),
        setup_timeout: "32s".into(),
    };
    run
}

pub(super) fn found(run: Run) -> Vec<Finding> {
    let summary = summarize(run);
    let verdict = judge(&summary, &[], &Limits::default());
    findings(&summary, &verdict)
}

/// Ends the first calls of a run.
pub(super) fn end(run: &mut Run, count: usize, ending: Ending, status: Option<u16>, reason: &str) {
    for call in run.calls.iter_mut().take(count) {
        (call.ending, call.status, call.reason) = (ending, status, reason.into());
        if !ending.was_answered() {
            (call.total_sent, call.total_received, call.sent, call.received) = (0, 0, 0, 0);
        }
    }
}

fn mute(run: &mut Run, count: usize) {
    end(run, count, Ending::Timeout, None, "no answer in time");
    run.calls.iter_mut().take(count).for_each(|call| (call.srd_ms, call.retransmissions) = (None, 6));
}

fn silence(run: &mut Run, count: usize) {
    run.calls.iter_mut().take(count).for_each(|call| (call.total_received, call.received) = (0, 0));
}

/// Has a call's packets come from another port than its SDP names.
fn hear_elsewhere(call: &mut CallRecord, taken: u64, refused: u64) {
    let at = |port: u16| Some(([10, 0, 0, 7], port).into());
    (call.heard_from, call.media_address) = (at(34379), at(10014));
    (call.elsewhere, call.refused) = (taken, refused);
}

fn ended(process: TestedProcess, death: Death, status: &str) -> Breakage {
    Breakage::Ended { process, death, status: status.into(), last_output: "x".into() }
}

fn logged(text: &str) -> Vec<LogLine> {
    vec![LogLine { text: text.into(), count: 12 }]
}

fn ari(unbridged: u64, lone_bridges: u64) -> Option<AriState> {
    Some(AriState { at_s: 3.0, callers: 10, unbridged, media: 10, lone_bridges, ..Default::default() })
}

/// A case: change of the healthy run, name of its first finding, words of what and where, words of its cure.
type Case = (fn(&mut Run), &'static str, &'static str, &'static str);

const REFUSED: &str = "authentication failed: the credentials were refused";

const CASES: &[Case] = &[
    (|r| mute(r, 10), "sip_silent", "all 10 calls got no SIP answer from 192.0.2.7:5060", "sip.local"),
    (|r| mute(r, 3), "sip_silent", "3 of 10 calls", "load.ramp"),
    (
        |r| {
            end(r, 10, Ending::Unreadable, None, "the far end answers, but cannot be read: x");
            r.environment.observed.unreadable = logged("SIP/2.0 200 OK: the body ends after 5 of 7 bytes");
        },
        "sip_unreadable",
        "all 10 calls were answered by 192.0.2.7:5060 with SIP that cannot be read calls.csv, ending unreadable; SIP's \
         answers: \"SIP/2.0 200 OK: the body ends after 5 of 7 bytes\" (12 times)",
        "tcpdump",
    ),
    (
        |r| {
            mute(r, 10);
            r.environment.observed.unreadable = logged("SIP/2.0 200 OK: no Call-ID header");
        },
        "sip_unreadable",
        "no Call-ID header",
        "mend there",
    ),
    (
        |r| {
            mute(r, 4);
            end(r, 1, Ending::Unreadable, None, "the far end answers, but cannot be read: x");
            r.environment.observed.unreadable = logged("SIP/2.0 200 OK: bad CSeq `x`");
        },
        "sip_silent",
        "3 of 10 calls",
        "load.ramp",
    ),
    (
        |r| {
            end(
                r,
                10,
                Ending::AuthFailed,
                None,
                "authentication failed: credentials are wanted, and none are configured",
            )
        },
        "auth_missing",
        "were challenged",
        "SIP_USER and SIP_PASS",
    ),
    (
        |r| {
            end(r, 10, Ending::AuthFailed, None, REFUSED);
            (r.environment.observed.setup.user, r.environment.observed.setup.from) =
                ("7001".into(), "7001".into());
        },
        "auth_refused",
        "after authenticating as `7001`",
        "password",
    ),
    (
        |r| {
            end(r, 10, Ending::AuthFailed, None, REFUSED);
            r.environment.observed.setup.user = "7001".into();
        },
        "auth_refused",
        REFUSED,
        "set sip.from to the name of the endpoint, mostly `7001`",
    ),
    (|r| end(r, 2, Ending::Rejected, Some(403), "Forbidden"), "forbidden", "403 Forbidden", "ACL"),
    (|r| end(r, 10, Ending::Rejected, Some(404), "Not Found"), "no_extension", "404 Not Found", "`4711`"),
    (|r| end(r, 10, Ending::Rejected, Some(480), "Gone"), "unavailable", "480", "sip.to"),
    (|r| end(r, 10, Ending::Rejected, Some(486), "Busy Here"), "busy", "486 Busy Here", "load.calls"),
    (|r| end(r, 10, Ending::Rejected, Some(488), "Not Acceptable"), "codec_refused", "488", "`allow`"),
    (
        |r| {
            end(r, 1, Ending::Rejected, Some(503), "Service Unavailable");
            r.environment.observed.asterisk_log = logged("couldn't allocate a port for RTP instance '0x7f'");
        },
        "overloaded",
        "couldn't allocate a port",
        "rtp.conf",
    ),
    (
        |r| {
            end(r, 10, Ending::Rejected, Some(500), "Server error");
            r.environment.observed.asterisk_log = logged("Stasis app 'echo' not registered");
        },
        "app_unregistered",
        "Stasis app 'echo' not registered\" (12 times)",
        "WebSocket",
    ),
    (|r| end(r, 10, Ending::Rejected, Some(500), "Server error"), "server_error", "500", "ari show apps"),
    (|r| end(r, 10, Ending::Rejected, Some(603), "Decline"), "declined", "603", "ari show apps"),
    (|r| end(r, 10, Ending::Rejected, Some(302), "Moved"), "redirected", "302", "asterisk.sip"),
    (|r| end(r, 10, Ending::Rejected, Some(699), "?"), "rejected", "699", "log"),
    (|r| end(r, 10, Ending::Timeout, None, "no answer in time"), "never_answered", "within 32s", "/answer"),
    (
        |r| {
            end(
                r,
                3,
                Ending::Unreachable,
                None,
                "the TCP connection to 192.0.2.7:5060 has ended: the far end closed it",
            )
        },
        "sip_unreachable",
        "3 of 10 calls were lost with their connection to 192.0.2.7:5060 calls.csv, ending unreachable: the TCP connection",
        "loadtest check",
    ),
    (
        |r| end(r, 10, Ending::BadAnswer, None, "bad SDP answer: its address is one of the driver's own"),
        "bad_answer",
        "one of the driver's own",
        "media_address",
    ),
    (
        |r| {
            silence(r, 2);
            r.environment.observed.ari = ari(2, 0);
            r.environment.observed.service_log = logged("addChannel: 400 Channel not in Stasis application");
        },
        "not_bridged",
        "2 of 10 calls answered and silent: no packet came back; 2 of 10 callers were in no bridge",
        "StasisStart of the external channel",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.ari = ari(10, 0).map(|ari| AriState { media: 0, ..ari });
        },
        "no_media_channel",
        "no external channel was there",
        "externalMedia",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.ari = ari(0, 10);
        },
        "lone_in_bridge",
        "10 bridges with one channel in it",
        "addChannel",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.ari = ari(0, 0);
        },
        "silent",
        "all 10 calls answered and silent: no packet came back",
        "send each payload back",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.setup.service = "none".into();
        },
        "silent",
        "no packet came back",
        "Echo()",
    ),
    (
        |r| {
            silence(r, 1);
            (r.calls[0].strangers, r.calls[0].comfort_noise) = (480, 7);
        },
        "silent",
        "strangers 480, comfort_noise 7",
        "tcpdump",
    ),
    (
        |r| {
            silence(r, 2);
            r.calls.iter_mut().take(2).for_each(|call| hear_elsewhere(call, 0, 450));
        },
        "media_elsewhere",
        "2 of 10 calls were heard from elsewhere, and refused: RTP comes from 10.0.0.7:34379, the SDP says 10.0.0.7:10014",
        "media.source = \"any\" measures it",
    ),
    (
        |r| r.calls.iter_mut().for_each(|call| hear_elsewhere(call, 500, 0)),
        "media_elsewhere",
        "all 10 calls were heard from elsewhere, and measured: RTP comes from 10.0.0.7:34379",
        "media.source = \"sdp\" refuses it",
    ),
    (
        |r| {
            silence(r, 10);
            r.calls
                .iter_mut()
                .for_each(|call| (call.other_payload, call.other_payload_type) = (500, Some(8)));
        },
        "other_codec",
        "the 5000 packets that came back have payload type 8",
        "leave PCMU as the only codec",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.unmatched = 4_990;
        },
        "silent",
        "4990 datagrams came to ports of this machine that nobody has open",
        "bridge show all",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.ari = ari(10, 0).map(|ari| AriState { outside: 10, media: 0, ..ari });
        },
        "not_in_application",
        "none of 10 callers had entered `echo`",
        "run Stasis(echo)",
    ),
    (
        |r| {
            silence(r, 10);
            r.calls.iter_mut().for_each(|call| call.corrupted = 500);
            r.environment.observed.asterisk_log = logged("No path to translate from PJSIP/x to UnicastRTP/y");
        },
        "media_changed",
        "none of the 5000 packets that came back was as it was sent",
        "MEDIA_FORMAT (PCMU), not slin16",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.observed.asterisk_log = logged("No path to translate from PJSIP/x to UnicastRTP/y");
        },
        "media_changed",
        "No path to translate",
        "MEDIA_FORMAT",
    ),
    (
        |r| {
            silence(r, 10);
            r.environment.lost_after_ms = 2000.0;
            r.calls.iter_mut().for_each(|call| call.late_echoes = 400);
        },
        "late_echoes",
        "4000 packets of all 10 calls came back after 2000.000 ms",
        "measure.lost_after",
    ),
    (|r| r.calls[4].forged = 7, "forged", "7 packets of 1 of 10 calls", "as it came"),
    (|r| r.calls[4].corrupted = 7, "media_changed", "7 packets of 1 of 10 calls", "payloads back unchanged"),
    (
        |r| end(r, 4, Ending::MediaLost, Some(200), "nothing heard for 5s"),
        "media_lost",
        "4 of 10 calls fell silent and were given up: nothing heard for 5s",
        "Slowest calls",
    ),
    (
        |r| end(r, 4, Ending::RemoteHangup, Some(200), "Q.850;cause=16"),
        "hung_up_early",
        "Q.850;cause=16",
        "load.call_duration",
    ),
    (
        |r| end(r, 3, Ending::SessionExpired, Some(200), "the session ran out: nobody"),
        "session_expired",
        "3 of 10 calls were hung up as their session had not been refreshed",
        "`timers`",
    ),
    (|r| end(r, 1, Ending::HungUpEarly, None, ""), "hung_up_unanswered", "1 of 10 calls", "log"),
    (
        |r| end(r, 10, Ending::HangupFailed, Some(200), "BYE was answered with 481"),
        "bye_failed",
        "481",
        "Record-Route",
    ),
    (
        |r| {
            r.environment.break_by(ended(TestedProcess::Service, Death::Killed, "signal: 9 (SIGKILL)"));
            r.environment.observed.service_log = logged("Traceback (most recent call last)");
            end(r, 9, Ending::MediaLost, Some(200), "nothing heard for 5s");
        },
        "service_died",
        "Traceback",
        "single calls",
    ),
    (
        |r| r.environment.break_by(ended(TestedProcess::Asterisk, Death::Crashed, "signal: 11 (SIGSEGV)")),
        "asterisk_died",
        "SIGSEGV",
        "coredumpctl",
    ),
];

#[test]
fn each_trouble_has_its_finding_first() {
    for (change, name, seen, cure) in CASES {
        let mut run = healthy();
        change(&mut run);
        let found = found(run);
        let Some(first) = found.first() else { panic!("{name}: nothing found") };
        assert_eq!(first.name, *name, "{found:#?}");
        let told = format!("{} {}", first.what, first.seen);
        assert!(told.contains(seen), "{name}: {told}");
        assert!(first.cure.contains(cure), "{name}: {}", first.cure);
        assert!(!first.cause.is_empty() && found.len() <= MOST);
    }
}

#[test]
fn a_run_without_trouble_has_none() {
    assert_eq!(found(healthy()), []);
}

#[test]
fn the_likeliest_comes_first_and_three_are_enough() {
    let mut run = healthy();
    let statuses = [486, 404, 503, 486, 480, 486];
    for (call, status) in run.calls.iter_mut().zip(statuses) {
        (call.ending, call.status) = (Ending::Rejected, Some(status));
    }
    let found = found(run);
    assert_eq!(found.len(), MOST);
    assert_eq!(found[0].name, "busy");
}

#[test]
fn what_a_planned_fault_did_is_no_finding() {
    let mut run = healthy();
    end(&mut run, 10, Ending::MediaLost, Some(200), "nothing heard for 5s");
    run.environment.faults = vec![Default::default()];
    assert_eq!(found(run), []);
}

#[test]
fn a_full_and_a_disturbed_machine_are_told_where_the_verdict_suffers() {
    let mut run = healthy();
    run.seconds =
        [3, 4, 5, 9].map(|second| SecondRecord { second, phase: Phase::Hold, ..Default::default() }).into();
    let summary = summarize(run);
    let mut verdict = judge(&summary, &[], &Limits::default());
    let mut said = |load, outcome| {
        (verdict.doubt.load, verdict.outcome) = (Some(load), outcome);
        findings(&summary, &verdict).first().map(|finding| (finding.name, finding.what.clone()))
    };
    let told = |name| Some((name, "the machine was not quiet in seconds 3 to 5, 9".into()));
    assert_eq!(said(MachineLoad::Full, Outcome::Inconclusive), told("machine_full"));
    assert_eq!(said(MachineLoad::Disturbed, Outcome::Fail), told("machine_disturbed"));
    assert_eq!(said(MachineLoad::Unknown, Outcome::Fail), None);
    assert_eq!(said(MachineLoad::Busy, Outcome::Fail), None);
    assert_eq!(said(MachineLoad::Full, Outcome::Pass), None);
}

/// Nothing is stored of the one call of `check --call`.
#[test]
fn findings_of_one_call_cite_its_steps_and_no_file_that_is_not_there() {
    for (change, name, ..) in CASES {
        let mut run = healthy();
        change(&mut run);
        let summary = summarize(run);
        let verdict = judge(&summary, &[], &Limits::default());
        let found = findings_of_call(&summary, &verdict);
        assert_eq!(found.first().map(|first| first.name), Some(*name));
        for Finding { seen, cure, .. } in found {
            let absent = ["calls.csv", "seconds.csv", "logs/", "the page", "chart", "check --call"];
            let cited = absent.into_iter().find(|word| seen.contains(word) || cure.contains(word));
            assert_eq!(cited, None, "{name}: {seen}; {cure}");
        }
    }
}

/// Words of others are cut, and stand for nothing but themselves.
#[test]
fn quoted_words_are_bounded() {
    let mut run = healthy();
    end(&mut run, 10, Ending::Rejected, Some(486), "x");
    run.environment.observed.asterisk_log = logged(&"ü".repeat(100_000));
    assert!(found(run)[0].seen.chars().count() < 300);
}

/// The steps of a run's first call, as `name mark`.
fn stepped(run: Run) -> Vec<String> {
    let mark = |step: &Step| match step.good {
        Some(true) => "ok",
        Some(false) => "failed",
        None => "unknown",
    };
    steps(&summarize(run)).iter().map(|step| format!("{} {}", step.name, mark(step))).collect()
}

#[test]
fn a_call_is_told_step_by_step_up_to_the_first_that_failed() {
    let mut run = healthy();
    run.calls[0].rtt_min_ms = Some(Ns(200_000));
    let answer =
        |status: u16, reason: &str| SipAnswer { status, reason: reason.into(), ..Default::default() };
    run.environment.observed.first_call = FirstCall {
        answers: vec![answer(401, "Unauthorized"), answer(200, "OK")],
        realm: "asterisk".into(),
        media: "192.0.2.7:10002".into(),
        heard_from: "192.0.2.7:10002".into(),
        payload_type: Some(0),
    };
    run.environment.observed.setup.user = "7001".into();
    run.environment.observed.ari = ari(0, 0);
    let all =
        ["SIP ok", "login ok", "answer ok", "SDP ok", "application ok", "bridge ok", "echo ok", "hang-up ok"];
    assert_eq!(stepped(run.clone()), all);
    let told = steps(&summarize(run.clone()));
    assert_eq!(told[1].said, "challenged, and let in as `7001` (realm `asterisk`)");
    assert_eq!(told[6].said, "500 of 500 packets came back, from 192.0.2.7:10002, the fastest in 0.200 ms");

    let mut changed = run.clone();
    changed.environment.observed.first_call.heard_from = "192.0.2.8:10002".into();
    let told = steps(&summarize(changed));
    assert!(
        told[6].said.contains("from 192.0.2.8:10002, not 192.0.2.7:10002 as the SDP"),
        "{}",
        told[6].said
    );
    let mut changed = run.clone();
    end(&mut changed, 1, Ending::AuthFailed, None, REFUSED);
    assert_eq!(stepped(changed), ["SIP ok", "login failed"]);
    let mut changed = run.clone();
    end(&mut changed, 1, Ending::Rejected, Some(404), "Not Found");
    assert_eq!(stepped(changed), ["SIP ok", "login ok", "answer failed"]);
    let mut changed = run.clone();
    silence(&mut changed, 1);
    changed.environment.observed.ari = ari(1, 0);
    assert_eq!(stepped(changed)[4..], ["application ok", "bridge failed", "echo failed", "hang-up ok"]);
    let mut changed = run.clone();
    mute(&mut changed, 1);
    changed.environment.observed.first_call = FirstCall::default();
    assert_eq!(stepped(changed.clone()), ["SIP failed"]);
    changed.environment.observed.unreadable = logged("SIP/2.0 200 OK: no Call-ID header");
    let told = steps(&summarize(changed));
    let said = "192.0.2.7:5060 answers, but cannot be read: SIP/2.0 200 OK: no Call-ID header";
    assert_eq!((told.len(), told[0].said.as_str()), (1, said));
    let mut changed = run;
    (changed.environment.observed.ari, changed.environment.observed.setup.service) = (None, "none".into());
    assert_eq!(stepped(changed)[3..], ["SDP ok", "echo ok", "hang-up ok"]);
    assert_eq!(stepped(Run::default()), ["INVITE failed"]);
}
