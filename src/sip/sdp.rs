//! Session descriptions for one G.711 stream (RFC 8866), offered and answered (RFC 3264).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use sdp_types::{Media, Session};
use strum::{Display, IntoStaticStr, VariantArray};
use thiserror::Error;

use super::parse::excerpt;
use crate::rtp::Codec;

/// Samples per second of both laws of G.711.
pub const CLOCK_RATE: u32 = 8000;

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
pub struct Offer {
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
}

impl Offer {
    /// The description as first offered.
    pub fn to_sdp(&self) -> String {
        self.describe(1, MediaDirection::SendRecv)
    }

    /// The description in another version (RFC 3264 8) or direction.
    pub fn describe(&self, version: u64, direction: MediaDirection) -> String {
        let Offer { ip, rtp_port, codec, ptime_ms, session_id } = self;
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let (payload_type, name) = (codec.payload_type(), codec.name());
        let mut sdp = String::with_capacity(256);
        // Invariant: writing to a String cannot fail.
        let _ = write!(
            sdp,
            "v=0\r\no=- {session_id} {version} IN {family} {ip}\r\ns=loadtest\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {rtp_port} RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {name}/{CLOCK_RATE}\r\n\
             a=ptime:{ptime_ms}\r\na={direction}\r\n"
        );
        sdp
    }
}

/// The peer's side of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The peer's RTP address.
    pub ip: IpAddr,
    /// The peer's RTP port, never 0.
    pub port: u16,
    /// The codec in use.
    pub codec: Codec,
    /// The payload type to put into packets to the peer; the static one unless the peer mapped another.
    pub payload_type: u8,
    /// The packet time that the peer would like, in milliseconds.
    pub ptime_ms: Option<u32>,
    /// The peer's direction of the stream.
    pub direction: MediaDirection,
}

impl Answer {
    /// The destination of our RTP.
    pub fn rtp_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// Fault of a session description that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SdpError {
    /// There is no session description where there must be one.
    #[error("no session description")]
    NoBody,
    /// Not a session description.
    #[error("not a session description: {0}")]
    Malformed(String),
    /// No audio stream.
    #[error("no audio stream")]
    NoAudio,
    /// More or fewer streams than the one that was offered (RFC 3264 6).
    #[error("{0} streams where one was offered")]
    StreamCount(usize),
    /// The stream is refused with port 0 (RFC 3264 6).
    #[error("the audio stream is refused (port 0)")]
    Refused,
    /// Not plain RTP.
    #[error("transport `{0}` instead of RTP/AVP")]
    Transport(String),
    /// None of the formats is the codec that we offered.
    #[error("no common codec: offered {offered}, answered `{answered}`")]
    NoCommonCodec {
        /// The encoding name that we offered.
        offered: &'static str,
        /// The peer's format list.
        answered: String,
    },
    /// No `c=` line holds for the audio stream.
    #[error("no connection address")]
    NoAddress,
    /// The connection address is a name, a multicast group or nonsense.
    #[error("connection address `{0}` is not a unicast IP address")]
    BadAddress(String),
    /// 0.0.0.0 or ::, the old way to put a call on hold (RFC 3264 8.4).
    #[error("the connection address is unspecified ({0})")]
    Unspecified(IpAddr),
    /// The peer's address is of another family than ours, so that no packet can get there.
    #[error("the connection address {0} is of another family than ours")]
    Family(IpAddr),
}

/// Reads the answer to `offer`, or a later offer of the peer's for the same stream.
pub fn parse_answer(sdp: &[u8], offer: &Offer) -> Result<Answer, SdpError> {
    if sdp.is_empty() {
        return Err(SdpError::NoBody);
    }
    let session = Session::parse(sdp).map_err(|error| SdpError::Malformed(excerpt(&error.to_string())))?;
    let media = audio(&session)?;
    let (payload_type, codec) = common_codec(media, offer.codec)?;
    let ip = address(&session, media, offer)?;
    let ptime_ms = media.get_first_attribute_value("ptime").flatten().and_then(|v| v.trim().parse().ok());
    Ok(Answer { ip, port: media.port, codec, payload_type, ptime_ms, direction: direction(&session, media) })
}

