//! A call's handling of responses: to INVITE (RFC 3261 13.2.2), and what BYE brings about (15.1.1).

use super::offers::reachable;
use super::pending::Purpose;
use super::{Call, CallEvent, CallRemark, CallState, Cancel, FailReason, Leg};
use crate::sip::Vet;
use crate::sip::message::{Message, Method};
use crate::sip::parse::phrase;
use crate::sip::sdp::SdpError;
use crate::stamp::Stamp;

/// The most further branches of a fork that get their ACK and BYE; Asterisk forks none.
const MAX_FORKED: usize = 8;
/// Repeats of a 2xx after its ACK from which on the ACK is thought to have been heard by nobody: on a way that loses one
/// packet in a hundred, two ACKs are lost once in ten thousand calls.
pub(super) const MOST_REPEATS: u32 = 2;

/// Repeats of a 2xx that are answered: in the 32 s in which it comes again there are eleven (RFC 3261 13.3.1.4). More
/// would have us send much to whom a few bytes name.
const MOST_ACKS: u32 = 16;

impl Call {
    pub(super) fn on_response(&mut self, now: Stamp, code: u16, response: &Message, vet: Vet<'_>) {
        // A response with a second Via is not for us (RFC 3261 8.1.3.3).
        let is_ours =
            response.vias().nth(1).is_none() && response.from_tag() == Some(self.config.from_tag.as_str());
        if !is_ours {
            return self.note_unmatched(response, "it has a second Via, or another From tag");
        }
        match response.method() {
            Method::Invite => self.on_invite_response(now, code, response, vet),
            _ => self.on_pending_response(now, code, response, vet),
        }
    }

    fn on_invite_response(&mut self, now: Stamp, code: u16, response: &Message, vet: Vet<'_>) {
        if let Some(at) = self.reinvites.iter().position(|reinvite| reinvite.matches(response)) {
            return self.on_reinvite_response(now, at, code, response, vet);
        }
        let Some(at) = self.invites.iter().position(|invite| invite.matches(response)) else {
            return self.note_unmatched(response, "it has another branch, or another CSeq");
        };
        let is_current = at + 1 == self.invites.len();
        match code {
            100..=199 if is_current => self.on_provisional(now, code, response, vet),
            200..=299 if is_current => self.on_success(now, response, vet),
            300..=699 => self.on_rejection(now, (at, code), response, vet),
            _ => {}
        }
    }

    /// Notes an answer that is discarded: it may be the reason why there is none.
    fn note_unmatched(&mut self, response: &Message, why: &str) {
        if self.state == CallState::Calling
            && *response.method() == Method::Invite
            && self.unreadable.is_none()
        {
            let code = response.status().unwrap_or_default();
            let why = format!("its {code} is not to our INVITE: {why}");
            self.event(CallEvent::Remark(CallRemark::Unmatched { why: why.clone() }));
            self.unreadable = Some(why);
        }
    }

    fn on_provisional(&mut self, now: Stamp, code: u16, response: &Message, vet: Vet<'_>) {
        if !self.invites.last_mut().is_some_and(|invite| invite.on_provisional()) {
            return;
        }
        self.times.trying_at.get_or_insert(now);
        if self.on_early(now, response, vet) {
            if code >= 180 {
                self.times.progress_at.get_or_insert(now);
            }
            self.event(CallEvent::Provisional { code, at: now });
        }
        self.send_cancel_if_allowed(now);
    }

    /// A 2xx: the first wins, the same again gets its ACK again, others get ACK and BYE.
    fn on_success(&mut self, now: Stamp, response: &Message, vet: Vet<'_>) {
        if !self.invites.last_mut().is_some_and(|invite| invite.on_success(now)) {
            return;
        }
        let tag = response.to_tag().unwrap_or_default();
        let mut legs = self.leg.iter_mut().chain(&mut self.forked);
        if let Some(leg) = legs.find(|leg| leg.dialog.remote_tag == tag) {
            leg.repeats += 1;
            if leg.repeats > MOST_ACKS {
                return;
            }
            self.retransmissions += 1;
            self.outputs.push_back(leg.ack.clone().into());
            self.note_repeat(tag);
        } else if self.leg.is_none() {
            self.on_first_success(now, response, vet);
        } else if self.forked.len() < MAX_FORKED {
            let leg = self.acknowledge(now, response, vet);
            self.send_bye(now, &leg.dialog, Purpose::ForkedBye, None);
            self.forked.push(leg);
        }
    }

