//! Odd far ends over TCP: lengths that do not fit, connections that end at the wrong moment, and Contacts that lead nowhere.

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadtest::sip::{Message, Method};

use crate::far_ends::{FarCall, FarEnd, Io, Odd, Plain, assert_all_went_well, run_against};
use crate::harness::Place;

fn remarks(place: &Place) -> String {
    place.summary()["environment"]["remarks"].to_string()
}

#[test]
fn a_plain_far_end_is_called_over_one_connection() {
    let place = Place::new();
    let (_, calls) = run_against(&place, FarEnd::over_tcp(Plain), 3, &[], 0);
    assert_all_went_well(&place, &calls, &["one", "two", "three"]);
    assert!(!remarks(&place).contains("connection"), "{}", remarks(&place));
}

/// What becomes of the Content-Length of an answer.
#[derive(Clone, Copy)]
enum Length {
    TooLarge,
    Missing,
    Odd,
}

impl Length {
    fn of(self, message: Vec<u8>) -> Vec<u8> {
        let text = String::from_utf8(message).expect("text");
        let body = text.split_once("\r\n\r\n").expect("a body").1.len();
        let line = format!("Content-Length: {body}\r\n");
        let other = match self {
            Length::TooLarge => format!("Content-Length: {}\r\n", body + 2),
            Length::Missing => String::new(),
            Length::Odd => "Content-Length: many\r\n".into(),
        };
        assert!(text.contains(&line), "{text}");
        text.replace(&line, &other).into_bytes()
    }
}

/// Answers with such a length, and says its 200 again and again or once.
struct Lengths {
    length: Length,
    is_repeated: bool,
}

impl Odd for Lengths {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        io.reply(call, 180);
        let ok = self.length.of(call.ok(call.description().as_bytes()));
        match self.is_repeated {
            true => io.accept(call, ok),
            false => io.send(call, &ok),
        }
    }

    fn options(&mut self, answer: Vec<u8>) -> Vec<u8> {
        self.length.of(answer)
    }
}

const LENGTHS: [(Length, &str); 3] = [
    (Length::TooLarge, "the body ends after"),
    (Length::Missing, "no Content-Length header"),
    (Length::Odd, "bad Content-Length `many`"),
];

#[test]
fn an_answer_whose_end_nobody_can_tell_is_no_silence() {
    for (length, why) in LENGTHS {
        let place = Place::new();
        let far = FarEnd::over_tcp(Lengths { length, is_repeated: false });
        let (_, calls) = run_against(&place, far, 1, &["sip.setup_timeout=3s"], 10);
        assert_eq!(calls[0]["ending"], "unreadable", "{why}: {calls:?}");
        let reason = &calls[0]["reason"];
        assert!(
            reason.starts_with("the far end answers, but cannot be read: SIP/2.0 200 Because: ")
                && reason.contains(why),
            "{reason}"
        );
        let findings = place.summary()["findings"].clone();
        assert_eq!(findings[0]["name"], "sip_unreadable", "{findings}");
        assert!(!findings.to_string().contains("got no SIP answer"), "{findings}");
        assert!(remarks(&place).contains("of the far end could not be read"), "{}", remarks(&place));
    }
}

