//! A media lane: one pacer thread, one receiver thread, and the way to both.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::pacer::{PacedStream, Pacer, PacerCommand};
use super::received::Direct;
use super::receiver::{MediaChange, ReceiverCommand, Receiving, STALL};
use super::repertoire::Repertoire;
use super::talking::{Hears, Voice};
use super::tape::StreamTapes;
use crate::clock::Timeline;
use crate::conversation::{Reply, Spoken};
use crate::excerpt::SpeechRing;
use crate::impair::{DelayLine, Direction, ImpairCounts, Impairer, stream_seed};
use crate::measure::{
    Class, Heartbeat, Listened, MediaSecond, ReceivedEcho, Rules, Share, SourceLatch, Sources,
    StreamReceiver, StreamReport, StreamSent, Window,
};
use crate::net::poller::{Poller, Waker};
use crate::record::{QualityRow, SignalRow};
use crate::rtp::Format;
use crate::rtp::packet::StreamSender;
use crate::rtp::srtp::{KeyPair, SrtpReceiver, SrtpSender};
use crate::scenario::Impair;
use crate::scheduling::Scheduling;
use crate::stamp::Stamp;

/// Events of the media threads.
#[derive(Debug)]
pub(super) enum LaneEvent {
    /// Counts of a second of sending.
    Second(Box<MediaSecond>),
    /// Counts of a second of the receiver thread's own work.
    Read(Box<MediaSecond>),
    /// A second is settled: each of its packets is back or lost. Its sending came before.
    Settled(Box<MediaSecond>),
    /// A call's stream has been stopped.
    Stopped { call_id: u32, sent: StreamSent, spoken: Option<Box<(Spoken, Option<SpeechRing>)>>, at: Stamp },
    /// A call that was heard has not been heard for long.
    Dead { call_id: u32, at: Stamp },
    /// A call's packets are all back, or lost.
    Finished {
        call_id: u32,
        report: Box<StreamReport>,
        heard: Sources,
        listened: Option<Box<(Listened, Option<SpeechRing>)>>,
    },
    /// Fate of a turn, as its caller notices it at `at`.
    Replied { reply: Reply, at: Stamp },
    /// Fate of a burst.
    Judged(SignalRow),
    /// Fate of a passage.
    Scored(QualityRow),
    /// Audio of one of the worst passages, as a file.
    Audio { call: u32, passage: u32, wav: Vec<u8> },
    /// A thread has ended without being told to.
    Died(&'static str),
    /// The pacer has ended.
    PacerDone { skipped: u64, unsent: u64, impaired: ImpairCounts },
    /// The receiver has ended.
    ReceiverDone { negative_rtt: u64, unstamped: u64, impaired: ImpairCounts },
}

/// Settings of a lane.
#[derive(Clone)]
pub(super) struct LaneConfig {
    pub rules: Rules,
    pub spread: bool,
    /// Its part of the streams.
    pub share: Share,
    pub timeline: Timeline,
    pub impair: Impair,
    /// Priority and CPUs of both threads, as found to be permitted.
    pub scheduling: Scheduling,
    /// Streams at once; the room for packets held back is reckoned by them.
    pub streams: u32,
    /// Silence after which a call is told of as dead; zero is never.
    pub dead_after: Duration,
    /// What calls play whose path is judged by its audio: one thread for all lanes compares it with what comes back.
    pub plays: Option<Repertoire>,
}

/// A stream's socket, where its packets go, and whose count.
pub(super) struct MediaPath {
    pub socket: Arc<UdpSocket>,
    pub to: SocketAddr,
    pub latch: SourceLatch,
    /// The socket is connected to there already.
    pub is_direct: bool,
    /// Keys, where it is not plain.
    pub keys: Option<KeyPair>,
    /// The far end wants nothing for now.
    pub is_on_hold: bool,
    pub tapes: StreamTapes,
    /// Mouth and ear, where it sends no probes.
    pub talk: Option<(Voice, Hears)>,
}

/// Longest packet that is held back: as long as any that is read.
const LONGEST_PACKET: usize = super::receiver::DATAGRAM;

/// The two threads.
pub(super) struct Lane {
    rules: Rules,
    impair: Impair,
    to_pacer: Sender<PacerCommand>,
    to_receiver: Sender<ReceiverCommand>,
    waker: Waker,
    threads: Vec<JoinHandle<()>>,
}

impl LaneConfig {
    /// A line with room for all packets that one direction's impairment may hold back at once, twice.
    fn line(&self, direction: Direction) -> DelayLine {
        let Some(impairment) = self.impair.of(direction) else { return DelayLine::new(0, 0) };
        let each = impairment.longest().as_nanos() / self.rules.ptime.as_nanos().max(1) + 2;
        let most = (each as usize).saturating_mul(self.streams as usize).saturating_mul(2);
        DelayLine::new(most.min(1 << 20), LONGEST_PACKET)
    }
}

impl Lane {
    /// Starts both threads.
    pub fn start(
        config: LaneConfig,
        window: Arc<Window>,
        echoes: Option<tokio::sync::mpsc::Sender<ReceivedEcho>>,
    ) -> io::Result<(Lane, UnboundedReceiver<LaneEvent>)> {
        let LaneConfig { rules, spread, share, timeline, .. } = config;
        let (events, inbox) = unbounded_channel();
        let (to_pacer, commands) = channel();
        let (to_receiver, orders) = channel();
        let heartbeat = Arc::new(Heartbeat::new(STALL));
        let pacer = Pacer {
            rules,
            spread,
            share,
            window: window.clone(),
            commands,
            events: events.clone(),
            to_receiver: to_receiver.clone(),
            timeline,
            heartbeat: heartbeat.clone(),
        };
        let receiving = Receiving {
            rules,
            window,
            commands: orders,
            events: events.clone(),
            timeline,
            pacer: heartbeat,
            to_pacer: to_pacer.clone(),
            dead_after: config.dead_after,
            echoes,
        };
        let (out, back) = (config.line(Direction::Out), config.line(Direction::Back));
        let poller = Poller::new()?;
        let waker = poller.waker();
        let threads = vec![
            spawn("pacer", events.clone(), config.scheduling.clone(), move || pacer.run(out))?,
            spawn("receiver", events, config.scheduling, move || receiving.run(poller, back))?,
        ];
        let impair = config.impair;
        Ok((Lane { rules, impair, to_pacer, to_receiver, waker, threads }, inbox))
    }

