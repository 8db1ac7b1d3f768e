//! Excerpts of conversations as reports tell of them: their parts, titles and measures.

use std::collections::HashMap;

use crate::metrics::Summary;
use crate::record::{MOST_EXCERPTS, TalkRow, TalkSide, TurnKind, TurnRow, Why};
use crate::report::words;
use crate::values::Ns;

/// Most parts of one excerpt that are drawn: a file's.
const MOST_PARTS: usize = 1000;
/// Longest excerpt that is drawn, in seconds: a file's.
const LONGEST_S: f64 = 600.0;

/// One excerpt.
pub(super) struct Excerpt<'s> {
    pub head: &'s TalkRow,
    /// Speech of both sides, in order of sides and times.
    pub parts: Vec<&'s TalkRow>,
}

/// A stretch that is told of in words.
pub(super) struct Measure {
    pub from_s: f64,
    pub to_s: f64,
    pub words: String,
}

/// All excerpts in their order. A stored file may hold anything: what has no length, or is one too many, is left out.
pub(super) fn all(summary: &Summary) -> Vec<Excerpt<'_>> {
    let mut parts: HashMap<u32, Vec<&TalkRow>> = HashMap::new();
    for row in summary.talk.iter().filter(|row| row.side != TalkSide::Excerpt) {
        parts.entry(row.excerpt).or_default().push(row);
    }
    let heads = summary.talk.iter().filter(|row| row.side == TalkSide::Excerpt);
    let is_drawn = |head: &&TalkRow| {
        let length = head.to_s - head.from_s;
        head.from_s >= 0.0 && length > 0.0 && length <= LONGEST_S
    };
    let mut excerpts: Vec<Excerpt<'_>> = Vec::new();
    for head in heads.filter(is_drawn).take(MOST_EXCERPTS) {
        let TalkRow { excerpt, from_s, to_s, .. } = *head;
        // A second head of the same number has none.
        let mut parts = parts.remove(&excerpt).unwrap_or_default();
        parts.retain(|part| part.to_s >= part.from_s && part.to_s > from_s && part.from_s < to_s);
        parts.truncate(MOST_PARTS);
        excerpts.push(Excerpt { head, parts });
    }
    excerpts
}

/// Those of the worst turns.
pub(super) fn worst(summary: &Summary) -> impl Iterator<Item = Excerpt<'_>> {
    all(summary).into_iter().filter(|excerpt| excerpt.head.why != Why::Named)
}

impl Excerpt<'_> {
    pub(super) fn length_s(&self) -> f64 {
        self.head.to_s - self.head.from_s
    }

    /// Seconds into the excerpt of a time of the run.
    pub(super) fn at(&self, s: f64) -> f64 {
        (s - self.head.from_s).clamp(0.0, self.length_s())
    }

    /// Turns of its call that lie in it.
    pub(super) fn turns<'s>(&self, summary: &'s Summary) -> impl Iterator<Item = &'s TurnRow> + use<'s> {
        let (call, from_s, to_s) = (self.head.call, self.head.from_s, self.head.to_s);
        let of_call = summary.turns.iter().filter(move |turn| turn.call == call);
        of_call.filter(move |turn| turn.said_from_s < to_s && turn.said_to_s > from_s).take(MOST_PARTS)
    }

    /// The turn that it is of.
    fn turn<'s>(&self, summary: &'s Summary) -> Option<&'s TurnRow> {
        let is_own = |turn: &&TurnRow| {
            let is_greeting = turn.kind == TurnKind::Greeting;
            !turn.kind.is_remark()
                && turn.call == self.head.call
                && Some(turn.turn) == self.head.turn
                && (!is_greeting || self.head.why == Why::NoReply && turn.no_reply)
        };
        let in_it =
            |turn: &&TurnRow| turn.said_to_s >= self.head.from_s && turn.said_from_s <= self.head.to_s;
        summary.turns.iter().filter(is_own).find(in_it)
    }
}

