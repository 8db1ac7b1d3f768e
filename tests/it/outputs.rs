//! Files for machines: one Summary in every file, and the published schema, through real runs.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use crate::harness::{Place, ends_with, rows};
use loadtest::metrics::{Definition, catalogue};
use loadtest::values::{Unit, Value as Figure, show};
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use serde_json::Value;

/// Gates of every outcome: two that hold, one that is broken, one that rests on too few samples.
const GATES: &str = r#"gates.require=["calls.answered == 100%", "every call: packets.sent > 0", "rtt.p50 > 60s", "rtt.p99.9 < 60s"]"#;

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[track_caller]
fn assert_valid(summary: &Value) {
    let schema = serde_json::from_str(&text(Path::new("docs/summary.schema.json"))).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let errors: Vec<_> =
        validator.iter_errors(summary).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&text(path)).expect("JSON")
}

#[test]
fn every_file_tells_the_same_figures() {
    let place = Place::new();
    let output = ends_with(&mut place.run("smoke", &["load.duration=3s", GATES]), 10);
    let summary = place.summary();
    assert_valid(&summary);
    let figures: Vec<_> = catalogue::all().map(|d| (d, place.metric(d.name))).collect();
    page(&place, &figures);
    gauges(&place, &summary, &figures);
    tables(&place);
    markdown(&text(&place.out().join("summary.md")), &place);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    gates(&place, &summary, &said);
}

/// `report.html` names the metric of each figure and has its whole value.
fn page(place: &Place, figures: &[(&Definition, Value)]) {
    let page = text(&place.out().join("report.html"));
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split_once(&format!("{name}=\""))?.1;
        rest.split_once('"').map(|(value, _)| value.to_string())
    };
    let tags = page.split("<data ").skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag));
    let shown: Vec<_> =
        tags.filter_map(|tag| attribute(tag, "data-metric").zip(attribute(tag, "value"))).collect();
    assert!(shown.len() > 50, "{} figures on the page", shown.len());
    for (name, value) in shown {
        let (_, figure) = figures.iter().find(|(d, _)| d.name == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(value.parse::<f64>().ok(), figure.as_f64(), "{name}");
    }
}

/// `metrics.prom` has every metric that was measured, in base units, and no other.
fn gauges(place: &Place, summary: &Value, figures: &[(&Definition, Value)]) {
    let samples = open_metrics(&text(&place.out().join("metrics.prom")));
    assert!(samples.iter().all(|s| s.labels["scenario"] == "smoke"));
    let of = |name: &str| samples.iter().filter(|s| s.name == name).collect::<Vec<_>>();
    let mut families: Vec<_> = samples.iter().map(|s| s.name.as_str()).collect();
    families.dedup();
    let measured = figures.iter().filter(|(_, figure)| !figure.is_null()).count();
    let beside = [
        "run_info",
        "elapsed_seconds",
        "verdict",
        "gate",
        "in_doubt",
        "quiet_seconds",
        "samples",
        "too_few_samples",
    ];
    assert_eq!(families.len(), measured + beside.len(), "{families:?}");
    for (definition, figure) in figures {
        let (name, factor) = gauge(definition);
        let found: Vec<_> = of(&name).iter().map(|s| s.value).collect();
        let expected: Vec<_> = figure.as_f64().map(|n| n * factor).into_iter().collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{name}: {found}, not {expected}");
        }
    }
    let outcome = |samples: &[&Sample], gate: Option<&str>| {
        let mut ones =
            samples.iter().filter(|s| s.value == 1.0 && s.labels.get("gate").map(String::as_str) == gate);
        (ones.next().map(|s| s.labels["outcome"].clone()), ones.count())
    };
    assert_eq!(outcome(&of("loadtest_verdict"), None), (Some("fail".into()), 0));
    for gate in summary["verdict"]["gates"].as_array().expect("gates") {
        let (expression, expected) = (gate["expression"].as_str(), gate["outcome"].as_str());
        assert_eq!(outcome(&of("loadtest_gate"), expression), (expected.map(String::from), 0), "{gate}");
    }
    for sample in of("loadtest_samples") {
        assert_eq!(summary["samples"][&sample.labels["group"]].as_f64(), Some(sample.value));
    }
    let few: Vec<_> = of("loadtest_too_few_samples").iter().map(|s| s.labels["metric"].clone()).collect();
    assert_eq!(summary["too_few"], serde_json::json!(few));
}

