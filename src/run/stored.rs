//! Stored runs: one read back from its folder, a folder of them, and the baseline that they make.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::RunError;
use super::plan::read_scenario;
use crate::compare::baseline::Baseline;
use crate::compare::digest::RunDigest;
use crate::gate::doubt;
use crate::metrics::summarize;
use crate::record::Run;
use crate::record::stored::Stored;

/// Largest file of a run that is read: some million calls.
const MOST_BYTES: u64 = 1 << 30;
/// Runs in a folder, at the most.
const MOST_RUNS: usize = 1000;

/// Reads the run stored in a folder.
///
/// # Errors
/// When it is not there, damaged, or of a newer version.
pub fn read(folder: &Path) -> Result<Run, RunError> {
    let bytes = |name: &str, needed: bool| -> Result<Vec<u8>, RunError> {
        let path = folder.join(name);
        let mut bytes = Vec::new();
        // One byte more than is taken, so that a file that has grown meanwhile is not taken as whole.
        let read = File::open(&path).and_then(|file| match file.metadata()?.len() {
            0..=MOST_BYTES => file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map(|read| read as u64),
            length => Ok(length),
        });
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let has_run = folder.join("environment.json").is_file();
                let cure = match has_run {
                    _ if !needed => return Ok(bytes),
                    true => "; a run made without csv in --report cannot be read again",
                    false => "; name the folder of a run, as reports/example",
                };
                Err(RunError::unreadable(&path, error, cure))
            }
            Err(error) => Err(RunError::unreadable(&path, error, "")),
            Ok(0..=MOST_BYTES) => Ok(bytes),
            Ok(_) => Err(RunError::Unusable(format!(
                "{} is larger than {} GiB, the most that is read of a file of a run",
                path.display(),
                MOST_BYTES >> 30
            ))),
        }
    };
    let stored = Stored {
        environment: bytes("environment.json", true)?,
        calls: bytes("calls.csv", true)?,
        seconds: bytes("seconds.csv", true)?,
        // Later versions brought these.
        call_seconds: bytes("call_seconds.csv", false)?,
        silences: bytes("silences.csv", false)?,
        hlog: bytes("rtt.hlog", true)?,
    };
    stored.read().map_err(|error| RunError::Unusable(format!("{}: {error}", folder.display())))
}

/// Reads the digest of a stored run, judged by its own limits.
///
/// # Errors
/// When it cannot be read.
pub fn digest(folder: &Path) -> Result<RunDigest, RunError> {
    let summary = summarize(read(folder)?);
    // A scenario of another version may be invalid in this one; its figures are still read.
    let limits = read_scenario(&folder.join("scenario.toml"), &[]).map(|resolved| resolved.scenario.limits);
    let in_doubt = doubt(&summary, &limits.unwrap_or_default()).is_any();
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(RunDigest::of(name, &summary, in_doubt))
}

/// Lists the runs in a folder, in the order of their names.
///
/// # Errors
/// When it cannot be read, holds none, or more than a thousand.
pub fn runs(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let unread = |error| RunError::unreadable(folder, error, "");
    let entries = fs::read_dir(folder).map_err(unread)?.collect::<Result<Vec<_>, _>>().map_err(unread)?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut runs: Vec<_> = paths.filter(|path| path.join("environment.json").is_file()).collect();
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
    let is_run = folder.join("environment.json").is_file();
    let stored_runs = if is_run { vec![folder.to_path_buf()] } else { runs(folder)? };
    stored_runs.iter().map(|run| digest(run)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_bound_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment.json");
        File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let refused = read(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("environment.json is larger than 1 GiB"), "{refused}");
    }
}
