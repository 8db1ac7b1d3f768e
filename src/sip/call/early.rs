//! Early dialogs: the media that a provisional response describes, and reliable provisional responses, which are
//! acknowledged by PRACK (RFC 3262).

use super::pending::Purpose;
use super::responses::MOST_REPEATS;
use super::{Call, CallEvent, CallRemark, CallState};
use crate::sip::Vet;
use crate::sip::dialog::Dialog;
use crate::sip::digest::Tries;
use crate::sip::message::{Message, Method};
use crate::sip::parse::{excerpt, phrase};
use crate::sip::sdp::{Answer, SdpError};
use crate::stamp::Stamp;

/// The most early dialogs whose requests are told from strangers'.
const MAX_EARLY: usize = 32;

/// A dialog before its 2xx.
#[derive(Debug, Default)]
pub(super) struct Early {
    pub(super) tag: String,
    /// The media that its provisional responses have described last, or its fault.
    pub(super) answer: Option<Result<Answer, SdpError>>,
    /// That description came reliably: offer and answer are complete (RFC 3262 5).
    pub(super) is_agreed: bool,
    /// An UPDATE of the far end's has moved its media since.
    pub(super) is_moved: bool,
    /// Number of the last reliable response.
    rseq: Option<u32>,
    /// Times that it came again.
    repeats: u32,
}

/// The number of a provisional response that wants a PRACK; `None` for any other.
pub(super) fn reliable(response: &Message) -> Option<u32> {
    let is_required = response.require().any(|tag| tag.eq_ignore_ascii_case("100rel"));
    let is_numbered = is_required && response.status().is_some_and(|code| code > 100);
    response.other("RSeq").filter(|_| is_numbered)?.trim().parse().ok().filter(|rseq| *rseq > 0)
}

/// True for the first reliable response of a dialog, and the one that follows the last (RFC 3262 4). All others are
/// repetitions, or have overtaken one that will come again.
pub(super) fn is_in_turn(last: Option<u32>, rseq: u32) -> bool {
    last.is_none_or(|last| last.checked_add(1) == Some(rseq))
}

impl Call {
    /// Takes note of a provisional response to our INVITE. False for a reliable one that is not in turn: it is not
    /// looked at any further (RFC 3262 4).
    pub(super) fn on_early(&mut self, now: Stamp, response: &Message, vet: Vet<'_>) -> bool {
        let tag = response.to_tag().unwrap_or_default();
        let described = self.described(response);
        let rseq = reliable(response);
        let at = match self.early.iter().position(|early| early.tag == tag) {
            Some(at) => at,
            None if tag.is_empty() && described.is_none() => return true,
            // One that cannot be kept cannot be told from its repetition.
            None if self.early.len() == MAX_EARLY && !self.forget_plain_early() => return rseq.is_none(),
            None => {
                self.early.push(Early { tag: tag.to_string(), ..Early::default() });
                self.early.len() - 1
            }
        };
        let early = &mut self.early[at];
        if let Some(rseq) = rseq {
            if early.rseq == Some(rseq) {
                early.repeats += 1;
                if early.repeats == MOST_REPEATS {
                    self.note_unheard(Method::Prack, &self.dialog_of(response, vet));
                }
                return false;
            }
            if !is_in_turn(early.rseq, rseq) {
                return false;
            }
            (early.rseq, early.repeats) = (Some(rseq), 0);
            early.is_agreed |= described.is_some();
        }
        if described.is_some() {
            early.answer = described;
        }
        if let Some(rseq) = rseq.filter(|_| self.state == CallState::Calling) {
            let dialog = self.dialog_of(response, vet);
            self.acknowledge_provisional(now, &dialog, response, rseq);
        }
        true
    }

    /// Makes room by an early dialog that has described no media and wants no PRACK: its branch may still answer. True if
    /// there was one.
    fn forget_plain_early(&mut self) -> bool {
        let is_plain = |early: &Early| early.answer.is_none() && early.rseq.is_none();
        let plain = self.early.iter().position(is_plain);
        plain.map(|at| self.early.remove(at)).is_some()
    }

    /// Sends the PRACK of a reliable provisional response (RFC 3262 4).
    pub(super) fn acknowledge_provisional(
        &mut self,
        now: Stamp,
        dialog: &Dialog,
        response: &Message,
        rseq: u32,
    ) {
        if !self.has_room_for_prack() {
            return;
        }
        self.cseq += 1;
        let mut request = self.in_dialog(dialog, Method::Prack, self.cseq);
        request
            .headers
            .push(("RAck".into(), format!("{rseq} {} {}", response.cseq().number, response.method())));
        self.ask(now, Purpose::Prack, request, Tries::default());
    }

    /// Says that nobody hears the requests of a dialog, where they go elsewhere than the INVITE.
    pub(super) fn note_unheard(&mut self, method: Method, dialog: &Dialog) {
        if let Some(sent_to) = dialog.next_hop().filter(|hop| *hop != self.config.remote) {
            let contact = phrase(dialog.target());
            self.event(CallEvent::Remark(CallRemark::Unheard { method, contact, sent_to }));
        }
    }

    /// True if an UPDATE has moved the media of the early dialog of this tag.
    pub(super) fn has_moved_early(&self, tag: &str) -> bool {
        self.early.iter().any(|early| early.tag == tag && early.is_moved)
    }

    /// The media that the dialog of this tag has described before its 2xx, which describes none.
    pub(super) fn early_answer(&self, tag: &str) -> Result<Answer, SdpError> {
        let described = |early: &&Early| early.answer.is_some();
        let own = self.early.iter().filter(described).find(|early| early.tag == tag);
        // One that has no tag is of the only branch there is (RFC 2543 gateways).
        let untagged = || self.early.iter().filter(described).find(|early| early.tag.is_empty());
        match own.or_else(untagged).or_else(|| self.early.iter().find(described)) {
            Some(Early { tag: early, answer: Some(answer), .. }) if early == tag || early.is_empty() => {
                answer.clone()
            }
            Some(Early { tag: early, .. }) => Err(SdpError::Unusable(format!(
                "no session description in the answer (To tag `{}`), and the early one was of another branch (`{}`)",
                excerpt(tag),
                excerpt(early)
            ))),
            None => Err(SdpError::Missing),
        }
    }
}
