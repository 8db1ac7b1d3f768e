//! Hostile input to everything that reads what others have written: no panic, no hang, nothing unbounded,
//! and what is printed reads back as what it was. `make fuzz` runs it for longer.

mod engine;
mod log;
mod media;
mod signalling;
mod text;

use engine::{Target, fuzz};

const SIP: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\r\n ",
    ":",
    ",",
    ";",
    "\"",
    "<",
    ">",
    "\\",
    "SIP/2.0",
    "Via",
    "v",
    "CSeq",
    "To",
    "Content-Length",
    "l",
    "Contact: *",
    ";tag=",
    ";branch=z9hG4bK",
    ";rport",
    ";received=",
    "INVITE",
    "BYE",
    "UPDATE",
    "ACK",
    "CANCEL",
    "OPTIONS",
    "200",
    "183",
    "401",
    "407",
    "481",
    "Digest",
    "realm=",
    "nonce=",
    "qop=",
    "algorithm=",
    "stale=true",
    "sip:",
    "[::1]",
    "%00",
    "Require: 100rel",
    "Record-Route: <sip:a;lr>",
    "Content-Type: application/sdp",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
];

#[test]
fn sip_messages() {
    fuzz(&Target { name: "sip", words: SIP, longest: 70_000, check: signalling::message, executions: 5_000 });
}

#[test]
fn a_sip_call() {
    fuzz(&Target { name: "call", words: SIP, longest: 20_000, check: signalling::call, executions: 5_000 });
}

#[test]
fn session_descriptions() {
    const WORDS: &[&str] = &[
        "\r\n",
        "m=audio ",
        "m=video 1 RTP/AVP 0",
        "c=IN IP4 ",
        "c=IN IP6 ::1",
        "a=rtpmap:0 ",
        "PCMU/8000",
        "a=ptime:",
        "a=sendonly",
        "a=inactive",
        "RTP/AVP",
        " 0",
        " 8",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "127.0.0.1",
    ];
    fuzz(&Target {
        name: "sdp",
        words: WORDS,
        longest: 20_000,
        check: signalling::description,
        executions: 5_000,
    });
}

#[test]
fn rtp_and_probes() {
    fuzz(&Target {
        name: "rtp",
        words: &["LTP1", "\u{0}\u{0}\u{0}\u{1}"],
        longest: 2_000,
        check: media::datagram,
        executions: 5_000,
    });
}

#[test]
fn streams_of_forged_probes() {
    fuzz(&Target {
        name: "stream",
        words: &["\u{0}\u{0}\u{0}\u{0}"],
        longest: 4_000,
        check: media::stream,
        executions: 300,
    });
}

#[test]
fn interval_logs() {
    const WORDS: &[&str] = &[
        "#[StartTime: ",
        "#rtt: 3 above 60 s\n",
        "Tag=rtt,",
        "Tag=up_outside,",
        "Tag=control_above,",
        ",1.000,",
        "HISTFAAAA",
        "\n",
        "=",
        "\u{1c}",
        "\u{0}\u{0}\u{0}\u{3}",
    ];
    fuzz(&Target { name: "hlog", words: WORDS, longest: 20_000, check: log::intervals, executions: 2_000 });
}

#[test]
fn ari_events() {
    const WORDS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "null",
        "true",
        "\"type\"",
        "\"StasisStart\"",
        "\"StasisEnd\"",
        "\"ChannelDestroyed\"",
        "\"ChannelEnteredBridge\"",
        "\"BridgeDestroyed\"",
        "\"channel\"",
        "\"bridge\"",
        "\"id\"",
        "\"args\"",
        "\"cause\"",
        "\\u0000",
        "\\ud800",
        "[[[[[[[[[[[[[[[[",
    ];
    fuzz(&Target { name: "event", words: WORDS, longest: 300_000, check: text::event, executions: 5_000 });
}

#[test]
fn bodies_of_ari_answers() {
    const WORDS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "null",
        "\"channelvars\"",
        "\"::\"",
        "\"UNICASTRTP_LOCAL_PORT\"",
    ];
    fuzz(&Target { name: "body", words: WORDS, longest: 20_000, check: text::body, executions: 5_000 });
}

#[test]
fn gate_expressions() {
    const WORDS: &[&str] = &[
        "rtt.p99",
        "loss.ratio",
        "calls.answered",
        "srd.max",
        "mos.plain",
        "drift.max",
        "<",
        "<=",
        "==",
        "!=",
        ">",
        "ms",
        "us",
        "µs",
        "s",
        "%",
        "e",
        "+",
        "-",
        ".",
        "inf",
        "nan",
        " ",
        "\t",
        "\u{a0}",
    ];
    fuzz(&Target { name: "gate", words: WORDS, longest: 500, check: text::gate, executions: 5_000 });
}

#[test]
fn scenarios() {
    const WORDS: &[&str] = &[
        "[load]",
        "[media]",
        "[service]",
        "[[x]]",
        "calls = ",
        "duration = \"",
        "ports = \"",
        "ramp = \"",
        "\"",
        "\n",
        "=",
        ".",
        "{",
        "}",
        "'''",
        "\\u001b[31m",
        "1h",
        "0s",
        "1ns",
        "100%",
        "-1",
        "1e400",
        "inf",
        "nan",
        "1979-05-27",
        "require = [",
        "local = \"0.0.0.0\"",
        "\"builtin\"",
        "\"none\"",
        "\"external\"",
    ];
    fuzz(&Target {
        name: "scenario",
        words: WORDS,
        longest: 20_000,
        check: text::scenario,
        executions: 5_000,
    });
}
