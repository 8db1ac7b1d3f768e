//! One call's receiving side where the far end talks: loudness of its audio, and what of it is missing.

use rtp_rs::RtpReader;

use crate::rtp::kind::{Extra, Kind};
use crate::rtp::{Format, g711};
use crate::speech::{Live, Loudness, Segment};
use crate::stamp::Stamp;

/// Samples a second of the codecs in which calls talk.
pub const RATE_HZ: u32 = 8000;
/// Gaps of one call that are kept.
const MOST_GAPS: usize = 10_000;
/// Packets in a row whose loss is believed; more is another stream.
const MOST_LOST: u16 = 3000;

/// Ear of one call.
#[derive(Debug)]
pub struct Listener {
    format: Format,
    loudness: Loudness,
    samples: Vec<i16>,
    /// Source, number and time stamp of the last packet of audio, and its samples.
    last: Option<(u32, u16, u32, u32)>,
    heard_until: Stamp,
    gaps: Vec<(Stamp, Stamp)>,
    counts: TalkCounts,
    first_at: Option<Stamp>,
    last_digit: Option<u32>,
}

/// Packets of a far end that talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TalkCounts {
    /// Packets of audio.
    pub audio: u64,
    /// Numbers that never came.
    pub lost: u64,
    /// Digits.
    pub digits: u64,
    /// Comfort noise.
    pub noise: u64,
}

/// Everything that was heard of a call.
#[derive(Debug, Clone, Default)]
pub struct Listened {
    /// Stretches in which the far end spoke.
    pub segments: Vec<Segment>,
    /// Stretches of which packets are missing.
    pub gaps: Vec<(Stamp, Stamp)>,
    /// Packets.
    pub counts: TalkCounts,
    /// Receipt of the first packet.
    pub first_at: Option<Stamp>,
}

impl Listener {
    /// An ear for a call in `format` that was answered at `at`.
    pub fn new(format: Format, at: Stamp) -> Self {
        let mut loudness = Loudness::new(RATE_HZ);
        loudness.push(at, false, &[]);
        Listener {
            format,
            loudness,
            samples: Vec::new(),
            last: None,
            heard_until: at,
            gaps: Vec::new(),
            counts: TalkCounts::default(),
            first_at: None,
            last_digit: None,
        }
    }

