//! Sound in the payloads of a codec: samples of 8000 Hz in, bytes out, and back.
//!
//! The coders of G.722 and Opus are those of the crates `audio-codec` and `ropus`; G.711's are this project's own. A coder
//! has the state of its stream, so each direction of a call has one of its own.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use audio_codec::Encoder as _;
use audio_codec::g722::{Bitrate, G722Decoder, G722Encoder};

use super::{Codec, g711};

/// Samples a second on the side of the sound. G.722 carries them in its lower band, Opus as narrowband.
pub const RATE_HZ: u32 = 8000;

/// Samples of the longest packet of Opus, 120 ms (RFC 6716 section 3.2.5, rule R5).
const OPUS_MOST_SAMPLES: usize = RATE_HZ as usize * 120 / 1000;
/// Fills the payload that SDP's packet time and the codec's table promise: 160 bytes in 20 ms.
const OPUS_BITRATE: u32 = 64_000;
/// The least work: a caller's packet is encoded at the time it is sent.
const OPUS_COMPLEXITY: u8 = 0;

/// True for a codec whose sound can be made and heard here.
pub const fn speaks(codec: Codec) -> bool {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Opus => true,
        Codec::L16 => false,
    }
}

/// Samples in a packet of this time.
pub const fn samples_in(ptime: Duration) -> usize {
    ptime.as_millis() as usize * (RATE_HZ as usize / 1000)
}

/// One stream's coder.
pub struct Encoder(Coder<G722Encoder, ropus::Encoder>);

/// One stream's decoder.
pub struct Decoder(Coder<G722Decoder, ropus::Decoder>);

enum Coder<G722, Opus> {
    G711(Codec),
    G722(Box<G722>),
    Opus(Box<Opus>),
}

impl Encoder {
    /// A coder at the begin of a stream. There is none for L16, see [`speaks`].
    pub fn new(codec: Codec) -> Option<Self> {
        Some(Encoder(match codec {
            Codec::Pcmu | Codec::Pcma => Coder::G711(codec),
            Codec::G722 => {
                Coder::G722(Box::new(G722Encoder::with_options(Bitrate::Mode1_64000, false, false)))
            }
            Codec::Opus => Coder::Opus(Box::new(opus_encoder()?)),
            Codec::L16 => return None,
        }))
    }

    /// Encodes a packet's samples into its payload, which has a byte a sample in all of these codecs.
    pub fn write(&mut self, samples: &[i16], payload: &mut [u8]) {
        match &mut self.0 {
            Coder::G711(codec) => g711::write(*codec, samples, payload),
            // Both fail for lengths that no packet of ours has.
            Coder::G722(coder) => {
                // Each sample twice: the image that this puts above 4 kHz is for the upper band, which who listens at
                // 8000 Hz drops. The crate's own mode for 8000 Hz encodes nothing but constants (audio-codec 0.4.13).
                let wide: Vec<i16> = samples.iter().flat_map(|sample| [*sample; 2]).collect();
                let _ = coder.encode_into(&wide, payload);
            }
            Coder::Opus(coder) => {
                let _ = coder.encode(samples, payload);
            }
        }
    }
}

fn opus_encoder() -> Option<ropus::Encoder> {
    ropus::Encoder::builder(RATE_HZ, ropus::Channels::Mono, ropus::Application::Voip)
        .bitrate(ropus::Bitrate::Bits(OPUS_BITRATE))
        .complexity(OPUS_COMPLEXITY)
        .vbr(false)
        .build()
        .ok()
}

impl Decoder {
    /// A decoder at the begin of a stream. There is none for L16, see [`speaks`].
    pub fn new(codec: Codec) -> Option<Self> {
        Some(Decoder(match codec {
            Codec::Pcmu | Codec::Pcma => Coder::G711(codec),
            Codec::G722 => {
                Coder::G722(Box::new(G722Decoder::with_options(Bitrate::Mode1_64000, false, false)))
            }
            Codec::Opus => Coder::Opus(Box::new(ropus::Decoder::new(RATE_HZ, ropus::Channels::Mono).ok()?)),
            Codec::L16 => return None,
        }))
    }

    /// Appends the samples of a payload to `out`: none of one that is not of this codec. At most a sample a byte, of Opus
    /// 120 ms.
    pub fn decode_into(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let begin = out.len();
        match &mut self.0 {
            Coder::G711(codec) => g711::decode_into(*codec, payload, out),
            Coder::G722(coder) => {
                let wide = coder.decode_frame(payload);
                let middle = |pair: &[i16]| i32::midpoint(pair[0].into(), pair[1].into()) as i16;
                out.extend(wide.chunks_exact(2).map(middle));
            }
            Coder::Opus(coder) => {
                out.resize(begin + OPUS_MOST_SAMPLES, 0);
                let decoded = opus_decode(coder, payload, &mut out[begin..]);
                out.truncate(begin + decoded);
            }
        }
    }
}

