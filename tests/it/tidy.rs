//! Holds the habits that keep the code readable: which module imports which, purity, sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The code map of ARCHITECTURE.md: module → the modules of this crate that it may import, and
/// whether it is pure. `stamp` is a plain value, open to all.
fn code_map() -> BTreeMap<String, (Vec<String>, bool)> {
    let text = fs::read_to_string("ARCHITECTURE.md").expect("ARCHITECTURE.md is there");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut map = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, place, _, imports, _] = cells[..] else { continue };
        let module = place.trim_matches('`').trim_end_matches('/').trim_end_matches(".rs");
        let pure = imports.contains("(pure)");
        let list = imports.replace("(pure)", "");
        let names = list.split(',').map(str::trim).filter(|n| !n.is_empty() && *n != "–");
        map.insert(module.to_string(), (names.map(str::to_string).collect(), pure));
    }
    assert!(map.len() > 10, "the code map of ARCHITECTURE.md was not understood: {map:?}");
    map
}

const IMPURE_WORDS: &[&str] = &[
    "tokio::",
    "std::net::UdpSocket",
    "std::fs",
    "File::",
    "Instant",
    "SystemTime",
    "println!",
    "eprintln!",
    "rand::rng",
    "rand::random",
    "std::env",
    "std::thread",
    "std::process",
];

const MAX_FILE_LINES: usize = 500;

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Lines of code, without comments, by number.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Lines of code that ship: those before the tests.
fn shipped(text: &str) -> impl Iterator<Item = (usize, &str)> {
    code(text).take_while(|(_, line)| line.trim() != "#[cfg(test)]")
}

fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix("src").expect("path starts with src");
    let first = relative.components().next().expect("a file name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_string()
}

/// Every source file except `lib.rs`, with its module and its text.
fn files() -> Vec<(PathBuf, String, String)> {
    sources(Path::new("src"))
        .into_iter()
        .filter(|p| p != Path::new("src/lib.rs"))
        .map(|p| {
            let text = fs::read_to_string(&p).expect("source is UTF-8");
            (p.clone(), module_of(&p), text)
        })
        .collect()
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// Names that follow `prefix` in a line, also inside `prefix{a, b}`.
fn imported(line: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + prefix.len()..];
        let list = rest.strip_prefix('{').map_or(rest, |inner| inner.split('}').next().unwrap_or(inner));
        let braced = rest.starts_with('{');
        for part in list.split(',').take(if braced { usize::MAX } else { 1 }) {
            let name: String = part.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

/// Tests of a module included.
#[test]
fn modules_import_only_what_the_table_allows() {
    let files = files();
    let table = code_map();
    let mut problems = Vec::new();
    for (path, module, text) in files {
        let Some((allowed, _)) = table.get(module.as_str()) else {
            problems.push(format!("{}: module `{module}` is not in the table", path.display()));
            continue;
        };
        for (n, line) in code(&text) {
            let prefix = if module == "main" { "loadtest::" } else { "crate::" };
            for name in imported(line, prefix) {
                let known = table.contains_key(name.as_str());
                let ok =
                    name == module || name == "stamp" || allowed.iter().any(|a| *a == name || a == "all");
                if known && !ok {
                    problems.push(format!("{}:{n}: `{module}` may not import `{name}`", path.display()));
                }
            }
        }
    }
    report(problems);
}

#[test]
fn pure_modules_touch_nothing_outside() {
    let mut problems = Vec::new();
    let (files, table) = (files(), code_map());
    let is_pure = |module: &String| table.get(module).is_some_and(|(_, pure)| *pure);
    for (path, module, text) in files.into_iter().filter(|(_, m, _)| is_pure(m)) {
        for (n, line) in shipped(&text) {
            for word in IMPURE_WORDS.iter().filter(|w| line.contains(*w)) {
                problems.push(format!("{}:{n}: `{word}` in pure module `{module}`", path.display()));
            }
        }
    }
    report(problems);
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    let mut problems = Vec::new();
    for (path, _, text) in files() {
        if !text.starts_with("//!") {
            problems.push(format!("{}: does not open with a line that says what it is for", path.display()));
        }
        let lines = text.lines().take_while(|l| l.trim() != "#[cfg(test)]").count();
        if lines > MAX_FILE_LINES {
            problems.push(format!("{}: {lines} lines, {MAX_FILE_LINES} allowed", path.display()));
        }
    }
    report(problems);
}

/// The list of odd far ends names every file that plays some, and no file that is not there.
#[test]
fn every_file_with_odd_far_ends_is_in_their_list() {
    let page = read("docs/sip.md");
    let (_, list) = page.split_once("\n## Odd far ends\n").expect("the list");
    let last_cells =
        list.lines().filter_map(|row| row.strip_prefix("| ")?.strip_suffix(" |")?.rsplit(" | ").next());
    let names = last_cells.flat_map(|cell| cell.split(", "));
    let named: BTreeSet<&str> = names.filter_map(|name| name.strip_prefix('`')?.strip_suffix('`')).collect();
    let mut problems = Vec::new();
    for name in &named {
        let places = ["tests/it/far_ends", "tests/it"].map(|folder| format!("{folder}/{name}.rs"));
        if !places.iter().any(|place| Path::new(place).is_file()) {
            problems.push(format!("docs/sip.md: there is no file `{name}`"));
        }
    }
    for path in sources(Path::new("tests/it")) {
        let text = fs::read_to_string(&path).expect("source is UTF-8");
        let has_some = text.lines().any(|line| line.trim_start().starts_with("impl Odd for "));
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        // The plain one is no odd one.
        if has_some && name != "mod" && !named.contains(&*name) {
            problems.push(format!("{}: its far ends are not in the list in docs/sip.md", path.display()));
        }
    }
    report(problems);
}

/// A function that `clippy.toml` sends people to is there.
#[test]
fn the_cure_for_a_banned_call_exists() {
    let (rules, clock) = (read("clippy.toml"), read("src/clock.rs"));
    let named: Vec<_> = rules.split('`').filter_map(|word| word.strip_prefix("clock::")).collect();
    assert!(!named.is_empty());
    for name in named {
        let line = match name.split_once("::") {
            Some((_, method)) => format!("\n    pub fn {method}("),
            None => format!("\npub fn {name}("),
        };
        assert!(clock.contains(&line), "clippy.toml names clock::{name}, which is not there");
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).expect("a file of this crate")
}

#[test]
fn the_scanner_sees_imports() {
    assert_eq!(imported("use crate::net::udp::X;", "crate::"), ["net"]);
    assert_eq!(imported("use crate::{clock, net::udp};", "crate::"), ["clock", "net"]);
    assert_eq!(imported("let x = crate::clock::now();", "crate::"), ["clock"]);
    assert!(imported("mycrate::clock", "crate::").is_empty());
}
