//! Tests of what all charts have in common.

use std::collections::{HashMap, HashSet};

use resvg::tiny_skia::Pixmap;
use resvg::usvg::roxmltree::{Document, Node};

use super::theme::Ink;
use super::*;
use crate::record::{CallRecord, CallSecond, Phase, SecondRecord};
use crate::report::fixture;

const LOOKS: [Look; 3] = [Look::Picture, Look::Wide, Look::Narrow];

fn svg(chart: &Chart, summary: &Summary, look: Look) -> String {
    match look {
        Look::Picture => chart.drawn(summary, &Doubt::default(), look).0.document(),
        look => chart.inline(summary, &Doubt::default(), look, "label").0,
    }
}

fn chart(name: &str) -> &'static Chart {
    CHARTS.iter().find(|chart| chart.name() == name).unwrap()
}

fn over_time() -> impl Iterator<Item = &'static Chart> {
    ["rtt-over-time", "calls-and-loss", "setup-times", "rtt-by-call", "cpu"].into_iter().map(chart)
}

fn texts(svg: &str) -> Vec<String> {
    let tree = Document::parse(svg).unwrap();
    let texts = tree.descendants().filter(|node| node.has_tag_name("text"));
    texts.filter_map(|node| node.text().map(str::to_string)).collect()
}

fn pixels(png: &[u8]) -> (u32, u32, HashMap<(u8, u8, u8), usize>) {
    let picture = Pixmap::decode_png(png).unwrap();
    let mut colours = HashMap::new();
    for p in picture.pixels() {
        *colours.entry((p.red(), p.green(), p.blue())).or_default() += 1;
    }
    (picture.width(), picture.height(), colours)
}

fn rgb(ink: Ink) -> (u8, u8, u8) {
    (ink.rgb().0, ink.rgb().1, ink.rgb().2)
}

/// Colours of a picture's opaque shapes: the legend's, or all others.
fn paints(svg: &str, of_legend: bool) -> HashSet<(u8, u8, u8)> {
    let tree = Document::parse(svg).unwrap();
    let shapes = tree.descendants().filter(|node| {
        !node.has_tag_name("text")
            && !node.has_attribute("opacity")
            && node.ancestors().any(|group| group.has_attribute("data-key")) == of_legend
    });
    let paints = shapes.flat_map(|node| ["fill", "stroke"].map(|name| node.attribute(name)));
    let channel = |paint: &str, at| u8::from_str_radix(paint.get(at..at + 2)?, 16).ok();
    let rgb = |paint| Some((channel(paint, 1)?, channel(paint, 3)?, channel(paint, 5)?));
    paints.flatten().filter_map(rgb).collect()
}

#[test]
fn pictures_have_their_size_and_show_what_the_legend_names() {
    let (summary, _) = fixture::typical();
    show_what_the_legend_names(&summary);
}

#[test]
fn pictures_of_a_conversation_show_turns_and_no_packets() {
    let (summary, _) = fixture::conversation();
    show_what_the_legend_names(&summary);
    let names: Vec<_> = shown(&summary).map(Chart::name).collect();
    assert_eq!(names, ["turns-over-time", "worst-turns", "calls", "setup-times", "cpu"]);
    let svg = svg(chart("worst-turns"), &summary, Look::Picture);
    for word in
        ["no answer", "stops after 412.500 ms", "dead air", "cannot be judged", "fell silent for this"]
    {
        assert!(texts(&svg).iter().any(|text| text.contains(word)), "{word}: {:?}", texts(&svg));
    }
}

#[test]
fn pictures_of_calls_that_read_aloud_show_scores_and_no_packets() {
    let (summary, _) = fixture::read_aloud();
    show_what_the_legend_names(&summary);
    let names: Vec<_> = shown(&summary).map(Chart::name).collect();
    assert_eq!(names, ["speech-quality", "calls", "setup-times", "cpu"]);
    let texts = texts(&svg(chart("speech-quality"), &summary, Look::Picture));
    assert!(texts.iter().any(|text| text.contains("no score")), "{texts:?}");
}

fn shown(summary: &Summary) -> impl Iterator<Item = &'static Chart> {
    CHARTS.iter().filter(|chart| (chart.applies)(summary))
}

