//! WAV files: prompts read, recordings written.

use std::borrow::Cow;
use std::io::Cursor;

use hound::{SampleFormat, WavReader, WavSpec};

use super::Clip;

/// Longest prompt, in seconds.
pub const MAX_CLIP_SECONDS: u32 = 60;

/// Commands that turn other audio into a prompt.
const CONVERT: &str =
    "convert it: `sox IN -r 8000 -c 1 -b 16 OUT` or `ffmpeg -i IN -ar 8000 -ac 1 -c:a pcm_s16le OUT`";

/// Reason why a file is no prompt; reads on after the file's name and a colon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// No WAV file, or a broken one.
    #[error("not a WAV file that can be read ({0}); if it is audio of another kind, {CONVERT}")]
    NotWav(String),
    /// A WAV file of compressed audio.
    #[error("a WAV file with audio in {0}, and a prompt is 16 bit PCM, mono, 8000 or 16000 Hz; {CONVERT}")]
    Coding(String),
    /// PCM of another rate, width or number of channels.
    #[error(
        "a WAV file of {rate_hz} Hz, {channels} channel(s), {bits} bit {kind}, and a prompt is 8000 or 16000 Hz, \
         mono, 16 bit PCM; {CONVERT}"
    )]
    Format {
        /// Samples a second.
        rate_hz: u32,
        /// Channels.
        channels: u16,
        /// Bits of a sample.
        bits: u16,
        /// `integer` or `floating point`.
        kind: &'static str,
    },
    /// The header announces more samples than there are.
    #[error("the WAV file ends after {have} of {announced} samples: copy it again, or {CONVERT}")]
    Truncated {
        /// Samples in the file.
        have: u32,
        /// Samples that its header announces.
        announced: u32,
    },
    /// Longer than [`MAX_CLIP_SECONDS`].
    #[error(
        "{seconds} s long, and a prompt may last {MAX_CLIP_SECONDS} s: cut it, `sox IN OUT trim 0 {MAX_CLIP_SECONDS}`"
    )]
    TooLong {
        /// Length in whole seconds, rounded up.
        seconds: u32,
    },
    /// No samples.
    #[error("the WAV file holds no samples: record it again")]
    Empty,
    /// Nothing that the detector takes for speech.
    #[error(
        "nobody speaks in it: no 60 ms stand 10 dB above its noise and above -56 dBFS; record it louder, or \
         `sox IN OUT norm -6`"
    )]
    Silent,
}

/// The samples of a WAV file in the format of prompts, silent or not.
pub(super) fn read(bytes: &[u8]) -> Result<Clip, WavError> {
    let bytes = &*measured(bytes);
    let reader = WavReader::new(Cursor::new(bytes)).map_err(|error| refusal(&error, bytes))?;
    let WavSpec { channels, sample_rate: rate_hz, bits_per_sample: bits, sample_format } = reader.spec();
    let is_int = sample_format == SampleFormat::Int;
    if !(is_int && channels == 1 && bits == 16 && matches!(rate_hz, 8000 | 16_000)) {
        let kind = if is_int { "integer" } else { "floating point" };
        return Err(WavError::Format { rate_hz, channels, bits, kind });
    }
    let announced = reader.duration();
    // A program that writes into a pipe cannot know the length, and announces the longest.
    let there = u32::try_from(bytes.len() / 2).unwrap_or(u32::MAX);
    let longest = MAX_CLIP_SECONDS * rate_hz;
    if announced.min(there) > longest {
        return Err(WavError::TooLong { seconds: announced.min(there).div_ceil(rate_hz) });
    }
    let mut samples = Vec::new();
    for sample in reader.into_samples::<i16>() {
        match sample {
            Ok(sample) => samples.push(sample),
            // Invariant of the cast: no more than `there` were read.
            Err(_) => return Err(WavError::Truncated { have: samples.len() as u32, announced }),
        }
    }
    if samples.is_empty() { Err(WavError::Empty) } else { Ok(Clip { rate_hz, samples }) }
}

/// Least length that a program announces which writes into a pipe and cannot know it: ffmpeg 0xFFFF_FFFF, SoX somewhat less
/// than 0x7FFF_FFFF. No prompt is as long.
const UNKNOWN_LENGTH: u32 = 0x7FFF_0000;

