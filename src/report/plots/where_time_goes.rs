//! `where-time-goes.png`: the round trip and its parts beside each other, and the machine's own share.

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::figure::{Drawn, FAINT, Figure, Key, Mark, Rect, Type};
use super::panel::Panel;
use super::theme::Ink;
use crate::metrics::Summary;
use crate::report::words;
use crate::values::Value;

struct Part {
    group: &'static str,
    label: &'static str,
    short: &'static str,
    ink: Ink,
}

const PARTS: [Part; 6] = [
    Part { group: "rtt", label: "whole round trip", short: "round trip", ink: Ink::Blue },
    Part {
        group: "up",
        label: "up: driver to Asterisk to service",
        short: "up, to the service",
        ink: Ink::Orange,
    },
    Part { group: "service_time", label: "in the service", short: "in the service", ink: Ink::Green },
    Part {
        group: "down",
        label: "down: service to Asterisk to driver",
        short: "down, to the driver",
        ink: Ink::Purple,
    },
    Part {
        group: "path_rtt",
        label: "path: the round trip without the service",
        short: "path, both ways",
        ink: Ink::Axis,
    },
    Part {
        group: "control",
        label: "control stream: round trip past Asterisk, what the machine does by itself",
        short: "control, past Asterisk",
        ink: Ink::Sky,
    },
];

/// The percentiles in words, from the left.
const COLUMNS: [&str; 3] = ["p50", "p95", "p99"];

const SHOWN: [&str; 5] = ["min", "p50", "p95", "p99", "max"];

pub(super) fn draw(figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
    let mut keys = vec![
        Key { label: "smallest to largest", ink: Ink::Muted, mark: Mark::Line },
        Key { label: "median to 95th percentile", ink: Ink::Muted, mark: Mark::Block },
        Key { label: "to 99th percentile", ink: Ink::Muted, mark: Mark::Faint },
    ];
    if PARTS.iter().any(|part| value(summary, part, "max") == Value::Lost) {
        keys.push(Key { label: "lost: never came back", ink: Ink::Vermillion, mark: Mark::Cross });
    }
    figure.legend(&keys)?;
    let [place] = figure.rows([1.0]);
    // The parts have their names inside, so the axis starts at the paper's edge.
    let place = Rect { left: place.left - figure.px(1.4), ..place };
    let values = PARTS.iter().flat_map(|part| SHOWN.map(|key| value(summary, part, key).number()));
    let x = Axis::log_ms(values.flatten(), if figure.is_narrow() { 8 } else { 16 });
    let panel = Panel::new(figure, place, x, Axis::numbered(PARTS.len() as u32, PARTS.len()));
    panel.columns(if figure.is_narrow() { "measured window" } else { "packets of the measured window" })?;
    let too_few = PARTS.iter().any(|part| COLUMNS.iter().any(|key| is_too_few(summary, part, key)));
    panel.x_axis(if too_few {
        "ms (logarithmic); * rests on too few packets"
    } else {
        "ms (logarithmic)"
    })?;
    for (column, key) in COLUMNS.iter().enumerate() {
        let at = (column_end(figure, place, column), place.top - figure.px(0.55));
        figure.text(key, at, Type::NOTE.anchored(HPos::Right, VPos::Bottom))?;
    }
    for (n, part) in PARTS.iter().enumerate() {
        row(figure, &panel, summary, (PARTS.len() - 1 - n) as f64, part)?;
    }
    Ok(())
}

fn is_too_few(summary: &Summary, part: &Part, key: &str) -> bool {
    summary.metric(&format!("{}.{key}", part.group)).is_some_and(|m| m.too_few)
}

fn value(summary: &Summary, part: &Part, key: &str) -> Value {
    summary.metric(&format!("{}.{key}", part.group)).map_or(Value::NoData, |m| m.value)
}

/// Where a column of figures ends.
fn column_end(figure: &Figure<'_>, place: Rect, column: usize) -> i32 {
    let left_over = (COLUMNS.len() - 1 - column) as f64;
    place.right - figure.px(0.4 + left_over * if figure.is_narrow() { 4.2 } else { 5.0 })
}

/// A part's name and percentiles in words, and its bar below.
fn row(figure: &Figure<'_>, panel: &Panel<'_, '_>, summary: &Summary, at: f64, part: &Part) -> Drawn {
    let place = panel.place();
    let (_, top) = panel.pixel(0.0, at + 1.0);
    let (_, bottom) = panel.pixel(0.0, at);
    let text = top + (bottom - top) * 3 / 10;
    let middle = top + (bottom - top) * 7 / 10;
    let half = ((bottom - top) / 5).min(figure.px(0.65));
    let name = if figure.is_narrow() { part.short } else { part.label };
    let strong = Type { bold: true, ..Type::NOTE.ink(Ink::Text) };
    figure.patch(name, (place.left + figure.px(0.4), text), strong)?;
    if value(summary, part, "p50") == Value::NoData {
        return figure.patch(
            missing(part, value(summary, &PARTS[0], "p50") == Value::NoData, figure.is_narrow()),
            (place.right - figure.px(0.4), text),
            Type::NOTE.anchored(HPos::Right, VPos::Center),
        );
    }
    for (column, key) in COLUMNS.iter().enumerate() {
        let Some(metric) = summary.metric(&format!("{}.{key}", part.group)) else { continue };
        let said = format!("{}{}", words::bare(metric), if metric.too_few { "*" } else { "" });
        let how = Type::NOTE.ink(Ink::Text).anchored(HPos::Right, VPos::Center);
        figure.patch(&said, (column_end(figure, place, column), text), how)?;
    }
    // What is lost never came back: its end of the bar lies beyond the axis.
    let x = |key: &str| match value(summary, part, key) {
        Value::Number(ms) => Some(panel.pixel(ms, at).0),
        Value::Lost => Some(place.right),
        Value::NoData => None,
    };
    let [min, p50, p95, p99, max] = SHOWN.map(x);
    if let (Some(from), Some(to)) = (min, max) {
        figure.path(&[(from, middle), (to, middle)], part.ink, figure.px(0.12))?;
    }
    if value(summary, part, "max") == Value::Lost {
        figure.cross((place.right - figure.px(0.3), middle), Ink::Vermillion)?;
    }
    let is_back = value(summary, part, "p50").number().is_some();
    if let (true, Some(p50), Some(p95), Some(p99)) = (is_back, p50, p95, p99) {
        let wide = |from: i32, to: i32| to.max(from + figure.px(0.12));
        figure.block((p95, middle - half), (wide(p95, p99), middle + half), Ink::Surface, 1.0)?;
        figure.block((p95, middle - half), (wide(p95, p99), middle + half), part.ink, FAINT)?;
        figure.block((p50, middle - half), (wide(p50, p95), middle + half), part.ink, 1.0)?;
    }
    Ok(())
}

/// Why a part is not there.
fn missing(part: &Part, no_packet: bool, is_narrow: bool) -> &'static str {
    match part.group {
        "control" => "not measured",
        _ if no_packet => "no packet was measured",
        _ if is_narrow => "not stamped",
        "up" | "down" => "needs a service that stamps packets by the driver's clock",
        _ => "needs a service that stamps packets",
    }
}
