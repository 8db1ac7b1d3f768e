//! `setup-times.png`: how long each call's set-up took, and the percentiles over all calls.

use std::collections::HashSet;

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::faults;
use super::figure::{DrawError, Drawn, Figure, Key, Mark, Rect, Type};
use super::panel::Panel;
use super::theme::Ink;
use super::timeline;
use crate::metrics::Summary;
use crate::record::CallRecord;
use crate::values::Ns;

struct Delay {
    group: &'static str,
    label: &'static str,
    short: &'static str,
    ink: Ink,
    mark: Mark,
    of: fn(&CallRecord) -> Option<Ns>,
}

const DELAYS: [Delay; 3] = [
    Delay {
        group: "srd",
        label: "session request delay: INVITE to first 18x or 200",
        short: "SRD",
        ink: Ink::Blue,
        mark: Mark::Dot,
        of: |c| c.srd_ms,
    },
    Delay {
        group: "answer_delay",
        label: "answer delay: INVITE to 200",
        short: "answer",
        ink: Ink::Orange,
        // Where nothing rings before the answer, it lies on the session request delay.
        mark: Mark::Ring,
        of: |c| c.answer_delay_ms,
    },
    Delay {
        group: "first_echo",
        label: "200 to first echo",
        short: "first echo",
        ink: Ink::Green,
        mark: Mark::Dot,
        of: |c| c.first_echo_ms,
    },
];

pub(super) fn draw(figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
    let mut keys: Vec<Key<'_>> =
        DELAYS.iter().map(|d| Key { label: d.label, ink: d.ink, mark: d.mark }).collect();
    if summary.calls.iter().any(|c| !c.ending.was_answered()) {
        keys.push(Key { label: "not answered", ink: Ink::Vermillion, mark: Mark::Cross });
    }
    let is_timed = is_timed(summary);
    if is_timed {
        keys.push(timeline::not_measured_key(figure));
        faults::legend(figure, &keys, summary)?;
    } else {
        figure.legend(&keys)?;
    }

    let [place] = figure.rows([1.0]);
    let split = place.right - (place.right - place.left) * 3 / 10;
    let calls = Rect { right: split, ..place };
    let spread = Rect { left: split + figure.px(1.5), ..place };
    let each = DELAYS.iter().flat_map(|d| summary.calls.iter().filter_map(d.of)).map(Ns::as_ms);
    let ends = DELAYS.iter().flat_map(|d| ["min", "max"].map(|key| format!("{}.{key}", d.group)));
    let ends = ends.filter_map(|name| summary.metric(&name)?.value.number());
    let y = Axis::log_ms(each.chain(ends), place.log_labels(figure));
    let panel =
        if is_timed { timed(figure, calls, &y, summary)? } else { counted(figure, calls, &y, summary)? };
    let at = |call: &CallRecord| if is_timed { call.intended_s } else { f64::from(call.call) + 0.5 };
    per_call(figure, &panel, at, summary)?;
    percentiles(figure, spread, &y, summary)
}

/// Whether the attempts are spread over the run. Where all are made at its start, they would lie on
/// top of each other on the axis that charts over time share.
fn is_timed(summary: &Summary) -> bool {
    let last = summary.calls.iter().map(|c| c.intended_s).filter(|s| s.is_finite()).fold(0.0, f64::max);
    summary.seconds.last().is_some_and(|s| last > 0.25 * f64::from(s.second + 1))
}

fn timed<'f, 'a>(
    figure: &'f Figure<'a>,
    place: Rect,
    y: &Axis,
    summary: &Summary,
) -> Result<Panel<'f, 'a>, DrawError> {
    let panel = Panel::new(figure, place, timeline::axis(figure, &summary.seconds), y.clone());
    timeline::shade_phases(&panel, &summary.seconds)?;
    panel.frame("each call, ms (logarithmic)")?;
    panel.x_axis(if figure.is_narrow() { "start, min:s" } else { "start of the call, min:s" })?;
    faults::mark(figure, &panel, summary)?;
    Ok(panel)
}

