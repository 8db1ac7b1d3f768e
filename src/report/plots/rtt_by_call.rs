//! `rtt-by-call.png`: a heat map of the median round trip, calls × seconds.

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::faults;
use super::figure::{Drawn, Figure, Rect, Type};
use super::heat::{Grid, RowOf, SILENT, STEPS};
use super::image::Image;
use super::panel::Panel;
use super::theme::Ink;
use super::timeline;
use crate::metrics::Summary;

/// A row or column of less than this many units could not be told from its neighbours, even where
/// the page shows the chart at half its size.
const SMALLEST_CELL: i32 = 3;

pub(super) fn draw(figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
    let bar = figure.strip(2.6);
    faults::legend(figure, &[timeline::not_measured_key(figure)], summary)?;
    let [place] = figure.rows([1.0]);
    let cells = |from: i32, to: i32| ((to - from) / SMALLEST_CELL).max(1) as usize;
    let grid = Grid::of(summary, cells(place.left, place.right), cells(place.top, place.bottom));
    let scale = Axis::log_ms(grid.values(), 8);
    colour_bar(figure, bar, &scale)?;
    if grid.columns > 0 && grid.rows > 0 {
        figure.image(Image { place, columns: grid.columns, cells: grid.indices(&scale) });
    }
    let y = Axis::numbered(grid.slots, place.labels(figure));
    let panel = Panel::new(figure, place, timeline::axis(figure, &summary.seconds), y);
    if !grid.is_empty() {
        panel.note_cells(grid.notes());
    }
    panel.labels(&rows_and_columns(&grid, figure.is_narrow()))?;
    panel.x_axis(timeline::TIME)?;
    timeline::strip_phases(figure, &panel, &summary.seconds)?;
    faults::mark(figure, &panel, summary)?;
    match grid.is_empty() {
        true if summary.calls.iter().all(|c| c.total_sent == 0) => panel.say("no call was answered"),
        true => panel.say("not recorded"),
        false => Ok(()),
    }
}

/// What a row and a column are, and how cells come about that stand for several.
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

/// The scale of colours with its values below, and the colour of silence.
fn colour_bar(figure: &mut Figure<'_>, strip: Rect, scale: &Axis) -> Drawn {
    let (high, gap) = (figure.px(0.9), figure.px(0.5));
    let (top, bottom) = (strip.top + figure.px(0.3), strip.top + figure.px(0.3) + high);
    let middle = (top + bottom) / 2;
    let name = if figure.is_narrow() { "median, ms" } else { "median round trip of a call's second, ms" };
    let wide = |figure: &Figure<'_>, text: &str| figure.px(figure.text_width(text) * Type::NOTE.size);
    figure.text(name, (strip.left, middle), Type::NOTE.ink(Ink::Text))?;
    let left = strip.left + wide(figure, name) + gap;
    let at = Rect { left, top, bottom, ..strip };
    let silence = if figure.is_narrow() { "none back" } else { "sent, nothing came back" };
    let right = (left + figure.px(24.0)).min(strip.right - wide(figure, silence) - 4 * gap - high);
    figure.image(Image { place: Rect { right, ..at }, columns: STEPS, cells: (1..=STEPS as u8).collect() });
    let mut free_from = i32::MIN;
    for tick in scale.ticks().iter().filter(|t| !t.label.is_empty()) {
        let x = left + (f64::from(right - left) * scale.share(tick.at)).round() as i32;
        let half = wide(figure, &tick.label) / 2;
        if x - half > free_from {
            figure.path(&[(x, bottom), (x, bottom + figure.px(0.25))], Ink::Axis, figure.px(0.08))?;
            let how = Type::NOTE.anchored(HPos::Center, VPos::Top);
            figure.text(&tick.label, (x, bottom + figure.px(0.35)), how)?;
            free_from = x + half + figure.px(0.3);
        }
    }
    let left = right + 2 * gap;
    let swatch = Rect { left, right: left + high, ..at };
    figure.image(Image { place: swatch, columns: 1, cells: vec![SILENT] });
    figure.text(silence, (left + high + gap, middle), Type::NOTE.ink(Ink::Text))
}
