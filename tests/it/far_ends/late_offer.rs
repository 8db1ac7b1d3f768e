//! Far ends that send an INVITE without a session description in mid-call, and answer in their ACK; and those whose UPDATE
//! moves the media.

use std::time::Duration;

use loadtest::sip::{Message, Method};

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

struct Move {
    name: &'static str,
    method: &'static str,
    /// The description is in the request; else it is in the ACK, if anywhere.
    offers: bool,
    moves: bool,
    /// A text of the description, and what stands in its place.
    change: (&'static str, &'static str),
    /// The ACK comes so much later than the 200, which is sent again until then.
    ack_after: Duration,
    /// Until then it speaks from the new port already.
    speaks_ahead: bool,
}

const PLAIN: Move = Move {
    name: "the answer in the ACK moves the media",
    method: "INVITE",
    offers: false,
    moves: true,
    change: ("", ""),
    ack_after: Duration::ZERO,
    speaks_ahead: false,
};

const MOVES: &[Move] = &[
    PLAIN,
    Move { name: "the offer in the INVITE moves the media", offers: true, ..PLAIN },
    Move { name: "the offer in an UPDATE moves the media", method: "UPDATE", offers: true, ..PLAIN },
    Move { name: "the answer moves nothing", moves: false, ..PLAIN },
    Move { name: "the ACK has no answer", moves: false, change: ("*", ""), ..PLAIN },
    Move { name: "another codec in the ACK", moves: false, change: ("AVP 0", "AVP 8"), ..PLAIN },
    Move { name: "another packet time in the ACK", change: ("ptime:20", "ptime:40"), ..PLAIN },
    Move { name: "another payload type beside ours", change: ("AVP 0", "AVP 8 0"), ..PLAIN },
    Move { name: "the ACK is late", ack_after: Duration::from_millis(700), ..PLAIN },
    Move {
        name: "it speaks from its new port before its ACK",
        ack_after: Duration::from_millis(700),
        speaks_ahead: true,
        ..PLAIN
    },
    Move { name: "an UPDATE without an offer", method: "UPDATE", moves: false, change: ("*", ""), ..PLAIN },
];

/// Moves each call's media after a second, and closes the old port a while after that.
#[derive(Default)]
struct Moves {
    /// The 200 that waits for its ACK, by call.
    late: Vec<Option<Message>>,
}

impl Moves {
    fn sdp(call: &FarCall) -> String {
        match MOVES[call.number].change {
            ("*", _) => String::new(),
            ("", _) => call.description().replace("4711 1", "4711 2"),
            (from, to) => call.description().replace("4711 1", "4711 2").replace(from, to),
        }
    }

    fn acknowledge(io: &mut Io, call: &mut FarCall, response: &Message) {
        let sdp = if MOVES[call.number].offers { String::new() } else { Moves::sdp(call) };
        io.acknowledge_with(call, response, &sdp);
        io.later(call, Duration::from_millis(500));
    }
}

impl Odd for Moves {
    fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
        self.late.resize(self.late.len().max(call.number + 1), None);
        io.later(call, Duration::from_secs(1));
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        let wanted = &MOVES[call.number];
        if let Some(response) = self.late[call.number].take() {
            return Moves::acknowledge(io, call, &response);
        }
        if call.cseq > 0 {
            return call.close_former();
        }
        if wanted.moves {
            call.move_media();
        }
        let sdp = if wanted.offers { Moves::sdp(call) } else { String::new() };
        io.request(call, wanted.method, &sdp);
    }

    fn on_response(&mut self, io: &mut Io, call: &mut FarCall, response: &Message) {
        let Some(status) = response.status().filter(|status| *status >= 200) else { return };
        io.note(
            call,
            format!("{status} with {} bytes", if response.body().is_empty() { "no" } else { "some" }),
        );
        if *response.method() != Method::Invite {
            return io.later(call, Duration::from_millis(500));
        }
        let Move { ack_after: after, speaks_ahead, .. } = MOVES[call.number];
        call.speaks_ahead = speaks_ahead;
        if after.is_zero() {
            Moves::acknowledge(io, call, response);
        } else if self.late[call.number].is_none() {
            self.late[call.number] = Some(response.clone());
            io.later(call, after);
        }
    }
}

#[test]
fn media_moves_in_mid_call_without_a_loss() {
    let place = Place::new();
    let names: Vec<&str> = MOVES.iter().map(|wanted| wanted.name).collect();
    let far = FarEnd::start(Moves::default());
    let (notes, calls) = run_against(&place, far, MOVES.len(), &["load.duration=4s"], 0);
    for (number, wanted) in MOVES.iter().enumerate() {
        let noted: Vec<_> =
            notes.iter().filter(|(n, _)| *n == number).map(|(_, text)| text.as_str()).collect();
        let has_answer = wanted.method == "INVITE" || wanted.offers;
        let expected = format!("200 with {} bytes", if has_answer { "some" } else { "no" });
        assert!(
            !noted.is_empty() && noted.iter().all(|text| *text == expected),
            "{}: {noted:?}",
            wanted.name
        );
    }
    assert_all_went_well(&place, &calls, &names);
    let remarks = place.summary()["environment"]["remarks"].to_string();
    for told in [
        "asks for a packet every 40 ms (a=ptime)",
        "cannot be used: no session description",
        "no common codec",
    ] {
        assert!(remarks.contains(told), "{remarks}");
    }
}
