//! `rtt-over-time.png`: median, percentiles and largest round trip per second.

use super::axis::Axis;
use super::canvas::Canvas;
use super::legend::{LegendKey, LineSeries, Mark};
use super::panel::Panel;
use super::theme::Ink;
use super::{Chart, faults, timeline};
use crate::metrics::Summary;
use crate::record::SecondRecord;
use crate::values::Ns;

/// Drawn in this order, the last on top.
const SERIES: [LineSeries<SecondRecord>; 5] = [
    LineSeries::new("largest", Ink::Purple, 0.1, |s| s.rtt_max_ms.map(Ns::as_ms)),
    LineSeries::new("99th percentile", Ink::Orange, 0.11, |s| s.rtt_p99_ms.map(Ns::as_ms)),
    LineSeries::new("control stream, 99th percentile", Ink::Sky, 0.1, |s| s.control_p99_ms.map(Ns::as_ms)),
    LineSeries::new("95th percentile", Ink::Green, 0.11, |s| s.rtt_p95_ms.map(Ns::as_ms)),
    LineSeries::new("median", Ink::Blue, 0.13, |s| s.rtt_p50_ms.map(Ns::as_ms)),
];

const LOST: LegendKey<'static> = LegendKey::new("second with lost packets", Ink::Vermillion, Mark::Stroke);

pub(super) const CHART: Chart = Chart {
    path: "plots/rtt-over-time.png",
    section: "over-time",
    title: "Round trip of packets, second by second",
    caption: "Each line is one percentile of the packets that came back of a second (lost ones are marked \
              at the top): lines that rise together are a queue, a top line that leaves the others is a \
              stall of a few packets.",
    figures: &[("median", "rtt.p50"), ("99th percentile", "rtt.p99"), ("largest", "rtt.max")],
    applies: super::is_echo,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let seconds = &summary.seconds;
    let mut keys: Vec<LegendKey<'_>> = SERIES.iter().map(|series| series.key).collect();
    if seconds.iter().any(|s| s.lost > 0) {
        keys.push(LOST);
    }
    let values = SERIES.iter().flat_map(|series| seconds.iter().filter_map(series.value));
    let late = late_threshold(summary).filter(|late| Axis::log_ms(values.clone(), 8).contains(*late));
    let late_label = format!("late: {} ms above the smallest", summary.environment.late_after_ms);
    if late.is_some() {
        keys.push(LegendKey { label: &late_label, ink: Ink::Vermillion, mark: Mark::DashedAcross });
    }
    timeline::legend(canvas, keys, summary);

    let [place] = canvas.rows([1.0]);
    let y = Axis::log_ms(values.clone(), place.log_labels(canvas));
    let panel = timeline::panel(canvas, place, "round trip, ms (logarithmic)", y, seconds);
    panel.x_axis(timeline::TIME);
    for series in &SERIES {
        panel.line(timeline::series(seconds, series.value), series);
    }
    if let Some(late) = late {
        panel.dashed_across(late, Ink::Vermillion);
    }
    faults::mark(&panel, summary);
    lost_seconds(&panel, seconds);
    if values.count() == 0 {
        panel.message("no packet came back");
    }
}

/// Packets that never came back have no round trip to draw: their seconds are marked at the top.
fn lost_seconds(panel: &Panel<'_>, seconds: &[SecondRecord]) {
    let canvas = panel.canvas;
    let mut places: Vec<(i32, (f64, f64))> = Vec::new();
    for second in seconds.iter().filter(|s| s.lost > 0) {
        let middle = f64::from(second.second) + 0.5;
        let x = panel.across(middle);
        if places.last().is_none_or(|(last, _)| *last != x) {
            places.push((x, (middle, second.lost as f64)));
        }
    }
    panel.note_series(places.iter().map(|(_, noted)| *noted), &LOST);
    let y = panel.place.top + canvas.px(0.55);
    panel.series(&LOST, || places.iter().for_each(|(x, _)| canvas.stroke((*x, y), LOST.ink)));
}

/// The round trip above which a packet of the fastest call would have been late.
fn late_threshold(summary: &Summary) -> Option<f64> {
    let fastest = summary.metric("rtt.min")?.value.number()?;
    Some(fastest + summary.environment.late_after_ms)
}
