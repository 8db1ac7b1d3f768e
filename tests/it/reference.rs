//! `docs/reference.md` has every way in which a call ends, every column of the larger tables and every metric.

use std::collections::BTreeSet;
use std::fs;

use loadtest::metrics::catalogue;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The word that a variant is in files.
fn snake(variant: &str) -> String {
    let mut word = String::new();
    for c in variant.chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

fn endings() -> Vec<String> {
    let source = read("src/record/call.rs");
    let body = source.split_once("pub enum Ending {").and_then(|(_, rest)| rest.split_once("\n}"));
    let (body, _) = body.expect("the endings");
    let variants = body.lines().map(str::trim).filter(|line| line.ends_with(',') && !line.starts_with("//"));
    variants.map(|line| snake(line.trim_end_matches(','))).collect()
}

/// The columns of a table, as a snapshot of it has them.
fn columns(table: &str, first: &str) -> Vec<String> {
    let snapshot = read(&format!("src/report/snapshots/loadtest__report__csv__tests__{table}.snap"));
    let head = snapshot.lines().find(|line| line.starts_with(first)).expect("a header").to_string();
    head.split(',').map(String::from).collect()
}

#[test]
fn every_ending_column_and_metric_has_its_place() {
    let page = read("docs/reference.md");
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let words = [endings(), columns("calls.csv", "call,line,"), columns("seconds.csv", "second,phase,")];
    assert!(words.iter().all(|words| words.len() > 10), "{words:?}");
    let mut missing: Vec<String> =
        words.into_iter().flatten().filter(|word| !named.contains(word.as_str())).collect();
    for definition in catalogue::all() {
        // Of a distribution all statistics stand in one row.
        let key = definition.statistic().map(|statistic| statistic.key());
        let family = key.and_then(|key| definition.name.strip_suffix(key));
        let family = family.map(|family| format!("{family}*"));
        if !named.contains(definition.name) && !family.is_some_and(|family| named.contains(family.as_str())) {
            missing.push(definition.name.into());
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "not in docs/reference.md");
}
