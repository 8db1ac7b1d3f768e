//! The private folder that one Asterisk writes into, gone when that Asterisk is.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::AsteriskError;

/// What asterisk.conf names below the run folder.
const INSIDE: &[&str] = &["etc", "db", "keys", "spool", "run", "log", "agi", "cache"];

/// A folder that only its owner can look into, removed on drop.
#[derive(Debug)]
pub(super) struct RunDir(PathBuf);

impl RunDir {
    /// Makes a new folder with a name that nobody can guess, below `base`.
    pub(super) fn create(base: &Path) -> Result<RunDir, AsteriskError> {
        // A relative path would lead elsewhere from Asterisk's working directory.
        let base = base.canonicalize().map_err(|e| failed(base, e))?;
        let path = base.join(format!("loadtest-asterisk-{:08x}", rand::random::<u32>()));
        // Not recursive: a folder, or a link, that is already there is an error and never used.
        DirBuilder::new().mode(0o700).create(&path).map_err(|e| failed(&path, e))?;
        let dir = RunDir(path);
        for name in INSIDE {
            let inside = dir.0.join(name);
            DirBuilder::new().mode(0o700).create(&inside).map_err(|e| failed(&inside, e))?;
        }
        Ok(dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // Nothing more can be done about a folder that does not go away.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn failed(path: &Path, source: std::io::Error) -> AsteriskError {
    AsteriskError::Io { what: "cannot create", path: path.to_path_buf(), source }
}
