//! A call's handling of responses: to INVITE (RFC 3261 13.2.2), CANCEL (9.1) and BYE (15.1.1).

use super::{Authorization, Call, CallEvent, CallState, Cancel, FailReason, Leg};
use crate::sip::Vet;
use crate::sip::dialog::Dialog;
use crate::sip::digest::{AuthError, Challenge};
use crate::sip::message::{Message, Method};
use crate::sip::parse::phrase;
use crate::sip::sdp::{self, Answer, SdpError};
use crate::stamp::Stamp;

/// The most further branches of a fork that get their ACK and BYE; Asterisk forks none.
const MAX_FORKED: usize = 8;
/// The most early dialogs whose requests are told from strangers'.
const MAX_EARLY_TAGS: usize = 8;

impl Call {
    pub(super) fn on_response(&mut self, now: Stamp, code: u16, response: &Message, vet: Vet<'_>) {
        // A response with a second Via is not for us (RFC 3261 8.1.3.3).
        let is_ours =
            response.vias().nth(1).is_none() && response.from_tag() == Some(self.config.from_tag.as_str());
        if !is_ours {
            return;
        }
        match response.method() {
            Method::Invite => self.on_invite_response(now, code, response, vet),
            Method::Cancel => self.on_cancel_response(now, code, response),
            Method::Bye => self.on_bye_response(now, code, response),
            _ => {}
        }
    }

    fn on_invite_response(&mut self, now: Stamp, code: u16, response: &Message, vet: Vet<'_>) {
        let Some(at) = self.invites.iter().position(|invite| invite.matches(response)) else { return };
        let is_current = at + 1 == self.invites.len();
        match code {
            100..=199 if is_current => self.on_provisional(now, code, response),
            200..=299 if is_current => self.on_success(now, response, vet),
            300..=699 => self.on_rejection(now, at, code, response),
            _ => {}
        }
    }

    fn on_provisional(&mut self, now: Stamp, code: u16, response: &Message) {
        if !self.invites.last_mut().is_some_and(|invite| invite.on_provisional()) {
            return;
        }
        if code >= 180 {
            self.times.progress_at.get_or_insert(now);
        }
        self.remember_early_tag(response);
        self.event(CallEvent::Provisional { code, at: now });
        self.send_cancel_if_allowed(now);
    }

    fn remember_early_tag(&mut self, response: &Message) {
        let Some(tag) = response.to_tag() else { return };
        if self.early_tags.len() < MAX_EARLY_TAGS && !self.early_tags.iter().any(|known| known == tag) {
            self.early_tags.push(tag.to_string());
        }
    }

    /// A 2xx: the first wins, the same again gets its ACK again, others get ACK and BYE.
    fn on_success(&mut self, now: Stamp, response: &Message, vet: Vet<'_>) {
        if !self.invites.last_mut().is_some_and(|invite| invite.on_success(now)) {
            return;
        }
        let tag = response.to_tag().unwrap_or_default();
        let known = self.legs().find(|leg| leg.dialog.remote_tag == tag).map(|leg| leg.ack.clone());
        if let Some(ack) = known {
            self.retransmissions += 1;
            self.outputs.push_back(ack.into());
        } else if self.leg.is_none() {
            self.on_first_success(now, response, vet);
        } else if self.forked.len() < MAX_FORKED {
            let leg = self.acknowledge(response, vet);
            let leg = self.send_bye(now, leg, Vec::new());
            self.forked.push(leg);
        }
    }

    fn on_first_success(&mut self, now: Stamp, response: &Message, vet: Vet<'_>) {
        self.times.answered_at = Some(now);
        self.setup_deadline = None;
        self.leg = Some(self.acknowledge(response, vet));
        self.state = CallState::Up;
        if !matches!(self.cancel, Cancel::NotWanted) {
            // The 200 crossed our CANCEL, or came before it could be sent.
            self.hang_up(now);
            return;
        }
        match self.usable(response, vet) {
            Ok(answer) => self.event(CallEvent::Answered { at: now, answer }),
            Err(error) => self.on_bad_answer(now, error),
        }
    }

    /// The answer to our offer, if media can be sent there and is sent back.
    fn usable(&self, response: &Message, vet: Vet<'_>) -> Result<Answer, SdpError> {
        let description = sdp::parse(response.session_description()?.unwrap_or_default())?;
        let answer = sdp::answer_to_ours(&description, &self.config.media)?;
        let unusable = |why| Err(SdpError::Unusable(why));
        if answer.has_no_address() {
            return unusable(format!("the connection address is unspecified ({})", answer.rtp_address.ip()));
        }
        if let Some(direction) = answer.on_hold() {
            return unusable(format!("a={direction}: the far end does not both take and give media"));
        }
        vet(answer.rtp_address).map_err(SdpError::Unusable)?;
        Ok(answer)
    }

    fn on_bad_answer(&mut self, now: Stamp, error: SdpError) {
        self.end(CallEvent::Failed { reason: FailReason::BadAnswer(error), at: now });
        self.hang_up(now);
    }

