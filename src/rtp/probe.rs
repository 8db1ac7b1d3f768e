//! The probe: identity and times of a packet, written into the payload of the audio itself.
//!
//! Asterisk rewrites SSRC and sequence number and floors timestamps, but keeps the payload's bytes
//! when both legs share a codec. So identity and stamps travel inside the payload:
//!
//! ```text
//!  0  magic "LTP3"     4 | 17 intended_at ns   8 | 49 reflected_out_at (T3) ns  8
//!  4  mask             1 | 25 sent_at (T1) ns  8 | 57 reflector's distinct count 4
//!  5  run id           4 | 33 driver's mark    8 | 61 reflector's last 64       8
//!  9  call id          4 | 41 reflected_in_at    | 69 CRC-32 of all other bytes 4
//! 13  sequence         4 |    (T2) ns          8 |
//! ```
//! Big-endian. All bytes behind the mask are XORed with it. It is chosen so that none of them becomes 0x7F, the one
//! byte of mu-law that a way through linear audio changes (it is a second zero, and comes back as 0xFF): AudioSocket is
//! such a way. The checksum covers the filler behind the probe too, so that a transcoded or damaged
//! payload is told apart from a whole one. It is no secret, and everything in a packet that comes back is the
//! far end's word: the mark is a keyed hash (SipHash-2-4) of the driver's own part, bytes 5 to 33, under a
//! secret of the run. A far end can return a probe, keep it or repeat it, but not make one or change when it
//! was sent. What it says of itself, behind the mark, is believed as far as it can be true
//! ([`Reflection::is_possible`]).

use std::fmt;
use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher24;

use crate::stamp::Stamp;

/// Bytes of a probe; the smallest payload, 10 ms of G.711, has 80.
pub const PROBE_LEN: usize = 73;

const MAGIC: [u8; 4] = *b"LTP3";
const MASK_AT: usize = 4;
/// The driver's part.
const SIGNED: std::ops::Range<usize> = 5..33;
const MARK_AT: usize = 33;
const REFLECTION_AT: usize = 41;
const OUT_AT: usize = 49;
const RECEIVED_AT: usize = 57;
const WINDOW_AT: usize = 61;
const CRC_AT: usize = 69;
/// Minus zero of mu-law, which linear audio does not have.
const CHANGED_BY_LINEAR: u8 = 0x7F;

/// Name and secret of a run: what its probes are known and signed by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunKey {
    /// Random: packets of another run are strangers.
    pub run_id: u32,
    /// Unknown to everybody else.
    secret: [u8; 16],
}

impl RunKey {
    /// The key of run `run_id`; `secret` comes from the operating system's random numbers.
    pub const fn new(run_id: u32, secret: [u8; 16]) -> Self {
        RunKey { run_id, secret }
    }

    /// Says whether the driver's part of a whole probe was written under this key.
    pub fn has_signed(&self, payload: &[u8]) -> bool {
        unmasked(payload).is_some_and(|plain| u64_at(&plain, MARK_AT) == self.mark(&plain))
    }

    fn mark(&self, plain: &Plain) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&plain[SIGNED]);
        hasher.finish()
    }
}

impl fmt::Debug for RunKey {
    /// Leaves out the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunKey").field("run_id", &self.run_id).finish_non_exhaustive()
    }
}

/// The driver's part of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The run's ([`RunKey::run_id`]).
    pub run_id: u32,
    /// The call within the run.
    pub call_id: u32,
    /// Packet number within the call, from 0; unlike RTP's it does not wrap in practice.
    pub seq: u32,
    /// Time at which the schedule wanted the packet sent.
    pub intended_at: Stamp,
    /// T1, the clock just before the send call.
    pub sent_at: Stamp,
    /// The reflector's part; `None` where the far end echoes without knowing the probe.
    pub reflection: Option<Reflection>,
}

/// The built-in service's part, added on the way back (the fields of RFC 5357 section 4.2.1, in spirit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reflection {
    /// T2, the kernel's receive stamp.
    pub in_at: Stamp,
    /// T3, the clock just before the send call.
    pub out_at: Stamp,
    /// Distinct packets of this call that the reflector has received, this one included.
    pub received: u32,
    /// Bit k is set when the packet numbered `seq - k` had been received; bit 0 is this packet.
    pub window: u64,
}

