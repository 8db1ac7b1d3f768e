//! The made-up runs of [`crate::record::fixture`], summed up and judged as the program does it.

use crate::gate::{Gate, Limits, Verdict, judge};
use crate::metrics::{Summary, summarize};
pub(crate) use crate::record::fixture::{SENT, SILENT_SECONDS};
use crate::record::{Run, fixture};

const GATES: [&str; 5] =
    ["calls.answered >= 98%", "rtt.p95 < 15ms", "rtt.p99 < 20ms", "late.ratio < 0.1%", "loss.ratio < 0.2%"];

/// Some broken, one on too few samples.
const HARD_GATES: [&str; 6] = [
    "calls.answered == 100%",
    "rtt.p95 < 15ms",
    "rtt.p99 < 2ms",
    "late.ratio < 0.1%",
    "loss.ratio < 0.2%",
    "srd.p99 < 10ms",
];

pub(super) fn judged(run: Run, gates: &[&str]) -> (Summary, Verdict) {
    let summary = summarize(run);
    let gates: Vec<Gate> = gates.iter().map(|gate| Gate::parse(gate).unwrap()).collect();
    let verdict = judge(&summary, &gates, &Limits::default());
    (summary, verdict)
}

/// It passes.
pub(crate) fn typical() -> (Summary, Verdict) {
    judged(fixture::typical(), &GATES)
}

/// The typical run against harder gates.
pub(crate) fn failing() -> (Summary, Verdict) {
    judged(fixture::typical(), &HARD_GATES)
}

/// The typical run on a machine that was too slow to drive it.
pub(crate) fn in_doubt() -> (Summary, Verdict) {
    judged(fixture::late_driver(), &["rtt_intended.p99 < 20ms"])
}

/// Names and reasons that are not what they seem.
pub(crate) fn hostile() -> (Summary, Verdict) {
    let (summary, mut verdict) = judged(fixture::hostile(), &HARD_GATES);
    verdict.gates[0].reason = fixture::SCRIPT.into();
    verdict.doubt.reasons.push(fixture::SCRIPT.into());
    (summary, verdict)
}

/// Callers that talk.
pub(crate) fn conversation() -> (Summary, Verdict) {
    judged(fixture::conversation(), &["turn.no_reply_ratio < 1%", "turn.response.max < 1500ms"])
}

/// Callers that read aloud.
pub(crate) fn read_aloud() -> (Summary, Verdict) {
    judged(fixture::read_aloud(), &["speech_quality.mean >= 4", "speech_quality.min >= 3"])
}

/// Over TLS, with registrations before it.
pub(crate) fn registered() -> (Summary, Verdict) {
    judged(fixture::registered(), &GATES)
}

/// Two faults, and what was left.
pub(crate) fn faulted() -> (Summary, Verdict) {
    judged(fixture::faulted(), &GATES)
}

/// Two stages, with gates of each.
pub(crate) fn staged() -> (Summary, Verdict) {
    judged(fixture::staged(), &["stage.1: rtt.p99 < 20ms", "stage.2: loss.ratio < 0.2%"])
}

/// Not a packet was sent.
pub(crate) fn nothing_answered() -> (Summary, Verdict) {
    judged(fixture::nothing_answered(), &["rtt.p99 < 20ms"])
}

/// Over before its first second.
pub(crate) fn no_seconds() -> (Summary, Verdict) {
    judged(fixture::no_seconds(), &["rtt.p99 < 20ms"])
}

/// One second long.
pub(crate) fn one_second() -> (Summary, Verdict) {
    judged(fixture::one_second(), &GATES)
}

/// Not a packet came back.
pub(crate) fn all_lost() -> (Summary, Verdict) {
    judged(fixture::all_lost(), &GATES)
}

/// A thousand calls.
pub(crate) fn many_calls() -> (Summary, Verdict) {
    judged(fixture::many_calls(), &GATES)
}
