//! The media side: lanes, each a thread that sends its calls' packets back to Asterisk, each on its call's way.
//!
//! Nothing on the thread locks, allocates or logs per packet. A call's sockets are bound elsewhere and
//! handed over here; its counts are handed back when the call is over.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::delay::{Delay, Hold};
use super::media::{MediaCounts, MediaTotals};
use super::relay::{InFlight, RelayCounts};
use super::sockets::Sockets;
use super::way::{Next, Stream, Way};
use crate::clock;
use crate::net::poller::{Poller, Waker};
use crate::net::udp::{self, Batch};
use crate::scheduling::{Priority, Scheduling};
use crate::stamp::Stamp;
use crate::values::PortRange;

/// Datagrams read with one system call.
const BATCH: usize = 32;
/// Longest datagram that is read: an Ethernet frame's.
pub const DATAGRAM: usize = 1500;
/// Batches of one stream before the others have their turn.
const TURN: usize = 4;
/// Interval at which counts of the echo server are shown: locking once a packet would cost too much.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// An event of a stream.
#[derive(Debug)]
pub enum StreamEvent {
    /// Its first packet came from the peer.
    FirstPacket {
        /// The port.
        port: u16,
        /// The kernel's stamp.
        at: Stamp,
    },
    /// Its media come from another address than Asterisk has named.
    Elsewhere {
        /// The port.
        port: u16,
        /// Address that Asterisk has named.
        told: SocketAddr,
        /// Source of its media.
        from: SocketAddr,
    },
    /// It was removed.
    Removed {
        /// The port, which is closed now.
        port: u16,
        /// Datagrams that passed through it.
        counts: MediaCounts,
    },
    /// A lane has ended by itself, which breaks the service.
    Ended,
}

enum ReflectorCommand {
    Add { port: u16, sockets: Sockets, ssrc: u32 },
    Connect { port: u16, peer: SocketAddr },
    Remove { port: u16 },
}

/// The lanes' handle. Dropping it ends the threads and closes the sockets.
pub struct Reflector {
    /// A call's port says which is its lane.
    lanes: Vec<ReflectorLane>,
    first: u16,
    totals: Arc<MediaTotals>,
}

/// One lane's handle.
struct ReflectorLane {
    /// `None` only while the handle is dropped.
    commands: Option<Sender<ReflectorCommand>>,
    waker: Waker,
    thread: Option<thread::JoinHandle<()>>,
}

/// Settings that all lanes have.
#[derive(Debug, Clone, Copy)]
pub struct ReflectorConfig {
    /// Ports of the calls.
    pub range: PortRange,
    /// Calls come with a socket towards an echo server.
    pub has_echo: bool,
    /// Time for which every packet is held before it goes back.
    pub hold: Hold,
    /// Priority of the threads, where the kernel permits it.
    pub priority: Priority,
    /// Number of lanes.
    pub lanes: u32,
}

impl Reflector {
    /// Starts the lanes. Each stream's first packet and its end go to `events`, which closes when all threads have ended.
    ///
    /// The queues in both directions are bounded by the ports: each has at most one stream, with
    /// three commands and two events in its life.
    ///
    /// # Errors
    /// For want of descriptors or threads.
    pub fn start(config: ReflectorConfig, events: &UnboundedSender<StreamEvent>) -> io::Result<Self> {
        let totals = Arc::new(MediaTotals::new(config.has_echo, config.lanes));
        let calls_up = Arc::new(AtomicU32::new(0));
        let lanes = (0..config.lanes.max(1) as usize).map(|lane| {
            ReflectorLane::start(lane, &config, events.clone(), totals.clone(), calls_up.clone())
        });
        Ok(Reflector { lanes: lanes.collect::<io::Result<_>>()?, first: config.range.from, totals })
    }

    /// Takes over the sockets of a call on `port`. Its peer is not known yet: packets before
    /// [`Reflector::connect`] are dropped.
    pub fn add(&self, port: u16, sockets: Sockets, ssrc: u32) {
        self.command(port, ReflectorCommand::Add { port, sockets, ssrc });
    }

    /// Fixes the peer of the stream on `port`.
    pub fn connect(&self, port: u16, peer: SocketAddr) {
        self.command(port, ReflectorCommand::Connect { port, peer });
    }

