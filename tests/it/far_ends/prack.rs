//! Far ends whose provisional responses are reliable (RFC 3262): they want a PRACK before they go on.

use std::time::Duration;

use loadtest::sip::{Message, Method};

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

struct Reliable {
    name: &'static str,
    /// Numbers of the 183s, each sent once the one before has its PRACK.
    numbers: &'static [u32],
    /// Copies of each.
    copies: usize,
    /// The media is described in the first 183, and not in the 200, as Asterisk does it.
    is_early: bool,
    /// Answer to each PRACK.
    code: u16,
}

const PLAIN: Reliable = Reliable { name: "one", numbers: &[17], copies: 1, is_early: false, code: 200 };

const RELIABLE: &[Reliable] = &[
    PLAIN,
    Reliable { name: "described in it", is_early: true, ..PLAIN },
    Reliable { name: "three in a row", numbers: &[1, 2, 3], ..PLAIN },
    Reliable { name: "it comes three times", copies: 3, ..PLAIN },
    Reliable {
        name: "three in a row, twice each",
        numbers: &[700, 701, 702],
        copies: 2,
        is_early: true,
        code: 200,
    },
    Reliable { name: "PRACK is answered with 481", code: 481, ..PLAIN },
    Reliable { name: "the largest number", numbers: &[2_147_483_646, 2_147_483_647], ..PLAIN },
];

/// Refuses who does not say that it has the extension, and else goes from PRACK to PRACK.
#[derive(Default)]
struct Wants {
    /// The PRACKs of each call.
    pracked: Vec<usize>,
}

impl Wants {
    fn ring(io: &mut Io, call: &FarCall, at: usize) {
        let wanted = &RELIABLE[call.number];
        let headers = format!("Require: 100rel\r\nRSeq: {}\r\n", wanted.numbers[at]);
        let sdp = if wanted.is_early && at == 0 { call.description() } else { String::new() };
        let media_type = (!sdp.is_empty()).then_some("application/sdp");
        for _ in 0..wanted.copies {
            io.send(call, &call.response(&call.invite, 183, &headers, media_type, sdp.as_bytes()));
        }
    }
}

impl Odd for Wants {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        self.pracked.resize(self.pracked.len().max(call.number + 1), 0);
        if !call.invite.supported().any(|tag| tag == "100rel") {
            io.note(call, "421");
            let refusal = call.response(&call.invite, 421, "Require: 100rel\r\n", None, b"");
            return io.send(call, &refusal);
        }
        Wants::ring(io, call, 0);
    }

    fn on_request(&mut self, io: &mut Io, call: &mut FarCall, request: &Message) {
        let wanted = &RELIABLE[call.number];
        if *request.method() != Method::Prack {
            return io.note(call, format!("{}", request.method()));
        }
        io.send(call, &call.response(request, wanted.code, "", None, b""));
        let told = call.header("RAck").join(",");
        io.note(call, told);
        let pracked = &mut self.pracked[call.number];
        *pracked += 1;
        match *pracked {
            n if n < wanted.numbers.len() => Wants::ring(io, call, n),
            n if n == wanted.numbers.len() => io.later(call, Duration::from_millis(50)),
            _ => {}
        }
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        let is_early = RELIABLE[call.number].is_early;
        let sdp = if is_early { String::new() } else { call.description() };
        let media_type = (!sdp.is_empty()).then_some("application/sdp");
        let ok = call.response(&call.invite, 200, "", media_type, sdp.as_bytes());
        io.accept(call, ok);
    }
}

#[test]
fn each_reliable_response_gets_its_prack_and_the_call_is_answered() {
    let place = Place::new();
    let names: Vec<&str> = RELIABLE.iter().map(|wanted| wanted.name).collect();
    let far = FarEnd::start(Wants::default());
    let (notes, calls) = run_against(&place, far, RELIABLE.len(), &[], 0);
    for (number, wanted) in RELIABLE.iter().enumerate() {
        let noted: Vec<_> =
            notes.iter().filter(|(n, _)| *n == number).map(|(_, text)| text.clone()).collect();
        let expected: Vec<_> = wanted.numbers.iter().map(|rseq| format!("{rseq} 1 INVITE")).collect();
        // A PRACK may come again before its answer has.
        let mut distinct = noted.clone();
        distinct.dedup();
        assert_eq!(distinct, expected, "{}: {noted:?}", wanted.name);
    }
    assert_all_went_well(&place, &calls, &names);
}
