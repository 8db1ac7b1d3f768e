//! A scripted far end for load control in virtual time: the answers of SIP and media, and their times.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{CallSignal, Control, Count, Input, Output, Stop};
use crate::record::{CallRecord, Phase};
use crate::scenario::{Load, Scenario};
use crate::shard::Shard;
use crate::sip::call::{CallEvent, FailReason, Times};
use crate::sip::sdp::{Answer, MediaDirection};
use crate::stamp::Stamp;
use crate::table;
use crate::values::Span;

pub(super) const S: Duration = Duration::from_secs(1);
pub(super) const MS: Duration = Duration::from_millis(1);
/// Longest time from INVITE to answer.
pub(super) const SETUP: Duration = Duration::from_secs(32);
/// Longest time that a BYE is repeated (timer F).
const TIMER_F: Duration = Duration::from_secs(32);

/// Behaviour of the far end in a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Script {
    /// Answers after this time; agrees to BYE at once.
    Answers(Duration),
    /// Answers with 486 after this time.
    Rejects(Duration),
    /// Never says anything.
    Silent,
    /// Answers after 100 ms, and sends BYE this much later.
    HangsUp(Duration),
    /// Answers after 100 ms; BYE gets no answer.
    IgnoresBye,
    /// Answers after 100 ms; media is not heard any more this much later, nor is anything of BYE.
    Dies(Duration),
}

/// One call at the far end.
struct FarCall {
    script: Script,
    times: Times,
    is_cancelled: bool,
    has_ended: bool,
}

pub(super) struct World {
    pub(super) control: Control,
    pub(super) now: Stamp,
    script: Box<dyn Fn(u32) -> Script>,
    /// Inputs on their way.
    coming: BTreeMap<(Stamp, u32), Input>,
    order: u32,
    calls: HashMap<u32, FarCall>,
    /// Ports that are free; without a port a call is suppressed.
    pub(super) ports: Vec<u16>,
    pub(super) placed_at: Vec<Stamp>,
    pub(super) records: Vec<CallRecord>,
    /// Phases and when each began.
    pub(super) phases: Vec<(Phase, Stamp)>,
    /// Measured windows, one a stage.
    pub(super) windows: Vec<(Stamp, Stamp)>,
    pub(super) counts: HashMap<Count, u32>,
    /// Calls that load control has wanted hung up or cancelled.
    pub(super) hung_up: Vec<(Stamp, u32)>,
    pub(super) most_up: u32,
    /// Inputs and timeouts so far, and the table entries that they touched.
    pub(super) events: u64,
    pub(super) touched: u64,
    pub(super) most_touched: u64,
}

pub(super) fn load(calls: u32, ramp: &str, duration: Duration) -> Load {
    Load { calls, ramp: ramp.parse().expect("a ramp"), duration: Span(duration), ..Load::default() }
}

impl World {
    pub(super) fn new(load: Load, script: impl Fn(u32) -> Script + 'static) -> Self {
        World::of(Scenario { load, ..Default::default() }, script)
    }

    pub(super) fn of(scenario: Scenario, script: impl Fn(u32) -> Script + 'static) -> Self {
        World::dealt(scenario, Shard::ONLY, script)
    }

    pub(super) fn dealt(
        mut scenario: Scenario,
        shard: Shard,
        script: impl Fn(u32) -> Script + 'static,
    ) -> Self {
        let calls = scenario.calls();
        let epoch = Stamp::ZERO + 1000 * S;
        (scenario.measure.warmup, scenario.sip.setup_timeout) = (Span(2 * S), Span(SETUP));
        let control = Control::dealt(scenario, shard, epoch);
        table::touched();
        World {
            control,
            now: epoch,
            script: Box::new(script),
            coming: BTreeMap::new(),
            order: 0,
            calls: HashMap::new(),
            ports: (0..2 * calls.min(30_000) as u16).collect(),
            placed_at: Vec::new(),
            records: Vec::new(),
            phases: Vec::new(),
            windows: Vec::new(),
            counts: HashMap::new(),
            hung_up: Vec::new(),
            most_up: 0,
            events: 0,
            touched: 0,
            most_touched: 0,
        }
    }

    /// The measured window of a load without stages.
    pub(super) fn window(&self) -> Option<(Stamp, Stamp)> {
        self.windows.first().copied()
    }

    /// Calls up when the first measured window began.
    pub(super) fn calls_at_start(&self) -> u32 {
        self.control.stages()[0].calls_at_start
    }

    /// Seconds since the start.
    pub(super) fn elapsed(&self, at: Stamp) -> f64 {
        at.since(self.control.epoch).as_secs_f64()
    }

    pub(super) fn counted(&self, what: Count) -> u32 {
        self.counts.get(&what).copied().unwrap_or_default()
    }

    /// Runs until `end`, or until the load is over.
    pub(super) fn run_until(&mut self, end: Stamp) {
        while !self.control.is_over() {
            let timer = self.control.poll_timeout();
            let input = self.coming.first_key_value().map(|((at, _), _)| *at);
            let next = [timer, input].into_iter().flatten().min().expect("load control waits for something");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if input == Some(next) {
                let (_, input) = self.coming.pop_first().expect("it is there");
                self.deliver(input);
            } else {
                self.control.handle_timeout(self.now);
                self.settle();
            }
        }
    }

    /// Runs until the load is over.
    pub(super) fn run(&mut self) {
        self.run_until(Stamp::from_ns(u64::MAX));
    }

    pub(super) fn stop(&mut self, level: Stop) {
        self.control.handle(self.now, Input::Stop(level));
        self.settle();
    }

