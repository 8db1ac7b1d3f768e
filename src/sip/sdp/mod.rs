//! Session descriptions (RFC 8866), offered and answered (RFC 3264): one audio stream of ours, among whatever streams
//! a peer describes beside it.

mod crypto;
mod lenient;
mod read;
mod write;

use std::net::{IpAddr, SocketAddr};

use strum::{Display, IntoStaticStr, VariantArray};
use thiserror::Error;

pub use self::crypto::CryptoLine;
pub use self::lenient::MOST_STREAMS;
use self::write::OfferedLine;
use super::grammar::is_one_host;
use super::parse::excerpt;
use crate::rtp::Codec;
use crate::rtp::srtp::Keys;

/// Directions of a stream (RFC 8866 6.7), from the describing side's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum MediaDirection {
    /// Both ways: what holds if nothing is said.
    #[default]
    SendRecv,
    /// The describing side only sends.
    SendOnly,
    /// The describing side only receives.
    RecvOnly,
    /// Nobody sends.
    Inactive,
}

impl MediaDirection {
    /// The direction that answers this one (RFC 3264 6.1).
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            MediaDirection::SendOnly => MediaDirection::RecvOnly,
            MediaDirection::RecvOnly => MediaDirection::SendOnly,
            both => both,
        }
    }
}

/// Our side of the session: what is offered, and answered to a re-INVITE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// The address that RTP is received on and sent from.
    pub ip: IpAddr,
    /// Our RTP port.
    pub rtp_port: u16,
    /// The one codec that is offered.
    pub codec: Codec,
    /// Milliseconds of audio in a packet.
    pub ptime_ms: u32,
    /// Identifies the session in `o=`.
    pub session_id: u64,
    /// Our keys of SRTP, where the media are to be protected by it.
    pub srtp: Option<Keys>,
    /// True if telephone events (RFC 4733) are offered too.
    pub events: bool,
}

/// A peer's session description.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// Its streams, in their order.
    pub streams: Vec<Stream>,
    /// There are more of them than [`MOST_STREAMS`].
    pub is_cut: bool,
}

impl Description {
    /// Host names in the place of addresses for audio, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for stream in self.streams.iter().filter(|stream| stream.kind.eq_ignore_ascii_case("audio")) {
            if let Connection::Name(name) = &stream.connection
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        names
    }

    /// Puts addresses in the place of names.
    pub(super) fn look_up(&mut self, found: &[(String, Result<IpAddr, String>)]) {
        for stream in &mut self.streams {
            let Connection::Name(name) = &stream.connection else { continue };
            let Some((_, found)) = found.iter().find(|(looked_up, _)| looked_up == name) else { continue };
            stream.connection = match found {
                Ok(ip) => Connection::Ip(*ip),
                Err(why) => Connection::Nowhere { name: name.clone(), why: why.clone() },
            };
        }
    }
}

/// A stream as a peer describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stream {
    /// `audio`, `video`, `image` …
    pub kind: String,
    /// Port for its RTP; 0 refuses the stream.
    pub port: u16,
    /// The transport.
    pub proto: Proto,
    /// Formats, mostly payload types, in the order of preference.
    pub formats: Vec<String>,
    /// Payload types with their `encoding/rate`.
    pub rtpmaps: Vec<(u8, String)>,
    /// Address for its RTP.
    pub connection: Connection,
    /// Direction from the peer's point of view.
    pub direction: MediaDirection,
    /// Milliseconds of audio that the peer wants in a packet.
    pub ptime_ms: Option<u32>,
    /// Keys of SRTP.
    pub crypto: Vec<CryptoLine>,
    /// Payload type of telephone events (RFC 4733).
    pub events: Option<u8>,
    /// Payload type of comfort noise (RFC 3389).
    pub comfort: Option<u8>,
    /// RTCP comes to the port of RTP (RFC 5761).
    pub rtcp_mux: bool,
    /// Fault for which it cannot be used, in words.
    pub fault: Option<String>,
}

/// The transport of a stream (RFC 8866 5.14, RFC 4585 4, RFC 3711 12).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proto {
    /// `RTP/AVP`.
    #[default]
    Avp,
    /// `RTP/AVPF`: with more RTCP.
    Avpf,
    /// `RTP/SAVP`: encrypted.
    Savp,
    /// `RTP/SAVPF`.
    Savpf,
    /// Any other, an excerpt.
    Other(String),
}

