//! Far ends that send callers elsewhere.

use super::{FarCall, FarEnd, Io, Odd, Plain, assert_all_went_well, run_against};
use crate::harness::Place;

/// Sends callers to a Contact of its own, by this code.
struct Sends {
    code: u16,
    to: Vec<String>,
}

impl Odd for Sends {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let moved = String::from_utf8(call.response(&call.invite, self.code, "", None, b"")).expect("text");
        let line = format!("Contact: <sip:far@{}>\r\n", call.contact);
        let to = &self.to[call.number % self.to.len()];
        let other = if to.is_empty() { String::new() } else { format!("Contact: {to}\r\n") };
        assert!(moved.contains(&line), "{moved}");
        io.note(call, format!("{} {}", call.invite.uri().unwrap_or_default(), call.invite.to()));
        io.send(call, moved.replace(&line, &other).as_bytes());
    }
}

const FOLLOW: &str = "sip.follow_redirects=true";

#[test]
fn a_redirection_is_followed_once() {
    let place = Place::new();
    let there = FarEnd::start(Plain);
    let (a, b) =
        (format!("<sip:a@{};x=y?Subject=no>;q=0.5", there.sip), format!("<tel:+1>, <sip:b@{}>", there.sip));
    let here = FarEnd::start(Sends { code: 302, to: vec![a, b] });
    let (_, calls) = run_against(&place, here, 2, &[FOLLOW], 0);
    assert_all_went_well(&place, &calls, &["a parameter", "a second Contact"]);
    there.stop();
}

#[test]
fn a_redirection_that_is_not_followed_says_where_it_leads() {
    for (set, code, to, words) in [
        (&[][..], 302, "<sip:a@127.0.0.1:9>", &["sip:a@127.0.0.1:9", "sip.follow_redirects"][..]),
        (&[FOLLOW], 302, "", &["no Contact"]),
        (&[FOLLOW], 305, "<sip:a@127.0.0.1:9>", &["300, 301 and 302"]),
        (&[FOLLOW], 302, "<sip:a@pbx.invalid>", &["pbx.invalid", "names are not looked up"]),
        (&[FOLLOW], 302, "<sip:a@127.0.0.1:9;transport=tcp>", &["another transport"]),
        (&[FOLLOW], 302, "<sip:a@255.255.255.255>", &["one host"]),
        (&[FOLLOW], 302, "<sips:a@127.0.0.1>", &["no sip: address"]),
    ] {
        let place = Place::new();
        let far = FarEnd::start(Sends { code, to: vec![to.into()] });
        let (_, calls) = run_against(&place, far, 1, set, 10);
        let reason = &calls[0]["reason"];
        assert!(words.iter().all(|word| reason.contains(word)), "{to}: {reason}");
        assert_eq!(
            (&*calls[0]["ending"], &*calls[0]["status"]),
            ("rejected", code.to_string().as_str()),
            "{to}"
        );
    }
}

#[test]
fn a_second_redirection_ends_it() {
    let place = Place::new();
    let there = FarEnd::start(Sends { code: 301, to: vec!["<sip:c@127.0.0.1:9>".into()] });
    let here = FarEnd::start(Sends { code: 302, to: vec![format!("<sip:b@{}>", there.sip)] });
    let (_, calls) = run_against(&place, here, 1, &[FOLLOW], 10);
    let reason = &calls[0]["reason"];
    assert!(reason.contains("sip:c@127.0.0.1:9") && reason.contains("sip:b@"), "{reason}");
    let notes = there.stop();
    assert!(notes[0].1.starts_with("sip:b@") && notes[0].1.contains("<sip:loadtest@"), "To stays: {notes:?}");
}
