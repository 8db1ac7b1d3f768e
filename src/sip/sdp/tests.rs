//! Session descriptions: ours to the letter, a peer's however it is written.

use proptest::prelude::*;

use super::*;
use crate::rtp::srtp::{MASTER_LEN, Suite};

fn ours() -> LocalMedia {
    let ip = "192.0.2.9".parse().unwrap();
    let (codec, session_id, srtp, events) = (Codec::Pcma, 77, None, false);
    LocalMedia { ip, rtp_port: 40000, codec, ptime_ms: 20, session_id, srtp, events }
}

const ANSWER: &str = "v=0\r\no=- 1 3 IN IP4 192.0.2.1\r\ns=Asterisk\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 11000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\na=ptime:30\r\na=maxptime:140\r\na=sendrecv\r\n";

fn read(text: &str) -> Result<Answer, SdpError> {
    answer_to_ours(&parse(text.as_bytes())?, &ours())
}

/// ANSWER with one text replaced.
fn with(from: &str, to: &str) -> String {
    let text = ANSWER.replace(from, to);
    assert_ne!(text, ANSWER, "nothing was replaced: {from}");
    text
}

fn plain() -> Answer {
    read(ANSWER).expect("it is usable")
}

#[test]
fn an_offer_reads_as_its_own_answer() {
    for ip in ["192.0.2.9", "2001:db8::9"] {
        let ours = LocalMedia { ip: ip.parse().unwrap(), ..ours() };
        let description = parse(ours.to_sdp().as_bytes()).expect("our own SDP");
        let answer = answer_to_ours(&description, &ours).expect("our own SDP parses");
        assert_eq!((answer.rtp_address, answer.payload_type), (SocketAddr::new(ours.ip, 40000), 8));
        assert_eq!(answer.ptime_ms, Some(20));
    }
}

