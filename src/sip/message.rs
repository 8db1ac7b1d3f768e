//! A SIP message as received (RFC 3261 7): rsip's headers, and what this caller asks of them.
//!
//! rsip keeps a header's kind and its text. Addresses in it are read by `sip::grammar`: rsip's own
//! reader refuses IPv6, and takes a user with a dot for a part of the host.

use std::net::{IpAddr, SocketAddr};

use rsip::Header;
use rsip::prelude::UntypedHeader as _;

use super::body::{self, Entity};
use super::grammar::{self, DEFAULT_PORT, NameAddr, param, split};
use super::parse::{HeaderLines, ParseError, excerpt};
use super::sdp::{self, Description, SdpError};

/// A request method (RFC 3261 7.1 and the extensions). Methods are case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, strum::AsRefStr, strum::Display, strum::EnumString)]
#[strum(serialize_all = "UPPERCASE")]
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
    #[strum(default, transparent)]
    Other(String),
}

impl Method {
    /// The method of this name.
    pub fn from_name(name: &str) -> Self {
        name.parse().unwrap_or_else(|_| Method::Other(name.into()))
    }

    /// The name as it stands in a request line.
    pub fn as_str(&self) -> &str {
        self.as_ref()
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

/// A SIP message, with everything in it that every message must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    start: Start,
    headers: Vec<Header>,
    cseq: CSeq,
    body: Vec<u8>,
    /// Header lines that were passed over.
    passed_over: u32,
    /// The peer's end of the connection that it came over.
    stream: Option<SocketAddr>,
    /// Source of a request whose Via names another address and does not ask for the source's port.
    behind_nat: Option<SocketAddr>,
    /// Host names of its session description that were looked up, each with its address, or why it has none.
    looked_up: Vec<(String, Result<IpAddr, String>)>,
}

/// The values of all headers of one of rsip's kinds, in order.
macro_rules! values {
    ($headers:expr, $kind:ident) => {
        $headers.iter().filter_map(|header| match header {
            Header::$kind(header) => Some(header.value()),
            _ => None,
        })
    };
}

/// The value of a header that occurs once (RFC 3261 7.3.1, 8.1.1).
fn only<'a>(name: &'static str, values: impl Iterator<Item = &'a str>) -> Result<&'a str, ParseError> {
    let (mut found, mut count) = ("", 0);
    for value in values {
        count += 1;
        found = if found.is_empty() { value } else { found };
    }
    match count {
        _ if found.is_empty() => Err(ParseError::missing(name)),
        1 => Ok(found),
        // An empty one counts as one too, or it would be taken for the one with the value.
        _ => Err(ParseError::repeated(name)),
    }
}

impl CSeq {
    fn parse(text: &str) -> Option<CSeq> {
        let (number, method) = text.split_once([' ', '\t'])?;
        let number = number.parse().ok().filter(|n| *n < 1 << 31)?;
        Some(CSeq { number, method: Method::from_name(method.trim()) })
    }
}

impl Message {
    /// Holds the message to RFC 3261 8.1.1.
    pub(super) fn new(start: Start, lines: HeaderLines, body: Vec<u8>) -> Result<Message, ParseError> {
        let HeaderLines { headers, passed_over } = lines;
        only("From", values!(headers, From))?;
        only("To", values!(headers, To))?;
        only("Call-ID", values!(headers, CallId))?;
        let text = only("CSeq", values!(headers, CSeq))?;
        if values!(headers, Via).all(str::is_empty) {
            return Err(ParseError::missing("Via"));
        }
        let top = values!(headers, Via).flat_map(|line| split(line, ',')).next().unwrap_or_default();
        if top.len() > MAX_VIA {
            return Err(ParseError(format!("a topmost Via of {} bytes, {MAX_VIA} allowed", top.len())));
        }
        let is_requested = |cseq: &CSeq| match &start {
            Start::Request { method, .. } => *method == cseq.method,
            Start::Response { .. } => true,
        };
        let bad = || ParseError(format!("bad CSeq `{}`", excerpt(text)));
        let cseq = CSeq::parse(text).filter(is_requested).ok_or_else(bad)?;
        Ok(Message {
            start,
            headers,
            cseq,
            body,
            passed_over,
            stream: None,
            behind_nat: None,
            looked_up: Vec::new(),
        })
    }

    /// True for a request, false for a response.
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

    /// The value of From.
    pub fn from(&self) -> &str {
        values!(self.headers, From).next().unwrap_or_default()
    }

    /// The value of To.
    pub fn to(&self) -> &str {
        values!(self.headers, To).next().unwrap_or_default()
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        values!(self.headers, CallId).next().unwrap_or_default()
    }

