//! The pacer thread: walks the slot wheel, stamps and sends. It never locks, logs or waits for others.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::lane::LaneEvent;
use super::received::Direct;
use super::receiver::ReceiverCommand;
use super::talking::Voice;
use super::tape::Tape;
use crate::clock::{self, Timeline};
use crate::impair::{DelayLine, ImpairCounts, Impairer};
use crate::measure::{
    Class, Heartbeat, MediaSecond, Rules, SendTally, Sent, Share, StreamSent, Wheel, Window,
};
use crate::net::prefetch::prefetch;
use crate::rtp::packet::StreamSender;
use crate::rtp::srtp::SrtpSender;
use crate::stamp::Stamp;

/// One wake-up per slot, not per packet: waking costs several times what sending does.
pub(super) const SLOT: Duration = Duration::from_millis(1);

/// The end of a wait that is spun instead of slept. A sleep wakes some 40 µs late, which the send
/// lateness shows; spinning longer would cost more CPU than sending.
const SPIN: Duration = Duration::from_micros(5);

/// Longest wait without a look at the commands: the first slot may be hours away, and a run that is called off before it ends
/// at once.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Marks a packet of the measured window in its tag in the line; the number of its stream lies below.
const MEASURED: u64 = 1 << 32;

/// One outgoing stream.
pub(super) struct PacedStream {
    pub call_id: u32,
    pub class: Class,
    pub socket: Arc<UdpSocket>,
    /// Address that its packets go to; answers may come from another.
    pub to: SocketAddr,
    pub direct: Direct,
    pub sender: StreamSender,
    /// Words, or bursts, in the place of its probes.
    pub talker: Option<Box<Voice>>,
    /// Protects its packets, where they are not plain.
    pub srtp: Option<SrtpSender>,
    /// The far end wants nothing: its turns go by.
    pub is_on_hold: bool,
    /// Intended time of its last packet.
    pub last_at: Stamp,
    /// Time from which on its packets count.
    pub counts_from: Stamp,
    pub sent: StreamSent,
    /// Impairment of its packets on purpose.
    pub impairer: Option<Impairer>,
    /// Record of its packets, as they are before they are impaired.
    pub tape: Option<Tape>,
}

pub(super) enum PacerCommand {
    Start(Box<PacedStream>),
    /// Sends to another address from now on, or nothing while it is on hold; the receiver is told where the numbers
    /// stopped.
    Change {
        call_id: u32,
        to: SocketAddr,
        payload_type: u8,
        is_on_hold: bool,
    },
    /// Once all that is due before `at` has been sent.
    Stop {
        call_id: u32,
        at: Stamp,
    },
    Shutdown,
}

pub(super) struct Pacer {
    pub rules: Rules,
    pub spread: bool,
    /// Part of the streams that this thread sends.
    pub share: Share,
    pub window: Arc<Window>,
    pub commands: Receiver<PacerCommand>,
    pub events: UnboundedSender<LaneEvent>,
    pub to_receiver: Sender<ReceiverCommand>,
    pub timeline: Timeline,
    /// Tells the receiver that this thread is at work.
    pub heartbeat: Arc<Heartbeat>,
}

/// Packets held back on purpose, the sockets that they leave by, and where they go.
struct DelayedPackets {
    line: DelayLine,
    sockets: HashMap<u32, (Arc<UdpSocket>, SocketAddr)>,
    /// Of streams that have ended.
    ended: Vec<u32>,
    counts: ImpairCounts,
    /// Streams that end, and the time up to which they still send.
    stops: Vec<(Stamp, u32)>,
}

