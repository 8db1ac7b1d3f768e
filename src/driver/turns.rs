//! Turns of a run under way, as callers notice the answers. What is reported is judged at each call's end.

use std::collections::VecDeque;
use std::time::Duration;

use crate::conversation::Reply;
use crate::record::{Latencies, RecentTurns};
use crate::stamp::Stamp;

/// Age of the answers of which live figures are: callers speak every few seconds, so of a shorter time few calls have any.
const RECENT: Duration = Duration::from_secs(30);
/// Most answers of which live figures are; the oldest give way.
const MOST: usize = 20_000;

/// Turns so far.
#[derive(Debug, Default)]
pub(super) struct TurnsSoFar {
    count: u64,
    missing: u64,
    /// Answers of late: the time of their noticing, and the response in nanoseconds.
    recent: VecDeque<(Stamp, u64)>,
}

impl TurnsSoFar {
    /// Notes the fate of a turn that became known at `at`.
    pub fn note(&mut self, reply: Reply, at: Stamp) {
        self.count += 1;
        match reply {
            Reply::Missing => self.missing += 1,
            Reply::After(response) => {
                if self.recent.len() >= MOST {
                    self.recent.pop_front();
                }
                let ns = u64::try_from(response.as_nanos()).unwrap_or(u64::MAX);
                self.recent.push_back((at, ns));
            }
        }
    }

    /// Figures at `now`; `None` before the first turn.
    pub fn figures(&mut self, now: Stamp) -> Option<RecentTurns> {
        while self.recent.front().is_some_and(|(at, _)| now.since(*at) > RECENT) {
            self.recent.pop_front();
        }
        let mut responses = Latencies::default();
        self.recent.iter().for_each(|(_, ns)| responses.record(*ns));
        let at = |q| responses.quantile(q, 0);
        let TurnsSoFar { count, missing, .. } = *self;
        (count > 0).then(|| RecentTurns { count, missing, response_p50: at(0.5), response_p95: at(0.95) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Quantile;

    #[test]
    fn figures_are_of_answers_of_late_and_counts_of_all() {
        let at = |s: u64| Stamp::from_ns(1_000_000_000_000 + s * 1_000_000_000);
        let mut turns = TurnsSoFar::default();
        assert_eq!(turns.figures(at(0)), None);
        (0..100).for_each(|_| turns.note(Reply::After(Duration::from_secs(9)), at(0)));
        (1..=99).for_each(|n| turns.note(Reply::After(Duration::from_millis(n * 10)), at(20)));
        turns.note(Reply::Missing, at(21));
        let ms = |quantile: Quantile| match quantile {
            Quantile::At(ns) => ns / 1_000_000,
            other => panic!("{other:?}"),
        };
        let before = turns.figures(at(30)).unwrap();
        assert_eq!((before.count, before.missing), (200, 1));
        assert!(ms(before.response_p95).abs_diff(9000) < 20, "{before:?}");
        let after = turns.figures(at(31)).unwrap();
        assert_eq!((after.count, after.missing), (200, 1));
        let (p50, p95) = (ms(after.response_p50), ms(after.response_p95));
        assert!(p50.abs_diff(500) < 12 && p95.abs_diff(950) < 12, "{after:?}");
        let long_after = turns.figures(at(60)).unwrap();
        assert_eq!((long_after.count, long_after.response_p50), (200, Quantile::NoData));
    }

    #[test]
    fn a_flood_of_turns_takes_no_more_room() {
        let mut turns = TurnsSoFar::default();
        (0..3 * MOST).for_each(|_| turns.note(Reply::After(Duration::MAX), Stamp::from_ns(1)));
        assert_eq!((turns.recent.len(), turns.count), (MOST, 3 * MOST as u64));
    }
}
