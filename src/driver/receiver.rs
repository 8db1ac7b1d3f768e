//! The receiver thread: reads batches with kernel stamps and keeps each call's books.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedSender};

use super::lane::LaneEvent;
use super::media::RECEIVE_BUFFER;
use super::pacer::PacerCommand;
use super::received::{Direct, Protected, ReceivedCall};
use super::received_calls::{FETCHED, ReceivedCalls};
use super::talking::Hears;
use super::tape::Tape;
use crate::clock::{self, Timeline};
use crate::impair::{DelayLine, ImpairCounts, Impairer};
use crate::measure::{
    Heartbeat, MediaSecond, ReceiveTally, ReceivedEcho, Rules, SourceLatch, StallWatch, StreamReceiver,
    StreamReport, Window,
};
use crate::net::poller::{EVENTS, Poller};
use crate::net::udp::{self, Batch, Datagram};
use crate::rtp::Format;
use crate::rtp::srtp::{Keys, SrtpReceiver};
use crate::stamp::Stamp;
use crate::table::Deadlines;

/// Datagrams taken from one socket at a time.
const BATCH: usize = 32;
/// Larger than an Ethernet frame; longer ones are cut, and no longer check.
pub(super) const DATAGRAM: usize = 1600;
/// Sockets ready at one wake-up from which on the next one can wait: there are packets all the time, they carry the kernel's
/// stamps, and waking costs as much as reading one.
const CROWD: usize = 8;
/// Length of that wait.
const PAUSE: Duration = Duration::from_millis(1);
/// Longest wait for packets before the thread looks at the clock again.
const WAIT_MS: u16 = 20;
/// A thread that has not looked for so long was stopped, or kept from its work: it has read nothing meanwhile.
pub(super) const STALL: Duration = Duration::from_millis(200);
/// Batches read from one socket after a stall: more than its buffer holds, and no flood keeps the thread.
const BATCHES: usize = RECEIVE_BUFFER / BATCH / 64;
/// Silence of a call after which its far end may be heard from elsewhere: a packet or two that are lost are none, and what
/// comes from there until then is lost.
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// Interval between looks for silent calls; a phone would not be more exact.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) enum ReceiverCommand {
    /// Watch this socket for the call's packets.
    Add {
        stream: Box<StreamReceiver>,
        socket: Arc<UdpSocket>,
        latch: Box<SourceLatch>,
        srtp: Option<Box<SrtpReceiver>>,
        impairer: Option<Box<Impairer>>,
        tape: Option<Tape>,
        /// Hears speech or bursts, where no probes are sent.
        ear: Option<Box<Hears>>,
        direct: Direct,
    },
    /// The far end has changed its media: be ready for it, then have the pacer follow.
    Change { call_id: u32, change: Box<MediaChange> },
    /// The far end may move its media from that time on.
    Reopen { call_id: u32, at: Stamp },
    /// The pacer has paused for a hold after so many packets, of which the last was intended at that time.
    Paused { call_id: u32, sent: u32, last_at: Stamp },
    /// Nothing more is sent: report once everything is back, or lost.
    Finish { call_id: u32, sent: u64, stopped_at: Stamp },
    /// Report everything and end.
    Shutdown,
}

/// A far end's media from now on.
pub(super) struct MediaChange {
    /// Receipt of its wish.
    pub at: Stamp,
    /// Address that it names.
    pub to: SocketAddr,
    pub is_on_hold: bool,
    pub format: Format,
    /// Its keys, where they are not plain.
    pub keys: Option<Keys>,
}

pub(super) struct Receiving {
    pub rules: Rules,
    pub window: Arc<Window>,
    pub commands: Receiver<ReceiverCommand>,
    pub events: UnboundedSender<LaneEvent>,
    pub timeline: Timeline,
    /// Work of the pacer: a call to which nothing was sent is not dead.
    pub pacer: Arc<Heartbeat>,
    pub to_pacer: Sender<PacerCommand>,
    /// Silence after which a call is told of as dead; zero is never.
    pub dead_after: Duration,
    /// Told of each echo, as far as there is room.
    pub echoes: Option<mpsc::Sender<ReceivedEcho>>,
}

