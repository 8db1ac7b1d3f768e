//! A far end's SRTP under keys that are known, and whatever comes between its packets.

use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};
use loadtest::rtp::srtp::{Keys, MASTER_LEN, SrtpReceiver, SrtpSender, Suite, is_protected};

use super::far::steps;

/// Sources of the far end: fewer than a receiver knows at once.
const SOURCES: usize = 3;
/// Packets that may come again.
const REMEMBERED: usize = 32;
/// First number of each source: its numbers begin anew within a few packets.
const FIRST: u16 = u16::MAX - 8;

#[derive(Debug)]
enum Step {
    /// The next packet of a source, of so many bytes behind its header.
    Next { source: u8, len: u8 },
    /// So many packets of a source do not come.
    Lost { source: u8, count: u8 },
    /// A packet from before, once more.
    Again(u8),
    /// A packet from before, of which one bit is another.
    Changed { back: u8, bit: u16 },
    /// Somebody else's bytes, under the header of a source or without.
    Noise { source: u8, bytes: Vec<u8> },
    /// The far end gives keys: other ones, or those that it has.
    Keys { are_new: bool },
}

impl Step {
    fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match bytes.int_in_range(0..=7)? {
            0..=2 => Step::Next { source: bytes.arbitrary()?, len: bytes.arbitrary()? },
            3 => Step::Lost { source: bytes.arbitrary()?, count: bytes.arbitrary()? },
            4 => Step::Again(bytes.arbitrary()?),
            5 => Step::Changed { back: bytes.arbitrary()?, bit: bytes.arbitrary()? },
            6 => {
                let source = bytes.arbitrary()?;
                let len = bytes.int_in_range(0..=64)?;
                Step::Noise { source, bytes: bytes.bytes(len)?.to_vec() }
            }
            _ => Step::Keys { are_new: bytes.arbitrary()? },
        })
    }
}

fn keys(number: u8) -> Keys {
    let suite = if number & 1 == 0 { Suite::Sha1With80 } else { Suite::Sha1With32 };
    Keys::new(suite, [number; MASTER_LEN])
}

/// A far end with what it has sent: plain, and as it went over the wire.
struct Far {
    number: u8,
    sender: SrtpSender,
    /// The next number of each source; none has been sent before the first packet.
    next: [Option<u16>; SOURCES],
    /// Packets of each that have not come since its last one: more than half of all numbers nobody can follow.
    lost: [u8; SOURCES],
    sent: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl Far {
    fn start() -> Self {
        let (next, lost) = ([None; SOURCES], [0; SOURCES]);
        Far { number: 0, sender: SrtpSender::new(&keys(0)), next, lost, sent: VecDeque::new() }
    }

    fn next(&mut self, source: u8, len: u8) -> (Vec<u8>, Vec<u8>) {
        let at = usize::from(source) % SOURCES;
        let seq = self.next[at].unwrap_or(FIRST);
        (self.next[at], self.lost[at]) = (Some(seq.wrapping_add(1)), 0);
        let mut plain = header(at, seq);
        plain.resize(plain.len() + usize::from(len), len);
        let wire = self.sender.protect(&plain).expect("it is RTP").to_vec();
        self.sent.push_front((plain, wire));
        self.sent.truncate(REMEMBERED);
        self.sent[0].clone()
    }

    fn lose(&mut self, source: u8, count: u8) {
        let at = usize::from(source) % SOURCES;
        if let (Some(seq), Some(lost)) = (self.next[at], self.lost[at].checked_add(count)) {
            (self.next[at], self.lost[at]) = (Some(seq.wrapping_add(count.into())), lost);
        }
    }

    fn before(&self, back: u8) -> Option<&(Vec<u8>, Vec<u8>)> {
        self.sent.get(usize::from(back) % self.sent.len().max(1))
    }
}

/// RTP's header of a source's packet.
fn header(source: usize, seq: u16) -> Vec<u8> {
    [&[0x80, 0][..], &seq.to_be_bytes(), &[0, 0, 0, 160, 0, 0, 0, source as u8]].concat()
}

/// The packets that the far end sends in their order are opened, whatever came between them; what is opened is what was
/// protected; and nothing that was changed or made up is.
pub fn srtp(input: &[u8]) {
    let (mut far, mut receiver, mut plain) = (Far::start(), SrtpReceiver::new(&keys(0)), Vec::new());
    for step in steps(Unstructured::new(input), 256, Step::any) {
        match step {
            Step::Next { source, len } => {
                let (sent, wire) = far.next(source, len);
                assert!(is_protected(&wire) && wire.len() > sent.len());
                assert!(receiver.open(&wire, &mut plain), "{wire:02x?}");
                assert_eq!(plain, sent);
            }
            Step::Lost { source, count } => far.lose(source, count),
            Step::Again(back) => {
                let Some((sent, wire)) = far.before(back) else { continue };
                // Of keys before the last ones nothing is known any more.
                let is_open = receiver.open(wire, &mut plain);
                assert!(if is_open { plain == *sent } else { plain.is_empty() });
            }
            Step::Changed { back, bit } => {
                let Some((_, wire)) = far.before(back) else { continue };
                let mut wire = wire.clone();
                let bit = usize::from(bit) % (8 * wire.len());
                wire[bit / 8] ^= 1 << (bit % 8);
                assert!(!receiver.open(&wire, &mut plain) && plain.is_empty(), "bit {bit} was changed");
            }
            Step::Noise { source, bytes } => {
                let at = usize::from(source) % (SOURCES + 1);
                let head = if at < SOURCES { header(at, FIRST) } else { Vec::new() };
                let noise = [head, bytes].concat();
                let _ = is_protected(&noise);
                assert!(!receiver.open(&noise, &mut plain) && plain.is_empty(), "{noise:02x?}");
            }
            Step::Keys { are_new } => {
                // Keys that were there before are not given again: their packets would be those of two senders.
                far.number += u8::from(are_new && far.number < u8::MAX);
                receiver.change(&keys(far.number));
                if are_new {
                    far.sender = SrtpSender::new(&keys(far.number));
                }
            }
        }
    }
}
