//! A SIP far end that spells well and means no good: its messages, made of what the call has sent.

use std::collections::HashSet;

use arbitrary::{Result, Unstructured};
use loadtest::sip::{Message, Method, parse};
use strum::VariantArray;

/// A response to one of the requests.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// The request, counted back from the last.
    request: u8,
    code: Code,
    /// The tag of To: some far end of a fork, or none.
    tag: u8,
    body: Body,
    flaw: Flaw,
}

/// A request within the dialog, or nearly so.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    method: Asked,
    tag: u8,
    cseq: u8,
    branch: u8,
    body: Body,
    flaw: Flaw,
}

#[derive(Debug, Clone, Copy, VariantArray)]
enum Code {
    Trying,
    Ringing,
    Progress,
    Ok,
    Accepted,
    Moved,
    Unauthorized,
    ProxyUnauthorized,
    Stale,
    Gone,
    Busy,
    Terminated,
    Broken,
    Decline,
    TooSmall,
    Pending,
}

#[derive(Debug, Clone, Copy, VariantArray)]
enum Asked {
    Invite,
    Ack,
    Bye,
    Cancel,
    Update,
    Options,
    Info,
    Refer,
    Prack,
}

#[derive(Debug, Clone, Copy, VariantArray)]
enum Body {
    Good,
    Moved,
    Held,
    Inactive,
    Nothing,
    Video,
    Garbage,
}

#[derive(Debug, Clone, Copy, VariantArray)]
enum Flaw {
    None,
    OtherCall,
    OtherFrom,
    TwoVias,
    OtherCseq,
    OtherBranch,
    NoContact,
    LongReason,
    Routes,
    Require,
    /// The provisional response wants a PRACK.
    Reliable,
    /// The session, or the registration, is to be refreshed.
    Timer,
}

/// One of the variants.
pub fn any<T: VariantArray + Copy>(bytes: &mut Unstructured<'_>) -> Result<T> {
    bytes.choose(T::VARIANTS).copied()
}

/// Steps made one after another out of the bytes, until there are no more.
pub fn steps<T>(
    mut bytes: Unstructured<'_>,
    most: usize,
    step: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Vec<T> {
    let mut steps = Vec::new();
    while !bytes.is_empty() && steps.len() < most {
        // Invariant: bytes that have run out read as zeros.
        steps.extend(step(&mut bytes));
    }
    steps
}

impl Reply {
    /// Any reply.
    pub fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let (code, body, flaw) = (any(bytes)?, any(bytes)?, any(bytes)?);
        Ok(Reply { request: bytes.arbitrary()?, code, tag: bytes.arbitrary()?, body, flaw })
    }

    /// A good answer to a request.
    pub fn ok(request: &Message) -> Option<Message> {
        let reply = Reply { request: 0, code: Code::Ok, tag: 1, body: Body::Good, flaw: Flaw::None };
        reply.to(std::slice::from_ref(request))
    }

    /// The message; `None` before anything was asked.
    pub fn to(self, requests: &[Message]) -> Option<Message> {
        let back = usize::from(self.request) % requests.len().max(1);
        let request = requests.iter().rev().nth(back)?;
        let (code, mut phrase) = match (self.code, request.method()) {
            (Code::TooSmall, Method::Register) => (423, "Interval Too Brief"),
            (code, _) => code.spelt(),
        };
        let long = "x".repeat(900);
        if matches!(self.flaw, Flaw::LongReason) {
            phrase = &long;
        }
        let mut head = format!("SIP/2.0 {code} {phrase}\r\n");
        let via = request.via();
        match self.flaw {
            Flaw::TwoVias => head += &format!("Via: {via}\r\nVia: {via}\r\n"),
            Flaw::OtherBranch => head += &format!("Via: {via}x\r\n"),
            _ => head += &format!("Via: {via}\r\n"),
        }
        let from = if matches!(self.flaw, Flaw::OtherFrom) { "<sip:x@y>;tag=x" } else { request.from() };
        let to = request.to();
        let tag = match self.tag % 24 {
            0 => String::new(),
            _ if to.contains(";tag=") => String::new(),
            n => format!(";tag=far{n}"),
        };
        let other = if matches!(self.flaw, Flaw::OtherCseq) { 1 } else { 0 };
        let cseq = request.cseq().number + other;
        head += &format!("From: {from}\r\nTo: {to}{tag}\r\nCSeq: {cseq} {}\r\n", request.method().as_str());
        let nonce = self.tag;
        match self.code {
            Code::Unauthorized => {
                head += &format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\"\r\n")
            }
            Code::ProxyUnauthorized => {
                head +=
                    &format!("Proxy-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"\r\n");
            }
            Code::Stale => {
                head += &format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", stale=true\r\n");
            }
            _ => {}
        }
        finished(head, request.call_id(), self.body, self.flaw)
    }
}

