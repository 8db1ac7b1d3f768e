//! `loadtest search` against a real Asterisk: a limit that is known, an end before its time, and going on.

use std::process::Command;

use loadtest::rtp::Codec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{
    Caller, Place, Target, UsersAsterisk, child_of, ends_with, sentences, start_until, stderr,
};

/// Trials of two seconds: what is asked of them needs no percentile.
const SHORT: [&str; 11] = [
    "load.ramp=100/s",
    "measure.warmup=300ms",
    "measure.lost_after=1500ms",
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

/// Holds a document against the published schema.
#[track_caller]
fn assert_valid(document: &Value) {
    let schema = std::fs::read_to_string("docs/capacity.schema.json").expect("the schema");
    let validator = jsonschema::draft202012::new(&schema.parse().expect("JSON")).expect("a schema");
    let errors: Vec<_> =
        validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
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
fn an_error_about_an_option_names_it_as_it_was_written() {
    let place = Place::new();
    let mut command = place.program();
    command.args(["search", "scenarios/smoke.toml", "--initial-trial", "2s", "--out"]).arg(place.out());
    let said = stderr(&ends_with(&mut command, 2));
    assert!(said.contains("--> --initial-trial 2s") && !said.contains("--set search"), "{said}");
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
    let resumed = ends_with(&mut resumed, 0);
    let said = sentences(&resumed);
    assert!(said.contains("5 to 6 calls"), "{said}");
    assert!(!stderr(&resumed).contains("were made with another"), "the same machine, scenario and gates");
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
        ("search.kind=rate", "calls that end"),
        ("search.max=2000", "widen"),
        (r#"search.goals={ a = ["stage.1: loss.ratio < 1%"] }"#, "a trial has no stages"),
        (r#"search.goals={ a = ["fault.count == 1", "up.p50 < 1s", "control.p99 < 1s"] }"#, "control"),
        ("search.time_limit=7s", "no further trial ends within search.time_limit = 7s"),
    ] {
        let told = stderr(&ends_with(&mut search(&place, &[set]), 2));
        assert!(told.contains(said), "{told}");
        assert!(!place.out().exists(), "nothing is left of it");
    }
    let open = ["load.rate=2/s", "load.call_duration=2s", "load.calls=20"];
    let told = stderr(&ends_with(&mut search(&place, &open), 2));
    assert!(told.contains("search with --rate, or leave load.rate out"), "{told}");
    let few = ["load.call_duration=2s", "load.calls=1"];
    let told = stderr(&ends_with(search(&place, &few).arg("--rate"), 2));
    assert!(
        told.contains("the smallest load of the search, 4/s, does not fit: load.calls = 1 carries"),
        "{told}"
    );
    let told = stderr(&ends_with(search(&place, &[]).args(["--require", "capacity.rate >= 3"]), 2));
    assert!(told.contains("capacity.calls >= 150"), "{told}");
    assert!(!place.out().exists(), "nothing is left of it");
}

fn capacity(place: &Place) -> Value {
    let text = std::fs::read_to_string(place.out().join("capacity.json")).expect("its report");
    serde_json::from_str(&text).expect("JSON")
}

fn stored(place: &Place, subcommand: &str) -> Command {
    let mut command = place.program();
    command.arg(subcommand).arg(place.out());
    command
}

#[test]
fn after_a_search_a_soak_and_an_overload_are_made_and_all_of_it_renders_again() {
    let place = Place::new();
    let ports = with_ports(&place, 5);
    let set = ["service.mode=command", &ports, "search.max=6"];
    let wanted = ["--soak", "2s", "--overload", "150%"];
    let said = sentences(&ends_with(search(&place, &set).args(wanted), 0));
    assert!(said.contains("5 to 6 calls") && said.contains("503 Service Unavailable"), "{said}");
    let report = capacity(&place);
    let after = report["after"].as_array().expect("runs after the search");
    for (after, (name, load)) in after.iter().zip([("soak", 5.0), ("overload", 9.0), ("recovery-1", 5.0)]) {
        assert_eq!((&after["folder"], after["load"].as_f64()), (&json!(name), Some(load)), "{after}");
        assert!(place.out().join(name).join("report.html").is_file(), "{name}");
    }
    // A machine that stalls makes one void, and none of them wrong.
    assert!(after[0]["outcome"] != "bad" && after[1]["outcome"] != "good", "{after:?}");
    let lines = |n: usize| after[n]["lines"].as_array().expect("lines").iter().filter_map(Value::as_str);
    assert!(lines(0).any(|line| line == "nothing was left behind"), "{after:?}");
    assert!(lines(1).any(|line| line.starts_with("5 of ") && line.contains("503")), "{after:?}");
    assert!(lines(1).any(|line| line.starts_with("well again within ")), "{after:?}");

    let files = ["capacity.json", "capacity.csv", "report.html", "summary.md"];
    let bytes = || files.map(|name| std::fs::read(place.out().join(name)).expect(name));
    let before = bytes();
    ends_with(&mut stored(&place, "report"), 0);
    assert!(before == bytes(), "a stored search renders as a new one");
    let told = stderr(&ends_with(stored(&place, "report").args(["--set", "limits.thread_cpu=1%"]), 2));
    assert!(told.contains("search anew"), "{told}");
    let both = sentences(&ends_with(stored(&place, "compare").arg(place.out()), 12));
    assert_eq!(both, "5 to 6 calls, 5 to 6 before: no difference is certain");
    let told = stderr(&ends_with(stored(&place, "compare").arg("reports/example"), 2));
    assert!(told.contains("one of the two is the folder of a search"), "{told}");
    std::fs::write(place.out().join("capacity.json"), &before[0][1..]).expect("it is written");
    let told = stderr(&ends_with(&mut stored(&place, "report"), 2));
    assert!(told.contains("capacity.json is damaged"), "{told}");
    place.assert_nothing_left();
}

#[test]
fn an_answer_outlives_an_interrupted_soak() {
    let place = Place::new();
    let mut soaked = search(&place, &["search.max=4"]);
    let mut soaked =
        start_until(soaked.args(["--soak", "10m", "--overload", "150%"]), "soak: 4 calls for 10m");
    soaked.signal(Signal::SIGINT);
    assert_eq!(soaked.wait().expect("it ends").code(), Some(130));
    let report = capacity(&place);
    assert_eq!((&report["goals"][0]["lower"], &report["goals"][0]["ending"]), (&json!(4.0), &json!("floor")));
    let after = report["after"].as_array().expect("runs after the search");
    let lines = after[0]["lines"].to_string();
    assert!(after.len() == 1 && lines.contains("interrupted"), "{after:?}");
    place.assert_nothing_left();
}

#[test]
fn a_machine_that_cannot_drive_the_smallest_load_is_told_before_the_first_trial() {
    let place = Place::new();
    let told = stderr(&ends_with(
        &mut search(&place, &["search.min=1", "search.max=1", "limits.send_lateness_p99=1ns"]),
        1,
    ));
    assert!(told.contains("cannot drive the smallest load of the search, 1 call"), "{told}");
    assert!(!place.out().exists(), "nothing is left of it");
    place.assert_nothing_left();
}

#[tokio::test]
async fn calls_of_others_at_an_asterisk_of_the_users_own_are_told_before_the_first_trial() {
    let place = Place::new();
    let asterisk = UsersAsterisk::start(&place, &[]);
    let [_, _, (_, user), (_, password)] = asterisk.account();
    let target = Target::at(&asterisk.said["SIP"], user, password);
    let other = Caller::call(target, "echo", 1, Codec::Pcmu).await.expect("it is answered");
    let settings = asterisk.settings();
    let set = [&settings.each_ref().map(String::as_str)[..], &["search.max=4"]].concat();
    let told = stderr(&ends_with(search(&place, &set).envs(asterisk.account()), 0));
    assert!(told.contains("warning: Asterisk has 1 channel before the first trial"), "{told}");
    other.hang_up().await;
    asterisk.stop();
}

/// The bounds that a search found.
fn bounds(place: &Place) -> (Option<f64>, Option<f64>) {
    let report = capacity(place);
    let goal = &report["goals"][0];
    (goal["lower"].as_f64(), goal["upper"].as_f64())
}

#[test]
fn a_service_that_is_slower_by_each_call_carries_as_many_as_its_gate_allows() {
    let place = Place::new();
    // Ten calls are held 40 ms; nine leave the machine 4 ms for all else.
    let gates = r#"gates.require=["calls.answered == 100%", "rtt.p50 < 40ms"]"#;
    ends_with(&mut search(&place, &["service.delay_per_call=4ms", gates]), 0);
    let found = bounds(&place);
    // A machine that is slow itself takes one of the calls, and nothing gives one more.
    let is_near = |load: Option<f64>, least| load.is_some_and(|load| (least..=least + 1.0).contains(&load));
    assert!(is_near(found.0, 8.0) && is_near(found.1, 9.0), "{found:?}: {:?}", trials(&place));
    place.assert_nothing_left();
}

#[test]
fn a_bot_that_answers_later_with_each_call_carries_as_many_as_its_gate_allows() {
    let place = Place::new();
    // Of six calls the last is answered after 2,600 ms, of five after 2,200.
    let set = [
        "media.mode=conversation",
        "turn=[{say='hello'}]",
        "service.talk.delay=200ms",
        "service.talk.delay_per_call=400ms",
        "search.final_trial=6s",
        "search.duration_sum=6s",
        r#"gates.require=["calls.answered == 100%", "turn.response.max < 2400ms"]"#,
    ];
    let said = sentences(&ends_with(&mut search(&place, &set), 0));
    let found = bounds(&place);
    // A machine that is slow itself takes one of the calls, and nothing gives one more.
    let is_near = |load: Option<f64>, least| load.is_some_and(|load| (least..=least + 1.0).contains(&load));
    assert!(is_near(found.0, 4.0) && is_near(found.1, 5.0), "{found:?}: {:?}", trials(&place));
    assert!(said.contains("turn.response.max < 2400ms"), "{said}");
    let responses = trials(&place).into_iter().filter_map(|t| t["figures"]["turn_response_mean_ms"].as_f64());
    assert!(responses.clone().count() > 2 && responses.clone().all(|ms| ms > 600.0), "{found:?}");
    assert_valid(&capacity(&place));
    let few = r#"gates.require=["turn.response.p95 < 2s"]"#;
    let other = Place::new();
    let told = stderr(&ends_with(&mut search(&other, &[&set[..], &[few]].concat()), 2));
    assert!(told.contains("needs 2000 samples"), "{told}");
    place.assert_nothing_left();
}

#[test]
fn an_asterisk_that_dies_in_a_trial_ends_the_search_with_what_it_carried_and_is_tried_again() {
    let place = Place::new();
    let set = ["search.max=8", "search.final_trial=5s", "search.duration_sum=5s"];
    let mut begun = start_until(&mut search(&place, &set), "trial 2: 8 calls");
    kill(Pid::from_raw(child_of(&begun, "asterisk.conf")), Signal::SIGKILL).expect("Asterisk runs");
    assert_eq!(begun.wait().expect("it ends").code(), Some(1));
    let report = capacity(&place);
    let goal = &report["goals"][0];
    let said = goal["sentence"].as_str().expect("a sentence");
    assert_eq!((goal["ending"].as_str(), goal["lower"].as_f64()), (Some("broke"), Some(4.0)), "{said}");
    assert!(said.contains("the trial at 8 calls broke: ") && said.contains("Asterisk"), "{said}");
    let said = sentences(&ends_with(place.program().args(["search", "--resume"]).arg(place.out()), 0));
    assert!(said.contains("at least 8 calls: it never failed, and search.max ends"), "{said}");
    place.assert_nothing_left();
}

#[test]
fn a_testbed_that_does_not_start_leaves_what_says_why() {
    let place = Place::new();
    let set = ["service.mode=command", r#"service.command=["false"]"#, "search.max=4"];
    let told = stderr(&ends_with(&mut search(&place, &set), 1));
    assert!(told.contains("Logs of what was started are in"), "{told}");
    assert!(!place.out().join("search.toml").exists(), "it would only look like a search: {told}");
    place.assert_nothing_left();
}

#[test]
fn several_goals_are_answered_from_the_same_trials() {
    let place = Place::new();
    let goals = r#"search.goals={ near = ["rtt.p50 < 24ms"], far = ["rtt.p50 < 40ms"] }"#;
    ends_with(&mut search(&place, &["service.delay_per_call=4ms", goals]), 0);
    let report = capacity(&place);
    for (goal, (name, most)) in
        report["goals"].as_array().expect("goals").iter().zip([("far", 9.0), ("near", 5.0)])
    {
        let bound = |key: &str| goal[key].as_f64().expect(key);
        assert_eq!(goal["goal"], name);
        // A machine that is slow itself takes one of the calls, and nothing gives one more.
        assert!(
            bound("lower") >= most - 1.0 && bound("lower") <= most && bound("upper") <= most + 1.0,
            "{goal}"
        );
    }
    // A trial's own report has the gates of both.
    let summary = std::fs::read_to_string(place.out().join("trial-01/summary.json")).expect("its summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!(summary["verdict"]["gates"].as_array().map(Vec::len), Some(2), "{}", summary["verdict"]);
    place.assert_nothing_left();
}

#[test]
fn attempts_a_second_are_searched_up_to_what_was_named() {
    let place = Place::new();
    let set = ["load.call_duration=1500ms", "load.calls=20", "search.min=1", "search.max=2"];
    let said = sentences(&ends_with(search(&place, &set).arg("--rate"), 0));
    assert!(said.contains("at least 2/s: it never failed, and search.max ends the search there"), "{said}");
    let offered: Vec<_> = trials(&place).iter().map(|trial| trial["load"]["rate"].as_f64()).collect();
    assert!(offered.contains(&Some(1.0)) && offered.contains(&Some(2.0)), "{offered:?}");
    place.assert_nothing_left();
}

#[test]
fn a_search_that_carries_less_than_its_baseline_says_so_and_what_else_has_changed() {
    let place = Place::new();
    let before = Place::new();
    let ports = with_ports(&before, 8);
    ends_with(&mut search(&before, &["service.mode=command", &ports, "search.min=8", "search.max=8"]), 0);
    let ports = with_ports(&place, 5);
    let mut worse = search(&place, &["service.mode=command", &ports, "search.max=8"]);
    let said = sentences(&ends_with(worse.arg("--baseline").arg(before.out()), 11));
    assert!(said.contains("5 to 6 calls, at least 8 before: "), "{said}");
    assert!(said.contains("the two searches differ in the scenario"), "{said}");
    place.assert_nothing_left();
}
