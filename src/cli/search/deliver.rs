//! The answer of a search: written, printed, and as an exit code.

use std::path::Path;

use super::Args;
use super::hunt::Found;
use super::stored::{difference, sentences};
use crate::cli::{Exit, Failure, look, say};
use crate::report::capacity::{CapacityReport, RequiredOutcome, render, text};
use crate::report::{Format, terminal};
use crate::run::Folder;
use crate::search::{Answer, Change, Comparison, Require, compare};

/// Formats that a search writes.
const FORMATS: [Format; 6] =
    [Format::Csv, Format::Json, Format::Markdown, Format::Junit, Format::Html, Format::Png];

/// Writes and prints the answer, and returns the exit code.
///
/// # Errors
/// A file that cannot be written; else what broke the search.
pub fn deliver(
    args: &Args,
    found: &Found,
    requirements: &[Require],
    baseline: Option<&(Answer, Option<CapacityReport>)>,
) -> Result<Exit, Failure> {
    let compared = baseline.map_or(Vec::new(), |(base, _)| compare(base, &found.answer));
    if baseline.is_some() && compared.is_empty() {
        say::err("warning: the search of --baseline has no goal and kind of load in common with this one");
    }
    let mut report = found.report(requirements);
    report.remarks.extend(sentences(&compared));
    let former = baseline.and_then(|(_, report)| report.as_ref());
    report.remarks.extend(former.and_then(|former| difference(&report, former)));
    let written = write(&report, &found.folder, &FORMATS);
    if !args.quiet {
        print(&report, written.is_ok().then(|| found.folder.path()));
    }
    written?;
    if let Some(why) = &found.lost {
        say::err(format_args!("inconclusive: {why}; the trials that were made are kept"));
        return Ok(Exit::Inconclusive);
    }
    if let Some(why) = &found.broken {
        return Err(Failure::broke(why.clone()));
    }
    if found.interrupted {
        return Ok(Exit::Interrupted);
    }
    Ok(exit(&report, &compared))
}

/// Prints a report, with the page in the folder if there is one.
pub fn print(report: &CapacityReport, folder: Option<&Path>) {
    let page = folder.map(|folder| folder.join("report.html"));
    // Absolute, so that a click or a paste opens it from anywhere.
    let place =
        page.map_or(String::new(), |page| std::path::absolute(&page).unwrap_or(page).display().to_string());
    let shape = terminal::Look { place: &place, colour: look::has_colours(), tables: false };
    say::coloured(text(report, shape).trim_end());
}

/// Writes the files of these formats. One that cannot be written does not keep the others from being written.
///
/// # Errors
/// The first file that could not be written.
pub fn write(report: &CapacityReport, folder: &Folder, formats: &[Format]) -> Result<(), Failure> {
    let mut written: Vec<Result<(), Failure>> = Vec::new();
    for format in formats {
        match render(*format, report) {
            Ok(files) => written
                .extend(files.iter().map(|file| folder.write(file.path, &file.bytes).map_err(Failure::from))),
            Err(error) => written.push(Err(error.into())),
        }
    }
    written.into_iter().collect()
}

/// A condition that fails comes before a capacity that has fallen, and that before doubt.
pub fn exit(report: &CapacityReport, compared: &[Comparison]) -> Exit {
    match report.outcome {
        Some(RequiredOutcome::Fail) => Exit::GateFailed,
        _ if compared.iter().any(|found| found.change == Change::Less) => Exit::Regressed,
        Some(RequiredOutcome::Inconclusive) => Exit::Inconclusive,
        None if !report.is_answered() => Exit::Inconclusive,
        Some(RequiredOutcome::Pass) | None => Exit::Pass,
    }
}