#[test]
fn a_check_tells_of_it_too() {
    for (length, why) in LENGTHS {
        let place = Place::new();
        let far = FarEnd::over_tcp(Lengths { length, is_repeated: false });
        let target = format!("asterisk.sip={}", far.sip);
        let set = ["asterisk.mode=external", &target, "asterisk.transport=tcp", "service.mode=none"];
        let said = place.check("smoke", &set).output().expect("it runs");
        let text =
            [&said.stdout, &said.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert_eq!(said.status.code(), Some(2), "{text}");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("answers OPTIONS, but cannot be read: SIP/2.0 200 Because: "), "{text}");
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_far_end_that_is_out_of_step_is_called_over_another_connection() {
    let place = Place::new();
    let far = FarEnd::over_tcp(Lengths { length: Length::TooLarge, is_repeated: true });
    // The second 200 completes the first one, and its rest is no message.
    let (_, calls) = run_against(&place, far, 1, &[], 0);
    assert_all_went_well(&place, &calls, &["out of step"]);
    let remarks = remarks(&place);
    for words in
        ["where a message should begin", "the Content-Length of `SIP/2.0 200 Because` before it is wrong"]
    {
        assert!(remarks.contains(words), "{remarks}");
    }
}

/// A registrar that ends its connection in the place of some of its answers, by their numbers.
struct Ending {
    heard: Arc<Mutex<usize>>,
    ends_at: fn(usize) -> bool,
}

impl Odd for Ending {
    fn on_register(&mut self, _request: &Message) -> Option<(u16, String)> {
        let mut heard = self.heard.lock().expect("not poisoned");
        *heard += 1;
        (!(self.ends_at)(*heard)).then(|| (200, String::new()))
    }

    fn ends_connection(&mut self) -> bool {
        true
    }
}

/// Registers so many accounts and calls nobody; how many requests came.
#[track_caller]
fn registered(place: &Place, count: usize, ends_at: fn(usize) -> bool, code: i32) -> usize {
    let mut text = "user,password\n".to_string();
    (0..count).for_each(|n| writeln!(text, "ext{n},secret-{n}").expect("a string takes it"));
    let file = place.path("users.csv");
    fs::write(&file, text).expect("written");
    let heard = Arc::new(Mutex::new(0));
    let far = FarEnd::over_tcp(Ending { heard: heard.clone(), ends_at });
    let accounts = format!("sip.accounts={}", file.display());
    let set = [
        &*accounts,
        "sip.register=true",
        "sip.register_rate=100/s",
        r#"gates.require=["register.ok_ratio == 100%"]"#,
    ];
    run_against(place, far, 0, &set, code);
    *heard.lock().expect("not poisoned")
}

#[test]
fn a_storm_of_registrations_outlives_its_connection() {
    let place = Place::new();
    let heard = registered(&place, 40, |number| matches!(number, 10 | 30), 0);
    assert!(heard > 80, "each is asked for and taken back, and two came in vain: {heard}");
    assert_eq!((place.count("register.attempts"), place.count("register.failed_count")), (40, 0));
    let remarks = remarks(&place);
    assert!(remarks.contains("the TCP connection to 127.0.0.1:"), "{remarks}");
    assert!(remarks.contains("has ended") && remarks.contains("connections opened again: 2"), "{remarks}");
}

#[test]
fn a_registrar_that_ends_every_connection_is_the_reason() {
    let place = Place::new();
    let heard = registered(&place, 2, |_| true, 10);
    assert!((2..=4).contains(&heard), "each is asked for twice at most: {heard}");
    assert_eq!(place.count("register.failed_count"), 2);
    let remarks = remarks(&place);
    assert!(
        remarks.contains("2 registrations failed: the TCP connection to 127.0.0.1:")
            && remarks.contains("has ended"),
        "{remarks}"
    );
}

/// Ends its connection in the place of the answer to the first refresh: of call 0 by re-INVITE, of call 1 by UPDATE.
#[derive(Default)]
struct Refreshed {
    has_ended: bool,
}

const TIMED: &str = "Session-Expires: 15;refresher=uac\r\nSupported: timer\r\n";

impl Refreshed {
    fn refresh(&mut self, io: &mut Io, call: &FarCall, request: &Message) {
        if !std::mem::replace(&mut self.has_ended, true) {
            return io.close(call);
        }
        io.note(call, request.method().to_string());
        let is_update = *request.method() == Method::Update;
        let sdp = if is_update { String::new() } else { call.description() };
        let media_type = (!is_update).then_some("application/sdp");
        io.send(call, &call.response(request, 200, TIMED, media_type, sdp.as_bytes()));
    }
}

impl Odd for Refreshed {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let allow = if call.number == 1 { "Allow: INVITE, ACK, BYE, UPDATE\r\n" } else { "" };
        let sdp = call.description();
        let headers = format!("{TIMED}{allow}");
        let ok = call.response(&call.invite, 200, &headers, Some("application/sdp"), sdp.as_bytes());
        io.accept(call, ok);
    }

    fn on_reinvite(&mut self, io: &mut Io, call: &mut FarCall, invite: &Message) {
        self.refresh(io, call, invite);
    }

    fn on_request(&mut self, io: &mut Io, call: &mut FarCall, request: &Message) {
        self.refresh(io, call, request);
    }
}

#[test]
fn a_refresh_whose_connection_ends_is_sent_over_another_one() {
    let place = Place::new();
    let far = FarEnd::over_tcp(Refreshed::default());
    let (notes, calls) = run_against(&place, far, 2, &["load.duration=11s"], 0);
    assert_all_went_well(&place, &calls, &["by re-INVITE", "by UPDATE"]);
    for (number, method) in [(0, "INVITE"), (1, "UPDATE")] {
        let mut own = notes.iter().filter(|(n, _)| *n == number);
        assert!(own.any(|(_, noted)| noted == method), "{notes:?}");
    }
    assert!(remarks(&place).contains("has ended"), "{}", remarks(&place));
}

/// Answers with another Contact.
struct Elsewhere(&'static [&'static str]);

