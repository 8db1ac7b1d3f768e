//! Counts of the calls' media.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::net::udp::Datagram;
use crate::record::ServiceEcho;
use crate::rtp::reflector::Reflected;
use crate::stamp::Stamp;

/// One call's media, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaCounts {
    /// Datagrams from the peer.
    pub received: u64,
    /// Probes sent back with the reflection added.
    pub reflected: u64,
    /// RTP without a probe, sent back unchanged.
    pub plain: u64,
    /// Datagrams that were neither, and went nowhere.
    pub not_rtp: u64,
    /// Datagrams from anybody else, or from before the peer was known.
    pub strangers: u64,
    /// Sends that failed.
    pub send_errors: u64,
    /// Datagrams that the kernel dropped for lack of buffer space.
    pub drops: u64,
    /// Probe numbers up to the highest that came.
    pub expected: u64,
    /// Probes that came.
    pub distinct: u64,
    /// Kernel stamp of the first datagram from the peer.
    pub first_at: Option<Stamp>,
}

/// All calls' media, readable from other threads while it runs.
#[derive(Debug, Default)]
pub struct MediaTotals {
    /// Datagrams received from peers.
    pub received: AtomicU64,
    /// Datagrams sent back, probes and plain RTP.
    pub sent: AtomicU64,
    /// Datagrams that the kernel dropped for lack of buffer space.
    pub drops: AtomicU64,
    /// Probe numbers up to the highest of each call.
    pub expected: AtomicU64,
    /// Probes that came.
    pub distinct: AtomicU64,
    /// Packets to the echo server, up to a second ago; `None` without one.
    pub(super) echo: Option<Mutex<ServiceEcho>>,
}

/// All calls' media at one moment; see [`MediaTotals`].
#[derive(Debug, Clone, Copy, Default)]
pub struct MediaNow {
    /// Datagrams received from peers.
    pub received: u64,
    /// Datagrams sent back, probes and plain RTP.
    pub sent: u64,
    /// Datagrams that the kernel dropped for lack of buffer space.
    pub drops: u64,
    /// Probe numbers up to the highest of each call.
    pub expected: u64,
    /// Probes that came.
    pub distinct: u64,
}

impl MediaTotals {
    /// The totals as they are now.
    pub fn now(&self) -> MediaNow {
        // The smaller one first: it is never to look larger than the other.
        let distinct = self.distinct.load(Relaxed);
        MediaNow {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            drops: self.drops.load(Relaxed),
            expected: self.expected.load(Relaxed),
            distinct,
        }
    }

    /// Packets to the echo server and back, up to a second ago; `None` without one.
    pub fn echo(&self) -> Option<ServiceEcho> {
        self.echo.as_ref().map(|echo| echo.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Counts from zero.
    pub fn reset(&self) {
        for count in [&self.received, &self.sent, &self.drops, &self.expected, &self.distinct] {
            count.store(0, Relaxed);
        }
        if let Some(echo) = &self.echo {
            *echo.lock().unwrap_or_else(PoisonError::into_inner) = ServiceEcho::default();
        }
    }
}

impl MediaNow {
    /// Probes that did not arrive here, as gaps in their numbers show it. What was lost after the last
    /// arrival of a call is not seen.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.distinct)
    }

    /// The share of probes that did not arrive here; `None` without probes.
    pub fn loss_ratio(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.lost() as f64 / self.expected as f64)
    }
}

impl MediaCounts {
    /// Datagrams sent back.
    pub fn sent(&self) -> u64 {
        self.reflected + self.plain
    }

    /// Counts a datagram; `false` if it is not from the peer.
    pub fn accept(&mut self, peer: Option<SocketAddr>, datagram: &Datagram<'_>) -> bool {
        if let Some(drops) = datagram.drops {
            self.drops = self.drops.max(drops.into());
        }
        // Datagrams from before the socket was connected may be from anybody.
        if peer != Some(datagram.from) {
            self.strangers += 1;
            return false;
        }
        self.received += 1;
        self.first_at.get_or_insert(datagram.received_at);
        true
    }

    /// Counts an answer that was sent, or could not be.
    pub fn add_sent(&mut self, sent: io::Result<usize>, kind: Reflected) {
        match (sent, kind) {
            (Ok(_), Reflected::Probe) => self.reflected += 1,
            (Ok(_), Reflected::Plain) => self.plain += 1,
            (Err(_), _) => self.send_errors += 1,
        }
    }
}
