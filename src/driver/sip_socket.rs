//! The UDP socket of all SIP calls: datagrams in and out, receive stamps, and what went wrong.

use std::io;
use std::net::SocketAddr;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::clock::Timeline;
use crate::net::udp::{self, Batch};
use crate::sip::{Heard, SipDatagram, hear};
use crate::stamp::Stamp;

/// Longest datagram of SIP over UDP.
const DATAGRAM: usize = 65_535;
const BATCH: usize = 8;
/// Batches read at a time, so that no flood keeps timers and media waiting.
const BATCHES: usize = 16;
/// The socket's buffer: a burst of a thousand answers fits.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A message, or what may have been meant as one, the time of its receipt and its source.
pub(super) type Received = (Heard, Stamp, SocketAddr);

pub(super) struct SipSocket {
    /// For waiting and receiving.
    socket: UdpSocket,
    /// The same socket for sending: tokio's refuses to send before it has been polled once.
    sending: std::net::UdpSocket,
    local: SocketAddr,
    batch: Batch,
    /// Datagrams that were no SIP.
    pub garbage: u64,
    /// Header lines that were passed over.
    pub passed_over: u64,
    /// Datagrams that the full socket buffer dropped.
    pub drops: u64,
    /// Messages that the kernel refused to send.
    pub unsent: u64,
}

impl SipSocket {
    /// Binds a free port of `local`.
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        let sending = udp::bind_stamped(local, RECEIVE_BUFFER)?;
        let local = sending.local_addr()?;
        Ok(SipSocket {
            socket: UdpSocket::from_std(sending.try_clone()?)?,
            sending,
            local,
            batch: Batch::new(BATCH, DATAGRAM),
            garbage: 0,
            passed_over: 0,
            drops: 0,
            unsent: 0,
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

    /// Reads messages; if there are many, some are left for the next call of this. The wall clock has been
    /// set by `step_ns` since the start: stamps are shifted back by it, so that timers and delays do not jump.
    ///
    /// Returns with them the time up to which everything is read: `now`, or if some may be left, the receipt of
    /// the last one read. `tap` is shown the bytes of each datagram.
    pub fn receive(
        &mut self,
        now: Stamp,
        step_ns: i64,
        tap: &mut dyn FnMut(Stamp, SocketAddr, &[u8]),
    ) -> (Vec<Received>, Stamp) {
        let (mut messages, mut last) = (Vec::new(), now);
        let SipSocket { socket, sending, batch, garbage, passed_over, drops, .. } = self;
        for _ in 0..BATCHES {
            let mut receive = || {
                batch.receive(&*sending, |datagram| {
                    *drops = datagram.drops.map_or(*drops, u64::from);
                    last = Timeline::unstepped(datagram.received_at, step_ns);
                    tap(last, datagram.from, datagram.bytes);
                    let mut heard = hear(datagram.bytes);
                    match &mut heard {
                        Heard::Message(message) => {
                            message.received_from(datagram.from);
                            *passed_over += u64::from(message.passed_over());
                        }
                        Heard::Unreadable(unreadable) if !unreadable.is_meant_as_sip() => {
                            *garbage += 1;
                            return;
                        }
                        Heard::Unreadable(_) => {}
                    }
                    messages.push((heard, last, datagram.from));
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
    pub fn send(&mut self, SipDatagram { destination, bytes }: &SipDatagram) {
        self.unsent += u64::from(self.sending.send_to(bytes, destination).is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_lies_in_the_socket_is_read_before_the_reactor_has_run() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let mut socket = SipSocket::bind(any).expect("a socket");
        let far = std::net::UdpSocket::bind(any).expect("a socket");
        let text = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\n\
            To: <sip:x@h>;tag=b\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n\r\n";
        let most = BATCH * BATCHES;
        for n in 0..most + 3 {
            // No flood of garbage hides that there is more.
            let bytes = if n == most - 1 { "\r\n\r\n" } else { text };
            far.send_to(bytes.as_bytes(), socket.local()).expect("sent");
        }
        let now = crate::clock::now();
        let (messages, read_until) = socket.receive(now, 0, &mut |_, _, _| ());
        let last = messages.last().expect("some").1;
        assert_eq!((messages.len(), socket.garbage), (most - 1, 1));
        assert!(last <= read_until && read_until < now, "more are left");
        let (messages, read_until) = socket.receive(now, 0, &mut |_, _, _| ());
        assert_eq!((messages.len(), read_until), (3, now));
    }
}
