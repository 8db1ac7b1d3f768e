//! Load control's I/O: SIP's wire, RTP ports, media lane, timers and books around [`load::Control`].

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::lookups::{Lookups, Received};
use super::media::{CallMedia, Media, RECEIVE_BUFFER};
use super::placing::{self, call_id};
use super::reach::Reach;
use super::tape::Taping;
use super::together::{self, Together};
use super::trace::Trace;
use super::wire::Wire;
use super::{DriverConfig, DriverError, Progress, Recorded, Stop, registering};
use crate::capture::number_of;
use crate::clock::{self, Timeline};
use crate::load::{self, Agent, AgentOutput, Input, Names, Output, Registrations};
use crate::measure::MOST_WINDOWS;
use crate::net::ports::{PortPool, TakeError};
use crate::net::udp;
use crate::record::{CallRecord, FirstCall};
use crate::rtp::Format;
use crate::rtp::srtp::Keys;
use crate::scenario::MOST_STAGES;
use crate::sip::sdp::Answer;
use crate::sip::{Heard, Message, Unreadable};
use crate::stamp::Stamp;

// Each stage has a window.
const _: () = assert!(MOST_STAGES <= MOST_WINDOWS);
const SECOND: Duration = Duration::from_secs(1);
/// Short, since a lane may keep a call's socket for a moment after its port was given back.
const RETRY_PORT_AFTER: Duration = SECOND;
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Longest wait, at the end of a run, for the final answers of INVITEs that were cancelled.
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);
/// Events of the media threads taken at a time, so that no flood keeps SIP and timers waiting.
const MEDIA_BATCH: usize = 256;

/// Load control with its I/O.
struct LoadIo<'a> {
    config: DriverConfig<'a>,
    control: load::Control,
    agent: Agent,
    /// Names of the calls to each target.
    names: Vec<Names>,
    /// Makes tags and branches of the calls.
    secret: [u8; 16],
    registrations: Option<Registrations>,
    wire: Wire,
    lookups: Lookups,
    /// Addresses that far ends may name.
    reach: Reach,
    /// Longest time that a message lay unread.
    sip_read_lag: Duration,
    media: Media,
    ports: PortPool,
    /// RTP sockets by port, until the call has its number.
    bound: HashMap<u16, Arc<UdpSocket>>,
    timeline: Timeline,
    epoch: Stamp,
    started_at: Stamp,
    suppressed_because: String,
    /// Time at which the last call was over.
    over_at: Option<Stamp>,
    /// The first call, for the diagnosis.
    trace: Trace,
    /// Messages and packets of calls that are kept.
    taping: Taping,
    /// Nanoseconds by which the wall clock has been set since the start.
    step_ns: i64,
    /// The furthest that it has been set away from where it was.
    clock_step_ns: i64,
}

