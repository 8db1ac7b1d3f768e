//! Several drivers, one verdict: three processes of this machine against one Asterisk and one service.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use loadtest::record::{Intervals, hlog};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Guarded, Place, UsersAsterisk, comes_to_be, ends_with, rows, start_until, stderr};

const KEY: &str = "a key of this test alone";
const COUNTS: &str = r#"gates.require=["calls.answered == 100%", "calls.dropped_count == 0"]"#;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("it is bound").port()
}

/// A run of several drivers, on one Asterisk that echoes by itself.
struct Drivers {
    place: Place,
    asterisk: UsersAsterisk,
    count: u32,
    port: u16,
    set: Vec<String>,
}

impl Drivers {
    fn new(count: u32, set: &[&str]) -> Drivers {
        let place = Place::new();
        let asterisk = UsersAsterisk::start(&place, &[]);
        let set = set.iter().map(ToString::to_string);
        let set = ["service.mode=none", "sip.to=echo"].map(String::from).into_iter().chain(set).collect();
        Drivers { place, asterisk, count, port: free_port(), set }
    }

    fn out(&self, index: u32) -> PathBuf {
        self.place.path(&format!("shard-{index}"))
    }

    fn common(&self, index: u32) -> Command {
        let mut command = self.place.program();
        command.args(["run", "scenarios/smoke.toml", "--report", "csv,json", "--shard"]);
        command.arg(format!("{index}/{}", self.count)).arg("--out").arg(self.out(index));
        self.with_settings(command)
    }

    fn with_settings(&self, mut command: Command) -> Command {
        let settings = self.place.settings().into_iter().chain(self.asterisk.settings());
        for setting in settings.chain(self.set.iter().cloned()) {
            command.args(["--set", &setting]);
        }
        command.envs(self.asterisk.account()).env("LOADTEST_KEY", KEY).stdin(Stdio::null());
        command
    }

    fn command(&self, index: u32) -> Command {
        let mut command = self.common(index);
        command.args(["--wait", "60s", "--rendezvous", &format!("127.0.0.1:{}", self.port)]);
        command
    }

    /// Starts one, with its output in files.
    fn start(&self, index: u32) -> Guarded {
        self.spawn(index, self.command(index))
    }

    fn spawn(&self, index: u32, mut command: Command) -> Guarded {
        let file =
            |name: &str| fs::File::create(self.place.path(&format!("{name}-{index}"))).expect("a file");
        Guarded::spawn(command.stdout(file("out")).stderr(file("err")))
    }

    fn said(&self, index: u32) -> String {
        let read =
            |name: &str| fs::read_to_string(self.place.path(&format!("{name}-{index}"))).unwrap_or_default();
        read("out") + &read("err")
    }

    /// Runs all to their ends, in the order of their numbers; each must end with `code`.
    #[track_caller]
    fn all_end_with(&self, mut drivers: Vec<Guarded>, code: i32) {
        for (index, driver) in (0..).zip(&mut drivers) {
            let status = driver.wait().expect("it ends");
            assert_eq!(status.code(), Some(code), "shard {index}: {}", self.said(index));
        }
    }

