//! `rtt-by-call.png`: a heat map of the median round trip, calls × seconds.

use super::axis::Axis;
use super::canvas::{Canvas, Rect, Style};
use super::heat::{Grid, RowOf, SILENT, STEPS};
use super::image::Image;
use super::panel::Panel;
use super::theme::Ink;
use super::{Chart, faults, timeline};
use crate::metrics::Summary;

/// A row or column of less than this many units could not be told from its neighbours, even where
/// the page shows the chart at half its size.
const SMALLEST_CELL: i32 = 3;

pub(super) const CHART: Chart = Chart {
    path: "plots/rtt-by-call.png",
    section: "by-call",
    title: "Round trip of packets, call by call and second by second",
    caption: "A bright row is a slow call, a bright column a slow second of all calls, a bright spot a \
              slow second of one call. Neighbouring rows send in neighbouring milliseconds of the packet interval: \
              a band of rows is a part of the interval in which Asterisk or the machine is always busier.",
    figures: &[
        ("calls answered", "calls.answered_count"),
        ("median round trip", "rtt.p50"),
        ("calls never heard", "calls.silent_count"),
    ],
    applies: super::is_echo,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let bar = canvas.strip(2.6);
    timeline::legend(canvas, Vec::new(), summary);
    let [place] = canvas.rows([1.0]);
    let cells = |from: i32, to: i32| ((to - from) / SMALLEST_CELL).max(1) as usize;
    let grid = Grid::of(summary, cells(place.left, place.right), cells(place.top, place.bottom));
    let scale = Axis::log_ms(grid.values(), 8);
    colour_bar(canvas, bar, &scale);
    let y = Axis::numbered(grid.slots, place.labels(canvas));
    let panel = Panel::new(canvas, place, timeline::axis(canvas, &summary.seconds), y);
    if !grid.is_empty() {
        let image = Image { place, columns: grid.columns, cells: grid.indices(&scale) };
        panel.within(|| canvas.svg.image(image));
        panel.note_cells(grid.notes());
    }
    panel.filled_frame(&rows_and_columns(&grid, canvas.is_narrow()));
    panel.x_axis(timeline::TIME);
    timeline::strip_phases(&panel, &summary.seconds);
    faults::mark(&panel, summary);
    match grid.is_empty() {
        true if summary.calls.iter().all(|c| c.total_sent == 0) => panel.message("no call was answered"),
        true => panel.message("not recorded"),
        false => {}
    }
}

/// Names a row and a column, and says how a cell that stands for several is chosen.
fn rows_and_columns(grid: &Grid, is_narrow: bool) -> String {
    let (one, many) = match grid.row_of {
        RowOf::Calls => ("call", "calls"),
        RowOf::Lines => ("line of calls", "lines of calls"),
    };
    let per_row = f64::from(grid.slots) / grid.rows.max(1) as f64;
    let per_column = f64::from(grid.seconds) / grid.columns.max(1) as f64;
    let said = |n: f64| if n.fract() == 0.0 { format!("{n:.0}") } else { format!("{n:.1}") };
    let row = if per_row > 1.0 { format!("{} {many}", said(per_row)) } else { format!("a {one}") };
    let column = if per_column > 1.0 { format!("{} s", said(per_column)) } else { "a second".into() };
    let worst = match per_row > 1.0 || per_column > 1.0 {
        true if is_narrow => ": largest median",
        true => ": the largest of their medians per call and second",
        false => "",
    };
    format!("each row {row}, each column {column}{worst}")
}

/// Draws the scale of colours with its values below, and the colour of silence.
fn colour_bar(canvas: &Canvas, strip: Rect, scale: &Axis) {
    let (high, gap) = (canvas.px(0.9), canvas.px(0.5));
    let (top, bottom) = (strip.top + canvas.px(0.3), strip.top + canvas.px(0.3) + high);
    let middle = (top + bottom) / 2;
    let name = if canvas.is_narrow() { "median, ms" } else { "median round trip of a call's second, ms" };
    let wide = |text: &str| canvas.px(canvas.text_width(text) * Style::NOTE.size);
    canvas.text(name, (strip.left, middle), Style::NOTE.ink(Ink::Text));
    let left = strip.left + wide(name) + gap;
    let at = Rect { left, top, bottom, ..strip };
    let silence = if canvas.is_narrow() { "none back" } else { "sent, nothing came back" };
    let right = (left + canvas.px(24.0)).min(strip.right - wide(silence) - 4 * gap - high);
    canvas.svg.image(Image {
        place: Rect { right, ..at },
        columns: STEPS,
        cells: (1..=STEPS as u8).collect(),
    });
    canvas.ticks(&scale.ticks, bottom, |ms| scale.pixel(ms, left, right));
    let left = right + 2 * gap;
    let swatch = Rect { left, right: left + high, ..at };
    canvas.svg.image(Image { place: swatch, columns: 1, cells: vec![SILENT] });
    canvas.text(silence, (left + high + gap, middle), Style::NOTE.ink(Ink::Text));
}