/// Places the calls, and returns when the last one is over.
///
/// `progress` is called a few times a second.
///
/// # Errors
/// A SIP socket or media threads that cannot be had. Calls that fail are records, not errors.
pub async fn run(
    mut config: DriverConfig<'_>,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Recorded, DriverError> {
    let transport = config.wire.transport;
    let mut wire = placing::open_wire(&config).await?;
    let timeline = Timeline::start();
    // Strangers who ask with OPTIONS get this tag, which says nothing of the run's.
    let mut agent = Agent::new(format!("{:08x}", rand::random::<u32>()));
    let (names, local) = (placing::names(&config), wire.local(0));
    let mut registrations = registering::wanted(&config, &names, local, timeline.now());
    if let Some(all) = &mut registrations {
        let sip = (&mut wire, &mut agent);
        let is_done = |all: &Registrations, _: Stamp, stop: Stop| all.is_settled() || stop != Stop::No;
        registering::play(all, sip, &timeline, config.stop.clone(), is_done).await;
    }
    let (epoch, shard) = (together::begin(&mut config, &timeline).await?, config.shard());
    let lanes = placing::lanes(&config, epoch, timeline);
    let environment = std::mem::take(&mut config.environment);
    let mut media = Media::start(lanes, config.watched.clone(), environment, None)?;
    let (taping, tapes) = Taping::start(config.scenario, config.run_id, epoch, local);
    media.play(config.scenario, config.script.clone(), tapes, epoch);
    let mut reach = Reach::new(config.scenario.sip.local, config.targets.iter().map(SocketAddr::ip));
    if !transport.is_reliable() {
        reach.add(local);
    }
    let control_echo = media
        .start_control(config.scenario, shard, epoch, &mut reach)
        .map_err(|error| DriverError::Start("start the control stream".into(), error))?;
    let scenario = config.scenario;
    let first_call = call_id(config.run_id, shard.nth(0), local);
    let mut load_io = LoadIo {
        trace: Trace::new(first_call, epoch, transport),
        taping,
        control: load::Control::dealt(scenario.clone(), shard, epoch),
        agent,
        names,
        secret: rand::random(),
        registrations,
        wire,
        lookups: Lookups::new(scenario.sip.local),
        reach,
        sip_read_lag: Duration::ZERO,
        ports: PortPool::new(placing::ports(&config), RETRY_PORT_AFTER).even(),
        config,
        media,
        bound: HashMap::new(),
        timeline,
        epoch,
        started_at: epoch,
        suppressed_because: String::new(),
        over_at: None,
        step_ns: 0,
        clock_step_ns: 0,
    };
    load_io.started_at = together::wait_for(epoch, &load_io.config, &timeline).await?;
    load_io.play(progress).await?;
    load_io.leave().await;
    let mut recorded = load_io.close();
    recorded.run.environment.control_drops = control_echo.map_or(0, |echo| echo.stop().drops);
    Ok(recorded)
}

