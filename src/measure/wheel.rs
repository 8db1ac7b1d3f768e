//! The slot wheel: streams by the time at which they send, one wake-up per slot.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use crate::stamp::Stamp;

/// One of several lanes, which have the streams of a run among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Number of the lane, from 0.
    pub lane: u32,
    /// Number of lanes.
    pub lanes: u32,
}

impl Default for Share {
    /// The only lane.
    fn default() -> Self {
        Share { lane: 0, lanes: 1 }
    }
}

/// Streams of one packet interval, spread over its slots. Each goes by a key of its own.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<T>>,
    /// Keys of the streams, as these stand in the slots.
    keys: Vec<Vec<u32>>,
    /// Slot and place of each key: a call that ends is not searched for among all others.
    places: HashMap<u32, (usize, usize)>,
    slot: Duration,
    origin: Stamp,
    /// Slots begun since the origin.
    turn: u64,
    /// Slots that new streams go to, in the order in which they are filled.
    order: Vec<usize>,
    /// Streams at hand.
    len: usize,
}

impl<T> Wheel<T> {
    /// A wheel that turns once per `ptime` in steps of `slot`, from `origin` on. Spread, a new
    /// stream goes where the fewest are; otherwise all streams send in the first slot.
    pub fn new(ptime: Duration, slot: Duration, origin: Stamp, spread: bool) -> Self {
        Wheel::of_lane(Share::default(), ptime, slot, origin, spread)
    }

    /// The wheel of one lane. The wheels of all lanes that turn from one origin, dealt streams in turn, have each stream
    /// in the slot in which one wheel would have it.
    pub fn of_lane(share: Share, ptime: Duration, slot: Duration, origin: Stamp, spread: bool) -> Self {
        let count = (ptime.as_nanos() / slot.as_nanos().max(1)).max(1) as usize;
        let lanes = share.lanes.max(1) as usize;
        let of_lane = (0..count).map(|n| (share.lane as usize + n * lanes) % count);
        let mut order: Vec<usize> = if spread { of_lane.collect() } else { vec![0] };
        // From its first slot on, the order repeats itself.
        let first = order[0];
        let len = order.iter().skip(1).position(|slot| *slot == first).map_or(order.len(), |n| n + 1);
        order.truncate(len);
        Wheel {
            slots: (0..count).map(|_| Vec::new()).collect(),
            keys: vec![Vec::new(); count],
            places: HashMap::new(),
            slot,
            origin,
            turn: 0,
            order,
            len: 0,
        }
    }

    /// Gives the stream its slot. One that had the same key is taken out.
    pub fn add(&mut self, key: u32, stream: T) {
        self.remove(key);
        let emptiest = self.order.iter().copied().min_by_key(|n| self.slots[*n].len()).unwrap_or(0);
        self.len += 1;
        self.places.insert(key, (emptiest, self.slots[emptiest].len()));
        self.slots[emptiest].push(stream);
        self.keys[emptiest].push(key);
    }

