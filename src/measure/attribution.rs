//! Fate of each packet that did not come back: the way on which it was lost, the length of the run.

use crate::record::Scope;
use crate::rtp::probe::Reflection;
use crate::rtp::sequence::{NumberBits, WINDOW};

/// A larger jump of the number is no gap in a stream of ours.
const LARGEST_GAP: u32 = 1 << 20;

/// Kinds of bits that a packet has: it is back.
const BACK: usize = 0;
/// It has reached the reflector.
const REACHED: usize = 1;
/// It lies within reach of a window, or is told by the counts.
const TOLD: usize = 2;
/// It is of the measured window.
const MEASURED: usize = 3;

/// Lost packets of the measured window, as far as a packet sent later has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Lost on the way to the reflector.
    pub up: u64,
    /// Lost on the way back.
    pub down: u64,
    /// Lost, and the reflector's word on them was lost too, or it does not stamp.
    pub unknown: u64,
    /// Uninterrupted runs of lost packets.
    pub runs: u64,
}

/// Follows each packet of a stream until it is clear what became of it.
///
/// A reflection shows which of the last 64 packets its reflector has received, and how many in all.
/// A missing packet that is in any later window was lost on the way down; one that is in none of the
/// windows that reach back to it was lost on the way up. Across a longer gap only numbers are known:
/// the difference of the two counts says how many of its packets were received.
#[derive(Debug, Clone, Default)]
pub struct Attribution {
    /// Number of the next packet that is not followed yet.
    next: u32,
    fates: NumberBits<4>,
    /// Number and count of the packet with the highest number that came back with a reflection.
    last: Option<(u32, u32)>,
    /// The highest number that has not come back so far.
    hole: Option<u32>,
    stamps: bool,
    losses: Losses,
    in_run: bool,
}

impl Attribution {
    /// Notes the first arrival of packet `seq`. `scope` says of any packet up to it whether it is measured.
    pub fn arrive(&mut self, seq: u32, reflection: Option<&Reflection>, scope: impl Fn(u32) -> Scope) {
        if seq >= self.next && !self.follow(seq, &scope) {
            return;
        }
        if self.next - seq > WINDOW {
            return;
        }
        self.fates.put(BACK, seq, true);
        let Some(reflection) = reflection else { return };
        self.stamps = true;
        // Without a hole in reach there is nothing to learn.
        if self.hole.is_some_and(|hole| seq < hole || seq - hole < WINDOW) {
            self.learn(seq, reflection);
        }
        if self.last.is_none_or(|(last, _)| seq > last) {
            self.last = Some((seq, reflection.received));
        }
    }

    /// Begins to follow the packets up to `seq`, and lets go of those that fall out behind.
    fn follow(&mut self, seq: u32, scope: &impl Fn(u32) -> Scope) -> bool {
        if seq - self.next > LARGEST_GAP {
            return false;
        }
        for n in self.next..=seq {
            if let Some(old) = n.checked_sub(WINDOW) {
                self.settle(old);
            }
            [BACK, REACHED, TOLD].into_iter().for_each(|kind| self.fates.put(kind, n, false));
            self.fates.put(MEASURED, n, scope(n) == Scope::Measured);
            if n != seq {
                self.hole = Some(n);
            }
        }
        self.next = seq.saturating_add(1);
        true
    }

    fn learn(&mut self, seq: u32, reflection: &Reflection) {
        let oldest = self.next.saturating_sub(WINDOW);
        let from = seq.saturating_sub(63).max(oldest);
        for n in from..seq {
            self.fates.put(TOLD, n, true);
            if reflection.window >> (seq - n) & 1 == 1 {
                self.fates.put(REACHED, n, true);
            }
        }
        // The packets between the last one that came back and this one's window: by number.
        let (start, count) = self.last.map_or((0, 0), |(last, count)| (last + 1, count));
        if start >= from || from - start >= WINDOW {
            return;
        }
        // A count that falls is that of a reflector which has begun anew.
        let Some(received) = reflection.received.checked_sub(count) else { return };
        let shown = (from..seq).filter(|n| self.fates.get(REACHED, *n)).count() as u32 + 1;
        let mut unseen = received.saturating_sub(shown);
        for n in start.max(oldest)..from {
            self.fates.put(TOLD, n, true);
            if unseen > 0 {
                self.fates.put(REACHED, n, true);
                unseen -= 1;
            }
        }
    }

    /// Packet `n` can no longer come back in time.
    fn settle(&mut self, n: u32) {
        let lost = !self.fates.get(BACK, n) && self.fates.get(MEASURED, n);
        let losses = &mut self.losses;
        losses.runs += u64::from(lost && !self.in_run);
        self.in_run = lost;
        if lost {
            match (self.fates.get(REACHED, n), self.fates.get(TOLD, n)) {
                (true, _) => losses.down += 1,
                (false, true) => losses.up += 1,
                (false, false) => losses.unknown += 1,
            }
        }
    }