/// The file with its true length in the header of its samples, where it announces an unknown one.
fn measured(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut at = 12;
    while let Some(&[a, b, c, d, length @ ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let length = u32::from_le_bytes(length);
        let begin = at + 8;
        if [a, b, c, d] == *b"data" {
            if length < UNKNOWN_LENGTH {
                break;
            }
            // Whole samples of 16 bit; others are refused.
            let there = u32::try_from(bytes.len() - begin).unwrap_or(u32::MAX) & !1;
            let mut whole = bytes.to_vec();
            whole[at + 4..begin].copy_from_slice(&there.to_le_bytes());
            return Cow::Owned(whole);
        }
        // Chunks begin at even places.
        let Some(next) = begin.checked_add(length as usize).and_then(|end| end.checked_next_multiple_of(2))
        else {
            break;
        };
        at = next;
    }
    Cow::Borrowed(bytes)
}

fn refusal(error: &hound::Error, bytes: &[u8]) -> WavError {
    match error {
        hound::Error::Unsupported => WavError::Coding(coding(bytes)),
        // From a slice it has no other: the bytes end.
        hound::Error::IoError(_) => WavError::NotWav("it ends within its header".to_string()),
        hound::Error::FormatError(reason) => WavError::NotWav((*reason).to_string()),
        other => WavError::NotWav(other.to_string()),
    }
}

/// Name of the coding in a file whose first chunk is the format's, as it nearly always is.
fn coding(bytes: &[u8]) -> String {
    let tag = match bytes {
        [_, _, _, _, _, _, _, _, _, _, _, _, b'f', b'm', b't', b' ', _, _, _, _, low, high, ..] => {
            u16::from_le_bytes([*low, *high])
        }
        _ => return "a coding other than PCM".to_string(),
    };
    // RFC 2361, annex A.
    match tag {
        0x02 | 0x11 => "ADPCM".to_string(),
        0x06 => "A-law".to_string(),
        0x07 => "µ-law".to_string(),
        0x31 => "GSM 6.10".to_string(),
        0x55 => "MP3".to_string(),
        _ => format!("a coding other than PCM (format tag {tag:#06x})"),
    }
}

/// A stereo WAV file of 16 bit PCM (RIFF: header of 44 bytes, then frames of two samples).
pub(super) fn write_stereo(left: &[i16], right: &[i16], rate_hz: u32) -> Vec<u8> {
    const FRAME_LEN: u32 = 4;
    const AFTER_RIFF_SIZE: u32 = 36;
    let most_frames = (u32::MAX - AFTER_RIFF_SIZE) / FRAME_LEN;
    let frames = u32::try_from(left.len().max(right.len())).unwrap_or(u32::MAX).min(most_frames);
    let data_len = frames * FRAME_LEN;
    let mut out = Vec::with_capacity(44 + data_len as usize);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(AFTER_RIFF_SIZE + data_len).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16u32.to_le_bytes());
    for field in [1u16, 2] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&rate_hz.to_le_bytes());
    out.extend_from_slice(&rate_hz.saturating_mul(FRAME_LEN).to_le_bytes());
    for field in [FRAME_LEN as u16, 16] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data_len.to_le_bytes());
    for n in 0..frames as usize {
        for side in [left, right] {
            out.extend_from_slice(&side.get(n).copied().unwrap_or(0).to_le_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wav(spec: WavSpec, samples: &[i16]) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut out, spec).expect("a spec");
        for sample in samples {
            match spec.sample_format {
                SampleFormat::Int if spec.bits_per_sample == 8 => writer.write_sample(*sample as i8),
                SampleFormat::Int => writer.write_sample(*sample),
                SampleFormat::Float => writer.write_sample(f32::from(*sample)),
            }
            .expect("a sample");
        }
        writer.finalize().expect("the end");
        out.into_inner()
    }

    fn spec(sample_rate: u32, channels: u16, bits_per_sample: u16) -> WavSpec {
        WavSpec { channels, sample_rate, bits_per_sample, sample_format: SampleFormat::Int }
    }

    fn loud(n: usize) -> Vec<i16> {
        [9000, -9000, 8000, -8000].iter().copied().cycle().take(n).collect()
    }

    fn error(bytes: &[u8]) -> (WavError, String) {
        let error = Clip::from_wav(bytes).expect_err("a refusal");
        let text = error.to_string();
        (error, text)
    }

    #[test]
    fn both_rates_come_back_as_written() {
        for rate_hz in [8000, 16_000] {
            let samples = loud(4000);
            assert_eq!(Clip::from_wav(&wav(spec(rate_hz, 1, 16), &samples)), Ok(Clip { rate_hz, samples }));
        }
    }

    #[test]
    fn another_format_is_named_with_the_command_that_converts_it() {
        for (spec, says) in [
            (spec(44_100, 1, 16), "44100 Hz, 1 channel(s), 16 bit integer"),
            (spec(8000, 2, 16), "8000 Hz, 2 channel(s), 16 bit integer"),
            (spec(8000, 1, 8), "8000 Hz, 1 channel(s), 8 bit integer"),
            (spec(8000, 1, 24), "24 bit integer"),
            (
                WavSpec { sample_format: SampleFormat::Float, bits_per_sample: 32, ..spec(16_000, 1, 16) },
                "32 bit floating point",
            ),
        ] {
            let (_, text) = error(&wav(spec, &vec![100; 800]));
            assert!(text.contains(says), "{text}");
            assert!(text.contains("`sox IN -r 8000 -c 1 -b 16 OUT`"), "{text}");
            assert!(text.contains("`ffmpeg -i IN -ar 8000 -ac 1 -c:a pcm_s16le OUT`"), "{text}");
        }
    }

    #[test]
    fn a_compressed_wav_names_its_coding() {
        for (tag, name) in
            [(6u16, "A-law"), (7, "µ-law"), (0x55, "MP3"), (0x31, "GSM 6.10"), (0x9999, "0x9999")]
        {
            let mut bytes = wav(spec(8000, 1, 16), &loud(800));
            bytes[20..22].copy_from_slice(&tag.to_le_bytes());
            let (refused, text) = error(&bytes);
            assert!(matches!(refused, WavError::Coding(_)) && text.contains(name), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        for bytes in
            [&b""[..], b"RIFF", b"ID3\x04\x00 an mp3", b"OggS and so on, longer than a header of 44 bytes is"]
        {
            let (refused, text) = error(bytes);
            assert!(matches!(refused, WavError::NotWav(_)) && text.contains("ffmpeg"), "{text}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let bytes = wav(spec(8000, 1, 16), &[]);
        assert_eq!(error(&bytes).0, WavError::Empty);
        let minute = loud(60 * 8000);
        assert!(Clip::from_wav(&wav(spec(8000, 1, 16), &minute)).is_ok());
        let longer = loud(60 * 8000 + 1);
        let (refused, text) = error(&wav(spec(8000, 1, 16), &longer));
        assert_eq!(refused, WavError::TooLong { seconds: 61 });
        assert!(text.contains("trim 0 60"), "{text}");
        let whole = wav(spec(8000, 1, 16), &loud(800));
        assert_eq!(error(&whole[..whole.len() - 1000]).0, WavError::Truncated { have: 300, announced: 800 });
        let mut piped = whole;
        piped[40..44].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
        assert_eq!(read(&piped).map(|clip| clip.samples.len()), Ok(800));
        piped.truncate(piped.len() - 1);
        assert_eq!(read(&piped).map(|clip| clip.samples.len()), Ok(799));
    }

    #[test]
    fn silence_is_no_prompt() {
        for quiet in [vec![0; 8000], [20i16, -20].repeat(4000), {
            let mut click = vec![0; 8000];
            click[4000..4160].copy_from_slice(&loud(160));
            click
        }] {
            let (refused, text) = error(&wav(spec(8000, 1, 16), &quiet));
            assert!(refused == WavError::Silent && text.contains("norm"), "{text}");
        }
    }

    #[test]
    fn a_stereo_file_reads_back_with_the_shorter_side_padded() {
        let bytes = Clip::to_wav_stereo(&[1, 2, 3], &[-1], 16_000);
        let mut reader = WavReader::new(Cursor::new(&bytes)).expect("a WAV file");
        assert_eq!(reader.spec(), spec(16_000, 2, 16));
        let samples: Vec<i16> = reader.samples().map(|s| s.expect("a sample")).collect();
        assert_eq!(samples, [1, -1, 2, 0, 3, 0]);
        assert_eq!(Clip::to_wav_stereo(&[], &[], u32::MAX).len(), 44);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Clip::from_wav(&bytes);
        }

        #[test]
        fn no_header_makes_it_panic(
            changes in prop::collection::vec((0usize..60, any::<u8>()), 1..6), cut in 0usize..200, extended in any::<bool>(),
        ) {
            let mut spec = spec(8000, 1, 16);
            spec.channels = if extended { 3 } else { 1 };
            let mut bytes = wav(spec, &loud(60));
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _ = Clip::from_wav(&bytes);
        }
    }
}
