//! A ring of one side's speech: its last packets in memory of a fixed size, and the samples of a stretch of them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::rtp::{Codec, g711};
use crate::stamp::Stamp;

/// Samples a second of the codecs in which calls talk, and bytes of their packets.
pub(super) const RATE_HZ: u32 = 8000;
/// Memory for the speech of all calls that are up.
const MOST_BYTES: usize = 128 << 20;
/// Longest speech of one side that is kept.
const LONGEST: Duration = Duration::from_secs(600);
/// Less of each side than this is no excerpt.
const SHORTEST: Duration = Duration::from_secs(2);
/// Bytes of the shortest packets that a ring has room to number: 10 ms.
const SHORT_PACKET: usize = 80;
/// Bytes that a ring takes for each that it holds: the packets' stamps lie beside them.
const BESIDE: usize = size_of::<Packet>() / SHORT_PACKET + 1;
/// Earliness or lateness of a packet against the one before it that is made up, so that speech has no cracks: an edge is
/// off by no more.
const TOLERANCE: Duration = Duration::from_millis(3);

/// Bytes of each ring where so many calls talk for so long at once: one each way. None where there is too little memory for
/// so many.
pub fn room(calls: usize, length: Duration) -> Option<usize> {
    let bytes = |time: Duration| usize::try_from(time.as_millis()).unwrap_or(usize::MAX).saturating_mul(8);
    let share = MOST_BYTES / calls.saturating_mul(2).max(1) / (1 + BESIDE);
    let wanted = bytes(length.clamp(SHORTEST, LONGEST));
    (share >= bytes(SHORTEST)).then(|| share.min(wanted))
}

/// The last speech of one side. Packets of digital silence take no room.
#[derive(Debug)]
pub struct SpeechRing {
    codec: Codec,
    bytes: Box<[u8]>,
    /// Place of the next byte.
    next: usize,
    used: usize,
    packets: VecDeque<Packet>,
    most_packets: usize,
    /// End of the last packet that was pushed out.
    lost_until: Stamp,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    at: Stamp,
    begin: u32,
    len: u32,
}

impl SpeechRing {
    /// An empty ring for so many bytes of audio in a G.711 codec. Its memory is mapped as it fills.
    pub fn new(codec: Codec, bytes: usize) -> Self {
        let bytes = bytes.min(u32::MAX as usize);
        let most_packets = bytes / SHORT_PACKET;
        SpeechRing {
            codec,
            bytes: vec![0; bytes].into_boxed_slice(),
            next: 0,
            used: 0,
            packets: VecDeque::with_capacity(most_packets),
            most_packets,
            lost_until: Stamp::ZERO,
        }
    }

    /// Keeps the payload of a packet that was sent or received at `at`, in the place of the oldest ones.
    pub fn put(&mut self, at: Stamp, payload: &[u8]) {
        if self.is_silent(payload) || payload.len() > self.bytes.len() || self.most_packets == 0 {
            return;
        }
        while self.packets.len() >= self.most_packets || self.used + payload.len() > self.bytes.len() {
            let Some(oldest) = self.packets.pop_front() else { return };
            self.used -= oldest.len as usize;
            self.lost_until = self.lost_until.max(oldest.at + length(oldest.len as usize));
        }
        let head = payload.len().min(self.bytes.len() - self.next);
        self.bytes[self.next..self.next + head].copy_from_slice(&payload[..head]);
        self.bytes[..payload.len() - head].copy_from_slice(&payload[head..]);
        self.packets.push_back(Packet { at, begin: self.next as u32, len: payload.len() as u32 });
        self.used += payload.len();
        self.next = (self.next + payload.len()) % self.bytes.len();
    }

    fn is_silent(&self, payload: &[u8]) -> bool {
        let silence: [u8; 2] = if self.codec == Codec::Pcma { [0xD5, 0x55] } else { [0xFF, 0x7F] };
        payload.iter().all(|byte| silence.contains(byte))
    }

    /// Time up to which speech may be missing: it was pushed out by later one.
    pub fn lost_until(&self) -> Stamp {
        self.lost_until
    }

    /// Samples from `from` on, each at the time of its packet: sample n is n/8000 s later. What never came is silence.
    pub fn samples(&self, from: Stamp, length: Duration) -> Vec<i16> {
        let count = usize::try_from(length.min(LONGEST).as_millis()).unwrap_or(usize::MAX).saturating_mul(8);
        let mut out = vec![0; count];
        let place = |at: Stamp| i128::from(at.ns_since(from)) * i128::from(RATE_HZ) / 1_000_000_000;
        let tolerance = (TOLERANCE.as_millis() * u128::from(RATE_HZ) / 1000) as i128;
        let mut end: Option<i128> = None;
        for packet in &self.packets {
            let own = place(packet.at);
            let begin = end.filter(|end| (own - end).abs() <= tolerance).unwrap_or(own);
            end = Some(begin + i128::from(packet.len));
            for (n, byte) in self.payload(packet).enumerate() {
                let at = usize::try_from(begin + n as i128).ok();
                if let Some(sample) = at.and_then(|at| out.get_mut(at)) {
                    *sample = self.decoded(byte);
                }
            }
        }
        out
    }

