//! RTP packets (RFC 3550 section 5.1): building one stream's packets in place, reading arrivals.

use rtp_rs::{RtpPacketBuilder, RtpReader};

use super::Format;
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
    buffer: Box<[u8]>,
}

impl StreamSender {
    /// A stream in a format; numbering starts at 0.
    pub fn new(key: RunKey, call_id: u32, ssrc: u32, format: Format) -> Self {
        let buffer = vec![format.codec.silence(); HEADER_LEN + format.payload_len()].into_boxed_slice();
        let (payload_type, ticks) = (format.payload_type, format.ticks());
        StreamSender { key, call_id, ssrc, payload_type, ticks, next: 0, buffer }
    }

    /// Packets built so far.
    pub fn sent(&self) -> u32 {
        self.next
    }

    /// The next packet, stamped; valid until the next call.
    pub fn packet(&mut self, intended_at: Stamp, sent_at: Stamp) -> &[u8] {
        let header = RtpPacketBuilder::new()
            .payload_type(self.payload_type)
            .marked(self.next == 0)
            .sequence((self.next as u16).into())
            .timestamp(self.next.wrapping_mul(self.ticks))
            .ssrc(self.ssrc);
        header.build_into_unchecked(&mut self.buffer[..HEADER_LEN]);
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
        &self.buffer
    }
}

/// Kind of a datagram that arrived on a call's RTP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// RTP with a whole probe of this run.
    Probe {
        /// The probe.
        probe: Probe,
        /// The packet's own RTP timestamp, for interarrival jitter.
        rtp_timestamp: u32,
    },
    /// RTP whose payload holds no probe, or a damaged one.
    Corrupted,
    /// RTP with a whole probe under the run's name that the run has not signed: made or changed by the far end.
    Forged,
    /// RTP with a whole probe of another run or call, or no RTP at all.
    Stranger,
}

/// Reads a datagram that arrived for `call_id` of the run of `key`.
pub fn read(datagram: &[u8], key: &RunKey, call_id: u32) -> Incoming {
    let Ok(rtp) = RtpReader::new(datagram) else {
        return Incoming::Stranger;
    };
    match Probe::read(rtp.payload()) {
        Ok(probe) if probe.run_id != key.run_id => Incoming::Stranger,
        Ok(_) if !key.has_signed(rtp.payload()) => Incoming::Forged,
        Ok(probe) if probe.call_id == call_id => Incoming::Probe { probe, rtp_timestamp: rtp.timestamp() },
        Ok(_) => Incoming::Stranger,
        Err(ProbeError::NotAProbe | ProbeError::Damaged) => Incoming::Corrupted,
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

    #[test]
    fn a_packet_is_plain_g711_rtp_with_a_probe_inside() {
        let mut sender = StreamSender::new(KEY, 3, 0xABCD, Format::of(Codec::Pcma, Duration::from_millis(20)));
        sender.packet(Stamp::from_ns(10), Stamp::from_ns(11));
        let bytes = sender.packet(Stamp::from_ns(20), Stamp::from_ns(21)).to_vec();
        let rtp = RtpReader::new(&bytes).unwrap();
        assert_eq!((rtp.payload_type(), rtp.payload().len(), rtp.mark()), (8, 160, false));
        assert_eq!((u16::from(rtp.sequence_number()), rtp.timestamp(), rtp.ssrc()), (1, 160, 0xABCD));
        assert!(rtp.payload()[PROBE_LEN..].iter().all(|b| *b == 0xD5));
        let Incoming::Probe { probe, rtp_timestamp: 160 } = read(&bytes, &KEY, 3) else { panic!("a probe") };
        assert_eq!((probe.seq, probe.intended_at.as_ns(), probe.sent_at.as_ns()), (1, 20, 21));
        assert_eq!(read(&bytes, &RunKey::new(8, [1; 16]), 3), Incoming::Stranger);
        assert_eq!(read(&bytes, &KEY, 4), Incoming::Stranger);
        assert_eq!(read(&bytes, &RunKey::new(7, [2; 16]), 3), Incoming::Forged);
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let probed = matches!(read(&bytes, &KEY, 1), Incoming::Probe { .. });
            prop_assert!(!probed);
        }
    }
}
