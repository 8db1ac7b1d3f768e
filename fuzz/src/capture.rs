//! Captures and ladders of hostile messages and packets: bounded, whole, and without keys.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::capture::{PacketRing, Recorder, Settings, Way};
use loadtest::record::{CallRecord, Ending};
use loadtest::stamp::Stamp;

/// The call whose messages they are.
const CALL_ID: &str = "0000000700000003@h";
/// Its own key of SRTP, short enough to be found.
const KEY: &str = "d0Rm";
/// Between two messages or packets.
const NEXT: u8 = b'%';

/// Every block of the file says its length at both ends, and they fill it.
fn blocks(file: &[u8]) -> usize {
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
    let (mut at, mut count) = (0, 0);
    while at < file.len() {
        let length = number(at + 4);
        assert!(length >= 12 && length % 4 == 0 && at + length <= file.len(), "a block of {length} at {at}");
        assert_eq!(number(at + length - 4), length);
        (at, count) = (at + length, count + 1);
    }
    count
}

/// Messages and packets of one call that went wrong.
pub fn capture(input: &[u8]) {
    let epoch = Stamp::from_ns(1 << 60);
    let local: SocketAddr = "192.0.2.9:5070".parse().expect("it is one");
    let far: [SocketAddr; 2] =
        ["192.0.2.1:5060", "[2001:db8::1]:5061"].map(|address| address.parse().expect("it is one"));
    let choice = input.first().copied().unwrap_or_default();
    let settings = Settings {
        run_id: 7,
        epoch,
        local,
        named: vec![3],
        files: 1,
        media: Duration::from_secs(1),
        plaintext: choice & 1 != 0,
        is_srtp: choice & 4 != 0,
        is_tls: choice & 2 != 0,
    };
    let mut recorder = Recorder::new(settings);
    recorder.open(3, KEY.into());
    let mut ring = Box::new(PacketRing::new(4, 64));
    let (mut frames, mut at) = (0, epoch);
    for (n, part) in input.split(|byte| *byte == NEXT).take(300).enumerate() {
        at += Duration::from_millis(n as u64);
        let peer = far[n % 2];
        if n % 3 == 0 {
            ring.put(at, local, part);
            continue;
        }
        let message = [format!("SIP/2.0 200 OK\r\nCall-ID: {CALL_ID}\r\n").as_bytes(), part].concat();
        let way = if n % 2 == 0 { Way::Sent } else { Way::Received };
        recorder.message(at, way, peer, &message);
        frames += 1;
    }
    recorder.ring(3, Way::Received, local, ring);
    recorder.close(&CallRecord { call: 3, ending: Ending::MediaLost, ..CallRecord::default() });
    let captured = recorder.finish();
    assert!(captured.files.len() <= 1 && captured.ladders.len() <= 1);
    for (_, file) in &captured.files {
        assert!(file.len() <= (frames + 8) * (4096 + 200), "{} bytes of {frames} messages", file.len());
        // A header, an interface, and a block a frame.
        assert!(blocks(file) <= frames + 4 + 8);
    }
    for message in captured.ladders.iter().flat_map(|ladder| &ladder.messages) {
        let key = |text: &str| text.split("inline:").nth(1).and_then(|rest| rest.chars().next());
        for text in [&message.headers, &message.body] {
            let begin = key(&text.to_ascii_lowercase());
            // A key may be empty: what follows is its lifetime.
            let is_none = |c: char| "*|=".contains(c) || c.is_ascii_whitespace() || c == '\u{fffd}';
            assert!(begin.is_none_or(is_none), "{text}");
            assert!(!text.contains(KEY), "{text}");
        }
    }
}
