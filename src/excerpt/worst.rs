//! The choice of a run's worst turns: of each kind of fault the gravest, in turn.

use crate::record::{MOST_WORST, TurnKind, TurnRow, Why};

/// Most time before the edge that is judged.
const BEFORE_S: f64 = 8.0;
/// Time around what is judged.
const AROUND_S: f64 = 1.0;
/// Most time of the answer that is told.
const ANSWER_S: f64 = 6.0;
/// Longest excerpt.
pub(super) const LONGEST_S: f64 = 60.0;

/// A turn that may be one of the worst.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub why: Why,
    /// Milliseconds by which turns of a kind are told apart; 0 where one is as bad as the other.
    badness: f64,
    pub call: u32,
    pub turn: u32,
    /// Ends of the excerpt, in seconds of the run.
    pub from_s: f64,
    pub to_s: f64,
}

/// The candidates that a turn is; an interruption can be one for its stop and one for its answer.
pub(super) fn candidates(row: &TurnRow, reply_within_s: f64) -> Vec<Candidate> {
    let TurnRow { call, turn, said_from_s, said_to_s, .. } = *row;
    let of = |why, badness, (edge, end): (f64, f64)| {
        let from_s = (said_from_s - AROUND_S).max(edge - BEFORE_S);
        let to_s = (end + AROUND_S).min(from_s + LONGEST_S);
        Candidate { why, badness, call, turn, from_s, to_s }
    };
    let answer_end = |begins: f64| row.reply_to_s.unwrap_or(begins).clamp(begins, begins + ANSWER_S);
    let mut found = Vec::new();
    if row.kind.is_remark() {
        return found;
    }
    if row.no_reply {
        found.push(of(Why::NoReply, 0.0, (said_to_s, said_to_s + reply_within_s)));
    }
    if row.premature {
        let end = row.reply_from_s.map_or(said_to_s, answer_end).max(said_to_s);
        found.push(of(Why::Premature, 0.0, (said_to_s, end)));
    }
    if row.false_stop == Some(true) {
        found.push(of(Why::FalseStop, 0.0, (said_from_s, said_to_s + ANSWER_S)));
    }
    if let Some(response) = row.response_ms.filter(|_| row.kind != TurnKind::Greeting) {
        let begins = said_to_s + response.as_ms() / 1e3;
        found.push(of(Why::LongestResponse, response.as_ms(), (said_to_s, answer_end(begins))));
    }
    if let Some(stop) = row.stop_ms {
        // Its talk before is a part of it.
        let said = of(Why::LongestStop, stop.as_ms(), (said_from_s, said_from_s + stop.as_ms() / 1e3));
        let to_s = (said.to_s.max(said_to_s) + AROUND_S).min(said.from_s + LONGEST_S);
        found.push(Candidate { from_s: said.from_s - 2.0, to_s, ..said });
    }
    found
}

/// Puts the worst first and drops all but [`MOST_WORST`]: of each kind the gravest, then of each the next. Whatever is
/// dropped would be dropped again, so that it may be done call by call.
pub(super) fn keep_worst(candidates: &mut Vec<Candidate>) {
    candidates.sort_by(|a, b| {
        let by_badness = b.badness.total_cmp(&a.badness);
        a.why.cmp(&b.why).then(by_badness).then(a.from_s.total_cmp(&b.from_s)).then(a.call.cmp(&b.call))
    });
    let mut ranked: Vec<(usize, Candidate)> = Vec::with_capacity(candidates.len());
    for candidate in candidates.drain(..) {
        let rank = match ranked.last() {
            Some((rank, before)) if before.why == candidate.why => rank + 1,
            _ => 0,
        };
        ranked.push((rank, candidate));
    }
    ranked.sort_by_key(|(rank, candidate)| (*rank, candidate.why));
    candidates.extend(ranked.into_iter().map(|(_, candidate)| candidate).take(MOST_WORST));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::values::Ns;

    fn turn(call: u32, response_ms: u64) -> TurnRow {
        TurnRow {
            call,
            said_from_s: 10.0 + f64::from(call),
            said_to_s: 12.0 + f64::from(call),
            response_ms: Some(Ns(response_ms * 1_000_000)),
            ..TurnRow::default()
        }
    }

    fn chosen(rows: &[TurnRow]) -> Vec<(Why, u32)> {
        let mut all: Vec<_> = rows.iter().flat_map(|row| candidates(row, 10.0)).collect();
        keep_worst(&mut all);
        all.iter().map(|candidate| (candidate.why, candidate.call)).collect()
    }

    #[test]
    fn of_each_kind_the_gravest_comes_first_and_then_of_each_the_next() {
        let mut rows: Vec<_> = (0..9).map(|call| turn(call, 700 + u64::from(call))).collect();
        let slowest = [8, 7, 6, 5, 4].map(|call| (Why::LongestResponse, call));
        assert_eq!(chosen(&rows), slowest);
        for call in [0, 1] {
            rows.push(TurnRow { no_reply: true, response_ms: None, ..turn(call, 0) });
        }
        rows.push(TurnRow { stop_ms: Some(Ns(400)), ..turn(3, 1) });
        rows.push(TurnRow { false_stop: Some(true), response_ms: None, ..turn(2, 0) });
        rows.push(TurnRow { kind: TurnKind::DeadAir, no_reply: true, ..turn(2, 0) });
        let mixed = [
            (Why::NoReply, 0),
            (Why::FalseStop, 2),
            (Why::LongestResponse, 8),
            (Why::LongestStop, 3),
            (Why::NoReply, 1),
        ];
        assert_eq!(chosen(&rows), mixed);
        rows.push(TurnRow { premature: true, ..turn(4, 5000) });
        assert_eq!(
            chosen(&rows)[1..4],
            [(Why::Premature, 4), (Why::FalseStop, 2), (Why::LongestResponse, 4)]
        );
        assert!(chosen(&[]).is_empty());
    }

    #[test]
    fn an_excerpt_holds_the_caller_s_end_and_the_answer() {
        let ends =
            |row: &TurnRow| candidates(row, 90.0).iter().map(|c| (c.from_s, c.to_s)).collect::<Vec<_>>();
        let mut row = TurnRow { reply_to_s: Some(14.0), ..turn(0, 700) };
        assert_eq!(ends(&row), [(9.0, 15.0)]);
        row.reply_to_s = Some(100.0);
        assert_eq!(ends(&row), [(9.0, 12.7 + 6.0 + 1.0)]);
        row.said_from_s = -40.0;
        assert_eq!(ends(&row)[0].0, 4.0);
        (row.no_reply, row.response_ms) = (true, None);
        assert_eq!(ends(&row), [(4.0, 64.0)]);
    }

    proptest! {
        #[test]
        fn choosing_call_by_call_is_choosing_at_the_end(
            turns in prop::collection::vec((0u32..4, 0u64..9, 0u8..3, any::<bool>()), 0..40),
        ) {
            let rows: Vec<_> = turns.iter().enumerate().map(|(n, (call, ms, what, premature))| TurnRow {
                said_from_s: n as f64,
                no_reply: *what == 0,
                stop_ms: (*what == 1).then_some(Ns(*ms)),
                premature: *premature,
                ..turn(*call, *ms)
            }).collect();
            let mut at_once: Vec<_> = rows.iter().flat_map(|row| candidates(row, 10.0)).collect();
            keep_worst(&mut at_once);
            let mut kept = Vec::new();
            for row in &rows {
                kept.extend(candidates(row, 10.0));
                keep_worst(&mut kept);
            }
            prop_assert_eq!(kept, at_once);
        }
    }
}
