//! Hard but legal messages, illegal ones, and bytes that are no messages, in the spirit of RFC 4475.

use proptest::prelude::*;

use super::message::{Message, Method};
use super::parse::{MAX_HEADERS, MAX_MESSAGE_BYTES, parse};

/// A plain response to change one thing in.
const PLAIN: &str = "SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1;rport=5070;received=192.0.2.9\r\n\
    From: <sip:alice@192.0.2.9>;tag=f\r\n\
    To: <sip:echo@192.0.2.1>;tag=t\r\n\
    Call-ID: c@h\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:192.0.2.1:5060>\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 5\r\n\r\nv=0\r\n";

fn read(text: &str) -> Message {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// PLAIN with one text replaced.
fn with(from: &str, to: &str) -> String {
    let text = PLAIN.replacen(from, to, 1);
    assert_ne!(text, PLAIN, "nothing was replaced: {from}");
    text
}

fn refused(text: &str) -> String {
    parse(text.as_bytes()).expect_err(text).to_string()
}

#[test]
fn a_plain_response_in_all_its_parts() {
    let message = read(PLAIN);
    assert!(!message.is_request() && message.session_description() == Ok(Some(message.body())));
    assert_eq!((message.status(), message.reason_phrase(), message.uri()), (Some(200), "OK", None));
    assert_eq!((message.from_tag(), message.to_tag(), message.call_id()), (Some("f"), Some("t"), "c@h"));
    assert_eq!((message.cseq().number, message.method()), (1, &Method::Invite));
    assert_eq!((message.branch(), message.sent_by().as_str()), (Some("z9hG4bK1"), "192.0.2.9:5070"));
    assert_eq!((message.contact(), message.body()), (Some("sip:192.0.2.1:5060"), &b"v=0\r\n"[..]));
    assert_eq!(message.header("content-LENGTH").as_deref(), Some("5"));
}

#[test]
fn compact_names_folded_lines_and_odd_spacing() {
    let message = read(
        "\r\n\r\nINVITE sip:vivekg@chair.example;unknownparam SIP/2.0\r\n\
         TO :\r\n   sip:vivekg@chair.example ;   tag    = 1918181833n\r\n\
         f   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
         MaX-fOrWaRdS: 0068\r\n\
         i:  wsinv.ndaksdj@192.0.2.1\r\n\
         v  : SIP  / 2.0  / UDP   192.0.2.2 : 5062  ;\r\n\t branch = z9hG4bK390skdjuw\r\n\
         V: SIP/2.0/TCP spindle.example ; branch = z9hG4bK9ikj8, SIP / 2.0 / UDP 192.168.255.111 ; branch=z9hG4bK30239\r\n\
         cseq:\t0009\r\n  INVITE\r\n\
         X-Empty:\r\nx-unheard.of`header': ,;,;%\r\n\
         m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com>; newparam = newvalue ; q = 0.33\r\n\
         r: <sip:x@h>\r\nc: APPLICATION/SDP;charset=x\r\nl: 003\r\n\r\nv=0 and more",
    );
    assert_eq!(
        (message.method(), message.uri()),
        (&Method::Invite, Some("sip:vivekg@chair.example;unknownparam"))
    );
    assert_eq!((message.to_tag(), message.from_tag()), (Some("1918181833n"), Some("98asjd8")));
    assert_eq!((message.cseq().number, message.call_id()), (9, "wsinv.ndaksdj@192.0.2.1"));
    assert_eq!((message.branch(), message.sent_by().as_str()), (Some("z9hG4bK390skdjuw"), "192.0.2.2:5062"));
    assert_eq!(message.vias().count(), 3);
    assert_eq!(message.contact(), Some("sip:jdrosen@example.com"));
    assert_eq!(message.header("X-Empty").as_deref(), Some(""));
    assert_eq!(message.header("Refer-To").as_deref(), Some("<sip:x@h>"));
    assert_eq!(message.header("x-unheard.of`header'").as_deref(), Some(",;,;%"));
    assert_eq!(message.body(), b"v=0");
    assert_eq!(message.session_description(), Ok(Some(&b"v=0"[..])));
}

#[test]
fn addresses_that_rsip_cannot_read() {
    let message = read(
        "OPTIONS sip:[2001:db8::10]:5060;transport=udp SIP/2.0\r\n\
         Via: SIP/2.0/UDP [2001:db8::9]:6050;branch=z9hG4bKas3-111\r\n\
         From: <sip:[2001:db8::9]>;tag=1\r\nTo: sip:user@[2001:db8::10]\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\
         Record-Route: <sip:[2001:db8::77];lr>\r\nContact: <sip:caller@[2001:db8::1]:5070>\r\n\r\n",
    );
    assert_eq!(message.uri(), Some("sip:[2001:db8::10]:5060;transport=udp"));
    assert_eq!(message.contact(), Some("sip:caller@[2001:db8::1]:5070"));
    assert_eq!(message.record_routes().collect::<Vec<_>>(), ["<sip:[2001:db8::77];lr>"]);
    assert_eq!(message.answer_to(), Some("[2001:db8::9]:6050".parse().unwrap()));
    assert_eq!((message.from_tag(), message.to_tag()), (Some("1"), None));
    for contact in ["<tel:+123>", "*", "", "<>", "\"unclosed <sip:x>", "<sip:a?b=c%3Cd>"] {
        read(&with("<sip:192.0.2.1:5060>", contact));
    }
}

/// The reason for [`super::grammar`]: should an rsip of a later version read these, it may do so here.
#[test]
fn rsip_misreads_ipv6_and_users_with_a_dot() {
    let host = |uri: &str| rsip::Uri::try_from(uri).map(|uri| uri.host_with_port.host.to_string());
    assert!(host("sip:[2001:db8::10]:5060").is_err() && host("sip:[::1]").is_err());
    assert_eq!(host("sip:john.doe@192.0.2.1:5060").unwrap(), "john.doe@192.0.2.1");
}

#[test]
fn extension_methods_and_unusual_start_lines() {
    let wanted = "!interesting-Method0123456789_*+`.%indeed'~";
    let text = with("SIP/2.0 200 OK", &format!("{wanted} soap.beep://192.0.2.103:3002 SIP/2.0"))
        .replace("1 INVITE", &format!("1 {wanted}"));
    assert_eq!(*read(&text).method(), Method::Other(wanted.into()));
    let lower = text.replace(wanted, "invite");
    assert_eq!(*read(&lower).method(), Method::Other("invite".into()));
    for (line, reason) in [
        ("SIP/2.0 183 Session Progress", "Session Progress"),
        ("SIP/2.0 200 ", ""),
        ("SIP/2.0 200", ""),
        ("sip/2.0 699 = 2**3 * 5**2 \u{43d}\u{43e}", "= 2**3 * 5**2 \u{43d}\u{43e}"),
        ("SIP/2.0   200\t OK ", "OK"),
    ] {
        assert_eq!(read(&with("SIP/2.0 200 OK", line)).reason_phrase(), reason);
    }
}

#[test]
fn lines_may_end_without_carriage_returns_and_hold_any_bytes() {
    assert_eq!(read(&PLAIN.replace("\r\n", "\n").replace("Length: 5", "Length: 4")).call_id(), "c@h");
    let mut bytes = PLAIN.replace("echo@", "\u{1}\u{0}ech@").into_bytes();
    let at = bytes.windows(3).position(|w| w == b"ech").unwrap();
    bytes[at] = 0xff;
    assert_eq!(parse(&bytes).expect("it parses").to_tag(), Some("t"));
}

#[test]
fn the_body_is_what_content_length_says() {
    assert_eq!(read(&with("Content-Length: 5\r\n", "")).body(), b"v=0\r\n");
    assert_eq!(read(&with("Length: 5", "Length: 0")).body(), b"");
    assert_eq!(read(&with("Length: 5", "Length: 5\r\nl: 5")).body(), b"v=0\r\n");
    let truncated = |expected: u64| format!("the body ends after 5 of {expected} bytes");
    assert_eq!(refused(&with("Length: 5", "Length: 6")), truncated(6));
    assert_eq!(refused(&with("Length: 5", "Length: 99999999999999999999999")), truncated(u64::MAX));
    assert_eq!(refused(&with("Length: 5", "Length: 5\r\nl: 4")), "more than one Content-Length header");
    for bad in ["-1", "+5", "5a", "", "0x5", "5, 5"] {
        let error = format!("bad Content-Length `{bad}`");
        assert_eq!(refused(&with("Length: 5", &format!("Length: {bad}"))), error);
    }
}

#[test]
fn what_is_no_message_says_why() {
    for (from, to, error) in [
        ("SIP/2.0 200 OK", "HTTP/1.1 200 OK", "the first line is not SIP's: `HTTP/1.1 200 OK`"),
        ("SIP/2.0 200 OK", "SIP/7.0 200 OK", "the first line is not SIP's: `SIP/7.0 200 OK`"),
        ("200 OK", "4294967301 better", "the first line is not SIP's: `SIP/2.0 4294967301 better`"),
        ("200 OK", "099 no", "the first line is not SIP's: `SIP/2.0 099 no`"),
        ("200 OK", "700 no", "the first line is not SIP's: `SIP/2.0 700 no`"),
        ("200 OK", "+20 no", "the first line is not SIP's: `SIP/2.0 +20 no`"),
        (
            "SIP/2.0 200 OK",
            "OPTIONS sip:a b SIP/2.0",
            "the first line is not SIP's: `OPTIONS sip:a b SIP/2.0`",
        ),
        ("SIP/2.0 200 OK", "OPTIONS", "the first line is not SIP's: `OPTIONS`"),
        ("SIP/2.0 200 OK", "BYE sip:a SIP/2.0", "bad CSeq `1 INVITE`"),
        ("Call-ID: c@h\r\n", "", "no Call-ID header"),
        ("Call-ID: c@h", "Call-ID:", "no Call-ID header"),
        ("Call-ID: c@h", "Call-ID: c@h\r\ni: d@h", "more than one Call-ID header"),
        ("CSeq: 1 INVITE\r\n", "", "no CSeq header"),
        ("CSeq: 1 INVITE", "CSeq: 1 INVITE\r\nCSeq: 2 BYE", "more than one CSeq header"),
        ("CSeq: 1 INVITE", "CSeq: INVITE", "bad CSeq `INVITE`"),
        ("CSeq: 1", "CSeq: 2147483648", "bad CSeq `2147483648 INVITE`"),
        ("CSeq: 1", "CSeq: 36893488147419103232", "bad CSeq `36893488147419103232 INVITE`"),
        ("CSeq: 1", "CSeq: -1", "bad CSeq `-1 INVITE`"),
        ("Via", "Vla", "no Via header"),
        ("To: ", "Two: ", "no To header"),
        ("From: ", "Form: ", "no From header"),
    ] {
        assert_eq!(refused(&with(from, to)), error, "{from} -> {to}");
    }
    assert_eq!(refused(""), "an empty message");
    assert_eq!(refused("\r\n\r\n\r\n"), "an empty message");
    assert_eq!(refused("SIP/2.0 200 OK"), "no From header");
}

#[test]
fn a_header_that_nobody_needs_ends_nothing() {
    let plain = read(PLAIN);
    for (line, passed_over) in [
        ("X-Trunk/Id: 7", 0),
        ("Con tact: <sip:x>", 0),
        ("X Y Z: 1", 0),
        ("P-Asserted-Identity, \"x\" <sip:a>: b", 0),
        ("Übertrag: ja", 0),
        ("(comment): x", 0),
        ("X-Empty/Value:", 0),
        ("X-Nul\u{0}: \u{0}", 0),
        ("X: \u{1}\u{7f}", 0),
        ("Allow: \"unclosed", 0),
        ("Session-Expires: soon", 0),
        ("no colon here", 1),
        (":", 1),
        (": a value", 1),
        ("  ", 0),
        ("\u{0}", 1),
        ("\"", 1),
    ] {
        for (from, to) in [
            ("Call-ID: c@h", format!("Call-ID: c@h\r\n{line}")),
            ("Content-Length: 5", format!("Content-Length: 5\r\n{line}")),
            ("Via: ", format!("{}\r\nVia: ", line.trim_start())),
        ] {
            let text = with(from, &to);
            if text.contains("\r\n\r\nVia") {
                continue;
            }
            let message = read(&text);
            assert_eq!(message.passed_over(), passed_over, "{line}");
            let parts = |m: &Message| {
                (m.status(), m.via().to_string(), m.contact().map(String::from), m.body().to_vec())
            };
            assert_eq!((parts(&message), message.cseq()), (parts(&plain), plain.cseq()), "{line}");
        }
    }
    let kept = read(&with("Call-ID: c@h", "Call-ID: c@h\r\nX-Trunk/Id: 7"));
    assert_eq!(kept.header("X-Trunk/Id").as_deref(), Some("7"));
    let compact = read(&with("Call-ID: c@h", "Call-ID: c@h\r\nk: timer, 100rel\r\nx: 90;refresher=uas"));
    assert_eq!(compact.header("Supported").as_deref(), Some("timer, 100rel"));
    assert_eq!(compact.header("Session-Expires").as_deref(), Some("90;refresher=uas"));
}

#[test]
fn a_continuation_of_nothing_but_space_adds_nothing() {
    let blank = read(&with(";tag=f", ";tag=f\r\n \r\n\t\r\n  ;x=y\r\n "));
    assert_eq!(blank.from(), "<sip:alice@192.0.2.9>;tag=f ;x=y");
}

#[test]
fn sizes_are_bounded() {
    let many = |line: &str, n| with("Call-ID", &format!("{}Call-ID", line.repeat(n)));
    assert_eq!(refused(&many("Record-Route: <sip:a;lr>\r\n", MAX_HEADERS)), "more than 256 headers");
    let message = read(&many("Many: y\r\n", 5000));
    // Via, From and To stand before them; Content-Type is behind, and nobody misses it.
    assert_eq!(message.passed_over() as usize, 5000 + 1 - (MAX_HEADERS - 3));
    assert_eq!((message.call_id(), message.body()), ("c@h", &b"v=0\r\n"[..]));
    assert_eq!(message.session_description(), Ok(Some(message.body())));
    let long = with("Call-ID", &format!("Long: {}\r\nCall-ID", "y".repeat(MAX_MESSAGE_BYTES)));
    assert_eq!(refused(&long), format!("{} bytes, 65536 allowed", long.len()));
    let via = |n: usize| with("Via: ", &format!("Via: SIP/2.0/UDP h;branch=z9hG4bK{},", "y".repeat(n)));
    assert_eq!(read(&via(1024 - 28)).via().len(), 1024);
    assert_eq!(refused(&via(1024 - 27)), "a topmost Via of 1025 bytes, 1024 allowed");
    let folded = with("Call-ID: c@h", &format!("Call-ID: c@h\r\nLong: y{}", "\r\n z".repeat(5000)));
    assert_eq!(read(&folded).header("Long").map(|long| long.len()), Some(10_001));
}

#[test]
fn the_source_of_a_request_is_noted_in_its_via() {
    let request = |via: &str| {
        let text = with("SIP/2.0 200 OK", "INVITE sip:a SIP/2.0");
        let start = text.find("SIP/2.0/UDP").unwrap();
        let end = text.find("\r\nFrom").unwrap();
        read(&format!("{}{via}{}", &text[..start], &text[end..]))
    };
    for (via, stamped, answer_to) in [
        ("SIP/2.0/UDP 192.0.2.1:5060;branch=b", "SIP/2.0/UDP 192.0.2.1:5060;branch=b", "192.0.2.1:5060"),
        ("SIP/2.0/UDP h:99;branch=b", "SIP/2.0/UDP h:99;branch=b;received=192.0.2.1", "192.0.2.1:99"),
        ("SIP/2.0/UDP h;branch=b", "SIP/2.0/UDP h;branch=b;received=192.0.2.1", "192.0.2.1:5060"),
        (
            "SIP/2.0/UDP 10.0.0.1;branch=b",
            "SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.1",
            "192.0.2.1:4040",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;RPORT;branch=b;received=6.6.6.6, SIP/2.0/UDP x;branch=c",
            "SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.1;rport=4040, SIP/2.0/UDP x;branch=c",
            "192.0.2.1:4040",
        ),
    ] {
        let mut message = request(via);
        message.received_from("192.0.2.1:4040".parse().unwrap());
        assert_eq!(message.via_lines().next(), Some(stamped));
        assert_eq!(message.answer_to(), Some(answer_to.parse().unwrap()), "{via}");
    }
    assert_eq!(request("SIP/2.0/UDP pbx.example").answer_to(), None);
}

#[test]
fn a_request_over_ipv6_is_answered_where_it_came_from() {
    let text = with("SIP/2.0 200 OK", "INVITE sip:a SIP/2.0");
    for (via, stamped, answer_to) in [
        ("[2001:db8::9]:5070;branch=b", ";branch=b", "[2001:db8::9]:5070"),
        ("[2001:db8::7];branch=b", ";branch=b;received=2001:db8::9", "[2001:db8::9]:4040"),
        ("[::1]:5060;rport;branch=b", ";branch=b;received=2001:db8::9;rport=4040", "[2001:db8::9]:4040"),
    ] {
        let mut message =
            read(&text.replace("192.0.2.9:5070;branch=z9hG4bK1;rport=5070;received=192.0.2.9", via));
        message.received_from("[2001:db8::9]:4040".parse().unwrap());
        assert!(message.via().ends_with(stamped), "{}", message.via());
        assert_eq!(message.answer_to(), Some(answer_to.parse().unwrap()), "{via}");
        let sent_by = via.split(';').next().unwrap();
        assert_eq!(message.sent_by(), sent_by);
    }
}

/// Pieces that, strung together, come closer to SIP than random bytes do.
fn piece() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "SIP/2.0 ",
        "200 OK",
        "INVITE ",
        "sip:a@[::1]",
        " SIP/2.0",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "Via: ",
        "v:",
        "SIP/2.0/UDP h;branch=z9hG4bK1",
        "From: ",
        "f:",
        "<sip:a@h>;tag=1",
        "To: ",
        "t:",
        "Call-ID: ",
        "i:",
        "CSeq: ",
        "1 INVITE",
        "l:",
        "Content-Length: ",
        "5",
        "99999999999999999999",
        "Contact: ",
        "m:",
        "\"",
        "\\",
        "<",
        ">",
        ",",
        ";",
        "=",
        ":",
        "\0",
        "é",
        "東",
        "WWW-Authenticate: Digest ",
        "Proxy-Authenticate: Digest realm=\"a\", nonce=\"b\", algorithm=SHA-256",
        "Require: 100rel",
        "RSeq: 4294967296",
        "Session-Expires: 90;refresher=uac",
        "Min-SE: 90",
        "Expires: ",
        "Min-Expires: ",
        ";expires=",
        "Content-Type: multipart/mixed;boundary=b\r\n",
        "\r\n--b\r\n",
        "--b--",
        "Content-Type: application/sdp\r\n",
        "Content-Disposition: early-session\r\n",
        "Content-Encoding: gzip\r\n",
        "v=0\r\nc=IN IP6 ::1\r\nm=audio 4000 RTP/SAVP 0\r\n",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA|2^20|1:4\r\n",
        "c=IN IP4 a.name\r\n",
    ]);
    prop_oneof![4 => pieces.prop_map(str::to_string), 1 => any::<String>()]
}

