//! Far ends with session timers (RFC 4028): shorter ones than the RFC allows, so that a refresh can be seen.

use std::time::Duration;

use loadtest::sip::{Message, Method};

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

/// Interval of the far ends, in seconds.
const INTERVAL_S: u64 = 9;

struct Timed {
    name: &'static str,
    /// Side that refreshes.
    refresher: &'static str,
    /// Further headers of its 200.
    headers: &'static str,
    /// Least interval, named by a 422 to the first INVITE.
    least: Option<&'static str>,
    /// Answer to a refresh.
    code: u16,
    /// Methods of its own refreshes, one every half of the interval.
    refreshes: &'static [&'static str],
}

const OURS: Timed =
    Timed { name: "we, by re-INVITE", refresher: "uac", headers: "", least: None, code: 200, refreshes: &[] };

const KEPT: &[Timed] = &[
    OURS,
    Timed { name: "we, by UPDATE", headers: "Allow: INVITE, ACK, BYE, UPDATE\r\nRequire: timer\r\n", ..OURS },
    Timed {
        name: "it, by UPDATE and re-INVITE",
        refresher: "uas",
        refreshes: &["UPDATE", "INVITE", "UPDATE", "INVITE"],
        ..OURS
    },
    Timed { name: "a longer one is wanted", least: Some("120"), headers: "Allow: UPDATE\r\n", ..OURS },
    Timed { name: "UPDATE is allowed, and not taken", headers: "Allow: UPDATE\r\n", code: 405, ..OURS },
];

const BROKEN: &[Timed] = &[
    Timed { name: "it was to refresh, and does not", refresher: "uas", ..OURS },
    Timed { name: "it has forgotten the call", headers: "Allow: UPDATE\r\n", code: 481, ..OURS },
    Timed { name: "it agrees to none", headers: "Allow: UPDATE\r\n", code: 500, ..OURS },
];

struct Timers {
    timed: &'static [Timed],
    /// Refreshes of its own so far, by call.
    refreshed: Vec<usize>,
}

impl Timers {
    fn start(timed: &'static [Timed]) -> FarEnd {
        FarEnd::start(Timers { timed, refreshed: vec![0; timed.len()] })
    }

    fn headers(refresher: &str) -> String {
        format!("Session-Expires: {INTERVAL_S};refresher={refresher}\r\nSupported: timer\r\n")
    }

    /// Answers a refresh of the caller's.
    fn refresh(&self, io: &mut Io, call: &FarCall, request: &Message) {
        let asked = call.header("Session-Expires").join(",");
        let min = call.header("Min-SE").join(",");
        io.note(call, format!("{} {asked} {min}", request.method()));
        let is_update = *request.method() == Method::Update;
        let code = if is_update { self.timed[call.number].code } else { 200 };
        let headers = if code == 200 { Timers::headers("uac") } else { String::new() };
        let sdp = if is_update { String::new() } else { call.description() };
        let media_type = (!sdp.is_empty()).then_some("application/sdp");
        io.send(call, &call.response(request, code, &headers, media_type, sdp.as_bytes()));
    }
}

impl Odd for Timers {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let timed = &self.timed[call.number];
        let asked = call.header("Session-Expires").join(",");
        if let Some(least) = timed.least.filter(|least| *least != asked) {
            io.note(call, format!("INVITE {asked}"));
            let headers = format!("Min-SE: {least}\r\n");
            return io.send(call, &call.response(&call.invite, 422, &headers, None, b""));
        }
        let headers = Timers::headers(timed.refresher) + timed.headers;
        let sdp = call.description();
        let ok = call.response(&call.invite, 200, &headers, Some("application/sdp"), sdp.as_bytes());
        io.accept(call, ok);
    }

    fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
        if !self.timed[call.number].refreshes.is_empty() {
            io.later(call, Duration::from_secs(INTERVAL_S) / 2);
        }
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        let refreshed = &mut self.refreshed[call.number];
        let Some(method) = self.timed[call.number].refreshes.get(*refreshed).filter(|_| call.is_up) else {
            return;
        };
        *refreshed += 1;
        let headers = Timers::headers("uac") + "Require: timer\r\n";
        let sdp = if *method == "INVITE" { call.description() } else { String::new() };
        io.request_with(call, method, &headers, &sdp);
        io.later(call, Duration::from_secs(INTERVAL_S) / 2);
    }

    fn on_reinvite(&mut self, io: &mut Io, call: &mut FarCall, invite: &Message) {
        self.refresh(io, call, invite);
    }

    fn on_request(&mut self, io: &mut Io, call: &mut FarCall, request: &Message) {
        self.refresh(io, call, request);
    }

    fn on_response(&mut self, io: &mut Io, call: &mut FarCall, response: &Message) {
        let Some(status) = response.status().filter(|status| *status >= 200) else { return };
        if *response.method() == Method::Invite {
            io.acknowledge(call, response);
        }
        let asked = call.header("Session-Expires").join(",");
        let required = call.header("Require").join(",");
        io.note(call, format!("{status} {} {asked} {required}", response.method()));
    }
}

fn noted(notes: &[(usize, String)], number: usize) -> Vec<&str> {
    notes.iter().filter(|(n, _)| *n == number).map(|(_, text)| text.as_str()).collect()
}

#[test]
fn sessions_are_refreshed_by_the_side_that_is_to() {
    let place = Place::new();
    let names: Vec<&str> = KEPT.iter().map(|timed| timed.name).collect();
    let set = ["load.duration=10s", "sip.session_expires=90s"];
    let (notes, calls) = run_against(&place, Timers::start(KEPT), KEPT.len(), &set, 0);
    let own = "9;refresher=uac";
    let first = |number: usize| noted(&notes, number)[0].to_string();
    assert_eq!(first(0), format!("INVITE {own} "));
    assert_eq!(first(1), format!("UPDATE {own} "));
    assert_eq!(first(2), format!("200 UPDATE {own} timer"));
    assert!(noted(&notes, 2).contains(&&*format!("200 INVITE {own} timer")), "{notes:?}");
    assert_eq!(noted(&notes, 3)[..2], ["INVITE 90".to_string(), "UPDATE 120;refresher=uac 120".to_string()]);
    assert_eq!(noted(&notes, 4)[..2], [format!("UPDATE {own} "), format!("INVITE {own} ")]);
    // The session outlives its interval, so that there is more than one refresh.
    for (number, name) in names.iter().enumerate() {
        assert!(noted(&notes, number).len() >= 2, "{name}: {notes:?}");
    }
    assert_all_went_well(&place, &calls, &names);
}

#[test]
fn a_session_that_the_far_end_does_not_keep_is_hung_up_and_says_so() {
    let place = Place::new();
    let (_, calls) = run_against(&place, Timers::start(BROKEN), BROKEN.len(), &["load.duration=8s"], 10);
    let why = [
        "did not refresh it within its 9 s",
        "answered a refresh with 481",
        "agreed to no refresh within its 9 s",
    ];
    for ((call, why), timed) in calls.iter().zip(why).zip(BROKEN) {
        assert_eq!(call["ending"], "session_expired", "{}: {call:?}", timed.name);
        assert!(
            call["reason"].starts_with("the session ran out: ") && call["reason"].contains(why),
            "{}: {call:?}",
            timed.name
        );
    }
    assert_eq!(place.count("calls.dropped_count"), 3);
    let summary = place.summary();
    assert!(summary["findings"].to_string().contains("session_expired"), "{}", summary["findings"]);
}
