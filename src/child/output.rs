//! Reads a child's output: copies it into a log file, hands each line on, remembers the last ones.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::{self, Timeline};
use crate::stamp::Stamp;

/// Bytes of a line that are kept. Asterisk's longest are below 8 KiB.
const LINE_MAX: usize = 8 * 1024;
/// Bytes without an end of line that are taken as one line.
const UNENDED_MAX: u64 = 1 << 20;
/// Size at which the log file stops growing; reading goes on.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Last lines that are remembered, blank ones left out.
const TAIL: usize = 20;
/// Far longer than it takes to read a full pipe.
const DRAIN: Duration = Duration::from_secs(1);

/// Bytes a second that are read line by line: far more than any program logs that is in order, and a twentieth of
/// a core at most.
const RATE: u64 = 4 << 20;
/// Bytes beyond that rate at a time, as at a start.
const BURST: u64 = 16 << 20;
/// Bytes of room after which lines are read again.
const ENOUGH: u64 = 1 << 20;
/// Between two reads of what is thrown away: with a pipe of 1 MiB, 200 MB a second at most, and beyond that the
/// child waits, not the driver.
const SKIP_EVERY: Duration = Duration::from_millis(5);
const PIPE: i32 = 1 << 20;

/// A child's output, read on a thread of its own until the last process that writes to it is gone.
/// Clones share it.
#[derive(Debug, Clone)]
pub struct ChildOutput {
    path: PathBuf,
    read: Arc<Shared>,
    /// Closed when the reading has ended.
    reading: watch::Receiver<()>,
}

/// State of the reading that others look at.
#[derive(Debug, Default)]
struct Shared {
    tail: Mutex<VecDeque<String>>,
    /// Bytes that the log file does not hold.
    cut: AtomicU64,
}

impl ChildOutput {
    /// Connects both outputs of `command`, which is yet to be started, and no input. Lines are appended to the file
    /// `path`, which is made with its folder if need be and must be no link and no pipe, and handed to `each`;
    /// control characters become blanks, since a terminal would obey them. A child that writes faster than it can
    /// sensibly be read loses what it writes meanwhile, and the file says so.
    ///
    /// # Errors
    /// Errors of the file, the pipe and the thread.
    pub fn capture(
        command: &mut Command,
        path: PathBuf,
        each: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<ChildOutput> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = File::options().create(true).append(true).custom_flags(flags.bits()).open(&path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
        }
        let (reader, writer) = io::pipe()?;
        // A smaller pipe does as well, at a lower rate.
        let _ = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(PIPE));
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
        let output = ChildOutput { path, read: Arc::default(), reading };
        let read = Arc::clone(&output.read);
        thread::Builder::new().name("output".into()).spawn(move || {
            let log = LogFile { file, most: FILE_MAX, written: 0, skipped: 0 };
            Reading { log, read: &read, budget: Budget::new(clock::now()), now: clock::now }
                .run(BufReader::with_capacity(PIPE as usize, from), each);
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
        self.read.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Bytes so far that the log file does not hold: it was full, or they came too fast.
    pub fn cut_bytes(&self) -> u64 {
        self.read.cut.load(Relaxed)
    }

    /// Waits until everything is read that a child which has ended wrote, for 1 s at most: something else
    /// may have inherited the output.
    pub async fn drained(&self) {
        let mut reading = self.reading.clone();
        let _ = timeout(DRAIN, reading.changed()).await;
    }
}

/// Room for bytes that are read line by line, refilled at [`RATE`].
struct Budget {
    room: u64,
    at: Stamp,
}

impl Budget {
    fn new(now: Stamp) -> Budget {
        Budget { room: BURST, at: now }
    }

    fn room(&mut self, now: Stamp) -> u64 {
        let regained = now.since(self.at).as_millis().min(1 << 20) as u64 * (RATE / 1000);
        if regained > 0 {
            self.at = now;
        }
        self.room = self.room.saturating_add(regained).min(BURST);
        self.room
    }

    fn take(&mut self, bytes: u64) {
        self.room = self.room.saturating_sub(bytes);
    }
}

/// A log file that grows up to a bound and says what it is short of.
struct LogFile {
    file: File,
    most: u64,
    written: u64,
    /// Bytes left out since the last line that is in the file.
    skipped: u64,
}

impl LogFile {
    /// Appends a line, if there is room; returns the bytes that were left out.
    fn append(&mut self, text: &str) -> u64 {
        let bytes = text.len() as u64 + 1;
        if self.written + bytes > self.most {
            if self.written <= self.most {
                self.say(&format!("the log ends here: it has reached its bound of {} bytes", self.most));
            }
            // Nothing more, however short.
            self.written = self.most + 1;
            return bytes;
        }
        let skipped = std::mem::take(&mut self.skipped);
        if skipped > 0 {
            self.say(&format!("{skipped} bytes left out: they came faster than they can be read"));
        }
        self.written += bytes;
        // A full disk must not stop the reading, which the child would wait for.
        let _ = writeln!(self.file, "{text}");
        0
    }

    fn say(&mut self, what: &str) {
        let _ = writeln!(self.file, "[loadtest: {what}]");
    }
}

/// The reading of one child's output.
struct Reading<'a> {
    log: LogFile,
    read: &'a Shared,
    budget: Budget,
    now: fn() -> Stamp,
}

impl Reading<'_> {
    fn run(mut self, mut from: impl BufRead, mut each: impl FnMut(&str)) {
        let mut line = Vec::with_capacity(512);
        while let Ok(Some(bytes)) = read_line(&mut from, &mut line) {
            // Not `values::one_line`: a stack trace is indented by tabs, and a log file may keep them.
            let text = String::from_utf8_lossy(&line).replace(|c: char| c.is_control() && c != '\t', " ");
            let left_out = self.log.append(&text);
            self.cut(left_out);
            each(&text);
            if !text.trim().is_empty() {
                let mut tail = self.read.tail.lock().unwrap_or_else(PoisonError::into_inner);
                tail.push_back(text);
                if tail.len() > TAIL {
                    tail.pop_front();
                }
            }
            self.budget.take(bytes);
            if self.budget.room == 0 && self.budget.room((self.now)()) == 0 {
                let skipped = self.skip(&mut from);
                self.log.skipped += skipped;
                self.cut(skipped);
            }
        }
        let skipped = self.log.skipped;
        if skipped > 0 {
            self.log.say(&format!("{skipped} bytes left out: they came faster than they can be read"));
        }
    }

