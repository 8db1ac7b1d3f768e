//! Percentiles of a latency against the load, with the bounds of the gates over it.

use plotters::style::text_anchor::{HPos, VPos};

use super::super::axis::Axis;
use super::super::canvas::{Canvas, Style};
use super::super::legend::{LegendKey, Mark};
use super::super::panel::Panel;
use super::super::theme::Ink;
use super::panels::{self, TrialSeries};
use crate::gate::{Gate, Subject};
use crate::metrics::Definition;
use crate::report::capacity::{CapacityReport, TrialReport};
use crate::report::words::one_line;
use crate::values::{Unit, Value};

const GATE: LegendKey<'static> = LegendKey::new("a gate's bound", Ink::Vermillion, Mark::DashedAcross);

/// Most bounds of gates that are drawn.
const MOST_GATES: usize = 4;

/// A latency.
pub(super) struct Latency {
    /// Drawn in this order, the last on top.
    pub series: &'static [TrialSeries],
    /// Prefix of its metrics' names.
    pub metric: &'static str,
    /// Name of the y axis.
    pub axis: &'static str,
    /// Mark of trials in which a percentile falls among what was lost.
    pub lost: LegendKey<'static>,
    pub is_lost: fn(&TrialReport) -> bool,
}

/// True of a search with trials that have a number of it, or lost it.
pub(super) fn is_measured(report: &CapacityReport, latency: &Latency) -> bool {
    panels::values(report, latency.series).next().is_some() || report.trials.iter().any(latency.is_lost)
}

/// True of a search with a gate over it.
pub(super) fn is_judged(report: &CapacityReport, latency: &Latency) -> bool {
    !gates(report, latency.metric).is_empty()
}

pub(super) fn draw(canvas: &mut Canvas, report: &CapacityReport, latency: &Latency) {
    let lost: Vec<_> = report.trials.iter().filter(|trial| (latency.is_lost)(trial)).collect();
    let gates = gates(report, latency.metric);
    let mut keys: Vec<LegendKey<'_>> = latency.series.iter().rev().map(|series| series.key).collect();
    if !lost.is_empty() {
        keys.push(latency.lost);
    }
    if !gates.is_empty() {
        keys.push(GATE);
    }
    panels::legend(canvas, keys, report);
    let [place] = canvas.rows([1.0]);
    let bounds = gates.iter().map(|gate| gate.bound);
    let values = panels::values(report, latency.series).chain(bounds);
    let y = Axis::log_ms(values, place.log_labels(canvas));
    let panel = panels::panel(canvas, place, latency.axis, y, report);
    panel.x_axis(panels::axis_name(report));
    gates.iter().for_each(|gate| bound(&panel, gate));
    latency.series.iter().for_each(|series| panels::draw(&panel, report, series));
    mark_lost(&panel, &lost, &latency.lost);
}

/// Draws a gate's bound with its words.
fn bound(panel: &Panel<'_>, gate: &Gate) {
    panel.dashed_across(gate.bound, GATE.ink);
    let (left, y) = (panel.place.left + panel.canvas.px(0.6), panel.pixel(0.0, gate.bound).1);
    let style = Style::NOTE.ink(Ink::Text).anchored(HPos::Left, VPos::Center);
    panel.canvas.patch(&one_line(&gate.text), (left, y), style);
}

/// Crosses at the top where a percentile falls among the packets that never came back.
fn mark_lost(panel: &Panel<'_>, lost: &[&TrialReport], key: &LegendKey<'_>) {
    let y = panel.place.top + panel.canvas.px(0.5);
    panel.series(key, || {
        let places = lost.iter().map(|trial| (panel.across(trial.load), y));
        panels::apart(places).for_each(|at| panel.canvas.cross(at, key.ink));
    });
}

/// Gates over percentiles of a latency, each bound once.
fn gates(report: &CapacityReport, name: &str) -> Vec<Gate> {
    let mut gates: Vec<Gate> = Vec::new();
    for text in report.goals.iter().flat_map(|goal| &goal.gates) {
        // A gate of another version's metrics is left out.
        let Ok(gate) = Gate::parse(text) else { continue };
        let is_of_it = |metric: &Definition| {
            metric.unit == Unit::Ms
                && metric.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        };
        let is_its = matches!(gate.subject, Subject::Run(metric) if is_of_it(metric));
        if is_its && gate.bound > 0.0 && gates.iter().all(|known| known.bound != gate.bound) {
            gates.push(gate);
        }
    }
    gates.truncate(MOST_GATES);
    gates
}

/// True if one of these falls among what was lost.
pub(super) fn among_lost(values: &[Value]) -> bool {
    values.contains(&Value::Lost)
}
