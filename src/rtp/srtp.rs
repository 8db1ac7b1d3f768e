//! SRTP (RFC 3711) of one stream: packets are protected on their way out and opened on their way in.
//!
//! Keys come from SDP (SDES, RFC 4568). The cryptography is rtc-srtp's; here are its bounds: it keeps a state for each
//! SSRC that it is shown, forged ones among them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rtc_crypto::providers::RingCrypto;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtp_rs::RtpReader;
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::kind::is_rtcp;

/// Bytes of a master key (RFC 4568 section 6.2).
const KEY_LEN: usize = 16;
/// Bytes of a master key with its salt.
pub const MASTER_LEN: usize = KEY_LEN + 14;
/// Most SSRCs of a far end that are known at once: a call has one, and another one behind a transfer.
const MOST_SSRCS: usize = 4;
/// SSRCs that a context is tried with before another one takes its place.
const MOST_TRIED: u32 = 64;

/// Suites of SRTP that are spoken (RFC 4568 section 6.2). Debian's Asterisk takes no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, VariantArray)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Suite {
    /// AES in counter mode, tags of 80 bits: what everybody speaks.
    #[default]
    #[serde(rename = "AES_CM_128_HMAC_SHA1_80")]
    Sha1With80,
    /// The same with tags of 32 bits.
    #[serde(rename = "AES_CM_128_HMAC_SHA1_32")]
    Sha1With32,
}

impl Suite {
    /// The name in `a=crypto`.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::Sha1With80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::Sha1With32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    const fn profile(self) -> ProtectionProfile {
        match self {
            Suite::Sha1With80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Suite::Sha1With32 => ProtectionProfile::Aes128CmHmacSha1_32,
        }
    }
}

/// Master key and salt of one direction. What is printed is kept, so they are not.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    suite: Suite,
    master: [u8; MASTER_LEN],
}

impl Keys {
    /// Keys of a suite from bytes that nobody can guess, or that a peer has given.
    pub const fn new(suite: Suite, master: [u8; MASTER_LEN]) -> Self {
        Keys { suite, master }
    }

    /// Their suite.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The text behind `inline:` in SDP.
    pub fn inline(&self) -> String {
        STANDARD.encode(self.master)
    }

    fn context(&self) -> Context {
        let (key, salt) = self.master.split_at(KEY_LEN);
        // Invariant: the lengths are those of both suites, whose algorithms the library's own provider has.
        Context::new(key, salt, self.suite.profile(), None, None, &RingCrypto).expect("both suites are known")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.suite.name())
    }
}

/// Keys of both directions of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// What we protect with.
    pub ours: Keys,
    /// What the far end protects with.
    pub theirs: Keys,
}

/// Protects one outgoing stream.
pub struct SrtpSender {
    context: Context,
    packet: Vec<u8>,
}

impl SrtpSender {
    /// A sender with our keys.
    pub fn new(keys: &Keys) -> Self {
        SrtpSender { context: keys.context(), packet: Vec::new() }
    }

    /// The packet as it goes over the wire; `None` for one that is no RTP, and after 2^48 packets.
    pub fn protect(&mut self, packet: &[u8]) -> Option<&[u8]> {
        let protected = self.context.encrypt_rtp(packet).ok()?;
        self.packet.clear();
        self.packet.extend_from_slice(&protected);
        Some(&self.packet)
    }
}

/// Opens what a far end sends. Packets that come again are opened again: they are counted, not hidden.
pub struct SrtpReceiver {
    keys: Keys,
    /// Those SSRCs that have sent what could be opened, the latest last, each with a state of its own.
    known: Vec<(u32, Context)>,
    /// For an SSRC that is not known, and the number of those that it has been shown.
    trial: (Context, u32),
    /// For packets under way when the keys were changed.
    former: Option<Box<SrtpReceiver>>,
}

impl SrtpReceiver {
    /// A receiver with the far end's keys.
    pub fn new(keys: &Keys) -> Self {
        SrtpReceiver { keys: keys.clone(), known: Vec::new(), trial: (keys.context(), 0), former: None }
    }

    /// Takes the keys that the far end gives now. The same ones change nothing: its packets are counted on.
    pub fn change(&mut self, keys: &Keys) {
        if self.keys != *keys {
            let former = std::mem::replace(self, SrtpReceiver::new(keys));
            self.former = Some(Box::new(SrtpReceiver { former: None, ..former }));
        }
    }

