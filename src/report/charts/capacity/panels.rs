//! Parts that charts over the load share: the axis, the bounds, marks of single trials.

use super::super::axis::Axis;
use super::super::canvas::{Canvas, Rect};
use super::super::legend::{LegendKey, LineSeries, Mark};
use super::super::panel::Panel;
pub(super) use super::super::panel::apart;
use super::super::theme::Ink;
use crate::report::capacity::{CapacityReport, GoalReport, TrialReport, medians, words};
use crate::report::words::one_line;
use crate::search::Kind;

/// A figure of trials as a series: a line through the medians, a mark for each trial.
pub(super) type TrialSeries = LineSeries<TrialReport>;

pub(super) const VOID: LegendKey<'static> = LegendKey::new("void trial", Ink::Muted, Mark::Ring);

/// Colours of the goals' bounds.
const BOUNDS: [Ink; 3] = [Ink::Purple, Ink::Sky, Ink::Shade];
/// Goals whose bounds are drawn: more would hide the figures.
const MOST_GOALS: usize = BOUNDS.len();

/// A goal's bounds as an entry of the legend.
struct BoundsKey {
    label: String,
    ink: Ink,
    mark: Mark,
}

/// Writes the legend: the chart's own keys, void trials, the bounds.
pub(super) fn legend(canvas: &mut Canvas, keys: Vec<LegendKey<'_>>, report: &CapacityReport) {
    let void = report.trials.iter().any(TrialReport::is_void).then_some(VOID);
    let bounds: Vec<BoundsKey> =
        shown(report).filter_map(|(goal, ink)| bounds_key(report, goal, ink)).collect();
    let bounds = bounds.iter().map(|key| LegendKey { label: &key.label, ink: key.ink, mark: key.mark });
    let keys: Vec<LegendKey<'_>> = keys.into_iter().chain(void).chain(bounds).collect();
    canvas.legend(&keys);
}

fn shown(report: &CapacityReport) -> impl Iterator<Item = (&GoalReport, Ink)> {
    report.goals.iter().zip(BOUNDS).take(MOST_GOALS)
}

fn bounds_key(report: &CapacityReport, goal: &GoalReport, ink: Ink) -> Option<BoundsKey> {
    let mark = match (goal.lower, goal.upper) {
        (None, None) => return None,
        (Some(_), Some(_)) => Mark::Shade,
        _ => Mark::DashedDown,
    };
    let name = if report.goals.len() > 1 { one_line(&goal.goal) } else { "capacity".into() };
    Some(BoundsKey { label: format!("{name}: {}", one_line(goal.parted().0)), ink, mark })
}

/// The axis of loads.
pub(super) fn axis(canvas: &Canvas, report: &CapacityReport) -> Axis {
    let most = report.trials.iter().map(|trial| trial.load).fold(0.0, f64::max);
    let least_step = if report.kind == Kind::Calls { 1.0 } else { 0.0 };
    Axis::linear_to(most * 1.03, if canvas.is_narrow() { 5 } else { 10 }, least_step)
}

/// The name of the axis of loads.
pub(super) fn axis_name(report: &CapacityReport) -> &'static str {
    match report.kind {
        Kind::Calls => "calls held at once",
        Kind::Rate => "attempts a second",
    }
}

/// A panel over the loads with the goals' bounds.
pub(super) fn panel<'c>(
    canvas: &'c Canvas,
    place: Rect,
    title: &str,
    y: Axis,
    report: &CapacityReport,
) -> Panel<'c> {
    let panel = Panel::new(canvas, place, axis(canvas, report), y);
    for (goal, ink) in shown(report) {
        if let (Some(lower), Some(upper)) = (goal.lower, goal.upper) {
            panel.shade(lower, upper, ink);
        }
        for bound in [goal.lower, goal.upper].into_iter().flatten() {
            panel.dashed_down(bound, ink);
        }
    }
    panel.frame(title);
    let loads = medians(report, |trial| Some(trial.load)).into_iter();
    panel.note_names(loads.map(|(load, _)| (load, words::load(report.kind, load))));
    if report.trials.is_empty() {
        panel.message("there was no trial");
    }
    panel
}

/// Draws a series: a line through the medians of the loads, and every trial.
pub(super) fn draw(panel: &Panel<'_>, report: &CapacityReport, series: &TrialSeries) {
    let canvas = panel.canvas;
    panel.line(medians(report, series.value).into_iter(), series);
    let of_kind = |is_void: bool| {
        let trials = report.trials.iter().filter(move |trial| trial.is_void() == is_void);
        apart(trials.filter_map(|trial| Some(panel.pixel(trial.load, (series.value)(trial)?))))
    };
    panel.series(&series.key, || of_kind(false).for_each(|at| canvas.dot(at, series.key.ink)));
    panel.series(&VOID, || of_kind(true).for_each(|at| canvas.ring(at, Ink::Muted)));
}

/// Values of series over all trials.
pub(super) fn values<'r>(
    report: &'r CapacityReport,
    series: &'r [TrialSeries],
) -> impl Iterator<Item = f64> + Clone + 'r {
    series.iter().flat_map(|series| report.trials.iter().filter_map(series.value))
}
