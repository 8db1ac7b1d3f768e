//! `tests/corpus` through the checks that the fuzzer runs, and the fuzzer's lists held against each other.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loadtest::clock::thread_cpu;

#[path = "../../fuzz/src/lib.rs"]
mod checks;

use checks::TARGETS;

/// CPU that one input may take: a thousand times the slowest, far from an input that hangs.
const CPU: Duration = Duration::from_secs(2);
/// The corpus is cloned by everybody who builds loadtest: what the fuzzer found is minimised before it is kept.
const MOST_BYTES: u64 = 600 << 10;

fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let folder = folder.as_ref();
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths
}

/// Names of files or folders, without extension.
fn names(folder: &str) -> BTreeSet<String> {
    let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    entries(folder).into_iter().map(stem).collect()
}

#[test]
fn no_input_of_the_corpus_breaks_an_invariant() {
    let mut broken = Vec::new();
    for &(name, check) in TARGETS {
        for path in entries(format!("tests/corpus/{name}")) {
            let input = fs::read(&path).expect("it can be read");
            let before = thread_cpu();
            let result = catch_unwind(|| check(&input));
            let took = thread_cpu().saturating_sub(before);
            if result.is_err() || took > CPU {
                broken.push(format!("{} ({took:?} of CPU)", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "the panics are above:\n{}", broken.join("\n"));
}

#[test]
fn every_check_has_a_program_and_a_corpus_and_nothing_else_has() {
    let checks: BTreeSet<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names("fuzz/fuzz_targets"), checks);
    assert_eq!(names("tests/corpus"), checks);
    assert!(names("fuzz/dict").is_subset(&checks), "a dictionary without a check: {:?}", names("fuzz/dict"));
    let manifest = fs::read_to_string("fuzz/Cargo.toml").expect("it is there");
    let programs: Vec<_> = manifest.split("[[bin]]").skip(1).collect();
    assert_eq!(programs.len(), checks.len());
    for (name, _) in TARGETS {
        let path = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&path), "fuzz/Cargo.toml has no program {name}");
    }
}

#[test]
fn the_fuzzer_starts_from_stored_runs_that_are_read_of_both_formats() {
    let mut formats = BTreeSet::new();
    for path in entries("tests/corpus/folder") {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("found-") {
            continue;
        }
        let stored =
            checks::folder::stored(&fs::read(&path).expect("it can be read")).expect("a file of a run");
        let environment: serde_json::Value = serde_json::from_slice(&stored.environment).expect("JSON");
        formats.insert(environment["format"].as_u64());
        // Past the manifest, and past everything else: from here the engine's changes reach the figures.
        if let Err(why) = stored.read() {
            panic!("{name}: {why}");
        }
    }
    assert_eq!(formats, BTreeSet::from([Some(1), Some(2)]));
}

#[test]
fn the_corpus_is_small() {
    let files = TARGETS.iter().flat_map(|(name, _)| entries(format!("tests/corpus/{name}")));
    let bytes: u64 = files.map(|path| fs::metadata(path).expect("it is there").len()).sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes: minimise it, see fuzz/run");
}
