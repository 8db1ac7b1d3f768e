//! The canvas of a chart: heading, text, shapes, and room for panels.

use std::cell::RefCell;

use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{Drawable, PointCollection};
use plotters::prelude::{Circle, IntoDrawingArea, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, ShapeStyle, TextStyle};
use serde::Serialize;

use super::Look;
use super::axis::Tick;
use super::notes::Notes;
use super::raster::FONT;
use super::svg::{Drawing, Svg};
use super::theme::{Ink, text_width};
use super::timeline::Stretch;

/// A place on the canvas, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(in crate::report) struct Rect {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
    /// Room between it and its title.
    #[serde(skip)]
    pub above: i32,
}

impl Rect {
    /// Number of labels that a y axis has room for.
    pub(super) fn labels(self, canvas: &Canvas) -> usize {
        ((self.bottom - self.top) / canvas.px(2.2).max(1)).clamp(2, 8) as usize
    }

    /// Number of labels that a logarithmic y axis has room for: they may stand closer, at 1, 2 and 5.
    pub(super) fn log_labels(self, canvas: &Canvas) -> usize {
        ((self.bottom - self.top) / canvas.px(1.6).max(1)).clamp(2, 30) as usize
    }
}

/// A text's size in ems, colour, weight and anchor.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub size: f64,
    pub ink: Ink,
    pub bold: bool,
    pub across: HPos,
    pub down: VPos,
}

impl Style {
    /// Muted small text, anchored at its left, halfway up.
    pub(super) const NOTE: Style =
        Style { size: 0.9, ink: Ink::Muted, bold: false, across: HPos::Left, down: VPos::Center };

    pub(super) fn anchored(self, across: HPos, down: VPos) -> Style {
        Style { across, down, ..self }
    }

    pub(super) fn ink(self, ink: Ink) -> Style {
        Style { ink, ..self }
    }
}

/// A chart being drawn, from the top down.
pub(in crate::report) struct Canvas {
    pub(super) svg: Svg,
    pub(super) area: DrawingArea<Svg, Shift>,
    look: Look,
    /// In pixels.
    pub(super) width: i32,
    height: i32,
    em: f64,
    /// The upper edge of the room that is left.
    pub(super) top: i32,
    /// Room between the first panel and its title.
    above: i32,
    /// Seconds to mark in charts over time.
    pub(super) not_quiet: Vec<Stretch>,
    /// Values for the page's script.
    pub(super) notes: RefCell<Notes>,
}

impl Canvas {
    pub(super) fn new(look: Look, not_quiet: Vec<Stretch>) -> Canvas {
        let (width, height, em) = look.size();
        Canvas::sized(look, (width, height, em), not_quiet)
    }

    /// A canvas as high as so many ems.
    pub(super) fn high(look: Look, ems: f64) -> Canvas {
        let (width, _, em) = look.size();
        Canvas::sized(look, (width, (ems * em) as u32, em), Vec::new())
    }

    fn sized(look: Look, (width, height, em): (u32, u32, f64), not_quiet: Vec<Stretch>) -> Canvas {
        let svg = Svg::new((width, height), look);
        let area = svg.clone().into_drawing_area();
        let (width, height) = (width as i32, height as i32);
        let notes = RefCell::default();
        Canvas { svg, area, look, width, height, em, top: 0, above: 0, not_quiet, notes }
    }

    /// Makes the canvas higher.
    pub(super) fn grow(&mut self, ems: f64) {
        let by = self.px(ems);
        self.height += by;
        self.svg.grow(by.unsigned_abs());
        // The area keeps the size that it was made with, and moves what lies below onto its edge.
        self.area = self.svg.clone().into_drawing_area();
    }

    /// Ends the drawing.
    pub(super) fn finish(self) -> (Drawing, Notes) {
        (self.svg.finish(), self.notes.into_inner())
    }

    /// Groups marks that keep their shape around `x` while the axis is zoomed.
    pub(super) fn rigid(&self, x: i32, draw: impl FnOnce()) {
        self.svg.group("data-x", x, draw);
    }

    /// Ems in pixels.
    pub(super) fn px(&self, ems: f64) -> i32 {
        (ems * self.em).round() as i32
    }

    pub(super) fn is_narrow(&self) -> bool {
        self.look == Look::Narrow
    }

