//! Summary and verdict, or the record of a search → the bytes of files: CSV, JSON, PNG, HTML and more, and the text for
//! the terminal.
//!
//! Exporters only turn figures into bytes: every figure is looked up in the [`Summary`] by its name
//! and none is computed here.

pub mod capacity;
mod charts;
pub mod comparison;
mod csv;
mod excerpts;
mod headline;
mod html;
mod json;
mod junit;
mod lanes;
mod markdown;
mod openmetrics;
mod shards;
pub mod side_by_side;
mod stages;
mod targets;
pub mod terminal;
mod words;

use std::borrow::Cow;

use strum::{EnumString, IntoStaticStr, VariantArray};

pub use json::figure;

use crate::gate::Verdict;
use crate::metrics::Summary;
use crate::values::{visible, visible_json};

/// A kind of report.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, EnumString, VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum Format {
    /// `report.html`: everything on one page, nothing fetched.
    Html,
    /// `plots/*.png`.
    Png,
    /// `calls.csv`, `seconds.csv`, `call_seconds.csv`, `silences.csv` and `percentiles.csv`; of stages `stages.csv`.
    Csv,
    /// `summary.json`.
    Json,
    /// `summary.md`, for a pull request.
    Markdown,
    /// `junit.xml`, for a CI server.
    Junit,
    /// `metrics.prom`, for Prometheus.
    OpenMetrics,
}

impl Format {
    /// All formats, in the order of documentation.
    pub const ALL: &[Format] = <Format as VariantArray>::VARIANTS;

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A file of a report, not yet written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its place in the run's folder, `/` between parts.
    pub path: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A file of a report that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct ReportError {
    path: &'static str,
    source: Failure,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl ReportError {
    fn new(path: &'static str, source: impl Into<Failure>) -> ReportError {
        ReportError { path, source: source.into() }
    }
}

/// The files of one format. `scenario` is the text of the resolved scenario, shown in the HTML
/// report; empty where it is not at hand.
///
/// # Errors
/// A writer or the renderer fails; odd or missing data is shown as such and is no error.
pub fn render(
    format: Format,
    summary: &Summary,
    verdict: &Verdict,
    scenario: &str,
) -> Result<Vec<File>, ReportError> {
    let mut files = unfiltered(format, summary, verdict, scenario)?;
    // The one edge that every text of a report passes.
    let filter = match format {
        Format::Png => return Ok(files),
        Format::Json => visible_json,
        _ => visible,
    };
    for file in &mut files {
        if let Cow::Owned(shown) = filter(&String::from_utf8_lossy(&file.bytes)) {
            file.bytes = shown.into_bytes();
        }
    }
    Ok(files)
}

fn unfiltered(
    format: Format,
    summary: &Summary,
    verdict: &Verdict,
    scenario: &str,
) -> Result<Vec<File>, ReportError> {
    let (path, bytes) = match format {
        Format::Png => return charts::files(summary, &verdict.doubt),
        Format::Csv => return csv::files(summary),
        Format::Html => ("report.html", html::page(summary, verdict, scenario)),
        Format::Json => ("summary.json", json::summary(summary, verdict).map_err(Failure::from)),
        Format::Markdown => ("summary.md", Ok(markdown::page(summary, verdict).into_bytes())),
        Format::Junit => ("junit.xml", junit::suite(summary, verdict).map_err(Failure::from)),
        Format::OpenMetrics => ("metrics.prom", Ok(openmetrics::text(summary, verdict).into_bytes())),
    };
    Ok(vec![File { path, bytes: bytes.map_err(|source| ReportError::new(path, source))? }])
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_runs_render_in_every_format() {
        let odd = [
            fixture::nothing_answered(),
            fixture::no_seconds(),
            fixture::one_second(),
            fixture::all_lost(),
            fixture::many_calls(),
            fixture::hostile(),
            fixture::faulted(),
            fixture::conversation(),
            fixture::read_aloud(),
        ];
        for (n, (summary, verdict)) in odd.iter().enumerate() {
            // Pictures of odd runs are drawn in the tests of `charts`; rasterising them all takes long.
            for format in Format::ALL.iter().copied().filter(|f| *f != Format::Png) {
                for file in render(format, summary, verdict, "name = \"odd\"").unwrap() {
                    let text = String::from_utf8_lossy(&file.bytes);
                    assert!(!text.contains("NaN"), "run {n}: NaN in {}", file.path);
                }
            }
            let text = terminal::summary(
                summary,
                verdict,
                terminal::Look { colour: true, tables: true, place: "here" },
            );
            assert!(!text.contains("NaN"), "{text}");
        }
    }
}
