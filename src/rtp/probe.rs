//! The probe: identity and times of a packet, written into the G.711 payload itself.
//!
//! Asterisk rewrites SSRC and sequence number and floors timestamps, but keeps the payload's bytes
//! when both legs share a codec. So identity and stamps travel inside the payload:
//!
//! ```text
//!  0  magic "LTP1"     4 | 16 intended_at ns  8 | 40 reflected_out_at (T3) ns  8
//!  4  run id           4 | 24 sent_at (T1) ns 8 | 48 reflector's distinct count 4
//!  8  call id          4 | 32 reflected_in_at   | 52 reflector's last 64        8
//! 12  sequence         4 |    (T2) ns         8 | 60 CRC-32 of all other bytes  4
//! ```
//! Big-endian. The checksum covers the filler behind the probe too, so that a transcoded or damaged
//! payload is told apart from a whole one.

use crate::stamp::Stamp;

/// Bytes of a probe; the smallest payload, 10 ms of G.711, has 80.
pub const PROBE_LEN: usize = 64;

const MAGIC: [u8; 4] = *b"LTP1";
const CRC_AT: usize = 60;

/// The driver's part of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Drawn once per run: packets of another run are strangers.
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
    /// Too short, or without the magic: not one of ours, or transcoded beyond recognition.
    #[error("no probe in the payload")]
    NotAProbe,
    /// The magic is there and the checksum does not match.
    #[error("the probe's checksum does not match")]
    Damaged,
}

impl Probe {
    /// Writes the probe over the start of `payload` and seals it with the checksum.
    ///
    /// # Panics
    /// If `payload` is shorter than [`PROBE_LEN`]: the scenario bounds the packet time from below.
    pub fn write(&self, payload: &mut [u8]) {
        payload[0..4].copy_from_slice(&MAGIC);
        payload[4..8].copy_from_slice(&self.run_id.to_be_bytes());
        payload[8..12].copy_from_slice(&self.call_id.to_be_bytes());
        payload[12..16].copy_from_slice(&self.seq.to_be_bytes());
        put_stamp(payload, 16, self.intended_at);
        put_stamp(payload, 24, self.sent_at);
        match self.reflection {
            Some(reflection) => reflection.write(payload),
            None => payload[32..CRC_AT].fill(0),
        }
        seal(payload);
    }

    /// Reads a probe and checks it.
    ///
    /// # Errors
    /// [`ProbeError`] says whether there was none or a damaged one.
    pub fn read(payload: &[u8]) -> Result<Probe, ProbeError> {
        if payload.len() < PROBE_LEN || payload[0..4] != MAGIC {
            return Err(ProbeError::NotAProbe);
        }
        if u32_at(payload, CRC_AT) != checksum(payload) {
            return Err(ProbeError::Damaged);
        }
        let in_at = stamp_at(payload, 32);
        let reflection = (in_at != Stamp::ZERO).then(|| Reflection {
            in_at,
            out_at: stamp_at(payload, 40),
            received: u32_at(payload, 48),
            window: u64_at(payload, 52),
        });
        Ok(Probe {
            run_id: u32_at(payload, 4),
            call_id: u32_at(payload, 8),
            seq: u32_at(payload, 12),
            intended_at: stamp_at(payload, 16),
            sent_at: stamp_at(payload, 24),
            reflection,
        })
    }
}

impl Reflection {
    /// Adds the reflection to a payload that holds a checked probe, and seals it again.
    pub fn add_to(&self, payload: &mut [u8]) {
        self.write(payload);
        seal(payload);
    }

    fn write(&self, payload: &mut [u8]) {
        put_stamp(payload, 32, self.in_at);
        put_stamp(payload, 40, self.out_at);
        payload[48..52].copy_from_slice(&self.received.to_be_bytes());
        payload[52..60].copy_from_slice(&self.window.to_be_bytes());
    }
}

fn checksum(payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&payload[..CRC_AT]);
    crc.update(&payload[PROBE_LEN..]);
    crc.finalize()
}

fn seal(payload: &mut [u8]) {
    let crc = checksum(payload);
    payload[CRC_AT..PROBE_LEN].copy_from_slice(&crc.to_be_bytes());
}

fn put_stamp(payload: &mut [u8], at: usize, stamp: Stamp) {
    payload[at..at + 8].copy_from_slice(&stamp.as_ns().to_be_bytes());
}

fn stamp_at(payload: &[u8], at: usize) -> Stamp {
    Stamp::from_ns(u64_at(payload, at))
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

    fn probe() -> impl Strategy<Value = Probe> {
        let reflection =
            (1u64.., any::<u64>(), any::<u32>(), any::<u64>()).prop_map(|(i, o, received, window)| {
                Reflection { in_at: Stamp::from_ns(i), out_at: Stamp::from_ns(o), received, window }
            });
        (any::<(u32, u32, u32, u64, u64)>(), proptest::option::of(reflection)).prop_map(|(p, reflection)| {
            Probe {
                run_id: p.0,
                call_id: p.1,
                seq: p.2,
                intended_at: Stamp::from_ns(p.3),
                sent_at: Stamp::from_ns(p.4),
                reflection,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(probe in probe(), len in PROBE_LEN..400usize) {
            let mut payload = vec![0xFF; len];
            probe.write(&mut payload);
            prop_assert_eq!(Probe::read(&payload), Ok(probe));
        }

        #[test]
        fn a_changed_byte_is_noticed(probe in probe(), at in 4usize..160, flip in 1u8..) {
            let mut payload = vec![0xFF; 160];
            probe.write(&mut payload);
            payload[at] ^= flip;
            prop_assert_eq!(Probe::read(&payload), Err(ProbeError::Damaged));
        }

        #[test]
        fn garbage_is_no_probe(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Probe::read(&bytes).is_err());
        }
    }
}
