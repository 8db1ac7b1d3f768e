//! The real command line in a folder of its own, on ports of its own.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A place for one run: nothing in it is shared with another test.
pub struct Place {
    dir: TempDir,
    ports: Vec<String>,
}

/// Limits under which a busy test machine is still trusted: these tests are about counts.
const LENIENT: [&str; 4] = [
    "limits.send_lateness_p99=1h",
    "limits.missed_slots=100%",
    "limits.thread_cpu=100%",
    "limits.socket_drops=1000000",
];

impl Place {
    /// The `n`th place; tests that run side by side have different numbers, below 16.
    pub fn new(n: u16) -> Self {
        let range = |base: u16, size: u16| format!("{}-{}", base + n * size, base + n * size + size - 1);
        let ports = vec![
            format!("asterisk.rtp_ports={}", range(10_000, 400)),
            format!("service.ports={}", range(21_000, 200)),
            format!("media.ports={}", range(40_000, 400)),
            "service.http=127.0.0.1:0".into(),
        ];
        Place { dir: tempfile::tempdir().expect("a temporary folder"), ports }
    }

    /// The program with its scratch files, and those of what it starts, in this place.
    pub fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let scratch = self.dir.path().join("tmp");
        fs::create_dir_all(&scratch).expect("a scratch folder");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("TMPDIR", scratch);
        for name in ["PORT_RANGE", "ARI_USER", "ARI_PASS", "SIP_USER", "SIP_PASS"] {
            command.env_remove(name);
        }
        command
    }

    /// This place's ports and lenient limits, for `--set`.
    pub fn settings(&self) -> impl Iterator<Item = &str> {
        self.ports.iter().map(String::as_str).chain(LENIENT)
    }

    /// `loadtest run scenarios/SCENARIO.toml` with this place's ports and lenient limits.
    pub fn run(&self, scenario: &str, set: &[&str]) -> Command {
        let mut command = self.program();
        command.arg("run").arg(format!("scenarios/{scenario}.toml")).arg("--out").arg(self.out());
        for setting in self.settings().chain(set.iter().copied()) {
            command.args(["--set", setting]);
        }
        command
    }

    /// `loadtest ab scenarios/SCENARIO.toml` with this place's ports and lenient limits.
    pub fn ab(&self, scenario: &str, set: &[&str]) -> Command {
        let mut command = self.program();
        command.arg("ab").arg(format!("scenarios/{scenario}.toml")).arg("--out").arg(self.out());
        let ports = self.ports.iter().map(String::as_str);
        for setting in ports.chain(LENIENT).chain(set.iter().copied()) {
            command.args(["--set", setting]);
        }
        command
    }

    /// `loadtest check scenarios/SCENARIO.toml` with this place's ports.
    pub fn check(&self, scenario: &str, set: &[&str]) -> Command {
        let mut command = self.program();
        command.arg("check").arg(format!("scenarios/{scenario}.toml"));
        for setting in self.ports.iter().map(String::as_str).chain(set.iter().copied()) {
            command.args(["--set", setting]);
        }
        command
    }

    /// The run's folder.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// A path in this place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The run's `summary.json`.
    pub fn summary(&self) -> Value {
        let text = fs::read_to_string(self.out().join("summary.json")).expect("summary.json is there");
        serde_json::from_str(&text).expect("summary.json is JSON")
    }

    /// A metric's value in the summary.
    pub fn metric(&self, name: &str) -> Value {
        let (group, key) = name.split_once('.').expect("group.key");
        self.summary()["metrics"][group][key].clone()
    }

    /// A count in the summary.
    pub fn count(&self, name: &str) -> u64 {
        let value = self.metric(name);
        value.as_f64().unwrap_or_else(|| panic!("{name} is {value}")) as u64
    }

    /// Asserts that no process started from this place is left, nor a run folder of Asterisk.
    pub fn assert_nothing_left(&self) {
        let left = self.processes();
        assert!(left.is_empty(), "processes left: {left:?}");
        let scratch: Vec<_> = fs::read_dir(self.dir.path().join("tmp")).expect("scratch").collect();
        assert!(scratch.is_empty(), "left in the scratch folder: {scratch:?}");
    }

    /// Processes whose environment names this place, by their command line.
    pub fn processes(&self) -> Vec<String> {
        let mark = self.dir.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environment).contains(&mark) {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push(String::from_utf8_lossy(&line).replace('\0', " "));
            }
        }
        found
    }
}

/// The child process of the driver whose command line has `word` in it.
pub fn child_of(driver: &Child, word: &str) -> i32 {
    let tasks = fs::read_dir(format!("/proc/{}/task", driver.id())).expect("it runs").flatten();
    let pids = tasks.flat_map(|task| {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        list.split_whitespace().map(str::to_string).collect::<Vec<_>>()
    });
    let is_it = |pid: &String| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(word))
    };
    let found: Vec<_> = pids.filter(is_it).collect();
    found.first().expect("it is a child of the driver").parse().expect("a pid")
}

/// What a program said on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a program said on standard output, without the breaks of its lines: a sentence is in one piece.
pub fn sentences(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs to the end; the exit code must be `code`.
#[track_caller]
pub fn ends_with(command: &mut Command, code: i32) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{said}");
    output
}

/// A child process that does not outlive its test: one that panics kills it on the way out.
pub struct Guarded(Child);

impl Guarded {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        Guarded(command.spawn().unwrap_or_else(|e| panic!("{program} does not start: {e}")))
    }
}

impl Deref for Guarded {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail when it has ended and was waited for, as it should have been.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program and waits until a line on standard error holds `word`; the rest of standard
/// error is read in the background, so that the program never waits for its reader.
pub fn start_until(command: &mut Command, word: &str) -> Guarded {
    let mut child = Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = Vec::new();
    let found = lines.by_ref().map_while(Result::ok).any(|line| {
        said.push(line.clone());
        line.contains(word)
    });
    assert!(found, "the program ended before it said `{word}`:\n{}", said.join("\n"));
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    child
}

/// The rows of a CSV file by column name.
pub fn rows(path: &Path) -> Vec<std::collections::HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).expect("the file is there");
    reader.deserialize().map(|row| row.expect("a row")).collect()
}