/// Fault of a payload that is not a whole probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Without the magic: not one of ours, or transcoded beyond recognition.
    #[error("no probe in the payload")]
    NotAProbe,
    /// The magic is there, and it is cut, or the checksum does not match.
    #[error("the probe is cut, or its checksum does not match")]
    Damaged,
}

impl Probe {
    /// Writes the probe over the start of `payload`, signs it under `key` and seals it with the checksum.
    ///
    /// # Panics
    /// If `payload` is shorter than [`PROBE_LEN`]: the scenario bounds the packet time from below.
    pub fn write(&self, payload: &mut [u8], key: &RunKey) {
        let mut plain = [0; PROBE_LEN];
        plain[..MASK_AT].copy_from_slice(&MAGIC);
        plain[5..9].copy_from_slice(&self.run_id.to_be_bytes());
        plain[9..13].copy_from_slice(&self.call_id.to_be_bytes());
        plain[13..17].copy_from_slice(&self.seq.to_be_bytes());
        put_stamp(&mut plain, 17, self.intended_at);
        put_stamp(&mut plain, 25, self.sent_at);
        let mark = key.mark(&plain).to_be_bytes();
        plain[MARK_AT..REFLECTION_AT].copy_from_slice(&mark);
        if let Some(reflection) = self.reflection {
            reflection.write(&mut plain);
        }
        seal(&mut plain, payload);
    }

    /// Reads a probe and checks that it is whole; [`RunKey::has_signed`] says whether it is the driver's.
    ///
    /// # Errors
    /// [`ProbeError`] says whether there was none or a damaged one.
    pub fn read(payload: &[u8]) -> Result<Probe, ProbeError> {
        if !payload.starts_with(&MAGIC) {
            return Err(ProbeError::NotAProbe);
        }
        let plain = unmasked(payload).ok_or(ProbeError::Damaged)?;
        if u32_at(&plain, CRC_AT) != checksum(&plain, payload) {
            return Err(ProbeError::Damaged);
        }
        let in_at = stamp_at(&plain, REFLECTION_AT);
        let reflection = (in_at != Stamp::ZERO).then(|| Reflection {
            in_at,
            out_at: stamp_at(&plain, OUT_AT),
            received: u32_at(&plain, RECEIVED_AT),
            window: u64_at(&plain, WINDOW_AT),
        });
        Ok(Probe {
            run_id: u32_at(&plain, 5),
            call_id: u32_at(&plain, 9),
            seq: u32_at(&plain, 13),
            intended_at: stamp_at(&plain, 17),
            sent_at: stamp_at(&plain, 25),
            reflection,
        })
    }
}

impl Reflection {
    /// Adds the reflection to a payload that holds a checked probe, and seals it again.
    ///
    /// # Panics
    /// If `payload` is shorter than [`PROBE_LEN`], which no checked probe is.
    pub fn add_to(&self, payload: &mut [u8]) {
        // Invariant: the caller has read a probe in it.
        let mut plain = unmasked(payload).expect("a checked probe has its length");
        self.write(&mut plain);
        seal(&mut plain, payload);
    }

    /// Says whether this can be true of `probe`, which is back at `received_at`: the packet was received and
    /// returned while it was away (where both ends share a clock), for no longer than that, and no more
    /// packets were received than had been sent.
    pub fn is_possible(
        &self,
        probe: &Probe,
        received_at: Stamp,
        ptime: Duration,
        shared_clock: bool,
    ) -> bool {
        let service = self.out_at.ns_since(self.in_at);
        let rtt = received_at.ns_since(probe.sent_at);
        let within = self.in_at >= probe.sent_at && self.out_at <= received_at;
        let in_time = (0..=rtt.max(0)).contains(&service) && (within || !shared_clock);
        // Bits below number 0.
        let unsent = if probe.seq < 63 { self.window >> (probe.seq + 1) } else { 0 };
        let seen = self.window.count_ones();
        // The stream is isochronous: one packet for each packet time since this one, at the most.
        let since = received_at.since(probe.intended_at).as_nanos() / ptime.as_nanos().max(1);
        let sent = u128::from(probe.seq) + 1 + since;
        in_time
            && self.window & 1 == 1
            && unsent == 0
            && (seen..).contains(&self.received)
            && u128::from(self.received) <= sent
    }