    /// Ends the stream on `port`; its [`StreamEvent::Removed`] follows.
    pub fn remove(&self, port: u16) {
        self.command(port, ReflectorCommand::Remove { port });
    }

    /// The running totals.
    pub fn totals(&self) -> &Arc<MediaTotals> {
        &self.totals
    }

    fn command(&self, port: u16, command: ReflectorCommand) {
        let lane = usize::from(port.saturating_sub(self.first)) % self.lanes.len();
        self.lanes[lane].command(command);
    }
}

impl ReflectorLane {
    fn start(
        lane: usize,
        config: &ReflectorConfig,
        events: UnboundedSender<StreamEvent>,
        totals: Arc<MediaTotals>,
        calls_up: Arc<AtomicU32>,
    ) -> io::Result<Self> {
        let ReflectorConfig { range, hold, priority, .. } = *config;
        let poller = Poller::new()?;
        let waker = poller.waker();
        let (sender, commands) = channel();
        let delay = (!hold.is_none()).then(|| Delay::new(hold, calls_up)).transpose()?;
        if let Some(delay) = &delay {
            poller.add(delay.timer(), DELAY)?;
        }
        let thread = ReflectorThread {
            lane,
            poller,
            commands,
            events,
            first: range.from,
            calls: (0..range.count()).map(|_| None).collect(),
            totals,
            workspace: Workspace {
                batch: Batch::new(BATCH, DATAGRAM),
                answer: Box::new([0; DATAGRAM]),
                media: MediaCounts::default(),
                echo: RelayCounts::default(),
                delay,
            },
            shown_at: clock::now(),
        };
        let thread = thread::Builder::new().name("reflector".into()).spawn(move || {
            let wanted = Scheduling { priority, cpus: Vec::new() };
            if let Err(error) = wanted.apply() {
                tracing::warn!("{error}");
            }
            let mut report = EndReport { events: thread.events.clone(), was_told_to: false };
            report.was_told_to = thread.run();
        })?;
        Ok(ReflectorLane { commands: Some(sender), waker, thread: Some(thread) })
    }

    fn command(&self, command: ReflectorCommand) {
        // A thread that has ended has told so.
        let _ = self.commands.as_ref().map(|commands| commands.send(command));
        self.waker.wake();
    }
}

/// Tells the end of a lane when it is dropped, by a panic too, unless it was told to end.
struct EndReport {
    events: UnboundedSender<StreamEvent>,
    was_told_to: bool,
}

impl Drop for EndReport {
    fn drop(&mut self) {
        if !self.was_told_to {
            let _ = self.events.send(StreamEvent::Ended);
        }
    }
}

impl Drop for ReflectorLane {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake();
        // A panic on the thread has been reported where it happened.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// One call's media on the thread.
struct ReflectedCall {
    /// Time of its adding: packets from before are those of an earlier call on the same port.
    since: Stamp,
    sockets: Sockets,
    stream: Stream,
    counts: MediaCounts,
    /// The socket hears nobody but this peer.
    connected: Option<SocketAddr>,
}

struct ReflectorThread {
    lane: usize,
    poller: Poller,
    commands: Receiver<ReflectorCommand>,
    events: UnboundedSender<StreamEvent>,
    first: u16,
    /// By port, from `first` on.
    calls: Vec<Option<Box<ReflectedCall>>>,
    totals: Arc<MediaTotals>,
    workspace: Workspace,
    shown_at: Stamp,
}

/// Buffers and counts that all calls share.
struct Workspace {
    batch: Batch,
    answer: Box<[u8; DATAGRAM]>,
    /// Not shown yet.
    media: MediaCounts,
    /// Not shown yet.
    echo: RelayCounts,
    /// `None`: packets go back at once.
    delay: Option<Delay>,
}

/// Names the timer of the delay. A call's sockets are named by its place, twice that and 1 more for the one towards
/// the echo server.
const DELAY: u64 = u64::MAX - 1;

impl ReflectorThread {
    /// Runs until its handle is gone; false if it has to end before.
    fn run(mut self) -> bool {
        // As many as the poller names at once, so that it never grows.
        let mut ready = Vec::with_capacity(1024);
        loop {
            ready.clear();
            if let Err(error) = self.poller.wait(1000, |token| ready.push(token)) {
                tracing::error!(%error, "cannot wait for media; the reflector ends");
                return false;
            }
            for token in &ready {
                self.serve(*token);
            }
            let goes_on = self.handle_commands();
            self.show(!goes_on);
            if !goes_on {
                return true;
            }
        }
    }

