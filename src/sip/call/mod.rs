//! One call from our side (UAC), as a state machine: commands, messages and times in; datagrams,
//! events and the next deadline out.
//!
//! After every input, drain [`Call::poll`] and look at [`Call::poll_timeout`] again.

mod api;
mod early;
mod lost;
mod offers;
mod pending;
mod redirect;
mod requests;
mod responses;
mod session;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

pub use api::{CallConfig, CallEvent, CallOutput, CallRemark, FailReason, Habits, Times};

use self::early::Early;
use self::offers::OpenOffer;
use self::pending::{Pending, Purpose};
use self::session::{ReInvite, Session};
use super::Vet;
use super::dialog::Dialog;
use super::digest::{Authorizations, Tries};
use super::grammar::NameAddr;
use super::identity::Identity;
use super::message::{Message, Method};
use super::outgoing::{Request, SipDatagram};
use super::parse::phrase;
use super::salvage::Unreadable;
use super::sdp::{Answer, Choice};
use super::timers::{CANCEL_WAIT, earliest, is_due};
use super::transaction::{InviteClient, Server, TimerAction};
use crate::stamp::Stamp;

/// Phase of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallState {
    /// Not placed yet.
    Idle,
    /// INVITE is out, with no final answer.
    Calling,
    /// Answered and acknowledged.
    Up,
    /// Our BYE is out, with no final answer.
    HangingUp,
    /// Over; what is left are transactions that wait for retransmissions.
    Over,
}

/// Progress of giving up an unanswered call.
#[derive(Debug)]
enum Cancel {
    NotWanted,
    /// Wanted, but nothing has come back yet, so that CANCEL may not be sent (RFC 3261 9.1).
    Wanted,
    /// Sent; the INVITE is given up at `give_up` if no final answer comes.
    Sent {
        give_up: Stamp,
    },
}

/// An answered dialog: the call's own, or one more from a fork, which only gets its BYE.
#[derive(Debug)]
struct Leg {
    dialog: Dialog,
    /// The ACK of its 2xx, kept to be sent again (RFC 3261 13.2.2.4).
    ack: SipDatagram,
    acknowledged_at: Stamp,
    /// Times that its 2xx has come again since.
    repeats: u32,
    /// Its requests are heard where they go: one was answered, or its 2xx has not come again.
    is_heard: bool,
}

/// Time after the ACK in which a 2xx comes again at the latest where the ACK was not heard: twice T1 (RFC 3261 13.3.1.4).
const REPEATED_WITHIN: Duration = Duration::from_secs(1);

/// A call.
#[derive(Debug)]
pub struct Call {
    config: CallConfig,
    state: CallState,
    outputs: VecDeque<CallOutput>,
    /// The ending event has been given out.
    has_ended: bool,
    times: Times,
    retransmissions: u32,

    branches: u32,
    cseq: u32,
    /// The INVITEs: one, and one more per answered challenge or raised interval. The last one counts.
    invites: Vec<InviteClient>,
    /// A 3xx has been followed.
    is_redirected: bool,
    /// The challenges that the INVITE has met.
    invite_tries: Tries,
    authorizations: Authorizations,
    /// Our other requests.
    pending: Vec<Pending>,
    /// INVITEs in mid-call.
    reinvites: Vec<ReInvite>,
    session: Session,
    setup_deadline: Option<Stamp>,
    cancel: Cancel,

    leg: Option<Leg>,
    /// Other branches of a fork that answered too.
    forked: Vec<Leg>,
    /// Early dialogs.
    early: Vec<Early>,
    remote_cseq: Option<u32>,
    servers: Vec<Server>,
    /// The description that we sent last, and its version in `o=`.
    local_sdp: (String, u64),
    /// The streams that the peer offered last, and the one that was taken.
    choice: Option<Choice>,
    /// An offer of ours that the peer's ACK has to answer.
    open_offer: Option<OpenOffer>,
    /// The peer's media, as it was agreed last.
    media: Option<Answer>,
    /// It has been said that the peer asks for packets of another length.
    has_told_ptime: bool,
    /// Status by which the peer's last offer was refused, if it was.
    refused_offer: Option<u16>,
    /// The first message of the peer's that could not be read.
    unreadable: Option<String>,
}

