//! The UDP socket of all SIP calls: datagrams in and out, receive stamps, and what went wrong.

use std::io;
use std::net::SocketAddr;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::clock::Timeline;
use crate::net::udp::{self, Batch};
use crate::sip::{Message, SipDatagram, parse};
use crate::stamp::Stamp;

/// Longest datagram of SIP over UDP.
const DATAGRAM: usize = 65_535;
const BATCH: usize = 8;
/// Batches read at a time, so that no flood keeps timers and media waiting.
const BATCHES: usize = 16;
/// The socket's buffer: a burst of a thousand answers fits.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A message, the time of its receipt and its source.
pub(super) type Received = (Message, Stamp, SocketAddr);

pub(super) struct SipSocket {
    /// For waiting and receiving.
    socket: UdpSocket,
    /// The same socket for sending: tokio's refuses to send before it has been polled once.
    sending: std::net::UdpSocket,
    local: SocketAddr,
    batch: Batch,
    /// Datagrams that were no SIP.
    pub garbage: u64,
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
    pub fn receive(&mut self, step_ns: i64) -> Vec<Received> {
        let mut messages = Vec::new();
        for _ in 0..BATCHES {
            let SipSocket { socket, batch, garbage, drops, .. } = self;
            let result = socket.try_io(Interest::READABLE, || {
                batch.receive(&*socket, |datagram| {
                    *drops = datagram.drops.map_or(*drops, u64::from);
                    let at = Timeline::unstepped(datagram.received_at, step_ns);
                    match parse(datagram.bytes) {
                        Ok(mut message) => {
                            message.received_from(datagram.from);
                            messages.push((message, at, datagram.from));
                        }
                        Err(_) => *garbage += 1,
                    }
                })
            });
            // Fewer than asked for: empty. An error comes from ICMP and belongs to a send, which its
            // timer repeats.
            if !matches!(result, Ok(n) if n == BATCH) {
                break;
            }
        }
        messages
    }

    /// Sends a message. One that the kernel refuses counts as lost on the way: timers repeat it.
    pub fn send(&mut self, SipDatagram { destination, bytes }: &SipDatagram) {
        self.unsent += u64::from(self.sending.send_to(bytes, destination).is_err());
    }
}
