//! Digits as telephone events (RFC 4733): which packet carries which part of which digit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Keys in the order of their event codes, 0 to 15 (RFC 4733 table 3).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";
/// Most digits in one entry of a script.
const MAX_DIGITS: usize = 64;
/// Tone of one digit; telephones send 40 ms and more (ITU-T Q.24).
const TONE: Duration = Duration::from_millis(100);
/// Silence between two digits, and between speech and the first one.
const GAP: Duration = Duration::from_millis(100);
/// Packets that tell the end of an event (RFC 4733 section 2.5.1.4).
const END_PACKETS: u32 = 3;
/// Tone level in every packet, in -dBm0 (RFC 4733 section 2.3.1).
const VOLUME: u8 = 10;
/// The bit that marks the end, beside the volume.
const END_BIT: u8 = 0x80;

/// Digits to dial: 1 to 64 of `0`–`9`, `*`, `#`, `A`–`D`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits(Vec<u8>);

/// A text that is no [`Digits`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigitsError {
    /// Nothing to dial.
    #[error("there is no digit: write one or more of 0-9, *, #, A-D")]
    Empty,
    /// A character for which there is no key.
    #[error("no telephone has a key {0:?}: write 0-9, *, #, A-D")]
    Key(char),
    /// More than 64 digits.
    #[error("more than {MAX_DIGITS} digits: split them over several turns")]
    TooMany,
}

impl Digits {
    /// Event code of a digit, if there are so many.
    fn code(&self, digit: usize) -> Option<u8> {
        self.0.get(digit).copied()
    }

    /// Time from the first tone's onset to the last one's end.
    pub(super) fn time(&self) -> Duration {
        let digits = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        (TONE + GAP).saturating_mul(digits.saturating_sub(1)) + TONE
    }
}

impl FromStr for Digits {
    type Err = DigitsError;

    fn from_str(text: &str) -> Result<Self, DigitsError> {
        let mut codes = Vec::new();
        for key in text.chars() {
            let upper = key.to_ascii_uppercase();
            let code = (0..).zip(KEYS).find(|(_, known)| char::from(**known) == upper);
            codes.push(code.ok_or(DigitsError::Key(key))?.0);
            if codes.len() > MAX_DIGITS {
                return Err(DigitsError::TooMany);
            }
        }
        if codes.is_empty() { Err(DigitsError::Empty) } else { Ok(Digits(codes)) }
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|code| write!(f, "{}", char::from(KEYS[usize::from(*code & 15)])))
    }
}

/// One packet of an event. Its RTP time stamp is that of the event's first packet; sequence numbers go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Event code: 0 to 9, 10 `*`, 11 `#`, 12 to 15 `A` to `D`.
    pub code: u8,
    /// First packet of the event: it has the marker bit, and its time stamp is the event's.
    pub is_first: bool,
    /// One of the three packets that tell the event's end.
    pub is_end: bool,
    /// Duration so far, in ticks of the stream's RTP clock.
    pub duration_ticks: u16,
}

impl Event {
    /// The packet's payload (RFC 4733 section 2.3).
    pub fn payload(self) -> [u8; 4] {
        let [high, low] = self.duration_ticks.to_be_bytes();
        [self.code, if self.is_end { END_BIT | VOLUME } else { VOLUME }, high, low]
    }
}

/// Packets as a stream paces them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    ptime: Duration,
    clock_hz: u32,
}

impl Pace {
    /// A packet time below 1 ms counts as 1 ms.
    pub(super) fn new(ptime: Duration, clock_hz: u32) -> Self {
        Pace { ptime: ptime.max(Duration::from_millis(1)), clock_hz }
    }

    /// Packets that cover `time`.
    fn packets(self, time: Duration) -> u32 {
        u32::try_from(time.as_nanos().div_ceil(self.ptime.as_nanos())).unwrap_or(u32::MAX)
    }

    fn ticks(self, time: Duration) -> u16 {
        u16::try_from(time.as_nanos() * u128::from(self.clock_hz) / 1_000_000_000).unwrap_or(u16::MAX)
    }
}

/// One packet's share of the dialling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialled {
    /// Silence: between two digits, or between speech and the first one.
    Nothing,
    /// A packet of an event. `begins`: it is the very first. `ends_after`: the last tone ends so long after this
    /// packet's begin.
    Event { event: Event, begins: bool, ends_after: Option<Duration> },
}

/// Place in the dialling of some digits; one step a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialler {
    silent_packets: u32,
    digit: usize,
    packet: u32,
}

impl Dialler {
    /// Begins with silence if speech has gone before.
    pub(super) fn new(pace: Pace, follows_speech: bool) -> Self {
        let silent_packets = if follows_speech { pace.packets(GAP) } else { 0 };
        Dialler { silent_packets, digit: 0, packet: 0 }
    }

