//! `loss-by-load.png`: packets lost, and set-up times, against the load.

use super::super::Chart;
use super::super::axis::Axis;
use super::super::canvas::Canvas;
use super::super::theme::Ink;
use super::panels::{self, TrialSeries};
use crate::report::capacity::CapacityReport;

const LOSS: [TrialSeries; 1] = [TrialSeries::new("packets lost", Ink::Vermillion, 0.12, |t| {
    t.figures.loss_ratio.number().map(|ratio| ratio * 100.0)
})];

/// Drawn in this order, the last on top.
const SETUP: [TrialSeries; 2] = [
    TrialSeries::new("its 95th percentile", Ink::Orange, 0.11, |t| t.figures.srd_p95_ms.number()),
    TrialSeries::new("median session request delay", Ink::Blue, 0.13, |t| t.figures.srd_p50_ms.number()),
];

pub(super) const CHART: Chart<CapacityReport> = Chart {
    path: "plots/loss-by-load.png",
    section: "loss",
    title: "Loss and set-up times against the load",
    caption: "The session request delay is from INVITE to the first 18x or 200. It is measured while the ramp places \
              calls, so it tells of the signalling; loss is of the hold, with all calls up.",
    figures: &[
        ("capacity", "capacity"),
        ("at the lower bound, packets lost", "loss_ratio"),
        ("median session request delay", "srd_p50_ms"),
        ("95th percentile", "srd_p95_ms"),
    ],
    applies: |_| true,
    draw,
};

fn draw(canvas: &mut Canvas, report: &CapacityReport) {
    let keys = LOSS.iter().chain(SETUP.iter().rev()).map(|series| series.key).collect();
    panels::legend(canvas, keys, report);
    let [loss, setup] = canvas.rows([1.0, 1.0]);
    let most = panels::values(report, &LOSS).fold(0.0, f64::max);
    let panel =
        panels::panel(canvas, loss, "packets lost, %", Axis::linear(most, loss.labels(canvas), 0.0), report);
    panels::draw(&panel, report, &LOSS[0]);
    if panels::values(report, &LOSS).next().is_none() {
        panel.message("not measured");
    } else if most == 0.0 {
        panel.message("no packet was lost");
    }
    let y = Axis::log_ms(panels::values(report, &SETUP), setup.log_labels(canvas));
    let panel = panels::panel(canvas, setup, "session request delay, ms (logarithmic)", y, report);
    panel.x_axis(panels::axis_name(report));
    SETUP.iter().for_each(|series| panels::draw(&panel, report, series));
    if panels::values(report, &SETUP).next().is_none() {
        panel.message("no call was answered");
    }
}
