//! The private folder that one Asterisk writes into, gone when that Asterisk is.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::getuid;

use super::error::AsteriskError;

/// Folders that asterisk.conf names below the run folder.
const INSIDE: &[&str] = &["etc", "db", "keys", "spool", "run", "log", "agi", "cache"];

const NAME: &str = "loadtest-asterisk-";

/// Locked as long as the folder's owner lives; the kernel lets go of it, however that ends.
const LOCK: &str = "lock";

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
        sweep(&base);
        let path = base.join(format!("{NAME}{:08x}", rand::random::<u32>()));
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
    let lock = path.join(LOCK);
    let early = path.join("lock.new");
    // Locked before it gets its name: another's sweep never sees it unlocked.
    let file = File::create_new(&early).map_err(|e| failed(&early, e))?;
    let locked =
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| failed(&early, e.into()))?;
    fs::rename(&early, &lock).map_err(|e| failed(&lock, e))?;
    Ok(locked)
}

/// Removes the folders of this user whose owner has died without doing so.
fn sweep(base: &Path) {
    let mine =
        |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == getuid().as_raw());
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME)) && mine(&path);
        // Without a lock it is just being made.
        if let (true, Ok(file)) = (ours, File::open(path.join(LOCK)))
            && let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        {
            // Tidying up for somebody else: what does not go stays.
            let _ = fs::remove_dir_all(&path);
        }
    }
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

    #[test]
    fn what_a_killed_owner_left_is_swept_and_what_is_in_use_is_not() {
        let base = tempfile::tempdir().unwrap();
        let in_use = RunDir::create(base.path()).unwrap();
        let left = base.path().join(format!("{NAME}left"));
        let being_made = base.path().join(format!("{NAME}new"));
        let foreign = base.path().join("other");
        for dir in [&left, &being_made, &foreign] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(foreign.join(LOCK), "").unwrap();
        let _another = RunDir::create(base.path()).unwrap();
        assert!(!left.exists());
        assert!(in_use.path().exists() && being_made.exists() && foreign.exists());
    }
}
