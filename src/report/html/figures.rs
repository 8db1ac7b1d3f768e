//! Metrics for the page, chosen and put into rows.

use crate::metrics::{Definition, Group, Metric, Summary};

/// One latency with all its statistics.
pub(super) struct LatencyRow<'s> {
    pub group: &'static str,
    pub help: &'static str,
    /// Measured on the load generator, not on the system under test.
    pub of_instrument: bool,
    pub cells: Vec<&'s Metric>,
}

/// The wanted metrics, in the order of the catalogue.
pub(super) fn chosen(summary: &Summary, wanted: impl Fn(&Definition) -> bool) -> Vec<&Metric> {
    summary.metrics.iter().filter(|m| wanted(m.definition)).collect()
}

/// The metrics of a group without the statistics of latencies.
pub(super) fn of_group(summary: &Summary, group: Group) -> Vec<&Metric> {
    chosen(summary, |d| d.group == group && d.statistic().is_none())
}

pub(super) fn latencies<'s>(summary: &'s Summary, blocks: &[[Definition; 8]]) -> Vec<LatencyRow<'s>> {
    let row = |block: &[Definition; 8]| {
        // A help reads `latency: statistic`; the column names the statistic.
        let help = block[0].help.rsplit_once(": ").map_or(block[0].help, |(what, _)| what);
        LatencyRow {
            // Without its statistic.
            group: block[0].name.rsplit_once('.').map_or(block[0].name, |(name, _)| name),
            help: help.strip_prefix("instrument: ").unwrap_or(help),
            of_instrument: block[0].group == Group::Instrument,
            cells: block.iter().filter_map(|d| summary.metric(d.name)).collect(),
        }
    };
    blocks.iter().map(row).collect()
}
