//! The wire of all SIP calls: datagrams on one socket, or messages on connections; receive stamps, and what went wrong.

mod connection;
mod datagram;
mod streams;
#[cfg(test)]
mod tls_tests;

use std::io;
use std::net::SocketAddr;

use self::datagram::Datagrams;
use self::streams::Streams;
use crate::net::tls::Tls;
use crate::sip::{Broken, Heard, SipDatagram, Transport, Unreadable, hear};
use crate::stamp::Stamp;

/// Transport of a run's SIP, and with whom.
#[derive(Debug, Clone, Default)]
pub struct WireConfig {
    /// The transport.
    pub transport: Transport,
    /// Clients of TLS, where that is the transport: one for each target, in their order.
    pub tls: Vec<Tls>,
}

impl WireConfig {
    /// The same transport to target number `number` alone.
    pub fn only(mut self, number: usize) -> WireConfig {
        self.tls = self.tls.into_iter().skip(number).take(1).collect();
        self
    }
}

/// A message, or what may have been meant as one, the time of its receipt and its source.
pub(crate) type Received = (Heard, Stamp, SocketAddr);

/// Is shown the bytes of each message, with the time of its receipt and its source.
pub(crate) type Tap<'a> = &'a mut dyn FnMut(Stamp, SocketAddr, &[u8]);

/// Counts of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WireCounts {
    /// What was no SIP.
    pub garbage: u64,
    /// Header lines that were passed over.
    pub passed_over: u64,
    /// Datagrams that the full socket buffer dropped.
    pub drops: u64,
    /// Messages that the kernel refused to send, or that found no connection.
    pub unsent: u64,
    /// Connections to the target that were opened in the place of one that had ended.
    pub reopened: u64,
}

impl WireCounts {
    /// Reads what came from `from`, over a connection or not; `None` for what is no SIP.
    fn heard(&mut self, bytes: &[u8], from: SocketAddr, is_stream: bool) -> Option<Heard> {
        match hear(bytes) {
            Heard::Message(mut message) => {
                if is_stream {
                    message.received_over(from);
                } else {
                    message.received_from(from);
                }
                self.passed_over += u64::from(message.passed_over());
                Some(Heard::Message(message))
            }
            Heard::Unreadable(unreadable) => self.unreadable(unreadable),
        }
    }

    /// Takes what cannot be read; `None` for what is no SIP.
    fn unreadable(&mut self, unreadable: Unreadable) -> Option<Heard> {
        let is_sip = unreadable.is_meant_as_sip();
        self.garbage += u64::from(!is_sip);
        is_sip.then_some(Heard::Unreadable(unreadable))
    }
}

/// The wire of all SIP calls.
pub(crate) struct Wire {
    carrier: Carrier,
    pub counts: WireCounts,
}

enum Carrier {
    Datagrams(Box<Datagrams>),
    Streams(Box<Streams>),
}

impl Wire {
    /// Binds a free port of `local`, or opens a connection to each of `targets` from there.
    ///
    /// # Errors
    /// Errors of the system calls, and connections none of which comes about, in words.
    pub async fn open(config: &WireConfig, local: SocketAddr, targets: &[SocketAddr]) -> io::Result<Self> {
        let carrier = match config.transport {
            Transport::Udp => Carrier::Datagrams(Box::new(Datagrams::bind(local)?)),
            Transport::Tcp | Transport::Tls => {
                Carrier::Streams(Box::new(Streams::open(config, local, targets).await?))
            }
        };
        Ok(Wire { carrier, counts: WireCounts::default() })
    }

    /// The address that calls to target number `target` come from; of a connection our own end.
    pub fn local(&self, target: usize) -> SocketAddr {
        match &self.carrier {
            Carrier::Datagrams(datagrams) => datagrams.local(),
            Carrier::Streams(streams) => streams.local(target),
        }
    }

    /// Waits until there is something to read, or room for what waits to be sent. Cancel-safe.
    pub async fn readable(&self) {
        match &self.carrier {
            Carrier::Datagrams(datagrams) => datagrams.readable().await,
            Carrier::Streams(streams) => streams.ready().await,
        }
    }

    /// Reads messages; if there are many, some are left for the next call of this. The wall clock has been
    /// set by `step_ns` since the start: stamps are shifted back by it, so that timers and delays do not jump.
    ///
    /// Returns with them the time up to which everything is read: `now`, or if some may be left, the receipt of
    /// the last one read. `tap` is shown what comes.
    pub fn receive(&mut self, now: Stamp, step_ns: i64, tap: Tap<'_>) -> (Vec<Received>, Stamp) {
        match &mut self.carrier {
            Carrier::Datagrams(datagrams) => datagrams.receive(now, step_ns, &mut self.counts, tap),
            Carrier::Streams(streams) => streams.receive(now, step_ns, &mut self.counts, tap),
        }
    }

    /// Sends a message. One that the kernel refuses counts as lost on the way, where timers repeat it.
    pub fn send(&mut self, now: Stamp, message: &SipDatagram) {
        match &mut self.carrier {
            Carrier::Datagrams(datagrams) => datagrams.send(message, &mut self.counts),
            Carrier::Streams(streams) => streams.send(now, message, &mut self.counts),
        }
    }

    /// The next connection that has ended, until there is none.
    pub fn poll_broken(&mut self) -> Option<Broken> {
        match &mut self.carrier {
            Carrier::Datagrams(_) => None,
            Carrier::Streams(streams) => streams.poll_broken(),
        }
    }

    /// The first connection that could not be opened, or has ended while it was of use, and why.
    pub fn first_broken(&self) -> Option<String> {
        match &self.carrier {
            Carrier::Datagrams(_) => None,
            Carrier::Streams(streams) => streams.first_broken.clone(),
        }
    }

    /// The time of the next [`Wire::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        match &self.carrier {
            Carrier::Datagrams(_) => None,
            Carrier::Streams(streams) => streams.poll_timeout(),
        }
    }

    /// Gives up connections that do not come about, keeps idle ones alive, opens those to the targets again.
    pub fn handle_timeout(&mut self, now: Stamp) {
        if let Carrier::Streams(streams) = &mut self.carrier {
            streams.handle_timeout(now);
        }
    }
}
