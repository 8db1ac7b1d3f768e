//! Drivers that a real Slurm starts, on three nodes with addresses of their own: `tests/slurm/cluster`. As root alone, for it
//! makes network namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use crate::harness::{Place, UsersAsterisk, comes_to_be, rows};

const CLUSTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slurm/cluster");

struct Cluster {
    folder: PathBuf,
}

impl Cluster {
    /// One of three nodes. None for users who may not make namespaces.
    fn up(place: &Place) -> Option<Cluster> {
        let may = |command: &mut Command| command.status().is_ok_and(|status| status.success());
        if !geteuid().is_root() || !may(Command::new("unshare").args(["--net", "--uts", "--mount", "true"])) {
            return None;
        }
        let cluster = Cluster { folder: place.path("slurm") };
        let up = cluster.verb("up").arg("3").output().expect("it starts");
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        Some(cluster)
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = Command::new(CLUSTER);
        command.arg(verb).arg(&self.folder).stdin(Stdio::null());
        command
    }

    /// The command as on that host.
    fn on(&self, host: &str, command: &Command) -> Command {
        let mut on = self.verb("on");
        on.arg(host).arg(command.get_program()).args(command.get_args());
        on.current_dir(command.get_current_dir().expect("the project's"));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on.env(name, value),
                None => on.env_remove(name),
            };
        }
        on
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.verb("down").status();
    }
}

/// What `sbatch` hands in: the example's job, for the Asterisk on the controller's host.
fn job(place: &Place, asterisk: &UsersAsterisk, set: &[&str], log: &Path) -> Command {
    let program = place.program();
    let mut job = Command::new("sbatch");
    job.current_dir(program.get_current_dir().expect("the project's"))
        .args(["--parsable", "--output"])
        .arg(log)
        .arg("examples/distributed/slurm.sbatch")
        .env("LOADTEST", program.get_program())
        .env("LOADTEST_KEY", "a key of this test alone")
        .env("LOADTEST_OUT", place.path("out"))
        .env("SCENARIO", "examples/distributed/load.toml")
        .envs(asterisk.account());
    let settings = asterisk.settings().into_iter().chain(
        ["service.mode=none", "sip.to=echo", "limits.send_lateness_p99=1h", "gates.require=[]"]
            .map(String::from),
    );
    for setting in settings.chain(set.iter().map(ToString::to_string)) {
        job.args(["--set", &setting]);
    }
    job
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or_default()
}

/// A job under way, whose log is a file.
struct Jobs<'a> {
    place: &'a Place,
    cluster: &'a Cluster,
    asterisk: &'a UsersAsterisk,
}

impl Jobs<'_> {
    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.place.path(name)).unwrap_or_default()
    }

    /// The folder of the first host's driver, which coordinates.
    fn coordinator(&self) -> PathBuf {
        self.place.path("out").join("0")
    }

    fn summary(&self) -> Value {
        json(&self.coordinator().join("summary.json"))
    }

    /// Hands a job in, and returns its number.
    fn start(&self, name: &str, set: &[&str]) -> String {
        let _ = fs::remove_dir_all(self.place.path("out"));
        let job = job(self.place, self.asterisk, set, &self.place.path(name));
        let done = self.cluster.on("ctl", &job).output().expect("it starts");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stdout).trim().to_string()
    }

    /// Waits for a job's end, and returns its exit code. `sbatch --wait` asks twice a minute.
    fn ended(&self, number: &str) -> i32 {
        let mut code = None;
        let is_over = || {
            let mut show = Command::new("scontrol");
            show.current_dir("/").args(["show", "job", "--oneliner", number]);
            let shown = self.cluster.on("ctl", &show).output().expect("it starts");
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            let word =
                |key: &str| shown.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or_default();
            let is_over = ["COMPLETED", "FAILED"].contains(&word("JobState="));
            code = is_over
                .then(|| word("ExitCode=").split(':').next().and_then(|code| code.parse().ok()))
                .flatten();
            code.is_some()
        };
        assert!(comes_to_be(is_over), "job {number} goes on");
        code.expect("a code")
    }

    /// Starts a job of ten minutes, and returns its number once all three drivers hold their calls.
    fn hold(&self, name: &str) -> String {
        let number = self.start(name, &["load.calls=3", "load.duration=10m"]);
        let holds = |n: u32| {
            let of = format!("{n}:");
            self.log(name).lines().any(|line| line.starts_with(&of) && line.contains("hold"))
        };
        assert!(comes_to_be(|| (0..3).all(holds)), "{}", self.log(name));
        number
    }

    /// The process of a driver, by its folder.
    fn driver(&self, number: u32) -> Pid {
        let out = self.place.path("out").join(number.to_string());
        let is_driver = |process: &PathBuf| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            words[0].ends_with(b"loadtest") && words.contains(&out.as_os_str().as_encoded_bytes())
        };
        let processes =
            fs::read_dir("/proc").expect("it is there").filter_map(|entry| Some(entry.ok()?.path()));
        let found = processes.into_iter().find(is_driver).expect("it runs");
        let number = found.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        Pid::from_raw(number.expect("a number"))
    }

    /// Waits for the report of a run that could not be what was planned, and returns the doubts about it.
    fn doubts(&self, name: &str) -> String {
        let is_told = || self.summary()["verdict"]["outcome"] == "inconclusive";
        assert!(comes_to_be(is_told), "{}", self.log(name));
        self.summary()["verdict"]["doubt"]["reasons"].to_string()
    }
}

