//! The legend: entries by which series are found again, and their marks.

use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Canvas, FAINT, SHADE, Style};
use super::notes::KeyNote;
use super::theme::Ink;
use super::timeline::STRIP_EMS;

/// An entry of the legend, known by its label.
#[derive(Debug, Clone, Copy)]
pub(super) struct LegendKey<'a> {
    pub label: &'a str,
    pub ink: Ink,
    pub mark: Mark,
}

impl LegendKey<'static> {
    pub(super) const fn new(label: &'static str, ink: Ink, mark: Mark) -> LegendKey<'static> {
        LegendKey { label, ink, mark }
    }
}

/// The look of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mark {
    Line,
    /// A stroke from top to bottom.
    Stroke,
    Block,
    /// A translucent block, for stretches of time.
    Shade,
    /// A strip below a panel.
    Strip,
    /// The end of a bar that few reach.
    Faint,
    Dot,
    /// A hollow dot, which leaves room for a full one in it.
    Ring,
    Cross,
    /// A broken line across.
    DashedAcross,
    /// A broken line down.
    DashedDown,
    /// A fault's number.
    Badge(usize),
}

/// A line of a chart: its entry in the legend, its width in ems, its value in a row of the records.
pub(super) struct LineSeries<T> {
    pub key: LegendKey<'static>,
    pub ems: f64,
    pub value: fn(&T) -> Option<f64>,
}

impl<T> LineSeries<T> {
    pub(super) const fn new(label: &'static str, ink: Ink, ems: f64, value: fn(&T) -> Option<f64>) -> Self {
        LineSeries { key: LegendKey::new(label, ink, Mark::Line), ems, value }
    }
}

impl Style {
    pub(super) const BADGE: Style =
        Style { size: 0.85, ink: Ink::Surface, bold: true, across: HPos::Center, down: VPos::Center };
}

impl Canvas {
    /// Writes the legend, in as many lines as it takes.
    pub(super) fn legend(&mut self, keys: &[LegendKey<'_>]) {
        let (left, right) = (self.margin(), self.width - self.px(0.6));
        let (swatch, line) = (self.px(1.5), self.px(1.5));
        let mut x = left;
        let mut y = self.top + line / 2;
        for (n, key) in keys.iter().enumerate() {
            let note = KeyNote { label: key.label.into(), ink: key.ink.css() };
            self.notes.borrow_mut().keys.push(note);
            let label = self.fitted(key.label, right - left - swatch - self.px(0.4));
            let wide = swatch + self.px(0.4 + self.text_width(&label) * Style::NOTE.size);
            if x + wide > right && x > left {
                (x, y) = (left, y + line);
            }
            self.svg.group("data-key", n, || {
                self.swatch(key, (x, y), swatch);
                self.text(&label, (x + swatch + self.px(0.4), y), Style::NOTE.ink(Ink::Text));
            });
            x += wide + self.px(1.4);
        }
        self.top = y + line / 2 + self.px(0.3);
    }

    fn swatch(&self, key: &LegendKey<'_>, (x, y): (i32, i32), wide: i32) {
        let ink = key.ink;
        let middle = (x + wide / 2, y);
        let block = |ems: f64, alpha: f64| {
            let half = self.px(ems / 2.0);
            self.block((x, y - half), (x + wide, y + half), ink, alpha);
        };
        match key.mark {
            Mark::Line => self.path(&[(x, y), (x + wide, y)], ink, self.px(0.16)),
            Mark::Stroke => self.stroke(middle, ink),
            Mark::Block => block(0.7, 1.0),
            Mark::Shade => block(0.7, SHADE),
            Mark::Faint => block(0.7, FAINT),
            Mark::Strip => block(STRIP_EMS, 1.0),
            Mark::Dot => self.dot(middle, ink),
            Mark::Ring => self.ring(middle, ink),
            Mark::Cross => self.cross(middle, ink),
            Mark::DashedAcross => self.dashed((x, y), (x + wide, y), ink),
            Mark::DashedDown => {
                let half = self.px(0.6);
                self.dashed((middle.0, y - half), (middle.0, y + half), ink);
            }
            Mark::Badge(n) => self.badge(middle, &n.to_string()),
        }
    }

    /// A number on a round ground.
    pub(super) fn badge(&self, (x, y): (i32, i32), label: &str) {
        let radius = self.px(0.55);
        let straight = (self.badge_width(label) / 2 - radius).max(0);
        self.rigid(x, || {
            for x in [x - straight, x + straight] {
                self.disc((x, y), radius, Ink::Vermillion);
            }
            self.block((x - straight, y - radius), (x + straight, y + radius), Ink::Vermillion, 1.0);
            self.text(label, (x, y), Style::BADGE);
        });
    }

    /// The width of a badge, in pixels.
    pub(super) fn badge_width(&self, label: &str) -> i32 {
        self.px(1.1).max(self.px(self.text_width(label) * Style::BADGE.size + 0.7))
    }
}