    /// The tag of From, which names the dialog's end that sent the request.
    pub fn from_tag(&self) -> Option<&str> {
        tag(self.from())
    }

    /// The tag of To; missing in a request that starts a dialog.
    pub fn to_tag(&self) -> Option<&str> {
        tag(self.to())
    }

    /// The sequence number and method.
    pub fn cseq(&self) -> &CSeq {
        &self.cseq
    }

    /// The Via lines, the topmost first; a line may hold several values.
    pub fn via_lines(&self) -> impl Iterator<Item = &str> {
        values!(self.headers, Via)
    }

    /// The Via values over all lines, the topmost first (RFC 3261 7.3.1).
    pub fn vias(&self) -> impl Iterator<Item = &str> {
        self.via_lines().flat_map(|line| split(line, ','))
    }

    /// The topmost Via.
    pub fn via(&self) -> &str {
        self.vias().next().unwrap_or_default()
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
        let first = values!(self.headers, Contact).flat_map(|line| split(line, ',')).next()?;
        Some(NameAddr::parse(first).uri).filter(|uri| grammar::is_uri(uri))
    }

    /// The URIs of all Contacts, without brackets; what is none is left out.
    pub fn contacts(&self) -> impl Iterator<Item = &str> {
        let contacts = values!(self.headers, Contact).flat_map(|line| split(line, ','));
        contacts.map(|contact| NameAddr::parse(contact).uri).filter(|uri| grammar::is_uri(uri))
    }

    /// The same, by descending `q` (RFC 3261 8.1.3.4); one without is as good as any.
    pub fn contacts_by_preference(&self) -> impl Iterator<Item = &str> {
        let contacts = values!(self.headers, Contact).flat_map(|line| split(line, ','));
        let mut by_q: Vec<(f32, &str)> = contacts
            .map(NameAddr::parse)
            .filter(|found| grammar::is_uri(found.uri))
            .map(|found| {
                let q = param(found.params, "q").and_then(|q| q.parse().ok());
                (q.filter(|q: &f32| q.is_finite()).unwrap_or(1.0), found.uri)
            })
            .collect();
        // Stable: among equals the first is the first.
        by_q.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        by_q.into_iter().map(|(_, uri)| uri)
    }

    /// Seconds for which a registrar keeps `contact`: the `expires` of that Contact, else the Expires header (RFC 3261
    /// 10.2.4). `None` where it says neither.
    pub(super) fn granted_s(&self, contact: &str) -> Option<u32> {
        let contacts = values!(self.headers, Contact).flat_map(|line| split(line, ','));
        let bare = |uri: &str| uri.split(';').next().unwrap_or_default().to_ascii_lowercase();
        let ours = contacts.map(NameAddr::parse).find(|found| bare(found.uri) == bare(contact));
        let of_contact = ours.and_then(|ours| param(ours.params, "expires")?.parse().ok());
        of_contact.or_else(|| values!(self.headers, Expires).next()?.trim().parse().ok())
    }

    /// The least time that a registrar keeps a Contact, in seconds (RFC 3261 20.23).
    pub(super) fn min_expires_s(&self) -> Option<u32> {
        values!(self.headers, MinExpires).next()?.trim().parse().ok()
    }

    /// The Record-Route values from top to bottom, each with its brackets and parameters.
    pub fn record_routes(&self) -> impl Iterator<Item = &str> {
        values!(self.headers, RecordRoute).flat_map(|line| split(line, ','))
    }

    /// The option tags that the receiver must understand (RFC 3261 20.32).
    pub fn require(&self) -> impl Iterator<Item = &str> {
        values!(self.headers, Require).flat_map(|line| split(line, ','))
    }

    /// The challenges of a 401 or 407, each behind the header that answers it: a response of either kind may carry
    /// both (RFC 3261 22.2, 22.3).
    pub fn challenges(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers.iter().filter_map(|header| match header {
            Header::ProxyAuthenticate(header) => Some(("Proxy-Authorization", header.value())),
            Header::WwwAuthenticate(header) => Some(("Authorization", header.value())),
            _ => None,
        })
    }

    /// The option tags of extensions that the sender has (RFC 3261 20.37).
    pub fn supported(&self) -> impl Iterator<Item = &str> {
        values!(self.headers, Supported).flat_map(|line| split(line, ','))
    }

    /// The methods that the sender takes (RFC 3261 20.5).
    pub fn allow(&self) -> impl Iterator<Item = &str> {
        values!(self.headers, Allow).flat_map(|line| split(line, ','))
    }

    /// The Reason header (RFC 3326), e.g. `Q.850;cause=16`.
    pub fn cause(&self) -> Option<&str> {
        self.other("Reason")
    }

