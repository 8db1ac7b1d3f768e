//! Sequence bookkeeping of one stream: new numbers, repeated ones, and those out of order.

/// Packet numbers back to which a duplicate is recognised, and the fate of a packet followed: 20 s at the usual
/// packet time, ten times `lost_after`.
pub const WINDOW: u32 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// Meaning of the arrival of one packet number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// First arrival, at or above the next expected number.
    InOrder,
    /// First arrival, below the next expected number (RFC 4737 section 3.3).
    Reordered,
    /// Seen before.
    Duplicate,
    /// Too far behind to say whether it was seen before.
    Stale,
}

/// `KINDS` bits for each of the last [`WINDOW`] packet numbers. Those of one number lie close to each other in memory.
#[derive(Debug, Clone, Copy)]
pub struct NumberBits<const KINDS: usize>([[u64; KINDS]; WORDS]);

impl<const KINDS: usize> Default for NumberBits<KINDS> {
    fn default() -> Self {
        NumberBits([[0; KINDS]; WORDS])
    }
}

impl<const KINDS: usize> NumberBits<KINDS> {
    fn place(n: u32) -> (usize, u64) {
        ((n % WINDOW / 64) as usize, 1 << (n % 64))
    }

    /// The bit of number `n` of one kind, which is below `KINDS`.
    pub fn get(&self, kind: usize, n: u32) -> bool {
        let (word, bit) = Self::place(n);
        self.0[word][kind] & bit != 0
    }

    /// Sets the bit of number `n` of one kind, or clears it.
    pub fn put(&mut self, kind: usize, n: u32, is_set: bool) {
        let (word, bit) = Self::place(n);
        let word = &mut self.0[word][kind];
        if is_set { *word |= bit } else { *word &= !bit }
    }
}

/// Remembers the last [`WINDOW`] packet numbers of a stream.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    next: u32,
    seen: NumberBits<1>,
}

impl Sequence {
    /// Records the arrival of packet `seq`.
    pub fn arrive(&mut self, seq: u32) -> Arrival {
        if seq >= self.next {
            self.advance(seq);
            return Arrival::InOrder;
        }
        if self.next - seq > WINDOW {
            return Arrival::Stale;
        }
        if self.seen.get(0, seq) {
            return Arrival::Duplicate;
        }
        self.seen.put(0, seq, true);
        Arrival::Reordered
    }

    /// One above the highest number that has arrived; 0 before the first.
    pub fn next_expected(&self) -> u32 {
        self.next
    }

    /// The last 64 numbers up to `seq`: bit k is set when `seq - k` has arrived.
    pub fn last_64(&self, seq: u32) -> u64 {
        (0..64u32.min(seq.saturating_add(1)))
            .filter(|k| self.has(seq - k))
            .fold(0, |window, k| window | 1 << k)
    }

    fn has(&self, seq: u32) -> bool {
        seq < self.next && self.next - seq <= WINDOW && self.seen.get(0, seq)
    }

    fn advance(&mut self, seq: u32) {
        let fresh = seq - self.next;
        if fresh >= WINDOW {
            self.seen = NumberBits::default();
        } else {
            (self.next..seq).for_each(|skipped| self.seen.put(0, skipped, false));
        }
        self.seen.put(0, seq, true);
        // The last number of all has no successor; a stream of 2^32 packets would take 2.7 years.
        self.next = seq.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn each_kind_of_arrival() {
        let mut s = Sequence::default();
        let kinds: Vec<_> = [0, 1, 3, 2, 2, 3, 4, 2000, 4, 1999].map(|n| s.arrive(n)).to_vec();
        use Arrival::*;
        assert_eq!(
            kinds,
            [InOrder, InOrder, InOrder, Reordered, Duplicate, Duplicate, InOrder, InOrder, Stale, Reordered]
        );
    }

    #[test]
    fn the_window_shows_gaps() {
        let mut s = Sequence::default();
        for n in [0, 1, 3, 5] {
            s.arrive(n);
        }
        assert_eq!(s.last_64(5), 0b110101);
        assert_eq!(s.last_64(1), 0b11);
    }

    proptest! {
        /// Within the window the verdicts are those of a set that remembers everything.
        #[test]
        fn agrees_with_a_plain_set(steps in proptest::collection::vec(0u32..600, 1..400)) {
            let mut s = Sequence::default();
            let (mut seen, mut next) = (HashSet::new(), 0);
            for n in steps {
                let expected = match (seen.insert(n), n >= next) {
                    (false, _) => Arrival::Duplicate,
                    (true, true) => Arrival::InOrder,
                    (true, false) => Arrival::Reordered,
                };
                next = next.max(n + 1);
                prop_assert_eq!(s.arrive(n), expected);
                prop_assert!((0..64.min(n + 1)).all(|k| (s.last_64(n) >> k & 1 == 1) == seen.contains(&(n - k))));
            }
        }

        #[test]
        fn any_number_at_all_is_safe(steps in proptest::collection::vec(any::<u32>(), 1..50)) {
            let mut s = Sequence::default();
            for n in steps {
                s.arrive(n);
                s.last_64(n);
            }
        }
    }
}
