//! A stored run, one file of which may have been written by anybody, from its bytes to its verdict.

use loadtest::gate::{Gate, Limits, Outcome, judge};
use loadtest::metrics::{Summary, summarize};
use loadtest::record::manifest::Manifest;
use loadtest::record::stored::Stored;
use loadtest::values::Value;

/// Longest text of an error: it goes to a terminal.
const ERROR: usize = 1024;
/// A gate of each kind: a count, a percentile, a share, a figure of each call.
const GATES: [&str; 5] = [
    "packets.received >= 1",
    "rtt.p99 < 1s",
    "loss.ratio <= 1%",
    "calls.answered >= 99%",
    "every call: rtt.p95 < 1s",
];

macro_rules! stored {
    ($folder:literal) => {
        Stored {
            environment: include_bytes!(concat!("../../", $folder, "/environment.json")).to_vec(),
            calls: include_bytes!(concat!("../../", $folder, "/calls.csv")).to_vec(),
            seconds: include_bytes!(concat!("../../", $folder, "/seconds.csv")).to_vec(),
            call_seconds: include_bytes!(concat!("../../", $folder, "/call_seconds.csv")).to_vec(),
            silences: include_bytes!(concat!("../../", $folder, "/silences.csv")).to_vec(),
            turns: Vec::new(),
            talk: Vec::new(),
            signals: Vec::new(),
            quality: Vec::new(),
            hlog: include_bytes!(concat!("../../", $folder, "/rtt.hlog")).to_vec(),
            scenario: include_bytes!(concat!("../../", $folder, "/scenario.toml")).to_vec(),
            manifest: Vec::new(),
        }
    };
}

/// Bit of an input's first byte that says that the run was stored in format 2, which is held against its manifest.
const FORMAT_2: u8 = 0x80;

/// The run of an input: its first byte says which run and which file of it, the others are the file's content. The
/// manifest is made right again, as a forger would.
pub fn stored(input: &[u8]) -> Option<Stored> {
    let (first, content) = input.split_first()?;
    let mut stored = match first & FORMAT_2 {
        0 => stored!("tests/samples/smoke-0.1.0"),
        _ => stored!("tests/samples/format2"),
    };
    let (which, content) = (first & !FORMAT_2, content.to_vec());
    // A branch of its own for each file: the fuzzer drops an input that leads nowhere new.
    match which % 8 {
        0 => stored.environment = content,
        1 => stored.calls = content,
        2 => stored.seconds = content,
        3 => stored.call_seconds = content,
        4 => stored.silences = content,
        5 => stored.hlog = content,
        7 if which == 15 => stored.talk = content,
        6 if which == 14 => stored.signals = content,
        6 if which == 22 => stored.quality = content,
        7 => stored.turns = content,
        _ => stored.manifest = content,
    }
    if which % 8 != 6 || which == 14 {
        stored.manifest = Manifest::of(stored.files()).to_bytes();
    }
    Some(stored)
}

/// A run that is read has figures that are numbers, and can be judged; one that is not is refused in a few words.
pub fn folder(input: &[u8]) {
    let Some(stored) = stored(input) else { return };
    let run = match stored.read() {
        Ok(run) => run,
        Err(said) => {
            assert!(said.len() <= ERROR, "{} bytes of error: {said}", said.len());
            return;
        }
    };
    let summary = summarize(run);
    let gates = GATES.map(|gate| Gate::parse(gate).expect("it is one"));
    let verdict = judge(&summary, &gates, &Limits::default());
    assert_eq!(verdict.gates.len(), gates.len());
    let all_pass = verdict.gates.iter().all(|gate| gate.outcome == Outcome::Pass);
    assert!(verdict.outcome != Outcome::Pass || all_pass);
    assert_numbers(&summary);
}

/// No figure is a number that is none.
fn assert_numbers(summary: &Summary) {
    for metric in &summary.metrics {
        if let Value::Number(value) = metric.value {
            assert!(value.is_finite(), "{} is {value}", metric.name());
        }
    }
    let value = |what: &str| summary.metric(what).and_then(|metric| metric.value.number());
    assert!(value("loss.ratio").is_none_or(|ratio| (0.0..=1.0).contains(&ratio)));
    assert!(value("packets.sent").is_none_or(|sent| sent >= 0.0));
}
