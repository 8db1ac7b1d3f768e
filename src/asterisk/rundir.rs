//! The private folder that one Asterisk writes into, gone when that Asterisk is.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;

use super::error::AsteriskError;
use crate::files::owned;

/// Folders that asterisk.conf names below the run folder.
const INSIDE: &[&str] = &["etc", "db", "keys", "spool", "run", "log", "agi", "cache"];

/// A folder that only its owner can look into, removed on drop.
#[derive(Debug)]
pub(super) struct RunDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl RunDir {
    /// Makes a new folder with a name that nobody can guess, below `base`, and removes those there
    /// whose owner was killed.
    pub(super) fn create(base: &Path) -> Result<RunDir, AsteriskError> {
        // A relative path would lead elsewhere from Asterisk's working directory.
        let base = base.canonicalize().map_err(|e| failed(base, e))?;
        owned::sweep(&base);
        let path = base.join(format!("{}{:08x}", owned::ASTERISK, rand::random::<u32>()));
        // Not recursive: a folder, or a link, that is already there is an error and never used.
        DirBuilder::new().mode(0o700).create(&path).map_err(|e| failed(&path, e))?;
        let lock = fill(&path).inspect_err(|_| drop(fs::remove_dir_all(&path)))?;
        Ok(RunDir { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // Nothing more can be done about a folder that does not go away.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn fill(path: &Path) -> Result<Flock<File>, AsteriskError> {
    for name in INSIDE {
        let inside = path.join(name);
        DirBuilder::new().mode(0o700).create(&inside).map_err(|e| failed(&inside, e))?;
    }
    owned::lock(path).map_err(|e| failed(path, e))
}

fn failed(path: &Path, error: std::io::Error) -> AsteriskError {
    AsteriskError::file("cannot create", path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn is_private_and_goes_with_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let dir = RunDir::create(base.path()).unwrap();
        let path = dir.path().to_path_buf();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(path.join("etc").is_dir());
        drop(dir);
        assert!(!path.exists());
    }
}
