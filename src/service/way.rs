//! The way of a call's packets through the service, without input or output: each datagram's next step.

use std::net::SocketAddr;

use rtp_rs::RtpReader;

use super::media::MediaCounts;
use super::relay::{InFlight, RelayCounts};
use crate::net::udp::Datagram;
use crate::rtp::kind::is_rtcp;
use crate::rtp::probe::Probe;
use crate::rtp::reflector::StreamReflector;
use crate::stamp::Stamp;

/// The way from Asterisk back to Asterisk.
#[derive(Debug)]
pub enum Way {
    /// At once.
    Back,
    /// After a while: a service slow on purpose.
    Held,
    /// Through an echo server.
    Relayed(InFlight),
}

/// The next step of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// So many bytes of the answer go to Asterisk.
    Answer(usize),
    /// It is kept for a while; [`Stream::reflect`] then answers it.
    Hold,
    /// It goes to the echo server, under this RTP sequence number; [`Stream::relayed`] is to hear of that.
    Relay(u16),
    /// None: it ends here.
    Nowhere,
}

/// One call's media.
#[derive(Debug)]
pub struct Stream {
    way: Way,
    /// Address that Asterisk has named, and when that was.
    told: Option<(SocketAddr, Stamp)>,
    /// Asterisk's address, once it is known: the one that it has named, or where its media come from.
    pub peer: Option<SocketAddr>,
    /// Kernel stamp of the first datagram from there.
    pub first_at: Option<Stamp>,
    /// Everything counted of it since it was last taken, but the probes.
    pub counts: MediaCounts,
    /// Probes expected and received when the counts were last taken.
    probes: (u32, u32),
    /// The kernel's drops so far.
    drops: u64,
    reflector: StreamReflector,
}

impl Stream {
    /// A stream whose answers are sent under `ssrc`.
    pub fn new(way: Way, ssrc: u32) -> Self {
        Stream {
            way,
            told: None,
            peer: None,
            first_at: None,
            counts: MediaCounts::default(),
            probes: (0, 0),
            drops: 0,
            reflector: StreamReflector::new(ssrc),
        }
    }

    /// Notes the address that Asterisk has named.
    pub fn told(&mut self, peer: SocketAddr, at: Stamp) {
        (self.told, self.peer) = (Some((peer, at)), Some(peer));
    }

    /// True for the address that Asterisk has named.
    pub fn is_where_told(&self, from: SocketAddr) -> bool {
        self.told.is_some_and(|(told, _)| told == from) && self.peer == Some(from)
    }

    /// The address that Asterisk has named, where its media come from another one.
    pub fn elsewhere(&self) -> Option<SocketAddr> {
        self.told.map(|(told, _)| told).filter(|told| self.peer != Some(*told))
    }

    /// True if this datagram's source is the peer's from now on: RTP that came before any from the address that Asterisk
    /// has named, for behind a NAT it sends from another one; or from that address after all. From another host it has to
    /// hold a probe, or a neighbour's would do.
    fn moves(&mut self, datagram: &Datagram<'_>) -> bool {
        // What came before may be from anybody.
        let Some((told, _)) = self.told.filter(|(_, at)| *at <= datagram.received_at) else { return false };
        let is_first = self.first_at.is_none() && self.peer == Some(told);
        let fits = |rtp: RtpReader<'_>| datagram.from.ip() == told.ip() || Probe::read(rtp.payload()).is_ok();
        let is_rtp = || !is_rtcp(datagram.bytes) && RtpReader::new(datagram.bytes).is_ok_and(fits);
        let moves = datagram.from == told || (is_first && is_rtp());
        if moves {
            self.peer = Some(datagram.from);
        }
        moves
    }

    /// Takes a datagram from Asterisk's side. `out_at` is called as late as can be.
    pub fn on_datagram(
        &mut self,
        datagram: &Datagram<'_>,
        out_at: impl FnOnce() -> Stamp,
        answer: &mut [u8],
    ) -> Next {
        self.dropped(datagram.drops.unwrap_or(0).into());
        if self.peer != Some(datagram.from) && !self.moves(datagram) {
            self.counts.strangers += 1;
            return Next::Nowhere;
        }
        self.counts.received += 1;
        self.first_at.get_or_insert(datagram.received_at);
        if datagram.truncated {
            return self.not_rtp();
        }
        match self.way {
            Way::Back => self.reflect(datagram.bytes, datagram.received_at, out_at, answer),
            Way::Held => Next::Hold,
            Way::Relayed(_) => match self.reflector.arrive(datagram.bytes) {
                Some(number) => Next::Relay(number),
                None => self.not_rtp(),
            },
        }
    }

