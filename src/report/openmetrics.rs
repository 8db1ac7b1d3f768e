//! `metrics.prom`: the run as gauges in OpenMetrics text, for a push gateway or a file that
//! node_exporter's textfile collector reads.
//!
//! Gauges alone, because the older Prometheus text format knows them under the same names: the file
//! is valid in both.

use std::collections::HashSet;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as Suffix};

use crate::gate::{GateResult, Interval, Outcome, Verdict};
use crate::metrics::{Metric, Summary};
use crate::values::{Unit, Value};

/// What every name begins with.
const PREFIX: &str = "loadtest";

type Labels = Vec<(&'static str, String)>;

/// The text, which ends in `# EOF`. Every sample bears the scenario's name as a label.
///
/// * A metric of the catalogue is `loadtest_` and its name, in base units, which end the name:
///   `rtt.p99` is `loadtest_rtt_p99_seconds`, `loss.ratio` is `loadtest_loss_ratio`,
///   `loss.count` is `loadtest_loss`. `+Inf` for a percentile that falls among the lost; what was
///   not measured is left out.
/// * `loadtest_verdict` and `loadtest_gate` are 1 under the label of the outcome that came about,
///   and 0 under the others.
pub(super) fn text(summary: &Summary, verdict: &Verdict) -> Result<Vec<u8>, fmt::Error> {
    let scenario = ("scenario".into(), summary.environment.name.clone().into());
    let mut registry = Registry::with_prefix_and_labels(PREFIX, [scenario].into_iter());
    registry.register_collector(Box::new(Families(families(summary, verdict))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text.into_bytes())
}

/// The samples of one name.
#[derive(Debug)]
struct Family {
    name: String,
    help: &'static str,
    unit: Option<Suffix>,
    samples: Vec<(Labels, f64)>,
}

fn family(name: &str, help: &'static str, samples: Vec<(Labels, f64)>) -> Family {
    Family { name: name.into(), help, unit: None, samples }
}

fn families(summary: &Summary, verdict: &Verdict) -> Vec<Family> {
    let environment = &summary.environment;
    let about = [
        ("version", &environment.version),
        ("started_at", &environment.started_at),
        ("asterisk", &environment.asterisk),
        ("service", &environment.service),
        ("codec", &environment.codec),
        ("host", &environment.host),
    ];
    let about = about.map(|(name, value)| (name, value.clone())).to_vec();
    let elapsed = vec![(Labels::new(), environment.elapsed_s)];
    let mut families = vec![
        family("run_info", "1; its labels say what was run, where and when", vec![(about, 1.0)]),
        Family {
            unit: Some(Suffix::Seconds),
            ..family("elapsed", "how long the run took, all phases", elapsed)
        },
        family("verdict", "1 under the run's outcome, 0 under the others", outcomes(&[], verdict.outcome)),
        family("gate", "1 under each gate's outcome, 0 under the others", gates(verdict)),
        family("in_doubt", "1 where the instrument is in doubt, else 0", one(verdict.doubt.is_any())),
        family(
            "quiet_seconds",
            QUIET,
            verdict.doubt.quiet.iter().flat_map(|q| count(q.seconds.len())).collect(),
        ),
        family(
            "gate_best",
            "the best value that a gate's metric may have had, in doubt",
            ends(verdict, false),
        ),
        family(
            "gate_worst",
            "the worst value that a gate's metric may have had, in doubt",
            ends(verdict, true),
        ),
    ];
    families.extend(summary.metrics.iter().filter_map(of_metric));
    families.push(family("samples", "samples that the percentiles of a group rest on", samples(summary)));
    let too_few = summary.metrics.iter().filter(|m| m.too_few);
    let too_few = too_few.map(|m| (vec![("metric", m.name().to_string())], 1.0)).collect();
    let help = "1 for each percentile p that rests on fewer than 100 / (1 - p) samples";
    families.push(family("too_few_samples", help, too_few));
    families.retain(|family| !family.samples.is_empty());
    families
}

fn outcomes(labels: &[(&'static str, String)], actual: Outcome) -> Vec<(Labels, f64)> {
    let sample = |outcome: Outcome| {
        let labels = labels.iter().cloned().chain([("outcome", outcome.to_string())]).collect();
        (labels, f64::from(u8::from(outcome == actual)))
    };
    Outcome::ALL.map(sample).to_vec()
}

const QUIET: &str =
    "seconds of the hold phase in which neither the driver was late nor the machine disturbed";

fn count(n: usize) -> Vec<(Labels, f64)> {
    vec![(Labels::new(), n as f64)]
}

fn one(is_so: bool) -> Vec<(Labels, f64)> {
    count(usize::from(is_so))
}

/// A gate that the scenario has twice is one series, and came out the same both times.
fn once(verdict: &Verdict) -> impl Iterator<Item = &GateResult> {
    let mut seen = HashSet::new();
    verdict.gates.iter().filter(move |gate| seen.insert(&gate.expression))
}

fn gates(verdict: &Verdict) -> Vec<(Labels, f64)> {
    once(verdict).flat_map(|gate| outcomes(&[("gate", gate.expression.clone())], gate.outcome)).collect()
}

/// The best or the worst end of each gate's interval, in base units.
fn ends(verdict: &Verdict, worst: bool) -> Vec<(Labels, f64)> {
    let end = |gate: &GateResult| {
        let Interval { readings, unit, better } = gate.interval?;
        let (best_end, worst_end) = readings.ends(better);
        let end = if worst { worst_end } else { best_end };
        Some((vec![("gate", gate.expression.clone())], end * name("", unit).2))
    };
    once(verdict).filter_map(end).collect()
}

fn samples(summary: &Summary) -> Vec<(Labels, f64)> {
    let mut groups: Vec<(&str, u64)> = Vec::new();
    for metric in &summary.metrics {
        let group = metric.definition.family();
        if let Some(samples) = metric.samples.filter(|_| groups.iter().all(|(name, _)| *name != group)) {
            groups.push((group, samples));
        }
    }
    groups.into_iter().map(|(group, n)| (vec![("group", group.to_string())], n as f64)).collect()
}

fn of_metric(metric: &Metric) -> Option<Family> {
    let (name, unit, factor) = name(metric.name(), metric.definition.unit);
    let value = match metric.value {
        Value::Number(n) => n * factor,
        Value::Lost => f64::INFINITY,
        Value::NoData => return None,
    };
    Some(Family { name, help: metric.definition.help, unit, samples: vec![(Labels::new(), value)] })
}

/// A metric's name without prefix and unit, its unit, and what turns its value into that unit.
fn name(metric: &str, unit: Unit) -> (String, Option<Suffix>, f64) {
    let named = |unit: &str| Some(Suffix::Other(unit.into()));
    // The unit's word ends the name, wherever the catalogue has it.
    let (word, suffix, factor) = match unit {
        Unit::Ms => ("", Some(Suffix::Seconds), 1e-3),
        Unit::Ratio => ("ratio", named("ratio"), 1.0),
        Unit::Count => ("count", None, 1.0),
        Unit::Cores => ("", named("cores"), 1.0),
        Unit::Mib => ("", Some(Suffix::Bytes), 1024.0 * 1024.0),
        Unit::MsPerMinute => ("", named("seconds_per_minute"), 1e-3),
        Unit::Score | Unit::Mean => ("", None, 1.0),
    };
    let words: Vec<_> = metric.split(['.', '_']).filter(|part| *part != word).collect();
    (words.join("_"), suffix, factor)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, unit, samples } in &self.0 {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for (labels, value) in samples {
                match labels.is_empty() {
                    true => family.encode_gauge(value)?,
                    false => family.encode_family(labels)?.encode_gauge(value)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue;
    use crate::report::fixture;

    fn of(summary: &Summary, verdict: &Verdict) -> String {
        String::from_utf8(text(summary, verdict).unwrap()).unwrap()
    }

    #[test]
    fn the_text_looks_like_this() {
        let (summary, verdict) = fixture::typical();
        insta::assert_snapshot!("metrics.prom", of(&summary, &verdict));
    }

    #[test]
    fn names_are_unique_and_valid() {
        let names: HashSet<_> = catalogue::all()
            .map(|d| {
                let (name, unit, _) = name(d.name, d.unit);
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
                format!("{name}_{unit:?}")
            })
            .collect();
        assert_eq!(names.len(), catalogue::all().count());
    }

    #[test]
    fn lost_is_infinite_and_what_was_not_measured_is_absent() {
        let (summary, verdict) = fixture::all_lost();
        let text = of(&summary, &verdict);
        assert!(text.contains("loadtest_rtt_p50_seconds{scenario=\"50x5m\"} inf\n"), "{text}");
        let (summary, verdict) = fixture::nothing_answered();
        let text = of(&summary, &verdict);
        assert!(!text.contains("loadtest_rtt_p50"), "{text}");
        assert!(text.contains("outcome=\"inconclusive\"} 1.0\n"), "{text}");
    }

    #[test]
    fn hostile_text_stays_a_label() {
        let (mut summary, mut verdict) = fixture::hostile();
        summary.environment.name = "a\"} 1\nloadtest_verdict{x=\"\\".into();
        verdict.gates.push(verdict.gates[0].clone());
        let text = of(&summary, &verdict);
        assert!(text.lines().all(|line| line.starts_with(['#', 'l'])), "{text}");
        let series: Vec<_> = text.lines().filter_map(|l| l.rsplit_once(' ')).map(|(s, _)| s).collect();
        let samples = || series.iter().filter(|s| !s.starts_with('#'));
        assert_eq!(samples().collect::<HashSet<_>>().len(), samples().count(), "a series appears twice");
    }
}
