//! A stored search: its files rendered again, and its capacity beside that of another.

use std::path::Path;

use super::deliver::{exit, print, write};
use super::place;
use crate::cli::deliver::DeliveryOptions;
use crate::cli::{Exit, Failure, say};
use crate::files::Dir;
use crate::report::capacity::{CapacityReport, MOST_BYTES, read};
use crate::run::folder::{CAPACITY, SEARCH};
use crate::run::{Folder, RunError};
use crate::search::{Change, Comparison, compare};

/// True if the folder is that of a search.
pub fn is_search(folder: &Path) -> bool {
    Dir::open(folder).is_ok_and(|dir| dir.has(CAPACITY) || dir.has(SEARCH))
}

/// Renders the files of a stored search again, into its own folder unless there is another one.
///
/// # Errors
/// It cannot be read, or a file cannot be written.
pub fn report(folder: &Path, out: Option<&Path>, options: &DeliveryOptions) -> Result<Exit, Failure> {
    if options.baseline.is_some() {
        return Err(Failure::usage(
            "--baseline: a stored search has been held against what there was; name two of them to `loadtest compare`",
        ));
    }
    let report = stored(folder)?;
    let folder = Folder::open(out.unwrap_or(folder))?;
    let written = write(&report, &folder, &options.report);
    if !options.quiet {
        print(&report, written.is_ok().then(|| folder.path()));
    }
    written?;
    Ok(match (report.was_interrupted(), report.has_broken()) {
        (true, _) => Exit::Interrupted,
        (_, true) => Exit::Broke,
        _ => exit(&report, &[]),
    })
}

/// The report of a stored search.
///
/// # Errors
/// It has none yet, or one that cannot be read.
pub fn stored(folder: &Path) -> Result<CapacityReport, Failure> {
    let shown = folder.display();
    let dir = Dir::open(folder).map_err(|error| RunError::unreadable(folder, error, ""))?;
    if !dir.has(CAPACITY) {
        return Err(Failure::usage(format!(
            "the search in {shown} has not come to its end: there is no {CAPACITY} in it; go on with `loadtest search \
             --resume {shown}`"
        )));
    }
    let bytes = dir.read(CAPACITY, MOST_BYTES);
    let bytes = bytes.map_err(|error| RunError::unreadable(&folder.join(CAPACITY), error, ""))?;
    let text = str::from_utf8(&bytes);
    let text = text.map_err(|error| RunError::unreadable(&folder.join(CAPACITY), error, ""))?;
    read(text).map_err(|error| Failure::usage(format!("{shown}: {error}")))
}

/// A sentence for each goal, with its name where there are several.
pub fn sentences(compared: &[Comparison]) -> impl Iterator<Item = String> {
    let several = compared.len() > 1;
    compared.iter().map(move |Comparison { goal, sentence, .. }| match several {
        true => format!("{goal}: {sentence}"),
        false => sentence.clone(),
    })
}

/// A line that says how the circumstances of two searches differ, where they do.
pub fn difference(new: &CapacityReport, base: &CapacityReport) -> Option<String> {
    let found = new.differences(base);
    let said =
        || format!("the two searches differ in {}: so may their capacities for that alone", found.join(", "));
    (!found.is_empty()).then(said)
}

/// Holds the capacity that one search has found against that of another.
///
/// # Errors
/// One of them cannot be read.
pub fn compared(base: &Path, new: &Path) -> Result<Exit, Failure> {
    let found = compare(&place::answer(base)?, &place::answer(new)?);
    let reports = || Some((stored(base).ok()?, stored(new).ok()?));
    if let Some((base, new)) = reports() {
        difference(&new, &base).iter().for_each(say::out);
    }
    if found.is_empty() {
        say::out("the two searches have no goal and kind of load in common: nothing can be said");
    }
    sentences(&found).for_each(say::out);
    Ok(if found.iter().any(|found| found.change == Change::Less) {
        Exit::Regressed
    } else if found.iter().all(|found| found.change == Change::None) {
        Exit::Inconclusive
    } else {
        Exit::Pass
    })
}
