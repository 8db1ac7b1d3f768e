//! A run that version 0.1.0 stored, rendered today: every figure is the one which that version wrote, but for
//! the differences that are named here.
//!
//! `golden/` was written by `loadtest report` of version 0.1.0 from the files beside it. The run had a poor
//! network, and an Asterisk that was killed on the way: packets are lost, late, doubled and reordered, calls
//! are lost and refused; of the gates some hold, one is broken and one is undecided.

use std::fs;
use std::path::Path;

use crate::harness::{Place, ends_with};
use serde_json::Value;

const RUN: &str = "tests/samples/version-0.1.0";

/// Delays of calls are exact today; version 0.1.0 read them off a histogram of three digits.
const EXACT_TODAY: [&str; 4] =
    ["metrics.srd.", "metrics.answer_delay.", "metrics.first_echo.", "metrics.sdd."];
const OF_THREE_DIGITS: f64 = 1e-3;

/// Places in `summary.json` that differ besides, each with its reason. `*` is any one key or index.
const OTHERS: [(&str, &str); 17] = [
    ("findings", "nothing was diagnosed"),
    ("environment.leaks.parts.*.tolerated", "nothing is tolerated"),
    ("verdict.distrust", "doubt was called so"),
    ("verdict.doubt", "doubt about the instrument is a part of its own"),
    ("verdict.gates.*.best", "no gate had an interval"),
    ("verdict.gates.*.worst", "likewise"),
    ("verdict.gates.*.value", "a gate had no numbers"),
    ("verdict.gates.*.value_is", "likewise"),
    ("verdict.gates.*.unit", "likewise"),
    ("verdict.gates.*.op", "likewise"),
    ("verdict.gates.*.bound", "likewise"),
    ("samples.turn", "nobody talked"),
    ("samples.bargein", "likewise"),
    ("samples.greeting", "likewise"),
    ("samples.signal_delay", "nobody played bursts"),
    ("samples.speech_quality", "nobody read aloud"),
    ("verdict.gates.7.actual", "the gate on srd.p99, exact today"),
];

/// Columns of `calls.csv` in which a percentile among the lost was left empty, and reads `lost` today.
const LOST_TODAY: [&str; 3] = ["rtt_p50_ms", "rtt_p95_ms", "rtt_p99_ms"];

/// Columns of `calls.csv` of what that version did not tell apart, or did not know: nought or nothing in its runs.
const COUNTED_TODAY: [&str; 25] = [
    "trying_ms",
    "holds",
    "on_hold_ms",
    "excused",
    "forged",
    "unbelieved",
    "late_echoes",
    "crossed",
    "crossed_call",
    "rtcp",
    "comfort_noise",
    "telephone_events",
    "stun",
    "empty_rtp",
    "own_audio",
    "other_datagrams",
    "other_payload",
    "other_payload_type",
    "media_address",
    "heard_from",
    "elsewhere",
    "refused",
    "srtp_received",
    "srtp_decrypted",
    "jitter_max_ms",
];

/// Those of `seconds.csv`.
const EXCUSED_TODAY: [&str; 2] = ["excused", "measured_excused"];

/// Words of `summary.md` and `junit.xml` then and today.
const WORDS: [(&str, &str); 5] = [
    ("5.210", "5.209"),
    ("2.845", "2.844"),
    ("64.160", "64.159"),
    ("98.435", "98.414"),
    ("the instrument can be trusted", "the run as a whole can be judged"),
];

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_run_of_version_0_1_0_renders_as_it_did() {
    let (place, golden) = (Place::new(), Path::new(RUN).join("golden"));
    let today = place.path("today");
    let mut command = place.program();
    command.args(["report", RUN, "--report", "csv,json,markdown,junit", "--quiet", "--out"]).arg(&today);
    ends_with(&mut command, 10);

    // These tables it wrote as it had stored them.
    for name in ["call_seconds.csv", "silences.csv"] {
        assert_eq!(text(today.join(name)), text(Path::new(RUN).join(name)), "{name}");
    }
    let seconds = without(&text(today.join("seconds.csv")), &EXCUSED_TODAY);
    assert_eq!(seconds, text(Path::new(RUN).join("seconds.csv")).trim_end());
    assert_eq!(text(today.join("percentiles.csv")), text(golden.join("percentiles.csv")));
    assert_calls(&text(Path::new(RUN).join("calls.csv")), &text(today.join("calls.csv")));

    let json = |path: &Path| serde_json::from_str(&text(path.join("summary.json"))).expect("JSON");
    let mut found = Vec::new();
    differences("", &json(&golden), &json(&today), &mut found);
    let others = found.iter().filter(|d| !is_more_exact(d) && !is_recorded_since(d));
    let others: Vec<_> = others.map(|d| d.at.as_str()).collect();
    for at in &others {
        assert!(OTHERS.iter().any(|(pattern, _)| matches(pattern, at)), "{at} differs: {found:#?}");
    }
    for (pattern, why) in OTHERS {
        assert!(others.iter().any(|at| matches(pattern, at)), "{pattern} ({why}) differs no more");
    }

    let [old, new] = [&golden, &today]
        .map(|folder| ["summary.md", "junit.xml"].map(|name| without_findings(&text(folder.join(name)))));
    let old = WORDS.iter().fold(old.join("\n"), |text, (then, now)| {
        assert!(text.contains(then), "{then} is not in the golden files");
        text.replace(then, now)
    });
    assert_eq!(old, new.join("\n"));
}

