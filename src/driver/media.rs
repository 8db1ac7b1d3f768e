//! The media of all calls while they last: threads, window, streams, and the book of their figures.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use super::DriverError;
use super::book::Book;
use super::bursts::{self, Judge};
use super::lane::{LaneConfig, LaneEvent, MediaPath};
use super::lanes::{Inbox, Lanes};
use super::monitor::{Monitor, Watched};
use super::reach::Reach;
use super::receiver::MediaChange;
use super::talking::{self, Hears, Talked, Voice};
use super::tape::{StreamTapes, Tapes};
use crate::conversation::{Script, Spoken};
use crate::echo::EchoServer;
use crate::excerpt::{self, Collector, SpeechRing};
use crate::load::Input;
use crate::measure::{Class, Listened, ReceivedEcho, SourceLatch, Sources, StreamReport, StreamSent, Window};
use crate::net::udp::{self, buffer_for};
use crate::record::{CallRecord, Environment, TalkRow};
use crate::rtp::srtp::{KeyPair, Keys};
use crate::rtp::{Format, MediaSource};
use crate::scenario::Scenario;
use crate::shard::Shard;
use crate::sip::sdp::{Answer, PeerKeys};
use crate::stamp::Stamp;

/// Every stream has a socket of its own: two seconds of the shortest packet time.
pub(super) const RECEIVE_BUFFER: usize = buffer_for(2 * 100);

/// Time for which a call's socket is open at its beginning: five of the longest packets show whether its far end speaks
/// from two places in turn.
const OPEN_FOR: Duration = Duration::from_millis(300);

/// The media of a run.
pub(super) struct Media {
    pub lanes: Lanes,
    pub inbox: Inbox,
    pub window: Arc<Window>,
    pub book: Book,
    /// By the number of the call.
    pub calls: HashMap<u32, CallMedia>,
    /// Calls of which everything is back or lost, so far.
    pub reported: usize,
    /// Where packets are recorded.
    pub tapes: Option<Tapes>,
    /// Script of the callers, where they talk.
    pub script: Option<Arc<Script>>,
    /// Excerpts of calls that talk.
    pub excerpts: Option<Excerpts>,
    /// Audio of the worst passages, by the names of its files.
    pub worst: Vec<(String, Vec<u8>)>,
}

/// True if audio of calls is kept. Media under SRTP are shown where captures show them.
pub(super) fn keeps_audio(scenario: &Scenario) -> bool {
    scenario.capture.is_on() && (!scenario.media.srtp || scenario.capture.plaintext)
}

/// Excerpts of a run of conversations.
pub(super) struct Excerpts {
    pub collector: Collector,
    /// Bytes of audio that each side of a call keeps, where it is kept.
    pub ring_bytes: Option<usize>,
}

impl Excerpts {
    /// For a run that began at `epoch`, whose callers talk by `script`.
    pub fn of(scenario: &Scenario, script: &Script, epoch: Stamp) -> Excerpts {
        let has_audio = keeps_audio(scenario);
        let ring_bytes = excerpt::room(scenario.calls() as usize, Duration::MAX).filter(|_| has_audio);
        let (reply_within, named) = (script.reply_within(), scenario.capture.calls.clone());
        let settings = excerpt::Settings { epoch, reply_within, named, has_audio };
        Excerpts { collector: Collector::new(settings), ring_bytes }
    }
}

/// The media of one call.
pub(super) struct CallMedia {
    pub socket: Arc<UdpSocket>,
    /// Time from which its first packet is awaited: the call's answer, or the end of a hold that it began with.
    pub started_at: Stamp,
    /// Our keys of SRTP, where it is wanted.
    pub keys: Option<Keys>,
    /// On hold since its beginning.
    begins_on_hold: bool,
    /// Datagrams of others that had come before that.
    pub strangers: u64,
    sent: StreamSent,
    /// Sources of its packets, once everything is back or lost.
    heard: Sources,
    /// Counts and times of what came back, once everything is back or lost.
    pub report: Option<Box<StreamReport>>,
    /// Words of the caller, and everything heard, of a call that talks.
    spoken: Option<Box<(Spoken, Option<SpeechRing>)>>,
    listened: Option<Box<(Listened, Option<SpeechRing>)>>,
    /// End of its sending.
    stopped_at: Stamp,
    /// Telephone events were agreed on.
    has_events: bool,
}

