//! Faults on purpose, recovery from them, and what calls leave behind: the real command line against a
//! real Asterisk.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use crate::harness::{
    PATIENCE, Place, assert_replaced, child_of, ends_with, rows, sentences, sipp, start_until, stderr,
};
use hyper::Method;
use loadtest::net::http::{HttpClient, HttpLimits};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use resvg::tiny_skia::Pixmap;
use serde_json::Value;

const GATES: &str = r#"gates.require=["calls.silent_count == 0", "leaks == 0", "packets.sent > 0"]"#;

fn fault(at: &str, target: &str, action: &str, lasts: &str) -> String {
    format!(r#"fault=[{{at="{at}", target="{target}", action="{action}", for="{lasts}"}}]"#)
}

fn endings(place: &Place) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for call in rows(&place.out().join("calls.csv")) {
        *counts.entry(call["ending"].clone()).or_default() += 1;
    }
    counts
}

/// The figures of the only fault; times in the order in which they must come.
fn only_fault(place: &Place) -> (Value, Vec<f64>) {
    let faults = place.summary()["faults"].as_array().expect("a list").clone();
    let [fault] = &faults[..] else { panic!("one fault: {faults:?}") };
    let times = ["heard_s", "restored_s"].map(|key| fault[key].as_f64().unwrap_or_else(|| panic!("{fault}")));
    (fault.clone(), times.into())
}

#[test]
fn an_asterisk_that_is_killed_by_plan_comes_back_and_serves_again() {
    let place = Place::new();
    let plan = fault("2s", "asterisk", "kill", "500ms");
    let set = ["load.duration=12s", "load.dead_after=2s", "load.retry_after=500ms", &plan, GATES];
    let output = ends_with(&mut place.run("smoke", &set), 0);

    let (fault, times) = only_fault(&place);
    assert!(fault["down_s"].as_f64() >= fault["done_s"].as_f64());
    assert!(fault["outage_s"].as_f64().expect("it is back") <= times[0], "nobody is heard before: {fault}");
    assert!(times.is_sorted(), "{fault}");
    assert_eq!((&fault["calls_before"], &fault["calls_lost"]), (&5.into(), &5.into()));
    assert!(fault["packets_lost"].as_u64() > Some(0));
    assert_eq!(place.count("fault.count"), 1);
    assert_eq!(place.count("calls.media_lost_count"), 5);

    let endings = endings(&place);
    assert_eq!((endings["media_lost"], endings["completed"]), (5, 5), "{endings:?}");
    let said = sentences(&output);
    assert!(
        said.contains("Asterisk killed") && said.contains("s into the hold") && said.contains("5 of 5 calls"),
        "{said}"
    );
    let page = fs::read_to_string(place.out().join("report.html")).expect("report.html is there");
    // The sentence, and words in the charts over time (four, and the set-up's where attempts are spread over
    // the run), each in its two shapes.
    assert!(page.matches("Asterisk killed").count() >= 9, "{}", page.matches("Asterisk killed").count());
    assert!(page.contains("data:image/png;base64,") && page.contains("id=\"rtt-by-call\""));

    // Each call spoke to nobody for a second and longer: no median in the table, and in the heat map a cell,
    // in more pixels than its legend and the marks of the fault take.
    let done = fault["done_s"].as_f64().expect("it was done");
    let heard = rows(&place.out().join("call_seconds.csv"));
    let into_the_void = ((done + 0.5).ceil() as u32).to_string();
    assert!(
        !heard.iter().any(|r| r["second"] == into_the_void && r["call"].parse::<u32>().is_ok_and(|c| c < 5))
    );
    let picture = fs::read(place.out().join("plots/rtt-by-call.png")).expect("the heat map");
    let pixels = Pixmap::decode_png(&picture).expect("a PNG");
    let silent =
        pixels.pixels().iter().filter(|p| (p.red(), p.green(), p.blue()) == (0xd5, 0x5e, 0x00)).count();
    assert!(silent > 15_000, "{silent} pixels say that nothing came back");
    place.assert_nothing_left();
}

#[test]
fn a_service_that_is_restarted_by_plan_hangs_up_and_serves_again() {
    let place = Place::new();
    let plan = fault("2s", "service", "restart", "500ms");
    let set = ["load.duration=25s", "load.retry_after=500ms", &plan, GATES];
    ends_with(&mut place.run("smoke", &set), 0);
    let (fault, times) = only_fault(&place);
    assert_eq!(fault["calls_lost"], 5, "{fault}");
    assert!(times.is_sorted(), "{fault}");
    let endings = endings(&place);
    assert_eq!((endings["remote_hangup"], endings["completed"]), (5, 5), "{endings:?}");
    // The log of the second goes on after that of the first.
    let log = fs::read_to_string(place.out().join("logs/service.log")).expect("the service's log");
    assert_eq!(log.matches("ready for calls").count(), 2, "{log}");
    // Both are watched: the second under a process id of its own.
    let seconds = rows(&place.out().join("seconds.csv"));
    let back = fault["fault"]["back_s"].as_f64().or(fault["back_s"].as_f64()).expect("it came back");
    let after = |s: &&HashMap<String, String>| s["second"].parse::<f64>().expect("a number") > back;
    let watched = seconds.iter().filter(after).any(|s| !s["cpu_service"].is_empty());
    assert!(watched, "the new service is watched too: {fault}");
    assert_eq!(place.metric("ari.calls_count"), Value::Null, "the second knows nothing of the first");
    place.assert_nothing_left();
}

