//! Load control and user agent together, as the driver joins them, under far ends that do anything at any time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use loadtest::load::{Agent, AgentOutput, Control, Count, Input, Output, Stop};
use loadtest::record::{Ending, Phase};
use loadtest::scenario::{Arrivals, Hangup, Load, Scenario, Stage};
use loadtest::sip::sdp::LocalMedia;
use loadtest::sip::{CallConfig, Message, Method, anywhere};
use loadtest::stamp::Stamp;
use loadtest::values::{Ramp, Rate, Span};

use super::far::{Ask, Reply, Sent, steps};
use super::signalling::config;

/// Requests that the far end remembers.
const REMEMBERED: usize = 64;
/// Timers run by one execution: what fewer than ten calls can need in some minutes, many times over.
const MOST_RUNS: u32 = 50_000;
/// Bound of a run in virtual time: ramp, setup, hold, drain and the longest wait for a BYE.
const LONGEST: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct Plan {
    calls: u8,
    ports: u8,
    rate: u8,
    duration_s: u8,
    call_duration_s: Option<u8>,
    hangup: u8,
    retry_s: u8,
    /// Interrupted at last, or played to the planned end.
    stop: u8,
}

#[derive(Debug)]
enum Step {
    Reply(Reply),
    /// Every INVITE without an answer is answered well.
    AnswerAll,
    Ask {
        call: u8,
        ask: Ask,
    },
    /// The media of a call has fallen silent.
    Dead(u8),
    /// A word of the media threads that nobody has asked for.
    MediaOver(u8),
    /// Media of calls that stop is over this much later from now on: tenths of a second.
    Slow(u8),
    Stop(u8),
    /// Time passes, and the timers are punctual: tenths of a second.
    Wait(u8),
    /// Nobody looks for a while: tenths of a second.
    Stall(u8),
}

impl Plan {
    fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let (calls, ports, rate, duration_s) = bytes.arbitrary()?;
        let (call_duration_s, hangup, retry_s, stop) = bytes.arbitrary()?;
        Ok(Plan { calls, ports, rate, duration_s, call_duration_s, hangup, retry_s, stop })
    }
}

impl Step {
    fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match bytes.int_in_range(0..=12)? {
            0..=2 => Step::Reply(Reply::any(bytes)?),
            3 | 4 => Step::AnswerAll,
            5 => Step::Ask { call: bytes.arbitrary()?, ask: Ask::any(bytes)? },
            6 => Step::Dead(bytes.arbitrary()?),
            7 => Step::MediaOver(bytes.arbitrary()?),
            8 => Step::Slow(bytes.arbitrary()?),
            9 => Step::Stop(bytes.arbitrary()?),
            10 => Step::Stall(bytes.arbitrary()?),
            _ => Step::Wait(bytes.arbitrary()?),
        })
    }
}

/// The owner of both, and what it knows.
struct World {
    control: Control,
    agent: Agent,
    now: Stamp,
    calls: u32,
    ports: BTreeSet<u16>,
    sent: Sent,
    requests: VecDeque<Message>,
    /// The INVITE of each call that has not been closed.
    open: BTreeMap<u32, (u16, Option<Message>)>,
    placed: u32,
    closed: BTreeMap<u32, Ending>,
    /// Calls whose media is to be over at that time.
    stopping: Vec<(Stamp, u32)>,
    media_takes: Duration,
    counts: HashMap<Count, u64>,
    window: Option<(Stamp, Stamp)>,
    phase: Phase,
    stages: usize,
    runs: u32,
}

/// Every call placed is closed once and under one ending, counts agree with records, ports come back, no
/// more calls are up than wanted, and the run comes to an end.
pub fn load(input: &[u8]) {
    let mut bytes = Unstructured::new(input);
    let Ok(plan) = Plan::any(&mut bytes) else { return };
    let mut world = World::new(&plan);
    world.settle();
    for step in steps(bytes, 128, Step::any) {
        world.play(step);
    }
    if let Some(stop) = [None, Some(Stop::Early), Some(Stop::Soon)][usize::from(plan.stop % 3)] {
        world.handle(Input::Stop(stop));
    }
    // However long the steps took.
    let begin = world.now;
    while !world.control.is_over() {
        let next = world.next().expect("a run that is not over waits for something");
        world.pass(next);
        assert!(world.now.since(begin) <= LONGEST, "it never ends");
    }
    world.assert_counted();
}