impl CallMedia {
    /// Media that starts at `started_at`, if that is known.
    pub fn new(socket: Arc<UdpSocket>, started_at: Stamp) -> Self {
        let (sent, heard) = (StreamSent::default(), Sources::default());
        let (keys, begins_on_hold) = (None, false);
        CallMedia {
            socket,
            started_at,
            keys,
            begins_on_hold,
            strangers: 0,
            sent,
            heard,
            report: None,
            spoken: None,
            listened: None,
            stopped_at: started_at,
            has_events: false,
        }
    }
}

impl Media {
    /// Starts `count` lanes. `environment` is the part of it that is known beforehand; `echoes` is told of each
    /// echo, as far as it has room.
    pub fn start(
        (count, lane): (u32, LaneConfig),
        watched: watch::Receiver<Watched>,
        environment: Environment,
        echoes: Option<Sender<ReceivedEcho>>,
    ) -> Result<Media, DriverError> {
        let (rules, window) = (lane.rules, Arc::new(Window::default()));
        let (lanes, inbox) = Lanes::start(count, &lane, &window, echoes.as_ref())
            .map_err(|error| DriverError::Start("start the media threads".into(), error))?;
        let book = Book::new(rules, Monitor::start(watched, rules.epoch), environment, lanes.count());
        Ok(Media {
            lanes,
            inbox,
            window,
            book,
            calls: HashMap::new(),
            reported: 0,
            tapes: None,
            script: None,
            excerpts: None,
            worst: Vec::new(),
        })
    }

    /// Has its calls say what the scenario wants, and keeps what is to be kept of a run that began at `epoch`.
    pub fn play(
        &mut self,
        scenario: &Scenario,
        script: Option<Arc<Script>>,
        tapes: Option<Tapes>,
        epoch: Stamp,
    ) {
        self.excerpts = script.as_ref().map(|script| Excerpts::of(scenario, script, epoch));
        (self.script, self.tapes) = (script, tapes);
        self.book.part_by_target(scenario.targets());
    }

    /// Starts a stream of its own, without a call: from any port of `local` to `target`.
    pub fn start_stream(
        &mut self,
        number: u32,
        class: Class,
        format: Format,
        (local, target): (SocketAddr, SocketAddr),
        counts_from: Stamp,
    ) -> io::Result<Arc<UdpSocket>> {
        let socket = Arc::new(udp::bind_stamped(local, RECEIVE_BUFFER)?);
        socket.connect(target)?;
        let latch = SourceLatch::closed(socket.local_addr()?, target);
        let path = MediaPath {
            socket: socket.clone(),
            to: target,
            latch,
            is_direct: true,
            keys: None,
            is_on_hold: false,
            tapes: StreamTapes::default(),
            talk: None,
        };
        self.lanes.start_stream(number, class, format, path, counts_from);
        Ok(socket)
    }

    /// Starts the control stream: the same probes on the same schedule to a reflector beside the driver,
    /// past Asterisk. What it feels, the machine did. Its sockets are no addresses for a far end to name.
    pub fn start_control(
        &mut self,
        scenario: &Scenario,
        shard: Shard,
        epoch: Stamp,
        reach: &mut Reach,
    ) -> io::Result<Option<EchoServer>> {
        let usual = || shard.share(scenario.calls()).div_ceil(10).clamp(1, 10);
        let streams = scenario.measure.control_streams.unwrap_or_else(usual);
        if streams == 0 {
            return Ok(None);
        }
        let any = SocketAddr::new(scenario.sip.local, 0);
        let echo = EchoServer::start(any)?;
        reach.add(echo.local_addr());
        let format = Format::of(scenario.media.codec, scenario.media.ptime.0);
        for n in 0..streams {
            let way = (any, echo.local_addr());
            let socket = self.start_stream(u32::MAX - n, Class::Control, format, way, epoch)?;
            reach.add(socket.local_addr()?);
        }
        Ok(Some(echo))
    }

