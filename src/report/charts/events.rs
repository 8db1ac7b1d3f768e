//! Parts that charts of single events over the run's time share: a dot for each, percentiles of intervals, marks at the edge
//! for those without a value.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::legend::{LegendKey, LineSeries, Mark};
use super::panel::{Panel, Point, apart};

/// Lengths of intervals, in seconds.
const LENGTHS: [u32; 10] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
/// Events of an interval on the average, where a length allows it.
const WANTED: usize = 20;
/// Fewest events of which a percentile is drawn: of fewer each is one of the dots.
const FEWEST: usize = 3;
/// Most intervals.
const MOST_INTERVALS: u32 = 2000;

/// Time of an event in seconds, and its value.
pub(super) type Event = (f64, f64);

/// Values of some seconds, in order.
pub(super) struct Interval {
    middle: f64,
    values: Vec<f64>,
}

impl Interval {
    /// The value at the rank of `share`; none of too few.
    pub fn at(&self, share: f64) -> Option<f64> {
        let rank = (self.values.len() as f64 * share).ceil() as usize;
        let value = self.values.get(rank.max(1) - 1)?;
        (self.values.len() >= FEWEST).then_some(*value)
    }
}

/// A dot for each event, and for the page's script, of each column of pixels, the greatest value or the least, whichever is
/// worse.
pub(super) fn dots(panel: &Panel<'_>, events: &[Event], key: &LegendKey<'_>, worse: Ordering) {
    panel.note_series(worst(panel, events, worse), key);
    panel.series(key, || {
        let places = events.iter().map(|(x, y)| panel.pixel(*x, *y));
        apart(places).for_each(|at| panel.canvas.disc(at, panel.canvas.px(0.18), key.ink));
    });
}

/// A line of a percentile of each interval.
pub(super) fn line(panel: &Panel<'_>, intervals: &[Interval], line: &LineSeries<Interval>) {
    let point = |interval: &Interval| -> Point { (interval.middle, (line.value)(interval)) };
    panel.line(intervals.iter().map(point), line);
}

/// Marks of events without a value, at the top of the panel or at its bottom.
pub(super) fn marks(
    panel: &Panel<'_>,
    times: impl Iterator<Item = f64>,
    is_at_top: bool,
    key: &LegendKey<'_>,
) {
    let (canvas, place) = (panel.canvas, panel.place);
    let inset = canvas.px(0.5);
    let level = if is_at_top { place.top + inset } else { place.bottom - inset };
    panel.series(key, || {
        apart(times.map(|time| (panel.across(time), level))).for_each(|at| match key.mark {
            Mark::Ring => canvas.ring(at, key.ink),
            _ => canvas.cross(at, key.ink),
        });
    });
}

fn worst(panel: &Panel<'_>, events: &[Event], worse: Ordering) -> Vec<Event> {
    let mut columns: BTreeMap<i32, Event> = BTreeMap::new();
    for (x, y) in events {
        let worst = columns.entry(panel.across(*x) / 4).or_insert((*x, *y));
        if y.total_cmp(&worst.1) == worse {
            *worst = (*x, *y);
        }
    }
    columns.into_values().collect()
}

/// Events by interval, each as long as it takes for some of them to lie in it. Times are 0 and more.
pub(super) fn intervals(events: &[Event]) -> Vec<Interval> {
    let last = events.iter().map(|(at, _)| *at).fold(0.0, f64::max);
    let is_enough =
        |length: &&u32| events.len() as f64 / last.max(1.0) * f64::from(**length) >= WANTED as f64;
    // A run of few events has some intervals all the same.
    let is_short = |length: &&u32| f64::from(**length) <= last / 6.0;
    let length = LENGTHS.iter().find(is_enough).filter(|length| is_short(length));
    let length = length.or(LENGTHS.iter().rfind(is_short)).unwrap_or(&LENGTHS[0]);
    let length = f64::from(*length).max(last / f64::from(MOST_INTERVALS));
    let mut intervals: Vec<Interval> = Vec::new();
    let count = (last / length) as usize + usize::from(!events.is_empty());
    intervals.extend((0..count).map(|n| Interval { middle: (n as f64 + 0.5) * length, values: Vec::new() }));
    for (at, value) in events {
        if let Some(interval) = intervals.get_mut((at / length) as usize) {
            interval.values.push(*value);
        }
    }
    intervals.iter_mut().for_each(|interval| interval.values.sort_unstable_by(f64::total_cmp));
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_as_long_as_its_events_are_few() {
        let of = |count: u32, apart: f64| {
            let events: Vec<Event> =
                (0..count).map(|n| (f64::from(n) * apart, f64::from(n % 10 + 1))).collect();
            let found = intervals(&events);
            assert_eq!(found.iter().map(|i| i.values.len()).sum::<usize>(), count as usize);
            found
        };
        let dense = of(3000, 0.1);
        assert_eq!((dense.len(), dense[1].middle), (150, 3.0));
        assert_eq!((dense[1].at(0.5), dense[1].at(0.95)), (Some(5.0), Some(10.0)));
        assert_eq!(of(13, 5.0)[1].middle, 15.0, "a few events have a line, too");
        assert_eq!(of(2, 1.0)[0].at(0.5), None);
        assert!(of(0, 1.0).is_empty() && of(5, 1e7).len() <= 2001);
    }
}