impl Proto {
    fn from_name(name: &str) -> Self {
        let known = [Proto::Avp, Proto::Avpf, Proto::Savp, Proto::Savpf];
        let found = known.into_iter().find(|proto| proto.name().eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| Proto::Other(excerpt(name)))
    }

    /// The name in `m=`.
    pub fn name(&self) -> &str {
        match self {
            Proto::Avp => "RTP/AVP",
            Proto::Avpf => "RTP/AVPF",
            Proto::Savp => "RTP/SAVP",
            Proto::Savpf => "RTP/SAVPF",
            Proto::Other(name) => name,
        }
    }
}

/// The address of a `c=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Connection {
    /// There is no `c=` for the stream.
    #[default]
    Missing,
    /// An IP address.
    Ip(IpAddr),
    /// A host name.
    Name(String),
    /// A host name that has no address, and why.
    Nowhere {
        /// The name.
        name: String,
        /// The fault of looking it up.
        why: String,
    },
    /// Neither, an excerpt.
    Unreadable(String),
}

/// The peer's side of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Destination of our RTP; its port is never 0. Unspecified (0.0.0.0, ::) it is the old way to put a call on hold
    /// (RFC 3264 8.4).
    pub rtp_address: SocketAddr,
    /// The payload type to put into packets to the peer; the static one unless the peer mapped another.
    pub payload_type: u8,
    /// The peer's direction of the stream.
    pub direction: MediaDirection,
    /// Milliseconds of audio that the peer wants in a packet, if it says so.
    pub ptime_ms: Option<u32>,
    /// Payload type of telephone events from the peer.
    pub event_type: Option<u8>,
    /// Payload type of comfort noise from the peer.
    pub comfort_type: Option<u8>,
    /// The peer's keys, where the media are protected.
    pub srtp: Option<PeerKeys>,
}

/// A peer's keys of SRTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerKeys {
    /// Number of its line, which an answer to it repeats (RFC 4568 5.1.2).
    tag: u32,
    /// What it protects with.
    pub keys: Keys,
}

impl Answer {
    /// The direction of hold: the peer takes no media, or gives none; `inactive` also for an unspecified address.
    pub fn on_hold(&self) -> Option<MediaDirection> {
        match self.direction {
            _ if self.has_no_address() => Some(MediaDirection::Inactive),
            MediaDirection::SendRecv => None,
            direction => Some(direction),
        }
    }

    /// True for an unspecified address, to which nothing can be sent.
    pub fn has_no_address(&self) -> bool {
        self.rtp_address.ip().to_canonical().is_unspecified()
    }

    /// Our direction in the answer to an offer of this one (RFC 3264 6.1).
    pub fn answering(&self) -> MediaDirection {
        match self.direction.reversed() {
            // Nothing can be sent to an unspecified address.
            MediaDirection::SendRecv if self.has_no_address() => MediaDirection::RecvOnly,
            MediaDirection::SendOnly if self.has_no_address() => MediaDirection::Inactive,
            direction => direction,
        }
    }
}

/// The stream of a peer's offer that is taken; all others are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its place among those that were offered.
    at: usize,
    /// The peer's media.
    pub media: Answer,
    offered: Vec<OfferedLine>,
    /// None of them has a port: the call is held by closing them.
    is_closed: bool,
}

/// Fault of a session description that cannot be used. Hostile text in it is an excerpt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SdpError {
    /// A message without a session description.
    #[error("no session description")]
    Missing,
    /// No audio stream in it.
    #[error("no audio stream")]
    NoStream,
    /// The audio stream was refused.
    #[error("the audio stream is refused (port 0)")]
    Refused,
    /// The address is a host name that has none.
    #[error(
        "its connection address `{name}` is a name without an address here ({why}): have the far end write its IP \
         address (`media_address`, `external_media_address`), or give the name one"
    )]
    Name {
        /// The name.
        name: String,
        /// The fault of looking it up.
        why: String,
    },
    /// SRTP is wanted, and the audio stream has no keys.
    #[error(
        "it has no keys for SRTP (`a=crypto`), so its media would be plain: have the far end offer SRTP by SDES (Asterisk: \
         `media_encryption = sdes`), or set media.srtp = false"
    )]
    Plain,
    /// SRTP is wanted, and none of the keys are of our suite, or all want what is not done.
    #[error(
        "no usable keys for SRTP: {ours} is spoken, without identifiers and parameters; it has `{theirs}`"
    )]
    Suites {
        /// Our suite.
        ours: &'static str,
        /// Theirs, an excerpt.
        theirs: String,
    },
    /// The body is compressed, or encoded in another way.
    #[error("the session description is encoded (`{0}`)")]
    Encoded(String),
    /// Any other, in words.
    #[error("{0}")]
    Unusable(String),
}

