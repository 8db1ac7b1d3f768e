//! SIP over UDP: one socket for all calls.

use std::io;
use std::net::SocketAddr;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Received, Tap, WireCounts};
use crate::clock::Timeline;
use crate::net::udp::{self, Batch};
use crate::sip::SipDatagram;
use crate::stamp::Stamp;

/// Longest datagram of SIP over UDP.
const DATAGRAM: usize = 65_535;
const BATCH: usize = 8;
/// Batches read at a time, so that no flood keeps timers and media waiting.
const BATCHES: usize = 16;
/// The socket's buffer: a burst of a thousand answers fits.
const RECEIVE_BUFFER: usize = 4 << 20;

pub(super) struct Datagrams {
    /// For waiting and receiving.
    socket: UdpSocket,
    /// The same socket for sending: tokio's refuses to send before it has been polled once.
    sending: std::net::UdpSocket,
    local: SocketAddr,
    batch: Batch,
}

impl Datagrams {
    /// Binds a free port of `local`.
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        let sending = udp::bind_stamped(local, RECEIVE_BUFFER)?;
        let local = sending.local_addr()?;
        Ok(Datagrams {
            socket: UdpSocket::from_std(sending.try_clone()?)?,
            sending,
            local,
            batch: Batch::new(BATCH, DATAGRAM),
        })
    }

    /// The address that calls come from.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits until there is something to read. Cancel-safe.
    pub async fn readable(&self) {
        if self.socket.readable().await.is_err() {
            // The reactor is gone, and with it the run.
            std::future::pending().await
        }
    }

    /// See [`super::Wire::receive`].
    pub fn receive(
        &mut self,
        now: Stamp,
        step_ns: i64,
        counts: &mut WireCounts,
        tap: Tap<'_>,
    ) -> (Vec<Received>, Stamp) {
        let (mut messages, mut last) = (Vec::new(), now);
        let Datagrams { socket, sending, batch, .. } = self;
        for _ in 0..BATCHES {
            let mut receive = || {
                batch.receive(&*sending, |datagram| {
                    counts.drops = datagram.drops.map_or(counts.drops, u64::from);
                    last = Timeline::unstepped(datagram.received_at, step_ns);
                    tap(last, datagram.from, datagram.bytes);
                    let heard = counts.heard(datagram.bytes, datagram.from, false);
                    messages.extend(heard.map(|heard| (heard, last, datagram.from)));
                })
            };
            // Tokio does not try a socket of which its reactor has not heard yet; after a stall it has not.
            let result = socket.try_io(Interest::READABLE, &mut receive).or_else(|_| receive());
            // Fewer than asked for: empty. An error comes from ICMP and belongs to a send, which its
            // timer repeats.
            if !matches!(result, Ok(n) if n == BATCH) {
                return (messages, now);
            }
        }
        (messages, last.min(now))
    }

    /// Sends a message. One that the kernel refuses counts as lost on the way: timers repeat it.
    pub fn send(&mut self, SipDatagram { destination, bytes }: &SipDatagram, counts: &mut WireCounts) {
        counts.unsent += u64::from(self.sending.send_to(bytes, destination).is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_lies_in_the_socket_is_read_before_the_reactor_has_run() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let (mut socket, mut counts) = (Datagrams::bind(any).expect("a socket"), WireCounts::default());
        let far = std::net::UdpSocket::bind(any).expect("a socket");
        let text = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\n\
            To: <sip:x@h>;tag=b\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n\r\n";
        // The kernel begins to stamp a moment after the first socket has asked for it.
        let mut is_stamped = false;
        while !is_stamped {
            far.send_to(text.as_bytes(), socket.local()).expect("sent");
            let now = crate::clock::now();
            let (messages, _) = socket.receive(now, 0, &mut counts, &mut |_, _, _| ());
            is_stamped = messages.iter().any(|message| message.1 < now);
        }
        let most = BATCH * BATCHES;
        for n in 0..most + 3 {
            // No flood of garbage hides that there is more.
            let bytes = if n == most - 1 { "\r\n\r\n" } else { text };
            far.send_to(bytes.as_bytes(), socket.local()).expect("sent");
        }
        let now = crate::clock::now();
        let (messages, read_until) = socket.receive(now, 0, &mut counts, &mut |_, _, _| ());
        let last = messages.last().expect("some").1;
        assert_eq!((messages.len(), counts.garbage), (most - 1, 1));
        assert!(last <= read_until && read_until < now, "more are left");
        let (messages, read_until) = socket.receive(now, 0, &mut counts, &mut |_, _, _| ());
        assert_eq!((messages.len(), read_until), (3, now));
    }
}