    fn serve(&mut self, token: u64) {
        if token == DELAY {
            return self.release();
        }
        let (at, is_echo) = ((token / 2) as usize, token % 2 == 1);
        let Some(call) = self.calls.get_mut(at).and_then(Option::as_mut) else { return };
        let (had_first, was_elsewhere) = (call.stream.first_at.is_some(), call.stream.elsewhere().is_some());
        call.serve(at, is_echo, &mut self.workspace);
        call.count(&mut self.workspace.media);
        let port = self.first + at as u16;
        if let Some(first_at) = call.stream.first_at.filter(|_| !had_first) {
            let _ = self.events.send(StreamEvent::FirstPacket { port, at: first_at });
        }
        if let Some((told, from)) = call.stream.elsewhere().zip(call.stream.peer).filter(|_| !was_elsewhere) {
            let _ = self.events.send(StreamEvent::Elsewhere { port, told, from });
        }
    }

    /// Sends back the packets that have been held long enough.
    fn release(&mut self) {
        let ReflectorThread { workspace, calls, .. } = self;
        let Workspace { delay: Some(delay), answer, media, .. } = workspace else { return };
        delay.release(clock::now(), |at, in_at, packet| {
            let call = calls.get_mut(at as usize).and_then(Option::as_mut);
            if let Some(call) = call.filter(|call| call.since <= in_at) {
                let next = call.stream.reflect(packet, in_at, clock::now, &mut answer[..]);
                let way = (&call.sockets.asterisk, call.connected);
                send_answer(next, &mut call.stream, way, &answer[..]);
                call.count(media);
            }
        });
    }

    /// Adds new counts to those that others see; those of the echo server once in a while and at the end.
    fn show(&mut self, at_the_end: bool) {
        self.totals.add(self.lane, &mut self.workspace.media, at_the_end);
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
        let new = &mut self.workspace.echo;
        shown.relayed += std::mem::take(&mut new.relayed);
        shown.returned += std::mem::take(&mut new.returned);
        shown.lost += std::mem::take(&mut new.lost);
        shown.round_trip.take_over(&mut new.round_trip);
        self.shown_at = now;
    }

    /// Carries out the commands there are; false once the handle is gone.
    fn handle_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(ReflectorCommand::Add { port, sockets, ssrc }) => self.add(port, sockets, ssrc),
                Ok(ReflectorCommand::Connect { port, peer }) => self.connect(port, peer),
                Ok(ReflectorCommand::Remove { port }) => self.remove(port),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn slot(&mut self, port: u16) -> Option<&mut Option<Box<ReflectedCall>>> {
        self.calls.get_mut(usize::from(port.checked_sub(self.first)?))
    }

    fn add(&mut self, port: u16, sockets: Sockets, ssrc: u32) {
        let token = 2 * u64::from(port.saturating_sub(self.first));
        let watched = self.poller.add(&sockets.asterisk, token).and_then(|()| match &sockets.echo {
            Some(echo) => self.poller.add(echo, token + 1),
            None => Ok(()),
        });
        if let Err(error) = watched {
            // The call goes on without an echo and says so in its counts.
            tracing::error!(%error, port, "cannot watch a call's socket: this call stays silent");
        }
        let way = match (&sockets.echo, &self.workspace.delay) {
            (Some(_), _) => Way::Relayed(InFlight::default()),
            (None, Some(_)) => Way::Held,
            (None, None) => Way::Back,
        };
        let call = ReflectedCall {
            since: clock::now(),
            sockets,
            stream: Stream::new(way, ssrc),
            counts: MediaCounts::default(),
            connected: None,
        };
        let Some(slot) = self.slot(port) else { return };
        *slot = Some(Box::new(call));
        if let Some(delay) = &mut self.workspace.delay {
            delay.joined();
        }
    }

