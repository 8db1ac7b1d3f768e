//! A folder held open: what is read and written in it is named by its own entries, and no link among them is
//! followed.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::make_folders;
use super::read::{READING, all, regular, text};

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// A new file, or none.
const NEW: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// A folder, which stays the same whatever is laid at its path later. Names are those of its own entries, or of
/// entries of a folder in it (`plots/loss.png`).
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens a folder that the user has named; a link to one will do.
    ///
    /// # Errors
    /// It is not there, or no folder.
    pub fn open(path: &Path) -> io::Result<Dir> {
        Ok(Dir(open(path, FOLDER, Mode::empty())?))
    }

    /// Opens a folder, making it if need be.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn make(path: &Path) -> io::Result<Dir> {
        make_folders(path)?;
        Dir::open(path)
    }

    /// Reads a file of text in it.
    ///
    /// # Errors
    /// It is not there, a link, no regular file, no text, or longer than `most` bytes.
    pub fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        if let Some((folder, name)) = name.split_once('/') {
            return self.open_folder(folder)?.read(name, most);
        }
        text(self.opened(name)?, most)
    }

    /// Reads a file of any bytes in it.
    ///
    /// # Errors
    /// Those of [`Dir::read`], but for its text.
    pub fn read_bytes(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        if let Some((folder, name)) = name.split_once('/') {
            return self.open_folder(folder)?.read_bytes(name, most);
        }
        all(self.opened(name)?, most)
    }

    fn opened(&self, name: &str) -> io::Result<File> {
        // Opening some devices does something already.
        regular(self.mode(name)?)?;
        Ok(File::from(openat(&self.0, name, READING | OFlag::O_NOFOLLOW, Mode::empty())?))
    }

    /// Writes a file whole or not at all, with `mode` as far as the umask lets it. A link or a file in its place is
    /// replaced; one in the place of a folder on the way is refused.
    ///
    /// # Errors
    /// The system's reason; nothing half-written stays behind.
    pub fn write(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        if let Some((folder, name)) = name.split_once('/') {
            return self.folder(folder)?.write(name, bytes, mode);
        }
        // Of a name that nobody can lay anything at beforehand.
        let partial = format!(".{name}.{:08x}.partial", rand::random::<u32>());
        let put = || {
            self.put(&partial, bytes, mode)?;
            Ok(renameat(&self.0, partial.as_str(), &self.0, name)?)
        };
        put().inspect_err(|error: &io::Error| {
            if error.kind() != ErrorKind::AlreadyExists {
                self.remove(&partial);
            }
        })
    }

    /// Writes a file that must not be there yet: of several who try at once, one succeeds.
    ///
    /// # Errors
    /// The name is taken, or the system's reason; nothing half-written stays behind.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(name, bytes, 0o666).inspect_err(|error| {
            if error.kind() != ErrorKind::AlreadyExists {
                self.remove(name);
            }
        })
    }

    fn put(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let mut file = File::from(openat(&self.0, name, NEW, Mode::from_bits_truncate(mode))?);
        file.write_all(bytes)?;
        file.sync_data()
    }

    /// Makes a folder in it that must not be there yet.
    ///
    /// # Errors
    /// The name is taken, or the system's reason.
    pub fn make_new(&self, name: &str) -> io::Result<()> {
        Ok(mkdirat(&self.0, name, Mode::from_bits_truncate(0o777))?)
    }

    /// Opens a folder in it, making it if need be.
    fn folder(&self, name: &str) -> io::Result<Dir> {
        match mkdirat(&self.0, name, Mode::from_bits_truncate(0o777)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.open_folder(name)
    }

    fn open_folder(&self, name: &str) -> io::Result<Dir> {
        match openat(&self.0, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(fd) => Ok(Dir(fd)),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let why = format!("`{name}` is a link or a file, where a folder must be: remove it");
                Err(io::Error::new(ErrorKind::NotADirectory, why))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// True if an entry of that name is there, be it a link to nothing.
    pub fn has(&self, name: &str) -> bool {
        if let Some((folder, name)) = name.split_once('/') {
            return self.open_folder(folder).is_ok_and(|folder| folder.has(name));
        }
        self.mode(name).is_ok()
    }

    /// True if both are the same folder, by whatever paths they were opened.
    pub fn is_same(&self, other: &Dir) -> bool {
        let id = |dir: &Dir| fstat(&dir.0).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        id(self).is_some() && id(self) == id(other)
    }

    /// Removes a file, or the link that is in its place.
    pub fn remove(&self, name: &str) {
        if let Some((folder, name)) = name.split_once('/') {
            // A link in the folder's place leads to what is not ours.
            let _ = self.open_folder(folder).map(|folder| folder.remove(name));
            return;
        }
        let _ = unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir);
    }

    /// Removes a folder in it, if that is empty.
    pub fn remove_folder(&self, name: &str) {
        let _ = unlinkat(&self.0, name, UnlinkatFlags::RemoveDir);
    }

    /// Gives an entry a name that no other has.
    ///
    /// # Errors
    /// `AlreadyExists` where one has it; it is not there.
    pub fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat2(&self.0, from, &self.0, to, RenameFlags::RENAME_NOREPLACE)?)
    }

    fn mode(&self, name: &str) -> io::Result<u32> {
        Ok(fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_is_followed_in_reading_or_writing() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir(path("run")).unwrap();
        fs::create_dir(path("elsewhere")).unwrap();
        fs::write(path("mine"), b"precious").unwrap();
        for (target, name) in
            [("../mine", "run/summary.md"), ("../elsewhere", "run/plots"), ("../none", "run/gone")]
        {
            symlink(target, path(name)).unwrap();
        }
        let dir = Dir::open(&path("run")).unwrap();
        assert!(dir.read("summary.md", 100).unwrap_err().to_string().contains("a link"));
        dir.write("summary.md", b"new", 0o666).unwrap();
        dir.write("gone", b"new", 0o666).unwrap();
        assert_eq!(fs::read(path("mine")).unwrap(), b"precious");
        assert!(!path("none").exists() && dir.read("summary.md", 100).unwrap() == b"new");
        let refused = dir.write("plots/loss.png", b"new", 0o666).unwrap_err().to_string();
        assert!(refused.contains("`plots` is a link"), "{refused}");
        assert_eq!(fs::read_dir(path("elsewhere")).unwrap().count(), 0);
        fs::write(path("elsewhere/theirs"), b"precious").unwrap();
        dir.remove("plots/theirs");
        assert!(!dir.has("plots/theirs") && dir.read("plots/theirs", 100).is_err());
        assert!(path("elsewhere/theirs").exists());
        assert!(dir.has("plots") && !dir.has("none"));
        // A link to the folder itself is the user's own.
        symlink("run", path("shortcut")).unwrap();
        assert!(Dir::open(&path("shortcut")).unwrap().is_same(&dir));
    }

    #[test]
    fn nothing_half_written_stays_and_of_several_one_succeeds() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::make(&place.path().join("a/b")).unwrap();
        dir.write("plots/a.png", b"1", 0o666).unwrap();
        fs::create_dir(place.path().join("a/b/taken")).unwrap();
        assert!(dir.write("taken", b"1", 0o666).is_err());
        let names: Vec<_> = fs::read_dir(place.path().join("a/b")).unwrap().flatten().collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let won = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|n| {
                    scope.spawn({
                        let dir = &dir;
                        move || dir.write_new("claim", &[n])
                    })
                })
                .collect();
            tries.into_iter().filter_map(|tried| tried.join().unwrap().ok()).count()
        });
        assert_eq!(won, 1);
        assert_eq!(dir.make_new("taken").unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}