    /// Answers a packet that came at `in_at`.
    pub fn reflect(
        &mut self,
        packet: &[u8],
        in_at: Stamp,
        out_at: impl FnOnce() -> Stamp,
        answer: &mut [u8],
    ) -> Next {
        match self.reflector.reflect(packet, in_at, out_at, answer) {
            Some((len, _)) => Next::Answer(len),
            None => self.not_rtp(),
        }
    }

    /// Notes that a packet was sent to the echo server just after `sent_at`, or could not be.
    pub fn relayed(
        &mut self,
        number: u16,
        in_at: Stamp,
        sent_at: Stamp,
        is_sent: bool,
        echo: &mut RelayCounts,
    ) {
        if let Way::Relayed(in_flight) = &mut self.way {
            in_flight.add(number, in_at, sent_at, is_sent, echo);
        }
    }

    /// Takes a datagram from the echo server's side. Its answer has this service's own stamps: its time with
    /// the packet includes the way to the echo server.
    pub fn on_echo(
        &mut self,
        datagram: &Datagram<'_>,
        out_at: impl FnOnce() -> Stamp,
        answer: &mut [u8],
        echo: &mut RelayCounts,
    ) -> Next {
        let Way::Relayed(in_flight) = &mut self.way else { return Next::Nowhere };
        let Some(in_at) = in_flight.take(datagram, echo) else { return Next::Nowhere };
        match self.reflector.answer(datagram.bytes, in_at, out_at, answer) {
            Some((len, _)) => Next::Answer(len),
            None => Next::Nowhere,
        }
    }

    /// Notes that the kernel has dropped so many datagrams of the socket so far.
    pub fn dropped(&mut self, so_far: u64) {
        self.counts.drops += so_far.saturating_sub(self.drops);
        self.drops = self.drops.max(so_far);
    }

    /// Notes that an answer was sent, or could not be.
    pub fn answered(&mut self, is_sent: bool) {
        self.counts.sent += u64::from(is_sent);
        self.counts.send_errors += u64::from(!is_sent);
    }

    /// The counts since the last taking.
    pub fn take_counts(&mut self) -> MediaCounts {
        let (expected, received) = self.reflector.expected_and_received();
        // Another call's probes on the same stream start the count anew.
        let known = if expected >= self.probes.0 && received >= self.probes.1 { self.probes } else { (0, 0) };
        self.probes = (expected, received);
        MediaCounts {
            expected: (expected - known.0).into(),
            distinct: (received - known.1).into(),
            ..std::mem::take(&mut self.counts)
        }
    }

    /// Ends the stream: packets that the echo server has not sent back are lost.
    pub fn end(&mut self, echo: &mut RelayCounts) {
        if let Way::Relayed(in_flight) = &mut self.way {
            in_flight.give_up(echo);
        }
    }

