//! `rtt-by-load.png`: percentiles of the round trip against the load, with the gates' bounds.

use super::super::Chart;
use super::super::legend::{LegendKey, Mark};
use super::super::theme::Ink;
use super::latency::{self, Latency};
use super::panels::TrialSeries;
use crate::report::capacity::CapacityReport;

/// Drawn in this order, the last on top.
const SERIES: [TrialSeries; 3] = [
    TrialSeries::new("99th percentile", Ink::Orange, 0.11, |t| t.figures.rtt_p99_ms.number()),
    TrialSeries::new("95th percentile", Ink::Green, 0.11, |t| t.figures.rtt_p95_ms.number()),
    TrialSeries::new("median", Ink::Blue, 0.13, |t| t.figures.rtt_p50_ms.number()),
];

static RTT: Latency = Latency {
    series: &SERIES,
    metric: "rtt",
    axis: "round trip, ms (logarithmic)",
    lost: LegendKey::new("among the lost packets", Ink::Vermillion, Mark::Cross),
    is_lost: |trial| {
        let figures = &trial.figures;
        latency::among_lost(&[figures.rtt_p50_ms, figures.rtt_p95_ms, figures.rtt_p99_ms])
    },
};

pub(super) const CHART: Chart<CapacityReport> = Chart {
    path: "plots/rtt-by-load.png",
    section: "rtt",
    title: "Round trip of packets against the load",
    caption: "A dot is one trial, the line goes through the median of a load's trials. A median that climbs with the \
              load is a queue; a 99th percentile that leaves it is a stall that more load makes longer. The \
              gate's bound is crossed by single trials before the line crosses it: the shaded bounds say how often that may be.",
    figures: &[
        ("capacity", "capacity"),
        ("at the lower bound, median", "rtt_p50_ms"),
        ("99th percentile", "rtt_p99_ms"),
    ],
    // Where callers talk or play bursts, no packet comes back; a gate alone shows where the search was to look.
    applies: |report| {
        latency::is_measured(report, &RTT) || latency::is_judged(report, &RTT) && !super::has_turns(report)
    },
    draw: |canvas, report| latency::draw(canvas, report, &RTT),
};
