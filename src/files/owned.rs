//! Folders for the time of a program: locked by their owner, and swept once that has been killed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::getuid;

/// Beginning of the names of an Asterisk's folders.
pub const ASTERISK: &str = "loadtest-asterisk-";
/// Beginning of the names of folders for the logs of `check --call`.
pub const CHECK: &str = "loadtest-check-";

/// Locked as long as the folder's owner lives; the kernel lets go of it, however that ends.
const LOCK: &str = "lock";

/// Locks a new folder for its owner.
///
/// # Errors
/// The system's reason; the folder stays.
pub fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let early = folder.join("lock.new");
    // Locked before it gets its name: another's sweep never sees it unlocked.
    let file = File::create_new(&early)?;
    let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
    fs::rename(&early, folder.join(LOCK))?;
    Ok(locked)
}

/// Leaves a folder to its user: it is not swept any more.
///
/// # Errors
/// The system's reason.
pub fn release(folder: &Path) -> io::Result<()> {
    fs::remove_file(folder.join(LOCK))
}

/// Removes the folders of this user below `base` whose owner has died without doing so.
pub fn sweep(base: &Path) {
    let mine =
        |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == getuid().as_raw());
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_named = |name: &str| [ASTERISK, CHECK].iter().any(|start| name.starts_with(start));
        let ours = entry.file_name().to_str().is_some_and(is_named) && mine(&path);
        // Without a lock it is just being made, or left to its user.
        if let (true, Ok(file)) = (ours, File::open(path.join(LOCK)))
            && let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        {
            // Tidying up for somebody else: what does not go stays.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_owner_left_is_swept_and_what_is_in_use_or_kept_is_not() {
        let base = tempfile::tempdir().unwrap();
        let made = |name: String| {
            let path = base.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        for name in [ASTERISK, CHECK] {
            let [left, in_use, kept, being_made] =
                ["left", "used", "kept", "new"].map(|end| made(format!("{name}{end}")));
            let foreign = made(format!("other-{name}"));
            let _owner = lock(&in_use).unwrap();
            for path in [&left, &kept, &foreign] {
                drop(lock(path).unwrap());
            }
            release(&kept).unwrap();
            sweep(base.path());
            assert!(!left.exists(), "{name}");
            for path in [in_use, kept, being_made, foreign] {
                assert!(path.exists(), "{}", path.display());
            }
        }
    }
}