impl Pacer {
    /// Runs until told to shut down. `line` holds packets back on purpose.
    pub fn run(self, line: DelayLine) {
        // Without this the kernel may wake the thread 50 µs later than asked.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut wheel = Wheel::of_lane(self.share, self.rules.ptime, SLOT, self.rules.epoch, self.spread);
        let mut tally = SendTally::new(self.rules);
        let mut cpu = clock::thread_cpu();
        let mut held = DelayedPackets {
            line,
            sockets: HashMap::new(),
            ended: Vec::new(),
            counts: ImpairCounts::default(),
            stops: Vec::new(),
        };
        while self.obey(&mut wheel, &mut held) {
            let (now, due) = (self.timeline.now(), wheel.due());
            self.heartbeat.beat(now);
            if due > now + LONGEST_WAIT {
                self.timeline.sleep_until(now + LONGEST_WAIT, Duration::ZERO);
                continue;
            }
            let was_asleep = || self.timeline.now().since(due) > self.rules.lost_after;
            if was_asleep() {
                self.skip(&mut wheel, &held, self.timeline.now(), &mut tally);
                continue;
            }
            if self.stop(&mut wheel, &mut held, due) {
                continue;
            }
            self.release(&mut held, due, &mut tally);
            self.timeline.sleep_until(due, SPIN);
            if was_asleep() {
                // The commands that have come meanwhile say which streams would have sent.
                continue;
            }
            if let Some(second) = tally.turn(due) {
                self.hand_over(second, &mut cpu);
            }
            let streams = wheel.advance();
            for n in 0..streams.len() {
                fetch_ahead(&streams[n..]);
                self.send(&mut streams[n], due, &mut tally, &mut held);
            }
        }
        for stream in wheel.drain() {
            held.retire(&stream);
            self.tell_stopped(stream.call_id, Some(stream));
        }
        let (skipped, unsent) = (tally.skipped, tally.unsent);
        self.hand_over(tally.finish(), &mut cpu);
        let impaired = ImpairCounts { overflows: held.line.overflows(), ..held.counts };
        let _ = self.events.send(LaneEvent::PacerDone { skipped, unsent, impaired });
    }

    /// Gives up what was due before `now`: measured packets of streams that were not to stop before.
    fn skip(
        &self,
        wheel: &mut Wheel<Box<PacedStream>>,
        held: &DelayedPackets,
        now: Stamp,
        tally: &mut SendTally,
    ) {
        let behind = now.since(wheel.due());
        let stops: HashMap<u32, Stamp> = held.stops.iter().map(|(at, call_id)| (*call_id, *at)).collect();
        let skipped = wheel.skip_to(now, |stream| match stream.class {
            Class::Call | Class::Talk if !stream.is_on_hold => {
                let Range { start, end } = self.window.counted(stream.counts_from);
                start..stops.get(&stream.call_id).map_or(end, |stop| end.min(*stop))
            }
            Class::Call | Class::Talk | Class::Control => Stamp::ZERO..Stamp::ZERO,
        });
        tally.skipped(skipped, behind);
    }

    /// Tells a second's counts, and the CPU used since `before`.
    fn hand_over(&self, mut second: Box<MediaSecond>, before: &mut Duration) {
        let used = clock::thread_cpu();
        second.record.cpu_busiest_thread = Some(used.saturating_sub(*before).as_secs_f64());
        *before = used;
        let _ = self.events.send(LaneEvent::Second(second));
    }

    fn send(&self, stream: &mut PacedStream, due: Stamp, tally: &mut SendTally, held: &mut DelayedPackets) {
        if stream.is_on_hold {
            stream.sender.skip();
            return;
        }
        stream.last_at = due;
        let sent_at = clock::now();
        let plain = match &mut stream.talker {
            None => stream.sender.packet(due, sent_at),
            Some(talker) => talker.packet(&mut stream.sender, sent_at),
        };
        let packet = match &mut stream.srtp {
            None => Some(plain),
            Some(srtp) => srtp.protect(plain),
        };
        match (packet, &mut stream.impairer) {
            // 2^48 packets have been sent under these keys.
            (None, _) => tally.unsent += 1,
            (Some(packet), None) => pass(&stream.socket, stream.to, stream.direct.get(), packet, tally),
            (Some(packet), Some(impairer)) => {
                let now = self.timeline.now();
                let measured = if self.window.holds(due, stream.counts_from) { MEASURED } else { 0 };
                for extra in impairer.pass(now).copies() {
                    held.line.push(now + *extra, packet, u64::from(stream.call_id) | measured);
                }
            }
        }
        let sent = Sent { intended_at: due, sent_at, call_took: clock::now().since(sent_at) };
        if let Some((tape, packet)) = stream.tape.as_mut().zip(packet) {
            tape.put(sent_at, stream.to, if tape.shows_plain { plain } else { packet });
        }
        tally.sent(&mut stream.sent, &sent, stream.class, &self.window, stream.counts_from);
        if let Some(reply) = stream.talker.as_mut().and_then(|talker| talker.reply()) {
            let _ = self.events.send(LaneEvent::Replied { reply, at: sent_at });
        }
    }

    /// Sends what is held back until before `due`, each at its time.
    fn release(&self, held: &mut DelayedPackets, due: Stamp, tally: &mut SendTally) {
        while let Some(at) = held.line.next_due().filter(|at| *at < due) {
            self.timeline.sleep_until(at, SPIN);
            let late = self.timeline.now().since(at);
            while let Some(packet) = held.line.pop_due(at) {
                if let Some((socket, to)) = held.sockets.get(&(packet.tag as u32)) {
                    pass(socket, *to, false, packet.bytes, tally);
                }
                if packet.tag & MEASURED != 0 {
                    tally.released(late);
                }
            }
        }
    }