    /// Throws away what comes until there is enough room again, up to an end of line; returns its bytes.
    fn skip(&mut self, from: &mut impl BufRead) -> u64 {
        let mut skipped = 0;
        while self.budget.room((self.now)()) < ENOUGH {
            let timeline = Timeline::start();
            timeline.sleep_until(timeline.now() + SKIP_EVERY, Duration::ZERO);
            match from.fill_buf() {
                Ok([]) => return skipped,
                Ok(chunk) => {
                    let bytes = chunk.len();
                    from.consume(bytes);
                    skipped += bytes as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // The next read says so as well.
                Err(_) => return skipped,
            }
        }
        skipped + read_line(from, &mut Vec::new()).ok().flatten().unwrap_or(0)
    }

    fn cut(&self, bytes: u64) {
        self.read.cut.fetch_add(bytes, Relaxed);
    }
}

/// Reads one line, without its end, of which at most [`LINE_MAX`] bytes are kept. Returns the bytes read; `None` at
/// the end.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
    line.clear();
    let mut read = 0;
    loop {
        let chunk = match from.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if chunk.is_empty() {
            return Ok((read > 0).then_some(read));
        }
        let end = chunk.iter().position(|b| *b == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&part[..part.len().min(LINE_MAX - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        read += used as u64;
        if end.is_some() || read >= UNENDED_MAX {
            return Ok(Some(read));
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
        let (read, mut count) = (Shared::default(), 0);
        let words = "line\n".repeat(100) + "last\r\n \n";
        let log = LogFile { file: File::create(&path).unwrap(), most: 52, written: 0, skipped: 0 };
        let now = || Stamp::ZERO;
        Reading { log, read: &read, budget: Budget::new(now()), now }.run(words.as_bytes(), |_| count += 1);
        let file = fs::read_to_string(&path).unwrap();
        let end = "[loadtest: the log ends here: it has reached its bound of 52 bytes]\n";
        assert_eq!((file, count), ("line\n".repeat(10) + end, 102));
        assert_eq!(read.tail.lock().unwrap().back().map(String::as_str), Some("last "));
        assert_eq!(read.cut.load(Relaxed), 90 * 5 + 6 + 2);
    }

    #[test]
    fn what_comes_too_fast_is_left_out_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("child.log");
        let (read, mut seen) = (Shared::default(), 0);
        let flood = io::repeat(b'x').take(2 * BURST).chain(&b"\nend\n"[..]);
        let log = LogFile { file: File::create(&path).unwrap(), most: FILE_MAX, written: 0, skipped: 0 };
        // Time that stands still gives no room back.
        let now = || Stamp::ZERO;
        let reading = Reading { log, read: &read, budget: Budget::new(now()), now };
        reading.run(BufReader::with_capacity(1 << 20, flood), |_| seen += 1);
        let file = fs::read_to_string(&path).unwrap();
        assert_eq!((read.cut.load(Relaxed), seen), (BURST + 5, BURST / UNENDED_MAX));
        assert!(file.ends_with(&format!(
            "\n[loadtest: {} bytes left out: they came faster than they can be read]\n",
            BURST + 5
        )));
    }

    #[test]
    fn room_comes_back_with_time_and_is_bounded() {
        let at = |ms| Stamp::ZERO + Duration::from_millis(ms);
        let mut budget = Budget::new(at(0));
        budget.take(BURST + 5);
        assert_eq!(budget.room(at(0)), 0);
        assert_eq!(budget.room(at(1000)), RATE / 1000 * 1000);
        assert_eq!(budget.room(at(3_600_000)), BURST);
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