fn show_what_the_legend_names(summary: &Summary) {
    for (chart, file) in shown(summary).zip(files(summary, &Doubt::default()).unwrap()) {
        assert_eq!(chart.path, file.path);
        let (width, height, colours) = pixels(&file.bytes);
        assert!(width == 2000 && (height == 1000 || chart.section.is_empty()), "{}", file.path);
        let svg = svg(chart, summary, Look::Picture);
        let (named, drawn) = (paints(&svg, true), paints(&svg, false));
        // A muted entry stands for a mark in any colour.
        for paint in named.iter().filter(|paint| **paint != rgb(Ink::Muted)) {
            assert!(drawn.contains(paint), "{}: {paint:?} is in the legend alone", file.path);
        }
        for paint in drawn.iter().chain([&rgb(Ink::Text)]) {
            let count = colours.get(paint).copied().unwrap_or(0);
            assert!(count > 200, "{}: {count} pixels of {paint:?}", file.path);
        }
    }
}

#[test]
fn charts_are_drawn_in_any_look_of_any_run_always_the_same() {
    let runs = [
        fixture::typical(),
        fixture::nothing_answered(),
        fixture::no_seconds(),
        fixture::one_second(),
        fixture::all_lost(),
        fixture::many_calls(),
        fixture::faulted(),
        fixture::hostile(),
        fixture::conversation(),
        fixture::read_aloud(),
    ];
    let is_short = |number: &str| {
        let (_, decimals) = number.split_once('.').unwrap_or_default();
        decimals.trim_end_matches(char::is_alphabetic).len() <= 2
    };
    for (summary, _) in &runs {
        for (chart, look) in CHARTS.iter().flat_map(|chart| LOOKS.map(|look| (chart, look))) {
            let svg = svg(chart, summary, look);
            assert_eq!(svg, self::svg(chart, summary, look));
            let tree = Document::parse(&svg).unwrap();
            for node in tree.descendants().filter(|node| !node.has_tag_name("svg")) {
                for attribute in node.attributes().filter(|a| a.name() != "href") {
                    let value = attribute.value();
                    assert!(!value.contains("NaN") && !value.contains("inf"), "{attribute:?}");
                    assert!(value.split([' ', ',']).all(is_short), "{attribute:?}");
                }
            }
        }
    }
}

#[test]
fn every_series_of_the_notes_is_a_group_of_the_drawing() {
    let runs = [fixture::faulted().0, fixture::conversation().0, fixture::read_aloud().0];
    let drawn = runs.iter().flat_map(|summary| shown(summary).map(move |chart| (summary, chart)));
    for ((summary, chart), look) in drawn.flat_map(|drawn| [(drawn, Look::Wide), (drawn, Look::Narrow)]) {
        let (svg, notes) = chart.inline(summary, &Doubt::default(), look, "label");
        let tree = Document::parse(&svg).unwrap();
        let groups = |name: &str| -> HashSet<usize> {
            tree.descendants().filter_map(|node| node.attribute(name)?.parse().ok()).collect()
        };
        let name = chart.name();
        assert_eq!(groups("data-key"), (0..notes.keys.len()).collect(), "{name}");
        for (number, panel) in notes.panels.iter().enumerate().filter(|(_, p)| !p.series.is_empty()) {
            assert!(groups("data-panel").contains(&number), "panel {number} of {name}");
            for series in &panel.series {
                assert!(groups("data-series").contains(&series.key), "{series:?} of {name}");
            }
        }
        assert_eq!(notes.panels.len(), notes.frames.len(), "{name}");
    }
}

/// Places of broken lines down through a panel in an ink, in units from the left.
fn lines_down(svg: &str, colour: &str) -> HashSet<i32> {
    let tree = Document::parse(svg).unwrap();
    let is_dashed = |node: &Node<'_, '_>| {
        let mut groups = node.ancestors();
        groups.any(|g| g.has_attribute("stroke-dasharray")) && groups.any(|g| g.has_attribute("data-panel"))
    };
    let lines = tree.descendants().filter(|node| node.attribute("stroke") == Some(colour));
    let ends = lines.filter(is_dashed).filter_map(|line| {
        let (from, to) = line.attribute("points")?.split_once(' ')?;
        let x = |point: &str| point.split_once(',')?.0.parse::<i32>().ok();
        (x(from) == x(to)).then(|| x(from))?
    });
    ends.collect()
}

