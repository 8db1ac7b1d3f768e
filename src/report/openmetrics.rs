//! `metrics.prom`: the run as gauges in OpenMetrics text, for a push gateway or a file that
//! node_exporter's textfile collector reads.
//!
//! Gauges alone, because the older Prometheus text format knows them under the same names: the file
//! is valid in both.

use std::collections::HashSet;

use crate::gate::{GateResult, Interval, Outcome, Verdict};
use crate::metrics::{Metric, Summary};
use crate::openmetrics::{Labels, Page, Samples, Suffix};
use crate::record::Environment;
use crate::values::{Unit, Value};

/// First part of every name.
const PREFIX: &str = "loadtest";

/// The text, which ends in `# EOF`. Every sample bears the scenario's name as a label.
///
/// * A metric of the catalogue is `loadtest_` and its name, in base units, which end the name:
///   `rtt.p99` is `loadtest_rtt_p99_seconds`, `loss.ratio` is `loadtest_loss_ratio`,
///   `loss.count` is `loadtest_loss`. `+Inf` for a percentile that falls among the lost; what was
///   not measured is left out.
/// * `loadtest_verdict` and `loadtest_gate` are 1 under the label of the outcome that came about,
///   and 0 under the others.
pub(super) fn text(summary: &Summary, verdict: &Verdict) -> String {
    let (environment, doubt) = (&summary.environment, &verdict.doubt);
    let mut page = Page::default();
    page.gauge("run_info", None, "1; its labels say what was run, where and when", about(environment));
    let help = "how long the run took, all phases";
    page.gauge("elapsed", Some(Suffix::Seconds), help, environment.elapsed_s);
    let help = "1 under the run's outcome, 0 under the others";
    page.gauge("verdict", None, help, Samples::from_iter(outcomes(None, verdict.outcome)));
    page.gauge("gate", None, "1 under each gate's outcome, 0 under the others", gates(verdict));
    page.gauge("in_doubt", None, "1 where the instrument is in doubt, else 0", truth(doubt.is_any()));
    if let Some(quiet) = &doubt.quiet {
        let help = "seconds of the hold phase in which neither the driver was late nor the machine disturbed";
        page.gauge("quiet_seconds", None, help, quiet.seconds.len() as f64);
    }
    let help = "the best value that a gate's metric may have had, in doubt";
    page.gauge("gate_best", None, help, ends(verdict, false));
    let help = "the worst value that a gate's metric may have had, in doubt";
    page.gauge("gate_worst", None, help, ends(verdict, true));
    summary.metrics.iter().for_each(|metric| of_metric(&mut page, metric));
    page.gauge("samples", None, "samples that the percentiles of a group rest on", samples(summary));
    let too_few = summary.metrics.iter().filter(|m| m.too_few);
    let too_few: Samples = too_few.map(|m| (vec![("metric", m.name().to_string())], 1.0)).collect();
    let help = "1 for each percentile p that rests on fewer than 100 / (1 - p) samples";
    page.gauge("too_few_samples", None, help, too_few);
    page.text(PREFIX, vec![("scenario", environment.name.clone())])
}

fn about(environment: &Environment) -> Samples {
    let about = [
        ("version", &environment.version),
        ("started_at", &environment.started_at),
        ("asterisk", &environment.asterisk),
        ("service", &environment.service),
        ("codec", &environment.codec),
        ("host", &environment.host),
    ];
    Samples::from_iter([(about.map(|(name, value)| (name, value.clone())).to_vec(), 1.0)])
}

fn outcomes(gate: Option<&GateResult>, actual: Outcome) -> impl Iterator<Item = (Labels, f64)> {
    Outcome::ALL.into_iter().map(move |outcome| {
        let gate = gate.map(|gate| ("gate", gate.expression.clone()));
        let labels = gate.into_iter().chain([("outcome", outcome.to_string())]).collect();
        (labels, truth(outcome == actual))
    })
}

