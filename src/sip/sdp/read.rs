//! A section of a session description → [`Stream`]: its lines are read by sdp-types, one stream at a time.

use std::net::IpAddr;

use sdp_types::{Media, Session};
use strum::VariantArray as _;

use super::lenient::{Section, Sections, sections};
use super::{Connection, CryptoLine, Description, MediaDirection, Proto, Stream};
use crate::sip::parse::excerpt;

/// The most keys of a stream that are kept: one a suite is offered.
const MOST_CRYPTO: usize = 16;
/// Longest host name (RFC 1035 2.3.4).
const LONGEST_NAME: usize = 253;
/// Longest time of audio in a packet that is believed, in milliseconds.
const MOST_PTIME_MS: u32 = 1000;

/// Reads a session description. Streams that cannot be read stand in it with their fault.
pub(super) fn description(sdp: &[u8]) -> Description {
    let Sections { session, streams, is_cut } = sections(sdp);
    Description { streams: streams.iter().map(|section| stream(section, &session)).collect(), is_cut }
}

fn stream(section: &Section, session: &Section) -> Stream {
    match media(section) {
        Ok(media) => of_media(&media, section, session),
        Err(why) => unreadable(section, why),
    }
}

/// A description of this stream alone, in the words that sdp-types wants around it.
fn media(section: &Section) -> Result<Media, String> {
    let mut text = format!("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm={}\r\n", section.media);
    for attribute in &section.attributes {
        text += &format!("a={attribute}\r\n");
    }
    let session = Session::parse(text.as_bytes()).map_err(|error| excerpt(&error.to_string()))?;
    session.medias.into_iter().next().ok_or_else(|| "there is none".into())
}

/// A stream whose `m=` cannot be read: as much of it as an answer repeats to refuse it.
fn unreadable(section: &Section, why: String) -> Stream {
    let mut words = section.media.split(' ').filter(|word| !word.is_empty());
    let mut next = |default: &str| words.next().unwrap_or(default).to_string();
    let (kind, _port, proto) = (next("audio"), next(""), Proto::from_name(&next("RTP/AVP")));
    Stream {
        kind,
        proto,
        formats: words.map(String::from).collect(),
        fault: Some(format!("its line `m={}` cannot be read: {why}", excerpt(&section.media))),
        ..Stream::default()
    }
}

fn of_media(media: &Media, section: &Section, session: &Section) -> Stream {
    let formats: Vec<String> = media.fmt.split(' ').filter(|f| !f.is_empty()).map(String::from).collect();
    let rtpmaps: Vec<(u8, String)> =
        media.get_attribute_values("rtpmap").flatten().filter_map(rtpmap).collect();
    let payload_type = |name: &str| {
        let is_named =
            |encoding: &str| encoding.split('/').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        let mapped = rtpmaps.iter().find(|(_, encoding)| is_named(encoding));
        mapped.map(|(payload_type, _)| *payload_type).filter(|pt| formats.contains(&pt.to_string()))
    };
    let crypto = media.get_attribute_values("crypto").flatten().filter_map(CryptoLine::parse);
    Stream {
        kind: media.media.clone(),
        port: media.port,
        proto: Proto::from_name(&media.proto),
        // A line of the stream's own overrides the session's (RFC 8866 5.7).
        connection: section.connection.as_ref().or(session.connection.as_ref()).into(),
        direction: direction(&section.attributes)
            .or_else(|| direction(&session.attributes))
            .unwrap_or_default(),
        ptime_ms: media.get_attribute_values("ptime").flatten().find_map(ptime_ms),
        crypto: crypto.take(MOST_CRYPTO).collect(),
        events: payload_type("telephone-event"),
        // Comfort noise has a payload type of its own (RFC 3551 6).
        comfort: payload_type("CN").or_else(|| formats.iter().any(|f| f == "13").then_some(13)),
        rtcp_mux: media.has_attribute("rtcp-mux"),
        formats,
        rtpmaps,
        fault: None,
    }
}

/// The payload type and `encoding/rate` of an `a=rtpmap:`.
fn rtpmap(value: &str) -> Option<(u8, String)> {
    let (payload_type, encoding) = value.trim().split_once(' ')?;
    let payload_type = payload_type.parse().ok().filter(|pt| *pt < 128)?;
    Some((payload_type, excerpt(encoding.trim())))
}

/// Whole milliseconds: some write fractions (`a=ptime:20.0`).
fn ptime_ms(value: &str) -> Option<u32> {
    let digits = value.trim().split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|ms| (1..=MOST_PTIME_MS).contains(ms))
}

/// The first direction among these attributes.
fn direction(attributes: &[String]) -> Option<MediaDirection> {
    let named = |attribute: &String| {
        MediaDirection::VARIANTS.iter().copied().find(|direction| *attribute == <&str>::from(direction))
    };
    attributes.iter().find_map(named)
}

impl From<Option<&String>> for Connection {
    /// Reads `IN IP4 192.0.2.1`, with or without a TTL behind a slash (RFC 8866 5.7).
    fn from(line: Option<&String>) -> Self {
        let Some(written) = line.and_then(|line| line.split(' ').nth(2)) else { return Connection::Missing };
        let address = written.split('/').next().unwrap_or_default();
        if let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Connection::Ip(ip);
        }
        let is_name = address.len() <= LONGEST_NAME
            && address.contains(|c: char| c.is_ascii_alphabetic())
            && address.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        match is_name {
            true => Connection::Name(address.to_ascii_lowercase()),
            false => Connection::Unreadable(excerpt(written)),
        }
    }
}