    /// Opens a packet into `plain`; false, and nothing in it, if it cannot be opened with the far end's keys.
    pub fn open(&mut self, packet: &[u8], plain: &mut Vec<u8>) -> bool {
        plain.clear();
        let Ok(rtp) = RtpReader::new(packet) else { return false };
        let ssrc = rtp.ssrc();
        let is_open = match self.known.iter_mut().find(|(known, _)| *known == ssrc) {
            Some((_, context)) => decrypt(context, packet, plain),
            None => self.open_unknown(ssrc, packet, plain),
        };
        is_open || self.former.as_mut().is_some_and(|former| former.open(packet, plain))
    }

    /// Opens a packet of an SSRC that is not known; it is, once that has gone well, in the place of the one known longest.
    fn open_unknown(&mut self, ssrc: u32, packet: &[u8], plain: &mut Vec<u8>) -> bool {
        let (context, tried) = &mut self.trial;
        let is_open = decrypt(context, packet, plain);
        *tried += 1;
        if is_open || *tried >= MOST_TRIED {
            let (context, _) = std::mem::replace(&mut self.trial, (self.keys.context(), 0));
            if is_open {
                self.known.push((ssrc, context));
            }
        }
        if self.known.len() > MOST_SSRCS {
            self.known.remove(0);
        }
        is_open
    }
}

fn decrypt(context: &mut Context, packet: &[u8], plain: &mut Vec<u8>) -> bool {
    let opened = context.decrypt_rtp(packet);
    opened.iter().for_each(|bytes| plain.extend_from_slice(bytes));
    opened.is_ok()
}

/// True for a datagram that SRTP protects: RTP, and no RTCP or anything else on the port.
pub fn is_protected(datagram: &[u8]) -> bool {
    !is_rtcp(datagram) && RtpReader::new(datagram).is_ok()
}

/// Prints no keys.
impl fmt::Debug for SrtpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpSender").finish_non_exhaustive()
    }
}