#[test]
fn the_offer_to_the_letter() {
    assert_eq!(
        ours().to_sdp(),
        "v=0\r\no=- 77 1 IN IP4 192.0.2.9\r\ns=loadtest\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

#[test]
fn an_answer_of_asterisk() {
    let answer = plain();
    assert_eq!((answer.rtp_address, answer.payload_type), ("192.0.2.1:11000".parse().unwrap(), 8));
    assert_eq!((answer.direction, answer.on_hold()), (MediaDirection::SendRecv, None));
    assert_eq!((answer.ptime_ms, answer.event_type, answer.comfort_type), (Some(30), Some(101), None));
}

#[test]
fn what_is_left_out_or_placed_elsewhere() {
    let read = |from: &str, to: &str| read(&with(from, to)).expect("it is usable");
    assert_eq!(read("a=rtpmap:8 PCMA/8000\r\n", "").payload_type, 8);
    for (written, ptime_ms) in
        [("many", None), ("0", None), ("20.0", Some(20)), (" 60 ", Some(60)), ("5000", None)]
    {
        assert_eq!(read("a=ptime:30", &format!("a=ptime:{written}")).ptime_ms, ptime_ms, "{written}");
    }
    assert_eq!(read("a=sendrecv\r\n", "").direction, MediaDirection::SendRecv);
    assert_eq!(read("sendrecv", "recvonly").direction, MediaDirection::RecvOnly);
    assert_eq!(read("t=0 0\r\n", "t=0 0\r\na=inactive\r\n").direction, MediaDirection::SendRecv);
    let of_session = ANSWER.replace("a=sendrecv\r\n", "").replace("t=0 0\r\n", "t=0 0\r\na=SendOnly \r\n");
    assert_eq!(self::read(&of_session).map(|a| a.direction), Ok(MediaDirection::SendOnly));
    let mapped = read("8 101\r\na=rtpmap:8 PCMA/8000", "101 97\r\na=rtpmap:97 pcma/8000/1");
    assert_eq!(mapped.payload_type, 97);
    let moved = read("a=rtpmap:8", "c=IN IP4 192.0.2.2\r\na=rtpmap:8");
    assert_eq!(moved.rtp_address.ip(), "192.0.2.2".parse::<IpAddr>().unwrap());
    assert_eq!(read("AVP 8 101", "AVP 8 13 101").comfort_type, Some(13));
    assert_eq!(read("AVP 8 101", "AVP 8").event_type, None, "it is mapped, and not offered");
    assert_eq!(read("RTP/AVP 8", "rtp/avpf 8").payload_type, 8);
}

/// Ours, with keys.
fn protected() -> LocalMedia {
    LocalMedia { srtp: Some(Keys::new(Suite::Sha1With80, [0; MASTER_LEN])), ..ours() }
}

const KEYS: &str = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

#[test]
fn keys_are_offered_and_those_of_the_answer_are_read() {
    let zeros = "A".repeat(40);
    let offer = protected().to_sdp();
    let line = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{zeros}\r\n");
    assert!(offer.contains("m=audio 40000 RTP/SAVP 8\r\n") && offer.contains(&line), "{offer}");
    let read = |text: &str| answer_to_ours(&parse(text.as_bytes())?, &protected());
    let keys = |text: &str| read(text).map(|answer| answer.srtp.map(|peer| peer.keys.inline()));
    let theirs = KEYS.trim_start_matches("inline:").to_string();
    assert_eq!(keys(&offer), Ok(Some(zeros)));
    let with = |proto: &str, lines: &str| ANSWER.replace("RTP/AVP", proto) + lines;
    let usable = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEYS}|2^31\r\n");
    let other =
        format!("a=crypto:1 AEAD_AES_128_GCM {KEYS}\r\na=crypto:2 AES_CM_128_HMAC_SHA1_32 {KEYS}\r\n");
    for (proto, lines) in [
        ("RTP/SAVP", usable.clone()),
        ("RTP/SAVPF", usable.clone()),
        // Keys are what counts.
        ("RTP/AVP", usable.clone()),
        ("RTP/SAVP", format!("{other}{usable}")),
    ] {
        assert_eq!(keys(&with(proto, &lines)), Ok(Some(theirs.clone())), "{proto} {lines}");
    }
    for (proto, lines) in [("RTP/SAVP", ""), ("RTP/AVP", ""), ("RTP/SAVP", "a=crypto:1 x\r\n")] {
        assert_eq!(read(&with(proto, lines)), Err(SdpError::Plain), "{proto} {lines}");
    }
    let suites = SdpError::Suites {
        ours: "AES_CM_128_HMAC_SHA1_80",
        theirs: "AEAD_AES_128_GCM AES_CM_128_HMAC_SHA1_32".into(),
    };
    assert_eq!(read(&with("RTP/SAVP", &other)), Err(suites));
    let printed = format!("{:?} {:?}", protected(), read(&with("RTP/SAVP", &usable)));
    assert!(!printed.contains("89, 83") && !printed.contains("0, 0"), "{printed}");
    // Who wants no SRTP takes none, and says what would.
    assert!(
        super::answer_to_ours(&parse(offer.as_bytes()).unwrap(), &ours())
            .is_err_and(|why| why.to_string().contains("media.srtp = true"))
    );
}

#[test]
fn an_offer_with_keys_is_answered_with_ours_under_its_number_and_plain_ones_beside_it_are_refused() {
    let session = ANSWER.split("m=").next().unwrap();
    let offer = format!(
        "{session}m=audio 11000 RTP/AVP 8\r\nm=audio 11002 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_32 {KEYS}\r\n\
         a=crypto:7 AES_CM_128_HMAC_SHA1_80 {KEYS}\r\n"
    );
    let choice = choose(&parse(offer.as_bytes()).unwrap(), &protected()).expect("the second will do");
    assert_eq!(choice.media.rtp_address.port(), 11_002);
    let answer = protected().describe(2, MediaDirection::SendRecv, Some(&choice));
    let own = format!(
        "m=audio 40000 RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:{}",
        "A".repeat(40)
    );
    assert!(answer.contains("m=audio 0 RTP/AVP 8\r\n") && answer.contains(&own), "{answer}");
    let plain = format!("{session}m=audio 11000 RTP/AVP 8\r\n");
    assert_eq!(choose(&parse(plain.as_bytes()).unwrap(), &protected()), Err(SdpError::Plain));
}

#[test]
fn each_codec_has_its_clock_channels_and_payload_type() {
    for (codec, line) in [
        (Codec::Pcmu, "0\r\na=rtpmap:0 PCMU/8000\r\n"),
        (Codec::G722, "9\r\na=rtpmap:9 G722/8000\r\n"),
        (Codec::Opus, "96\r\na=rtpmap:96 opus/48000/2\r\n"),
        (Codec::L16, "97\r\na=rtpmap:97 L16/16000\r\n"),
    ] {
        let ours = LocalMedia { codec, ..ours() };
        let offer = ours.to_sdp();
        assert!(offer.contains(&format!("m=audio 40000 RTP/AVP {line}")), "{offer}");
        let read =
            |text: &str| answer_to_ours(&parse(text.as_bytes())?, &ours).map(|answer| answer.payload_type);
        assert_eq!(read(&offer), Ok(codec.payload_type()));
        // The far end may want it under a number of its own.
        let (_, mapping) = line.trim_end().split_once(' ').expect("a mapping");
        let other = ANSWER.replace(
            "8 101\r\na=rtpmap:8 PCMA/8000",
            &format!("0 121 101\r\na=rtpmap:0 GSM/8000\r\na=rtpmap:121 {mapping}"),
        );
        assert_eq!(read(&other), Ok(121), "{other}");
        let stereo = |channels| {
            other.replace(mapping, &format!("{}/{channels}", codec.mapping().trim_end_matches("/2")))
        };
        assert_eq!(read(&stereo(codec.channels().unwrap_or(1))), Ok(121));
        assert!(read(&stereo(3)).is_err(), "{codec}");
    }
}

#[test]
fn lines_that_do_not_concern_the_audio_change_nothing() {
    for (from, to) in [
        ("v=0", "v=0 "),
        ("v=0", "v=1"),
        ("v=0", "\u{feff}v=0"),
        ("v=0\r\n", ""),
        ("o=- 1 3 IN IP4 192.0.2.1", "o=Test User 1 1 IN IP4 127.0.0.1"),
        ("o=- 1 3 IN IP4 192.0.2.1", "o=RTSP 19599440071187478912 19599440071187478912 IN IP4 127.0.0.1"),
        ("o=- 1 3 IN IP4 192.0.2.1", "o=-"),
        ("o=- 1 3 IN IP4 192.0.2.1\r\n", ""),
        ("s=Asterisk", "s="),
        ("s=Asterisk", "s=-\r\ns=again"),
        ("s=Asterisk", "i=\u{0}\u{1}\u{7f}"),
        ("t=0 0", "t=now later"),
        ("t=0 0", "t=3724394400 3724398000 Mon\r\nr=7d 1h 0 25h\r\nz=x"),
        ("t=0 0\r\n", ""),
        ("t=0 0", "t=0 0\r\nb=AS:x"),
        ("t=0 0", "t=0 0\r\nb=\r\nk=\r\ne=\r\np=\r\nu="),
        ("t=0 0", "t=0 0\r\nno equals sign\r\n=\r\n==\r\nxy=z"),
        ("t=0 0", "t=0 0\r\n\r\n \r\n"),
        ("t=0 0", "t=0 0\r\na=\r\na=:\r\na=group:BUNDLE 0 1\r\na=ice-lite"),
        ("c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.77"),
        ("c=IN IP4 192.0.2.1", "c=IN IP4\r\nc=IN IP4 192.0.2.1"),
        ("c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1/127 or so"),
        ("c=IN IP4 192.0.2.1", "c= IN  IP4\t192.0.2.1 "),
        ("audio 11000 RTP/AVP 8", "audio 11000/2 RTP/AVP 8"),
        ("audio 11000 RTP/AVP 8", "audio\t11000  RTP/AVP   8"),
        ("m=audio", "M=AUDIO"),
        ("a=rtpmap:8 PCMA", "a=rtpmap: 8  PCMA"),
        ("a=fmtp:101 0-16", "a=fmtp\r\na=rtpmap:\r\na=rtpmap:x y\r\na=rtpmap:300 PCMA/8000"),
        ("a=fmtp:101 0-16", "a=candidate:1 1 UDP 2130706431 pbx.local 9 typ host\r\na=ssrc:1 cname:x"),
        ("a=fmtp:101 0-16", "i=a title\r\ni=another\r\nk=prompt\r\nk=x\r\nb=X-y:z:z"),
        ("\r\n", "\n"),
        ("\r\n", "\r"),
        ("\r\n", "\r\n      "),
        ("\r\n", " \u{0}\r\n"),
    ] {
        assert_eq!(read(&with(from, to)), Ok(plain()), "{from:?} -> {to:?}");
    }
    let broken = [&b"v=0\r\ns=\xff\xfe\r\n"[..], ANSWER.as_bytes()].concat();
    assert_eq!(answer_to_ours(&parse(&broken).unwrap(), &ours()), Ok(plain()));
}

#[test]
fn other_streams_of_an_answer_count_for_nothing() {
    let audio = ANSWER.find("m=audio").unwrap();
    for other in [
        "m=video 0 RTP/AVP 31\r\n",
        "m=video 4002 RTP/AVP 34\r\nc=IN IP4 224.0.0.1/x\r\na=sendonly\r\n",
        "m=video 99999 RTP/AVP 31\r\n",
        "m=video\r\n",
        "m=\r\nc=IN IP4 198.51.100.1\r\n",
        "m=image 0 udptl t38\r\na=T38FaxVersion:0\r\n",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        "m=audio 0 RTP/AVP 8\r\n",
        "m=audio 4002 RTP/SAVP 8\r\n",
        "m=audio 4002 RTP/AVP 0\r\n",
    ] {
        let behind = format!("{ANSWER}{other}");
        let before = format!("{}{other}{}", &ANSWER[..audio], &ANSWER[audio..]);
        assert_eq!((read(&behind), read(&before)), (Ok(plain()), Ok(plain())), "{other}");
    }
    let many = format!("{ANSWER}{}", "m=video 0 RTP/AVP 31\r\n".repeat(3000));
    assert_eq!(read(&many), Ok(plain()));
}

#[test]
fn answers_that_cannot_be_used_say_why() {
    let not_unicast = |address: &str| format!("connection address `{address}` is not a unicast IP address");
    let no_codec = |answered: &str, name: &str| {
        format!("no common codec: offered PCMA, answered `{answered}` ({name}, telephone-event/8000)")
    };
    let connected = "c=IN IP4 192.0.2.1";
    for (from, to, error) in [
        ("m=audio", "m=video", "no audio stream".into()),
        ("m=audio 11000", "m=audio 0", "the audio stream is refused (port 0)".into()),
        (
            "m=audio 11000",
            "m=audio 0 RTP/AVP 8\r\nm=audio 53",
            "port 53 is a system service's, and no media's".into(),
        ),
        ("m=audio 11000", "m=audio 53", "port 53 is a system service's, and no media's".into()),
        (connected, "c=IN IP4 255.255.255.255", not_unicast("255.255.255.255")),
        (connected, "c=IN IP4 224.0.0.1", not_unicast("224.0.0.1")),
        (connected, "c=IN IP6 ff02::1", not_unicast("ff02::1")),
        (connected, "c=IN IP6 ::ffff:224.0.0.1", not_unicast("::ffff:224.0.0.1")),
        (connected, "c=IN IP4 233.252.0.1/9", not_unicast("233.252.0.1")),
        (connected, "c=IN IP4 192.0.2", not_unicast("192.0.2")),
        (connected, "c=IN IP4 a{b}", not_unicast("a{b}")),
        (
            connected,
            "c=IN IP6 ::ffff:192.0.2.1",
            "the connection address ::ffff:192.0.2.1 is of another family than ours".into(),
        ),
        (connected, "c=IN IP6 ::1", "the connection address ::1 is of another family than ours".into()),
        ("c=IN IP4 192.0.2.1\r\n", "", "no connection address".into()),
        (connected, "c=IN", "no connection address".into()),
        (
            "RTP/AVP 8",
            "RTP/SAVP 8",
            "transport `RTP/SAVP` instead of RTP/AVP: it wants SRTP; set media.srtp = true".into(),
        ),
        ("RTP/AVP 8", "UDP/TLS/RTP/SAVPF 8", "transport `UDP/TLS/RTP/SAVPF` instead of RTP/AVP".into()),
        ("AVP 8 101\r\na=rtpmap:8 PCMA", "AVP 0 101\r\na=rtpmap:0 PCMU", no_codec("0 101", "PCMU/8000")),
        ("rtpmap:8 PCMA/8000", "rtpmap:8 PCMA/16000", no_codec("8 101", "PCMA/16000")),
        ("AVP 8 101", "AVP 300 x 18", "no common codec: offered PCMA, answered `300 x 18` (G729)".into()),
    ] {
        let refused = read(&with(from, to)).unwrap_err();
        assert_eq!(refused.to_string(), error, "{from} -> {to}");
    }
    assert_eq!(read(""), Err(SdpError::Missing));
    for none in ["hello", "v=0\r\n", "\0\0\0", "m", "=m"] {
        assert_eq!(read(none), Err(SdpError::NoStream), "{none}");
    }
    for port in ["99999", "-1", "0x10", "many"] {
        let refused = read(&with("audio 11000", &format!("audio {port}"))).unwrap_err().to_string();
        let told = format!("its line `m=audio {port} RTP/AVP 8 101` cannot be read: ");
        assert!(refused.starts_with(&told), "{refused}");
    }
}

#[test]
fn names_are_told_from_addresses() {
    for (written, name) in [
        ("pbx.example", Some("pbx.example")),
        ("localhost", Some("localhost")),
        ("PBX_1", Some("pbx_1")),
        ("1.2.3", None),
    ] {
        let refused = read(&with("IP4 192.0.2.1\r\nt", &format!("IP4 {written}\r\nt"))).unwrap_err();
        assert_eq!(
            matches!(&refused, SdpError::Name { name: n, .. } if Some(n.as_str()) == name),
            name.is_some(),
            "{refused}"
        );
    }
}

#[test]
fn hold_is_read_in_all_its_spellings() {
    use MediaDirection::{Inactive, RecvOnly, SendOnly, SendRecv};
    let (live, none, none6) = ("IN IP4 192.0.2.1", "IN IP4 0.0.0.0", "IN IP6 ::");
    for (connection, said, hold, answering) in [
        (live, SendRecv, None, SendRecv),
        (live, SendOnly, Some(SendOnly), RecvOnly),
        (live, RecvOnly, Some(RecvOnly), SendOnly),
        (live, Inactive, Some(Inactive), Inactive),
        (none, SendRecv, Some(Inactive), RecvOnly),
        (none, SendOnly, Some(Inactive), RecvOnly),
        (none, RecvOnly, Some(Inactive), Inactive),
        (none, Inactive, Some(Inactive), Inactive),
        (none6, SendRecv, Some(Inactive), RecvOnly),
        ("IN IP6 ::ffff:0.0.0.0", SendRecv, Some(Inactive), RecvOnly),
    ] {
        let text = ANSWER.replace("a=sendrecv", &format!("a={said}")).replace(live, connection);
        let offer = parse(text.as_bytes()).expect("it is there");
        let media = choose(&offer, &ours()).expect("it is usable").media;
        assert_eq!((media.on_hold(), media.answering()), (hold, answering), "{connection} {said}");
    }
}

/// The `m=` lines of a description.
fn lines(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|line| line.starts_with("m=")).collect()
}

