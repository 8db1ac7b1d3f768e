//! Load control: lines that each hold one call after another, through ramp, hold and drain.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::agent::UserAgent;
use super::attempt::Attempt;
use super::book::Book;
use super::lane::{Lane, LaneConfig, LaneEvent};
use super::monitor::Monitor;
use super::ports::{RECEIVE_BUFFER, RtpPorts};
use super::{DriverConfig, DriverError, Progress, Recorded, Stop};
use crate::clock::Timeline;
use crate::echo::EchoServer;
use crate::measure::{Class, Rules, Window};
use crate::net::udp::StampedSocket;
use crate::record::{CallRecord, CallSecond, Ending, Phase, Silence};
use crate::rtp::packet::StreamSender;
use crate::scenario::schedule::{Spacing, ramp_duration};
use crate::scenario::{Phasing, Scenario, ServiceMode};
use crate::stamp::Stamp;

/// Time between fixing the measured window and its begin, so that all threads know it in time.
const NOTICE: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// What a line is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Line {
    /// Places its next call then.
    Waiting(Stamp),
    /// Has a call, in whatever state.
    Busy(u32),
    /// Places no more calls.
    Retired,
}

pub(super) struct Control<'a> {
    pub(super) config: DriverConfig<'a>,
    pub(super) agent: UserAgent,
    pub(super) lane: Lane,
    pub(super) ports: RtpPorts,
    pub(super) book: Book,
    pub(super) window: Arc<Window>,
    pub(super) timeline: Timeline,
    pub(super) epoch: Stamp,
    pub(super) phase: Phase,
    pub(super) phase_from: Stamp,
    pub(super) lines: Vec<Line>,
    /// Lines whose first attempt has been answered or has failed.
    pub(super) decided: Vec<bool>,
    pub(super) spacing: Spacing,
    /// Attempts by number, while they last.
    pub(super) attempts: BTreeMap<u32, Attempt>,
    /// When calls are to be hung up.
    pub(super) hangups: BTreeSet<(Stamp, u32)>,
    /// When a line no longer waits for the answer to its call's BYE.
    pub(super) patience: BTreeSet<(Stamp, u32)>,
    pub(super) records: Vec<CallRecord>,
    pub(super) call_seconds: Vec<CallSecond>,
    pub(super) silences: Vec<Silence>,
    pub(super) placed: u32,
    pub(super) failed: u32,
    pub(super) calls_at_start: u32,
    pub(super) suppressed: u64,
    pub(super) suppressed_because: String,
    /// The furthest that the wall clock has been set away from where it was.
    pub(super) clock_step_ns: i64,
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
    config: DriverConfig<'_>,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Recorded, DriverError> {
    let address = SocketAddr::new(config.scenario.sip.local, 0);
    let agent = UserAgent::bind(address, format!("{:08x}", config.run_id))
        .map_err(|source| DriverError::Sip { address, source })?;
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
    let book = Book::new(rules, Monitor::start(config.watched.clone(), epoch));
    let mut control = Control::new(config, agent, lane, book, window, timeline, epoch);
    let inbox = control.play(inbox, progress).await?;
    let recorded = control.close(inbox);
    let control_drops = control_echo.map_or(0, |echo| echo.stop().drops);
    Ok(Recorded { control_drops, ..recorded })
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

impl<'a> Control<'a> {
    fn new(
        config: DriverConfig<'a>,
        agent: UserAgent,
        lane: Lane,
        book: Book,
        window: Arc<Window>,
        timeline: Timeline,
        epoch: Stamp,
    ) -> Self {
        let scenario = config.scenario;
        let mut spacing = Spacing::new(scenario.load.ramp, epoch);
        let lines: Vec<_> = (0..scenario.load.calls).map(|_| Line::Waiting(spacing.take(epoch))).collect();
        Control {
            ports: RtpPorts::new(scenario.sip.local, scenario.media.ports),
            decided: vec![false; lines.len()],
            config,
            agent,
            lane,
            book,
            window,
            timeline,
            epoch,
            phase: Phase::Ramp,
            phase_from: epoch,
            lines,
            spacing,
            attempts: BTreeMap::new(),
            hangups: BTreeSet::new(),
            patience: BTreeSet::new(),
            records: Vec::new(),
            call_seconds: Vec::new(),
            silences: Vec::new(),
            placed: 0,
            failed: 0,
            calls_at_start: 0,
            suppressed: 0,
            suppressed_because: String::new(),
            clock_step_ns: 0,
        }
    }

