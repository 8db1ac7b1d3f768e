//! One pair of axes on a figure, and what is drawn between them.

use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::DrawingArea;
use plotters::element::DashedPathElement;
use plotters::prelude::{PathElement, Polygon, SVGBackend};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, ShapeStyle};

use super::axis::Axis;
use super::figure::{DrawError, Drawn, Figure, Rect, SHADE, Type};
use super::notes::{CellsNote, Frame, PanelNote, SeriesNote, rounded};
use super::theme::Ink;

/// A pair of axes; what is drawn takes values, not pixels.
pub(super) struct Panel<'f, 'a> {
    figure: &'f Figure<'a>,
    plane: DrawingArea<SVGBackend<'a>, Cartesian2d<Axis, Axis>>,
    place: Rect,
    x: Axis,
    y: Axis,
    /// Its number in the figure's notes.
    number: usize,
}

/// A series whose missing values are gaps.
pub(super) type Point = (f64, Option<f64>);

impl<'f, 'a> Panel<'f, 'a> {
    pub(super) fn new(figure: &'f Figure<'a>, place: Rect, x: Axis, y: Axis) -> Self {
        let pixels = (place.left..place.right, place.bottom..place.top);
        let plane = figure.area().apply_coord_spec(Cartesian2d::new(x.clone(), y.clone(), pixels));
        let number = {
            let mut notes = figure.notes().borrow_mut();
            notes.panels.push(PanelNote::new(&x));
            notes.frames.push(Frame::new(place, &y));
            notes.panels.len() - 1
        };
        Panel { figure, plane, place, x, y, number }
    }

    /// Notes the values of the series that the legend shows in this colour.
    pub(super) fn note(&self, points: impl IntoIterator<Item = (f64, f64)>, ink: Ink) {
        let mut notes = self.figure.notes().borrow_mut();
        let Some(key) = notes.key(ink) else { return };
        if let Some(panel) = notes.panels.get_mut(self.number) {
            panel.series.push(SeriesNote::new(key, points));
        }
    }

    /// Notes what places on the x axis are called.
    pub(super) fn note_names(&self, names: impl IntoIterator<Item = (f64, String)>) {
        let (from, to) = (self.x.from(), self.x.to());
        if let Some(panel) = self.figure.notes().borrow_mut().panels.get_mut(self.number) {
            panel.names.extend(names.into_iter().map(|(x, name)| (rounded(x.clamp(from, to)), name)));
        }
    }

    /// Notes the cells that fill the panel.
    pub(super) fn note_cells(&self, cells: CellsNote) {
        if let Some(panel) = self.figure.notes().borrow_mut().panels.get_mut(self.number) {
            panel.cells = Some(cells);
        }
    }

    /// What moves with the x axis.
    pub(super) fn within(&self, draw: impl FnOnce() -> Drawn) -> Drawn {
        self.figure.group(format!("data-panel=\"{}\"", self.number), draw)
    }

    /// What moves with the x axis and belongs to the legend's entry of this colour.
    pub(super) fn series(&self, ink: Ink, draw: impl FnOnce() -> Drawn) -> Drawn {
        self.within(|| self.figure.series(ink, draw))
    }

    pub(super) fn place(&self) -> Rect {
        self.place
    }

    pub(super) fn y(&self) -> &Axis {
        &self.y
    }

    /// A point in pixels.
    pub(super) fn pixel(&self, x: f64, y: f64) -> (i32, i32) {
        self.plane.map_coordinate(&(x, y))
    }

    /// Title, grid, and the labels of the y axis.
    pub(super) fn frame(&self, title: &str) -> Drawn {
        let labelled = self.y.ticks().iter().filter(|t| !t.label.is_empty());
        for tick in labelled {
            let (x, y) = self.pixel(self.x.from(), tick.at);
            let at = (x - self.figure.px(0.5), y);
            self.figure.text(&tick.label, at, Type::NOTE.anchored(HPos::Right, VPos::Center))?;
        }
        self.bare_frame(title)
    }

    fn title(&self, title: &str) -> Drawn {
        if let Some(panel) = self.figure.notes().borrow_mut().panels.get_mut(self.number) {
            panel.title = title.into();
        }
        let above = (self.place.left, self.place.top - self.place.above - self.figure.px(0.55));
        self.figure.text(title, above, Type::NOTE.anchored(HPos::Left, VPos::Bottom))
    }