#[test]
fn an_offer_of_many_streams_is_answered_stream_by_stream() {
    let audio = "m=audio 11000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n";
    let plain = "m=audio 40000 RTP/AVP 8";
    for (offered, answered) in [
        (vec![audio], vec![plain]),
        (
            vec![audio, "m=video 40404 RTP/AVP 31 34\r\na=sendrecv\r\n"],
            vec![plain, "m=video 0 RTP/AVP 31 34"],
        ),
        (
            vec!["m=audio 0 RTP/AVP 0\r\n", "m=video 0 RTP/AVP 31\r\n", audio],
            vec!["m=audio 0 RTP/AVP 0", "m=video 0 RTP/AVP 31", plain],
        ),
        (
            vec!["m=audio 11002 RTP/SAVP 8\r\na=crypto:1 x inline:AAAA\r\n", audio],
            vec!["m=audio 0 RTP/SAVP 8", plain],
        ),
        (vec![audio, audio], vec![plain, "m=audio 0 RTP/AVP 8 101"]),
        (
            vec!["m=application 4000 TCP/BFCP *\r\n", "m=video\r\n", audio, "m=image 4002 udptl t38\r\n"],
            vec!["m=application 0 TCP/BFCP *", "m=video 0 RTP/AVP 0", plain, "m=image 0 udptl t38"],
        ),
        (
            vec!["m=video 70000 RTP/AVPF 96\r\n", "m=audio 11000 RTP/AVPF 97\r\na=rtpmap:97 PCMA/8000\r\n"],
            vec!["m=video 0 RTP/AVPF 96", "m=audio 40000 RTP/AVPF 97"],
        ),
        (vec!["m=\r\n", audio], vec!["m=audio 0 RTP/AVP 0", plain]),
    ] {
        let offer = format!("v=0\r\nc=IN IP4 192.0.2.1\r\n{}", offered.concat());
        let choice = choose(&parse(offer.as_bytes()).unwrap(), &ours()).expect(&offer);
        let answer = ours().describe(2, MediaDirection::SendRecv, Some(&choice));
        assert_eq!(lines(&answer), answered, "{offer}");
        assert!(answer.contains(&format!(
            "a=rtpmap:{} PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n",
            choice.media.payload_type
        )));
        let own = parse(answer.as_bytes()).expect("our own SDP");
        assert!(answer_to_ours(&own, &ours()).is_ok(), "{answer}");
    }
}

