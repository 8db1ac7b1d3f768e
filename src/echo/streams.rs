//! The answers of an echo, and its bounded table of streams.
//!
//! An answer must never be answered, or two echoes would send it to and fro for ever. So answers are told
//! by marks that survive the way:
//!
//! - A probe that carries a reflection has been at an echo already.
//! - Other RTP is answered under an SSRC whose upper 24 bits are [`MARK`]. A stranger's random SSRC
//!   looks like that once in 16.7 million streams, and is then not echoed.
//! - An echo of another make may put its own SSRC over the mark. But it keeps the sequence number, or
//!   it would be no echo, and no number of a stream is answered twice. So a packet goes round twice
//!   at most.
//! - One that numbers anew as well is told by its pace (`peers`).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use rtp_rs::RtpReader;

use super::peers::{MOST_OF_SOCKET, Peers};
use crate::rtp::kind::is_rtcp;
use crate::rtp::probe::Probe;
use crate::rtp::reflector::{Reflected, StreamReflector};
use crate::rtp::sequence::{Arrival, Sequence};
use crate::stamp::Stamp;

/// Streams that are remembered at once, some 4 MB. Beyond, new ones get no answer until old ones have
/// been idle for a while: those that are being measured are not pushed out by a flood.
pub const MOST_STREAMS: usize = 16_384;

/// Streams of one socket.
pub const MOST_STREAMS_OF_SOCKET: u32 = MOST_OF_SOCKET;

/// A stream this long without an answered packet makes room for another.
const IDLE: Duration = Duration::from_secs(10);
/// A full table is searched for idle streams no more often than this.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// "ECH", the upper 24 bits of the SSRC of all answers.
const MARK: u32 = 0x4543_4800;
const MARK_BITS: u32 = 0xFFFF_FF00;

/// A datagram without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not RTP, or too long.
    NotRtp,
    /// An echo's answer.
    Echoed,
    /// RTP without a probe that was answered before, or is too old to say.
    Repeated,
    /// A new stream, and the table is full, or its sender's share.
    NoRoom,
    /// Its sender asks faster than streams do.
    TooFast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Id {
    Probes { run_id: u32, call_id: u32 },
    Plain { ssrc: u32 },
}

#[derive(Debug)]
enum State {
    Probes(StreamReflector),
    Plain(Numbers),
}

#[derive(Debug)]
struct EchoStream {
    answered_at: Stamp,
    state: State,
}

/// The table, by who sent and which of their streams it is.
#[derive(Debug)]
pub(super) struct Streams {
    known: HashMap<(SocketAddr, Id), EchoStream>,
    peers: Peers,
    most: usize,
    swept_at: Stamp,
}

impl Streams {
    /// A table of at most `most` streams, whose memory is set aside now. A quarter is never one address's.
    pub fn new(most: usize) -> Self {
        let peers = Peers::new((most - most / 4) as u32);
        Streams { known: HashMap::with_capacity(most), peers, most, swept_at: Stamp::ZERO }
    }

    /// Writes the answer to a datagram that arrived `at`, and returns its length and kind. It is never
    /// longer than the datagram. `out_at` is called as late as can be.
    pub fn answer(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        at: Stamp,
        out_at: impl FnOnce() -> Stamp,
        answer: &mut [u8],
    ) -> Result<(usize, Reflected), Refusal> {
        let rtp = RtpReader::new(datagram).map_err(|_| Refusal::NotRtp)?;
        if is_rtcp(datagram) {
            return Err(Refusal::NotRtp);
        }
        let (id, ssrc) = identify(&rtp)?;
        if !self.admit((from, id), at) {
            return Err(Refusal::NoRoom);
        }
        if !self.peers.may_ask(from, matches!(id, Id::Probes { .. }), at) {
            return Err(Refusal::TooFast);
        }
        let stream = self.stream((from, id), at);
        let reflected = match &mut stream.state {
            State::Probes(reflector) => reflector.reflect(datagram, at, out_at, answer),
            State::Plain(numbers) => {
                if !numbers.is_new(rtp.sequence_number().into()) {
                    return Err(Refusal::Repeated);
                }
                StreamReflector::new(ssrc).reflect(datagram, at, out_at, answer)
            }
        };
        stream.answered_at = at;
        reflected.ok_or(Refusal::NotRtp)
    }

