//! What peers mix into a stream of audio.

/// RTP with a payload, under a source of its own.
fn rtp(first: u8, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload_type, 0, 7, 0, 0, 1, 64, 0, 0xC0, 0xFF, 0xEE][..], payload].concat()
}

fn stun(kind: [u8; 2], cookie: u32, attributes: &[u8]) -> Vec<u8> {
    let len = (attributes.len() as u16).to_be_bytes();
    [&kind[..], &len, &cookie.to_be_bytes(), &[9; 12], attributes].concat()
}

/// What peers mix into a stream, by its metric.
pub fn extras() -> Vec<(&'static str, Vec<u8>)> {
    let report = |kind: u8, words: u8| {
        let body = vec![0; 4 * usize::from(words)];
        [&[0x80, kind, 0, words][..], &body].concat()
    };
    let mut broken_noise = rtp(0x80, 13, &[0x40]);
    broken_noise[..2].fill(0xFF);
    vec![
        ("rtcp", report(200, 6)),
        ("rtcp", report(201, 1)),
        ("rtcp", report(203, 1)),
        ("rtcp", [report(201, 1), report(202, 3)].concat()),
        ("rtcp", report(207, 2)),
        ("comfort_noise", rtp(0x80, 13, &[0x40])),
        ("comfort_noise", rtp(0x80, 13, &[0x40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])),
        ("comfort_noise", rtp(0x80, 19, &[0x40])),
        ("comfort_noise", broken_noise),
        ("telephone_events", rtp(0x80, 101 | 0x80, &[5, 10, 0, 160])),
        ("telephone_events", rtp(0x80, 97, &[11, 0x8A, 3, 32])),
        ("stun", stun([0, 1], 0x2112_A442, &[])),
        ("stun", stun([1, 1], 0x2112_A442, &[0, 0x20, 0, 8, 0, 1, 1, 2, 3, 4, 5, 6])),
        ("stun", stun([0, 1], 7, &[])),
        ("empty_rtp", rtp(0x80, 0, &[])),
        ("empty_rtp", rtp(0xA0, 0, &[0, 0, 0, 4])),
        ("other_payload", rtp(0x80, 8, &[0xD5; 160])),
        ("other_payload", rtp(0x80, 101, &[0; 160])),
        // DTLS, ZRTP and what is nothing at all.
        ("other_datagrams", [&[22, 254, 253][..], &[0; 40]].concat()),
        ("other_datagrams", [&[16, 0, 0, 1][..], b"ZRTP", &[0; 20]].concat()),
        ("other_datagrams", vec![0x80]),
        // Beside an echo that is whole, nothing can have been changed.
        ("own_audio", rtp(0x80, 0, &[0xFF; 160])),
    ]
}
