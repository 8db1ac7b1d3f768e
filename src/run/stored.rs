//! Stored runs: one read back from its folder, a folder of them, and the baseline that they make.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::RunError;
use super::plan::resolve;
use crate::compare::baseline::Baseline;
use crate::compare::digest::RunDigest;
use crate::files::Dir;
use crate::gate::doubt;
use crate::metrics::{Summary, summarize};
use crate::quality::MOST_WORST;
use crate::record::stored::{Size, Stored};
use crate::record::{MOST_EXCERPTS, QualityRow, Run, TalkRow};
use crate::scenario::Resolved;

const ENVIRONMENT: &str = "environment.json";
const SCENARIO: &str = "scenario.toml";

/// Largest table or log of a run that is read: some million calls.
const MOST_BYTES: u64 = 1 << 30;
/// Largest file of a run that is one document.
const MOST_DOCUMENT: u64 = 16 << 20;
/// Largest audio of a run: some two minutes.
const MOST_AUDIO: u64 = 4 << 20;
/// Runs in a folder, at the most.
const MOST_RUNS: usize = 1000;

/// Reads the files of the run stored in a folder; no link in it is followed.
///
/// # Errors
/// One is not there, no regular file, or too large.
pub fn files(folder: &Path) -> Result<Stored, RunError> {
    let dir = Dir::open(folder).map_err(|error| RunError::unreadable(folder, error, ""))?;
    let bytes = |name: &str, most: u64, needed: bool| match dir.read(name, most) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let cure = match dir.has(ENVIRONMENT) {
                _ if !needed => return Ok(Vec::new()),
                true => "; a run made without csv in --report cannot be read again",
                false => "; name the folder of a run, as reports/example",
            };
            Err(RunError::unreadable(&folder.join(name), error, cure))
        }
        read => read.map_err(|error| RunError::unreadable(&folder.join(name), error, "")),
    };
    Stored::gather(|name, size, needed| {
        let most = match size {
            Size::Rows => MOST_BYTES,
            Size::Document => MOST_DOCUMENT,
        };
        bytes(name, most, needed)
    })
}

/// Audio of a stored run that its page plays, for a page that goes elsewhere. What is not there, or is too large, is left
/// out.
pub fn audio(folder: &Path, summary: &Summary) -> Vec<(String, Vec<u8>)> {
    let Ok(dir) = Dir::open(folder) else { return Vec::new() };
    let of_talk = summary.talk.iter().filter_map(TalkRow::audio_file).take(MOST_EXCERPTS);
    let of_passages = summary.quality.iter().filter_map(QualityRow::audio_file).take(MOST_WORST);
    let names = of_talk.chain(of_passages);
    names.filter_map(|name| Some((name.to_string(), dir.read_bytes(name, MOST_AUDIO).ok()?))).collect()
}

/// Reads a stored run from its files.
///
/// # Errors
/// They are damaged, or of a newer version.
pub fn read(folder: &Path, files: &Stored) -> Result<Run, RunError> {
    files.read().map_err(|error| RunError::Unusable(format!("{}: {error}", folder.display())))
}

/// The scenario of a stored run, with `--set` overrides.
///
/// # Errors
/// There is none, or it is invalid in this version.
pub fn scenario(folder: &Path, files: &Stored, set: &[String]) -> Result<Resolved, RunError> {
    let path = folder.join(SCENARIO);
    let text = str::from_utf8(&files.scenario).map_err(|error| RunError::unreadable(&path, error, ""))?;
    if text.is_empty() {
        return Err(RunError::unreadable(
            &path,
            "it is not there, or empty",
            "; copy the run's folder as a whole",
        ));
    }
    resolve(text, &path, set)
}

/// Reads the figures of a stored run.
///
/// # Errors
/// It cannot be read.
pub fn summary(folder: &Path) -> Result<Summary, RunError> {
    Ok(summarize(read(folder, &files(folder)?)?))
}

/// Reads the digest of a stored run, judged by its own limits.
///
/// # Errors
/// It cannot be read.
pub fn digest(folder: &Path) -> Result<RunDigest, RunError> {
    let files = files(folder)?;
    let summary = summarize(read(folder, &files)?);
    // A scenario of another version may be invalid in this one; its figures are still read.
    let limits = scenario(folder, &files, &[]).map(|resolved| resolved.scenario.limits);
    let in_doubt = doubt(&summary, &limits.unwrap_or_default()).is_any();
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(RunDigest::of(name, &summary, in_doubt))
}

/// True if the folder is that of a run, and not of several.
pub fn is_run(folder: &Path) -> bool {
    Dir::open(folder).is_ok_and(|dir| dir.has(ENVIRONMENT))
}

/// Lists the runs in a folder, in the order of their names.
///
/// # Errors
/// When it cannot be read, holds none, or more than a thousand.
pub fn runs(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let unread = |error| RunError::unreadable(folder, error, "");
    let entries = fs::read_dir(folder).map_err(unread)?.collect::<Result<Vec<_>, _>>().map_err(unread)?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut runs: Vec<_> = paths.filter(|path| is_run(path)).collect();
    runs.sort();
    let shown = folder.display();
    match runs.len() {
        0 => Err(RunError::Unusable(format!(
            "{shown} holds no runs: each is a folder in there (those of `loadtest ab` are in its base and new)"
        ))),
        1..=MOST_RUNS => Ok(runs),
        n => Err(RunError::Unusable(format!("{shown} holds {n} runs, {MOST_RUNS} at most can be compared"))),
    }
}

/// Reads the runs of `--baseline`: those in the folder, or the folder itself.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn baseline(folder: &Path) -> Result<Baseline, RunError> {
    let stored_runs = if is_run(folder) { vec![folder.to_path_buf()] } else { runs(folder)? };
    stored_runs.iter().map(|run| digest(run)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_beyond_the_bound_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ENVIRONMENT);
        File::create(&path).unwrap().set_len(MOST_DOCUMENT + 1).unwrap();
        let refused = files(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("environment.json: it is larger than 16 MiB"), "{refused}");
    }
}