impl LoadIo<'_> {
    /// Runs until every line is retired and every call is over.
    async fn play(&mut self, progress: &mut dyn FnMut(&Progress<'_>)) -> Result<(), DriverError> {
        let mut stop = self.config.stop.clone();
        // It may have been wished while accounts registered: no call is placed any more.
        let mut stop_seen = *stop.borrow_and_update();
        if stop_seen != Stop::No {
            self.handle(Input::Stop(stop_seen));
        }
        let (mut next_second, mut next_progress) = (self.epoch + SECOND, self.epoch);
        let mut events = Vec::with_capacity(MEDIA_BATCH);
        loop {
            // Whatever comes, signals and timers have their turn.
            tokio::task::yield_now().await;
            let now = self.now();
            let read_until = self.read_sip(now);
            self.control.handle_timeout(read_until);
            self.agent.handle_timeout(read_until);
            self.registrations.iter_mut().for_each(|all| all.handle_timeout(read_until));
            self.carry_out();
            self.mend_wire(now);
            if next_second <= now {
                self.step_ns = self.timeline.step_ns();
                self.clock_step_ns = placing::largest(self.clock_step_ns, self.step_ns);
                let (phase, _) = self.control.phase();
                next_second = self.media.book.tick(next_second, now, phase, self.control.calls_up());
            }
            let is_over = stop_seen == Stop::Now || self.is_over(now);
            if next_progress <= now || is_over {
                self.media.book.live.targets = self.control.targets().to_vec();
                progress(&self.progress(now));
                next_progress = now + PROGRESS_EVERY;
            }
            if is_over {
                return Ok(());
            }
            let fresh = self.registrations.as_ref().and_then(Registrations::poll_timeout);
            let timers = [
                self.control.poll_timeout(),
                self.agent.poll_timeout(),
                fresh,
                self.wire.poll_timeout(),
                self.over_at.map(|at| at + CANCELLED_WITHIN),
            ];
            let wake = timers.into_iter().flatten().fold(next_second.min(next_progress), Stamp::min);
            tokio::select! {
                // It is read before the next timers.
                () = self.wire.readable() => {}
                () = self.lookups.answered() => {}
                1.. = self.media.inbox.recv_many(&mut events, MEDIA_BATCH) => {
                    for event in events.drain(..) {
                        if let Some(input) = self.media.handle(event)? {
                            self.handle(input);
                        }
                        self.carry_out();
                    }
                }
                () = tokio::time::sleep_until(self.timeline.tokio_deadline(wake)) => {}
                (stage, at) = Together::next_ramp(self.config.together.as_mut()) => {
                    self.handle(Input::RampOver { stage, at });
                    self.carry_out();
                }
                Ok(()) = stop.changed() => {
                    stop_seen = *stop.borrow_and_update();
                    self.handle(Input::Stop(stop_seen));
                    self.carry_out();
                }
            }
        }
    }

    /// True once every call is over. A cancelled one may be answered all the same, and is then to be hung up.
    fn is_over(&mut self, now: Stamp) -> bool {
        let over_at = self.control.is_over().then(|| *self.over_at.get_or_insert(now));
        over_at.is_some_and(|at| !self.agent.is_cancelling() || now >= at + CANCELLED_WITHIN)
    }

    /// Takes the registrations back, unless the run ends without waiting for anybody.
    async fn leave(&mut self) {
        let Some(all) = &mut self.registrations else { return };
        all.leave(self.timeline.now());
        let sip = (&mut self.wire, &mut self.agent);
        let is_done = |all: &Registrations, now: Stamp, stop: Stop| all.is_over(now) || stop == Stop::Now;
        registering::play(all, sip, &self.timeline, self.config.stop.clone(), is_done).await;
    }

    fn now(&self) -> Stamp {
        self.timeline.now()
    }

    /// Takes the SIP messages that are there at `now`; returns the time up to which none is left. No timer runs
    /// out beyond that: after a stall, an answer that had come in time would find its call given up.
    fn read_sip(&mut self, now: Stamp) -> Stamp {
        for received in self.lookups.take() {
            self.hear(&received);
        }
        let LoadIo { wire, taping, .. } = self;
        let mut tap = |at: Stamp, from: SocketAddr, bytes: &[u8]| taping.heard(at, from, bytes);
        let (messages, read_until) = wire.receive(now, self.step_ns, &mut tap);
        for (heard, at, from) in messages {
            self.sip_read_lag = self.sip_read_lag.max(now.since(at));
            match heard {
                Heard::Message(message) if self.is_of_registration(at, &message) => {}
                Heard::Message(message) => {
                    let received = Received { message, at, from };
                    // Nobody else has this run look up names.
                    let is_of_call = self.agent.hears(received.message.call_id());
                    let ready = if is_of_call { self.lookups.admit(received) } else { Some(received) };
                    ready.iter().for_each(|received| self.hear(received));
                }
                Heard::Unreadable(unreadable) => self.read_badly(at, from, &unreadable),
            }
            self.carry_out();
        }
        read_until
    }

    fn hear(&mut self, Received { message, at, from }: &Received) {
        self.trace.hear(*at, message);
        let call = number_of(self.config.run_id, message.call_id());
        if call.is_none() && self.config.targets.contains(from) {
            self.trace.hear_foreign(message);
        }
        let (target, _) = self.config.target_of(call.unwrap_or_default());
        self.agent.handle_message(*at, message, *from, &|to| self.reach.check(target, to));
        self.carry_out();
    }

    /// Takes an answer to a REGISTER; false for any other message.
    fn is_of_registration(&mut self, at: Stamp, message: &Message) -> bool {
        self.registrations.as_mut().is_some_and(|all| all.handle_message(at, message))
    }

    /// Takes what cannot be read: of a call, or where it does not say of which, from the target itself.
    fn read_badly(&mut self, at: Stamp, from: SocketAddr, unreadable: &Unreadable) {
        if self.registrations.as_mut().is_some_and(|all| all.handle_unreadable(unreadable)) {
            return;
        }
        let is_of_call = self.agent.handle_unreadable(at, unreadable);
        if is_of_call || (unreadable.call_id.is_none() && self.config.targets.contains(&from)) {
            self.trace.read_badly(unreadable);
        }
        self.wire.counts.garbage += u64::from(!is_of_call);
    }

    /// Sees to the wire's own timers, and tells calls and registrations of connections that have ended.
    fn mend_wire(&mut self, now: Stamp) {
        if self.wire.poll_timeout().is_some_and(|at| at <= now) {
            self.wire.handle_timeout(now);
        }
        while let Some(broken) = self.wire.poll_broken() {
            self.agent.handle_transport_error(now, &broken);
            self.registrations.iter_mut().for_each(|all| all.handle_transport_error(now, &broken));
            self.carry_out();
        }
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
                Some(AgentOutput::Send(datagram)) => {
                    self.taping.sent(self.now(), &datagram);
                    self.wire.send(self.timeline.now(), &datagram);
                }
                Some(AgentOutput::Signal(signal)) => {
                    self.trace.signal(&signal.event);
                    self.handle(Input::Signal(signal));
                }
                None => break,
            }
        }
        while let Some(datagram) = self.registrations.as_mut().and_then(Registrations::poll) {
            self.wire.send(self.timeline.now(), &datagram);
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Open(slot) => {
                let answer = self.open(slot);
                self.handle(answer);
            }
            Output::Invite { call, line, port } => {
                let media = &self.config.scenario.media;
                let keys = media.srtp.then(|| Keys::new(media.srtp_suite, rand::random()));
                if let Some(socket) = self.bound.remove(&port) {
                    let mut media = CallMedia::new(socket, Stamp::ZERO);
                    media.keys = keys.clone();
                    self.media.calls.insert(call, media);
                }
                let place = (&self.wire, port);
                let mut config =
                    placing::call_config(&self.config, &self.names, (call, line), place, &self.secret);
                self.taping.open(call, keys.as_ref());
                config.media.srtp = keys;
                self.agent.place(self.now(), call, config);
            }
            Output::HangUp(call) => self.agent.hang_up(self.now(), call),
            Output::StartMedia { call, at, answer } => self.start_media(call, at, &answer),
            // A peer that cannot be reached there is heard as loss.
            Output::ChangeMedia { call, at, answer } => {
                let format = self.format(&answer);
                self.media.change_call(call, format, &answer, at);
            }
            Output::ReopenMedia { call, at } => self.media.reopen_call(call, at),
            Output::StopMedia(call) => self.media.lanes.stop_call(call, self.now()),
            Output::Window { from, to } => {
                self.media.window.set(from, to);
                // Faults and gates count from the first.
                self.config.hold_from.send_if_modified(|at| at.is_none() && at.replace(from).is_none());
            }
            Output::Cut(at) => self.media.window.cut(at),
            Output::Count { what, at } => self.media.book.count(what, at),
            Output::Closed(record) => self.enter(*record),
        }
    }

    /// Binds the port of a call.
    fn open(&mut self, slot: load::Slot) -> Input {
        let scenario = self.config.scenario;
        let bind = |port| udp::bind_stamped(SocketAddr::new(scenario.sip.local, port), RECEIVE_BUFFER);
        self.suppressed_because = match self.ports.take(clock::now(), bind) {
            Ok((port, socket)) => {
                self.bound.insert(port, Arc::new(socket));
                self.reach.port(port, true);
                return Input::Opened { slot, port };
            }
            Err(TakeError::Exhausted { .. }) => format!("no free port in {}", scenario.media.ports),
            // One that another port would not cure: no descriptors, no such address.
            Err(TakeError::Bind { error, .. }) => format!("no RTP socket: {error}"),
        };
        Input::Suppressed(slot)
    }

    fn call_id(&self, call: u32) -> String {
        call_id(self.config.run_id, call, self.wire.local(0))
    }

    fn start_media(&mut self, call: u32, at: Stamp, answer: &Answer) {
        self.trace.answered(call, answer);
        let scenario = self.config.scenario;
        let (format, way) = (self.format(answer), (scenario.media.source, answer));
        self.media.start_call(call, format, way, (at, at + scenario.measure.warmup.0));
    }

    /// The format of our offer, under the numbers that the far end gives.
    fn format(&self, answer: &Answer) -> Format {
        let media = &self.config.scenario.media;
        let Answer { payload_type, event_type, comfort_type, .. } = *answer;
        Format { payload_type, event_type, comfort_type, ..Format::of(media.codec, media.ptime.0) }
    }

    /// Enters the record of an attempt that is over, and frees its port.
    fn enter(&mut self, mut record: CallRecord) {
        record.call_id = self.call_id(record.call);
        if self.media.close_call(self.epoch, &mut record) {
            // It rests behind all the others.
            self.ports.give_back(record.rtp_port);
            self.reach.port(record.rtp_port, false);
        }
        self.taping.close(&record);
        self.media.book.run.calls.push(record);
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
            failed: self.media.book.live.failed as u32,
            calls: self.config.shard().share(self.config.scenario.calls()),
            stage: self.control.stages().len(),
            settled: self.control.settled(),
            recent: self.media.book.recent,
            live: &self.media.book.live,
        }
    }

    /// Ends the threads and closes the books.
    fn close(mut self) -> Recorded {
        let ended_at = self.now();
        self.media.shut_down();
        self.control.abandon();
        while let Some(output) = self.control.poll() {
            // Nobody is there any more to carry out the others.
            if let Output::Closed(record) = output {
                self.enter(*record);
            }
        }
        let (talk, audio) = self.media.excerpts();
        let Media { mut book, window, lanes, .. } = self.media;
        book.run.talk = talk;
        let environment = &mut book.run.environment;
        let stages = self.control.stages();
        environment.calls_at_start = stages.first().map_or(0, |stage| stage.calls_at_start);
        if !self.config.scenario.stage.is_empty() {
            environment.stages = stages.to_vec();
        }
        environment.suppressed_attempts = book.live.suppressed.total();
        environment.suppressed = book.live.suppressed;
        environment.clock_step_ns = placing::largest(self.clock_step_ns, self.timeline.step_ns());
        environment.sip_read_lag_max_ms = self.sip_read_lag.as_secs_f64() * 1000.0;
        let heard_from = std::mem::take(&mut environment.observed.first_call.heard_from);
        environment.observed.first_call = FirstCall { heard_from, ..self.trace.first_call };
        environment.observed.unreadable = self.trace.unreadable;
        environment.observed.odd = self.trace.odd;
        let mut captured = self.taping.finish();
        environment.observed.ladders = std::mem::take(&mut captured.ladders);
        let counts = self.wire.counts;
        environment.sip_drops = counts.drops;
        environment.sip_garbage = counts.garbage;
        environment.sip_strays = self.agent.strays();
        let has_registered = self.registrations.as_ref().is_some_and(|all| all.record().registered > 0);
        environment.register = self.registrations.map(|all| all.record().clone());
        Recorded {
            epoch: self.epoch,
            started_at: self.started_at,
            suppressed_because: self.suppressed_because,
            impaired: book.impaired,
            talk: book.talk,
            captured,
            audio,
            heard: self.agent.has_heard() || has_registered || !environment.observed.unreadable.is_empty(),
            sip_passed_over: counts.passed_over,
            sip_unsent: counts.unsent,
            sip_reopened: counts.reopened,
            sip_broken: self.wire.first_broken(),
            sip_other_transport: self.trace.other_transport,
            run: book.finish(ended_at, window.bounds(), lanes.dealt()),
        }
    }
}
