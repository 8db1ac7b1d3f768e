//! What charts over the run's time have in common: the axis, the phases, series per second.

use super::axis::Axis;
use super::figure::{Drawn, Figure, Key, Mark};
use super::panel::{Panel, Point};
use super::theme::Ink;
use crate::analysis::Summary;
use crate::samples::{Phase, SecondRecord};

/// The name of the axis.
pub(super) const TIME: &str = "time since the start of the run, min:s";

/// The legend's entry for what [`shade_phases`] shades.
pub(super) const NOT_MEASURED: Key<'static> =
    Key { label: "ramp, warm-up, drain: not measured", ink: Ink::Shade, mark: Mark::Shade };

/// The whole run.
pub(super) fn axis(figure: &Figure<'_>, seconds: &[SecondRecord]) -> Axis {
    let to = seconds.last().map_or(0.0, |s| f64::from(s.second) + 1.0);
    Axis::time(0.0, to, if figure.is_narrow() { 6 } else { 12 })
}

/// Shades all that is not the measured window.
pub(super) fn shade_phases(panel: &Panel<'_, '_>, seconds: &[SecondRecord]) -> Drawn {
    for stretch in seconds.chunk_by(|a, b| (a.phase == Phase::Hold) == (b.phase == Phase::Hold)) {
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
        if first.phase != Phase::Hold {
            panel.shade(f64::from(first.second), f64::from(last.second) + 1.0, Ink::Shade)?;
        }
    }
    Ok(())
}

/// Marks each fault where it was done; `labelled` where there is room for words.
pub(super) fn mark_faults(panel: &Panel<'_, '_>, summary: &Summary, labelled: bool) -> Drawn {
    for fault in &summary.faults {
        panel.down(fault.fault.done_s, Ink::Vermillion)?;
        if labelled {
            panel.beside(fault.fault.done_s, &fault.what())?;
        }
    }
    Ok(())
}

/// A value per second, drawn in the second's middle, with a gap where records are missing.
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
