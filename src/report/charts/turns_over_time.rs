//! `turns-over-time.png`: each turn's response over the run, with those that have none.

use super::axis::Axis;
use super::canvas::Canvas;
use super::legend::{LegendKey, LineSeries, Mark};
use super::panel::{Panel, Point};
use super::theme::Ink;
use super::{Chart, faults, timeline};
use crate::metrics::Summary;
use crate::record::TurnRow;
use crate::values::Ns;

const ANSWERED: LegendKey<'static> = LegendKey::new("a turn that was answered", Ink::Sky, Mark::Dot);
const UNANSWERED: LegendKey<'static> = LegendKey::new("no answer in time", Ink::Vermillion, Mark::Cross);
const DISCARDED: LegendKey<'static> =
    LegendKey::new("cannot be judged (turns.csv says why)", Ink::Muted, Mark::Ring);
/// Drawn in this order, the last on top.
const LINES: [LineSeries<Interval>; 2] = [
    LineSeries::new("95th percentile", Ink::Orange, 0.13, |interval| interval.at(0.95)),
    LineSeries::new("median", Ink::Blue, 0.15, |interval| interval.at(0.5)),
];

/// Lengths of intervals, in seconds.
const LENGTHS: [u32; 10] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
/// Turns of an interval on the average, where a length allows it.
const WANTED: usize = 20;
/// Fewest turns of which a percentile is drawn: of fewer each is one of the dots.
const FEWEST: usize = 3;
/// Most intervals.
const MOST_INTERVALS: u32 = 2000;

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

/// Responses of some seconds, in order.
struct Interval {
    middle: f64,
    times: Vec<Ns>,
}

impl Interval {
    fn at(&self, share: f64) -> Option<f64> {
        let rank = (self.times.len() as f64 * share).ceil() as usize;
        let time = self.times.get(rank.max(1) - 1)?;
        (self.times.len() >= FEWEST).then(|| time.as_ms())
    }
}

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let turns: Vec<&TurnRow> = summary.turns.iter().filter(|turn| is_answer(turn)).collect();
    let of = |is: fn(&TurnRow) -> bool| turns.iter().copied().filter(move |turn| is(turn));
    let (missing, discarded) = (of(|turn| turn.no_reply), of(|turn| !turn.discarded.is_empty()));
    let mut keys = vec![LINES[1].key, LINES[0].key, ANSWERED];
    keys.extend((missing.clone().count() > 0).then_some(UNANSWERED));
    keys.extend((discarded.clone().count() > 0).then_some(DISCARDED));
    timeline::legend(canvas, keys, summary);
    let [place] = canvas.rows([1.0]);
    let response = |turn: &TurnRow| turn.response_ms.map(|time| (turn.said_to_s, time.as_ms()));
    let answered: Vec<(f64, f64)> = turns.iter().filter_map(|turn| response(turn)).collect();
    let most = answered.iter().map(|(_, ms)| *ms).fold(0.0, f64::max);
    let y = Axis::linear(most * 1.08, place.labels(canvas), 0.0);
    let panel = timeline::panel(canvas, place, "end of speech to answer, ms", y, &summary.seconds);
    panel.x_axis(timeline::TIME);
    panel.note_series(noted(&panel, answered.iter().copied()), &ANSWERED);
    panel.series(&ANSWERED, || {
        let places = answered.iter().map(|(x, y)| panel.pixel(*x, *y));
        super::panel::apart(places).for_each(|at| canvas.disc(at, canvas.px(0.18), ANSWERED.ink));
    });
    let intervals = intervals(&turns);
    for line in &LINES {
        panel.line(
            intervals.iter().map(|interval| -> Point { (interval.middle, (line.value)(interval)) }),
            line,
        );
    }
    let top = place.top + canvas.px(0.5);
    panel.series(&UNANSWERED, || {
        let places = missing.map(|turn| (panel.across(turn.said_to_s), top));
        super::panel::apart(places).for_each(|at| canvas.cross(at, UNANSWERED.ink));
    });
    let bottom = place.bottom - canvas.px(0.5);
    panel.series(&DISCARDED, || {
        let places = discarded.map(|turn| (panel.across(turn.said_to_s), bottom));
        super::panel::apart(places).for_each(|at| canvas.ring(at, DISCARDED.ink));
    });
    faults::mark(&panel, summary);
    if answered.is_empty() {
        panel.message("no turn was answered");
    }
}

/// Values for the page's script: of each column of pixels the slowest.
fn noted(panel: &Panel<'_>, turns: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut columns: std::collections::BTreeMap<i32, (f64, f64)> = Default::default();
    for (x, y) in turns {
        let slowest = columns.entry(panel.across(x) / 4).or_insert((x, y));
        if y > slowest.1 {
            *slowest = (x, y);
        }
    }
    columns.into_values().collect()
}

fn is_answer(turn: &TurnRow) -> bool {
    let is_time = turn.said_to_s.is_finite() && turn.said_to_s >= 0.0;
    is_time && turn.kind.is_answered()
}

/// Turns by interval, each as long as it takes for some turns to lie in it.
fn intervals(turns: &[&TurnRow]) -> Vec<Interval> {
    let times: Vec<(f64, Ns)> =
        turns.iter().filter_map(|turn| Some((turn.said_to_s, turn.response_ms?))).collect();
    let last = times.iter().map(|(at, _)| *at).fold(0.0, f64::max);
    let is_enough = |length: &&u32| times.len() as f64 / last.max(1.0) * f64::from(**length) >= WANTED as f64;
    // A run of few turns has some intervals all the same.
    let is_short = |length: &&u32| f64::from(**length) <= last / 6.0;
    let length = LENGTHS.iter().find(is_enough).filter(|length| is_short(length));
    let length = length.or(LENGTHS.iter().rfind(is_short)).unwrap_or(&LENGTHS[0]);
    let length = f64::from(*length).max(last / f64::from(MOST_INTERVALS));
    let mut intervals: Vec<Interval> = Vec::new();
    let count = (last / length) as usize + usize::from(!times.is_empty());
    intervals.extend((0..count).map(|n| Interval { middle: (n as f64 + 0.5) * length, times: Vec::new() }));
    for (at, time) in times {
        if let Some(interval) = intervals.get_mut((at / length) as usize) {
            interval.times.push(time);
        }
    }
    intervals.iter_mut().for_each(|interval| interval.times.sort_unstable());
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_as_long_as_its_turns_are_few() {
        let turn = |n: u32, apart: f64| TurnRow {
            said_to_s: f64::from(n) * apart,
            response_ms: Some(Ns(u64::from(n % 10 + 1) * 1_000_000)),
            ..TurnRow::default()
        };
        let of = |count: u32, apart: f64| {
            let turns: Vec<_> = (0..count).map(|n| turn(n, apart)).collect();
            let all: Vec<_> = turns.iter().collect();
            let found = intervals(&all);
            assert_eq!(found.iter().map(|i| i.times.len()).sum::<usize>(), count as usize);
            found
        };
        let dense = of(3000, 0.1);
        assert_eq!((dense.len(), dense[1].middle), (150, 3.0));
        assert_eq!((dense[1].at(0.5), dense[1].at(0.95)), (Some(5.0), Some(10.0)));
        assert_eq!(of(13, 5.0)[1].middle, 15.0, "a few turns have a line, too");
        assert_eq!(of(2, 1.0)[0].at(0.5), None);
        assert!(of(0, 1.0).is_empty() && of(5, 1e7).len() <= 2001);
    }
}
