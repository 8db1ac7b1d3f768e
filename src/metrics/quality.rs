//! The table's rows of speech quality, scored against what was said.

use Group::Calls;
use Unit::{Count, Ratio, Score};

use super::counts::record;
use super::facts::{Facts, known, number, ratio};
use super::metric::{Definition, Figure, Group, RestsOn};
use crate::record::{NoScore, QualityRow, rank};
use crate::values::{Unit, Value};

fn count(facts: &Facts<'_>, is: fn(&QualityRow) -> bool) -> u64 {
    facts.passages().filter(|passage| is(passage)).count() as u64
}

/// Figures of passages alone: no data where nobody reads.
fn of_passages(facts: &Facts<'_>, figure: impl FnOnce() -> Value) -> Value {
    if facts.passages().next().is_some() { figure() } else { Value::NoData }
}

fn is_scored(passage: &QualityRow) -> bool {
    passage.mos_lqo.is_some()
}

fn is_unscored(passage: &QualityRow) -> bool {
    passage.unscored.is_some_and(|why| why != NoScore::CutOff)
}

/// The scores, in order. A driver that lost packets of its own has made them worse, and nobody knows by how much.
fn scores(facts: &Facts<'_>, of: impl FnOnce(&[f64]) -> Option<f64>) -> Value {
    facts.at_worst(|| {
        let mut scores: Vec<f64> = facts.passages().filter_map(|passage| passage.mos_lqo).collect();
        scores.sort_unstable_by(f64::total_cmp);
        known(of(&scores))
    })
}

fn percentile(scores: &[f64], q: f64) -> Option<f64> {
    let at = |n: usize| rank(q, n as u64) as usize - 1;
    (!scores.is_empty()).then(|| scores[at(scores.len())])
}

fn mean(of: &[f64]) -> Option<f64> {
    (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
}

const fn score(name: &'static str, help: &'static str, of: Figure) -> Definition {
    let row = record(Calls, name, Score, help, of).by_stage(false).larger_is_better();
    Definition { rests_on: RestsOn::Packets, ..row }
}

#[rustfmt::skip]
pub(super) static QUALITY_SCORES: [Definition; 4] = [
    score("speech_quality.min", "listening quality (MOS-LQO, P.862.1) of speech that came back: that of the worst passage",
        |f| scores(f, |scores| scores.first().copied())),
    score("speech_quality.p05", "the same: 5 % of the passages are as bad or worse; of up to 20 passages the worst",
        |f| scores(f, |scores| percentile(scores, 0.05))),
    score("speech_quality.p50", "the same: median", |f| scores(f, |scores| percentile(scores, 0.5))),
    score("speech_quality.mean", "the same: average",
        |f| scores(f, mean)),
];

#[rustfmt::skip]
pub(super) static QUALITY_COUNTS: [Definition; 4] = [
    record(Calls, "speech_quality.count", Count, "passages of speech that came back and have a score",
        |f| of_passages(f, || number(count(f, is_scored)))).by_stage(false)
        .larger_is_better(),
    record(Calls, "speech_quality.unscored_count", Count, "passages without a score (quality.csv says why)",
        |f| of_passages(f, || number(count(f, is_unscored)))).by_stage(false),
    record(Calls, "speech_quality.unscored_ratio", Ratio, "passages without a score, of those read",
        |f| of_passages(f, || ratio(count(f, is_unscored), count(f, |p| is_scored(p) || is_unscored(p))))).by_stage(false),
    record(Calls, "speech_quality.missing_ratio", Ratio, "audio of the passages scored that never came",
        |f| known(mean(&f.passages().filter_map(|passage| passage.missing_ratio).collect::<Vec<_>>())))
        .by_stage(false),
];