    /// The stream of this key.
    pub fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        let (slot, place) = *self.places.get(&key)?;
        self.slots[slot].get_mut(place)
    }

    /// Takes out the stream of this key.
    pub fn remove(&mut self, key: u32) -> Option<T> {
        let (slot, place) = self.places.remove(&key)?;
        self.len -= 1;
        self.keys[slot].swap_remove(place);
        // The slot's last stream has moved into the gap.
        if let Some(moved) = self.keys[slot].get(place) {
            self.places.insert(*moved, (slot, place));
        }
        Some(self.slots[slot].swap_remove(place))
    }

    /// Takes out all streams.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.places.clear();
        self.len = 0;
        self.keys.iter_mut().for_each(Vec::clear);
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

    /// Gives up the slots due before `at`; returns the number of packets that its streams would have sent in
    /// them, each at its own time, within the times in which `counted` counts a stream's packets. For a machine
    /// that was asleep: packets that old would all be lost, and sent at once would flood. However long it slept,
    /// this is a sum over the streams.
    pub fn skip_to(&mut self, at: Stamp, counted: impl Fn(&T) -> Range<Stamp>) -> u64 {
        let slot_ns = self.slot.as_nanos() as u64;
        let target = (at.since(self.origin).as_nanos() as u64 / slot_ns).max(self.turn);
        let skipped = self.turn..target;
        let first_at = |at: Stamp| (at.since(self.origin).as_nanos() as u64).div_ceil(slot_ns);
        let turns = self.slots.len() as u64;
        let packets = |(index, stream): (u64, &T)| {
            let counted = counted(stream);
            // Turns of this slot before `turn`.
            let before = |turn: u64| turn.saturating_sub(index).div_ceil(turns);
            let [from, to] =
                [counted.start, counted.end].map(|at| first_at(at).clamp(skipped.start, skipped.end));
            before(to).saturating_sub(before(from))
        };
        let streams =
            (0..).zip(&self.slots).flat_map(|(index, slot)| slot.iter().map(move |stream| (index, stream)));
        let all = streams.map(packets).sum();
        self.turn = target;
        all
    }

    /// True without any stream.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn at_ms(ms: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(ms)
    }

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
        "abcde".chars().for_each(|c| wheel.add(c.into(), c));
        let sent = play(&mut wheel, 8);
        let names = ["ae", "b", "c", "d", "ae", "b", "c", "d"];
        assert_eq!(
            sent,
            names.iter().enumerate().map(|(t, n)| (t as u64, n.to_string())).collect::<Vec<_>>()
        );
        assert_eq!(wheel.remove('a'.into()), Some('a'));
        assert_eq!(wheel.remove('a'.into()), None);
        wheel.add('f'.into(), 'f');
        assert_eq!(play(&mut wheel, 4).len(), 4);
        assert_eq!(wheel.drain().collect::<String>().len(), 5);
        assert!(wheel.is_empty());
    }

    #[test]
    fn aligned_streams_share_a_slot() {
        let mut wheel = Wheel::new(20 * MS, MS, Stamp::ZERO, false);
        "abc".chars().for_each(|c| wheel.add(c.into(), c));
        assert_eq!(play(&mut wheel, 40), [(0, "abc".into()), (20, "abc".into())]);
    }

    #[test]
    fn skipping_counts_every_packet_that_is_not_sent() {
        let mut wheel = Wheel::new(4 * MS, MS, Stamp::ZERO, true);
        "abc".chars().for_each(|c| wheel.add(c.into(), c));
        play(&mut wheel, 1);
        // Slots 1 to 9 hold b c - a b c - a b: seven packets.
        let ever = |_: &char| at_ms(0)..at_ms(u64::MAX / 1_000_000);
        assert_eq!(wheel.skip_to(at_ms(10), ever), 7);
        assert_eq!(wheel.due(), at_ms(10));
        assert_eq!(wheel.skip_to(at_ms(0), ever), 0);
        assert_eq!(wheel.due(), at_ms(10));
        // Slots 10 to 13: b and c once each, and not a.
        let but_a = |c: &char| if *c == 'a' { at_ms(0)..at_ms(0) } else { ever(c) };
        assert_eq!(wheel.skip_to(at_ms(14), but_a), 2);
        // A week, of which 8 ms count.
        assert_eq!(wheel.skip_to(at_ms(604_800_000), |_| at_ms(1000)..at_ms(1008)), 6);
    }

    proptest! {
        /// Each stream is found by its key, whatever was taken out before.
        #[test]
        fn streams_come_and_go_by_their_keys(
            steps in proptest::collection::vec((any::<bool>(), 0u32..12), 0..200),
            spread in any::<bool>(),
        ) {
            let mut wheel = Wheel::new(4 * MS, MS, Stamp::ZERO, spread);
            let mut there = std::collections::BTreeSet::new();
            for (add, key) in steps {
                if add {
                    wheel.add(key, key);
                    there.insert(key);
                } else {
                    prop_assert_eq!(wheel.remove(key), there.take(&key));
                }
            }
            prop_assert_eq!(wheel.is_empty(), there.is_empty());
            let mut left: Vec<_> = wheel.drain().collect();
            left.sort_unstable();
            prop_assert!(left.into_iter().eq(there));
            prop_assert_eq!(wheel.remove(0), None);
        }

        /// Dealt to lanes in turn, each stream sends when one wheel would have it send.
        #[test]
        fn the_lanes_together_keep_the_schedule_of_one(
            lanes in 1u32..40,
            streams in 0u32..200,
            slots in 1u32..30,
            spread in any::<bool>(),
        ) {
            let wheel = |share| Wheel::of_lane(share, MS * slots, MS, Stamp::ZERO, spread);
            let turn = |mut wheel: Wheel<u32>| {
                let mut sent = Vec::new();
                for _ in 0..2 * slots {
                    let due = wheel.due();
                    sent.extend(wheel.advance().iter().map(|stream| (due, *stream)));
                }
                sent
            };
            let mut one = wheel(Share::default());
            (0..streams).for_each(|n| one.add(n, n));
            let mut together = Vec::new();
            for lane in 0..lanes {
                let mut part = wheel(Share { lane, lanes });
                (lane..streams).step_by(lanes as usize).for_each(|n| part.add(n, n));
                together.extend(turn(part));
            }
            let mut of_one = turn(one);
            together.sort_unstable();
            of_one.sort_unstable();
            prop_assert_eq!(together, of_one);
        }

        /// However a sleep lies to the times that count, it skips what would have been sent in them.
        #[test]
        fn each_packet_is_judged_by_its_own_time(
            begun in 0usize..30,
            woken_ms in 0u64..200,
            counted in proptest::collection::vec((0u64..150, 0u64..150), 1..9),
            origin_us in 0u64..5000,
        ) {
            let origin = Stamp::ZERO + Duration::from_micros(origin_us);
            let wheels: Vec<Wheel<usize>> = (0..2)
                .map(|_| {
                    let mut wheel = Wheel::new(4 * MS, MS, origin, true);
                    (0..counted.len()).for_each(|n| wheel.add(n as u32, n));
                    for _ in 0..begun {
                        wheel.advance();
                    }
                    wheel
                })
                .collect();
            let [mut asleep, mut awake] = <[_; 2]>::try_from(wheels).expect("two");
            let range = |n: &usize| at_ms(counted[*n].0)..at_ms(counted[*n].1);
            let skipped = asleep.skip_to(at_ms(woken_ms), range);
            let mut sent = 0;
            while awake.due() < asleep.due() {
                let due = awake.due();
                sent += awake.advance().iter().filter(|n| range(n).contains(&due)).count() as u64;
            }
            prop_assert_eq!((skipped, awake.due()), (sent, asleep.due()));
        }
    }
}
