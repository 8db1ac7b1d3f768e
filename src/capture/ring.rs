//! A ring of a stream's last packets in memory that is taken once.

use std::net::SocketAddr;
use std::time::Duration;

use crate::stamp::Stamp;

/// Fewer packets than this are no capture.
const FEWEST: usize = 16;

/// Slots of each ring, where `streams` of them share `bytes`: enough for `time`, or for as much of it as there is room
/// for. None where a ring could hold next to nothing.
pub fn slots(time: Duration, ptime: Duration, snap: usize, streams: usize, bytes: usize) -> Option<usize> {
    let wanted = time.as_nanos() / ptime.as_nanos().max(1) + 1;
    let room = bytes / streams.max(1) / (snap + size_of::<Slot>());
    let slots = usize::try_from(wanted).unwrap_or(usize::MAX).min(room);
    let least = wanted.min(FEWEST as u128) as usize;
    (slots >= least).then_some(slots)
}

/// The last packets of one stream in one direction.
#[derive(Debug)]
pub struct PacketRing {
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    /// Most bytes of a packet that are kept.
    snap: usize,
    /// Slot of the next packet.
    next: usize,
    is_full: bool,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    at: Stamp,
    peer: SocketAddr,
    kept: u16,
    original: u32,
}

/// A packet of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Time of its sending or receipt.
    pub at: Stamp,
    /// Address of the far end.
    pub peer: SocketAddr,
    /// Its bytes, as far as they are kept.
    pub bytes: &'a [u8],
    /// Its length.
    pub original: usize,
}

impl PacketRing {
    /// An empty ring. All of its memory is touched here, so that no packet waits for a page.
    pub fn new(slots: usize, snap: usize) -> Self {
        let (slots, snap) = (slots.max(1), snap.min(usize::from(u16::MAX)));
        let nothing = Slot { at: Stamp::ZERO, peer: ([0, 0, 0, 0], 0).into(), kept: 0, original: 0 };
        PacketRing {
            slots: vec![nothing; slots].into_boxed_slice(),
            bytes: vec![0xFF; slots * snap].into_boxed_slice(),
            snap,
            next: 0,
            is_full: false,
        }
    }

    /// Puts a packet in the place of the oldest.
    pub fn put(&mut self, at: Stamp, peer: SocketAddr, packet: &[u8]) {
        let kept = packet.len().min(self.snap);
        let begin = self.next * self.snap;
        let places = self.slots.get_mut(self.next).zip(self.bytes.get_mut(begin..begin + kept));
        // Invariant: the next slot is one of the ring's.
        let Some((slot, place)) = places else { return };
        place.copy_from_slice(&packet[..kept]);
        let original = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        *slot = Slot { at, peer, kept: kept as u16, original };
        self.next += 1;
        if self.next == self.slots.len() {
            (self.next, self.is_full) = (0, true);
        }
    }

    /// Its packets in the order in which they were put in.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        let older = if self.is_full { self.next..self.slots.len() } else { 0..0 };
        older.chain(0..self.next).map(|n| {
            let Slot { at, peer, kept, original } = self.slots[n];
            let begin = n * self.snap;
            Packet {
                at,
                peer,
                bytes: &self.bytes[begin..begin + usize::from(kept)],
                original: original as usize,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ring: &PacketRing) -> Vec<u64> {
        ring.packets().map(|packet| packet.at.as_ns()).collect()
    }

    #[test]
    fn the_last_packets_are_kept_in_their_order_and_long_ones_are_cut() {
        let mut ring = PacketRing::new(4, 8);
        let peer: SocketAddr = "[::1]:7".parse().unwrap();
        assert!(numbers(&ring).is_empty());
        let memory = (ring.slots.as_ptr(), ring.bytes.as_ptr());
        for n in 0..11u64 {
            ring.put(Stamp::from_ns(n), peer, &vec![n as u8; n as usize]);
            let oldest = (n + 1).saturating_sub(4);
            assert_eq!(numbers(&ring), (oldest..=n).collect::<Vec<_>>());
        }
        let last = ring.packets().last().unwrap();
        assert_eq!(last, Packet { at: Stamp::from_ns(10), peer, bytes: &[10; 8], original: 10 });
        assert_eq!(ring.packets().next().unwrap().bytes, [7; 7]);
        assert_eq!((ring.slots.as_ptr(), ring.bytes.as_ptr()), memory, "no other memory is taken");
    }

    #[test]
    fn rings_share_their_memory_and_hold_what_was_asked_for_where_there_is_room() {
        let (second, ptime) = (Duration::from_secs(1), Duration::from_millis(20));
        assert_eq!(slots(10 * second, ptime, 208, 2, 64 << 20), Some(501));
        let tight = slots(10 * second, ptime, 208, 1000, 64 << 20).unwrap();
        assert!(tight < 501 && tight * (208 + size_of::<Slot>()) * 1000 <= 64 << 20, "{tight}");
        assert_eq!(slots(10 * second, ptime, 208, 40_000, 64 << 20), None);
        assert_eq!(slots(ptime, ptime, 208, 1, 1000), Some(2), "little was asked for");
        assert_eq!(slots(Duration::MAX, Duration::ZERO, 0, 0, 1 << 10), Some((1 << 10) / size_of::<Slot>()));
    }
}
