//! Verdicts of real runs beside busy loops: doubt about the instrument decides only what it could change.

use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use loadtest::clock::Timeline;
use serde_json::Value;

use crate::harness::{Guarded, Place};

/// Programs that leave no CPU alone.
fn busy_loops() -> Vec<Guarded> {
    let spin = || {
        let mut shell = Command::new("sh");
        Guarded::spawn(shell.args(["-c", "while :; do :; done"]).stdin(Stdio::null()))
    };
    (0..6).map(|_| spin()).collect()
}

/// Lets busy loops go on for so long.
fn busy_for(duration: Duration) -> JoinHandle<()> {
    let loops = busy_loops();
    std::thread::spawn(move || {
        let timeline = Timeline::start();
        timeline.sleep_until(timeline.now() + duration, Duration::ZERO);
        drop(loops);
    })
}

/// The limits of a scenario that says nothing of them; those of a [`Place`] are lenient.
const DEFAULT_LIMITS: [&str; 4] = [
    "limits.send_lateness_p99=2ms",
    "limits.missed_slots=0.1%",
    "limits.thread_cpu=90%",
    "limits.socket_drops=0",
];

/// Twenty calls under one gate, judged with the default limits; the exit code.
fn run(place: &Place, gate: &str, set: &[&str]) -> Option<i32> {
    let gates = format!("gates.require=[\"{gate}\"]");
    let set = [&DEFAULT_LIMITS[..], &["load.calls=20", "load.ramp=20/s", &gates], set].concat();
    let mut run = place.run("smoke", &set);
    run.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it starts").code()
}

/// Judges the stored run anew by another gate; the exit code.
fn judge(place: &Place, gate: &str) -> Option<i32> {
    let mut report = place.program();
    report.arg("report").arg(place.out()).args(["--report", "json", "--quiet"]);
    report.args(["--set", &format!("gates.require=[\"{gate}\"]")]);
    report.stdout(Stdio::null()).status().expect("it starts").code()
}

/// The one gate of a run, `METRIC < BOUND`, as its figures say it must come out.
struct Expected {
    least: f64,
    most: f64,
    code: Option<i32>,
}

/// One end of an interval in `summary.json`, or `other` where there is none.
fn end(value: &Value, other: f64, unbounded: f64) -> f64 {
    match value.as_str() {
        Some("lost") => f64::INFINITY,
        Some(_) => unbounded,
        None => value.as_f64().unwrap_or(other),
    }
}

/// Recomputes the outcome from value, interval and control stream, and prints them.
fn expected(place: &Place, metric: &str, bound: f64) -> Expected {
    let summary = place.summary();
    let gate = &summary["verdict"]["gates"][0];
    let value = end(&place.metric(metric), f64::NAN, f64::NAN);
    let least = end(&gate["best"], value, f64::NEG_INFINITY);
    let most = end(&gate["worst"], value, f64::INFINITY);
    let doubt = &summary["verdict"]["doubt"];
    println!("{gate}: {value}, {least} to {most}; {doubt}");
    let reasons = doubt["reasons"].as_array().expect("reasons");
    let control = place.metric(&metric.replace("rtt.", "control.")).as_f64();
    let is_slow = control.is_some_and(|ms| ms >= bound);
    assert_eq!(gate["best"].is_null(), reasons.is_empty() && !is_slow, "an interval where there is doubt");
    assert!(!is_slow || least == f64::NEG_INFINITY, "the control stream counts: {control:?}");
    assert!(least <= value && value <= most, "the value is among its readings");
    let code = match (least < bound, most < bound) {
        (true, true) => 0,
        (false, false) => 10,
        _ => 12,
    };
    Expected { least, most, code: Some(code) }
}

/// Ten thousand packets, below which the driver's 99th percentile of lateness says nothing.
const ENOUGH: &str = "load.duration=11s";

#[test]
fn a_busy_machine_decides_nothing_but_what_it_could_change() {
    let place = Place::new();
    let loops = busy_loops();
    let code = run(&place, "rtt.p50 < 60s", &[ENOUGH]);
    drop(loops);
    let by_figures = expected(&place, "rtt.p50", 60_000.0);
    assert_eq!((code, by_figures.code), (Some(0), Some(0)), "a gate that holds at worst has passed");
    // A bound between the readings of that run, where its machine left any doubt.
    if by_figures.least < by_figures.most {
        let between = by_figures.most.min(10_000.0) - 0.001;
        assert_eq!(judge(&place, &format!("rtt.p50 < {between}ms")), Some(12));
    }
}

#[test]
fn a_service_that_is_slow_in_quiet_seconds_fails_on_a_busy_machine() {
    let place = Place::new();
    // Ramp and warm-up take some four seconds.
    let busy = busy_for(Duration::from_secs(10));
    let code = run(&place, "rtt.p50 < 20ms", &["load.duration=16s", "service.delay=50ms"]);
    busy.join().expect("they end");
    let by_figures = expected(&place, "rtt.p50", 20.0);
    assert!(by_figures.most >= 50.0, "it is slow");
    assert_eq!(code, by_figures.code);
    let doubt = &place.summary()["verdict"]["doubt"];
    let (quiet, of) = (doubt["quiet_seconds"].as_u64().unwrap(), doubt["of_seconds"].as_u64().unwrap());
    let is_certain = 5 * quiet >= of || doubt["reasons"] == serde_json::json!([]);
    assert_eq!(code, Some(if is_certain { 10 } else { 12 }), "{quiet} of {of} seconds were quiet");
}

#[test]
fn a_machine_that_cannot_echo_in_time_fails_nobody() {
    let place = Place::new();
    let loops = busy_loops();
    let code = run(&place, "rtt.p95 < 1ms", &[ENOUGH, "driver.realtime=true"]);
    drop(loops);
    assert_eq!(code, expected(&place, "rtt.p95", 1.0).code);
    if place.metric("control.p95").as_f64().is_some_and(|ms| ms >= 1.0) {
        assert_ne!(code, Some(10));
    }
}