#[test]
fn every_fault_and_every_return_is_marked_in_every_chart_over_time() {
    let (summary, _) = fixture::faulted();
    let mut without = summary.clone();
    without.faults.clear();
    for (chart, look) in over_time().flat_map(|chart| LOOKS.map(|look| (chart, look))) {
        let (faulted, whole) = (svg(chart, &summary, look), svg(chart, &without, look));
        for words in ["Asterisk killed at 1:40.2, back at 1:43.4", "service restarted at 1:46.0"] {
            let count = |svg: &str| texts(svg).iter().filter(|text| text.contains(words)).count();
            assert_eq!((count(&faulted), count(&whole)), (1, 0));
        }
        for (ink, what) in [(Ink::Vermillion, "fault"), (Ink::Text, "return")] {
            let (r, g, b) = rgb(ink);
            let colour = match look {
                Look::Picture => format!("#{r:02x}{g:02x}{b:02x}"),
                _ => ink.css(),
            };
            let marked = lines_down(&faulted, &colour).len() - lines_down(&whole, &colour).len();
            assert_eq!(marked, 2, "{what} in {}, {look:?}", chart.name());
        }
    }
}

#[test]
fn seconds_that_are_not_quiet_are_marked_in_every_chart_over_time_in_doubt() {
    let (mut summary, verdict) = fixture::in_doubt();
    for call in &mut summary.calls {
        // Spread over the run, so that the set-up times are over time too.
        call.intended_s = f64::from(call.call) * 5.0;
    }
    // First seconds of the stretches of the hold that were not quiet.
    let quiet = &verdict.doubt.quiet.as_ref().unwrap().seconds;
    let held = summary.seconds.iter().filter(|second| second.phase == Phase::Hold);
    let loud: Vec<_> = held.map(|second| second.second).filter(|n| !quiet.contains(n)).collect();
    let starts: Vec<_> = loud.iter().copied().filter(|n| !loud.contains(&(n - 1))).collect();
    assert!(starts.len() > 1 && quiet.len() > 1);
    let strips = |svg: &str| -> HashSet<(i32, i32)> {
        let tree = Document::parse(svg).unwrap();
        let blocks = tree.descendants().filter(|node| {
            let is_of_panel = node.ancestors().any(|group| group.has_attribute("data-panel"));
            is_of_panel && node.attribute("fill") == Some(&Ink::Muted.css())
        });
        let number = |node: &Node<'_, '_>, name| node.attribute(name)?.parse().ok();
        blocks.filter_map(|node| Some((number(&node, "x")?, number(&node, "width")?))).collect()
    };
    for chart in over_time() {
        let name = chart.name();
        let (marked, notes) = chart.inline(&summary, &verdict.doubt, Look::Wide, "label");
        let strips = strips(&marked);
        assert_eq!(strips.len(), starts.len(), "{name}: {strips:?}");
        let (frame, panel) = (&notes.frames[0], &notes.panels[0]);
        let second = (frame.right - frame.left) as f64 / (panel.to - panel.from);
        let mut strips: Vec<_> = strips.into_iter().collect();
        strips.sort_unstable();
        for ((left, _), start) in strips.iter().zip(&starts).skip(1) {
            let at = (f64::from(*start) - panel.from) * second;
            assert!((f64::from(left - frame.left) - at).abs() <= 1.0, "{name}: {left} {start}");
        }
        assert!(!svg(chart, &summary, Look::Wide).contains("not quiet"), "{name}");
    }
}

/// Faults and goals make a chart higher; its last axis has its name below its labels all the same.
#[test]
fn a_chart_that_grew_draws_into_its_new_room() {
    let mut canvas = Canvas::new(Look::Wide, Vec::new());
    let [before] = canvas.rows([1.0]);
    canvas.grow(9.0);
    let [after] = canvas.rows([1.0]);
    assert_eq!(after.bottom - before.bottom, canvas.px(9.0));
    canvas.dot((7, after.bottom), Ink::Blue);
    let svg = canvas.finish().0.inline("label");
    assert!(svg.contains(&format!("cy=\"{}\"", after.bottom)), "{svg}");
}

#[test]
fn charts_over_time_share_their_axis() {
    let (summary, _) = fixture::faulted();
    let is_time = |text: &String| {
        text.split_once(':').is_some_and(|(m, s)| s.len() == 2 && (m.to_owned() + s).parse::<u32>().is_ok())
    };
    let times = |chart: &Chart| -> HashSet<String> {
        texts(&svg(chart, &summary, Look::Wide)).into_iter().filter(is_time).collect()
    };
    let shared = times(chart("rtt-over-time"));
    assert!(shared.contains("0:00") && shared.contains("5:00"), "{shared:?}");
    for chart in over_time() {
        assert_eq!(times(chart), shared, "{}", chart.name());
    }
}