/// A metric's name in OpenMetrics, and the factor between its units.
fn gauge(definition: &Definition) -> (String, f64) {
    // A total would be a counter's name.
    let name = format!("loadtest_{}", definition.name.trim_end_matches(".total").replace('.', "_"));
    let ratio = || name.replace("_ratio", "") + "_ratio";
    match definition.unit {
        Unit::Ms => (name + "_seconds", 0.001),
        Unit::Ratio => (ratio(), 1.0),
        Unit::Count => (name.replace("_count", ""), 1.0),
        Unit::Cores => (name + "_cores", 1.0),
        Unit::Mib => (name + "_bytes", 1_048_576.0),
        Unit::MibPerMinute => (name + "_bytes_per_minute", 1_048_576.0),
        Unit::MsPerMinute => (name + "_seconds_per_minute", 0.001),
        Unit::Score | Unit::Mean => (name, 1.0),
    }
}

/// The rows of the tables add up to the figures.
fn tables(place: &Place) {
    let of = |name: &str| rows(&place.out().join(name));
    let (calls, seconds, percentiles) = (of("calls.csv"), of("seconds.csv"), of("percentiles.csv"));
    let numbers = |rows: &[HashMap<String, String>], column: &str| -> Vec<f64> {
        rows.iter().filter_map(|row| row[column].parse().ok()).collect()
    };
    let sum = |rows: &[HashMap<String, String>], column: &str| numbers(rows, column).iter().sum::<f64>();
    assert_eq!(place.count("calls.attempts"), calls.len() as u64);
    let hold: Vec<_> = seconds.iter().filter(|s| s["phase"] == "hold").cloned().collect();
    assert!(hold.len() >= 3, "{seconds:?}");
    for (metric, column) in [
        ("packets.sent", "sent"),
        ("packets.received", "received"),
        ("loss.count", "lost"),
        ("late.count", "late"),
        ("duplicate.count", "duplicates"),
        ("reordered.count", "reordered"),
        ("corrupted.count", "corrupted"),
        ("strangers.count", "strangers"),
        ("packets.clipped", "total_clipped"),
        ("sip.retransmissions", "retransmissions"),
    ] {
        assert_eq!(place.metric(metric).as_f64(), Some(sum(&calls, column)), "{metric}");
    }
    for (metric, column) in [
        ("srd.max", "srd_ms"),
        ("answer_delay.max", "answer_delay_ms"),
        ("first_echo.max", "first_echo_ms"),
        ("sdd.max", "sdd_ms"),
        ("jitter.max", "jitter_ms"),
    ] {
        let largest = numbers(&calls, column).into_iter().reduce(f64::max).expect("a call has it");
        let figure = place.metric(metric).as_f64().expect("measured");
        // To the nanosecond: no histogram lies between a call's own figures and the run's.
        assert!((figure - largest).abs() < 1e-6, "{metric}: {figure}, not {largest}");
    }
    for (metric, column) in [
        ("calls.attempts", "attempts"),
        ("calls.answered_count", "answered"),
        ("calls.failed_count", "failed"),
    ] {
        assert_eq!(place.metric(metric).as_f64(), Some(sum(&seconds, column)), "{metric}");
    }
    let mut compared = 0;
    for group in ["rtt", "rtt_intended", "control", "send_lateness"] {
        for (key, rank) in
            [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)]
        {
            let row = percentiles.iter().find(|row| row["percentile"].parse() == Ok(rank));
            let Some(row) = row else { continue };
            let metric = place.metric(&format!("{group}.{key}"));
            assert_eq!(metric.as_f64(), row[&format!("{group}_ms")].parse().ok(), "{group}.{key}");
            compared += 1;
        }
    }
    assert!(compared >= 16, "{compared} percentiles are rows of percentiles.csv");
}

/// `summary.md` has the headline, rounded.
fn markdown(text: &str, place: &Place) {
    let cells = |what: &str| -> Vec<String> {
        let row = text.lines().find(|line| line.starts_with(&format!("| {what} |")));
        let row = row.unwrap_or_else(|| panic!("{what} is not in\n{text}"));
        row.split('|').skip(2).map(|cell| cell.replace("\\*", "").trim().to_string()).collect()
    };
    for (what, group) in [
        ("round trip", "rtt"),
        ("control stream, past Asterisk", "control"),
        ("service time", "service_time"),
        ("INVITE to 200", "answer_delay"),
        ("200 to first echo", "first_echo"),
        ("the driver's own lateness", "send_lateness"),
    ] {
        for (cell, key) in cells(what).iter().zip(["p50", "p95", "p99", "max"]) {
            let figure = place.metric(&format!("{group}.{key}"));
            let expected = figure.as_f64().map_or("lost".to_string(), |ms| format!("{ms:.3}"));
            assert_eq!(*cell, expected, "{group}.{key}");
        }
    }
    for (what, metric) in [
        ("calls", "calls.attempts"),
        ("packets", "packets.sent"),
        ("lost", "loss.ratio"),
        ("late", "late.ratio"),
    ] {
        let unit = catalogue::all().find(|d| d.name == metric).expect("a metric").unit;
        let shown = show(Figure::Number(place.metric(metric).as_f64().expect("a number")), unit);
        assert!(text.contains(&format!("{what} **{shown}**")), "{what} {shown} is not in\n{text}");
    }
}

