//! The worst passages of calls that read aloud.

use crate::metrics::Summary;
use crate::record::{NoScore, QualityRow};
use crate::report::words;

/// Most rows of the table; `quality.csv` has every passage.
const MOST: usize = 8;

/// A passage of the measured window.
#[derive(Debug, PartialEq)]
pub(super) struct WorstPassage {
    pub call: u32,
    pub at: String,
    /// Its score, or the reason for which it has none.
    pub score: String,
    pub missing: String,
    pub is_scored: bool,
    /// File of its audio, beside the page.
    pub audio: Option<String>,
}

/// The worst passages: those without a score, then by their score.
pub(super) fn worst(summary: &Summary) -> Vec<WorstPassage> {
    let environment = &summary.environment;
    let Some((from, to)) = environment.window_from_s.zip(environment.window_to_s) else { return Vec::new() };
    let counts =
        |row: &&QualityRow| row.unscored != Some(NoScore::CutOff) && (from..to).contains(&row.sent_s);
    let mut rows: Vec<&QualityRow> = summary.quality.iter().filter(counts).collect();
    let score = |row: &QualityRow| row.mos_lqo.unwrap_or(0.0);
    rows.sort_by(|a, b| score(a).total_cmp(&score(b)).then(a.sent_s.total_cmp(&b.sent_s)));
    rows.into_iter().take(MOST).map(passage).collect()
}

fn passage(row: &QualityRow) -> WorstPassage {
    let score = match (row.mos_lqo, row.unscored) {
        (Some(score), _) => format!("{score:.2}"),
        (None, Some(NoScore::Silence)) => "no speech came back".into(),
        (None, Some(NoScore::NotJudged)) => "not judged: scoring did not keep up".into(),
        (None, _) => "cannot be matched with what was said".into(),
    };
    WorstPassage {
        call: row.call,
        at: words::clock(row.sent_s, 1.0),
        score,
        missing: row.missing_ratio.map_or("–".into(), |share| format!("{:.1} %", share * 100.0)),
        is_scored: row.mos_lqo.is_some(),
        audio: row.audio_file().map(str::to_string),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn those_without_a_score_come_first_and_then_the_lowest() {
        let (summary, _) = fixture::read_aloud();
        let rows = worst(&summary);
        assert_eq!(rows.len(), MOST);
        let shown: Vec<_> =
            rows.iter().map(|row| (row.call, row.score.as_str(), row.missing.as_str())).collect();
        assert_eq!(shown[0], (3, "no speech came back", "–"));
        assert_eq!(shown[1], (4, "not judged: scoring did not keep up", "–"));
        assert_eq!((shown[2].1, shown[2].2), ("2.74", "4.5 %"));
        let with_audio = rows.iter().filter(|row| row.audio.is_some()).count();
        assert_eq!((rows[2].call, with_audio), (1, 5));
        assert!(worst(&fixture::typical().0).is_empty());
    }
}
