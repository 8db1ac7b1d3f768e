//! `summary.json`: every figure under its name, for programs.

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use crate::analysis::fault::Recovery;
use crate::diagnosis::{Finding, findings};
use crate::gate::Verdict;
use crate::metrics::{EndingCount, Metric, Stage, Summary};
use crate::record::{Environment, StageRecord, TalkRow, Why};
use crate::report::excerpts;
use crate::report::targets::{self, TargetLine};
use crate::values::{Unit, Value};

/// `summary.json`, indented, in an order that does not change. `docs/summary.schema.json` describes it;
/// the metric `rtt.p99.9` is `metrics.rtt["p99.9"]`: its name is parted at the first dot.
pub(super) fn summary(summary: &Summary, verdict: &Verdict) -> serde_json::Result<Vec<u8>> {
    let groups = groups(&summary.metrics);
    let samples = |(name, members): &Group<'_>| Some((*name, members.iter().find_map(|m| m.samples)?));
    let document = Document {
        format: summary.environment.format,
        name: &summary.environment.name,
        verdict: verdict_of(verdict),
        samples: Ordered(groups.iter().filter_map(samples).collect()),
        metrics: Ordered(groups.into_iter().map(|(name, members)| (name, figures(&members))).collect()),
        too_few: summary.metrics.iter().filter(|m| m.too_few).map(Metric::name).collect(),
        endings: &summary.endings,
        findings: findings(summary, verdict),
        stages: summary.numbered_stages().map(stage_of).collect(),
        targets: targets::lines(summary),
        excerpts: excerpts::all(summary).iter().map(|excerpt| ExcerptLine::of(excerpt.head)).collect(),
        faults: &summary.faults,
        environment: &summary.environment,
    };
    let mut bytes = serde_json::to_vec_pretty(&document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Figures, verdict and circumstances of one run.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Document<'a> {
    /// Version of the run folder's format.
    format: u32,
    /// The scenario's name.
    name: &'a str,
    /// Outcome of the run, of each gate, and doubt.
    verdict: VerdictLine<'a>,
    /// Every figure, by group and key, in full precision; null where nothing was measured.
    #[cfg_attr(test, schemars(schema_with = "super::schema::metrics"))]
    metrics: Ordered<Ordered<Json>>,
    /// Numbers of samples that the percentiles of each group rest on.
    #[cfg_attr(test, schemars(schema_with = "super::schema::samples"))]
    samples: Ordered<u64>,
    /// The percentiles p among the metrics that rest on fewer than 100 / (1 - p) samples, by name.
    #[cfg_attr(test, schemars(schema_with = "super::schema::metric_names"))]
    too_few: Vec<&'static str>,
    /// Endings of the attempts, most frequent first.
    endings: &'a [EndingCount],
    /// Findings, likeliest first, each with its cause and its cure; empty where nothing went wrong.
    findings: Vec<Finding>,
    /// The stages in turn, each with its own figures; absent of a load without stages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageLine<'a>>,
    /// The targets, each with its own figures, which add up to the run's; absent of a run with one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<TargetLine<'a>>,
    /// Excerpts of conversations: the worst turns, the gravest first, then the calls that `capture.calls` names; absent of
    /// other runs. `talk.csv` has who spoke when in each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    excerpts: Vec<ExcerptLine<'a>>,
    /// Planned faults and the recovery from each. `planned_s`, `done_s`, `down_s` and `back_s` count
    /// from the run's start, the other durations from the fault, `served_s` from the process's return.
    faults: &'a [Recovery],
    /// Circumstances of the run: place, time, machine, programs, settings.
    environment: &'a Environment,
}

/// An excerpt of a conversation.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ExcerptLine<'a> {
    /// Its number, from 1.
    excerpt: u32,
    /// Reason for which it was chosen.
    why: Why,
    /// The call's number in the run.
    call: u32,
    /// The turn's number in the call; null for an excerpt of a named call.
    turn: Option<u32>,
    /// Start, in seconds of the run.
    from_s: f64,
    /// End.
    to_s: f64,
    /// File of its audio in the run's folder: a stereo WAV, the caller left, the service right; null without one.
    audio: Option<&'a str>,
}

impl<'a> ExcerptLine<'a> {
    fn of(head: &'a TalkRow) -> Self {
        let TalkRow { excerpt, why, call, turn, from_s, to_s, .. } = *head;
        ExcerptLine { excerpt, why, call, turn, from_s, to_s, audio: head.audio_file() }
    }
}

/// A stage with its figures.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StageLine<'a> {
    /// Its number, from 1.
    stage: usize,
    /// Its load and its times.
    #[serde(flatten)]
    record: &'a StageRecord,
    /// Every figure that a stage has by itself, as under `metrics` of the run.
    #[cfg_attr(test, schemars(schema_with = "super::schema::stage_metrics"))]
    metrics: Ordered<Ordered<Json>>,
    /// The percentiles among them that rest on too few samples, by name.
    #[cfg_attr(test, schemars(schema_with = "super::schema::metric_names"))]
    too_few: Vec<&'static str>,
}

