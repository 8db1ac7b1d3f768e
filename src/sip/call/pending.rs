//! Requests of a call's own other than INVITE and ACK, each with its transaction until nothing more can come of it.

use std::net::SocketAddr;

use super::responses::MOST_REPEATS;
use super::{Call, CallState, Leg};
use crate::sip::Vet;
use crate::sip::digest::Tries;
use crate::sip::message::{Message, Method};
use crate::sip::outgoing::{Request, SipDatagram};
use crate::sip::timers::earliest;
use crate::sip::transaction::{Client, TimerAction};
use crate::stamp::Stamp;

/// The most PRACKs on their way: a far end that numbers on without end gets no more.
const MAX_PRACKS: usize = 8;

/// Reason for which a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// CANCEL of our INVITE.
    Cancel,
    /// BYE of the call.
    Bye,
    /// BYE of a further branch of a fork.
    ForkedBye,
    /// PRACK of a reliable provisional response.
    Prack,
    /// UPDATE that refreshes the session.
    Refresh,
}

/// A request on its way, or answered a moment ago.
#[derive(Debug)]
pub(super) struct Pending {
    purpose: Purpose,
    request: Request,
    transaction: Client,
    tries: Tries,
}

impl Call {
    /// Sends a request, with credentials where any are known. CANCEL takes none: it cannot be sent again
    /// (RFC 3261 22.1).
    pub(super) fn ask(&mut self, now: Stamp, purpose: Purpose, mut request: Request, tries: Tries) {
        if purpose != Purpose::Cancel {
            request.credentials = self.authorizations.answers(&request.method, &request.uri);
        }
        let transaction = Client::new(now, &request);
        self.outputs.push_back(transaction.datagram().into());
        self.pending.push(Pending { purpose, request, transaction, tries });
    }

    pub(super) fn has_room_for_prack(&self) -> bool {
        self.pending.iter().filter(|pending| pending.purpose == Purpose::Prack).count() < MAX_PRACKS
    }

    /// Forgets what is of no use any more once a call goes to its end.
    pub(super) fn forget_requests(&mut self) {
        self.pending.retain(|pending| !matches!(pending.purpose, Purpose::Prack | Purpose::Refresh));
        self.reinvites.iter_mut().for_each(super::session::ReInvite::give_up);
    }

    pub(super) fn on_pending_response(&mut self, now: Stamp, code: u16, response: &Message, vet: Vet<'_>) {
        let its = self.pending.iter().position(|pending| pending.transaction.matches(response));
        let Some(at) = its else { return };
        let Pending { purpose, transaction, .. } = &mut self.pending[at];
        let purpose = *purpose;
        if !transaction.on_response(now, code) {
            return;
        }
        let wants_credentials = matches!(code, 401 | 407) && purpose != Purpose::Cancel;
        if wants_credentials && self.ask_again(now, at, response) {
            return;
        }
        match purpose {
            Purpose::Bye => self.bye_is_final(now, Some(code)),
            Purpose::Refresh => {
                if let (200..=299, Some(leg)) = (code, &mut self.leg) {
                    leg.dialog.refresh_target(response, vet);
                }
                self.on_refreshed(now, &Method::Update, code, Some(response));
            }
            // The INVITE's own final answer tells how the call ends.
            Purpose::Cancel | Purpose::ForkedBye | Purpose::Prack => {}
        }
    }

    /// Sends a request once more, with the credentials that were asked for; false if there are none.
    fn ask_again(&mut self, now: Stamp, at: usize, response: &Message) -> bool {
        let Pending { purpose, request, tries, .. } = &mut self.pending[at];
        let (purpose, mut tries, mut request) = (*purpose, std::mem::take(tries), request.clone());
        if purpose == Purpose::Bye && self.state != CallState::HangingUp {
            return false;
        }
        if self.authorizations.challenged(response, &mut tries).is_err() {
            return false;
        }
        self.cseq += 1;
        request.cseq = self.cseq;
        request.branch = self.branch();
        self.ask(now, purpose, request, tries);
        true
    }

    pub(super) fn pending_timeout(&self) -> Option<Stamp> {
        earliest(self.pending.iter().map(|pending| pending.transaction.poll_timeout()))
    }

    /// The connection to `peer` has ended: sends what is open there once more, for another connection.
    pub(super) fn resend_over_another(&mut self, peer: SocketAddr) {
        let pending = self.pending.iter_mut();
        let anew: Vec<_> =
            pending.filter_map(|pending| pending.transaction.on_transport_error(peer)).collect();
        self.resend_all(anew);
    }

    /// There is no way to `peer`: sends what is open there another way.
    pub(super) fn resend_another_way(&mut self, peer: SocketAddr, other: SocketAddr) {
        let mut anew = Vec::new();
        for Pending { request, transaction, .. } in &mut self.pending {
            if let Some(datagram) = transaction.on_no_way(peer, other) {
                request.destination = other;
                anew.push(datagram);
            }
        }
        self.resend_all(anew);
    }

    fn resend_all(&mut self, datagrams: Vec<SipDatagram>) {
        for datagram in datagrams {
            self.retransmissions += 1;
            self.outputs.push_back(datagram.into());
        }
    }

    /// Drops the refreshes that are under way to `peer`; true if there was one.
    pub(super) fn drop_refreshes(&mut self, peer: SocketAddr) -> bool {
        let before = self.pending.len();
        let is_lost = |p: &Pending| p.purpose == Purpose::Refresh && p.transaction.is_open_at(peer);
        self.pending.retain(|pending| !is_lost(pending));
        self.pending.len() < before
    }

    /// Sends again what is due, and gives up what has had no answer.
    pub(super) fn time_pending(&mut self, now: Stamp) {
        let mut timed_out = Vec::new();
        for Pending { purpose, transaction, .. } in &mut self.pending {
            match transaction.handle_timeout(now) {
                TimerAction::Nothing => {}
                TimerAction::Resend(datagram) => {
                    self.retransmissions += 1;
                    self.outputs.push_back(datagram.into());
                }
                TimerAction::TimedOut => timed_out.push(*purpose),
            }
        }
        self.pending.retain(|pending| pending.transaction.poll_timeout().is_some());
        for purpose in timed_out {
            match purpose {
                Purpose::Bye => {
                    // Repeated 2xx have been told of; and where requests were heard, the far end has gone since.
                    let may_be_deaf = |leg: &&Leg| leg.repeats < MOST_REPEATS && !leg.is_heard;
                    if let Some(dialog) = self.leg.as_ref().filter(may_be_deaf).map(|leg| leg.dialog.clone())
                    {
                        self.note_unheard(Method::Bye, &dialog);
                    }
                    self.bye_is_final(now, None);
                }
                // To be read as a 408 (RFC 3261 8.1.3.1).
                Purpose::Refresh => self.on_refreshed(now, &Method::Update, 408, None),
                Purpose::Cancel | Purpose::ForkedBye | Purpose::Prack => {}
            }
        }
    }
}