    pub(super) fn scenario(&self) -> &'a Scenario {
        self.config.scenario
    }

    /// Runs until every line is retired and every call is over.
    async fn play(
        &mut self,
        mut inbox: UnboundedReceiver<LaneEvent>,
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<UnboundedReceiver<LaneEvent>, DriverError> {
        let mut stop = self.config.stop.clone();
        let mut next_second = self.epoch + SECOND;
        let mut next_progress = self.epoch;
        let mut stop_seen = Stop::No;
        loop {
            let now = self.now();
            self.handle_time(now);
            if next_second <= now {
                self.agent.step_ns = self.timeline.step_ns();
                self.clock_step_ns = largest(self.clock_step_ns, self.agent.step_ns);
                next_second = self.book.tick(next_second, now, self.phase, self.calls_up());
            }
            if next_progress <= now {
                progress(&self.progress(now));
                next_progress = now + Duration::from_millis(200);
            }
            if stop_seen == Stop::Now || self.is_over() {
                progress(&self.progress(now));
                return Ok(inbox);
            }
            let wake = self.next_deadline().min(next_second).min(next_progress);
            tokio::select! {
                () = self.agent.readable() => self.agent.receive(),
                Some(event) = inbox.recv() => match event {
                    LaneEvent::Died(thread) => return Err(DriverError::Died(thread)),
                    event => self.handle_media(event),
                },
                () = tokio::time::sleep_until(self.timeline.tokio_deadline(wake)) => {}
                Ok(()) = stop.changed() => {
                    stop_seen = *stop.borrow_and_update();
                    self.interrupt(stop_seen, self.now());
                }
            }
            self.handle_signalling();
        }
    }

    pub(super) fn now(&self) -> Stamp {
        self.timeline.now()
    }

    fn is_over(&self) -> bool {
        self.attempts.is_empty() && self.lines.iter().all(|line| *line == Line::Retired)
    }

    fn calls_up(&self) -> u32 {
        self.attempts.values().filter(|a| a.is_up()).count() as u32
    }

    fn next_deadline(&self) -> Stamp {
        let waiting = self.lines.iter().filter_map(|line| match line {
            Line::Waiting(at) => Some(*at),
            Line::Busy(_) | Line::Retired => None,
        });
        let first = |times: &BTreeSet<(Stamp, u32)>| times.first().map(|(at, _)| *at);
        waiting
            .chain(first(&self.hangups))
            .chain(first(&self.patience))
            .chain(self.agent.next_timeout())
            .chain([self.phase_end()])
            .min()
            .unwrap_or(self.epoch)
    }

    /// When the phase ends, as far as it depends on time alone.
    fn phase_end(&self) -> Stamp {
        match (self.phase, self.window.bounds()) {
            (Phase::Ramp, _) => {
                let load = &self.scenario().load;
                let slack = self.scenario().sip.setup_timeout.0 + SECOND;
                self.epoch + ramp_duration(load.ramp, load.calls) + slack
            }
            (Phase::Warmup, Some((from, _))) => from,
            (Phase::Hold, Some((_, to))) => to,
            _ => Stamp::from_ns(u64::MAX),
        }
    }

    /// Does what is due at `now`: phases, new calls, hangups, SIP timers.
    fn handle_time(&mut self, now: Stamp) {
        match self.phase {
            Phase::Ramp if now >= self.phase_end() || self.decided.iter().all(|d| *d) => self.end_ramp(now),
            Phase::Warmup if now >= self.phase_end() => {
                self.calls_at_start = self.calls_up();
                self.enter(Phase::Hold, now);
            }
            Phase::Hold if now >= self.phase_end() => self.drain(now, false),
            _ => {}
        }
        for line in 0..self.lines.len() {
            if matches!(self.lines[line], Line::Waiting(at) if at <= now) {
                self.place(line as u32, now);
            }
        }
        while let Some((_, number)) = self.hangups.first().copied().filter(|(at, _)| *at <= now) {
            self.hangups.pop_first();
            self.hang_up_due(number);
        }
        while let Some((_, number)) = self.patience.first().copied().filter(|(at, _)| *at <= now) {
            self.patience.pop_first();
            self.go_on(number, now);
        }
        self.agent.handle_timeouts(now);
        self.handle_signalling();
    }

    fn enter(&mut self, phase: Phase, now: Stamp) {
        (self.phase, self.phase_from) = (phase, now);
    }

    /// All lines have been decided, or have had their time: the hold phase can be fixed.
    fn end_ramp(&mut self, now: Stamp) {
        if self.calls_up() == 0 {
            // Nobody answers; holding nothing for minutes would tell no more.
            self.drain(now, false);
            return;
        }
        let from = now + self.scenario().measure.warmup.0.max(NOTICE);
        self.window.set(from, from + self.scenario().load.duration.0);
        self.config.hold_from.send_replace(Some(from));
        self.enter(Phase::Warmup, now);
    }

    /// No more calls. Those that are up end, spaced as they came; an attempt that is under way still
    /// gets its answer, for the schedule wanted it. At once, all end now.
    fn drain(&mut self, now: Stamp, at_once: bool) {
        self.enter(Phase::Drain, now);
        self.lines.iter_mut().filter(|l| matches!(l, Line::Waiting(_))).for_each(|l| *l = Line::Retired);
        self.hangups.clear();
        let mut spacing = Spacing::new(self.scenario().load.ramp, now);
        let numbers: Vec<u32> = self.attempts.keys().copied().collect();
        for number in numbers {
            let Some(attempt) = self.attempts.get(&number) else { continue };
            if attempt.is_up() && !at_once {
                self.hangups.insert((spacing.take(now), number));
            } else if attempt.is_up() {
                self.stop_media(number);
            } else if at_once {
                self.agent.hang_up(number, now);
            }
        }
    }

    /// Ends all calls: as at a planned end, at once but in order, or with a last word to each and no wait
    /// for an answer.
    fn interrupt(&mut self, stop: Stop, now: Stamp) {
        // A little ahead, so that pacer and receiver agree on which packets lie before it.
        self.window.cut(now + NOTICE);
        for attempt in self.attempts.values_mut().filter(|a| a.is_up() && !a.is_stopping) {
            attempt.record.ending = Ending::Interrupted;
            attempt.record.reason = "the run ended early".into();
        }
        self.drain(now, stop > Stop::Early);
        if stop == Stop::Now {
            let numbers: Vec<u32> = self.attempts.keys().copied().collect();
            numbers.into_iter().for_each(|number| self.agent.hang_up(number, now));
        }
    }

    fn progress(&self, now: Stamp) -> Progress<'_> {
        let (from, to) = (self.phase_from, self.phase_end());
        let done = match self.phase {
            Phase::Ramp => {
                self.decided.iter().filter(|d| **d).count() as f64 / self.decided.len().max(1) as f64
            }
            Phase::Warmup | Phase::Hold => {
                now.since(from).as_secs_f64() / to.since(from).as_secs_f64().max(1e-9)
            }
            Phase::Drain => 1.0 - self.attempts.len() as f64 / self.lines.len().max(1) as f64,
        };
        Progress {
            phase: self.phase,
            elapsed: now.since(self.epoch),
            in_phase: now.since(from),
            done: done.clamp(0.0, 1.0),
            calls_up: self.calls_up(),
            attempts: self.placed,
            failed: self.failed,
            calls: self.scenario().load.calls,
            recent: self.book.recent,
            live: &self.book.live,
        }
    }

    /// Ends the threads and closes the books.
    fn close(mut self, mut inbox: UnboundedReceiver<LaneEvent>) -> Recorded {
        let ended_at = self.now();
        self.lane.shut_down();
        let mut reports = Vec::new();
        while let Ok(event) = inbox.try_recv() {
            match event {
                // Only after an impatient end: these calls were not hung up in order.
                LaneEvent::Stopped { call_id, sent, .. } => {
                    if let Some(attempt) = self.attempts.get_mut(&call_id) {
                        attempt.stopped(sent);
                    }
                }
                LaneEvent::Finished { call_id, report } => reports.push((call_id, report)),
                other => self.book.enter(other),
            }
        }
        for (call_id, report) in reports {
            self.finished(call_id, &report);
        }
        let abandoned = std::mem::take(&mut self.attempts);
        self.records.extend(abandoned.into_values().map(Attempt::abandoned));
        self.records.sort_by_key(|r| r.call);
        self.call_seconds.sort_by_key(|s| (s.call, s.second));
        // Stable: a call's own are in their order.
        self.silences.sort_by_key(|s| s.call);
        let histograms = std::mem::take(&mut self.book.histograms).into_iter().collect();
        Recorded {
            epoch: self.epoch,
            ended_at,
            window: self.window.bounds(),
            calls_at_start: self.calls_at_start,
            suppressed: self.suppressed,
            suppressed_because: self.suppressed_because,
            impaired: self.book.impaired,
            negative_rtt: self.book.negative_rtt,
            unstamped: self.book.unstamped,
            skipped: self.book.skipped,
            unsent: self.book.unsent,
            control_drops: 0,
            seconds: self.book.finish(ended_at),
            calls: self.records,
            call_seconds: self.call_seconds,
            silences: self.silences,
            histograms,
            clock_step_ns: largest(self.clock_step_ns, self.timeline.step_ns()),
            heard: self.agent.heard,
            troubles: self.agent.troubles,
        }
    }
}
