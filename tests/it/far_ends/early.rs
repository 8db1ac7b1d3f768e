//! Far ends that describe their media before they answer, and not again in the answer.

use std::time::Duration;

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

struct Early {
    name: &'static str,
    /// Provisional responses: status, tag, and the port that they describe, `PORT` for that of the call.
    early: &'static [(u16, &'static str, Option<&'static str>)],
    /// The answer: tag, and the port that it describes.
    last: (&'static str, Option<&'static str>),
}

const EARLY: &[Early] = &[
    Early { name: "183", early: &[(183, "far", Some("PORT"))], last: ("far", None) },
    Early { name: "180", early: &[(180, "far", Some("PORT"))], last: ("far", None) },
    Early { name: "183 and 200", early: &[(183, "far", Some("PORT"))], last: ("far", Some("PORT")) },
    Early {
        name: "183, then it rings",
        early: &[(183, "far", Some("PORT")), (180, "far", None)],
        last: ("far", None),
    },
    Early {
        name: "it rings, then 183",
        early: &[(180, "far", None), (183, "far", Some("PORT"))],
        last: ("far", None),
    },
    Early { name: "another port in 200", early: &[(183, "far", Some("9999"))], last: ("far", Some("PORT")) },
    Early {
        name: "another port in the second 183",
        early: &[(183, "far", Some("9999")), (183, "far", Some("PORT"))],
        last: ("far", None),
    },
    Early {
        name: "two branches",
        early: &[(183, "near", Some("9999")), (183, "far", Some("PORT")), (183, "third", Some("9998"))],
        last: ("far", None),
    },
    Early { name: "an early one without a tag", early: &[(183, "", Some("PORT"))], last: ("far", None) },
    Early {
        name: "refused early, and taken",
        early: &[(183, "far", Some("0"))],
        last: ("far", Some("PORT")),
    },
];

struct Answers(&'static [Early]);

impl Answers {
    fn say(io: &mut Io, call: &FarCall, code: u16, tag: &str, port: Option<&str>) -> Vec<u8> {
        let own = call.port().to_string();
        let sdp = port.map(|port| {
            let port = if port == "PORT" { own.as_str() } else { port };
            call.description().replace(&format!("audio {own}"), &format!("audio {port}"))
        });
        let media_type = sdp.as_ref().map(|_| "application/sdp");
        let bytes = call.response(&call.invite, code, "", media_type, sdp.unwrap_or_default().as_bytes());
        let bytes = String::from_utf8(bytes)
            .expect("text")
            .replace(";tag=far", &if tag.is_empty() { String::new() } else { format!(";tag={tag}") })
            .into_bytes();
        if code < 200 {
            io.send(call, &bytes);
        }
        bytes
    }
}

impl Odd for Answers {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        for (code, tag, port) in self.0[call.number].early {
            Answers::say(io, call, *code, tag, *port);
        }
        io.later(call, Duration::from_millis(100));
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        let (tag, port) = self.0[call.number].last;
        let ok = Answers::say(io, call, 200, tag, port);
        io.accept(call, ok);
    }
}

#[test]
fn media_that_was_described_early_is_the_answers() {
    let place = Place::new();
    let names: Vec<&str> = EARLY.iter().map(|early| early.name).collect();
    let (_, calls) = run_against(&place, FarEnd::start(Answers(EARLY)), EARLY.len(), &[], 0);
    assert_all_went_well(&place, &calls, &names);
}

/// Early descriptions that do not help, and words of the reason.
const BAD: &[(&str, Early)] = &[
    (
        "another branch (`early`)",
        Early { name: "another branch", early: &[(183, "early", Some("PORT"))], last: ("late", None) },
    ),
    (
        "the audio stream is refused",
        Early { name: "refused", early: &[(183, "far", Some("0"))], last: ("far", None) },
    ),
    ("no session description", Early { name: "none", early: &[(183, "far", None)], last: ("far", None) }),
];

#[test]
fn an_answer_without_a_description_says_what_there_was_before() {
    struct Bad;

    impl Odd for Bad {
        fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
            let Early { early, last, .. } = &BAD[call.number].1;
            for (code, tag, port) in *early {
                Answers::say(io, call, *code, tag, *port);
            }
            let ok = Answers::say(io, call, 200, last.0, last.1);
            io.accept(call, ok);
        }
    }

    let place = Place::new();
    let (_, calls) = run_against(&place, FarEnd::start(Bad), BAD.len(), &[], 10);
    for (call, (why, early)) in calls.iter().zip(BAD) {
        assert_eq!(call["ending"], "bad_answer", "{}: {call:?}", early.name);
        assert!(call["reason"].contains(why), "{}: {}", early.name, call["reason"]);
    }
}
