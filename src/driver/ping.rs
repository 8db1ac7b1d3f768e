//! The same measurement without SIP: isochronous streams to an echo, through the same media lane.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::lane::LaneConfig;
use super::media::{CallMedia, Media};
use super::monitor::Watched;
use super::{DriverError, Stop};
use crate::clock::Timeline;
use crate::measure::{Class, ReceivedEcho, Rules, Share};
use crate::record::{CallRecord, Ending, Environment, Phase, Run};
use crate::rtp::probe::RunKey;
use crate::rtp::{Codec, Format};
use crate::scenario::Impair;
use crate::scheduling::Scheduling;
use crate::stamp::Stamp;
use crate::values::Lanes;

const SECOND: Duration = Duration::from_secs(1);
/// Events of the media threads taken at a time.
const EVENTS: usize = 256;
/// From the last stream's start until the first packet that counts: every stream is under way by then.
const NOTICE: Duration = Duration::from_millis(300);

/// Target, length and spacing of the streams.
pub struct PingConfig {
    /// The environment as far as it is known beforehand.
    pub environment: Environment,
    /// The echo.
    pub target: SocketAddr,
    /// Streams side by side, spread over the interval.
    pub streams: u32,
    /// Lanes that send and receive them.
    pub lanes: Lanes,
    /// Time for which they send.
    pub duration: Duration,
    /// Packet interval, which is also the packet time: 10 to 60 ms in steps of 10.
    pub interval: Duration,
    /// Playout depth behind which a packet is late.
    pub late_after: Duration,
    /// Time after which a packet is lost.
    pub lost_after: Duration,
    /// Names the run inside every probe.
    pub run_id: u32,
    /// Priority and CPUs of the media threads, as found to be permitted.
    pub scheduling: Scheduling,
    /// Ends it early.
    pub stop: watch::Receiver<Stop>,
    /// Told of each echo, as far as it has room.
    pub echoes: Option<mpsc::Sender<ReceivedEcho>>,
}

/// Sends for as long as asked, waits for what is still out, and returns the records: one "call" for
/// each stream.
///
/// # Errors
/// Sockets or threads that cannot be had.
pub async fn ping(mut config: PingConfig) -> Result<Run, DriverError> {
    let timeline = Timeline::start();
    let epoch = timeline.now();
    let rules = Rules {
        key: RunKey::new(config.run_id, rand::random()),
        epoch,
        ptime: config.interval,
        late_after: config.late_after,
        lost_after: config.lost_after,
        shared_clock: config.target.ip().is_loopback(),
    };
    let cpus = config.scheduling.usable(config.environment.cpus);
    let lane = LaneConfig {
        rules,
        spread: true,
        share: Share::default(),
        timeline,
        impair: Impair::default(),
        scheduling: config.scheduling,
        streams: config.streams,
        dead_after: Duration::ZERO,
        plays: None,
    };
    let lanes = config.lanes.count(cpus, config.streams);
    let nothing = watch::channel(Watched::default()).1;
    let mut media = Media::start((lanes, lane), nothing, config.environment, config.echoes)?;
    start_streams(&mut media, (config.streams, config.target), config.interval, epoch)?;
    let begin = timeline.now() + NOTICE;
    let mut end = begin + config.duration;
    media.window.set(begin, end);

    let mut next_second = epoch + SECOND;
    let mut stopping = false;
    let mut events = Vec::with_capacity(EVENTS);
    while media.reported < config.streams as usize {
        let now = timeline.now();
        if next_second <= now {
            let phase = if stopping { Phase::Drain } else { Phase::Hold };
            next_second = media.book.tick(next_second, now, phase, config.streams);
        }
        if now >= end && !stopping {
            stopping = true;
            (0..config.streams).for_each(|n| media.lanes.stop_call(n, end));
        }
        let wake = if stopping { next_second } else { next_second.min(end) };
        tokio::select! {
            // Nobody here waits for what load control would have to know.
            1.. = media.inbox.recv_many(&mut events, EVENTS) => {
                for event in events.drain(..) {
                    media.handle(event)?;
                }
            }
            () = tokio::time::sleep_until(timeline.tokio_deadline(wake)) => {}
            Ok(()) = config.stop.changed() => {
                // A little ahead, so that pacer and receiver agree on which packets lie before it.
                end = end.min(timeline.now() + NOTICE);
                media.window.cut(end);
            }
        }
    }
    let ended_at = timeline.now();
    media.shut_down();
    (0..config.streams).for_each(|n| enter(&mut media, epoch, n));
    let Media { mut book, window, lanes, .. } = media;
    book.run.environment.calls_at_start = config.streams;
    book.run.environment.clock_step_ns = timeline.step_ns();
    Ok(book.finish(ended_at, window.bounds(), lanes.dealt()))
}

/// Starts the streams, each from a port of its own.
fn start_streams(
    media: &mut Media,
    (streams, target): (u32, SocketAddr),
    interval: Duration,
    epoch: Stamp,
) -> Result<(), DriverError> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let way = (SocketAddr::new(any, 0), target);
    let format = Format::of(Codec::default(), interval);
    for n in 0..streams {
        let socket = media.start_stream(n, Class::Call, format, way, epoch);
        let socket = socket.map_err(|error| DriverError::Start(format!("send to {target}"), error))?;
        media.calls.insert(n, CallMedia::new(socket, epoch));
    }
    Ok(())
}

/// Enters the record of a stream that is over.
fn enter(media: &mut Media, epoch: Stamp, number: u32) {
    let ending = Ending::Completed;
    let mut record = CallRecord { call: number, line: number, ending, ..CallRecord::default() };
    let address = media.calls.get(&number).and_then(|stream| stream.socket.local_addr().ok());
    record.rtp_port = address.map_or(0, |address| address.port());
    media.close_call(epoch, &mut record);
    media.book.run.calls.push(record);
}
