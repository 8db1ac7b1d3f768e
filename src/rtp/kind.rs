//! Kinds of datagrams on a media port that carry no audio (RFC 7983 section 7, RFC 5761 section 4).

use rtp_rs::RtpReader;

use super::Format;

/// Comfort noise (RFC 3389 section 4).
const COMFORT_NOISE: u8 = 13;
/// Its type before it had that one, reserved for it (RFC 3551 table 4); gateways still send it.
const OLD_COMFORT_NOISE: u8 = 19;
/// Payload types whose meaning SDP gives (RFC 3551 section 3).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
/// One event of RFC 4733 (section 2.3).
const EVENT_LEN: usize = 4;
/// STUN's header and its magic cookie (RFC 8489 section 5).
const STUN_HEADER_LEN: usize = 20;
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// Binding request, response and error response: all that classic STUN (RFC 3489) sends here.
const BINDINGS: [[u8; 2]; 3] = [[0x00, 0x01], [0x01, 0x01], [0x01, 0x11]];
/// First bytes from here on are those of other protocols (RFC 7983 section 7).
const FIRST_ABOVE_STUN: u8 = 4;
/// Longest comfort noise of an Asterisk that leaves ff ff where its header begins: header and level.
const LONGEST_BROKEN_NOISE: usize = 16;

/// What peers mix into a stream of audio, or send beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extra {
    /// RTCP on the port of RTP.
    Rtcp,
    /// Comfort noise: the far end is silent.
    ComfortNoise,
    /// A telephone event: DTMF.
    TelephoneEvent,
    /// STUN: a check of connectivity, or what keeps a NAT open.
    Stun,
    /// RTP without payload, which keeps a NAT open as well (RFC 6263 section 4.1).
    EmptyRtp,
    /// RTP of a payload type that was not agreed.
    OtherPayload(u8),
}

/// Kind of a datagram in which there is no probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RTP of the agreed payload type.
    Media,
    /// Something that belongs on the port, and is no audio.
    Extra(Extra),
    /// Nothing that belongs on a media port.
    Other,
}

impl Kind {
    /// The kind of `datagram` on the port of a stream in `format`.
    pub fn of(datagram: &[u8], format: &Format) -> Kind {
        if is_rtcp(datagram) {
            return Kind::Extra(Extra::Rtcp);
        }
        match RtpReader::new(datagram) {
            Ok(rtp) => of_rtp(&rtp, format),
            Err(_) if is_stun(datagram) => Kind::Extra(Extra::Stun),
            Err(_) if is_broken_noise(datagram) => Kind::Extra(Extra::ComfortNoise),
            Err(_) => Kind::Other,
        }
    }
}

/// RTCP on an RTP port: packet types 192 to 223 where RTP has its payload type, under the same version.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [version, 192..=223, ..] if version >> 6 == 2)
}

fn of_rtp(rtp: &RtpReader<'_>, format: &Format) -> Kind {
    let (payload_type, len) = (rtp.payload_type(), rtp.payload().len());
    // A far end sends the type that it was offered, or the one that it answered with.
    let is_media = [format.payload_type, format.codec.payload_type()].contains(&payload_type);
    let is_event = match format.event_type {
        Some(events) => payload_type == events,
        // Nobody agreed on any; peers send them all the same.
        None => DYNAMIC.contains(&payload_type) && len == EVENT_LEN,
    };
    match payload_type {
        COMFORT_NOISE | OLD_COMFORT_NOISE => Kind::Extra(Extra::ComfortNoise),
        _ if format.comfort_type == Some(payload_type) => Kind::Extra(Extra::ComfortNoise),
        _ if len == 0 => Kind::Extra(Extra::EmptyRtp),
        _ if is_media => Kind::Media,
        _ if is_event => Kind::Extra(Extra::TelephoneEvent),
        _ => Kind::Extra(Extra::OtherPayload(payload_type)),
    }
}

fn is_stun(datagram: &[u8]) -> bool {
    let Some((header, attributes)) = datagram.split_at_checked(STUN_HEADER_LEN) else { return false };
    let [first, second, high, low] = [header[0], header[1], header[2], header[3]];
    let is_known = header[4..8] == STUN_COOKIE || BINDINGS.contains(&[first, second]);
    let is_whole = usize::from(u16::from_be_bytes([high, low])) == attributes.len();
    first < FIRST_ABOVE_STUN && is_known && is_whole && attributes.len().is_multiple_of(4)
}

