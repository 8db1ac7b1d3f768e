//! The codecs: one table, whose rows hold all that differs between them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

/// Codecs that Asterisk passes through unchanged when both legs use the same one: the probe depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, VariantArray)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Codec {
    /// G.711 µ-law (RFC 3551 section 4.5.14), payload type 0.
    #[default]
    Pcmu,
    /// G.711 A-law, payload type 8.
    Pcma,
    /// G.722 (RFC 3551 section 4.5.2), payload type 9: 16,000 samples a second under a clock of 8000 Hz.
    G722,
    /// Opus (RFC 7587), in packets of 20 ms alone, where the far end is SIP's: a service behind Asterisk hears it transcoded.
    #[serde(rename = "opus")]
    Opus,
    /// Samples of 16 bits at 16 kHz (RFC 3551 section 4.5.11), likewise where the far end is SIP's.
    L16,
}

/// One codec.
#[derive(Debug)]
struct Row {
    /// Encoding name, as in `a=rtpmap` and in a scenario.
    name: &'static str,
    /// Asterisk's name of the format.
    asterisk_name: &'static str,
    /// Payload type of RFC 3551 table 4, or the dynamic one that is offered.
    payload_type: u8,
    /// Rate of the RTP timestamps, which is not always that of the samples (RFC 3551 section 4.5.2).
    clock_hz: u32,
    /// Channels that `a=rtpmap` names, where it names any.
    channels: Option<u8>,
    /// Payload bytes in a millisecond.
    bytes_per_ms: usize,
    /// Byte that decodes to silence, or nearly; it fills a packet behind the probe.
    silence: u8,
    /// Asterisk takes it back from externalMedia over RTP.
    via_external_media: bool,
}

const PCMU: Row = Row {
    name: "PCMU",
    asterisk_name: "ulaw",
    payload_type: 0,
    clock_hz: 8000,
    channels: None,
    bytes_per_ms: 8,
    silence: 0xFF,
    via_external_media: true,
};
const PCMA: Row = Row { name: "PCMA", asterisk_name: "alaw", payload_type: 8, silence: 0xD5, ..PCMU };
// The clock is that of an error in RFC 1890, kept for what follows it (RFC 3551 section 4.5.2). Two samples a byte.
const G722: Row = Row { name: "G722", asterisk_name: "g722", payload_type: 9, silence: 0xFA, ..PCMU };
// The probe's first byte, `L`, is a table of contents (RFC 6716 section 3.1): one frame of 20 ms, SILK wide-band. At 64
// kbit/s, what is behind it is read as a frame of any length up to 1275 bytes.
const OPUS: Row = Row {
    name: "opus",
    asterisk_name: "opus",
    payload_type: 96,
    clock_hz: 48_000,
    channels: Some(2),
    silence: 0,
    via_external_media: false,
    ..PCMU
};
const L16: Row = Row {
    name: "L16",
    asterisk_name: "slin16",
    payload_type: 97,
    clock_hz: 16_000,
    bytes_per_ms: 32,
    silence: 0,
    via_external_media: false,
    ..PCMU
};

impl Row {
    /// Ticks of the RTP clock in `time`.
    const fn ticks(&self, time: Duration) -> u32 {
        (self.clock_hz as u64 * time.as_millis() as u64 / 1000) as u32
    }

    const fn payload_len(&self, time: Duration) -> usize {
        self.bytes_per_ms * time.as_millis() as usize
    }

    fn ns_per_tick(&self) -> f64 {
        1e9 / f64::from(self.clock_hz)
    }
}

