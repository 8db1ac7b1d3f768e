//! Diagnosis: what was seen in a run → at most three findings, each with its likeliest cause and its cure.
//!
//! Every report shows the same ones; a stored run has those of its first report, for they are worked out anew
//! from its records.

mod application;
mod connection;
mod crossed;
mod machine;
mod media;
mod protected;
mod registration;
mod signalling;
mod signposts;
mod steps;
mod talk;
mod targets;
#[cfg(test)]
mod tests;

pub use steps::steps;

use serde::Serialize;

use crate::gate::Verdict;
use crate::metrics::{Summary, TargetFigures};
use crate::record::{CallRecord, Ending, Environment, LogLine, Observed, SecondRecord, TurnRow};

/// Most findings of a run: what comes after is mostly a consequence.
const MOST: usize = 3;
/// Most characters of a quoted line.
const MOST_QUOTED: usize = 160;

/// Something that went wrong, for a person who has to mend it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// Name that does not change, for programs: `auth_refused`.
    pub name: &'static str,
    /// The event, with its counts.
    pub what: String,
    /// Place where it was seen.
    pub seen: String,
    /// Likeliest cause.
    pub cause: String,
    /// Cure.
    pub cure: String,
    /// Share of the run that it explains; the order of findings.
    #[serde(skip)]
    #[cfg_attr(test, schemars(skip))]
    weight: f64,
}

/// Evidence that a reader has before him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// The files of a stored run, and its page.
    Files,
    /// The steps of one call of which nothing else is kept but the logs.
    Steps,
}

/// A rule looks at a run for one kind of trouble.
type Rule = fn(&Seen<'_>) -> Vec<Finding>;

/// Rules in the order in which one explains the next: of findings of one weight the first goes first.
const RULES: [Rule; 25] = [
    machine::died,
    // Whose trouble it is, before what it is.
    targets::worse,
    machine::stands_still,
    connection::unreachable,
    signalling::unreadable,
    signalling::unanswered,
    // Whom the registrar does not know may not call.
    registration::failed,
    signalling::authentication,
    signalling::rejected,
    signalling::rang,
    signposts::bad_answer,
    signposts::contact,
    signposts::offer,
    application::bypassed,
    crossed::crossed,
    media::elsewhere,
    protected::unopened,
    media::silent,
    talk::own_voice,
    talk::mute,
    talk::endless,
    media::distrusted,
    crossed::repeated,
    media::cut,
    machine::load,
];

/// The findings of a judged run, the likeliest first.
pub fn findings(summary: &Summary, verdict: &Verdict) -> Vec<Finding> {
    found(&Seen::of(summary, verdict, Evidence::Files))
}

/// The findings of a run of one call that is told by its [`steps`], and not stored.
pub fn findings_of_call(summary: &Summary, verdict: &Verdict) -> Vec<Finding> {
    found(&Seen::of(summary, verdict, Evidence::Steps))
}

fn found(seen: &Seen<'_>) -> Vec<Finding> {
    let mut all: Vec<Finding> = RULES.iter().flat_map(|rule| rule(seen)).collect();
    if all.iter().any(|finding| finding.name == targets::SILENT) {
        all.retain(|finding| finding.name != signalling::SILENT);
    }
    all.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    all.truncate(MOST);
    all
}

/// A run as the rules see it.
struct Seen<'a> {
    environment: &'a Environment,
    observed: &'a Observed,
    calls: &'a [CallRecord],
    seconds: &'a [SecondRecord],
    turns: &'a [TurnRow],
    targets: &'a [TargetFigures],
    verdict: &'a Verdict,
    evidence: Evidence,
}

impl<'a> Seen<'a> {
    fn of(summary: &'a Summary, verdict: &'a Verdict, evidence: Evidence) -> Seen<'a> {
        let environment = &summary.environment;
        let Summary { calls, seconds, turns, targets, .. } = summary;
        let observed = &environment.observed;
        Seen { environment, observed, calls, seconds, turns, targets, verdict, evidence }
    }

    /// The place of evidence: in `calls.csv`, or a step of the one call that was told.
    fn shown(&self, in_calls: &str, step: &str) -> String {
        match self.evidence {
            Evidence::Files => format!("calls.csv, {in_calls}"),
            Evidence::Steps => format!("step \"{step}\" above"),
        }
    }

    /// Words for readers of a stored run's files alone.
    fn in_files(&self, words: &'static str) -> &'static str {
        if self.evidence == Evidence::Files { words } else { "" }
    }

    /// A log of the run.
    fn log(&self, name: &str) -> String {
        match self.evidence {
            Evidence::Files => format!("logs/{name}"),
            Evidence::Steps => format!("{name}, in the folder of logs named below"),
        }
    }

    /// Calls that ended in this way.
    fn ended(&self, ending: Ending) -> Vec<&'a CallRecord> {
        self.calls.iter().filter(|call| call.ending == ending).collect()
    }

    fn share(&self, count: usize) -> f64 {
        count as f64 / self.calls.len().max(1) as f64
    }

    /// `3 of 10 calls`, `the only call`.
    fn of_calls(&self, count: usize) -> String {
        of(count as u64, self.calls.len() as u64)
    }

    /// A finding over `count` of the calls, still without its cure.
    fn over(&self, name: &'static str, count: usize, what: &str) -> Finding {
        let what = if count == 1 { what.replacen("were ", "was ", 1) } else { what.into() };
        Finding {
            name,
            what: format!("{} {what}", self.of_calls(count)),
            seen: self.shown("column ending", "answer"),
            cause: String::new(),
            cure: String::new(),
            weight: self.share(count),
        }
    }

    /// True if the callers talked, and waited for answers in the place of their own packets.
    fn has_talk(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The address that SIP was sent to, in words.
    fn target(&self) -> &str {
        match self.observed.setup.target.as_str() {
            _ if self.targets.len() > 1 => "the targets",
            "" => "the target",
            target => target,
        }
    }

    /// True if SIP goes over connections, which send nothing again and lose nothing by themselves.
    fn is_over_stream(&self) -> bool {
        matches!(self.environment.transport.as_str(), "TCP" | "TLS")
    }

    /// Whoever answers the calls.
    fn answerer(&self) -> &'static str {
        if self.observed.setup.has_application() { "the service" } else { "the target" }
    }

    /// First line of Asterisk's log that holds one of these words.
    fn asterisk_said(&self, words: &[&str]) -> Option<&'a LogLine> {
        said(&self.observed.asterisk_log, words)
    }

    /// First line of trouble in the service's output, to be quoted behind a sentence.
    fn service_said(&self) -> String {
        quoted("the service's log", self.observed.service_log.first())
    }
}

fn said<'a>(lines: &'a [LogLine], words: &[&str]) -> Option<&'a LogLine> {
    lines.iter().find(|line| words.iter().any(|word| line.text.contains(word)))
}

/// `; Asterisk's log: "…" (12 times)`, or nothing.
fn quoted(whose: &str, line: Option<&LogLine>) -> String {
    let Some(line) = line else { return String::new() };
    let mut text: String = line.text.chars().take(MOST_QUOTED).collect();
    if text.len() < line.text.len() {
        text.push('…');
    }
    let times = if line.count > 1 { format!(" ({} times)", line.count) } else { String::new() };
    format!("; {whose}: \"{text}\"{times}")
}

fn of(count: u64, all: u64) -> String {
    match (count, all) {
        (1, 1) => "the only call".into(),
        (count, all) if count == all => format!("all {all} calls"),
        (count, all) => format!("{count} of {all} calls"),
    }
}
