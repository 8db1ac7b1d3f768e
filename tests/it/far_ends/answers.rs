//! Answers whose audio stream is plain, and whose other lines, streams, headers and parts are not.

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

/// Makes the 200 of a call.
type Answer = fn(&FarCall) -> Vec<u8>;

/// Answers each call in another way.
struct Answers(&'static [(&'static str, Answer)]);

impl Odd for Answers {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let (_, answer) = self.0[call.number % self.0.len()];
        let ok = answer(call);
        io.accept(call, ok);
    }
}

/// Runs a call for each of the answers, which all have to do.
fn each_is_answered(answers: &'static [(&'static str, Answer)]) {
    let place = Place::new();
    let names: Vec<&str> = answers.iter().map(|(name, _)| *name).collect();
    let (_, calls) = run_against(&place, FarEnd::start(Answers(answers)), names.len(), &[], 0);
    assert_all_went_well(&place, &calls, &names);
}

fn with(call: &FarCall, from: &str, to: &str) -> Vec<u8> {
    let plain = call.description();
    let changed = plain.replacen(from, to, 1);
    assert_ne!(plain, changed, "{from}");
    call.ok(changed.as_bytes())
}

fn and(call: &FarCall, more: &str) -> Vec<u8> {
    call.ok((call.description() + more).as_bytes())
}

const LINES: &[(&str, Answer)] = &[
    ("v= with a blank", |call| with(call, "v=0", "v=0 ")),
    ("another version", |call| with(call, "v=0", "v=2")),
    ("no v=", |call| with(call, "v=0\r\n", "")),
    ("byte order mark", |call| with(call, "v=0", "\u{feff}v=0")),
    ("o= of many words", |call| with(call, "o=- 4711", "o=A Sales Desk 4711")),
    ("o= of large numbers", |call| with(call, "4711 1", "98765432109876543210 18446744073709551616")),
    ("no o=", |call| with(call, "o=- 4711 1 IN IP4 127.0.0.1\r\n", "")),
    ("empty s=", |call| with(call, "s=-", "s=")),
    ("s= in Latin-1", |call| {
        let sdp = call.description().into_bytes();
        let at = sdp.windows(3).position(|w| w == b"s=-").expect("it is there");
        call.ok(&[&sdp[..at + 2], b"B\xfcro", &sdp[at + 3..]].concat())
    }),
    ("times of NTP in words", |call| with(call, "t=0 0", "t=3913056000.5 never\r\nr=7d\r\nz=0")),
    ("bandwidth in words", |call| with(call, "t=0 0", "b=AS:lots\r\nb=:\r\nt=0 0")),
    ("a second c=", |call| with(call, "t=0 0", "c=IN IP4 203.0.113.9\r\nt=0 0")),
    ("a TTL", |call| with(call, "c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0.1/127")),
    ("number of ports", |call| with(call, " RTP/AVP", "/2 RTP/AVP")),
    ("tabs", |call| with(call, " RTP/AVP 0", "\tRTP/AVP\t0 ")),
    ("line feeds alone", |call| call.ok(call.description().replace("\r\n", "\n").as_bytes())),
    ("carriage returns alone", |call| call.ok(call.description().replace("\r\n", "\r").as_bytes())),
    ("indented", |call| call.ok(call.description().replace("\r\n", "\r\n    ").as_bytes())),
    ("a name", |call| with(call, "c=IN IP4 127.0.0.1", "c=IN IP4 LocalHost")),
    ("empty lines", |call| call.ok(call.description().replace("t=", "\r\n\r\nt=").as_bytes())),
    ("NUL at the end", |call| and(call, "\0")),
    ("no colon, no name", |call| and(call, "a=\r\na=:\r\na=rtpmap\r\nx\r\n=\r\n")),
];

#[test]
fn lines_that_do_not_concern_the_audio_do_not_keep_a_call_from_being_answered() {
    each_is_answered(LINES);
}

const STREAMS: &[(&str, Answer)] = &[
    ("video refused", |call| and(call, "m=video 0 RTP/AVP 31\r\n")),
    ("video not refused", |call| and(call, "m=video 40404 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n")),
    ("video on no port", |call| and(call, "m=video 99999 RTP/AVP 31\r\n")),
    ("fax refused before", |call| with(call, "m=audio", "m=image 0 udptl t38\r\nm=audio")),
    ("another audio refused", |call| with(call, "m=audio", "m=audio 0 RTP/AVP 8\r\nm=audio")),
    ("encrypted audio before", |call| with(call, "m=audio", "m=audio 40404 RTP/SAVP 0\r\nm=audio")),
    ("half a line", |call| and(call, "m=video\r\nm=\r\nm")),
    ("with feedback", |call| with(call, "RTP/AVP", "RTP/AVPF")),
];

#[test]
fn streams_that_were_not_offered_do_not_keep_a_call_from_being_answered() {
    each_is_answered(STREAMS);
}

fn headers(call: &FarCall, headers: &str) -> Vec<u8> {
    call.response(&call.invite, 200, headers, Some("application/sdp"), call.description().as_bytes())
}