/// An unusable description, for a reason in words.
fn unusable<T>(why: impl Into<String>) -> Result<T, SdpError> {
    Err(SdpError::Unusable(why.into()))
}

/// Reads a peer's session description, whatever stands in it: a stream that cannot be read is one with a fault.
///
/// # Errors
/// There is none.
pub fn parse(sdp: &[u8]) -> Result<Description, SdpError> {
    if sdp.is_empty() {
        return Err(SdpError::Missing);
    }
    Ok(read::description(sdp))
}

/// Reads a peer's answer to our offer of one stream: the first audio stream that will do. Others, which were not
/// offered, count for nothing.
///
/// # Errors
/// No stream will do; the reason of the first.
pub fn answer_to_ours(answer: &Description, ours: &LocalMedia) -> Result<Answer, SdpError> {
    first_usable(answer, ours).map(|(_, media)| media)
}

/// Chooses a stream of a peer's offer: the first audio stream that will do.
///
/// # Errors
/// No stream will do, or there are more than can be refused one by one.
pub fn choose(offer: &Description, ours: &LocalMedia) -> Result<Choice, SdpError> {
    if offer.is_cut {
        return unusable(format!("more than {MOST_STREAMS} streams"));
    }
    let (at, media) = first_usable(offer, ours)?;
    Ok(Choice { at, media, offered: OfferedLine::all_of(offer), is_closed: false })
}

/// An offer that closes every stream puts the call on hold: its media are those of `before`, inactive. `None` for any
/// other offer, one that goes on to a stream of another kind among them (fax over T.38).
pub fn closed(offer: &Description, before: &Answer) -> Option<Choice> {
    let is_audio = |stream: &Stream| stream.kind.eq_ignore_ascii_case("audio");
    let at = offer.streams.iter().position(is_audio)?;
    let is_closed = !offer.is_cut && offer.streams.iter().all(|stream| stream.port == 0);
    let media = Answer { direction: MediaDirection::Inactive, ..before.clone() };
    is_closed.then(|| Choice { at, media, offered: OfferedLine::all_of(offer), is_closed })
}

fn first_usable(description: &Description, ours: &LocalMedia) -> Result<(usize, Answer), SdpError> {
    let mut fault = SdpError::NoStream;
    for (at, stream) in description.streams.iter().enumerate() {
        if !stream.kind.eq_ignore_ascii_case("audio") {
            continue;
        }
        match stream.usable(ours) {
            Ok(media) => return Ok((at, media)),
            // A stream that was refused says less than one that cannot be used.
            Err(error) if matches!(fault, SdpError::NoStream | SdpError::Refused) => fault = error,
            Err(_) => {}
        }
    }
    Err(fault)
}

/// Ports below are those of system services (RFC 6335 6): whoever names one for media wants something else of it.
const LOWEST_PORT: u16 = 1024;

impl Stream {
    /// The stream's media, if it is live audio over RTP that we can send and take.
    fn usable(&self, ours: &LocalMedia) -> Result<Answer, SdpError> {
        if let Some(fault) = &self.fault {
            return unusable(fault.clone());
        }
        match self.port {
            0 => return Err(SdpError::Refused),
            port if port < LOWEST_PORT => {
                return unusable(format!("port {port} is a system service's, and no media's"));
            }
            _ => {}
        }
        let srtp = self.peer_keys(ours)?;
        Ok(Answer {
            payload_type: self.payload_type_of(ours.codec)?,
            rtp_address: SocketAddr::new(self.address(ours)?, self.port),
            direction: self.direction,
            ptime_ms: self.ptime_ms,
            event_type: self.events,
            comfort_type: self.comfort,
            srtp,
        })
    }

    /// The keys of a stream whose transport is the one that we want. Where SRTP is wanted, keys are what counts: some
    /// call their transport plain all the same.
    fn peer_keys(&self, ours: &LocalMedia) -> Result<Option<PeerKeys>, SdpError> {
        let (is_plain, is_secure) = (
            matches!(self.proto, Proto::Avp | Proto::Avpf),
            matches!(self.proto, Proto::Savp | Proto::Savpf),
        );
        let Some(own) = &ours.srtp else {
            return match (is_plain, is_secure) {
                (true, _) => Ok(None),
                (_, true) => unusable(format!(
                    "transport `{}` instead of RTP/AVP: it wants SRTP; set media.srtp = true",
                    self.proto.name()
                )),
                _ => unusable(format!("transport `{}` instead of RTP/AVP", self.proto.name())),
            };
        };
        if !is_plain && !is_secure {
            return unusable(format!("transport `{}` instead of RTP/SAVP", self.proto.name()));
        }
        if self.crypto.is_empty() {
            return Err(SdpError::Plain);
        }
        let usable = |line: &CryptoLine| Some(PeerKeys { tag: line.tag, keys: line.keys(own.suite())? });
        let theirs =
            || excerpt(&self.crypto.iter().map(|line| line.suite.as_str()).collect::<Vec<_>>().join(" "));
        let found = self.crypto.iter().find_map(usable);
        found.map(Some).ok_or_else(|| SdpError::Suites { ours: own.suite().name(), theirs: theirs() })
    }