    fn write(&self, plain: &mut Plain) {
        put_stamp(plain, REFLECTION_AT, self.in_at);
        put_stamp(plain, OUT_AT, self.out_at);
        plain[RECEIVED_AT..WINDOW_AT].copy_from_slice(&self.received.to_be_bytes());
        plain[WINDOW_AT..CRC_AT].copy_from_slice(&self.window.to_be_bytes());
    }
}

/// A probe without its mask.
type Plain = [u8; PROBE_LEN];

/// The probe in `payload` without its mask; `None` if it is too short for one.
fn unmasked(payload: &[u8]) -> Option<Plain> {
    let mut plain: Plain = payload.get(..PROBE_LEN)?.try_into().ok()?;
    let mask = plain[MASK_AT];
    plain[MASK_AT + 1..].iter_mut().for_each(|byte| *byte ^= mask);
    plain[MASK_AT] = 0;
    Some(plain)
}

/// Over the plain probe and the filler behind it in `payload`.
fn checksum(plain: &Plain, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&plain[..CRC_AT]);
    crc.update(&payload[PROBE_LEN..]);
    crc.finalize()
}

/// Writes `plain` with its checksum and a mask over the start of `payload`.
fn seal(plain: &mut Plain, payload: &mut [u8]) {
    let crc = checksum(plain, payload);
    plain[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    let mask = mask(&plain[MASK_AT + 1..]);
    plain[MASK_AT] = mask;
    plain[MASK_AT + 1..].iter_mut().for_each(|byte| *byte ^= mask);
    payload[..PROBE_LEN].copy_from_slice(plain);
}

/// The least mask under which no byte becomes [`CHANGED_BY_LINEAR`]. There is one: 68 bytes rule out 68 of 256.
fn mask(bytes: &[u8]) -> u8 {
    let mut ruled_out = [0_u64; 4];
    for byte in bytes.iter().chain([&0]) {
        let mask = byte ^ CHANGED_BY_LINEAR;
        ruled_out[usize::from(mask >> 6)] |= 1 << (mask & 63);
    }
    let least =
        |(at, word): (usize, &u64)| (*word != u64::MAX).then(|| at as u8 * 64 + word.trailing_ones() as u8);
    ruled_out.iter().enumerate().find_map(least).unwrap_or(0)
}

fn put_stamp(plain: &mut Plain, at: usize, stamp: Stamp) {
    plain[at..at + 8].copy_from_slice(&stamp.as_ns().to_be_bytes());
}

fn stamp_at(plain: &[u8], at: usize) -> Stamp {
    Stamp::from_ns(u64_at(plain, at))
}

fn u32_at(payload: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]])
}

