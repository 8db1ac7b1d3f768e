//! One registration (RFC 3261 10.2): asked for, kept fresh, and taken back at the end.
//!
//! After every input, drain [`Registration::poll`] and look at [`Registration::poll_timeout`] again.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::digest::{Authorizations, Credentials, Tries};
use super::identity::Identity;
use super::message::{Message, Method};
use super::outgoing::{Request, SipDatagram};
use super::parse::phrase;
use super::salvage::Unreadable;
use super::timers::{earliest, is_due};
use super::transaction::{Client, TimerAction};
use super::transport::{Broken, Transport};
use super::user_part;
use crate::stamp::Stamp;

/// Soonest refresh, whatever a registrar grants: it must not make a flood of us.
const SOONEST_REFRESH: Duration = Duration::from_millis(500);
/// Longest pause after a refresh that failed: half of what is left of the registration, where that is less.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Longest time that a registrar's Min-Expires may ask us for.
const LONGEST_S: u32 = 7 * 24 * 3600;

/// Everything that a registration is made with.
#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    /// The Request-URI: the domain of the registrar.
    pub registrar: String,
    /// From and To are the address of record; headers of one's own, and the route.
    pub identity: Identity,
    /// User part of Contact.
    pub user: String,
    /// Destination of the requests.
    pub remote: SocketAddr,
    /// Our own address as others reach it.
    pub local: SocketAddr,
    /// Transport of the requests, and of what comes to the Contact.
    pub transport: Transport,
    /// The Call-ID, one for all requests of the registration.
    pub call_id: String,
    /// Our tag.
    pub from_tag: String,
    /// Makes the branches and client nonces, and spreads the refreshes. Differs between registrations.
    pub seed: u64,
    /// Answers challenges, if there are any.
    pub credentials: Option<Credentials>,
    /// Seconds that are asked for.
    pub expires_s: u32,
    /// Longest wait for a final answer.
    pub timeout: Duration,
}

/// Output of a registration, to be handled in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOutput {
    /// A datagram to be sent.
    Send(SipDatagram),
    /// An event for its owner.
    Event(RegisterEvent),
}

/// Event of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterEvent {
    /// It is there.
    Registered {
        /// Time from the first REGISTER to its 200, challenges included.
        took: Duration,
    },
    /// It did not come about. Ends it.
    Failed(RegisterFailure),
    /// It was made fresh in time.
    Refreshed,
    /// It could not be made fresh, and is tried again later.
    RefreshFailed(RegisterFailure),
    /// It was taken back, or nobody answered that. Ends it.
    Left {
        /// The registrar has agreed.
        is_agreed: bool,
    },
}

/// Reason of a registration that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterFailure {
    /// The final answer; `None` if none came in time.
    pub code: Option<u16>,
    /// The reason in words.
    pub reason: String,
}

impl fmt::Display for RegisterFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code} {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Register,
    Refresh,
    Leave,
}

/// A REGISTER that has no final answer yet, challenges met so far included.
#[derive(Debug)]
struct Asking {
    purpose: Purpose,
    began: Stamp,
    deadline: Stamp,
    transaction: Client,
    tries: Tries,
    /// A 423 has been answered.
    is_longer: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Asking(Box<Asking>),
    /// Registered, or about to try again.
    Waiting(Stamp),
    Over,
}

/// A registration.
#[derive(Debug)]
pub struct Registration {
    config: RegistrationConfig,
    authorizations: Authorizations,
    state: State,
    expires_s: u32,
    /// Time for which it was granted last, and its end.
    granted: Duration,
    ends_at: Stamp,
    requests: u32,
    retransmissions: u32,
    unreadable: Option<String>,
    outputs: VecDeque<RegisterOutput>,
}

