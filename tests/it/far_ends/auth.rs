//! Far ends behind which several realms want credentials, and some of their refusals.

use loadtest::sip::Message;

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_as};
use crate::harness::Place;

/// One round of a call: the status, and challenges as header, realm and further parameters.
type Round = (u16, &'static [(&'static str, &'static str, &'static str)]);

const PROXY: &str = "Proxy-Authenticate";
const SERVER: &str = "WWW-Authenticate";

struct Chain {
    name: &'static str,
    rounds: &'static [Round],
    /// Realms that the INVITE which is taken answers, those of proxies first.
    answered: &'static [&'static str],
}

const CHAINS: &[Chain] = &[
    Chain {
        name: "two proxies in a row",
        rounds: &[(407, &[(PROXY, "one", "")]), (407, &[(PROXY, "two", "")])],
        answered: &["one", "two"],
    },
    Chain {
        name: "two proxies at once",
        rounds: &[(407, &[(PROXY, "one", ""), (PROXY, "two", "")])],
        answered: &["one", "two"],
    },
    Chain {
        name: "a proxy before a server of the same realm",
        rounds: &[(407, &[(PROXY, "one", "")]), (401, &[(SERVER, "one", "")])],
        answered: &["one", "one"],
    },
    Chain {
        name: "both in a 401",
        rounds: &[(401, &[(SERVER, "two", ""), (PROXY, "one", "")])],
        answered: &["one", "two"],
    },
    Chain {
        name: "three proxies, and a nonce that is too old",
        rounds: &[
            (407, &[(PROXY, "one", "")]),
            (407, &[(PROXY, "two", "")]),
            (407, &[(PROXY, "one", ", stale=true")]),
            (407, &[(PROXY, "three", "")]),
        ],
        answered: &["one", "two", "three"],
    },
    Chain {
        name: "SHA-256 beside MD5",
        rounds: &[(
            401,
            &[
                (SERVER, "one", ", algorithm=SHA-512-9"),
                (SERVER, "one", ", algorithm=SHA-256"),
                (SERVER, "one", ", algorithm=MD5"),
            ],
        )],
        answered: &["one"],
    },
];

fn reply(io: &Io, call: &FarCall, request: &Message, (code, challenges): Round, nonce: usize) {
    let line = |(header, realm, more): &(&str, &str, &str)| {
        format!("{header}: Digest realm=\"{realm}\", nonce=\"n{nonce}-{realm}\", qop=\"auth\"{more}\r\n")
    };
    let headers: String = challenges.iter().map(line).collect();
    io.send(call, &call.response(request, code, &headers, None, b""));
}

/// The realms that the caller's last request answers.
fn answered(call: &FarCall) -> Vec<String> {
    let values = [call.header("Proxy-Authorization"), call.header("Authorization")].concat();
    let realm = |value: &&str| {
        value.split("realm=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?").to_string()
    };
    values.iter().map(realm).collect()
}

/// Challenges each call in its rounds.
struct Challenges {
    rounds: Vec<usize>,
}

impl Odd for Challenges {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        self.rounds.resize(self.rounds.len().max(call.number + 1), 0);
        let (chain, round) = (&CHAINS[call.number], &mut self.rounds[call.number]);
        match chain.rounds.get(*round) {
            Some(challenge) => {
                *round += 1;
                reply(io, call, &call.invite, *challenge, *round);
            }
            None => {
                io.note(call, answered(call).join(" "));
                if call.heard.contains("SHA-256") {
                    io.note(call, "SHA-256");
                }
                let ok = call.ok(call.description().as_bytes());
                io.accept(call, ok);
            }
        }
    }
}

fn user() -> [(&'static str, &'static str); 2] {
    [("SIP_USER", "alice"), ("SIP_PASS", "secret")]
}

#[test]
fn every_realm_on_the_way_is_answered() {
    let place = Place::new();
    let far = FarEnd::start(Challenges { rounds: Vec::new() });
    let names: Vec<&str> = CHAINS.iter().map(|chain| chain.name).collect();
    let (notes, calls) = run_as(&place, far, CHAINS.len(), &[], &user(), 0);
    for (number, chain) in CHAINS.iter().enumerate() {
        let noted: Vec<_> =
            notes.iter().filter(|(n, _)| *n == number).map(|(_, text)| text.as_str()).collect();
        assert_eq!(noted[0], chain.answered.join(" "), "{}", chain.name);
        assert_eq!(noted.contains(&"SHA-256"), chain.name.contains("SHA-256"), "{}", chain.name);
    }
    assert_all_went_well(&place, &calls, &names);
}

#[test]
fn a_realm_that_refuses_is_named_and_challenges_without_end_come_to_one() {
    /// The second realm of call 0 asks for good, those of call 1 are without end.
    struct Refuses(usize);

    impl Odd for Refuses {
        fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
            self.0 += 1;
            if call.number == 0 {
                let first = answered(call).is_empty();
                let challenge: Round =
                    if first { (407, &[(PROXY, "one", "")]) } else { (407, &[(PROXY, "two", "")]) };
                return reply(io, call, &call.invite, challenge, self.0);
            }
            let headers = format!("{PROXY}: Digest realm=\"r{}\", nonce=\"n\"\r\n", self.0);
            io.send(call, &call.response(&call.invite, 407, &headers, None, b""));
        }
    }

    let place = Place::new();
    let (_, calls) = run_as(&place, FarEnd::start(Refuses(0)), 2, &[], &user(), 10);
    for (call, why) in
        calls.iter().zip(["user `alice` for realm `two`", "more than 8 realms want credentials"])
    {
        assert_eq!(call["ending"], "auth_failed", "{call:?}");
        assert!(call["reason"].contains(why), "{}", call["reason"]);
    }
}