#[test]
fn offers_without_a_stream_for_us_are_refused() {
    let session = "v=0\r\nc=IN IP4 192.0.2.1\r\n";
    for (streams, error) in [
        (
            "m=audio 0 RTP/AVP 0\r\nm=image 40404 udptl t38\r\na=T38FaxVersion:0\r\n".to_string(),
            SdpError::Refused,
        ),
        ("m=image 40404 udptl t38\r\n".into(), SdpError::NoStream),
        ("m=video 40404 RTP/AVP 31\r\n".into(), SdpError::NoStream),
        (String::new(), SdpError::NoStream),
        (
            "m=audio 11000 RTP/AVP 8\r\n".repeat(MOST_STREAMS + 1),
            SdpError::Unusable("more than 16 streams".into()),
        ),
    ] {
        let offer = parse(format!("{session}{streams}").as_bytes()).expect("it is there");
        assert_eq!(choose(&offer, &ours()), Err(error), "{streams}");
    }
    let most = format!("{session}{}", "m=audio 11000 RTP/AVP 8\r\n".repeat(MOST_STREAMS));
    assert!(choose(&parse(most.as_bytes()).unwrap(), &ours()).is_ok());
}

#[test]
fn keys_and_flags_stand_in_their_stream() {
    let key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let text = format!(
        "{}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\na=crypto:nonsense\r\na=Crypto:2 AEAD_AES_256_GCM inline:{key}\r\n\
         a=rtcp-mux\r\nm=video 0 RTP/AVP 31\r\n",
        with("RTP/AVP 8", "RTP/SAVP 8")
    );
    let description = parse(text.as_bytes()).expect("it is there");
    let [audio, video] = &description.streams[..] else { panic!("{description:?}") };
    let suites: Vec<_> = audio.crypto.iter().map(|line| (line.tag, line.suite.as_str())).collect();
    assert_eq!(suites, [(1, "AES_CM_128_HMAC_SHA1_80"), (2, "AEAD_AES_256_GCM")]);
    assert!(audio.rtcp_mux && !video.rtcp_mux && video.crypto.is_empty());
    assert_eq!((&audio.proto, &video.proto), (&Proto::Savp, &Proto::Avp));
    let flood = format!("{ANSWER}{}", format!("a=crypto:1 S inline:{key}\r\n").repeat(1000));
    assert_eq!(parse(flood.as_bytes()).unwrap().streams[0].crypto.len(), 16);
}