impl Call {
    /// A call that is not placed yet.
    pub fn new(config: CallConfig) -> Self {
        let CallConfig { credentials, identity, seed, session_expires, .. } = &config;
        let from = NameAddr::parse(&identity.from).uri.to_string();
        Call {
            local_sdp: (config.media.to_sdp(), 1),
            authorizations: Authorizations::new(credentials.clone(), from, *seed),
            session: Session::new(*session_expires),
            config,
            state: CallState::Idle,
            outputs: VecDeque::new(),
            has_ended: false,
            times: Times::default(),
            retransmissions: 0,
            branches: 0,
            cseq: 0,
            invites: Vec::new(),
            is_redirected: false,
            invite_tries: Tries::default(),
            pending: Vec::new(),
            reinvites: Vec::new(),
            setup_deadline: None,
            cancel: Cancel::NotWanted,
            leg: None,
            forked: Vec::new(),
            early: Vec::new(),
            remote_cseq: None,
            servers: Vec::new(),
            choice: None,
            open_offer: None,
            media: None,
            has_told_ptime: false,
            refused_offer: None,
            unreadable: None,
        }
    }

    /// The Call-ID, by which messages find this call.
    pub fn call_id(&self) -> &str {
        &self.config.call_id
    }

    /// The times measured so far.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Requests sent again, by timers or (ACK) because the 2xx came again.
    pub fn retransmissions(&self) -> u32 {
        self.retransmissions
    }

