//! The real command line against a real Asterisk.

use std::collections::HashMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::harness::{
    PATIENCE, Place, UsersAsterisk, assert_replaced, child_of, comes_to_be, ends_with, rows, sipp,
    start_until, stderr,
};
use loadtest::asterisk::{SearchPlaces, find};
use loadtest::net::http::{HttpClient, HttpLimits};
use loadtest::record::Series;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Gates that do not depend on how fast the machine is.
const COUNTS: &str =
    r#"gates.require=["calls.answered == 100%", "calls.silent_count == 0", "packets.sent > 0"]"#;

fn sum(rows: &[HashMap<String, String>], column: &str) -> u64 {
    rows.iter().map(|r| r[column].parse::<u64>().expect("a count")).sum()
}

#[test]
fn smoke_every_packet_is_accounted_for() {
    let place = Place::new();
    ends_with(&mut place.run("smoke", &["load.duration=3s", COUNTS]), 0);
    assert_eq!(place.count("calls.answered_count"), 5);
    assert_eq!(place.count("packets.sent"), 5 * 3 * 50);
    let (received, lost) = (place.count("packets.received"), place.count("loss.count"));
    assert_eq!(received + lost, 750);

    let calls = rows(&place.out().join("calls.csv"));
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|c| c["ending"] == "completed" && c["status"] == "200"));
    assert_eq!((sum(&calls, "sent"), sum(&calls, "received"), sum(&calls, "lost")), (750, received, lost));
    let seconds = rows(&place.out().join("seconds.csv"));
    assert_eq!(sum(&seconds, "attempts"), 5);
    assert_eq!(sum(&seconds, "answered"), 5);
    assert_eq!(sum(&seconds, "ended"), 5);
    assert_eq!(sum(&seconds, "sent"), sum(&calls, "total_sent"));
    assert_eq!(sum(&seconds, "received"), sum(&calls, "total_received"));

    // The service stamps every packet, so that the parts are known for all that came back.
    let samples = &place.summary()["samples"];
    assert_eq!(samples["service_time"], samples["rtt"], "{samples}");
    // The service's own record is in the report.
    assert_eq!((place.count("ari.calls_count"), place.count("ari.retries_count")), (5, 0));
    let stage = |name: &str| place.metric(name).as_f64().unwrap_or_else(|| panic!("{name}"));
    assert!(stage("ari.answered_p50") <= stage("ari.bridged_max"));
    assert!(stage("ari.event_lag_p50") < stage("ari.first_packet_max"));
    assert_eq!(place.summary()["environment"]["service_record"]["stages"]["bridged"]["count"], 5);
    let remarks = place.summary()["environment"]["remarks"].to_string();
    assert!(!remarks.contains("no call came up"), "{remarks}");
    for file in ["report.html", "environment.json", "scenario.toml", "percentiles.csv", "rtt.hlog"] {
        assert!(place.out().join(file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
    }
    place.assert_nothing_left();
}

#[test]
fn the_interval_log_holds_every_packet() {
    let place = Place::new();
    ends_with(&mut place.run("smoke", &["load.duration=2s", "media.codec=PCMA", COUNTS]), 0);
    let log = fs::read(place.out().join("rtt.hlog")).expect("rtt.hlog is there");
    let intervals = loadtest::record::hlog::read(&log).expect("rtt.hlog is whole");
    assert_eq!(intervals.totals_among(|_| true)[&Series::Rtt].len(), place.count("packets.received"));
    for second in rows(&place.out().join("seconds.csv")) {
        let number = second["second"].parse().expect("a number");
        let received: u64 = second["received"].parse().expect("a number");
        assert_eq!(intervals.second(number, Series::Rtt).map(|(_, n)| n).sum::<u64>(), received, "{number}");
        assert_eq!(second["rtt_p99_ms"].is_empty(), received == 0, "{second:?}");
    }
    assert_eq!(place.count("corrupted.count"), 0, "A-law passes unchanged too");
}

#[test]
fn churn_replaces_every_call_that_ends() {
    let place = Place::new();
    let set = ["load.calls=5", "load.duration=6s", "load.call_duration=2s", COUNTS];
    ends_with(&mut place.run("churn", &set), 0);
    let calls = rows(&place.out().join("calls.csv"));
    assert_replaced(&calls);
    assert_eq!(place.count("calls.answered_count") as usize, calls.len());
    assert!(calls.iter().all(|c| c["ending"] == "completed"));
    place.assert_nothing_left();
}

/// Exponential calls at a rate, in two stages: attempts come whatever became of others, and both stages have figures.
#[test]
fn an_open_load_in_two_stages_places_its_attempts_and_has_figures_of_each() {
    let place = Place::new();
    let set = [
        "load.calls=20",
        "load.call_duration={ exponential = \"2s\" }",
        "load.arrivals=poisson",
        "measure.warmup=1s",
        r#"stage=[{ rate = "2/s", ramp = "1s", hold = "3s" }, { rate = "5/s", ramp = "1s", hold = "6s" }]"#,
        r#"gates.require=["calls.answered == 100%", "leaks == 0", "stage.2: loss.ratio < 100%"]"#,
    ];
    ends_with(&mut place.run("smoke", &set), 0);
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.out().join("summary.json")).unwrap()).unwrap();
    let stages = summary["stages"].as_array().expect("stages");
    assert_eq!(stages.len(), 2);
    // Each window begins three means after its ramp, on a whole second.
    let at = |n: usize, key: &str| stages[n][key].as_f64().unwrap();
    assert_eq!((at(0, "from_s"), at(0, "to_s"), at(1, "begin_s")), (7.0, 10.0, 10.0));
    assert_eq!((at(1, "from_s"), at(1, "to_s")), (17.0, 23.0));
    let metric = |n: usize, of: &str, key: &str| stages[n]["metrics"][of][key].as_f64().unwrap();
    assert_eq!(metric(1, "calls", "offered_erlang"), 10.0);
    assert!(metric(1, "packets", "sent") > metric(0, "packets", "sent"));
    // What is not placed is counted, so that all that the seed wants is there: its draws are the same everywhere.
    let calls = rows(&place.out().join("calls.csv"));
    let suppressed = summary["metrics"]["calls"]["suppressed_count"].as_u64().unwrap();
    let (placed, answered) = (calls.len() as u64, place.count("calls.answered_count"));
    assert!(placed + suppressed > 60, "{placed} and {suppressed}");
    assert_eq!(answered, placed);
    let by_stage: f64 = (0..2).map(|n| metric(n, "calls", "attempts")).sum();
    assert!(by_stage <= placed as f64 && by_stage > 0.9 * placed as f64, "{by_stage} of {placed}");
    let csv = rows(&place.out().join("stages.csv"));
    assert_eq!((csv.len(), csv[1]["rate_per_s"].as_str()), (2, "5"));
    for file in ["report.html", "summary.md"] {
        let text = std::fs::read_to_string(place.out().join(file)).unwrap();
        assert!(text.contains("10.00 erlang") && text.contains("17–23 s"), "{file}");
    }
    place.assert_nothing_left();
}

