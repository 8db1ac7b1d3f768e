//! The media side: one thread that echoes every call's stream with stamps added.
//!
//! Nothing on the thread locks, allocates or logs per packet. A call's socket is bound elsewhere and
//! handed over here; its counts are handed back when the call is over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::net::poller::{Poller, Waker};
use crate::net::udp::{Batch, Datagram, StampedSocket};
use crate::rtp::reflector::{Reflected, StreamReflector};
use crate::scenario::values::PortRange;
use crate::stamp::Stamp;

/// Datagrams read with one system call.
const BATCH: usize = 32;
/// Longest datagram that is read: an Ethernet frame's, far above 60 ms of G.711.
const DATAGRAM: usize = 1500;
/// Batches of one stream before the others have their turn.
const TURN: usize = 4;
/// Asked of the kernel for each socket: a second of 20 ms packets with its bookkeeping.
pub const RECEIVE_BUFFER: usize = 128 * 1024;

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
    /// Bytes sent back, RTP headers included.
    pub bytes: u64,
    /// Sends that failed.
    pub send_errors: u64,
    /// Datagrams that the kernel dropped for lack of buffer space.
    pub drops: u64,
    /// Probe numbers up to the highest that came.
    pub expected: u64,
    /// How many of them came.
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
    /// How many of them came.
    pub distinct: AtomicU64,
}

impl MediaTotals {
    /// The share of probes that did not arrive here, as gaps in their numbers show it; `None` without
    /// probes. What was lost after the last arrival of a call is not seen.
    pub fn loss_ratio(&self) -> Option<f64> {
        let expected = self.expected.load(Relaxed);
        let lost = expected.saturating_sub(self.distinct.load(Relaxed));
        (expected > 0).then(|| lost as f64 / expected as f64)
    }
}

/// A stream that was removed: its port, which is closed now, and its counts.
#[derive(Debug)]
pub struct Removed {
    /// The port.
    pub port: u16,
    /// What passed through it.
    pub counts: MediaCounts,
}

enum Command {
    Add { port: u16, socket: StampedSocket, ssrc: u32 },
    Connect { port: u16, peer: SocketAddr },
    Remove { port: u16 },
}

/// The thread's handle. Dropping it ends the thread and closes the sockets.
pub struct Reflector {
    /// `None` only while the handle is dropped.
    commands: Option<Sender<Command>>,
    waker: Waker,
    thread: Option<thread::JoinHandle<()>>,
    totals: Arc<MediaTotals>,
}

impl Reflector {
    /// Starts the thread for streams on ports of `range`; `removed` hears of each stream's end, and
    /// closes when the thread ends.
    ///
    /// The queues in both directions are bounded by the ports: each has at most one stream, with
    /// three commands and one report in its life.
    ///
    /// # Errors
    /// For want of descriptors or threads.
    pub fn start(range: PortRange, removed: UnboundedSender<Removed>) -> io::Result<Self> {
        let poller = Poller::new()?;
        let waker = poller.waker();
        let (commands, orders) = channel();
        let totals = Arc::new(MediaTotals::default());
        let media = Media {
            poller,
            orders,
            removed,
            first: range.from,
            streams: (0..range.len()).map(|_| None).collect(),
            totals: totals.clone(),
        };
        let thread = thread::Builder::new().name("reflector".into()).spawn(move || media.run())?;
        Ok(Reflector { commands: Some(commands), waker, thread: Some(thread), totals })
    }

    /// Takes a call's bound socket over. Its peer is not known yet: what comes before is dropped.
    pub fn add(&self, port: u16, socket: StampedSocket, ssrc: u32) {
        self.order(Command::Add { port, socket, ssrc });
    }

    /// Fixes the peer of the stream on `port`.
    pub fn connect(&self, port: u16, peer: SocketAddr) {
        self.order(Command::Connect { port, peer });
    }

    /// Ends the stream on `port`; its [`Removed`] follows.
    pub fn remove(&self, port: u16) {
        self.order(Command::Remove { port });
    }

    /// The running totals.
    pub fn totals(&self) -> &Arc<MediaTotals> {
        &self.totals
    }

