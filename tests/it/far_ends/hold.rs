//! Far ends that put a call on hold: it lives, nothing is sent to them meanwhile, and nothing of that is lost.

use std::time::Duration;

use loadtest::sip::{Message, Method};

use super::{FarCall, FarEnd, Io, Odd, run_against};
use crate::harness::Place;

/// What a far end does in mid-call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Hold,
    Resume,
    /// Notes the packets that have come on hold.
    Look,
}
use Turn::{Hold, Look, Resume};

struct Case {
    name: &'static str,
    /// Change of a plain description to one on hold.
    hold: [&'static str; 2],
    from_start: bool,
    method: &'static str,
    /// Turns, each with the milliseconds since the one before, or since the ACK.
    turns: &'static [(u64, Turn)],
    /// Holds in the call's record.
    holds: &'static str,
    /// Music is played meanwhile.
    music: bool,
}

const INACTIVE: [&str; 2] = ["a=sendrecv", "a=inactive"];
/// From before the window into it.
const BETWEEN: &[(u64, Turn)] = &[(1500, Hold), (1500, Resume)];
const PLAIN: Case = Case {
    name: "inactive",
    hold: INACTIVE,
    from_start: false,
    method: "INVITE",
    turns: BETWEEN,
    holds: "1",
    music: false,
};

const CASES: &[Case] = &[
    PLAIN,
    Case { name: "sendonly", hold: ["a=sendrecv", "a=sendonly"], ..PLAIN },
    Case { name: "with music", hold: ["a=sendrecv", "a=sendonly"], music: true, ..PLAIN },
    Case { name: "recvonly", hold: ["a=sendrecv", "a=recvonly"], ..PLAIN },
    Case { name: "0.0.0.0", hold: ["c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"], ..PLAIN },
    Case { name: "without a port", hold: ["m=audio ", "m=audio 0 RTP/AVP 0\r\nb=X:"], ..PLAIN },
    Case { name: "by UPDATE", method: "UPDATE", ..PLAIN },
    Case { name: "twice over", turns: &[(1500, Hold), (300, Hold), (1000, Resume), (20, Resume)], ..PLAIN },
    Case {
        name: "twice",
        turns: &[(1000, Hold), (700, Resume), (700, Hold), (600, Resume)],
        holds: "2",
        ..PLAIN
    },
    Case { name: "for a moment", turns: &[(2500, Hold), (20, Resume)], ..PLAIN },
    Case { name: "up to the end", turns: &[(2500, Hold), (800, Look)], ..PLAIN },
    Case { name: "from the start", from_start: true, turns: &[(2500, Resume)], ..PLAIN },
    Case {
        name: "from the start, at 0.0.0.0",
        hold: ["c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"],
        from_start: true,
        turns: &[(2500, Resume)],
        ..PLAIN
    },
    Case { name: "from the start to the end", from_start: true, turns: &[(2500, Look)], ..PLAIN },
];

/// Plays the cases, each by the call of its number.
#[derive(Default)]
struct Holds {
    /// Turns that each call has had.
    turns: Vec<usize>,
}

impl Holds {
    fn description(&self, call: &FarCall) -> String {
        let [plain, held] = CASES[call.number].hold;
        let sdp = call.description().replace("4711 1", &format!("4711 {}", self.turns[call.number] + 1));
        if call.is_on_hold { sdp.replace(plain, held) } else { sdp }
    }

    fn next(&self, io: &Io, call: &mut FarCall) {
        if let Some((after, _)) = CASES[call.number].turns.get(self.turns[call.number]) {
            io.later(call, Duration::from_millis(*after));
        }
    }
}

impl Odd for Holds {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        self.turns.push(0);
        call.is_on_hold = CASES[call.number].from_start;
        let ok = call.ok(self.description(call).as_bytes());
        io.accept(call, ok);
    }

    fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
        self.next(io, call);
    }

    fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
        let case = &CASES[call.number];
        let (_, turn) = case.turns[self.turns[call.number]];
        self.turns[call.number] += 1;
        if call.is_on_hold && turn != Hold {
            io.note(call, call.heard_on_hold.to_string());
        }
        if turn != Look {
            call.is_on_hold = turn == Hold;
            let sdp = self.description(call);
            io.request(call, case.method, &sdp);
        }
        self.next(io, call);
    }

    fn on_response(&mut self, io: &mut Io, call: &mut FarCall, response: &Message) {
        if response.status().is_some_and(|status| status >= 200) {
            assert_eq!(response.status(), Some(200), "{}", CASES[call.number].name);
            if *response.method() == Method::Invite {
                io.acknowledge(call, response);
            }
            // What had been sent before the hold was learnt.
            call.heard_on_hold = 0;
            call.plays_music = CASES[call.number].music;
        }
    }
}

