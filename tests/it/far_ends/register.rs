//! Registrars that are not as plain as Asterisk.

use std::sync::{Arc, Mutex};

use loadtest::sip::Message;

use super::{FarEnd, Odd, assert_all_went_well, run_against};
use crate::harness::{Place, ends_with, stderr};

/// Number and Expires of each REGISTER, as they came.
type Heard = Arc<Mutex<Vec<String>>>;

struct Registrar {
    heard: Heard,
    answer: fn(usize, &str) -> (u16, &'static str),
}

impl Odd for Registrar {
    fn on_register(&mut self, request: &Message) -> Option<(u16, String)> {
        let whole = format!("{request:?}");
        let expires = whole.split("Expires(Expires(\"").nth(1).and_then(|rest| rest.split('"').next());
        let expires = expires.unwrap_or_default().to_string();
        let mut heard = self.heard.lock().expect("not poisoned");
        heard.push(expires.clone());
        let (code, headers) = (self.answer)(heard.len() - 1, &expires);
        Some((code, headers.into()))
    }
}

/// Runs a call for a registered account; returns what the registrar has heard.
#[track_caller]
fn registered(
    answer: fn(usize, &str) -> (u16, &'static str),
    set: &[&str],
    code: i32,
) -> (Place, Vec<String>) {
    let place = Place::new();
    let heard = Heard::default();
    let far = FarEnd::start(Registrar { heard: heard.clone(), answer });
    let (_, calls) = run_against(&place, far, 1, &[&["sip.register=true"], set].concat(), code);
    assert_all_went_well(&place, &calls, &["registered"]);
    let heard = heard.lock().expect("not poisoned").clone();
    (place, heard)
}

#[test]
fn a_registration_that_is_granted_for_seconds_is_kept_fresh_and_taken_back() {
    let brief = |_, expires: &str| (200, if expires == "0" { "" } else { "Expires: 2\r\n" });
    let (place, heard) = registered(brief, &[], 0);
    assert!(heard.len() >= 4, "{heard:?}");
    assert_eq!(
        (heard.first().map(String::as_str), heard.last().map(String::as_str)),
        (Some("3600"), Some("0"))
    );
    assert_eq!((place.count("register.attempts"), place.count("register.failed_count")), (1, 0));
    assert!(place.count("register.refreshed_count") >= 2);
}

#[test]
fn a_registrar_that_wants_longer_gets_it() {
    let longer = |number, expires: &str| match (number, expires) {
        (0, _) => (423, "Min-Expires: 7200\r\n"),
        _ => (200, ""),
    };
    let (_, heard) = registered(longer, &["sip.register_expires=60s"], 0);
    assert_eq!(heard, ["60", "7200", "0"]);
}

/// The words of a check with a call for a registered account.
#[track_caller]
fn checked(answer: fn(usize, &str) -> (u16, &'static str), code: i32) -> String {
    let place = Place::new();
    let far = FarEnd::start(Registrar { heard: Heard::default(), answer });
    let target = format!("asterisk.sip={}", far.sip);
    let set = ["asterisk.mode=external", &target, "service.mode=none", "sip.register=true"];
    let output = ends_with(place.check("smoke", &set).arg("--call"), code);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output))
}

#[test]
fn a_check_tells_a_registration_as_a_step_and_fails_with_it() {
    let said = checked(|_, _| (403, ""), 1);
    for words in ["✗ register     not registered: 403 Because", "✓ echo", "the registration failed"] {
        assert!(said.contains(words), "{words} is not in:\n{said}");
    }
    let said = checked(|_, _| (200, ""), 0);
    assert!(said.contains("✓ register     registered after ") && said.contains("was heard"), "{said}");
}

#[test]
fn a_registration_that_is_refused_is_counted_and_told_of_and_the_calls_come_all_the_same() {
    let (place, heard) = registered(|_, _| (403, ""), &[], 0);
    assert_eq!(heard, ["3600"], "who was refused takes nothing back");
    assert_eq!((place.count("register.failed_count"), place.count("register.attempts")), (1, 1));
    let remarks = place.summary()["environment"]["remarks"].to_string();
    assert!(remarks.contains("1 registration failed: 403 Because (1)"), "{remarks}");
    let (place, _) = registered(|_, _| (403, ""), &[r#"gates.require=["register.ok_ratio == 100%"]"#], 10);
    assert_eq!(place.count("register.failed_count"), 1);
}