/// A table without columns that count nothing in it, and that are all there.
fn without(table: &str, columns: &[&str]) -> String {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let head = reader.headers().expect("a head").clone();
    let is_old: Vec<bool> = head.iter().map(|column| !columns.contains(&column)).collect();
    assert_eq!(is_old.iter().filter(|old| !**old).count(), columns.len(), "{head:?}");
    let rows = std::iter::once(head).chain(reader.into_records().map(|row| row.expect("a row")));
    let kept = |row: csv::StringRecord| {
        let cells = row.iter().zip(&is_old);
        let (old, new): (Vec<_>, Vec<_>) = cells.partition(|(_, is_old)| **is_old);
        assert!(new.iter().all(|(cell, _)| ["0", ""].contains(cell) || columns.contains(cell)), "{row:?}");
        old.into_iter().map(|(cell, _)| cell).collect::<Vec<_>>().join(",")
    };
    rows.map(kept).collect::<Vec<_>>().join("\n")
}

/// A report without the endings and findings that stand at its top today.
fn without_findings(text: &str) -> String {
    let mut text = text.to_string();
    while let Some((from, to)) = text.find("<system-out>").zip(text.find("</system-out>")) {
        let from = text[..from].trim_end().len();
        text.replace_range(from..to + "</system-out>".len(), "");
    }
    let (mut kept, mut is_inside) = (Vec::new(), false);
    for line in text.lines() {
        let begins = line.starts_with("**Calls:**")
            || line == "### Findings"
            || line.contains(". **") && line.ends_with("**  ");
        is_inside = begins || is_inside && (line.starts_with("   ") || line.is_empty());
        if !is_inside {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// Compares two tables of calls: alike but for percentiles among the lost.
fn assert_calls(then: &str, today: &str) {
    let today = &without(today, &COUNTED_TODAY);
    let head: Vec<_> = then.lines().next().expect("a head").split(',').collect();
    let cells =
        |table: &str| table.lines().flat_map(|row| row.split(',')).map(String::from).collect::<Vec<_>>();
    let (then, today) = (cells(then), cells(today));
    assert_eq!(then.len(), today.len());
    let mut lost = 0;
    for (n, (then, today)) in then.iter().zip(&today).enumerate().filter(|(_, (then, today))| then != today) {
        let column = head[n % head.len()];
        assert!(LOST_TODAY.contains(&column), "{column}: {then}, today {today}");
        assert_eq!((then.as_str(), today.as_str()), ("", "lost"), "{column}");
        lost += 1;
    }
    assert!(lost > 0, "percentiles among the lost are written as they were");
}

/// A place in a document at which two differ.
#[derive(Debug)]
struct Difference {
    at: String,
    then: Value,
    today: Value,
}

const ABSENT: &str = "absent";

fn differences(at: &str, then: &Value, today: &Value, found: &mut Vec<Difference>) {
    let below = |key: &str| if at.is_empty() { key.to_string() } else { format!("{at}.{key}") };
    match (then, today) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let missing = Value::String(ABSENT.into());
                let of = |map: &serde_json::Map<String, Value>| map.get(key).unwrap_or(&missing).clone();
                differences(&below(key), &of(old), &of(new), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (n, (old, new)) in old.iter().zip(new).enumerate() {
                differences(&below(&n.to_string()), old, new, found);
            }
        }
        // Milliseconds have their fraction today: 60 is 60.0.
        (Value::Number(old), Value::Number(new)) if old.as_f64() == new.as_f64() => {}
        _ if then != today => {
            found.push(Difference { at: at.into(), then: then.clone(), today: today.clone() })
        }
        _ => {}
    }
}

/// True for a delay of calls that is within the old histogram's error of today's.
fn is_more_exact(difference: &Difference) -> bool {
    let (then, today) = (difference.then.as_f64(), difference.today.as_f64());
    let is_near = then.zip(today).is_some_and(|(then, today)| (then / today - 1.0).abs() < OF_THREE_DIGITS);
    is_near && EXACT_TODAY.iter().any(|group| difference.at.starts_with(group))
}

/// True for a circumstance or a figure that version 0.1.0 did not have.
fn is_recorded_since(difference: &Difference) -> bool {
    let is_new = ["environment.", "metrics."].iter().any(|part| difference.at.starts_with(part));
    is_new && difference.then == ABSENT
}

fn matches(pattern: &str, at: &str) -> bool {
    let (pattern, at): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), at.split('.').collect());
    pattern.len() == at.len() && pattern.iter().zip(at).all(|(part, key)| *part == "*" || *part == key)
}
