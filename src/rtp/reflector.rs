//! The far end's half of a measurement: echoes a packet with its own stamps and counts added.

use rtp_rs::{RtpPacketBuilder, RtpReader};

use super::packet::HEADER_LEN;
use super::probe::{Probe, Reflection};
use super::sequence::{Arrival, Sequence};
use crate::stamp::Stamp;

/// Echo of one stream. All that comes in goes out: probes with the reflection added, other RTP as it is.
#[derive(Debug, Default)]
pub struct StreamReflector {
    ssrc: u32,
    payloads: PayloadReflector,
}

/// Echo of one stream's payloads, whatever carries them: counts their probes and adds reflections.
#[derive(Debug, Default)]
pub struct PayloadReflector {
    whose: Option<(u32, u32)>,
    received: u32,
    sequence: Sequence,
}

impl PayloadReflector {
    /// Probes of the current call: how many numbers up to the highest seen, and how many of them have
    /// arrived. The difference was lost before it came here, or is on its way still.
    pub fn expected_and_received(&self) -> (u32, u32) {
        (self.sequence.next_expected(), self.received)
    }

    /// Adds the reflection to a payload that came at `in_at` and leaves at `out_at`; one without a whole probe stays as
    /// it is.
    pub fn reflect(&mut self, payload: &mut [u8], in_at: Stamp, out_at: Stamp) -> Reflected {
        let Ok(probe) = Probe::read(payload) else { return Reflected::Plain };
        self.count(&probe);
        self.add(&probe, payload, in_at, out_at);
        Reflected::Probe
    }

    /// Counts a probe; a probe of another call starts the count anew.
    fn count(&mut self, probe: &Probe) {
        let whose = Some((probe.run_id, probe.call_id));
        if self.whose != whose {
            *self = PayloadReflector { whose, ..Default::default() };
        }
        if matches!(self.sequence.arrive(probe.seq), Arrival::InOrder | Arrival::Reordered) {
            self.received = self.received.saturating_add(1);
        }
    }

    fn add(&self, probe: &Probe, payload: &mut [u8], in_at: Stamp, out_at: Stamp) {
        let window = self.sequence.last_64(probe.seq);
        let reflection = Reflection { in_at, out_at, received: self.received, window };
        reflection.add_to(payload);
    }
}

/// Kind of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflected {
    /// A probe went back with the reflection added.
    Probe,
    /// RTP without a whole probe went back unchanged but for the header.
    Plain,
}

impl StreamReflector {
    /// A reflector that sends under `ssrc`.
    pub fn new(ssrc: u32) -> Self {
        StreamReflector { ssrc, ..Default::default() }
    }

    /// Probes of the current call: how many numbers up to the highest seen, and how many of them have
    /// arrived. The difference was lost before it came here, or is on its way still.
    pub fn expected_and_received(&self) -> (u32, u32) {
        self.payloads.expected_and_received()
    }

    /// Writes the answer to `datagram` into `answer` and returns its length.
    ///
    /// `in_at` is the kernel's receive stamp; `out_at` is read as late as can be, so it is a call.
    /// Nothing is answered to what is not RTP or does not fit into `answer`, and the answer is never
    /// longer than the question.
    pub fn reflect(
        &mut self,
        datagram: &[u8],
        in_at: Stamp,
        out_at: impl FnOnce() -> Stamp,
        answer: &mut [u8],
    ) -> Option<(usize, Reflected)> {
        let (rtp, probe) = question(datagram)?;
        let answer = answer.get_mut(..HEADER_LEN + rtp.payload().len())?;
        probe.iter().for_each(|probe| self.payloads.count(probe));
        Some(self.write(&rtp, probe.as_ref(), in_at, out_at, answer))
    }

    /// Counts `datagram`, which [`StreamReflector::answer`] is to answer later, and returns its RTP
    /// sequence number; `None` for what is not RTP.
    pub fn arrive(&mut self, datagram: &[u8]) -> Option<u16> {
        let (rtp, probe) = question(datagram)?;
        probe.iter().for_each(|probe| self.payloads.count(probe));
        Some(rtp.sequence_number().into())
    }

    /// As [`StreamReflector::reflect`], for a datagram that was counted when it arrived at `in_at`.
    pub fn answer(
        &self,
        datagram: &[u8],
        in_at: Stamp,
        out_at: impl FnOnce() -> Stamp,
        answer: &mut [u8],
    ) -> Option<(usize, Reflected)> {
        let (rtp, probe) = question(datagram)?;
        let answer = answer.get_mut(..HEADER_LEN + rtp.payload().len())?;
        Some(self.write(&rtp, probe.as_ref(), in_at, out_at, answer))
    }

