//! Reads a child's output: copies it into a log file, hands each line on, remembers the last ones.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::sync::watch;
use tokio::time::timeout;

/// Bytes of a line that are kept. Asterisk's longest are below 8 KiB.
const LINE_MAX: usize = 8 * 1024;
/// Size at which the log file stops growing; reading goes on.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Last lines that are remembered, blank ones left out.
const TAIL: usize = 20;
/// Far longer than it takes to read a full pipe.
const DRAIN: Duration = Duration::from_secs(1);

/// A child's output, read on a thread of its own until the last process that writes to it is gone.
/// Clones share it.
#[derive(Debug, Clone)]
pub struct ChildOutput {
    path: PathBuf,
    tail: Arc<Mutex<VecDeque<String>>>,
    /// Closed when the reading has ended.
    reading: watch::Receiver<()>,
}

impl ChildOutput {
    /// Connects both outputs of `command`, which is yet to be started, and no input. Lines are appended to
    /// the file `path`, which is made with its folder if need be and must be no link, and handed to `each`; control characters
    /// become blanks, since a terminal would obey them.
    ///
    /// # Errors
    /// Errors of the file, the pipe and the thread.
    pub fn capture(
        command: &mut Command,
        path: PathBuf,
        each: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<ChildOutput> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let file =
            File::options().create(true).append(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path)?;
        let (reader, writer) = io::pipe()?;
        let errors = writer.try_clone()?;
        command.stdin(Stdio::null()).stdout(writer).stderr(errors);
        ChildOutput::read(reader, file, path, each)
    }

    fn read(
        from: impl Read + Send + 'static,
        file: File,
        path: PathBuf,
        each: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<ChildOutput> {
        let (open, reading) = watch::channel(());
        let output = ChildOutput { path, tail: Arc::default(), reading };
        let tail = Arc::clone(&output.tail);
        thread::Builder::new().name("output".into()).spawn(move || {
            read_lines(BufReader::new(from), file, FILE_MAX, &tail, each);
            drop(open);
        })?;
        Ok(output)
    }

    /// The log file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last lines so far, the oldest first, without blank ones.
    pub fn tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Waits until everything is read that a child which has ended wrote, for 1 s at most: something else
    /// may have inherited the output.
    pub async fn drained(&self) {
        let mut reading = self.reading.clone();
        let _ = timeout(DRAIN, reading.changed()).await;
    }
}

fn read_lines(
    mut from: impl BufRead,
    mut file: File,
    file_max: u64,
    tail: &Mutex<VecDeque<String>>,
    mut each: impl FnMut(&str),
) {
    let mut line = Vec::with_capacity(512);
    let mut written = 0;
    while let Ok(true) = read_line(&mut from, &mut line) {
        let text = String::from_utf8_lossy(&line).replace(|c: char| c.is_control() && c != '\t', " ");
        written += text.len() as u64 + 1;
        if written <= file_max {
            // A full disk must not stop the reading, which the child would wait for.
            let _ = writeln!(file, "{text}");
        }
        each(&text);
        if !text.trim().is_empty() {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.push_back(text);
            if tail.len() > TAIL {
                tail.pop_front();
            }
        }
    }
}

/// Reads one line, without its end, of which at most [`LINE_MAX`] bytes are kept. `false` at the end.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let chunk = match from.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = chunk.iter().position(|b| *b == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&part[..part.len().min(LINE_MAX - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that `from` says is read; the tail, the file's text, the lines handed on.
    async fn read(from: impl Read + Send + 'static) -> (Vec<String>, String, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("child.log");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let each = move |line: &str| kept.lock().unwrap().push(line.to_string());
        let output = ChildOutput::read(from, File::create(&path).unwrap(), path.clone(), each).unwrap();
        output.drained().await;
        let lines = lines.lock().unwrap().clone();
        (output.tail(), fs::read_to_string(&path).unwrap(), lines)
    }

    #[tokio::test]
    async fn hostile_output_stays_bounded() {
        let mut bytes = vec![b'x'; 10 * LINE_MAX];
        bytes.extend(b"\n\x1b[31m\xff\0\n\n");
        bytes.extend((0..100).flat_map(|n| format!("{n}\n").into_bytes()));
        bytes.extend(b"no end");
        let (tail, file, lines) = read(io::Cursor::new(bytes)).await;
        assert_eq!(file.lines().collect::<Vec<_>>(), lines);
        assert_eq!((lines[0].len(), lines[1].as_str(), lines.len()), (LINE_MAX, " [31m\u{fffd} ", 104));
        assert_eq!((tail.len(), tail.last().map(String::as_str)), (TAIL, Some("no end")));
    }

    #[test]
    fn the_file_is_bounded_and_what_comes_last_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("child.log");
        let (tail, mut count) = (Mutex::default(), 0);
        let words = "line\n".repeat(100) + "last\r\n \n";
        read_lines(words.as_bytes(), File::create(&path).unwrap(), 52, &tail, |_| count += 1);
        assert_eq!((fs::read_to_string(&path).unwrap(), count), ("line\n".repeat(10), 102));
        assert_eq!(tail.lock().unwrap().back().map(String::as_str), Some("last "));
    }

    #[tokio::test]
    async fn a_silent_child_leaves_an_empty_file() {
        assert_eq!(read(io::empty()).await, (vec![], String::new(), vec![]));
    }

    #[tokio::test]
    async fn both_outputs_of_a_command_end_up_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/child.log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo error >&2; cat"]);
        let output = ChildOutput::capture(&mut command, path.clone(), |_| {}).unwrap();
        let child = super::super::Keeper::start(command).await.unwrap();
        assert!(child.ended().await.is_some_and(|status| status.success()), "its input is empty");
        output.drained().await;
        assert_eq!((output.tail(), output.path()), (vec!["out".into(), "error".into()], path.as_path()));
        assert_eq!(fs::read_to_string(path).unwrap(), "out\nerror\n");
    }
}
