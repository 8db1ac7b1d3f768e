//! Registration at a real registrar: the managed Asterisk with its digest.

use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Guarded, Place, ends_with, stderr};

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

/// A registrar that takes an account in and says nothing more.
#[test]
fn a_run_that_is_interrupted_while_it_registers_places_no_call() {
    let place = Place::new();
    let accounts = accounts(&place, 2);
    let registrar = UdpSocket::bind("127.0.0.1:0").expect("a port");
    registrar.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let target = format!("asterisk.sip={}", registrar.local_addr().expect("bound"));
    let set = [
        &*accounts,
        &*target,
        "asterisk.mode=external",
        "service.mode=none",
        "sip.register=true",
        "load.calls=2",
        "load.duration=2s",
        "gates.require=[]",
    ];
    let mut command = place.run("smoke", &set);
    let mut child = Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut buffer = [0; 4096];
    let mut methods = Vec::new();
    let mut heard = || {
        let (len, from) = registrar.recv_from(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        Some((text, from))
    };
    // The probe before the run asks with OPTIONS, and gets its answer.
    loop {
        let (text, from) = heard().expect("it asks");
        let method = text.split(' ').next().unwrap_or_default().to_string();
        if method == "REGISTER" {
            break;
        }
        let kept =
            |line: &&str| ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|name| line.starts_with(name));
        let head: String = text.lines().filter(kept).map(|line| format!("{line}\r\n")).collect();
        let answer = format!("SIP/2.0 200 OK\r\n{head}Content-Length: 0\r\n\r\n");
        registrar.send_to(answer.as_bytes(), from).expect("it is there");
    }
    child.signal(Signal::SIGINT);
    let status = child.wait().expect("it ends");
    registrar.set_nonblocking(true).expect("set");
    while let Some((text, _)) = heard() {
        methods.push(text.split(' ').next().unwrap_or_default().to_string());
    }
    assert!(!methods.is_empty() && methods.iter().all(|method| method == "REGISTER"), "{methods:?}");
    assert_eq!(status.code(), Some(130));
    let summary = place.summary();
    assert_eq!(place.count("calls.attempts"), 0);
    let register = &summary["environment"]["register"];
    let count = |name: &str| register[name].as_u64().unwrap_or_default();
    assert!((1..=2).contains(&count("leaving")) && count("left") == 0, "{register}");
    let remarks = summary["environment"]["remarks"].to_string();
    assert!(remarks.contains("could not be taken back"), "{remarks}");
}
