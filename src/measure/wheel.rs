//! The slot wheel: streams by the time at which they send, one wake-up per slot.

use std::time::Duration;

use crate::stamp::Stamp;

/// Streams of one packet interval, spread over its slots.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<T>>,
    slot: Duration,
    origin: Stamp,
    /// Slots begun since the origin.
    turn: u64,
    spread: bool,
}

impl<T> Wheel<T> {
    /// A wheel that turns once per `ptime` in steps of `slot`, from `origin` on. Spread, a new
    /// stream goes where the fewest are; otherwise all streams send in the first slot.
    pub fn new(ptime: Duration, slot: Duration, origin: Stamp, spread: bool) -> Self {
        let count = (ptime.as_nanos() / slot.as_nanos().max(1)).max(1) as usize;
        Wheel { slots: (0..count).map(|_| Vec::new()).collect(), slot, origin, turn: 0, spread }
    }

    /// Gives the stream its slot.
    pub fn add(&mut self, stream: T) {
        let emptiest = match self.spread {
            true => (0..self.slots.len()).min_by_key(|n| self.slots[*n].len()).unwrap_or(0),
            false => 0,
        };
        self.slots[emptiest].push(stream);
    }

    /// Takes out the first stream that `is_it`.
    pub fn remove(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        self.slots.iter_mut().find_map(|slot| slot.iter().position(&is_it).map(|n| slot.swap_remove(n)))
    }

    /// Takes out all streams.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.slots.iter_mut().flat_map(std::mem::take)
    }

    /// Time of the next slot.
    pub fn due(&self) -> Stamp {
        self.origin + Duration::from_nanos(self.slot.as_nanos() as u64 * self.turn)
    }

    /// The streams of the next slot, whose intended time is [`Wheel::due`]; moves on to the one after.
    pub fn advance(&mut self) -> &mut [T] {
        let index = (self.turn % self.slots.len() as u64) as usize;
        self.turn += 1;
        &mut self.slots[index]
    }

    /// Gives up the slots due before `at`; returns the number of packets that the streams which `counts` would
    /// have sent in them. For a machine that was asleep: packets that old would all be lost, and sent at once
    /// would flood.
    pub fn skip_to(&mut self, at: Stamp, counts: impl Fn(&T) -> bool) -> u64 {
        let target = at.since(self.origin).as_nanos() as u64 / self.slot.as_nanos() as u64;
        let behind = target.saturating_sub(self.turn);
        let turns = self.slots.len() as u64;
        let of = |slot: &Vec<T>| slot.iter().filter(|stream| counts(stream)).count() as u64;
        let all: u64 = self.slots.iter().map(of).sum();
        let part = (0..behind % turns).map(|k| of(&self.slots[((self.turn + k) % turns) as usize]));
        let skipped = behind / turns * all + part.sum::<u64>();
        self.turn += behind;
        skipped
    }

    /// True without any stream.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn play(wheel: &mut Wheel<char>, slots: usize) -> Vec<(u64, String)> {
        let mut sent = Vec::new();
        for _ in 0..slots {
            let at = wheel.due().as_ns() / 1_000_000;
            let who: String = wheel.advance().iter().collect();
            if !who.is_empty() {
                sent.push((at, who));
            }
        }
        sent
    }

    #[test]
    fn every_stream_sends_once_per_interval_on_its_own_grid() {
        let mut wheel = Wheel::new(4 * MS, MS, Stamp::ZERO, true);
        "abcde".chars().for_each(|c| wheel.add(c));
        let sent = play(&mut wheel, 8);
        let names = ["ae", "b", "c", "d", "ae", "b", "c", "d"];
        assert_eq!(
            sent,
            names.iter().enumerate().map(|(t, n)| (t as u64, n.to_string())).collect::<Vec<_>>()
        );
        assert_eq!(wheel.remove(|c| *c == 'a'), Some('a'));
        assert_eq!(wheel.remove(|c| *c == 'a'), None);
        wheel.add('f');
        assert_eq!(play(&mut wheel, 4).len(), 4);
        assert_eq!(wheel.drain().collect::<String>().len(), 5);
        assert!(wheel.is_empty());
    }

    #[test]
    fn aligned_streams_share_a_slot() {
        let mut wheel = Wheel::new(20 * MS, MS, Stamp::ZERO, false);
        "abc".chars().for_each(|c| wheel.add(c));
        assert_eq!(play(&mut wheel, 40), [(0, "abc".into()), (20, "abc".into())]);
    }

    #[test]
    fn skipping_counts_every_packet_that_is_not_sent() {
        let mut wheel = Wheel::new(4 * MS, MS, Stamp::ZERO, true);
        "abc".chars().for_each(|c| wheel.add(c));
        play(&mut wheel, 1);
        // Slots 1 to 9 hold b c - a b c - a b: seven packets.
        assert_eq!(wheel.skip_to(Stamp::ZERO + 10 * MS, |_| true), 7);
        assert_eq!(wheel.due(), Stamp::ZERO + 10 * MS);
        assert_eq!(wheel.skip_to(Stamp::ZERO, |_| true), 0);
        // Slots 10 to 13: b and c once each, and not a.
        assert_eq!(wheel.skip_to(Stamp::ZERO + 14 * MS, |c| *c != 'a'), 2);
    }
}