impl Odd for Elsewhere {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let ok = String::from_utf8(call.ok(call.description().as_bytes())).expect("text");
        let own = format!("Contact: <sip:far@{}>\r\n", call.contact);
        assert!(ok.contains(&own), "{ok}");
        let other = format!("Contact: {}\r\n", self.0[call.number % self.0.len()]);
        io.accept(call, ok.replace(&own, &other).into_bytes());
    }

    fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
        io.note(call, "ACK");
    }
}

#[test]
fn a_contact_where_nobody_takes_connections_leaves_the_way_of_the_invite() {
    // The second one names no port, and the third no transport: a caller over UDP would go there.
    let contacts = &[
        "<sip:far@127.0.0.99:5999;transport=tcp>",
        "<sip:far@127.0.0.77;transport=tcp>",
        "<sip:far@127.0.0.99:5999>",
    ];
    let place = Place::new();
    let far = FarEnd::over_tcp(Elsewhere(contacts));
    let (notes, calls) = run_against(&place, far, contacts.len(), &[], 0);
    assert_all_went_well(&place, &calls, contacts);
    assert_eq!(notes.len(), contacts.len(), "{notes:?}");
    let remarks = remarks(&place);
    for words in [
        "127.0.0.99:5999;transport=tcp",
        "127.0.0.77:5060 could not be opened",
        "they go where the INVITE went",
    ] {
        assert!(remarks.contains(words), "{words}: {remarks}");
    }
}

/// Sends callers to this Contact.
struct Sends(String);

impl Odd for Sends {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let moved = String::from_utf8(call.response(&call.invite, 302, "", None, b"")).expect("text");
        let own = format!("Contact: <sip:far@{}>\r\n", call.contact);
        assert!(moved.contains(&own), "{moved}");
        io.send(call, moved.replace(&own, &format!("Contact: {}\r\n", self.0)).as_bytes());
    }
}

#[test]
fn a_redirection_is_followed_over_the_same_transport() {
    for param in [";transport=tcp", ";transport=TCP;x=y", ""] {
        let place = Place::new();
        let there = FarEnd::over_tcp(Plain);
        let here = FarEnd::over_tcp(Sends(format!("<sip:a@{}{param}>", there.sip)));
        let (_, calls) = run_against(&place, here, 1, &["sip.follow_redirects=true"], 0);
        assert_all_went_well(&place, &calls, &[param]);
        there.stop();
    }
}

/// Ends its connection while the call is up.
struct Leaves;

impl Odd for Leaves {
    fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
        io.later(call, Duration::from_millis(500));
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        io.close(call);
    }
}

#[test]
fn calls_that_are_up_outlive_their_connection() {
    let place = Place::new();
    let (_, calls) = run_against(&place, FarEnd::over_tcp(Leaves), 3, &[], 0);
    assert_all_went_well(&place, &calls, &["one", "two", "three"]);
    assert!(remarks(&place).contains("has ended"), "{}", remarks(&place));
}
