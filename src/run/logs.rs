//! Troubles in the logs: lines of a service's output that speak of one, in whatever way it logs, and remarks.

use crate::asterisk::LogCounts;
use crate::asterisk::log::LogKind;
use crate::child::{DistinctLine, Level, LogDigest, LogReader};
use crate::record::LogLine;
use crate::values::counted;

/// Distinct lines of a log that a remark quotes.
const QUOTED: usize = 3;

/// Words that begin a level or an exception, in small letters.
const ERRORS: [&str; 9] =
    ["error", "exception", "traceback", "panic", "fatal", "critical", "failed", "failure", "denied"];
const WARNINGS: [&str; 2] = ["warn", "timeout"];

/// Counts a line, if it speaks of trouble.
pub fn read_service(log: &mut LogReader, line: &str) {
    let small = line.to_ascii_lowercase();
    // As in `errors=0`, or in a request's `error: null`.
    let is_harmless = ["0 errors", "no error", "errors=0", "errors: 0", "error: null", "error=none"]
        .iter()
        .any(|words| small.contains(words));
    let has = |words: &[&str]| words.iter().any(|word| small.contains(word));
    let level = match () {
        () if is_harmless => return,
        () if has(&ERRORS) => Level::Error,
        () if has(&WARNINGS) => Level::Warning,
        () => return,
    };
    log.add(level, without_time(line));
}

/// A line without the time that it begins with.
fn without_time(line: &str) -> &str {
    let is_time = |c: char| c.is_ascii_digit() || "-:.,TZ+[]/ ".contains(c);
    let rest = line.trim_start_matches(is_time);
    if rest.is_empty() { line } else { rest }
}

impl From<&DistinctLine> for LogLine {
    fn from(DistinctLine { text, count }: &DistinctLine) -> LogLine {
        LogLine { text: text.clone(), count: *count }
    }
}

/// Remarks on what the logs say.
pub fn remarks(counts: &LogCounts, [asterisk, service]: &[LogDigest; 2]) -> Vec<String> {
    let known = [
        (LogKind::Overload, "task processor overloads: Asterisk ignored SIP requests meanwhile"),
        (LogKind::RtpExhausted, "times no RTP port was free"),
        (LogKind::DescriptorsExhausted, "times no file descriptor was free"),
    ];
    let counted = known.into_iter().filter_map(|(kind, what)| Some((counts.get(&kind)?, what)));
    let mut remarks: Vec<_> =
        counted.map(|(count, what)| format!("Asterisk's log: {count} {what}")).collect();
    let logs = [
        ("Asterisk's log", "logs/asterisk.log", asterisk),
        ("the service's log", "logs/service.log", service),
    ];
    for (log, path, digest) in logs {
        remarks.extend(digest_remark(digest).map(|what| format!("{log}: {what} ({path})")));
        if digest.cut_bytes > 0 {
            let mib = digest.cut_bytes as f64 / f64::from(1 << 20);
            remarks.push(format!("{path} is cut: {mib:.1} MiB of {log} were too much and are left out"));
        }
    }
    remarks
}

/// Counts of a log, and its first distinct lines.
fn digest_remark(digest: &LogDigest) -> Option<String> {
    let counts = [(digest.errors, "error"), (digest.warnings, "warning")];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(*count, what));
    let counts = counts.collect::<Vec<_>>().join(" and ");
    let quoted = |line: &DistinctLine| match line.count {
        1 => format!("`{}`", line.text),
        n => format!("{n} × `{}`", line.text),
    };
    let first: Vec<_> = digest.lines.iter().take(QUOTED).map(quoted).collect();
    let others = digest.lines.len().saturating_sub(QUOTED) as u64 + digest.more;
    let others = if others > 0 { format!(", and {others} others") } else { String::new() };
    (!first.is_empty()).then(|| format!("{counts}: {}{others}", first.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_trouble_are_told_from_others() {
        let mut log = LogReader::default();
        for line in [
            "2026-11-26T06:50:00.123456Z  WARN loadtest::service: a call failed caller=1764.1",
            "2026-11-26 06:50:01,001 INFO ready for calls",
            "Traceback (most recent call last):",
            "KeyError: 'id'",
            "KeyError: 'id'",
            "thread 'main' panicked at src/main.rs:1",
            "calls=10 errors=0",
            "2026/11/26 06:50:00 [warn] slow answer",
            "",
        ] {
            read_service(&mut log, line);
        }
        let log = log.take();
        let lines: Vec<_> = log.lines.iter().map(|line| (line.text.as_str(), line.count)).collect();
        assert_eq!((log.errors, log.warnings), (5, 1), "{log:?}");
        assert_eq!(lines[0].0, "WARN loadtest::service: a call failed caller=1764.1");
        assert_eq!(lines[2], ("KeyError: 'id'", 2));
    }
}