/// The thread's books of all calls. A wake-up touches those of which something has come or is due, and no others.
struct Books {
    tally: ReceiveTally,
    /// Next looks for silence.
    looks: Deadlines<u32>,
    /// Times at which calls that are over for the sender are over for good.
    ends: Deadlines<u32>,
    /// Calls that are over for the sender, and have all of their packets back.
    complete: Vec<u32>,
    impaired: ImpairCounts,
    since: Since,
    /// A packet that SRTP had protected.
    plain: Vec<u8>,
}

impl Books {
    fn new(rules: Rules) -> Self {
        Books {
            tally: ReceiveTally::new(rules),
            looks: Deadlines::new(),
            ends: Deadlines::new(),
            complete: Vec::new(),
            impaired: ImpairCounts::default(),
            since: Since::default(),
            plain: Vec::new(),
        }
    }
}

impl Books {
    /// Notes it if a call that is over for the sender has all of its packets back.
    fn note_complete(&mut self, call: &ReceivedCall) {
        if call.ending.is_some_and(|sent| call.stream.is_settled(sent)) {
            self.complete.push(call.stream.call_id());
        }
    }
}

/// Time from a call's start to the first look for its silence. Calls that start together are not looked at together: the
/// looks of thousands take a while.
fn first_look(call_id: u32) -> Duration {
    LOOK_EVERY + LOOK_EVERY * (call_id % 64) / 64
}

/// Time of the look at a call after one that was due at `due`. One that is heard is not silent for a while.
fn next_look(call: &ReceivedCall, due: Stamp, now: Stamp) -> Stamp {
    let next = if due + LOOK_EVERY > now { due + LOOK_EVERY } else { now + LOOK_EVERY };
    match call.stream.heard_at() {
        Some(heard_at) if call.ear.is_none() => next.max(heard_at + REOPEN_AFTER),
        _ => next,
    }
}

/// Counts of the thread since it last told.
#[derive(Default)]
struct Since {
    second: u32,
    drops: u64,
    corrupted: u64,
    cpu: Duration,
}