fn counted<'f, 'a>(
    figure: &'f Figure<'a>,
    place: Rect,
    y: &Axis,
    summary: &Summary,
) -> Result<Panel<'f, 'a>, DrawError> {
    let attempts = summary.calls.iter().map(|c| c.call.saturating_add(1)).max().unwrap_or(0);
    let x = Axis::numbered(attempts, if figure.is_narrow() { 5 } else { 11 });
    let panel = Panel::new(figure, place, x, y.clone());
    panel.frame("each call, ms (logarithmic)")?;
    panel.x_axis(if figure.is_narrow() { "call" } else { "call, in the order of their starts" })?;
    Ok(panel)
}

/// The delays of each call where `at` says.
fn per_call(
    figure: &Figure<'_>,
    panel: &Panel<'_, '_>,
    at: impl Fn(&CallRecord) -> f64,
    summary: &Summary,
) -> Drawn {
    for delay in &DELAYS {
        // One dot a place is enough, however many calls.
        let (mut taken, mut shown) = (HashSet::new(), Vec::new());
        for call in &summary.calls {
            let Some(ms) = (delay.of)(call).map(Ns::as_ms) else { continue };
            let pixel = panel.pixel(at(call), ms);
            if taken.insert((pixel.0 / 4, pixel.1 / 4)) {
                shown.push((call, ms, pixel));
            }
        }
        panel.note(shown.iter().map(|(call, ms, _)| (at(call), *ms)), delay.ink);
        panel.note_names(shown.iter().map(|(call, ..)| (at(call), format!("call {}", call.call))));
        panel.series(delay.ink, || {
            shown.iter().try_for_each(|(.., pixel)| match delay.mark {
                Mark::Ring => figure.ring(*pixel, delay.ink),
                _ => figure.dot(*pixel, delay.ink),
            })
        })?;
    }
    let mut taken = HashSet::new();
    panel.series(Ink::Vermillion, || {
        for call in summary.calls.iter().filter(|c| !c.ending.was_answered()) {
            let (x, top) = panel.pixel(at(call), panel.y().to());
            if taken.insert(x / 4) {
                figure.cross((x, top + figure.px(0.5)), Ink::Vermillion)?;
            }
        }
        Ok(())
    })?;
    if summary.calls.iter().any(|c| c.srd_ms.is_some()) { Ok(()) } else { panel.say("no call was answered") }
}

/// Per delay a line from the smallest to the largest with marks at the percentiles.
fn percentiles(figure: &Figure<'_>, place: Rect, y: &Axis, summary: &Summary) -> Drawn {
    let marked = |name: String| summary.metric(&name).is_some_and(|m| m.too_few);
    let too_few =
        DELAYS.iter().any(|d| ["p50", "p90", "p99"].iter().any(|key| marked(format!("{}.{key}", d.group))));
    let name = |d: &Delay| if figure.is_narrow() { d.short.trim_start_matches("first ") } else { d.short };
    let panel = Panel::new(figure, place, Axis::names(&DELAYS.each_ref().map(name)), y.clone());
    panel.bare_frame("all calls")?;
    panel.x_axis(if too_few && !figure.is_narrow() { "* rests on too few calls" } else { "" })?;
    for (n, delay) in DELAYS.iter().enumerate() {
        let metric = |key: &str| summary.metric(&format!("{}.{key}", delay.group));
        let value = |key: &str| metric(key).and_then(|m| m.value.number());
        let (Some(min), Some(max)) = (value("min"), value("max")) else { continue };
        let (x, bottom) = panel.pixel(n as f64, min);
        let (_, top) = panel.pixel(n as f64, max);
        figure.path(&[(x, bottom), (x, top)], delay.ink, figure.px(0.1))?;
        let mut free_below = i32::MAX;
        for key in ["p50", "p90", "p99"] {
            let Some(ms) = value(key) else { continue };
            let (_, at) = panel.pixel(n as f64, ms);
            let half = figure.px(if key == "p50" { 0.55 } else { 0.35 });
            figure.path(&[(x - half, at), (x + half, at)], delay.ink, figure.px(0.14))?;
            if at < free_below && !figure.is_narrow() {
                let how = Type { size: 0.8, ..Type::NOTE.ink(Ink::Text).anchored(HPos::Left, VPos::Center) };
                let star = if metric(key).is_some_and(|m| m.too_few) { "*" } else { "" };
                figure.text(&format!("{key} {ms:.1}{star}"), (x + figure.px(0.75), at), how)?;
                free_below = at - figure.px(0.9);
            }
        }
    }
    Ok(())
}
