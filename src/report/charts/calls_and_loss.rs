//! `calls-and-loss.png`: calls up, attempts and failures, packets lost and late per second.

use super::axis::Axis;
use super::canvas::{Canvas, Rect};
use super::legend::{LegendKey, Mark};
use super::panel::Panel;
use super::theme::Ink;
use super::{Chart, faults, timeline};
use crate::metrics::Summary;
use crate::record::SecondRecord;

const UP: LegendKey<'static> = LegendKey::new("calls up", Ink::Blue, Mark::Line);
const ATTEMPTS: LegendKey<'static> = LegendKey::new("attempts", Ink::Sky, Mark::Block);
const LATE: LegendKey<'static> = LegendKey::new("late packets", Ink::Orange, Mark::Block);
const FAILED: LegendKey<'static> =
    LegendKey::new("failed attempts, lost packets", Ink::Vermillion, Mark::Block);

pub(super) const CHART: Chart = Chart {
    path: "plots/calls-and-loss.png",
    section: "loss",
    title: "Calls, and packets lost or late",
    caption: "Loss and lateness in one spike are an event worth finding in a log; spread evenly they are \
              load.",
    figures: &[
        ("attempts", "calls.attempts"),
        ("failed", "calls.failed_count"),
        ("packets lost", "loss.count"),
        ("late", "late.count"),
    ],
    applies: super::is_echo,
    draw,
};

/// Calls of which no packet is awaited.
pub(super) const CALLS: Chart = Chart {
    path: "plots/calls.png",
    section: "loss",
    title: "Calls up, attempts and failures",
    caption: "Attempts that fail together have a cause outside of the media: see the endings.",
    figures: &[("attempts", "calls.attempts"), ("failed", "calls.failed_count")],
    applies: super::is_no_echo,
    draw: draw_calls,
};

fn draw_calls(canvas: &mut Canvas, summary: &Summary) {
    let failed = LegendKey { label: "failed attempts", ..FAILED };
    let mut keys = vec![UP, ATTEMPTS];
    keys.extend(summary.seconds.iter().any(|s| s.failed > 0).then_some(failed));
    timeline::legend(canvas, keys, summary);
    let [up, attempts] = canvas.rows([1.0, 0.8]);
    let seconds = &summary.seconds;
    faults::mark(&calls_up(canvas, up, seconds), summary);
    let panel = attempts_per_second(canvas, attempts, seconds, &failed);
    panel.x_axis(timeline::TIME);
    faults::lines(&panel, summary);
}

fn draw(canvas: &mut Canvas, summary: &Summary) {
    timeline::legend(canvas, vec![UP, ATTEMPTS, LATE, FAILED], summary);
    let [up, attempts, packets] = canvas.rows([1.0, 0.8, 1.0]);
    let seconds = &summary.seconds;
    faults::mark(&calls_up(canvas, up, seconds), summary);
    faults::lines(&attempts_per_second(canvas, attempts, seconds, &FAILED), summary);
    faults::lines(&packets_per_second(canvas, packets, seconds), summary);
}

fn calls_up<'c>(canvas: &'c Canvas, place: Rect, seconds: &[SecondRecord]) -> Panel<'c> {
    let most = seconds.iter().map(|s| s.calls_up).max().unwrap_or(0);
    let y = Axis::linear(most.into(), place.labels(canvas), 1.0);
    let panel = timeline::panel(canvas, place, "calls up", y, seconds);
    // Counted at the end of each second.
    let ends = timeline::series(seconds, |s| Some(f64::from(s.calls_up))).map(|(x, y)| (x + 0.5, y));
    panel.area([(0.0, Some(0.0))].into_iter().chain(ends), &UP);
    panel
}

fn attempts_per_second<'c>(
    canvas: &'c Canvas,
    place: Rect,
    seconds: &[SecondRecord],
    failed: &LegendKey<'_>,
) -> Panel<'c> {
    let most = seconds.iter().map(|s| s.attempts.max(s.failed)).max().unwrap_or(0);
    let y = Axis::linear(most.into(), place.labels(canvas), 1.0);
    let panel = timeline::panel(canvas, place, "attempts and failures per second", y, seconds);
    let bars = |of: fn(&SecondRecord) -> u32| {
        seconds.iter().map(move |s| (f64::from(s.second), 0.0, f64::from(of(s))))
    };
    panel.bars(bars(|s| s.attempts), &ATTEMPTS);
    panel.bars(bars(|s| s.failed), failed);
    panel
}

fn packets_per_second<'c>(canvas: &'c Canvas, place: Rect, seconds: &[SecondRecord]) -> Panel<'c> {
    let most = seconds.iter().map(|s| s.lost + s.late).max().unwrap_or(0);
    let y = Axis::linear(most as f64, place.labels(canvas), 1.0);
    let panel = timeline::panel(canvas, place, "packets lost and late per second", y, seconds);
    panel.x_axis(timeline::TIME);
    panel.bars(seconds.iter().map(|s| (f64::from(s.second), 0.0, s.late as f64)), &LATE);
    let on_top = |s: &SecondRecord| (f64::from(s.second), s.late as f64, (s.late + s.lost) as f64);
    panel.bars(seconds.iter().map(on_top), &FAILED);
    if most == 0 {
        panel.message("no packet was lost or late");
    }
    panel
}
