//! The table's rows of speech quality, scored against what was said.

use Group::Calls;
use Unit::{Count, Ratio, Score};

use super::counts::{heard, record};
use super::facts::{Facts, known, number, ratio};
use super::metric::{Definition, Figure, Group, Of, Rank};
use crate::record::{NoScore, QualityRow, rank};
use crate::values::{Unit, Value};

fn count(facts: &Facts<'_>, is: fn(&QualityRow) -> bool) -> u64 {
    facts.passages().filter(|passage| is(passage)).count() as u64
}

/// Those that may be held against the path: at best none, for a driver in doubt may have kept all of them from being heard.
fn against(facts: &Facts<'_>, is: fn(&QualityRow) -> bool) -> u64 {
    if facts.is_best() { 0 } else { count(facts, is) }
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

/// A figure of the scores, in order. A late driver leaves it as it is; one that lost packets itself has made it worse, and
/// nobody knows by how much.
fn scores(facts: &Facts<'_>, of: impl FnOnce(&[f64]) -> Option<f64>) -> Value {
    let figure = || {
        let mut scores: Vec<f64> = facts.passages().filter_map(|passage| passage.mos_lqo).collect();
        scores.sort_unstable_by(f64::total_cmp);
        known(of(&scores))
    };
    let own_losses = facts.own_losses() + facts.environment.skipped;
    if own_losses == 0 { figure() } else { facts.at_worst(figure) }
}

fn percentile(scores: &[f64], q: f64) -> Option<f64> {
    let at = |n: usize| rank(q, n as u64) as usize - 1;
    (!scores.is_empty()).then(|| scores[at(scores.len())])
}

fn mean(of: &[f64]) -> Option<f64> {
    (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
}

const fn score(name: &'static str, help: &'static str, of: Figure) -> Definition {
    heard(record(Calls, name, Score, help, of).by_stage(false).larger_is_better())
}

const fn ranked(name: &'static str, help: &'static str, share: f64, of: Figure) -> Definition {
    Definition { of: Of::Rank(Rank { share, of, samples: |f| count(f, is_scored) }), ..score(name, help, of) }
}

#[rustfmt::skip]
pub(super) static QUALITY_SCORES: [Definition; 4] = [
    score("speech_quality.min", "listening quality (MOS-LQO, P.862.1) of speech that came back: that of the worst passage",
        |f| scores(f, |scores| scores.first().copied())),
    ranked("speech_quality.p05", "the same: 5 % of the passages are as bad or worse; of up to 20 passages the worst", 0.05,
        |f| scores(f, |scores| percentile(scores, 0.05))),
    ranked("speech_quality.p50", "the same: median", 0.5, |f| scores(f, |scores| percentile(scores, 0.5))),
    score("speech_quality.mean", "the same: average",
        |f| scores(f, mean)),
];

#[rustfmt::skip]
pub(super) static QUALITY_COUNTS: [Definition; 4] = [
    record(Calls, "speech_quality.count", Count, "passages of speech that came back and have a score",
        |f| of_passages(f, || number(count(f, is_scored)))).by_stage(false)
        .larger_is_better(),
    heard(record(Calls, "speech_quality.unscored_count", Count, "passages without a score (quality.csv says why)",
        |f| of_passages(f, || number(against(f, is_unscored)))).by_stage(false)),
    heard(record(Calls, "speech_quality.unscored_ratio", Ratio, "passages without a score, of those read",
        |f| of_passages(f, || ratio(against(f, is_unscored), count(f, |p| is_scored(p) || is_unscored(p))))).by_stage(false)),
    heard(record(Calls, "speech_quality.missing_ratio", Ratio, "audio of the passages scored that never came",
        |f| known(mean(&f.passages().filter_map(|passage| passage.missing_ratio).collect::<Vec<_>>())))
        .by_stage(false)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metric, summarize};
    use crate::record::{Environment, Run};

    fn passage(number: u32, sent_s: f64, mos_lqo: Option<f64>, unscored: Option<NoScore>) -> QualityRow {
        let missing_ratio = mos_lqo.map(|mos| if mos < 2.0 { 0.2 } else { 0.0 });
        QualityRow { number, sent_s, mos_lqo, missing_ratio, unscored, ..QualityRow::default() }
    }

    fn run(quality: Vec<QualityRow>) -> Run {
        let window = (Some(10.0), Some(50.0));
        let environment =
            Environment { window_from_s: window.0, window_to_s: window.1, ..Environment::default() };
        Run { environment, quality, ..Run::default() }
    }

    fn shown(run: Run, name: &str) -> String {
        let summary = summarize(run);
        summary.metric(&format!("speech_quality.{name}")).map(Metric::to_string).unwrap()
    }

    #[test]
    fn scores_of_the_window_count_and_those_cut_off_do_not() {
        let quality = vec![
            passage(0, 9.9, Some(1.0), None),
            passage(1, 10.0, Some(4.5), None),
            passage(2, 20.0, Some(1.5), None),
            passage(3, 30.0, Some(4.0), None),
            passage(4, 35.0, None, Some(NoScore::Silence)),
            passage(5, 49.0, None, Some(NoScore::CutOff)),
        ];
        for (name, expected) in [
            ("min", "1.50"),
            ("p05", "1.50"),
            ("p50", "4.00"),
            ("mean", "3.33"),
            ("count", "3"),
            ("unscored_count", "1"),
            ("unscored_ratio", "25.00 %"),
            ("missing_ratio", "6.67 %"),
        ] {
            assert_eq!(shown(run(quality.clone()), name), expected, "{name}");
        }
    }

    #[test]
    fn the_fifth_percentile_is_a_score_that_was_measured() {
        let of = |count: u32| {
            let scores = (0..count).map(|n| passage(n, 20.0, Some(1.0 + f64::from(n) / 100.0), None));
            shown(run(scores.collect()), "p05")
        };
        assert_eq!([of(20), of(21), of(100)], ["1.00", "1.01", "1.04"]);
    }

    #[test]
    fn a_percentile_of_too_few_passages_is_marked() {
        let too_few = |count: u32, name: &str| {
            let scores = (0..count).map(|n| passage(n, 20.0, Some(4.0), None));
            let summary = summarize(run(scores.collect()));
            let metric = summary.metric(name).unwrap();
            assert_eq!(metric.samples, name.contains(".p").then_some(u64::from(count)));
            metric.too_few
        };
        let cases = [(199, "p50", true), (200, "p50", false), (1999, "p05", true), (2000, "p05", false)];
        for (count, key, expected) in cases.into_iter().chain([(3, "min", false), (3, "mean", false)]) {
            assert_eq!(too_few(count, &format!("speech_quality.{key}")), expected, "{count} {key}");
        }
    }

    #[test]
    fn without_passages_there_is_no_data() {
        for name in
            ["min", "p05", "p50", "mean", "count", "unscored_count", "unscored_ratio", "missing_ratio"]
        {
            assert_eq!(shown(run(Vec::new()), name), "no data", "{name}");
        }
        let silent = vec![passage(0, 20.0, None, Some(NoScore::NotJudged))];
        assert_eq!(shown(run(silent.clone()), "p50"), "no data");
        assert_eq!(shown(run(silent), "unscored_ratio"), "100 %");
    }
}
