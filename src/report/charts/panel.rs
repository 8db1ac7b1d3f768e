//! A panel: one pair of axes on a canvas, and the marks between them.

use std::collections::HashSet;

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{Canvas, Rect, SHADE, Style};
use super::legend::{LegendKey, LineSeries};
use super::notes::{CellsNote, PanelNote, SeriesNote, rounded};
use super::theme::Ink;

/// A pair of axes. Its marks are placed by values, not pixels.
pub(super) struct Panel<'c> {
    pub(super) canvas: &'c Canvas,
    pub(super) place: Rect,
    x: Axis,
    y: Axis,
    /// Its number in the canvas's notes.
    number: usize,
}

/// A value of a series; a missing one is a gap.
pub(super) type Point = (f64, Option<f64>);

impl<'c> Panel<'c> {
    pub(super) fn new(canvas: &'c Canvas, place: Rect, x: Axis, y: Axis) -> Self {
        let mut notes = canvas.notes.borrow_mut();
        let number = notes.panels.len();
        notes.panels.push(PanelNote { scale: x.scale, from: x.from, to: x.to, ..PanelNote::default() });
        notes.frames.push(place);
        Panel { canvas, place, x, y, number }
    }

    fn note(&self, change: impl FnOnce(&mut PanelNote)) {
        if let Some(panel) = self.canvas.notes.borrow_mut().panels.get_mut(self.number) {
            change(panel);
        }
    }

    /// Notes the values of a series.
    pub(super) fn note_series(&self, points: impl IntoIterator<Item = (f64, f64)>, key: &LegendKey<'_>) {
        let Some(key) = self.canvas.notes.borrow().number(key) else { return };
        self.note(|panel| panel.series.push(SeriesNote::new(key, points)));
    }

    /// Notes names of places on the x axis.
    pub(super) fn note_names(&self, names: impl IntoIterator<Item = (f64, String)>) {
        let (from, to) = (self.x.from, self.x.to);
        let names = names.into_iter().map(|(x, name)| (rounded(x.clamp(from, to)), name));
        self.note(|panel| panel.names.extend(names));
    }

    /// Notes the cells that fill the panel.
    pub(super) fn note_cells(&self, cells: CellsNote) {
        self.note(|panel| panel.cells = Some(cells));
    }

    /// Groups marks that move with the x axis.
    pub(super) fn within(&self, draw: impl FnOnce()) {
        self.canvas.svg.group("data-panel", self.number, draw);
    }

    /// Groups marks that move with the x axis and belong to a series, by which the page's script hides them.
    pub(super) fn series(&self, key: &LegendKey<'_>, draw: impl FnOnce()) {
        let number = self.canvas.notes.borrow().number(key);
        self.within(|| match number {
            Some(number) => self.canvas.svg.group("data-series", number, draw),
            None => draw(),
        });
    }

    /// A point in pixels.
    pub(super) fn pixel(&self, x: f64, y: f64) -> (i32, i32) {
        let Rect { left, top, right, bottom, .. } = self.place;
        (self.x.pixel(x, left, right), self.y.pixel(y, bottom, top))
    }

    /// Pixels from the left of a place on the x axis.
    pub(super) fn across(&self, x: f64) -> i32 {
        self.pixel(x, self.y.from).0
    }

    /// Writes title and labels, and draws the grid of the y axis.
    pub(super) fn frame(&self, title: &str) {
        self.labels();
        self.bare_frame(title);
    }

    /// As [`Panel::frame`] without labels, for a panel that shares its y axis with the one to its left.
    pub(super) fn bare_frame(&self, title: &str) {
        self.title(title);
        for tick in &self.y.ticks {
            let (_, y) = self.pixel(self.x.from, tick.at);
            let thick = if tick.label.is_empty() { 1 } else { self.canvas.px(0.07) };
            self.canvas.path(&[(self.place.left, y), (self.place.right, y)], Ink::Grid, thick);
        }
        self.base();
    }

