//! Registration at a real registrar: the managed Asterisk with its digest.

use std::fmt::Write as _;
use std::fs;

use crate::harness::{Place, ends_with, stderr};

/// A file of accounts in a place.
fn accounts(place: &Place, count: usize) -> String {
    let mut text = "user,password,tenant\n".to_string();
    (0..count).for_each(|n| writeln!(text, "ext{n},secret-{n},t{n}").expect("a string takes it"));
    let file = place.path("users.csv");
    fs::write(&file, text).expect("written");
    format!("sip.accounts={}", file.display())
}

#[test]
fn accounts_register_refresh_and_call() {
    let place = Place::new();
    let accounts = accounts(&place, 5);
    let set = [
        &*accounts,
        "sip.register=true",
        "sip.register_expires=10s",
        "sip.headers.X-Tenant={tenant}",
        "load.calls=5",
        "load.duration=9s",
        r#"gates.require=["register.ok_ratio == 100%", "register.refreshed_count >= 5", "register.refresh_failed_count == 0", "register.time.max < 60s", "calls.answered == 100%", "calls.dropped_count == 0", "calls.silent_count == 0", "loss.count == 0"]"#,
    ];
    ends_with(&mut place.run("smoke", &set), 0);
    assert_eq!((place.count("register.attempts"), place.count("calls.answered_count")), (5, 5));
    let register = &place.summary()["environment"]["register"];
    assert_eq!((&register["left"], &register["registered"]), (&5.into(), &5.into()), "{register}");
}

#[test]
fn a_storm_of_registrations_needs_no_call() {
    let place = Place::new();
    let accounts = accounts(&place, 200);
    let set = [
        &*accounts,
        "sip.register=true",
        "sip.register_rate=50/s",
        "load.calls=0",
        r#"gates.require=["register.ok_ratio == 100%", "register.failed_count == 0"]"#,
    ];
    let output = ends_with(&mut place.run("smoke", &set), 0);
    assert!(stderr(&output).contains("registrations alone"), "{}", stderr(&output));
    assert_eq!(place.count("register.attempts"), 200);
    let register = &place.summary()["environment"]["register"];
    assert!(register["took_s"].as_f64().is_some_and(|took| took >= 3.9), "{register}");
}
