//! Counts what bears on a run in Asterisk's log, line by line.

use std::collections::BTreeMap;

use super::error::Socket;
use crate::child::{Level, LogReader};

/// The subject of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogKind {
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

/// Lines of a log by their subject. Every line that is logged as an error or a warning counts as that as well,
/// whatever it is about.
pub type LogCounts = BTreeMap<LogKind, u64>;

/// The level in `[time] LEVEL[thread]: …` at a line's beginning and nowhere else, for the rest may quote a
/// packet; and that rest.
fn level_and_text(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (level, text) = rest.split_once('[')?;
    Some((level, text.split_once(": ").map_or("", |(_, text)| text)))
}

fn level(line: &str) -> Option<&str> {
    level_and_text(line).map(|(level, _)| level)
}

/// Classifies a line of Asterisk's log.
pub fn classify(line: &str) -> LogKind {
    let Some(level) = level(line) else {
        return if line == "Asterisk Ready." { LogKind::Ready } else { LogKind::Other };
    };
    if line.contains("queue reached") && line.contains("scheduled tasks")
        || line.contains("Taskprocessor overload")
    {
        return LogKind::Overload;
    }
    if line.contains("couldn't allocate a port for RTP instance") {
        return LogKind::RtpExhausted;
    }
    if line.contains("Too many open files") {
        return LogKind::DescriptorsExhausted;
    }
    if line.contains("Address already in use") {
        if line.contains("Transport '") {
            return LogKind::PortTaken(Socket::Sip);
        }
        if line.contains("http server") {
            return LogKind::PortTaken(Socket::Http);
        }
    }
    of_level(level)
}

fn of_level(level: &str) -> LogKind {
    match level {
        "ERROR" => LogKind::Error,
        "WARNING" => LogKind::Warning,
        _ => LogKind::Other,
    }
}

/// A log as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub counts: LogCounts,
    /// Its distinct warnings and errors.
    pub distinct: LogReader,
    /// True once Asterisk has loaded everything.
    pub is_ready: bool,
    /// A socket that could not be bound.
    pub port_taken: Option<Socket>,
}

impl Log {
    pub fn take(&mut self, line: &str) {
        let kind = classify(line);
        match kind {
            LogKind::PortTaken(socket) => self.port_taken = Some(socket),
            LogKind::Ready => self.is_ready = true,
            _ => {}
        }
        let (level, text) =
            level_and_text(line).map_or((LogKind::Other, ""), |(l, text)| (of_level(l), text));
        match level {
            LogKind::Error => self.distinct.add(Level::Error, text),
            LogKind::Warning => self.distinct.add(Level::Warning, text),
            _ => {}
        }
        let kinds = [Some(kind), Some(level).filter(|level| *level != kind)];
        kinds.into_iter().flatten().for_each(|kind| *self.counts.entry(kind).or_default() += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as Asterisk 16.28 and 22.10 log them.
    const SEEN: &[(&str, LogKind)] = &[
        (
            "[2026-11-22 14:28:56.560] WARNING[13655]: taskprocessor.c:1228 taskprocessor_push: Taskprocessor 'pjsip/distributor-0000003a' queue reached 500 scheduled tasks (high water mark: 500).",
            LogKind::Overload,
        ),
        (
            "[2026-11-22 14:28:56.560] WARNING[13655][C-00000001]: taskprocessor.c:1160 taskprocessor_push: The 'stasis/m:manager:core-00000006' task processor queue reached 500 scheduled tasks again.",
            LogKind::Overload,
        ),
        (
            "[2026-11-22 14:28:56.560] ERROR[13655]: res_rtp_asterisk.c:4120 ast_rtp_new: Oh dear... we couldn't allocate a port for RTP instance '0x7f'",
            LogKind::RtpExhausted,
        ),
        (
            "[2026-11-22 14:28:56.560] ERROR[13655]: res_rtp_asterisk.c:3300 create_new_socket: Unable to allocate RTP socket: Too many open files",
            LogKind::DescriptorsExhausted,
        ),
        (
            "[2026-11-22 14:28:56.560] ERROR[13655]: res_pjsip/config_transport.c:1006 transport_apply: Transport 'udp' could not be started: Address already in use",
            LogKind::PortTaken(Socket::Sip),
        ),
        (
            "[2026-11-22 14:28:58.809] ERROR[13762]: tcptls.c:877 ast_tcptls_server_start: Unable to bind http server to 127.0.0.1:18088: Address already in use",
            LogKind::PortTaken(Socket::Http),
        ),
        ("[2026-11-22 14:28:58.809] ERROR[1]: x.c:1 f: Address already in use", LogKind::Error),
        (
            "[2026-11-22 14:25:59.910] WARNING[11544]: indications.c:1105 load_indications: Missing default country (for indication tones)",
            LogKind::Warning,
        ),
        (
            "[2026-11-22 14:24:29.110] NOTICE[10154]: loader.c:2568 load_modules: 51 modules will be loaded.",
            LogKind::Other,
        ),
        ("Asterisk Ready.", LogKind::Ready),
        ("Could not find option 'minimum_size' with type 'threadpool' in module 'stasis'", LogKind::Other),
        // Without a level at its beginning, a line is whatever somebody sent.
        ("From: <sip:x@y> ERROR[1]: queue reached 500 scheduled tasks", LogKind::Other),
        ("[", LogKind::Other),
        ("] [", LogKind::Other),
        ("", LogKind::Other),
    ];

    #[test]
    fn lines_are_told_apart() {
        for (line, kind) in SEEN {
            assert_eq!(classify(line), *kind, "{line}");
        }
    }

    #[test]
    fn lines_are_counted_by_what_they_are_about() {
        let mut log = Log::default();
        SEEN.iter().for_each(|(line, _)| log.take(line));
        let count = |kind| log.counts.get(&kind).copied().unwrap_or_default();
        let kinds = [
            LogKind::Error,
            LogKind::Warning,
            LogKind::Overload,
            LogKind::RtpExhausted,
            LogKind::DescriptorsExhausted,
        ];
        assert_eq!(kinds.map(count), [5, 3, 2, 1, 1]);
        let distinct = log.distinct.take();
        assert_eq!((distinct.errors, distinct.warnings, distinct.lines.len()), (5, 3, 8), "{distinct:?}");
        assert!(distinct.lines[7].text.starts_with("indications.c:1105 load_indications: Missing"));
        assert!(log.is_ready);
        assert_eq!(log.port_taken, Some(Socket::Http));
    }
}