impl Codec {
    const fn row(self) -> &'static Row {
        match self {
            Codec::Pcmu => &PCMU,
            Codec::Pcma => &PCMA,
            Codec::G722 => &G722,
            Codec::Opus => &OPUS,
            Codec::L16 => &L16,
        }
    }

    /// The codec of this name, Asterisk's or its own, in any case.
    pub fn from_name(name: &str) -> Option<Codec> {
        let is_named = |codec: &&Codec| {
            codec.name().eq_ignore_ascii_case(name) || codec.asterisk_name().eq_ignore_ascii_case(name)
        };
        Codec::VARIANTS.iter().find(is_named).copied()
    }

    /// The payload type that is offered.
    pub const fn payload_type(self) -> u8 {
        self.row().payload_type
    }

    /// The encoding name of RFC 3551, as in `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The name that Asterisk gives this format.
    pub const fn asterisk_name(self) -> &'static str {
        self.row().asterisk_name
    }

    /// The byte that decodes to silence; it fills a packet behind the probe.
    pub const fn silence(self) -> u8 {
        self.row().silence
    }

    /// Channels that `a=rtpmap` names, where it names any.
    pub const fn channels(self) -> Option<u8> {
        self.row().channels
    }

    /// The mapping in `a=rtpmap`, as in `opus/48000/2`.
    pub fn mapping(self) -> String {
        let channels = self.channels().map_or(String::new(), |channels| format!("/{channels}"));
        format!("{}/{}{channels}", self.name(), self.clock_hz())
    }

    /// True where Asterisk takes it back from externalMedia over RTP; it drops what comes back in the others.
    pub const fn is_via_external_media(self) -> bool {
        self.row().via_external_media
    }

    /// True for G.711, on which the E-model's figures rest (ITU-T G.113 appendix I).
    pub const fn is_g711(self) -> bool {
        matches!(self, Codec::Pcmu | Codec::Pcma)
    }

    /// The only packet time for which its packets are well-formed, where there is one.
    pub const fn only_ptime(self) -> Option<Duration> {
        match self {
            Codec::Opus => Some(Duration::from_millis(20)),
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16 => None,
        }
    }

    /// Ticks a second of its RTP timestamps.
    pub const fn clock_hz(self) -> u32 {
        self.row().clock_hz
    }

    /// Nanoseconds of one tick; not every clock has a whole number of them.
    pub fn ns_per_tick(self) -> f64 {
        self.row().ns_per_tick()
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A stream's media as agreed in SDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Codec.
    pub codec: Codec,
    /// Payload type that the peer wants it under.
    pub payload_type: u8,
    /// Time in a packet.
    pub ptime: Duration,
    /// Payload type of telephone events (RFC 4733), where they are agreed.
    pub event_type: Option<u8>,
    /// Payload type of comfort noise, where another than that of RFC 3389 is agreed.
    pub comfort_type: Option<u8>,
}

impl Format {
    /// The format as it is offered.
    pub const fn of(codec: Codec, ptime: Duration) -> Self {
        let payload_type = codec.payload_type();
        Format { codec, payload_type, ptime, event_type: None, comfort_type: None }
    }

    /// Ticks of the RTP clock in a packet.
    pub const fn ticks(&self) -> u32 {
        self.codec.row().ticks(self.ptime)
    }

    /// Bytes of a packet's payload.
    pub const fn payload_len(&self) -> usize {
        self.codec.row().payload_len(self.ptime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_says_the_names_of_the_table() {
        for codec in Codec::VARIANTS {
            assert_eq!(serde_json::to_value(codec).unwrap(), codec.name());
            assert_eq!(format!("{codec:>5}"), format!("{:>5}", codec.name()));
        }
    }

    #[test]
    fn ticks_are_not_bytes() {
        let packet = Format::of(Codec::Pcma, Duration::from_millis(30));
        assert_eq!((packet.ticks(), packet.payload_len(), packet.payload_type), (240, 240, 8));
        assert_eq!(Codec::Pcma.ns_per_tick(), 125_000.0);
        // Clock, bytes and time differ (RFC 3551 section 4.5.2, RFC 7587, RFC 3551 section 4.5.11).
        for (codec, payload_type, ticks, bytes, mapping) in [
            (Codec::G722, 9, 160, 160, "G722/8000"),
            (Codec::Opus, 96, 960, 160, "opus/48000/2"),
            (Codec::L16, 97, 320, 640, "L16/16000"),
        ] {
            let packet = Format::of(codec, Duration::from_millis(20));
            assert_eq!(
                (packet.payload_type, packet.ticks(), packet.payload_len()),
                (payload_type, ticks, bytes)
            );
            assert_eq!(codec.mapping(), mapping);
            assert!((f64::from(ticks) * codec.ns_per_tick() - 2e7).abs() < 1e-3, "{codec}");
        }
    }

    #[test]
    fn a_name_is_its_own_or_asterisks() {
        for codec in Codec::VARIANTS {
            for name in [codec.name().to_string(), codec.asterisk_name().to_uppercase()] {
                assert_eq!(Codec::from_name(&name), Some(*codec));
            }
        }
        assert_eq!(Codec::from_name("g729"), None);
    }
}