    /// Notes that the 2xx of the call's own dialog has come again. Once more than a lost ACK explains, and where the ACK
    /// went elsewhere than the INVITE, nobody hears there.
    fn note_repeat(&mut self, tag: &str) {
        let leg = self.leg.as_ref().filter(|leg| leg.dialog.remote_tag == tag && leg.repeats == MOST_REPEATS);
        if let Some(dialog) = leg.map(|leg| leg.dialog.clone()) {
            self.note_unheard(Method::Ack, &dialog);
        }
    }

    fn on_first_success(&mut self, now: Stamp, response: &Message, vet: Vet<'_>) {
        self.times.answered_at = Some(now);
        self.setup_deadline = None;
        self.leg = Some(self.acknowledge(now, response, vet));
        self.state = CallState::Up;
        if !matches!(self.cancel, Cancel::NotWanted) {
            // The 200 crossed our CANCEL, or came before it could be sent.
            self.hang_up(now);
            return;
        }
        self.session.note_methods(response);
        self.session.agreed(now, response);
        // A bare answer confirms what its early dialog has described, and one that repeats what an UPDATE has moved since
        // changes nothing (RFC 3261 13.2.1).
        let tag = response.to_tag().unwrap_or_default();
        let described = self.described(response).filter(|_| !self.has_moved_early(tag));
        let answer = described.unwrap_or_else(|| self.early_answer(tag));
        match answer.and_then(|answer| reachable(answer, vet)) {
            Ok(answer) => {
                let said_ms = answer.ptime_ms;
                self.media = Some(answer.clone());
                self.event(CallEvent::Answered { at: now, answer });
                self.note_ptime(said_ms);
            }
            Err(error) => self.on_bad_answer(now, error),
        }
    }

    fn on_bad_answer(&mut self, now: Stamp, error: SdpError) {
        self.end(CallEvent::Failed { reason: FailReason::BadAnswer(error), at: now });
        self.hang_up(now);
    }

    /// Sends the ACK of a 2xx (RFC 3261 13.2.2.4) and returns the dialog that it makes.
    fn acknowledge(&mut self, now: Stamp, response: &Message, vet: Vet<'_>) -> Leg {
        let dialog = self.dialog_of(response, vet);
        let mut ack = self.in_dialog(&dialog, Method::Ack, response.cseq().number);
        // "The ACK MUST contain the same credentials as the INVITE."
        ack.credentials =
            self.invites.last().map(|invite| invite.request().credentials.clone()).unwrap_or_default();
        let ack = ack.datagram();
        self.outputs.push_back(ack.clone().into());
        Leg { dialog, ack, acknowledged_at: now, repeats: 0, is_heard: false }
    }

    /// A 3xx to 6xx to INVITE number `at`.
    fn on_rejection(&mut self, now: Stamp, (at, code): (usize, u16), response: &Message, vet: Vet<'_>) {
        let Some((ack, is_first)) = self.invites[at].on_rejection(now, response) else { return };
        if !is_first {
            self.retransmissions += 1;
        }
        self.outputs.push_back(ack.into());
        if !is_first || self.state != CallState::Calling {
            return;
        }
        let is_wanted = matches!(self.cancel, Cancel::NotWanted);
        match code {
            401 | 407 if is_wanted => {
                match self.authorizations.challenged(response, &mut self.invite_tries) {
                    Ok(()) => self.send_invite(now),
                    Err(error) => self.give_up_invite(now, FailReason::AuthFailed(error)),
                }
            }
            // RFC 4028 7.3: once more, with an interval that the far end takes.
            422 if is_wanted && self.session.raise(response) => self.send_invite(now),
            300..=399 if is_wanted => self.on_redirection(now, code, response, vet),
            _ => self.give_up_invite(now, self.rejected(code, response)),
        }
    }

    /// The reason of a rejection; where credentials have been sent, a 403 is the answer to them.
    pub(super) fn rejected(&self, code: u16, response: &Message) -> FailReason {
        let mut reason = phrase(response.reason_phrase());
        if let Some(told) = self.authorizations.told().filter(|_| code == 403) {
            reason = format!("{reason}; {told}");
        }
        FailReason::Rejected { code, reason, cause: response.cause().map(phrase) }
    }

    /// Our BYE has its final answer, or will get none. Even a 481 means that the dialog is gone.
    pub(super) fn bye_is_final(&mut self, now: Stamp, code: Option<u16>) {
        if self.state != CallState::HangingUp {
            return;
        }
        self.state = CallState::Over;
        self.times.bye_answered_at = code.map(|_| now);
        let event = match self.cancel {
            Cancel::NotWanted => CallEvent::HungUp { at: now, code },
            Cancel::Wanted | Cancel::Sent { .. } => CallEvent::Cancelled { at: now },
        };
        self.end(event);
    }
}