/// An excerpt in a line: `call 3, turn 7: longest response, 1,523 ms`.
pub(super) fn title(excerpt: &Excerpt<'_>, summary: &Summary) -> String {
    let TalkRow { call, turn, why, from_s, .. } = *excerpt.head;
    let own = excerpt.turn(summary);
    let after = |time: Option<Ns>| time.map_or(String::new(), |time| format!(", {} ms", words::ms(time)));
    let said = match why {
        Why::NoReply if own.is_some_and(|turn| turn.kind == TurnKind::Greeting) => "no greeting".into(),
        Why::NoReply => "no answer".into(),
        Why::Premature => "answered in a pause of the caller's sentence".into(),
        Why::FalseStop => "fell silent for a backchannel".into(),
        Why::LongestResponse => format!("longest response{}", after(own.and_then(|turn| turn.response_ms))),
        Why::LongestStop => format!("longest stop{}", after(own.and_then(|turn| turn.stop_ms))),
        Why::Named => format!("its last {}", words::span(excerpt.length_s())),
    };
    let at = words::clock(from_s, 1.0);
    match turn {
        Some(turn) => format!("call {call}, turn {turn}, at {at}: {said}"),
        None => format!("call {call}, from {at} on: {said}"),
    }
}

/// The stretch of a turn that is told of in the picture of an excerpt; for `why` none that one, else its response.
pub(super) fn measure(turn: &TurnRow, why: Why, excerpt: &Excerpt<'_>, summary: &Summary) -> Option<Measure> {
    let ms = |time: Ns| format!("{} ms", words::ms(time));
    let (said_from_s, said_to_s) = (turn.said_from_s, turn.said_to_s);
    let stop = turn.stop_ms.map(|stop| Measure {
        from_s: said_from_s,
        to_s: said_from_s + stop.as_ms() / 1e3,
        words: format!("stops after {}", ms(stop)),
    });
    let response = turn.response_ms.map(|response| Measure {
        from_s: said_to_s,
        to_s: said_to_s + response.as_ms() / 1e3,
        words: ms(response),
    });
    // The caller has waited until it spoke again.
    let onsets = excerpt.turns(summary).filter(|next| !next.kind.is_remark());
    let onsets = onsets.map(|next| next.said_from_s).filter(|onset| *onset > said_to_s);
    let until = onsets.fold(excerpt.head.to_s, f64::min);
    let missing =
        turn.no_reply.then(|| Measure { from_s: said_to_s, to_s: until, words: "no answer".into() });
    let early = turn.premature.then(|| Measure {
        from_s: said_from_s,
        to_s: said_to_s,
        words: "answered in the caller's pause".into(),
    });
    let silenced = (turn.false_stop == Some(true)).then(|| Measure {
        from_s: said_from_s,
        to_s: said_to_s,
        words: "fell silent for this".into(),
    });
    let measure = match why {
        Why::LongestStop => stop,
        Why::Premature => early,
        Why::FalseStop => silenced,
        Why::NoReply => missing,
        Why::LongestResponse => response,
        Why::Named => response.or(stop).or(missing).or(early).or(silenced),
    };
    measure.filter(|measure| measure.from_s < excerpt.head.to_s && measure.to_s > excerpt.head.from_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn titles_say_by_what_a_turn_is_one_of_the_worst() {
        let (summary, _) = fixture::conversation();
        let told: Vec<_> = all(&summary).iter().map(|excerpt| title(excerpt, &summary)).collect();
        insta::assert_snapshot!("excerpts", told.join("\n"));
        assert_eq!(worst(&summary).count() + 1, told.len());
    }

    #[test]
    fn whatever_a_file_holds_is_bounded() {
        let (mut summary, _) = fixture::conversation();
        let head = summary.talk[0].clone();
        summary.talk = (0..100).map(|n| TalkRow { excerpt: n, ..head.clone() }).collect();
        summary.talk.push(TalkRow { from_s: -1.0, ..head.clone() });
        summary.talk.push(TalkRow { to_s: 1e12, ..head.clone() });
        summary.talk.push(TalkRow { to_s: 0.0, ..head.clone() });
        let part = TalkRow { side: TalkSide::Caller, excerpt: 0, ..head };
        summary.talk.extend(std::iter::repeat_n(part, 5000));
        let found = all(&summary);
        assert_eq!((found.len(), found[0].parts.len()), (MOST_EXCERPTS, MOST_PARTS));
    }
}
