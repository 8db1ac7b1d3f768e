//! SRTP: through a real Asterisk, proved by the counts of what was decrypted; and never silently plain.

use crate::far_ends::{FarCall, FarEnd, Io, Odd, run_against};
use crate::harness::{Place, ends_with};

const GATES: &str = r#"gates.require=["calls.answered == 100%","calls.dropped_count == 0","calls.silent_count == 0","loss.count == 0","corrupted.count == 0","srtp.undecrypted_count == 0","srtp.decrypted_count > 300"]"#;

#[track_caller]
fn is_protected(suite: &str, set: &[&str]) {
    let (place, suite_set) = (Place::new(), format!("media.srtp_suite={suite}"));
    let plain = ["load.calls=3", "load.duration=3s", "media.srtp=true", &suite_set, GATES];
    ends_with(&mut place.run("smoke", &[&plain[..], set].concat()), 0);
    assert_eq!(place.summary()["environment"]["srtp"], suite);
    let [received, decrypted] = ["srtp.received_count", "srtp.decrypted_count"].map(|name| place.count(name));
    assert!(received == decrypted && decrypted >= place.count("packets.received"), "{received} {decrypted}");
    assert_no_keys(&place);
}

/// No file of the run holds a key: they stand in SDP behind `inline:`, and in the stories of calls they are crossed out.
#[track_caller]
fn assert_no_keys(place: &Place) {
    let mut folders = vec![place.out()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("a file");
            assert!(!has_keys(&bytes), "{}", path.display());
        }
    }
}

/// True if a key stands behind `inline:`, and not what is put in its place.
fn has_keys(file: &[u8]) -> bool {
    let is_put = |word: &[u8]| word.iter().all(|byte| *byte == word[0]) && b"A*".contains(&word[0]);
    file.windows(7 + 8).any(|part| part.starts_with(b"inline:") && !is_put(&part[7..]))
}

#[test]
fn both_suites_are_carried_by_application_and_service() {
    is_protected("AES_CM_128_HMAC_SHA1_80", &[]);
    is_protected("AES_CM_128_HMAC_SHA1_32", &[]);
}

#[test]
fn a_codec_of_the_far_ends_is_carried_by_an_echo_in_the_dialplan() {
    is_protected("AES_CM_128_HMAC_SHA1_80", &["service.mode=none", "sip.to=echo", "media.codec=L16"]);
}

#[test]
fn it_is_carried_beside_tls_and_over_ipv6() {
    let suite = "AES_CM_128_HMAC_SHA1_80";
    is_protected(suite, &["asterisk.transport=tls"]);
    is_protected(suite, &["sip.local=::1"]);
    is_protected(suite, &["asterisk.transport=tls", "sip.local=::1", "service.mode=none", "sip.to=echo"]);
}

/// Packets of a run's first capture of this length, with their IP header.
fn captured(set: &[&str], length: u8) -> (usize, Vec<u8>) {
    let place = Place::new();
    let gates = r#"gates.require=["calls.answered == 100%","loss.count == 0","srtp.undecrypted_count == 0"]"#;
    let plain = ["load.calls=1", "load.duration=3s", "media.srtp=true", "capture.calls=[0]", gates];
    ends_with(&mut place.run("smoke", &[&plain[..], set].concat()), 0);
    let file = std::fs::read(place.out().join("pcap/call-00000.pcapng")).expect("a capture");
    (file.windows(4).filter(|head| *head == [0x45, 0, 0, length]).count(), file)
}

#[test]
fn a_capture_shows_what_srtp_hides_only_where_it_is_asked_to() {
    let (protected, file) = captured(&[], 210);
    assert!(protected > 100 && !has_keys(&file), "with a tag of 10 bytes: {protected}");
    let (plain, file) = captured(&["capture.plaintext=true"], 200);
    assert!(plain > 100 && has_keys(&file), "{plain}");
    assert!(!file.windows(11).any(|part| part == b" RTP/SAVP 0"), "Wireshark would not play it");
    let tls = "asterisk.transport=tls";
    let has_sip = |file: &[u8]| file.windows(7).any(|part| part == b"INVITE ");
    assert!(!has_sip(&captured(&[tls], 210).1));
    assert!(has_sip(&captured(&[tls, "capture.plaintext=true"], 200).1));
}

