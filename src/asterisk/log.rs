//! Reads what Asterisk logs: keeps a copy, counts what matters, remembers the last lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::error::Socket;

/// Longer lines are cut: the longest of Asterisk's own is below 8 KiB.
const LINE_MAX: usize = 8 * 1024;

/// The copy stops here, the counting does not.
const COPY_MAX: u64 = 64 * 1024 * 1024;

/// The last lines that are remembered.
const TAIL: usize = 20;

/// Far longer than it takes to read a full pipe.
const DRAIN: Duration = Duration::from_secs(1);

/// What one line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A task processor's queue has passed its high-water mark: PJSIP ignores new UDP requests
    /// until it has drained, and callers see set-up times that step by 0.5, 1 and 2 s.
    Overload,
    /// No RTP port was free for a leg.
    RtpExhausted,
    /// No file descriptor was free.
    DescriptorsExhausted,
    /// A socket could not be bound.
    PortTaken(Socket),
    /// Asterisk has loaded everything.
    Ready,
    /// Any other line that is logged as an error.
    Error,
    /// Any other line that is logged as a warning.
    Warning,
    /// Everything else.
    Other,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounts {
    /// Lines of any kind.
    pub lines: u64,
    /// Lines logged as errors, those below included.
    pub errors: u64,
    /// Lines logged as warnings, those below included.
    pub warnings: u64,
    /// Times that a task processor was overloaded or requests were ignored because of it.
    pub overloads: u64,
    /// Legs that got no RTP port.
    pub rtp_exhausted: u64,
    /// Times that no file descriptor was free.
    pub descriptors_exhausted: u64,
}

impl std::ops::Add for LogCounts {
    type Output = LogCounts;
    fn add(self, other: LogCounts) -> LogCounts {
        LogCounts {
            lines: self.lines + other.lines,
            errors: self.errors + other.errors,
            warnings: self.warnings + other.warnings,
            overloads: self.overloads + other.overloads,
            rtp_exhausted: self.rtp_exhausted + other.rtp_exhausted,
            descriptors_exhausted: self.descriptors_exhausted + other.descriptors_exhausted,
        }
    }
}

/// How a line is logged, from `[time] LEVEL[thread]…` at its beginning and nowhere else: what comes
/// later may be quoted from a packet.
fn level(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (level, _) = rest.split_once('[')?;
    Some(level)
}

/// Says what a line of Asterisk's log is about.
pub fn classify(line: &str) -> Kind {
    let Some(level) = level(line) else {
        return if line == "Asterisk Ready." { Kind::Ready } else { Kind::Other };
    };
    if line.contains("queue reached") && line.contains("scheduled tasks")
        || line.contains("Taskprocessor overload")
    {
        return Kind::Overload;
    }
    if line.contains("couldn't allocate a port for RTP instance") {
        return Kind::RtpExhausted;
    }
    if line.contains("Too many open files") {
        return Kind::DescriptorsExhausted;
    }
    if line.contains("Address already in use") {
        if line.contains("Transport '") {
            return Kind::PortTaken(Socket::Sip);
        }
        if line.contains("http server") {
            return Kind::PortTaken(Socket::Http);
        }
    }
    match level {
        "ERROR" => Kind::Error,
        "WARNING" => Kind::Warning,
        _ => Kind::Other,
    }
}

#[derive(Debug, Default)]
struct State {
    counts: LogCounts,
    tail: VecDeque<String>,
    ready: bool,
    taken: Option<Socket>,
}

