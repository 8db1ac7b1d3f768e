//! Several drivers, one verdict: three processes of this machine against one Asterisk and one service.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Guarded, Place, UsersAsterisk, comes_to_be, ends_with, rows, stderr};

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

/// Counts of all intervals of the log, by second and tag: the encoded histograms add up if these do.
fn lines(folder: &Path) -> usize {
    fs::read_to_string(folder.join("rtt.hlog"))
        .expect("a log")
        .lines()
        .filter(|line| line.starts_with("Tag="))
        .count()
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
    let parts: Vec<_> = shares.iter().map(|share| lines(share)).collect();
    assert!(
        lines(&whole) >= *parts.iter().max().expect("three") && lines(&whole) <= parts.iter().sum(),
        "{parts:?}"
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
fn a_gate_that_is_broken_over_all_fails_in_every_shard() {
    let drivers =
        Drivers::new(2, &["load.calls=4", "load.duration=2s", "gates.require=[\"calls.attempts > 4\"]"]);
    let processes = (0..2).map(|index| drivers.start(index)).collect();
    drivers.all_end_with(processes, 10);
    drivers.asterisk.stop();
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
    let mut stranger = drivers.command(1);
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
