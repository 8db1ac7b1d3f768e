//! What a chart on a page shows, noted while it is drawn: the page's script takes its values from here.
//!
//! The drawing library sets no attributes, so where a group begins and ends is marked in the drawing by
//! circles larger than any paper, and [`Notes::grouped`] puts the groups in their stead.

use serde::Serialize;

use super::axis::{Axis, Scale};
use super::figure::Rect;
use super::theme::Ink;

/// What was noted of one chart in one look.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(in crate::report) struct Notes {
    /// The legend's entries.
    pub keys: Vec<KeyNote>,
    /// In the order of drawing; another look of the same chart has the same ones.
    pub panels: Vec<PanelNote>,
    /// Where each panel lies.
    pub frames: Vec<Frame>,
    /// The attributes of each group.
    #[serde(skip)]
    groups: Vec<String>,
}

/// An entry of the legend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct KeyNote {
    pub label: String,
    /// Its colour in CSS.
    pub ink: String,
}

/// A pair of axes and what lies between them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct PanelNote {
    pub title: String,
    /// `time` in seconds, else `linear`.
    pub scale: Scale,
    pub from: f64,
    pub to: f64,
    pub series: Vec<SeriesNote>,
    /// What places on the x axis are called, where that is not the time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<(f64, String)>,
    /// The cells of a heat map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cells: Option<CellsNote>,
}

/// The values of one series: places on the x axis and what is there, rounded as reports show them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct SeriesNote {
    /// Which entry of the legend it belongs to.
    pub key: usize,
    pub at: Vec<f64>,
    pub values: Vec<f64>,
}

/// The cells of a heat map, which fill its panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct CellsNote {
    /// What each row is called, from the top down.
    pub rows: Vec<String>,
    /// Rows of values from left to right; `null` where there is none, −1 where all was lost.
    pub values: Vec<Vec<Option<f64>>>,
}

/// A panel's edges in units of the SVG, and its y axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct Frame {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
    from: f64,
    to: f64,
    scale: Scale,
}

impl Frame {
    pub(super) fn new(place: Rect, y: &Axis) -> Frame {
        let Rect { left, top, right, bottom, .. } = place;
        Frame { left, top, right, bottom, from: y.from(), to: y.to(), scale: y.scale() }
    }
}

/// The radius that ends a group; larger ones begin the group of the number by which they are larger.
pub(super) const MARK: i32 = 1_000_000;

impl Notes {
    /// The entry of the legend that has this colour.
    pub(super) fn key(&self, ink: Ink) -> Option<usize> {
        self.keys.iter().position(|key| key.ink == ink.on_page())
    }

    /// Notes a group and gives its number, from 1.
    pub(super) fn group(&mut self, attributes: String) -> i32 {
        self.groups.push(attributes);
        self.groups.len() as i32
    }

    /// The drawing with groups where they were marked.
    pub(super) fn grouped(&self, svg: &str) -> String {
        let mut out = String::with_capacity(svg.len());
        let mut rest = svg;
        while let Some(at) = rest.find("<circle ") {
            let (before, circle) = rest.split_at(at);
            out.push_str(before);
            let (tag, after) = circle.split_once("/>").unwrap_or((circle, ""));
            let radius = tag.split_once(" r=\"").and_then(|(_, r)| r.split('"').next()?.parse::<i32>().ok());
            match radius.and_then(|r| r.checked_sub(MARK)).filter(|n| *n >= 0) {
                None => out.push_str(&circle[..circle.len() - after.len()]),
                Some(0) => out.push_str("</g>"),
                Some(n) => {
                    let attributes = self.groups.get(n as usize - 1).map_or("", String::as_str);
                    out.push_str(&format!("<g {attributes}>"));
                }
            }
            rest = after;
        }
        out + rest
    }
}

impl PanelNote {
    pub(super) fn new(x: &Axis) -> PanelNote {
        PanelNote {
            title: String::new(),
            scale: x.scale(),
            from: x.from(),
            to: x.to(),
            series: Vec::new(),
            names: Vec::new(),
            cells: None,
        }
    }
}

impl SeriesNote {
    pub(super) fn new(key: usize, points: impl IntoIterator<Item = (f64, f64)>) -> SeriesNote {
        let finite = points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let (at, values) = finite.map(|(x, y)| (rounded(x), rounded(y))).unzip();
        SeriesNote { key, at, values }
    }
}

/// To three decimals, which is what reports show.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_groups_and_nothing_else_does() {
        let mut notes = Notes::default();
        let n = notes.group("data-series=\"0\"".into());
        let drawn = format!(
            "<svg><circle cx=\"0\" cy=\"0\" r=\"{}\"/><circle cx=\"9\" cy=\"0\" r=\"1\"/><circle \
             cx=\"0\" cy=\"0\" r=\"{MARK}\"/></svg>",
            MARK + n
        );
        let grouped = "<svg><g data-series=\"0\"><circle cx=\"9\" cy=\"0\" r=\"1\"/></g></svg>";
        assert_eq!(notes.grouped(&drawn), grouped);
    }

    #[test]
    fn what_is_no_number_is_not_noted() {
        let series = SeriesNote::new(2, [(0.5, 0.123_456), (1.5, f64::NAN), (f64::INFINITY, 1.0)]);
        assert_eq!((series.at, series.values), (vec![0.5], vec![0.123]));
    }
}
