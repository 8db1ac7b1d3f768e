//! `turns-over-time.png`: each turn's response over the run, with those that have none.

use std::cmp::Ordering;

use super::axis::Axis;
use super::canvas::Canvas;
use super::events::{Event, Interval};
use super::legend::{LegendKey, LineSeries, Mark};
use super::theme::Ink;
use super::{Chart, events, faults, timeline};
use crate::metrics::Summary;
use crate::record::TurnRow;

const ANSWERED: LegendKey<'static> = LegendKey::new("a turn that was answered", Ink::Sky, Mark::Dot);
const UNANSWERED: LegendKey<'static> = LegendKey::new("no answer in time", Ink::Vermillion, Mark::Cross);
const DISCARDED: LegendKey<'static> =
    LegendKey::new("cannot be judged (turns.csv says why)", Ink::Muted, Mark::Ring);
/// Drawn in this order, the last on top.
const LINES: [LineSeries<Interval>; 2] = [
    LineSeries::new("95th percentile", Ink::Orange, 0.13, |interval| interval.at(0.95)),
    LineSeries::new("median", Ink::Blue, 0.15, |interval| interval.at(0.5)),
];

pub(super) const CHART: Chart = Chart {
    path: "plots/turns-over-time.png",
    section: "over-time",
    title: "Response of the service, turn by turn",
    caption: "A dot is a turn: from the end of the caller's speech to the first voiced sample of the answer, at the time when \
              the caller ended. The lines are percentiles of an interval's turns. A cloud that rises is a queue; single \
              dots above it are answers that waited for something. Crosses at the top have no response time and are in no \
              percentile, rings at the bottom could not be judged.",
    figures: &[
        ("median", "turn.response.p50"),
        ("95th percentile", "turn.response.p95"),
        ("without an answer", "turn.no_reply_ratio"),
        ("turns judged", "turn.count"),
    ],
    applies: super::is_conversation,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let turns: Vec<&TurnRow> = summary.turns.iter().filter(|turn| is_answer(turn)).collect();
    let times = |is: fn(&TurnRow) -> bool| -> Vec<f64> {
        turns.iter().filter(|turn| is(turn)).map(|turn| turn.said_to_s).collect()
    };
    let (missing, discarded) = (times(|turn| turn.no_reply), times(|turn| !turn.discarded.is_empty()));
    let mut keys = vec![LINES[1].key, LINES[0].key, ANSWERED];
    keys.extend((!missing.is_empty()).then_some(UNANSWERED));
    keys.extend((!discarded.is_empty()).then_some(DISCARDED));
    timeline::legend(canvas, keys, summary);
    let [place] = canvas.rows([1.0]);
    let response = |turn: &&TurnRow| turn.response_ms.map(|time| (turn.said_to_s, time.as_ms()));
    let answered: Vec<Event> = turns.iter().filter_map(response).collect();
    let most = answered.iter().map(|(_, ms)| *ms).fold(0.0, f64::max);
    let y = Axis::linear(most * 1.08, place.labels(canvas), 0.0);
    let panel = timeline::panel(canvas, place, "end of speech to answer, ms", y, &summary.seconds);
    panel.x_axis(timeline::TIME);
    events::dots(&panel, &answered, &ANSWERED, Ordering::Greater);
    let intervals = events::intervals(&answered);
    LINES.iter().for_each(|line| events::line(&panel, &intervals, line));
    events::marks(&panel, missing.into_iter(), true, &UNANSWERED);
    events::marks(&panel, discarded.into_iter(), false, &DISCARDED);
    faults::mark(&panel, summary);
    if answered.is_empty() {
        panel.message("no turn was answered");
    }
}

fn is_answer(turn: &TurnRow) -> bool {
    let is_time = turn.said_to_s.is_finite() && turn.said_to_s >= 0.0;
    is_time && turn.kind.is_answered()
}
