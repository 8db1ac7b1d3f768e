//! One call's way to the echo server: what was sent there and is not back yet.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::reflector::RECEIVE_BUFFER;
use crate::clock;
use crate::net::udp::{Datagram, StampedSocket};
use crate::record::{Durations, ServiceEcho};
use crate::stamp::Stamp;

/// Packets of one call that are waited for at once: 5 s of 20 ms packets, more than anybody waits.
const WAITED_FOR: usize = 256;

/// Packets to the echo server and back.
pub type EchoCounts = ServiceEcho<Durations>;

#[derive(Clone, Copy, Default)]
struct Waiting {
    /// The RTP sequence number, which the echo keeps; `None` when nothing is waited for.
    number: Option<u16>,
    in_at: Stamp,
    sent_at: Stamp,
}

/// The packets of a call that are on their way to the echo server or back.
pub struct Table(Box<[Waiting; WAITED_FOR]>);

/// A call's socket towards the echo server, and the packets that are on their way.
pub struct Relay {
    socket: StampedSocket,
    waiting: Table,
}

impl Relay {
    /// A socket of the call's own, so that the echo server tells the calls apart.
    ///
    /// # Errors
    /// Those of the system calls, for want of descriptors or ports.
    pub fn to(echo: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = match echo {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = StampedSocket::bind(any, RECEIVE_BUFFER)?;
        socket.connect(echo)?;
        Ok(Relay { socket, waiting: Table(Box::new([Waiting::default(); WAITED_FOR])) })
    }

    /// The socket, for reading what comes back.
    pub fn socket(&self) -> &StampedSocket {
        &self.socket
    }

    /// The socket to read from, and what to hand that to.
    pub fn parts(&mut self) -> (&StampedSocket, &mut Table) {
        (&self.socket, &mut self.waiting)
    }

    /// Sends the call's packet `number`, which came at `in_at`, to the echo server.
    pub fn send(&mut self, number: u16, in_at: Stamp, datagram: &[u8], counts: &mut EchoCounts) {
        counts.relayed += 1;
        let place = &mut self.waiting.0[usize::from(number) % WAITED_FOR];
        let sent_at = clock::now();
        // An error reports an earlier packet that met a closed port; this one was not sent.
        let is_sent = self.socket.send(datagram).is_ok();
        let next = is_sent.then_some(number);
        let given_up = place.number.is_some();
        counts.lost += u64::from(given_up) + u64::from(!is_sent);
        *place = Waiting { number: next, in_at, sent_at };
    }

    /// Gives up on what is not back yet.
    pub fn give_up(&mut self, counts: &mut EchoCounts) {
        for place in self.waiting.0.iter_mut() {
            counts.lost += u64::from(place.number.take().is_some());
        }
    }
}

impl Table {
    /// Takes in what came back; when its packet had come from the call, or `None` for what is not
    /// waited for.
    pub fn take(&mut self, datagram: &Datagram<'_>, counts: &mut EchoCounts) -> Option<Stamp> {
        let number = datagram.bytes.get(2..4).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))?;
        let place = &mut self.0[usize::from(number) % WAITED_FOR];
        if place.number != Some(number) {
            return None;
        }
        place.number = None;
        counts.returned += 1;
        counts.round_trip.record(datagram.received_at.since(place.sent_at));
        Some(place.in_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn every_packet_is_back_or_lost_once() {
        let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut relay = Relay::to(echo.local_addr().unwrap()).unwrap();
        let mut counts = EchoCounts::default();
        let packet = |number: u16| {
            let mut packet = [0x80; 40];
            packet[2..4].copy_from_slice(&number.to_be_bytes());
            packet
        };
        for number in 0..300 {
            relay.send(number, Stamp::from_ns(number.into()), &packet(number), &mut counts);
        }
        // Those of the first 44 are no longer waited for.
        assert_eq!((counts.relayed, counts.lost), (300, 44));
        let from = echo.local_addr().unwrap();
        let back = |bytes| Datagram { bytes, truncated: false, from, received_at: clock::now(), drops: None };
        let last = packet(299);
        assert_eq!(relay.waiting.take(&back(&last), &mut counts), Some(Stamp::from_ns(299)));
        for unexpected in [&last[..], &packet(43), &packet(900), &[0x80, 0]] {
            assert_eq!(relay.waiting.take(&back(unexpected), &mut counts), None);
        }
        assert_eq!((counts.returned, counts.round_trip.count()), (1, 1));
        relay.give_up(&mut counts);
        relay.give_up(&mut counts);
        assert_eq!((counts.relayed, counts.returned + counts.lost), (300, 300));
        assert_eq!(counts.loss_ratio(), Some(299.0 / 300.0));
    }

    #[test]
    fn nobody_there_is_a_loss_and_no_error() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut relay = Relay::to(gone).unwrap();
        let mut counts = EchoCounts::default();
        for number in 0..10 {
            relay.send(number, Stamp::ZERO, &[0x80; 40], &mut counts);
        }
        relay.give_up(&mut counts);
        assert_eq!((counts.relayed, counts.returned, counts.lost), (10, 0, 10));
    }
}
