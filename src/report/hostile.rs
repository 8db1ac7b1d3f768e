//! Stored runs whose numbers are not what a run has written: each is refused by its file, or does no harm to
//! any report.

use super::{Format, render, terminal};
use crate::compare::digest::RunDigest;
use crate::gate::{Gate, Limits, judge};
use crate::metrics::summarize;
use crate::record::stored::Stored;
use crate::record::{Ending, LogLine, Run, Scope, Series, fixture};

/// The files of a run, as they are stored.
fn files(Stored { environment, calls, seconds, call_seconds, .. }: &Stored) -> [(&'static str, Vec<u8>); 4] {
    let files = [
        ("environment.json", environment),
        ("calls.csv", calls),
        ("seconds.csv", seconds),
        ("call_seconds.csv", call_seconds),
    ];
    files.map(|(name, bytes)| (name, bytes.clone()))
}

/// A run with other files, whatever the manifest would find: a forger makes a new one.
fn stored(run: &Stored, [environment, calls, seconds, call_seconds]: [Vec<u8>; 4]) -> Stored {
    Stored { environment, calls, seconds, call_seconds, ..run.clone() }.sealed()
}

fn short() -> Stored {
    let mut run = fixture::faulted();
    // Of one that was cut short the files need not agree to the packet.
    run.environment.interrupted = true;
    run.calls.truncate(3);
    run.seconds.truncate(3);
    run.call_seconds.truncate(3);
    let whole = std::mem::take(&mut run.intervals);
    let mut measured =
        whole.iter().filter(|(_, series, scope, _)| (*series, *scope) == (Series::Rtt, Scope::Measured));
    let (second, series, scope, latencies) = measured.next().unwrap();
    run.intervals.add(second, series, scope, &latencies);
    Stored::of(&run)
}

/// Numbers that nobody counts, in each column of each table.
#[test]
fn a_number_that_no_run_can_reach_is_refused_or_does_no_harm() {
    let run = short();
    let files = files(&run);
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
                match stored(&run, bytes).read() {
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
    let run = short();
    let files = files(&run);
    let text = String::from_utf8(files[0].1.clone()).unwrap();
    let is_number = |line: &&str| line.split(": ").nth(1).is_some_and(|n| n.starts_with(char::is_numeric));
    let mut accepted = Vec::new();
    for line in text.lines().filter(is_number) {
        let (key, _) = line.split_once(": ").unwrap();
        for number in ["18446744073709551615", "-9223372036854775808", "1e300", "4294967295"] {
            let mut bytes = files.each_ref().map(|(_, bytes)| bytes.clone());
            let comma = if line.ends_with(',') { "," } else { "" };
            bytes[0] = text.replacen(line, &format!("{key}: {number}{comma}"), 1).into_bytes();
            match stored(&run, bytes).read() {
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
    let run = Stored::of(&fixture::typical());
    let whole = files(&run).map(|(_, bytes)| bytes);
    assert!(stored(&run, whole.clone()).read().is_ok());
    for (n, name) in [(1, "calls.csv"), (2, "seconds.csv")] {
        let mut bytes = whole.clone();
        let head = bytes[n].iter().position(|byte| *byte == b'\n').unwrap();
        bytes[n].truncate(head + 1);
        let said = stored(&run, bytes).read().unwrap_err();
        assert!(said.starts_with(name) && said.contains("is empty"), "{said}");
    }
}

/// Characters that move a cursor, turn the direction of reading, or hide.
const HIDDEN: &str =
    "\x1b[2J\x07\r\x7f\u{9b}31m\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff}\u{2028}\u{e0041}";

/// Every word of a run is anybody's.
#[test]
fn no_hidden_character_gets_into_a_report() {
    let mut run = fixture::hostile();
    let environment = &mut run.environment;
    let observed = &mut environment.observed;
    let words = [&mut observed.setup.target, &mut observed.setup.to, &mut observed.setup.user];
    let words = words.into_iter().chain([&mut observed.first_call.realm, &mut observed.setup.app]);
    words.for_each(|word| *word = HIDDEN.into());
    let line = LogLine { text: format!("Stasis app not registered {HIDDEN}"), count: 3 };
    (observed.asterisk_log, observed.service_log) = (vec![line.clone()], vec![line.clone()]);
    observed.unreadable = vec![line];
    let words = [&mut environment.name, &mut environment.host, &mut environment.cpu, &mut environment.kernel];
    let words = words.into_iter().chain([&mut environment.asterisk, &mut environment.service]);
    let words = words.chain([&mut environment.version, &mut environment.codec, &mut environment.started_at]);
    let words = words.chain([&mut environment.srtp, &mut environment.transport]);
    words.for_each(|word| *word = HIDDEN.into());
    let scheduling = [
        &mut environment.scheduling,
        &mut environment.service_scheduling,
        &mut environment.asterisk_scheduling,
    ];
    scheduling.into_iter().for_each(|words| *words = HIDDEN.into());
    (environment.remarks, environment.command) = (vec![HIDDEN.into()], vec![HIDDEN.into()]);
    environment.leaks.parts.iter_mut().for_each(|part| part.what = HIDDEN.into());
    for call in &mut run.calls {
        (call.call_id, call.reason, call.ending) = (HIDDEN.into(), HIDDEN.into(), Ending::Rejected);
    }
    for broken in ["", HIDDEN] {
        run.environment.broken = broken.into();
        let summary = summarize(run.clone());
        let verdict = judge(&summary, &[Gate::parse("rtt.p99 < 20ms").unwrap()], &Limits::default());
        let texts = Format::ALL.iter().filter(|format| **format != Format::Png).flat_map(|format| {
            let files = render(*format, &summary, &verdict, HIDDEN).unwrap();
            files.into_iter().map(|file| (file.path, String::from_utf8(file.bytes).unwrap()))
        });
        let look = terminal::Look { colour: false, tables: true, place: "here" };
        for (path, text) in texts.chain([("the terminal", terminal::summary(&summary, &verdict, look))]) {
            let hidden = HIDDEN.chars().filter(|c| !c.is_ascii_graphic());
            let left: Vec<_> = hidden.filter(|c| text.contains(*c)).collect();
            assert!(left.is_empty(), "{path}: {left:?}");
        }
    }
}