    /// Ends the streams whose time is over at `due`; says whether there were any.
    fn stop(&self, wheel: &mut Wheel<Box<PacedStream>>, held: &mut DelayedPackets, due: Stamp) -> bool {
        let over: Vec<_> = held.stops.extract_if(.., |(at, _)| *at <= due).collect();
        for (_, call_id) in &over {
            let stream = wheel.remove(*call_id);
            stream.iter().for_each(|s| held.retire(s));
            self.tell_stopped(*call_id, stream);
        }
        !over.is_empty()
    }

    fn tell_stopped(&self, call_id: u32, stream: Option<Box<PacedStream>>) {
        let sent = stream.as_ref().map(|stream| stream.sent).unwrap_or_default();
        let spoken = stream.and_then(|stream| stream.talker).and_then(|voice| voice.finish()).map(Box::new);
        let _ = self.events.send(LaneEvent::Stopped { call_id, sent, spoken, at: self.timeline.now() });
    }

    /// Tells the receiver of a hold before it can hear of anything behind it.
    fn tell_paused(&self, stream: &PacedStream) {
        let PacedStream { call_id, sender, last_at, .. } = stream;
        let paused = ReceiverCommand::Paused { call_id: *call_id, sent: sender.sent(), last_at: *last_at };
        let _ = self.to_receiver.send(paused);
    }

    /// Takes the commands that wait, and sleeps until one comes while there is nothing to send.
    /// Returns false when it is time to end.
    fn obey(&self, wheel: &mut Wheel<Box<PacedStream>>, held: &mut DelayedPackets) -> bool {
        loop {
            let idle = wheel.is_empty() && held.line.is_empty() && held.stops.is_empty();
            let command = match self.commands.try_recv() {
                Err(TryRecvError::Empty) if idle => match self.commands.recv() {
                    Ok(command) => {
                        // It is empty: there is nothing to count.
                        wheel.skip_to(self.timeline.now() + SLOT, |_| Stamp::ZERO..Stamp::ZERO);
                        command
                    }
                    Err(_) => return false,
                },
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
                Ok(command) => command,
            };
            match command {
                PacerCommand::Start(stream) => {
                    held.admit(&stream);
                    wheel.add(stream.call_id, stream);
                }
                PacerCommand::Change { call_id, to, payload_type, is_on_hold } => {
                    if let Some(stream) = wheel.get_mut(call_id) {
                        stream.sender.change_payload_type(payload_type);
                        let was_on_hold = std::mem::replace(&mut stream.is_on_hold, is_on_hold);
                        match is_on_hold {
                            true if !was_on_hold => self.tell_paused(stream),
                            true => {}
                            false => {
                                stream.to = to;
                                held.admit(stream);
                            }
                        }
                    }
                }
                PacerCommand::Stop { call_id, at } => held.stops.push((at, call_id)),
                PacerCommand::Shutdown => return false,
            }
        }
    }
}

/// Fetches what the streams behind the first will be sent with, while the kernel sends that one: each has memory of its own,
/// of which nothing is near after 20 ms of others'.
fn fetch_ahead(streams: &[Box<PacedStream>]) {
    if let Some(stream) = streams.get(2) {
        prefetch(&**stream);
    }
    if let Some(stream) = streams.get(1) {
        prefetch(&*stream.socket);
        prefetch(stream.direct.flag());
        prefetch(stream.sender.buffer());
    }
}

/// Hands a packet to the kernel. One that it refuses is lost; that the far port is closed is the far
/// end's doing (the word of an earlier packet), anything else this machine's.
fn pass(socket: &UdpSocket, to: SocketAddr, is_direct: bool, packet: &[u8], tally: &mut SendTally) {
    // A connected socket sends elsewhere too: it is connected to where the far end is heard from.
    let send = || socket.send_to(packet, to);
    let first = if is_direct { socket.send(packet) } else { send() };
    // In the place of sending, the kernel tells of an earlier packet that found a closed port, perhaps before a move. A
    // socket that has just been opened again is not direct any more.
    let sent = first.or_else(|error| match error.kind() {
        ErrorKind::ConnectionRefused => send(),
        _ if is_direct => send(),
        _ => Err(error),
    });
    match sent {
        Err(error) if error.kind() != ErrorKind::ConnectionRefused => tally.unsent += 1,
        Ok(_) | Err(_) => {}
    }
}