    /// The folder that has the report, for whoever was first coordinates.
    fn coordinator(&self) -> PathBuf {
        let has_shares = |path: &PathBuf| path.join("shards").exists();
        (0..self.count).map(|index| self.out(index)).find(has_shares).expect("one coordinates")
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("it is JSON")
}

fn sum(folders: &[PathBuf], table: &str, column: &str) -> u64 {
    let cell = |row: std::collections::HashMap<String, String>| row[column].parse::<u64>().expect("a number");
    folders.iter().flat_map(|folder| rows(&folder.join(table))).map(cell).sum()
}

/// The intervals of all logs together, histogram by histogram.
fn intervals(folders: &[PathBuf]) -> Intervals {
    let mut all = Intervals::default();
    for folder in folders {
        let log = fs::read(folder.join("rtt.hlog")).expect("a log");
        for (second, series, scope, latencies) in hlog::read(&log).expect("it is whole").iter() {
            all.add(second, series, scope, &latencies);
        }
    }
    all
}

#[test]
fn three_shards_place_what_one_would_and_their_report_is_the_sum_of_their_folders() {
    let drivers = Drivers::new(
        3,
        &["load.calls=7", "load.duration=4s", "load.ramp=10/s", "limits.send_lateness_p99=1h"],
    );
    let processes = (0..3).map(|index| drivers.start(index)).collect::<Vec<_>>();
    let mut codes = Vec::new();
    for (index, mut process) in (0..).zip(processes) {
        codes.push(process.wait().expect("it ends").code().expect("a code"));
        assert!([0, 12].contains(&codes[index as usize]), "shard {index}: {}", drivers.said(index));
    }
    assert!(codes.iter().all(|code| *code == codes[0]), "one verdict for all: {codes:?}");
    let whole = drivers.coordinator();
    let shares: Vec<_> = (0..3).map(|index| whole.join("shards").join(index.to_string())).collect();
    let summary = json(&whole.join("summary.json"));
    let environment = &summary["environment"];
    // Call k is shard k mod 3's, at its own place on the ramp.
    let calls = rows(&whole.join("calls.csv"));
    assert_eq!(calls.len(), 7);
    for (k, call) in calls.iter().enumerate() {
        assert_eq!((call["call"].as_str(), call["line"].as_str()), (&*k.to_string(), &*k.to_string()));
        let intended: f64 = call["intended_s"].parse().expect("a number");
        assert!((intended - k as f64 / 10.0).abs() < 1e-6, "call {k} at {intended}");
    }
    for (index, share) in shares.iter().enumerate() {
        assert!(
            rows(&share.join("calls.csv"))
                .iter()
                .all(|call| call["call"].parse::<usize>().unwrap() % 3 == index)
        );
    }
    for (table, column) in [
        ("calls.csv", "sent"),
        ("calls.csv", "received"),
        ("seconds.csv", "sent"),
        ("seconds.csv", "attempts"),
    ] {
        assert_eq!(
            sum(&shares, table, column),
            sum(std::slice::from_ref(&whole), table, column),
            "{table} {column}"
        );
    }
    let sent = sum(&shares, "calls.csv", "sent");
    assert_eq!(summary["metrics"]["packets"]["sent"].as_u64(), Some(sent));
    assert!(sent > 7 * 50, "{sent} packets");
    assert_eq!(summary["samples"]["rtt"].as_u64(), Some(sum(&shares, "calls.csv", "received")));
    assert!(
        intervals(&shares) == intervals(std::slice::from_ref(&whole)),
        "histograms add up, bucket by bucket"
    );
    // Started together, and counted once.
    let shards = environment["shards"].as_array().expect("a row each");
    let starts: Vec<f64> =
        shards.iter().map(|shard| shard["started_late_ms"].as_f64().expect("a start")).collect();
    assert!(starts.iter().all(|ms| (-50.0..100.0).contains(ms)), "{starts:?}");
    assert!(
        shards.iter().all(|shard| shard["missing"] == "" && shard["clock_error_ms"].as_f64().is_some()),
        "{shards:?}"
    );
    let leaks = |share: &PathBuf| json(&share.join("environment.json"))["leaks"].clone();
    assert_eq!(environment["leaks"]["unknown"], "", "{:?}", shares.iter().map(leaks).collect::<Vec<_>>());
    // Merged again from the folders: the same figures.
    let again = drivers.place.path("again");
    let mut merge = drivers.place.program();
    merge.arg("merge").args(&shares).arg("--out").arg(&again).args(["--report", "csv,json"]);
    ends_with(&mut merge, codes[0]);
    assert_eq!(json(&again.join("summary.json"))["metrics"], summary["metrics"]);
    for file in ["rtt.hlog", "calls.csv", "seconds.csv", "call_seconds.csv"] {
        assert!(fs::read(again.join(file)).unwrap() == fs::read(whole.join(file)).unwrap(), "{file}");
    }
    drivers.asterisk.stop();
}

#[test]
fn one_driver_at_a_rendezvous_has_the_report_of_one_without() {
    let drivers =
        Drivers::new(1, &["load.calls=2", "load.duration=2s", "gates.require=[\"calls.attempts == 2\"]"]);
    drivers.all_end_with(vec![drivers.start(0)], 0);
    let met = drivers.coordinator();
    // By the same records, judged as those of an ordinary run.
    let alone = drivers.place.path("alone");
    fs::rename(met.join("shards").join("0"), &alone).expect("its share");
    fs::remove_dir(met.join("shards")).expect("nothing else is in it");
    let mut report = drivers.place.program();
    ends_with(report.args(["report", "--report", "csv,json"]).arg(&alone), 0);
    let summaries = [&met, &alone].map(|folder| json(&folder.join("summary.json")));
    for part in ["metrics", "samples", "verdict", "scenario"] {
        assert_eq!(summaries[0][part], summaries[1][part], "{part}");
    }
    assert_eq!(summaries[0]["environment"]["shards"], Value::Null, "it is no run of several");
    // In the files of an ordinary run.
    let mut ordinary = drivers.place.program();
    ordinary
        .args(["run", "scenarios/smoke.toml", "--report", "csv,json", "--out"])
        .arg(drivers.place.path("ordinary"));
    let settings = drivers.place.settings().into_iter().chain(drivers.asterisk.settings());
    for setting in settings.chain(drivers.set.iter().cloned()) {
        ordinary.args(["--set", &setting]);
    }
    ends_with(ordinary.envs(drivers.asterisk.account()), 0);
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&met), names(&drivers.place.path("ordinary")));
    drivers.asterisk.stop();
}

