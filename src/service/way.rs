//! The way of a call's packets through the service, without input or output: each datagram's next step.

use std::net::SocketAddr;

use super::media::MediaCounts;
use super::relay::{InFlight, RelayCounts};
use crate::net::udp::Datagram;
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
    /// Asterisk's address, once it is known.
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
            peer: None,
            first_at: None,
            counts: MediaCounts::default(),
            probes: (0, 0),
            drops: 0,
            reflector: StreamReflector::new(ssrc),
        }
    }

    /// Takes a datagram from Asterisk's side. `out_at` is called as late as can be.
    pub fn on_datagram(
        &mut self,
        datagram: &Datagram<'_>,
        out_at: impl FnOnce() -> Stamp,
        answer: &mut [u8],
    ) -> Next {
        self.dropped(datagram.drops.unwrap_or(0).into());
        // Datagrams from before the socket was connected may be from anybody.
        if self.peer != Some(datagram.from) {
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
