//! The scripted callee of the tests: it answers as Asterisk does, and is written without our
//! transactions so that it can disagree with them.

use std::time::Duration;

use crate::sip::message::{Message, Method};
use crate::sip::timers::{T1, T2};
use crate::stamp::Stamp;

pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=Asterisk\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 11000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n";

/// The callee's behaviour in a call.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// Number of INVITEs that get a 401; `stale`: the later ones say that the nonce was stale.
    pub(super) challenges: u32,
    pub(super) stale: bool,
    /// Provisional responses and when, after the INVITE.
    pub(super) provisional: Vec<(Duration, u16)>,
    /// The final response and when; `None`: none ever.
    pub(super) answer: Option<(Duration, u16)>,
    pub(super) sdp: String,
    /// Headers of the final response, each with its line end.
    pub(super) headers: String,
    /// Time from the answer to the callee's own BYE.
    pub(super) hangs_up: Option<Duration>,
    /// The answer to BYE.
    pub(super) bye_code: u16,
    /// Neither hears nor says anything.
    pub(super) deaf_to: Vec<Method>,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            challenges: 0,
            stale: false,
            provisional: vec![(Duration::ZERO, 100), (Duration::from_millis(20), 180)],
            answer: Some((Duration::from_millis(100), 200)),
            sdp: SDP.into(),
            headers: "Contact: <sip:192.0.2.1:5060>\r\n".into(),
            hangs_up: None,
            bye_code: 200,
            deaf_to: Vec::new(),
        }
    }
}

/// A final answer to an INVITE, or our BYE: sent until somebody confirms it.
#[derive(Debug)]
struct Repeated {
    cseq: u32,
    bytes: Vec<u8>,
    next: Stamp,
    interval: Duration,
    until: Stamp,
    is_bye: bool,
    is_success: bool,
}

#[derive(Debug)]
enum Todo {
    Respond(u16),
    HangUp,
}

#[derive(Debug)]
pub(super) struct Callee {
    script: Script,
    pub(super) out: Vec<Vec<u8>>,
    /// The call is up from the callee's point of view.
    pub(super) is_up: bool,
    pub(super) received: Vec<Message>,
    invite: Option<Message>,
    challenged: u32,
    todo: Vec<(Stamp, Todo)>,
    repeated: Vec<Repeated>,
    /// Branch and method of what was answered, with the answer.
    answered: Vec<(String, Vec<u8>)>,
}

fn key(message: &Message) -> String {
    format!("{}|{}", message.branch().unwrap_or_default(), message.method())
}