    /// The first format that is our codec: formats come in the order of preference (RFC 3264 6.1).
    fn payload_type_of(&self, ours: Codec) -> Result<u8, SdpError> {
        let mut formats = self.formats.iter().filter_map(|format| format.parse().ok()).filter(|pt| *pt < 128);
        let is_ours = |payload_type: &u8| {
            match self.rtpmaps.iter().find(|(mapped, _)| mapped == payload_type) {
                Some((_, encoding)) => is_mapping_of(encoding, ours),
                // Without a mapping a static payload type means what RFC 3551 says.
                None => *payload_type == ours.payload_type(),
            }
        };
        match formats.find(is_ours) {
            Some(payload_type) => Ok(payload_type),
            None => {
                let answered = excerpt(&self.formats.join(" "));
                unusable(format!("no common codec: offered {ours}, answered `{answered}`{}", self.names()))
            }
        }
    }

    /// The encodings of the formats, in brackets; nothing where none is known.
    fn names(&self) -> String {
        let name = |format: &String| {
            let payload_type = format.parse::<u8>().ok()?;
            let mapped = self.rtpmaps.iter().find(|(mapped, _)| *mapped == payload_type);
            let fixed = || STATIC.iter().find(|(fixed, _)| *fixed == payload_type).map(|(_, name)| *name);
            mapped.map(|(_, encoding)| encoding.as_str()).or_else(fixed)
        };
        let names: Vec<&str> = self.formats.iter().filter_map(name).collect();
        if names.is_empty() { String::new() } else { format!(" ({})", excerpt(&names.join(", "))) }
    }

    fn address(&self, ours: &LocalMedia) -> Result<IpAddr, SdpError> {
        let not_unicast =
            |text: &str| unusable(format!("connection address `{text}` is not a unicast IP address"));
        match &self.connection {
            Connection::Missing => unusable("no connection address"),
            Connection::Name(name) => {
                Err(SdpError::Name { name: name.clone(), why: "it was not looked up".into() })
            }
            Connection::Nowhere { name, why } => Err(SdpError::Name { name: name.clone(), why: why.clone() }),
            Connection::Unreadable(text) => not_unicast(text),
            // The old way to hold a call (RFC 3264 8.4), whatever its family.
            Connection::Ip(ip) if ip.to_canonical().is_unspecified() => Ok(*ip),
            Connection::Ip(ip) if !is_one_host(*ip) => not_unicast(&ip.to_string()),
            Connection::Ip(ip)
                if ip.to_canonical().is_ipv4() != ours.ip.is_ipv4() || ip.to_canonical() != *ip =>
            {
                unusable(format!("the connection address {ip} is of another family than ours"))
            }
            Connection::Ip(ip) => Ok(*ip),
        }
    }
}

/// Encodings of payload types that need no mapping (RFC 3551 section 6), the usual ones.
const STATIC: [(u8, &str); 7] =
    [(0, "PCMU"), (3, "GSM"), (4, "G723"), (8, "PCMA"), (9, "G722"), (13, "CN"), (18, "G729")];

fn is_mapping_of(encoding: &str, codec: Codec) -> bool {
    let mut parts = encoding.split('/').map(str::trim);
    let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(codec.name()));
    let rate: Option<u32> = parts.next().and_then(|rate| rate.parse().ok());
    // Some write the rate of its samples, which is not that of its clock (RFC 3551 4.5.2).
    let is_timed = rate == Some(codec.clock_hz()) || (codec == Codec::G722 && rate == Some(16_000));
    // Channels that are left out are those that the codec has.
    let channels: Option<u8> = parts.next().and_then(|channels| channels.parse().ok());
    is_named && is_timed && channels.is_none_or(|count| count == codec.channels().unwrap_or(1))
}

#[cfg(test)]
mod tests;
