//! Load control's I/O: SIP socket, RTP ports, media lane, timers and books around [`load::Control`].

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::book::Book;
use super::lane::{Lane, LaneConfig, LaneEvent};
use super::media::CallMedia;
use super::monitor::Monitor;
use super::ports::{RECEIVE_BUFFER, RtpPorts};
use super::sip_socket::{SipSocket, SocketErrors};
use super::{DriverConfig, DriverError, Progress, Recorded, Stop};
use crate::clock::Timeline;
use crate::echo::EchoServer;
use crate::load::{self, Agent, AgentOutput, Count, Input, Output};
use crate::measure::{Class, Rules, Window};
use crate::net::udp::StampedSocket;
use crate::record::CallRecord;
use crate::rtp::packet::StreamSender;
use crate::scenario::{Phasing, ServiceMode};
use crate::sip::call::CallConfig;
use crate::sip::sdp::{Answer, Offer};
use crate::stamp::Stamp;

const SECOND: Duration = Duration::from_secs(1);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Events of the media threads taken at a time, so that no flood keeps SIP and timers waiting.
const MEDIA_BATCH: usize = 256;

/// Load control with its I/O.
struct LoadIo<'a> {
    config: DriverConfig<'a>,
    control: load::Control,
    agent: Agent,
    socket: SipSocket,
    lane: Lane,
    ports: RtpPorts,
    /// RTP sockets by port, until the call has its number.
    bound: HashMap<u16, Arc<StampedSocket>>,
    /// Media by the number of the attempt, while it lasts.
    media: HashMap<u32, CallMedia>,
    book: Book,
    window: Arc<Window>,
    timeline: Timeline,
    epoch: Stamp,
    suppressed_because: String,
    /// Nanoseconds by which the wall clock has been set since the start.
    step_ns: i64,
    /// The furthest that it has been set away from where it was.
    clock_step_ns: i64,
}

fn largest(a: i64, b: i64) -> i64 {
    if a.abs() >= b.abs() { a } else { b }
}

/// Places the calls, and returns when the last one is over.
///
/// `progress` is called a few times a second.
///
/// # Errors
/// When the SIP socket or the media threads cannot be had. Calls that fail are records, not errors.
pub async fn run(
    mut config: DriverConfig<'_>,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Recorded, DriverError> {
    let address = SocketAddr::new(config.scenario.sip.local, 0);
    let socket = SipSocket::bind(address).map_err(|error| DriverError::Sip(address, error))?;
    let timeline = Timeline::start();
    let epoch = timeline.now();
    let (measure, media) = (&config.scenario.measure, &config.scenario.media);
    let rules = Rules {
        run_id: config.run_id,
        epoch,
        ptime: media.ptime.0,
        late_after: measure.late_after.0,
        lost_after: measure.lost_after.0,
        shared_clock: measure.shared_clock.unwrap_or(
            config.scenario.service.mode == ServiceMode::Builtin || config.target.ip().is_loopback(),
        ),
    };
    let window = Arc::new(Window::default());
    let spread = media.phase == Phasing::Staggered;
    let lane = LaneConfig {
        rules,
        spread,
        timeline,
        impair: config.scenario.impair.clone(),
        scheduling: config.scheduling.clone(),
        streams: config.scenario.load.calls,
        dead_after: config.scenario.load.dead_after.0,
    };
    let (lane, inbox) = Lane::start(lane, window.clone(), None).map_err(DriverError::Media)?;
    let control_echo = start_control(&config, &lane, epoch).map_err(DriverError::Control)?;
    let environment = std::mem::take(&mut config.environment);
    let book = Book::new(rules, Monitor::start(config.watched.clone(), epoch), environment);
    let (ports, scenario) = (config.scenario.media.ports, config.scenario);
    let mut load_io = LoadIo {
        control: load::Control::new(scenario.clone(), epoch),
        agent: Agent::new(format!("{:08x}", config.run_id)),
        socket,
        ports: RtpPorts::new(scenario.sip.local, ports),
        config,
        lane,
        bound: HashMap::new(),
        media: HashMap::new(),
        book,
        window,
        timeline,
        epoch,
        suppressed_because: String::new(),
        step_ns: 0,
        clock_step_ns: 0,
    };
    let inbox = load_io.play(inbox, progress).await?;
    let mut recorded = load_io.close(inbox);
    recorded.run.environment.control_drops = control_echo.map_or(0, |echo| echo.stop().drops);
    Ok(recorded)
}

