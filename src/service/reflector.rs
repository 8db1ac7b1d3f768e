//! The media side: one thread that echoes every call's stream with stamps added, or has an echo server
//! do it and brings back what comes from there; or holds it for a while first, to be slow on purpose.
//!
//! Nothing on the thread locks, allocates or logs per packet. A call's socket is bound elsewhere and
//! handed over here; its counts are handed back when the call is over.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::delay::Delay;
use super::media::{MediaCounts, MediaTotals};
use super::relay::{EchoCounts, Relay};
use crate::clock;
use crate::net::poller::{Poller, Waker};
use crate::net::udp::{Batch, StampedSocket};
use crate::rtp::reflector::StreamReflector;
use crate::stamp::Stamp;
use crate::values::PortRange;

/// Datagrams read with one system call.
const BATCH: usize = 32;
/// Longest datagram that is read: an Ethernet frame's, far above 60 ms of G.711.
pub const DATAGRAM: usize = 1500;
/// Batches of one stream before the others have their turn.
const TURN: usize = 4;
/// Asked of the kernel for each socket: a second of 20 ms packets with its bookkeeping.
pub const RECEIVE_BUFFER: usize = 128 * 1024;
/// What comes from the echo server is shown this often: locking once a packet would cost too much.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// A stream that was removed: its port, which is closed now, and its counts.
#[derive(Debug)]
pub struct Removed {
    /// The port.
    pub port: u16,
    /// What passed through it.
    pub counts: MediaCounts,
}

/// What the thread tells of a stream.
#[derive(Debug)]
pub enum Told {
    /// Its first packet came from the peer.
    First {
        /// The port.
        port: u16,
        /// The kernel's stamp.
        at: Stamp,
    },
    /// It has ended.
    Removed(Removed),
}

enum Command {
    Add { port: u16, socket: StampedSocket, relay: Option<Relay>, ssrc: u32 },
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
    /// Starts the thread for streams on ports of `range`; `told` hears of each stream's first packet and
    /// of its end, and closes when the thread ends.
    ///
    /// With `has_echo` each stream is to come with a relay to the echo server; with `delay` every packet
    /// is held for so long before it goes back.
    ///
    /// The queues in both directions are bounded by the ports: each has at most one stream, with
    /// three commands and two reports in its life.
    ///
    /// # Errors
    /// For want of descriptors or threads.
    pub fn start(
        range: PortRange,
        has_echo: bool,
        delay: Option<Duration>,
        told: UnboundedSender<Told>,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        let waker = poller.waker();
        let (commands, orders) = channel();
        let echo = has_echo.then(Mutex::default);
        let totals = Arc::new(MediaTotals { echo, ..Default::default() });
        let streams: Vec<_> = (0..range.len()).map(|_| None).collect();
        let delay = delay.map(Delay::new).transpose()?;
        if let Some(delay) = &delay {
            poller.add(delay.timer(), 2 * streams.len() as u64)?;
        }
        let hands = Hands {
            batch: Batch::new(BATCH, DATAGRAM),
            answer: Box::new([0; DATAGRAM]),
            echo: EchoCounts::default(),
            delay,
        };
        let (first, shown_at) = (range.from, clock::now());
        let media = Media { poller, orders, told, first, streams, totals: totals.clone(), hands, shown_at };
        let thread = thread::Builder::new().name("reflector".into()).spawn(move || media.run())?;
        Ok(Reflector { commands: Some(commands), waker, thread: Some(thread), totals })
    }

    /// Takes a call's bound socket over. Its peer is not known yet: what comes before is dropped. With
    /// `relay` the call's packets make the way through the echo server.
    pub fn add(&self, port: u16, socket: StampedSocket, relay: Option<Relay>, ssrc: u32) {
        self.order(Command::Add { port, socket, relay, ssrc });
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
        // A thread that has ended is noticed by the closed `told` channel.
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
    /// When it was added: what came before is another's, of the same port.
    since: Stamp,
    socket: StampedSocket,
    relay: Option<Relay>,
    peer: Option<SocketAddr>,
    reflector: StreamReflector,
    counts: MediaCounts,
}

/// What the thread owns.
struct Media {
    poller: Poller,
    orders: Receiver<Command>,
    told: UnboundedSender<Told>,
    first: u16,
    /// By port, from `first` on.
    streams: Vec<Option<Box<Stream>>>,
    totals: Arc<MediaTotals>,
    hands: Hands,
    shown_at: Stamp,
}

/// What serving any stream takes.
struct Hands {
    batch: Batch,
    answer: Box<[u8; DATAGRAM]>,
    /// What is not shown yet.
    echo: EchoCounts,
    /// Without it packets go back at once.
    delay: Option<Delay>,
}

/// What has become ready.
#[derive(Clone, Copy)]
enum Ready {
    /// The socket towards Asterisk of the stream at a place.
    Asterisk(usize),
    /// That towards the echo server.
    Echo(usize),
    /// The timer of the delay.
    Delay,
}

impl Media {
    fn run(mut self) {
        // As many as the poller names at once, so that it never grows.
        let mut ready = Vec::with_capacity(1024);
        loop {
            ready.clear();
            if let Err(error) = self.poller.wait(1000, |token| ready.push(token)) {
                tracing::error!(%error, "cannot wait for media; the reflector ends");
                return;
            }
            for token in &ready {
                self.serve(*token);
            }
            let goes_on = self.obey();
            self.show(!goes_on);
            if !goes_on {
                return;
            }
        }
    }

