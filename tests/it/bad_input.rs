//! Wrong input is refused before any call, with the line or name, the reason and the cure.

use crate::harness::{Place, ends_with, stderr};

/// The run must end with `code`, and say all of `words`.
#[track_caller]
fn refused(place: &Place, set: &[&str], code: i32, words: &[&str]) {
    let output = ends_with(&mut place.run("smoke", set), code);
    let said = stderr(&output);
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
    assert!(!said.contains(" placed"), "a call was placed:\n{said}");
}

#[test]
fn wrong_scenarios_are_usage_errors() {
    let place = Place::new();
    // Ranges that no place's own can overlap.
    for (set, words) in [
        (&["load.cals=5"][..], &["cals", "calls"][..]),
        (&["load.calls=0"], &["load.calls", "0 calls"]),
        (&["load.duration=soon"], &["soon", "5m"]),
        (&["service.ports=40100-40300", "media.ports=40000-40200"], &["overlaps", "media.ports"]),
        (&["media.ports=40000-40003"], &["media.ports", "40000-40009 would do"]),
        (&["service.ports=40000-40001"], &["service.ports", "40000-40004 would do"]),
        (&["asterisk.rtp_ports=40000-40009"], &["asterisk.rtp_ports", "40000-40019 would do"]),
        (&[r#"gates.require=["rtt.p98 < 20ms"]"#], &["rtt.p98", "did you mean"]),
        (&[r#"gates.require=["loss.ratio < 20ms"]"#], &["20ms", "0.1%"]),
        (&["driver.cpus=[4095]"], &["driver.cpus", "4095", "may use"]),
        (&["media.codec=opus"], &["opus", "PCMU"]),
    ] {
        refused(&place, set, 2, words);
    }
    assert!(!place.out().exists(), "nothing was written");
}

#[test]
fn a_scenario_that_is_not_there_or_not_text_is_a_usage_error() {
    let place = Place::new();
    let noise = place.path("noise.toml");
    std::fs::write(&noise, [0u8, 159, 146, 150]).expect("a file");
    for path in ["no-such.toml".as_ref(), noise.as_path(), "/dev/zero".as_ref(), "/".as_ref()] {
        let output = ends_with(place.program().arg("run").arg(path), 2);
        assert!(stderr(&output).contains(&path.display().to_string()), "{}", stderr(&output));
    }
    ends_with(place.program().args(["run", "scenarios/smoke.toml", "--report", "docx"]), 2);
    ends_with(place.program().args(["dance"]), 2);
}

#[test]
fn a_driver_that_cannot_start_is_the_reason_and_leaves_no_folder() {
    let place = Place::new();
    // Addresses for documentation, which no machine has (RFC 5737).
    let target = ["asterisk.mode=external", "asterisk.sip=192.0.2.7:5060", "service.mode=none"];
    refused(&place, &[&target[..], &["sip.local=192.0.2.1"]].concat(), 1, &["192.0.2.1"]);
    assert!(!place.out().exists(), "a folder without a run would look like one");
}

#[test]
fn an_unusable_machine_is_named_before_any_call() {
    let place = Place::new();
    let mut nowhere = place.run("smoke", &[]);
    let output = ends_with(nowhere.env("LOADTEST_ASTERISK", "/nonexistent/asterisk"), 1);
    assert!(stderr(&output).contains("/nonexistent/asterisk"), "{}", stderr(&output));
    place.assert_nothing_left();

    let mut unwritable = place.program();
    let output = ends_with(unwritable.args(["run", "scenarios/smoke.toml", "--out", "/proc/nowhere"]), 1);
    assert!(
        stderr(&output).contains("/proc/nowhere") && stderr(&output).contains("--out"),
        "{}",
        stderr(&output)
    );

    let full = place.path("full");
    std::fs::create_dir(&full).expect("a folder");
    std::fs::write(full.join("scenario.toml"), "").expect("a file");
    let output = ends_with(place.program().args(["run", "scenarios/smoke.toml", "--out"]).arg(&full), 2);
    assert!(stderr(&output).contains("holds a run already"), "{}", stderr(&output));
}
