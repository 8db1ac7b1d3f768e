//! Offers and answers in mid-call (RFC 3264, RFC 3261 14.2, RFC 3311): the far end moves, holds or resumes the media, or
//! has us offer it and answers in its ACK.

use super::requests::Asked;
use super::{Call, CallConfig, CallEvent, CallRemark, CallState};
use crate::sip::Vet;
use crate::sip::message::{Message, Method};
use crate::sip::outgoing::{Response, contact};
use crate::sip::sdp::{self, Answer, Choice, Description, MediaDirection, SdpError};
use crate::sip::timers::TIMER_H;
use crate::sip::uas;
use crate::stamp::Stamp;

/// An offer of ours in the 200 to a re-INVITE without one, which the ACK answers.
#[derive(Debug)]
pub(super) struct OpenOffer {
    /// CSeq of that INVITE, and of its ACK.
    cseq: u32,
    /// Time until which the 200 is sent again; no ACK is waited for after it.
    until: Stamp,
}

impl Call {
    /// A re-INVITE or UPDATE: agrees to it, so that session timers and moved media keep the call.
    pub(super) fn on_new_session<'a>(&mut self, asked: Asked<'a>) -> Response<'a> {
        let Asked { at, request, vet, .. } = asked;
        if self.state == CallState::Over {
            return asked.response(481);
        }
        let offer = match request.description() {
            Err(error @ SdpError::Encoded(_)) => {
                self.tell_refusal(415, error.to_string());
                return uas::refuse(request, 415, asked.from_tag);
            }
            offer => offer.transpose(),
        };
        let (is_invite, has_offer) = (*request.method() == Method::Invite, offer.is_some());
        if self.is_another_offer_open(at, request, has_offer) {
            self.tell_refusal(491, "an offer of ours was open".into());
            return asked.response(491);
        }
        let mut direction = MediaDirection::SendRecv;
        if let Some(offer) = offer {
            let choice = match offer.and_then(|offer| self.chosen(&offer, vet)) {
                Ok(choice) => choice,
                Err(error) => {
                    self.tell_refusal(488, error.to_string());
                    return asked.response(488);
                }
            };
            self.refused_offer = None;
            direction = choice.media.answering();
            self.on_offer(at, request, choice);
        }
        if let Some(leg) = &mut self.leg {
            leg.dialog.refresh_target(request, vet);
        }
        let mut response = asked.response(200);
        let CallConfig { local, transport, identity, .. } = &self.config;
        response.contact = Some(contact(&identity.from, *local, *transport));
        if has_offer || is_invite {
            response.sdp = Some(self.describe(direction));
        }
        if is_invite {
            let open = OpenOffer { cseq: request.cseq().number, until: at + TIMER_H };
            self.open_offer = Some(open).filter(|_| !has_offer);
            if !has_offer {
                self.media_event(CallEvent::MediaOffered { at });
            }
        }
        if self.state == CallState::Up {
            self.session.note_methods(request);
            response.headers = self.session.asked(at, request);
        }
        response
    }

    /// Says of a call that is up that an offer of its peer's was refused. One that comes again is told of once.
    fn tell_refusal(&mut self, code: u16, why: String) {
        if self.state == CallState::Up && self.refused_offer.replace(code) != Some(code) {
            self.event(CallEvent::Remark(CallRemark::OfferRefused { code, why }));
        }
    }

    /// True if an offer of ours is open, so that another one would cross it (RFC 3261 14.2, RFC 3311 5.2).
    fn is_another_offer_open(&self, now: Stamp, request: &Message, has_offer: bool) -> bool {
        let is_invite = *request.method() == Method::Invite;
        if self.state == CallState::Calling {
            let tag = request.from_tag().unwrap_or_default();
            let is_agreed = self.early.len() == 1 && self.early.iter().any(|e| e.tag == tag && e.is_agreed);
            return is_invite || (has_offer && !is_agreed);
        }
        // The next INVITE of a far end shows that the last one's 200 has come, wherever its ACK is.
        let is_ours_open = !is_invite && self.open_offer.as_ref().is_some_and(|open| now < open.until);
        (is_invite || has_offer) && (self.is_reinviting() || is_ours_open)
    }

    fn on_offer(&mut self, at: Stamp, request: &Message, choice: Choice) {
        let tag = request.from_tag().unwrap_or_default();
        if self.state == CallState::Calling
            && let Some(early) = self.early.iter_mut().find(|early| early.tag == tag)
        {
            (early.answer, early.is_moved) = (Some(Ok(choice.media.clone())), true);
        }
        self.on_media(at, choice.media.clone());
        self.choice = Some(choice);
    }

    /// An ACK that may hold the answer to our offer. Without a good one the media stays as it was.
    pub(super) fn on_offer_answered(&mut self, now: Stamp, ack: &Message, vet: Vet<'_>) {
        let cseq = ack.cseq().number;
        let is_its = |open: &mut OpenOffer| open.cseq == cseq;
        if !self.is_in_dialog(ack) || self.open_offer.take_if(is_its).is_none() {
            return;
        }
        match self.described(ack).unwrap_or(Err(SdpError::Missing)).and_then(|media| reachable(media, vet)) {
            Ok(media) => self.on_answered_media(now, media),
            Err(error) => {
                let why = error.to_string();
                self.media_event(CallEvent::Remark(CallRemark::OfferUnanswered { why }));
            }
        }
    }

    /// The answer in the 2xx to a re-INVITE of ours, whose offer was nothing new.
    pub(super) fn on_answer_again(&mut self, now: Stamp, response: &Message, vet: Vet<'_>) {
        let answer =
            self.described(response).and_then(Result::ok).and_then(|media| reachable(media, vet).ok());
        if let Some(media) = answer.filter(|media| self.media.as_ref() != Some(media)) {
            self.on_answered_media(now, media);
        }
    }

    /// Media that answers an offer of ours: it stands in what we describe from now on.
    fn on_answered_media(&mut self, now: Stamp, media: Answer) {
        if let Some(choice) = &mut self.choice {
            choice.media = media.clone();
        }
        self.on_media(now, media);
    }

    /// The media that a message describes in answer to an offer of ours; `None` without a description.
    pub(super) fn described(&self, message: &Message) -> Option<Result<Answer, SdpError>> {
        let description = message.description().transpose()?;
        Some(description.and_then(|description| sdp::answer_to_ours(&description, &self.config.media)))
    }

    /// The stream of an offer that can be used: media can be sent there, or on hold does not have to be.
    fn chosen(&self, offer: &Description, vet: Vet<'_>) -> Result<Choice, SdpError> {
        let choice = match (sdp::choose(offer, &self.config.media), &self.media) {
            (Err(SdpError::Refused), Some(before)) => sdp::closed(offer, before).ok_or(SdpError::Refused)?,
            (choice, _) => choice?,
        };
        reachable(choice.media.clone(), vet)?;
        Ok(choice)
    }

    fn on_media(&mut self, now: Stamp, media: Answer) {
        self.media = Some(media.clone());
        let said_ms = media.ptime_ms;
        self.media_event(CallEvent::MediaChanged { at: now, answer: media });
        self.note_ptime(said_ms);
    }

    /// Says once that the peer asks for packets of another length than ours: all streams of a run have one.
    pub(super) fn note_ptime(&mut self, said_ms: Option<u32>) {
        let ours_ms = self.config.media.ptime_ms;
        let Some(said_ms) = said_ms.filter(|said| *said != ours_ms && !self.has_told_ptime) else { return };
        self.has_told_ptime = self.state == CallState::Up;
        self.media_event(CallEvent::Remark(CallRemark::OtherPtime { said_ms, ours_ms }));
    }

    /// Tells of the media of a call that is up: one that was cancelled as its 200 came has none, and one that is
    /// being hung up needs none.
    fn media_event(&mut self, event: CallEvent) {
        if self.state == CallState::Up {
            self.event(event);
        }
    }

    /// Our description, of as many streams as the peer's last offer has. Its version counts up whenever it differs from
    /// the last (RFC 3264 8).
    fn describe(&mut self, direction: MediaDirection) -> String {
        let (last, version) = &self.local_sdp;
        let mut sdp = self.config.media.describe(*version, direction, self.choice.as_ref());
        if sdp != *last {
            let version = version + 1;
            sdp = self.config.media.describe(version, direction, self.choice.as_ref());
            self.local_sdp = (sdp.clone(), version);
        }
        sdp
    }
}

/// The media, if something may be sent to its address, or on hold does not have to be.
pub(super) fn reachable(media: Answer, vet: Vet<'_>) -> Result<Answer, SdpError> {
    if !media.has_no_address() {
        vet(media.rtp_address).map_err(SdpError::Unusable)?;
    }
    Ok(media)
}
