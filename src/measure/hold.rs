//! Holds of one stream: the times of packets around its pauses, and the packets that were under way at their start.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use crate::stamp::Stamp;

/// Pauses that are remembered; what lies before them has been settled long ago.
const MOST_SPANS: usize = 32;
/// Longest before the hold was learnt that a packet under way may have been sent: a far end stops its echo first, and
/// says so then.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// Intended times of a stream's packets: isochronous, but for pauses. Numbers have no gap in a pause.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    /// First number and its time, of the newest.
    newest: Option<(u32, Stamp)>,
    /// Those of the ones before it.
    former: VecDeque<(u32, Stamp)>,
    /// Number of the first packet behind the last pause that was told of.
    paused_at: u32,
}

impl Spans {
    /// Notes the time of packet `seq`, which begins a span if none that is known has it.
    pub fn note(&mut self, seq: u32, at: Stamp, ptime: Duration) {
        let known = self.at(seq, ptime);
        let last = self.newest.map_or(0, |(first, _)| first);
        if known == Some(at) || known.is_some_and(|known| at < known || seq < last) {
            return;
        }
        // Numbers that nobody has seen belong to the span before, unless its end is known.
        let first = match known {
            None => 0,
            Some(_) if last < self.paused_at && self.paused_at <= seq => self.paused_at,
            Some(_) => seq,
        };
        let Some(former) = self.newest.replace((first, at - ptime * (seq - first))) else { return };
        if self.former.len() + 1 == MOST_SPANS {
            self.former.pop_front();
        }
        self.former.push_back(former);
    }

    /// Notes that sending pauses after `sent` packets, of which the last was intended at `last_at`.
    pub fn pause(&mut self, sent: u32, last_at: Stamp, ptime: Duration) {
        if let Some(last) = sent.checked_sub(1) {
            self.note(last, last_at, ptime);
        }
        self.paused_at = sent;
    }

    /// Time of packet `seq`; `None` before any is known.
    pub fn at(&self, seq: u32, ptime: Duration) -> Option<Stamp> {
        let newest = self.newest?;
        let (first, at) = if newest.0 <= seq { newest } else { self.before_newest(seq).unwrap_or(newest) };
        Some(match seq.checked_sub(first) {
            Some(behind) => at + ptime * behind,
            None => at - ptime * (first - seq),
        })
    }

    /// The span of packet `seq` among those before the newest, or else the first of them.
    fn before_newest(&self, seq: u32) -> Option<(u32, Stamp)> {
        self.former.iter().rfind(|(first, _)| *first <= seq).or(self.former.front()).copied()
    }
}

/// Packets that were under way when a hold was learnt, behind the last one that had come back: nobody was there any
/// more to return them. One that comes after all shows that those before it had their chance.
#[derive(Debug, Clone, Default)]
pub(super) struct Excused {
    ranges: VecDeque<Range<u32>>,
}

impl Excused {
    /// Excuses packets when a hold is learnt after `sent` of them, of which those before `next` have come back or had
    /// their chance; the new ones.
    pub fn excuse(&mut self, next: u32, sent: u32, ptime: Duration) -> Range<u32> {
        let most = (UNDER_WAY.as_nanos() / ptime.as_nanos().max(1)) as u32;
        let known = self.ranges.back().map_or(0, |range| range.end);
        let range = next.max(sent.saturating_sub(most)).max(known).min(sent)..sent;
        if !range.is_empty() {
            if self.ranges.len() == MOST_SPANS {
                self.ranges.pop_front();
            }
            self.ranges.push_back(range.clone());
        }
        range
    }

    /// Notes that packet `seq` has come back; those that are excused no longer.
    pub fn returned(&mut self, seq: u32) -> Range<u32> {
        let Some(range) = self.ranges.iter_mut().find(|range| range.contains(&seq)) else { return 0..0 };
        // Below the range's end, so that there is a next number.
        let back = range.start..seq + 1;
        range.start = seq + 1;
        back
    }