    /// Takes a datagram that the kernel received at `at`; returns its payload if it was audio.
    pub fn take<'d>(&mut self, datagram: &'d [u8], at: Stamp) -> Option<&'d [u8]> {
        let rtp = RtpReader::new(datagram).ok()?;
        match Kind::of(datagram, &self.format) {
            Kind::Media => {
                self.audio(&rtp, at);
                Some(rtp.payload())
            }
            Kind::Extra(Extra::ComfortNoise) => {
                self.counts.noise += 1;
                self.follow(&rtp, 0);
                None
            }
            Kind::Extra(Extra::TelephoneEvent) => {
                let is_end = rtp.payload().get(1).is_some_and(|flags| flags & 0x80 != 0);
                // The end of an event comes three times.
                if is_end && self.last_digit.replace(rtp.timestamp()) != Some(rtp.timestamp()) {
                    self.counts.digits += 1;
                }
                self.follow(&rtp, 0);
                None
            }
            Kind::Extra(_) | Kind::Other => None,
        }
    }

    fn audio(&mut self, rtp: &RtpReader<'_>, at: Stamp) {
        self.samples.clear();
        g711::decode_into(self.format.codec, rtp.payload(), &mut self.samples);
        self.counts.audio += 1;
        self.first_at.get_or_insert(at);
        let ticks = u32::try_from(self.samples.len()).unwrap_or(u32::MAX);
        let lost = self.follow(rtp, ticks);
        let is_next = lost == Some(0);
        if lost.is_some_and(|lost| lost > 0) && self.gaps.len() < MOST_GAPS {
            self.gaps.push((self.heard_until.min(at), at));
        }
        let samples = std::mem::take(&mut self.samples);
        self.loudness.push(at, is_next, &samples);
        self.samples = samples;
        self.heard_until = at;
    }

    /// Notes a packet of the stream. The packets missing before it; `None` where it does not follow on the last: it is the
    /// first, of another source, overtaken, or begins a talkspurt.
    fn follow(&mut self, rtp: &RtpReader<'_>, ticks: u32) -> Option<u16> {
        let (source, number, timestamp) = (rtp.ssrc(), u16::from(rtp.sequence_number()), rtp.timestamp());
        let last = self.last.replace((source, number, timestamp, ticks));
        let (last_source, last_number, last_timestamp, last_ticks) = last?;
        let missing = number.wrapping_sub(last_number).wrapping_sub(1);
        if source != last_source || missing > MOST_LOST {
            return None;
        }
        self.counts.lost += u64::from(missing);
        let is_contiguous = last_timestamp.wrapping_add(last_ticks) == timestamp;
        (missing > 0 || is_contiguous).then_some(missing)
    }

    /// The far end's speech as it is known at `now`.
    pub fn live(&self, now: Stamp) -> Live {
        self.loudness.live(now)
    }

    /// Everything heard, of a call that ended at `at`.
    pub fn finish(mut self, at: Stamp) -> Listened {
        self.loudness.push(at, false, &[]);
        let Listener { loudness, gaps, counts, first_at, .. } = self;
        Listened { segments: loudness.segments(), gaps, counts, first_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;
    use crate::speech::builtin;
    use proptest::prelude::*;
    use std::time::Duration;

    const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));

    fn packet(number: u16, timestamp: u32, samples: &[i16]) -> Vec<u8> {
        let mut bytes = vec![0x80, 0];
        bytes.extend(number.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend([0, 0, 0, 9]);
        bytes.extend(samples.iter().map(|sample| g711::ulaw_encode(*sample)));
        bytes
    }

    fn at(ms: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(10_000 + ms)
    }

    #[test]
    fn speech_is_heard_where_it_is_and_packets_that_never_came_are_gaps() {
        let clip = builtin("answer").unwrap();
        let mut listener = Listener::new(FORMAT, at(0));
        for (n, frame) in clip.samples.chunks_exact(160).enumerate().filter(|(n, _)| *n != 40) {
            listener.take(&packet(n as u16, n as u32 * 160, frame), at(1000 + n as u64 * 20));
        }
        let live = listener.live(at(2000));
        assert!(live.speaking && live.began_at == Some(at(1000)), "{live:?}");
        let Listened { segments, gaps, counts, first_at } = listener.finish(at(6000));
        assert_eq!((segments.len(), first_at, counts.lost), (1, Some(at(1000)), 1));
        assert_eq!(segments[0].from, at(1000));
        assert_eq!(gaps, [(at(1000 + 39 * 20), at(1000 + 41 * 20))]);
    }

    #[test]
    fn a_far_end_that_falls_silent_loses_nothing() {
        let clip = builtin("filler").unwrap();
        let mut listener = Listener::new(FORMAT, at(0));
        for (spurt, begin) in [(0, 1000), (1, 3000)] {
            for (n, frame) in clip.samples.chunks_exact(160).enumerate() {
                let (number, timestamp) = (spurt * 15 + n as u16, begin as u32 * 8 + n as u32 * 160);
                listener.take(&packet(number, timestamp, frame), at(begin + n as u64 * 20));
            }
        }
        let Listened { segments, gaps, counts, .. } = listener.finish(at(6000));
        assert_eq!((segments.len(), gaps.len(), counts.lost, counts.audio), (2, 0, 0, 30));
        assert_eq!((segments[0].from, segments[1].from), (at(1000), at(3000)));
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(
            datagrams in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..200), any::<u32>()), 0..50),
        ) {
            let mut listener = Listener::new(FORMAT, at(0));
            for (datagram, ns) in datagrams {
                let mut bytes = datagram;
                if let Some(first) = bytes.first_mut() {
                    *first = 0x80;
                }
                listener.take(&bytes, Stamp::from_ns(ns.into()));
            }
            listener.finish(at(0));
        }
    }
}