impl Registration {
    /// A registration that is not asked for yet.
    pub fn new(config: RegistrationConfig) -> Self {
        let from = super::grammar::NameAddr::parse(&config.identity.from).uri.to_string();
        Registration {
            authorizations: Authorizations::new(config.credentials.clone(), from, config.seed),
            state: State::Idle,
            expires_s: config.expires_s,
            granted: Duration::ZERO,
            ends_at: Stamp::ZERO,
            requests: 0,
            retransmissions: 0,
            unreadable: None,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// The Call-ID, by which messages find this registration.
    pub fn call_id(&self) -> &str {
        &self.config.call_id
    }

    /// Requests sent again by timers.
    pub fn retransmissions(&self) -> u32 {
        self.retransmissions
    }

    /// True once nothing is left to wait for.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<RegisterOutput> {
        self.outputs.pop_front()
    }

    /// True if it has been asked for, and has neither failed nor been taken back: the registrar may hold it.
    pub fn may_be_held(&self) -> bool {
        !matches!(self.state, State::Idle | State::Over)
    }

    /// Asks for the registration. Does nothing where that has been done.
    pub fn start(&mut self, now: Stamp) {
        if matches!(self.state, State::Idle) {
            self.ask(now, Purpose::Register);
        }
    }

    /// Takes the registration back where there is one.
    pub fn stop(&mut self, now: Stamp) {
        match &self.state {
            State::Idle => self.state = State::Over,
            State::Asking(asking) if asking.purpose == Purpose::Leave => {}
            State::Asking(_) | State::Waiting(_) => self.ask(now, Purpose::Leave),
            State::Over => {}
        }
    }

    /// Takes a message with this registration's Call-ID; `now` is when it was received.
    pub fn handle_message(&mut self, now: Stamp, message: &Message) {
        let Some(code) = message.status() else { return };
        let is_ours = message.from_tag() == Some(self.config.from_tag.as_str());
        let State::Asking(asking) = &mut self.state else { return };
        if !is_ours || !asking.transaction.matches(message) {
            return;
        }
        if !asking.transaction.on_response(now, code) {
            return;
        }
        match code {
            401 | 407 => match self.authorizations.challenged(message, &mut asking.tries) {
                Ok(()) => self.ask_again(now),
                Err(error) => self.failed(now, Some(code), error.to_string()),
            },
            423 if !asking.is_longer && asking.purpose != Purpose::Leave => self.on_too_brief(now, message),
            200..=299 => self.on_success(now, message),
            _ => self.failed(now, Some(code), phrase(message.reason_phrase())),
        }
    }

    /// Takes a message of this registration that cannot be read. It is discarded, but may be the reason of what follows.
    pub fn handle_unreadable(&mut self, unreadable: &Unreadable) {
        self.unreadable.get_or_insert_with(|| phrase(&unreadable.to_string()));
    }

    /// Takes the end of a connection. A request that went there and has no answer goes out once more, over another one.
    pub fn handle_transport_error(&mut self, now: Stamp, broken: &Broken) {
        let State::Asking(asking) = &mut self.state else { return };
        if !asking.transaction.is_open_at(broken.peer) {
            return;
        }
        if let Some(datagram) = asking.transaction.on_transport_error(broken.peer) {
            self.retransmissions += 1;
            self.outputs.push_back(RegisterOutput::Send(datagram));
            return;
        }
        let reason = self.unread().unwrap_or_else(|| phrase(&broken.why));
        self.failed(now, None, reason);
    }

    /// The reason of a request without an answer that can be read, where one came that cannot.
    fn unread(&mut self) -> Option<String> {
        let why = self.unreadable.take()?;
        Some(format!("the registrar answers, but cannot be read: {why}"))
    }

    /// The next deadline for [`Registration::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        match &self.state {
            State::Asking(asking) => earliest([asking.transaction.poll_timeout(), Some(asking.deadline)]),
            State::Waiting(until) => Some(*until),
            State::Idle | State::Over => None,
        }
    }

    /// Does what is due at `now`; harmless if nothing is.
    pub fn handle_timeout(&mut self, now: Stamp) {
        match &mut self.state {
            State::Asking(asking) => {
                let has_timed_out = match asking.transaction.handle_timeout(now) {
                    TimerAction::Resend(datagram) => {
                        self.retransmissions += 1;
                        self.outputs.push_back(RegisterOutput::Send(datagram));
                        false
                    }
                    TimerAction::Nothing => false,
                    _ => true,
                };
                if has_timed_out || is_due(Some(asking.deadline), now) {
                    let reason = self.unread().unwrap_or_else(|| "no answer in time".into());
                    self.failed(now, None, reason);
                }
            }
            State::Waiting(until) if is_due(Some(*until), now) => self.ask(now, Purpose::Refresh),
            State::Waiting(_) | State::Idle | State::Over => {}
        }
    }

    fn ask(&mut self, now: Stamp, purpose: Purpose) {
        let transaction = self.send(now, purpose);
        let deadline = now + self.config.timeout;
        let (tries, is_longer) = (Tries::default(), false);
        self.state =
            State::Asking(Box::new(Asking { purpose, began: now, deadline, transaction, tries, is_longer }));
    }

    /// Sends the request anew, with the answers to its challenges.
    fn ask_again(&mut self, now: Stamp) {
        let State::Asking(asking) = &self.state else { return };
        let transaction = self.send(now, asking.purpose);
        if let State::Asking(asking) = &mut self.state {
            asking.transaction = transaction;
        }
    }

    fn send(&mut self, now: Stamp, purpose: Purpose) -> Client {
        self.requests += 1;
        let credentials = self.authorizations.answers(&Method::Register, &self.config.registrar);
        let expires_s = if purpose == Purpose::Leave { 0 } else { self.expires_s };
        let RegistrationConfig {
            registrar, identity, remote, local, transport, call_id, from_tag, seed, ..
        } = &self.config;
        let own = [
            ("Contact".to_string(), format!("<{}>", self.contact())),
            ("Expires".into(), expires_s.to_string()),
        ];
        let request = Request {
            method: Method::Register,
            uri: registrar.clone(),
            local: *local,
            transport: *transport,
            branch: format!("z9hG4bK{seed:016x}r{}", self.requests),
            from: format!("{};tag={from_tag}", identity.from),
            to: identity.to.clone(),
            call_id: call_id.clone(),
            cseq: self.requests,
            routes: identity.routes.clone(),
            credentials,
            headers: own.into_iter().chain(identity.headers.iter().cloned()).collect(),
            sdp: None,
            destination: *remote,
        };
        let transaction = Client::new(now, &request);
        self.outputs.push_back(RegisterOutput::Send(transaction.datagram()));
        transaction
    }

    /// The URI that is bound to the address of record.
    fn contact(&self) -> String {
        let RegistrationConfig { user, local, transport, .. } = &self.config;
        format!("sip:{}@{local}{}", user_part(user), transport.uri_param())
    }

    fn on_success(&mut self, now: Stamp, answer: &Message) {
        let State::Asking(asking) = &self.state else { return };
        let (purpose, began) = (asking.purpose, asking.began);
        if purpose == Purpose::Leave {
            self.state = State::Over;
            self.event(RegisterEvent::Left { is_agreed: true });
            return;
        }
        let granted_s = answer.granted_s(&self.contact()).unwrap_or(self.expires_s);
        if granted_s == 0 {
            self.failed(now, answer.status(), "the registrar keeps it for 0 s".into());
            return;
        }
        self.granted = Duration::from_secs(granted_s.into());
        self.ends_at = now + self.granted;
        self.state = State::Waiting(now + self.refresh_after(granted_s));
        self.event(match purpose {
            Purpose::Register => RegisterEvent::Registered { took: now.since(began) },
            _ => RegisterEvent::Refreshed,
        });
    }

    /// Between 80 and 90 % of what was granted, another share for each registration: those of a storm do not all come back
    /// at once.
    fn refresh_after(&self, granted_s: u32) -> Duration {
        let spread = f64::from((self.config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8) / 256.0;
        Duration::from_secs_f64(f64::from(granted_s) * (0.8 + 0.1 * spread)).max(SOONEST_REFRESH)
    }

    /// Pause after a refresh that failed; one that has run out is asked for as often as one that has just been granted.
    fn retry_after(&self, now: Stamp) -> Duration {
        let left = self.ends_at.since(now);
        let left = if left.is_zero() { self.granted } else { left };
        (left / 2).clamp(SOONEST_REFRESH, RETRY_AFTER)
    }

    /// A 423 (RFC 3261 10.2.8): asks once more, for as long as the registrar wants.
    fn on_too_brief(&mut self, now: Stamp, answer: &Message) {
        let least = answer.min_expires_s().filter(|least| (self.expires_s + 1..=LONGEST_S).contains(least));
        let Some(least) = least else {
            self.failed(
                now,
                Some(423),
                format!("{}; no Min-Expires that would do", phrase(answer.reason_phrase())),
            );
            return;
        };
        self.expires_s = least;
        if let State::Asking(asking) = &mut self.state {
            asking.is_longer = true;
        }
        self.ask_again(now);
    }

    fn failed(&mut self, now: Stamp, code: Option<u16>, reason: String) {
        let State::Asking(asking) = &self.state else { return };
        let failure = RegisterFailure { code, reason };
        match asking.purpose {
            Purpose::Register => {
                self.state = State::Over;
                self.event(RegisterEvent::Failed(failure));
            }
            Purpose::Refresh => {
                self.state = State::Waiting(now + self.retry_after(now));
                self.event(RegisterEvent::RefreshFailed(failure));
            }
            Purpose::Leave => {
                self.state = State::Over;
                self.event(RegisterEvent::Left { is_agreed: false });
            }
        }
    }

    fn event(&mut self, event: RegisterEvent) {
        self.outputs.push_back(RegisterOutput::Event(event));
    }
}

#[cfg(test)]
mod tests;
