//! Tests of AudioSocket framing.

use proptest::prelude::*;

use super::*;

const ID: Uuid = Uuid::from_bytes([7; 16]);

/// A message that owns its audio, to outlive the reader's next call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    HangUp,
    Uuid(Uuid),
    Dtmf(char),
    Audio(u32, Vec<i16>),
    Error(Option<u8>),
}

fn owned(message: Message<'_>) -> Owned {
    match message {
        Message::HangUp => Owned::HangUp,
        Message::Uuid(uuid) => Owned::Uuid(uuid),
        Message::Dtmf(digit) => Owned::Dtmf(digit),
        Message::Audio(rate, samples) => {
            assert!(!samples.is_empty());
            assert_eq!(samples.len(), samples.iter().count());
            Owned::Audio(rate.hz(), samples.iter().collect())
        }
        Message::Error(code) => Owned::Error(code),
    }
}

/// All messages of a connection that arrives in these chunks, and its end.
fn read_all<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Owned>, Result<(), ReadError>) {
    let (mut reader, mut found) = (Reader::new(), Vec::new());
    for mut chunk in chunks {
        loop {
            match reader.read(&mut chunk) {
                Ok(Some(message)) => found.push(owned(message)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.read(&mut &[0u8; 9][..]), Err(error), "an error stays");
                    return (found, Err(error));
                }
            }
            assert!(reader.held.len() <= HEADER_LEN + usize::from(u16::MAX));
        }
        assert!(chunk.is_empty());
    }
    (found, reader.finish())
}

fn error_of(bytes: &[u8]) -> ReadError {
    read_all([bytes]).1.unwrap_err()
}