/// Asterisk lists an application that has gone as long as its channels are there.
#[test]
fn a_service_that_does_not_come_back_is_named() {
    let place = Place::new();
    let (program, mark) = (env!("CARGO_BIN_EXE_loadtest"), place.path("started-before"));
    let (mark, http) = (mark.display(), "127.0.0.1:0");
    let script =
        format!("[ -e {mark} ] && exec sleep 1000; touch {mark}; exec {program} service --http {http}");
    let command = format!("service.command=[\"sh\", \"-c\", \"{script}\"]");
    let plan = fault("1s", "service", "kill", "100ms");
    let set = ["service.mode=command", &command, "service.ready_within=3s", "load.duration=8s", &plan, GATES];
    let output = ends_with(&mut place.run("smoke", &set), 1);
    let said = stderr(&output);
    assert!(said.contains("did not come back after the planned fault"), "{said}");
    place.assert_nothing_left();
}

#[test]
fn a_service_that_hangs_for_a_moment_loses_no_call() {
    let place = Place::new();
    let plan = fault("2s", "service", "stop", "1s");
    ends_with(&mut place.run("smoke", &["load.duration=6s", &plan, GATES]), 0);
    let (fault, times) = only_fault(&place);
    assert_eq!((&fault["calls_lost"], &fault["was_tried"]), (&0.into(), &false.into()), "{fault}");
    assert!(times[0] > 0.0 && times.is_sorted(), "{fault}");
    assert_eq!(place.metric("fault.answered_max"), Value::Null, "nobody called, so nobody was answered");
    let silences = rows(&place.out().join("silences.csv"));
    let calls: Vec<_> = silences.iter().map(|s| s["call"].as_str()).collect();
    assert_eq!(calls, ["0", "1", "2", "3", "4"], "each call was silent once");
    assert_eq!(endings(&place)["completed"], 5);
    assert!(place.count("late.count") + place.count("loss.count") > 0, "what came meanwhile came late");
    place.assert_nothing_left();
}

#[test]
fn callers_who_wait_are_taken_up_by_a_service_that_comes_back() {
    let place = Place::new();
    let plan = fault("1s", "service", "kill", "100ms");
    let set = ["load.calls=2", "load.duration=6s", "load.dead_after=0s", &plan, GATES];
    ends_with(&mut place.run("smoke", &set), 0);
    assert_eq!(rows(&place.out().join("calls.csv")).len(), 2, "nobody gave up");
    assert_eq!(place.count("fault.calls_lost"), 0);
    assert!(place.metric("fault.heard_max").is_number(), "the service found them and echoed again");
    assert!(place.count("loss.count") > 0, "what was said meanwhile is lost");
}