/// Prints no keys.
impl fmt::Debug for SrtpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpReceiver").field("ssrcs", &self.known.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::{HEADER_LEN, StreamSender};
    use crate::rtp::probe::RunKey;
    use crate::rtp::{Codec, Format};
    use crate::stamp::Stamp;
    use proptest::prelude::*;
    use std::time::Duration;

    /// The key and salt of RFC 3711 appendix B.3.
    const MASTER: [u8; MASTER_LEN] = [
        0xE1, 0xF9, 0x7A, 0x0D, 0x3E, 0x01, 0x8B, 0xE0, 0xD6, 0x4F, 0xA3, 0x2C, 0x06, 0xDE, 0x41, 0x39, 0x0E,
        0xC6, 0x75, 0xAD, 0x49, 0x8A, 0xFE, 0xEB, 0xB6, 0x96, 0x0B, 0x3A, 0xAB, 0xE6,
    ];

    fn keys(suite: Suite) -> Keys {
        Keys::new(suite, MASTER)
    }

    fn packets(ssrc: u32, count: usize) -> Vec<Vec<u8>> {
        let format = Format::of(Codec::Pcmu, Duration::from_millis(20));
        let mut sender = StreamSender::new(RunKey::new(1, [1; 16]), 1, ssrc, format);
        (0..count).map(|_| sender.packet(Stamp::ZERO, Stamp::ZERO).to_vec()).collect()
    }

    #[test]
    fn what_is_protected_opens_again_and_nothing_else_does() {
        for (suite, tag) in [(Suite::Sha1With80, 10), (Suite::Sha1With32, 4)] {
            let (mut sender, mut receiver) = (SrtpSender::new(&keys(suite)), SrtpReceiver::new(&keys(suite)));
            let mut plain = Vec::new();
            // Past the wrap of the sequence number.
            for (n, packet) in packets(7, 70_000).iter().enumerate() {
                let protected = sender.protect(packet).expect("it is RTP").to_vec();
                assert_eq!(protected.len(), packet.len() + tag);
                assert_eq!(protected[..HEADER_LEN], packet[..HEADER_LEN]);
                assert_ne!(protected[HEADER_LEN..packet.len()], packet[HEADER_LEN..]);
                assert!(receiver.open(&protected, &mut plain) && plain == *packet, "{n}");
                assert!(n % 1000 > 0 || receiver.open(&protected, &mut plain), "it came again");
                if n % 50 == 0 {
                    let mut damaged = protected;
                    let at = HEADER_LEN + n / 50 % (damaged.len() - HEADER_LEN);
                    damaged[at] ^= 1;
                    assert!(!receiver.open(&damaged, &mut plain) && plain.is_empty());
                }
            }
            let other = Keys::new(suite, [9; MASTER_LEN]);
            let protected = sender.protect(&packets(7, 1)[0]).expect("it is RTP").to_vec();
            assert!(!SrtpReceiver::new(&other).open(&protected, &mut plain));
            assert!(!receiver.open(&packets(7, 1)[0], &mut plain), "it is plain");
        }
    }

    /// Both suites' vectors of one packet: ciphertext by RFC 3711 section 4.1.1 and tag by section 4.2, from libsrtp's
    /// test of its validation (`srtp_validate`), whose key is that of appendix B.3.
    #[test]
    fn a_packet_is_protected_to_the_letter() {
        let plain =
            [&[0x80, 0x0F, 0x12, 0x34, 0xDE, 0xCA, 0xFB, 0xAD, 0xCA, 0xFE, 0xBA, 0xBE][..], &[0xAB; 16]]
                .concat();
        let protected = [
            0x80, 0x0F, 0x12, 0x34, 0xDE, 0xCA, 0xFB, 0xAD, 0xCA, 0xFE, 0xBA, 0xBE, 0x4E, 0x55, 0xDC, 0x4C,
            0xE7, 0x99, 0x78, 0xD8, 0x8C, 0xA4, 0xD2, 0x15, 0x94, 0x9D, 0x24, 0x02, 0xB7, 0x8D, 0x6A, 0xCC,
            0x99, 0xEA, 0x17, 0x9B, 0x8D, 0xBB,
        ];
        assert_eq!(SrtpSender::new(&keys(Suite::Sha1With80)).protect(&plain), Some(&protected[..]));
        assert_eq!(SrtpSender::new(&keys(Suite::Sha1With32)).protect(&plain), Some(&protected[..32]));
    }

    #[test]
    fn forged_sources_take_no_memory_and_no_place() {
        let keys = keys(Suite::Sha1With80);
        let (mut sender, mut receiver, mut plain) =
            (SrtpSender::new(&keys), SrtpReceiver::new(&keys), Vec::new());
        for ssrc in 0..1000 {
            assert!(!receiver.open(&packets(ssrc, 1)[0], &mut plain));
        }
        assert!(receiver.known.is_empty() && receiver.trial.1 < MOST_TRIED);
        // Sources that have the keys push out those that were known longest, which are then known anew.
        for ssrc in [1, 2, 3, 4, 5, 6, 1, 2] {
            for packet in packets(ssrc, 3) {
                let protected = sender.protect(&packet).expect("it is RTP").to_vec();
                assert!(receiver.open(&protected, &mut plain) && plain == packet, "{ssrc}");
            }
            assert!(receiver.known.len() <= MOST_SSRCS);
        }
    }

    #[test]
    fn other_keys_open_what_comes_and_the_former_ones_what_was_under_way() {
        let [old, new] =
            [[1; MASTER_LEN], [2; MASTER_LEN]].map(|master| Keys::new(Suite::Sha1With80, master));
        let (mut receiver, mut plain) = (SrtpReceiver::new(&old), Vec::new());
        let protect = |keys: &Keys| {
            let mut sender = SrtpSender::new(keys);
            packets(5, 40)
                .iter()
                .map(|packet| sender.protect(packet).expect("it is RTP").to_vec())
                .collect::<Vec<_>>()
        };
        let (before, after) = (protect(&old), protect(&new));
        assert!(before[..30].iter().all(|packet| receiver.open(packet, &mut plain)));
        receiver.change(&old);
        assert!(receiver.former.is_none());
        receiver.change(&new);
        assert!(receiver.open(&after[30], &mut plain) && receiver.open(&before[30], &mut plain));
        receiver.change(&old);
        receiver.change(&new);
        assert!(receiver.open(&before[31], &mut plain), "the last but one");
    }

    #[test]
    fn rtp_is_protected_and_what_lies_beside_it_is_not() {
        let report = [&[0x80, 200, 0, 6][..], &[0; 24]].concat();
        for (datagram, is) in
            [(packets(1, 1).remove(0), true), (report, false), (vec![0; 40], false), (vec![], false)]
        {
            assert_eq!(is_protected(&datagram), is, "{datagram:?}");
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let keys = keys(Suite::Sha1With32);
        let sender = SrtpSender::new(&keys);
        let printed = format!("{keys:?} {:?} {sender:?}", SrtpReceiver::new(&keys));
        assert!(!printed.contains("225") && !printed.contains(&keys.inline()[..6]), "{printed}");
        assert_eq!(keys.inline(), "4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm");
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..80), first in 0x80u8..0xC0) {
            let (mut receiver, mut plain) = (SrtpReceiver::new(&keys(Suite::Sha1With80)), Vec::new());
            let mut bytes = bytes;
            bytes.iter_mut().take(1).for_each(|byte| *byte = first);
            prop_assert!(!receiver.open(&bytes, &mut plain));
            is_protected(&bytes);
        }
    }
}
