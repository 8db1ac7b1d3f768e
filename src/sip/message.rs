//! A SIP message as received (RFC 3261 7): parsed, bounded, and forgiving where Asterisk needs it.
//!
//! rsip reads the headers; this type stands between it and the rest. The start line is read here,
//! since rsip refuses extension methods and IPv6 Request-URIs and forgets reason phrases. URIs stay
//! text: a caller only echoes them.

use std::fmt;
use std::net::SocketAddr;

use thiserror::Error;

use super::grammar::{self, DEFAULT_PORT, NameAddr, param, split};
use super::normal;

/// The longest message accepted: what a UDP datagram can carry.
pub const MAX_MESSAGE_BYTES: usize = 65_536;
/// The most header lines accepted. Asterisk sends about fifteen.
pub const MAX_HEADERS: usize = 256;

/// Why bytes are not a SIP message that can be worked with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing but line ends: a keep-alive (RFC 3261 7.5, RFC 5626 3.5.1).
    #[error("an empty message")]
    Empty,
    /// More than [`MAX_MESSAGE_BYTES`].
    #[error("{bytes} bytes, {MAX_MESSAGE_BYTES} allowed")]
    TooLong {
        /// The message's length.
        bytes: usize,
    },
    /// More than [`MAX_HEADERS`] header lines.
    #[error("more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    /// The first line is neither a request line nor a status line.
    #[error("the first line is not SIP's: `{0}`")]
    StartLine(String),
    /// A line among the headers is not a header.
    #[error("not a header: `{0}`")]
    Header(String),
    /// A header that every message has (RFC 3261 8.1.1) is missing.
    #[error("no {0} header")]
    Missing(&'static str),
    /// A header that may occur once occurs again (RFC 3261 7.3.1).
    #[error("more than one {0} header")]
    Repeated(&'static str),
    /// CSeq is not a number below 2³¹ and a method, or names another method than the request line.
    #[error("bad CSeq `{0}`")]
    CSeq(String),
    /// Content-Length is not a number.
    #[error("bad Content-Length `{0}`")]
    ContentLength(String),
    /// The body ends before its Content-Length (RFC 3261 18.3).
    #[error("the body ends after {got} of {expected} bytes")]
    Truncated {
        /// What Content-Length says.
        expected: u64,
        /// What is there.
        got: usize,
    },
}

/// A request method (RFC 3261 7.1 and the extensions). Methods are case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are their own documentation.
pub enum Method {
    Ack,
    Bye,
    Cancel,
    Info,
    Invite,
    Message,
    Notify,
    Options,
    Prack,
    Publish,
    Refer,
    Register,
    Subscribe,
    Update,
    /// A method that no RFC known here defines.
    Other(String),
}

const METHODS: &[(&str, Method)] = &[
    ("ACK", Method::Ack),
    ("BYE", Method::Bye),
    ("CANCEL", Method::Cancel),
    ("INFO", Method::Info),
    ("INVITE", Method::Invite),
    ("MESSAGE", Method::Message),
    ("NOTIFY", Method::Notify),
    ("OPTIONS", Method::Options),
    ("PRACK", Method::Prack),
    ("PUBLISH", Method::Publish),
    ("REFER", Method::Refer),
    ("REGISTER", Method::Register),
    ("SUBSCRIBE", Method::Subscribe),
    ("UPDATE", Method::Update),
];

impl Method {
    /// The method of this name.
    pub fn from_name(name: &str) -> Self {
        let known = METHODS.iter().find(|(known, _)| *known == name);
        known.map_or_else(|| Method::Other(name.to_string()), |(_, method)| method.clone())
    }

    /// The name as it stands in a request line.
    pub fn as_str(&self) -> &str {
        if let Method::Other(name) = self {
            return name;
        }
        METHODS.iter().find(|(_, method)| method == self).map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The CSeq header (RFC 3261 20.16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    /// The sequence number, below 2³¹.
    pub number: u32,
    /// The method of the request that carries it or is answered.
    pub method: Method,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: Method, uri: String },
    Response { code: u16, reason: String },
}

/// A header line: its long name, and its value unfolded and trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: String,
}

/// A SIP message, with everything in it that every message must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    start: Start,
    headers: Vec<Header>,
    cseq: CSeq,
    body: Vec<u8>,
}

