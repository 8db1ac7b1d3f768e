//! `worst-turns.png`, and a picture on the page for each excerpt of a conversation: who spoke when, in two lanes.

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{Canvas, Rect, SHADE, Style};
use super::legend::{LegendKey, Mark};
use super::panel::Panel;
use super::theme::Ink;
use super::{Chart, Look};
use crate::metrics::Summary;
use crate::record::{MOST_WORST, TalkSide, TurnKind, TurnRow, Why};
use crate::report::excerpts::{self, Excerpt};
use crate::report::words;

const SAYS: LegendKey<'static> = LegendKey::new("caller speaks", Ink::Blue, Mark::Block);
const INTERRUPTS: LegendKey<'static> = LegendKey::new("caller interrupts", Ink::Purple, Mark::Block);
const BACKCHANNEL: LegendKey<'static> = LegendKey::new("caller's backchannel", Ink::Sky, Mark::Block);
const DIGITS: LegendKey<'static> = LegendKey::new("caller dials", Ink::Green, Mark::Block);
const SERVICE: LegendKey<'static> = LegendKey::new("service speaks", Ink::Orange, Mark::Block);
const LOST: LegendKey<'static> = LegendKey::new("service's packets lost", Ink::Vermillion, Mark::Strip);
const DEAD_AIR: LegendKey<'static> = LegendKey::new("dead air", Ink::Shade, Mark::Shade);
const UNJUDGED: LegendKey<'static> = LegendKey::new("cannot be judged", Ink::Muted, Mark::Ring);

/// Height of the picture of one excerpt, in ems.
const EMS: f64 = 13.0;
/// Height that each excerpt of several takes, and height of a picture without growing.
const EMS_OF_SEVERAL: f64 = 10.5;
const EMS_OF_PICTURE: f64 = 28.0;
/// Lanes on the y axis: their lower and upper ends.
const CALLER: (f64, f64) = (2.05, 2.85);
const FAR: (f64, f64) = (0.12, 0.92);
/// Height of what is told between the lanes.
const BETWEEN: f64 = 1.78;
const WORDS: f64 = 1.32;
const TOP: f64 = 3.0;

pub(super) const CHART: Chart = Chart {
    path: "plots/worst-turns.png",
    // The page has a picture of each, beside its audio.
    section: "",
    title: "The worst turns",
    caption: "",
    figures: &[],
    applies: |summary| excerpts::worst(summary).next().is_some(),
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let worst: Vec<_> = excerpts::worst(summary).take(MOST_WORST).collect();
    let used = worst.iter().flat_map(|excerpt| keys(excerpt, summary)).collect::<Vec<_>>();
    canvas.grow((EMS_OF_SEVERAL * worst.len() as f64 - EMS_OF_PICTURE).max(0.0));
    canvas.legend(&in_order(&used));
    for place in canvas.alike(worst.len()).into_iter().zip(&worst) {
        let (place, excerpt) = place;
        // Each has an axis of its own.
        let bottom = place.bottom - if worst.len() > 1 { canvas.px(2.0) } else { 0 };
        lanes(canvas, Rect { bottom, ..place }, excerpt, summary, true);
    }
}

/// The picture of an excerpt as an SVG element for a page.
pub(in crate::report) fn inline(summary: &Summary, excerpt: &Excerpt<'_>, look: Look) -> String {
    let mut canvas = Canvas::high(look, EMS);
    canvas.legend(&in_order(&keys(excerpt, summary)));
    let [place] = canvas.rows([1.0]);
    lanes(&canvas, place, excerpt, summary, false);
    canvas.finish().0.inline(&format!("Who spoke when. {}", excerpts::title(excerpt, summary)))
}