#[test]
fn a_killed_shard_ends_the_others_named_and_inconclusive() {
    let drivers = Drivers::new(3, &["load.calls=3", "load.duration=10m", COUNTS]);
    let mut processes: Vec<_> = (0..3).map(|index| drivers.start(index)).collect();
    assert!(comes_to_be(|| (0..3).all(|index| drivers.said(index).contains("hold"))), "{}", drivers.said(0));
    let victim = (0..3).find(|index| {
        !drivers.out(*index).join("shards").exists() && !drivers.said(*index).contains("coordinates")
    });
    let victim = victim.expect("two do not coordinate") as usize;
    processes[victim].kill().expect("it runs");
    for (index, process) in processes.iter_mut().enumerate().filter(|(index, _)| *index != victim) {
        let status = process.wait().expect("it ends");
        assert_eq!(status.code(), Some(12), "shard {index}: {}", drivers.said(index as u32));
        assert!(
            drivers.said(index as u32).contains(&format!("shard {victim}")),
            "{}",
            drivers.said(index as u32)
        );
    }
    let summary = json(&drivers.coordinator().join("summary.json"));
    assert_eq!(summary["verdict"]["outcome"], "inconclusive");
    let reasons = summary["verdict"]["doubt"]["reasons"].to_string();
    assert!(reasons.contains(&format!("shard {victim}")) && reasons.contains("was lost"), "{reasons}");
    drivers.asterisk.stop();
}

#[test]
fn a_gate_that_is_broken_over_all_ends_every_shard_early_and_a_merge_says_the_same() {
    let drivers = Drivers::new(
        2,
        &[
            "load.calls=4",
            "load.duration=10m",
            "impair.out.loss=30%",
            "gates.abort_on_fail=true",
            "gates.abort_after=1s",
            "gates.require=[\"loss.ratio < 5%\"]",
        ],
    );
    let processes = (0..2).map(|index| drivers.start(index)).collect();
    drivers.all_end_with(processes, 10);
    let whole = drivers.coordinator();
    let early = |folder: &Path| json(&folder.join("environment.json"))["ended_early"].clone();
    assert_eq!(early(&whole)["gate"], "loss.ratio < 5%");
    let shares = (0..2).map(|index| whole.join("shards").join(index.to_string()));
    let again = drivers.place.path("again");
    let mut merge = drivers.place.program();
    merge.arg("merge").args(shares).arg("--out").arg(&again).args(["--report", "csv,json"]);
    ends_with(&mut merge, 10);
    assert_eq!(early(&again), early(&whole));
    drivers.asterisk.stop();
}

#[test]
fn an_interrupt_while_one_looks_at_the_target_ends_the_other_at_once() {
    let drivers = Drivers::new(2, &["service.mode=external", "service.ready_within=10m"]);
    let command = |index| {
        let mut command = drivers.common(index);
        command.args(["--wait", "10m", "--rendezvous", &format!("127.0.0.1:{}", drivers.port)]);
        drivers.spawn(index, command)
    };
    let processes: Vec<_> = (0..2).map(command).collect();
    let joined = |index| ["coordinates", "taken in"].iter().any(|word| drivers.said(index).contains(word));
    assert!(comes_to_be(|| (0..2).all(joined)), "{}", drivers.said(1));
    let other = (0..2).find(|index| drivers.said(*index).contains("taken in")).expect("one is");
    processes[other as usize].signal(Signal::SIGINT);
    for (index, mut process) in (0..).zip(processes) {
        let code = if index == other { 130 } else { 12 };
        assert_eq!(process.wait().expect("it ends").code(), Some(code), "{}", drivers.said(index));
        assert!(
            drivers.said(index).contains(&format!("shard {other} was interrupted")),
            "{}",
            drivers.said(index)
        );
        assert!(!drivers.out(index).exists(), "no call was placed");
    }
    drivers.asterisk.stop();
}

