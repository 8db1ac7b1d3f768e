//! `loadtest ab`: two scenarios run in turn and compared, for real.

use std::fs;

use crate::harness::{Place, ends_with, start_until, stderr};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Short runs: few packets bear a median.
const SHORT: [&str; 5] = [
    "load.calls=4",
    "load.ramp=20/s",
    "measure.warmup=200ms",
    "measure.lost_after=500ms",
    // The machine's own delay is not the question here.
    "measure.control_streams=0",
];

#[test]
fn a_slower_service_is_called_and_every_run_is_kept() {
    let place = Place::new();
    let mut command = place.ab("smoke", &SHORT);
    command.args([
        "--set-new",
        "service.delay=30ms",
        "--metric",
        "rtt.p50",
        "--pairs",
        "6",
        "--segment",
        "2s",
    ]);
    let output = ends_with(&mut command, 11);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("B is slower than A"), "{said}");
    let path = place.out().join("comparison.json");
    let document: Value = serde_json::from_slice(&fs::read(path).expect("written")).expect("JSON");
    assert_eq!(document["answer"], "regressed");
    let pairs = document["metrics"][0]["pairs"].as_array().expect("pairs");
    assert_eq!(pairs.len(), 6);
    for pair in pairs {
        let slower =
            pair["new"]["ms"].as_f64().expect("a number") - pair["base"]["ms"].as_f64().expect("one");
        assert!(slower > 15.0, "held 30 ms, and {slower} ms slower");
    }
    // The same runs, the same answer.
    let folder = |name: &str| place.out().join(name);
    let mut again = place.program();
    again.arg("compare").args([folder("base"), folder("new")]).args(["--metric", "rtt.p50"]);
    let again = String::from_utf8_lossy(&ends_with(&mut again, 11).stdout).into_owned();
    // But for what the two are called.
    let table = |text: &str| text.split_once("rtt.p50: ").expect("an answer").1.to_string();
    assert!(table(&said).starts_with(table(&again).trim_end()), "{again}\nagainst\n{said}");
    assert!(said.contains("smoke.toml with service.delay=30ms"), "{said}");
    assert!(folder("comparison.md").is_file());
    // A run that serves slower for the service's sake says so: the delay is in its service time.
    let summary = fs::read(folder("new/03/summary.json")).expect("the run's figures");
    let summary: Value = serde_json::from_slice(&summary).expect("JSON");
    let p50 = summary["metrics"]["service_time"]["p50"].as_f64().expect("measured");
    assert!((30.0..60_000.0).contains(&p50), "{p50}");
    assert_eq!(summary["metrics"]["loss"]["count"], 0);
    place.assert_nothing_left();
    ends_with(&mut place.ab("smoke", &SHORT), 2);
}

#[test]
fn an_interrupted_comparison_ends_the_run_under_way_and_keeps_the_others() {
    let place = Place::new();
    let mut command = place.ab("smoke", &SHORT);
    let mut child = start_until(command.args(["--segment", "2s", "--metric", "rtt.p50"]), "pair  1 of 12  A");
    child.signal(Signal::SIGINT);
    assert_eq!(child.wait().expect("waited for").code(), Some(130));
    place.assert_nothing_left();
    assert!(place.out().join("base/01/summary.json").is_file());
    assert!(!place.out().join("comparison.json").exists());
}

#[test]
fn conversations_are_compared_by_their_turns() {
    let place = Place::new();
    let talk =
        ["media.mode=conversation", "turn=[{say='hello'}]", "service.talk.delay=300ms", "load.calls=2"];
    let mut command = place.ab("smoke", &[&SHORT[..], &talk].concat());
    command.args(["--set-new", "service.media=websocket", "--set-new", "service.talk.delay=900ms"]);
    let said = ends_with(command.args(["--pairs", "6", "--segment", "5s"]), 11);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("turn.response.mean: B is slower than A"), "{said}");
    let path = place.out().join("comparison.json");
    let document: Value = serde_json::from_slice(&fs::read(path).expect("written")).expect("JSON");
    for pair in document["metrics"][0]["pairs"].as_array().expect("pairs") {
        let [base, new] = ["base", "new"].map(|side| pair[side]["ms"].as_f64().expect("a number"));
        assert!(base >= 298.0 && new >= 898.0, "{pair}");
    }
    // The same runs, the same metric without a word about it.
    let mut again = place.program();
    again.arg("compare").args(["base", "new"].map(|name| place.out().join(name)));
    let again = String::from_utf8_lossy(&ends_with(&mut again, 11).stdout).into_owned();
    assert!(again.contains("turn.response.mean: B is slower than A"), "{again}");
    place.assert_nothing_left();
}

/// A service that dies in every run of A: its pairs are left out, until too few remain.
#[test]
fn pairs_that_break_are_left_out_until_too_few_remain() {
    let place = Place::new();
    let script =
        format!("(sleep 2; kill $$) & exec {} service --http 127.0.0.1:0", env!("CARGO_BIN_EXE_loadtest"));
    let command = format!("service.command={}", serde_json::json!(["sh", "-c", script]));
    let mut ab = place.ab("smoke", &SHORT);
    ab.args(["--set-base", "service.mode=command", "--set-base", &command, "--metric", "rtt.p50"]);
    let said = stderr(&ends_with(ab.args(["--pairs", "6", "--segment", "2s"]), 1));
    assert!(said.contains("A  left out: it broke") && said.contains("1 of 6 pairs broke"), "{said}");
    place.assert_nothing_left();
    assert!(place.out().join("base/01/environment.json").is_file());
}

#[test]
fn what_cannot_be_compared_is_refused_before_any_run() {
    let place = Place::new();
    let refused = |more: &[&str], word: &str| {
        let said = stderr(&ends_with(place.ab("smoke", &[]).args(more), 2));
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
        assert!(!place.out().exists(), "nothing was made");
    };
    refused(&["--set-new", "load.calls=9"], "[load]");
    refused(&["--set-new", "service.mode=nobody"], "nobody");
    refused(&["--metric", "rtt.p42"], "rtt.p99");
    refused(&["--pairs", "3"], "6");
    refused(&["--pairs", "6", "--metric", "rtt.p50,rtt.p90"], "--pairs");
    refused(&["--segment", "2s"], "--segment 40s");
    refused(&["--metric", "turn.response.mean"], "conversations alone");
    let talk = ["--set", "media.mode=conversation", "--set", "service.talk.delay=700ms"];
    let refused_talk = |more: &[&str], word: &str| refused(&[&talk[..], more].concat(), word);
    refused_talk(&["--metric", "rtt.p99"], "turn.response.mean");
    refused_talk(&["--metric", "turn.response.p95"], "2000 turns");
    refused(&["--set-new", "load.call_duration=3s", "--metric", "rtt.p50"], "[load]");
    refused(&["--set", "media.mode=speech"], "nothing that is compared here");
    refused(&["/nonexistent.toml"], "/nonexistent.toml");
}