/// Uses all of a message's accessors.
fn touch(message: &mut Message) {
    message.received_from("192.0.2.1:1".parse().unwrap());
    let _ = (message.contact(), message.branch(), message.sent_by(), message.from_tag(), message.to_tag());
    let _ = (
        message.answer_to(),
        message.record_routes().count(),
        message.require().count(),
        message.passed_over(),
    );
    let _ = message.session_description().map(|sdp| sdp.map(super::sdp::parse));
    let _ = super::uas::answer(message, "tag").map(|bytes| parse(&bytes));
    let _ = super::digest::Challenge::of(message);
    let _ = (message.contacts().count(), message.granted_s("sip:a@h"), message.min_expires_s());
    let _ = (message.supported().count(), message.allow().count(), message.challenges().count());
    let _ = (message.cause().map(str::len), message.other("RSeq").map(str::len), message.routes().count());
    for name in message.names() {
        message.look_up(name, Ok("192.0.2.1".parse().unwrap()));
    }
    let _ = message.description().map(|found| found.map(|description| description.names().len()));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_text_makes_the_parser_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        if let Ok(mut message) = parse(pieces.concat().as_bytes()) {
            touch(&mut message);
        }
    }

    #[test]
    fn no_change_to_a_good_message_makes_it_panic(
        at in 0..PLAIN.len(), cut in 0..20usize, put in piece(), request in any::<bool>(),
    ) {
        let mut bytes = PLAIN.as_bytes().to_vec();
        bytes.splice(at..(at + cut).min(PLAIN.len()), put.into_bytes());
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if request {
            text = text.replacen("SIP/2.0 200 OK", "INVITE sip:a SIP/2.0", 1);
        }
        if let Ok(mut message) = parse(text.as_bytes()) {
            touch(&mut message);
        }
    }

    #[test]
    fn no_challenge_makes_the_answer_panic(text in "(Digest )?[ -~é東\"\\\\,=]{0,80}") {
        if let Ok(challenge) = super::digest::Challenge::parse(&text) {
            let credentials = super::digest::Credentials { username: "ü\"".into(), password: "\\".into() };
            let _ = challenge.answer(&credentials, &Method::Invite, "sip:a", "c");
        }
    }
}