fn stage_of((stage, of): (usize, &Stage)) -> StageLine<'_> {
    let metrics: Vec<_> = of.summary.metrics.iter().filter(|m| m.definition.by_stage).copied().collect();
    StageLine {
        stage,
        record: &of.record,
        metrics: Ordered(
            groups(&metrics).into_iter().map(|(name, members)| (name, figures(&members))).collect(),
        ),
        too_few: metrics.iter().filter(|m| m.too_few).map(Metric::name).collect(),
    }
}

/// Outcome of the run, of each gate, and doubt.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct VerdictLine<'a> {
    /// The run's outcome, after which the program's exit code goes.
    #[cfg_attr(test, schemars(schema_with = "super::schema::outcome"))]
    outcome: String,
    /// Each gate, in the scenario's order.
    gates: Vec<GateLine<'a>>,
    /// Doubt about the instrument, or about the run as a whole.
    doubt: DoubtLine<'a>,
}

/// Doubt about the instrument, or about the run as a whole.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DoubtLine<'a> {
    /// Reasons, each in a sentence; empty without doubt.
    reasons: &'a [String],
    /// Seconds of the hold phase in which neither the driver was late nor the machine disturbed. Where there
    /// are enough of them, the best readings of times are over these alone. Null where no second is known to
    /// be one: without a control stream, and for runs of format 1.
    quiet_seconds: Option<usize>,
    /// Seconds of the hold phase, likewise.
    of_seconds: Option<usize>,
}

/// One gate, judged.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct GateLine<'a> {
    /// As the scenario has it: `rtt.p99 < 20ms`.
    expression: &'a str,
    /// Its outcome.
    #[cfg_attr(test, schemars(schema_with = "super::schema::outcome"))]
    outcome: String,
    /// The actual value, for people.
    actual: &'a str,
    /// The actual value as a number in `unit`; null where it is none. Of a gate over every call, that of the call
    /// which is furthest from holding it.
    value: Option<f64>,
    /// Kind of the value: a number, among the lost packets and so slower than any bound, or no data.
    #[cfg_attr(test, schemars(schema_with = "super::schema::value_kind"))]
    value_is: &'static str,
    /// Unit of `value`, `bound`, `best` and `worst`. A ratio of 1 is all.
    #[cfg_attr(test, schemars(schema_with = "super::schema::unit"))]
    unit: &'static str,
    /// Comparison of the value with the bound; null for a baseline that has no bound.
    #[cfg_attr(test, schemars(schema_with = "super::schema::op"))]
    op: Option<&'static str>,
    /// The bound as a number in `unit`; null for a baseline that has none.
    bound: Option<f64>,
    /// In doubt: the best value that the metric may have had, in its unit as under `metrics`; null without
    /// doubt.
    #[cfg_attr(test, schemars(schema_with = "super::schema::reading"))]
    best: Option<Json>,
    /// In doubt: the worst value, likewise.
    #[cfg_attr(test, schemars(schema_with = "super::schema::reading"))]
    worst: Option<Json>,
    /// Reason of the outcome, where the values do not say it.
    reason: &'a str,
}

fn verdict_of(verdict: &Verdict) -> VerdictLine<'_> {
    let gates = verdict.gates.iter().map(|gate| GateLine {
        expression: &gate.expression,
        outcome: gate.outcome.to_string(),
        actual: &gate.actual,
        value: gate.figure.value.number(),
        value_is: kind(gate.figure.value),
        unit: unit(gate.figure.unit),
        op: gate.figure.bound.map(|(op, _)| op.symbol()),
        bound: gate.figure.bound.map(|(_, bound)| bound),
        best: gate.interval.map(|interval| reading(interval.readings.best)),
        worst: gate.interval.map(|interval| reading(interval.readings.worst)),
        reason: &gate.reason,
    });
    let doubt = &verdict.doubt;
    VerdictLine {
        outcome: verdict.outcome.to_string(),
        gates: gates.collect(),
        doubt: DoubtLine {
            reasons: &doubt.reasons,
            quiet_seconds: doubt.quiet.as_ref().map(|quiet| quiet.seconds.len()),
            of_seconds: doubt.quiet.as_ref().map(|quiet| quiet.of),
        },
    }
}

/// Words for kinds of values, in the document.
pub(super) const KINDS: [&str; 3] = ["number", "lost", "no data"];

fn kind(value: Value) -> &'static str {
    let [number, lost, no_data] = KINDS;
    match value {
        Value::Number(_) => number,
        Value::Lost => lost,
        Value::NoData => no_data,
    }
}