/// Reads one datagram (RFC 3261 7, 18.3).
pub fn parse(datagram: &[u8]) -> Result<Message, ParseError> {
    let raw = normal::normalise(datagram)?;
    let start = parse_start(&raw.start_line)?;
    let headers = parse_headers(&raw.headers)?;
    let cseq = check_headers(&start, &headers)?;
    Ok(Message { start, headers, cseq, body: raw.body.to_vec() })
}

fn parse_start(line: &str) -> Result<Start, ParseError> {
    let bad = || ParseError::StartLine(excerpt(line));
    let mut words = line.splitn(3, ' ').map(str::trim);
    let (first, second, third) =
        (words.next().ok_or_else(bad)?, words.next().ok_or_else(bad)?, words.next().unwrap_or(""));
    if first.eq_ignore_ascii_case("SIP/2.0") {
        let digits = second.len() == 3 && second.bytes().all(|b| b.is_ascii_digit());
        let code = second.parse().ok().filter(|code| digits && (100..700).contains(code)).ok_or_else(bad)?;
        return Ok(Start::Response { code, reason: third.to_string() });
    }
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    let is_request = third.eq_ignore_ascii_case("SIP/2.0")
        && !first.is_empty()
        && first.chars().all(is_token)
        && grammar::is_uri(second);
    if !is_request {
        return Err(bad());
    }
    Ok(Start::Request { method: Method::from_name(first), uri: second.to_string() })
}

/// The header lines as rsip reads them, under a status line that it always takes.
fn parse_headers(lines: &str) -> Result<Vec<Header>, ParseError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let whole = format!("SIP/2.0 200 OK\r\n{lines}\r\n\r\n");
    let message = rsip::Response::try_from(whole.as_bytes())
        .map_err(|error| ParseError::Header(excerpt(&error.to_string())))?;
    Ok(message.headers.into_iter().map(Header::from).collect())
}

impl From<rsip::Header> for Header {
    fn from(header: rsip::Header) -> Self {
        let line = header.to_string();
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        Header { name: name.trim().to_string(), value: value.trim().to_string() }
    }
}

/// Holds the message to RFC 3261 8.1.1 and returns its CSeq.
fn check_headers(start: &Start, headers: &[Header]) -> Result<CSeq, ParseError> {
    let values = |name: &'static str| {
        headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.as_str())
    };
    for name in ["From", "To", "Call-ID", "CSeq"] {
        // An empty one counts as one too, or it would be taken for the one with the value.
        if values(name).all(str::is_empty) {
            return Err(ParseError::Missing(name));
        }
        if values(name).count() > 1 {
            return Err(ParseError::Repeated(name));
        }
    }
    if values("Via").all(|v| v.is_empty()) {
        return Err(ParseError::Missing("Via"));
    }
    let text = values("CSeq").next().unwrap_or_default();
    let bad = || ParseError::CSeq(excerpt(text));
    let (number, method) = text.split_once([' ', '\t']).ok_or_else(bad)?;
    let number = number.parse().ok().filter(|n| *n < 1 << 31).ok_or_else(bad)?;
    let method = Method::from_name(method.trim());
    match start {
        Start::Request { method: requested, .. } if *requested != method => Err(bad()),
        _ => Ok(CSeq { number, method }),
    }
}

/// The beginning of a hostile text, short enough for a log line.
pub(super) fn excerpt(text: &str) -> String {
    grammar::one_line(text).chars().take(80).collect()
}

impl Message {
    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The method of the request, or of the request that this answers (RFC 3261 17.1.3).
    pub fn method(&self) -> &Method {
        &self.cseq.method
    }