    /// Starts a call's stream to where its far end says, unless that is on hold. The socket is open until the far end is
    /// heard; what had come before `at` is thrown away.
    pub fn start_call(
        &mut self,
        call: u32,
        format: Format,
        (rule, answer): (MediaSource, &Answer),
        (at, counts_from): (Stamp, Stamp),
    ) {
        let Some(media) = self.calls.get_mut(&call) else { return };
        let (to, is_on_hold) = (answer.rtp_address, answer.on_hold().is_some());
        (media.started_at, media.begins_on_hold) = (at, is_on_hold);
        media.has_events = format.event_type.is_some();
        media.strangers = udp::flush(&media.socket, to);
        // It is bound. Without an address it would be silent, and counted so.
        let Ok(own) = media.socket.local_addr() else { return };
        let pair =
            |(ours, peer): (&Keys, &PeerKeys)| KeyPair { ours: ours.clone(), theirs: peer.keys.clone() };
        let keys = media.keys.as_ref().zip(answer.srtp.as_ref()).map(pair);
        let (socket, mut latch) = (media.socket.clone(), SourceLatch::new(rule, own, to));
        latch.stay_open(at + OPEN_FOR);
        let tapes = self.tapes.as_ref().map(|tapes| tapes.of_call(call, own)).unwrap_or_default();
        let ring_bytes = self.excerpts.as_ref().and_then(|excerpts| excerpts.ring_bytes);
        let talk = match (&self.script, self.lanes.judge()) {
            (Some(script), _) => Some(talking::pair(script, call, &format, at, ring_bytes)),
            (None, Some(judge)) => self.bursts(judge, call, &format),
            (None, None) => None,
        };
        let class = if talk.is_some() { Class::Talk } else { Class::Call };
        let path = MediaPath { socket, to, latch, is_direct: false, keys, is_on_hold, tapes, talk };
        self.lanes.start_stream(call, class, format, path, counts_from);
    }

    /// None for a codec that a scenario of bursts does not name.
    fn bursts(&self, judge: &Judge, call: u32, format: &Format) -> Option<(Voice, Hears)> {
        let longest = self.book.rules().lost_after;
        let (player, hearer) = bursts::pair(judge.clone(), call, format, longest)?;
        Some((Voice::Bursts(player), Hears::Bursts(hearer)))
    }

    /// Does what a call's far end has changed in its media at `at`.
    pub fn change_call(&mut self, call: u32, format: Format, answer: &Answer, at: Stamp) {
        let Some(media) = self.calls.get_mut(&call) else { return };
        let is_on_hold = answer.on_hold().is_some();
        if !is_on_hold && std::mem::take(&mut media.begins_on_hold) {
            media.started_at = at;
        }
        let keys = answer.srtp.as_ref().map(|peer| peer.keys.clone());
        self.lanes.change_call(call, MediaChange { at, to: answer.rtp_address, is_on_hold, format, keys });
    }

    /// Takes a call's media from anywhere: its far end has known since `at` that it may move them.
    pub fn reopen_call(&self, call: u32, at: Stamp) {
        // At once: it may speak from elsewhere as soon as it has our description.
        if let Some(media) = self.calls.get(&call) {
            let _ = udp::disconnect(&media.socket);
        }
        self.lanes.reopen_call(call, at);
    }

