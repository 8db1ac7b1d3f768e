//! Files of users and of run folders: what is opened is a regular file of bounded size, and nothing is written
//! through a link that somebody else may have laid.

mod dir;
pub mod dotenv;
pub mod owned;
mod read;

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigHandler, Signal, signal};

pub use dir::Dir;
pub use read::{read, read_bytes, read_text};

/// Writes a file whole or not at all, with `mode` as far as the umask lets it, and its folder if need be. A link in
/// its place is replaced.
///
/// # Errors
/// The system's reason; nothing half-written stays behind.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Dir::make(folder.unwrap_or(Path::new(".")))?.write(name, bytes, mode)
}

/// Writes a file that the user has named: behind its link where it is one, and a device or a pipe as it is. A file
/// that is there keeps what its mode denies.
///
/// # Errors
/// The system's reason.
pub fn write_named(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match path.metadata() {
        Ok(there) if !there.is_file() => std::fs::write(path, bytes),
        Ok(there) => write_whole(&path.canonicalize()?, bytes, mode & there.permissions().mode()),
        Err(_) => write_whole(path, bytes, mode),
    }
}

/// Makes the folder `path` with those above it, and says which were made, the uppermost first.
///
/// # Errors
/// One cannot be made; those made so far stay.
pub fn make_folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_path_buf)
        .collect();
    let mut made = Vec::new();
    for folder in missing.into_iter().rev() {
        match std::fs::create_dir(&folder) {
            Ok(()) => made.push(folder),
            // Another was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

/// Makes a write beyond the limit on the size of files (RLIMIT_FSIZE) an error as that of a full disk is; by
/// default it kills the program without a word.
pub fn survive_size_limit() {
    // SAFETY: ignoring a signal installs no handler that could run anything.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_named_file_stays_a_link_or_a_pipe_and_opens_no_further() {
        let dir = tempfile::tempdir().unwrap();
        let [target, link, pipe] = ["target", "link", "pipe"].map(|name| dir.path().join(name));
        fs::write(&target, b"old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&target, &link).unwrap();
        write_named(&link, b"new", 0o666).unwrap();
        assert_eq!((fs::read(&target).unwrap(), link.is_symlink()), (b"new".to_vec(), true));
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
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
    fn folders_that_were_there_are_not_among_those_made() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "a/b"].map(|name| dir.path().join(name));
        assert_eq!(make_folders(&b).unwrap(), [a.clone(), b.clone()]);
        assert_eq!(make_folders(&b.join("c")).unwrap(), [b.join("c")]);
        assert_eq!(make_folders(&b).unwrap(), [] as [PathBuf; 0]);
        fs::write(b.join("file"), "").unwrap();
        assert!(make_folders(&b.join("file/below")).is_err());
    }
}
