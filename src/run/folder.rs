//! The run's folder: made before the run, so that a bad path fails early; never overwritten.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::RunError;
use crate::stamp::Stamp;

/// The folder that a run writes into.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// True if a folder for logs was there already, with files of somebody else.
    had_logs: bool,
}

impl Folder {
    /// Makes the folder: `out`, or `reports/<name>-<UTC time>`. An entry called `taken` marks one that is occupied.
    ///
    /// # Errors
    /// When it cannot be made, or is occupied.
    pub fn create(out: Option<&Path>, name: &str, now: Stamp, taken: &str) -> Result<Folder, RunError> {
        let path = match out {
            Some(path) => path.to_path_buf(),
            None => free(&Path::new("reports").join(format!("{name}-{}", compact(now)))),
        };
        if path.join(taken).exists() {
            let shown = path.display();
            let why = format!("{shown} holds a run already; choose another folder with --out");
            return Err(RunError::Unusable(why));
        }
        Folder::open(&path)
    }

    /// Opens a folder, making it if need be; files in it are replaced by those of the same name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> Result<Folder, RunError> {
        fs::create_dir_all(path).map_err(|e| RunError::unwritable_folder(path, e))?;
        let had_logs = path.join("logs").exists();
        Ok(Folder { path: path.to_path_buf(), had_logs })
    }

    /// Writes a file whole or not at all.
    ///
    /// # Errors
    /// Names the file and the reason; nothing half-written stays behind under its name.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.path.join(name);
        write_whole(&path, bytes, 0o666).map_err(|error| RunError::unwritable(&path, error, ""))
    }

    /// Removes the files of a run that never began. Anything else stays, and so do logs in a folder that was
    /// there before the run.
    pub fn discard(&self) {
        let _ = fs::remove_file(self.path.join("scenario.toml"));
        if !self.had_logs {
            let _ = fs::remove_dir_all(self.logs());
        }
        let _ = fs::remove_dir(&self.path);
    }

    /// The folder for logs.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a file whole or not at all, with `mode` as far as the umask lets it, and its folder if need be.
///
/// # Errors
/// The system's reason; nothing half-written stays behind.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut partial = path.as_os_str().to_os_string();
    partial.push(".partial");
    let put = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        // One that a killed predecessor left may have another mode.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&partial, path)
    };
    put().inspect_err(|_| drop(fs::remove_file(&partial)))
}

/// Writes a file that the user has named: behind its link where it is one, and a device or a pipe as it is.
///
/// # Errors
/// The system's reason.
pub fn write_named(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match path.metadata() {
        Ok(there) if !there.is_file() => fs::write(path, bytes),
        Ok(_) => write_whole(&path.canonicalize()?, bytes, mode),
        Err(_) => write_whole(path, bytes, mode),
    }
}

/// `path`, or with a number behind it if that is taken: two runs may begin in the same second.
fn free(path: &Path) -> PathBuf {
    let numbered = (2..1000).map(|n| PathBuf::from(format!("{}-{n}", path.display())));
    std::iter::once(path.to_path_buf()).chain(numbered).find(|p| !p.exists()).unwrap_or_else(|| path.into())
}

/// UTC in RFC 3339, to the second.
pub fn rfc3339(at: Stamp) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_nanos(at.as_ns());
    humantime::format_rfc3339_seconds(time).to_string()
}

/// UTC as it fits into a file name: `20261122T141008Z`.
fn compact(at: Stamp) -> String {
    rfc3339(at).replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_run_in_it_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let now = Stamp::from_ns(1_795_356_608_000_000_000);
        assert_eq!(compact(now), "20261122T141008Z");
        let folder = Folder::create(Some(dir.path()), "x", now, "scenario.toml").unwrap();
        folder.write("plots/a.png", b"1").unwrap();
        folder.write("scenario.toml", b"1").unwrap();
        assert!(Folder::create(Some(dir.path()), "x", now, "scenario.toml").is_err());
        let names: Vec<_> = fs::read_dir(dir.path().join("plots")).unwrap().collect();
        assert_eq!(names.len(), 1, "no partial file stays behind");
    }

    #[test]
    fn a_named_file_stays_a_link_or_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let [target, link, pipe] = ["target", "link", "pipe"].map(|name| dir.path().join(name));
        fs::write(&target, b"old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_named(&link, b"new", 0o600).unwrap();
        assert_eq!((fs::read(&target).unwrap(), link.is_symlink()), (b"new".to_vec(), true));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe)
        });
        write_named(&pipe, b"through", 0o600).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b"through");
        assert!(!fs::metadata(&pipe).unwrap().is_file());
    }

    #[test]
    fn a_discarded_run_takes_nothing_of_anybody_else_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let discarded = |out: &Path| {
            let folder = Folder::create(Some(out), "x", Stamp::ZERO, "scenario.toml").unwrap();
            folder.write("scenario.toml", b"1").unwrap();
            folder.write("logs/asterisk.log", b"1").unwrap();
            folder.discard();
        };
        let (own, foreign) = (dir.path().join("own"), dir.path().join("foreign"));
        discarded(&own);
        assert!(!own.exists());
        fs::create_dir_all(foreign.join("logs")).unwrap();
        fs::write(foreign.join("logs/mine.log"), b"1").unwrap();
        discarded(&foreign);
        assert!(foreign.join("logs/mine.log").is_file() && !foreign.join("scenario.toml").exists());
    }
}