    fn connect(&mut self, port: u16, peer: SocketAddr) {
        // The socket stays open until something comes from there: behind a NAT it never does.
        if let Some(Some(call)) = self.slot(port) {
            call.stream.told(peer, clock::now());
        }
    }

    fn remove(&mut self, port: u16) {
        let mut counts = MediaCounts::default();
        // Closing the sockets takes them out of the poller.
        if let Some(mut call) = self.slot(port).and_then(Option::take) {
            call.stream.dropped(udp::drops(&call.sockets.asterisk).unwrap_or_default().into());
            call.stream.end(&mut self.workspace.echo);
            call.count(&mut self.workspace.media);
            counts = call.counts;
            self.totals.add(self.lane, &mut self.workspace.media, true);
            if let Some(delay) = &mut self.workspace.delay {
                delay.left();
            }
        }
        // Nobody listens any more when the service is ending.
        let _ = self.events.send(StreamEvent::Removed { port, counts });
    }
}

impl ReflectedCall {
    /// Adds what was counted since the last time to this call's counts and to those of all.
    fn count(&mut self, all: &mut MediaCounts) {
        let new = self.stream.take_counts();
        self.counts += new;
        *all += new;
    }

    fn serve(&mut self, at: usize, is_echo: bool, workspace: &mut Workspace) {
        for _ in 0..TURN {
            // An error is that of an earlier send, handed over late; reading it has cleared it.
            let received = if is_echo { self.on_echo(workspace) } else { self.on_asterisk(at, workspace) };
            match received {
                Ok(BATCH) => {}
                Ok(_) | Err(_) => break,
            }
        }
    }

    fn on_asterisk(&mut self, at: usize, workspace: &mut Workspace) -> io::Result<usize> {
        let Workspace { batch, answer, echo, delay, .. } = workspace;
        let ReflectedCall { sockets, stream, connected, .. } = self;
        batch.receive(&sockets.asterisk, |datagram| {
            let (bytes, in_at) = (datagram.bytes, datagram.received_at);
            let next = stream.on_datagram(&datagram, clock::now, &mut answer[..]);
            if connected.is_none() && stream.is_where_told(datagram.from) {
                // Where the kernel does not do it, the stream refuses others by itself.
                *connected = sockets.asterisk.connect(datagram.from).ok().map(|()| datagram.from);
            }
            match next {
                Next::Hold => {
                    let hold = |delay: &mut Delay| delay.hold(at as u64, in_at, bytes, clock::now());
                    stream.counts.drops += u64::from(!delay.as_mut().is_some_and(hold));
                }
                Next::Relay(number) => {
                    let sent_at = clock::now();
                    // An error reports an earlier packet that met a closed port; this one was not sent.
                    let is_sent = sockets.echo.as_ref().is_some_and(|socket| socket.send(bytes).is_ok());
                    stream.relayed(number, in_at, sent_at, is_sent, echo);
                }
                next => send_answer(next, stream, (&sockets.asterisk, *connected), &answer[..]),
            }
        })
    }

    fn on_echo(&mut self, workspace: &mut Workspace) -> io::Result<usize> {
        let Workspace { batch, answer, echo, .. } = workspace;
        let ReflectedCall { sockets, stream, connected, .. } = self;
        let Some(echo_socket) = &sockets.echo else { return Ok(0) };
        batch.receive(echo_socket, |datagram| {
            let next = stream.on_echo(&datagram, clock::now, &mut answer[..], echo);
            send_answer(next, stream, (&sockets.asterisk, *connected), &answer[..]);
        })
    }
}

fn send_answer(
    next: Next,
    stream: &mut Stream,
    (asterisk, connected): (&UdpSocket, Option<SocketAddr>),
    answer: &[u8],
) {
    if let Next::Answer(len) = next {
        let answer = &answer[..len];
        // A connected socket has its route: the kernel looks none up.
        let send = |peer| {
            if connected == Some(peer) { asterisk.send(answer) } else { asterisk.send_to(answer, peer) }
        };
        // A stream that has an answer has a peer.
        stream.answered(stream.peer.map(send).is_some_and(|sent| sent.is_ok()));
    }
}

#[cfg(test)]
mod tests;
