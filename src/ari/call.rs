//! One call's way from StasisStart to nothing held, as a state machine without input or output.
//!
//! The port is bound and the ids are chosen before the first request. Then, in parallel: answer the
//! caller, create the bridge, create the external media channel. When the answer is through, the
//! bridge is there and the media channel is in the application, both channels are added at once. The
//! call counts as bridged when both have entered: Asterisk says 204 to an adding that failed.
//!
//! However a call ends, everything that may exist is deleted: the media channel, then, when that is
//! gone, the bridge, then the port. [`AriCall::poll`] says what to do, [`AriCall::poll_timeout`] when to
//! come back; both after every [`AriCall::handle`].

mod answers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use strum::VariantArray as _;

use super::event::Event;
use super::exchange::{AriInput, AriOutput, Note};
use super::outcome::{LeftBehind, ServiceCall, ServiceOutcome};
use super::request::{AriRequest, HangUpReason, Operation};
use super::steps::{OperationStep, Presence, RetryJitter, Steps, Timer};
use super::{CallIds, MediaTarget};
use crate::stamp::Stamp;

/// A caller who has heard nothing for this long after StasisStart is hung up. Above the request
/// timeout, so that a slow Asterisk shows as slow before it shows as failed.
pub const SETUP_LIMIT: Duration = Duration::from_secs(10);
/// Time that a bridged call may be without one of its channels: moving one takes a moment.
pub const UNBRIDGED_LIMIT: Duration = Duration::from_secs(1);
/// Time after an accepted hang-up within which the channel's end is awaited; it took below 100 ms on a
/// loaded machine.
pub const GONE_LIMIT: Duration = Duration::from_secs(3);
/// The bound of a whole teardown; what is left then is reported as left behind.
pub const TEARDOWN_LIMIT: Duration = Duration::from_secs(30);

/// One call.
#[derive(Debug)]
pub struct AriCall {
    ids: CallIds,
    /// `None` for a caller that is turned away.
    target: Option<MediaTarget>,
    outputs: VecDeque<AriOutput>,
    steps: Steps,
    /// Expiry of each timer.
    timers: BTreeMap<Timer, Stamp>,
    caller: Presence,
    media: Presence,
    bridge: Presence,
    media_in_app: bool,
    caller_in_bridge: bool,
    media_in_bridge: bool,
    outcome: Option<ServiceOutcome>,
    finished: bool,
    record: ServiceCall,
    jitter: RetryJitter,
}

impl AriCall {
    /// A call whose caller has just entered the application, at `now`. The socket at `target.host`
    /// is bound already. `seed` spreads the retries of calls that fail together.
    pub fn new(now: Stamp, ids: CallIds, target: MediaTarget, seed: u64) -> Self {
        let mut call = AriCall::bare(now, ids, Some(target), seed);
        call.timers.insert(Timer::Setup, now + SETUP_LIMIT);
        for operation in [Operation::Answer, Operation::CreateBridge, Operation::CreateMedia] {
            call.ask(operation);
        }
        call
    }

    /// A caller that is turned away with congestion before it is answered.
    pub fn turn_away(now: Stamp, ids: CallIds, why: ServiceOutcome, seed: u64) -> Self {
        let mut call = AriCall::bare(now, ids, None, seed);
        call.end(now, why);
        call.advance(now);
        call
    }

    fn bare(now: Stamp, ids: CallIds, target: Option<MediaTarget>, seed: u64) -> Self {
        let record =
            ServiceCall { started_at: now, ended_at: now, released_at: now, ..ServiceCall::default() };
        AriCall {
            ids,
            target,
            outputs: VecDeque::new(),
            steps: Steps::default(),
            timers: BTreeMap::new(),
            caller: Presence::Here,
            media: Presence::Never,
            bridge: Presence::Never,
            media_in_app: false,
            caller_in_bridge: false,
            media_in_bridge: false,
            outcome: None,
            finished: false,
            record,
            jitter: RetryJitter::new(seed),
        }
    }

    /// The call's names in Asterisk.
    pub fn ids(&self) -> &CallIds {
        &self.ids
    }

    /// Time of the caller's StasisStart.
    pub fn started_at(&self) -> Stamp {
        self.record.started_at
    }

    /// Attempts at `operation` so far.
    pub fn attempts(&self, operation: Operation) -> u8 {
        self.steps.attempts(operation)
    }

    /// True while caller and media are in the bridge and the call is not ending.
    pub fn is_bridged(&self) -> bool {
        self.record.bridged_at.is_some() && self.outcome.is_none()
    }

    /// True while the media channel is known to exist.
    pub fn has_media(&self) -> bool {
        self.media == Presence::Here
    }