/// Entries of the legend in their order, each once.
fn in_order(used: &[&'static str]) -> Vec<LegendKey<'static>> {
    let all = [SAYS, INTERRUPTS, BACKCHANNEL, DIGITS, SERVICE, LOST, DEAD_AIR, UNJUDGED];
    all.into_iter().filter(|key| used.contains(&key.label)).collect()
}

/// Labels of what an excerpt shows.
fn keys(excerpt: &Excerpt<'_>, summary: &Summary) -> Vec<&'static str> {
    let turns = || excerpt.turns(summary);
    let parts = excerpt.parts.iter().map(|part| match part.side {
        TalkSide::Caller => of_kind(kind(turns(), (part.from_s + part.to_s) / 2.0)).label,
        TalkSide::Lost => LOST.label,
        _ => SERVICE.label,
    });
    let dead = turns().filter(|turn| turn.kind == TurnKind::DeadAir).map(|_| DEAD_AIR.label);
    let unjudged = turns().filter(|turn| !turn.discarded.is_empty()).map(|_| UNJUDGED.label);
    parts.chain(dead).chain(unjudged).collect()
}

/// Kind of the turn in which the caller speaks at that time.
fn kind<'t>(turns: impl Iterator<Item = &'t TurnRow>, at_s: f64) -> TurnKind {
    let mut own = turns.filter(|turn| turn.kind != TurnKind::Greeting && !turn.kind.is_remark());
    own.find(|turn| (turn.said_from_s..=turn.said_to_s).contains(&at_s))
        .map_or(TurnKind::Say, |turn| turn.kind)
}

fn of_kind(kind: TurnKind) -> LegendKey<'static> {
    match kind {
        TurnKind::Interruption => INTERRUPTS,
        TurnKind::Backchannel => BACKCHANNEL,
        TurnKind::Dtmf => DIGITS,
        _ => SAYS,
    }
}

fn lanes(canvas: &Canvas, place: Rect, excerpt: &Excerpt<'_>, summary: &Summary, titled: bool) {
    let place = Rect { left: place.left + canvas.px(1.4), ..place };
    let x = Axis::linear_to(excerpt.length_s(), if canvas.is_narrow() { 6 } else { 12 }, 0.0);
    let y = Axis { from: 0.0, to: TOP, ticks: Vec::new(), ..Axis::linear(1.0, 1, 1.0) };
    let panel = Panel::new(canvas, place, x, y);
    let title = if titled { excerpts::title(excerpt, summary) } else { String::new() };
    panel.frame(&title);
    panel.x_axis(if titled { "" } else { "seconds, as in the audio" });
    for (name, (low, high)) in [("caller", CALLER), ("service", FAR)] {
        let (_, middle) = panel.pixel(0.0, (low + high) / 2.0);
        let at = (place.left - canvas.px(0.4), middle);
        canvas.text(name, at, Style::NOTE.anchored(HPos::Right, VPos::Center));
        let (_, base) = panel.pixel(0.0, low);
        canvas.path(&[(place.left, base), (place.right, base)], Ink::Grid, canvas.px(0.07));
    }
    for dead in excerpt.turns(summary).filter(|turn| turn.kind == TurnKind::DeadAir) {
        let (from, to) = (excerpt.at(dead.said_from_s), excerpt.at(dead.said_to_s));
        let (from, to) = (panel.pixel(from, TOP), panel.pixel(to, 0.0));
        canvas.block(from, to, DEAD_AIR.ink, SHADE * 1.6);
    }
    for part in &excerpt.parts {
        let (ink, (low, high)) = match part.side {
            TalkSide::Caller => {
                (of_kind(kind(excerpt.turns(summary), (part.from_s + part.to_s) / 2.0)).ink, CALLER)
            }
            TalkSide::Lost => (LOST.ink, (0.0, FAR.0)),
            _ => (SERVICE.ink, FAR),
        };
        let (left, top) = panel.pixel(excerpt.at(part.from_s), high);
        let (right, bottom) = panel.pixel(excerpt.at(part.to_s), low);
        canvas.block((left, top), (right.max(left + 2), bottom), ink, 1.0);
    }
    told(&panel, excerpt, summary);
}

/// Measures of the turns, between the lanes.
fn told(panel: &Panel<'_>, excerpt: &Excerpt<'_>, summary: &Summary) {
    let canvas = panel.canvas;
    let is_told = |turn: &&TurnRow| !turn.kind.is_remark() && turn.said_from_s < excerpt.head.to_s;
    for turn in excerpt.turns(summary).filter(is_told) {
        let is_own = Some(turn.turn) == excerpt.head.turn;
        if !turn.discarded.is_empty() {
            let at = panel.pixel(excerpt.at(turn.said_to_s), CALLER.0);
            canvas.ring((at.0, at.1 + canvas.px(0.6)), UNJUDGED.ink);
        }
        let why = if is_own { excerpt.head.why } else { Why::Named };
        let Some(measure) = excerpts::measure(turn, why, excerpt, summary) else { continue };
        let (from, y) = panel.pixel(excerpt.at(measure.from_s), BETWEEN);
        let (to, _) = panel.pixel(excerpt.at(measure.to_s), BETWEEN);
        let ink = if is_own { Ink::Text } else { Ink::Axis };
        let half = canvas.px(0.35);
        canvas.path(&[(from, y), (to.max(from + 1), y)], ink, canvas.px(if is_own { 0.14 } else { 0.09 }));
        for x in [from, to] {
            canvas.path(&[(x, y - half), (x, y + half)], ink, canvas.px(0.1));
        }
        let words = words::one_line(&measure.words);
        let wide = canvas.px(canvas.text_width(&words) * Style::NOTE.size + 0.6);
        if is_own || wide < to - from + canvas.px(1.5) {
            let (left, right) = (panel.place.left + wide / 2, panel.place.right - wide / 2);
            let middle = ((from + to) / 2).clamp(left.min(right), right.max(left));
            let style =
                Style { bold: is_own, ..Style::NOTE.ink(if is_own { Ink::Text } else { Ink::Muted }) };
            let (_, row) = panel.pixel(0.0, WORDS);
            canvas.patch(&words, (middle, row), style.anchored(HPos::Center, VPos::Center));
        }
    }
}
