//! The real command line in a folder of its own, on ports of its own.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::signal::{SigHandler, Signal, signal};
use serde_json::Value;
use tempfile::TempDir;

use super::Lane;

/// The program, which hears SIGHUP also where the suite runs under `nohup`, which has it ignored.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let hear = || {
        // SAFETY: the default takes no handler.
        unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }?;
        Ok(())
    };
    // SAFETY: signal(2), which is all that is called between fork and exec, is async-signal-safe.
    unsafe { command.pre_exec(hear) };
    command
}

/// A place for one run: nothing in it is shared with another test.
pub struct Place {
    dir: TempDir,
    /// Claimed when first asked for: many tests need none.
    lane: OnceLock<Lane>,
}

/// Limits under which a busy test machine is still trusted: these tests are about counts.
const LENIENT: [&str; 4] = [
    "limits.send_lateness_p99=1h",
    "limits.missed_slots=100%",
    "limits.thread_cpu=100%",
    "limits.socket_drops=1000000",
];

impl Place {
    /// An empty place.
    pub fn new() -> Self {
        Place { dir: tempfile::tempdir().expect("a temporary folder"), lane: OnceLock::new() }
    }

    /// The ports of this place.
    pub fn lane(&self) -> &Lane {
        self.lane.get_or_init(Lane::claim)
    }

    /// The program with its scratch files, and those of what it starts, in this place.
    pub fn program(&self) -> Command {
        let mut command = program();
        let scratch = self.dir.path().join("tmp");
        fs::create_dir_all(&scratch).expect("a scratch folder");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("TMPDIR", scratch);
        for name in ["PORT_RANGE", "ARI_USER", "ARI_PASS", "SIP_USER", "SIP_PASS"] {
            command.env_remove(name);
        }
        command
    }

    /// This place's ports and lenient limits, for `--set`.
    pub fn settings(&self) -> Vec<String> {
        let lane = self.lane();
        let ranges = [
            ("asterisk.rtp_ports", lane.asterisk()),
            ("service.ports", lane.service()),
            ("media.ports", lane.media()),
        ];
        let ports = ranges.map(|(key, range)| format!("{key}={}-{}", range.start(), range.end()));
        let http = "service.http=127.0.0.1:0".to_string();
        ports.into_iter().chain([http]).chain(LENIENT.map(String::from)).collect()
    }

    /// `loadtest run scenarios/SCENARIO.toml` into the run's folder, with this place's settings and `set`.
    pub fn run(&self, scenario: &str, set: &[&str]) -> Command {
        let mut command = self.on("run", scenario, set);
        command.arg("--out").arg(self.out());
        command
    }

    /// `loadtest run scenarios/SCENARIO.toml` into the run's folder on the ports that a scenario has by default.
    pub fn run_on_default_ports(&self, scenario: &str, set: &[&str]) -> Command {
        let mut command = self.program();
        command.arg("run").arg(format!("scenarios/{scenario}.toml")).arg("--out").arg(self.out());
        for setting in LENIENT.iter().chain(set) {
            command.args(["--set", setting]);
        }
        command
    }

    /// `loadtest ab scenarios/SCENARIO.toml` into the run's folder, with this place's settings and `set`.
    pub fn ab(&self, scenario: &str, set: &[&str]) -> Command {
        let mut command = self.on("ab", scenario, set);
        command.arg("--out").arg(self.out());
        command
    }

    /// `loadtest check scenarios/SCENARIO.toml` with this place's settings and `set`.
    pub fn check(&self, scenario: &str, set: &[&str]) -> Command {
        self.on("check", scenario, set)
    }

    fn on(&self, subcommand: &str, scenario: &str, set: &[&str]) -> Command {
        let mut command = self.program();
        command.arg(subcommand).arg(format!("scenarios/{scenario}.toml"));
        for setting in self.settings().iter().map(String::as_str).chain(set.iter().copied()) {
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

/// The folder into which `tests/install.sh` unpacks packages of npm and PyPI.
pub fn cache() -> PathBuf {
    let from = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    cache.expect("a home").join("loadtest")
}

/// The rows of a CSV file by column name.
pub fn rows(path: &Path) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).expect("the file is there");
    reader.deserialize().map(|row| row.expect("a row")).collect()
}

/// Asserts that every line was used again, and that the calls of each came one after the other.
#[track_caller]
pub fn assert_replaced(calls: &[HashMap<String, String>]) {
    let mut lines: HashMap<&str, Vec<(f64, f64)>> = HashMap::new();
    for call in calls {
        let seconds = |name: &str, unit: f64| call[name].parse::<f64>().expect("a number") / unit;
        let placed = seconds("intended_s", 1.0) + seconds("invite_late_ms", 1e3);
        let over = placed + seconds("answer_delay_ms", 1e3) + seconds("held_ms", 1e3);
        lines.entry(&call["line"]).or_default().push((placed, over));
    }
    for (line, calls) in &mut lines {
        calls.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(calls.len() > 1, "no call of line {line} was replaced");
        // Times are written to the nanosecond; their sums are not.
        let in_order = calls.windows(2).all(|pair| pair[1].0 >= pair[0].1 - 1e-6);
        assert!(in_order, "line {line} has two calls at once: {calls:?}");
    }
}