    /// True once the media channel's StasisStart was read, until its StasisEnd.
    pub fn has_media_in_app(&self) -> bool {
        self.media_in_app
    }

    /// True while the bridge is known to exist.
    pub fn has_bridge(&self) -> bool {
        self.bridge == Presence::Here
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<AriOutput> {
        self.outputs.pop_front()
    }

    /// Time of the next [`AriInput::Timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        self.timers.values().copied().chain(self.steps.next_wait()).min()
    }

    /// Takes one input in. Stamps may be a little out of order, as those of different sources are.
    pub fn handle(&mut self, now: Stamp, input: AriInput<'_>) {
        if self.finished {
            return;
        }
        match input {
            AriInput::Event(event) => self.on_event(now, event),
            AriInput::Answer { operation, status, media } => self.on_answer(now, operation, status, media),
            AriInput::NoAnswer { operation, sent } => self.on_no_answer(now, operation, sent),
            AriInput::HangUp => self.end(now, ServiceOutcome::Completed),
            AriInput::Shutdown => self.end(now, ServiceOutcome::Shutdown),
            AriInput::AsteriskRestarted => self.on_restart(now),
            AriInput::Timeout => {}
        }
        self.expire(now);
        self.advance(now);
    }

    fn on_event(&mut self, now: Stamp, event: &Event) {
        match event {
            Event::StasisStart { channel, .. } => self.on_start(now, channel),
            Event::StasisEnd { channel } if *channel == self.ids.media => {
                self.media_in_app = false;
                self.end(now, ServiceOutcome::MediaLost);
            }
            Event::ChannelDestroyed { channel } if *channel == self.ids.media => {
                self.media = Presence::Gone;
                self.media_in_app = false;
                self.timers.remove(&Timer::MediaGone);
                self.end(now, ServiceOutcome::MediaLost);
            }
            Event::StasisEnd { channel } | Event::ChannelDestroyed { channel }
                if *channel == self.ids.caller =>
            {
                self.on_caller_gone(now);
            }
            Event::ChannelEnteredBridge { bridge, channel } if *bridge == self.ids.bridge => {
                self.caller_in_bridge |= *channel == self.ids.caller;
                self.media_in_bridge |= *channel == self.ids.media;
            }
            Event::ChannelLeftBridge { bridge, channel } if *bridge == self.ids.bridge => {
                self.caller_in_bridge &= *channel != self.ids.caller;
                self.media_in_bridge &= *channel != self.ids.media;
            }
            Event::BridgeDestroyed { bridge } if *bridge == self.ids.bridge => {
                self.bridge = Presence::Gone;
                self.end(now, ServiceOutcome::BridgeLost);
            }
            _ => {}
        }
    }

    fn on_start(&mut self, now: Stamp, channel: &str) {
        if channel == self.ids.media {
            self.media_in_app = true;
            if self.record.media_ready_at.is_none() {
                self.record.media_ready_at = Some(now);
                self.outputs.push_back(AriOutput::MediaReady(now));
            }
            if matches!(self.media, Presence::Gone | Presence::Left) {
                // It has come to life after it was given up on: it is to be deleted once more.
                self.steps.rearm(Operation::DeleteMedia);
            }
            self.media = Presence::Here;
        } else if channel == self.ids.caller && self.caller == Presence::Gone {
            // The dialplan sent the caller in a second time, while its first call is being cleared.
            self.caller = Presence::Here;
            self.steps.rearm(Operation::HangUp);
        }
    }

    fn on_caller_gone(&mut self, now: Stamp) {
        self.caller = Presence::Gone;
        self.timers.remove(&Timer::CallerGone);
        let bridged = self.record.bridged_at.is_some();
        self.end(now, if bridged { ServiceOutcome::Completed } else { ServiceOutcome::CallerGone });
    }

    fn on_restart(&mut self, now: Stamp) {
        self.caller = Presence::Gone;
        // Creations under way may still succeed in the new one, and are deleted then.
        for thing in [&mut self.media, &mut self.bridge] {
            if *thing == Presence::Here {
                *thing = Presence::Gone;
            }
        }
        self.media_in_app = false;
        self.timers.remove(&Timer::CallerGone);
        self.timers.remove(&Timer::MediaGone);
        self.end(now, ServiceOutcome::AsteriskRestarted);
    }

