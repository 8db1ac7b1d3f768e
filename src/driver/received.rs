//! One call as the receiver thread has it: its socket, whose datagrams count, and what opens them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::talking::Hears;
use super::tape::Tape;
use crate::impair::Impairer;
use crate::measure::{SourceLatch, StreamReceiver, Verdict};
use crate::net::udp::{self, Datagram};
use crate::rtp::srtp::{SrtpReceiver, is_protected};
use crate::stamp::Stamp;

/// One call's receiving side, and its socket. What a packet needs lies in one piece, which is fetched before it is read.
pub(super) struct ReceivedCall {
    pub(super) stream: StreamReceiver,
    pub(super) socket: Arc<UdpSocket>,
    /// Sources of its packets.
    pub(super) latch: SourceLatch,
    /// Opens them, where they are not plain.
    pub(super) srtp: Option<Protected>,
    /// The socket's drops so far.
    pub(super) drops: u32,
    /// Its death has been told.
    pub(super) told: bool,
    /// Packets sent, once sending is over.
    pub(super) ending: Option<u64>,
    /// Impairment of its packets on purpose.
    pub(super) impairer: Option<Box<Impairer>>,
    /// Record of what comes to its socket, from whomever.
    pub(super) tape: Option<Tape>,
    /// Hears speech or bursts, where no probes are sent.
    pub(super) ear: Option<Box<Hears>>,
    pub(super) direct: Direct,
}

/// Says to the pacer that a stream's socket is connected to where its packets go: the kernel looks up no route for each
/// then. The receiver connects sockets, so that it knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Direct(Arc<AtomicBool>);

impl Direct {
    pub(super) fn new(is_direct: bool) -> Self {
        Direct(Arc::new(AtomicBool::new(is_direct)))
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Its place in memory, which the pacer fetches beforehand.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    fn set(&self, is_direct: bool) {
        self.0.store(is_direct, Ordering::Relaxed);
    }
}

/// Opening of media that SRTP protects, and its counts.
pub(super) struct Protected {
    pub(super) receiver: Box<SrtpReceiver>,
    pub(super) received: u64,
    pub(super) decrypted: u64,
}

impl ReceivedCall {
    /// Datagrams dropped since the last ones that were told of, by the socket's word now. Before the far end is
    /// heard anybody can fill the buffer: these are not the driver's.
    pub(super) fn newly_dropped(&mut self, drops: u32) -> u64 {
        // A datagram tells of the drops when it came, and may have waited in the buffer since.
        let newly = u32::try_from(drops.wrapping_sub(self.drops) as i32).unwrap_or_default();
        self.drops = self.drops.wrapping_add(newly);
        if self.latch.has_proof() { newly.into() } else { 0 }
    }

    /// Datagrams that the socket has dropped and that no datagram received since has told of.
    pub(super) fn last_drops(&mut self) -> u64 {
        udp::drops(&self.socket).map_or(0, |drops| self.newly_dropped(drops))
    }

    /// The bytes of a datagram that counts as the far end's, in `plain` if they were protected. Its source is fixed once
    /// it has proved itself.
    pub(super) fn admit<'a>(&mut self, datagram: &Datagram<'a>, plain: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let had_proof = self.latch.has_proof();
        let mut protected = self.srtp.as_mut().filter(|_| is_protected(datagram.bytes));
        let bytes = match &mut protected {
            None => Some(datagram.bytes),
            Some(srtp) => srtp.receiver.open(datagram.bytes, plain).then_some(plain.as_slice()),
        };
        let is_own = || bytes.is_some_and(|bytes| self.stream.is_own(bytes));
        let verdict = self.latch.judge(datagram.from, datagram.received_at, is_own);
        if verdict == Verdict::TakeAndConnect {
            // The latch refuses others by itself if the kernel does not.
            let is_connected = self.socket.connect(datagram.from).is_ok();
            self.direct.set(is_connected && self.latch.names(datagram.from));
        }
        if !had_proof && self.latch.has_proof() {
            self.drops = udp::drops(&self.socket).unwrap_or(self.drops);
        }
        if verdict == Verdict::Stranger {
            self.stream.stranger();
        }
        if !matches!(verdict, Verdict::Take | Verdict::TakeAndConnect) {
            return None;
        }
        if let Some(srtp) = protected {
            srtp.received += 1;
            srtp.decrypted += u64::from(bytes.is_some());
        }
        bytes
    }

    /// Takes packets from anywhere until `until` at the least: the far end names another address `to`, or may speak from
    /// elsewhere than it has named. Answers from a source that the socket is closed to would be lost.
    pub(super) fn reopen(&mut self, to: Option<SocketAddr>, until: Stamp) {
        self.direct.set(false);
        let _ = udp::disconnect(&self.socket);
        match to {
            Some(to) => self.latch.moved(to, until),
            None => self.latch.reopen(until),
        }
    }
}