impl World {
    fn new(plan: &Plan) -> Self {
        let calls = u32::from(plan.calls % 8) + 1;
        let seconds = |s: u8| Span(Duration::from_secs(s.into()));
        let mut scenario = Scenario {
            load: Load {
                calls,
                duration: seconds(plan.duration_s % 32 + 1),
                ramp: Ramp::At(Rate(f64::from(plan.rate % 64) + 0.5)),
                call_duration: plan.call_duration_s.map(|s| seconds(s % 16 + 1).into()),
                hangup: [Hangup::Caller, Hangup::Callee, Hangup::Both][usize::from(plan.hangup % 3)],
                retry_after: seconds(plan.retry_s % 4),
                ..Load::default()
            },
            ..Scenario::default()
        };
        if plan.rate >= 192 && scenario.load.call_duration.is_some() {
            let odd = plan.rate % 2 == 1;
            scenario.load.rate = Some(Rate(f64::from(plan.rate % 32) + 0.5));
            scenario.load.arrivals = if odd { Arrivals::Poisson } else { Arrivals::Even };
        }
        scenario.measure.warmup = seconds(plan.retry_s / 4 % 4);
        scenario.sip.setup_timeout = seconds(10);
        // Up, down and up again, by the same bytes.
        if plan.duration_s >= 192 && !scenario.is_open() {
            let counts = [calls, calls.div_ceil(3), calls.div_ceil(2)];
            let stage =
                |calls| Stage { calls: Some(calls), rate: None, ramp: None, hold: scenario.load.duration };
            scenario.stage = counts.map(stage).to_vec();
        }
        let epoch = Stamp::from_ns(1 << 60);
        World {
            control: Control::new(scenario, epoch),
            agent: Agent::new("tag".into()),
            now: epoch,
            calls,
            ports: (0..u16::from(plan.ports % 16)).map(|n| 40_000 + 2 * n).collect(),
            sent: Sent::default(),
            requests: VecDeque::new(),
            open: BTreeMap::new(),
            placed: 0,
            closed: BTreeMap::new(),
            stopping: Vec::new(),
            media_takes: Duration::from_millis(5),
            counts: HashMap::new(),
            window: None,
            phase: Phase::Ramp,
            stages: 0,
            runs: 0,
        }
    }

    fn play(&mut self, step: Step) {
        let tenths = |n: u8| Duration::from_millis(100 * u64::from(n));
        match step {
            Step::Reply(reply) => {
                let message = reply.to(self.requests.make_contiguous());
                self.hear(message);
            }
            Step::AnswerAll => {
                for n in 0..self.requests.len() {
                    let message = Reply::ok(&self.requests[n]);
                    self.hear(message);
                }
            }
            Step::Ask { call, ask } => {
                let invites: Vec<_> = self.open.values().filter_map(|(_, invite)| invite.as_ref()).collect();
                let message = invites.get(usize::from(call) % invites.len().max(1)).and_then(|i| ask.of(i));
                self.hear(message);
            }
            Step::Dead(call) => self.handle(Input::Dead { call: call.into(), at: self.now }),
            // The media threads say it once of a call that was to stop.
            Step::MediaOver(call) if self.stopping.iter().all(|(_, c)| *c != u32::from(call)) => {
                self.handle(Input::MediaOver(call.into()));
            }
            Step::MediaOver(_) => {}
            Step::Slow(n) => self.media_takes = tenths(n),
            Step::Stop(n) => {
                self.handle(Input::Stop([Stop::No, Stop::Early, Stop::Soon][usize::from(n % 3)]))
            }
            Step::Wait(n) => self.pass(self.now + tenths(n)),
            Step::Stall(n) => self.now += tenths(n),
        }
    }

    fn hear(&mut self, message: Option<Message>) {
        if let Some(message) = message {
            self.agent.handle_message(
                self.now,
                &message,
                "192.0.2.1:5060".parse().expect("it is one"),
                &anywhere,
            );
            self.settle();
        }
    }

    fn handle(&mut self, input: Input) {
        self.control.handle(self.now, input);
        self.settle();
    }

    fn next(&self) -> Option<Stamp> {
        let media = self.stopping.iter().map(|(at, _)| *at).min();
        [self.control.poll_timeout(), self.agent.poll_timeout(), media].into_iter().flatten().min()
    }

    /// Time passes until `until`, and everything that is due is done.
    fn pass(&mut self, until: Stamp) {
        while let Some(at) = self.next().filter(|at| *at <= until && !self.control.is_over()) {
            self.runs += 1;
            assert!(self.runs <= MOST_RUNS, "timers are due again and again");
            self.now = self.now.max(at);
            self.control.handle_timeout(self.now);
            self.agent.handle_timeout(self.now);
            self.settle();
            let due = |(at, _): &(Stamp, u32)| *at <= self.now;
            if let Some(n) = self.stopping.iter().position(due) {
                let (_, call) = self.stopping.swap_remove(n);
                self.handle(Input::MediaOver(call));
            }
        }
        self.now = self.now.max(until);
    }