/// The one stream, which must be a live audio stream over RTP.
fn audio(session: &Session) -> Result<&Media, SdpError> {
    let is_audio = |media: &&Media| media.media.eq_ignore_ascii_case("audio");
    let media = session.medias.iter().find(is_audio).ok_or(SdpError::NoAudio)?;
    if session.medias.len() != 1 {
        return Err(SdpError::StreamCount(session.medias.len()));
    }
    if media.port == 0 {
        return Err(SdpError::Refused);
    }
    if !media.proto.eq_ignore_ascii_case("RTP/AVP") {
        return Err(SdpError::Transport(excerpt(&media.proto)));
    }
    Ok(media)
}

/// The first format that is our codec: formats come in the order of preference (RFC 3264 6.1).
fn common_codec(media: &Media, ours: Codec) -> Result<(u8, Codec), SdpError> {
    let formats = media.fmt.split_ascii_whitespace().filter_map(|format| format.parse().ok());
    let is_ours = |payload_type: u8| match rtpmap(media, payload_type) {
        Some(mapping) => is_mapping_of(mapping, ours),
        // Without a mapping a static payload type means what RFC 3551 says.
        None => payload_type == ours.payload_type(),
    };
    let found = formats.filter(|pt| *pt < 128).find(|payload_type| is_ours(*payload_type));
    found
        .map(|payload_type| (payload_type, ours))
        .ok_or_else(|| SdpError::NoCommonCodec { offered: ours.name(), answered: excerpt(&media.fmt) })
}

/// The `encoding/rate` of a payload type.
fn rtpmap(media: &Media, payload_type: u8) -> Option<&str> {
    media.get_attribute_values("rtpmap").flatten().find_map(|value| {
        let (mapped, encoding) = value.trim().split_once(' ')?;
        (mapped.parse() == Ok(payload_type)).then(|| encoding.trim())
    })
}

fn is_mapping_of(encoding: &str, codec: Codec) -> bool {
    let mut parts = encoding.split('/');
    parts.next().is_some_and(|name| name.eq_ignore_ascii_case(codec.name()))
        && parts.next().and_then(|rate| rate.parse().ok()) == Some(CLOCK_RATE)
}

fn address(session: &Session, media: &Media, offer: &Offer) -> Result<IpAddr, SdpError> {
    // A media-level line overrides the session's (RFC 8866 5.7).
    let connection = media.connections.first().or(session.connection.as_ref()).ok_or(SdpError::NoAddress)?;
    let text = &connection.connection_address;
    let bad = || SdpError::BadAddress(excerpt(text));
    let ip: IpAddr = text.parse().map_err(|_| bad())?;
    if ip.is_multicast() {
        return Err(bad());
    }
    if ip.is_unspecified() {
        return Err(SdpError::Unspecified(ip));
    }
    if ip.is_ipv4() != offer.ip.is_ipv4() {
        return Err(SdpError::Family(ip));
    }
    Ok(ip)
}