/// Keep-alives of Asterisk 18.25 to 22.5 with `rtp_keepalive`: comfort noise whose first two bytes were never
/// written (https://github.com/asterisk/asterisk/issues/1340).
fn is_broken_noise(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0xFF, 0xFF])
        && (RtpReader::MIN_HEADER_LEN..=LONGEST_BROKEN_NOISE).contains(&datagram.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;
    use Extra::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));

    fn rtp(first: u8, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        [&[first, payload_type, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9][..], payload].concat()
    }

    fn stun(kind: [u8; 2], cookie: [u8; 4], attributes: &[u8]) -> Vec<u8> {
        let len = (attributes.len() as u16).to_be_bytes();
        [&kind[..], &len, &cookie, &[7; 12], attributes].concat()
    }

    #[test]
    fn what_peers_send_beside_the_audio_is_known_for_what_it_is() {
        let report = |kind: u8| [&[0x80, kind, 0, 6, 0, 0, 0, 9][..], &[0; 20]].concat();
        for (datagram, extra) in [
            (report(200), Rtcp),
            (report(201), Rtcp),
            // A BYE is shorter than a header of RTP; feedback and extended reports are RTCP too.
            (vec![0x81, 203, 0, 1, 0, 0, 0, 9], Rtcp),
            (report(205), Rtcp),
            (report(207), Rtcp),
            (rtp(0x80, 13, &[0x40]), ComfortNoise),
            (rtp(0x80, 13, &[0x40, 1, 2, 3, 4, 5, 6, 7, 8, 9]), ComfortNoise),
            (rtp(0x80, 13 | 0x80, &[]), ComfortNoise),
            (rtp(0x80, 19, &[0x40]), ComfortNoise),
            ([&[0xFF, 0xFF][..], &rtp(0x80, 13, &[0x40])[2..]].concat(), ComfortNoise),
            (rtp(0x80, 101, &[5, 10, 0, 160]), TelephoneEvent),
            (rtp(0x80, 97 | 0x80, &[11, 0x8A, 3, 32]), TelephoneEvent),
            (stun([0, 1], STUN_COOKIE, &[]), Stun),
            (stun([1, 1], STUN_COOKIE, &[0, 0x20, 0, 4, 1, 2, 3, 4]), Stun),
            (stun([0, 0x11], STUN_COOKIE, &[]), Stun),
            (stun([0, 1], [1, 2, 3, 4], &[]), Stun),
            (rtp(0x80, 0, &[]), EmptyRtp),
            (rtp(0x80, 101, &[]), EmptyRtp),
            // All of it padding, or extension.
            (rtp(0xA0, 0, &[0, 0, 3]), EmptyRtp),
            (rtp(0x90, 0, &[0xBE, 0xDE, 0, 1, 0x10, 1, 0, 0]), EmptyRtp),
            (rtp(0x80, 8, &[0xD5; 160]), OtherPayload(8)),
            (rtp(0x80, 101, &[0; 160]), OtherPayload(101)),
            (rtp(0x80, 3, &[0; 4]), OtherPayload(3)),
        ] {
            assert_eq!(Kind::of(&datagram, &FORMAT), Kind::Extra(extra), "{datagram:?}");
        }
        let dynamic = Format { payload_type: 96, event_type: Some(100), comfort_type: Some(98), ..FORMAT };
        for (payload_type, payload, kind) in [
            (0, &[1; 4][..], Kind::Media),
            (96, &[1; 4], Kind::Media),
            (100, &[5, 10, 0, 160, 5, 10, 1, 64], Kind::Extra(TelephoneEvent)),
            (101, &[5, 10, 0, 160], Kind::Extra(OtherPayload(101))),
            (98, &[0x40], Kind::Extra(ComfortNoise)),
            (13, &[0x40], Kind::Extra(ComfortNoise)),
        ] {
            assert_eq!(Kind::of(&rtp(0x80, payload_type, payload), &dynamic), kind, "{payload_type}");
        }
        assert_eq!(Kind::of(&rtp(0x80, 0, &[0; 160]), &FORMAT), Kind::Media);
    }

    #[test]
    fn what_does_not_belong_on_the_port_is_nothing_of_it() {
        let mut zrtp = stun([0x10, 0], *b"ZRTP", &[0; 4]);
        zrtp[2] = 0;
        let dtls = [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40][..], &[1; 40]].concat();
        let relayed = stun([0x40, 1], STUN_COOKIE, &[]);
        let mut cut = stun([0, 1], STUN_COOKIE, &[1; 8]);
        cut.pop();
        let noise_of_17 = [&[0xFF; 2][..], &[0; 15]].concat();
        let sip = b"OPTIONS sip:a@b SIP/2.0\r\n\r\n".to_vec();
        let others = [
            vec![],
            vec![0x80],
            vec![0x80; 11],
            vec![0; 20],
            vec![0; 172],
            zrtp,
            dtls,
            relayed,
            cut,
            noise_of_17,
            sip,
        ];
        for datagram in others {
            assert_eq!(Kind::of(&datagram, &FORMAT), Kind::Other, "{datagram:?}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            Kind::of(&bytes, &FORMAT);
        }
    }
}