/// A line that is none of the kinds that are read.
fn foreign() -> impl Strategy<Value = String> {
    let blank = |c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}';
    let any_other = prop_oneof!["[^\r\n]{0,40}", "[bd-ln-zBD-LN-Z] ?=[^\r\n]{0,40}"].prop_filter(
        "it is read",
        move |line: &String| {
            let key = line.split_once('=').map_or("", |(key, _)| key.trim_matches(blank));
            !["m", "c", "a"].contains(&key.to_ascii_lowercase().as_str())
        },
    );
    let attribute = "a=[e-hj-oq-zE-HJ-OQ-Z][^\r\n]{0,40}".prop_filter("it is read", |line| {
        let name = line[2..].split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        !["rtpmap", "rtcp-mux", "sendrecv", "sendonly", "recvonly"].contains(&name.as_str())
    });
    prop_oneof![any_other, attribute]
}

proptest! {
    #[test]
    fn no_line_of_another_kind_changes_the_answer(
        inserted in prop::collection::vec((0..12usize, foreign()), 1..6), end in prop::sample::select(vec!["\r\n", "\n", "\r"]),
    ) {
        let mut lines: Vec<String> = ANSWER.lines().map(String::from).collect();
        for (at, line) in inserted {
            lines.insert(at.min(lines.len()), line);
        }
        let text = lines.join(end);
        prop_assert_eq!(read(&text), Ok(plain()), "{}", text);
    }

    #[test]
    fn no_further_stream_changes_the_answer(
        kind in "(video|image|application|text|message|[b-z]{1,40})", rest in "[^\r\n]{0,80}", more in prop::collection::vec("[abcikt]=[^\r\n]{0,40}", 0..6),
    ) {
        let other = format!("m={kind} {rest}\r\n{}\r\n", more.join("\r\n"));
        let audio = ANSWER.find("m=audio").unwrap();
        for text in [format!("{ANSWER}{other}"), format!("{}{other}{}", &ANSWER[..audio], &ANSWER[audio..])] {
            prop_assert_eq!(read(&text), Ok(plain()), "{}", text);
            let offer = parse(text.as_bytes()).unwrap();
            let choice = choose(&offer, &ours()).unwrap();
            let answer = ours().describe(2, MediaDirection::SendRecv, Some(&choice));
            let own = parse(answer.as_bytes()).unwrap();
            prop_assert_eq!(own.streams.len(), 2, "{}", answer);
            let refused = own.streams.iter().filter(|stream| stream.port == 0 && stream.fault.is_none()).count();
            prop_assert_eq!(refused, 1, "{}", answer);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(description) = parse(&bytes) {
            let _ = choose(&description, &ours());
        }
    }

    #[test]
    fn whatever_is_offered_the_answer_has_as_many_streams(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "m=audio 11000 RTP/AVP 8", "m=audio", "m=", "m=video 0 ", " ", "\r\n", "\n", "\t", "a=", "rtpmap:", "97 PCMA/8000", "97",
            "c=IN IP4 192.0.2.1", "c=", "sendonly", "é", "\u{2028}", "=", "ptime:", "20", "-", "crypto:1 S inline:", "AAAA", "|1:4",
        ]), 0..60),
    ) {
        let offer = parse(format!("v=0\r\n{}", pieces.concat()).as_bytes()).unwrap();
        if let Ok(choice) = choose(&offer, &ours()) {
            let answer = ours().describe(9, choice.media.answering(), Some(&choice));
            prop_assert!(answer.len() <= 256 + 256 * offer.streams.len(), "{} bytes", answer.len());
            let own = parse(answer.as_bytes()).unwrap();
            prop_assert_eq!(own.streams.len(), offer.streams.len(), "{}", answer);
            prop_assert_eq!(own.streams.iter().filter(|stream| stream.port != 0).count(), 1, "{}", answer);
        }
    }
}
