//! Messages to be sent: requests as values, from which ACK and CANCEL are derived, and responses.

use std::net::SocketAddr;

use super::grammar::{NameAddr, one_line, param};
use super::message::{Message, Method};
use super::transport::Transport;

/// The User-Agent header.
const USER_AGENT: &str = concat!("loadtest/", env!("CARGO_PKG_VERSION"));
/// The Allow header: requests that are taken.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK";
/// The Supported header: reliable provisional responses (RFC 3262) and session timers (RFC 4028).
pub(super) const SUPPORTED: &str = "100rel, timer";
/// The media type of a session description.
pub(super) const SDP: &str = "application/sdp";

/// A SIP message and its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipDatagram {
    /// Its destination.
    pub destination: SocketAddr,
    /// The message.
    pub bytes: Vec<u8>,
}

/// A request before it becomes bytes.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) uri: String,
    pub(super) local: SocketAddr,
    pub(super) transport: Transport,
    pub(super) branch: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    /// Route values, top first.
    pub(super) routes: Vec<String>,
    /// Authorization and Proxy-Authorization, as far as asked for.
    pub(super) credentials: Vec<(&'static str, String)>,
    /// Headers beside those that every request has.
    pub(super) headers: Vec<(String, String)>,
    pub(super) sdp: Option<String>,
    /// Its destination.
    pub(super) destination: SocketAddr,
}

impl Request {
    /// The same request under another method with nothing of its own: what ACK and CANCEL start from.
    fn bare(&self, method: Method) -> Request {
        Request { method, credentials: Vec::new(), headers: Vec::new(), sdp: None, ..self.clone() }
    }

    /// The ACK of a rejection (RFC 3261 17.1.1.3): the INVITE's branch, the rejection's To.
    pub(super) fn ack_rejection(&self, rejection: &Message) -> Request {
        Request { to: bounded_to(rejection, &self.to), ..self.bare(Method::Ack) }
    }

    /// The CANCEL of this INVITE (RFC 3261 9.1): same branch, same CSeq number, same routes.
    pub(super) fn cancel(&self) -> Request {
        self.bare(Method::Cancel)
    }

    pub(super) fn datagram(&self) -> SipDatagram {
        SipDatagram { destination: self.destination, bytes: self.to_bytes() }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Request { method, uri, local, transport, branch, from, to, call_id, cseq, .. } = self;
        let mut lines = Lines::new(format!("{method} {} SIP/2.0", one_line(uri)));
        // An empty rport asks for answers to where this came from (RFC 3581 3).
        lines.push("Via", &format!("SIP/2.0/{transport} {local};branch={branch};rport"));
        lines.push("Max-Forwards", "70");
        lines.push_all("Route", &self.routes);
        lines.push("From", from);
        lines.push("To", to);
        lines.push("Call-ID", call_id);
        lines.push("CSeq", &format!("{cseq} {method}"));
        let is_of_session = matches!(method, Method::Invite | Method::Update);
        if is_of_session {
            lines.push("Contact", &contact(from, *local, *transport));
        }
        for (name, value) in &self.credentials {
            lines.push(name, value);
        }
        for (name, value) in &self.headers {
            lines.push(name, value);
        }
        lines.push("User-Agent", USER_AGENT);
        if is_of_session {
            lines.push("Allow", ALLOW);
            lines.push("Supported", SUPPORTED);
        }
        lines.finish(self.sdp.as_deref())
    }
}

/// Longest To of a peer's that is repeated as it is.
const MAX_TO: usize = 1024;

/// The To of an answer, for requests that go with it. One that is too long to be kept is ours, under its tag.
pub(super) fn bounded_to(answer: &Message, ours: &str) -> String {
    match answer.to() {
        to if to.len() <= MAX_TO => one_line(to),
        _ => answer.to_tag().map_or(ours.to_string(), |tag| format!("{ours};tag={tag}")),
    }
}

/// A response before it becomes bytes.
#[derive(Debug, Clone)]
pub(super) struct Response<'a> {
    pub(super) request: &'a Message,
    pub(super) code: u16,
    /// The tag to add to To where the request has none (RFC 3261 8.2.6.2).
    pub(super) to_tag: &'a str,
    /// Our Contact, in answers that establish or refresh a session.
    pub(super) contact: Option<String>,
    /// Headers that the code calls for.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) sdp: Option<String>,
}

impl<'a> Response<'a> {
    pub(super) fn new(request: &'a Message, code: u16, to_tag: &'a str) -> Self {
        Response { request, code, to_tag, contact: None, headers: Vec::new(), sdp: None }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let request = self.request;
        let mut lines = Lines::new(format!("SIP/2.0 {} {}", self.code, reason(self.code)));
        lines.push_all("Via", request.via_lines());
        lines.push("From", request.from());
        let to = request.to();
        match param(NameAddr::parse(to).params, "tag") {
            Some(_) => lines.push("To", to),
            None => lines.push("To", &format!("{to};tag={}", self.to_tag)),
        }
        lines.push("Call-ID", request.call_id());
        lines.push("CSeq", &format!("{} {}", request.cseq().number, request.cseq().method));
        if let Some(contact) = &self.contact {
            lines.push("Contact", contact);
        }
        for (name, value) in &self.headers {
            lines.push(name, value);
        }
        lines.push("User-Agent", USER_AGENT);
        lines.push("Allow", ALLOW);
        let says_what_it_has = matches!(request.method(), Method::Invite | Method::Update | Method::Options);
        if says_what_it_has && self.code < 300 {
            lines.push("Supported", SUPPORTED);
        }
        lines.finish(self.sdp.as_deref())
    }
}

/// Our Contact, with the user of `from`, our identity: some registrars know a caller by it. Without the transport's name the
/// peer would send its requests over UDP.
pub(super) fn contact(from: &str, local: SocketAddr, transport: Transport) -> String {
    let uri = NameAddr::parse(from).uri;
    let address = uri.split_once(':').map_or(uri, |(_, address)| address);
    let user = address.split_once('@').map_or("loadtest", |(user, _)| user);
    format!("<sip:{user}@{local}{}>", transport.uri_param())
}

/// The reason phrases of the codes that we send (RFC 3261 21).
fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        405 => "Method Not Allowed",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        481 => "Call/Transaction Does Not Exist",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        _ => "Unspecified",
    }
}

/// A message as it grows, line by line.
struct Lines(String);

impl Lines {
    fn new(start: String) -> Self {
        Lines(start + "\r\n")
    }

    /// Adds a header; whatever is in the value, it stays one line.
    fn push(&mut self, name: &str, value: &str) {
        self.0 += name;
        self.0 += ": ";
        self.0 += &one_line(value);
        self.0 += "\r\n";
    }

    fn push_all(&mut self, name: &str, values: impl IntoIterator<Item = impl AsRef<str>>) {
        for value in values {
            self.push(name, value.as_ref());
        }
    }

    fn finish(mut self, sdp: Option<&str>) -> Vec<u8> {
        if sdp.is_some() {
            self.push("Content-Type", SDP);
        }
        let body = sdp.unwrap_or_default();
        self.push("Content-Length", &body.len().to_string());
        self.0 += "\r\n";
        self.0 += body;
        self.0.into_bytes()
    }
}
