//! Parts that charts over the run's time share: the axis, the phases, series per second.

use super::axis::Axis;
use super::canvas::{Canvas, SHADE};
use super::legend::{LegendKey, Mark};
use super::panel::{Panel, Point};
use super::theme::Ink;
use crate::record::{Phase, SecondRecord};

/// The name of the axis.
pub(super) const TIME: &str = "time since the start of the run, min:s";

/// The legend's entry for stretches that [`shade_phases`] shades.
pub(super) fn not_measured_key(canvas: &Canvas) -> LegendKey<'static> {
    let label = if canvas.is_narrow() { "not measured" } else { "ramp, warm-up, drain: not measured" };
    LegendKey::new(label, Ink::Shade, Mark::Shade)
}

/// The x axis over the whole run.
pub(super) fn axis(canvas: &Canvas, seconds: &[SecondRecord]) -> Axis {
    let to = seconds.last().map_or(0.0, |s| f64::from(s.second) + 1.0);
    Axis::time(0.0, to, if canvas.is_narrow() { 6 } else { 12 })
}

/// Shades all but the measured window.
pub(super) fn shade_phases(panel: &Panel<'_>, seconds: &[SecondRecord]) {
    for (first, last) in not_measured(seconds) {
        panel.shade(f64::from(first), f64::from(last) + 1.0, Ink::Shade);
    }
}

/// As [`shade_phases`] for a panel filled by an image, which shading would discolour: a strip above it.
pub(super) fn strip_phases(panel: &Panel<'_>, seconds: &[SecondRecord]) {
    let (canvas, top) = (panel.canvas(), panel.place().top);
    for (first, last) in not_measured(seconds) {
        let from = (panel.across(f64::from(first)), top - canvas.px(0.45));
        let to = (panel.across(f64::from(last) + 1.0), top);
        panel.within(|| canvas.block(from, to, Ink::Shade, SHADE * 2.0));
    }
}

/// The first and last second of each stretch outside the measured window.
fn not_measured(seconds: &[SecondRecord]) -> impl Iterator<Item = (u32, u32)> {
    seconds.chunk_by(|a, b| (a.phase == Phase::Hold) == (b.phase == Phase::Hold)).filter_map(|stretch| {
        let (first, last) = (stretch.first()?, stretch.last()?);
        (first.phase != Phase::Hold).then_some((first.second, last.second))
    })
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