    /// The value of the first header of this name, which is none of RFC 3261's.
    pub(super) fn other(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| match header {
            Header::Other(name, value) if name.eq_ignore_ascii_case(wanted) => Some(value.as_str()),
            _ => None,
        })
    }

    /// Header lines that were passed over: they have no name, or are beyond [`super::MAX_HEADERS`], and nobody needs
    /// them.
    pub fn passed_over(&self) -> u32 {
        self.passed_over
    }

    /// The body, cut at Content-Length.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The session description in the body, which may be a part of it; `None` if there is none.
    ///
    /// # Errors
    /// [`SdpError::Encoded`]: the body, or that part of it, is encoded.
    pub fn session_description(&self) -> Result<Option<&[u8]>, SdpError> {
        let entity = Entity {
            media_type: values!(self.headers, ContentType).next(),
            encoding: values!(self.headers, ContentEncoding).next(),
            disposition: values!(self.headers, ContentDisposition).next(),
        };
        body::session_description(&entity, &self.body)
    }

    /// The session description as it is meant, with the addresses of names that were looked up; `None` if there is none.
    ///
    /// # Errors
    /// As [`Message::session_description`], and a description that is empty.
    pub fn description(&self) -> Result<Option<Description>, SdpError> {
        let Some(text) = self.session_description()? else { return Ok(None) };
        let mut description = sdp::parse(text)?;
        description.look_up(&self.looked_up);
        Ok(Some(description))
    }

    /// Host names in the session description, in the place of addresses for audio.
    pub fn names(&self) -> Vec<String> {
        if self.body.is_empty() {
            return Vec::new();
        }
        let description = self.description().ok().flatten();
        description.map_or(Vec::new(), |description| description.names())
    }

    /// Gives a name of [`Message::names`] its address, or says why it has none.
    pub fn look_up(&mut self, name: String, found: Result<IpAddr, String>) {
        self.looked_up.push((name, found));
    }

    /// Adds a request's source to its topmost Via, as a server must before it answers
    /// (RFC 3261 18.2.1, RFC 3581 4). Nothing happens to a response.
    pub fn received_from(&mut self, source: SocketAddr) {
        if !self.is_request() {
            return;
        }
        let line = self.headers.iter_mut().find_map(|header| match header {
            Header::Via(line) => Some(line),
            _ => None,
        });
        let Some(line) = line else { return };
        let mut vias = split(line.value(), ',');
        let top = vias.next().unwrap_or_default();
        let wants_rport = param(top, "rport").is_some();
        let sent_by = grammar::host_port_address(&sent_by(top));
        let known_host = sent_by.is_some_and(|address| address.ip() == source.ip());
        // Its own address leads nowhere from here, and its port is as little the one that a NAT has given it.
        self.behind_nat = sent_by.filter(|_| !known_host && !wants_rport).map(|_| source);
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
        line.replace(stamped);
    }

    /// As [`Message::received_from`], over a connection, on which it is answered (RFC 3261 18.2.2).
    pub fn received_over(&mut self, peer: SocketAddr) {
        self.received_from(peer);
        self.stream = Some(peer);
    }

    /// True if it came over a connection.
    pub(super) fn came_over_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Destination of answers to this request (RFC 3261 18.2.2, RFC 3581 4), if its Via tells. One that came through a
    /// NAT and does not ask for it is answered where it came from all the same.
    pub fn answer_to(&self) -> Option<SocketAddr> {
        if let Some(source) = self.stream.or(self.behind_nat) {
            return Some(source);
        }
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

/// Longest topmost Via that is read; Asterisk's has about 100 bytes. It is gone through for each of a request's steps.
const MAX_VIA: usize = 1024;

/// Longest tag that is read; Asterisk's has 36 characters. It is kept for as long as its dialog.
const MAX_TAG: usize = 256;

fn tag(address: &str) -> Option<&str> {
    param(NameAddr::parse(address).params, "tag").filter(|tag| (1..=MAX_TAG).contains(&tag.len()))
}

#[cfg(test)]
impl Message {
    /// The Route values of a request, the nearest hop first.
    pub(super) fn routes(&self) -> impl Iterator<Item = &str> {
        values!(self.headers, Route).flat_map(|line| split(line, ','))
    }

    /// The value of the first header of this (long) name, whatever its kind.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.header_values(name).into_iter().next()
    }

    /// The values of all headers of this (long) name.
    pub(super) fn header_values(&self, name: &str) -> Vec<String> {
        let value = |header: &Header| {
            let line = header.to_string();
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        };
        self.headers.iter().filter_map(value).collect()
    }
}
