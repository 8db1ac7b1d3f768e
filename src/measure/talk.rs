//! One call's receiving side where the far end talks: loudness of its audio, and what of it is missing.

use std::time::Duration;

use rtp_rs::RtpReader;

use super::own_voice::OwnVoice;
use crate::rtp::kind::{Extra, Kind};
use crate::rtp::{Format, g711};
use crate::speech::{Live, Loudness, Segment, Uttered};
use crate::stamp::Stamp;

/// Samples a second of the codecs in which calls talk.
pub const RATE_HZ: u32 = 8000;
/// Gaps of one call that are kept.
const MOST_GAPS: usize = 10_000;
/// Packets in a row whose loss is believed; more is another stream.
const MOST_LOST: u16 = 3000;

/// Packets by which one may be overtaken: an older one begins a stream anew.
const MOST_OVERTAKEN: u16 = 50;

/// Place of a packet in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first one, one of another source, or the begin of a talkspurt.
    New,
    /// So many packets are missing before it.
    After(u16),
    /// Behind one that came before it, or come twice.
    Overtaken,
}

/// Ear of one call.
#[derive(Debug)]
pub struct Listener {
    format: Format,
    loudness: Loudness,
    samples: Vec<i16>,
    /// Source, number and time stamp of the last packet, and its samples of audio.
    last: Option<(u32, u16, u32, u32)>,
    heard_until: Stamp,
    gaps: Vec<(Stamp, Stamp)>,
    /// First number of the last gap, and how many of its packets have not come.
    open_gap: (u16, u16),
    counts: TalkCounts,
    first_at: Option<Stamp>,
    own: OwnVoice,
}