    fn payload(&self, packet: &Packet) -> impl Iterator<Item = u8> + '_ {
        let (begin, len) = (packet.begin as usize, packet.len as usize);
        let head = len.min(self.bytes.len() - begin);
        let (first, rest) = (&self.bytes[begin..begin + head], &self.bytes[..len - head]);
        first.iter().chain(rest).copied()
    }

    fn decoded(&self, byte: u8) -> i16 {
        g711::decode(self.codec, byte)
    }
}

/// Time that so many bytes of G.711 last.
fn length(bytes: usize) -> Duration {
    Duration::from_micros(125).saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Stamp {
        Stamp::from_ns(1_000_000_000) + MS * ms
    }

    fn packet(level: i16) -> [u8; 160] {
        [g711::ulaw_encode(level); 160]
    }

    /// Starts, ends and levels of what is not silent, in samples.
    fn parts(samples: &[i16]) -> Vec<(usize, usize, i16)> {
        let mut parts: Vec<(usize, usize, i16)> = Vec::new();
        for (n, level) in samples.iter().copied().enumerate().filter(|(_, level)| *level != 0) {
            match parts.last_mut().filter(|last| last.1 == n && last.2 == level) {
                Some(last) => last.1 = n + 1,
                None => parts.push((n, n + 1, level)),
            }
        }
        parts
    }

    fn level(level: i16) -> i16 {
        g711::ulaw_decode(g711::ulaw_encode(level))
    }

    #[test]
    fn each_packet_lies_at_its_stamp_and_jitter_makes_no_cracks() {
        let mut ring = SpeechRing::new(Codec::Pcmu, 8000);
        // The second is 1 ms late, the third never came, the fourth is 10 ms late, the fifth is early against it.
        for (ms, loud) in [(100, 1000), (121, 2000), (170, 3000), (183, 4000)] {
            ring.put(at(ms), &packet(loud));
        }
        ring.put(at(400), &packet(0));
        let heard = parts(&ring.samples(at(90), MS * 200));
        let expected = [(80, 240, 1000), (240, 400, 2000), (640, 744, 3000), (744, 904, 4000)];
        assert_eq!(heard, expected.map(|(from, to, loud)| (from, to, level(loud))));
        assert_eq!(ring.packets.len(), 4, "silence takes no room");
    }

    #[test]
    fn the_last_speech_is_kept_and_it_is_known_what_is_not() {
        let mut ring = SpeechRing::new(Codec::Pcmu, 500);
        assert_eq!(ring.lost_until(), Stamp::ZERO);
        for n in 0..7u32 {
            ring.put(at(n * 20), &packet(1000 + 1000 * n as i16));
        }
        assert_eq!(ring.lost_until(), at(80));
        let heard = parts(&ring.samples(at(0), MS * 200));
        let expected = [(640, 800, 5000), (800, 960, 6000), (960, 1120, 7000)];
        assert_eq!(heard, expected.map(|(from, to, loud)| (from, to, level(loud))));
    }

    #[test]
    fn memory_is_shared_by_the_calls_and_bounded() {
        let minute = Duration::from_secs(60);
        assert_eq!(room(5, minute), Some(480_000));
        assert_eq!(room(0, Duration::MAX), Some(600 * 8000));
        for calls in [1, 10, 100, 1000, 2000] {
            let bytes = room(calls, Duration::MAX).unwrap();
            let ring = SpeechRing::new(Codec::Pcmu, bytes);
            let taken = bytes + ring.packets.capacity() * size_of::<Packet>();
            assert!(taken * 2 * calls <= MOST_BYTES, "{calls}: {taken}");
        }
        assert_eq!(room(100_000, minute), None);
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(
            packets in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..300)), 0..40),
            bytes in 0usize..600,
            from in any::<u64>(),
        ) {
            let mut ring = SpeechRing::new(Codec::Pcma, bytes);
            for (ns, payload) in packets {
                ring.put(Stamp::from_ns(ns), &payload);
                prop_assert!(ring.used <= bytes && ring.packets.len() <= bytes / SHORT_PACKET);
            }
            prop_assert_eq!(ring.samples(Stamp::from_ns(from), MS * 20).len(), 160);
        }
    }
}
