//! G.711: bytes of µ-law and A-law to linear samples of 16 bits, and back.
//!
//! Linear values are those of ITU-T G.191's reference, left-justified in 16 bits.

use super::Codec;

/// Added to a µ-law magnitude before its segment is looked up (G.711 table 2a: the segments then begin at powers of 2).
const BIAS: i32 = 0x84;
/// Largest magnitude that µ-law has a step for, before the bias.
const ULAW_CLIP: i32 = 32_635;
/// Even bits of A-law are inverted on the wire (G.711 table 1a, note 2).
const ALAW_EVEN_BITS: u8 = 0x55;
/// The sign bit: set for positive values in both laws.
const SIGN: u8 = 0x80;

const ULAW: [i16; 256] = table(true);
const ALAW: [i16; 256] = table(false);

const fn table(is_ulaw: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if is_ulaw { expand_ulaw(byte as u8) } else { expand_alaw(byte as u8) };
        byte += 1;
    }
    table
}

const fn expand_ulaw(byte: u8) -> i16 {
    let code = !byte;
    let (segment, step) = ((code >> 4) & 7, (code & 0x0F) as i16);
    let magnitude = (((step << 3) + BIAS as i16) << segment) - BIAS as i16;
    if byte & SIGN != 0 { magnitude } else { -magnitude }
}

const fn expand_alaw(byte: u8) -> i16 {
    let code = byte ^ ALAW_EVEN_BITS;
    let (segment, step) = ((code >> 4) & 7, (code & 0x0F) as i16);
    let middle = (step << 4) + 8;
    let magnitude = if segment == 0 { middle } else { (middle + 0x100) << (segment - 1) };
    if byte & SIGN != 0 { magnitude } else { -magnitude }
}

/// The linear value of a µ-law byte, -32,124 to 32,124.
pub const fn ulaw_decode(byte: u8) -> i16 {
    ULAW[byte as usize]
}

/// The µ-law byte of the interval that holds `sample` (G.711 table 2a). Zero is 0xFF: the other zero, 0x7F, never comes out.
pub const fn ulaw_encode(sample: i16) -> u8 {
    let wide = sample as i32;
    let magnitude = if wide < 0 { -wide } else { wide };
    let biased = if magnitude > ULAW_CLIP { ULAW_CLIP } else { magnitude } + BIAS;
    // 0x84..=0x7FFF: the highest bit is one of 7 to 14.
    let segment = biased.ilog2() - 7;
    let code = ((segment << 4) as u8) | ((biased >> (segment + 3)) & 0x0F) as u8;
    // A small negative value would be the negative zero.
    if wide < 0 && code != 0 { !code & !SIGN } else { !code | SIGN }
}

/// The linear value of an A-law byte, -32,256 to 32,256; A-law has no zero, its smallest are 8 and -8.
pub const fn alaw_decode(byte: u8) -> i16 {
    ALAW[byte as usize]
}

/// The A-law byte of the interval that holds `sample` (G.711 table 1a).
pub const fn alaw_encode(sample: i16) -> u8 {
    let wide = sample as i32;
    // One's complement: -1 belongs to the step below zero, and -32,768 has a magnitude.
    let magnitude = if wide < 0 { !wide } else { wide };
    let code = if magnitude < 0x100 {
        (magnitude >> 4) as u8
    } else {
        let segment = magnitude.ilog2() - 7;
        ((segment << 4) as u8) | ((magnitude >> (segment + 3)) & 0x0F) as u8
    };
    (if wide < 0 { code } else { code | SIGN }) ^ ALAW_EVEN_BITS
}

/// The byte of `sample` in this codec: A-law's, or else µ-law's.
pub fn encode(codec: Codec, sample: i16) -> u8 {
    if codec == Codec::Pcma { alaw_encode(sample) } else { ulaw_encode(sample) }
}

/// The linear value of `byte` in this codec: A-law's, or else µ-law's.
pub fn decode(codec: Codec, byte: u8) -> i16 {
    if codec == Codec::Pcma { alaw_decode(byte) } else { ulaw_decode(byte) }
}

/// Appends the linear values of `bytes` in this codec to `out`, one a byte.
pub fn decode_into(codec: Codec, bytes: &[u8], out: &mut Vec<i16>) {
    out.extend(bytes.iter().map(|byte| decode(codec, *byte)));
}

/// Writes samples in this codec, one a byte; what has no sample stays as it is.
pub fn write(codec: Codec, samples: &[i16], payload: &mut [u8]) {
    for (byte, sample) in payload.iter_mut().zip(samples) {
        *byte = encode(codec, *sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_standard() {
        for (byte, linear) in
            [(0x00, -32_124), (0x80, 32_124), (0xFF, 0), (0x7F, 0), (0xFE, 8), (0x7E, -8), (0xEF, 132)]
        {
            assert_eq!(ulaw_decode(byte), linear, "µ-law {byte:#x}");
        }
        for (byte, linear) in
            [(0xD5, 8), (0x55, -8), (0xAA, 32_256), (0x2A, -32_256), (0xC5, 264), (0xF5, 528)]
        {
            assert_eq!(alaw_decode(byte), linear, "A-law {byte:#x}");
        }
    }

    #[test]
    fn a_byte_survives_decoding_and_encoding() {
        for byte in 0..=255u8 {
            assert_eq!(ulaw_encode(ulaw_decode(byte)), if byte == 0x7F { 0xFF } else { byte });
            assert_eq!(alaw_encode(alaw_decode(byte)), byte);
        }
    }

    /// Greater samples have greater values, and none is further off than half of its segment's step, or its
    /// neighbour's where two segments meet (the decision values of G.711 are not midway there).
    #[test]
    fn steps_are_in_order_and_near() {
        let laws: [fn(i16) -> i16; 2] = [|s| ulaw_decode(ulaw_encode(s)), |s| alaw_decode(alaw_encode(s))];
        for law in laws {
            let mut last = i16::MIN;
            for sample in i16::MIN..=i16::MAX {
                let value = law(sample);
                assert!(value >= last, "{sample}");
                last = value;
                let off = (i32::from(value) - i32::from(sample)).abs();
                assert!(
                    off <= (i32::from(sample).abs() + BIAS) / 32 + 5 || sample.unsigned_abs() > 32_000,
                    "{sample}: {value}"
                );
            }
        }
    }

    /// Decision values of tables 1a and 2a, in 16 bits.
    #[test]
    fn intervals_end_at_the_decision_values() {
        for border in [4, 12, 16_252, 30_588, 31_612] {
            assert_ne!(ulaw_encode(border - 1), ulaw_encode(border), "µ-law, {border}");
        }
        for border in [16, 256, 512, 16_384, 31_744] {
            assert_ne!(alaw_encode(border - 1), alaw_encode(border), "A-law, {border}");
        }
    }

    #[test]
    fn idle_noise_lies_below_the_detectors_lowest_level() {
        let full_scale = 32_768f64;
        for quietest in [alaw_decode(alaw_encode(0)), ulaw_decode(ulaw_encode(5))] {
            let level = 20.0 * (f64::from(quietest).abs() / full_scale).log10();
            assert!(level < -66.0, "{level}");
        }
    }

    #[test]
    fn decoding_appends() {
        let mut out = vec![1];
        decode_into(Codec::Pcmu, &[0xFF, 0x00], &mut out);
        decode_into(Codec::Pcma, &[0xD5], &mut out);
        assert_eq!(out, [1, 0, -32_124, 8]);
    }
}
