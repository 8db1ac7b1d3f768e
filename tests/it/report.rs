//! Stored runs: rendered again, judged anew, compared.

use std::fs;
use std::path::Path;

use crate::harness::{Place, ends_with, stderr};
use loadtest::record::manifest::{Manifest, NAME};
use loadtest::record::stored::DATA;
use serde_json::Value;

const COUNTS: &str = r#"gates.require=["calls.answered == 100%", "every call: packets.sent > 0"]"#;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("JSON")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for name in DATA.into_iter().chain([NAME]) {
        // Runs of older versions have not all of them.
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).expect("a file of the run");
        }
    }
}

/// Makes the manifest anew, as somebody would who forges a run.
fn seal(run: &Path) {
    let files: Vec<_> =
        DATA.into_iter().filter_map(|name| Some((name, fs::read(run.join(name)).ok()?))).collect();
    let manifest = Manifest::of(files.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
    fs::write(run.join(NAME), manifest.to_bytes()).expect("written");
}

#[test]
fn a_stored_run_is_rendered_and_judged_again() {
    let place = Place::new();
    ends_with(&mut place.run("smoke", &["load.duration=2s", COUNTS]), 0);
    let (run, again) = (place.out(), place.path("again"));
    let report = |args: &[&str], code| {
        let mut command = place.program();
        command.arg("report").arg(&run).arg("--out").arg(&again).args(args);
        ends_with(&mut command, code)
    };
    report(&[], 0);
    let mut names: Vec<_> =
        fs::read_dir(&again).expect("a folder").flatten().map(|e| e.file_name()).collect();
    names.sort();
    for name in ["report.html", "junit.xml", "summary.md", "metrics.prom", "calls.csv", "plots"] {
        assert!(names.contains(&name.into()), "{name} is not among {names:?}");
    }
    assert_eq!(json(&again.join("summary.json")), json(&run.join("summary.json")));
    for name in ["calls.csv", "seconds.csv", "junit.xml", "summary.md", "metrics.prom", "report.html"] {
        assert_eq!(fs::read(again.join(name)).ok(), fs::read(run.join(name)).ok(), "{name}");
    }
    // Other gates, another verdict, in every file.
    let strict = r#"gates.require=["every call: loss.count == 0", "rtt.p50 > 60s"]"#;
    report(&["--set", strict], 10);
    let gates = json(&again.join("summary.json"))["verdict"]["gates"].clone();
    assert_eq!((&gates[0]["outcome"], &gates[1]["outcome"]), (&"pass".into(), &"fail".into()), "{gates}");
    let actual = gates[1]["actual"].as_str().expect("the actual value").to_string();
    for name in ["junit.xml", "summary.md"] {
        let text = fs::read_to_string(again.join(name)).expect("written");
        assert!(text.contains(&actual), "{actual} is not in {name}:\n{text}");
    }
}

#[test]
fn what_is_no_run_is_refused_by_its_file() {
    let place = Place::new();
    let refused = |folder: &Path, words: &str| {
        let said = stderr(&ends_with(place.program().arg("report").arg(folder), 2));
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    };
    refused(Path::new("/nonexistent"), "/nonexistent");
    refused(Path::new("scenarios"), "environment.json");
    let folder = place.path("damaged");
    copy(Path::new("tests/samples/format1"), &folder);
    fs::write(folder.join("calls.csv"), "call,line\n0,zero\n").expect("written");
    refused(&folder, "calls.csv");
    copy(Path::new("tests/samples/format1"), &folder);
    fs::write(folder.join("environment.json"), r#"{"format": 77}"#).expect("written");
    refused(&folder, "newer loadtest");
}

#[test]
fn a_run_of_an_older_version_stays_readable() {
    let place = Place::new();
    let mut command = place.program();
    command
        .args(["report", "tests/samples/format1", "--report", "json", "--quiet", "--out"])
        .arg(place.path("again"));
    // Its own gates may name nothing that this version has no more.
    ends_with(&mut command, 0);
}

#[test]
fn slower_is_called_slower_and_the_same_is_not() {
    let place = Place::new();
    let set = ["load.duration=2s", "measure.control_streams=0", COUNTS];
    ends_with(&mut place.run("smoke", &set), 0);
    let run = place.out();
    let pairs =
        |name: &str, from: &Path| (0..6).for_each(|n| copy(from, &place.path(name).join(format!("{n}"))));
    pairs("a", &run);
    fs::remove_dir_all(&run).expect("removed");
    ends_with(&mut place.run("smoke", &[&set[..], &["impair.out.delay=20ms"]].concat()), 0);
    pairs("b", &run);
    let compare = |a: &str, b: &str, code| {
        let mut command = place.program();
        command.arg("compare").arg(place.path(a)).arg(place.path(b)).args(["--metric", "rtt.p50"]);
        String::from_utf8_lossy(&ends_with(&mut command, code).stdout).into_owned()
    };
    assert!(compare("a", "a", 0).contains("no difference that counts"));
    assert!(compare("a", "b", 11).contains("B is slower than A"));
    assert!(compare("b", "a", 0).contains("B is faster than A"));
    assert_eq!(compare("a", "b", 11), compare("a", "b", 11), "the same runs, the same verdict");
    fs::remove_dir_all(place.path("b").join("5")).expect("removed");
    ends_with(place.program().arg("compare").arg(place.path("a")).arg(place.path("b")), 2);
}

#[test]
fn a_run_is_held_against_stored_ones_of_its_kind() {
    let place = Place::new();
    // The same run, as it is and with the latencies of a slower one, under the same fingerprint.
    let set = ["load.duration=2s", "measure.control_streams=0", "gates.require=[\"rtt.p50 < 9s\"]"];
    ends_with(&mut place.run("smoke", &set), 0);
    let usual = place.path("usual");
    copy(&place.out(), &usual.join("1"));
    fs::remove_dir_all(place.out()).expect("removed");
    ends_with(&mut place.run("smoke", &[&set[..], &["impair.out.delay=20ms"]].concat()), 0);
    let slower = place.path("slower");
    copy(&place.out(), &slower);
    let word = |folder: &Path| {
        let environment = fs::read_to_string(folder.join("environment.json")).expect("there");
        serde_json::from_str::<serde_json::Value>(&environment).expect("JSON")["scenario_hash"].clone()
    };
    let environment = fs::read_to_string(slower.join("environment.json")).expect("there");
    let (theirs, ours) = (word(&slower), word(&usual.join("1")));
    let report = |run: &Path, code| {
        let mut command = place.program();
        command.arg("report").arg(run).args(["--report", "junit,json", "--baseline"]).arg(&usual);
        String::from_utf8_lossy(&ends_with(&mut command, code).stdout).into_owned()
    };
    // Another scenario, so nothing can be said.
    assert!(report(&slower, 12).contains("another scenario"));
    let alike = environment.replace(theirs.as_str().expect("text"), ours.as_str().expect("text"));
    fs::write(slower.join("environment.json"), alike).expect("written");
    seal(&slower);
    let said = report(&slower, 11);
    assert!(said.contains("REGRESSED") && said.contains("against the baseline"), "{said}");
    assert!(fs::read_to_string(slower.join("junit.xml")).expect("written").contains("baseline of 1 run"));
    let mut faster = place.program();
    faster.arg("report").arg(usual.join("1")).args(["--report", "json", "--baseline"]).arg(&slower);
    let said = String::from_utf8_lossy(&ends_with(&mut faster, 0).stdout).into_owned();
    assert!(said.contains("PASS"), "{said}");
    // A broken gate outranks it.
    let mut strict = place.program();
    strict.arg("report").arg(&slower).args(["--set", "gates.require=[\"rtt.p50 > 60s\"]", "--baseline"]);
    ends_with(strict.arg(&usual), 10);
    // Nor is a run held against itself, or one of another scenario begun.
    let mut itself = place.program();
    itself.arg("report").arg(&slower).arg("--baseline").arg(&slower).arg("--quiet");
    ends_with(&mut itself, 12);
    let mut other = place.program();
    other
        .args(["run", "scenarios/churn.toml", "--out"])
        .arg(place.path("run-2"))
        .arg("--baseline")
        .arg(&usual);
    assert!(stderr(&ends_with(&mut other, 2)).contains("another scenario"));
    // A baseline that is not there is noticed before the run, not after it.
    let gone = place.path("run-2");
    let mut command = place.program();
    command.args(["run", "scenarios/smoke.toml", "--baseline", "/nonexistent", "--out"]).arg(&gone);
    assert!(stderr(&ends_with(&mut command, 2)).contains("/nonexistent"));
    assert!(!gone.exists());
}
