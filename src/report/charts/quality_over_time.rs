//! `speech-quality.png`: each passage's score over the run, and the share of it that never came.

use super::axis::Axis;
use super::canvas::{Canvas, Rect};
use super::legend::{LegendKey, LineSeries, Mark};
use super::panel::{Panel, Point, apart};
use super::theme::Ink;
use super::{Chart, faults, timeline};
use crate::metrics::Summary;
use crate::record::{NoScore, QualityRow};

const SCORED: LegendKey<'static> = LegendKey::new("a passage read aloud", Ink::Sky, Mark::Dot);
const MISSING: LegendKey<'static> = LegendKey::new("share of it that never came", Ink::Vermillion, Mark::Dot);
const UNSCORED: LegendKey<'static> =
    LegendKey::new("no score (quality.csv says why)", Ink::Vermillion, Mark::Cross);
const MEDIAN: LineSeries<f64> = LineSeries::new("median", Ink::Blue, 0.15, |score| Some(*score));

/// Lengths of intervals, in seconds.
const LENGTHS: [f64; 8] = [5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Passages of an interval on the average, where a length allows it.
const WANTED: f64 = 5.0;
/// Most intervals.
const MOST_INTERVALS: f64 = 2000.0;

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
    panel.series(&UNSCORED, || {
        let bottom = above.bottom - canvas.px(0.5);
        let places = unscored.iter().map(|at| (panel.across(*at), bottom));
        apart(places).for_each(|at| canvas.cross(at, UNSCORED.ink));
    });
    faults::mark(&panel, summary);
    let most = missing.iter().map(|(_, share)| *share).fold(1.0, f64::max);
    let y = Axis::linear(most * 1.08, below.labels(canvas), 0.0);
    let panel = timeline::panel(canvas, below, "never came, %", y, &summary.seconds);
    panel.x_axis(timeline::TIME);
    dots(&panel, &missing, &MISSING);
    if missing.is_empty() && !scored.is_empty() {
        panel.message("all of it came");
    }
    faults::lines(&panel, summary);
}

fn scores<'c>(canvas: &'c Canvas, place: Rect, scored: &[(f64, f64)], summary: &Summary) -> Panel<'c> {
    let title = match canvas.is_narrow() {
        true => "MOS-LQO",
        false => "MOS-LQO: 1 bad, 2 poor, 3 fair, 4 good; 4.55 is a copy",
    };
    let panel = timeline::panel(canvas, place, title, Axis::scores(), &summary.seconds);
    dots(&panel, scored, &SCORED);
    panel.line(medians(scored).into_iter(), &MEDIAN);
    if scored.is_empty() {
        panel.message("no passage has a score");
    }
    panel
}

fn of(passages: &[&QualityRow], value: impl Fn(&QualityRow) -> Option<f64>) -> Vec<(f64, f64)> {
    let point = |row: &&QualityRow| Some((row.sent_s, value(row).filter(|value| value.is_finite())?));
    passages.iter().filter_map(point).collect()
}

fn dots(panel: &Panel<'_>, points: &[(f64, f64)], key: &LegendKey<'_>) {
    panel.note_series(points.iter().copied(), key);
    panel.series(key, || {
        let radius = panel.canvas.px(0.18);
        let places = points.iter().map(|(x, y)| panel.pixel(*x, *y));
        apart(places).for_each(|at| panel.canvas.disc(at, radius, key.ink));
    });
}

/// Median by interval, each as long as it takes for some passages to lie in it.
fn medians(scored: &[(f64, f64)]) -> Vec<Point> {
    let last = scored.iter().map(|(at, _)| *at).fold(0.0, f64::max);
    let is_enough = |length: &f64| scored.len() as f64 / last.max(1.0) * length >= WANTED;
    let length = LENGTHS.into_iter().find(is_enough).unwrap_or(LENGTHS[LENGTHS.len() - 1]);
    let length = length.max(last / MOST_INTERVALS);
    let mut intervals = vec![Vec::new(); (last / length) as usize + 1];
    for (at, score) in scored {
        intervals[(at / length) as usize].push(*score);
    }
    let median = |mut scores: Vec<f64>| {
        scores.sort_unstable_by(f64::total_cmp);
        scores.get((scores.len().max(1) - 1) / 2).copied()
    };
    (0u32..).zip(intervals).map(|(n, of)| ((f64::from(n) + 0.5) * length, median(of))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_its_median_and_an_empty_one_none() {
        let scored: Vec<_> = (0..40).map(|n| (f64::from(n) * 0.5, f64::from(n % 5))).collect();
        assert_eq!(
            medians(&scored),
            [(2.5, Some(2.0)), (7.5, Some(2.0)), (12.5, Some(2.0)), (17.5, Some(2.0))]
        );
        let apart = [(1.0, 3.0), (1.5, 4.0), (599.0, 2.0), (1300.0, 1.0)];
        assert_eq!(medians(&apart), [(300.0, Some(3.0)), (900.0, None), (1500.0, Some(1.0))]);
        assert!(medians(&[(1e12, 1.0)]).len() <= 2001 && medians(&[])[0].1.is_none());
    }
}
