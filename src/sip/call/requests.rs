//! A call's handling of requests within its dialog (RFC 3261 8.2, 12.2.2, 14.2, 15.1.2).

use super::{Call, CallEvent, CallState, FailReason};
use crate::sip::Vet;
use crate::sip::message::{Message, Method};
use crate::sip::outgoing::{Response, SipDatagram};
use crate::sip::parse::phrase;
use crate::sip::transaction::{Key, Server};
use crate::sip::uas;
use crate::stamp::Stamp;

/// The most answered requests remembered; the oldest is forgotten first.
const MAX_SERVERS: usize = 16;
/// Longest answer remembered: it repeats Via, From and To of its request. One to a longer request is made anew.
const MAX_REMEMBERED: usize = 4096;

/// A request of the dialog that is not refused.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Time of its receipt.
    pub(super) at: Stamp,
    pub(super) request: &'a Message,
    /// Our own tag of the dialog, for the answer.
    pub(super) from_tag: &'a str,
    pub(super) vet: Vet<'a>,
}

impl<'a> Asked<'a> {
    pub(super) fn response(self, code: u16) -> Response<'a> {
        Response::new(self.request, code, self.from_tag)
    }
}

impl Call {
    pub(super) fn on_request(&mut self, now: Stamp, request: &Message, vet: Vet<'_>) {
        if *request.method() == Method::Ack {
            self.servers.iter_mut().for_each(|server| server.on_ack(request));
            self.on_offer_answered(now, request, vet);
            return;
        }
        let key = Key::of(request);
        if let Some(server) = self.servers.iter().find(|server| server.matches(&key)) {
            self.outputs.push_back(server.answer().into());
            return;
        }
        let from_tag = self.config.from_tag.clone();
        let response = match self.refusal(request, &key) {
            Some(code) => uas::refuse(request, code, &from_tag),
            None => self.accept(Asked { at: now, request, from_tag: &from_tag, vet }),
        };
        self.answer(now, (request, key), &response);
    }

    fn answer(&mut self, now: Stamp, (request, key): (&Message, Key), response: &Response<'_>) {
        let destination = request.answer_to().unwrap_or(self.config.remote);
        let datagram = SipDatagram { destination, bytes: response.to_bytes() };
        self.outputs.push_back(datagram.clone().into());
        if datagram.bytes.len() > MAX_REMEMBERED {
            return;
        }
        if self.servers.len() == MAX_SERVERS {
            self.servers.remove(0);
        }
        self.servers.push(Server::new(now, request, key, datagram));
    }

    /// The code that refuses a request before its method is looked at, in the RFC's order.
    fn refusal(&mut self, request: &Message, key: &Key) -> Option<u16> {
        let number = request.cseq().number;
        if *request.method() == Method::Cancel {
            let is_known = self.servers.iter().any(|server| server.is_cancelled_by(key));
            return (!is_known).then_some(481);
        }
        if !self.is_in_dialog(request) {
            return Some(481);
        }
        // Out of order (RFC 3261 12.2.2): a newer request has been served already.
        if self.remote_cseq.is_some_and(|last| number < last) {
            return Some(500);
        }
        self.remote_cseq = Some(number);
        uas::refusal_by_method_or_extension(request)
    }

    /// True if both tags are of the answered dialog, or of an early one.
    pub(super) fn is_in_dialog(&self, request: &Message) -> bool {
        let remote_tag = request.from_tag().unwrap_or_default();
        let is_known = match &self.leg {
            Some(leg) => leg.dialog.remote_tag == remote_tag,
            None => self.state == CallState::Calling && self.early.iter().any(|e| e.tag == remote_tag),
        };
        is_known && request.to_tag() == Some(self.config.from_tag.as_str())
    }

    fn accept<'a>(&mut self, asked: Asked<'a>) -> Response<'a> {
        match asked.request.method() {
            Method::Bye => self.on_bye(asked.at, asked.request),
            Method::Invite | Method::Update => return self.on_new_session(asked),
            // No provisional response of ours is reliable, and none could be meant (RFC 3262 3).
            Method::Prack => return asked.response(481),
            _ => {}
        }
        asked.response(200)
    }

    fn on_bye(&mut self, now: Stamp, request: &Message) {
        match self.state {
            CallState::Up => {
                self.state = CallState::Over;
                self.forget_requests();
                self.end(CallEvent::RemoteHangup { at: now, cause: request.cause().map(phrase) });
            }
            // The INVITE still needs its final answer, which CANCEL brings about.
            CallState::Calling => {
                self.end(CallEvent::Failed { reason: FailReason::HungUpEarly, at: now });
                self.cancel(now);
            }
            // Both hung up at once: our own BYE's answer ends the call.
            CallState::Idle | CallState::HangingUp | CallState::Over => {}
        }
    }
}
