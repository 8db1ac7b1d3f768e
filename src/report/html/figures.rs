//! Metrics as text for the page: for people, and for programs that read the page.

use crate::metrics::{Definition, Group, Metric, Summary};
use crate::report::{json, words};

/// A metric's value as text.
#[derive(Debug, Clone, Default)]
pub(super) struct MetricText {
    pub name: String,
    /// The value as `summary.json` has it; empty where nothing was measured.
    pub machine: String,
    /// The value for people, with its unit.
    pub shown: String,
    /// As `shown` without the unit, for tables whose head names it.
    pub bare: String,
    pub too_few: bool,
    pub help: &'static str,
}

/// One latency with all its statistics.
pub(super) struct LatencyRow {
    pub group: &'static str,
    pub help: &'static str,
    /// Measured on the load generator, not on the system under test.
    pub of_instrument: bool,
    pub cells: Vec<MetricText>,
}

/// The metric of a name; a dash where the summary has none.
pub(super) fn figure(summary: &Summary, name: &str) -> MetricText {
    let none =
        || MetricText { name: name.into(), shown: "–".into(), bare: "–".into(), ..MetricText::default() };
    summary.metric(name).map_or_else(none, MetricText::from)
}

/// The wanted metrics, in the order of the catalogue.
pub(super) fn chosen(summary: &Summary, wanted: impl Fn(&Definition) -> bool) -> Vec<MetricText> {
    summary.metrics.iter().filter(|m| wanted(m.definition)).map(MetricText::from).collect()
}

/// The metrics of a group without the statistics of latencies.
pub(super) fn of_group(summary: &Summary, group: Group) -> Vec<MetricText> {
    chosen(summary, |d| d.group == group && d.statistic().is_none())
}

pub(super) fn latencies(summary: &Summary, blocks: &[[Definition; 8]]) -> Vec<LatencyRow> {
    let row = |block: &[Definition; 8]| {
        // A help reads `latency: statistic`; the column names the statistic.
        let help = block[0].help.rsplit_once(": ").map_or(block[0].help, |(what, _)| what);
        LatencyRow {
            group: block[0].family(),
            help: help.strip_prefix("instrument: ").unwrap_or(help),
            of_instrument: block[0].group == Group::Instrument,
            cells: block.iter().map(|d| figure(summary, d.name)).collect(),
        }
    };
    blocks.iter().map(row).collect()
}

impl From<&Metric> for MetricText {
    fn from(metric: &Metric) -> MetricText {
        MetricText {
            name: metric.name().into(),
            machine: json::number(metric),
            shown: metric.to_string(),
            bare: words::bare(metric),
            too_few: metric.too_few,
            help: metric.definition.help,
        }
    }
}
