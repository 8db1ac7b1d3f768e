//! `rtt-distribution.png`: latency over percentile, every nine given the same room.

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::figure::{Drawn, Figure, Key, Mark, Type};
use super::panel::{Panel, Point};
use super::theme::Ink;
use crate::metrics::{PercentileRow, Summary};
use crate::values::Value;

type Series = (&'static str, Ink, f64, fn(&PercentileRow) -> Value);

const SERIES: [Series; 4] = [
    ("send lateness: what the load generator added", Ink::Green, 0.11, |r| r.send_lateness),
    ("control stream: the machine without Asterisk", Ink::Sky, 0.16, |r| r.control),
    ("round trip from the intended send time", Ink::Orange, 0.22, |r| r.rtt_intended),
    ("round trip", Ink::Blue, 0.11, |r| r.rtt),
];

/// The percentiles whose values are written beside the curve.
const WRITTEN: [(&str, f64); 4] =
    [("rtt.p50", 50.0), ("rtt.p90", 90.0), ("rtt.p99", 99.0), ("rtt.p99.9", 99.9)];

pub(super) fn draw(figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
    let rows = &summary.percentiles;
    let lost = lost_from(summary);
    let mut keys: Vec<Key<'_>> =
        SERIES.iter().rev().map(|(label, ink, ..)| Key { label, ink: *ink, mark: Mark::Line }).collect();
    if lost.is_some() {
        keys.push(Key { label: "lost: never came back", ink: Ink::Vermillion, mark: Mark::Shade });
    }
    figure.legend(&keys)?;
    figure.leave_above(1.5);

    let [place] = figure.rows([1.0]);
    let values = SERIES.iter().flat_map(|(.., of)| rows.iter().filter_map(|r| of(r).number()));
    let y = Axis::log_ms(values.clone(), place.log_labels(figure));
    let panel = Panel::new(figure, place, Axis::percentiles(reach(summary)), y);
    if let Some(from) = lost {
        panel.shade(from, f64::INFINITY, Ink::Vermillion)?;
    }
    panel.frame("latency, ms (logarithmic)")?;
    panel.x_axis("percentile of all packets sent")?;
    if values.count() == 0 {
        return panel.say("nothing was measured");
    }
    if let (Some(from), Some(count)) = (lost, summary.metric("loss.count")) {
        let (x, top) = panel.pixel(from, panel.y().to());
        let at = (x + figure.px(0.5), top + figure.px(0.5));
        figure.text(
            &format!("{count} lost"),
            at,
            Type::NOTE.ink(Ink::Text).anchored(HPos::Left, VPos::Top),
        )?;
    }
    for (_, ink, width, of) in SERIES {
        panel.line(rows.iter().map(|row| point(row, of)), ink, width)?;
    }
    panel.note_names(rows.iter().map(|row| (place_of(row.percentile), name_of(row.percentile))));
    too_few(figure, &panel, summary)?;
    written(figure, &panel, summary)
}

/// `log10(1 / (1 − p))`, where a percentile lies on the axis. The 100th lies at its end.
fn place_of(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(0.0).log10()
}

fn name_of(percentile: f64) -> String {
    if percentile >= 100.0 { "largest".into() } else { format!("{percentile} % of packets sent") }
}

/// What is lost is a gap.
fn point(row: &PercentileRow, of: fn(&PercentileRow) -> Value) -> Point {
    (place_of(row.percentile), of(row).number())
}

/// How far the axis reaches: to one packet of all that were sent.
fn reach(summary: &Summary) -> f64 {
    let sent = summary.metric("rtt.p99").and_then(|m| m.samples).unwrap_or(0);
    (sent.max(100) as f64).log10()
}

/// Where the packets that never came back begin.
fn lost_from(summary: &Summary) -> Option<f64> {
    let ratio = summary.metric("loss.ratio")?.value.number()?;
    (ratio > 0.0).then(|| -ratio.min(1.0).log10())
}

/// The part of the curve that rests on fewer than a hundred packets.
fn too_few(figure: &Figure<'_>, panel: &Panel<'_, '_>, summary: &Summary) -> Drawn {
    let from = reach(summary) - 2.0;
    if from <= 0.0 {
        return Ok(());
    }
    panel.down(from, Ink::Muted)?;
    let words = if figure.is_narrow() {
        "fewer than 100 slower →"
    } else {
        "fewer than 100 packets are slower →"
    };
    let (x, _) = panel.pixel(from, panel.y().from());
    let bottom = panel.place().bottom - figure.px(0.5);
    let right = panel.place().right - figure.px(0.3);
    if x + figure.px(0.5 + figure.text_width(words) * Type::NOTE.size) < right {
        figure.text(words, (x + figure.px(0.5), bottom), Type::NOTE.anchored(HPos::Left, VPos::Bottom))
    } else {
        figure.patch(words, (right, bottom), Type::NOTE.anchored(HPos::Right, VPos::Bottom))
    }
}

/// Values of the round trip above the panel, where they cover no curve, each with a line down to its
/// dot. One that would touch the one before it is left out.
fn written(figure: &Figure<'_>, panel: &Panel<'_, '_>, summary: &Summary) -> Drawn {
    let place = panel.place();
    let mut free_from = i32::MIN;
    for (name, percentile) in WRITTEN {
        let Some(metric) = summary.metric(name) else { continue };
        let Some(value) = metric.value.number() else { continue };
        let (x, y) = panel.pixel(place_of(percentile), value);
        figure.dot((x, y), Ink::Blue)?;
        let words = format!("{metric}{}", if metric.too_few { "*" } else { "" });
        let half = figure.px(figure.text_width(&words) * Type::NOTE.size) / 2;
        let middle = x.clamp(place.left, (place.right - half).max(place.left));
        if middle - half > free_from {
            figure.path(&[(x, place.top - figure.px(0.2)), (x, y)], Ink::Blue, figure.px(0.06))?;
            let how = Type::NOTE.ink(Ink::Blue).anchored(HPos::Center, VPos::Bottom);
            figure.text(&words, (middle, place.top - figure.px(0.35)), how)?;
            free_from = middle + half + figure.px(0.4);
        }
    }
    Ok(())
}
