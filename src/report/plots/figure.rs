//! The paper: heading, legend, text, and room for panels.

use std::cell::RefCell;

use plotters::coord::Shift;
use plotters::prelude::{Circle, IntoDrawingArea, PathElement, Rectangle, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBAColor, ShapeStyle, TextStyle};

use super::Look;
use super::image::Image;
use super::notes::{self, KeyNote, Notes};
use super::raster::FONT;
use super::theme::{Ink, text_width};

/// Why something could not be drawn.
pub(super) type DrawError = plotters::drawing::DrawingAreaErrorKind<std::io::Error>;
pub(super) type Drawn = Result<(), DrawError>;
pub(super) type Area<'a> = plotters::drawing::DrawingArea<SVGBackend<'a>, Shift>;

/// A place on the paper, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rect {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
    /// Room between it and its title.
    pub above: i32,
}

impl Rect {
    /// How many labels of a y axis have room.
    pub(super) fn labels(self, figure: &Figure<'_>) -> usize {
        ((self.bottom - self.top) / figure.px(2.2).max(1)).clamp(2, 8) as usize
    }

    /// How many labels of a logarithmic y axis have room: they may stand closer, at 1, 2 and 5.
    pub(super) fn log_labels(self, figure: &Figure<'_>) -> usize {
        ((self.bottom - self.top) / figure.px(1.6).max(1)).clamp(2, 30) as usize
    }
}

/// How something looks in the legend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    Line,
    /// A stroke from top to bottom.
    Stroke,
    Block,
    /// A translucent block, for stretches of time.
    Shade,
    /// The end of a bar that few reach.
    Faint,
    Dot,
    /// A hollow dot, which leaves room for a full one in it.
    Ring,
    Cross,
    /// A broken line across.
    Dash,
    /// A broken line down.
    Dashes,
    /// A fault's number.
    Badge(usize),
}

/// An entry of the legend.
#[derive(Debug, Clone)]
pub(super) struct Key<'a> {
    pub label: &'a str,
    pub ink: Ink,
    pub mark: Mark,
}

/// A text's size in ems, colour, weight and anchor.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub size: f64,
    pub ink: Ink,
    pub bold: bool,
    pub across: HPos,
    pub down: VPos,
}

impl Type {
    /// Muted small text, anchored at its left, halfway up.
    pub(super) const NOTE: Type =
        Type { size: 0.9, ink: Ink::Muted, bold: false, across: HPos::Left, down: VPos::Center };

    pub(super) fn anchored(self, across: HPos, down: VPos) -> Type {
        Type { across, down, ..self }
    }

    pub(super) fn ink(self, ink: Ink) -> Type {
        Type { ink, ..self }
    }
}

/// A chart being drawn, from the top down.
pub(super) struct Figure<'a> {
    area: Area<'a>,
    look: Look,
    /// How far down the paper is used.
    top: i32,
    /// Room between the first panel and its title.
    above: i32,
    notes: RefCell<Notes>,
    images: Vec<Image>,
}

impl<'a> Figure<'a> {
    /// Nothing on it yet: a picture's ground is painted where it is rasterised, a page has its own.
    pub(super) fn new(svg: &'a mut String, look: Look) -> Result<Self, DrawError> {
        let area = SVGBackend::with_string(svg, (look.width, look.height)).into_drawing_area();
        let mut figure =
            Figure { area, look, top: 0, above: 0, notes: RefCell::default(), images: Vec::new() };
        if look.heading {
            figure.top = figure.px(0.9);
        }
        Ok(figure)
    }

    /// What a page's script is told of the chart.
    pub(super) fn notes(&self) -> &RefCell<Notes> {
        &self.notes
    }

    /// What is drawn together: a group with these attributes on a page, nothing in a picture.
    pub(super) fn group(&self, attributes: String, draw: impl FnOnce() -> Drawn) -> Drawn {
        if self.look.heading {
            return draw();
        }
        let mark = |n| self.area.draw(&Circle::new((0, 0), notes::MARK + n, Ink::Text.rgb().filled()));
        let number = self.notes.borrow_mut().group(attributes);
        mark(number)?;
        draw()?;
        mark(0)
    }

    /// What belongs to the legend's entry of this colour and is hidden with it.
    pub(super) fn series(&self, ink: Ink, draw: impl FnOnce() -> Drawn) -> Drawn {
        let key = self.notes.borrow().key(ink);
        match key {
            Some(key) => self.group(format!("data-series=\"{key}\""), draw),
            None => draw(),
        }
    }

    /// Ems in pixels.
    pub(super) fn px(&self, ems: f64) -> i32 {
        (ems * self.look.em).round() as i32
    }