    fn serve(&mut self, token: u64) {
        let ready = self.what(token);
        let at = match ready {
            Ready::Asterisk(at) | Ready::Echo(at) => at,
            Ready::Delay => return self.release(),
        };
        let Some(stream) = self.streams.get_mut(at).and_then(Option::as_mut) else { return };
        let heard = stream.counts.first_at.is_some();
        stream.counted(&self.totals, |stream| stream.serve(ready, &mut self.hands));
        if let Some(first_at) = stream.counts.first_at.filter(|_| !heard) {
            let _ = self.told.send(Told::First { port: self.first + at as u16, at: first_at });
        }
    }

    /// Tokens are the streams' places, behind them all the same once more for the relays, then the timer.
    fn what(&self, token: u64) -> Ready {
        let (at, all) = (token as usize, self.streams.len());
        match at / all.max(1) {
            0 => Ready::Asterisk(at),
            1 => Ready::Echo(at - all),
            _ => Ready::Delay,
        }
    }

    /// Sends back what has been held long enough.
    fn release(&mut self) {
        let Media { hands: Hands { delay: Some(delay), answer, .. }, streams, totals, .. } = self else {
            return;
        };
        delay.release(clock::now(), |at, in_at, whole| {
            let stream = streams.get_mut(at as usize).and_then(Option::as_mut);
            if let Some(stream) = stream.filter(|stream| stream.since <= in_at) {
                stream.counted(totals, |stream| stream.reflect(whole, in_at, &mut answer[..]));
            }
        });
    }

    /// Adds what came from the echo server to what others see, once in a while and at the end.
    fn show(&mut self, at_the_end: bool) {
        let Some(shown) = &self.totals.echo else { return };
        let now = clock::now();
        if !at_the_end && now.since(self.shown_at) < SHOW_EVERY {
            return;
        }
        let mut shown = match shown.try_lock() {
            Ok(shown) => shown,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if at_the_end => {
                shown.lock().unwrap_or_else(PoisonError::into_inner)
            }
            // Somebody is reading just now: the next time will do.
            Err(TryLockError::WouldBlock) => return,
        };
        let new = &mut self.hands.echo;
        shown.relayed += std::mem::take(&mut new.relayed);
        shown.returned += std::mem::take(&mut new.returned);
        shown.lost += std::mem::take(&mut new.lost);
        shown.round_trip.take_over(&mut new.round_trip);
        self.shown_at = now;
    }

    /// Carries out what is ordered; false when nobody orders any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Command::Add { port, socket, relay, ssrc }) => self.add(port, socket, relay, ssrc),
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

    fn add(&mut self, port: u16, socket: StampedSocket, relay: Option<Relay>, ssrc: u32) {
        let token = u64::from(port.saturating_sub(self.first));
        let behind = token + self.streams.len() as u64;
        let watched = self.poller.add(&socket, token).and_then(|()| match &relay {
            Some(relay) => self.poller.add(relay.socket(), behind),
            None => Ok(()),
        });
        if let Err(error) = watched {
            // The call goes on without an echo and says so in its counts.
            tracing::error!(%error, port, "cannot watch a call's socket: this call stays silent");
        }
        let counts = MediaCounts::default();
        let (since, reflector) = (clock::now(), StreamReflector::new(ssrc));
        let stream = Stream { since, socket, relay, peer: None, reflector, counts };
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
            if let Some(relay) = &mut stream.relay {
                relay.give_up(&mut self.hands.echo);
            }
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
        let _ = self.told.send(Told::Removed(Removed { port, counts: counts.unwrap_or_default() }));
    }
}

impl Stream {
    /// Does some work, and adds what it counts to the totals.
    fn counted(&mut self, totals: &MediaTotals, work: impl FnOnce(&mut Self)) {
        let counts_before = self.counts;
        let before = self.reflector.expected_and_received();
        work(self);
        totals.received.fetch_add(self.counts.received - counts_before.received, Relaxed);
        totals.sent.fetch_add(self.counts.sent() - counts_before.sent(), Relaxed);
        totals.drops.fetch_add(self.counts.drops - counts_before.drops, Relaxed);
        let now = self.reflector.expected_and_received();
        // Another call's probes on the same stream start the count anew.
        let base = if now.0 >= before.0 && now.1 >= before.1 { before } else { (0, 0) };
        totals.expected.fetch_add((now.0 - base.0).into(), Relaxed);
        totals.distinct.fetch_add((now.1 - base.1).into(), Relaxed);
    }

