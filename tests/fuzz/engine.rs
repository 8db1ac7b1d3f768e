//! A small fuzzer for stable Rust: it mutates what is in `tests/corpus`, and what has led somewhere new.
//!
//! A target's check panics when an invariant is broken, and returns what the input led to, as a number:
//! an input that leads somewhere new is kept in memory and mutated further. There is no instrumentation.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use loadtest::clock::{Timeline, thread_cpu};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// Inputs that led somewhere new and are kept.
const POOL: usize = 20_000;
/// CPU that one execution may take: a thousand times what the slowest takes, far from what hangs.
const CPU: Duration = Duration::from_secs(2);

/// Something that reads what others have written.
pub struct Target {
    /// Names its folder in `tests/corpus`.
    pub name: &'static str,
    /// Words that mean something to it.
    pub words: &'static [&'static str],
    /// Executions in an ordinary `cargo test`: a second or two.
    pub executions: u64,
    /// Longest input.
    pub longest: usize,
    /// Panics when something is wrong; otherwise says where the input led to.
    pub check: fn(&[u8]) -> u64,
}

/// The outcome of an input, as a number.
pub fn place(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Runs the corpus, and then mutations of it: a few thousand, always the same, or for FUZZ_SECONDS, and
/// then others each time, unless FUZZ_SEED says which.
pub fn fuzz(target: &Target) {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seconds = number("FUZZ_SECONDS");
    let seed = number("FUZZ_SEED").unwrap_or(if seconds.is_some() { rand::random() } else { 1 });
    println!("{}: FUZZ_SEED={seed}", target.name);
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut pool = corpus(target.name);
    assert!(!pool.is_empty(), "tests/corpus/{} is empty", target.name);
    let mut places: HashSet<u64> = pool.iter().map(|input| run(target, input)).collect();
    let line = Timeline::start();
    let until = seconds.map(|s| line.now() + Duration::from_secs(s));
    let mut executions = 0;
    let goes_on = |executions: u64| match until {
        // The clock is not asked each time: it takes as long as a short execution.
        Some(until) => !executions.is_multiple_of(256) || line.now() < until,
        None => executions < target.executions,
    };
    while goes_on(executions) {
        let mut input = pool[dice.random_range(0..pool.len())].clone();
        for _ in 0..dice.random_range(1..=6) {
            mutate(&mut input, &mut dice, &pool, target.words);
        }
        input.truncate(target.longest);
        if places.insert(run(target, &input)) && pool.len() < POOL {
            pool.push(input);
        }
        executions += 1;
    }
    println!("{}: {executions} executions, {} places", target.name, places.len());
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    // In an order that is the same everywhere, or the seed says nothing.
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("the corpus is readable")).collect()
}

/// One execution. An input that breaks an invariant is kept, to be added to the corpus.
fn run(target: &Target, input: &[u8]) -> u64 {
    let before = thread_cpu();
    let result = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let took = thread_cpu().saturating_sub(before);
    match result {
        Ok(place) if took <= CPU => place,
        Ok(_) => panic!("{}: {took:?} of CPU with {}", target.name, keep(target, input)),
        Err(_) => panic!("{}: broken by {}", target.name, keep(target, input)),
    }
}

fn keep(target: &Target, input: &[u8]) -> String {
    let name = format!("{}-{:016x}", target.name, place(input));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, input).expect("the build's folder takes files");
    format!("{}; once it is mended, keep it in tests/corpus/{}", path.display(), target.name)
}

/// Changes one thing.
fn mutate(input: &mut Vec<u8>, dice: &mut SmallRng, pool: &[Vec<u8>], words: &[&str]) {
    let at = dice.random_range(0..=input.len());
    let end = (at + dice.random_range(1..=32)).min(input.len());
    match dice.random_range(0..12) {
        0 if at < input.len() => input[at] ^= 1 << dice.random_range(0..8),
        1 if at < input.len() => input[at] = dice.random(),
        2 => input.insert(at, dice.random()),
        3 => drop(input.drain(at..end)),
        4 => input.truncate(at),
        5 => {
            let again = input[at..end].to_vec();
            let times = dice.random_range(1..=8);
            input.splice(at..at, again.repeat(times));
        }
        6 | 7 if !words.is_empty() => {
            let word = words[dice.random_range(0..words.len())].bytes();
            // Over what is there, or between.
            let end = if dice.random() { end } else { at };
            input.splice(at..end, word);
        }
        8 => {
            let other = &pool[dice.random_range(0..pool.len())];
            let from = dice.random_range(0..=other.len());
            let to = dice.random_range(from..=other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        9 => lines(input, dice),
        10 => number(input, at, dice),
        _ => {
            let edge = [0, 1, 0x7f, 0x80, 0xff][dice.random_range(0..5)];
            input[at..end].fill(edge);
        }
    }
}

/// Takes a line away, doubles it, or moves it.
fn lines(input: &mut Vec<u8>, dice: &mut SmallRng) {
    let mut lines: Vec<&[u8]> = input.split_inclusive(|b| *b == b'\n').collect();
    if lines.is_empty() {
        return;
    }
    let line = lines.remove(dice.random_range(0..lines.len()));
    for _ in 0..dice.random_range(0..=2) {
        lines.insert(dice.random_range(0..=lines.len()), line);
    }
    *input = lines.concat();
}

/// Puts another number in the place of the next one.
fn number(input: &mut Vec<u8>, at: usize, dice: &mut SmallRng) {
    let Some(from) = input[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
    let len = input[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let edges =
        ["0", "-1", "1e999", "255", "256", "65535", "65536", "2147483648", "4294967295", "4294967296"];
    let large =
        ["9223372036854775808", "18446744073709551615", "18446744073709551616", "0000000000000000000001"];
    let all: Vec<&str> = edges.into_iter().chain(large).collect();
    input.splice(from..from + len, all[dice.random_range(0..all.len())].bytes());
}
