//! `signal-delay.png`: each burst's delay over the run, with those that were not found.

use std::cmp::Ordering;

use super::axis::Axis;
use super::canvas::Canvas;
use super::events::{Event, Interval};
use super::legend::{LegendKey, LineSeries, Mark};
use super::theme::Ink;
use super::{Chart, events, faults, timeline};
use crate::metrics::Summary;
use crate::record::{SignalRejection, SignalRow};

const FOUND: LegendKey<'static> = LegendKey::new("a burst that came back", Ink::Sky, Mark::Dot);
const REJECTED: LegendKey<'static> =
    LegendKey::new("not found (signals.csv says why)", Ink::Vermillion, Mark::Cross);
/// Drawn in this order, the last on top.
const LINES: [LineSeries<Interval>; 2] = [
    LineSeries::new("95th percentile", Ink::Orange, 0.13, |interval| interval.at(0.95)),
    LineSeries::new("median", Ink::Blue, 0.15, |interval| interval.at(0.5)),
];

pub(super) const CHART: Chart = Chart {
    path: "plots/signal-delay.png",
    section: "over-time",
    title: "Delay of the audio, burst by burst",
    caption: "A dot is a burst of sound: from the sending of its first sample to the receipt of the same, at the time when it \
              was sent. Coders, mixers and jitter buffers shift the whole cloud; one that rises is a queue, or two clocks \
              that run apart. Crosses at the top were not found in what came back, and are in no percentile.",
    figures: &[
        ("median", "signal_delay.p50"),
        ("95th percentile", "signal_delay.p95"),
        ("not found", "signal_delay.rejected_ratio"),
        ("bursts found", "signal_delay.count"),
    ],
    applies: super::is_signal,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let bursts = || summary.signals.iter().filter(|burst| burst.sent_s.is_finite() && burst.sent_s >= 0.0);
    let delay = |burst: &SignalRow| burst.delay_ms.map(|delay| (burst.sent_s, delay.as_ms()));
    let found: Vec<Event> = bursts().filter_map(delay).collect();
    let is_rejected =
        |burst: &&SignalRow| burst.rejected.is_some_and(|reason| reason != SignalRejection::CutOff);
    let rejected: Vec<f64> = bursts().filter(is_rejected).map(|burst| burst.sent_s).collect();
    let mut keys = vec![LINES[1].key, LINES[0].key, FOUND];
    keys.extend((!rejected.is_empty()).then_some(REJECTED));
    timeline::legend(canvas, keys, summary);
    let [place] = canvas.rows([1.0]);
    let most = found.iter().map(|(_, ms)| *ms).fold(0.0, f64::max);
    let y = Axis::linear(most * 1.08, place.labels(canvas), 0.0);
    let panel = timeline::panel(canvas, place, "delay of the audio, ms", y, &summary.seconds);
    panel.x_axis(timeline::TIME);
    events::dots(&panel, &found, &FOUND, Ordering::Greater);
    let intervals = events::intervals(&found);
    LINES.iter().for_each(|line| events::line(&panel, &intervals, line));
    events::marks(&panel, rejected.into_iter(), true, &REJECTED);
    faults::mark(&panel, summary);
    if found.is_empty() {
        panel.message("no burst was found");
    }
}