fn direction(session: &Session, media: &Media) -> MediaDirection {
    let all = MediaDirection::VARIANTS.iter().copied();
    let of_media = all.clone().find(|direction| media.has_attribute(direction.into()));
    of_media
        .or_else(|| all.clone().find(|direction| session.has_attribute(direction.into())))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        let ip = "192.0.2.9".parse().unwrap();
        Offer { ip, rtp_port: 40000, codec: Codec::Pcma, ptime_ms: 20, session_id: 77 }
    }

    const ANSWER: &str = "v=0\r\no=- 1 3 IN IP4 192.0.2.1\r\ns=Asterisk\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 11000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-16\r\na=ptime:30\r\na=maxptime:140\r\na=sendrecv\r\n";

    #[test]
    fn an_offer_reads_as_its_own_answer() {
        for ip in ["192.0.2.9", "2001:db8::9"] {
            let offer = Offer { ip: ip.parse().unwrap(), ..offer() };
            let answer = parse_answer(offer.to_sdp().as_bytes(), &offer).expect("our own SDP parses");
            assert_eq!((answer.ip, answer.port, answer.codec), (offer.ip, 40000, Codec::Pcma));
            assert_eq!((answer.payload_type, answer.ptime_ms), (8, Some(20)));
        }
    }

    #[test]
    fn the_offer_to_the_letter() {
        assert_eq!(
            offer().to_sdp(),
            "v=0\r\no=- 77 1 IN IP4 192.0.2.9\r\ns=loadtest\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
             m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        );
    }

    #[test]
    fn an_answer_of_asterisk() {
        let answer = parse_answer(ANSWER.as_bytes(), &offer()).expect("it parses");
        assert_eq!(answer.rtp_address(), "192.0.2.1:11000".parse().unwrap());
        assert_eq!((answer.payload_type, answer.ptime_ms), (8, Some(30)));
        assert_eq!(answer.direction, MediaDirection::SendRecv);
    }

    #[test]
    fn what_is_left_out_or_placed_elsewhere() {
        let read = |from: &str, to: &str| {
            let text = ANSWER.replace(from, to);
            assert_ne!(text, ANSWER, "{from}");
            parse_answer(text.as_bytes(), &offer()).expect("it parses")
        };
        assert_eq!(read("a=rtpmap:8 PCMA/8000\r\n", "").payload_type, 8);
        assert_eq!(read("a=ptime:30\r\n", "").ptime_ms, None);
        assert_eq!(read("a=ptime:30", "a=ptime:many").ptime_ms, None);
        assert_eq!(read("a=sendrecv\r\n", "").direction, MediaDirection::SendRecv);
        assert_eq!(read("sendrecv", "recvonly").direction, MediaDirection::RecvOnly);
        assert_eq!(read("t=0 0\r\n", "t=0 0\r\na=inactive\r\n").direction, MediaDirection::SendRecv);
        let mapped = read("8 101\r\na=rtpmap:8 PCMA/8000", "101 97\r\na=rtpmap:97 pcma/8000/1");
        assert_eq!(mapped.payload_type, 97);
        let moved = read("a=rtpmap:8", "c=IN IP4 192.0.2.2\r\na=rtpmap:8");
        assert_eq!(moved.ip, "192.0.2.2".parse::<IpAddr>().unwrap());
        assert_eq!(read("\r\n", "\n").port, 11000);
    }

    #[test]
    fn answers_that_cannot_be_used_say_why() {
        let no_codec =
            |answered: &str| SdpError::NoCommonCodec { offered: "PCMA", answered: answered.into() };
        for (from, to, error) in [
            ("m=audio", "m=video", SdpError::NoAudio),
            ("m=audio 11000", "m=audio 0", SdpError::Refused),
            ("RTP/AVP 8", "RTP/SAVP 8", SdpError::Transport("RTP/SAVP".into())),
            ("AVP 8 101\r\na=rtpmap:8 PCMA", "AVP 0 101\r\na=rtpmap:0 PCMU", no_codec("0 101")),
            ("rtpmap:8 PCMA/8000", "rtpmap:8 G729/8000", no_codec("8 101")),
            ("rtpmap:8 PCMA/8000", "rtpmap:8 PCMA/16000", no_codec("8 101")),
            ("AVP 8 101", "AVP 300 x -8", no_codec("300 x -8")),
            ("c=IN IP4 192.0.2.1\r\n", "", SdpError::NoAddress),
            ("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0", SdpError::Unspecified("0.0.0.0".parse().unwrap())),
            ("c=IN IP4 192.0.2.1", "c=IN IP6 ::1", SdpError::Family("::1".parse().unwrap())),
            ("c=IN IP4 192.0.2.1", "c=IN IP4 pbx.example", SdpError::BadAddress("pbx.example".into())),
            ("c=IN IP4 192.0.2.1", "c=IN IP4 233.252.0.1/9", SdpError::BadAddress("233.252.0.1/9".into())),
            ("a=maxptime", "m=video 0 RTP/AVP 31\r\na=maxptime", SdpError::StreamCount(2)),
        ] {
            let text = ANSWER.replace(from, to);
            assert_ne!(text, ANSWER, "{from}");
            assert_eq!(parse_answer(text.as_bytes(), &offer()), Err(error), "{from} -> {to}");
        }
        assert_eq!(parse_answer(b"", &offer()), Err(SdpError::NoBody));
        for malformed in ["hello", "v=1\r\n", "v=0\r\nm=audio 99999 RTP/AVP 0\r\n"] {
            assert!(matches!(parse_answer(malformed.as_bytes(), &offer()), Err(SdpError::Malformed(_))));
        }
    }
}
