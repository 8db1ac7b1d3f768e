//! The media of all calls while they last: threads, window, streams, and the book of their figures.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::sync::mpsc::{Sender, UnboundedReceiver};
use tokio::sync::watch;

use super::DriverError;
use super::book::Book;
use super::lane::{Lane, LaneConfig, LaneEvent, MediaPath};
use super::monitor::{Monitor, Watched};
use super::tape::{StreamTapes, Tapes};
use crate::load::Input;
use crate::measure::{Class, ReceivedEcho, SourceLatch, Sources, StreamReport, StreamSent, Window};
use crate::net::udp::{self, buffer_for};
use crate::record::{CallRecord, Environment};
use crate::rtp::{Format, MediaSource};
use crate::stamp::Stamp;

/// Every stream has a socket of its own: two seconds of the shortest packet time.
pub(super) const RECEIVE_BUFFER: usize = buffer_for(2 * 100);

/// The media of a run.
pub(super) struct Media {
    pub lane: Lane,
    pub inbox: UnboundedReceiver<LaneEvent>,
    pub window: Arc<Window>,
    pub book: Book,
    /// By the number of the call.
    pub calls: HashMap<u32, CallMedia>,
    /// Where packets are recorded.
    pub tapes: Option<Tapes>,
}

/// The media of one call.
pub(super) struct CallMedia {
    pub socket: Arc<UdpSocket>,
    /// Time of the call's answer.
    pub started_at: Stamp,
    /// Datagrams of others that had come before that.
    pub strangers: u64,
    sent: StreamSent,
    /// Sources of its packets, once everything is back or lost.
    heard: Sources,
    /// Counts and times of what came back, once everything is back or lost.
    pub report: Option<Box<StreamReport>>,
}

impl CallMedia {
    /// Media that starts at `started_at`, if that is known.
    pub fn new(socket: Arc<UdpSocket>, started_at: Stamp) -> Self {
        let (sent, heard) = (StreamSent::default(), Sources::default());
        CallMedia { socket, started_at, strangers: 0, sent, heard, report: None }
    }
}

impl Media {
    /// Starts the threads. `environment` is the part of it that is known beforehand; `echoes` is told of each
    /// echo, as far as it has room.
    pub fn start(
        lane: LaneConfig,
        watched: watch::Receiver<Watched>,
        environment: Environment,
        echoes: Option<Sender<ReceivedEcho>>,
    ) -> Result<Media, DriverError> {
        let (rules, window) = (lane.rules, Arc::new(Window::default()));
        let (lane, inbox) = Lane::start(lane, window.clone(), echoes)
            .map_err(|error| DriverError::Start("start the media threads".into(), error))?;
        let book = Book::new(rules, Monitor::start(watched, rules.epoch), environment);
        Ok(Media { lane, inbox, window, book, calls: HashMap::new(), tapes: None })
    }

    /// Starts a stream of its own, without a call: from any port of `local` to `target`.
    pub fn start_stream(
        &self,
        number: u32,
        class: Class,
        format: Format,
        (local, target): (SocketAddr, SocketAddr),
        counts_from: Stamp,
    ) -> io::Result<Arc<UdpSocket>> {
        let socket = Arc::new(udp::bind_stamped(local, RECEIVE_BUFFER)?);
        socket.connect(target)?;
        let latch = SourceLatch::closed(socket.local_addr()?, target);
        let path = MediaPath { socket: socket.clone(), to: target, latch, tapes: StreamTapes::default() };
        self.lane.start_stream(number, class, format, path, counts_from);
        Ok(socket)
    }

    /// Starts a call's stream to `to`, which its far end names. The socket is open until the far end is heard; what
    /// had come before `at` is thrown away.
    pub fn start_call(
        &mut self,
        call: u32,
        format: Format,
        (rule, to): (MediaSource, SocketAddr),
        (at, counts_from): (Stamp, Stamp),
    ) {
        let Some(media) = self.calls.get_mut(&call) else { return };
        media.started_at = at;
        media.strangers = udp::flush(&media.socket, to);
        // It is bound. Without an address it would be silent, and counted so.
        let Ok(own) = media.socket.local_addr() else { return };
        let tapes = self.tapes.as_ref().map(|tapes| tapes.of_call(call, own)).unwrap_or_default();
        let path =
            MediaPath { socket: media.socket.clone(), to, latch: SourceLatch::new(rule, own, to), tapes };
        self.lane.start_stream(call, Class::Call, format, path, counts_from);
    }

    /// Takes an event of the media threads; returns what load control has to know of it.
    pub fn handle(&mut self, event: LaneEvent) -> Result<Option<Input>, DriverError> {
        let environment = &mut self.book.run.environment;
        match event {
            LaneEvent::Died(thread) => return Err(DriverError::Died(thread)),
            LaneEvent::Second(second) => self.book.add(&second),
            LaneEvent::Settled(second) => self.book.settle(&second),
            LaneEvent::Stopped { call_id, sent, at } => {
                if let Some(call) = self.calls.get_mut(&call_id) {
                    self.lane.finish_call(call_id, sent.total, at);
                    call.sent = sent;
                }
            }
            LaneEvent::Dead { call_id, at } => return Ok(Some(Input::Dead { call: call_id, at })),
            LaneEvent::Finished { call_id, report, heard } => {
                if let (0, Some(from)) = (call_id, heard.from) {
                    environment.observed.first_call.heard_from = from.to_string();
                }
                let Some(call) = self.calls.get_mut(&call_id) else { return Ok(None) };
                self.book.run.call_seconds.extend_from_slice(&report.medians);
                self.book.run.silences.extend_from_slice(&report.silences);
                (call.report, call.heard) = (Some(report), heard);
                return Ok(Some(Input::MediaOver(call_id)));
            }
            LaneEvent::PacerDone { skipped, unsent, impaired } => {
                environment.skipped += skipped;
                environment.unsent += unsent;
                self.book.impaired[0] = impaired;
            }
            LaneEvent::ReceiverDone { negative_rtt, unstamped, impaired } => {
                environment.negative_rtt += negative_rtt;
                environment.unstamped += unstamped;
                self.book.impaired[1] = impaired;
            }
        }
        Ok(None)
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
        true
    }

    /// Ends the threads, and takes their last events.
    pub fn shut_down(&mut self) {
        self.lane.shut_down();
        while let Ok(event) = self.inbox.try_recv() {
            // `Died` is no fault now.
            let _ = self.handle(event);
        }
    }
}
