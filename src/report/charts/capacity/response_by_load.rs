//! `response-by-load.png`: percentiles of a conversation's responses against the load, with the gates' bounds.

use super::super::Chart;
use super::super::legend::{LegendKey, Mark};
use super::super::theme::Ink;
use super::latency::{self, Latency};
use super::panels::TrialSeries;
use crate::report::capacity::CapacityReport;

/// Drawn in this order, the last on top.
const SERIES: [TrialSeries; 2] = [
    TrialSeries::new("95th percentile", Ink::Orange, 0.11, |t| t.figures.turn_response_p95_ms.number()),
    TrialSeries::new("median", Ink::Blue, 0.13, |t| t.figures.turn_response_p50_ms.number()),
];

static RESPONSE: Latency = Latency {
    series: &SERIES,
    metric: "turn.response",
    axis: "end of speech to answer, ms (logarithmic)",
    // A turn without an answer is in no percentile.
    lost: LegendKey::new("no answer", Ink::Vermillion, Mark::Cross),
    is_lost: |_| false,
};

/// True of a search whose callers talked, or whose gates want them to.
pub(super) fn has_turns(report: &CapacityReport) -> bool {
    latency::is_measured(report, &RESPONSE) || latency::is_judged(report, &RESPONSE)
}

pub(super) const CHART: Chart<CapacityReport> = Chart {
    path: "plots/response-by-load.png",
    section: "response",
    title: "Response of the service against the load",
    caption: "From the end of a caller's speech to the first voiced sample of the answer. A dot is one trial, the line goes \
              through the median of a load's trials. Where it leaves the level of few calls, callers begin to wait for \
              the service; a 95th percentile that leaves first is a queue that some of them meet. Turns without an answer \
              are in no percentile.",
    figures: &[
        ("capacity", "capacity"),
        ("at the lower bound, median response", "turn_response_p50_ms"),
        ("95th percentile", "turn_response_p95_ms"),
    ],
    applies: has_turns,
    draw: |canvas, report| latency::draw(canvas, report, &RESPONSE),
};
