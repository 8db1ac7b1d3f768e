//! The same measurement without SIP: isochronous streams to an echo, through the same media lane.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::book::Book;
use super::lane::{Lane, LaneConfig, LaneEvent};
use super::media::CallMedia;
use super::monitor::{Monitor, Watched};
use super::ports::RECEIVE_BUFFER;
use super::{DriverError, Stop};
use crate::clock::Timeline;
use crate::measure::{Class, Echo, Rules, Window};
use crate::net::udp::StampedSocket;
use crate::record::{CallRecord, Ending, Environment, Phase, Run};
use crate::rtp::Codec;
use crate::rtp::packet::StreamSender;
use crate::scenario::Impair;
use crate::scheduling::Scheduling;
use crate::stamp::Stamp;

const SECOND: Duration = Duration::from_secs(1);
/// From the last stream's start until the first packet that counts: every stream is under way by then.
const NOTICE: Duration = Duration::from_millis(300);

/// What is sent where.
pub struct PingConfig {
    /// The environment as far as it is known beforehand.
    pub environment: Environment,
    /// The echo.
    pub target: SocketAddr,
    /// Streams side by side, spread over the interval.
    pub streams: u32,
    /// For how long.
    pub duration: Duration,
    /// Packet interval, which is also the packet time: 10 to 60 ms in steps of 10.
    pub interval: Duration,
    /// Playout depth behind which a packet is late.
    pub late_after: Duration,
    /// Time after which a packet is lost.
    pub lost_after: Duration,
    /// Names the run inside every probe.
    pub run_id: u32,
    /// How the media threads are scheduled, as found to be permitted.
    pub scheduling: Scheduling,
    /// Ends it early.
    pub stop: watch::Receiver<Stop>,
    /// Where each echo is told, as far as it has room.
    pub echoes: Option<mpsc::Sender<Echo>>,
}

/// Sends for as long as asked, waits for what is still out, and returns the records: one "call" for
/// each stream.
///
/// # Errors
/// When sockets or threads cannot be had.
pub async fn ping(mut config: PingConfig) -> Result<Run, DriverError> {
    let timeline = Timeline::start();
    let epoch = timeline.now();
    let rules = Rules {
        run_id: config.run_id,
        epoch,
        ptime: config.interval,
        late_after: config.late_after,
        lost_after: config.lost_after,
        shared_clock: config.target.ip().is_loopback(),
    };
    let window = Arc::new(Window::default());
    let impair = Impair::default();
    let scheduling = std::mem::take(&mut config.scheduling);
    let (streams, dead_after) = (config.streams, Duration::ZERO);
    let lane = LaneConfig { rules, spread: true, timeline, impair, scheduling, streams, dead_after };
    let (lane, mut inbox) =
        Lane::start(lane, window.clone(), config.echoes.take()).map_err(DriverError::Media)?;
    let environment = std::mem::take(&mut config.environment);
    let mut book = Book::new(rules, Monitor::start(watch::channel(Watched::default()).1, epoch), environment);
    let mut streams =
        start_streams(&config, &lane, epoch).map_err(|error| DriverError::Stream(config.target, error))?;
    let begin = timeline.now() + NOTICE;
    let mut end = begin + config.duration;
    window.set(begin, end);

    let mut next_second = epoch + SECOND;
    let mut stopping = false;
    while streams.iter().any(|s| s.report.is_none()) {
        let now = timeline.now();
        if next_second <= now {
            let phase = if stopping { Phase::Drain } else { Phase::Hold };
            next_second = book.tick(next_second, now, phase, config.streams);
        }
        if now >= end && !stopping {
            stopping = true;
            (0..config.streams).for_each(|n| lane.stop_call(n, end));
        }
        let wake = if stopping { next_second } else { next_second.min(end) };
        tokio::select! {
            Some(event) = inbox.recv() => enter(event, &mut streams, &lane, &mut book)?,
            () = tokio::time::sleep_until(timeline.tokio_deadline(wake)) => {}
            Ok(()) = config.stop.changed() => {
                // A little ahead, so that pacer and receiver agree on which packets lie before it.
                end = end.min(timeline.now() + NOTICE);
                window.cut(end);
            }
        }
    }
    let ended_at = timeline.now();
    drop(lane);
    while let Ok(event) = inbox.try_recv() {
        book.enter(event);
    }
    book.run.calls = (0..).zip(&streams).map(|(n, stream)| record(n, stream, epoch)).collect();
    book.run.environment.calls_at_start = config.streams;
    book.run.environment.clock_step_ns = timeline.step_ns();
    Ok(book.finish(ended_at, window.bounds()))
}

/// The record of stream number `n`.
fn record(n: u32, stream: &CallMedia, epoch: Stamp) -> CallRecord {
    let mut record = CallRecord { call: n, line: n, ..CallRecord::default() };
    record.ending = Ending::Completed;
    record.rtp_port = stream.socket.local_addr().map_or(0, |address| address.port());
    stream.enter(epoch, &mut record);
    record
}

fn start_streams(config: &PingConfig, lane: &Lane, counts_from: Stamp) -> io::Result<Vec<CallMedia>> {
    let codec = Codec::default();
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    (0..config.streams)
        .map(|n| {
            let socket = Arc::new(StampedSocket::bind(any, RECEIVE_BUFFER)?);
            socket.connect(config.target)?;
            let payload_type = codec.payload_type();
            let sender = StreamSender::new(config.run_id, n, n, codec, payload_type, config.interval);
            lane.start_stream(sender, Class::Call, socket.clone(), counts_from);
            Ok(CallMedia { started_at: counts_from, ..CallMedia::new(socket) })
        })
        .collect()
}

fn enter(
    event: LaneEvent,
    streams: &mut [CallMedia],
    lane: &Lane,
    book: &mut Book,
) -> Result<(), DriverError> {
    match event {
        LaneEvent::Died(thread) => return Err(DriverError::Died(thread)),
        LaneEvent::Stopped { call_id, sent, at } => {
            if let Some(stream) = streams.get_mut(call_id as usize) {
                lane.finish_call(call_id, sent.total, at);
                stream.sent = sent;
            }
        }
        LaneEvent::Finished { call_id, report } => {
            if let Some(stream) = streams.get_mut(call_id as usize) {
                stream.report = Some(report);
            }
        }
        other => book.enter(other),
    }
    Ok(())
}