    /// Says whether the stream is in the table; one that is new is taken in if there is room.
    fn admit(&mut self, key: (SocketAddr, Id), at: Stamp) -> bool {
        if self.known.contains_key(&key) {
            return true;
        }
        if !self.has_room(key.0) {
            self.sweep(at);
            if !self.has_room(key.0) {
                return false;
            }
        }
        self.peers.add(key.0, at);
        self.known.insert(key, EchoStream { answered_at: at, state: State::new(key.1) });
        true
    }

    fn has_room(&self, from: SocketAddr) -> bool {
        self.known.len() < self.most && self.peers.have_room(from)
    }

    /// Forgets the streams that are idle, every now and then.
    fn sweep(&mut self, at: Stamp) {
        if at.since(self.swept_at) < SWEEP_EVERY {
            return;
        }
        self.swept_at = at;
        let Streams { known, peers, .. } = self;
        known.retain(|(from, _), stream| {
            let is_used = at.since(stream.answered_at) <= IDLE;
            if !is_used {
                peers.remove(*from);
            }
            is_used
        });
    }

    /// A stream that has been admitted.
    fn stream(&mut self, key: (SocketAddr, Id), at: Stamp) -> &mut EchoStream {
        let new = || EchoStream { answered_at: at, state: State::new(key.1) };
        let stream = self.known.entry(key).or_insert_with(new);
        // A sender that starts over under its old SSRC is heard again after a pause.
        if matches!(stream.state, State::Plain(_)) && at.since(stream.answered_at) > IDLE {
            *stream = new();
        }
        stream
    }
}

impl State {
    fn new(id: Id) -> Self {
        match id {
            Id::Probes { .. } => State::Probes(StreamReflector::new(answer_ssrc(0))),
            Id::Plain { .. } => State::Plain(Numbers::default()),
        }
    }
}

/// The stream of a packet, and the SSRC of its answer.
fn identify(rtp: &RtpReader<'_>) -> Result<(Id, u32), Refusal> {
    let ssrc = rtp.ssrc();
    match Probe::read(rtp.payload()) {
        Ok(probe) if probe.reflection.is_some() => Err(Refusal::Echoed),
        Ok(Probe { run_id, call_id, .. }) => Ok((Id::Probes { run_id, call_id }, answer_ssrc(0))),
        Err(_) if ssrc & MARK_BITS == MARK => Err(Refusal::Echoed),
        Err(_) => Ok((Id::Plain { ssrc }, answer_ssrc(ssrc))),
    }
}

/// The marked SSRC. The lowest byte tells apart the streams of a sender that has several.
fn answer_ssrc(ssrc: u32) -> u32 {
    MARK | ssrc.to_be_bytes().into_iter().fold(0, |all, byte| u32::from(byte) ^ all)
}

/// A stream's 16-bit sequence numbers that have come, across their wrapping.
#[derive(Debug, Default)]
struct Numbers {
    sequence: Sequence,
    highest: Option<u32>,
}

impl Numbers {
    fn is_new(&mut self, number: u16) -> bool {
        // One cycle up, so that what comes late at the beginning has a place below.
        let highest = self.highest.unwrap_or(1 << 16 | u32::from(number));
        // The nearest of the numbers that end in these 16 bits (RFC 3550 appendix A.1).
        let step = number.wrapping_sub(highest as u16) as i16;
        let extended = highest.saturating_add_signed(step.into());
        self.highest = Some(highest.max(extended));
        matches!(self.sequence.arrive(extended), Arrival::InOrder | Arrival::Reordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::{Incoming, StreamSender, read};
    use crate::rtp::probe::RunKey;
    use crate::rtp::{Codec, Format};
    use proptest::prelude::*;
    use rtp_rs::RtpPacketBuilder;

    const KEY: RunKey = RunKey::new(1, [1; 16]);
    const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));
    const SECOND: Duration = Duration::from_secs(1);

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn at(s: u32) -> Stamp {
        Stamp::from_ns(1) + SECOND * s
    }