    fn serve(&mut self, ready: Ready, hands: &mut Hands) {
        for _ in 0..TURN {
            // An error is that of an earlier send, handed over late; reading it has cleared it.
            let received = match ready {
                Ready::Asterisk(at) => self.on_asterisk(at, hands),
                Ready::Echo(_) => self.on_echo(hands),
                Ready::Delay => return,
            };
            match received {
                Ok(BATCH) => {}
                Ok(_) | Err(_) => break,
            }
        }
    }

    fn on_asterisk(&mut self, at: usize, hands: &mut Hands) -> io::Result<usize> {
        let Hands { batch, answer, echo, delay } = hands;
        let Stream { socket, relay, peer, reflector, counts, .. } = self;
        batch.receive(&*socket, |datagram| {
            let Some(whole) = counts.accept(*peer, &datagram) else { return };
            let in_at = datagram.received_at;
            match (&mut *relay, &mut *delay) {
                (None, None) => reflect(socket, reflector, counts, whole, in_at, &mut answer[..]),
                (None, Some(delay)) => {
                    let is_held = delay.hold(at as u64, in_at, whole, clock::now());
                    counts.drops += u64::from(!is_held);
                }
                (Some(relay), _) => match reflector.arrive(whole) {
                    Some(number) => relay.send(number, in_at, whole, echo),
                    None => counts.not_rtp += 1,
                },
            }
        })
    }

    /// Sends a packet back that came at `in_at`.
    fn reflect(&mut self, whole: &[u8], in_at: Stamp, answer: &mut [u8]) {
        reflect(&self.socket, &mut self.reflector, &mut self.counts, whole, in_at, answer);
    }

    /// Brings back what the echo server sent, under this service's own stamps: its time with the
    /// packet includes the way to the echo server.
    fn on_echo(&mut self, hands: &mut Hands) -> io::Result<usize> {
        let Hands { batch, answer, echo, .. } = hands;
        let Stream { socket, relay, reflector, counts, .. } = self;
        let Some(relay) = relay else { return Ok(0) };
        // Emptied in turns like any other; what is no answer to a packet of this call ends here.
        let (echo_socket, waiting) = relay.parts();
        batch.receive(echo_socket, |datagram| {
            let Some(in_at) = waiting.take(&datagram, echo) else { return };
            if let Some((len, kind)) = reflector.answer(datagram.bytes, in_at, clock::now, &mut answer[..]) {
                counts.send(socket, &answer[..len], kind);
            }
        })
    }
}

fn reflect(
    socket: &StampedSocket,
    reflector: &mut StreamReflector,
    counts: &mut MediaCounts,
    whole: &[u8],
    in_at: Stamp,
    answer: &mut [u8],
) {
    match reflector.reflect(whole, in_at, clock::now, answer) {
        Some((len, kind)) => counts.send(socket, &answer[..len], kind),
        None => counts.not_rtp += 1,
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
        let (tell, mut told) = unbounded_channel();
        let reflector = Reflector::start(PortRange { from: 1024, to: 65535 }, false, None, tell).unwrap();
        let (socket, address) = bound();
        let (asterisk, stranger) = (peer(), peer());
        stranger.send_to(&[0x80; 40], address).unwrap();
        reflector.add(address.port(), socket, None, 7);
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
        let Some(Told::First { port, at }) = told.blocking_recv() else { panic!("no first packet") };
        assert!(port == address.port() && at <= before);
        let Some(Told::Removed(Removed { port, counts })) = told.blocking_recv() else { panic!("no end") };
        assert_eq!((port, counts.reflected, counts.expected, counts.distinct), (address.port(), 3, 3, 3));
        assert!(counts.plain >= 1 && counts.strangers >= 1 && counts.first_at.is_some());
        assert_eq!(reflector.totals().now().loss_ratio(), Some(0.0));
        UdpSocket::bind(address).unwrap();
        drop(reflector);
        assert!(told.blocking_recv().is_none());
    }

    fn rtp() -> Vec<u8> {
        let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.extend([0xFF; 160]);
        packet
    }
}