    /// True once nothing is left to wait for, so that the call can be forgotten.
    pub fn is_terminated(&self) -> bool {
        self.state == CallState::Over && self.poll_timeout().is_none()
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<CallOutput> {
        self.outputs.pop_front()
    }

    /// Places the call. Does nothing to a call that has been placed or hung up.
    pub fn invite(&mut self, now: Stamp) {
        if self.state != CallState::Idle {
            return;
        }
        self.state = CallState::Calling;
        self.times.invite_sent_at = Some(now);
        self.setup_deadline = Some(now + self.config.setup_timeout);
        self.send_invite(now);
    }

    /// Ends the call by whatever its state asks for: CANCEL before the answer, BYE after.
    pub fn hang_up(&mut self, now: Stamp) {
        self.hang_up_because(now, None);
    }

    /// Likewise, with a Reason header (RFC 3326) in the BYE.
    fn hang_up_because(&mut self, now: Stamp, reason: Option<&str>) {
        match self.state {
            CallState::Idle => {
                self.state = CallState::Over;
                self.end(CallEvent::Cancelled { at: now });
            }
            CallState::Calling => self.cancel(now),
            CallState::Up => {
                self.state = CallState::HangingUp;
                self.times.bye_sent_at = Some(now);
                if let Some(leg) = &mut self.leg {
                    leg.is_heard |= leg.repeats == 0 && now >= leg.acknowledged_at + REPEATED_WITHIN;
                }
                self.forget_requests();
                if let Some(dialog) = self.leg.as_ref().map(|leg| leg.dialog.clone()) {
                    self.send_bye(now, &dialog, Purpose::Bye, reason);
                }
            }
            CallState::HangingUp | CallState::Over => {}
        }
    }

    /// Takes a message with this call's Call-ID; `now` is when it was received. `vet` is asked of each address
    /// in it before anything is sent there.
    pub fn handle_message(&mut self, now: Stamp, message: &Message, vet: Vet<'_>) {
        if message.call_id() != self.config.call_id || self.state == CallState::Idle {
            return;
        }
        // It may be read long after its receipt, before any timer has run out.
        self.time_setup(now);
        match message.status() {
            Some(code) => self.on_response(now, code, message, vet),
            None => self.on_request(now, message, vet),
        }
    }

    /// Takes a message of this call that cannot be read. It is discarded (RFC 3261 18.3), but what comes of the call
    /// may have its cause here.
    pub fn handle_unreadable(&mut self, now: Stamp, unreadable: &Unreadable) {
        if self.state == CallState::Idle {
            return;
        }
        self.time_setup(now);
        if self.unreadable.is_none() {
            let why = phrase(&unreadable.to_string());
            self.event(CallEvent::Remark(CallRemark::Unreadable { why: why.clone() }));
            self.unreadable = Some(why);
        }
    }

    /// The next deadline for [`Call::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        let cancel = match self.cancel {
            Cancel::Sent { give_up } => (self.state == CallState::Calling).then_some(give_up),
            Cancel::NotWanted | Cancel::Wanted => None,
        };
        let invites = self.invites.iter().map(InviteClient::poll_timeout);
        let servers = self.servers.iter().map(Server::poll_timeout);
        let own = [cancel, self.setup_deadline, self.pending_timeout(), self.session_timeout()];
        earliest(invites.chain(servers).chain(own))
    }

    /// True while a CANCEL is out and its INVITE has no final answer: one that is answered all the same is to be hung up.
    pub fn is_being_cancelled(&self) -> bool {
        self.state == CallState::Calling && matches!(self.cancel, Cancel::Sent { .. })
    }

    /// Does what is due at `now`; harmless if nothing is.
    pub fn handle_timeout(&mut self, now: Stamp) {
        let invites = self.invites.iter_mut().map(|invite| invite.handle_timeout(now)).collect();
        if self.resend(invites) {
            self.give_up_invite(now, self.timed_out());
        }
        self.time_cancel(now);
        self.time_setup(now);
        self.time_pending(now);
        self.time_session(now);
        for server in &mut self.servers {
            if let TimerAction::Resend(answer) = server.handle_timeout(now) {
                self.outputs.push_back(CallOutput::Send(answer));
            }
        }
        self.servers.retain(|server| !server.is_over());
    }

    /// Gives the call up where its time to be answered is over.
    fn time_setup(&mut self, now: Stamp) {
        if is_due(self.setup_deadline, now) {
            self.setup_deadline = None;
            let reason = self.timed_out();
            self.end(CallEvent::Failed { reason, at: now });
            self.cancel(now);
        }
    }

    /// Sends again what timers ask for; true if one of them has run out.
    fn resend(&mut self, due: Vec<TimerAction>) -> bool {
        let mut has_timed_out = false;
        for action in due {
            match action {
                TimerAction::Nothing => {}
                TimerAction::Resend(datagram) => {
                    self.retransmissions += 1;
                    self.outputs.push_back(datagram.into());
                }
                TimerAction::TimedOut => has_timed_out = true,
            }
        }
        has_timed_out
    }

    fn time_cancel(&mut self, now: Stamp) {
        let Cancel::Sent { give_up } = self.cancel else { return };
        if self.state == CallState::Calling && give_up <= now {
            self.invites.iter_mut().filter(|i| i.is_pending()).for_each(InviteClient::abandon);
            self.give_up_invite(now, self.timed_out());
        }
    }

    /// The reason of an INVITE without a final answer: that none came, or that none could be read.
    fn timed_out(&self) -> FailReason {
        self.unreadable.clone().map_or(FailReason::Timeout, FailReason::Unreadable)
    }

    /// The INVITE has come to nothing: the call is over.
    fn give_up_invite(&mut self, now: Stamp, reason: FailReason) {
        if self.state != CallState::Calling {
            return;
        }
        self.state = CallState::Over;
        self.setup_deadline = None;
        self.forget_requests();
        let event = match self.cancel {
            Cancel::NotWanted => CallEvent::Failed { reason, at: now },
            Cancel::Wanted | Cancel::Sent { .. } => CallEvent::Cancelled { at: now },
        };
        self.end(event);
    }

    /// Wants the unanswered call to end, and sends CANCEL as soon as it may be sent.
    fn cancel(&mut self, now: Stamp) {
        self.setup_deadline = None;
        if matches!(self.cancel, Cancel::NotWanted) {
            self.cancel = Cancel::Wanted;
        }
        self.send_cancel_if_allowed(now);
    }

    fn send_cancel_if_allowed(&mut self, now: Stamp) {
        let Some(invite) = self.invites.last().filter(|invite| invite.is_proceeding()) else { return };
        if matches!(self.cancel, Cancel::Wanted) {
            let cancel = invite.request().cancel();
            self.ask(now, Purpose::Cancel, cancel, Tries::default());
            self.cancel = Cancel::Sent { give_up: now + CANCEL_WAIT };
        }
    }

    fn send_invite(&mut self, now: Stamp) {
        self.cseq += 1;
        // The early dialogs were the last INVITE's.
        self.early.clear();
        let Identity { to, headers, routes, .. } = self.config.identity.clone();
        let target = (self.config.target.clone(), routes);
        let request = Request {
            credentials: self.authorizations.answers(&Method::Invite, &self.config.target),
            headers: self.session.invite_headers().into_iter().chain(headers).collect(),
            sdp: Some(self.local_sdp.0.clone()),
            ..self.request(Method::Invite, self.cseq, to, target, self.config.remote)
        };
        let invite = InviteClient::new(now, request);
        self.outputs.push_back(invite.datagram().into());
        self.invites.push(invite);
    }

    /// Sends BYE in a dialog.
    fn send_bye(&mut self, now: Stamp, dialog: &Dialog, purpose: Purpose, reason: Option<&str>) {
        self.cseq += 1;
        let headers = reason.map(|reason| ("Reason".into(), reason.into())).into_iter().collect();
        let request = Request { headers, ..self.in_dialog(dialog, Method::Bye, self.cseq) };
        self.ask(now, purpose, request, Tries::default());
    }

    /// The dialog that a response to our INVITE makes.
    fn dialog_of(&self, response: &Message, vet: Vet<'_>) -> Dialog {
        Dialog::from_answer(response, &self.config, vet)
    }

    /// A request in a dialog (RFC 3261 12.2.1.1).
    fn in_dialog(&mut self, dialog: &Dialog, method: Method, cseq: u32) -> Request {
        let destination = dialog.next_hop().unwrap_or(self.config.remote);
        self.request(method, cseq, dialog.to.clone(), dialog.request_target(), destination)
    }

    fn request(
        &mut self,
        method: Method,
        cseq: u32,
        to: String,
        (uri, routes): (String, Vec<String>),
        destination: SocketAddr,
    ) -> Request {
        let branch = self.branch();
        let CallConfig { local, transport, identity, call_id, from_tag, .. } = &self.config;
        Request {
            method,
            uri,
            local: *local,
            transport: *transport,
            branch,
            from: format!("{};tag={from_tag}", identity.from),
            to,
            call_id: call_id.clone(),
            cseq,
            routes,
            credentials: Vec::new(),
            headers: Vec::new(),
            sdp: None,
            destination,
        }
    }

    /// A branch that no other request of the run has (RFC 3261 8.1.1.7).
    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK{:016x}-{}", self.config.seed, self.branches)
    }

    fn event(&mut self, event: CallEvent) {
        if !self.has_ended {
            self.outputs.push_back(CallOutput::Event(event));
        }
    }

    /// Gives out the ending event, unless there has been one.
    fn end(&mut self, event: CallEvent) {
        self.event(event);
        self.has_ended = true;
    }
}

impl From<SipDatagram> for CallOutput {
    fn from(datagram: SipDatagram) -> Self {
        CallOutput::Send(datagram)
    }
}

#[cfg(test)]
mod callee;
#[cfg(test)]
mod dialog_tests;
#[cfg(test)]
mod early_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod odd_tests;
#[cfg(test)]
mod offer_tests;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod realm_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transport_tests;
#[cfg(test)]
mod way_tests;