/// A unit's word in the document.
pub(super) fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Ms => "ms",
        Unit::Ratio => "ratio",
        Unit::Count => "count",
        Unit::Cores => "cores",
        Unit::Mib => "MiB",
        Unit::MibPerMinute => "MiB/min",
        Unit::MsPerMinute => "ms/min",
        Unit::Score => "score",
        Unit::Mean => "mean",
    }
}

/// One end of an interval.
fn reading(end: Option<Value>) -> Json {
    match end {
        Some(Value::NoData) | None => json!("unbounded"),
        Some(value) => json!(value),
    }
}

/// A group's name and its metrics.
type Group<'a> = (&'static str, Vec<&'a Metric>);

/// The metrics by the part of their name before the first dot, in the order of first appearance.
fn groups(metrics: &[Metric]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for metric in metrics {
        let group = metric.definition.family();
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, members)) => members.push(metric),
            None => groups.push((group, vec![metric])),
        }
    }
    groups
}

fn figures(members: &[&Metric]) -> Ordered<Json> {
    Ordered(members.iter().map(|metric| (metric.definition.family_and_key().1, figure(metric))).collect())
}

/// An object whose keys keep their order.
struct Ordered<V>(Vec<(&'static str, V)>);

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// A value as it stands in the document. A count is an integer where a double holds it exactly.
pub fn figure(metric: &Metric) -> Json {
    let is_count = metric.definition.unit == Unit::Count;
    match metric.value {
        Value::Number(n) if is_count && n.fract() == 0.0 && (0.0..9e15).contains(&n) => json!(n as u64),
        value => json!(value),
    }
}

/// A value as it stands in the document, without quotes; empty where nothing was measured.
pub(super) fn number(metric: &Metric) -> String {
    match figure(metric) {
        Json::Null => String::new(),
        Json::String(word) => word,
        number => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn parsed(summary: &Summary, verdict: &Verdict) -> serde_json::Value {
        serde_json::from_slice(&super::summary(summary, verdict).unwrap()).unwrap()
    }

    #[test]
    fn the_document_looks_like_this() {
        let (summary, verdict) = fixture::typical();
        let bytes = super::summary(&summary, &verdict).unwrap();
        insta::assert_snapshot!("summary.json", String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn every_metric_is_found_under_its_name() {
        let (summary, verdict) = fixture::typical();
        let document = parsed(&summary, &verdict);
        for metric in &summary.metrics {
            let (group, key) = metric.name().split_once('.').unwrap();
            let found = &document["metrics"][group][key];
            match metric.value {
                // serde_json reads doubles to the last digit but one.
                Value::Number(n) => {
                    let read = found.as_f64().unwrap();
                    assert!((read - n).abs() <= n * 2.0 * f64::EPSILON, "{}: {read} {n}", metric.name());
                }
                Value::Lost => assert_eq!(found, "lost", "{}", metric.name()),
                Value::NoData => assert!(document["metrics"][group].get(key).unwrap().is_null()),
            }
        }
        assert_eq!(document["samples"]["rtt"], serde_json::json!(fixture::SENT));
    }

    #[test]
    fn a_gate_has_its_numbers_beside_its_words() {
        let (summary, verdict) = fixture::typical();
        let document = parsed(&summary, &verdict);
        for (gate, line) in verdict.gates.iter().zip(document["verdict"]["gates"].as_array().unwrap()) {
            let (op, bound) = gate.figure.bound.unwrap();
            assert!(gate.expression.contains(line["op"].as_str().unwrap()), "{line}");
            assert_eq!(line["bound"].as_f64(), Some(bound), "{line}");
            let value = line["value"].as_f64().unwrap();
            assert_eq!(
                (line["value_is"].as_str(), gate.figure.value),
                (Some("number"), Value::Number(value))
            );
            assert_eq!(op.holds(value, bound), gate.outcome == crate::gate::Outcome::Pass, "{line}");
        }
        let (summary, verdict) = fixture::all_lost();
        let kinds = |document: serde_json::Value| {
            let gates = document["verdict"]["gates"].as_array().unwrap().clone();
            gates.iter().map(|gate| (gate["value_is"].clone(), gate["value"].is_null())).collect::<Vec<_>>()
        };
        assert!(kinds(parsed(&summary, &verdict)).contains(&("lost".into(), true)));
        let (summary, verdict) = fixture::nothing_answered();
        assert!(kinds(parsed(&summary, &verdict)).contains(&("no data".into(), true)));
    }

    #[test]
    fn what_was_not_measured_is_null_and_what_is_lost_says_so() {
        let (summary, verdict) = fixture::nothing_answered();
        let document = parsed(&summary, &verdict);
        assert!(document["metrics"]["rtt"].get("p50").unwrap().is_null());
        assert_eq!(document["verdict"]["outcome"], "inconclusive");
        let (summary, verdict) = fixture::all_lost();
        assert_eq!(parsed(&summary, &verdict)["metrics"]["rtt"]["p50"], "lost");
    }
}