    /// Carries out what both want, as `driver::control` does.
    fn settle(&mut self) {
        for n in 0.. {
            assert!(n < 4000, "they never want nothing");
            if let Some(output) = self.control.poll() {
                self.obey(output);
                continue;
            }
            match self.agent.poll() {
                Some(AgentOutput::Send(datagram)) => self.send(&datagram.bytes),
                Some(AgentOutput::Signal(signal)) => self.control.handle(self.now, Input::Signal(signal)),
                None => break,
            }
        }
        let (phase, since) = self.control.phase();
        // Each stage begins anew.
        let stages = self.control.stages().len();
        let goes_on = phase >= self.phase || stages > self.stages;
        assert!(goes_on && since <= self.now, "{phase:?} follows {:?}", self.phase);
        (self.phase, self.stages) = (phase, stages);
        assert!(self.control.calls_up() <= self.calls, "{} up", self.control.calls_up());
        assert!((0.0..=1.0).contains(&self.control.done(self.now)));
        assert_eq!(self.control.placed(), self.placed);
    }

    fn send(&mut self, bytes: &[u8]) {
        let Some(message) = self.sent.read(bytes) else { return };
        if *message.method() == Method::Invite && message.is_request() {
            let number = message.call_id().parse().expect("ours is a number");
            if let Some((_, invite)) = self.open.get_mut(&number) {
                invite.get_or_insert_with(|| message.clone());
            }
        }
        if message.is_request() {
            if self.requests.len() == REMEMBERED {
                self.requests.pop_front();
            }
            self.requests.push_back(message);
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Open(slot) => {
                // A stage with more calls than the one before names new lines.
                assert!(slot.line < 3 * self.calls, "line {} of {}", slot.line, self.calls);
                assert!(slot.intended_at <= self.now, "{slot:?} at {:?}", self.now);
                let answer = match self.ports.pop_first() {
                    Some(port) => Input::Opened { slot, port },
                    None => Input::Suppressed(slot),
                };
                self.control.handle(self.now, answer);
            }
            Output::Invite { call, port, .. } => {
                assert_eq!(call, self.placed, "numbers come without gaps");
                self.placed += 1;
                self.open.insert(call, (port, None));
                self.agent.place(self.now, call, call_config(call, port));
            }
            Output::HangUp(call) => self.agent.hang_up(self.now, call),
            Output::StopMedia(call) => {
                assert!(self.stopping.iter().all(|(_, other)| *other != call), "stopped twice");
                self.stopping.push((self.now + self.media_takes, call));
            }
            Output::Window { from, to } => {
                let is_next = self.window.is_none_or(|(_, before)| before <= from);
                assert!(is_next && self.now < from && from < to, "each fixed once, and ahead");
                self.window = Some((from, to));
            }
            Output::Count { what, .. } => *self.counts.entry(what).or_default() += 1,
            Output::Closed(record) => {
                let (port, _) =
                    self.open.remove(&record.call).expect("closed once, and only what was placed");
                assert_eq!(port, record.rtp_port);
                self.ports.insert(port);
                assert!(record.line < 3 * self.calls);
                self.closed.insert(record.call, record.ending);
            }
            Output::StartMedia { call, .. }
            | Output::ChangeMedia { call, .. }
            | Output::ReopenMedia { call, .. } => {
                assert!(self.open.contains_key(&call), "media of no call");
            }
            Output::Cut(_) => {}
        }
    }

    fn assert_counted(&self) {
        let count = |what| self.counts.get(&what).copied().unwrap_or_default();
        let endings = |of: fn(Ending) -> bool| self.closed.values().filter(|e| of(**e)).count() as u64;
        assert!(self.open.is_empty() && self.control.calls_up() == 0);
        assert_eq!(count(Count::Attempted), u64::from(self.placed));
        assert_eq!(self.closed.len(), self.placed as usize);
        let ended = count(Count::Ended) + count(Count::Dropped) + count(Count::MediaLost);
        assert_eq!(count(Count::Answered), ended, "each call that was up ends once");
        assert_eq!(count(Count::Answered), endings(Ending::was_answered), "{:?}", self.closed);
        assert_eq!(count(Count::MediaLost), endings(|e| e == Ending::MediaLost));
        let cancelled = endings(|e| e == Ending::Cancelled);
        assert_eq!(count(Count::Attempted), count(Count::Answered) + count(Count::Failed) + cancelled);
    }
}

fn call_config(call: u32, port: u16) -> CallConfig {
    let local: SocketAddr = "192.0.2.9:5070".parse().expect("it is one");
    let media = LocalMedia { rtp_port: port, session_id: call.into(), ip: local.ip(), ..config().media };
    CallConfig { call_id: call.to_string(), seed: call.into(), local, media, ..config() }
}
