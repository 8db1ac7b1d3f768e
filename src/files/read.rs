//! Reads a whole file, if it is a regular one of bounded size.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag};

/// Opens for reading without waiting for a pipe's other end and without taking a terminal.
pub(super) const READING: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

const CHUNK: u64 = 1 << 20;

/// Reads a file of text that the user has named; a link to one will do.
///
/// # Errors
/// It is not there, no regular file, holds a zero byte, or is longer than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    text(opened(path)?, most)
}

/// Opens such a file.
pub(super) fn opened(path: &Path) -> io::Result<File> {
    // Opening some devices does something already.
    regular(fs::metadata(path)?.mode())?;
    Ok(File::from(open(path, READING, Mode::empty())?))
}

/// Reads such a file as UTF-8.
///
/// # Errors
/// Those of [`read()`], and other bytes.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let bytes = read(path, most)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let why =
            format!("it is no text in UTF-8, for its line {line} is of another encoding; save it as UTF-8");
        io::Error::new(ErrorKind::InvalidData, why)
    })
}

/// Reads a file of any bytes that the user has named.
///
/// # Errors
/// It is not there, no regular file, or longer than `most` bytes.
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    all(opened(path)?, most)
}

/// All bytes of an open file.
pub(super) fn all(file: File, most: u64) -> io::Result<Vec<u8>> {
    regular(file.metadata()?.mode())?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::new(ErrorKind::InvalidData, format!("it is longer than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// Refuses what is no regular file, by its mode.
pub(super) fn regular(mode: u32) -> io::Result<()> {
    let what = match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => return Ok(()),
        SFlag::S_IFDIR => "a folder",
        SFlag::S_IFLNK => "a link",
        SFlag::S_IFIFO => "a pipe",
        SFlag::S_IFSOCK => "a socket",
        _ => "a device",
    };
    let cure = "only a regular file is read: put one in its place, with the same content";
    Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {what}; {cure}")))
}

/// All bytes of an open file of text. The first zero byte ends the reading: a file of nothing but holes would
/// else fill the memory.
pub(super) fn text(file: File, most: u64) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    regular(metadata.mode())?;
    let mut bytes = Vec::new();
    // One byte more than is taken, so that a file that has grown meanwhile is not taken as whole.
    let mut rest = if metadata.len() > most { 0 } else { most + 1 };
    while rest > 0 {
        let from = bytes.len();
        let read = (&file).take(rest.min(CHUNK)).read_to_end(&mut bytes)? as u64;
        if let Some(at) = bytes[from..].iter().position(|byte| *byte == 0) {
            let why = format!("it is no text: byte {} is zero", from + at);
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        match read {
            0 => return Ok(bytes),
            read => rest -= read,
        }
    }
    let why = format!("it is larger than {}, the most that is read of it", size(most));
    Err(io::Error::new(ErrorKind::FileTooLarge, why))
}

fn size(bytes: u64) -> String {
    match bytes {
        n if n >= 1 << 30 => format!("{} GiB", n >> 30),
        n if n >= 1 << 20 => format!("{} MiB", n >> 20),
        n => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_regular_file_of_bounded_size_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let refused = |name: &str| read(&path(name), 10).unwrap_err().to_string();
        fs::write(path("file"), b"0123456789").unwrap();
        symlink("file", path("link")).unwrap();
        assert_eq!(
            (read(&path("file"), 10).unwrap(), read(&path("link"), 10).unwrap().len()),
            (b"0123456789".into(), 10)
        );
        assert!(read(&path("file"), 9).unwrap_err().to_string().contains("larger than 9 bytes"));
        nix::unistd::mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        symlink("/dev/zero", path("endless")).unwrap();
        symlink("loop", path("loop")).unwrap();
        for (name, kind) in
            [("pipe", "a pipe"), ("socket", "a socket"), ("endless", "a device"), ("", "a folder")]
        {
            let why = refused(name);
            assert!(why.contains(kind) && why.contains("regular file"), "{why}");
        }
        assert_eq!(read(&path("none"), 10).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(read(&path("loop"), 10).is_err());
        assert!(read_text(&path("file"), 10).is_ok());
        fs::write(path("latin-1"), b"user\ncaf\xe9\n").unwrap();
        let why = read_text(&path("latin-1"), 10).unwrap_err().to_string();
        assert!(why.contains("line 2") && why.ends_with("save it as UTF-8"), "{why}");
    }

    #[test]
    fn a_file_of_holes_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holes");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let why = read(&path, 1 << 50).unwrap_err().to_string();
        assert!(why.contains("byte 0 is zero"), "{why}");
    }
}