    /// Title and the labels of the y axis, without lines: for a panel filled by an image.
    pub(super) fn labels(&self, title: &str) -> Drawn {
        let (figure, place) = (self.figure, self.place);
        self.title(title)?;
        for tick in self.y.ticks().iter().filter(|t| !t.label.is_empty()) {
            let (x, y) = self.pixel(self.x.from(), tick.at);
            let at = (x - figure.px(0.5), y);
            figure.text(&tick.label, at, Type::NOTE.anchored(HPos::Right, VPos::Center))?;
        }
        figure.path(&[(place.left, place.bottom), (place.right, place.bottom)], Ink::Axis, figure.px(0.08))
    }

    /// Title and the grid of the x axis, for bars that lie.
    pub(super) fn columns(&self, title: &str) -> Drawn {
        let (figure, place) = (self.figure, self.place);
        self.title(title)?;
        for tick in self.x.ticks() {
            let (x, _) = self.pixel(tick.at, self.y.from());
            let thick = if tick.label.is_empty() { 1 } else { figure.px(0.07) };
            figure.path(&[(x, place.top), (x, place.bottom)], Ink::Grid, thick)?;
        }
        figure.path(&[(place.left, place.bottom), (place.right, place.bottom)], Ink::Axis, figure.px(0.08))
    }

    /// Title and grid of a panel that shares its y axis with the one to its left.
    pub(super) fn bare_frame(&self, title: &str) -> Drawn {
        let (figure, place) = (self.figure, self.place);
        self.title(title)?;
        for tick in self.y.ticks() {
            let (_, y) = self.pixel(self.x.from(), tick.at);
            let thick = if tick.label.is_empty() { 1 } else { figure.px(0.07) };
            figure.path(&[(place.left, y), (place.right, y)], Ink::Grid, thick)?;
        }
        figure.path(&[(place.left, place.bottom), (place.right, place.bottom)], Ink::Axis, figure.px(0.08))
    }

    /// Ticks, labels and name of the x axis, below the panel. A label that would touch the one
    /// before it is left out; one that would be cut off by the paper's edge moves inwards.
    pub(super) fn x_axis(&self, name: &str) -> Drawn {
        let (figure, place) = (self.figure, self.place);
        figure.group(format!("data-axis=\"{}\"", self.number), || self.x_ticks())?;
        let middle = ((place.left + place.right) / 2, place.bottom + figure.px(1.8));
        figure.text(name, middle, Type::NOTE.anchored(HPos::Center, VPos::Top))
    }

    fn x_ticks(&self) -> Drawn {
        let (figure, place) = (self.figure, self.place);
        let mut free_from = i32::MIN;
        for tick in self.x.ticks() {
            let (x, _) = self.pixel(tick.at, self.y.from());
            figure.path(
                &[(x, place.bottom), (x, place.bottom + figure.px(0.3))],
                Ink::Axis,
                figure.px(0.08),
            )?;
            let half = figure.px(figure.text_width(&tick.label) * Type::NOTE.size) / 2;
            let edge = half + figure.px(0.2);
            let middle = x.clamp(edge, (figure.width() - edge).max(edge));
            if !tick.label.is_empty() && middle - half > free_from {
                let below = (middle, place.bottom + figure.px(0.5));
                figure.text(&tick.label, below, Type::NOTE.anchored(HPos::Center, VPos::Top))?;
                free_from = middle + half + figure.px(0.3);
            }
        }
        Ok(())
    }

    /// A stretch of the x axis, shaded.
    pub(super) fn shade(&self, from: f64, to: f64, ink: Ink) -> Drawn {
        let (left, _) = self.pixel(from, self.y.from());
        let (right, _) = self.pixel(to, self.y.from());
        self.within(|| self.figure.block((left, self.place.top), (right, self.place.bottom), ink, SHADE))
    }

    /// A polyline, broken where values are missing.
    pub(super) fn line(&self, points: impl Iterator<Item = Point>, ink: Ink, ems: f64) -> Drawn {
        let runs: Vec<_> = self.runs(points).into_iter().map(|run| self.thinned(run)).collect();
        let end = self.x.to();
        self.note(runs.iter().flatten().map(|(x, y)| (x.min(end), *y)), ink);
        self.series(ink, || runs.into_iter().try_for_each(|run| self.stroke(run, ink, ems)))
    }