#[test]
fn an_asterisk_that_dies_after_its_planned_return_still_breaks_the_run() {
    let place = Place::new();
    let plan = fault("500ms", "asterisk", "restart", "100ms");
    let mut child = start_until(&mut place.run("smoke", &["load.duration=10m", &plan]), "Asterisk is back");
    kill(Pid::from_raw(child_of(&child, "asterisk.conf")), Signal::SIGKILL).expect("Asterisk runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    let summary = place.summary();
    assert!(
        summary["verdict"]["doubt"]["reasons"].to_string().contains("Asterisk ended"),
        "{}",
        summary["verdict"]
    );
    assert_eq!(place.metric("leaks.total"), Value::Null, "nobody is there to be asked");
    place.assert_nothing_left();
}

#[test]
fn the_other_process_may_not_die_during_a_fault() {
    let place = Place::new();
    let plan = fault("500ms", "service", "stop", "3s");
    let mut child = start_until(&mut place.run("smoke", &["load.duration=10m", &plan]), "fault: stop");
    kill(Pid::from_raw(child_of(&child, "asterisk.conf")), Signal::SIGKILL).expect("Asterisk runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert!(place.summary()["verdict"]["doubt"]["reasons"].to_string().contains("Asterisk ended"));
    place.assert_nothing_left();
}

#[test]
fn ctrl_c_ends_a_run_whose_service_is_held_still() {
    let place = Place::new();
    let plan = fault("500ms", "service", "stop", "5m");
    let mut child = start_until(&mut place.run("smoke", &["load.duration=10m", &plan]), "fault: stop");
    child.signal(Signal::SIGINT);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(place.summary()["faults"][0]["back_s"], Value::Null);
    place.assert_nothing_left();
}

#[test]
fn both_sides_hang_up_and_nothing_is_left() {
    let place = Place::new();
    let set = ["load.duration=24s", "gates.require=[\"leaks == 0\", \"calls.scr == 100%\"]"];
    ends_with(&mut place.run("churn-both", &set), 0);
    let calls = rows(&place.out().join("calls.csv"));
    assert!(calls.iter().all(|c| c["ending"] == "completed"));
    assert_replaced(&calls);
    // A call that was sent a BYE sends none.
    let by_far_end = calls.iter().filter(|c| c["sdd_ms"].is_empty()).count();
    let shares = (by_far_end * 3, (calls.len() - by_far_end) * 3);
    assert!(shares.0 > calls.len() && shares.1 > calls.len(), "{by_far_end} of {}", calls.len());
    let parts = place.summary()["environment"]["leaks"]["parts"].as_array().expect("a list").len();
    assert_eq!(parts, 7, "everything was counted");
    for kind in ["total", "channels", "bridges", "ports", "descriptors", "threads"] {
        assert_eq!(place.count(&format!("leaks.{kind}")), 0, "{kind}");
    }
    place.assert_nothing_left();
}

#[test]
fn the_far_end_alone_hangs_up() {
    let place = Place::new();
    let set = ["load.hangup=callee", "load.calls=4", "load.duration=6s", GATES];
    ends_with(&mut place.run("churn-both", &set), 0);
    let calls = rows(&place.out().join("calls.csv"));
    let sent_bye = calls.iter().filter(|c| !c["sdd_ms"].is_empty()).count();
    assert!(calls.len() >= 4 + sent_bye && calls.iter().all(|c| c["ending"] == "completed"));
    // Those that were up when the run ended; a call may be answered while it does.
    assert!(sent_bye <= 8, "{sent_bye} of {} hung up by the driver", calls.len());
}

#[test]
fn what_is_left_on_purpose_is_found_and_named() {
    let place = Place::new();
    let mut command = place.run("smoke", &["load.duration=4s", r#"gates.require=["leaks == 0"]"#]);
    let mut child = start_until(&mut command, "hold");
    let ari = ari_of(&place);
    post(&ari, "/ari/bridges?type=mixing&bridgeId=forgotten-bridge");
    // A Local channel has two ends, and nobody answers this one.
    let ends = "channelId=forgotten-channel&otherChannelId=forgotten-end&timeout=600";
    let endpoint = "endpoint=Local/noanswer@loadtest&extension=echo&context=loadtest";
    post(&ari, &format!("/ari/channels?{endpoint}&{ends}"));
    assert_eq!(child.wait().expect("it ends").code(), Some(10), "the gate is broken");
    assert_eq!((place.count("leaks.bridges"), place.count("leaks.channels")), (1, 2));
    assert!(place.count("leaks.total") >= 3);
    let page = fs::read_to_string(place.out().join("report.html")).expect("report.html is there");
    assert!(page.contains("forgotten-bridge") && page.contains("forgotten-channel"));
    place.assert_nothing_left();
}

/// The run's own ARI, as its private Asterisk is configured.
fn ari_of(place: &Place) -> HttpClient {
    let run_dir = fs::read_dir(place.path("tmp")).expect("scratch").flatten().next().expect("a run folder");
    let read = |name: &str| fs::read_to_string(run_dir.path().join("etc").join(name)).expect("a file");
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_else(|| panic!("{key} in {text}"));
        line.split_once('=').expect("a value").1.trim().to_string()
    };
    let (port, password) = (value(&read("http.conf"), "bindport"), value(&read("ari.conf"), "password ="));
    HttpClient::new(&format!("http://127.0.0.1:{port}"), Some(("loadtest", &password))).expect("an address")
}

fn post(ari: &HttpClient, path: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limits = HttpLimits { timeout: PATIENCE, body: 1 << 20 };
    let answer = runtime.block_on(ari.send(Method::POST, path, limits)).expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
}

#[test]
fn where_nobody_can_be_asked_no_leak_is_not_known() {
    let place = Place::new();
    let (sipp, address) = sipp(&place);
    let target = format!("asterisk.sip={address}");
    let set = ["asterisk.mode=external", &target, "service.mode=none", "load.calls=1", "load.duration=2s"];
    let mut command = place.run("smoke", &[&set[..], &[GATES]].concat());
    let ended = command.stdin(Stdio::null()).output().expect("the program starts");
    drop(sipp);
    assert_eq!(ended.status.code(), Some(12), "{}", stderr(&ended));
    assert_eq!(place.metric("leaks.total"), Value::Null);
}

#[test]
fn a_fault_that_cannot_be_carried_out_is_refused_before_any_call() {
    let place = Place::new();
    let path: PathBuf = place.path("bad.toml");
    let text =
        "[load]\nduration = \"10s\"\n\n[[fault]]\nat = \"9500ms\"\ntarget = \"service\"\naction = \"kill\"\n";
    fs::write(&path, text).expect("a scenario");
    let mut command = place.program();
    let output = ends_with(command.arg("run").arg(&path).arg("--out").arg(place.out()), 2);
    let said = stderr(&output);
    assert!(said.contains("bad.toml:5") && said.contains("hold phase, which lasts 10s"), "{said}");
    assert!(said.contains("help"), "{said}");
    assert!(!place.out().exists());
}
