//! `rtt-distribution.png`: latency over percentile, every nine given the same room.

use plotters::style::text_anchor::{HPos, VPos};

use super::Chart;
use super::axis::Axis;
use super::canvas::{Canvas, Style};
use super::legend::{LegendKey, LineSeries, Mark};
use super::panel::Panel;
use super::theme::Ink;
use crate::metrics::{PercentileRow, Summary};

/// Drawn in this order, the last on top.
const SERIES: [LineSeries<PercentileRow>; 4] = [
    LineSeries::new("send lateness: what the load generator added", Ink::Green, 0.11, |r| {
        r.send_lateness.number()
    }),
    LineSeries::new("control stream: the machine without Asterisk", Ink::Sky, 0.16, |r| r.control.number()),
    LineSeries::new("round trip from the intended send time", Ink::Orange, 0.22, |r| r.rtt_intended.number()),
    LineSeries::new("round trip", Ink::Blue, 0.11, |r| r.rtt.number()),
];

/// Percentiles whose values are written above the curve.
const WRITTEN: [(&str, f64); 4] =
    [("rtt.p50", 50.0), ("rtt.p90", 90.0), ("rtt.p99", 99.0), ("rtt.p99.9", 99.9)];

pub(super) const CHART: Chart = Chart {
    path: "plots/rtt-distribution.png",
    section: "distribution",
    title: "Round trip of packets, by percentile",
    caption: "Each nine to the right leaves a tenth of the packets above it; where the two round trips \
              part, the load generator sent late and the system under test is not to blame.",
    figures: &[
        ("median", "rtt.p50"),
        ("99th percentile", "rtt.p99"),
        ("99.9th percentile", "rtt.p99.9"),
        ("lost", "loss.ratio"),
    ],
    applies: super::is_echo,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let rows = &summary.percentiles;
    let lost = lost_from(summary);
    let mut keys: Vec<LegendKey<'_>> = SERIES.iter().rev().map(|series| series.key).collect();
    if lost.is_some() {
        keys.push(LegendKey::new("lost: never came back", Ink::Vermillion, Mark::Shade));
    }
    canvas.legend(&keys);
    canvas.leave_above(1.5);

    let [place] = canvas.rows([1.0]);
    let values = SERIES.iter().flat_map(|series| rows.iter().filter_map(series.value));
    let y = Axis::log_ms(values.clone(), place.log_labels(canvas));
    let panel = Panel::new(canvas, place, Axis::percentiles(reach(summary)), y);
    if let Some(from) = lost {
        panel.shade(from, f64::INFINITY, Ink::Vermillion);
    }
    panel.frame("latency, ms (logarithmic)");
    panel.x_axis("percentile of all packets sent");
    if values.count() == 0 {
        return panel.message("nothing was measured");
    }
    if let (Some(from), Some(count)) = (lost, summary.metric("loss.count")) {
        let at = (panel.across(from) + canvas.px(0.5), place.top + canvas.px(0.5));
        let style = Style::NOTE.ink(Ink::Text).anchored(HPos::Left, VPos::Top);
        canvas.text(&format!("{count} lost"), at, style);
    }
    for series in &SERIES {
        // A percentile among the lost is a gap.
        panel.line(rows.iter().map(|row| (place_of(row.percentile), (series.value)(row))), series);
    }
    panel.note_names(rows.iter().map(|row| (place_of(row.percentile), name_of(row.percentile))));
    too_few(&panel, summary);
    written(&panel, summary);
}

/// `log10(1 / (1 − p))`, a percentile's place on the axis. The 100th lies at its end.
fn place_of(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(0.0).log10()
}

fn name_of(percentile: f64) -> String {
    if percentile >= 100.0 { "largest".into() } else { format!("{percentile} % of packets sent") }
}

/// The end of the axis: one packet of all that were sent.
fn reach(summary: &Summary) -> f64 {
    let sent = summary.metric("rtt.p99").and_then(|m| m.samples).unwrap_or(0);
    (sent.max(100) as f64).log10()
}

/// The place from which on packets are lost.
fn lost_from(summary: &Summary) -> Option<f64> {
    let ratio = summary.metric("loss.ratio")?.value.number()?;
    (ratio > 0.0).then(|| -ratio.min(1.0).log10())
}

/// Marks the part of the curve that rests on fewer than a hundred packets.
fn too_few(panel: &Panel<'_>, summary: &Summary) {
    let canvas = panel.canvas;
    let from = reach(summary) - 2.0;
    if from <= 0.0 {
        return;
    }
    panel.dashed_down(from, Ink::Muted);
    let note = match canvas.is_narrow() {
        true => "fewer than 100 slower →",
        false => "fewer than 100 packets are slower →",
    };
    let left = panel.across(from) + canvas.px(0.5);
    let bottom = panel.place.bottom - canvas.px(0.5);
    let right = panel.place.right - canvas.px(0.3);
    if left + canvas.px(canvas.text_width(note) * Style::NOTE.size) < right {
        canvas.text(note, (left, bottom), Style::NOTE.anchored(HPos::Left, VPos::Bottom));
    } else {
        canvas.patch(note, (right, bottom), Style::NOTE.anchored(HPos::Right, VPos::Bottom));
    }
}

/// Writes values of the round trip above the panel, where they cover no curve, each with a line down to
/// its dot. One that would touch the one before it is left out.
fn written(panel: &Panel<'_>, summary: &Summary) {
    let (canvas, place) = (panel.canvas, panel.place);
    let mut free_from = i32::MIN;
    for (name, percentile) in WRITTEN {
        let Some(metric) = summary.metric(name) else { continue };
        let Some(value) = metric.value.number() else { continue };
        let (x, y) = panel.pixel(place_of(percentile), value);
        canvas.dot((x, y), Ink::Blue);
        let shown = format!("{metric}{}", if metric.too_few { "*" } else { "" });
        let half = canvas.px(canvas.text_width(&shown) * Style::NOTE.size) / 2;
        let middle = x.clamp(place.left, (place.right - half).max(place.left));
        if middle - half > free_from {
            canvas.path(&[(x, place.top - canvas.px(0.2)), (x, y)], Ink::Blue, canvas.px(0.06));
            let style = Style::NOTE.ink(Ink::Blue).anchored(HPos::Center, VPos::Bottom);
            canvas.text(&shown, (middle, place.top - canvas.px(0.35)), style);
            free_from = middle + half + canvas.px(0.4);
        }
    }
}