/// Starts the control stream: the same probes on the same schedule to a reflector beside the driver,
/// past Asterisk. What it feels, the machine did.
fn start_control(config: &DriverConfig<'_>, lane: &Lane, epoch: Stamp) -> io::Result<Option<EchoServer>> {
    let scenario = config.scenario;
    let streams = scenario.measure.control_streams.unwrap_or(scenario.load.calls.div_ceil(10).clamp(1, 10));
    if streams == 0 {
        return Ok(None);
    }
    let any = SocketAddr::new(scenario.sip.local, 0);
    let echo = EchoServer::start(any)?;
    for n in 0..streams {
        let socket = StampedSocket::bind(any, RECEIVE_BUFFER)?;
        socket.connect(echo.local_addr())?;
        let (id, codec) = (u32::MAX - n, scenario.media.codec);
        let (payload_type, ptime) = (codec.payload_type(), scenario.media.ptime.0);
        let sender = StreamSender::new(config.run_id, id, id, codec, payload_type, ptime);
        lane.start_stream(sender, Class::Control, Arc::new(socket), epoch);
    }
    Ok(Some(echo))
}

impl LoadIo<'_> {
    /// Runs until every line is retired and every call is over.
    async fn play(
        &mut self,
        mut inbox: UnboundedReceiver<LaneEvent>,
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<UnboundedReceiver<LaneEvent>, DriverError> {
        let mut stop = self.config.stop.clone();
        let mut stop_seen = Stop::No;
        let (mut next_second, mut next_progress) = (self.epoch + SECOND, self.epoch);
        let mut events = Vec::with_capacity(MEDIA_BATCH);
        loop {
            let now = self.now();
            self.control.handle_timeout(now);
            self.agent.handle_timeout(now);
            self.carry_out();
            if next_second <= now {
                self.step_ns = self.timeline.step_ns();
                self.clock_step_ns = largest(self.clock_step_ns, self.step_ns);
                let (phase, _) = self.control.phase();
                next_second = self.book.tick(next_second, now, phase, self.control.calls_up());
            }
            let is_over = stop_seen == Stop::Now || self.control.is_over();
            if next_progress <= now || is_over {
                progress(&self.progress(now));
                next_progress = now + PROGRESS_EVERY;
            }
            if is_over {
                return Ok(inbox);
            }
            let timers = [self.control.poll_timeout(), self.agent.poll_timeout()];
            let wake = timers.into_iter().flatten().fold(next_second.min(next_progress), Stamp::min);
            tokio::select! {
                () = self.socket.readable() => {
                    for (message, at, from) in self.socket.receive(self.step_ns) {
                        self.agent.handle_message(at, &message, from);
                        self.carry_out();
                    }
                }
                1.. = inbox.recv_many(&mut events, MEDIA_BATCH) => {
                    for event in events.drain(..) {
                        self.handle_media(event)?;
                        self.carry_out();
                    }
                }
                () = tokio::time::sleep_until(self.timeline.tokio_deadline(wake)) => {}
                Ok(()) = stop.changed() => {
                    stop_seen = *stop.borrow_and_update();
                    self.handle(Input::Stop(stop_seen));
                    self.carry_out();
                }
            }
        }
    }

    fn now(&self) -> Stamp {
        self.timeline.now()
    }

    fn handle(&mut self, input: Input) {
        self.control.handle(self.timeline.now(), input);
    }

    /// Carries out what load control and user agent want, until both want nothing more.
    fn carry_out(&mut self) {
        loop {
            if let Some(output) = self.control.poll() {
                self.obey(output);
                continue;
            }
            match self.agent.poll() {
                Some(AgentOutput::Send { destination, bytes }) => self.socket.send(&bytes, destination),
                Some(AgentOutput::Signal(signal)) => self.handle(Input::Signal(signal)),
                None => return,
            }
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Open(slot) => {
                let answer = self.open(slot);
                self.handle(answer);
            }
            Output::Invite { call, port } => {
                if let Some(socket) = self.bound.remove(&port) {
                    self.media.insert(call, CallMedia::new(socket));
                }
                let config = self.call_config(call, port);
                self.agent.place(self.now(), call, config);
            }
            Output::HangUp(call) => self.agent.hang_up(self.now(), call),
            Output::StartMedia { call, at, answer } => self.start_media(call, at, &answer),
            Output::MoveMedia { call, to } => {
                if let Some(media) = self.media.get(&call) {
                    // A peer that cannot be reached there is heard as loss.
                    let _ = media.socket.connect(to);
                }
            }
            Output::StopMedia(call) => self.lane.stop_call(call, self.now()),
            Output::Window { from, to } => {
                self.window.set(from, to);
                self.config.hold_from.send_replace(Some(from));
            }
            Output::Cut(at) => self.window.cut(at),
            Output::Count { what, at } => self.count(what, at),
            Output::Closed(record) => self.enter(*record),
        }
    }

    /// Binds the port of a call.
    fn open(&mut self, slot: load::Slot) -> Input {
        self.suppressed_because = match self.ports.bind() {
            Ok(Some((port, socket))) => {
                self.bound.insert(port, socket);
                return Input::Opened { slot, port };
            }
            Ok(None) => format!("no free port in {}", self.config.scenario.media.ports),
            Err(e) => format!("no RTP socket: {e}"),
        };
        Input::Suppressed(slot)
    }

    /// Names a call's dialog, and seeds its tags and branches.
    fn seed(&self, call: u32) -> u64 {
        u64::from(self.config.run_id) << 32 | u64::from(call)
    }

    fn call_id(&self, call: u32) -> String {
        format!("{:016x}@{}", self.seed(call), self.socket.local().ip())
    }

    fn call_config(&self, call: u32, port: u16) -> CallConfig {
        let (scenario, target, local) = (self.config.scenario, self.config.target, self.socket.local());
        let seed = self.seed(call);
        CallConfig {
            target: format!("sip:{}@{target}", scenario.sip.to),
            remote: target,
            local,
            caller: scenario.sip.from.clone(),
            call_id: self.call_id(call),
            from_tag: format!("{seed:016x}"),
            seed,
            credentials: self.config.credentials.clone(),
            offer: Offer {
                ip: local.ip(),
                rtp_port: port,
                codec: scenario.media.codec,
                ptime_ms: scenario.media.ptime.0.as_millis() as u32,
                session_id: seed,
            },
            setup_timeout: scenario.sip.setup_timeout.0,
        }
    }

    fn start_media(&mut self, call: u32, at: Stamp, answer: &Answer) {
        let Some(media) = self.media.get_mut(&call) else { return };
        media.started_at = at;
        // A peer that cannot be reached is heard as silence, and counted so.
        media.strangers = media.socket.connect_afresh(answer.rtp_address()).unwrap_or(0);
        let (run_id, payload_type) = (self.config.run_id, answer.payload_type);
        let (codec, ptime) = (self.config.scenario.media.codec, self.config.scenario.media.ptime.0);
        let ssrc = run_id.rotate_left(16) ^ call.wrapping_mul(0x9E37_79B9);
        let sender = StreamSender::new(run_id, call, ssrc, codec, payload_type, ptime);
        let counts_from = at + self.config.scenario.measure.warmup.0;
        self.lane.start_stream(sender, Class::Call, media.socket.clone(), counts_from);
    }

    fn count(&mut self, what: Count, at: Stamp) {
        let live = &mut self.book.live;
        match what {
            Count::Attempted | Count::Ended => {}
            Count::Answered => live.answered += 1,
            Count::Failed => live.failed += 1,
            Count::Dropped => live.dropped += 1,
            Count::MediaLost => (live.dropped, live.media_lost) = (live.dropped + 1, live.media_lost + 1),
            Count::Suppressed => live.suppressed += 1,
        }
        let second = self.book.at(at);
        match what {
            Count::Attempted => second.attempts += 1,
            Count::Answered => second.answered += 1,
            Count::Failed => second.failed += 1,
            Count::Ended | Count::Dropped | Count::MediaLost => second.ended += 1,
            Count::Suppressed => {}
        }
    }

    /// Enters the record of an attempt that is over, and frees its port.
    fn enter(&mut self, mut record: CallRecord) {
        record.call_id = self.call_id(record.call);
        if let Some(media) = self.media.remove(&record.call) {
            media.enter(self.epoch, &mut record);
            self.ports.give_back(record.rtp_port);
        }
        self.book.run.calls.push(record);
    }

    fn handle_media(&mut self, event: LaneEvent) -> Result<(), DriverError> {
        match event {
            LaneEvent::Died(thread) => return Err(DriverError::Died(thread)),
            LaneEvent::Stopped { call_id, sent, at } => {
                if let Some(media) = self.media.get_mut(&call_id) {
                    self.lane.finish_call(call_id, sent.total, at);
                    media.sent = sent;
                }
            }
            LaneEvent::Dead { call_id, at } => self.handle(Input::Dead { call: call_id, at }),
            LaneEvent::Finished { call_id, report } => {
                if let Some(media) = self.media.get_mut(&call_id) {
                    self.book.run.call_seconds.extend_from_slice(&report.medians);
                    self.book.run.silences.extend_from_slice(&report.silences);
                    media.report = Some(report);
                    self.handle(Input::MediaOver(call_id));
                }
            }
            other => self.book.enter(other),
        }
        Ok(())
    }

    fn progress(&self, now: Stamp) -> Progress<'_> {
        let (phase, since) = self.control.phase();
        Progress {
            phase,
            elapsed: now.since(self.epoch),
            in_phase: now.since(since),
            done: self.control.done(now),
            calls_up: self.control.calls_up(),
            attempts: self.control.placed(),
            failed: self.book.live.failed as u32,
            calls: self.config.scenario.load.calls,
            recent: self.book.recent,
            live: &self.book.live,
        }
    }

    /// Ends the threads and closes the books.
    fn close(mut self, mut inbox: UnboundedReceiver<LaneEvent>) -> Recorded {
        let ended_at = self.now();
        self.lane.shut_down();
        while let Ok(event) = inbox.try_recv() {
            // `Died` is no fault now.
            let _ = self.handle_media(event);
        }
        self.control.abandon();
        while let Some(output) = self.control.poll() {
            // Nobody is there any more to carry out the others.
            if let Output::Closed(record) = output {
                self.enter(*record);
            }
        }
        let environment = &mut self.book.run.environment;
        environment.calls_at_start = self.control.calls_at_start();
        environment.suppressed_attempts = self.book.live.suppressed;
        environment.clock_step_ns = largest(self.clock_step_ns, self.timeline.step_ns());
        let socket_errors = SocketErrors { strays: self.agent.strays(), ..self.socket.errors };
        environment.sip_drops = socket_errors.drops;
        environment.sip_garbage = socket_errors.garbage;
        environment.sip_strays = socket_errors.strays;
        Recorded {
            epoch: self.epoch,
            suppressed_because: self.suppressed_because,
            impaired: self.book.impaired,
            heard: self.agent.has_heard(),
            socket_errors,
            run: self.book.finish(ended_at, self.window.bounds()),
        }
    }
}