    /// Packets before `seq` that are excused.
    pub fn before(&self, seq: u32) -> u32 {
        self.ranges.iter().map(|range| range.end.min(seq).saturating_sub(range.start)).sum()
    }

    /// True if packet `seq` is excused.
    pub fn has(&self, seq: u32) -> bool {
        self.ranges.iter().any(|range| range.contains(&seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PTIME: Duration = Duration::from_millis(20);

    fn at(ms: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(100_000 + ms)
    }

    #[test]
    fn times_are_right_on_both_sides_of_a_pause() {
        let mut spans = Spans::default();
        assert_eq!(spans.at(5, PTIME), None);
        spans.note(3, at(60), PTIME);
        assert_eq!((spans.at(0, PTIME), spans.at(7, PTIME)), (Some(at(0)), Some(at(140))));
        spans.pause(10, at(180), PTIME);
        // The first two behind the pause are lost.
        spans.note(12, at(5040), PTIME);
        let times: Vec<_> = [0, 9, 10, 11, 12, 13].map(|seq| spans.at(seq, PTIME).unwrap()).to_vec();
        assert_eq!(times, [at(0), at(180), at(5000), at(5020), at(5040), at(5060)]);
        // One of before comes late, and changes nothing.
        spans.note(8, at(160), PTIME);
        assert_eq!(spans.former.len(), 1);
        // A pause of which nothing was told: its end is where it was first seen.
        spans.note(20, at(9000), PTIME);
        assert_eq!((spans.at(19, PTIME), spans.at(21, PTIME)), (Some(at(5180)), Some(at(9020))));
        // Held before anything has come back.
        let mut spans = Spans::default();
        spans.pause(4, at(60), PTIME);
        spans.note(6, at(1040), PTIME);
        assert_eq!((spans.at(0, PTIME), spans.at(4, PTIME)), (Some(at(0)), Some(at(1000))));
        // Held before anything was sent.
        let mut spans = Spans::default();
        spans.pause(0, Stamp::ZERO, PTIME);
        spans.note(1, at(20), PTIME);
        assert_eq!(spans.at(0, PTIME), Some(at(0)));
    }

    #[test]
    fn packets_behind_the_last_one_back_are_excused_until_a_later_one_comes() {
        let mut excused = Excused::default();
        assert_eq!(excused.excuse(10, 15, PTIME), 10..15);
        assert!(!excused.has(9) && excused.has(10) && excused.has(14) && !excused.has(15));
        assert_eq!(excused.returned(12), 10..13);
        assert!(!excused.has(11) && excused.has(13));
        assert_eq!(excused.returned(11), 0..0);
        // Packets of after the hold say nothing of those before it.
        assert_eq!(excused.returned(15), 0..0);
        assert_eq!(excused.excuse(16, 16, PTIME), 16..16);
        // Half a second and no more; and each once.
        assert_eq!(excused.excuse(16, 200, PTIME), 175..200);
        assert_eq!(excused.excuse(16, 210, PTIME), 200..210);
        assert!(excused.has(13) && !excused.has(174));
        assert_eq!([13, 14, 180, 300].map(|seq| excused.before(seq)), [0, 1, 7, 37]);
        assert_eq!(excused.excuse(300, 290, PTIME), 290..290);
    }

    proptest! {
        #[test]
        fn any_numbers_and_times_are_safe(
            steps in proptest::collection::vec((any::<u32>(), any::<u64>(), any::<bool>()), 1..100),
        ) {
            let (mut spans, mut excused) = (Spans::default(), Excused::default());
            for (seq, ns, is_pause) in steps {
                if is_pause {
                    spans.pause(seq, Stamp::from_ns(ns), PTIME);
                    excused.excuse(seq.wrapping_mul(3), seq, PTIME);
                } else {
                    spans.note(seq, Stamp::from_ns(ns), PTIME);
                    excused.returned(seq);
                }
                spans.at(seq.wrapping_add(7), PTIME);
                excused.has(seq);
                prop_assert!(excused.before(seq) <= seq);
                prop_assert!(spans.former.len() < MOST_SPANS && excused.ranges.len() <= MOST_SPANS);
            }
        }
    }
}
