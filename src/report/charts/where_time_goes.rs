//! `where-time-goes.png`: the round trip and its parts beside each other, and the machine's own share.

use plotters::style::text_anchor::{HPos, VPos};

use super::Chart;
use super::axis::Axis;
use super::canvas::{Canvas, FAINT, Rect, Style};
use super::legend::{LegendKey, Mark};
use super::panel::Panel;
use super::theme::Ink;
use crate::metrics::{Metric, Summary};
use crate::report::words;
use crate::values::Value;

/// A part of a packet's way.
struct Part {
    group: &'static str,
    label: &'static str,
    /// The label on a narrow page.
    short: &'static str,
    ink: Ink,
}

const PARTS: [Part; 6] = [
    Part::new("rtt", "whole round trip", "round trip", Ink::Blue),
    Part::new("up", "up: driver to Asterisk to service", "up, to the service", Ink::Orange),
    Part::new("service_time", "in the service", "in the service", Ink::Green),
    Part::new("down", "down: service to Asterisk to driver", "down, to the driver", Ink::Purple),
    Part::new("path_rtt", "path: the round trip without the service", "path, both ways", Ink::Axis),
    Part::new("control", CONTROL, "control, past Asterisk", Ink::Sky),
];

const CONTROL: &str = "control stream: round trip past Asterisk, what the machine does by itself";

/// Percentiles that are written out, from the left.
const COLUMNS: [&str; 3] = ["p50", "p95", "p99"];

const SHOWN: [&str; 5] = ["min", "p50", "p95", "p99", "max"];

impl Part {
    const fn new(group: &'static str, label: &'static str, short: &'static str, ink: Ink) -> Part {
        Part { group, label, short, ink }
    }

    fn metric<'s>(&self, summary: &'s Summary, statistic: &str) -> Option<&'s Metric> {
        summary.metric(&format!("{}.{statistic}", self.group))
    }

    fn value(&self, summary: &Summary, statistic: &str) -> Value {
        self.metric(summary, statistic).map_or(Value::NoData, |m| m.value)
    }

    /// The reason why a part was not measured.
    fn missing(&self, summary: &Summary, is_narrow: bool) -> &'static str {
        match self.group {
            "control" => "not measured",
            _ if PARTS[0].value(summary, "p50") == Value::NoData => "no packet was measured",
            _ if is_narrow => "not stamped",
            "up" | "down" => "needs a service that stamps packets by the driver's clock",
            _ => "needs a service that stamps packets",
        }
    }
}

pub(super) const CHART: Chart = Chart {
    path: "plots/where-time-goes.png",
    section: "where",
    title: "Where a packet's time goes",
    caption: "The part that reaches as far to the right as the round trip is where slow packets lost their \
              time; the machine alone accounts for as much as the control stream. Percentiles of parts do not \
              add up.",
    figures: &[
        ("99th percentiles: up", "up.p99"),
        ("in the service", "service_time.p99"),
        ("down", "down.p99"),
        ("control stream", "control.p99"),
    ],
    applies: super::is_echo,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let mut keys = vec![
        LegendKey::new("smallest to largest", Ink::Muted, Mark::Line),
        LegendKey::new("median to 95th percentile", Ink::Muted, Mark::Block),
        LegendKey::new("to 99th percentile", Ink::Muted, Mark::Faint),
    ];
    if PARTS.iter().any(|part| part.value(summary, "max") == Value::Lost) {
        keys.push(LegendKey::new("lost: never came back", Ink::Vermillion, Mark::Cross));
    }
    canvas.legend(&keys);
    let [place] = canvas.rows([1.0]);
    // The parts have their names inside, so the axis starts at the canvas's edge.
    let place = Rect { left: place.left - canvas.px(1.4), ..place };
    let values = PARTS.iter().flat_map(|part| SHOWN.map(|key| part.value(summary, key).number()));
    let x = Axis::log_ms(values.flatten(), if canvas.is_narrow() { 8 } else { 16 });
    let panel = Panel::new(canvas, place, x, Axis::numbered(PARTS.len() as u32, PARTS.len()));
    panel.columns(if canvas.is_narrow() { "measured window" } else { "packets of the measured window" });
    let is_too_few = |part: &Part, key| part.metric(summary, key).is_some_and(|m| m.too_few);
    let too_few = PARTS.iter().any(|part| COLUMNS.iter().any(|key| is_too_few(part, key)));
    panel.x_axis(match too_few {
        true => "ms (logarithmic); * rests on too few packets",
        false => "ms (logarithmic)",
    });
    for (column, key) in COLUMNS.iter().enumerate() {
        let at = (column_end(canvas, place, column), place.top - canvas.px(0.55));
        canvas.text(key, at, Style::NOTE.anchored(HPos::Right, VPos::Bottom));
    }
    for (n, part) in PARTS.iter().enumerate() {
        row(&panel, summary, (PARTS.len() - 1 - n) as f64, part);
    }
}

