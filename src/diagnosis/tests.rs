//! Findings of runs that are made for it.

mod cases;
mod unanswered;

use self::cases::{CASES, REFUSED};
use self::unanswered::UNANSWERED;

use super::steps::Step;
use super::*;
use crate::gate::{Limits, MachineLoad, Outcome, judge};
use crate::metrics::summarize;
use crate::record::{
    AriState, Breakage, Death, FirstCall, Phase, RegisterRecord, Run, Setup, SipAnswer, TestedProcess,
};
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
        accounts: String::new(),
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

/// Gives a run registrations: attempts, registered, failed, and those that could not be kept fresh.
fn register(run: &mut Run, counts: [u64; 4], why: &str) {
    let [attempts, registered, failed, refresh_failed] = counts;
    let failures = vec![LogLine { text: why.into(), count: failed.max(refresh_failed) }];
    let record = RegisterRecord {
        wanted: attempts,
        attempts,
        registered,
        failed,
        refresh_failed,
        failures,
        ..Default::default()
    };
    run.environment.register = Some(record);
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
fn credentials_out_of_a_file_are_the_ones_to_compare() {
    let mut run = healthy();
    end(&mut run, 2, Ending::AuthFailed, None, REFUSED);
    let setup = &mut run.environment.observed.setup;
    (setup.user, setup.from, setup.accounts) = ("7001".into(), "7001".into(), "users.csv".into());
    let Finding { what, cure, .. } = found(run).remove(0);
    assert!(!what.contains("7001"), "each call has a caller of its own: {what}");
    assert!(cure.contains("users and passwords in users.csv (sip.accounts)"), "{cure}");
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
    for (change, name, ..) in CASES.iter().chain(UNANSWERED) {
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
    let mut changed = run.clone();
    changed.environment.targets = vec!["10.0.0.1:5060".into(), "10.0.0.2:5060".into()];
    changed.environment.observed.setup.target = "10.0.0.1:5060, 10.0.0.2:5060".into();
    let told = steps(&summarize(changed));
    assert_eq!(told[0].said, "10.0.0.1:5060 answers the INVITE with 401 Unauthorized");
    let mut changed = run.clone();
    changed.environment.transport = "TLS".into();
    register(&mut changed, [1, 1, 0, 0], "");
    changed.environment.register.iter_mut().for_each(|register| register.failures.clear());
    let told = steps(&summarize(changed.clone()));
    assert_eq!(told[0].said, "registered as `7001` after ?");
    assert_eq!(told[1].said, "192.0.2.7:5060 answers the INVITE over TLS with 401 Unauthorized");
    register(&mut changed, [1, 0, 1, 0], "403 Forbidden");
    assert_eq!(stepped(changed.clone())[..3], ["register failed", "SIP ok", "login ok"]);
    assert_eq!(steps(&summarize(changed))[0].said, "not registered as `7001`: 403 Forbidden");
    let mut changed = run;
    (changed.environment.observed.ari, changed.environment.observed.setup.service) = (None, "none".into());
    assert_eq!(stepped(changed)[3..], ["SDP ok", "echo ok", "hang-up ok"]);
    assert_eq!(stepped(Run::default()), ["INVITE failed"]);
}