    /// As [`Panel::frame`] without a grid, for a panel filled by an image.
    pub(super) fn filled_frame(&self, title: &str) {
        self.title(title);
        self.labels();
        self.base();
    }

    /// Writes the title and draws the grid of the x axis, for horizontal bars.
    pub(super) fn columns(&self, title: &str) {
        self.title(title);
        for tick in &self.x.ticks {
            let x = self.across(tick.at);
            let thick = if tick.label.is_empty() { 1 } else { self.canvas.px(0.07) };
            self.canvas.path(&[(x, self.place.top), (x, self.place.bottom)], Ink::Grid, thick);
        }
        self.base();
    }

    fn title(&self, title: &str) {
        self.note(|panel| panel.title = title.into());
        let at = (self.place.left, self.place.top - self.place.above - self.canvas.px(0.55));
        self.canvas.text(title, at, Style::NOTE.anchored(HPos::Left, VPos::Bottom));
    }

    fn labels(&self) {
        for tick in self.y.ticks.iter().filter(|t| !t.label.is_empty()) {
            let (x, y) = self.pixel(self.x.from, tick.at);
            let at = (x - self.canvas.px(0.5), y);
            self.canvas.text(&tick.label, at, Style::NOTE.anchored(HPos::Right, VPos::Center));
        }
    }

    fn base(&self) {
        let Rect { left, right, bottom, .. } = self.place;
        self.canvas.path(&[(left, bottom), (right, bottom)], Ink::Axis, self.canvas.px(0.08));
    }

    /// Draws ticks, labels and name of the x axis, below the panel.
    pub(super) fn x_axis(&self, name: &str) {
        let (canvas, place) = (self.canvas, self.place);
        canvas.svg.group("data-axis", self.number, || {
            canvas.ticks(&self.x.ticks, place.bottom, |x| self.across(x));
        });
        let middle = ((place.left + place.right) / 2, place.bottom + canvas.px(1.8));
        canvas.text(name, middle, Style::NOTE.anchored(HPos::Center, VPos::Top));
    }

    /// Shades a stretch of the x axis.
    pub(super) fn shade(&self, from: f64, to: f64, ink: Ink) {
        let Rect { top, bottom, .. } = self.place;
        self.within(|| {
            self.canvas.block((self.across(from), top), (self.across(to), bottom), ink, SHADE);
        });
    }

    /// Draws a line through the values of a series.
    pub(super) fn line<T>(&self, points: impl Iterator<Item = Point>, series: &LineSeries<T>) {
        let runs = self.runs(points);
        let end = self.x.to;
        self.note_series(runs.iter().flatten().map(|(x, y)| (x.min(end), *y)), &series.key);
        self.series(&series.key, || {
            for run in runs {
                self.stroke(&run, series.key.ink, series.ems);
            }
        });
    }

    /// Draws a stretch of a line, a single point as a dot. Returns its pixels.
    fn stroke(&self, run: &[(f64, f64)], ink: Ink, ems: f64) -> Vec<(i32, i32)> {
        let pixels: Vec<_> = run.iter().map(|(x, y)| self.pixel(*x, *y)).collect();
        match pixels.as_slice() {
            [point] => self.canvas.dot(*point, ink),
            pixels => self.canvas.path(pixels, ink, self.canvas.px(ems)),
        }
        pixels
    }

    /// Draws a line with the area below it filled.
    pub(super) fn area(&self, points: impl Iterator<Item = Point>, key: &LegendKey<'_>) {
        let runs = self.runs(points);
        self.note_series(runs.iter().flatten().copied(), key);
        self.series(key, || {
            for run in runs {
                let mut corners = self.stroke(&run, key.ink, 0.12);
                if let (Some((from, _)), Some((to, _))) = (corners.first(), corners.last()) {
                    corners.extend([(*to, self.place.bottom), (*from, self.place.bottom)]);
                    self.canvas.fill(corners, key.ink, 0.2);
                }
            }
        });
    }

