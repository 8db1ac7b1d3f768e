//! RTP packets (RFC 3550 section 5.1): building one stream's packets in place, reading arrivals.

use rtp_rs::{RtpPacketBuilder, RtpReader};

use super::Format;
use super::kind::{Extra, Kind};
use super::probe::{Probe, ProbeError, RunKey};
use crate::stamp::Stamp;

/// Bytes of an RTP header without CSRCs and extension.
pub const HEADER_LEN: usize = 12;

/// Builds the packets of one outgoing stream into one buffer, without allocating per packet.
#[derive(Debug)]
pub struct StreamSender {
    key: RunKey,
    call_id: u32,
    ssrc: u32,
    payload_type: u8,
    ticks: u32,
    next: u32,
    /// Packet times gone by, those in which nothing was sent included.
    slots: u32,
    /// The next packet is the first one, or the first after a pause.
    begins: bool,
    /// Packet time of the telephone event that is under way.
    event_slot: u32,
    buffer: Box<[u8]>,
}

impl StreamSender {
    /// A stream in a format; numbering starts at 0.
    pub fn new(key: RunKey, call_id: u32, ssrc: u32, format: Format) -> Self {
        let buffer = vec![format.codec.silence(); HEADER_LEN + format.payload_len()].into_boxed_slice();
        let (payload_type, ticks) = (format.payload_type, format.ticks());
        StreamSender {
            key,
            call_id,
            ssrc,
            payload_type,
            ticks,
            next: 0,
            slots: 0,
            begins: true,
            event_slot: 0,
            buffer,
        }
    }

    /// Lets a packet's time go by: numbers go on without a gap, the RTP clock goes on (RFC 3550 section 5.1), and the next
    /// packet is marked as the first of a talkspurt (RFC 3551 section 4.1).
    pub fn skip(&mut self) {
        self.slots = self.slots.wrapping_add(1);
        self.begins = true;
    }

    /// Sends under another payload type from now on.
    pub fn change_payload_type(&mut self, payload_type: u8) {
        self.payload_type = payload_type;
    }

    /// Memory of its packets.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// Packets built so far.
    pub fn sent(&self) -> u32 {
        self.next
    }

    /// The next packet with audio that `fill` writes; valid until the next call.
    pub fn speech(&mut self, fill: impl FnOnce(&mut [u8])) -> &[u8] {
        self.header(self.payload_type, self.begins, self.slots.wrapping_mul(self.ticks));
        fill(&mut self.buffer[HEADER_LEN..]);
        self.next = self.next.wrapping_add(1);
        (self.slots, self.begins) = (self.slots.wrapping_add(1), false);
        &self.buffer
    }

    /// The next packet as part of a telephone event (RFC 4733), all of which have the time stamp of the first one (section
    /// 2.3.2); valid until the next call.
    pub fn event(&mut self, payload_type: u8, is_first: bool, event: [u8; 4]) -> &[u8] {
        if is_first {
            self.event_slot = self.slots;
        }
        self.header(payload_type, is_first, self.event_slot.wrapping_mul(self.ticks));
        self.buffer[HEADER_LEN..HEADER_LEN + event.len()].copy_from_slice(&event);
        self.next = self.next.wrapping_add(1);
        (self.slots, self.begins) = (self.slots.wrapping_add(1), true);
        &self.buffer[..HEADER_LEN + event.len()]
    }

    fn header(&mut self, payload_type: u8, marked: bool, timestamp: u32) {
        RtpPacketBuilder::new()
            .payload_type(payload_type)
            .marked(marked)
            .sequence((self.next as u16).into())
            .timestamp(timestamp)
            .ssrc(self.ssrc)
            .build_into_unchecked(&mut self.buffer[..HEADER_LEN]);
    }

    /// The next packet, stamped; valid until the next call.
    pub fn packet(&mut self, intended_at: Stamp, sent_at: Stamp) -> &[u8] {
        self.header(self.payload_type, self.begins, self.slots.wrapping_mul(self.ticks));
        let probe = Probe {
            run_id: self.key.run_id,
            call_id: self.call_id,
            seq: self.next,
            intended_at,
            sent_at,
            reflection: None,
        };
        probe.write(&mut self.buffer[HEADER_LEN..], &self.key);
        self.next = self.next.wrapping_add(1);
        (self.slots, self.begins) = (self.slots.wrapping_add(1), false);
        &self.buffer
    }
}

/// Kind of a datagram that arrived on a call's RTP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// RTP with a whole probe of this run, under whatever payload type.
    Probe {
        /// The probe.
        probe: Probe,
        /// The packet's own RTP timestamp, for interarrival jitter.
        rtp_timestamp: u32,
        /// Source that numbers and stamps the packets.
        ssrc: u32,
    },
    /// RTP with a damaged probe.
    Corrupted,
    /// RTP of the agreed payload type that holds no probe: audio of the far end's own, or a payload that was changed.
    Audio,
    /// RTP with a whole probe under the run's name that the run has not signed: made or changed by the far end.
    Forged,
    /// No audio, and nothing wrong.
    Extra(Extra),
    /// RTP with a whole probe of another call of this run, signed: nobody else can make one.
    Crossed {
        /// Number of the call that sent it.
        call: u32,
        /// T1 of the packet.
        sent_at: Stamp,
    },
    /// RTP with a whole probe of another run.
    Stranger,
    /// No RTP, and nothing known.
    Other,
}