    fn not_rtp(&mut self) -> Next {
        self.counts.not_rtp += 1;
        Next::Nowhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::{Incoming, StreamSender, read};
    use crate::rtp::probe::RunKey;
    use crate::rtp::{Codec, Format};
    use std::time::Duration;

    const KEY: RunKey = RunKey::new(1, [1; 16]);
    const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));
    const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 5000);

    fn at(ms: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(ms)
    }

    fn stream(way: Way) -> Stream {
        Stream { peer: Some(PEER.into()), ..Stream::new(way, 7) }
    }

    fn datagram(bytes: &[u8], ms: u64) -> Datagram<'_> {
        Datagram { bytes, truncated: false, from: PEER.into(), received_at: at(ms), drops: None }
    }

    fn probe() -> Vec<u8> {
        let mut sender = StreamSender::new(KEY, 2, 3, FORMAT);
        sender.packet(at(0), at(0)).to_vec()
    }

    /// The service's two stamps in an answer.
    fn stamps(answer: &[u8], next: Next) -> (Stamp, Stamp) {
        let Next::Answer(len) = next else { panic!("{next:?}") };
        let Incoming::Probe { probe, .. } = read(&answer[..len], &FORMAT, &KEY, 2) else {
            panic!("no probe")
        };
        let reflection = probe.reflection.unwrap();
        (reflection.in_at, reflection.out_at)
    }

    #[test]
    fn a_packet_goes_back_at_once_or_is_held_first() {
        let mut answer = [0; 300];
        let next = stream(Way::Back).on_datagram(&datagram(&probe(), 3), || at(4), &mut answer);
        assert_eq!(stamps(&answer, next), (at(3), at(4)));
        let mut held = stream(Way::Held);
        assert_eq!(held.on_datagram(&datagram(&probe(), 3), || at(4), &mut answer), Next::Hold);
        assert_eq!(held.take_counts().expected, 0, "it counts when it goes back");
        let next = held.reflect(&probe(), at(3), || at(9), &mut answer);
        assert_eq!(stamps(&answer, next), (at(3), at(9)));
        let counts = held.take_counts();
        assert_eq!((counts.received, counts.expected, counts.distinct), (0, 1, 1));
        assert_eq!(held.take_counts(), MediaCounts::default());
    }

    #[test]
    fn a_relayed_packet_goes_back_once_when_the_echo_server_has_answered() {
        let (mut answer, mut echo) = ([0; 300], RelayCounts::default());
        let mut relayed = stream(Way::Relayed(InFlight::default()));
        let packet = probe();
        let next = relayed.on_datagram(&datagram(&packet, 3), || at(4), &mut answer);
        let Next::Relay(number) = next else { panic!("{next:?}") };
        relayed.relayed(number, at(3), at(4), true, &mut echo);
        let next = relayed.on_echo(&datagram(&packet, 8), || at(9), &mut answer, &mut echo);
        assert_eq!(stamps(&answer, next), (at(3), at(9)));
        let again = relayed.on_echo(&datagram(&packet, 8), || at(9), &mut answer, &mut echo);
        assert_eq!((again, echo.returned), (Next::Nowhere, 1));
        relayed.relayed(number + 1, at(10), at(10), true, &mut echo);
        relayed.end(&mut echo);
        let counts = relayed.take_counts();
        assert_eq!((counts.received, counts.expected, counts.distinct), (1, 1, 1));
        assert_eq!((echo.relayed, echo.returned, echo.lost), (2, 1, 1));
    }

    #[test]
    fn media_from_elsewhere_are_taken_until_they_come_from_where_asterisk_said() {
        let (mut answer, mut stream) = ([0; 300], Stream::new(Way::Back, 7));
        let packet = probe();
        let mut takes = |from: u16, ms: u64, bytes: &[u8]| {
            let datagram = Datagram { from: ([127, 0, 0, 1], from).into(), ..datagram(bytes, ms) };
            let next = stream.on_datagram(&datagram, || at(ms), &mut answer);
            if ms == 10 {
                stream.told(PEER.into(), at(20));
            }
            (matches!(next, Next::Answer(_)), stream.elsewhere().is_some())
        };
        let report = [&[0x80, 200, 0, 6][..], &[0; 24]].concat();
        assert_eq!(takes(6000, 10, &packet), (false, false), "nobody is known");
        assert_eq!(takes(6000, 19, &packet), (false, false), "it was there before");
        assert_eq!(takes(6000, 20, &report), (false, false));
        assert_eq!(takes(6000, 21, &packet), (true, true));
        assert_eq!(takes(7000, 22, &packet), (false, true), "there is one already");
        assert_eq!(takes(5000, 23, &packet), (true, false));
        assert_eq!(takes(6000, 24, &packet), (false, false));
        assert_eq!((stream.counts.strangers, stream.counts.received), (5, 2));
    }

    #[test]
    fn from_another_host_a_probe_is_taken_and_nothing_else() {
        let (mut answer, mut stream) = ([0; 300], Stream::new(Way::Back, 7));
        stream.told(PEER.into(), at(1));
        let plain = [&[0x80, 0, 0, 1][..], &[0; 168]].concat();
        let mut takes = |bytes: &[u8]| {
            let datagram = Datagram { from: ([192, 0, 2, 7], 6000).into(), ..datagram(bytes, 2) };
            matches!(stream.on_datagram(&datagram, || at(2), &mut answer), Next::Answer(_))
        };
        assert_eq!([takes(&plain), takes(&probe()), takes(&plain)], [false, true, true]);
    }

    #[test]
    fn strangers_and_garbage_end_here_on_every_way() {
        let mut answer = [0; 300];
        for way in [Way::Back, Way::Relayed(InFlight::default())] {
            let mut stream = stream(way);
            let stranger = Datagram { from: ([127, 0, 0, 1], 5001).into(), ..datagram(&[0x80; 40], 0) };
            let cut = Datagram { truncated: true, ..datagram(&[0x80; 40], 0) };
            for datagram in [stranger, cut, datagram(b"no", 0)] {
                assert_eq!(stream.on_datagram(&datagram, || at(0), &mut answer), Next::Nowhere);
            }
            let counts = stream.counts;
            assert_eq!((counts.strangers, counts.received, counts.not_rtp), (1, 2, 2));
        }
    }
}