    /// The next packet; `None` once all is dialled, the repeated ends included.
    pub(super) fn next(&mut self, digits: &Digits, pace: Pace) -> Option<Dialled> {
        let code = digits.code(self.digit)?;
        if self.silent_packets > 0 {
            self.silent_packets -= 1;
            return Some(Dialled::Nothing);
        }
        let tone_packets = pace.packets(TONE);
        let event_packets = tone_packets.saturating_add(END_PACKETS - 1);
        let (digit, packet) = (self.digit, self.packet);
        self.packet += 1;
        if self.packet >= event_packets {
            self.digit += 1;
            self.packet = 0;
            // The repeated ends are sent in the gap, and fill it where packets are long.
            self.silent_packets = pace.packets(TONE + GAP).saturating_sub(event_packets);
        }
        let so_far = pace.ptime.saturating_mul(packet.saturating_add(1)).min(TONE);
        let is_end = packet + 1 >= tone_packets;
        let event = Event { code, is_first: packet == 0, is_end, duration_ticks: pace.ticks(so_far) };
        let ends_all = packet + 1 == tone_packets && digits.code(digit + 1).is_none();
        let ends_after = ends_all.then(|| TONE.saturating_sub(pace.ptime.saturating_mul(packet)));
        Some(Dialled::Event { event, begins: digit == 0 && packet == 0, ends_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTIME: Duration = Duration::from_millis(20);

    fn dialled(text: &str, ptime: Duration, clock_hz: u32) -> Vec<Dialled> {
        let (digits, pace) = (text.parse::<Digits>().unwrap(), Pace::new(ptime, clock_hz));
        let mut dialler = Dialler::new(pace, false);
        std::iter::from_fn(|| dialler.next(&digits, pace)).collect()
    }

    /// `F` first, `.` further, `E` end, `_` silence, with the duration.
    fn shown(packets: &[Dialled]) -> String {
        let one = |packet: &Dialled| match packet {
            Dialled::Nothing => "_".to_string(),
            Dialled::Event { event, .. } => {
                let first = if event.is_first { "F" } else { "" };
                let end = if event.is_end { "E" } else { "" };
                format!("{first}{}:{}{end}", event.code, event.duration_ticks)
            }
        };
        packets.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn two_digits_as_packets_of_20_ms() {
        assert_eq!(
            shown(&dialled("1#", PTIME, 8000)),
            "F1:160 1:320 1:480 1:640 1:800E 1:800E 1:800E _ _ _ \
             F11:160 11:320 11:480 11:640 11:800E 11:800E 11:800E"
        );
    }

    #[test]
    fn other_packet_times_and_clocks() {
        assert_eq!(
            shown(&dialled("5D", Duration::from_millis(60), 8000)),
            "F5:480 5:800E 5:800E 5:800E F15:480 15:800E 15:800E 15:800E"
        );
        assert_eq!(shown(&dialled("0", Duration::from_millis(150), 8000)), "F0:800E 0:800E 0:800E");
        assert_eq!(
            shown(&dialled("*", Duration::from_millis(30), 16_000)),
            "F10:480 10:960 10:1440 10:1600E 10:1600E 10:1600E"
        );
    }

    #[test]
    fn the_last_tone_tells_when_it_ends() {
        for (ptime, packet, after) in [(20, 14, 20), (30, 10, 10), (60, 5, 40), (200, 3, 100)] {
            let packets = dialled("12", Duration::from_millis(ptime), 8000);
            let ends: Vec<_> = packets
                .iter()
                .enumerate()
                .filter_map(|(n, packet)| match packet {
                    Dialled::Event { ends_after: Some(after), .. } => Some((n, after.as_millis())),
                    _ => None,
                })
                .collect();
            assert_eq!(ends, [(packet, after)], "{ptime} ms");
        }
    }

    #[test]
    fn payload_as_the_rfc_lays_it_out() {
        let event = Event { code: 11, is_first: false, is_end: true, duration_ticks: 800 };
        assert_eq!(event.payload(), [0x0B, 0x8A, 0x03, 0x20]);
        assert_eq!(Event { is_end: false, ..event }.payload(), [0x0B, 0x0A, 0x03, 0x20]);
    }

    #[test]
    fn texts_that_are_no_digits() {
        assert_eq!("".parse::<Digits>(), Err(DigitsError::Empty));
        assert_eq!("12x".parse::<Digits>(), Err(DigitsError::Key('x')));
        assert_eq!("1".repeat(65).parse::<Digits>(), Err(DigitsError::TooMany));
        assert_eq!("12ab*#d".parse::<Digits>().unwrap().to_string(), "12AB*#D");
    }
}
