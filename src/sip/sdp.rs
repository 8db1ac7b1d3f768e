//! Session descriptions for one G.711 stream (RFC 8866), offered and answered (RFC 3264).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use sdp_types::{Media, Session};
use strum::{Display, IntoStaticStr, VariantArray};
use thiserror::Error;

use super::grammar::is_one_host;
use super::parse::excerpt;
use crate::rtp::{Codec, SAMPLE_RATE};

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
             m=audio {rtp_port} RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {name}/{SAMPLE_RATE}\r\n\
             a=ptime:{ptime_ms}\r\na={direction}\r\n"
        );
        sdp
    }
}

/// The peer's side of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Destination of our RTP; its port is never 0.
    pub rtp_address: SocketAddr,
    /// The payload type to put into packets to the peer; the static one unless the peer mapped another.
    pub payload_type: u8,
    /// The peer's direction of the stream.
    pub direction: MediaDirection,
}

/// Fault of a session description that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SdpError {
    /// 0.0.0.0 or ::, the old way to put a call on hold (RFC 3264 8.4).
    #[error("the connection address is unspecified ({0})")]
    Unspecified(IpAddr),
    /// Any other, in words; hostile text in it is an excerpt.
    #[error("{0}")]
    Unusable(String),
}

/// An unusable description, for a reason in words.
fn unusable<T>(why: impl Into<String>) -> Result<T, SdpError> {
    Err(SdpError::Unusable(why.into()))
}

/// Reads the answer to `offer`, or a later offer of the peer's for the same stream.
pub fn parse_answer(sdp: &[u8], offer: &Offer) -> Result<Answer, SdpError> {
    if sdp.is_empty() {
        return unusable("no session description");
    }
    let session = match Session::parse(sdp) {
        Ok(session) => session,
        Err(error) => return unusable(format!("not a session description: {}", excerpt(&error.to_string()))),
    };
    let media = audio(&session)?;
    let payload_type = payload_type_of(offer.codec, media)?;
    let rtp_address = SocketAddr::new(address(&session, media, offer)?, media.port);
    Ok(Answer { rtp_address, payload_type, direction: direction(&session, media) })
}

/// Ports below are those of system services (RFC 6335 6): whoever names one for media wants something else of it.
const LOWEST_PORT: u16 = 1024;

/// The one stream, which must be a live audio stream over RTP.
fn audio(session: &Session) -> Result<&Media, SdpError> {
    let is_audio = |media: &&Media| media.media.eq_ignore_ascii_case("audio");
    let Some(media) = session.medias.iter().find(is_audio) else { return unusable("no audio stream") };
    if session.medias.len() != 1 {
        return unusable(format!("{} streams where one was offered", session.medias.len()));
    }
    if media.port == 0 {
        return unusable("the audio stream is refused (port 0)");
    }
    if media.port < LOWEST_PORT {
        return unusable(format!("port {} is a system service's, and no media's", media.port));
    }
    if !media.proto.eq_ignore_ascii_case("RTP/AVP") {
        return unusable(format!("transport `{}` instead of RTP/AVP", excerpt(&media.proto)));
    }
    Ok(media)
}

/// The first format that is our codec: formats come in the order of preference (RFC 3264 6.1).
fn payload_type_of(ours: Codec, media: &Media) -> Result<u8, SdpError> {
    let formats = media.fmt.split_ascii_whitespace().filter_map(|format| format.parse().ok());
    let is_ours = |payload_type: u8| match rtpmap(media, payload_type) {
        Some(mapping) => is_mapping_of(mapping, ours),
        // Without a mapping a static payload type means what RFC 3551 says.
        None => payload_type == ours.payload_type(),
    };
    let found = formats.filter(|pt| *pt < 128).find(|payload_type| is_ours(*payload_type));
    match found {
        Some(payload_type) => Ok(payload_type),
        None => unusable(format!("no common codec: offered {ours}, answered `{}`", excerpt(&media.fmt))),
    }
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
        && parts.next().and_then(|rate| rate.parse().ok()) == Some(SAMPLE_RATE)
}

