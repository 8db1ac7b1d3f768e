//! Session timers (RFC 4028): which side refreshes the session, our refreshes by UPDATE or re-INVITE, and the end of a
//! session that nobody refreshes.

use std::net::SocketAddr;
use std::time::Duration;

use super::early::{is_in_turn, reliable};
use super::pending::Purpose;
use super::{Call, CallEvent, CallState};
use crate::sip::Vet;
use crate::sip::digest::Tries;
use crate::sip::grammar::{param, split};
use crate::sip::message::{Message, Method};
use crate::sip::outgoing::{Request, SipDatagram};
use crate::sip::parse::phrase;
use crate::sip::timers::{earliest, is_due};
use crate::sip::transaction::{InviteClient, TimerAction};
use crate::stamp::Stamp;

/// The most 422s in a row that raise the interval.
const MAX_RAISED: u8 = 2;
/// Shortest interval that is kept to. RFC 4028 4 wants 90 s at least; less than this would be a flood.
const SHORTEST: Duration = Duration::from_secs(2);
/// Soonest that a refresh is tried again.
const SOONEST: Duration = Duration::from_secs(1);
/// Least time after which a re-INVITE without a final answer is helped.
const HELPED_AFTER: Duration = Duration::from_millis(250);
/// The session is given up so long before its end, or a third of the interval where that is less (RFC 4028 10).
const BEFORE_END: Duration = Duration::from_secs(32);
/// The most re-INVITEs that are remembered, for answers that come again.
const MAX_REINVITES: usize = 8;

/// Side that refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresher {
    Us,
    Them,
}

/// A session's timers.
#[derive(Debug)]
pub(super) struct Session {
    /// Interval that our INVITE asks for, in seconds.
    wanted_s: Option<u32>,
    /// Least interval of the far end's, once it has said so: every request names it from then on (RFC 4028 7.4).
    min_s: Option<u32>,
    /// The 422s in a row.
    raised: u8,
    /// The far end takes UPDATE.
    takes_update: bool,
    /// The end of the connection over which the last refresh had gone.
    lost: Option<String>,
    running: Option<Running>,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    interval_s: u32,
    refresher: Refresher,
    /// Our next refresh, or the next try of one.
    refresh_at: Option<Stamp>,
    /// The session is given up unless it is refreshed before.
    expires_at: Stamp,
}

/// A re-INVITE of ours, which refreshes the session.
#[derive(Debug)]
pub(super) struct ReInvite {
    client: InviteClient,
    tries: Tries,
    /// The ACK of its 2xx, kept to be sent again.
    ack: Option<SipDatagram>,
    /// Number of its last reliable provisional response.
    rseq: Option<u32>,
    /// The session has been refreshed since: what comes of this one says nothing of it.
    is_superseded: bool,
    /// Its connection has ended. A 2xx may come over another one, and is acknowledged; else another refresh decides.
    is_lost: bool,
}

impl ReInvite {
    /// True if a response is its own.
    pub(super) fn matches(&self, response: &Message) -> bool {
        self.client.matches(response)
    }

    /// True for one that went to `peer`, has no final answer and is waited for.
    fn is_open_at(&self, peer: SocketAddr) -> bool {
        self.client.is_pending() && !self.is_lost && self.client.request().destination == peer
    }

    /// The ACK that went to `peer`, if it did.
    pub(super) fn ack_to(&mut self, peer: SocketAddr) -> Option<&mut SipDatagram> {
        self.ack.as_mut().filter(|ack| ack.destination == peer)
    }

    /// Waits for a final answer no longer.
    pub(super) fn give_up(&mut self) {
        if self.client.is_pending() {
            self.client.abandon();
        }
    }
}