impl State {
    fn take(&mut self, line: String) {
        self.counts.lines += 1;
        match level(&line) {
            Some("ERROR") => self.counts.errors += 1,
            Some("WARNING") => self.counts.warnings += 1,
            _ => {}
        }
        match classify(&line) {
            Kind::Overload => self.counts.overloads += 1,
            Kind::RtpExhausted => self.counts.rtp_exhausted += 1,
            Kind::DescriptorsExhausted => self.counts.descriptors_exhausted += 1,
            Kind::PortTaken(socket) => self.taken = Some(socket),
            Kind::Ready => self.ready = true,
            Kind::Error | Kind::Warning | Kind::Other => {}
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

/// The log of one Asterisk; clones look at the same log.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    state: Arc<Mutex<State>>,
    /// Closed when the reading has ended.
    reading: watch::Receiver<()>,
}

impl Log {
    /// Reads `from` to its end on a thread of its own and copies it into `file`.
    ///
    /// The thread ends with the stream, that is with the last process that holds the other end.
    pub(super) fn watch(from: impl Read + Send + 'static, file: File, path: PathBuf) -> std::io::Result<Log> {
        let (open, reading) = watch::channel(());
        let log = Log { path, state: Arc::default(), reading };
        let state = Arc::clone(&log.state);
        thread::Builder::new().name("asterisk-log".into()).spawn(move || {
            read_lines(BufReader::new(from), file, &state);
            drop(open);
        })?;
        Ok(log)
    }

    /// What was counted so far.
    pub fn counts(&self) -> LogCounts {
        self.locked(|state| state.counts)
    }

    /// The last lines, the oldest first.
    pub fn tail(&self) -> Vec<String> {
        self.locked(|state| state.tail.iter().cloned().collect())
    }

    /// The copy on disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until all that a process that has ended wrote is read, but not for long.
    pub(super) async fn drained(&self) {
        let mut reading = self.reading.clone();
        // Late only if something else inherited the output; what is there by then has to do.
        let _ = timeout(DRAIN, reading.changed()).await;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.locked(|state| state.ready)
    }

    pub(super) fn port_taken(&self) -> Option<Socket> {
        self.locked(|state| state.taken)
    }

    fn locked<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        // A panic cannot leave these counters half changed, so a poisoned lock is as good as any.
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read_lines(mut from: impl BufRead, mut file: File, state: &Mutex<State>) {
    let mut line = Vec::with_capacity(512);
    let mut copied = 0;
    while let Ok(true) = read_line(&mut from, &mut line) {
        let text = String::from_utf8_lossy(&line).replace(|c: char| c.is_control() && c != '\t', " ");
        copied += text.len() as u64 + 1;
        if copied <= COPY_MAX {
            // A full disk must not stop the counting.
            let _ = writeln!(file, "{text}");
        }
        state.lock().unwrap_or_else(PoisonError::into_inner).take(text);
    }
}

/// Reads one line, without its end, of which at most [`LINE_MAX`] bytes are kept. `false` at the end.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let chunk = match from.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
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

    /// Lines as Asterisk 16.28 and 22.10 log them.
    const SEEN: &[(&str, Kind)] = &[
        (
            "[2026-11-22 14:28:56.560] WARNING[13655]: taskprocessor.c:1228 taskprocessor_push: Taskprocessor 'pjsip/distributor-0000003a' queue reached 500 scheduled tasks (high water mark: 500).",
            Kind::Overload,
        ),
        (
            "[2026-11-22 14:28:56.560] WARNING[13655][C-00000001]: taskprocessor.c:1160 taskprocessor_push: The 'stasis/m:manager:core-00000006' task processor queue reached 500 scheduled tasks again.",
            Kind::Overload,
        ),
        (
            "[2026-11-22 14:28:56.560] ERROR[13655]: res_rtp_asterisk.c:4120 ast_rtp_new: Oh dear... we couldn't allocate a port for RTP instance '0x7f'",
            Kind::RtpExhausted,
        ),
        (
            "[2026-11-22 14:28:56.560] ERROR[13655]: res_rtp_asterisk.c:3300 create_new_socket: Unable to allocate RTP socket: Too many open files",
            Kind::DescriptorsExhausted,
        ),
        (
            "[2026-11-22 14:28:56.560] ERROR[13655]: res_pjsip/config_transport.c:1006 transport_apply: Transport 'udp' could not be started: Address already in use",
            Kind::PortTaken(Socket::Sip),
        ),
        (
            "[2026-11-22 14:28:58.809] ERROR[13762]: tcptls.c:877 ast_tcptls_server_start: Unable to bind http server to 127.0.0.1:18088: Address already in use",
            Kind::PortTaken(Socket::Http),
        ),
        ("[2026-11-22 14:28:58.809] ERROR[1]: x.c:1 f: Address already in use", Kind::Error),
        (
            "[2026-11-22 14:25:59.910] WARNING[11544]: indications.c:1105 load_indications: Missing default country (for indication tones)",
            Kind::Warning,
        ),
        (
            "[2026-11-22 14:24:29.110] NOTICE[10154]: loader.c:2568 load_modules: 51 modules will be loaded.",
            Kind::Other,
        ),
        ("Asterisk Ready.", Kind::Ready),
        ("Could not find option 'minimum_size' with type 'threadpool' in module 'stasis'", Kind::Other),
        // Without a level at its beginning, a line is whatever somebody sent.
        ("From: <sip:x@y> ERROR[1]: queue reached 500 scheduled tasks", Kind::Other),
        ("[", Kind::Other),
        ("] [", Kind::Other),
        ("", Kind::Other),
    ];

    #[test]
    fn lines_are_told_apart() {
        for (line, kind) in SEEN {
            assert_eq!(classify(line), *kind, "{line}");
        }
    }

    #[tokio::test]
    async fn counts_copies_and_remembers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("asterisk.log");
        let text: String = SEEN.iter().map(|(line, _)| format!("{line}\n")).collect();
        let log = Log::watch(std::io::Cursor::new(text.clone()), File::create(&path).unwrap(), path.clone())
            .unwrap();
        log.drained().await;
        let expected = LogCounts {
            lines: SEEN.len() as u64,
            errors: 5,
            warnings: 3,
            overloads: 2,
            rtp_exhausted: 1,
            descriptors_exhausted: 1,
        };
        assert_eq!(log.counts(), expected);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(log.tail().len(), SEEN.len());
        assert!(log.is_ready());
        assert_eq!(log.port_taken(), Some(Socket::Http));
    }

    #[tokio::test]
    async fn hostile_output_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("asterisk.log");
        let mut bytes = vec![b'x'; 10 * LINE_MAX];
        bytes.extend(b"\n\x1b[31m\xff\0\n\n");
        bytes.extend((0..100).flat_map(|n| format!("{n}\n").into_bytes()));
        bytes.extend(b"no end");
        let log =
            Log::watch(std::io::Cursor::new(bytes), File::create(&path).unwrap(), path.clone()).unwrap();
        log.drained().await;
        let copy = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = copy.lines().collect();
        assert_eq!(lines[0].len(), LINE_MAX);
        assert_eq!(lines[1], " [31m\u{fffd} ");
        assert_eq!(lines.last(), Some(&"no end"));
        assert_eq!(log.counts().lines, 104);
        assert_eq!(log.tail().len(), TAIL);
    }
}