    /// Sends the ACK of a 2xx (RFC 3261 13.2.2.4) and returns the dialog that it makes.
    fn acknowledge(&mut self, response: &Message, vet: Vet<'_>) -> Leg {
        let dialog = Dialog::from_answer(response, &self.config.target, self.config.transport, vet);
        let mut ack = self.in_dialog(&dialog, Method::Ack, response.cseq().number);
        // "The ACK MUST contain the same credentials as the INVITE."
        ack.credentials = self.credentials();
        let ack = ack.datagram();
        self.outputs.push_back(ack.clone().into());
        Leg { dialog, ack, bye: None, bye_was_challenged: false }
    }

    /// A 3xx to 6xx to INVITE number `at`.
    fn on_rejection(&mut self, now: Stamp, at: usize, code: u16, response: &Message) {
        let Some((ack, is_first)) = self.invites[at].on_rejection(now, response) else { return };
        if !is_first {
            self.retransmissions += 1;
        }
        self.outputs.push_back(ack.into());
        if !is_first || self.state != CallState::Calling {
            return;
        }
        let wants_credentials = matches!(code, 401 | 407) && matches!(self.cancel, Cancel::NotWanted);
        if !wants_credentials {
            let reason = self.rejected(code, response);
            self.give_up_invite(now, reason);
            return;
        }
        match self.authorize(code, response) {
            Ok(()) => self.send_invite(now),
            Err(error) => self.give_up_invite(now, FailReason::AuthFailed(error)),
        }
    }

    /// Answers a challenge to the INVITE; a second of its kind only if the nonce was stale.
    fn authorize(&mut self, code: u16, response: &Message) -> Result<(), AuthError> {
        let challenge = Challenge::of(response)?;
        let earlier = self.authorizations.iter().position(|a| a.code == code);
        if earlier.is_some_and(|at| !challenge.is_stale() || self.authorizations[at].renewed) {
            return Err(AuthError::Refused(self.identity(challenge.realm())));
        }
        let uri = self.config.target.clone();
        let value = self.answer_challenge(&challenge, &Method::Invite, &uri)?;
        let (realm, header) = (challenge.realm().to_string(), answering_header(code));
        let fresh = Authorization { code, realm, header, value, renewed: earlier.is_some() };
        match earlier {
            Some(at) => self.authorizations[at] = fresh,
            None => self.authorizations.push(fresh),
        }
        Ok(())
    }

    /// The reason of a rejection; where credentials have been sent, a 403 is the answer to them.
    fn rejected(&self, code: u16, response: &Message) -> FailReason {
        let mut reason = phrase(response.reason_phrase());
        if let Some(authorization) = self.authorizations.last().filter(|_| code == 403) {
            reason = format!("{reason}; {}", self.identity(&authorization.realm));
        }
        FailReason::Rejected { code, reason, cause: response.cause().map(phrase) }
    }

    fn answer_challenge(
        &self,
        challenge: &Challenge,
        method: &Method,
        uri: &str,
    ) -> Result<String, AuthError> {
        let credentials = self.config.credentials.as_ref().ok_or(AuthError::NoCredentials)?;
        // The branch counter has moved since the last nonce, so that no client nonce comes twice.
        let cnonce = format!("{:016x}{:08x}", self.config.seed, self.branches);
        challenge.answer(credentials, method, uri, &cnonce)
    }

    fn on_cancel_response(&mut self, now: Stamp, code: u16, response: &Message) {
        // Whatever the answer is, the INVITE's own final answer tells how the call ends.
        if let Cancel::Sent { transaction, .. } = &mut self.cancel
            && transaction.matches(response)
        {
            transaction.on_response(now, code);
        }
    }

    fn on_bye_response(&mut self, now: Stamp, code: u16, response: &Message) {
        let is_answered = |leg: &mut Leg| {
            let bye = leg.bye.as_mut().filter(|bye| bye.matches(response));
            bye.is_some_and(|bye| bye.on_response(now, code))
        };
        if let Some(mut leg) = self.leg.take_if(is_answered) {
            match self.bye_credentials(code, response, &mut leg) {
                Some(credentials) => self.leg = Some(self.send_bye(now, leg, vec![credentials])),
                None => {
                    self.leg = Some(leg);
                    self.bye_is_final(now, Some(code));
                }
            }
            return;
        }
        self.forked.iter_mut().for_each(|leg| {
            is_answered(leg);
        });
    }

    /// The credentials for a challenged BYE, which is sent once more; `None` if there is nothing to be done.
    fn bye_credentials(
        &mut self,
        code: u16,
        response: &Message,
        leg: &mut Leg,
    ) -> Option<(&'static str, String)> {
        if !matches!(code, 401 | 407) || leg.bye_was_challenged || self.state != CallState::HangingUp {
            return None;
        }
        leg.bye_was_challenged = true;
        let challenge = Challenge::of(response).ok()?;
        let (uri, _) = leg.dialog.request_target();
        Some((answering_header(code), self.answer_challenge(&challenge, &Method::Bye, &uri).ok()?))
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

fn answering_header(code: u16) -> &'static str {
    if code == 407 { "Proxy-Authorization" } else { "Authorization" }
}
