//! `speech-quality.png`: each passage's score over the run, and the share of it that never came.

use std::cmp::Ordering;

use super::axis::Axis;
use super::canvas::{Canvas, Rect};
use super::events::{Event, Interval};
use super::legend::{LegendKey, LineSeries, Mark};
use super::panel::Panel;
use super::theme::Ink;
use super::{Chart, events, faults, timeline};
use crate::metrics::Summary;
use crate::record::{NoScore, QualityRow};

const SCORED: LegendKey<'static> = LegendKey::new("a passage read aloud", Ink::Sky, Mark::Dot);
const MISSING: LegendKey<'static> = LegendKey::new("share of it that never came", Ink::Vermillion, Mark::Dot);
const UNSCORED: LegendKey<'static> =
    LegendKey::new("no score (quality.csv says why)", Ink::Vermillion, Mark::Cross);
const MEDIAN: LineSeries<Interval> = LineSeries::new("median", Ink::Blue, 0.15, |interval| interval.at(0.5));

pub(super) const CHART: Chart = Chart {
    path: "plots/speech-quality.png",
    section: "over-time",
    title: "Quality of the speech that came back",
    caption: "A dot is a passage of some 10 s that a caller read aloud, at the time when it began: its listening quality \
              (MOS-LQO) against what was said, and below it the share of its audio that never came. A low score with \
              nothing missing is a codec, or a path that distorts; one above missing audio is loss. Delay and level cost \
              nothing here. Crosses at the bottom have no score and are in no figure of quality.",
    figures: &[
        ("worst", "speech_quality.min"),
        ("median", "speech_quality.p50"),
        ("without a score", "speech_quality.unscored_ratio"),
        ("passages scored", "speech_quality.count"),
    ],
    applies: super::is_read_aloud,
    draw,
};

fn draw(canvas: &mut Canvas, summary: &Summary) {
    let passages: Vec<&QualityRow> =
        summary.quality.iter().filter(|row| row.sent_s.is_finite() && row.sent_s >= 0.0).collect();
    let scored = of(&passages, |row| row.mos_lqo);
    // Vermillion is kept for what went wrong: one of which all came has no dot.
    let missing =
        of(&passages, |row| row.missing_ratio.filter(|share| *share > 0.0).map(|share| share * 100.0));
    let is_unscored = |row: &&&QualityRow| row.unscored.is_some_and(|why| why != NoScore::CutOff);
    let unscored: Vec<f64> = passages.iter().filter(is_unscored).map(|row| row.sent_s).collect();
    let mut keys = vec![MEDIAN.key, SCORED];
    keys.extend((!missing.is_empty()).then_some(MISSING));
    keys.extend((!unscored.is_empty()).then_some(UNSCORED));
    timeline::legend(canvas, keys, summary);
    let [above, below] = canvas.rows([1.0, 0.45]);
    let panel = scores(canvas, above, &scored, summary);
    events::marks(&panel, unscored.into_iter(), false, &UNSCORED);
    faults::mark(&panel, summary);
    let most = missing.iter().map(|(_, share)| *share).fold(1.0, f64::max);
    let y = Axis::linear(most * 1.08, below.labels(canvas), 0.0);
    let panel = timeline::panel(canvas, below, "never came, %", y, &summary.seconds);
    panel.x_axis(timeline::TIME);
    events::dots(&panel, &missing, &MISSING, Ordering::Greater);
    if missing.is_empty() && !scored.is_empty() {
        panel.message("all of it came");
    }
    faults::lines(&panel, summary);
}

fn scores<'c>(canvas: &'c Canvas, place: Rect, scored: &[Event], summary: &Summary) -> Panel<'c> {
    let title = match canvas.is_narrow() {
        true => "MOS-LQO",
        false => "MOS-LQO: 1 bad, 2 poor, 3 fair, 4 good; 4.55 is a copy",
    };
    let panel = timeline::panel(canvas, place, title, Axis::scores(), &summary.seconds);
    events::dots(&panel, scored, &SCORED, Ordering::Less);
    events::line(&panel, &events::intervals(scored), &MEDIAN);
    if scored.is_empty() {
        panel.message("no passage has a score");
    }
    panel
}

fn of(passages: &[&QualityRow], value: impl Fn(&QualityRow) -> Option<f64>) -> Vec<Event> {
    let point = |row: &&QualityRow| Some((row.sent_s, value(row).filter(|value| value.is_finite())?));
    passages.iter().filter_map(point).collect()
}
