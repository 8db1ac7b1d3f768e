//! Far ends whose answers cannot be read: that is told, with the reason, and never taken for silence.

use std::time::Duration;

use super::{FarCall, FarEnd, Io, Odd, Plain, run_against};
use crate::harness::{Place, ends_with};

/// What becomes of a good 200.
type Fault = fn(String) -> String;

fn swap(text: String, from: &str, to: &str) -> String {
    let changed = text.replacen(from, to, 1);
    assert_ne!(text, changed, "{from}");
    changed
}

fn length(text: String, of: fn(usize) -> String) -> String {
    let body = text.split_once("\r\n\r\n").expect("a body").1.len();
    swap(text, &format!("Content-Length: {body}"), &format!("Content-Length: {}", of(body)))
}

/// Answers that cannot be read, and a word of the reason.
const FAULTS: &[(&str, Fault)] = &[
    ("the body ends after", |ok| length(ok, |n| (n + 2).to_string())),
    ("bad Content-Length `many`", |ok| length(ok, |_| "many".into())),
    ("more than one Content-Length header", |ok| length(ok, |n| format!("{n}\r\nl: 1"))),
    ("more than one Call-ID header", |ok| swap(ok, "CSeq: ", "Call-ID: another\r\nCSeq: ")),
    ("more than one From header", |ok| swap(ok, "CSeq: ", "f: <sip:x@y>;tag=z\r\nCSeq: ")),
    ("bad CSeq `one INVITE`", |ok| swap(ok, "CSeq: 1", "CSeq: one")),
    ("no CSeq header", |ok| swap(ok, "CSeq: 1 INVITE\r\n", "")),
    ("no Via header", |ok| swap(ok, "Via: ", "Vla: ")),
    ("the first line is not SIP's: `SIP/2.0 2OO Because`", |ok| swap(ok, "200", "2OO")),
    ("the first line is not SIP's: `SIP/3.0 200 Because`", |ok| swap(ok, "SIP/2.0", "SIP/3.0")),
    ("it has a second Via", |ok| swap(ok, "CSeq: ", "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKy\r\nCSeq: ")),
    ("it has another branch", |ok| swap(ok, "branch=z9hG4bK", "branch=z9hG4bKx")),
];

/// Answers each call with another fault; every second one rings before.
struct Faulty {
    faults: &'static [(&'static str, Fault)],
    /// Hangs up after so long.
    gives_up: Option<Duration>,
}

impl Odd for Faulty {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let (_, fault) = self.faults[call.number % self.faults.len()];
        if call.number % 2 == 1 {
            io.reply(call, 180);
        }
        let ok = String::from_utf8(call.ok(call.description().as_bytes())).expect("text");
        io.accept(call, fault(ok).into_bytes());
        if let Some(after) = self.gives_up {
            io.later(call, after);
        }
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        io.request(call, "BYE", "");
    }

    fn options(&mut self, answer: Vec<u8>) -> Vec<u8> {
        let (_, fault) = self.faults[0];
        fault(String::from_utf8(answer).expect("text")).into_bytes()
    }
}

#[test]
fn answers_that_cannot_be_read_are_told_of_as_such_with_the_reason() {
    let place = Place::new();
    let far = FarEnd::start(Faulty { faults: FAULTS, gives_up: None });
    let (_, calls) = run_against(&place, far, FAULTS.len(), &["sip.setup_timeout=2s"], 10);
    assert_eq!(calls.len(), FAULTS.len());
    for (call, (why, _)) in calls.iter().zip(FAULTS) {
        assert_eq!(call["ending"], "unreadable", "{why}: {call:?}");
        let reason = &call["reason"];
        assert!(
            reason.starts_with("the far end answers, but cannot be read: ") && reason.contains(why),
            "{reason}"
        );
    }
    let summary = place.summary();
    assert_eq!(summary["findings"][0]["name"], "sip_unreadable", "{}", summary["findings"]);
    let findings = summary["findings"].to_string();
    assert!(
        findings.contains("the body ends after") && !findings.contains("got no SIP answer"),
        "{findings}"
    );
    let remarks = summary["environment"]["remarks"].to_string();
    assert!(remarks.contains("of the far end could not be read"), "{remarks}");
    assert_eq!(place.count("sip.garbage_count"), 0);
}

#[test]
fn a_far_end_that_gives_up_because_nobody_could_read_it_is_the_reason() {
    let place = Place::new();
    let far = FarEnd::start(Faulty { faults: FAULTS, gives_up: Some(Duration::from_secs(1)) });
    let (_, calls) = run_against(&place, far, 2, &["sip.setup_timeout=4s"], 10);
    // The first one has not rung, so that nobody knows the dialog of its BYE.
    let endings = [&calls[0]["ending"], &calls[1]["ending"]];
    assert_eq!(endings, ["unreadable", "hung_up_early"]);
    assert!(
        calls[1]["reason"].contains("cannot be read: SIP/2.0 200 Because: bad Content-Length"),
        "{calls:?}"
    );
}

#[test]
fn answers_that_do_not_say_of_which_call_they_are_are_no_silence_either() {
    const NONE: &[(&str, Fault)] = &[("no Call-ID header", |ok| {
        let at = ok.find("Call-ID: ").expect("it is there");
        let end = at + ok[at..].find("\r\n").expect("it ends") + 2;
        format!("{}{}", &ok[..at], &ok[end..])
    })];
    const ANOTHER: &[(&str, Fault)] =
        &[("no call of this run has its Call-ID", |ok| swap(ok, "Call-ID: ", "Call-ID: x"))];
    for faults in [NONE, ANOTHER] {
        let place = Place::new();
        let far = FarEnd::start(Faulty { faults, gives_up: None });
        let (_, calls) = run_against(&place, far, 1, &["sip.setup_timeout=2s"], 10);
        assert_eq!(calls[0]["ending"], "timeout");
        let findings = &place.summary()["findings"];
        assert_eq!(findings[0]["name"], "sip_unreadable", "{findings}");
        assert!(findings[0]["seen"].to_string().contains(faults[0].0), "{findings}");
    }
}

#[test]
fn a_check_tells_of_it_too() {
    let place = Place::new();
    let far = FarEnd::start(Faulty { faults: FAULTS, gives_up: None });
    let target = format!("asterisk.sip={}", far.sip);
    let set = ["asterisk.mode=external", &target, "service.mode=none"];
    let said = place.check("smoke", &set).output().expect("it runs");
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert_eq!(said.status.code(), Some(2), "{text}");
    assert!(
        text.contains(
            "answers OPTIONS, but cannot be read: SIP/2.0 200 Because: the body ends after 0 of 2 bytes"
        ),
        "{text}"
    );
    far.stop();

    let far = FarEnd::start(Plain);
    let target = format!("asterisk.sip={}", far.sip);
    ends_with(&mut place.check("smoke", &["asterisk.mode=external", &target, "service.mode=none"]), 0);
}

#[test]
fn header_lines_that_were_passed_over_are_counted() {
    struct Nameless;

    impl Odd for Nameless {
        fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
            let sdp = call.description();
            let headers = "no header\r\n: neither\r\n";
            let ok = call.response(&call.invite, 200, headers, Some("application/sdp"), sdp.as_bytes());
            io.accept(call, ok);
        }
    }

    let place = Place::new();
    let (_, calls) = run_against(&place, FarEnd::start(Nameless), 1, &[], 0);
    assert_eq!(calls[0]["ending"], "completed");
    let remarks = place.summary()["environment"]["remarks"].to_string();
    assert!(remarks.contains("2 header lines of SIP messages have no name"), "{remarks}");
}
