//! `manifest.json`: length in rows and SHA-256 of each file that a run has stored.
//!
//! It finds what was lost or damaged on the way: a row cut off, a file of another run. It is no signature, since
//! whoever changes a file can change its line here too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Name of the file itself.
pub const NAME: &str = "manifest.json";

/// Files that a run stores and that its figures can be made from again.
pub const DATA: [&str; 11] = [
    "environment.json",
    "calls.csv",
    "seconds.csv",
    "call_seconds.csv",
    "silences.csv",
    "rtt.hlog",
    "scenario.toml",
    TURNS,
    TALK,
    SIGNALS,
    QUALITY,
];
/// That of conversations.
pub const TURNS: &str = "turns.csv";
/// Likewise, of those with excerpts.
pub const TALK: &str = "talk.csv";
/// Likewise, of calls whose path is measured by its audio.
pub const SIGNALS: &str = "signals.csv";
/// Likewise, of calls that read aloud.
pub const QUALITY: &str = "quality.csv";
/// Those that runs of echoes lack.
pub const OF_SOME: [&str; 4] = [TURNS, TALK, SIGNALS, QUALITY];

/// The stored files of a run, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// Each file.
    pub files: BTreeMap<String, Entry>,
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Number of its lines, a table's head included.
    pub lines: u64,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
}

impl Entry {
    fn of(bytes: &[u8]) -> Entry {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let digest = Sha256::digest(bytes);
        Entry { lines, sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

impl Manifest {
    /// Of files by name and content.
    pub fn of<'n, 'b>(files: impl IntoIterator<Item = (&'n str, &'b [u8])>) -> Manifest {
        let mut manifest = Manifest::default();
        files.into_iter().for_each(|(name, bytes)| manifest.add(name, bytes));
        manifest
    }

    /// Adds a file.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        self.files.insert(name.into(), Entry::of(bytes));
    }

    /// The file `manifest.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Invariant: a map of words and numbers has nothing that JSON lacks.
        let mut bytes = serde_json::to_vec_pretty(self).expect("it can be written");
        bytes.push(b'\n');
        bytes
    }

    /// Holds files against it. A file that it does not list must be empty, which one that is not there is too.
    ///
    /// # Errors
    /// The first file that is another than was stored, and how.
    pub fn check<'n, 'b>(&self, files: impl IntoIterator<Item = (&'n str, &'b [u8])>) -> Result<(), String> {
        const CURE: &str = "copy the run's folder again, as a whole";
        for (name, bytes) in files {
            let found = Entry::of(bytes);
            let why = match self.files.get(name) {
                Some(stored) if *stored == found => continue,
                None if bytes.is_empty() => continue,
                None => "it is not among the files that the run stored".into(),
                Some(_) if bytes.is_empty() => "it is empty or not there".into(),
                Some(stored) if stored.lines != found.lines => {
                    format!("it has {} lines, {} were stored", found.lines, stored.lines)
                }
                Some(_) => "its content is not what was stored".into(),
            };
            return Err(format!("{name} differs from {NAME}: {why}; {CURE}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_changed_is_named_with_the_difference() {
        let stored = [("calls.csv", &b"call\n1\n2\n"[..]), ("rtt.hlog", b"#\n"), ("silences.csv", b"call\n")];
        let manifest: Manifest = serde_json::from_slice(&Manifest::of(stored).to_bytes()).unwrap();
        assert_eq!(manifest, Manifest::of(stored));
        // `printf 'abc' | sha256sum`
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Entry::of(b"abc"), Entry { lines: 0, sha256: of_abc.into() });
        let with = |name: &str, bytes: &'static [u8]| {
            manifest.check(stored.map(|(n, b)| if n == name { (n, bytes) } else { (n, b) }))
        };
        assert_eq!(with("none", b""), Ok(()));
        for (name, bytes, why) in [
            (
                "calls.csv",
                &b"call\n1\n"[..],
                "calls.csv differs from manifest.json: it has 2 lines, 3 were stored",
            ),
            ("calls.csv", b"call\n1\n3\n", "its content"),
            ("rtt.hlog", b"", "empty or not there"),
        ] {
            let refused = with(name, bytes).unwrap_err();
            assert!(
                refused.contains(why) && refused.contains(name) && refused.ends_with("as a whole"),
                "{refused}"
            );
        }
        assert!(manifest.check([("call_seconds.csv", &b"1\n"[..])]).unwrap_err().contains("not among"));
    }
}
