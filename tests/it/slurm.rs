//! Drivers that a real Slurm starts, on three nodes with addresses of their own: `tests/slurm/cluster`. As root alone, for it
//! makes network namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use serde_json::Value;

use crate::harness::{Guarded, Place, UsersAsterisk, comes_to_be, rows};

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
        .args(["--wait", "--output"])
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

#[test]
fn slurm_starts_drivers_on_three_hosts_that_make_one_run() {
    let place = Place::new();
    let Some(cluster) = Cluster::up(&place) else { return };
    let asterisk =
        UsersAsterisk::start_as(&place, &["--listen", "10.77.0.254"], |run| cluster.on("ctl", &run));
    let log = |name: &str| place.path(name);
    let said = |name: &str| fs::read_to_string(log(name)).unwrap_or_default();

    let whole =
        job(&place, &asterisk, &["load.calls=6", "load.duration=3s", "load.ramp=10/s"], &log("whole"));
    let done = cluster.on("ctl", &whole).output().expect("it starts");
    assert!([Some(0), Some(12)].contains(&done.status.code()), "{done:?}: {}", said("whole"));
    let coordinator = place.path("out").join("0");
    let summary = json(&coordinator.join("summary.json"));
    let shards = summary["environment"]["shards"].as_array().expect("a row each").clone();
    let hosts: Vec<_> = shards.iter().map(|shard| shard["host"].as_str().unwrap_or_default()).collect();
    assert_eq!(hosts, ["h1", "h2", "h3"]);
    assert!(shards.iter().all(|shard| shard["missing"] == ""), "{shards:?}");
    assert_eq!(rows(&coordinator.join("calls.csv")).len(), 6);
    assert_eq!(summary["environment"]["leaks"]["unknown"], "", "{}", summary["environment"]["leaks"]);

    // A link that is cut tells nobody: the shard behind it is missed.
    fs::remove_dir_all(place.path("out")).expect("it is there");
    let long = job(&place, &asterisk, &["load.calls=3", "load.duration=10m"], &log("cut"));
    let mut waiting = Guarded::spawn(cluster.on("ctl", &long).stdout(Stdio::null()).stderr(Stdio::null()));
    assert!(
        comes_to_be(|| (0..3).all(|n| said("cut")
            .lines()
            .any(|line| line.starts_with(&format!("{n}:")) && line.contains("hold")))),
        "{}",
        said("cut")
    );
    assert!(cluster.verb("cut").arg("h3").status().expect("it starts").success());
    assert!(comes_to_be(|| coordinator.join("summary.json").exists()), "{}", said("cut"));
    assert!(comes_to_be(|| json(&coordinator.join("summary.json"))["verdict"]["outcome"] == "inconclusive"));
    let doubt = json(&coordinator.join("summary.json"))["verdict"]["doubt"]["reasons"].to_string();
    assert!(doubt.contains("shard 2") && doubt.contains("nothing was heard"), "{doubt}");
    waiting.kill().expect("it waits for the node");
    asterisk.stop();
}