    fn order(&self, command: Command) {
        // A thread that has ended is noticed by the closed `removed` channel.
        let _ = self.commands.as_ref().map(|commands| commands.send(command));
        self.waker.wake();
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake();
        // A panic on the thread has been reported where it happened.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

struct Stream {
    socket: StampedSocket,
    peer: Option<SocketAddr>,
    reflector: StreamReflector,
    counts: MediaCounts,
}

/// What the thread owns.
struct Media {
    poller: Poller,
    orders: Receiver<Command>,
    removed: UnboundedSender<Removed>,
    first: u16,
    /// By port, from `first` on.
    streams: Vec<Option<Box<Stream>>>,
    totals: Arc<MediaTotals>,
}

impl Media {
    fn run(mut self) {
        let mut batch = Batch::new(BATCH, DATAGRAM);
        let mut answer = [0; DATAGRAM];
        // As many as the poller names at once, so that it never grows.
        let mut ready = Vec::with_capacity(1024);
        loop {
            ready.clear();
            if let Err(error) = self.poller.wait(1000, |token| ready.push(token)) {
                tracing::error!(%error, "cannot wait for media; the reflector ends");
                return;
            }
            for token in &ready {
                let at = *token as usize;
                if let Some(stream) = self.streams.get_mut(at).and_then(Option::as_mut) {
                    stream.serve(&mut batch, &mut answer, &self.totals);
                }
            }
            if !self.obey() {
                return;
            }
        }
    }

    /// Carries out what is ordered; false when nobody orders any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Command::Add { port, socket, ssrc }) => self.add(port, socket, ssrc),
                Ok(Command::Connect { port, peer }) => self.connect(port, peer),
                Ok(Command::Remove { port }) => self.remove(port),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn slot(&mut self, port: u16) -> Option<&mut Option<Box<Stream>>> {
        self.streams.get_mut(usize::from(port.checked_sub(self.first)?))
    }

    fn add(&mut self, port: u16, socket: StampedSocket, ssrc: u32) {
        let token = u64::from(port.saturating_sub(self.first));
        if let Err(error) = self.poller.add(&socket, token) {
            // The call goes on without an echo and says so in its counts.
            tracing::error!(%error, port, "cannot watch a call's socket: this call stays silent");
        }
        let counts = MediaCounts::default();
        let stream = Stream { socket, peer: None, reflector: StreamReflector::new(ssrc), counts };
        if let Some(slot) = self.slot(port) {
            *slot = Some(Box::new(stream));
        }
    }

    fn connect(&mut self, port: u16, peer: SocketAddr) {
        let Some(Some(stream)) = self.slot(port) else { return };
        match stream.socket.connect(peer) {
            Ok(()) => stream.peer = Some(peer),
            Err(error) => {
                tracing::error!(%error, port, %peer, "cannot connect a call's socket: this call stays silent")
            }
        }
    }

    fn remove(&mut self, port: u16) {
        let stream = self.slot(port).and_then(Option::take);
        let counts = stream.map(|mut stream| {
            let (expected, distinct) = stream.reflector.expected_and_received();
            stream.counts.expected = expected.into();
            stream.counts.distinct = distinct.into();
            if let Ok(drops) = stream.socket.drops() {
                stream.counts.drops = stream.counts.drops.max(drops.into());
            }
            // Closing the socket takes it out of the poller.
            stream.counts
        });
        // Nobody listens any more when the service is ending.
        let _ = self.removed.send(Removed { port, counts: counts.unwrap_or_default() });
    }
}

impl Stream {
    fn serve(&mut self, batch: &mut Batch, answer: &mut [u8], totals: &MediaTotals) {
        let counts_before = self.counts;
        let before = self.reflector.expected_and_received();
        for _ in 0..TURN {
            let Stream { socket, peer, reflector, counts } = self;
            // An error is that of an earlier send, handed over late; reading it has cleared it.
            match batch.receive(socket, |datagram| echo(socket, *peer, reflector, counts, &datagram, answer))
            {
                Ok(BATCH) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let sent = |counts: &MediaCounts| counts.reflected + counts.plain;
        totals.received.fetch_add(self.counts.received - counts_before.received, Relaxed);
        totals.sent.fetch_add(sent(&self.counts) - sent(&counts_before), Relaxed);
        totals.drops.fetch_add(self.counts.drops - counts_before.drops, Relaxed);
        let now = self.reflector.expected_and_received();
        // Another call's probes on the same stream start the count anew.
        let base = if now.0 >= before.0 && now.1 >= before.1 { before } else { (0, 0) };
        totals.expected.fetch_add((now.0 - base.0).into(), Relaxed);
        totals.distinct.fetch_add((now.1 - base.1).into(), Relaxed);
    }
}

fn echo(
    socket: &StampedSocket,
    peer: Option<SocketAddr>,
    reflector: &mut StreamReflector,
    counts: &mut MediaCounts,
    datagram: &Datagram<'_>,
    answer: &mut [u8],
) {
    if let Some(drops) = datagram.drops {
        counts.drops = counts.drops.max(drops.into());
    }
    // What was queued before the socket was connected may be from anybody.
    if peer != Some(datagram.from) {
        counts.strangers += 1;
        return;
    }
    counts.received += 1;
    counts.first_at.get_or_insert(datagram.received_at);
    let in_at = datagram.received_at;
    let whole = if datagram.truncated { &[] } else { datagram.bytes };
    let Some((len, kind)) = reflector.reflect(whole, in_at, clock::now, answer) else {
        counts.not_rtp += 1;
        return;
    };
    match socket.send(&answer[..len]) {
        Ok(sent) => {
            counts.bytes += sent as u64;
            match kind {
                Reflected::Probe => counts.reflected += 1,
                Reflected::Plain => counts.plain += 1,
            }
        }
        Err(_) => counts.send_errors += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;
    use crate::rtp::packet::{Incoming, StreamSender, read};
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;
    use tokio::sync::mpsc::unbounded_channel;

    fn bound() -> (StampedSocket, SocketAddr) {
        let socket = StampedSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), RECEIVE_BUFFER).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn peer() -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    #[test]
    fn echoes_its_peer_with_stamps_counts_and_nobody_else() {
        let (report, mut removed) = unbounded_channel();
        let reflector = Reflector::start(PortRange { from: 1024, to: 65535 }, report).unwrap();
        let (socket, address) = bound();
        let (asterisk, stranger) = (peer(), peer());
        stranger.send_to(&[0x80; 40], address).unwrap();
        reflector.add(address.port(), socket, 7);
        reflector.connect(address.port(), asterisk.local_addr().unwrap());
        // A connected socket refuses strangers in the kernel; wait until it is one.
        let mut sender = StreamSender::new(1, 2, 3, Codec::Pcmu, 0, Duration::from_millis(20));
        let mut buffer = [0; 300];
        asterisk.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let warm = (0..100).find_map(|_| {
            asterisk.send_to(&rtp(), address).unwrap();
            asterisk.recv(&mut buffer).ok()
        });
        assert_eq!(warm, Some(rtp().len()));
        asterisk.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let before = clock::now();
        for _ in 0..3 {
            asterisk.send_to(sender.packet(before, before), address).unwrap();
        }
        let mut seen = 0;
        while seen < 3 {
            let len = asterisk.recv(&mut buffer).unwrap();
            if let Incoming::Probe { probe, .. } = read(&buffer[..len], 1, 2) {
                let reflection = probe.reflection.unwrap();
                assert!(before <= reflection.in_at && reflection.in_at <= reflection.out_at);
                seen += 1;
            }
        }
        reflector.remove(address.port());
        let Removed { port, counts } = removed.blocking_recv().unwrap();
        assert_eq!((port, counts.reflected, counts.expected, counts.distinct), (address.port(), 3, 3, 3));
        assert!(counts.plain >= 1 && counts.strangers >= 1 && counts.first_at.is_some());
        assert_eq!(reflector.totals().loss_ratio(), Some(0.0));
        UdpSocket::bind(address).unwrap();
        drop(reflector);
        assert!(removed.blocking_recv().is_none());
    }

    fn rtp() -> Vec<u8> {
        let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.extend([0xFF; 160]);
        packet
    }
}