    /// The Request-URI; `None` in a response.
    pub fn uri(&self) -> Option<&str> {
        match &self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// The status code, 100 to 699; `None` in a request.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { code, .. } => Some(code),
            Start::Request { .. } => None,
        }
    }

    /// The reason phrase of a response; empty in a request.
    pub fn reason_phrase(&self) -> &str {
        match &self.start {
            Start::Response { reason, .. } => reason,
            Start::Request { .. } => "",
        }
    }

    /// The value of the first header of this (long) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.as_str())
    }

    /// The values of all headers of this (long) name, one a line, in order.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.as_str())
    }

    /// The values of a header that is a comma-separated list, over all its lines (RFC 3261 7.3.1).
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers(name).flat_map(|value| split(value, ','))
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    /// The tag of From, which names the dialog's end that sent the request.
    pub fn from_tag(&self) -> Option<&str> {
        self.tag("From")
    }

    /// The tag of To; missing in a request that starts a dialog.
    pub fn to_tag(&self) -> Option<&str> {
        self.tag("To")
    }

    fn tag(&self, name: &str) -> Option<&str> {
        param(NameAddr::parse(self.header(name)?).params, "tag").filter(|tag| !tag.is_empty())
    }

    /// The sequence number and method.
    pub fn cseq(&self) -> &CSeq {
        &self.cseq
    }

    /// The topmost Via.
    pub fn via(&self) -> &str {
        self.list("Via").next().unwrap_or_default()
    }

    /// The topmost Via's branch, which names the transaction.
    pub fn branch(&self) -> Option<&str> {
        param(self.via(), "branch").filter(|branch| !branch.is_empty())
    }

    /// The `host:port` of the topmost Via, without white space.
    pub fn sent_by(&self) -> String {
        sent_by(self.via())
    }

    /// The URI of the first Contact, without brackets: the peer's remote target. `None` if it is none.
    pub fn contact(&self) -> Option<&str> {
        let uri = NameAddr::parse(self.list("Contact").next()?).uri;
        grammar::is_uri(uri).then_some(uri)
    }

    /// The Record-Route values from top to bottom, each with its brackets and parameters.
    pub fn record_routes(&self) -> impl Iterator<Item = &str> {
        self.list("Record-Route")
    }

    /// The option tags that the receiver must understand (RFC 3261 20.32).
    pub fn require(&self) -> impl Iterator<Item = &str> {
        self.list("Require")
    }

    /// The body, cut at Content-Length.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the body is a session description.
    pub fn has_sdp(&self) -> bool {
        let media_type = self.header("Content-Type").and_then(|value| split(value, ';').next());
        !self.body.is_empty() && media_type.is_some_and(|t| t.eq_ignore_ascii_case("application/sdp"))
    }

    /// Notes where a request came from in its topmost Via, as a server must before it answers
    /// (RFC 3261 18.2.1, RFC 3581 4). Nothing happens to a response.
    pub fn received_from(&mut self, source: SocketAddr) {
        if !self.is_request() {
            return;
        }
        let Some(header) = self.headers.iter_mut().find(|h| h.name.eq_ignore_ascii_case("Via")) else {
            return;
        };
        let mut vias = split(&header.value, ',');
        let top = vias.next().unwrap_or_default();
        let wants_rport = param(top, "rport").is_some();
        let known_host = grammar::host_port_address(&sent_by(top)).is_some_and(|a| a.ip() == source.ip());
        let mut stamped = split(top, ';')
            .filter(|p| {
                let key = p.split('=').next().unwrap_or_default().trim();
                !key.eq_ignore_ascii_case("received") && !key.eq_ignore_ascii_case("rport")
            })
            .collect::<Vec<_>>()
            .join(";");
        if wants_rport || !known_host {
            stamped += &format!(";received={}", source.ip());
        }
        if wants_rport {
            stamped += &format!(";rport={}", source.port());
        }
        for below in vias {
            stamped += ", ";
            stamped += below;
        }
        header.value = stamped;
    }

    /// Where answers to this request go (RFC 3261 18.2.2, RFC 3581 4), if its Via tells.
    pub fn answer_to(&self) -> Option<SocketAddr> {
        let via = self.via();
        let sent_by = sent_by(via);
        let ip = match param(via, "received") {
            Some(ip) => ip.trim_matches(['[', ']']).parse().ok()?,
            None => grammar::host_port_address(&sent_by)?.ip(),
        };
        let sent_port = || sent_by.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = param(via, "rport").and_then(|p| p.parse().ok()).or_else(sent_port);
        Some(SocketAddr::new(ip, port.unwrap_or(DEFAULT_PORT)))
    }
}

/// The `host:port` of a Via: what follows the transport, before the parameters.
fn sent_by(via: &str) -> String {
    let head = split(via, ';').next().unwrap_or_default();
    let after_protocol = head.rsplit('/').next().unwrap_or_default();
    after_protocol.split_whitespace().skip(1).collect()
}