    /// A stretch of a polyline; a single point is a dot.
    fn stroke(&self, run: Vec<(f64, f64)>, ink: Ink, ems: f64) -> Drawn {
        let width = self.figure.px(ems).max(1);
        let style = ShapeStyle { color: ink.rgb().to_rgba(), filled: false, stroke_width: width as u32 };
        match run.as_slice() {
            [(x, y)] => self.figure.dot(self.pixel(*x, *y), ink),
            _ => self.plane.draw(&PathElement::new(run, style)),
        }
    }

    /// A line with the area below it filled.
    pub(super) fn area(&self, points: impl Iterator<Item = Point>, ink: Ink) -> Drawn {
        let runs: Vec<_> = self.runs(points).into_iter().map(|run| self.thinned(run)).collect();
        self.note(runs.iter().flatten().copied(), ink);
        self.series(ink, || {
            for mut outline in runs {
                self.stroke(outline.clone(), ink, 0.12)?;
                let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) else {
                    continue;
                };
                outline.extend([(last.0, self.y.from()), (first.0, self.y.from())]);
                self.plane.draw(&Polygon::new(outline, ink.rgb().mix(0.2).filled()))?;
            }
            Ok(())
        })
    }

    /// Stretches without a missing value.
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
        runs
    }

    /// No more points than pixels can show: of each pixel's points the lowest and the highest.
    fn thinned(&self, run: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return run };
        let columns = (self.pixel(last.0, 0.0).0 - self.pixel(first.0, 0.0).0).max(1) as usize;
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

    /// Bars one second wide from `low` to `high`, wide and high enough to be seen.
    pub(super) fn bars(&self, bars: impl Iterator<Item = (f64, f64, f64)>, ink: Ink) -> Drawn {
        let bars: Vec<_> = bars.collect();
        let values = bars.iter().map(|(second, low, high)| (second + 0.5, Some(high - low)));
        let noted = self.runs(values).into_iter().flat_map(|run| self.thinned(run));
        self.note(noted, ink);
        self.series(ink, || self.blocks(bars.into_iter(), ink))
    }

    fn blocks(&self, bars: impl Iterator<Item = (f64, f64, f64)>, ink: Ink) -> Drawn {
        let mut drawn: Option<((i32, i32), (i32, i32))> = None;
        for (second, low, high) in bars.filter(|(_, low, high)| high > low) {
            let (left, bottom) = self.pixel(second, low);
            let (right, top) = self.pixel(second + 1.0, high);
            let gap = i32::from(right - left > 4);
            let from = (left, top.min(bottom - self.figure.px(0.25)));
            let to = ((right - gap).max(left + self.figure.px(0.12)), bottom);
            // Bars in the same column of pixels: the highest stands for all.
            drawn = match drawn {
                Some((was, end)) if was.0 == left => Some(((left, was.1.min(from.1)), end)),
                Some((was, end)) => {
                    self.figure.block(was, end, ink, 1.0)?;
                    Some((from, to))
                }
                None => Some((from, to)),
            };
        }
        drawn.map_or(Ok(()), |(from, to)| self.figure.block(from, to, ink, 1.0))
    }

    /// A dashed line across at a value.
    pub(super) fn across(&self, value: f64, ink: Ink) -> Drawn {
        self.dashes([(self.x.from(), value), (self.x.to(), value)], ink)
    }

    /// A dashed line down at a value.
    pub(super) fn down(&self, value: f64, ink: Ink) -> Drawn {
        self.within(|| self.dashes([(value, self.y.from()), (value, self.y.to())], ink))
    }

    fn dashes(&self, ends: [(f64, f64); 2], ink: Ink) -> Result<(), DrawError> {
        let style = ShapeStyle {
            color: ink.rgb().to_rgba(),
            filled: false,
            stroke_width: self.figure.px(0.09).max(1) as u32,
        };
        let (dash, gap) = (self.figure.px(0.5), self.figure.px(0.35));
        self.plane.draw(&DashedPathElement::new(ends, dash, gap, style))
    }

    /// Words in the middle of a panel that has nothing else to show.
    pub(super) fn say(&self, words: &str) -> Drawn {
        let Rect { left, top, right, bottom, .. } = self.place;
        let middle = ((left + right) / 2, (top + bottom) / 2);
        self.figure.patch(words, middle, Type::NOTE.anchored(HPos::Center, VPos::Center))
    }
}