#[test]
fn nothing_is_sent_long_before_an_instant_that_all_start_at() {
    let place = Place::new();
    let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    target.set_nonblocking(true).expect("set");
    let sip = format!("asterisk.sip={}", target.local_addr().expect("bound"));
    let set = ["asterisk.mode=external", &sip, "service.mode=none", "sip.register=true", "sip.from=caller"];
    let mut command = place.run("smoke", &set);
    command.args(["--shard", "0/2", "--start-at", "2100-01-01T00:00:00Z"]);
    let mut early = start_until(&mut command, "nothing is sent for");
    early.signal(Signal::SIGINT);
    assert_eq!(early.wait().expect("it ends").code(), Some(130));
    assert!(target.recv_from(&mut [0; 4096]).is_err(), "it has sent something");
    assert!(!place.out().exists());
}

#[test]
fn the_rendezvous_bears_garbage_floods_and_slow_peers_and_lets_no_stranger_in() {
    let drivers =
        Drivers::new(2, &["load.calls=2", "load.duration=2s", "gates.require=[\"calls.attempts > 2\"]"]);
    let first = drivers.start(0);
    let at = (Ipv4Addr::LOCALHOST, drivers.port);
    assert!(comes_to_be(|| TcpStream::connect(at).is_ok()), "{}", drivers.said(0));
    let slow: Vec<_> = (0..100).filter_map(|_| TcpStream::connect(at).ok()).collect();
    for n in 0..50u8 {
        let mut stream = TcpStream::connect(at).expect("it still listens");
        let _ = stream.write_all(&[n; 5000]);
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
    }
    // Who does not know the key is greeted, and then shown the door.
    let mut stranger = drivers.common(1);
    stranger.args(["--wait", "2s", "--rendezvous", &format!("127.0.0.1:{}", drivers.port)]);
    stranger.env("LOADTEST_KEY", "another key of sixteen");
    let refused = ends_with(&mut stranger, 1);
    assert!(stderr(&refused).contains("LOADTEST_KEY"), "{}", stderr(&refused));
    let mut greeting = [0; 48];
    let mut peer = TcpStream::connect(at).expect("it listens");
    peer.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
    peer.read_exact(&mut greeting).expect("a greeting");
    assert_eq!(&greeting[..16], b"loadtest-shards1");
    let second = drivers.start(1);
    drivers.all_end_with(vec![first, second], 10);
    drop(slow);
    drivers.asterisk.stop();
}

#[test]
fn what_cannot_be_dealt_or_has_no_place_is_refused_before_anything() {
    let place = Place::new();
    let run = |arguments: &[&str], set: &[&str], key: Option<&str>, words: &[&str]| {
        let mut command = place.run("smoke", set);
        command.args(arguments).env_remove("LOADTEST_KEY");
        if let Some(key) = key {
            command.env("LOADTEST_KEY", key);
        }
        let output = ends_with(&mut command, 2);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(!place.out().exists(), "{said}");
    };
    let far = ["asterisk.mode=external", "asterisk.sip=127.0.0.1:1", "service.mode=none"];
    let at = ["--rendezvous", "127.0.0.1:1"];
    run(&["--shard", "0/3"], &[], None, &["--rendezvous", "--start-at"]);
    run(&["--shard", "3/3", at[0], at[1]], &[], None, &["0/3"]);
    run(&at, &far, Some(KEY), &["--shard I/N", "LOADTEST_SHARDS"]);
    run(&["--shard", "0/3", at[0], at[1]], &[], Some(KEY), &["3 shards", "loadtest asterisk"]);
    run(&["--shard", "0/3", at[0], at[1]], &far, None, &["LOADTEST_KEY", "openssl rand"]);
    run(&["--shard", "0/3", at[0], at[1]], &far, Some("short"), &["5 characters"]);
    run(&["--shard", "0/1", "--start-at", "2020-01-01T00:00:00Z"], &[], None, &["is over"]);
    let output = place
        .program()
        .args(["run", "x", "--shard", "0/2", "--start-at", "@9", "--rendezvous", "a:1"])
        .output();
    assert_eq!(output.expect("it starts").status.code(), Some(2));
}

/// Trials of a second, of which one decides: what is asked of them needs no percentile.
const SHORT: [&str; 13] = [
    "load.ramp=100/s",
    "measure.warmup=300ms",
    "measure.lost_after=500ms",
    "sip.setup_timeout=3s",
    "search.initial_trial=0s",
    "search.final_trial=1s",
    "search.duration_sum=1s",
    "search.rest=100ms",
    "search.strict=true",
    "search.min=2",
    "search.max=3",
    "search.width=1%",
    COUNTS,
];

/// The service by itself on this Asterisk, with a port for each of so many calls.
fn service(drivers: &Drivers, calls: u16) -> Guarded {
    let first = *drivers.place.lane().service().start();
    let range = format!("{first}-{}", first + calls - 1);
    let mut command = drivers.place.program();
    command.args(["service", "--port-range", &range, "--http", "127.0.0.1:0", "--ari-url"]);
    command.arg(&drivers.asterisk.said["ARI_URL"]).envs(drivers.asterisk.account());
    start_until(&mut command, "ready for calls")
}