fn gates(verdict: &Verdict) -> Samples {
    once(verdict).flat_map(|gate| outcomes(Some(gate), gate.outcome)).collect()
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// A gate that the scenario has twice is one series, and came out the same both times.
fn once(verdict: &Verdict) -> impl Iterator<Item = &GateResult> {
    let mut seen = HashSet::new();
    verdict.gates.iter().filter(move |gate| seen.insert(&gate.expression))
}

/// The best or the worst end of each gate's interval, in base units.
fn ends(verdict: &Verdict, worst: bool) -> Samples {
    let end = |gate: &GateResult| {
        let Interval { readings, unit, better } = gate.interval?;
        let (best_end, worst_end) = readings.ends(better);
        let end = if worst { worst_end } else { best_end };
        Some((vec![("gate", gate.expression.clone())], end * name("", unit).2))
    };
    once(verdict).filter_map(end).collect()
}

fn samples(summary: &Summary) -> Samples {
    let mut groups: Vec<(&str, u64)> = Vec::new();
    for metric in &summary.metrics {
        let group = metric.definition.family();
        if let Some(samples) = metric.samples.filter(|_| groups.iter().all(|(name, _)| *name != group)) {
            groups.push((group, samples));
        }
    }
    groups.into_iter().map(|(group, n)| (vec![("group", group.to_string())], n as f64)).collect()
}

fn of_metric(page: &mut Page, metric: &Metric) {
    let (name, unit, factor) = name(metric.name(), metric.definition.unit);
    let value = match metric.value {
        Value::Number(n) => n * factor,
        Value::Lost => f64::INFINITY,
        Value::NoData => return,
    };
    page.gauge(name, unit, metric.definition.help, value);
}

/// A metric's name without prefix and unit, its unit, and what turns its value into that unit.
fn name(metric: &str, unit: Unit) -> (String, Option<Suffix>, f64) {
    let named = |unit: &str| Some(Suffix::Other(unit.into()));
    // A total is a counter's in that format, and here all are gauges.
    let metric = metric.strip_suffix(".total").unwrap_or(metric);
    // The unit's word ends the name, wherever the catalogue has it.
    let (word, suffix, factor) = match unit {
        Unit::Ms => ("", Some(Suffix::Seconds), 1e-3),
        Unit::Ratio => ("ratio", named("ratio"), 1.0),
        Unit::Count => ("count", None, 1.0),
        Unit::Cores => ("", named("cores"), 1.0),
        Unit::Mib => ("", Some(Suffix::Bytes), 1024.0 * 1024.0),
        Unit::MibPerMinute => ("", named("bytes_per_minute"), 1024.0 * 1024.0),
        Unit::MsPerMinute => ("", named("seconds_per_minute"), 1e-3),
        Unit::Score | Unit::Mean => ("", None, 1.0),
    };
    let words: Vec<_> = metric.split(['.', '_']).filter(|part| *part != word).collect();
    (words.join("_"), suffix, factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue;
    use crate::report::fixture;

    #[test]
    fn the_text_looks_like_this() {
        let (summary, verdict) = fixture::typical();
        insta::assert_snapshot!("metrics.prom", text(&summary, &verdict));
    }

    #[test]
    fn promtool_has_nothing_to_say() {
        for (summary, verdict) in [fixture::typical(), fixture::all_lost(), fixture::faulted()] {
            assert_eq!(crate::openmetrics::lint::problems(&text(&summary, &verdict)), [""; 0]);
        }
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
        let text = super::text(&summary, &verdict);
        assert!(text.contains("loadtest_rtt_p50_seconds{scenario=\"50x5m\"} inf\n"), "{text}");
        let (summary, verdict) = fixture::nothing_answered();
        let text = super::text(&summary, &verdict);
        assert!(!text.contains("loadtest_rtt_p50"), "{text}");
        assert!(text.contains("outcome=\"inconclusive\"} 1.0\n"), "{text}");
    }

    #[test]
    fn hostile_text_stays_a_label() {
        let (mut summary, mut verdict) = fixture::hostile();
        summary.environment.name = "a\"} 1\nloadtest_verdict{x=\"\\".into();
        verdict.gates.push(verdict.gates[0].clone());
        let text = super::text(&summary, &verdict);
        assert!(text.lines().all(|line| line.starts_with(['#', 'l'])), "{text}");
        let series: Vec<_> = text.lines().filter_map(|l| l.rsplit_once(' ')).map(|(s, _)| s).collect();
        let samples = || series.iter().filter(|s| !s.starts_with('#'));
        assert_eq!(samples().collect::<HashSet<_>>().len(), samples().count(), "a series appears twice");
    }
}
