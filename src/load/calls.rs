//! A call's life under load control: placed, answered, given media, stopped, hung up, closed.

use std::time::Duration;

use super::agent::CallSignal;
use super::attempt::Attempt;
use super::control::{CallDeadline, Control};
use super::lines::Slot;
use super::{Count, Output};
use crate::record::{CallRecord, Ending, Phase};
use crate::scenario::Hangup;
use crate::sip::call::CallEvent;
use crate::sip::sdp::Answer;
use crate::stamp::Stamp;

/// Length of a call that is answered only when the run is ending: too late to count, but long enough
/// to be heard.
const LAST_CALL: Duration = Duration::from_secs(1);
/// Grace beyond the planned end of a call that the far end may hang up: long enough that its BYE has come.
const FAR_END_FIRST: Duration = Duration::from_millis(250);
/// Grace where the far end is to hang up all calls: after it, the record says that it did not.
const FAR_END_LATE: Duration = Duration::from_secs(5);
/// A BYE may come this much before its planned end: both ends count from another moment.
const EARLY: Duration = Duration::from_millis(100);

/// Time until a line goes on to its next call although its BYE has no answer: the BYE has then been sent
/// three times (after 0, 0.5 and 1.5 s, RFC 3261 17.1.2.2).
const BYE_DEADLINE: Duration = Duration::from_secs(2);

/// Reason in the record of a call that the far end has hung up as planned.
const BY_FAR_END: &str = "by the far end, as planned";

impl Control {
    /// Places the call of a slot, now that it has a port.
    pub(super) fn place(&mut self, now: Stamp, slot: Slot, port: u16) {
        let call = self.shard.nth(self.placed);
        self.placed += 1;
        self.target(call).into_iter().for_each(|target| target.attempts += 1);
        let intended_s = slot.intended_at.since(self.epoch).as_secs_f64();
        let record =
            CallRecord { call, line: slot.line, rtp_port: port, intended_s, ..CallRecord::default() };
        self.attempts.insert(call, Attempt::new(record, slot));
        self.count(Count::Attempted, now);
        self.push(Output::Invite { call, line: slot.line, port });
    }

    pub(super) fn signalled(&mut self, now: Stamp, signal: &CallSignal) {
        let call = signal.call;
        let far_end_hangs_up = self.scenario.load.hangup != Hangup::Caller;
        let Some(attempt) = self.attempts.get_mut(call).filter(|a| !a.sip_over) else { return };
        attempt.times(signal);
        let line = attempt.record.line;
        let planned_end = attempt.length.filter(|_| far_end_hangs_up);
        match &signal.event {
            CallEvent::Provisional { .. } => return,
            CallEvent::Remark(remark) => {
                attempt.remark(remark, now);
                return;
            }
            CallEvent::MediaChanged { at, answer } => {
                attempt.refused_offer = None;
                attempt.hold(answer.on_hold().is_some(), *at);
                self.push(Output::ChangeMedia { call, at: *at, answer: answer.clone() });
                return;
            }
            CallEvent::MediaOffered { at } => {
                self.push(Output::ReopenMedia { call, at: *at });
                return;
            }
            CallEvent::Answered { .. } if attempt.answered_at.is_some() => return,
            CallEvent::Answered { at, answer } => self.answered(call, *at, answer),
            CallEvent::Failed { reason, at } => {
                self.change(call, |attempt| attempt.failed(reason, *at));
                self.failed += 1;
                self.target(call).into_iter().for_each(|target| target.failed += 1);
                self.count(Count::Failed, *at);
            }
            CallEvent::RemoteHangup { at, cause } => {
                let (is_planned, reason) = match planned_end {
                    Some(planned) if attempt.held(*at) + EARLY >= planned => (true, BY_FAR_END.into()),
                    _ => {
                        let reason = attempt.with_refused_offer(cause.clone().unwrap_or_default(), Some(*at));
                        (attempt.is_stopping, attempt.with_unheard(reason))
                    }
                };
                let (ending, count) = match is_planned {
                    true => (Ending::Completed, Count::Ended),
                    false => (Ending::RemoteHangup, Count::Dropped),
                };
                self.ended(call, *at, count, |attempt| attempt.ended(ending, reason, *at));
            }
            CallEvent::Expired { at, why } => {
                let reason = format!("the session ran out: {why}");
                self.ended(call, *at, Count::Dropped, |attempt| {
                    attempt.ended(Ending::SessionExpired, reason, *at);
                });
            }
            CallEvent::HungUp { at, code, .. } => {
                self.ended(call, *at, Count::Ended, |attempt| attempt.hung_up(*code, *at));
            }
            CallEvent::Cancelled { at } => {
                self.change(call, |attempt| attempt.ended(Ending::Cancelled, String::new(), *at));
            }
        }
        self.lines.decide(line);
        self.after_signalling(now, call);
    }

    /// A call that was up has ended. One that was given up has been counted then.
    fn ended(&mut self, call: u32, at: Stamp, count: Count, change: impl FnOnce(&mut Attempt)) {
        let was_given_up = self.attempts.get(call).is_some_and(Attempt::is_given_up);
        self.change(call, change);
        if !was_given_up {
            self.count(count, at);
        }
    }

