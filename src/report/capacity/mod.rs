//! Report of a search for capacity: one record, `capacity.json`, and what is rendered from it.
//!
//! [`CapacityReport`] is made once, of the search's answer and trials; every other file, the page and the text for the
//! terminal are rendered from it alone, so that a stored search renders as a new one does.

mod csv;
mod figures;
mod html;
mod junit;
mod likeness;
mod markdown;
mod model;
mod sources;
mod stored;
mod terminal;
pub(super) mod words;

use std::borrow::Cow;

pub(super) use figures::{FIGURES, medians, when_carried};
pub use model::{
    AfterSearch, BrokeFirst, CapacityReport, GoalReport, LoadLimit, NamedFigure, OutcomeReport, OutcomeWord,
    Required, RequiredOutcome, Schedulings, SearchPlace, SearchSettings, TrialReport,
};
pub use sources::Sources;
pub use stored::{MOST_BYTES, read};
pub use terminal::text;

use super::{Failure, File, Format, ReportError, charts};
use crate::values::{visible, visible_json};

/// The files of one format; none where it has nothing to say of a search.
///
/// # Errors
/// A writer or the renderer fails; odd or missing data is shown as such and is no error.
pub fn render(format: Format, report: &CapacityReport) -> Result<Vec<File>, ReportError> {
    let (path, bytes) = match format {
        Format::Png => return charts::capacity_files(report),
        Format::Html => ("report.html", html::page(report)),
        Format::Json => ("capacity.json", stored::document(report).map_err(Failure::from)),
        Format::Csv => ("capacity.csv", csv::table(report).map_err(Failure::from)),
        Format::Markdown => ("summary.md", Ok(markdown::page(report).into_bytes())),
        Format::Junit if !report.requirements.is_empty() => {
            ("junit.xml", junit::suite(report).map_err(Failure::from))
        }
        Format::Junit | Format::OpenMetrics => return Ok(Vec::new()),
    };
    let mut bytes = bytes.map_err(|source| ReportError::new(path, source))?;
    // The one edge that every text of a report passes.
    let filter = if format == Format::Json { visible_json } else { visible };
    if let Cow::Owned(shown) = filter(&String::from_utf8_lossy(&bytes)) {
        bytes = shown.into_bytes();
    }
    Ok(vec![File { path, bytes }])
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
