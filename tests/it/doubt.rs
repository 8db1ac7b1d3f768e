//! Verdicts of real runs beside busy loops: doubt about the instrument decides only what it could change.

use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use loadtest::clock::Timeline;
use serde_json::Value;

use crate::harness::{Guarded, Place, UsersAsterisk, ends_with};

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

/// Judges the stored run anew by the gate `METRIC < MS` and other limits; the exit code.
fn judge(place: &Place, metric: &str, bound_ms: f64, limits: &[&str]) -> Option<i32> {
    let gates = format!("gates.require=[\"{metric} < {bound_ms}ms\"]");
    let mut report = place.program();
    report.arg("report").arg(place.out()).args(["--report", "json", "--quiet"]);
    for set in [&[gates.as_str()], limits].concat() {
        report.args(["--set", set]);
    }
    report.stdout(Stdio::null()).status().expect("it starts").code()
}

/// Two thousand packets, which a 95th percentile needs, and as many again.
const BRIEF: &str = "load.duration=4s";

/// Limits that no machine breaks.
const LENIENT: [&str; 4] = [
    "limits.send_lateness_p99=50s",
    "limits.missed_slots=100%",
    "limits.thread_cpu=100%",
    "limits.socket_drops=1000000",
];

/// A limit that every machine breaks, in every second: none sends within a nanosecond.
const STRICT: [&str; 1] = ["limits.send_lateness_p99=1ns"];

/// The ends of the one gate's interval in `summary.json`, its metric's value where there is none; infinite where
/// nothing bounds it.
fn ends(place: &Place, metric: &str) -> (f64, f64) {
    let summary = place.summary();
    let gate = &summary["verdict"]["gates"][0];
    println!("{gate}; {}", summary["verdict"]["doubt"]);
    let end = |value: &Value, unbounded| match value.as_str() {
        Some("lost") => f64::INFINITY,
        Some(_) => unbounded,
        None => value.as_f64().unwrap_or_else(|| milliseconds(place, metric)),
    };
    (end(&gate["best"], f64::NEG_INFINITY), end(&gate["worst"], f64::INFINITY))
}

fn milliseconds(place: &Place, metric: &str) -> f64 {
    place.metric(metric).as_f64().unwrap_or_else(|| panic!("{metric} is no number"))
}

#[test]
fn a_busy_machine_decides_nothing_but_what_it_could_change() {
    let place = Place::new();
    let loops = busy_loops();
    let code = run(&place, "rtt.p50 < 60s", &[BRIEF]);
    drop(loops);
    assert_eq!(code, Some(0), "a gate that holds at worst has passed");
    // Every bound between the readings of this very run is open, as is one below them: nothing was quiet.
    assert_eq!(judge(&place, "rtt.p50", 60_000.0, &STRICT), Some(0));
    let (best, worst) = ends(&place, "rtt.p50");
    let value = milliseconds(&place, "rtt.p50");
    assert!(best == f64::NEG_INFINITY && value <= worst, "{value} in {best} … {worst}");
    let pass = worst * 1.001 + 0.001;
    for (bound, code) in [(pass, 0), (worst, 12), (value, 12), (0.0, 12)] {
        assert_eq!(judge(&place, "rtt.p50", bound, &STRICT), Some(code), "{bound} ms");
    }
}

#[test]
fn a_service_that_is_slow_fails_where_the_instrument_is_certain_and_only_there() {
    let place = Place::new();
    // Ramp and warm-up take some four seconds.
    let busy = busy_for(Duration::from_secs(10));
    let code = run(&place, "rtt.p50 < 20ms", &["load.duration=16s", "service.delay=50ms"]);
    busy.join().expect("they end");
    let (best, worst) = ends(&place, "rtt.p50");
    assert!(worst >= 50.0 && [Some(10), Some(12)].contains(&code), "it is slow: {code:?}");
    // The control stream has no service that holds it back, so that this bound is beyond it.
    let bound = milliseconds(&place, "control.p50").midpoint(milliseconds(&place, "rtt.p50"));
    // The run's own quiet seconds, if it had enough, say the same as if there were no doubt.
    let by_quiet = if best >= bound { 10 } else { 12 };
    // A driver that stood still before the calls were measured is in doubt whatever the limits say.
    let reasons = place.summary()["verdict"]["doubt"]["reasons"].to_string();
    let leniently = if reasons.contains("while calls were set up") { by_quiet } else { 10 };
    assert_eq!(judge(&place, "rtt.p50", bound, &LENIENT), Some(leniently), "{reasons}");
    assert_eq!(judge(&place, "rtt.p50", bound, &STRICT), Some(12), "doubt, and no quiet second");
    assert_eq!(judge(&place, "rtt.p50", bound, &[]), Some(by_quiet), "{best} … {worst}");
}

#[test]
fn a_machine_that_cannot_echo_in_time_fails_nobody() {
    let place = Place::new();
    let loops = busy_loops();
    run(&place, "rtt.p95 < 1ms", &[BRIEF, "driver.realtime=true"]);
    drop(loops);
    // A bound that the control stream and the calls break: without the one it would be a failure.
    let bound = milliseconds(&place, "control.p95").min(milliseconds(&place, "rtt.p95"));
    assert_eq!(judge(&place, "rtt.p95", bound, &LENIENT), Some(12));
    assert_eq!(ends(&place, "rtt.p95").0, f64::NEG_INFINITY);
    assert_eq!(judge(&place, "rtt.p95", bound, &STRICT), Some(12));
}

const ANSWERED: &str = r#"gates.require=["calls.answered == 100%"]"#;

#[test]
fn an_asterisk_that_somebody_else_runs_here_is_the_runs_own_load() {
    let place = Place::new();
    let asterisk = UsersAsterisk::start(&place, &[]);
    let account = asterisk.account();
    let settings = asterisk.settings();
    let set = [&settings.each_ref().map(String::as_str)[..], &["load.duration=2s", ANSWERED]].concat();
    ends_with(place.run("smoke", &set).envs(account), 0);
    asterisk.stop();
    let environment = &place.summary()["environment"];
    assert_eq!(environment["unseen"], "");
    assert!(environment["machine_cpus"].as_u64() >= environment["cpus"].as_u64());
    assert!(place.metric("cpu.asterisk_mean").is_number());
}
