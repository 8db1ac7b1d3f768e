//! Every exit code that docs/ci.md names, each reached through the real program.
//!
//! The many ways to a code are tested where they belong: 1 and 130 in `run.rs` and
//! `fault.rs`, 2 in `bad_input.rs` and `check.rs`, 11 with real runs in `report.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::{Place, ends_with, sentences, start_until, stderr};
use loadtest::record::{Intervals, Latencies, Series, hlog};
use loadtest::stamp::Stamp;
use nix::sys::signal::Signal;

const SAMPLE: &str = "tests/samples/format1";

/// A case's name, the code that it must end with, and the case itself, which returns its output.
type Case = (&'static str, i32, fn(&Place) -> String);

/// The table. Each case is played in a place of its own, and returns what was said.
const CASES: [Case; 12] = [
    ("every gate holds", 0, |place| run(place, &[r#"gates.require=["calls.answered == 100%"]"#], 0)),
    ("nobody answers SIP", 1, |place| {
        let dead = format!("127.0.0.1:{}", place.lane().spare());
        let target = format!("asterisk.sip={dead}");
        let set = ["asterisk.mode=external", &target, "service.mode=none", "sip.setup_timeout=1s"];
        let said = run(place, &set, 1);
        assert!(said.contains(&format!("nothing answers SIP at {dead}")), "{said}");
        said
    }),
    ("a key that there is not", 2, |place| run(place, &["load.cals=5"], 2)),
    ("a misspelt metric", 2, |place| run(place, &[r#"gates.require=["rtt.p98 < 1s"]"#], 2)),
    ("a gate is broken", 10, |place| run(place, &[r#"gates.require=["calls.attempts > 5"]"#], 10)),
    ("a gate has too few samples", 12, |place| run(place, &[r#"gates.require=["rtt.p99.9 < 60s"]"#], 12)),
    ("a gate has no data", 12, |place| {
        // A target that echoes by itself stamps nothing.
        let set = ["sip.to=echo", "service.mode=none", r#"gates.require=["service_time.p50 < 60s"]"#];
        run(place, &set, 12)
    }),
    ("the driver was late, and every gate holds at worst", 0, |place| {
        // No machine is on time by a microsecond.
        let set = [LATE[0], LATE[1], LATE[2], r#"gates.require=["rtt.p50 < 60s"]"#];
        let said = run(place, &set, 0);
        assert!(said.contains("in doubt: the driver could not send on time"), "{said}");
        said
    }),
    ("the driver was late, and a gate lies between", 12, |place| {
        let set = [LATE[0], LATE[1], LATE[2], r#"gates.require=["rtt.p50 < 1us"]"#];
        run(place, &set, 12)
    }),
    ("the driver was late, and a call was not answered", 10, |place| {
        // Lateness excuses no record.
        let set = [LATE[0], LATE[1], LATE[2], r#"gates.require=["calls.attempts > 20", "rtt.p50 < 1us"]"#];
        let said = run(place, &set, 10);
        assert!(said.contains("? rtt.p50") && said.contains("✗ calls.attempts"), "{said}");
        said
    }),
    ("slower than the base", 11, |place| {
        stored(&place.path("a"), |ns| ns);
        stored(&place.path("b"), |ns| ns * 2);
        let mut compare = place.program();
        compare.arg("compare").arg(place.path("a")).arg(place.path("b")).args(["--metric", "rtt.p50"]);
        String::from_utf8_lossy(&ends_with(&mut compare, 11).stdout).into_owned()
    }),
    ("Ctrl-C", 130, |place| {
        let mut child = start_until(&mut place.run("smoke", &["load.duration=10m"]), "hold");
        child.signal(Signal::SIGINT);
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
        fs::read_to_string(place.out().join("summary.md")).expect("the report is written")
    }),
];

/// Enough packets for a 99th percentile, and a limit that every machine exceeds.
const LATE: [&str; 3] = ["load.calls=20", "load.duration=11s", "limits.send_lateness_p99=1us"];

fn run(place: &Place, set: &[&str], code: i32) -> String {
    let brief = ["load.duration=2s"];
    let output = ends_with(&mut place.run("smoke", &[&brief, set].concat()), code);
    format!("{}{}", sentences(&output), stderr(&output))
}

/// Six runs out of one, whose round trips are changed.
fn stored(folder: &Path, change: fn(u64) -> u64) {
    let intervals = hlog::read(&fs::read(format!("{SAMPLE}/rtt.hlog")).expect("a log")).expect("whole");
    let mut all_changed = Intervals::default();
    for (second, series, scope, latencies) in intervals.iter() {
        let mut changed = Latencies::default();
        let change = |ns| if series == Series::Rtt { change(ns) } else { ns };
        changed.extend(latencies.counts().map(|(ns, count)| (change(ns), count)));
        all_changed.add(second, series, scope, &changed);
    }
    let log = hlog::write(&all_changed, Stamp::from_ns(0));
    for n in 0..6 {
        let run = folder.join(n.to_string());
        fs::create_dir_all(&run).expect("a folder");
        for name in ["environment.json", "scenario.toml", "calls.csv", "seconds.csv"] {
            fs::copy(Path::new(SAMPLE).join(name), run.join(name)).expect("a file of the run");
        }
        fs::write(run.join("rtt.hlog"), &log).expect("written");
    }
}

#[test]
fn every_exit_code_is_reached_and_documented() {
    // They mostly wait: four at a time do not get into each other's way.
    for some in CASES.chunks(4) {
        std::thread::scope(|scope| {
            for (what, code, play) in some {
                scope.spawn(move || {
                    let said = play(&Place::new());
                    assert!(!said.trim().is_empty(), "{what}: ends with {code} and says nothing");
                });
            }
        });
    }
    let reached: BTreeSet<i32> = CASES.iter().map(|(_, code, _)| *code).collect();
    let page = fs::read_to_string("docs/ci.md").expect("docs/ci.md");
    let table = page.split("The exit code is the verdict").nth(1).expect("the table of exit codes");
    let rows =
        table.lines().skip_while(|l| !l.starts_with("|---")).skip(1).take_while(|l| l.starts_with('|'));
    let named = rows.map(|row| row.split('|').nth(1).expect("a cell").trim().parse().expect("a code"));
    assert_eq!(named.collect::<BTreeSet<i32>>(), reached);
}