fn address(session: &Session, media: &Media, offer: &Offer) -> Result<IpAddr, SdpError> {
    // A media-level line overrides the session's (RFC 8866 5.7).
    let Some(connection) = media.connections.first().or(session.connection.as_ref()) else {
        return unusable("no connection address");
    };
    let text = &connection.connection_address;
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.to_canonical().is_unspecified() => Err(SdpError::Unspecified(ip)),
        Ok(ip) if !is_one_host(ip) => {
            unusable(format!("connection address `{ip}` is not a unicast IP address"))
        }
        Ok(ip) if ip.to_canonical().is_ipv4() != offer.ip.is_ipv4() || ip.to_canonical() != ip => {
            unusable(format!("the connection address {ip} is of another family than ours"))
        }
        Ok(ip) => Ok(ip),
        Err(_) => unusable(format!("connection address `{}` is not a unicast IP address", excerpt(text))),
    }
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
            assert_eq!((answer.rtp_address, answer.payload_type), (SocketAddr::new(offer.ip, 40000), 8));
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
        assert_eq!((answer.rtp_address, answer.payload_type), ("192.0.2.1:11000".parse().unwrap(), 8));
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
        assert_eq!(read("a=ptime:30", "a=ptime:many").payload_type, 8);
        assert_eq!(read("a=sendrecv\r\n", "").direction, MediaDirection::SendRecv);
        assert_eq!(read("sendrecv", "recvonly").direction, MediaDirection::RecvOnly);
        assert_eq!(read("t=0 0\r\n", "t=0 0\r\na=inactive\r\n").direction, MediaDirection::SendRecv);
        let mapped = read("8 101\r\na=rtpmap:8 PCMA/8000", "101 97\r\na=rtpmap:97 pcma/8000/1");
        assert_eq!(mapped.payload_type, 97);
        let moved = read("a=rtpmap:8", "c=IN IP4 192.0.2.2\r\na=rtpmap:8");
        assert_eq!(moved.rtp_address.ip(), "192.0.2.2".parse::<IpAddr>().unwrap());
        assert_eq!(read("\r\n", "\n").rtp_address.port(), 11000);
    }

    #[test]
    fn answers_that_cannot_be_used_say_why() {
        let not_unicast =
            |address: &str| format!("connection address `{address}` is not a unicast IP address");
        let no_codec = |answered: &str| format!("no common codec: offered PCMA, answered `{answered}`");
        for (from, to, error) in [
            ("m=audio", "m=video", "no audio stream".into()),
            ("m=audio 11000", "m=audio 0", "the audio stream is refused (port 0)".into()),
            ("m=audio 11000", "m=audio 53", "port 53 is a system service's, and no media's".into()),
            ("c=IN IP4 192.0.2.1", "c=IN IP4 255.255.255.255", not_unicast("255.255.255.255")),
            ("c=IN IP4 192.0.2.1", "c=IN IP4 224.0.0.1", not_unicast("224.0.0.1")),
            ("c=IN IP4 192.0.2.1", "c=IN IP6 ff02::1", not_unicast("ff02::1")),
            ("c=IN IP4 192.0.2.1", "c=IN IP6 ::ffff:224.0.0.1", not_unicast("::ffff:224.0.0.1")),
            (
                "c=IN IP4 192.0.2.1",
                "c=IN IP6 ::ffff:192.0.2.1",
                "the connection address ::ffff:192.0.2.1 is of another family than ours".into(),
            ),
            (
                "c=IN IP4 192.0.2.1",
                "c=IN IP6 ::ffff:0.0.0.0",
                "the connection address is unspecified (::ffff:0.0.0.0)".into(),
            ),
            ("RTP/AVP 8", "RTP/SAVP 8", "transport `RTP/SAVP` instead of RTP/AVP".into()),
            ("AVP 8 101\r\na=rtpmap:8 PCMA", "AVP 0 101\r\na=rtpmap:0 PCMU", no_codec("0 101")),
            ("rtpmap:8 PCMA/8000", "rtpmap:8 G729/8000", no_codec("8 101")),
            ("rtpmap:8 PCMA/8000", "rtpmap:8 PCMA/16000", no_codec("8 101")),
            ("AVP 8 101", "AVP 300 x -8", no_codec("300 x -8")),
            ("c=IN IP4 192.0.2.1\r\n", "", "no connection address".into()),
            (
                "c=IN IP4 192.0.2.1",
                "c=IN IP4 0.0.0.0",
                "the connection address is unspecified (0.0.0.0)".into(),
            ),
            (
                "c=IN IP4 192.0.2.1",
                "c=IN IP6 ::1",
                "the connection address ::1 is of another family than ours".into(),
            ),
            ("c=IN IP4 192.0.2.1", "c=IN IP4 pbx.example", not_unicast("pbx.example")),
            ("c=IN IP4 192.0.2.1", "c=IN IP4 233.252.0.1/9", not_unicast("233.252.0.1/9")),
            ("a=maxptime", "m=video 0 RTP/AVP 31\r\na=maxptime", "2 streams where one was offered".into()),
        ] {
            let text = ANSWER.replace(from, to);
            assert_ne!(text, ANSWER, "{from}");
            let refused = parse_answer(text.as_bytes(), &offer()).unwrap_err();
            assert_eq!(refused.to_string(), error, "{from} -> {to}");
        }
        assert_eq!(parse_answer(b"", &offer()), unusable("no session description"));
        for malformed in ["hello", "v=1\r\n", "v=0\r\nm=audio 99999 RTP/AVP 0\r\n"] {
            let refused = parse_answer(malformed.as_bytes(), &offer()).unwrap_err().to_string();
            assert!(refused.starts_with("not a session description: "), "{refused}");
        }
    }
}