    /// Starts a stream: first the ears, then the mouth.
    pub fn start_stream(
        &self,
        call_id: u32,
        class: Class,
        format: Format,
        path: MediaPath,
        counts_from: Stamp,
    ) {
        let key = self.rules.key;
        let ssrc = key.run_id.rotate_left(16) ^ call_id.wrapping_mul(0x9E37_79B9);
        let sender = StreamSender::new(key, call_id, ssrc, format);
        let MediaPath { socket, to, latch, is_direct, keys, is_on_hold, tapes, talk } = path;
        let direct = Direct::new(is_direct);
        let (talker, ear) = talk.unzip();
        let mut stream = Box::new(StreamReceiver::new(self.rules, call_id, class, format, counts_from));
        if is_on_hold {
            stream.hold();
        }
        let impairer = |direction| {
            // The control stream is there to show what the machine does by itself.
            let impairment = self.impair.of(direction).filter(|_| class != Class::Control)?;
            Some(Impairer::new(&impairment, stream_seed(self.impair.seed, direction, call_id)))
        };
        let (back, out) = (impairer(Direction::Back), impairer(Direction::Out));
        let StreamTapes { sent: tape, received } = tapes;
        let srtp = keys.as_ref().map(|keys| Box::new(SrtpReceiver::new(&keys.theirs)));
        self.tell_receiver(ReceiverCommand::Add {
            stream,
            socket: socket.clone(),
            latch: Box::new(latch),
            srtp,
            impairer: back.map(Box::new),
            tape: received,
            ear: ear.map(Box::new),
            direct: direct.clone(),
        });
        let paced = PacedStream {
            call_id,
            class,
            socket,
            to,
            direct,
            sender,
            talker: talker.map(Box::new),
            srtp: keys.as_ref().map(|keys| SrtpSender::new(&keys.ours)),
            is_on_hold,
            last_at: Stamp::ZERO,
            counts_from,
            sent: StreamSent::default(),
            impairer: out,
            tape,
        };
        let _ = self.to_pacer.send(PacerCommand::Start(Box::new(paced)));
    }

    /// Does what a call's far end has changed in its media.
    pub fn change_call(&self, call_id: u32, change: MediaChange) {
        self.tell_receiver(ReceiverCommand::Change { call_id, change: Box::new(change) });
    }

    /// Takes a call's media from anywhere: its far end has known since `at` that it may move them.
    pub fn reopen_call(&self, call_id: u32, at: Stamp) {
        self.tell_receiver(ReceiverCommand::Reopen { call_id, at });
    }

    /// Stops a call's sending, once all that is due before `at` has been sent; answered by
    /// [`LaneEvent::Stopped`].
    pub fn stop_call(&self, call_id: u32, at: Stamp) {
        let _ = self.to_pacer.send(PacerCommand::Stop { call_id, at });
    }

    /// Waits for what a stopped call has still out; answered by [`LaneEvent::Finished`].
    pub fn finish_call(&self, call_id: u32, sent: u64, stopped_at: Stamp) {
        self.tell_receiver(ReceiverCommand::Finish { call_id, sent, stopped_at });
    }

    /// Tells both threads to end.
    pub fn tell_to_end(&self) {
        let _ = self.to_pacer.send(PacerCommand::Shutdown);
        self.tell_receiver(ReceiverCommand::Shutdown);
    }

    /// Ends both threads; their last events come before this returns.
    pub fn shut_down(&mut self) {
        self.tell_to_end();
        for thread in self.threads.drain(..) {
            // A panic has been told by `LaneEvent::Died`.
            let _ = thread.join();
        }
    }

    fn tell_receiver(&self, command: ReceiverCommand) {
        let _ = self.to_receiver.send(command);
        self.waker.wake();
    }
}

/// Starts a thread that tells when it ends: [`LaneEvent::Died`], unless its own last event came first.
pub(super) fn spawn(
    name: &'static str,
    events: UnboundedSender<LaneEvent>,
    scheduling: Scheduling,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    struct ExitReport(&'static str, UnboundedSender<LaneEvent>);
    impl Drop for ExitReport {
        fn drop(&mut self) {
            let _ = self.1.send(LaneEvent::Died(self.0));
        }
    }
    let report = ExitReport(name, events);
    thread::Builder::new().name(name.into()).spawn(move || {
        let _told_whatever_happens = report;
        // It was tried before the lane began; what is refused now shows in the send lateness.
        let _ = scheduling.apply();
        run();
    })
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shut_down();
    }
}