#[test]
fn two_drivers_search_together_and_find_what_one_would_with_trials_that_are_the_sums_of_their_shares() {
    let mut drivers = Drivers::new(2, &SHORT);
    drivers.set.extend(["service.mode=external".into(), "sip.to=service".into()]);
    let mut service = service(&drivers, 2);
    let search = |index| {
        let mut command = drivers.place.program();
        command.args(["search", "scenarios/smoke.toml", "--wait", "60s", "--shard", &format!("{index}/2")]);
        command.args(["--rendezvous", &format!("127.0.0.1:{}", drivers.port)]);
        command.arg("--out").arg(drivers.out(index));
        drivers.spawn(index, drivers.with_settings(command))
    };
    let processes = (0..2).map(search).collect();
    drivers.all_end_with(processes, 0);
    let has_answer = |index: &u32| drivers.out(*index).join("capacity.json").exists();
    let whole = drivers.out((0..2).find(has_answer).expect("one coordinates"));
    let goal = &json(&whole.join("capacity.json"))["goals"][0];
    assert_eq!((goal["lower"].as_f64(), goal["upper"].as_f64()), (Some(2.0), Some(3.0)), "{goal}");
    // Every driver says it; only one has a folder.
    assert!((0..2).all(|index| drivers.said(index).contains("2 to 3 calls")), "{}", drivers.said(1));
    assert_eq!((0..2).filter(|index| drivers.out(*index).exists()).count(), 1);
    for name in ["trial-01", "trial-02"] {
        let trial = whole.join(name);
        let shares: Vec<_> = (0..2).map(|index| trial.join("shards").join(index.to_string())).collect();
        for (table, column) in [("calls.csv", "sent"), ("seconds.csv", "attempts")] {
            let of_all = sum(std::slice::from_ref(&trial), table, column);
            assert_eq!(sum(&shares, table, column), of_all, "{name} {table} {column}");
            assert!(of_all > 0, "{name}: {table} {column}");
        }
    }
    service.signal(Signal::SIGTERM);
    service.wait().expect("it ends");
    drivers.asterisk.stop();
}

#[test]
fn two_drivers_compare_pair_by_pair_until_one_of_them_is_interrupted() {
    let drivers = Drivers::new(
        2,
        &["load.calls=4", "load.ramp=20/s", "measure.warmup=200ms", "measure.lost_after=500ms"],
    );
    let ab = |index| {
        let mut command = drivers.place.program();
        command.args(["ab", "scenarios/smoke.toml", "--wait", "60s", "--shard", &format!("{index}/2")]);
        command.args(["--rendezvous", &format!("127.0.0.1:{}", drivers.port), "--metric", "rtt.p50"]);
        command.args(["--segment", "1s", "--set-new", "impair.back.delay=40ms"]);
        command.arg("--out").arg(drivers.out(index));
        drivers.spawn(index, drivers.with_settings(command))
    };
    let processes: Vec<_> = (0..2).map(ab).collect();
    assert!(
        comes_to_be(|| (0..2).any(|index| drivers.said(index).contains("pair  2 of 12  B  rtt"))),
        "{}",
        drivers.said(0)
    );
    let other = (0..2).find(|index| !drivers.said(*index).contains("coordinates")).expect("one does not");
    processes[other as usize].signal(Signal::SIGINT);
    drivers.all_end_with(processes, 130);
    assert!(
        drivers.said(1 - other).contains(&format!("shard {other} was interrupted")),
        "{}",
        drivers.said(1 - other)
    );
    let whole = drivers.out(1 - other);
    assert!(!drivers.out(other).exists(), "its records are with the other");
    let p50 = |folder: &str| json(&whole.join(folder).join("summary.json"))["metrics"]["rtt"]["p50"].as_f64();
    let [a, b] = ["base/01", "new/01"].map(|folder| p50(folder).expect("measured"));
    assert!(b - a > 30.0, "held 40 ms, and {a} and {b} ms");
    for folder in ["base/01", "new/01", "new/02"] {
        let run = whole.join(folder);
        let shares: Vec<_> = (0..2).map(|index| run.join("shards").join(index.to_string())).collect();
        let of_all = sum(std::slice::from_ref(&run), "calls.csv", "sent");
        assert!(of_all > 0 && sum(&shares, "calls.csv", "sent") == of_all, "{folder}: {of_all}");
    }
    drivers.asterisk.stop();
}
