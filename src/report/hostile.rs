//! Stored runs whose numbers are not what a run has written: each is refused by its file, or does no harm to
//! any report.

use super::{Format, render, terminal};
use crate::compare::digest::RunDigest;
use crate::gate::{Gate, Limits, judge};
use crate::metrics::summarize;
use crate::record::stored::Stored;
use crate::record::{Run, fixture};

/// The files of a run, as they are stored.
fn files(run: &Run) -> [(&'static str, Vec<u8>); 4] {
    fn csv<T: serde::Serialize>(rows: &[T]) -> Vec<u8> {
        let mut table = csv::Writer::from_writer(Vec::new());
        rows.iter().for_each(|row| table.serialize(row).unwrap());
        table.into_inner().unwrap()
    }
    [
        ("environment.json", serde_json::to_vec_pretty(&run.environment).unwrap()),
        ("calls.csv", csv(&run.calls)),
        ("seconds.csv", csv(&run.seconds)),
        ("call_seconds.csv", csv(&run.call_seconds)),
    ]
}

fn stored([environment, calls, seconds, call_seconds]: [Vec<u8>; 4]) -> Stored {
    Stored { environment, calls, seconds, call_seconds, ..Default::default() }
}

fn short() -> Run {
    let mut run = fixture::faulted();
    run.calls.truncate(3);
    run.seconds.truncate(3);
    run.call_seconds.truncate(3);
    run
}

/// Numbers that nobody counts, in each column of each table.
#[test]
fn a_number_that_no_run_can_reach_is_refused_or_does_no_harm() {
    let files = files(&short());
    let texts = files.each_ref().map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap());
    let huge = ["9223372036854775808", "18446744073709551615", "-9223372036854775808", "4294967295"];
    let odd = ["68719476736", "NaN", "inf", "-inf", "1e308", "-1"];
    let mut refused = 0;
    for (n, (name, _)) in files.iter().enumerate().skip(1) {
        let mut lines: Vec<_> = texts[n].lines().map(String::from).collect();
        let (heads, row) = (lines[0].clone(), lines[2].clone());
        for (column, head) in heads.split(',').enumerate() {
            for number in huge.into_iter().chain(odd) {
                let mut cells: Vec<_> = row.split(',').collect();
                cells[column] = number;
                lines[2] = cells.join(",");
                let mut bytes = files.each_ref().map(|(_, bytes)| bytes.clone());
                bytes[n] = lines.join("\n").into_bytes();
                match stored(bytes).read() {
                    Err(said) => {
                        assert!(said.contains(name) && said.contains("line"), "{head} = {number}: {said}");
                        refused += 1;
                    }
                    Ok(run) => {
                        let finite = !["NaN", "inf", "-inf", "1e308"].contains(&number);
                        assert!(finite || ["call_id", "reason"].contains(&head), "{name}: {head} = {number}");
                        shown(run);
                    }
                }
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

/// The same in `environment.json`.
#[test]
fn a_circumstance_that_no_run_can_have_is_refused_or_does_no_harm() {
    let files = files(&short());
    let text = String::from_utf8(files[0].1.clone()).unwrap();
    let is_number = |line: &&str| line.split(": ").nth(1).is_some_and(|n| n.starts_with(char::is_numeric));
    let mut accepted = Vec::new();
    for line in text.lines().filter(is_number) {
        let (key, _) = line.split_once(": ").unwrap();
        for number in ["18446744073709551615", "-9223372036854775808", "1e300", "4294967295"] {
            let mut bytes = files.each_ref().map(|(_, bytes)| bytes.clone());
            let comma = if line.ends_with(',') { "," } else { "" };
            bytes[0] = text.replacen(line, &format!("{key}: {number}{comma}"), 1).into_bytes();
            match stored(bytes).read() {
                Err(said) => {
                    assert!(
                        said.contains("environment.json is damaged") || said.contains("format"),
                        "{said}"
                    );
                }
                Ok(run) => {
                    accepted.push(format!("{} = {number}", key.trim()));
                    shown(run);
                }
            }
        }
    }
    assert!(accepted.contains(&"\"clock_step_ns\" = -9223372036854775808".into()), "{accepted:?}");
    assert!(!accepted.iter().any(|a| a.ends_with("615") && !a.contains("_ns")), "{accepted:?}");
}

/// All that is made of a run that was read.
fn shown(run: Run) {
    let summary = summarize(run);
    let gate = Gate::parse("rtt.p99 < 20ms").unwrap();
    let verdict = judge(&summary, &[gate], &Limits::default());
    for format in [Format::Html, Format::Csv, Format::Json, Format::Markdown, Format::OpenMetrics] {
        render(format, &summary, &verdict, "").unwrap();
    }
    terminal::summary(&summary, &verdict, terminal::Look { colour: true, tables: true, place: "here" });
    RunDigest::of(String::new(), &summary, false);
}

#[test]
fn a_measured_window_without_its_tables_is_damage() {
    let run = Run { intervals: Default::default(), ..fixture::typical() };
    let whole = files(&run).map(|(_, bytes)| bytes);
    assert!(stored(whole.clone()).read().is_ok());
    for (n, name) in [(1, "calls.csv"), (2, "seconds.csv")] {
        let mut bytes = whole.clone();
        bytes[n].clear();
        let said = stored(bytes).read().unwrap_err();
        assert!(said.starts_with(name) && said.contains("is empty"), "{said}");
    }
}