#[test]
fn a_call_on_hold_lives_and_loses_nothing() {
    let place = Place::new();
    let (notes, calls) = run_against(&place, FarEnd::start(Holds::default()), CASES.len(), &[], 0);
    assert_eq!(calls.len(), CASES.len());
    for (call, case) in calls.iter().zip(CASES) {
        let Case { name, holds, from_start, turns, music, .. } = case;
        assert_eq!((&*call["ending"], &*call["reason"]), ("completed", ""), "{name}: {call:?}");
        assert_eq!((&*call["holds"], &*call["lost"]), (*holds, "0"), "{name}: {call:?}");
        assert_eq!(call["total_received"], call["total_sent"], "{name}: {call:?}");
        let is_silent = *from_start && turns.iter().all(|(_, turn)| *turn == Look);
        assert_eq!(call["total_sent"] == "0", is_silent, "{name}: {call:?}");
        let count = |key: &str| call[key].parse::<f64>().expect("a number");
        assert_eq!(count("total_clipped"), 0.0, "{name}: {call:?}");
        assert!(count("excused") < 25.0, "{name}: {call:?}");
        // It began when it was answered, or with the end of a hold.
        assert!(is_silent || count("first_echo_ms") < 1000.0, "{name}: {call:?}");
        assert!(count("on_hold_ms") > 0.0, "{name}: {call:?}");
        assert_eq!(count("own_audio") > 5.0, *music, "{name}: {call:?}");
    }
    for (number, heard) in &notes {
        let name = CASES[*number].name;
        // The pacer hears of it a moment after the far end.
        assert!(heard.parse::<u32>().expect("a number") <= 5, "{name}: {heard} packets on hold");
    }
    assert!(notes.len() >= CASES.len(), "{notes:?}");
    assert_eq!(place.count("calls.on_hold_count"), CASES.len() as u64);
    for metric in
        ["loss.count", "corrupted.count", "strangers.count", "calls.silent_count", "calls.media_lost_count"]
    {
        assert_eq!(place.count(metric), 0, "{metric}");
    }
}

#[test]
fn a_call_that_is_on_hold_from_its_start_to_its_end_has_lost_nothing() {
    struct Held;
    impl Odd for Held {
        fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
            let ok = call.ok(call.description().replace("sendrecv", "inactive").as_bytes());
            io.accept(call, ok);
        }
    }
    let place = Place::new();
    let (_, calls) = run_against(&place, FarEnd::start(Held), 1, &[], 0);
    assert_eq!((&*calls[0]["total_sent"], &*calls[0]["holds"]), ("0", "1"), "{:?}", calls[0]);
    assert_eq!(place.count("loss.count"), 0);
}

#[test]
fn a_call_on_hold_is_not_given_up_and_one_that_falls_silent_behind_it_is() {
    /// Held for longer than the driver waits for a call that has fallen silent; then silent.
    struct Silent;
    impl Odd for Silent {
        fn on_ack(&mut self, io: &mut Io, call: &mut FarCall) {
            io.later(call, Duration::from_millis(1000));
        }

        fn on_time(&mut self, io: &mut Io, call: &mut FarCall) {
            let was_on_hold = std::mem::replace(&mut call.is_on_hold, true);
            let sdp = call.description();
            let sdp = if was_on_hold { sdp } else { sdp.replace("sendrecv", "inactive") };
            io.request(call, "INVITE", &sdp);
            if !was_on_hold {
                io.later(call, Duration::from_millis(2500));
            }
        }

        fn on_response(&mut self, io: &mut Io, call: &mut FarCall, response: &Message) {
            if response.status().is_some_and(|status| status >= 200) {
                io.acknowledge(call, response);
            }
        }
    }
    let place = Place::new();
    let set = ["load.dead_after=1s", "load.duration=8s", "gates.require=[]"];
    let (_, calls) = run_against(&place, FarEnd::start(Silent), 1, &set, 0);
    let held_ms: f64 = calls[0]["held_ms"].parse().expect("a number");
    assert_eq!(calls[0]["ending"], "media_lost", "{:?}", calls[0]);
    assert!(held_ms >= 4400.0, "{:?}", calls[0]);
}
