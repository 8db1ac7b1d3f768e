//! Wrong input is refused before any call, with the line or name, the reason and the cure.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use loadtest::asterisk::modules;

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
        (&[r#"gates.require=["stage.2: rtt.p99 < 20ms"]"#], &["there is no stage 2", "[[stage]]"]),
        (&[r#"gates.require=["stage.2: leaks == 0"]"#], &["`leaks.total` is a figure of the whole run"]),
        (&["load.rate=0/s"], &["0/s", "0.001/s is the lowest"]),
        (&["load.rate=9/s", "load.call_duration=30s"], &["270.0 erlang", "load.calls = 5", "0.167/s"]),
        (&["driver.cpus=[4095]"], &["driver.cpus", "4095", "may use"]),
        (&["media.codec=g729"], &["g729", "PCMU"]),
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
fn an_asterisk_that_ends_at_its_start_leaves_its_log_where_the_message_says() {
    let place = Place::new();
    let (prefix, program) = (place.path("prefix"), place.path("prefix/sbin/asterisk"));
    let modules = prefix.join("lib/asterisk/modules");
    for folder in [modules.clone(), prefix.join("share/asterisk/documentation"), prefix.join("sbin")] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    modules::required().for_each(|name| std::fs::write(modules.join(name), "").expect("a file"));
    let run = |script: &str| {
        std::fs::write(
            &program,
            format!("#!/bin/sh\n[ \"$1\" = -V ] && exec echo Asterisk 22.10.1\n{script}\n"),
        )
        .and_then(|()| std::fs::set_permissions(&program, Permissions::from_mode(0o755)))
        .expect("a script");
        stderr(&ends_with(place.run("smoke", &[]).env("LOADTEST_ASTERISK", &program), 1))
    };
    let said = run("exit 1");
    assert!(said.contains("Asterisk ended before it was ready") && !said.contains("Logs of"), "{said}");
    assert!(!place.out().exists(), "a log without a word is none");
    let said = run("echo pjsip.conf: no such section; exit 1");
    let logs = place.out().join("failed-start");
    assert!(said.ends_with(&format!("\nLogs of what was started are in {}\n", logs.display())), "{said}");
    let log = std::fs::read_to_string(logs.join("asterisk.log")).expect("its log");
    assert!(log.contains("no such section"), "{log}");
    assert!(!place.out().join("scenario.toml").exists(), "a folder with one would look like a run");
    place.assert_nothing_left();
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

/// Cost of many mistakes: every one is counted, a few are shown, and a long line is cut.
#[test]
fn a_scenario_of_many_mistakes_is_refused_in_little_time_and_few_words() {
    let place = Place::new();
    let many = |n: usize, text: &str| {
        let lines: Vec<_> = (0..n).map(|i| text.replace('#', &i.to_string())).collect();
        lines
    };
    let gates = |lines: Vec<String>, between: &str| format!("[gates]\nrequire = [{}]\n", lines.join(between));
    let fault = "[[fault]]\nat = \"#s\"\ntarget = \"asterisk\"\naction = \"kill\"\n";
    for (name, text, words) in [
        ("gates", gates(many(20_000, "\"rtt.p9#x < 20ms\""), ",\n"), &["rtt.p90x", "and 19995 more"][..]),
        ("line", gates(many(20_000, "\"los.ratio < #%\""), ", "), &["los.ratio", "and 19995 more"]),
        ("long", gates(many(900, &format!("\"{}\"", "x".repeat(900))), ", "), &["and 895 more"]),
        ("right", gates(many(20_000, "\"rtt.p99 < #ms\""), ", "), &["20000 gates", "1000 at the most"]),
        ("faults", many(10_000, fault).concat(), &["10000 faults"]),
        ("keys", format!("[load]\n{}", many(40_000, "k# = 1\n").concat()), &["unknown key `load.k0`"]),
        ("key", format!("[load]\n{} = 1\n", "k".repeat(900_000)), &["unknown key `load.kkk"]),
        ("word", format!("media.codec = \"{}\"\n", "k".repeat(900_000)), &["media.codec", "PCMU"]),
        ("deep", format!("{} = 1\n", vec!["load"; 100_000].join(".")), &[]),
        ("nested", format!("x = {}{}\n", "[".repeat(100_000), "]".repeat(100_000)), &[]),
        ("tables", many(40_000, "[t#]\n").concat(), &["unknown key `t0`"]),
        ("words", format!("service.command = [{}]\n", "\"x\", ".repeat(100_000)), &["command is too long"]),
        ("cpus", format!("driver.cpus = [{}]\n", "1, ".repeat(100_000)), &[]),
    ] {
        let path = place.path(&format!("{name}.toml"));
        std::fs::write(&path, text).expect("a file");
        let output = place.program().args(["check"]).arg(&path).output().expect("it ends");
        let said = stderr(&output);
        assert!(
            name == "cpus" || output.status.code() == Some(2),
            "{name}: {:?}\n{said:.2000}",
            output.status
        );
        assert!(words.iter().all(|word| said.contains(word)), "{name}:\n{said:.4000}");
        assert!(said.len() < 10_000, "{name}: {} bytes", said.len());
    }
}

/// Points at `--set` whatever key it has set, and never at a line that the file has not.
#[test]
fn what_an_override_brings_about_is_not_blamed_on_the_file() {
    let place = Place::new();
    let path = place.path("small.toml");
    std::fs::write(&path, "name = \"small\"\n[load]\ncalls = 2\n[media]\nports = \"40000-40003\"\n")
        .expect("a file");
    for (set, given, words) in [
        (&["service.mode=command"][..], "--set service.mode=command", &["command = ["][..]),
        (&["asterisk.mode=external"], "--set asterisk.mode=external", &["SIP port"]),
        (&["load.duration=20s", "load.calls=50"], "--set load.calls=50", &["media.ports", "50 are needed"]),
        (
            &["load.calls=2", "load.hangup=both", "load.duration=5s"],
            "--set load.hangup=both",
            &["call_duration"],
        ),
        (&["sip.local=192.0.2.1"], "--set sip.local=192.0.2.1", &["loopback"]),
        (&["service.mode=external"], "--set service.mode=external", &["ari_port"]),
        (&["impair.out.jitter=5ms"], "--set impair.out.jitter=5ms", &["vary"]),
        (&["measure.lost_after=50ms"], "--set measure.lost_after=50ms", &[]),
    ] {
        let mut check = place.program();
        check.arg("check").arg(&path);
        set.iter().for_each(|set| _ = check.args(["--set", set]));
        let said = stderr(&ends_with(&mut check, 2));
        assert!(said.contains(&format!("--> {given}\n")), "{set:?}:\n{said}");
        assert!(
            words.iter().all(|word| said.contains(word)) && !said.contains("small.toml"),
            "{set:?}:\n{said}"
        );
    }
    // The file's own mistake is at its own line, whatever an override has put above it.
    std::fs::write(&path, "[load]\ncalls = 2\n[media]\nports = \"40000-40001\"\n").expect("a file");
    for set in ["load.ramp=5/s", "load.call_duration=30s"] {
        let said = stderr(&ends_with(place.program().arg("check").arg(&path).args(["--set", set]), 2));
        assert!(said.contains("small.toml:4") && !said.contains("--set"), "{said}");
    }
}

#[test]
fn numbers_dates_and_truths_are_text_where_text_belongs() {
    let place = Place::new();
    for set in [
        "sip.to=4711",
        "sip.to=+49301234",
        "sip.to=0049301234",
        "sip.to=1.50",
        "sip.to=true",
        "name=2026-11-26",
        "name=12",
        "sip.from=100",
        "sip.from=1e3",
        "service.app=7",
        "name=inf",
        "gates.require=[]",
    ] {
        let output =
            place.program().args(["check", "scenarios/smoke.toml", "--set", set]).output().expect("it ends");
        assert!(!stderr(&output).contains(set), "{set}:\n{}", stderr(&output));
    }
    let path = place.path("bare.toml");
    std::fs::write(&path, "name = 2026-11-26\n[sip]\nto = +4930\nfrom = 0x1F\n").expect("a file");
    let resolved = loadtest::run::plan::read_scenario(&path, &[]).expect("a scenario").scenario;
    assert_eq!((&*resolved.name, &*resolved.sip.to, &*resolved.sip.from), ("2026-11-26", "+4930", "0x1F"));
}

/// Words of the command line, of a scenario and of a stored run reach a terminal as text and as nothing else.
#[test]
fn hidden_characters_are_printed_as_marks() {
    const HIDDEN: &str = "\x1b[2J\u{9b}\u{202e}\u{200b}x";
    let place = Place::new();
    let (run, scenario) = (place.path("stored"), place.path("hidden.toml"));
    std::fs::create_dir(&run).expect("a folder");
    for file in std::fs::read_dir("tests/samples/format1").expect("the sample").flatten() {
        if file.path().is_file() {
            std::fs::copy(file.path(), run.join(file.file_name())).expect("a copy");
        }
    }
    let path = run.join("environment.json");
    let mut environment: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("it is there")).expect("JSON");
    for key in ["name", "broken", "asterisk", "service", "host"] {
        environment[key] = HIDDEN.into();
    }
    std::fs::write(&path, environment.to_string()).expect("it is written");
    std::fs::write(&scenario, format!("name = \"{HIDDEN}\"\nload.{HIDDEN} = 1\n")).expect("it is written");
    let (run, scenario) = (run.to_string_lossy().into_owned(), scenario.to_string_lossy().into_owned());
    let out = place.path("again").to_string_lossy().into_owned();
    let set = format!("load.calls={HIDDEN}");
    for arguments in [
        &[HIDDEN][..],
        &["run", HIDDEN],
        &["run", "scenarios/smoke.toml", "--report", HIDDEN],
        &["run", "scenarios/smoke.toml", "--set", &set],
        &["check", &scenario],
        &["report", HIDDEN],
        &["report", &run, "--out", &out, "--report", "markdown", "--tables"],
        &["compare", HIDDEN, HIDDEN],
        &["ping", HIDDEN],
        &["service", "--config", HIDDEN],
    ] {
        let output = place.program().args(arguments).output().expect("it ends");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert_ne!(output.status.code(), Some(0), "{said}");
        let hidden = ['\x1b', '\u{9b}', '\u{202e}', '\u{200b}'];
        assert!(!said.contains(hidden), "{arguments:?}: {said:?}");
        assert!(said.contains("⟨U+202E⟩"), "{arguments:?} is quoted: {said}");
    }
}
