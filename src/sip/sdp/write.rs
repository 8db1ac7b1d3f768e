//! Session descriptions of our own: offers of one stream, and answers with as many as were offered.

use std::fmt::Write as _;

use super::{Choice, Description, LocalMedia, MediaDirection, Proto, Stream};

/// Longest word of a refused stream that is repeated; `application` and `UDP/TLS/RTP/SAVPF` are the longest known.
const MOST_WORD: usize = 32;
/// Payload type under which telephone events are offered: everybody's.
const EVENTS: u8 = 101;
/// Most bytes of its formats: the first ones do, for nothing is sent.
const MOST_FORMATS: usize = 64;

/// An `m=` line of a peer's offer, as far as the answer repeats it (RFC 3264 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfferedLine {
    kind: String,
    proto: Proto,
    formats: String,
}

impl OfferedLine {
    pub(super) fn all_of(offer: &Description) -> Vec<Self> {
        offer.streams.iter().map(Self::of).collect()
    }

    fn of(stream: &Stream) -> Self {
        let mut formats = String::new();
        for format in &stream.formats {
            if formats.len() + format.len() >= MOST_FORMATS {
                break;
            }
            formats = if formats.is_empty() { format.clone() } else { formats + " " + format };
        }
        let formats = if formats.is_empty() { "0".into() } else { formats };
        OfferedLine { kind: bounded(&stream.kind), proto: stream.proto.clone(), formats }
    }
}

fn bounded(word: &str) -> String {
    word.chars().take(MOST_WORD).collect()
}

impl LocalMedia {
    /// The description as first offered.
    pub fn to_sdp(&self) -> String {
        self.describe(1, MediaDirection::SendRecv, None)
    }

    /// The description in another version (RFC 3264 8) or direction: of our stream alone, or where a peer has offered
    /// some, of as many as it has offered, all but ours refused.
    pub fn describe(&self, version: u64, direction: MediaDirection, choice: Option<&Choice>) -> String {
        let LocalMedia { ip, session_id, .. } = self;
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let mut sdp = String::with_capacity(256);
        // Invariant: writing to a String cannot fail.
        let _ = write!(
            sdp,
            "v=0\r\no=- {session_id} {version} IN {family} {ip}\r\ns=loadtest\r\nc=IN {family} {ip}\r\nt=0 0\r\n"
        );
        let Some(Choice { at, media, offered, is_closed }) = choice else {
            let proto = if self.srtp.is_some() { Proto::Savp } else { Proto::Avp };
            let events = self.events.then_some(EVENTS);
            sdp += &self.stream(&proto, (self.codec.payload_type(), events), 1, direction);
            return sdp;
        };
        // A stream without a port is answered without one (RFC 3264 6); what we offer has ours.
        let is_closed = *is_closed && direction == MediaDirection::Inactive;
        let tag = media.srtp.as_ref().map_or(1, |peer| peer.tag);
        for (n, line) in offered.iter().enumerate() {
            let OfferedLine { kind, proto, formats } = line;
            sdp += &match n == *at && !is_closed {
                true => {
                    let events = media.event_type.filter(|_| self.events);
                    self.stream(proto, (media.payload_type, events), tag, direction)
                }
                false => format!("m={kind} 0 {} {formats}\r\n", bounded(proto.name())),
            };
        }
        sdp
    }

    /// Our stream; its keys under the number `tag`.
    fn stream(
        &self,
        proto: &Proto,
        (payload_type, events): (u8, Option<u8>),
        tag: u32,
        direction: MediaDirection,
    ) -> String {
        let LocalMedia { rtp_port, codec, ptime_ms, srtp, .. } = self;
        let crypto = srtp.as_ref().map_or(String::new(), |keys| {
            format!("a=crypto:{tag} {} inline:{}\r\n", keys.suite().name(), keys.inline())
        });
        // All digits, `*`, `#` and A to D (RFC 4733 section 2.4.1), on the clock of the audio.
        let (format, mapping) = events.map_or((String::new(), String::new()), |events| {
            let clock_hz = codec.clock_hz();
            let lines = format!("a=rtpmap:{events} telephone-event/{clock_hz}\r\na=fmtp:{events} 0-15\r\n");
            (format!(" {events}"), lines)
        });
        format!(
            "m=audio {rtp_port} {} {payload_type}{format}\r\na=rtpmap:{payload_type} {}\r\n{mapping}\
             a=ptime:{ptime_ms}\r\n{crypto}a={direction}\r\n",
            proto.name(),
            codec.mapping()
        )
    }
}