/// JUnit, Markdown, HTML and the terminal have every gate with its actual value.
fn gates(place: &Place, summary: &Value, said: &str) {
    let junit = Report::deserialize_from_str(&text(&place.out().join("junit.xml"))).expect("JUnit");
    let (markdown, page) = (text(&place.out().join("summary.md")), text(&place.out().join("report.html")));
    let cases = &junit.test_suites[0].test_cases;
    let gates = summary["verdict"]["gates"].as_array().expect("gates");
    let outcomes: Vec<_> = gates.iter().map(|gate| gate["outcome"].as_str().expect("a word")).collect();
    assert_eq!(outcomes, ["pass", "pass", "fail", "inconclusive"], "{gates:?}");
    assert_eq!(cases.len(), gates.len() + 1, "a case per gate, and one for the run as a whole");
    for (gate, case) in gates.iter().zip(cases) {
        let of = |key: &str| gate[key].as_str().expect("text");
        assert_eq!(case.name.as_str(), of("expression"));
        match (of("outcome"), &case.status) {
            ("pass", TestCaseStatus::Success { .. }) => {}
            (outcome, TestCaseStatus::NonSuccess { kind, message, .. }) => {
                let expected =
                    if outcome == "fail" { NonSuccessKind::Failure } else { NonSuccessKind::Error };
                assert_eq!(*kind, expected, "{gate}");
                assert!(message.as_ref().is_some_and(|m| m.as_str().contains(of("actual"))), "{message:?}");
            }
            (outcome, status) => panic!("{outcome}: {status:?}"),
        }
        for (file, text) in [("summary.md", markdown.as_str()), ("report.html", &page), ("terminal", said)] {
            assert!(text.contains(of("actual")), "{} is not in {file}", of("actual"));
        }
    }
}

#[test]
fn summaries_of_every_origin_follow_the_published_schema() {
    assert_valid(&json(Path::new("reports/example/summary.json")));
    let place = Place::new();
    for (n, run) in ["tests/samples/format1", "reports/example"].into_iter().enumerate() {
        let again = place.path(&format!("again{n}"));
        let mut command = place.program();
        command.args(["report", run, "--report", "json,openmetrics", "--quiet", "--out"]).arg(&again);
        ends_with(&mut command, 0);
        assert_valid(&json(&again.join("summary.json")));
        assert!(!open_metrics(&text(&again.join("metrics.prom"))).is_empty());
    }
    // Nobody answers: of most metrics there is no data.
    let nothing = ["sip.to=busy", "service.mode=none", "load.duration=1s", GATES];
    ends_with(&mut place.run("smoke", &nothing), 10);
    let summary = place.summary();
    assert!(summary["metrics"]["rtt"]["p50"].is_null());
    assert_valid(&summary);
    let samples = open_metrics(&text(&place.out().join("metrics.prom")));
    assert!(
        samples.iter().all(|s| !s.name.starts_with("loadtest_rtt_p50")),
        "what was not measured is absent"
    );
}

/// A sample of OpenMetrics text.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads OpenMetrics text as strictly as the standard has it, as far as gauges go.
fn open_metrics(text: &str) -> Vec<Sample> {
    let body = text.strip_suffix("# EOF\n").expect("it ends in # EOF");
    let mut samples: Vec<Sample> = Vec::new();
    let (mut family, mut seen) = (String::new(), Vec::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("a name").into();
            assert!(!seen.contains(&family), "{family} comes twice");
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
            assert!(family.chars().all(legal) && !family.ends_with("_count"), "{family}");
            seen.push(family.clone());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest, format!("{family} gauge"));
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect("name and unit");
            assert!(name == family && family.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("series and value");
            let (name, labels) = series.split_once('{').expect("labels");
            assert_eq!(name, family, "a sample outside its family");
            let labels = labels_of(labels.strip_suffix('}').expect("labels end"));
            assert!(samples.iter().all(|s| s.name != name || s.labels != labels), "{series} comes twice");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            samples.push(Sample { name: name.into(), labels, value });
        }
    }
    samples
}

fn labels_of(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a label");
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in rest.char_indices() {
            match (escaped, c) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (was_escaped, c) => {
                    value.push(if was_escaped && c == 'n' { '\n' } else { c });
                    escaped = false;
                }
            }
        }
        text = &rest[end.expect("a label's value ends") + 1..];
        text = text.strip_prefix(',').unwrap_or(text);
        assert!(labels.insert(name.to_string(), value).is_none(), "{name} comes twice");
    }
    labels
}