#[test]
fn a_refused_call_is_a_counted_outcome_and_breaks_its_gate() {
    let place = Place::new();
    let output = ends_with(&mut place.run("smoke", &["sip.to=busy", COUNTS]), 10);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("486"), "{said}");
    let calls = rows(&place.out().join("calls.csv"));
    assert!(calls.len() >= 5 && calls.iter().all(|c| c["ending"] == "rejected" && c["status"] == "486"));
    assert_eq!(place.metric("rtt.p50"), serde_json::Value::Null);
    place.assert_nothing_left();
}

#[test]
fn a_call_that_the_far_end_drops_is_named_and_replaced() {
    let place = Place::new();
    let set = ["sip.to=hangup", "service.mode=none", "load.duration=4s", "load.retry_after=200ms"];
    ends_with(
        &mut place.run("smoke", &[&set[..], &[r#"gates.require=["calls.dropped_count == 0"]"#]].concat()),
        10,
    );
    let calls = rows(&place.out().join("calls.csv"));
    assert!(calls.len() > 5, "dropped calls are replaced");
    assert!(calls.iter().any(|c| c["ending"] == "remote_hangup"));
}

#[test]
fn ctrl_c_hangs_up_writes_the_report_and_leaves_nothing() {
    ends_in_order(&[Signal::SIGINT]);
}

/// Told twice, as by a shell and the kernel.
#[test]
fn a_terminal_that_goes_is_a_ctrl_c() {
    ends_in_order(&[Signal::SIGHUP, Signal::SIGHUP]);
}

fn ends_in_order(signals: &[Signal]) {
    let place = Place::new();
    let mut child = start_until(&mut place.run("smoke", &["load.duration=10m", COUNTS]), "hold");
    signals.iter().for_each(|signal| child.signal(*signal));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let calls = rows(&place.out().join("calls.csv"));
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|c| c["ending"] == "interrupted" && !c["sdd_ms"].is_empty()), "{calls:?}");
    assert_eq!(place.summary()["environment"]["interrupted"], true);
    assert!(place.out().join("report.html").exists());
    place.assert_nothing_left();
}

#[test]
fn a_second_ctrl_c_does_not_wait_and_still_writes_the_report() {
    let place = Place::new();
    // Nobody answers here, so hanging up would take its time.
    let set = ["sip.to=noanswer", "sip.setup_timeout=60s", COUNTS];
    let mut child = start_until(&mut place.run("smoke", &set), "5 placed");
    child.signal(Signal::SIGINT);
    child.signal(Signal::SIGTERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(place.out().join("summary.json").exists());
    place.assert_nothing_left();
}

#[test]
fn a_killed_driver_takes_everything_with_it() {
    let place = Place::new();
    let mut child = start_until(&mut place.run("smoke", &["load.duration=10m"]), "hold");
    assert!(place.processes().len() >= 3, "driver, Asterisk and service: {:?}", place.processes());
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    // The kernel kills the children on its own time.
    let gone = comes_to_be(|| place.processes().is_empty());
    assert!(gone, "left: {:?}", place.processes());
}

#[test]
fn an_asterisk_that_dies_ends_the_run_with_its_name_and_a_report() {
    let place = Place::new();
    let mut command = place.run("smoke", &["load.duration=10m"]);
    let mut child = start_until(&mut command, "hold");
    kill(Pid::from_raw(child_of(&child, "asterisk.conf")), Signal::SIGKILL).expect("Asterisk runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    let summary = place.summary();
    let verdict = &summary["verdict"];
    assert_eq!(verdict["outcome"], "inconclusive", "a run that broke has not passed");
    assert!(verdict["doubt"]["reasons"].to_string().contains("Asterisk ended"), "{verdict}");
    let finding = &summary["findings"][0];
    assert_eq!(finding["name"], "asterisk_died", "{finding}");
    assert!(finding["cause"].as_str().is_some_and(|cause| cause.contains("it was killed")), "{finding}");
    place.assert_nothing_left();
}

#[test]
fn output_that_nobody_reads_does_not_cost_the_run() {
    let place = Place::new();
    let mut command = place.run("smoke", &["load.duration=2s", COUNTS]);
    let full = || fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let status =
        command.stdin(Stdio::null()).stdout(full()).stderr(full()).status().expect("the program starts");
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.count("calls.answered_count"), 5);
}

#[test]
fn a_full_disk_is_an_error_after_the_figures_were_said() {
    let place = Place::new();
    // A folder in the place of one file, once the run has claimed its own, stands for a disk that takes no more.
    let out = place.out();
    let occupied = out.join("report.html").join("occupied");
    let claimed = out.join("scenario.toml");
    let occupier =
        std::thread::spawn(move || comes_to_be(|| claimed.exists()) && fs::create_dir_all(occupied).is_ok());
    let output = ends_with(&mut place.run("smoke", &["load.duration=2s", COUNTS]), 1);
    assert!(occupier.join().expect("it does not panic"), "the folder was put there");
    assert!(String::from_utf8_lossy(&output.stdout).contains("PASS"), "the figures come first");
    assert!(stderr(&output).contains("report.html"), "{}", stderr(&output));
    assert_eq!(place.count("packets.sent"), 500, "the other files are there");
    assert!(out.join("plots/rtt-over-time.png").exists());
}

#[test]
fn a_service_that_dies_ends_the_run_and_the_calls() {
    let place = Place::new();
    let mut child = start_until(&mut place.run("smoke", &["load.duration=10m"]), "hold");
    kill(Pid::from_raw(child_of(&child, "service")), Signal::SIGKILL).expect("the service runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert!(place.summary()["verdict"]["doubt"]["reasons"].to_string().contains("the service ended"));
    assert_eq!(place.summary()["findings"][0]["name"], "service_died");
    let calls = rows(&place.out().join("calls.csv"));
    assert!(calls.iter().all(|c| !c["held_ms"].is_empty()), "every call was hung up: {calls:?}");
    place.assert_nothing_left();
}

#[test]
fn an_extension_that_is_not_there_is_a_finding_that_names_it() {
    let place = Place::new();
    // The managed dialplan takes every word that begins with a letter or a digit; Asterisk passes over dashes.
    let set = ["sip.to=_nobody", "load.calls=2", "load.duration=1s", "load.retry_after=60s", COUNTS];
    ends_with(&mut place.run("smoke", &set), 10);
    let finding = place.summary()["findings"][0].clone();
    assert_eq!(finding["name"], "no_extension", "{finding}");
    assert!(finding["what"].as_str().is_some_and(|what| what.contains("404")), "{finding}");
    assert!(finding["cause"].as_str().is_some_and(|cause| cause.contains("`_nobody`")), "{finding}");
    place.assert_nothing_left();
}

#[test]
fn credentials_are_used_when_asterisk_asks_for_them() {
    let place = Place::new();
    let set = ["sip.from=somebody", "load.calls=2", "load.duration=2s", COUNTS];
    ends_with(place.run("smoke", &set).env("SIP_USER", "secure").env("SIP_PASS", "a-good-one"), 0);
    assert_eq!(place.count("calls.attempts"), 2);
}

#[test]
fn two_runs_at_once_on_default_ports_do_not_meet() {
    let places = [Place::new(), Place::new()];
    let set = ["load.calls=2", "load.duration=2s", COUNTS];
    // The second begins while the first has its calls up, and neither has to wait for the other.
    let mut first = start_until(&mut places[0].run_on_default_ports("smoke", &set), "ramp");
    ends_with(&mut places[1].run_on_default_ports("smoke", &set), 0);
    assert_eq!(first.wait().expect("it ends").code(), Some(0));
    for place in &places {
        assert_eq!((place.count("calls.answered_count"), place.count("packets.sent")), (2, 200));
        assert_eq!((place.count("strangers.count"), place.count("forged.count")), (0, 0));
        place.assert_nothing_left();
    }
}

#[test]
fn an_independent_echo_is_a_target_too() {
    let place = Place::new();
    let (sipp, address) = sipp(&place);
    let target = format!("asterisk.sip={address}");
    let set =
        ["asterisk.mode=external", &target, "service.mode=none", "load.calls=1", "load.duration=2s", COUNTS];
    let ended = place.run("smoke", &set).stdin(Stdio::null()).output().expect("the program starts");
    drop(sipp);
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert_eq!(place.count("packets.sent"), 100);
    assert_eq!(place.metric("service_time.p50"), serde_json::Value::Null, "sipp stamps nothing");
}

#[test]
fn an_asterisk_listens_at_the_address_that_it_is_told_and_at_no_other() {
    let place = Place::new();
    let env = place.path("ari.env");
    let written = env.to_str().expect("text");
    let asterisk = UsersAsterisk::start(&place, &["--listen", "127.0.0.2", "--write-env", written]);
    let (sip, ari) = (&asterisk.said["SIP"], &asterisk.said["ARI_URL"]);
    assert!(sip.starts_with("127.0.0.2:") && ari.starts_with("http://127.0.0.2:"), "{:?}", asterisk.said);
    let port: u16 = ari.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    assert!(
        TcpStream::connect(("127.0.0.2", port)).is_ok() && TcpStream::connect(("127.0.0.1", port)).is_err()
    );
    let text = fs::read_to_string(&env).expect("it is written");
    let account = text.lines().filter_map(|line| line.split_once('='));
    let account: Vec<_> = account.map(|(name, value)| (name, value.trim_matches('\''))).collect();
    let set = ["asterisk.mode=external", "sip.local=127.0.0.3", "load.calls=2", "load.duration=2s", COUNTS];
    ends_with(place.run("smoke", &set).envs(account), 0);
    assert_eq!(place.count("packets.sent"), 200);

    for (address, words) in
        [("0.0.0.0", "--listen 0.0.0.0: name the address"), ("192.0.2.1", "ip -brief address")]
    {
        let output = ends_with(place.program().args(["asterisk", "--listen", address]), 2);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn an_asterisk_of_the_users_own_and_a_wrong_password() {
    let place = Place::new();
    let env = place.path("ari.env");
    let asterisk = UsersAsterisk::start(&place, &["--write-env", env.to_str().expect("text")]);
    let mut told = asterisk.said.clone();
    let written = fs::read_to_string(&env).expect("the file is written before the first word is said");
    let pair =
        |line: &str| line.split_once('=').map(|(k, v)| (k.to_string(), v.trim_matches('\'').to_string()));
    let account: HashMap<_, _> = written.lines().filter_map(pair).collect();
    assert_eq!(account.len(), 6, "{written}");
    for (name, shown) in
        [("SIP_ADDRESS", "SIP"), ("SIP_USER", "SIP_USER"), ("ARI_URL", "ARI_URL"), ("ARI_USER", "ARI_USER")]
    {
        assert_eq!(account[name], told[shown], "{name}");
    }
    // Output ends up in logs, so only the file has the passwords.
    for password in ["ARI_PASS", "SIP_PASS"].map(|name| &account[name]) {
        assert!(password.len() > 20 && told.values().all(|said| !said.contains(password)), "{told:?}");
    }
    told.insert("ARI_PASS".into(), account["ARI_PASS"].clone());
    assert_eq!(fs::metadata(&env).expect("it is there").permissions().mode() & 0o777, 0o640);
    let settings = asterisk.settings();
    let set = [&settings.each_ref().map(String::as_str)[..], &["load.calls=2", "load.duration=2s", COUNTS]]
        .concat();

    let mut wrong = place.run("smoke", &set);
    let output = ends_with(wrong.env("ARI_USER", &told["ARI_USER"]).env("ARI_PASS", "guess"), 2);
    assert!(stderr(&output).contains("refuses user"), "{}", stderr(&output));
    let output = ends_with(&mut place.run("smoke", &set), 2);
    assert!(stderr(&output).contains("ARI_PASS"), "{}", stderr(&output));
    assert!(!place.out().exists(), "a run that never began leaves no folder that looks like one");

    // The file gives everything that a scenario with an external Asterisk needs.
    let bare = ["asterisk.mode=external", "load.calls=2", "load.duration=2s", COUNTS];
    ends_with(place.run("smoke", &bare).envs(&account), 0);
    assert_eq!(place.count("packets.sent"), 200);
    let install = find::find(&SearchPlaces::from_environment(None)).unwrap_or_else(|e| panic!("{e}"));
    let asked = place.summary()["environment"]["asterisk"].clone();
    assert_eq!(asked, format!("{}, external at {}", install.version, told["SIP"]), "it was asked over ARI");
    assert_eq!(channels(&told), "[]", "after a run");

    fs::remove_dir_all(place.out()).expect("the second run's folder");
    let mut long = place.run("smoke", &[&set[..], &["load.duration=10m"]].concat());
    long.envs(&account);
    let mut child = start_until(&mut long, "hold");
    assert_ne!(channels(&told), "[]", "while calls are up");
    child.signal(Signal::SIGINT);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(channels(&told), "[]", "after Ctrl-C");

    fs::remove_dir_all(place.out()).expect("the third run's folder");
    let mut impatient = place.run("smoke", &[&set[..], &["load.duration=10m", "sip.to=echo"]].concat());
    impatient.envs(&account);
    let mut child = start_until(&mut impatient, "hold");
    child.signal(Signal::SIGINT);
    child.signal(Signal::SIGTERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let gone = comes_to_be(|| channels(&told) == "[]");
    assert!(gone, "a BYE went out for every call, although nobody waited for its answer");
    asterisk.stop();
}

#[test]
fn a_test_that_panics_leaves_no_asterisk_behind() {
    let place = Place::new();
    let mut command = place.program();
    command.args(["asterisk", "--sip-port", "0", "--http-port", "0", "--logs"]).arg(place.path("logs"));
    command.env("ARI_PASS", "a password; that no configuration takes");
    let refused = ends_with(&mut command, 1);
    assert!(stderr(&refused).contains("ARI password"), "{}", stderr(&refused));
    let panicked = std::thread::scope(|scope| {
        let test = || {
            let _asterisk = UsersAsterisk::start(&place, &[]);
            assert!(!place.processes().is_empty(), "it is up");
            panic!("as a test does whose assertion fails");
        };
        scope.spawn(test).join()
    });
    let why = panicked.expect_err("it panics");
    assert_eq!(why.downcast_ref(), Some(&"as a test does whose assertion fails"));
    let gone = comes_to_be(|| place.processes().is_empty());
    assert!(gone, "{:?}", place.processes());
}

/// Asterisk's list of channels, as ARI gives it.
fn channels(told: &HashMap<String, String>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let account = Some((told["ARI_USER"].as_str(), told["ARI_PASS"].as_str()));
    let client = HttpClient::new(&told["ARI_URL"], account).expect("an address");
    let limits = HttpLimits { timeout: PATIENCE, body: 1 << 20 };
    let answer =
        runtime.block_on(client.send(hyper::Method::GET, "/ari/channels", limits)).expect("an answer");
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[test]
fn a_taken_port_is_named_before_any_call() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let output = ends_with(&mut place.run("smoke", &[&format!("service.http={address}")]), 1);
    let said = stderr(&output);
    assert!(said.contains(&address.to_string()) && said.contains("--set service.http"), "{said}");
    place.assert_nothing_left();
}