#[test]
fn slurm_starts_drivers_on_three_hosts_that_make_one_run() {
    let place = Place::new();
    let Some(cluster) = Cluster::up(&place) else { return };
    // With an account that is known beforehand, as where nobody can hand on one that was drawn.
    let asterisk = UsersAsterisk::start_as(&place, &["--listen", "10.77.0.254"], |mut run| {
        run.envs([("SIP_USER", "driver"), ("SIP_PASS", "of-this-test-alone")]);
        cluster.on("ctl", &run)
    });
    assert!(asterisk.account().contains(&("SIP_USER", "driver")), "{:?}", asterisk.account());
    let jobs = Jobs { place: &place, cluster: &cluster, asterisk: &asterisk };

    let whole = jobs.start("whole", &["load.calls=6", "load.duration=3s", "load.ramp=10/s"]);
    let code = jobs.ended(&whole);
    assert!([0, 12].contains(&code), "{code}: {}", jobs.log("whole"));
    let summary = jobs.summary();
    let shards = summary["environment"]["shards"].as_array().expect("a row each").clone();
    let hosts: Vec<_> = shards.iter().map(|shard| shard["host"].as_str().unwrap_or_default()).collect();
    assert_eq!(hosts, ["h1", "h2", "h3"]);
    assert!(shards.iter().all(|shard| shard["missing"] == ""), "{shards:?}");
    assert_eq!(rows(&jobs.coordinator().join("calls.csv")).len(), 6);
    assert_eq!(summary["environment"]["leaks"]["unknown"], "", "{}", summary["environment"]["leaks"]);

    let broken = ["load.calls=3", "load.duration=2s", "gates.require=[\"calls.attempts > 3\"]"];
    let gate = jobs.start("gate", &broken);
    assert_eq!(jobs.ended(&gate), 10, "{}", jobs.log("gate"));

    a_stranger_comes_and_a_driver_is_killed(&jobs);
    a_link_is_cut(&jobs);
    asterisk.stop();
}

/// From another host: noise, and a driver that does not know the key. Neither is noticed by the run; the end of one of its
/// own is.
fn a_stranger_comes_and_a_driver_is_killed(jobs: &Jobs<'_>) {
    let job = jobs.hold("killed");
    let mut noise = Command::new("bash");
    noise
        .current_dir("/")
        .args(["-c", "exec 3<>/dev/tcp/10.77.0.1/7400; head -c 300000 /dev/urandom >&3 || true"]);
    assert!(jobs.cluster.on("ctl", &noise).output().expect("it starts").status.success());
    let mut stranger = jobs.place.program();
    stranger.args([
        "run",
        "examples/distributed/load.toml",
        "--shard",
        "1/3",
        "--rendezvous",
        "10.77.0.1:7400",
        "--wait",
        "2s",
    ]);
    stranger.args([
        "--set",
        "service.mode=none",
        "--set",
        "sip.to=echo",
        "--set",
        "gates.require=[]",
        "--out",
    ]);
    stranger.arg(jobs.place.path("stranger"));
    for setting in jobs.asterisk.settings() {
        stranger.args(["--set", &setting]);
    }
    stranger.envs(jobs.asterisk.account()).env("LOADTEST_KEY", "another key than this run's");
    let refused = jobs.cluster.on("ctl", &stranger).output().expect("it starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("LOADTEST_KEY"), "{said}");
    assert!(!jobs.coordinator().join("summary.json").exists(), "{}", jobs.log("killed"));

    kill(jobs.driver(1), Signal::SIGKILL).expect("it runs");
    let doubts = jobs.doubts("killed");
    assert!(doubts.contains("shard 1 (h2)") && doubts.contains("was lost"), "{doubts}");
    // Slurm gives the greatest of all codes: 9 and 128 for the signal, 12 for the others.
    assert_eq!(jobs.ended(&job), 137, "{}", jobs.log("killed"));
    assert!(jobs.log("killed").lines().any(|line| line.starts_with("2:") && line.contains("shard 1")));
}

/// A link that is cut tells nobody: the shard behind it is missed.
fn a_link_is_cut(jobs: &Jobs<'_>) {
    jobs.hold("cut");
    assert!(jobs.cluster.verb("cut").arg("h3").status().expect("it starts").success());
    let doubts = jobs.doubts("cut");
    assert!(doubts.contains("shard 2") && doubts.contains("nothing was heard"), "{doubts}");
}
