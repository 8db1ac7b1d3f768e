//! `rtt-by-load.png`: percentiles of the round trip against the load, with the gates' bounds.

use plotters::style::text_anchor::{HPos, VPos};

use super::super::Chart;
use super::super::axis::Axis;
use super::super::canvas::{Canvas, Style};
use super::super::legend::{LegendKey, Mark};
use super::super::panel::Panel;
use super::super::theme::Ink;
use super::panels::{self, TrialSeries};
use crate::gate::{Gate, Subject};
use crate::report::capacity::{CapacityReport, TrialReport};
use crate::report::words::one_line;
use crate::search::Figures;
use crate::values::{Unit, Value};

/// Drawn in this order, the last on top.
const SERIES: [TrialSeries; 3] = [
    TrialSeries::new("99th percentile", Ink::Orange, 0.11, |t| t.figures.rtt_p99_ms.number()),
    TrialSeries::new("95th percentile", Ink::Green, 0.11, |t| t.figures.rtt_p95_ms.number()),
    TrialSeries::new("median", Ink::Blue, 0.13, |t| t.figures.rtt_p50_ms.number()),
];

const LOST: LegendKey<'static> = LegendKey::new("among the lost packets", Ink::Vermillion, Mark::Cross);
const GATE: LegendKey<'static> = LegendKey::new("a gate's bound", Ink::Vermillion, Mark::DashedAcross);

/// Most bounds of gates that are drawn.
const MOST_GATES: usize = 4;

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
    draw,
};

fn draw(canvas: &mut Canvas, report: &CapacityReport) {
    let lost: Vec<_> = report.trials.iter().filter(|trial| is_lost(&trial.figures)).collect();
    let gates = gates(report);
    let mut keys: Vec<LegendKey<'_>> = SERIES.iter().rev().map(|series| series.key).collect();
    if !lost.is_empty() {
        keys.push(LOST);
    }
    if !gates.is_empty() {
        keys.push(GATE);
    }
    panels::legend(canvas, keys, report);
    let [place] = canvas.rows([1.0]);
    let bounds = gates.iter().map(|gate| gate.bound);
    let y = Axis::log_ms(panels::values(report, &SERIES).chain(bounds), place.log_labels(canvas));
    let panel = panels::panel(canvas, place, "round trip, ms (logarithmic)", y, report);
    panel.x_axis(panels::axis_name(report));
    gates.iter().for_each(|gate| bound(&panel, gate));
    SERIES.iter().for_each(|series| panels::draw(&panel, report, series));
    mark_lost(&panel, &lost);
}

/// Draws a gate's bound with its words.
fn bound(panel: &Panel<'_>, gate: &Gate) {
    panel.dashed_across(gate.bound, GATE.ink);
    let (left, y) = (panel.place.left + panel.canvas.px(0.6), panel.pixel(0.0, gate.bound).1);
    let style = Style::NOTE.ink(Ink::Text).anchored(HPos::Left, VPos::Center);
    panel.canvas.patch(&one_line(&gate.text), (left, y), style);
}

/// Crosses at the top where a percentile falls among the packets that never came back.
fn mark_lost(panel: &Panel<'_>, lost: &[&TrialReport]) {
    let y = panel.place.top + panel.canvas.px(0.5);
    panel.series(&LOST, || {
        let places = lost.iter().map(|trial| (panel.across(trial.load), y));
        panels::apart(places).for_each(|at| panel.canvas.cross(at, LOST.ink));
    });
}

fn is_lost(figures: &Figures) -> bool {
    [figures.rtt_p50_ms, figures.rtt_p95_ms, figures.rtt_p99_ms].contains(&Value::Lost)
}

/// Gates over percentiles of the round trip, each bound once.
fn gates(report: &CapacityReport) -> Vec<Gate> {
    let mut gates: Vec<Gate> = Vec::new();
    for text in report.goals.iter().flat_map(|goal| &goal.gates) {
        // A gate of another version's metrics is left out.
        let Ok(gate) = Gate::parse(text) else { continue };
        let is_rtt = matches!(gate.subject, Subject::Run(metric) if metric.unit == Unit::Ms && metric.family() == "rtt");
        if is_rtt && gate.bound > 0.0 && gates.iter().all(|known| known.bound != gate.bound) {
            gates.push(gate);
        }
    }
    gates.truncate(MOST_GATES);
    gates
}