/// Packets of a far end that talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TalkCounts {
    /// Packets of audio.
    pub audio: u64,
    /// Numbers that never came.
    pub lost: u64,
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
    /// Stretches with the caller's own voice at more than -12 dB.
    pub echoes: Vec<(Stamp, Stamp)>,
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
            open_gap: (0, 0),
            counts: TalkCounts::default(),
            first_at: None,
            own: OwnVoice::new(),
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
            Kind::Extra(Extra::ComfortNoise | Extra::TelephoneEvent) => {
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
        let place = self.follow(rtp, ticks);
        // Its place in time is past, and what came in between stands there.
        if place == Place::Overtaken {
            return;
        }
        if let Place::After(missing @ 1..) = place {
            self.note_gap(u16::from(rtp.sequence_number()).wrapping_sub(missing), missing, at);
        }
        let samples = std::mem::take(&mut self.samples);
        self.loudness.push(at, place == Place::After(0), &samples);
        self.own.take(rtp.ssrc(), rtp.timestamp(), &samples, at);
        self.samples = samples;
        self.heard_until = at + Duration::from_micros(u64::from(ticks) * 1_000_000 / u64::from(RATE_HZ));
    }

    fn note_gap(&mut self, first: u16, missing: u16, at: Stamp) {
        self.open_gap = (first, 0);
        if self.gaps.len() < MOST_GAPS {
            self.gaps.push((self.heard_until.min(at), at));
            self.open_gap.1 = missing;
        }
    }

    /// Takes back what was said of a packet that was overtaken: it is not lost.
    fn note_overtaken(&mut self, number: u16) {
        self.counts.lost = self.counts.lost.saturating_sub(1);
        let (first, left) = &mut self.open_gap;
        if *left > 0 && number.wrapping_sub(*first) < MOST_LOST {
            *left -= 1;
            if *left == 0 {
                self.gaps.pop();
            }
        }
    }

    /// Notes a packet of the stream, and tells its place in it.
    fn follow(&mut self, rtp: &RtpReader<'_>, ticks: u32) -> Place {
        let (source, number, timestamp) = (rtp.ssrc(), u16::from(rtp.sequence_number()), rtp.timestamp());
        let this = (source, number, timestamp, ticks);
        let Some((last_source, last_number, last_timestamp, last_ticks)) = self.last.replace(this) else {
            return Place::New;
        };
        let missing = number.wrapping_sub(last_number).wrapping_sub(1);
        if source != last_source {
            return Place::New;
        }
        if last_number.wrapping_sub(number) < MOST_OVERTAKEN {
            self.last = Some((last_source, last_number, last_timestamp, last_ticks));
            // A packet that came twice was never missed.
            if last_number != number {
                self.note_overtaken(number);
            }
            return Place::Overtaken;
        }
        if missing > MOST_LOST {
            return Place::New;
        }
        self.counts.lost += u64::from(missing);
        let is_contiguous = last_timestamp.wrapping_add(last_ticks) == timestamp;
        if missing > 0 || is_contiguous { Place::After(missing) } else { Place::New }
    }

    /// Notes what the caller has said.
    pub fn note_uttered(&mut self, uttered: Uttered) {
        self.own.awaits(uttered);
    }

    /// Does what time alone makes due.
    pub fn look(&mut self, now: Stamp) {
        self.own.look(now);
    }

    /// The far end's speech as it is known at `now`.
    pub fn live(&self, now: Stamp) -> Live {
        self.loudness.live(now)
    }

    /// Everything heard, of a call that ended at `at`.
    pub fn finish(mut self, at: Stamp) -> Listened {
        self.loudness.push(at, false, &[]);
        let Listener { loudness, gaps, counts, first_at, own, .. } = self;
        Listened { segments: loudness.segments(), gaps, counts, first_at, echoes: own.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;
    use crate::speech::builtin;
    use proptest::prelude::*;

    const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));

    fn listener() -> Listener {
        Listener::new(FORMAT, at(0))
    }

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
        let mut listener = listener();
        for (n, frame) in clip.samples.chunks_exact(160).enumerate().filter(|(n, _)| *n != 40) {
            listener.take(&packet(n as u16, n as u32 * 160, frame), at(1000 + n as u64 * 20));
        }
        let live = listener.live(at(2000));
        assert!(live.speaking && live.began_at == Some(at(1000)), "{live:?}");
        let Listened { segments, gaps, counts, first_at, .. } = listener.finish(at(6000));
        assert_eq!((segments.len(), first_at, counts.lost), (1, Some(at(1000)), 1));
        assert_eq!(segments[0].from, at(1000));
        assert_eq!(gaps, [(at(1000 + 40 * 20), at(1000 + 41 * 20))]);
    }

    /// Reordering is never loss, and a packet that comes twice fills no gap.
    #[test]
    fn packets_that_overtake_each_other_are_not_lost() {
        let clip = builtin("answer").unwrap();
        let hear = |order: &[u16]| {
            let mut listener = listener();
            for (n, number) in (0..).zip(order) {
                let frame = &clip.samples[usize::from(*number) * 160..][..160];
                listener.take(
                    &packet(65_530u16.wrapping_add(*number), u32::from(*number) * 160, frame),
                    at(1000 + n * 20),
                );
            }
            listener.finish(at(6000))
        };
        let tail = 12u16..60;
        let order = |head: &[u16]| [head, &tail.clone().collect::<Vec<_>>()].concat();
        let reordered = hear(&order(&[0, 1, 3, 2, 4, 7, 6, 5, 8, 9, 10, 11]));
        assert_eq!((reordered.counts.lost, reordered.gaps.len(), reordered.counts.audio), (0, 0, 60));
        assert_eq!(
            reordered.segments.len(),
            hear(&order(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])).segments.len()
        );
        let one_late_one_lost = hear(&order(&[0, 1, 5, 3, 2, 6, 7, 8, 9, 10, 11]));
        assert_eq!((one_late_one_lost.counts.lost, one_late_one_lost.gaps.len()), (1, 1));
        let twice = hear(&order(&[0, 1, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11]));
        assert_eq!((twice.counts.lost, twice.gaps.len()), (1, 1));
    }

    #[test]
    fn a_far_end_that_falls_silent_loses_nothing() {
        let clip = builtin("filler").unwrap();
        let mut listener = listener();
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
            let mut listener = listener();
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
