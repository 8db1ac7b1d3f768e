//! `loadtest search` against a real Asterisk: a limit that is known, an end before its time, and going on.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Place, ends_with, sentences, start_until, stderr};

/// Trials of two seconds: what is asked of them needs no percentile.
const SHORT: [&str; 11] = [
    "load.ramp=100/s",
    "measure.warmup=300ms",
    "measure.lost_after=500ms",
    "sip.setup_timeout=3s",
    "search.initial_trial=0s",
    "search.final_trial=2s",
    "search.duration_sum=4s",
    "search.rest=500ms",
    "search.min=4",
    "search.max=16",
    r#"gates.require=["calls.answered == 100%", "calls.dropped_count == 0"]"#,
];

/// A service that carries so many calls and no more: it has a port for each.
fn with_ports(place: &Place, calls: u16) -> String {
    let first = *place.lane().service().start();
    let range = format!("{first}-{}", first + calls - 1);
    let command =
        json!([env!("CARGO_BIN_EXE_loadtest"), "service", "--port-range", range, "--http", "127.0.0.1:0"]);
    format!("service.command={command}")
}

fn search(place: &Place, set: &[&str]) -> Command {
    let mut command = place.program();
    command.args(["search", "scenarios/smoke.toml", "--out"]).arg(place.out());
    let settings = place.settings();
    let set = settings.iter().map(String::as_str).chain(SHORT).chain(set.iter().copied());
    set.for_each(|set| {
        command.args(["--set", set]);
    });
    command
}

fn trials(place: &Place) -> Vec<Value> {
    let text = std::fs::read_to_string(place.out().join("trials.jsonl")).expect("the trials");
    text.lines().map(|line| serde_json::from_str(line).expect("a trial")).collect()
}

#[test]
fn a_service_with_so_many_ports_carries_exactly_so_many_calls() {
    let place = Place::new();
    let ports = with_ports(&place, 7);
    let conditions = ["--require", "capacity.calls >= 7", "--require", "capacity.calls < 8"];
    let found = ends_with(search(&place, &["service.mode=command", &ports]).args(conditions), 0);
    let said = sentences(&found);
    assert!(said.contains("7 to 8 calls: at 8 `calls.answered == 100%` broke first"), "{said}");
    let trials = trials(&place);
    assert!(trials.len() >= 4, "{trials:?}");
    for trial in &trials {
        let calls = trial["load"]["calls"].as_u64().expect("calls");
        let outcome = &trial["outcomes"]["gates"]["outcome"];
        // A machine that stalls makes a trial void, and none of them wrong.
        assert!(outcome == "void" || outcome == if calls <= 7 { "good" } else { "bad" }, "{trial}");
        let folder = place.out().join(trial["folder"].as_str().expect("its folder"));
        assert!(folder.join("report.html").is_file() && folder.join("calls.csv").is_file(), "{folder:?}");
    }
    place.assert_nothing_left();
}

#[test]
fn a_search_that_is_interrupted_goes_on_from_what_it_knows() {
    let place = Place::new();
    let ports = with_ports(&place, 5);
    let mut begun = search(&place, &["service.mode=command", &ports]);
    let mut begun = start_until(&mut begun, "trial 2:");
    begun.signal(Signal::SIGINT);
    assert_eq!(begun.wait().expect("it ends").code(), Some(130));
    let before = trials(&place);
    assert!(!before.is_empty() && before[0]["load"]["calls"] == 4, "{before:?}");
    let mut resumed = place.program();
    resumed.args(["search", "--resume"]).arg(place.out());
    let said = sentences(&ends_with(&mut resumed, 0));
    assert!(said.contains("5 to 6 calls"), "{said}");
    let after = trials(&place);
    assert_eq!(after[..before.len()], before[..], "what was known stays");
    assert!(after.iter().filter(|trial| trial["load"]["calls"] == 4).count() <= 3, "{after:?}");
    place.assert_nothing_left();
}

#[test]
fn what_cannot_be_searched_is_told_before_the_first_trial() {
    let place = Place::new();
    for (set, said) in [
        ("search.max=3", "raise search.max, or lower search.min"),
        ("gates.require=[]", "no gates"),
        ("search.max=2000", "widen"),
    ] {
        let told = stderr(&ends_with(&mut search(&place, &[set]), 2));
        assert!(told.contains(said), "{told}");
        assert!(!place.out().exists(), "nothing is left of it");
    }
    let told = stderr(&ends_with(search(&place, &[]).args(["--require", "capacity.rate >= 3"]), 2));
    assert!(told.contains("capacity.calls >= 150"), "{told}");
    assert!(!place.out().exists(), "nothing is left of it");
}