#[test]
fn a_day_long_run_draws_no_more_than_pixels_can_show() {
    let (mut summary, _) = fixture::typical();
    let minute = summary.seconds[180..240].to_vec();
    summary.seconds =
        (0..86_400).map(|n| SecondRecord { second: n, ..minute[n as usize % 60].clone() }).collect();
    for chart in &CHARTS {
        let svg = svg(chart, &summary, Look::Wide);
        assert!(svg.len() < 600_000, "{}: {} bytes", chart.name(), svg.len());
    }
}

#[test]
fn a_heat_map_stays_small_however_many_the_calls_and_long_the_run() {
    let (mut summary, _) = fixture::typical();
    let last = SecondRecord { second: 86_399, ..summary.seconds[0].clone() };
    summary.seconds.push(last);
    let answered = summary.calls[0].clone();
    // Calls of ten minutes on a thousand lines, whose medians follow no order: the worst to compress.
    summary.calls = (0..2000)
        .map(|call| {
            let intended_s = f64::from(call) * 42.0;
            CallRecord { call, line: call % 1000, intended_s, total_sent: 30_000, ..answered.clone() }
        })
        .collect();
    let ms = |n: u32| 10f32.powf((n.wrapping_mul(2_654_435_761) >> 8) as f32 / 8e6);
    summary.call_seconds = (0..2000u32)
        .flat_map(|call| (0..600).map(move |n| (call, call * 42 + n)))
        .map(|(call, second)| CallSecond { call, second, rtt_p50_ms: ms(call * 600 + second) })
        .collect();
    for (look, most) in [(Look::Wide, 150_000), (Look::Narrow, 90_000)] {
        let svg = svg(chart("rtt-by-call"), &summary, look);
        assert!(svg.len() < most, "{look:?}: {} bytes", svg.len());
        assert!(svg.contains("lines of calls") && svg.contains(" s: "), "says what a cell stands for");
    }
}

#[test]
fn the_heat_map_shows_the_slow_call_and_the_silent_one() {
    let (summary, _) = fixture::typical();
    let colours = |summary: &Summary| {
        let (drawing, _) = chart("rtt-by-call").drawn(summary, &Doubt::default(), Look::Picture);
        pixels(&raster::png(&drawing).unwrap()).2
    };
    let count = |of: &HashMap<_, usize>, rgb| of.get(&rgb).copied().unwrap_or(0);
    let silent = rgb(Ink::Vermillion);
    let bright = |of: &HashMap<_, usize>| -> usize {
        (heat::STEPS * 2 / 3..heat::STEPS).map(|step| count(of, heat::colour(step).into())).sum()
    };
    let mut even = summary.clone();
    // One slow second is left, so that the scale is the same.
    let quiet = |s: &mut CallSecond| {
        if s.call == 17 && s.second != 84 {
            s.rtt_p50_ms = 0.2
        }
    };
    even.call_seconds.iter_mut().for_each(quiet);
    even.call_seconds.extend(fixture::SILENT_SECONDS.map(|second| CallSecond {
        call: 31,
        second,
        rtt_p50_ms: 0.2,
    }));
    even.call_seconds.sort_by_key(|s| (s.call, s.second));
    let (with, without) = (colours(&summary), colours(&even));
    assert!(count(&with, silent) > count(&without, silent) + 300);
    assert!(bright(&with) > bright(&without) + 300, "{} {}", bright(&with), bright(&without));
}

#[test]
fn a_name_cannot_break_out_of_a_picture() {
    let (summary, _) = fixture::hostile();
    for chart in &CHARTS {
        let svg = svg(chart, &summary, Look::Picture);
        assert!(texts(&svg).iter().any(|text| text.contains("<script>")), "the name is shown");
        assert!(!svg.contains("<script"), "{svg}");
    }
}

#[test]
fn on_a_page_every_colour_and_the_font_are_the_pages() {
    let (summary, _) = fixture::typical();
    for chart in &CHARTS {
        let svg = svg(chart, &summary, Look::Wide);
        let tree = Document::parse(&svg).unwrap();
        for node in tree.descendants() {
            let paints = ["fill", "stroke"].into_iter().filter_map(|name| node.attribute(name));
            for paint in paints.filter(|paint| *paint != "none") {
                assert!(paint.starts_with("var(--chart-") && css().contains(&paint[4..paint.len() - 1]));
            }
            assert!(!node.has_attribute("font-family"), "{node:?}");
        }
        let root = tree.root_element();
        assert!(root.has_attribute("viewBox") && !root.has_attribute("width"), "{root:?}");
    }
}