    /// An upper bound of a text's width, in ems. A page may have a wider font than the bundled one.
    pub(super) fn text_width(&self, text: &str) -> f64 {
        text_width(text) * if self.look == Look::Picture { 1.0 } else { 1.15 }
    }

    /// Room at the sides; a page has its own.
    pub(super) fn margin(&self) -> i32 {
        if self.look == Look::Picture { self.px(1.2) } else { 0 }
    }

    /// Writes title and subtitle of a picture; a page has its own.
    pub(super) fn heading(&mut self, title: &str, subtitle: &str) {
        if self.look != Look::Picture {
            return;
        }
        let left = self.margin();
        self.top = self.px(0.9);
        let big = Style { size: 1.4, ink: Ink::Text, bold: true, across: HPos::Left, down: VPos::Top };
        self.text(title, (left, self.top), big);
        self.top += self.px(1.95);
        let subtitle = self.fitted(subtitle, self.width - 2 * left);
        self.text(&subtitle, (left, self.top), Style::NOTE.anchored(HPos::Left, VPos::Top));
        self.top += self.px(1.5);
    }

    /// A note, cut short if it is wider than `room`.
    pub(super) fn fitted(&self, note: &str, room: i32) -> String {
        let is_wide = |text: &str| self.px(self.text_width(text) * Style::NOTE.size) > room;
        if !is_wide(note) {
            return note.to_string();
        }
        let mut cut = String::new();
        for c in note.chars() {
            cut.push(c);
            if is_wide(&cut) {
                break;
            }
        }
        cut.pop();
        cut.pop();
        cut + "…"
    }

    /// Divides the rest of the canvas into rows of the given weights.
    pub(super) fn rows<const N: usize>(&self, weights: [f64; N]) -> [Rect; N] {
        let mut rows = self.divided(&weights).into_iter();
        // Invariant: there is a row for each weight.
        weights.map(|_| rows.next().expect("a row for each weight"))
    }

    /// Divides the rest of the canvas into rows of the same height.
    pub(super) fn alike(&self, rows: usize) -> Vec<Rect> {
        self.divided(&vec![1.0; rows])
    }

    fn divided(&self, weights: &[f64]) -> Vec<Rect> {
        let (left, right) = (self.margin() + self.px(3.2), self.width - self.margin().max(self.px(0.6)));
        // Room below for the ticks and the name of the x axis, and above each row for its title.
        let bottom = self.height - self.px(3.3);
        let title = self.px(2.3);
        let free = f64::from(bottom - self.top - self.above - title * weights.len() as i32).max(1.0);
        let all: f64 = weights.iter().sum();
        let (mut top, mut above) = (self.top, self.above);
        let row = |weight: &f64| {
            let start = top + title + above;
            top = start + (free * weight / all) as i32;
            Rect { left, top: start, right, bottom: top, above: std::mem::take(&mut above) }
        };
        weights.iter().map(row).collect()
    }

    /// Takes a strip across the canvas, `ems` high.
    pub(super) fn strip(&mut self, ems: f64) -> Rect {
        let top = self.top;
        self.top += self.px(ems);
        let right = self.width - self.px(0.6);
        Rect { left: self.margin(), top, right, bottom: self.top, above: 0 }
    }

    /// Leaves room between the first panel and its title.
    pub(super) fn leave_above(&mut self, ems: f64) {
        self.above = self.px(ems);
    }

    pub(super) fn text(&self, text: &str, at: (i32, i32), style: Style) {
        let font = (FONT, style.size * self.em).into_font();
        let font = if style.bold { font.style(FontStyle::Bold) } else { font };
        let (ink, anchor) = (style.ink.rgb(), Pos::new(style.across, style.down));
        self.draw(&Text::new(text, at, TextStyle::from(font).color(&ink).pos(anchor)));
    }

    /// Text on a patch of the ground, so that lines below do not run through it.
    pub(super) fn patch(&self, text: &str, at: (i32, i32), style: Style) {
        let wide = self.px((self.text_width(text) + 0.5) * style.size);
        let high = self.px(1.25 * style.size);
        let left = match style.across {
            HPos::Left => at.0 - self.px(0.25),
            HPos::Center => at.0 - wide / 2,
            HPos::Right => at.0 - wide + self.px(0.25),
        };
        let top = match style.down {
            VPos::Top => at.1 - self.px(0.2),
            VPos::Center => at.1 - high / 2,
            VPos::Bottom => at.1 - high + self.px(0.05),
        };
        self.rigid(at.0, || {
            self.block((left, top), (left + wide, top + high), Ink::Surface, 0.8);
            self.text(text, at, style);
        });
    }