impl DelayedPackets {
    fn admit(&mut self, stream: &PacedStream) {
        if self.line.is_empty() {
            // Nothing is out on a socket whose stream has ended.
            for call_id in self.ended.drain(..) {
                self.sockets.remove(&call_id);
            }
        }
        if stream.impairer.is_some() {
            self.sockets.insert(stream.call_id, (stream.socket.clone(), stream.to));
        }
    }

    /// The stream has ended; what it has still in the line goes out all the same.
    fn retire(&mut self, stream: &PacedStream) {
        if let Some(impairer) = &stream.impairer {
            self.ended.push(stream.call_id);
            self.counts += impairer.counts();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::impair::Impairment;
    use crate::record::{OpenIntervals, Scope, Series};
    use crate::rtp::probe::RunKey;
    use crate::rtp::{Codec, Format};
    use crate::values::Span;
    use tokio::sync::mpsc::unbounded_channel;

    const SECOND: Duration = Duration::from_secs(1);
    const KEY: RunKey = RunKey::new(1, [1; 16]);

    fn rules(epoch: Stamp) -> Rules {
        Rules {
            key: KEY,
            epoch,
            ptime: SECOND / 100,
            late_after: SECOND,
            lost_after: 10 * SECOND,
            shared_clock: true,
        }
    }

    /// A stream to itself.
    fn stream(call_id: u32, class: Class, counts_from: Stamp) -> PacedStream {
        let socket = Arc::new(crate::net::udp::bind_stamped("127.0.0.1:0".parse().unwrap(), 4096).unwrap());
        let to = socket.local_addr().unwrap();
        let sender = StreamSender::new(KEY, call_id, call_id, Format::of(Codec::Pcmu, SECOND / 100));
        let sent = StreamSent::default();
        let (srtp, is_on_hold, last_at, impairer) = (None, false, Stamp::ZERO, None);
        PacedStream {
            call_id,
            class,
            socket,
            to,
            direct: Direct::default(),
            sender,
            talker: None,
            srtp,
            is_on_hold,
            last_at,
            counts_from,
            sent,
            impairer,
            tape: None,
        }
    }

    #[test]
    fn a_sleep_skips_the_measured_packets_of_each_stream_while_it_was_to_send() {
        let begin = Stamp::ZERO + 1000 * SECOND;
        // Asleep from the warm-up until long after the window's end.
        let window = Window::default();
        window.set(begin + 5 * SECOND, begin + 25 * SECOND);
        let ((_, commands), (events, _)) = (std::sync::mpsc::channel(), unbounded_channel());
        let (to_receiver, _) = std::sync::mpsc::channel();
        let (rules, timeline) = (rules(begin), Timeline::start());
        let (window, heartbeat) = (Arc::new(window), Arc::new(Heartbeat::new(SECOND)));
        let (share, spread) = (Share::default(), true);
        let pacer =
            Pacer { rules, spread, share, window, commands, events, to_receiver, timeline, heartbeat };
        let mut wheel = Wheel::new(rules.ptime, SLOT, begin, true);
        for (call_id, class, counts_from) in [
            (0, Class::Call, begin),
            (1, Class::Call, begin + 15 * SECOND),
            (2, Class::Call, begin),
            (3, Class::Control, begin),
            (5, Class::Talk, begin),
        ] {
            wheel.add(call_id, Box::new(stream(call_id, class, counts_from)));
        }
        wheel.add(4, Box::new(PacedStream { is_on_hold: true, ..stream(4, Class::Call, begin) }));
        let mut held = DelayedPackets {
            line: DelayLine::new(0, 0),
            sockets: HashMap::new(),
            ended: Vec::new(),
            counts: ImpairCounts::default(),
            stops: vec![(begin + 7 * SECOND, 2)],
        };
        let mut tally = SendTally::new(rules);
        pacer.skip(&mut wheel, &held, begin + 3600 * SECOND, &mut tally);
        assert_eq!(tally.skipped, 2000 + 1000 + 200 + 2000, "of callers that talk, too");
        held.stops.clear();
        pacer.skip(&mut wheel, &held, begin + 7200 * SECOND, &mut tally);
        assert_eq!(tally.skipped, 5200, "the window is over");
    }

    /// Packets sent on one stream that is held back for 5 ms, and the send latenesses recorded for them.
    fn play(window: Window) -> (u64, u64) {
        let timeline = Timeline::start();
        let rules = rules(timeline.now());
        let impairment = Impairment { delay: Span(SECOND / 200), ..Default::default() };
        let impairer = Some(Impairer::new(&impairment, 1));
        let stream = PacedStream { impairer, ..stream(3, Class::Call, rules.epoch) };
        let ((to_pacer, commands), (events, mut inbox)) = (std::sync::mpsc::channel(), unbounded_channel());
        to_pacer.send(PacerCommand::Start(Box::new(stream))).unwrap();
        let stop = PacerCommand::Stop { call_id: 3, at: timeline.now() + SECOND / 10 };
        to_pacer.send(stop).unwrap();
        let (window, heartbeat) = (Arc::new(window), Arc::new(Heartbeat::new(SECOND)));
        let (to_receiver, _) = std::sync::mpsc::channel();
        let (share, spread) = (Share::default(), true);
        let pacer =
            Pacer { rules, spread, share, window, commands, events, to_receiver, timeline, heartbeat };
        let thread = std::thread::spawn(move || pacer.run(DelayLine::new(1000, 1000)));
        let (mut sent, mut recorded) = (0, 0);
        let count = |latencies: &OpenIntervals| {
            let scopes = [Scope::Measured, Scope::Outside].into_iter();
            scopes
                .filter_map(|scope| latencies.get(Series::SendLateness, scope))
                .map(|l| l.len())
                .sum::<u64>()
        };
        while let Some(event) = inbox.blocking_recv() {
            match event {
                LaneEvent::Stopped { sent: stream, .. } => sent = stream.total,
                LaneEvent::Second(second) => recorded += count(&second.latencies),
                LaneEvent::PacerDone { .. } => break,
                other => panic!("{other:?}"),
            }
            if sent > 0 {
                let _ = to_pacer.send(PacerCommand::Shutdown);
            }
        }
        thread.join().unwrap();
        (sent, recorded)
    }

    #[test]
    fn a_run_that_is_called_off_before_it_begins_ends_at_once() {
        let timeline = Timeline::start();
        let rules = rules(timeline.now() + 3600 * SECOND);
        let ((to_pacer, commands), (events, mut inbox)) = (std::sync::mpsc::channel(), unbounded_channel());
        let (window, heartbeat) = (Arc::new(Window::default()), Arc::new(Heartbeat::new(SECOND)));
        let (to_receiver, _) = std::sync::mpsc::channel();
        let (share, spread) = (Share::default(), true);
        let pacer =
            Pacer { rules, spread, share, window, commands, events, to_receiver, timeline, heartbeat };
        let thread = std::thread::spawn(move || pacer.run(DelayLine::new(0, 0)));
        // It waits by now, or will look before it does.
        timeline.sleep_until(timeline.now() + LONGEST_WAIT / 2, Duration::ZERO);
        to_pacer.send(PacerCommand::Shutdown).unwrap();
        let mut events = std::iter::from_fn(|| inbox.blocking_recv());
        assert!(events.any(|event| matches!(event, LaneEvent::PacerDone { .. })));
        thread.join().unwrap();
    }

    #[test]
    fn a_port_that_was_closed_keeps_no_packet_from_where_the_media_moved() {
        let bind = || crate::net::udp::bind_stamped("127.0.0.1:0".parse().unwrap(), 4096).unwrap();
        let (socket, far, gone) = (bind(), bind(), bind().local_addr().unwrap());
        socket.connect(gone).unwrap();
        let mut tally = SendTally::new(rules(Stamp::ZERO));
        pass(&socket, gone, false, b"1", &mut tally);
        for packet in [b"2", b"3"] {
            pass(&socket, far.local_addr().unwrap(), false, packet, &mut tally);
        }
        let mut heard = [0; 4];
        let mut next = || far.recv(&mut heard).map(|len| heard[..len].to_vec()).ok();
        assert_eq!((next(), next(), next()), (Some(b"2".to_vec()), Some(b"3".to_vec()), None));
        assert_eq!(tally.unsent, 0);
    }

    #[test]
    fn a_packet_held_back_counts_its_lateness_only_in_the_measured_window() {
        let (sent, recorded) = play(Window::default());
        assert!(sent > 0);
        assert_eq!(recorded, 0, "nothing is measured");
        let window = Window::default();
        window.set(Stamp::ZERO, Stamp::from_ns(u64::MAX - 1));
        let (sent, recorded) = play(window);
        assert!((sent + 1..=2 * sent).contains(&recorded), "{recorded} latenesses of {sent} packets");
    }
}
