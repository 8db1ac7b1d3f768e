//! Values of a chart for the page's script, noted while the chart is drawn.

use serde::Serialize;

use super::axis::Scale;
use super::canvas::Rect;
use super::legend::LegendKey;

/// Notes on one chart in one look.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(in crate::report) struct Notes {
    /// Entries of the legend.
    pub keys: Vec<KeyNote>,
    /// In the order of drawing; another look of the same chart has the same ones.
    pub panels: Vec<PanelNote>,
    /// Each panel's place in this look.
    #[serde(rename = "wide")]
    pub frames: Vec<Rect>,
}

/// An entry of the legend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct KeyNote {
    pub label: String,
    /// Its colour in CSS.
    pub ink: String,
}

/// A pair of axes and the values between them.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(in crate::report) struct PanelNote {
    pub title: String,
    /// Scale and ends of the x axis.
    pub scale: Scale,
    pub from: f64,
    pub to: f64,
    pub series: Vec<SeriesNote>,
    /// Names of places on the x axis that are not the time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<(f64, String)>,
    /// The cells of a heat map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cells: Option<CellsNote>,
}

/// Values of one series and their places on the x axis, rounded as reports show them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct SeriesNote {
    /// Number of its entry in the legend.
    pub key: usize,
    pub at: Vec<f64>,
    pub values: Vec<f64>,
}

/// The cells of a heat map, which fill its panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::report) struct CellsNote {
    /// Names of the rows, from the top down.
    pub rows: Vec<String>,
    /// Rows of values from left to right; `null` where nothing was sent, −1 where all was lost.
    pub values: Vec<Vec<Option<f64>>>,
}

impl Notes {
    /// Number of a legend's entry; none for a mark that the legend leaves out.
    pub(super) fn number(&self, key: &LegendKey<'_>) -> Option<usize> {
        self.keys.iter().position(|noted| noted.label == key.label)
    }
}

impl SeriesNote {
    pub(super) fn new(key: usize, points: impl IntoIterator<Item = (f64, f64)>) -> SeriesNote {
        let finite = points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let (at, values) = finite.map(|(x, y)| (rounded(x), rounded(y))).unzip();
        SeriesNote { key, at, values }
    }
}

/// Rounds to three decimals, as reports do.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let series = SeriesNote::new(2, [(0.5, 0.123_456), (1.5, f64::NAN), (f64::INFINITY, 1.0)]);
        assert_eq!((series.at, series.values), (vec![0.5], vec![0.123]));
    }
}
