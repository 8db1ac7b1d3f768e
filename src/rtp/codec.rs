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
    /// Payload bytes in a millisecond.
    bytes_per_ms: usize,
    /// Byte that decodes to silence; it fills a packet behind the probe.
    silence: u8,
}

const PCMU: Row = Row {
    name: "PCMU",
    asterisk_name: "ulaw",
    payload_type: 0,
    clock_hz: 8000,
    bytes_per_ms: 8,
    silence: 0xFF,
};
const PCMA: Row = Row {
    name: "PCMA",
    asterisk_name: "alaw",
    payload_type: 8,
    clock_hz: 8000,
    bytes_per_ms: 8,
    silence: 0xD5,
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
        }
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
        // Codecs whose clock, bytes and time differ (RFC 3551 section 4.5.2, RFC 7587, RFC 3551 section 4.5.11).
        let row = |payload_type, clock_hz, bytes_per_ms| Row { payload_type, clock_hz, bytes_per_ms, ..PCMU };
        for (row, ticks, bytes) in
            [(row(9, 8000, 8), 160, 160), (row(96, 48_000, 8), 960, 160), (row(97, 16_000, 32), 320, 640)]
        {
            let time = Duration::from_millis(20);
            assert_eq!((row.ticks(time), row.payload_len(time)), (ticks, bytes));
            assert!((f64::from(ticks) * row.ns_per_tick() - 2e7).abs() < 1e-3, "{row:?}");
        }
    }
}