#[test]
fn a_network_made_worse_loses_what_it_loses_and_breaks_no_key() {
    let place = Place::new();
    let set = [
        "media.srtp=true",
        "load.duration=4s",
        "impair.out.loss=5%",
        "impair.back.delay=20ms",
        "impair.back.jitter=15ms",
        r#"gates.require=["calls.answered == 100%","srtp.undecrypted_count == 0","corrupted.count == 0","loss.ratio < 20%"]"#,
    ];
    ends_with(&mut place.run("smoke", &set), 0);
    assert!(place.count("loss.count") > 0);
}

/// Answers each call in another way that is not to be taken.
struct Answers;

/// An answer, and words of why it is a bad one.
type Answer = (fn(&FarCall) -> String, &'static str);

const ANSWERS: &[Answer] = &[
    (|call| call.description(), "no keys for SRTP"),
    (|call| call.description().replace("RTP/AVP", "RTP/SAVP"), "no keys for SRTP"),
    (
        |call| with_keys(call, "AEAD_AES_128_GCM inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"),
        "AEAD_AES_128_GCM",
    ),
    (
        |call| with_keys(call, "AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"),
        "_32",
    ),
    (|call| with_keys(call, "AES_CM_128_HMAC_SHA1_80 inline:WVNf"), "no usable keys"),
    (
        |call| {
            let keys =
                "AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP";
            with_keys(call, keys)
        },
        "no usable keys",
    ),
    (|call| call.description().replace("RTP/AVP", "UDP/TLS/RTP/SAVPF"), "UDP/TLS/RTP/SAVPF"),
];

fn with_keys(call: &FarCall, line: &str) -> String {
    call.description().replace("RTP/AVP", "RTP/SAVP") + &format!("a=crypto:1 {line}\r\n")
}

impl Odd for Answers {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let offer = String::from_utf8_lossy(call.invite.body()).into_owned();
        assert!(
            offer.contains(" RTP/SAVP ") && offer.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"),
            "{offer}"
        );
        let (answer, _) = ANSWERS[call.number];
        let ok = call.ok(answer(call).as_bytes());
        io.accept(call, ok);
    }
}

#[test]
fn an_answer_without_keys_that_will_do_is_a_bad_one_and_nothing_is_sent_plain() {
    let place = Place::new();
    let (_, calls) = run_against(&place, FarEnd::start(Answers), ANSWERS.len(), &["media.srtp=true"], 10);
    assert_eq!(calls.len(), ANSWERS.len());
    for (call, (_, why)) in calls.iter().zip(ANSWERS) {
        assert_eq!(call["ending"], "bad_answer", "{why}: {call:?}");
        assert!(call["reason"].contains(why), "{why}: {call:?}");
        assert_eq!(call["total_sent"], "0", "{why}: {call:?}");
    }
}

#[test]
fn a_far_end_that_sends_plain_or_forged_packets_is_found_out() {
    /// It answers with keys, and returns what it hears as it is: under our keys, which are not its own.
    struct Returns;
    impl Odd for Returns {
        fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
            let line = "AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
            let ok = call.ok(with_keys(call, line).as_bytes());
            io.accept(call, ok);
        }
    }
    let place = Place::new();
    let gate = r#"gates.require=["srtp.undecrypted_count == 0"]"#;
    let (_, calls) = run_against(&place, FarEnd::start(Returns), 1, &["media.srtp=true", gate], 10);
    assert_eq!((&*calls[0]["total_received"], &*calls[0]["srtp_decrypted"]), ("0", "0"), "{calls:?}");
    assert_ne!(calls[0]["srtp_received"], "0", "{calls:?}");
    let finding = place.summary()["findings"][0].clone();
    assert_eq!(finding["name"], "srtp_unopened", "{finding}");
    assert_no_keys(&place);
}