    /// Takes an event of a lane's threads; returns what load control has to know of it.
    pub fn handle(&mut self, (lane, event): (usize, LaneEvent)) -> Result<Option<Input>, DriverError> {
        self.book.note(lane, &event);
        let environment = &mut self.book.run.environment;
        match event {
            LaneEvent::Died(thread) => return Err(DriverError::Died(thread)),
            LaneEvent::Second(second) | LaneEvent::Read(second) => self.book.add(&second),
            LaneEvent::Settled(second) => self.book.settle(&second),
            LaneEvent::Stopped { call_id, sent, spoken, at } => {
                if let Some(call) = self.calls.get_mut(&call_id) {
                    self.lanes.finish_call(call_id, sent.total, at);
                    (call.sent, call.spoken, call.stopped_at) = (sent, spoken, at);
                }
            }
            LaneEvent::Replied { reply, at } => self.book.turns.note(reply, at),
            LaneEvent::Judged(burst) => self.book.run.signals.push(burst),
            LaneEvent::Scored(passage) => self.book.run.quality.push(passage),
            LaneEvent::Audio { call, passage, wav } => self.keep_audio((call, passage), wav),
            LaneEvent::Dead { call_id, at } => return Ok(Some(Input::Dead { call: call_id, at })),
            LaneEvent::Finished { call_id, report, heard, listened } => {
                self.lanes.over(call_id);
                if let (0, Some(from)) = (call_id, heard.from) {
                    environment.observed.first_call.heard_from = from.to_string();
                }
                let Some(call) = self.calls.get_mut(&call_id) else { return Ok(None) };
                self.book.run.call_seconds.extend_from_slice(&report.medians);
                self.book.run.silences.extend_from_slice(&report.silences);
                self.book.add_to_target(call_id, &report.lateness);
                (call.report, call.heard, call.listened) = (Some(report), heard, listened);
                self.reported += 1;
                return Ok(Some(Input::MediaOver(call_id)));
            }
            LaneEvent::PacerDone { skipped, unsent, impaired } => {
                environment.skipped += skipped;
                environment.unsent += unsent;
                self.book.impaired[0] += impaired;
            }
            LaneEvent::ReceiverDone { negative_rtt, unstamped, impaired } => {
                environment.negative_rtt += negative_rtt;
                environment.unstamped += unstamped;
                self.book.impaired[1] += impaired;
            }
        }
        Ok(None)
    }

    /// Keeps the audio of a passage whose row is there.
    fn keep_audio(&mut self, name: (u32, u32), wav: Vec<u8>) {
        let rows = &mut self.book.run.quality;
        if let Some(row) = rows.iter_mut().rfind(|row| (row.call, row.number) == name) {
            row.audio = row.audio_name();
            self.worst.push((row.audio.clone(), wav));
        }
    }

    /// Enters the figures of a call's media into its record; says whether it had any.
    pub fn close_call(&mut self, epoch: Stamp, record: &mut CallRecord) -> bool {
        let Some(call) = self.calls.remove(&record.call) else { return false };
        if let Some(report) = &call.report {
            report.enter(&call.sent, record);
            call.heard.enter(record);
            record.last_echo_s = report.last_echo_at.map(|at| at.since(epoch).as_secs_f64());
            record.first_echo_ms = report.first_echo_at.map(|at| at.since(call.started_at).into());
        }
        record.strangers += call.strangers;
        if let (Some(script), Some(spoken), Some(listened)) = (&self.script, &call.spoken, &call.listened) {
            let (answered_at, ended_at) = (call.started_at, call.stopped_at);
            let ((spoken, said), (listened, heard)) = (&**spoken, &**listened);
            let (has_events, rings) = (call.has_events, [said.as_ref(), heard.as_ref()]);
            let talked = Talked { script, spoken, listened, answered_at, ended_at, has_events, rings };
            let rows = talked.rows(record.call, epoch);
            if let Some(Excerpts { collector, .. }) = &mut self.excerpts {
                let since = |at: Stamp| at.since(epoch).as_secs_f64();
                let window = self.window.bounds().map(|(from, to)| since(from)..since(to));
                let measured: Vec<_> =
                    rows.iter().filter(|row| row.is_within(window.as_ref())).cloned().collect();
                talked.show(record.call, &measured, |talk| collector.take(talk));
            }
            self.book.run.turns.extend(rows);
            self.book.talk.add(spoken, listened);
        }
        // Nothing that was sent is awaited; the call was heard if anything came.
        if let Some((listened, _)) = call.listened.as_deref() {
            (record.total_sent, record.total_received) = (call.sent.total, listened.counts.audio);
            (record.sent, record.received, record.lost) = (0, 0, 0);
            record.first_echo_ms = None;
        }
        true
    }

    /// Who spoke when in the excerpts of calls that talked, and audio with the names of its files.
    pub fn excerpts(&mut self) -> (Vec<TalkRow>, Vec<(String, Vec<u8>)>) {
        let (talk, mut audio) =
            self.excerpts.take().map(|excerpts| excerpts.collector.finish()).unwrap_or_default();
        audio.append(&mut self.worst);
        (talk, audio)
    }

    /// Ends the threads, and takes their last events.
    pub fn shut_down(&mut self) {
        self.lanes.shut_down();
        while let Some(event) = self.inbox.try_recv() {
            // `Died` is no fault now.
            let _ = self.handle(event);
        }
    }
}