fn u64_at(payload: &[u8], at: usize) -> u64 {
    u64::from(u32_at(payload, at)) << 32 | u64::from(u32_at(payload, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: RunKey = RunKey::new(7, [3; 16]);

    fn reflection() -> impl Strategy<Value = Reflection> {
        (1u64.., any::<u64>(), any::<u32>(), any::<u64>()).prop_map(|(i, o, received, window)| Reflection {
            in_at: Stamp::from_ns(i),
            out_at: Stamp::from_ns(o),
            received,
            window,
        })
    }

    fn probe() -> impl Strategy<Value = Probe> {
        (any::<(u32, u32, u32, u64, u64)>(), proptest::option::of(reflection())).prop_map(
            |(p, reflection)| Probe {
                run_id: p.0,
                call_id: p.1,
                seq: p.2,
                intended_at: Stamp::from_ns(p.3),
                sent_at: Stamp::from_ns(p.4),
                reflection,
            },
        )
    }

    #[test]
    fn the_mark_is_siphash_of_the_drivers_part() {
        // The reference vector of SipHash-2-4 for the key 00..0f and 15 bytes, by way of the same hasher.
        let secret = std::array::from_fn(|n| n as u8);
        let mut hasher = SipHasher24::new_with_key(&secret);
        hasher.write(&std::array::from_fn::<u8, 15, _>(|n| n as u8));
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
        assert!(!format!("{:?}", RunKey::new(1, secret)).contains("15"));
    }

    #[test]
    fn a_reflection_is_believed_as_far_as_it_can_be_true() {
        let ms = |ms: u64| Stamp::from_ns(1_000_000 * (1000 + ms));
        let probe =
            |seq| Probe { run_id: 1, call_id: 1, seq, intended_at: ms(0), sent_at: ms(1), reflection: None };
        let honest = Reflection { in_at: ms(10), out_at: ms(15), received: 4, window: 0b1111 };
        let check = |seq, reflection: Reflection, shared| {
            reflection.is_possible(&probe(seq), ms(25), Duration::from_millis(20), shared)
        };
        assert!(check(3, honest, true) && check(3, honest, false));
        assert!(check(3, Reflection { received: 5, ..honest }, true), "the next had been sent meanwhile");
        for forged in [
            Reflection { received: 6, ..honest },
            Reflection { received: u32::MAX, ..honest },
            Reflection { received: 3, ..honest },
            Reflection { window: 0b1_1111, ..honest },
            Reflection { window: 0b1110, ..honest },
            Reflection { window: u64::MAX, received: 100, ..honest },
            Reflection { out_at: ms(9), ..honest },
            Reflection { out_at: ms(100), ..honest },
        ] {
            assert!(!check(3, forged, true) && !check(3, forged, false), "{forged:?}");
        }
        // Stamps of another clock say how long the service took, and nothing of when.
        for elsewhere in
            [Reflection { in_at: ms(0), ..honest }, Reflection { in_at: ms(500), out_at: ms(505), ..honest }]
        {
            assert!(!check(3, elsewhere, true) && check(3, elsewhere, false), "{elsewhere:?}");
        }
        let all = Reflection { window: u64::MAX, received: 100, ..honest };
        assert!(check(99, all, true) && !check(62, all, true));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(probe in probe(), len in PROBE_LEN..400usize) {
            let mut payload = vec![0xFF; len];
            probe.write(&mut payload, &KEY);
            prop_assert_eq!(Probe::read(&payload), Ok(probe));
            prop_assert!(KEY.has_signed(&payload));
        }

        /// Only the reflector's part can be changed by somebody who does not know the secret.
        #[test]
        fn no_byte_of_the_drivers_part_can_be_changed(probe in probe(), at in 5usize..MARK_AT + 8, flip in 1u8..) {
            let mut payload = vec![0xFF; 160];
            probe.write(&mut payload, &KEY);
            let mut plain = unmasked(&payload).unwrap();
            plain[at] ^= flip;
            seal(&mut plain, &mut payload);
            prop_assert!(Probe::read(&payload).is_ok() && !KEY.has_signed(&payload));
        }

        #[test]
        fn a_reflection_added_leaves_the_mark_whole(probe in probe(), reflection in reflection()) {
            let mut payload = vec![0xFF; 80];
            probe.write(&mut payload, &KEY);
            reflection.add_to(&mut payload);
            let back = Probe { reflection: Some(reflection), ..probe };
            prop_assert_eq!(Probe::read(&payload), Ok(back));
            prop_assert!(KEY.has_signed(&payload));
        }

        #[test]
        fn a_changed_byte_is_noticed(probe in probe(), at in 4usize..160, flip in 1u8..) {
            let mut payload = vec![0xFF; 160];
            probe.write(&mut payload, &KEY);
            payload[at] ^= flip;
            prop_assert_eq!(Probe::read(&payload), Err(ProbeError::Damaged));
        }

        /// Minus zero comes back as plus zero from linear audio.
        #[test]
        fn a_probe_survives_linear_audio(probe in probe(), len in PROBE_LEN..400usize) {
            let mut payload = vec![0xFF; len];
            probe.write(&mut payload, &KEY);
            prop_assert!(!payload.contains(&CHANGED_BY_LINEAR));
            if let Some(reflection) = probe.reflection {
                reflection.add_to(&mut payload);
                prop_assert!(!payload.contains(&CHANGED_BY_LINEAR));
            }
        }

        #[test]
        fn garbage_is_no_probe(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Probe::read(&bytes).is_err());
        }
    }
}
