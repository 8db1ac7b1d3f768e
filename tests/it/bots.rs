//! The bots of `examples/`, each against a real Asterisk: they answer as late as they were told to, and stop for callers.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Guarded, Place, UsersAsterisk, comes_to_be, ends_with, rows, start_until};
use crate::own_service::packages;

const GATES: &str = r#"gates.require=["calls.answered == 100%", "calls.dropped_count == 0", "calls.silent_count == 0", "greeting.missing_count == 0"]"#;

/// Times unlike the bots' own defaults.
const ANSWER_AFTER_MS: f64 = 1000.0;
const YIELD_AFTER_MS: f64 = 300.0;

/// The median of a column of the turns that have it.
fn median(turns: &[HashMap<String, String>], column: &str) -> f64 {
    let mut all: Vec<f64> = turns.iter().filter_map(|turn| turn[column].parse().ok()).collect();
    assert!(all.len() >= 3, "{column}: {turns:?}");
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

#[track_caller]
fn talks_with_its_callers(bot: &str) {
    let place = Place::new();
    // In each round a question, an interruption of its answer, and a backchannel; more than one round a call.
    let set = ["load.calls=3", "load.duration=24s", GATES];
    let mut run = place.run(&format!("../examples/{bot}/bot"), &set);
    run.env("NODE_PATH", packages())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("BOT_ANSWER_AFTER_MS", ANSWER_AFTER_MS.to_string())
        .env("BOT_YIELD_AFTER_MS", YIELD_AFTER_MS.to_string());
    ends_with(&mut run, 0);
    assert_eq!(place.count("calls.answered_count"), 3);
    let log = std::fs::read_to_string(place.out().join("logs/service.log")).expect("its output is kept");
    assert!(log.contains("ready") && !log.contains("call "), "{log}");
    assert!(place.count("turn.count") > 3 && place.count("bargein.count") > 0);
    let turns = rows(&place.out().join("turns.csv"));
    let greetings: Vec<_> = turns.iter().filter(|turn| turn["kind"] == "greeting").collect();
    assert!(
        greetings.len() == 3 && greetings.iter().all(|turn| !turn["response_ms"].is_empty()),
        "{greetings:?}"
    );
    let said: Vec<_> = turns.iter().filter(|turn| turn["kind"] == "say").cloned().collect();
    let response = median(&said, "response_ms");
    // Never early, and on whatever machine not late by much in proportion.
    assert!((ANSWER_AFTER_MS - 5.0..ANSWER_AFTER_MS * 1.5).contains(&response), "{response} ms: {said:?}");
    let stop = median(&turns, "stop_ms");
    // An answer has 1.7 s to go when it is interrupted.
    assert!((YIELD_AFTER_MS * 0.5..YIELD_AFTER_MS * 3.0).contains(&stop), "{stop} ms: {turns:?}");
    assert_eq!(place.count("leaks.total"), 0, "{}", place.summary()["environment"]["leaks"]);
    place.assert_nothing_left();
}

#[test]
fn the_bot_in_javascript_talks_over_rtp() {
    talks_with_its_callers("node-bot");
}

#[test]
fn the_bot_in_python_talks_over_audiosocket() {
    talks_with_its_callers("python-bot");
}

/// Stops the bot with SIGTERM while a call is up: all that it has in Asterisk is given back, and nobody complains.
#[test]
fn the_bot_in_python_ends_in_order_on_sigterm() {
    let place = Place::new();
    let asterisk = UsersAsterisk::start(&place, &["--media", "audiosocket"]);
    let said = place.path("bot.log");
    let log = std::fs::File::create(&said).expect("a file for what it says");
    let mut bot = Command::new("python3");
    bot.args(["-W", "always::ResourceWarning", "examples/python-bot/bot.py"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ARI_URL", &asterisk.said["ARI_URL"])
        .envs(asterisk.account())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log);
    let mut bot = Guarded::spawn(&mut bot);
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    assert!(comes_to_be(|| text(&said).contains("ready")), "{}", text(&said));
    let settings = asterisk.settings();
    let own = [
        "service.mode=external",
        "service.command=[]",
        "service.media=rtp",
        "load.calls=2",
        "gates.require=[]",
    ];
    let set = [&settings.each_ref().map(String::as_str)[..], &own].concat();
    let mut run = place.run("../examples/python-bot/bot", &set);
    let mut driver = start_until(run.envs(asterisk.account()), "2 of 2 up");
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.wait().expect("it ends").code(), Some(0), "{}", text(&said));
    assert_eq!(text(&said).trim(), "application loadtest: ready");
    driver.signal(Signal::SIGINT);
    driver.wait().expect("it ends");
    assert_eq!(place.count("leaks.total"), 0, "{}", place.summary()["environment"]["leaks"]);
    asterisk.stop();
    let log = text(&place.path("logs/asterisk.log"));
    assert!(!log.is_empty() && !log.contains("closed abruptly") && !log.contains("read error"), "{log}");
}
