//! Counts what bears on a run in Asterisk's log, line by line.

use super::error::Socket;

/// The subject of a line.
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

/// Lines of a log that bear on a run, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounts {
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

/// The level in `[time] LEVEL[thread]…` at a line's beginning and nowhere else: the rest may quote a
/// packet.
fn level(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (level, _) = rest.split_once('[')?;
    Some(level)
}

/// Classifies a line of Asterisk's log.
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

/// A log as far as it was read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Log {
    pub counts: LogCounts,
    /// True once Asterisk has loaded everything.
    pub is_ready: bool,
    /// A socket that could not be bound.
    pub port_taken: Option<Socket>,
}

impl Log {
    pub fn take(&mut self, line: &str) {
        match level(line) {
            Some("ERROR") => self.counts.errors += 1,
            Some("WARNING") => self.counts.warnings += 1,
            _ => {}
        }
        match classify(line) {
            Kind::Overload => self.counts.overloads += 1,
            Kind::RtpExhausted => self.counts.rtp_exhausted += 1,
            Kind::DescriptorsExhausted => self.counts.descriptors_exhausted += 1,
            Kind::PortTaken(socket) => self.port_taken = Some(socket),
            Kind::Ready => self.is_ready = true,
            Kind::Error | Kind::Warning | Kind::Other => {}
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

    #[test]
    fn lines_are_counted_by_what_they_are_about() {
        let mut log = Log::default();
        SEEN.iter().for_each(|(line, _)| log.take(line));
        let expected =
            LogCounts { errors: 5, warnings: 3, overloads: 2, rtp_exhausted: 1, descriptors_exhausted: 1 };
        assert_eq!(log.counts, expected);
        assert!(log.is_ready);
        assert_eq!(log.port_taken, Some(Socket::Http));
    }
}
