//! Reports of made-up searches.

use resvg::usvg::roxmltree::Document;

use super::*;
use crate::report::terminal::Look;
use crate::values::{Value, wrapped};

fn file(format: Format, report: &CapacityReport) -> String {
    String::from_utf8(render(format, report).unwrap().remove(0).bytes).unwrap()
}

fn said(report: &CapacityReport) -> String {
    text(report, Look { place: "/tmp/reports/50x5m-search/report.html", ..Look::default() })
}

#[test]
fn the_text_looks_like_this() {
    insta::assert_snapshot!("typical.txt", said(&fixture::typical()));
    insta::assert_snapshot!("required.txt", said(&fixture::required()));
    insta::assert_snapshot!("floor.txt", said(&fixture::floor()));
    insta::assert_snapshot!("out_of_time.txt", said(&fixture::out_of_time()));
    insta::assert_snapshot!("disturbed.txt", said(&fixture::disturbed()));
    insta::assert_snapshot!("two_goals.txt", said(&fixture::two_goals()));
    insta::assert_snapshot!("rate.txt", said(&fixture::rate()));
    insta::assert_snapshot!("fails_at_once.txt", said(&fixture::fails_at_once()));
}

#[test]
fn files_look_like_this() {
    let report = fixture::two_goals();
    insta::assert_snapshot!("capacity.csv", file(Format::Csv, &report));
    insta::assert_snapshot!("summary.md", file(Format::Markdown, &report));
    insta::assert_snapshot!("junit.xml", file(Format::Junit, &fixture::required()));
    let mut short = fixture::typical();
    short.trials.truncate(2);
    insta::assert_snapshot!("capacity.json", file(Format::Json, &short));
}

/// Also that the same input gives the same bytes.
#[test]
fn odd_searches_render_in_every_format_and_the_same_from_their_own_documents() {
    for (n, report) in fixture::all().iter().enumerate() {
        let read = read(&file(Format::Json, report)).unwrap();
        for format in Format::ALL.iter().copied().filter(|format| *format != Format::Png) {
            let files = render(format, report).unwrap();
            assert_eq!(files, render(format, &read).unwrap(), "search {n}");
            for file in files {
                let text = String::from_utf8(file.bytes).unwrap();
                assert!(!text.contains("NaN"), "search {n}: NaN in {}", file.path);
            }
        }
        let text = said(report);
        assert!(text == said(&read) && !text.contains("NaN"), "search {n}");
    }
}

