//! `report.html`: the whole run on one page that fetches nothing.

mod calls;
pub(super) mod charts;
mod excerpts;
mod figures;
mod ladder;
mod passages;
mod service;
mod stories;
mod story;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Failure, headline, json, lanes, shards, stages, targets, words};
use crate::diagnosis::{Finding, findings};
use crate::gate::{Extent, Outcome, Verdict};
use crate::metrics::{Group, Metric, Statistic, Summary, catalogue};
use crate::record::{Environment, PLAYOUT_DEPTHS_MS, TurnKind};
use crate::values::Value;
use calls::CallRow;
use charts::PageCharts;
use excerpts::PageExcerpt;
use figures::LatencyRow;
use service::ServiceTables;
use stories::CallStory;

/// Data of the page: words and figures, ready to stand between tags.
#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage<'a> {
    summary: &'a Summary,
    verdict: &'a Verdict,
    sentence: String,
    has_intervals: bool,
    findings: Vec<Finding>,
    /// Endings of the calls, where any is not as planned.
    endings: Option<String>,
    headline: Vec<Card<'a>>,
    stages: Option<stages::Table<'a>>,
    shards: Vec<[String; 8]>,
    shard_heads: [&'static str; 8],
    spread: Option<String>,
    lanes: Option<Vec<lanes::Row>>,
    targets: Option<Vec<targets::Row>>,
    packets: Vec<LatencyRow<'a>>,
    signalling: Vec<LatencyRow<'a>>,
    instrument: Vec<LatencyRow<'a>>,
    sweep: Vec<Depth<'a>>,
    service: Option<ServiceTables<'a>>,
    stories: Vec<CallStory>,
    /// The callers talked.
    is_conversation: bool,
    /// Passages of calls that read aloud.
    passages: Vec<passages::WorstPassage>,
    /// Subject of the charts over time.
    subject: &'static str,
    /// Packets came back, each of which was measured.
    is_echo: bool,
    turns: Vec<LatencyRow<'a>>,
    has_audio: bool,
    worst: Vec<PageExcerpt>,
    named: Vec<PageExcerpt>,
    /// Style rules with the charts' colours.
    colours: String,
    charts: PageCharts,
    circumstances_table: Vec<(&'static str, String)>,
    scenario: &'a str,
    /// The charts' values as JSON.
    notes: String,
    /// The one script that the page allows.
    script_hash: String,
}

/// A figure at the top of the page.
struct Card<'a> {
    label: &'static str,
    figure: &'a Metric,
    /// The same of the control stream.
    control: Option<&'a Metric>,
    /// The total of which the control stream's figure is a count.
    control_of: Option<&'a Metric>,
}

/// Packets late for one playout depth.
struct Depth<'a> {
    depth: String,
    is_scenarios: bool,
    late: &'a Metric,
}

/// Rows of the table of all calls, at most; `calls.csv` has every one.
const MOST_CALLS: usize = 1000;
const SLOWEST: usize = 10;
/// Most endings on the first screen.
const MOST_ENDINGS: usize = 6;

pub(super) const SCRIPT: &str = include_str!("../../../templates/report.js");

/// The page.
pub(super) fn page(summary: &Summary, verdict: &Verdict, scenario: &str) -> Result<Vec<u8>, Failure> {
    let environment = &summary.environment;
    let (instrument, packets): (Vec<_>, Vec<_>) =
        figures::latencies(summary, &catalogue::LATENCIES).into_iter().partition(|row| row.of_instrument);
    let charts = PageCharts::of(summary, &verdict.doubt);
    let notes = charts.notes()?;
    let is_conversation = super::charts::is_conversation(summary);
    let (worst, named) = excerpts::of_page(summary);
    let passages = passages::worst(summary);
    let page = ReportPage {
        summary,
        verdict,
        sentence: sentence(verdict),
        has_intervals: words::has_intervals(verdict),
        findings: findings(summary, verdict),
        endings: endings(summary),
        headline: cards(summary),
        stages: stages::table(summary),
        shards: shards::rows(summary),
        shard_heads: shards::HEADS,
        spread: shards::spread(summary),
        lanes: lanes::table(summary),
        targets: targets::table(summary),
        packets,
        signalling: figures::latencies(summary, &catalogue::SIGNALLING),
        instrument,
        sweep: sweep(summary),
        service: environment.service_record.as_ref().map(|record| service::tables(record, summary)),
        stories: stories::worst(summary, SLOWEST),
        is_conversation,
        subject: match summary {
            _ if is_conversation => "Turns",
            _ if super::charts::is_read_aloud(summary) => "Speech quality",
            _ if super::charts::is_signal(summary) => "Delay of the audio",
            _ => "Round trip",
        },
        is_echo: super::charts::is_echo(summary),
        turns: if is_conversation {
            figures::latencies(summary, &*catalogue::TURN_TIMES)
        } else {
            Vec::new()
        },
        has_audio: worst.iter().chain(&named).any(|excerpt| excerpt.audio.is_some())
            || passages.iter().any(|passage| passage.audio.is_some()),
        passages,
        worst,
        named,
        colours: super::charts::css(),
        charts,
        circumstances_table: circumstances_table(environment),
        scenario: scenario.trim_end(),
        notes,
        script_hash: STANDARD.encode(Sha256::digest(SCRIPT)),
    };
    Ok(page.render()?.into_bytes())
}