/// Reads a datagram that arrived for `call_id` of the run of `key`, a call whose media are in `format`.
pub fn read(datagram: &[u8], format: &Format, key: &RunKey, call_id: u32) -> Incoming {
    let rtp = RtpReader::new(datagram);
    let probe = rtp.as_ref().map_or(Err(ProbeError::NotAProbe), |rtp| Probe::read(rtp.payload()));
    match (rtp, probe) {
        (Ok(_), Ok(probe)) if probe.run_id != key.run_id => Incoming::Stranger,
        (Ok(rtp), Ok(_)) if !key.has_signed(rtp.payload()) => Incoming::Forged,
        (Ok(rtp), Ok(probe)) if probe.call_id == call_id => {
            Incoming::Probe { probe, rtp_timestamp: rtp.timestamp(), ssrc: rtp.ssrc() }
        }
        (_, Ok(probe)) => Incoming::Crossed { call: probe.call_id, sent_at: probe.sent_at },
        (_, Err(ProbeError::Damaged)) => Incoming::Corrupted,
        (_, Err(ProbeError::NotAProbe)) => match Kind::of(datagram, format) {
            Kind::Media => Incoming::Audio,
            Kind::Extra(extra) => Incoming::Extra(extra),
            Kind::Other => Incoming::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;
    use crate::rtp::probe::PROBE_LEN;
    use proptest::prelude::*;
    use std::time::Duration;

    const KEY: RunKey = RunKey::new(7, [1; 16]);
    const FORMAT: Format = Format::of(Codec::Pcma, Duration::from_millis(20));

    #[test]
    fn a_packet_is_plain_rtp_with_a_probe_inside() {
        let mut sender = StreamSender::new(KEY, 3, 0xABCD, FORMAT);
        sender.packet(Stamp::from_ns(10), Stamp::from_ns(11));
        let bytes = sender.packet(Stamp::from_ns(20), Stamp::from_ns(21)).to_vec();
        let rtp = RtpReader::new(&bytes).unwrap();
        assert_eq!((rtp.payload_type(), rtp.payload().len(), rtp.mark()), (8, 160, false));
        assert_eq!((u16::from(rtp.sequence_number()), rtp.timestamp(), rtp.ssrc()), (1, 160, 0xABCD));
        assert!(rtp.payload()[PROBE_LEN..].iter().all(|b| *b == 0xD5));
        let Incoming::Probe { probe, rtp_timestamp: 160, ssrc: 0xABCD } = read(&bytes, &FORMAT, &KEY, 3)
        else {
            panic!("a probe")
        };
        assert_eq!((probe.seq, probe.intended_at.as_ns(), probe.sent_at.as_ns()), (1, 20, 21));
        assert_eq!(read(&bytes, &FORMAT, &RunKey::new(8, [1; 16]), 3), Incoming::Stranger);
        assert_eq!(
            read(&bytes, &FORMAT, &KEY, 4),
            Incoming::Crossed { call: 3, sent_at: Stamp::from_ns(21) }
        );
        assert_eq!(read(&bytes, &FORMAT, &RunKey::new(7, [2; 16]), 3), Incoming::Forged);
    }

    #[test]
    fn a_pause_is_a_gap_in_the_clock_and_none_in_the_numbers() {
        let mut sender = StreamSender::new(KEY, 3, 9, FORMAT);
        let mut next = |skipped: u32, payload_type: u8| {
            (0..skipped).for_each(|_| sender.skip());
            sender.change_payload_type(payload_type);
            let bytes = sender.packet(Stamp::ZERO, Stamp::ZERO).to_vec();
            let rtp = RtpReader::new(&bytes).unwrap();
            (u16::from(rtp.sequence_number()), rtp.timestamp(), rtp.mark(), rtp.payload_type())
        };
        let packets =
            [(0, 8), (0, 8), (3, 8), (0, 96)].map(|(skipped, payload_type)| next(skipped, payload_type));
        assert_eq!(packets, [(0, 0, true, 8), (1, 160, false, 8), (2, 800, true, 8), (3, 960, false, 96)]);
    }

    #[test]
    fn a_probe_is_one_under_any_payload_type_and_behind_any_header() {
        let mut sender = StreamSender::new(KEY, 3, 9, FORMAT);
        let plain = sender.packet(Stamp::from_ns(10), Stamp::from_ns(11)).to_vec();
        let payload = &plain[HEADER_LEN..];
        let with = |first: u8, kind: u8, between: &[u8], behind: &[u8]| {
            let mut bytes = [&plain[..HEADER_LEN], between, payload, behind].concat();
            (bytes[0], bytes[1]) = (first, kind);
            read(&bytes, &FORMAT, &KEY, 3)
        };
        for (first, kind, between, behind) in [
            (0x80, 0x80, &[][..], &[][..]),
            (0x80, 13, &[], &[]),
            (0x80, 101, &[], &[]),
            // Two contributing sources; an extension; padding.
            (0x82, 8, &[1; 8], &[]),
            (0x90, 8, &[0xBE, 0xDE, 0, 1, 0x10, 1, 0, 0], &[]),
            (0xA0, 8, &[], &[0, 0, 0, 4]),
        ] {
            let incoming = with(first, kind, between, behind);
            assert!(matches!(incoming, Incoming::Probe { .. }), "{first:x} {kind}: {incoming:?}");
        }
        let mut damaged = plain.clone();
        (damaged[1], damaged[HEADER_LEN + 20]) = (101, damaged[HEADER_LEN + 20] ^ 1);
        assert_eq!(read(&damaged, &FORMAT, &KEY, 3), Incoming::Corrupted);
        damaged[HEADER_LEN] ^= 1;
        assert_eq!(read(&damaged, &FORMAT, &KEY, 3), Incoming::Extra(Extra::OtherPayload(101)));
        damaged[1] = 8;
        assert_eq!(read(&damaged, &FORMAT, &KEY, 3), Incoming::Audio);
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let probed = matches!(read(&bytes, &FORMAT, &KEY, 1), Incoming::Probe { .. });
            prop_assert!(!probed);
        }
    }
}