const HEADERS: &[(&str, Answer)] = &[
    ("a slash in the name", |call| headers(call, "X-Trunk/Id: 7\r\n")),
    ("blanks in the name", |call| headers(call, "X Trunk Id : 7\r\n")),
    ("a name in Latin-1", |call| {
        let ok = headers(call, "X-Buero: 7\r\n");
        let at = ok.windows(5).position(|w| w == b"Buero").expect("it is there");
        [&ok[..at], b"B\xfcro", &ok[at + 5..]].concat()
    }),
    ("no colon", |call| headers(call, "this is no header\r\n")),
    ("no name", |call| headers(call, ": 7\r\n")),
    ("NUL", |call| headers(call, "X-Nul\0: \0\r\n")),
    ("a quote that never ends", |call| headers(call, "Warning: 399 \"far\r\nServer: \"\r\n")),
    ("30 KB", |call| headers(call, &format!("X-Long: {}\r\n", "y".repeat(30_000)))),
    ("300 of them", |call| headers(call, &"X-Many: y\r\n".repeat(300))),
    ("folded", |call| headers(call, "X-Folded/1: a\r\n b\r\n\tc\r\n")),
    ("many after the length", |call| {
        let text = String::from_utf8(headers(call, "")).expect("text");
        text.replacen("\r\n\r\n", &format!("\r\n{}\r\n", "X-Many: y\r\n".repeat(400)), 1).into_bytes()
    }),
    ("blanks in the first line", |call| {
        String::from_utf8(headers(call, ""))
            .expect("text")
            .replacen("SIP/2.0 200", "SIP/2.0  200 ", 1)
            .into_bytes()
    }),
];

#[test]
fn headers_that_nobody_needs_do_not_keep_a_call_from_being_answered() {
    each_is_answered(HEADERS);
}

fn parts(call: &FarCall, media_type: &str, parts: &[(&str, &str)], end: &str) -> Vec<u8> {
    let part = |(about, content): &(&str, &str)| format!("--far\r\n{about}\r\n{content}\r\n");
    let body = parts.iter().map(part).collect::<String>() + end;
    call.response(&call.invite, 200, "MIME-Version: 1.0\r\n", Some(media_type), body.as_bytes())
}

const SDP: &str = "Content-Type: application/sdp\r\n";
const ISUP: (&str, &str) = ("Content-Type: application/isup;version=itu-t92+\r\n", "\u{1}\0\u{2}--far");

const BODIES: &[(&str, Answer)] = &[
    ("no media type", |call| call.response(&call.invite, 200, "", None, call.description().as_bytes())),
    ("an empty media type", |call| {
        call.response(&call.invite, 200, "", Some(""), call.description().as_bytes())
    }),
    ("a media type in capitals", |call| {
        call.response(
            &call.invite,
            200,
            "",
            Some("Application/SDP; charset=utf-8"),
            call.description().as_bytes(),
        )
    }),
    ("the only part", |call| {
        parts(call, "multipart/mixed;boundary=far", &[(SDP, &call.description())], "--far--\r\n")
    }),
    ("behind ISUP", |call| {
        parts(call, "multipart/mixed; boundary=\"far\"", &[ISUP, (SDP, &call.description())], "--far--\r\n")
    }),
    ("before ISUP, without an end", |call| {
        parts(call, "Multipart/Related;type=x;boundary=far", &[(SDP, &call.description()), ISUP], "")
    }),
    ("without a boundary", |call| parts(call, "multipart/mixed", &[(SDP, &call.description())], "--far--")),
    ("a part without a media type", |call| {
        parts(call, "multipart/alternative;boundary=far", &[("", &call.description())], "--far--\r\n")
    }),
    ("behind an early one", |call| {
        let early = ("Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n", "v=0\r\n");
        parts(call, "multipart/mixed;boundary=far", &[early, (SDP, &call.description())], "--far--\r\n")
    }),
];

#[test]
fn a_description_is_found_in_any_body_that_has_one() {
    each_is_answered(BODIES);
}

/// Answers that cannot be used, and a word of the reason.
const BAD: &[(&str, Answer)] = &[
    ("`nowhere.invalid` is a name", |call| with(call, "c=IN IP4 127.0.0.1", "c=IN IP4 nowhere.invalid")),
    ("encoded (`gzip`)", |call| headers(call, "Content-Encoding: gzip\r\n")),
    ("no session description", |call| parts(call, "multipart/mixed;boundary=far", &[ISUP], "--far--")),
    ("the audio stream is refused", |call| with(call, &format!("audio {}", call.port()), "audio 0")),
    ("`m=audio 77777 RTP/AVP 0` cannot be read", |call| {
        with(call, &format!("audio {}", call.port()), "audio 77777")
    }),
];

#[test]
fn answers_that_cannot_be_used_say_why() {
    let place = Place::new();
    let (_, calls) = run_against(&place, FarEnd::start(Answers(BAD)), BAD.len(), &[], 10);
    for (call, (why, _)) in calls.iter().zip(BAD) {
        assert_eq!(call["ending"], "bad_answer", "{why}: {call:?}");
        assert!(call["reason"].contains(why), "{why}: {}", call["reason"]);
    }
}