impl Ask {
    /// Any request.
    pub fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let (method, body, flaw) = (any(bytes)?, any(bytes)?, any(bytes)?);
        let (tag, cseq, branch) = bytes.arbitrary()?;
        Ok(Ask { method, tag, cseq, branch, body, flaw })
    }

    /// The message, in the dialog of `invite`.
    pub fn of(self, invite: &Message) -> Option<Message> {
        let (method, from, to) = (self.method.spelt(), invite.to(), invite.from());
        let to = if matches!(self.flaw, Flaw::OtherFrom) { "<sip:x@y>;tag=x" } else { to };
        let mut head = format!("{method} sip:caller@192.0.2.9:5070 SIP/2.0\r\n");
        let via = format!("Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK{}\r\n", self.branch);
        head += &via;
        if matches!(self.flaw, Flaw::TwoVias) {
            head += &via;
        }
        let (tag, cseq) = (self.tag % 24, self.cseq);
        head += &format!("From: {from};tag=far{tag}\r\nTo: {to}\r\nCSeq: {cseq} {method}\r\n");
        finished(head, invite.call_id(), self.body, self.flaw)
    }
}

/// Adds the rest of a message and reads it. A far end has no way to give more than bytes.
fn finished(mut head: String, call_id: &str, body: Body, flaw: Flaw) -> Option<Message> {
    let other = if matches!(flaw, Flaw::OtherCall) { "x" } else { "" };
    head += &format!("Call-ID: {call_id}{other}\r\nReason: Q.850;cause=16\r\n");
    match flaw {
        Flaw::NoContact => {}
        Flaw::Routes => {
            head += "Record-Route: <sip:192.0.2.7:5080;lr>\r\nContact: <sip:b@192.0.2.8:5090>\r\n"
        }
        Flaw::Require => head += "Require: path\r\nContact: <sip:b@192.0.2.1:5060>\r\n",
        Flaw::Reliable => head += "Require: 100rel\r\nRSeq: 1\r\nContact: <sip:b@192.0.2.1:5060>\r\n",
        Flaw::Timer => {
            head += "Session-Expires: 6\r\nMin-SE: 7\r\nExpires: 5\r\nMin-Expires: 70\r\nSupported: timer\r\nAllow: UPDATE\r\n\
                     Contact: <sip:b@192.0.2.1>\r\n"
        }
        _ => head += "Contact: <sip:b@192.0.2.1:5060>\r\n",
    }
    let body = body.spelt();
    if !body.is_empty() {
        head += "Content-Type: application/sdp\r\n";
    }
    parse(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).ok()
}

impl Code {
    fn spelt(self) -> (u16, &'static str) {
        match self {
            Code::Trying => (100, "Trying"),
            Code::Ringing => (180, "Ringing"),
            Code::Progress => (183, "Session Progress"),
            Code::Ok => (200, "OK"),
            Code::Accepted => (202, "Accepted"),
            Code::Moved => (302, "Moved Temporarily"),
            Code::Unauthorized | Code::Stale => (401, "Unauthorized"),
            Code::ProxyUnauthorized => (407, "Proxy Authentication Required"),
            Code::Gone => (481, "Call/Transaction Does Not Exist"),
            Code::Busy => (486, "Busy Here"),
            Code::Terminated => (487, "Request Terminated"),
            Code::Broken => (500, ""),
            Code::Decline => (603, "Decline"),
            Code::TooSmall => (422, "Session Interval Too Small"),
            Code::Pending => (491, "Request Pending"),
        }
    }
}

impl Asked {
    fn spelt(self) -> &'static str {
        match self {
            Asked::Invite => "INVITE",
            Asked::Ack => "ACK",
            Asked::Bye => "BYE",
            Asked::Cancel => "CANCEL",
            Asked::Update => "UPDATE",
            Asked::Options => "OPTIONS",
            Asked::Info => "INFO",
            Asked::Refer => "REFER",
            Asked::Prack => "PRACK",
        }
    }
}

impl Body {
    fn spelt(self) -> String {
        let (address, port, media, direction) = match self {
            Body::Nothing => return String::new(),
            Body::Garbage => return "v=0\r\nm=\r\n".into(),
            Body::Good => ("192.0.2.1", 11_000, "audio", "sendrecv"),
            Body::Moved => ("192.0.2.3", 11_002, "audio", "sendrecv"),
            Body::Held => ("0.0.0.0", 11_000, "audio", "sendonly"),
            Body::Inactive => ("192.0.2.1", 11_000, "audio", "inactive"),
            Body::Video => ("192.0.2.1", 11_000, "video", "sendrecv"),
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m={media} {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na={direction}\r\n"
        )
    }
}

/// Everything that calls have sent.
#[derive(Debug, Default)]
pub struct Sent(HashSet<Vec<u8>>);

impl Sent {
    /// Reads a datagram: it is always SIP, and a caller's business. `None` for one that is sent again.
    pub fn read(&mut self, bytes: &[u8]) -> Option<Message> {
        if !self.0.insert(bytes.to_vec()) {
            return None;
        }
        let message = parse(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)));
        if message.is_request() {
            assert!(message.branch().is_some(), "a request of ours has a branch");
            let is_callers = matches!(
                message.method(),
                Method::Invite
                    | Method::Ack
                    | Method::Bye
                    | Method::Cancel
                    | Method::Prack
                    | Method::Update
                    | Method::Register
            );
            assert!(is_callers, "a caller has no business to send {}", message.method().as_str());
        }
        Some(message)
    }
}