    /// Draws an element of plotters'.
    fn draw<'e, E: Drawable<Svg>>(&self, element: &'e E)
    where
        &'e E: PointCollection<'e, (i32, i32)>,
    {
        // The backend's error is infallible, and no element draws another, which alone could find it borrowed.
        self.area.draw(element).expect("drawing into memory does not fail");
    }

    pub(super) fn path(&self, points: &[(i32, i32)], ink: Ink, width: i32) {
        self.draw(&PathElement::new(points, outline(ink, width)));
    }

    pub(super) fn block(&self, from: (i32, i32), to: (i32, i32), ink: Ink, alpha: f64) {
        self.draw(&Rectangle::new([from, to], ink.rgb().mix(alpha).filled()));
    }

    pub(super) fn fill(&self, corners: Vec<(i32, i32)>, ink: Ink, alpha: f64) {
        self.draw(&Polygon::new(corners, ink.rgb().mix(alpha).filled()));
    }

    /// A full circle with a radius in pixels.
    pub(super) fn disc(&self, at: (i32, i32), radius: i32, ink: Ink) {
        self.draw(&Circle::new(at, radius, ink.rgb().filled()));
    }

    pub(super) fn dot(&self, at: (i32, i32), ink: Ink) {
        self.disc(at, self.px(0.24), ink);
    }

    pub(super) fn ring(&self, at: (i32, i32), ink: Ink) {
        self.draw(&Circle::new(at, self.px(0.36), outline(ink, self.px(0.11))));
    }

    pub(super) fn cross(&self, (x, y): (i32, i32), ink: Ink) {
        let (arm, thick) = (self.px(0.28), self.px(0.14));
        self.rigid(x, || {
            self.path(&[(x - arm, y - arm), (x + arm, y + arm)], ink, thick);
            self.path(&[(x - arm, y + arm), (x + arm, y - arm)], ink, thick);
        });
    }

    /// A short upright stroke around a place.
    pub(super) fn stroke(&self, (x, y): (i32, i32), ink: Ink) {
        let half = self.px(0.4);
        self.path(&[(x, y - half), (x, y + half)], ink, self.px(0.16));
    }

    /// A broken line.
    pub(super) fn dashed(&self, from: (i32, i32), to: (i32, i32), ink: Ink) {
        let dashes = format!("{} {}", self.px(0.5), self.px(0.35));
        self.svg.group("stroke-dasharray", dashes, || self.path(&[from, to], ink, self.px(0.09)));
    }

    /// Draws ticks below `y` and labels below these. A label that would touch the one before it is left
    /// out; one that would be cut off by the edge moves inwards.
    pub(super) fn ticks(&self, ticks: &[Tick], y: i32, x: impl Fn(f64) -> i32) {
        let mut free_from = i32::MIN;
        for tick in ticks {
            let x = x(tick.at);
            self.path(&[(x, y), (x, y + self.px(0.3))], Ink::Axis, self.px(0.08));
            let half = self.px(self.text_width(&tick.label) * Style::NOTE.size) / 2;
            let edge = half + self.px(0.2);
            let middle = x.clamp(edge, (self.width - edge).max(edge));
            if !tick.label.is_empty() && middle - half > free_from {
                let below = (middle, y + self.px(0.5));
                self.text(&tick.label, below, Style::NOTE.anchored(HPos::Center, VPos::Top));
                free_from = middle + half + self.px(0.3);
            }
        }
    }
}

/// A line's style, at least a pixel wide.
pub(super) fn outline(ink: Ink, width: i32) -> ShapeStyle {
    ShapeStyle { color: ink.rgb().to_rgba(), filled: false, stroke_width: width.max(1) as u32 }
}

/// Strength of shading.
pub(super) const SHADE: f64 = 0.14;
/// Strength of the end of a bar that few reach.
pub(super) const FAINT: f64 = 0.4;
