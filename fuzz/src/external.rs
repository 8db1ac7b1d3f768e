//! Media ways besides RTP, and audio of others: AudioSocket's bytes, chan_websocket's messages, a far end's speech, payloads
//! of its codec, WAVs.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use loadtest::external::audiosocket::{AudioRate, Message, ReadError, Reader, put_audio};
use loadtest::external::websocket::Event;
use loadtest::measure::Listener;
use loadtest::rtp::coder::{Decoder, RATE_HZ};
use loadtest::rtp::{Codec, Format};
use loadtest::signal::{BURST_LEN, Ear};
use loadtest::speech::{Clip, Uttered, builtin};
use loadtest::stamp::Stamp;

const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));
const START: Stamp = Stamp::from_ns(1_795_370_298_000_000_000);

/// A connection's bytes say the same in whatever chunks they come, and audio is written as it was read.
pub fn audiosocket(input: &[u8]) {
    let Some((chunk, bytes)) = input.split_first() else { return };
    let whole = read_all(bytes, bytes.len().max(1));
    assert_eq!(whole, read_all(bytes, usize::from(*chunk).max(1)));
}

/// Messages as text and audio, and the end.
type Read = (Vec<(String, Vec<i16>)>, Result<(), ReadError>);

fn read_all(bytes: &[u8], chunk: usize) -> Read {
    let (mut reader, mut found) = (Reader::new(), Vec::new());
    for mut chunk in bytes.chunks(chunk) {
        loop {
            match reader.read(&mut chunk) {
                Ok(Some(Message::Audio(rate, samples))) => {
                    let samples: Vec<i16> = samples.iter().collect();
                    assert_eq!(written(rate, &samples), samples);
                    found.push((format!("{} Hz", rate.hz()), samples));
                }
                Ok(Some(message)) => found.push((format!("{message:?}"), Vec::new())),
                Ok(None) => break,
                Err(error) => return (found, Err(error)),
            }
        }
    }
    (found, reader.finish())
}

/// Audio as it reads back after it was written to a connection of its own.
fn written(rate: AudioRate, samples: &[i16]) -> Vec<i16> {
    let mut bytes = vec![1, 0, 16];
    bytes.extend([7; 16]);
    put_audio(&mut bytes, rate, samples);
    let (mut reader, mut rest, mut back) = (Reader::new(), &bytes[..], Vec::new());
    while let Ok(Some(message)) = reader.read(&mut rest) {
        if let Message::Audio(_, samples) = message {
            back.extend(samples.iter());
        }
    }
    back
}

/// A control message in either form; what it says is no longer than itself.
pub fn websocket(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(event) = Event::parse(&text) else { return };
    let said = match event {
        Event::MarkProcessed(Some(said)) | Event::BufferingCompleted(Some(said)) => said,
        Event::Error(said) | Event::Unknown(said) => said,
        Event::MediaStart(start) => start.connection_id,
        _ => return,
    };
    assert!(said.len() <= text.len());
}

/// Speech whose echo is looked for.
static SAID: LazyLock<Option<Arc<Clip>>> = LazyLock::new(|| builtin("hello").map(Arc::new));

/// A far end's datagrams at an ear: one each time the length in a byte says so, at whatever times they come.
pub fn talk(input: &[u8]) {
    let mut ear = Listener::new(FORMAT, START);
    if let Some((clip, voiced)) = SAID.clone().and_then(|clip| clip.voiced().map(|voiced| (clip, voiced))) {
        ear.note_uttered(Uttered { clip, voiced, to: START + Duration::from_millis(1200) });
    }
    let (mut rest, mut at) = (input, START);
    while let [length, step, more @ ..] = rest {
        let (datagram, after) = more.split_at(usize::from(*length).min(more.len()));
        at += Duration::from_millis(u64::from(*step) * 4);
        ear.take(datagram, at);
        ear.look(at);
        let live = ear.live(at);
        assert!(live.began_at.is_none_or(|began| began >= START));
        rest = after;
    }
    let heard = ear.finish(at);
    for pair in heard.segments.windows(2) {
        assert!(pair[0].from < pair[0].to && pair[0].to <= pair[1].from, "segments are apart and in order");
    }
}

/// A WAV file that is taken is speech of bounded length, and its voiced part lies in it.
pub fn wav(input: &[u8]) {
    let Ok(clip) = Clip::from_wav(input) else { return };
    let at_8000 = clip.at_rate(8000);
    let voiced = at_8000.voiced().unwrap_or(0..0);
    assert!(voiced.end <= at_8000.samples.len());
    for pause in at_8000.pauses() {
        assert!(voiced.start <= pause.start && pause.end <= voiced.end);
    }
}

/// Payloads of a codec that were made by nobody's coder, each as long as a byte says: no more samples than fit, and an ear
/// takes them at whatever times they claim.
pub fn coder(input: &[u8]) {
    let Some((codec, mut rest)) = input.split_first() else { return };
    let codec = [Codec::Opus, Codec::G722, Codec::Pcma][usize::from(*codec) % 3];
    let (Some(mut decoder), mut samples) = (Decoder::new(codec), Vec::new()) else { return };
    let (mut ear, mut at) = (Ear::new(Duration::from_secs(2), BURST_LEN, codec.clock_hz()), START);
    while let [length, step, more @ ..] = rest {
        let (payload, after) = more.split_at((usize::from(*length) * 2).min(more.len()));
        samples.clear();
        decoder.decode_into(payload, &mut samples);
        let most = if codec == Codec::Opus { RATE_HZ as usize * 120 / 1000 } else { payload.len() };
        assert!(samples.len() <= most);
        at += Duration::from_millis(u64::from(*step));
        ear.take(1, u32::from_be_bytes([*step, *length, *step, 0]), &samples, at);
        rest = after;
    }
}