#[test]
fn the_answer_comes_last_and_lines_are_short() {
    let report = fixture::typical();
    let text = said(&report);
    let sentence = wrapped(&report.goals[0].sentence, 74);
    let end: Vec<_> = text.lines().map(str::trim).skip(text.lines().count() - sentence.len()).collect();
    assert_eq!(end, sentence, "{text}");
    for report in fixture::all() {
        for line in said(&report).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn colours_are_all_that_colour_changes() {
    let report = fixture::two_goals();
    let look = Look { place: "here", ..Look::default() };
    let coloured = text(&report, Look { colour: true, ..look });
    let mut parts = coloured.split('\x1b');
    let first = parts.next().unwrap().to_string();
    let plain = parts.fold(first, |plain, part| plain + part.split_once('m').unwrap().1);
    assert_eq!(plain, text(&report, look));
}

#[test]
fn a_table_has_the_columns_of_the_document() {
    let csv = file(Format::Csv, &fixture::two_goals());
    let mut rows = ::csv::Reader::from_reader(csv.as_bytes());
    let heads = rows.headers().unwrap().clone();
    let document: serde_json::Value =
        serde_json::from_str(&file(Format::Json, &fixture::two_goals())).unwrap();
    let trial = &document["trials"][0];
    for head in &heads {
        let known = match head.split_once('.') {
            Some((goal, key)) => {
                ["good", "tolerable"].contains(&goal) && trial["outcomes"][0].get(key).is_some()
            }
            None => trial.get(head).or(trial["figures"].get(head)).is_some(),
        };
        assert!(known, "{head}");
    }
    let trials = document["trials"].as_array().unwrap();
    assert_eq!(rows.records().map(Result::unwrap).count(), trials.len());
    // All but the outcomes and the figures themselves.
    assert_eq!(heads.len(), trial.as_object().unwrap().len() - 2 + 2 * 6 + FIGURES.len());
}

#[test]
fn what_others_wrote_stays_text() {
    let report = fixture::hostile();
    let page = file(Format::Html, &report);
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (2, 2));
    assert!(!page.contains("<script>alert"));
    let markdown = file(Format::Markdown, &report);
    assert!(!markdown.contains("<script"), "{markdown}");
    Document::parse(&file(Format::Junit, &report)).unwrap();
}

#[test]
fn no_hidden_character_gets_into_a_report() {
    let hidden = "\x1b[2J\x07\r\u{9b}31m\u{202e}\u{200b}\u{feff}\u{2028}";
    let document = file(Format::Json, &fixture::hostile());
    let script = serde_json::to_string(crate::record::fixture::SCRIPT).unwrap();
    let forged = document
        .replace(&script[1..script.len() - 1], serde_json::to_string(hidden).unwrap().trim_matches('"'));
    let report = read(&forged).unwrap();
    assert_eq!(report.name, hidden);
    let is_hidden = |c: char| hidden.contains(c) && !c.is_ascii_alphanumeric() && !"[]".contains(c);
    for format in Format::ALL.iter().copied().filter(|format| *format != Format::Png) {
        for file in render(format, &report).unwrap() {
            let text = String::from_utf8(file.bytes).unwrap();
            assert!(!text.contains(is_hidden), "{}", file.path);
        }
    }
    assert!(!said(&report).contains(is_hidden));
}

#[test]
fn a_page_has_no_columns_and_charts_of_media_that_its_runs_lack() {
    let (echo, talk) = (fixture::typical(), fixture::conversation());
    let [of_echo, of_talk] = [&echo, &talk].map(|report| file(Format::Html, report));
    for (words, in_echo, in_talk) in [
        ("<th scope=\"col\" class=\"n\">RTT p99, ms</th>", true, false),
        ("<th scope=\"col\" class=\"n\">RTT p99 then</th>", true, false),
        ("<th scope=\"col\" class=\"n\">lost</th>", true, false),
        ("<section id=\"rtt\"", true, false),
        ("<th scope=\"col\" class=\"n\">response p95, ms</th>", false, true),
        ("<th scope=\"col\" class=\"n\">response p95 then</th>", false, true),
        ("<section id=\"response\"", false, true),
        ("<th scope=\"col\" class=\"n\">SRD p95, ms</th>", true, true),
    ] {
        assert_eq!((of_echo.contains(words), of_talk.contains(words)), (in_echo, in_talk), "{words}");
    }
}

#[test]
fn the_page_fetches_nothing_and_its_links_lead_somewhere() {
    for report in [fixture::typical(), fixture::two_goals(), fixture::conversation()] {
        let page = file(Format::Html, &report);
        let (before, rest) = page.split_once("<script>").unwrap();
        for banned in ["http://", "https://", "src=", "url(", "@import", "<link", "<iframe", "onload"] {
            assert!(!before.contains(banned), "{banned}");
        }
        assert!(rest.contains("</script>"));
        let ids: Vec<_> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let unique: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        let of_trials = report.trials.iter().map(|trial| &trial.folder);
        let folders: Vec<_> = of_trials.chain(report.after.iter().map(|after| &after.folder)).collect();
        for target in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let leads = match target.strip_prefix('#') {
                Some(id) => ids.contains(&id),
                None => folders.iter().any(|folder| target == format!("{folder}/report.html")),
            };
            assert!(leads, "{target}");
        }
    }
}

#[test]
fn a_search_without_requirements_has_no_junit() {
    assert!(render(Format::Junit, &fixture::typical()).unwrap().is_empty());
    let suite = file(Format::Junit, &fixture::required());
    assert_eq!(suite.matches("<testcase").count(), 3);
    assert_eq!((suite.matches("<failure").count(), suite.matches("<error").count()), (1, 1), "{suite}");
}

#[test]
fn numbers_that_are_next_to_nothing_and_conditions_without_end_are_rendered() {
    let mut report = fixture::required();
    for trial in &mut report.trials {
        (trial.figures.asterisk_cores, trial.figures.machine_cores) = (Value::Number(5e-324), 0);
        (trial.figures.service_cores, trial.figures.driver_cores) = (Value::NoData, Value::NoData);
        trial.figures.loss_ratio = Value::Number(1e-323);
    }
    report.requirements[0].expression = "x".repeat(4000);
    for format in Format::ALL {
        assert!(render(*format, &report).is_ok(), "{format:?}");
    }
    let look = Look { place: "", colour: false, tables: false };
    assert!(text(&report, look).len() < 100_000);
    let json = |report: &CapacityReport| serde_json::to_string(report).unwrap();
    assert_eq!(read(&json(&report)).unwrap().requirements, report.requirements);
    report.goals[0].sentence = "a ".repeat(3000);
    assert!(read(&json(&report)).unwrap_err().to_string().contains("a text in it is too long"));
}
