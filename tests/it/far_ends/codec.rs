//! Far ends that answer a codec under numbers and in words of their own, and change them in mid-call.

use std::time::Duration;

use loadtest::sip::{Message, Method};

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

/// Each answer's formats with their lines, in a run of the codec.
const ANSWERS: &[(&str, &[&str])] = &[
    ("PCMU", &["0", "107\r\na=rtpmap:107 PCMU/8000", "0 101\r\na=rtpmap:101 telephone-event/8000"]),
    (
        "G722",
        &[
            "9\r\na=rtpmap:9 G722/8000",
            "9",
            "8 9\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 g722/8000/1",
            "120\r\na=rtpmap:120 G722/8000",
            // A common mistake: its samples are 16,000, its clock is not.
            "9\r\na=rtpmap:9 G722/16000",
        ],
    ),
    (
        "opus",
        &[
            "96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1;stereo=0",
            "107 101\r\na=rtpmap:107 OPUS/48000/2\r\na=rtpmap:101 telephone-event/48000",
        ],
    ),
    ("L16", &["97\r\na=rtpmap:97 L16/16000", "118\r\na=rtpmap:118 L16/16000/1"]),
];

/// Answers calls in turn with these formats.
struct Formats {
    formats: &'static [&'static str],
    /// Each call gets the next one's in mid-call.
    changes: bool,
}

impl Formats {
    fn description(&self, call: &FarCall, turn: usize) -> String {
        let formats = self.formats[(call.number + turn) % self.formats.len()];
        let plain = call.description();
        plain
            .replace("RTP/AVP 0\r\na=rtpmap:0 PCMU/8000", &format!("RTP/AVP {formats}"))
            .replace("4711 1", "4711 2")
    }
}

impl Odd for Formats {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let ok = call.ok(self.description(call, 0).as_bytes());
        io.accept(call, ok);
    }

    fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
        if self.changes {
            io.later(call, Duration::from_millis(2500));
        }
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        let sdp = self.description(call, 1);
        io.request(call, "INVITE", &sdp);
    }

    fn on_response(&mut self, io: &mut Io, call: &mut FarCall, response: &Message) {
        if response.status().is_some_and(|status| status >= 200) && *response.method() == Method::Invite {
            assert_eq!(response.status(), Some(200));
            io.acknowledge(call, response);
        }
    }
}

#[test]
fn a_codec_is_spoken_under_the_number_that_the_far_end_gives() {
    for (codec, formats) in ANSWERS {
        let place = Place::new();
        let set = format!("media.codec={codec}");
        let (_, calls) =
            run_against(&place, FarEnd::start(Formats { formats, changes: true }), formats.len(), &[&set], 0);
        assert_all_went_well(&place, &calls, formats);
        assert_eq!(place.count("other_payload.count"), 0, "{codec}");
    }
}

#[test]
fn a_codec_that_was_not_offered_is_a_bad_answer() {
    let place = Place::new();
    let set = ["media.codec=opus", "gates.require=[]"];
    let far = FarEnd::start(Formats { formats: &["0", "96", "96\r\na=rtpmap:96 opus/8000"], changes: false });
    let (_, calls) = run_against(&place, far, 3, &set, 0);
    let endings: Vec<_> = calls.iter().map(|call| &*call["ending"]).collect();
    // A number without a mapping means what was offered under it.
    assert_eq!(endings, ["bad_answer", "completed", "bad_answer"], "{calls:?}");
    assert!(calls[0]["reason"].contains("no common codec: offered opus"), "{:?}", calls[0]);
}