/// Endings other than as planned, for the first screen.
fn endings(summary: &Summary) -> Option<String> {
    let odd = summary.calls.is_empty() || summary.endings.iter().any(|ending| !ending.good);
    odd.then(|| words::endings(summary, MOST_ENDINGS).join(" · "))
}

fn cards(summary: &Summary) -> Vec<Card<'_>> {
    let heard = summary.metric("control.sent_count").and_then(|m| m.value.number()).unwrap_or(0.0) > 0.0;
    let registered = summary.environment.register.as_ref().map(|_| &headline::REGISTERED);
    let card = |(name, label, control): &(&str, &'static str, Option<&str>)| {
        let control = control.filter(|_| heard);
        // A count says nothing without its total.
        let total = control.filter(|name| *name == "control.lost_count").map(|_| "control.sent_count");
        let figure = summary.metric(name)?;
        is_wanted(summary, figure).then(|| Card {
            label,
            figure,
            control: control.and_then(|name| summary.metric(name)),
            control_of: total.and_then(|name| summary.metric(name)),
        })
    };
    let audio = match summary {
        summary if !summary.turns.is_empty() => &headline::TURNS[..],
        summary if !summary.signals.is_empty() => &headline::SIGNALS[..],
        summary if !summary.quality.is_empty() => &headline::QUALITY[..],
        _ => &[],
    };
    // Where the audio is measured, no packet is awaited.
    let packets = &headline::CARDS[if audio.is_empty() { 0 } else { headline::OF_PACKETS }..];
    audio.iter().chain(packets).chain(registered).filter_map(card).collect()
}

/// False for a time of a kind of turn of which the window has none: nobody interrupted, or no greeting was waited for in it.
/// That it has no data is as it should be.
fn is_wanted(summary: &Summary, metric: &Metric) -> bool {
    let kind = match metric.definition.family() {
        "bargein" => TurnKind::Interruption,
        "greeting" => TurnKind::Greeting,
        _ => return true,
    };
    let window = summary.environment.window();
    metric.value != Value::NoData
        || summary.turns.iter().any(|turn| turn.kind == kind && turn.is_within(window.as_ref()))
}

/// The verdict in a sentence.
fn sentence(verdict: &Verdict) -> String {
    let broken = verdict.gates.iter().filter(|g| g.outcome == Outcome::Fail).count();
    let all = verdict.gates.len();
    match (verdict.outcome, all) {
        (Outcome::Pass, 0) => "No gate was set.".into(),
        (Outcome::Pass, _) if verdict.doubt.is_any() => {
            "Every gate holds, also in the worst reading that the doubt about the instrument allows.".into()
        }
        (Outcome::Pass, 1) => "The gate holds, and the instrument kept its limits.".into(),
        (Outcome::Pass, _) => format!("All {all} gates hold, and the instrument kept its limits."),
        (Outcome::Fail, 1) => "The gate is broken.".into(),
        (Outcome::Fail, _) => format!("{broken} of {all} gates broken."),
        (Outcome::Regressed, _) => "Every gate holds, but it is slower than the baseline.".into(),
        (Outcome::Inconclusive, _) if verdict.doubt.extent == Extent::Everything => {
            "Nothing can be concluded from this run.".into()
        }
        (Outcome::Inconclusive, _) if verdict.doubt.is_any() => {
            "The doubt about the instrument could change the outcome.".into()
        }
        (Outcome::Inconclusive, _) => "Too little was measured to say anything.".into(),
    }
}