/// Samples decoded. An empty payload would be concealed as a lost one is, and is nothing here.
fn opus_decode(coder: &mut ropus::Decoder, payload: &[u8], out: &mut [i16]) -> usize {
    if payload.is_empty() {
        return 0;
    }
    // A port of a decoder as large as this one is trusted with a hostile packet no further than with its own call.
    let decode = AssertUnwindSafe(|| coder.decode(payload, out, ropus::DecodeMode::Normal));
    catch_unwind(decode).ok().and_then(Result::ok).unwrap_or(0)
}

impl<G722, Opus> fmt::Debug for Coder<G722, Opus> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coder::G711(codec) => codec.name(),
            Coder::G722(_) => Codec::G722.name(),
            Coder::Opus(_) => Codec::Opus.name(),
        })
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encoder").field(&self.0).finish()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Decoder").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const SPOKEN: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
    const PACKET: usize = samples_in(Duration::from_millis(20));

    /// A sound whose pitch glides from 400 to 2400 Hz in a second: no two delays of it are alike.
    fn glide(packets: usize) -> Vec<i16> {
        let at = |n: usize| {
            let s = n as f64 / f64::from(RATE_HZ);
            ((TAU * (400.0 * s + 1000.0 * s * s)).sin() * 8000.0) as i16
        };
        (0..packets * PACKET).map(at).collect()
    }

    fn there_and_back(codec: Codec, sound: &[i16]) -> Vec<i16> {
        let (mut encoder, mut decoder) = (Encoder::new(codec).unwrap(), Decoder::new(codec).unwrap());
        let mut heard = Vec::new();
        for packet in sound.chunks(PACKET) {
            let mut payload = [0; PACKET];
            encoder.write(packet, &mut payload);
            decoder.decode_into(&payload, &mut heard);
        }
        heard
    }

    /// Normalised correlation of `heard`, `lag` samples late, with `said`.
    fn likeness(said: &[i16], heard: &[i16], lag: usize) -> f64 {
        let pairs = || said.iter().zip(&heard[lag..]).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let power = |of: fn((f64, f64)) -> f64| pairs().map(of).sum::<f64>();
        power(|(a, b)| a * b) / (power(|(a, _)| a * a) * power(|(_, b)| b * b)).sqrt()
    }

    #[test]
    fn sound_comes_back_a_little_later_and_hardly_changed() {
        let said = glide(40);
        for codec in SPOKEN {
            let heard = there_and_back(codec, &said);
            assert_eq!(heard.len(), said.len(), "{codec}");
            let (lag, best) = (0..160)
                .map(|lag| (lag, likeness(&said, &heard, lag)))
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .unwrap();
            // G.722's filters take 22 samples of 16 kHz; Opus looks 6.5 ms ahead (RFC 6716 section 2.1.4 has 5 of them).
            let expected = match codec {
                Codec::G722 => 10..=12,
                Codec::Opus => 50..=54,
                _ => 0..=0,
            };
            assert!(expected.contains(&lag) && best > 0.95, "{codec}: {lag} samples, {best}");
        }
    }

    #[test]
    fn a_packet_of_opus_fills_its_payload() {
        let mut payload = [0xAA; PACKET];
        Encoder::new(Codec::Opus).unwrap().write(&glide(1), &mut payload);
        let mut whole = Vec::new();
        Decoder::new(Codec::Opus).unwrap().decode_into(&payload, &mut whole);
        assert_eq!(whole.len(), PACKET);
        // One frame of 20 ms, SILK narrowband, padded to the length (RFC 6716 sections 3.1 and 3.2.5).
        assert_eq!((payload[0] >> 3, payload[0] & 3), (1, 3), "{:#04x}", payload[0]);
    }

    #[test]
    fn there_is_no_coder_for_linear_audio() {
        for codec in [Codec::L16].into_iter().chain(SPOKEN) {
            assert_eq!(Encoder::new(codec).is_some(), speaks(codec), "{codec}");
            assert_eq!(Decoder::new(codec).is_some(), speaks(codec), "{codec}");
        }
        assert!(!speaks(Codec::L16));
    }

    #[test]
    fn nothing_comes_of_nothing() {
        for codec in SPOKEN {
            let mut heard = vec![7];
            Decoder::new(codec).unwrap().decode_into(&[], &mut heard);
            assert_eq!(heard, [7], "{codec}");
        }
    }

    proptest! {
        /// A stream of anything: a sample a byte at the most, of Opus 120 ms, and what follows is decoded all the same.
        #[test]
        fn hostile_payloads_stay_within_bounds(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..12),
        ) {
            for codec in SPOKEN {
                let mut decoder = Decoder::new(codec).unwrap();
                let mut heard = Vec::new();
                for payload in &payloads {
                    heard.clear();
                    decoder.decode_into(payload, &mut heard);
                    let most = if codec == Codec::Opus { OPUS_MOST_SAMPLES } else { payload.len() };
                    prop_assert!(heard.len() <= most);
                }
            }
        }
    }
}