impl Receiving {
    /// Runs until told to shut down. `line` holds packets back on purpose.
    pub fn run(self, mut poller: Poller, mut line: DelayLine) {
        let mut calls = ReceivedCalls::default();
        let mut books = Books::new(self.rules);
        let mut batch = Batch::new(BATCH, DATAGRAM);
        let (mut ready, mut unread) = (Vec::with_capacity(EVENTS), Vec::new());
        let mut watch = StallWatch::new(self.timeline.now(), STALL);
        while self.obey(&mut calls, &mut books, &poller) {
            let wait = match (ready.is_empty(), line.is_empty()) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => WAIT_MS,
            };
            if poller.wait(wait, |place| ready.push(place as usize)).is_err() {
                break;
            }
            for n in 0..ready.len() + FETCHED {
                calls.fetch_ahead(&ready, n);
                let Some(place) = n.checked_sub(FETCHED).map(|n| ready[n]) else { continue };
                let call = calls.at(place);
                if call.is_some_and(|call| self.read(call, &mut batch, &mut books, &mut line)) {
                    unread.push(place);
                }
            }
            let can_wait = (CROWD..EVENTS).contains(&ready.len()) && unread.is_empty();
            ready.clear();
            std::mem::swap(&mut ready, &mut unread);
            let now = self.timeline.now();
            if watch.look(now) {
                self.catch_up(&mut calls, &mut batch, &mut books, &mut line);
            }
            self.release(&mut line, &mut calls, &mut books);
            self.report_finished(&mut calls, &poller, &mut books, now);
            self.report_second(&mut books, now);
            let awake_since = watch.awake_since().max(self.pacer.awake_since(now));
            self.look_for_silent(&mut calls, &mut books.looks, now, awake_since);
            if can_wait {
                self.timeline.sleep_until(now + PAUSE, Duration::ZERO);
            }
        }
        calls.into_all().for_each(|call| self.finish(call, &mut books));
        self.tick(&mut books);
        let Books { tally, impaired, .. } = books;
        let negative_rtt = tally.finish(|second| drop(self.events.send(LaneEvent::Settled(second))));
        let impaired = ImpairCounts { overflows: line.overflows(), ..impaired };
        let unstamped = batch.unstamped();
        let _ = self.events.send(LaneEvent::ReceiverDone { negative_rtt, unstamped, impaired });
    }

    /// Reads all that came while the thread was stalled: no call or second is judged before that.
    fn catch_up(
        &self,
        calls: &mut ReceivedCalls,
        batch: &mut Batch,
        books: &mut Books,
        line: &mut DelayLine,
    ) {
        for call in calls.all() {
            let mut reads = 0..BATCHES;
            while reads.next().is_some() && self.read(call, batch, books, line) {}
        }
    }

    /// Reads a batch of what has come to a call's socket, mostly one packet; says whether there may be more.
    fn read(
        &self,
        call: &mut ReceivedCall,
        batch: &mut Batch,
        books: &mut Books,
        line: &mut DelayLine,
    ) -> bool {
        let got = match batch.fill(&*call.socket) {
            Ok(got) => got,
            // Any other error is one that ICMP brought for an earlier send; the packet it is about is lost anyway.
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        };
        for n in 0..got {
            self.take(call, &batch.take(n), books, line);
        }
        books.note_complete(call);
        got == BATCH
    }

    /// Takes a datagram that has come to a call's socket.
    fn take(
        &self,
        call: &mut ReceivedCall,
        datagram: &Datagram<'_>,
        books: &mut Books,
        line: &mut DelayLine,
    ) {
        let (at, read_at) = (datagram.received_at, clock::now());
        let Books { tally, since, plain, .. } = books;
        since.drops += datagram.drops.map_or(0, |drops| call.newly_dropped(drops));
        let bytes = call.admit(datagram, plain);
        if let Some(tape) = &mut call.tape {
            let shown = bytes.filter(|_| tape.shows_plain).unwrap_or(datagram.bytes);
            tape.put(at, datagram.from, shown);
        }
        let Some(bytes) = bytes else { return };
        if let Some(ear) = &mut call.ear {
            call.stream.note_beside(bytes);
            return ear.take(bytes, at);
        }
        match &mut call.impairer {
            None => {
                let echo = call.stream.receive(bytes, at, read_at, &self.window, tally);
                if let Some((echoes, echo)) = self.echoes.as_ref().zip(echo) {
                    let _ = echoes.try_send(echo);
                }
            }
            Some(impairer) => {
                for extra in impairer.pass(at).copies() {
                    line.push(at + *extra, bytes, call.stream.call_id().into());
                }
            }
        }
    }

    /// Takes in what the impairment has held back until now, as received when it was let go.
    fn release(&self, line: &mut DelayLine, calls: &mut ReceivedCalls, books: &mut Books) {
        let now = clock::now();
        while let Some(packet) = line.pop_due(now) {
            if let Some(call) = calls.get(packet.tag as u32) {
                call.stream.receive(packet.bytes, packet.at, now, &self.window, &mut books.tally);
                books.note_complete(call);
            }
        }
    }

    fn obey(&self, calls: &mut ReceivedCalls, books: &mut Books, poller: &Poller) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(ReceiverCommand::Add { stream, socket, latch, srtp, impairer, tape, ear, direct }) => {
                    let call_id = stream.call_id();
                    books.looks.set(call_id, Some(self.timeline.now() + first_look(call_id)));
                    let drops = udp::drops(&socket).unwrap_or(0);
                    let srtp = srtp.map(|receiver| Protected { receiver, received: 0, decrypted: 0 });
                    let (told, ending) = (false, None);
                    let call = ReceivedCall {
                        stream: *stream,
                        socket,
                        latch: *latch,
                        srtp,
                        drops,
                        told,
                        ending,
                        impairer,
                        tape,
                        ear,
                        direct,
                    };
                    let heard = call.socket.clone();
                    // Without a place in the poller the call would be deaf; its packets then count
                    // as lost, and the run says that it was silent.
                    let _ = poller.add_by_edges(&*heard, calls.insert(call) as u64);
                }
                Ok(ReceiverCommand::Change { call_id, change }) => {
                    if let Some(call) = calls.get(call_id) {
                        self.change(call, call_id, &change);
                    }
                }
                Ok(ReceiverCommand::Reopen { call_id, at }) => {
                    if let Some(call) = calls.get(call_id) {
                        call.reopen(None, at + self.rules.lost_after);
                    }
                }
                Ok(ReceiverCommand::Paused { call_id, sent, last_at }) => {
                    if let Some(call) = calls.get(call_id) {
                        call.stream.paused(sent, last_at, &self.window, &mut books.tally);
                        books.note_complete(call);
                    }
                }
                Ok(ReceiverCommand::Finish { call_id, sent, stopped_at }) => {
                    if let Some(call) = calls.get(call_id) {
                        call.ending = Some(sent);
                        // What comes in time is read by then.
                        books.ends.set(call_id, Some(stopped_at + self.rules.lost_after));
                        books.note_complete(call);
                    }
                }
                Ok(ReceiverCommand::Shutdown) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Makes a call ready for what its far end has changed, and has the pacer follow.
    fn change(&self, call: &mut ReceivedCall, call_id: u32, change: &MediaChange) {
        let MediaChange { at, to, is_on_hold, format, keys } = change;
        call.stream.change_format(*format);
        if let Some((srtp, keys)) = call.srtp.as_mut().zip(keys.as_ref()) {
            srtp.receiver.change(keys);
        }
        if *is_on_hold {
            call.stream.hold();
        } else if call.stream.resume(*at) || !call.latch.names(*to) {
            call.reopen(Some(*to), *at + self.rules.lost_after);
        }
        let (to, payload_type, is_on_hold) = (*to, format.payload_type, *is_on_hold);
        let _ = self.to_pacer.send(PacerCommand::Change { call_id, to, payload_type, is_on_hold });
    }

    fn report_finished(&self, calls: &mut ReceivedCalls, poller: &Poller, books: &mut Books, now: Stamp) {
        while let Some((_, call_id)) = books.ends.pop(now) {
            books.complete.push(call_id);
        }
        while let Some(call_id) = books.complete.pop() {
            books.ends.set(call_id, None);
            books.looks.set(call_id, None);
            if let Some(call) = calls.remove(call_id) {
                let _ = poller.remove(&*call.socket);
                self.finish(call, books);
            }
        }
    }

    fn finish(&self, mut call: ReceivedCall, books: &mut Books) {
        books.since.drops += call.last_drops();
        books.impaired += call.impairer.as_ref().map(|impairer| impairer.counts()).unwrap_or_default();
        let call_id = call.stream.call_id();
        let heard = call.latch.heard();
        let srtp = call.srtp.as_ref().map(|srtp| (srtp.received, srtp.decrypted));
        let report = Box::new(StreamReport { srtp, ..call.stream.finish(&mut books.tally) });
        let listened = call.ear.take().map(|ear| Box::new(ear.finish(clock::now())));
        let _ = self.events.send(LaneEvent::Finished { call_id, report, heard, listened });
    }

    /// Looks, where it is time, for calls of which little or nothing is heard: their far ends may speak from elsewhere by
    /// now, or they are dead.
    fn look_for_silent(
        &self,
        calls: &mut ReceivedCalls,
        looks: &mut Deadlines<u32>,
        now: Stamp,
        awake_since: Stamp,
    ) {
        while let Some((due, call_id)) = looks.pop(now) {
            let Some(call) = calls.get(call_id) else { continue };
            looks.set(call_id, Some(next_look(call, due, now)));
            let silent_for = |long| call.stream.is_dead(now, long, awake_since);
            let is_missed = call.latch.is_closed() && (silent_for(REOPEN_AFTER) || call.stream.misses_many());
            let is_dead = !self.dead_after.is_zero() && !call.told && silent_for(self.dead_after);
            if let Some(ear) = &mut call.ear {
                ear.look(now);
            }
            if is_missed {
                call.reopen(None, now + self.rules.lost_after);
            }
            if is_dead {
                call.told = true;
                let _ = self.events.send(LaneEvent::Dead { call_id, at: now });
            }
        }
    }

    fn report_second(&self, books: &mut Books, now: Stamp) {
        let second = self.rules.second(now);
        if second == books.since.second {
            return;
        }
        books.tally.close_seconds(now, |second| drop(self.events.send(LaneEvent::Settled(second))));
        self.tick(books);
        books.since.second = second;
    }

    fn tick(&self, Books { tally, since, .. }: &mut Books) {
        let (cpu, corrupted) = (clock::thread_cpu(), tally.corrupted());
        let mut second = MediaSecond::new(since.second);
        second.record.socket_drops = since.drops;
        second.record.corrupted = corrupted - since.corrupted;
        second.record.cpu_busiest_thread = Some(cpu.saturating_sub(since.cpu).as_secs_f64());
        let _ = self.events.send(LaneEvent::Read(second));
        *since = Since { second: since.second, drops: 0, corrupted, cpu };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Class;
    use crate::rtp::packet::StreamSender;
    use crate::rtp::probe::RunKey;
    use crate::rtp::{Codec, Format};

    #[test]
    fn echoes_that_came_in_a_stall_are_read_before_their_call_is_closed() {
        let (receiving, _orders, mut inbox) = idle(0);
        let (rules, second) = (receiving.rules, Duration::from_secs(1));
        let socket = Arc::new(udp::bind_stamped("127.0.0.1:0".parse().unwrap(), RECEIVE_BUFFER).unwrap());
        socket.connect(socket.local_addr().unwrap()).unwrap();
        let mut sender = StreamSender::new(rules.key, 0, 9, Format::of(Codec::Pcmu, rules.ptime));
        for _ in 0..100 {
            let now = clock::now();
            socket.send(sender.packet(now, now)).unwrap();
        }
        let poller = Poller::new().unwrap();
        poller.add(&*socket, 0).unwrap();
        let format = Format::of(Codec::Pcmu, rules.ptime);
        let stream = StreamReceiver::new(rules, 0, Class::Call, format, rules.epoch);
        let from = socket.local_addr().unwrap();
        let latch = SourceLatch::closed(from, from);
        let call = ReceivedCall {
            stream,
            socket,
            latch,
            srtp: None,
            drops: 0,
            told: false,
            ending: Some(150),
            impairer: None,
            tape: None,
            ear: None,
            direct: Direct::new(true),
        };
        let mut calls = ReceivedCalls::default();
        calls.insert(call);
        let mut books = Books::new(rules);
        books.ends.set(0, Some(rules.epoch + rules.lost_after));
        // The other fifty have been lost, and the call is over for long.
        let now = receiving.timeline.now() + 60 * second;
        let (mut batch, mut line) = (Batch::new(BATCH, DATAGRAM), DelayLine::new(0, 0));
        receiving.catch_up(&mut calls, &mut batch, &mut books, &mut line);
        receiving.report_finished(&mut calls, &poller, &mut books, now);
        let Ok(LaneEvent::Finished { report, heard, .. }) = inbox.try_recv() else { panic!("it is closed") };
        assert_eq!((report.total_received, heard.from), (100, Some(from)));
    }

    /// A thread's receiving side without sockets to read, and `count` calls of which nothing has come yet.
    fn idle(count: u32) -> (Receiving, Sender<ReceiverCommand>, mpsc::UnboundedReceiver<LaneEvent>) {
        let timeline = Timeline::start();
        let second = Duration::from_secs(1);
        let rules = Rules {
            key: RunKey::new(1, [1; 16]),
            epoch: timeline.now(),
            ptime: second / 50,
            late_after: second,
            lost_after: 2 * second,
            shared_clock: true,
        };
        let ((orders, commands), (events, inbox)) = (std::sync::mpsc::channel(), mpsc::unbounded_channel());
        let (window, pacer) = (Arc::new(Window::default()), Arc::new(Heartbeat::new(STALL)));
        let (to_pacer, _) = std::sync::mpsc::channel();
        let (dead_after, echoes) = (second, None);
        let socket = Arc::new(udp::bind_stamped("127.0.0.1:0".parse().unwrap(), 4096).unwrap());
        let from = socket.local_addr().unwrap();
        let format = Format::of(Codec::Pcmu, rules.ptime);
        for call in 0..count {
            let add = ReceiverCommand::Add {
                stream: Box::new(StreamReceiver::new(rules, call, Class::Call, format, rules.epoch)),
                socket: socket.clone(),
                latch: Box::new(SourceLatch::closed(from, from)),
                srtp: None,
                impairer: None,
                tape: None,
                ear: None,
                direct: Direct::default(),
            };
            orders.send(add).unwrap();
        }
        (
            Receiving { rules, window, commands, events, timeline, pacer, to_pacer, dead_after, echoes },
            orders,
            inbox,
        )
    }

    #[test]
    fn a_socket_that_holds_more_than_a_batch_is_read_to_its_end() {
        const PACKETS: u64 = 3 * BATCH as u64 + 4;
        let (receiving, orders, mut inbox) = idle(0);
        let socket = Arc::new(udp::bind_stamped("127.0.0.1:0".parse().unwrap(), RECEIVE_BUFFER).unwrap());
        let own = socket.local_addr().unwrap();
        socket.connect(own).unwrap();
        let (rules, format) = (receiving.rules, Format::of(Codec::Pcmu, receiving.rules.ptime));
        let mut sender = StreamSender::new(rules.key, 0, 9, format);
        for _ in 0..PACKETS {
            let now = clock::now();
            socket.send(sender.packet(now, now)).unwrap();
        }
        let add = ReceiverCommand::Add {
            stream: Box::new(StreamReceiver::new(rules, 0, Class::Call, format, rules.epoch)),
            socket,
            latch: Box::new(SourceLatch::closed(own, own)),
            srtp: None,
            impairer: None,
            tape: None,
            ear: None,
            direct: Direct::new(true),
        };
        let stopped_at = receiving.timeline.now() + Duration::from_secs(30);
        orders.send(add).unwrap();
        orders.send(ReceiverCommand::Finish { call_id: 0, sent: PACKETS, stopped_at }).unwrap();
        let thread = std::thread::spawn(move || receiving.run(Poller::new().unwrap(), DelayLine::new(0, 0)));
        let report = std::iter::from_fn(|| inbox.blocking_recv()).find_map(|event| match event {
            LaneEvent::Finished { report, .. } => Some(report),
            _ => None,
        });
        assert_eq!(report.map(|report| report.total_received), Some(PACKETS));
        orders.send(ReceiverCommand::Shutdown).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn a_wake_up_touches_no_call_of_which_nothing_is_due() {
        const CALLS: u32 = 1024;
        let (receiving, orders, mut inbox) = idle(CALLS);
        let (mut calls, mut books) = (ReceivedCalls::default(), Books::new(receiving.rules));
        let poller = Poller::new().unwrap();
        let begin = receiving.timeline.now();
        let stopped = |call_id| ReceiverCommand::Finish { call_id, sent: 1, stopped_at: begin + STALL };
        // Half of them are over for the sender, and their last packet is still out.
        (0..CALLS / 2).for_each(|call| orders.send(stopped(call)).unwrap());
        assert!(receiving.obey(&mut calls, &mut books, &poller));
        let mut wake_up = |now| {
            crate::table::touched();
            receiving.report_finished(&mut calls, &poller, &mut books, now);
            receiving.look_for_silent(&mut calls, &mut books.looks, now, begin);
            (crate::table::touched(), calls.len())
        };
        assert_eq!(wake_up(begin), (0, 1024));
        // Looks go round: no millisecond has many of them.
        let until = receiving.timeline.now().since(begin) + 3 * LOOK_EVERY;
        let all: Vec<_> =
            (1..until.as_millis() as u64).map(|ms| wake_up(begin + Duration::from_millis(ms)).0).collect();
        assert!(all.iter().all(|touched| *touched < u64::from(CALLS)), "{all:?}");
        assert!(all.iter().sum::<u64>() >= u64::from(CALLS), "{all:?}");
        // And those that are over end when their packets are lost.
        assert_eq!(wake_up(begin + STALL + receiving.rules.lost_after).1, 512);
        let ended = std::iter::from_fn(|| inbox.try_recv().ok());
        assert_eq!(ended.filter(|event| matches!(event, LaneEvent::Finished { .. })).count(), 512);
    }
}