    /// Stretches of a series without a missing value, thinned.
    fn runs(&self, points: impl Iterator<Item = Point>) -> Vec<Vec<(f64, f64)>> {
        let mut runs = vec![Vec::new()];
        for (x, y) in points {
            match (y.filter(|y| y.is_finite()), runs.last_mut()) {
                (Some(y), Some(run)) => run.push((x, y)),
                (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
                _ => {}
            }
        }
        runs.retain(|run| !run.is_empty());
        runs.into_iter().map(|run| self.thinned(run)).collect()
    }

    /// Leaves no more points than pixels can show: of each pixel's points the lowest and the highest.
    fn thinned(&self, run: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return run };
        let columns = (self.across(last.0) - self.across(first.0)).max(1) as usize;
        if run.len() <= 2 * columns {
            return run;
        }
        let mut kept = Vec::new();
        for chunk in run.chunks(run.len().div_ceil(columns)) {
            let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
            let (low, high) = (chunk.iter().min_by(by_y), chunk.iter().max_by(by_y));
            let mut ends: Vec<_> = low.into_iter().chain(high).copied().collect();
            ends.sort_by(|a, b| a.0.total_cmp(&b.0));
            kept.extend(ends);
        }
        kept
    }

    /// Draws bars one second wide from a low to a high value, wide and high enough to be seen.
    pub(super) fn bars(&self, bars: impl Iterator<Item = (f64, f64, f64)>, key: &LegendKey<'_>) {
        let bars: Vec<_> = bars.collect();
        let values = bars.iter().map(|(second, low, high)| (second + 0.5, Some(high - low)));
        self.note_series(self.runs(values).into_iter().flatten(), key);
        self.series(key, || self.blocks(&bars, key.ink));
    }

    fn blocks(&self, bars: &[(f64, f64, f64)], ink: Ink) {
        let block = |(second, low, high): &(f64, f64, f64)| {
            let (left, bottom) = self.pixel(*second, *low);
            let (right, top) = self.pixel(second + 1.0, *high);
            let gap = i32::from(right - left > 4);
            let end = (right - gap).max(left + self.canvas.px(0.12));
            Rect { left, top: top.min(bottom - self.canvas.px(0.25)), right: end, bottom, above: 0 }
        };
        let blocks: Vec<_> = bars.iter().filter(|(_, low, high)| high > low).map(block).collect();
        // Bars in the same column of pixels: the highest stands for all.
        for column in blocks.chunk_by(|a, b| a.left == b.left) {
            let top = column.iter().map(|block| block.top).min().unwrap_or_default();
            let Rect { left, right, bottom, .. } = column[0];
            self.canvas.block((left, top), (right, bottom), ink, 1.0);
        }
    }

    /// Draws a broken line across at a value.
    pub(super) fn dashed_across(&self, value: f64, ink: Ink) {
        let (_, y) = self.pixel(self.x.from, value);
        self.canvas.dashed((self.place.left, y), (self.place.right, y), ink);
    }

    /// Draws a broken line down at a value.
    pub(super) fn dashed_down(&self, value: f64, ink: Ink) {
        let x = self.across(value);
        self.within(|| self.canvas.dashed((x, self.place.bottom), (x, self.place.top), ink));
    }

    /// Writes a sentence in the middle of a panel that has nothing else to show.
    pub(super) fn message(&self, sentence: &str) {
        let Rect { left, top, right, bottom, .. } = self.place;
        let middle = ((left + right) / 2, (top + bottom) / 2);
        self.canvas.patch(sentence, middle, Style::NOTE.anchored(HPos::Center, VPos::Center));
    }
}

/// Places that can be told apart: one mark a place is enough, however many trials.
pub(super) fn apart(places: impl Iterator<Item = (i32, i32)>) -> impl Iterator<Item = (i32, i32)> {
    let mut taken = HashSet::new();
    places.filter(move |(x, y)| taken.insert((x / 4, y / 4)))
}
