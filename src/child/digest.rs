//! The distinct lines of a log that tell of trouble, counted in bounded memory.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::values::cut;

/// Distinct lines of a log that are kept, the first ones.
const MOST_LINES: usize = 8;
/// Distinct lines that are told apart; those beyond count as one more each.
const MOST_KNOWN: usize = 1000;
/// Bytes of a line that are kept.
const LINE_MAX: usize = 280;

/// Severity of a log's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Something may be wrong.
    Warning,
    /// Something is wrong.
    Error,
}

/// Distinct lines of a log that tell of trouble, the last lines of all, and what was not kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogDigest {
    /// Lines that were logged as errors.
    pub errors: u64,
    /// Lines that were logged as warnings.
    pub warnings: u64,
    /// The first distinct ones, in the order in which they came. Lines that differ in numbers alone are one.
    pub lines: Vec<DistinctLine>,
    /// Number of distinct lines beyond those.
    pub more: u64,
    /// Lines after the planned end of the hold phase, which are in no other count here.
    pub at_the_end: u64,
    /// The last lines of all, of whatever level, the oldest first.
    pub last: Vec<String>,
    /// Bytes that the log file is short of, for it may not grow beyond a bound; 0 where it is whole.
    pub cut_bytes: u64,
}

/// A line of a log, and how often it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinctLine {
    /// The first one's text, without time and thread, cut.
    pub text: String,
    /// Number of the lines like it.
    pub count: u64,
}

/// Makes a digest, line by line, in bounded memory.
#[derive(Debug, Clone, Default)]
pub struct LogReader {
    digest: LogDigest,
    /// Distinct lines so far, by a hash of their words, with the place of those that are kept.
    known: HashMap<u64, Option<usize>>,
    /// Set by whoever ends the run.
    is_ending: Arc<AtomicBool>,
}

impl LogReader {
    /// Counts apart what comes while `is_ending` is set.
    pub fn new(is_ending: Arc<AtomicBool>) -> LogReader {
        LogReader { is_ending, ..LogReader::default() }
    }

    /// Counts a line that tells of trouble.
    pub fn add(&mut self, level: Level, text: &str) {
        let digest = &mut self.digest;
        if self.is_ending.load(Relaxed) {
            digest.at_the_end += 1;
            return;
        }
        match level {
            Level::Error => digest.errors += 1,
            Level::Warning => digest.warnings += 1,
        }
        let key = words_of(level, text);
        if let Some(place) = self.known.get(&key) {
            if let Some(line) = place.and_then(|place| digest.lines.get_mut(place)) {
                line.count += 1;
            }
            return;
        }
        let is_kept = digest.lines.len() < MOST_LINES;
        if is_kept {
            digest.lines.push(DistinctLine { text: cut(text, LINE_MAX), count: 1 });
        } else {
            digest.more += 1;
        }
        if self.known.len() < MOST_KNOWN {
            self.known.insert(key, is_kept.then(|| digest.lines.len() - 1));
        }
    }

    /// The digest since the last call of this; counting begins anew.
    pub fn take(&mut self) -> LogDigest {
        self.known.clear();
        std::mem::take(&mut self.digest)
    }
}

/// A hash of a line's level and words, in which any number stands for any other.
fn words_of(level: Level, text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    level.hash(&mut hasher);
    let is_number = |word: &str| {
        word.contains(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_hexdigit() || c == 'x')
    };
    // Letters beside digits, as in `PJSIP/driver-0000001f`, are parted at the dash.
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if is_number(word) { "#".hash(&mut hasher) } else { word.hash(&mut hasher) }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_in_numbers_are_one() {
        let is_ending = Arc::default();
        let mut log = LogReader::new(Arc::clone(&is_ending));
        for n in 0..30 {
            log.add(Level::Warning, &format!("channel.c: No path for PJSIP/driver-{n:08x} after {n} ms"));
        }
        log.add(Level::Error, "channel.c: No path for PJSIP/driver-00000001 after 1 ms");
        is_ending.store(true, Relaxed);
        log.add(Level::Error, "at the end");
        let log = log.take();
        assert_eq!((log.lines.len(), log.lines[0].count, log.warnings, log.errors), (2, 30, 30, 1));
        assert_eq!(log.at_the_end, 1);
        assert!(log.lines[0].text.contains("driver-00000000"), "the first one's words: {log:?}");
    }

    #[test]
    fn a_log_without_end_stays_bounded() {
        let mut log = LogReader::default();
        let word = |n: u32| char::from_u32('a' as u32 + n % 26).unwrap();
        for n in 0..5000 {
            let name: String = [n / 676, n / 26, n].map(word).into_iter().collect();
            log.add(Level::Error, &format!("{name} {}", "é".repeat(1000)));
        }
        assert_eq!(log.known.len(), MOST_KNOWN);
        let log = log.take();
        assert_eq!((log.lines.len(), log.errors), (MOST_LINES, 5000));
        assert_eq!(log.more, 5000 - MOST_LINES as u64);
        assert!(log.lines.iter().all(|line| line.text.len() <= LINE_MAX + 40), "{:?}", log.lines[0]);
    }
}
