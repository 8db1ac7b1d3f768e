//! Far ends whose Contact names nobody.

use std::time::Duration;

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

/// Where nobody is.
const NOBODY: &str = "127.0.0.99:5999";

/// Answers with another Contact, `None` for none, and hangs up where no ACK comes.
struct Elsewhere(&'static [Option<&'static str>]);

impl Odd for Elsewhere {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let ok = String::from_utf8(call.ok(call.description().as_bytes())).expect("text");
        let line = format!("Contact: <sip:far@{}>\r\n", call.contact);
        let other = self.0[call.number % self.0.len()];
        let other = other.map_or(String::new(), |contact| format!("Contact: {contact}\r\n"));
        assert!(ok.contains(&line), "{ok}");
        io.accept(call, ok.replace(&line, &other).into_bytes());
        io.later(call, Duration::from_secs(3));
    }

    fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
        io.note(call, "ACK");
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        if !call.is_up {
            call.unacknowledged = None;
            io.request(call, "BYE", "");
        }
    }
}

const DEAD: &[Option<&str>] = &[Some("<sip:far@127.0.0.99:5999>")];

#[test]
fn a_contact_at_which_nobody_hears_is_named_as_the_cause() {
    let place = Place::new();
    let (notes, calls) = run_against(&place, FarEnd::start(Elsewhere(DEAD)), 1, &[], 10);
    assert_eq!(notes, []);
    let reason = &calls[0]["reason"];
    for words in [NOBODY, "sip.ignore_contact", "again and again"] {
        assert!(reason.contains(words), "{reason}");
    }
    let remarks = place.summary()["environment"]["remarks"].to_string();
    assert!(remarks.contains(NOBODY), "{remarks}");
}

#[test]
fn a_contact_that_is_not_believed_does_no_harm() {
    let place = Place::new();
    let far = FarEnd::start(Elsewhere(DEAD));
    let (notes, calls) = run_against(&place, far, 1, &["sip.ignore_contact=true"], 0);
    assert_eq!(notes, [(0, "ACK".into())]);
    assert_all_went_well(&place, &calls, &["dead"]);
}

#[test]
fn a_contact_that_cannot_be_used_leaves_the_way_of_the_invite() {
    let odd: &[Option<&str>] = &[
        None,
        Some("<sip:far@pbx.invalid>"),
        Some("<sip:far@0.0.0.0:5060>"),
        Some("<sip:far@127.0.0.1:0>"),
        Some("<sip:far@255.255.255.255:5060>"),
        Some("<tel:+4930>"),
        Some("*"),
        Some("\"unclosed"),
    ];
    let place = Place::new();
    let (notes, calls) = run_against(&place, FarEnd::start(Elsewhere(odd)), odd.len(), &[], 0);
    assert_eq!(notes.len(), odd.len(), "{notes:?}");
    assert_all_went_well(
        &place,
        &calls,
        &odd.iter().map(|contact| contact.unwrap_or("none")).collect::<Vec<_>>(),
    );
}
