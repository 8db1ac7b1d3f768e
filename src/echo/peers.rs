//! Limits of an echo by who asks: streams of one socket and of one address, and packets a second.
//!
//! An echo of another make that numbers anew and hides its SSRC sends back what looks like a new packet each time.
//! Nothing in it tells that it has been here, but a packet that goes to and fro comes as fast as it can: whoever
//! asks faster than streams do is not answered, and a packet that is not answered has ended its way.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::stamp::Stamp;

/// Streams of one socket. A stream has a socket of its own as a rule; some senders share one among several.
pub(super) const MOST_OF_SOCKET: u32 = 64;

/// Packets a second, and how many may come at once after a stall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    a_second: u32,
    at_once: u32,
}

impl Rate {
    /// Probes: all streams of a socket at the shortest packet time. They cannot loop, for they say that they were
    /// answered.
    pub const PROBES: Rate = Rate { a_second: 100 * MOST_OF_SOCKET, at_once: 100 * MOST_OF_SOCKET };
    /// RTP without a probe: four streams at the shortest packet time.
    pub const PLAIN: Rate = Rate { a_second: 400, at_once: 400 };
}

/// Packets that may still be answered. It fills with time.
#[derive(Debug)]
struct Budget {
    rate: Rate,
    packets: f64,
    filled_at: Stamp,
}

impl Budget {
    fn new(rate: Rate, now: Stamp) -> Self {
        Budget { rate, packets: rate.at_once.into(), filled_at: now }
    }

    fn take(&mut self, now: Stamp) -> bool {
        let grown = now.since(self.filled_at).as_secs_f64() * f64::from(self.rate.a_second);
        self.packets = (self.packets + grown).min(self.rate.at_once.into());
        self.filled_at = self.filled_at.max(now);
        let any = self.packets >= 1.0;
        self.packets -= f64::from(u8::from(any));
        any
    }
}

#[derive(Debug)]
struct Peer {
    streams: u32,
    probes: Budget,
    plain: Budget,
}

/// Whoever has a stream in the table.
#[derive(Debug)]
pub(super) struct Peers {
    sockets: HashMap<SocketAddr, Peer>,
    addresses: HashMap<IpAddr, u32>,
    most_of_address: u32,
}

impl Peers {
    /// Nobody yet; one address has at most `most_of_address` streams.
    pub fn new(most_of_address: u32) -> Self {
        Peers { sockets: HashMap::new(), addresses: HashMap::new(), most_of_address }
    }

    /// True if `from` may have one more stream.
    pub fn have_room(&self, from: SocketAddr) -> bool {
        let of_socket = self.sockets.get(&from).map_or(0, |peer| peer.streams);
        let of_address = self.addresses.get(&from.ip()).copied().unwrap_or(0);
        of_socket < MOST_OF_SOCKET && of_address < self.most_of_address
    }

    /// Notes a new stream of `from`.
    pub fn add(&mut self, from: SocketAddr, now: Stamp) {
        let (probes, plain) = (Budget::new(Rate::PROBES, now), Budget::new(Rate::PLAIN, now));
        self.sockets.entry(from).or_insert(Peer { streams: 0, probes, plain }).streams += 1;
        *self.addresses.entry(from.ip()).or_default() += 1;
    }

    /// Notes that a stream of `from` is forgotten.
    pub fn remove(&mut self, from: SocketAddr) {
        if let Some(peer) = self.sockets.get_mut(&from) {
            peer.streams -= 1;
            if peer.streams == 0 {
                self.sockets.remove(&from);
            }
        }
        if let Some(streams) = self.addresses.get_mut(&from.ip()) {
            *streams -= 1;
            if *streams == 0 {
                self.addresses.remove(&from.ip());
            }
        }
    }

    /// Says whether a packet of `from` that came at `now` may be answered.
    pub fn may_ask(&mut self, from: SocketAddr, is_probe: bool, now: Stamp) -> bool {
        let Some(peer) = self.sockets.get_mut(&from) else { return false };
        let budget = if is_probe { &mut peer.probes } else { &mut peer.plain };
        budget.take(now)
    }

    #[cfg(test)]
    pub fn count(&self) -> (usize, u32) {
        (self.sockets.len(), self.addresses.values().sum())
    }
}
