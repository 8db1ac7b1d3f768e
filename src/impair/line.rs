//! Holds datagrams until they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::stamp::Stamp;

/// A datagram that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueDatagram<'a, T = u64> {
    /// Its departure.
    pub at: Stamp,
    /// The pusher's tag: its stream, its socket.
    pub tag: T,
    /// The datagram.
    pub bytes: &'a [u8],
}

/// Place of a held datagram. Ordered by due time, then by the order of pushing, which is unique.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HeldDatagram<T> {
    due: Stamp,
    order: u64,
    slot: usize,
    length: usize,
    tag: T,
}

/// Datagrams of any number of streams, each held until its time.
///
/// All memory is taken at the beginning: `most` slots of `longest` bytes and some 60 bytes more for
/// each. Pushing and popping allocate nothing and take O(log held) steps.
#[derive(Debug)]
pub struct DelayLine<T = u64> {
    held: BinaryHeap<Reverse<HeldDatagram<T>>>,
    slots: Vec<u8>,
    longest: usize,
    /// Slots that were in use and are not now; the one used last comes first, as it is still in cache.
    free: Vec<usize>,
    /// Slots never used yet begin here.
    fresh: usize,
    most: usize,
    pushed: u64,
    overflows: u64,
}

impl<T: Copy + Ord> DelayLine<T> {
    /// A line that holds up to `most` datagrams of up to `longest` bytes.
    pub fn new(most: usize, longest: usize) -> Self {
        DelayLine {
            held: BinaryHeap::with_capacity(most),
            // Zeroed memory is not touched before it is used, so a generous line costs address space.
            slots: vec![0; most.saturating_mul(longest)],
            longest,
            free: Vec::with_capacity(most),
            fresh: 0,
            most,
            pushed: 0,
            overflows: 0,
        }
    }

    /// Copies a datagram and holds it until `due`; says whether it could. Those with equal times leave
    /// in the order in which they were pushed.
    pub fn push(&mut self, due: Stamp, bytes: &[u8], tag: T) -> bool {
        let slot = if bytes.len() <= self.longest { self.take_slot() } else { None };
        let Some(slot) = slot else {
            self.overflows += 1;
            return false;
        };
        let from = slot * self.longest;
        self.slots[from..from + bytes.len()].copy_from_slice(bytes);
        self.held.push(Reverse(HeldDatagram { due, order: self.pushed, slot, length: bytes.len(), tag }));
        self.pushed += 1;
        true
    }

    /// Departure of the next datagram.
    pub fn next_due(&self) -> Option<Stamp> {
        self.held.peek().map(|Reverse(held)| held.due)
    }

    /// Lets go of the next datagram that is due at or before `now`.
    pub fn pop_due(&mut self, now: Stamp) -> Option<DueDatagram<'_, T>> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(held) = self.held.pop()?;
        // The slot is free from here on; its bytes stay until the next push, which `DueDatagram` keeps away.
        self.free.push(held.slot);
        let from = held.slot * self.longest;
        Some(DueDatagram { at: held.due, tag: held.tag, bytes: &self.slots[from..from + held.length] })
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.held.len()
    }

    /// True if none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Datagrams dropped because the line was full or they were longer than a slot. Anything but zero means
    /// that the line lost packets that the impairment did not.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    fn take_slot(&mut self) -> Option<usize> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let slot = self.fresh;
        self.fresh += usize::from(slot < self.most);
        (slot < self.most).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ns: u64) -> Stamp {
        Stamp::from_ns(ns)
    }

    fn drain(line: &mut DelayLine, now: Stamp) -> Vec<(u64, u64, Vec<u8>)> {
        std::iter::from_fn(|| line.pop_due(now).map(|d| (d.at.as_ns(), d.tag, d.bytes.to_vec()))).collect()
    }

    #[test]
    fn nothing_leaves_before_its_time_and_equals_leave_in_order() {
        let mut line = DelayLine::new(8, 4);
        for (due, tag) in [(30, 0), (10, 1), (30, 2), (20, 3), (30, 4)] {
            assert!(line.push(at(due), &[tag as u8], tag));
        }
        assert_eq!(line.next_due(), Some(at(10)));
        assert_eq!(line.pop_due(at(9)), None);
        let tags =
            |line: &mut DelayLine, now| drain(line, at(now)).iter().map(|(_, t, _)| *t).collect::<Vec<_>>();
        assert_eq!(tags(&mut line, 20), [1, 3]);
        assert_eq!(tags(&mut line, u64::MAX), [0, 2, 4]);
        assert!(line.is_empty() && line.next_due().is_none());
    }

    #[test]
    fn a_full_line_drops_and_counts_and_its_slots_come_back() {
        let mut line = DelayLine::new(2, 4);
        assert!(line.push(at(1), b"abcd", 1) && line.push(at(2), b"", 2));
        assert!(!line.push(at(0), b"x", 3));
        assert!(!line.push(at(0), b"abcde", 4));
        assert_eq!((line.len(), line.overflows()), (2, 2));
        assert_eq!(drain(&mut line, at(1)), [(1, 1, b"abcd".to_vec())]);
        assert!(line.push(at(3), b"yz", 5));
        assert_eq!(drain(&mut line, at(9)), [(2, 2, vec![]), (3, 5, b"yz".to_vec())]);
        assert!(!DelayLine::<u64>::new(0, 4).push(at(1), b"", 1));
    }

    #[test]
    fn pushing_and_popping_take_no_new_memory() {
        let mut line = DelayLine::new(100, 16);
        let (heap, bytes, free) = (line.held.capacity(), line.slots.capacity(), line.free.capacity());
        for n in 0..10_000u64 {
            line.push(at(n + 77), &n.to_be_bytes(), n);
            drain(&mut line, at(n));
        }
        assert_eq!((heap, bytes, free), (line.held.capacity(), line.slots.capacity(), line.free.capacity()));
        assert_eq!((line.len(), line.overflows()), (77, 0));
        assert!(line.fresh <= 78);
    }

    proptest! {
        /// Against a sorted list: everything that was taken in leaves once, whole, in order of due.
        #[test]
        fn all_leave_in_order_of_due(
            steps in proptest::collection::vec((0u64..50, 0u64..40, 0usize..10), 0..200),
            most in 1usize..40,
        ) {
            let mut line = DelayLine::new(most, 8);
            let (mut model, mut now, mut dropped) = (Vec::new(), 0, 0);
            for (tag, (wait, gap, length)) in steps.into_iter().enumerate() {
                now += gap / 4;
                let bytes = vec![tag as u8; length];
                let due: Vec<_> = drain(&mut line, at(now));
                let expected: Vec<_> = model.extract_if(.., |(d, _, _): &mut (u64, u64, Vec<u8>)| *d <= now).collect();
                prop_assert_eq!(due, expected);
                let fits = length <= 8 && model.len() < most;
                prop_assert_eq!(line.push(at(now + wait), &bytes, tag as u64), fits);
                if fits {
                    model.push((now + wait, tag as u64, bytes));
                    model.sort();
                } else {
                    dropped += 1;
                }
                prop_assert_eq!(line.len(), model.len());
                prop_assert_eq!(line.next_due(), model.first().map(|m| at(m.0)));
            }
            prop_assert_eq!(drain(&mut line, at(u64::MAX)), model);
            prop_assert_eq!(line.overflows(), dropped);
        }
    }
}
