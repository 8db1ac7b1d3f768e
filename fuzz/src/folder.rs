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

macro_rules! example {
    ($name:literal) => {
        include_bytes!(concat!("../../reports/example/", $name)).to_vec()
    };
}

/// A run as it was written.
fn whole() -> Stored {
    Stored {
        environment: example!("environment.json"),
        calls: example!("calls.csv"),
        seconds: example!("seconds.csv"),
        call_seconds: example!("call_seconds.csv"),
        silences: example!("silences.csv"),
        hlog: example!("rtt.hlog"),
        scenario: example!("scenario.toml"),
        manifest: Vec::new(),
    }
}

/// The first byte says which file, the others are its content; the manifest is made right again, as a forger
/// would. A run that is read has figures that are numbers, and can be judged; one that is not is refused in a
/// few words.
pub fn folder(input: &[u8]) {
    let Some((which, content)) = input.split_first() else { return };
    let mut stored = whole();
    let content = content.to_vec();
    // A branch of its own for each file: the fuzzer drops an input that leads nowhere new.
    match which % 7 {
        0 => stored.environment = content,
        1 => stored.calls = content,
        2 => stored.seconds = content,
        3 => stored.call_seconds = content,
        4 => stored.silences = content,
        5 => stored.hlog = content,
        _ => stored.manifest = content,
    }
    if which % 7 != 6 {
        stored.manifest = Manifest::of(stored.files()).to_bytes();
    }
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
