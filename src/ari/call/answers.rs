//! Answers to a call's requests, and requests without one: progress, another attempt, or giving up.

use super::{AriCall, GONE_LIMIT};
use crate::ari::exchange::{AriOutput, Note};
use crate::ari::outcome::ServiceOutcome;
use crate::ari::request::{Meaning, Operation, meaning};
use crate::ari::steps::{MAX_ATTEMPTS, OperationStep, Presence, Timer};
use crate::ari::{MediaPeer, MediaPlace};
use crate::stamp::Stamp;

impl AriCall {
    pub(super) fn on_answer(
        &mut self,
        now: Stamp,
        operation: Operation,
        status: u16,
        media: Option<MediaPeer>,
    ) {
        if !self.steps.is(operation, OperationStep::InFlight) {
            return;
        }
        if self.was_added(operation) {
            return self.steps.set(operation, OperationStep::Done);
        }
        match meaning(operation, status) {
            Meaning::Done => self.on_done(now, operation, media),
            Meaning::Gone => self.on_gone(now, operation, status),
            Meaning::Later => self.try_later(now, operation, Some(status)),
            Meaning::Refused => self.give_up(now, operation, Some(status)),
        }
    }

    pub(super) fn on_no_answer(&mut self, now: Stamp, operation: Operation, sent: bool) {
        if !self.steps.is(operation, OperationStep::InFlight) {
            return;
        }
        if self.was_added(operation) {
            self.steps.set(operation, OperationStep::Done);
        } else if sent && !operation.is_idempotent() {
            self.give_up(now, operation, None);
        } else {
            self.try_later(now, operation, None);
        }
    }

    /// True for the adding of both channels once the events say that they are in: the events
    /// are to be believed, whatever the answer is.
    fn was_added(&self, operation: Operation) -> bool {
        operation == Operation::AddChannels && self.record.bridged_at.is_some()
    }

    fn on_done(&mut self, now: Stamp, operation: Operation, media: Option<MediaPeer>) {
        self.steps.set(operation, OperationStep::Done);
        match operation {
            Operation::Answer => {
                self.record.answered_at = Some(now);
                self.outputs.push_back(AriOutput::Answered(now));
            }
            Operation::CreateBridge if self.bridge == Presence::Maybe => self.bridge = Presence::Here,
            Operation::CreateMedia => {
                if self.media == Presence::Maybe {
                    self.media = Presence::Here;
                }
                match self.peer(media) {
                    Some(peer) => self.outputs.push_back(AriOutput::ConnectMedia(peer)),
                    None => self.end(now, ServiceOutcome::NoMediaAddress),
                }
            }
            Operation::HangUp if self.caller == Presence::Here => {
                self.timers.insert(Timer::CallerGone, now + GONE_LIMIT);
            }
            Operation::DeleteMedia if self.media.may_exist() => {
                self.timers.insert(Timer::MediaGone, now + GONE_LIMIT);
            }
            Operation::DeleteBridge => self.bridge = Presence::Gone,
            _ => {}
        }
    }

    /// Asterisk's side of the media; `None` where its answer does not fit the way that was asked for.
    fn peer(&self, told: Option<MediaPeer>) -> Option<MediaPeer> {
        match (&self.target.as_ref()?.place, told) {
            (MediaPlace::AudioSocket(..), _) => Some(MediaPeer::Connects),
            (MediaPlace::Rtp(_), Some(peer @ MediaPeer::Rtp(_))) => Some(peer),
            (MediaPlace::WebSocket, Some(peer @ MediaPeer::WebSocket(_))) => Some(peer),
            (MediaPlace::Rtp(_) | MediaPlace::WebSocket, _) => None,
        }
    }

    fn on_gone(&mut self, now: Stamp, operation: Operation, status: u16) {
        self.steps.set(operation, OperationStep::Done);
        match operation {
            Operation::Answer => {
                // 500 can have other causes than a hang-up: then the caller is still to be hung up.
                if status != 500 {
                    self.caller = Presence::Gone;
                }
                self.end(now, ServiceOutcome::CallerGone);
            }
            Operation::AddChannels => {
                self.end(now, ServiceOutcome::Refused { operation, status: Some(status) })
            }
            Operation::HangUp => {
                self.caller = Presence::Gone;
                // Asterisk refused because the caller had hung up; its StasisEnd is on the way.
                if let Some(ServiceOutcome::Refused { operation: Operation::AddChannels, .. }) = self.outcome
                {
                    self.outcome = Some(ServiceOutcome::CallerGone);
                }
            }
            // Its StasisStart and the deletion crossed: ask once more, 404 then means gone.
            Operation::DeleteMedia if self.media_in_app => {
                self.media_in_app = false;
                self.steps.rearm(operation);
            }
            Operation::DeleteMedia => self.media = Presence::Gone,
            Operation::DeleteBridge => self.bridge = Presence::Gone,
            Operation::CreateBridge | Operation::CreateMedia => {}
        }
    }

    fn try_later(&mut self, now: Stamp, operation: Operation, status: Option<u16>) {
        let attempts = self.steps.attempts(operation);
        let pointless = self.outcome.is_some() && !operation.deletes();
        if attempts >= MAX_ATTEMPTS || pointless {
            return self.give_up(now, operation, status);
        }
        let after = self.jitter.pause(attempts);
        self.steps.set(operation, OperationStep::Waiting(now + after));
        self.outputs.push_back(AriOutput::Note(Note::Retry { operation, status, after }));
    }

    fn give_up(&mut self, now: Stamp, operation: Operation, status: Option<u16>) {
        self.steps.set(operation, OperationStep::Failed);
        // Only a first attempt that was turned down leaves no doubt that nothing was created.
        let never = self.steps.attempts(operation) == 1 && status.is_some_and(|s| s < 500 && s != 409);
        match operation {
            Operation::CreateBridge if never && self.bridge == Presence::Maybe => {
                self.bridge = Presence::Never
            }
            Operation::CreateMedia if never && self.media == Presence::Maybe => self.media = Presence::Never,
            Operation::HangUp => self.caller = Presence::Left,
            Operation::DeleteMedia => self.media = Presence::Left,
            Operation::DeleteBridge => self.bridge = Presence::Left,
            _ => {}
        }
        if operation.deletes() {
            self.outputs.push_back(AriOutput::Note(Note::NotDeleted { operation, status }));
        } else {
            self.end(now, ServiceOutcome::Refused { operation, status });
        }
    }
}