    /// Hands an input over, unless the call has ended or was cancelled meanwhile.
    fn deliver(&mut self, mut input: Input) {
        if let Input::Signal(signal) = &mut input {
            let call = self.calls.get_mut(&signal.call).expect("it was placed");
            let is_cancel = matches!(signal.event, CallEvent::Cancelled { .. });
            if call.has_ended || (call.is_cancelled && !is_cancel) {
                return;
            }
            call.has_ended = signal.event.ends_call();
            match signal.event {
                CallEvent::Answered { at, .. } => call.times.answered_at = Some(at),
                CallEvent::HungUp { code: Some(_), at, .. } => call.times.bye_answered_at = Some(at),
                _ => {}
            }
            signal.times = call.times;
        }
        self.control.handle(self.now, input);
        self.settle();
    }

    /// Hands over an input that no far end and no media lane should give.
    pub(super) fn inject(&mut self, input: Input) {
        self.control.handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.control.poll() {
            self.obey(output);
        }
        let phase = self.control.phase();
        if self.phases.last() != Some(&phase) {
            self.phases.push(phase);
        }
        self.most_up = self.most_up.max(self.control.calls_up());
        let touched = table::touched();
        (self.events, self.touched) = (self.events + 1, self.touched + touched);
        self.most_touched = self.most_touched.max(touched);
        // Ends the test early that would otherwise walk for minutes.
        assert!(self.touched < 64 * (self.events + 10_000), "events walk over all entries");
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Open(slot) => {
                let answer = match self.ports.pop() {
                    Some(port) => Input::Opened { slot, port },
                    None => Input::Suppressed(slot),
                };
                self.control.handle(self.now, answer);
            }
            Output::Invite { call, .. } => {
                let next = self.control.shard.nth(self.placed_at.len() as u32);
                assert_eq!(call, next, "numbers come without gaps");
                self.placed_at.push(self.now);
                self.invited(call);
            }
            Output::HangUp(call) => self.bye(call),
            Output::StopMedia(call) => self.come(5 * MS, Input::MediaOver(call)),
            Output::Window { from, to } => {
                let is_next = self.windows.last().is_none_or(|(_, before)| *before <= from);
                assert!(is_next && from > self.now, "a window is fixed once, and ahead");
                self.windows.push((from, to));
            }
            Output::Cut(at) => self.windows.iter_mut().for_each(|(_, to)| *to = (*to).min(at)),
            Output::Count { what, .. } => *self.counts.entry(what).or_default() += 1,
            Output::Closed(record) => {
                self.ports.push(record.rtp_port);
                self.records.push(*record);
            }
            Output::StartMedia { call, .. } => {
                if let Script::Dies(after) = self.calls[&call].script {
                    let at = self.now + after;
                    self.come(after, Input::Dead { call, at });
                }
            }
            Output::ChangeMedia { .. } | Output::ReopenMedia { .. } => {}
        }
    }

    fn come(&mut self, after: Duration, input: Input) {
        self.order += 1;
        self.coming.insert((self.now + after, self.order), input);
    }

    fn signal(&mut self, call: u32, after: Duration, event: impl FnOnce(Stamp) -> CallEvent) {
        let event = event(self.now + after);
        self.come(
            after,
            Input::Signal(CallSignal { call, event, times: Times::default(), retransmissions: 0 }),
        );
    }

    fn invited(&mut self, call: u32) {
        let script = (self.script)(call);
        let times = Times { invite_sent_at: Some(self.now), ..Times::default() };
        self.calls.insert(call, FarCall { script, times, is_cancelled: false, has_ended: false });
        let answered = |at| CallEvent::Answered { at, answer: answer() };
        match script {
            Script::Answers(after) if after <= SETUP => self.signal(call, after, answered),
            Script::Answers(_) | Script::Silent => {
                self.signal(call, SETUP, |at| CallEvent::Failed { reason: FailReason::Timeout, at });
            }
            Script::Rejects(after) => {
                let reason = FailReason::Rejected { code: 486, reason: "Busy Here".into(), cause: None };
                self.signal(call, after, |at| CallEvent::Failed { reason, at });
            }
            Script::HangsUp(after) => {
                self.signal(call, 100 * MS, answered);
                self.signal(call, 100 * MS + after, |at| CallEvent::RemoteHangup { at, cause: None });
            }
            Script::IgnoresBye | Script::Dies(_) => self.signal(call, 100 * MS, answered),
        }
    }

    /// Hangs up as SIP does: CANCEL before the answer, BYE after.
    fn bye(&mut self, call: u32) {
        self.hung_up.push((self.now, call));
        let (now, state) = (self.now, self.calls.get_mut(&call).expect("it was placed"));
        if state.has_ended || state.is_cancelled || state.times.bye_sent_at.is_some() {
            return;
        }
        if state.times.answered_at.is_none() {
            state.is_cancelled = true;
            self.signal(call, 10 * MS, |at| CallEvent::Cancelled { at });
            return;
        }
        state.times.bye_sent_at = Some(now);
        let (after, code) = match state.script {
            Script::IgnoresBye | Script::Dies(_) => (TIMER_F, None),
            _ => (10 * MS, Some(200)),
        };
        self.signal(call, after, |at| CallEvent::HungUp { at, code });
    }
}

pub(super) fn answer() -> Answer {
    Answer {
        rtp_address: "192.0.2.1:11000".parse().expect("it is one"),
        payload_type: 0,
        direction: MediaDirection::SendRecv,
        ptime_ms: Some(20),
        event_type: None,
        comfort_type: None,
        srtp: None,
    }
}