    /// Changes an attempt, and with it the number of calls up.
    pub(super) fn change(&mut self, call: u32, change: impl FnOnce(&mut Attempt)) {
        let Some(attempt) = self.attempts.get_mut(call) else { return };
        let was_up = attempt.is_up();
        change(attempt);
        let is_up = attempt.is_up();
        self.calls_up = self.calls_up + u32::from(is_up) - u32::from(was_up);
        if let Some(target) = self.target(call) {
            target.calls_up = target.calls_up + u64::from(is_up) - u64::from(was_up);
        }
    }

    /// A call whose signalling is over stops its media; one that is over altogether is closed.
    fn after_signalling(&mut self, now: Stamp, call: u32) {
        let Some(attempt) = self.attempts.get(call) else { return };
        if attempt.sip_over && attempt.has_media {
            self.stop_media(call);
        } else if attempt.is_over() {
            self.close(now, call);
        }
    }

    /// The 200 is there: start the media.
    fn answered(&mut self, call: u32, at: Stamp, answer: &Answer) {
        self.change(call, |attempt| {
            attempt.answered(at);
            attempt.hold(answer.on_hold().is_some(), at);
        });
        self.answered += 1;
        self.target(call).into_iter().for_each(|target| target.answered += 1);
        self.push(Output::StartMedia { call, at, answer: answer.clone() });
        self.count(Count::Answered, at);
        let length = self.call_length(call);
        self.deadlines.set(CallDeadline::HangUp(call), length.map(|length| at + length));
    }

    /// Length of a call that is answered now; `None` is to the end of the run.
    fn call_length(&self, call: u32) -> Option<Duration> {
        let grace = match (self.phase, self.scenario.load.hangup) {
            (Phase::Drain, _) => return Some(LAST_CALL),
            (_, Hangup::Caller) => Duration::ZERO,
            (_, Hangup::Both) => FAR_END_FIRST,
            (_, Hangup::Callee) => FAR_END_LATE,
        };
        self.attempts.get(call)?.length.map(|length| length + grace)
    }

    /// A call has lasted as long as planned.
    pub(super) fn hang_up_due(&mut self, call: u32) {
        let is_overdue = self.scenario.load.hangup == Hangup::Callee && self.phase != Phase::Drain;
        let of_far_end = |a: &&mut Attempt| is_overdue && a.is_up() && !a.is_retired;
        if let Some(attempt) = self.attempts.get_mut(call).filter(of_far_end) {
            attempt.record.ending = Ending::HangupFailed;
            attempt.record.reason = "the far end did not hang up at the planned end".into();
        }
        self.stop_media(call);
    }

    /// Gives up a call whose far end has fallen silent: nobody stays on such a line. BYE goes out at once, and the line
    /// goes on to its next call; the packets are waited for as ever.
    pub(super) fn give_up(&mut self, call: u32, at: Stamp, reason: String) {
        let is_heard = |a: &&Attempt| a.is_up() && !a.is_stopping;
        if self.attempts.get(call).filter(is_heard).is_none() {
            return;
        }
        self.change(call, |attempt| attempt.give_up(reason, at));
        self.count(Count::MediaLost, at);
        self.stop_media(call);
        self.push(Output::HangUp(call));
        // The silence was pause enough.
        self.free_line(at, call);
    }

    /// The line goes on to its next call, although the present one is not over altogether.
    pub(super) fn free_line(&mut self, now: Stamp, call: u32) {
        let Some(line) = self.attempts.get(call).filter(|a| a.has_line).map(|a| a.record.line) else {
            return;
        };
        self.change(call, |attempt| attempt.has_line = false);
        self.lines.rest(line, now);
    }

    /// First step of a hangup: stop sending. BYE follows once everything is back, or lost.
    pub(super) fn stop_media(&mut self, call: u32) {
        if let Some(attempt) = self.attempts.get_mut(call).filter(|a| a.has_media && !a.is_stopping) {
            attempt.is_stopping = true;
            self.push(Output::StopMedia(call));
        }
    }

    /// Second step of a hangup: everything is back, or lost.
    pub(super) fn media_over(&mut self, now: Stamp, call: u32) {
        let Some(attempt) = self.attempts.get_mut(call).filter(|a| a.has_media) else { return };
        attempt.has_media = false;
        if attempt.is_over() {
            self.close(now, call);
        } else {
            self.push(Output::HangUp(call));
            self.deadlines.set(CallDeadline::ByeAnswer(call), Some(now + BYE_DEADLINE));
        }
    }

    /// Closes a call's record and frees its port and its line.
    fn close(&mut self, now: Stamp, call: u32) {
        let Some(attempt) = self.attempts.remove(call) else { return };
        self.deadlines.set(CallDeadline::HangUp(call), None);
        self.deadlines.set(CallDeadline::ByeAnswer(call), None);
        let as_planned = attempt.record.ending == Ending::Completed;
        let pause = if as_planned { Duration::ZERO } else { self.scenario.load.retry_after.0 };
        if attempt.has_line {
            self.lines.rest(attempt.record.line, now + pause);
        }
        self.push(Output::Closed(Box::new(attempt.record)));
    }
}