    fn probe(call_id: u32) -> Vec<u8> {
        let mut sender = StreamSender::new(KEY, call_id, 3, FORMAT);
        sender.packet(at(0), at(0)).to_vec()
    }

    fn plain(ssrc: u32, number: u16) -> Vec<u8> {
        let builder = RtpPacketBuilder::new().payload_type(0).ssrc(ssrc).sequence(number.into());
        builder.payload(&[7; 160]).build().unwrap()
    }

    fn ask(streams: &mut Streams, datagram: &[u8], port: u16, now: Stamp) -> Result<Vec<u8>, Refusal> {
        let mut answer = [0; 1500];
        let (len, _) = streams.answer(datagram, peer(port), now, || now, &mut answer)?;
        Ok(answer[..len].to_vec())
    }

    #[test]
    fn each_peer_and_call_has_its_own_counts() {
        let mut streams = Streams::new(10);
        for (port, call_id, received) in [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 1, 1)] {
            let answer = ask(&mut streams, &probe(call_id), port, at(0)).unwrap();
            let Incoming::Probe { probe, .. } = read(&answer, &FORMAT, &KEY, call_id) else {
                panic!("a probe")
            };
            assert_eq!(probe.reflection.unwrap().received, received);
        }
        assert_eq!(streams.known.len(), 3);
    }

    #[test]
    fn answers_are_not_answered() {
        let (mut here, mut there) = (Streams::new(10), Streams::new(10));
        for question in [probe(1), plain(9, 1)] {
            let answer = ask(&mut here, &question, 1, at(0)).unwrap();
            assert_eq!(answer.len(), question.len());
            assert_eq!(ask(&mut there, &answer, 2, at(0)), Err(Refusal::Echoed));
            assert_eq!(ask(&mut here, &answer, 1, at(0)), Err(Refusal::Echoed));
        }
    }

    #[test]
    fn an_echo_that_hides_the_mark_ends_the_game_too() {
        let mut streams = Streams::new(10);
        let mut packet = plain(9, 1);
        let mut rounds = 0;
        while let Ok(answer) = ask(&mut streams, &packet, 1, at(0)) {
            packet = answer;
            packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
            rounds += 1;
        }
        assert_eq!(rounds, 2);
    }

    #[test]
    fn numbers_wrap_repeat_and_start_over_after_a_pause() {
        let mut streams = Streams::new(10);
        let mut ask = |number: u16, now: Stamp| ask(&mut streams, &plain(9, number), 1, now).map(|_| ());
        for number in [65534, 0, 65535, 1, 65533] {
            assert_eq!(ask(number, at(0)), Ok(()), "{number}");
        }
        for number in [65535, 1, 40_000] {
            assert_eq!(ask(number, at(0)), Err(Refusal::Repeated), "{number}");
        }
        assert_eq!(ask(1, at(12)), Ok(()));
    }

    #[test]
    fn a_full_table_keeps_the_streams_that_are_in_use() {
        let mut streams = Streams::new(3);
        for call_id in 0..3 {
            ask(&mut streams, &probe(call_id), 1, at(0)).unwrap();
        }
        assert_eq!(ask(&mut streams, &probe(3), 1, at(0)), Err(Refusal::NoRoom));
        ask(&mut streams, &probe(1), 1, at(8)).unwrap();
        ask(&mut streams, &probe(3), 1, at(12)).unwrap();
        assert_eq!(streams.known.len(), 2);
        ask(&mut streams, &probe(1), 1, at(12)).unwrap();
    }

    /// The packet that an echo which numbers anew under a new SSRC would send back.
    fn renumbered(answer: &[u8], ssrc: u32, number: u16) -> Vec<u8> {
        let mut packet = answer.to_vec();
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        packet
    }

    #[test]
    fn a_loop_with_an_echo_that_renumbers_dies() {
        let micros = Duration::from_micros(200);
        for changing in [false, true] {
            let mut streams = Streams::new(1000);
            let mut packet = plain(9, 1);
            let (mut now, mut rounds) = (at(0), 0u32);
            while let Ok(answer) = ask(&mut streams, &packet, 1, now) {
                rounds += 1;
                let ssrc = if changing { 10 + rounds } else { 10 };
                packet = renumbered(&answer, ssrc, rounds as u16);
                now += micros;
                assert!(rounds < 1000, "it goes on");
            }
            // An ordinary stream of the same sender goes on when it is not drowned.
            assert_eq!(ask(&mut streams, &plain(9, 2), 1, now + SECOND).map(|_| ()), Ok(()));
        }
    }

    #[test]
    fn streams_at_their_pace_are_all_answered_after_a_stall_too() {
        let mut streams = Streams::new(1000);
        let ptime = Duration::from_millis(10);
        for n in 0..3000u16 {
            let now = at(0) + ptime * u32::from(n);
            for ssrc in 0..4 {
                assert!(ask(&mut streams, &plain(ssrc, n), 1, now).is_ok(), "packet {n} of {ssrc}");
            }
        }
        let later = at(0) + ptime * 3100;
        for n in 3000..3100u16 {
            assert!(ask(&mut streams, &plain(0, n), 1, later).is_ok(), "packet {n} after a stall");
        }
    }

    #[test]
    fn one_socket_or_address_does_not_fill_the_table_for_others() {
        let mut streams = Streams::new(1000);
        let mut answered = |port: u16, ids: std::ops::Range<u32>| {
            ids.filter(|id| ask(&mut streams, &probe(*id), port, at(0)).is_ok()).count() as u32
        };
        assert_eq!(answered(1, 0..2000), MOST_OF_SOCKET);
        assert_eq!(answered(2, 0..1), 1);
        assert_eq!((3..100).map(|port| answered(port, 0..40)).sum::<u32>(), 750 - MOST_OF_SOCKET - 1);
        let mut answer = [0; 1500];
        let other = ([127, 0, 0, 2], 1).into();
        assert!(streams.answer(&probe(0), other, at(0), || at(0), &mut answer).is_ok());
        assert_eq!((streams.known.len(), streams.peers.count().1), (751, 751));
        // Idle streams are forgotten by all counts.
        assert!(streams.answer(&probe(5000), peer(1), at(20), || at(20), &mut answer).is_ok());
        assert_eq!((streams.known.len(), streams.peers.count()), (1, (1, 1)));
    }

    #[test]
    fn what_is_not_rtp_is_not_answered() {
        let mut streams = Streams::new(3);
        let rtcp = [&[0x80, 200, 0, 6][..], &[0; 24]].concat();
        for datagram in [&b"hello"[..], &[], &[0x80; 5], &[0; 172], &rtcp] {
            assert_eq!(ask(&mut streams, datagram, 1, at(0)), Err(Refusal::NotRtp));
        }
        assert!(streams.known.is_empty());
    }

    proptest! {
        #[test]
        fn no_answer_is_longer_than_its_question(
            first in prop_oneof![Just(0x80u8), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let datagram = [&[first][..], &rest].concat();
            let mut streams = Streams::new(2);
            if let Ok(answer) = ask(&mut streams, &datagram, 1, at(0)) {
                prop_assert!(answer.len() <= datagram.len());
                prop_assert_eq!(ask(&mut streams, &answer, 1, at(0)), Err(Refusal::Echoed));
            }
        }

        #[test]
        fn any_order_of_numbers_is_safe_and_none_is_new_twice(numbers in proptest::collection::vec(0u16..2000, 1..80)) {
            let mut seen = std::collections::HashSet::new();
            let mut stream = Numbers::default();
            for number in numbers {
                let new = stream.is_new(number);
                prop_assert!(!new || seen.insert(number));
            }
        }
    }
}
