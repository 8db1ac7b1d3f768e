//! `rtt-over-time.png`: median, percentiles and largest round trip per second.

use super::axis::Axis;
use super::faults;
use super::figure::{Drawn, Figure, Key, Mark};
use super::panel::Panel;
use super::theme::Ink;
use super::timeline;
use crate::metrics::Summary;
use crate::record::SecondRecord;
use crate::values::Ns;

type Series = (&'static str, Ink, f64, fn(&SecondRecord) -> Option<Ns>);

/// Label, colour, width of the line in ems, value. Drawn in this order, the last on top.
const SERIES: [Series; 5] = [
    ("largest", Ink::Purple, 0.1, |s| s.rtt_max_ms),
    ("99th percentile", Ink::Orange, 0.11, |s| s.rtt_p99_ms),
    ("control stream, 99th percentile", Ink::Sky, 0.1, |s| s.control_p99_ms),
    ("95th percentile", Ink::Green, 0.11, |s| s.rtt_p95_ms),
    ("median", Ink::Blue, 0.13, |s| s.rtt_p50_ms),
];

pub(super) fn draw(figure: &mut Figure<'_>, summary: &Summary) -> Drawn {
    let seconds = &summary.seconds;
    let some_lost = seconds.iter().any(|s| s.lost > 0);
    let mut keys: Vec<Key<'_>> =
        SERIES.iter().map(|(label, ink, ..)| Key { label, ink: *ink, mark: Mark::Line }).collect();
    if some_lost {
        keys.push(Key { label: "second with lost packets", ink: Ink::Vermillion, mark: Mark::Stroke });
    }
    let values = SERIES.iter().flat_map(|(.., of)| seconds.iter().filter_map(of)).map(Ns::as_ms);
    let late = late_threshold(summary).filter(|late| Axis::log_ms(values.clone(), 8).contains(*late));
    let late_label = format!("late: {} ms above the smallest", summary.environment.late_after_ms);
    if late.is_some() {
        keys.push(Key { label: &late_label, ink: Ink::Vermillion, mark: Mark::Dash });
    }
    keys.push(timeline::not_measured_key(figure));
    faults::legend(figure, &keys, summary)?;

    let [place] = figure.rows([1.0]);
    let y = Axis::log_ms(values.clone(), place.log_labels(figure));
    let panel = Panel::new(figure, place, timeline::axis(figure, seconds), y);
    timeline::shade_phases(&panel, seconds)?;
    panel.frame("round trip, ms (logarithmic)")?;
    panel.x_axis(timeline::TIME)?;
    if values.count() == 0 {
        faults::mark(figure, &panel, summary)?;
        lost_seconds(figure, &panel, seconds)?;
        return panel.say("no packet came back");
    }
    for (_, ink, width, of) in SERIES {
        panel.line(timeline::series(seconds, move |s| of(s).map(Ns::as_ms)), ink, width)?;
    }
    if let Some(late) = late {
        panel.across(late, Ink::Vermillion)?;
    }
    faults::mark(figure, &panel, summary)?;
    lost_seconds(figure, &panel, seconds)
}

/// Packets that never came back have no round trip to draw: their seconds are marked at the top.
fn lost_seconds(figure: &Figure<'_>, panel: &Panel<'_, '_>, seconds: &[SecondRecord]) -> Drawn {
    let mut places: Vec<(i32, (f64, f64))> = Vec::new();
    let (_, top) = panel.pixel(0.0, panel.y().to());
    for second in seconds.iter().filter(|s| s.lost > 0) {
        let middle = f64::from(second.second) + 0.5;
        let (x, _) = panel.pixel(middle, 0.0);
        if places.last().is_none_or(|(last, _)| *last != x) {
            places.push((x, (middle, second.lost as f64)));
        }
    }
    panel.note(places.iter().map(|(_, noted)| *noted), Ink::Vermillion);
    panel.series(Ink::Vermillion, || {
        places.iter().try_for_each(|(x, _)| figure.stroke((*x, top + figure.px(0.55)), Ink::Vermillion))
    })
}

/// Where a packet of the fastest call would have been late.
fn late_threshold(summary: &Summary) -> Option<f64> {
    let fastest = summary.metric("rtt.min")?.value.number()?;
    Some(fastest + summary.environment.late_after_ms)
}