/// The right edge of a column of figures.
fn column_end(canvas: &Canvas, place: Rect, column: usize) -> i32 {
    let left_over = (COLUMNS.len() - 1 - column) as f64;
    place.right - canvas.px(0.4 + left_over * if canvas.is_narrow() { 4.2 } else { 5.0 })
}

/// Writes a part's name and percentiles, and draws its bar below.
fn row(panel: &Panel<'_>, summary: &Summary, at: f64, part: &Part) {
    let (canvas, place) = (panel.canvas, panel.place);
    let (_, top) = panel.pixel(0.0, at + 1.0);
    let (_, bottom) = panel.pixel(0.0, at);
    let text = top + (bottom - top) * 3 / 10;
    let name = if canvas.is_narrow() { part.short } else { part.label };
    let strong = Style { bold: true, ..Style::NOTE.ink(Ink::Text) };
    canvas.patch(name, (place.left + canvas.px(0.4), text), strong);
    let right = Style::NOTE.anchored(HPos::Right, VPos::Center);
    if part.value(summary, "p50") == Value::NoData {
        let why = part.missing(summary, canvas.is_narrow());
        return canvas.patch(why, (place.right - canvas.px(0.4), text), right);
    }
    for (column, key) in COLUMNS.iter().enumerate() {
        let Some(metric) = part.metric(summary, key) else { continue };
        let shown = format!("{}{}", words::bare(metric), if metric.too_few { "*" } else { "" });
        canvas.patch(&shown, (column_end(canvas, place, column), text), right.ink(Ink::Text));
    }
    bar(panel, summary, at, part);
}

/// Draws a part's bar from its smallest to its largest value, with its percentiles as blocks.
fn bar(panel: &Panel<'_>, summary: &Summary, at: f64, part: &Part) {
    let (canvas, place) = (panel.canvas, panel.place);
    let (_, top) = panel.pixel(0.0, at + 1.0);
    let (_, bottom) = panel.pixel(0.0, at);
    let middle = top + (bottom - top) * 7 / 10;
    let half = ((bottom - top) / 5).min(canvas.px(0.65));
    // A packet that never came back lies beyond the axis.
    let x = |key: &str| match part.value(summary, key) {
        Value::Number(ms) => Some(panel.across(ms)),
        Value::Lost => Some(place.right),
        Value::NoData => None,
    };
    let [min, p50, p95, p99, max] = SHOWN.map(x);
    if let (Some(from), Some(to)) = (min, max) {
        canvas.path(&[(from, middle), (to, middle)], part.ink, canvas.px(0.12));
    }
    let is_back = part.value(summary, "p50").number().is_some();
    if let (true, Some(p50), Some(p95), Some(p99)) = (is_back, p50, p95, p99) {
        let block = |from: i32, to: i32, ink: Ink, alpha: f64| {
            let to = to.max(from + canvas.px(0.12));
            canvas.block((from, middle - half), (to, middle + half), ink, alpha);
        };
        block(p95, p99, Ink::Surface, 1.0);
        block(p95, p99, part.ink, FAINT);
        block(p50, p95, part.ink, 1.0);
    }
    // On top of the bar, which reaches as far where a percentile is lost too.
    if part.value(summary, "max") == Value::Lost {
        canvas.cross((place.right - canvas.px(0.3), middle), Ink::Vermillion);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Doubt;
    use crate::report::charts::Look;
    use crate::report::fixture;

    #[test]
    fn the_cross_of_lost_packets_lies_on_the_bar() {
        let (mut summary, _) = fixture::typical();
        for metric in
            summary.metrics.iter_mut().filter(|m| ["rtt.p95", "rtt.p99", "rtt.max"].contains(&m.name()))
        {
            metric.value = Value::Lost;
        }
        let (svg, _) = CHART.inline(&summary, &Doubt::default(), Look::Wide, "");
        let (cross, bar) = (Ink::Vermillion.css(), format!("<rect fill=\"{}\"", Ink::Blue.css()));
        let (_, after) = svg.rsplit_once(&bar).unwrap();
        let (same_part, _) = after.split_once(&Ink::Orange.css()).unwrap();
        assert!(same_part.contains(&cross), "{same_part}");
    }
}