fn named(rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_uuid(&mut bytes, ID);
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn bytes_are_those_of_the_protocol() {
    let mut out = Vec::new();
    put_audio(&mut out, AudioRate::SLIN, &[1, -2]);
    put_silence(&mut out, AudioRate::SLIN16, 1);
    put_dtmf(&mut out, '#');
    put_dtmf(&mut out, 'x');
    put_audio(&mut out, AudioRate::SLIN, &[]);
    put_hang_up(&mut out);
    assert_eq!(out, [0x10, 0, 4, 1, 0, 0xfe, 0xff, 0x12, 0, 2, 0, 0, 3, 0, 1, b'#', 0, 0, 0]);
    for (hz, kind) in [(8_000, 0x10), (12_000, 0x11), (44_100, 0x15), (192_000, 0x18)] {
        let rate = AudioRate::from_hz(hz).unwrap();
        assert_eq!((rate.0, rate.hz()), (kind, hz));
    }
    assert_eq!(AudioRate::from_hz(11_025), None);
}

#[test]
fn every_oddity_has_its_name() {
    assert_eq!(error_of(&[0x10, 0, 2]), ReadError::NoUuidFirst(0x10));
    assert_eq!(error_of(b"GET / HTTP/1.1\r\n"), ReadError::UnknownType(b'G'));
    assert_eq!(error_of(&named(&[0x02, 0, 0])), ReadError::UnknownType(2));
    assert_eq!(error_of(&named(&[0x19, 0, 2])), ReadError::UnknownType(0x19));
    assert_eq!(error_of(&named(&named(&[]))), ReadError::SecondUuid);
    assert_eq!(error_of(&[1, 0, 15]), ReadError::Length { kind: 1, len: 15 });
    assert_eq!(error_of(&named(&[0x10, 0, 0])), ReadError::Length { kind: 0x10, len: 0 });
    assert_eq!(error_of(&named(&[0x10, 0, 3])), ReadError::Length { kind: 0x10, len: 3 });
    assert_eq!(error_of(&named(&[3, 0, 2])), ReadError::Length { kind: 3, len: 2 });
    assert_eq!(error_of(&named(&[0, 0, 1])), ReadError::Length { kind: 0, len: 1 });
    assert_eq!(error_of(&named(&[3, 0, 1, b'x'])), ReadError::NotADigit(b'x'));
    assert_eq!(error_of(&[0, 0, 0, 0]), ReadError::AfterHangUp);
    assert_eq!(error_of(&[0x01]), ReadError::CutShort { missing: 2 });
    assert_eq!(error_of(&named(&[0x10, 1, 0x40, 0])), ReadError::CutShort { missing: 319 });
    let text = ReadError::Length { kind: 0x10, len: 3 }.to_string();
    assert_eq!(text, "AudioSocket message of type 0x10 with a payload of 3 bytes");
}

#[test]
fn errors_of_the_peer_are_messages() {
    let bytes = named(&[0xff, 0, 1, 2, 0xff, 0, 0, 0xff, 0, 2, 1, 1]);
    let errors = [Some(2), None, None].map(Owned::Error);
    assert_eq!(read_all([&bytes[..]]), ([&[Owned::Uuid(ID)], &errors[..]].concat(), Ok(())));
}

#[test]
fn long_audio_is_several_messages() {
    let samples: Vec<i16> = (0..70_000).map(|n| (n % 1000) as i16).collect();
    let mut bytes = named(&[]);
    put_audio(&mut bytes, AudioRate::SLIN, &samples);
    put_silence(&mut bytes, AudioRate::SLIN, 0);
    put_silence(&mut bytes, AudioRate::SLIN, usize::MAX);
    let (found, end) = read_all([&bytes[..]]);
    assert_eq!(end, Ok(()));
    let lens: Vec<_> = found.iter().map(|m| if let Owned::Audio(_, s) = m { s.len() } else { 0 }).collect();
    assert_eq!(lens, [0, 32_767, 32_767, 4_466, 1, 32_767]);
}

#[test]
fn silence_keeps_the_reader_alive() {
    let ms = |n: u64| Stamp::from_ns(n * 1_000_000);
    let mut timer = KeepAlive::new(ms(0));
    let sent = |timer: &mut KeepAlive, range: std::ops::Range<u64>| -> Vec<u64> {
        range.filter(|n| timer.is_due(ms(*n))).collect()
    };
    assert_eq!(sent(&mut timer, 0..130), [60, 80, 100, 120]);
    for n in (130..400).step_by(20) {
        timer.heard_or_sent(ms(n));
        assert_eq!(sent(&mut timer, n..n + 20), [0; 0]);
    }
    assert_eq!(timer.timeout(), ms(450));
    assert_eq!(sent(&mut timer, 400..471), [450, 470]);
}

fn any_message() -> impl Strategy<Value = Owned> {
    let digits = prop::sample::select("0123456789*#ABCD".chars().collect::<Vec<_>>());
    let rates = prop::sample::select(RATES.iter().map(|(_, hz)| *hz).collect::<Vec<_>>());
    prop_oneof![
        digits.prop_map(Owned::Dtmf),
        (rates, prop::collection::vec(any::<i16>(), 1..400)).prop_map(|(hz, s)| Owned::Audio(hz, s)),
    ]
}

fn write(out: &mut Vec<u8>, message: &Owned) {
    match message {
        Owned::HangUp => put_hang_up(out),
        Owned::Uuid(uuid) => put_uuid(out, *uuid),
        Owned::Dtmf(digit) => put_dtmf(out, *digit),
        Owned::Audio(hz, samples) => put_audio(out, AudioRate::from_hz(*hz).unwrap(), samples),
        Owned::Error(code) => out.extend([0xff, 0, 1, code.unwrap_or(0)]),
    }
}

proptest! {
    #[test]
    fn messages_come_back_however_they_are_cut(
        id in any::<[u8; 16]>(),
        middle in prop::collection::vec(any_message(), 0..8),
        sizes in prop::collection::vec(1usize..50, 1..20),
    ) {
        let mut sent = vec![Owned::Uuid(Uuid::from_bytes(id))];
        sent.extend(middle);
        sent.push(Owned::HangUp);
        let mut bytes = Vec::new();
        sent.iter().for_each(|message| write(&mut bytes, message));
        let (mut chunks, mut rest) = (Vec::new(), &bytes[..]);
        for size in sizes.iter().cycle() {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            chunks.push(chunk);
            rest = after;
            if rest.is_empty() { break }
        }
        prop_assert_eq!(read_all(chunks), (sent.clone(), Ok(())));
        prop_assert_eq!(read_all([&bytes[..]]), (sent, Ok(())));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), is_named: bool, cut in 1usize..40) {
        let bytes = if is_named { named(&bytes) } else { bytes };
        let whole = read_all([&bytes[..]]);
        prop_assert_eq!(read_all(bytes.chunks(cut)), whole);
    }
}