impl Callee {
    pub(super) fn new(script: Script) -> Self {
        Callee {
            script,
            out: Vec::new(),
            is_up: false,
            received: Vec::new(),
            invite: None,
            challenged: 0,
            todo: Vec::new(),
            repeated: Vec::new(),
            answered: Vec::new(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Stamp> {
        let todo = self.todo.iter().map(|(at, _)| *at);
        todo.chain(self.repeated.iter().map(|r| r.next.min(r.until))).min()
    }

    pub(super) fn handle_message(&mut self, now: Stamp, message: Message) {
        self.received.push(message.clone());
        if self.script.deaf_to.contains(message.method()) {
            return;
        }
        if !message.is_request() {
            self.repeated.retain(|r| !(r.is_bye && r.cseq == message.cseq().number));
            return;
        }
        if *message.method() == Method::Ack {
            self.repeated.retain(|r| r.is_bye || r.cseq != message.cseq().number);
            return;
        }
        if let Some((_, answer)) = self.answered.iter().find(|(k, _)| *k == key(&message)) {
            self.out.push(answer.clone());
            return;
        }
        match message.method() {
            Method::Invite => self.on_invite(now, message),
            Method::Cancel => self.on_cancel(now, &message),
            Method::Bye => self.on_bye(&message),
            Method::Prack | Method::Update => {
                let bytes = response(&message, 200, "", "");
                self.answered.push((key(&message), bytes.clone()));
                self.out.push(bytes);
            }
            other => panic!("the call should not send {other}"),
        }
    }

    fn on_invite(&mut self, now: Stamp, invite: Message) {
        if self.invite.as_ref().is_some_and(|known| key(known) == key(&invite)) {
            return;
        }
        // An INVITE that overtakes the one before it is a newer attempt; an older one is of no use.
        if self.invite.as_ref().is_some_and(|known| known.cseq().number > invite.cseq().number) {
            return;
        }
        self.invite = Some(invite);
        if self.challenged < self.script.challenges {
            self.challenged += 1;
            self.respond(now, 401);
            return;
        }
        self.todo
            .extend(self.script.provisional.iter().map(|(after, code)| (now + *after, Todo::Respond(*code))));
        self.todo.extend(self.script.answer.map(|(after, code)| (now + after, Todo::Respond(code))));
    }

    fn on_cancel(&mut self, now: Stamp, cancel: &Message) {
        let is_ringing = self.todo.iter().any(|(_, todo)| matches!(todo, Todo::Respond(_)));
        let is_pending = is_ringing || (self.script.answer.is_none() && self.invite.is_some());
        let bytes = response(cancel, if self.invite.is_some() { 200 } else { 481 }, "", "");
        self.answered.push((key(cancel), bytes.clone()));
        self.out.push(bytes);
        if is_pending {
            self.todo.clear();
            self.respond(now, 487);
        }
    }

    fn on_bye(&mut self, bye: &Message) {
        let code = if self.is_up { self.script.bye_code } else { 481 };
        let bytes = response(bye, code, "", "");
        self.answered.push((key(bye), bytes.clone()));
        self.out.push(bytes);
        self.is_up = false;
        self.todo.clear();
        self.repeated.retain(|r| r.is_bye);
    }

    /// Answers the INVITE; a final answer is repeated until its ACK.
    fn respond(&mut self, now: Stamp, code: u16) {
        let invite = self.invite.clone().expect("there is an INVITE to answer");
        let (headers, sdp) = match code {
            401 => {
                let stale = if self.script.stale && self.challenged > 1 { ", stale=true" } else { "" };
                let nonce = self.challenged;
                let challenge = format!("Digest realm=\"asterisk\", nonce=\"n{nonce}\", qop=\"auth\"{stale}");
                (format!("WWW-Authenticate: {challenge}\r\n"), "")
            }
            200 => (self.script.headers.clone(), self.script.sdp.as_str()),
            _ => (self.script.headers.clone(), ""),
        };
        let bytes = response(&invite, code, &headers, sdp);
        self.out.push(bytes.clone());
        if code < 200 {
            return;
        }
        self.answered.push((key(&invite), bytes.clone()));
        self.is_up = code == 200;
        if let Some(after) = self.script.hangs_up.filter(|_| self.is_up) {
            self.todo.push((now + after, Todo::HangUp));
        }
        let cseq = invite.cseq().number;
        self.repeat(now, cseq, bytes, code == 200, false);
    }

    fn repeat(&mut self, now: Stamp, cseq: u32, bytes: Vec<u8>, is_success: bool, is_bye: bool) {
        let until = now + T1 * 64;
        self.repeated.push(Repeated { cseq, bytes, next: now + T1, interval: T1, until, is_bye, is_success });
    }

    fn hang_up(&mut self, now: Stamp) {
        self.is_up = false;
        let bytes = self.request("BYE", 1, "z9hG4bKcallee-bye", "Reason: Q.850;cause=16\r\n", "");
        self.out.push(bytes.clone());
        self.repeat(now, 1, bytes, false, true);
    }

    /// A request in the dialog from the callee's side.
    pub(super) fn request(
        &self,
        method: &str,
        cseq: u32,
        branch: &str,
        headers: &str,
        body: &str,
    ) -> Vec<u8> {
        let invite = self.invite.as_ref().expect("there is a dialog");
        let (from, to) = (invite.to(), invite.from());
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:alice@192.0.2.9:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch={branch};rport\r\n\
             From: {from};tag=callee-tag\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:192.0.2.1:5060>\r\n{headers}{content}Content-Length: {}\r\n\r\n{body}",
            invite.call_id(),
            body.len()
        )
        .into_bytes()
    }

    pub(super) fn handle_timeout(&mut self, now: Stamp) {
        while let Some(i) = self.todo.iter().position(|(at, _)| *at <= now) {
            match self.todo.remove(i).1 {
                Todo::Respond(code) => self.respond(now, code),
                Todo::HangUp if self.is_up => self.hang_up(now),
                Todo::HangUp => {}
            }
        }
        for repeated in self.repeated.iter_mut().filter(|r| r.next <= now && r.until > now) {
            self.out.push(repeated.bytes.clone());
            repeated.interval = (repeated.interval * 2).min(T2);
            repeated.next = now + repeated.interval;
        }
        let without_ack = self.repeated.iter().any(|r| r.until <= now && r.is_success);
        self.repeated.retain(|r| r.until > now);
        if without_ack && self.is_up {
            self.hang_up(now);
        }
    }
}

/// A response of the callee's; its To tag is `callee-tag`.
pub(super) fn response(request: &Message, code: u16, headers: &str, sdp: &str) -> Vec<u8> {
    response_from("callee-tag", request, code, headers, sdp)
}

pub(super) fn response_from(tag: &str, request: &Message, code: u16, headers: &str, sdp: &str) -> Vec<u8> {
    let to = request.to();
    let tag = if code == 100 || to.contains("tag=") { String::new() } else { format!(";tag={tag}") };
    let content = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "SIP/2.0 {code} Because\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n\
         {headers}{content}Content-Length: {}\r\n\r\n{sdp}",
        request.via(),
        request.from(),
        request.call_id(),
        request.cseq().number,
        request.method(),
        sdp.len()
    )
    .into_bytes()
}
