//! `--live`: figures of a run under way, as a scraper gets them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::harness::{Place, comes_to_be, ends_with, start_until, stderr};

/// A free address of the loopback.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// The answer to a question, its head included.
fn get(at: SocketAddr, path: &str, accept: &str) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The value of the first sample with this name and these labels.
fn sample(text: &str, name: &str, label: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_scraper_sees_the_calls_the_round_trips_and_the_verdict_so_far() {
    let place = Place::new();
    let at = free();
    let gates = r#"gates.require=["loss.ratio < 100%","rtt.p50 < 0.001ms","calls.silent_count == 0"]"#;
    let mut run = place.run("smoke", &["load.calls=3", "load.ramp=10/s", "load.duration=10m", gates]);
    let mut child = start_until(run.args(["--live", &at.to_string()]), "hold");
    let ask = || get(at, "/metrics", "application/openmetrics-text").unwrap_or_default();
    let is_broken =
        || sample(&ask(), "loadtest_live_gate{", "gate=\"rtt.p50 < 0.001ms\",outcome=\"fail\"") == Some(1.0);
    assert!(comes_to_be(is_broken), "{}", ask());
    let text = ask();
    assert!(text.contains("application/openmetrics-text") && text.ends_with("# EOF\n"), "{text}");
    assert_eq!(sample(&text, "loadtest_live_calls_up", ""), Some(3.0), "{text}");
    assert_eq!(sample(&text, "loadtest_live_attempts_total", ""), Some(3.0), "{text}");
    assert_eq!(sample(&text, "loadtest_live_phase", "phase=\"hold\""), Some(1.0), "{text}");
    assert_eq!(sample(&text, "loadtest_live_verdict", "outcome=\"fail\""), Some(1.0), "{text}");
    assert!(
        sample(&text, "loadtest_live_rtt_seconds", "percentile=\"99\"").is_some_and(|s| s > 0.0),
        "{text}"
    );
    assert!(sample(&text, "loadtest_live_packets_sent_total", "").is_some_and(|n| n > 0.0), "{text}");
    assert!(!text.contains("silent_count"), "{text}");
    assert!(get(at, "/metrics", "text/plain").is_some_and(|text| !text.contains("# EOF")));
    assert!(get(at, "/", "*/*").is_some_and(|text| text.starts_with("HTTP/1.1 404")));
    child.signal(nix::sys::signal::Signal::SIGINT);
    child.wait().expect("it ends");
    assert!(get(at, "/metrics", "*/*").is_none(), "it ends with the run");
}

#[test]
fn turns_are_seen_while_callers_talk() {
    let place = Place::new();
    let at = free();
    let set = [
        "media.mode=conversation",
        "turn=[{say='hello'}]",
        "service.talk.delay=600ms",
        "load.calls=2",
        "load.ramp=10/s",
        "load.duration=10m",
    ];
    let mut run = place.run("smoke", &set);
    // Progress says the same, in a line every few seconds.
    let mut child = start_until(run.args(["--live", &at.to_string()]), " · response p50 ");
    let ask = || get(at, "/metrics", "application/openmetrics-text").unwrap_or_default();
    let turns = || sample(&ask(), "loadtest_live_turns_total", "");
    assert!(comes_to_be(|| turns().is_some_and(|turns| turns >= 4.0)), "{}", ask());
    let text = ask();
    assert_eq!(sample(&text, "loadtest_live_turns_unanswered_total", ""), Some(0.0), "{text}");
    let p50 = sample(&text, "loadtest_live_turn_response_seconds", "percentile=\"50\"");
    assert!(p50.is_some_and(|s| (0.595..1.2).contains(&s)), "{text}");
    assert!(!text.contains("loadtest_live_rtt_seconds"), "{text}");
    child.signal(nix::sys::signal::Signal::SIGINT);
    child.wait().expect("it ends");
    // Of the measured window alone, and without the last of each call.
    assert!(place.count("turn.count") > 0);
}

#[test]
fn an_address_that_is_taken_is_named_before_the_run() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let at = taken.local_addr().expect("it is bound").to_string();
    let output = ends_with(place.run("smoke", &[]).args(["--live", &at]), 1);
    assert!(stderr(&output).contains(&format!("cannot listen on {at} (--live)")), "{}", stderr(&output));
    assert!(!place.out().exists());
}