    /// The call is over, for the first reason that is given.
    fn end(&mut self, now: Stamp, outcome: ServiceOutcome) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(outcome);
        self.record.ended_at = now;
        self.timers.remove(&Timer::Setup);
        self.timers.remove(&Timer::Unbridged);
        self.timers.insert(Timer::Teardown, now + TEARDOWN_LIMIT);
        self.steps.give_up_waiting();
    }

    /// True if the timer has run out; it is cleared then.
    fn is_due(&mut self, timer: Timer, now: Stamp) -> bool {
        let is_due = self.timers.get(&timer).is_some_and(|at| *at <= now);
        if is_due {
            self.timers.remove(&timer);
        }
        is_due
    }

    fn expire(&mut self, now: Stamp) {
        for &operation in Operation::VARIANTS {
            if matches!(self.steps.of(operation), OperationStep::Waiting(until) if until <= now) {
                self.record.retries += 1;
                self.ask(operation);
            }
        }
        if self.is_due(Timer::Setup, now) {
            self.end(now, ServiceOutcome::NotBridged);
        }
        if self.is_due(Timer::Unbridged, now) {
            self.end(now, ServiceOutcome::Unbridged);
        }
        if self.is_due(Timer::CallerGone, now) && self.caller == Presence::Here {
            self.caller = Presence::Left;
            self.outputs.push_back(AriOutput::Note(Note::EndNotHeard { operation: Operation::HangUp }));
        }
        if self.is_due(Timer::MediaGone, now) && self.media.may_exist() {
            self.media = Presence::Left;
            self.outputs.push_back(AriOutput::Note(Note::EndNotHeard { operation: Operation::DeleteMedia }));
        }
        if self.is_due(Timer::Teardown, now) {
            self.finish(now);
        }
    }

    /// Asks for whatever the state calls for now.
    fn advance(&mut self, now: Stamp) {
        if self.finished {
            return;
        }
        match self.outcome {
            None => self.advance_setup(now),
            Some(_) => self.advance_teardown(now),
        }
    }

    fn advance_setup(&mut self, now: Stamp) {
        use Operation::*;
        let ready =
            [Answer, CreateBridge, CreateMedia].iter().all(|op| self.steps.is(*op, OperationStep::Done));
        if ready && self.media_in_app && self.steps.is(AddChannels, OperationStep::Idle) {
            self.ask(AddChannels);
        }
        let both = self.caller_in_bridge && self.media_in_bridge;
        if self.record.bridged_at.is_none() {
            if both {
                self.record.bridged_at = Some(now);
                self.timers.remove(&Timer::Setup);
                self.outputs.push_back(AriOutput::Bridged(now));
            }
        } else if both {
            self.timers.remove(&Timer::Unbridged);
        } else {
            self.timers.entry(Timer::Unbridged).or_insert(now + UNBRIDGED_LIMIT);
        }
    }

    fn advance_teardown(&mut self, now: Stamp) {
        use Operation::*;
        if self.caller == Presence::Here && self.steps.is(HangUp, OperationStep::Idle) {
            self.ask(HangUp);
        }
        // A creation under way is waited for: deleting what is not there yet would leave it behind.
        let media_known =
            !self.steps.is(CreateMedia, OperationStep::InFlight) || self.media == Presence::Here;
        if self.media.may_exist() && media_known && self.steps.is(DeleteMedia, OperationStep::Idle) {
            self.ask(DeleteMedia);
        }
        let media_settled = media_known && !self.media.may_exist();
        let bridge_known = !self.steps.is(CreateBridge, OperationStep::InFlight);
        if media_settled
            && bridge_known
            && self.bridge.may_exist()
            && self.steps.is(DeleteBridge, OperationStep::Idle)
        {
            self.ask(DeleteBridge);
        }
        let settled = !self.caller.may_exist() && media_settled && !self.bridge.may_exist();
        if settled && !self.steps.any_under_way() {
            self.finish(now);
        }
    }

    fn finish(&mut self, now: Stamp) {
        let left = |presence: Presence| presence == Presence::Left || presence.may_exist();
        self.record.left_behind =
            LeftBehind { caller: left(self.caller), media: left(self.media), bridge: left(self.bridge) };
        self.record.released_at = now;
        self.record.outcome = self.outcome.unwrap_or(self.record.outcome);
        self.finished = true;
        self.timers.clear();
        self.steps = Steps::default();
        if self.target.is_some() {
            self.outputs.push_back(AriOutput::ReleasePort);
        }
        self.outputs.push_back(AriOutput::Ended(self.record.clone()));
    }

    fn ask(&mut self, operation: Operation) {
        let reason =
            if self.record.answered_at.is_some() { HangUpReason::Normal } else { HangUpReason::Congestion };
        let Some(request) = AriRequest::of(operation, &self.ids, self.target.as_ref(), reason) else {
            self.steps.set(operation, OperationStep::Failed);
            return;
        };
        match operation {
            Operation::CreateBridge => self.bridge = Presence::Maybe,
            Operation::CreateMedia => self.media = Presence::Maybe,
            _ => {}
        }
        self.steps.begin(operation);
        self.outputs.push_back(AriOutput::Request(request));
    }
}