    /// The losses up to the last packet that came back, and whether the far end stamps: where it does
    /// not, nothing is known of their way.
    pub fn finish(mut self) -> (Losses, bool) {
        for n in self.next.saturating_sub(WINDOW)..self.next {
            self.settle(n);
        }
        (self.losses, self.stamps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::sequence::Sequence;
    use crate::stamp::Stamp;
    use proptest::prelude::*;

    /// Fate of one packet.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fate {
        Up,
        Down,
        /// Comes back after so many others that were sent behind it.
        Back(usize),
    }

    /// The answers of a reflector to packets of these fates, in the order in which they come back.
    fn answers(fates: &[Fate]) -> Vec<(u32, Reflection)> {
        let (mut sequence, mut received) = (Sequence::default(), 0);
        let mut back = Vec::new();
        for (seq, fate) in (0u32..).zip(fates) {
            if *fate == Fate::Up {
                continue;
            }
            sequence.arrive(seq);
            received += 1;
            let window = sequence.last_64(seq);
            let reflection = Reflection { in_at: Stamp::ZERO, out_at: Stamp::ZERO, received, window };
            if let Fate::Back(behind) = fate {
                back.push((seq as usize + behind, seq, reflection));
            }
        }
        back.sort_by_key(|(at, seq, _)| (*at, *seq));
        back.into_iter().map(|(_, seq, reflection)| (seq, reflection)).collect()
    }

    fn losses(fates: &[Fate], inside: std::ops::Range<u32>) -> Losses {
        let mut attribution = Attribution::default();
        for (seq, reflection) in answers(fates) {
            let scope = |n| if inside.contains(&n) { Scope::Measured } else { Scope::Outside };
            attribution.arrive(seq, Some(&reflection), scope);
        }
        attribution.finish().0
    }

    /// Packets lost up (`u`), lost down (`d`) or back (`.`); those in brackets are measured.
    fn play(packets: &str) -> (u64, u64, u64, u64) {
        let at =
            |sign: char| packets.chars().take_while(|c| *c != sign).filter(|c| !"[]".contains(*c)).count();
        let fates: Vec<_> = packets
            .chars()
            .filter(|c| !"[]".contains(*c))
            .map(|c| match c {
                'u' => Fate::Up,
                'd' => Fate::Down,
                _ => Fate::Back(0),
            })
            .collect();
        let Losses { up, down, unknown, runs } = losses(&fates, at('[') as u32..at(']') as u32);
        (up, down, unknown, runs)
    }

    #[test]
    fn losses_are_told_apart_and_only_those_of_the_window_count() {
        assert_eq!(play("uuu..[..u.d..dd..].u.d."), (1, 3, 0, 3));
        assert_eq!(play("[....]"), (0, 0, 0, 0));
        assert_eq!(play("..[uu].."), (2, 0, 0, 1), "not one of the window came back");
        assert_eq!(play("..[.ud]."), (1, 1, 0, 1), "the next packet tells");
        assert_eq!(play("[.u.dd]"), (1, 0, 0, 1), "nothing came back that could tell of the last two");
    }

    #[test]
    fn a_long_gap_is_told_by_the_counts() {
        let gap = |up: usize, down: usize| {
            let mut fates = vec![Fate::Back(0); 5];
            fates.extend(vec![Fate::Up; up]);
            fates.extend(vec![Fate::Down; down]);
            fates.extend(vec![Fate::Back(0); 5]);
            losses(&fates, 0..10_000)
        };
        assert_eq!(gap(0, 300), Losses { up: 0, down: 300, unknown: 0, runs: 1 });
        assert_eq!(gap(300, 0), Losses { up: 300, down: 0, unknown: 0, runs: 1 });
        assert_eq!(gap(100, 120), Losses { up: 100, down: 120, unknown: 0, runs: 1 });
        let mut first = vec![Fate::Down; 200];
        first.push(Fate::Back(0));
        assert_eq!(losses(&first, 0..300), Losses { up: 0, down: 200, unknown: 0, runs: 1 });
        let all = gap(0, 3000);
        assert_eq!((all.up + all.down + all.unknown, all.runs), (3000, 1), "beyond what is followed");
    }

    #[test]
    fn a_reflector_that_begins_anew_loses_nothing() {
        let mut attribution = Attribution::default();
        for (base, answers) in [(0, answers(&[Fate::Back(0); 50])), (50, answers(&[Fate::Back(0); 50]))] {
            for (seq, reflection) in answers {
                attribution.arrive(base + seq, Some(&reflection), |_| Scope::Measured);
            }
        }
        assert_eq!(attribution.finish(), (Losses::default(), true));
    }

    #[test]
    fn a_far_end_that_does_not_stamp_tells_nothing_of_the_way() {
        let mut attribution = Attribution::default();
        [0, 1, 4, 6].into_iter().for_each(|seq| attribution.arrive(seq, None, |_| Scope::Measured));
        assert_eq!(attribution.finish(), (Losses { up: 0, down: 0, unknown: 3, runs: 2 }, false));
    }

    #[test]
    fn any_number_at_all_is_safe() {
        let mut attribution = Attribution::default();
        for seq in [u32::MAX, 5, u32::MAX - 1, 0, 1 << 20, 1 << 21, 3] {
            attribution.arrive(seq, None, |_| Scope::Measured);
        }
        attribution.finish();
    }

    proptest! {
        /// Up and down are exact whatever is lost and overtaken, up to the last packet that came back.
        #[test]
        fn each_loss_is_counted_once_on_its_way(
            fates in proptest::collection::vec(
                prop_oneof![
                    1 => Just(Fate::Up),
                    1 => Just(Fate::Down),
                    6 => (0usize..9).prop_map(Fate::Back),
                ],
                0..1500,
            ),
            from in 0u32..100,
        ) {
            let last = fates.iter().rposition(|f| matches!(f, Fate::Back(_))).map_or(0, |n| n + 1);
            let inside = from..(fates.len() as u32).max(from);
            let told = fates[..last].iter().enumerate().filter(|(n, _)| *n as u32 >= from);
            let count = |fate: Fate| told.clone().filter(|(_, f)| **f == fate).count() as u64;
            let found = losses(&fates, inside);
            prop_assert_eq!((found.up, found.down, found.unknown), (count(Fate::Up), count(Fate::Down), 0));
        }
    }
}