    fn write(
        &self,
        rtp: &RtpReader<'_>,
        probe: Option<&Probe>,
        in_at: Stamp,
        out_at: impl FnOnce() -> Stamp,
        answer: &mut [u8],
    ) -> (usize, Reflected) {
        RtpPacketBuilder::new()
            .payload_type(rtp.payload_type())
            .marked(rtp.mark())
            .sequence(rtp.sequence_number())
            .timestamp(rtp.timestamp())
            .ssrc(self.ssrc)
            .build_into_unchecked(&mut answer[..HEADER_LEN]);
        answer[HEADER_LEN..].copy_from_slice(rtp.payload());
        let Some(probe) = probe else {
            return (answer.len(), Reflected::Plain);
        };
        self.payloads.add(probe, &mut answer[HEADER_LEN..], in_at, out_at());
        (answer.len(), Reflected::Probe)
    }
}

/// Reads a packet, and the probe in it if there is a whole one; `None` for what is not RTP.
fn question(datagram: &[u8]) -> Option<(RtpReader<'_>, Option<Probe>)> {
    let rtp = RtpReader::new(datagram).ok()?;
    let probe = Probe::read(rtp.payload()).ok();
    Some((rtp, probe))
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Incoming, StreamSender, read};
    use super::super::probe::RunKey;
    use super::super::{Codec, Format};
    use super::*;

    const KEY: RunKey = RunKey::new(1, [1; 16]);
    const FORMAT: Format = Format::of(Codec::Pcmu, std::time::Duration::from_millis(20));

    fn at(ns: u64) -> Stamp {
        Stamp::from_ns(ns)
    }

    #[test]
    fn a_probe_comes_back_with_stamps_counts_and_gaps() {
        let mut sender = StreamSender::new(KEY, 2, 3, FORMAT);
        let packets: Vec<_> = (0..4).map(|n| sender.packet(at(n), at(n)).to_vec()).collect();
        let mut reflector = StreamReflector::new(99);
        let mut answer = [0; 200];
        let mut last = None;
        for n in [0usize, 1, 3, 3] {
            let (len, kind) = reflector.reflect(&packets[n], at(50), || at(60), &mut answer).unwrap();
            assert_eq!((len, kind), (packets[n].len(), Reflected::Probe));
            last = Some(read(&answer[..len], &FORMAT, &KEY, 2));
        }
        let Some(Incoming::Probe { probe, .. }) = last else { panic!("a probe") };
        let reflection = probe.reflection.unwrap();
        assert_eq!((reflection.in_at, reflection.out_at), (at(50), at(60)));
        assert_eq!((reflection.received, reflection.window), (3, 0b1101));
        assert_eq!(reflector.expected_and_received(), (4, 3));
    }

    #[test]
    fn what_is_answered_later_is_counted_when_it_arrives() {
        let mut sender = StreamSender::new(KEY, 2, 3, FORMAT);
        let packets: Vec<_> = (0..2).map(|n| sender.packet(at(n), at(n)).to_vec()).collect();
        let (mut reflector, mut elsewhere) = (StreamReflector::new(9), StreamReflector::new(7));
        assert_ne!(reflector.arrive(&packets[0]), reflector.arrive(&packets[1]));
        assert_eq!(reflector.arrive(b"hello"), None);
        // Another echo in between has added a reflection of its own, which gives way.
        let (mut there, mut answer) = ([0; 200], [0; 200]);
        let (len, _) = elsewhere.reflect(&packets[0], at(70), || at(80), &mut there).unwrap();
        let (len, kind) = reflector.answer(&there[..len], at(50), || at(90), &mut answer).unwrap();
        assert_eq!(kind, Reflected::Probe);
        let Incoming::Probe { probe, .. } = read(&answer[..len], &FORMAT, &KEY, 2) else { panic!("a probe") };
        let reflection = probe.reflection.unwrap();
        assert_eq!((reflection.in_at, reflection.out_at, reflection.received), (at(50), at(90), 2));
        assert_eq!(reflector.expected_and_received(), (2, 2));
    }

    #[test]
    fn what_is_not_rtp_gets_no_answer_and_plain_rtp_its_own_bytes() {
        let mut reflector = StreamReflector::new(9);
        let mut answer = [0; 64];
        assert_eq!(reflector.reflect(b"hello", at(1), || at(2), &mut answer), None);
        let plain = RtpPacketBuilder::new().payload_type(0).payload(&[1, 2, 3]).build().unwrap();
        let (len, kind) = reflector.reflect(&plain, at(1), || at(2), &mut answer).unwrap();
        assert_eq!((&answer[12..len], kind), (&[1u8, 2, 3][..], Reflected::Plain));
        let long = RtpPacketBuilder::new().payload_type(0).payload(&[0; 100]).build().unwrap();
        assert_eq!(reflector.reflect(&long, at(1), || at(2), &mut answer), None);
    }
}
