//! Parts that charts over the run's time share: the axis, the phases, series per second.

use super::axis::Axis;
use super::canvas::{Canvas, Rect, SHADE};
use super::faults;
use super::legend::{LegendKey, Mark};
use super::panel::{Panel, Point};
use super::theme::Ink;
use crate::gate::{Doubt, Extent};
use crate::metrics::Summary;
use crate::record::{Phase, SecondRecord};

/// The height of a strip below a panel.
pub(super) const STRIP_EMS: f64 = 0.25;

/// The name of the axis.
pub(super) const TIME: &str = "time since the start of the run, min:s";

/// Writes the legend: the chart's own keys, those of the phases, of seconds that are not quiet, and of faults.
pub(super) fn legend(canvas: &mut Canvas, mut keys: Vec<LegendKey<'_>>, summary: &Summary) {
    let [phases, not_quiet] = match canvas.is_narrow() {
        true => ["not measured", "not quiet"],
        false => ["ramp, warm-up, drain: not measured", "not quiet: driver late or machine disturbed"],
    };
    keys.push(LegendKey::new(phases, Ink::Shade, Mark::Shade));
    if !canvas.not_quiet.is_empty() {
        keys.push(LegendKey::new(not_quiet, Ink::Muted, Mark::Strip));
    }
    faults::legend(canvas, keys, summary);
}

/// The x axis over the whole run.
pub(super) fn axis(canvas: &Canvas, seconds: &[SecondRecord]) -> Axis {
    let to = seconds.last().map_or(0.0, |s| f64::from(s.second) + 1.0);
    Axis::time(0.0, to, if canvas.is_narrow() { 6 } else { 12 })
}

/// A panel over the whole run with its phases shaded.
pub(super) fn panel<'c>(
    canvas: &'c Canvas,
    place: Rect,
    title: &str,
    y: Axis,
    seconds: &[SecondRecord],
) -> Panel<'c> {
    let panel = Panel::new(canvas, place, axis(canvas, seconds), y);
    shade_phases(&panel, seconds);
    panel.frame(title);
    panel
}

/// Shades all but the measured window, and draws a strip below seconds that are not quiet.
pub(super) fn shade_phases(panel: &Panel<'_>, seconds: &[SecondRecord]) {
    for (first, last) in not_measured(seconds) {
        panel.shade(f64::from(first), f64::from(last) + 1.0, Ink::Shade);
    }
    strip_not_quiet(panel);
}

fn strip_not_quiet(panel: &Panel<'_>) {
    let (canvas, bottom) = (panel.canvas, panel.place.bottom);
    for (first, last) in &canvas.not_quiet {
        let from = (panel.across(f64::from(*first)), bottom);
        let to = (panel.across(f64::from(*last) + 1.0), bottom + canvas.px(STRIP_EMS));
        panel.within(|| canvas.block(from, to, Ink::Muted, 1.0));
    }
}

/// As [`shade_phases`] for a panel filled by an image, which shading would discolour: a strip above it.
pub(super) fn strip_phases(panel: &Panel<'_>, seconds: &[SecondRecord]) {
    let (canvas, top) = (panel.canvas, panel.place.top);
    for (first, last) in not_measured(seconds) {
        let from = (panel.across(f64::from(first)), top - canvas.px(0.45));
        let to = (panel.across(f64::from(last) + 1.0), top);
        panel.within(|| canvas.block(from, to, Ink::Shade, SHADE * 2.0));
    }
    strip_not_quiet(panel);
}

/// Stretches outside the measured window.
fn not_measured(seconds: &[SecondRecord]) -> Vec<Stretch> {
    stretches(seconds, |s| s.phase != Phase::Hold)
}

/// The first and the last of seconds in a row.
pub(super) type Stretch = (u32, u32);

/// Stretches of the measured window that are not quiet, where the doubt about the run makes figures rest on
/// the quiet ones.
pub(super) fn not_quiet(summary: &Summary, doubt: &Doubt) -> Vec<Stretch> {
    match &doubt.quiet {
        Some(quiet) if doubt.extent == Extent::Limits => {
            stretches(&summary.seconds, |s| s.phase == Phase::Hold && !quiet.seconds.contains(&s.second))
        }
        _ => Vec::new(),
    }
}

fn stretches(seconds: &[SecondRecord], is_part: impl Fn(&SecondRecord) -> bool) -> Vec<Stretch> {
    let alike = seconds.chunk_by(|a, b| is_part(a) == is_part(b));
    let ends = alike.filter_map(|stretch| Some((stretch.first()?, stretch.last()?)));
    ends.filter(|(first, _)| is_part(first)).map(|(first, last)| (first.second, last.second)).collect()
}

/// A value per second, in the second's middle, with a gap where records are missing.
pub(super) fn series<'s>(
    seconds: &'s [SecondRecord],
    value: impl Fn(&SecondRecord) -> Option<f64> + 's,
) -> impl Iterator<Item = Point> + 's {
    let mut next = None;
    seconds.iter().flat_map(move |s| {
        let hole = next.is_some_and(|n| n != s.second).then_some((f64::from(s.second), None));
        next = s.second.checked_add(1);
        hole.into_iter().chain([(f64::from(s.second) + 0.5, value(s))])
    })
}
