//! `gates.abort_on_fail` through the real program: a hopeless run ends early and in order, any other does not.

use std::fs;

use crate::harness::{Place, ends_with, rows, sentences, stderr};

/// Longer than any run that ends early takes.
const LONG_S: f64 = 300.0;

#[test]
fn a_hopeless_run_ends_early_and_is_reported() {
    let place = Place::new();
    let set = [
        "load.duration=300s",
        "impair.seed=3",
        "impair.out.loss=30%",
        "gates.abort_on_fail=true",
        "gates.abort_after=2s",
        // One that breaks, one that cannot be judged before the end, one that has too few samples for ever.
        r#"gates.require=["loss.ratio < 5%", "leaks == 0", "rtt.p99.9 < 60s"]"#,
    ];
    let output = ends_with(&mut place.run("smoke", &set), 10);
    let said = stderr(&output);
    assert!(said.contains("2 of 3 can be judged before its end"), "{said}");
    assert!(said.contains("gate `loss.ratio < 5%` broken at 0:"), "{said}");
    assert!(sentences(&output).contains("run ended early"));

    let summary = place.summary();
    let environment = &summary["environment"];
    assert!(environment["elapsed_s"].as_f64().is_some_and(|s| s < LONG_S / 3.0), "{environment}");
    let early = &environment["ended_early"];
    assert_eq!(early["gate"], "loss.ratio < 5%");
    let second = |key: &str| early[key].as_f64().expect("seconds");
    assert!(second("at_s") - second("since_s") >= 2.0, "{early}");
    let (from, to) = (&environment["window_from_s"], &environment["window_to_s"]);
    let held = to.as_f64().zip(from.as_f64()).map(|(to, from)| to - from).expect("a window");
    assert!(held >= second("at_s") && held < LONG_S / 3.0, "held for {held} s");
    assert_eq!(environment["interrupted"], false, "nobody has interrupted it");

    let gates = summary["verdict"]["gates"].as_array().expect("gates").clone();
    let outcomes: Vec<_> = gates.iter().map(|g| g["outcome"].as_str().expect("a word")).collect();
    assert_eq!(outcomes, ["fail", "pass", "fail"], "{gates:?}");
    assert!(gates[0]["reason"].as_str().is_some_and(|r| r.contains("run ended early")), "{gates:?}");
    let sent = place.count("packets.sent");
    assert_eq!(sent, place.count("packets.received") + place.count("loss.count"));
    let calls = rows(&place.out().join("calls.csv"));
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|c| c["ending"] == "interrupted" && !c["sdd_ms"].is_empty()), "{calls:?}");
    for file in ["report.html", "junit.xml", "summary.md"] {
        let text = fs::read_to_string(place.out().join(file)).expect("it is written");
        assert!(text.contains("run ended early"), "{file}");
    }
    place.assert_nothing_left();

    // Other gates do not make a passed run of it.
    let again = place.path("again");
    let mut report = place.program();
    report.arg("report").arg(place.out()).arg("--out").arg(&again);
    ends_with(report.args(["--set", r#"gates.require=["loss.ratio < 99%"]"#]), 12);
}

#[test]
fn a_run_in_which_nothing_breaks_is_held_to_its_end() {
    let place = Place::new();
    let set = [
        "load.duration=6s",
        "gates.abort_on_fail=true",
        "gates.abort_after=1s",
        r#"gates.require=["loss.ratio < 50%", "rtt.p50 < 10s", "calls.answered == 100%", "every call: loss.ratio < 90%"]"#,
    ];
    ends_with(&mut place.run("smoke", &set), 0);
    assert_eq!(place.count("packets.sent"), 5 * 6 * 50);
    assert!(place.summary()["environment"].get("ended_early").is_none());
    assert!(rows(&place.out().join("calls.csv")).iter().all(|c| c["ending"] == "completed"));
}

#[test]
fn calls_that_fail_end_a_run_too_and_the_others_end_as_planned() {
    let place = Place::new();
    // Of a line's calls each is dropped by the far end, so that the gate breaks once and for good.
    let set = [
        "sip.to=hangup",
        "service.mode=none",
        "load.duration=300s",
        "load.retry_after=200ms",
        "gates.abort_on_fail=true",
        "gates.abort_after=1s",
        r#"gates.require=["calls.dropped_count == 0"]"#,
    ];
    ends_with(&mut place.run("smoke", &set), 10);
    let environment = place.summary()["environment"].clone();
    assert!(environment["elapsed_s"].as_f64().is_some_and(|s| s < LONG_S / 3.0), "{environment}");
    assert_eq!(environment["ended_early"]["gate"], "calls.dropped_count == 0");
    // Attempts under way at the end of the run were answered, or they would count as failed.
    assert_eq!(place.metric("calls.answered"), 1.0);
}