fn sweep(summary: &Summary) -> Vec<Depth<'_>> {
    let own = summary.environment.late_after_ms;
    let swept = PLAYOUT_DEPTHS_MS.map(|ms| (ms as f64, format!("late.ratio_{ms}ms")));
    let mut depths = swept.to_vec();
    if swept.iter().all(|(ms, _)| *ms != own) {
        depths.push((own, "late.ratio".into()));
    }
    depths.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let row = |(ms, name): &(f64, String)| {
        Some(Depth { depth: format!("{ms} ms"), is_scenarios: *ms == own, late: summary.metric(name)? })
    };
    depths.iter().filter_map(row).collect()
}

fn circumstances_table(e: &Environment) -> Vec<(&'static str, String)> {
    let window = match (e.window_from_s, e.window_to_s) {
        (Some(from), Some(to)) => format!("second {from:.1} to {to:.1}"),
        _ => "none: no call came up".into(),
    };
    // Empty: not of the run's own, or a run of an older version.
    let said = |(_, text): &(&str, String)| !text.is_empty();
    let rows = [
        ("Command line", words::command_line(&e.command)),
        ("Started", e.started_at.clone()),
        ("Took", words::span(e.elapsed_s)),
        ("Measured window", window),
        (
            "Calls up when it began",
            match e.offered {
                Some(_) => format!("{} (at most {} at once)", e.calls_at_start, e.calls),
                None if !e.stages.is_empty() => e.calls_at_start.to_string(),
                None => format!("{} of {}", e.calls_at_start, e.calls),
            },
        ),
        ("Media", format!("{}, a packet every {} ms", e.media(), e.ptime_ms)),
        (
            "Late, lost",
            format!(
                "late after {} ms above the call's smallest, lost after {} ms",
                e.late_after_ms, e.lost_after_ms
            ),
        ),
        ("Asterisk", e.asterisk.clone()),
        ("Service", e.service.clone()),
        ("Host", e.host.clone()),
        ("CPU", format!("{}, {} to use", e.cpu, e.cpus)),
        ("Media threads", e.scheduling.clone()),
        ("Service's media thread", e.service_scheduling.clone()),
        ("Asterisk's processes", e.asterisk_scheduling.clone()),
        ("Memory", format!("{} MiB", e.memory_mib)),
        ("Kernel", e.kernel.clone()),
        ("loadtest", e.version.clone()),
        ("Scenario, SHA-256", e.scenario_hash.clone()),
    ];
    let mut rows: Vec<_> = rows.into_iter().filter(said).collect();
    if e.clock_set().is_some() {
        let said = format!(
            "set by {} ns during the run; {} packets back before they left",
            e.clock_step_ns, e.negative_rtt
        );
        rows.push(("Wall clock", said));
    }
    rows.extend(e.remarks.iter().map(|remark| ("Remark", remark.clone())));
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;
    use crate::record::{ServiceLinks, TurnRow};
    use crate::report::charts::CHARTS;
    use crate::report::{fixture, json};

    fn text(run: &(Summary, Verdict), scenario: &str) -> String {
        String::from_utf8(page(&run.0, &run.1, scenario).unwrap()).unwrap()
    }

    /// Every value in `summary.json` by the metric's name; empty where nothing was measured.
    fn of_json((summary, verdict): &(Summary, Verdict)) -> HashMap<String, String> {
        let document: Value = serde_json::from_slice(&json::summary(summary, verdict).unwrap()).unwrap();
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(word) => word.clone(),
            number => number.to_string(),
        };
        let groups = document["metrics"].as_object().unwrap().iter();
        let values = groups.flat_map(|(group, members)| {
            let members = members.as_object().unwrap().iter();
            members.map(move |(key, value)| (format!("{group}.{key}"), text(value)))
        });
        values.collect()
    }

    #[test]
    fn every_figure_is_the_one_in_the_json() {
        for run in [fixture::typical(), fixture::nothing_answered(), fixture::all_lost(), fixture::faulted()]
        {
            let page = text(&run, "");
            let json = of_json(&run);
            let mut seen = 0;
            for part in page.split("<data value=\"").skip(1) {
                let (value, rest) = part.split_once("\" data-metric=\"").unwrap();
                let (name, _) = rest.split_once('"').unwrap();
                assert_eq!(Some(value), json.get(name).map(String::as_str), "{name}");
                seen += 1;
            }
            assert!(seen > 200, "{seen} figures");
            for (name, ..) in headline::CARDS {
                assert!(page.contains(&format!("data-metric=\"{name}\"")), "{name}");
            }
        }
    }

    /// The cards at the top of a page.
    fn cards_of(page: &str) -> String {
        let (_, cards) = page.split_once("<dl class=\"cards\">").unwrap();
        cards.split_once("</dl>").unwrap().0.into()
    }

    #[test]
    fn a_conversation_has_cards_of_what_its_callers_waited_for() {
        let card = |page: &str, name: &str| page.contains(&format!("data-metric=\"{name}\""));
        let (mut summary, verdict) = fixture::conversation();
        let page = |summary: &Summary| text(&(summary.clone(), verdict.clone()), "");
        let plain = cards_of(&page(&summary));
        assert!(card(&plain, "turn.response.p95") && card(&plain, "bargein.stop.p50"), "{plain}");
        assert!(!card(&plain, "greeting.p50"), "nobody waits for one: {plain}");
        let said = summary.turns[0].clone();
        let missing = TurnRow { kind: TurnKind::Greeting, response_ms: None, no_reply: true, ..said };
        summary.turns.push(missing);
        assert!(card(&cards_of(&page(&summary)), "greeting.p50"), "it did not come");
        summary.turns.last_mut().unwrap().said_to_s = 0.5;
        assert!(!card(&cards_of(&page(&summary)), "greeting.p50"), "it was before the window");
    }

    #[test]
    fn media_connections_have_a_table_where_there_were_any() {
        let (mut summary, verdict) = fixture::typical();
        let caption = "Its media connections to Asterisk";
        assert!(!text(&(summary.clone(), verdict.clone()), "").contains(caption));
        let links = ServiceLinks { connected: 50, queue_max: 18, ..ServiceLinks::default() };
        summary.environment.service_record.as_mut().unwrap().links = Some(links);
        let page = text(&(summary, verdict), "");
        let row = "<td class=\"n\">18</td><th scope=\"row\">packets of 20 ms that waited in Asterisk";
        assert!(page.contains(caption) && page.contains(row));
        assert!(!page.contains("could not be opened"), "noughts are left out");
    }

    #[test]
    fn a_run_that_registers_says_so_at_its_top() {
        let page = text(&fixture::registered(), "");
        assert!(page.contains("Accounts registered") && page.contains("50 calls over TLS, 5 min measured"));
        assert!(!text(&fixture::typical(), "").contains("Accounts registered"));
    }

    #[test]
    fn the_page_fetches_nothing_and_runs_its_one_script() {
        let page = text(&fixture::typical(), "name = \"x\"");
        // A script may name what it makes; only the page's own words are looked at.
        let (before, rest) = page.split_once("<script>").unwrap();
        let (script, after) = rest.split_once("</script>").unwrap();
        assert_eq!(script, SCRIPT);
        assert!(page.contains(&format!("script-src 'sha256-{}'", STANDARD.encode(Sha256::digest(script)))));
        for banned in
            ["http://", "https://", "src=", "url(", "@import", "<script>", "<link", "<iframe", "onload"]
        {
            assert!(!before.contains(banned) && !after.contains(banned), "{banned}");
        }
        for banned in ["fetch(", "XMLHttpRequest", "import(", "eval(", "innerHTML", "insertAdjacentHTML"] {
            assert!(!script.contains(banned), "{banned}");
        }
        let stays = |rest: &str| rest.starts_with('#') || rest.starts_with("data:image/png;base64,");
        assert!(page.split("href=\"").skip(1).all(stays));
    }

    #[test]
    fn what_others_wrote_stays_text() {
        let page = text(&fixture::hostile(), "# </code></pre><script>alert(1)</script>");
        assert!(!page.contains("<script>alert") && !page.contains("</code></pre><"));
        // The values and the script itself.
        assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (2, 2));
        assert!(page.matches("&#60;script&#62;").count() > 6);
    }

    #[test]
    fn faults_have_a_sentence_and_leaks_a_name() {
        let page = text(&fixture::faulted(), "");
        assert!(page.contains(
            "Asterisk killed 93.2 s into the hold (100.2 s into the run), ready again after 3.2 s"
        ));
        assert!(page.contains("forgotten &#60;bridge&#62;") && page.contains("id=\"recovery\""));
        assert!(!text(&fixture::typical(), "").contains("id=\"recovery\""));
    }

    #[test]
    fn ids_are_unique_and_links_lead_somewhere() {
        let page = text(&fixture::typical(), "x");
        let ids: Vec<_> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let unique: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        for target in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(ids.contains(&target), "#{target}");
        }
    }

    #[test]
    fn every_chart_stands_once_in_its_section() {
        let page = text(&fixture::typical(), "");
        let (summary, _) = fixture::typical();
        for chart in CHARTS.iter().filter(|chart| (chart.applies)(&summary)) {
            let section = page.split("<section ").find(|s| s.contains(&format!("id=\"{}\"", chart.section)));
            let figure = format!("<figure class=\"plot\" id=\"{}\">", chart.name());
            assert!(section.is_some_and(|s| s.contains(&figure)), "{}", chart.name());
            assert_eq!(page.matches(&figure).count(), 1, "{}", chart.name());
        }
    }

    #[test]
    fn a_conversation_has_turns_pictures_and_audio_and_no_empty_boxes_of_packets() {
        let run = fixture::conversation();
        let page = text(&run, "");
        assert!(page.contains("Turns over time") && page.contains("data-metric=\"turn.response.p95\""));
        for gone in ["no packet came back", "id=\"distribution\"", "id=\"where\"", "rtt-over-time", "Playout"]
        {
            assert!(!page.contains(gone), "{gone}");
        }
        let files: Vec<_> =
            page.split("<audio ").skip(1).filter_map(|rest| rest.split("src=\"").nth(1)).collect();
        assert_eq!(files.len(), 6);
        assert!(
            files[0].starts_with("audio/call-00001-turn-020-no-reply.wav\"") && page.contains("media-src")
        );
        assert!(!text(&fixture::typical(), "").contains("media-src"));
        let (mut summary, verdict) = run;
        for (row, name) in
            summary.talk.iter_mut().zip(["javascript:alert(1)", "../x", "\"><script>"].iter().cycle())
        {
            row.audio = (*name).into();
        }
        let hostile = text(&(summary, verdict), "");
        assert!(!hostile.contains("<audio") && !hostile.contains("javascript:alert"));
        assert_eq!(hostile.matches("No audio of it was kept").count(), 6);
    }

    #[test]
    fn the_page_stays_small() {
        assert!(text(&fixture::typical(), "").len() < 1_000_000);
        assert!(text(&fixture::many_calls(), "").len() < 1_500_000);
        assert!(text(&fixture::conversation(), "").len() < 1_000_000);
    }

    #[test]
    fn a_run_that_reads_aloud_shows_its_scores_and_no_packets() {
        let page = text(&fixture::read_aloud(), "");
        assert!(
            page.contains("Speech quality over time") && page.contains("data-metric=\"speech_quality.p50\"")
        );
        assert!(page.contains("no speech came back") && page.contains("The worst passages"));
        assert!(
            page.contains(
                "The worst of 27 passages that it read aloud: MOS-LQO 2.74, 4.5 % of it never came."
            )
        );
        let audio = "src=\"audio/call-00003-passage-016.wav\"";
        assert!(page.contains(audio) && page.contains("media-src"));
        for gone in ["no packet came back", "id=\"distribution\"", "id=\"where\"", "rtt-over-time", "Playout"]
        {
            assert!(!page.contains(gone), "{gone}");
        }
        assert!(!text(&fixture::typical(), "").contains("The worst passages"));
    }

    #[test]
    fn doubt_is_said_once_and_its_interval_stands_at_the_gate() {
        let (summary, verdict) = fixture::in_doubt();
        let page = text(&(summary, verdict.clone()), "");
        let interval = verdict.gates[0].interval.expect("a gate between its readings").to_string();
        let wanted = verdict.doubt.sentences().chain([interval]);
        for sentence in wanted {
            assert_eq!(page.matches(&sentence).count(), 1, "{sentence}");
        }
        assert!(!text(&fixture::typical(), "").contains("class=\"doubt\""));
    }

    #[test]
    fn the_verdict_is_said_in_words() {
        let say = |(_, verdict): (Summary, Verdict)| sentence(&verdict);
        assert_eq!(say(fixture::typical()), "All 5 gates hold, and the instrument kept its limits.");
        assert_eq!(say(fixture::failing()), "2 of 6 gates broken.");
        assert_eq!(say(fixture::in_doubt()), "The doubt about the instrument could change the outcome.");
        assert_eq!(say(fixture::nothing_answered()), "Too little was measured to say anything.");
    }
}