    pub(super) fn area(&self) -> &Area<'a> {
        &self.area
    }

    /// The paper's width in pixels.
    pub(super) fn width(&self) -> i32 {
        self.look.width as i32
    }

    pub(super) fn is_narrow(&self) -> bool {
        self.look.width < self.look.height * 3 / 2
    }

    /// How wide a text may come out, in ems. A page may have a wider font than the bundled one.
    pub(super) fn text_width(&self, text: &str) -> f64 {
        text_width(text) * if self.look.heading { 1.0 } else { 1.15 }
    }

    /// Room at the sides; a page has its own.
    fn margin(&self) -> i32 {
        if self.look.heading { self.px(1.2) } else { 0 }
    }

    /// Title and subtitle, where the look has a heading.
    pub(super) fn heading(&mut self, title: &str, subtitle: &str) -> Drawn {
        if !self.look.heading {
            return Ok(());
        }
        let left = self.margin();
        let big = Type { size: 1.4, ink: Ink::Text, bold: true, across: HPos::Left, down: VPos::Top };
        self.text(title, (left, self.top), big)?;
        self.top += self.px(1.95);
        let subtitle = self.fitted(subtitle, self.look.width as i32 - 2 * left);
        self.text(&subtitle, (left, self.top), Type::NOTE.anchored(HPos::Left, VPos::Top))?;
        self.top += self.px(1.5);
        Ok(())
    }

    /// A note cut short where it would be wider than `room`.
    fn fitted(&self, note: &str, room: i32) -> String {
        let is_wide = |text: &str| self.px(self.text_width(text) * Type::NOTE.size) > room;
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

    /// The legend, in as many lines as it takes.
    pub(super) fn legend(&mut self, keys: &[Key<'_>]) -> Drawn {
        let (left, right) = (self.margin(), self.look.width as i32 - self.px(0.6));
        let (swatch, line) = (self.px(1.5), self.px(1.5));
        let mut x = left;
        let mut y = self.top + line / 2;
        for (n, key) in keys.iter().enumerate() {
            let note = KeyNote { label: key.label.into(), ink: key.ink.on_page() };
            self.notes.borrow_mut().keys.push(note);
            let label = self.fitted(key.label, right - left - swatch - self.px(0.4));
            let wide = swatch + self.px(0.4 + self.text_width(&label) * Type::NOTE.size);
            if x + wide > right && x > left {
                (x, y) = (left, y + line);
            }
            self.group(format!("data-key=\"{n}\""), || {
                self.swatch(key, (x, y), swatch)?;
                self.text(&label, (x + swatch + self.px(0.4), y), Type::NOTE.ink(Ink::Text))
            })?;
            x += wide + self.px(1.4);
        }
        self.top = y + line / 2 + self.px(0.3);
        Ok(())
    }

    fn swatch(&self, key: &Key<'_>, (x, y): (i32, i32), wide: i32) -> Drawn {
        let (ink, thick) = (key.ink, self.px(0.16));
        match key.mark {
            Mark::Line => self.path(&[(x, y), (x + wide, y)], ink, thick),
            Mark::Stroke => self.stroke((x + wide / 2, y), ink),
            Mark::Block | Mark::Shade | Mark::Faint => {
                let half = self.px(0.35);
                let alpha = match key.mark {
                    Mark::Shade => SHADE,
                    Mark::Faint => FAINT,
                    _ => 1.0,
                };
                self.block((x, y - half), (x + wide, y + half), ink, alpha)
            }
            Mark::Dot => self.dot((x + wide / 2, y), ink),
            Mark::Ring => self.ring((x + wide / 2, y), ink),
            Mark::Cross => self.cross((x + wide / 2, y), ink),
            Mark::Dash => [0, 5].into_iter().try_for_each(|dash| {
                let x = x + wide * dash / 9;
                self.path(&[(x, y), (x + wide * 4 / 9, y)], ink, self.px(0.09))
            }),
            Mark::Dashes => [-3, 1].into_iter().try_for_each(|dash| {
                let y = y + self.px(0.18) * dash;
                self.path(&[(x + wide / 2, y), (x + wide / 2, y + self.px(0.36))], ink, self.px(0.09))
            }),
            Mark::Badge(n) => self.badge((x + wide / 2, y), &n.to_string()),
        }
    }

    /// The rest of the paper, parted into rows of the given weights.
    pub(super) fn rows<const N: usize>(&self, weights: [f64; N]) -> [Rect; N] {
        let (left, right) =
            (self.margin() + self.px(3.2), self.look.width as i32 - self.margin().max(self.px(0.6)));
        // Room below for the ticks and the name of the x axis, and above each row for its title.
        let bottom = self.look.height as i32 - self.px(3.3);
        let title = self.px(2.3);
        let free = f64::from(bottom - self.top - self.above - title * N as i32).max(1.0);
        let all: f64 = weights.iter().sum();
        let (mut top, mut above) = (self.top, self.above);
        weights.map(|weight| {
            let start = top + title + above;
            top = start + (free * weight / all) as i32;
            Rect { left, top: start, right, bottom: top, above: std::mem::take(&mut above) }
        })
    }

    pub(super) fn text(&self, text: &str, at: (i32, i32), how: Type) -> Drawn {
        // The backend writes a font size of 1/1.24 of what it is given.
        let font = (FONT, how.size * self.look.em * 1.24).into_font();
        let font = if how.bold { font.style(FontStyle::Bold) } else { font };
        let color = how.ink.rgb();
        let style = TextStyle::from(font).color(&color).pos(Pos::new(how.across, how.down));
        self.area.draw(&Text::new(text.to_string(), at, style))
    }

    /// Text on a patch of the ground, so that lines below do not run through it.
    pub(super) fn patch(&self, text: &str, at: (i32, i32), how: Type) -> Drawn {
        let wide = self.px((self.text_width(text) + 0.5) * how.size);
        let high = self.px(1.25 * how.size);
        let left = match how.across {
            HPos::Left => at.0 - self.px(0.25),
            HPos::Center => at.0 - wide / 2,
            HPos::Right => at.0 - wide + self.px(0.25),
        };
        let top = match how.down {
            VPos::Top => at.1 - self.px(0.2),
            VPos::Center => at.1 - high / 2,
            VPos::Bottom => at.1 - high + self.px(0.05),
        };
        self.group(format!("data-x=\"{}\"", at.0), || {
            self.block((left, top), (left + wide, top + high), Ink::Surface, 0.8)?;
            self.text(text, at, how)
        })
    }

    pub(super) fn path(&self, points: &[(i32, i32)], ink: Ink, width: i32) -> Drawn {
        let style =
            ShapeStyle { color: ink.rgb().to_rgba(), filled: false, stroke_width: width.max(1) as u32 };
        self.area.draw(&PathElement::new(points.to_vec(), style))
    }

    pub(super) fn block(&self, from: (i32, i32), to: (i32, i32), ink: Ink, alpha: f64) -> Drawn {
        let color: RGBAColor = ink.rgb().mix(alpha);
        self.area.draw(&Rectangle::new([from, to], color.filled()))
    }

    pub(super) fn dot(&self, at: (i32, i32), ink: Ink) -> Drawn {
        self.disc(at, self.px(0.24), ink)
    }

    /// A full circle with a radius in pixels.
    pub(super) fn disc(&self, at: (i32, i32), radius: i32, ink: Ink) -> Drawn {
        self.area.draw(&Circle::new(at, radius, ink.rgb().filled()))
    }

    pub(super) fn ring(&self, at: (i32, i32), ink: Ink) -> Drawn {
        let stroke_width = self.px(0.11).max(1) as u32;
        let style = ShapeStyle { color: ink.rgb().to_rgba(), filled: false, stroke_width };
        self.area.draw(&Circle::new(at, self.px(0.36), style))
    }

    pub(super) fn cross(&self, (x, y): (i32, i32), ink: Ink) -> Drawn {
        let (arm, thick) = (self.px(0.28), self.px(0.14));
        self.group(format!("data-x=\"{x}\""), || {
            self.path(&[(x - arm, y - arm), (x + arm, y + arm)], ink, thick)?;
            self.path(&[(x - arm, y + arm), (x + arm, y - arm)], ink, thick)
        })
    }

    /// A short upright stroke, its middle at a place.
    pub(super) fn stroke(&self, (x, y): (i32, i32), ink: Ink) -> Drawn {
        let half = self.px(0.4);
        self.path(&[(x, y - half), (x, y + half)], ink, self.px(0.16))
    }

    /// Room across the paper, as high as it is said in ems, below what is there already.
    pub(super) fn strip(&mut self, ems: f64) -> Rect {
        let top = self.top;
        self.top += self.px(ems);
        let right = self.look.width as i32 - self.px(0.6);
        Rect { left: self.margin(), top, right, bottom: self.top, above: 0 }
    }

    /// Leaves room between the first panel and its title.
    pub(super) fn leave_above(&mut self, ems: f64) {
        self.above = self.px(ems);
    }

    /// An image, below all that is drawn.
    pub(super) fn image(&mut self, image: Image) {
        self.images.push(image);
    }

    /// Ends the drawing; the images belong below it.
    pub(super) fn finish(self) -> Result<(Vec<Image>, Notes), DrawError> {
        self.area.present()?;
        Ok((self.images, self.notes.into_inner()))
    }
}

/// How strong shading is.
pub(super) const SHADE: f64 = 0.14;
/// How strong the end of a bar is that few reach.
pub(super) const FAINT: f64 = 0.4;