/// Seconds at the begin of a header's value (RFC 3261 25.1 `delta-seconds`).
fn seconds(value: &str) -> Option<u32> {
    let digits = split(value, ';').next()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Interval and refresher of a message; the refresher is `true` for the side that sent the request.
fn session_expires(message: &Message) -> Option<(u32, Option<bool>)> {
    let value = message.other("Session-Expires")?;
    let refresher = param(value, "refresher").and_then(|side| match side {
        _ if side.eq_ignore_ascii_case("uac") => Some(true),
        _ if side.eq_ignore_ascii_case("uas") => Some(false),
        _ => None,
    });
    Some((seconds(value)?, refresher))
}

impl Session {
    pub(super) fn new(wanted_s: Option<u32>) -> Self {
        Session { wanted_s, min_s: None, raised: 0, takes_update: false, lost: None, running: None }
    }

    /// The headers of our INVITE: no refresher, so that the far end chooses.
    pub(super) fn invite_headers(&self) -> Vec<(String, String)> {
        let wanted = self.wanted_s.map(|s| ("Session-Expires".into(), s.to_string()));
        wanted.into_iter().chain(self.min_header()).collect()
    }

    fn min_header(&self) -> Option<(String, String)> {
        self.min_s.map(|s| ("Min-SE".into(), s.to_string()))
    }

    /// The headers of our refresh: who refreshes goes on to do so (RFC 4028 7.4).
    fn refresh_headers(&self, interval_s: u32) -> Vec<(String, String)> {
        let interval_s = interval_s.max(self.min_s.unwrap_or(0));
        let asked = ("Session-Expires".into(), format!("{interval_s};refresher=uac"));
        [asked].into_iter().chain(self.min_header()).collect()
    }

    /// Takes a 422; false if it names no longer interval than it refuses, or one too often.
    pub(super) fn raise(&mut self, response: &Message) -> bool {
        let asked = self.running.map(|running| running.interval_s).or(self.wanted_s).unwrap_or(0);
        let Some(least) = response.other("Min-SE").and_then(seconds) else { return false };
        if least <= asked || self.raised == MAX_RAISED {
            return false;
        }
        self.raised += 1;
        self.min_s = Some(least);
        self.wanted_s = Some(least);
        if let Some(running) = &mut self.running {
            running.interval_s = least;
        }
        true
    }

    /// Notes whether the far end takes UPDATE, where a message of its own says so.
    pub(super) fn note_methods(&mut self, message: &Message) {
        let mut named = message.allow().peekable();
        if named.peek().is_some() {
            self.takes_update = named.any(|method| method == Method::Update.as_str());
        }
        self.takes_update |= message.is_request() && *message.method() == Method::Update;
    }

    /// The session begins, or begins anew. Without an interval it has no end.
    fn restart(&mut self, now: Stamp, interval: Option<(u32, Refresher)>) {
        self.lost = None;
        self.running = interval.map(|(interval_s, refresher)| {
            let interval = Duration::from_secs(interval_s.into()).max(SHORTEST);
            let refresh_at = now + interval / 2;
            Running {
                interval_s,
                refresher,
                refresh_at: (refresher == Refresher::Us).then_some(refresh_at),
                expires_at: now + (interval - BEFORE_END.min(interval / 3)),
            }
        });
    }

    /// A 2xx to our INVITE or refresh: what it says holds, and what it leaves out is off (RFC 4028 7.2).
    pub(super) fn agreed(&mut self, now: Stamp, response: &Message) {
        // Not by a refresh of the far end's: with one between two 422s it would have us raise for ever.
        self.raised = 0;
        let interval = session_expires(response);
        let refresher = |is_asker| if is_asker { Refresher::Us } else { Refresher::Them };
        self.restart(now, interval.map(|(interval_s, asker)| (interval_s, refresher(asker.unwrap_or(true)))));
    }

    /// A re-INVITE or UPDATE of the far end's: the headers of our 2xx (RFC 4028 9).
    pub(super) fn asked(&mut self, now: Stamp, request: &Message) -> Vec<(&'static str, String)> {
        let Some((interval_s, asker)) = session_expires(request) else {
            self.restart(now, None);
            return Vec::new();
        };
        // One that has no timers cannot be the one that refreshes: a proxy asks.
        let is_timer = |tag: &str| tag.eq_ignore_ascii_case("timer");
        let has_timers = request.supported().any(is_timer) || request.require().any(is_timer);
        let is_asker = has_timers && asker.unwrap_or(true);
        let (refresher, word) = if is_asker { (Refresher::Them, "uac") } else { (Refresher::Us, "uas") };
        self.restart(now, Some((interval_s, refresher)));
        let mut headers = vec![("Session-Expires", format!("{interval_s};refresher={word}"))];
        if is_asker {
            headers.push(("Require", "timer".into()));
        }
        headers
    }
}

impl Call {
    pub(super) fn session_timeout(&self) -> Option<Stamp> {
        let session = self.session.running.filter(|_| self.state == CallState::Up);
        let session = session.map(|running| earliest([running.refresh_at, Some(running.expires_at)]));
        let reinvites = self.reinvites.iter().map(|reinvite| reinvite.client.poll_timeout());
        earliest(reinvites.chain([session.flatten()]))
    }

    /// Refreshes the session when that is due, and gives up one that has not been refreshed.
    pub(super) fn time_session(&mut self, now: Stamp) {
        self.time_reinvites(now);
        let Some(running) = self.session.running.filter(|_| self.state == CallState::Up) else { return };
        if running.expires_at <= now {
            let interval_s = running.interval_s;
            let why = match (running.refresher, &self.session.lost) {
                (Refresher::Them, _) => {
                    format!("the far end did not refresh it within its {interval_s} s (RFC 4028)")
                }
                (Refresher::Us, None) => {
                    format!("the far end agreed to no refresh within its {interval_s} s (RFC 4028)")
                }
                (Refresher::Us, Some(why)) => {
                    format!("no refresh got through within its {interval_s} s (RFC 4028): {why}")
                }
            };
            self.expire(now, why);
        } else if is_due(running.refresh_at, now) {
            self.refresh(now);
        }
    }

    fn time_reinvites(&mut self, now: Stamp) {
        let mut has_timed_out = false;
        for reinvite in &mut self.reinvites {
            match reinvite.client.handle_timeout(now) {
                TimerAction::Nothing => {}
                TimerAction::Resend(datagram) => {
                    self.retransmissions += 1;
                    self.outputs.push_back(datagram.into());
                }
                TimerAction::TimedOut => has_timed_out |= !reinvite.is_superseded && !reinvite.is_lost,
            }
        }
        if has_timed_out {
            self.on_refreshed(now, &Method::Invite, 408, None);
        }
        let is_needed = |r: &ReInvite| r.client.is_pending() || r.client.poll_timeout().is_some();
        self.reinvites.retain(is_needed);
    }

    /// True while a re-INVITE of ours has no final answer, and may get one.
    pub(super) fn is_reinviting(&self) -> bool {
        self.reinvites.iter().any(|reinvite| reinvite.client.is_pending() && !reinvite.is_lost)
    }

    /// The connection to `peer` has ended: refreshes on their way there have no answer, and another one follows.
    pub(super) fn lose_refreshes(&mut self, now: Stamp, peer: SocketAddr, why: &str) {
        let mut is_lost = self.drop_refreshes(peer);
        for reinvite in self.reinvites.iter_mut().filter(|reinvite| reinvite.is_open_at(peer)) {
            reinvite.is_lost = true;
            is_lost |= !reinvite.is_superseded;
        }
        let running = self.session.running.as_mut().filter(|running| running.refresher == Refresher::Us);
        if let Some(running) = running.filter(|_| is_lost) {
            running.refresh_at = Some(now + SOONEST);
            self.session.lost = Some(phrase(why));
        }
    }

    /// Sends a refresh: an UPDATE without an offer where the far end takes one (RFC 4028 7.4), else a re-INVITE with
    /// our description as it is. A re-INVITE that has no final answer for long is helped by an UPDATE.
    fn refresh(&mut self, now: Stamp) {
        let Some(mut running) = self.session.running else { return };
        let by_update = self.session.takes_update || self.is_reinviting();
        let left = running.expires_at.since(now) / 2;
        running.refresh_at = (!by_update && left >= HELPED_AFTER).then(|| now + left);
        self.session.running = Some(running);
        let headers = self.session.refresh_headers(running.interval_s);
        let method = if by_update { Method::Update } else { Method::Invite };
        let Some(request) = self.own_request(method, headers) else { return };
        match by_update {
            true => self.ask(now, Purpose::Refresh, request, Tries::default()),
            false => self.reinvite(now, request, Tries::default()),
        }
    }

    /// A request in the call's own dialog.
    fn own_request(&mut self, method: Method, headers: Vec<(String, String)>) -> Option<Request> {
        let dialog = self.leg.as_ref()?.dialog.clone();
        self.cseq += 1;
        Some(Request { headers, ..self.in_dialog(&dialog, method, self.cseq) })
    }

    fn reinvite(&mut self, now: Stamp, request: Request, tries: Tries) {
        let credentials = self.authorizations.answers(&request.method, &request.uri);
        let sdp = Some(self.local_sdp.0.clone());
        let client = InviteClient::new(now, Request { credentials, sdp, ..request });
        self.outputs.push_back(client.datagram().into());
        if self.reinvites.len() == MAX_REINVITES {
            self.reinvites.remove(0);
        }
        self.reinvites.push(ReInvite {
            client,
            tries,
            ack: None,
            rseq: None,
            is_superseded: false,
            is_lost: false,
        });
    }

    /// A response to a re-INVITE of ours.
    pub(super) fn on_reinvite_response(
        &mut self,
        now: Stamp,
        at: usize,
        code: u16,
        response: &Message,
        vet: Vet<'_>,
    ) {
        match code {
            100..=199 => self.on_reinvite_progress(now, at, response),
            200..=299 => self.on_reinvite_success(now, at, code, response, vet),
            _ => self.on_reinvite_rejection(now, at, code, response),
        }
    }

    fn on_reinvite_progress(&mut self, now: Stamp, at: usize, response: &Message) {
        let reinvite = &mut self.reinvites[at];
        let is_open = reinvite.client.on_provisional();
        let Some(rseq) = reliable(response).filter(|_| is_open) else { return };
        if is_in_turn(reinvite.rseq, rseq)
            && let Some(dialog) = self.leg.as_ref().map(|leg| leg.dialog.clone())
        {
            reinvite.rseq = Some(rseq);
            self.acknowledge_provisional(now, &dialog, response, rseq);
        }
    }

    fn on_reinvite_success(&mut self, now: Stamp, at: usize, code: u16, response: &Message, vet: Vet<'_>) {
        let reinvite = &mut self.reinvites[at];
        if !reinvite.client.on_success(now) {
            return;
        }
        if let Some(ack) = reinvite.ack.clone() {
            self.retransmissions += 1;
            self.outputs.push_back(ack.into());
            return;
        }
        let credentials = reinvite.client.request().credentials.clone();
        let Some(leg) = &mut self.leg else { return };
        leg.dialog.refresh_target(response, vet);
        let dialog = leg.dialog.clone();
        let ack = self.in_dialog(&dialog, Method::Ack, response.cseq().number);
        let ack = Request { credentials, ..ack }.datagram();
        self.outputs.push_back(ack.clone().into());
        self.reinvites[at].ack = Some(ack);
        self.on_answer_again(now, response, vet);
        self.on_refreshed(now, &Method::Invite, code, Some(response));
    }

    fn on_reinvite_rejection(&mut self, now: Stamp, at: usize, code: u16, response: &Message) {
        let reinvite = &mut self.reinvites[at];
        let Some((ack, is_first)) = reinvite.client.on_rejection(now, response) else { return };
        let (request, mut tries) = (reinvite.client.request().clone(), reinvite.tries.clone());
        let is_awaited = !reinvite.is_superseded && !reinvite.is_lost;
        let is_of_use = is_first && is_awaited && self.state == CallState::Up;
        self.outputs.push_back(ack.into());
        if !is_of_use {
            self.retransmissions += u32::from(!is_first);
            return;
        }
        if matches!(code, 401 | 407) && self.authorizations.challenged(response, &mut tries).is_ok() {
            self.cseq += 1;
            let (cseq, branch) = (self.cseq, self.branch());
            self.reinvite(now, Request { cseq, branch, ..request }, tries);
            return;
        }
        self.on_refreshed(now, &Method::Invite, code, Some(response));
    }

    /// A refresh has its final answer, or will get none: a 408.
    pub(super) fn on_refreshed(
        &mut self,
        now: Stamp,
        method: &Method,
        code: u16,
        response: Option<&Message>,
    ) {
        if self.state != CallState::Up {
            return;
        }
        if let (200..=299, Some(response)) = (code, response) {
            self.reinvites.iter_mut().for_each(|reinvite| reinvite.is_superseded = true);
            return self.session.agreed(now, response);
        }
        let Some(running) = self.session.running else { return };
        let again_at = match (code, response) {
            (422, Some(response)) if self.session.raise(response) => return self.refresh(now),
            (405 | 501, _) if *method == Method::Update => {
                self.session.takes_update = false;
                if !self.is_reinviting() {
                    self.refresh(now);
                }
                return;
            }
            // The dialog is gone (RFC 4028 10).
            (408, _) => return self.expire(now, "the far end answered no refresh (RFC 4028)".into()),
            (481, _) => return self.expire(now, "the far end answered a refresh with 481".into()),
            // Both sides asked at once. Ours is the Call-ID: the longer wait (RFC 3261 14.1).
            (491, _) => now + self.glare_wait(),
            _ => now + (running.expires_at.since(now) / 2).max(SOONEST),
        };
        if let Some(running) = &mut self.session.running {
            running.refresh_at = Some(again_at);
        }
    }

    /// 2.1 s to 4 s in steps of 10 ms, another one each time.
    fn glare_wait(&self) -> Duration {
        let dice = (self.config.seed ^ u64::from(self.branches)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        Duration::from_millis(2100 + 10 * (dice % 191))
    }

    /// Hangs up a call whose session has run out.
    fn expire(&mut self, now: Stamp, why: String) {
        self.session.running = None;
        self.end(CallEvent::Expired { at: now, why });
        self.hang_up_because(now, Some("SIP;cause=408;text=\"Session timer expired\""));
    }
}
