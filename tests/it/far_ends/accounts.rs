//! Callers of a file, and what is wrong with one.

use std::fs;

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::{Place, ends_with, stderr};

/// Notes who calls whom, and with what header.
struct Notes;

impl Odd for Notes {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let whole = format!("{:?}", call.invite);
        let tenant =
            whole.split("tenant ").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        io.note(call, format!("{} {} {tenant}", call.invite.from(), call.invite.uri().unwrap_or_default()));
        let ok = call.ok(call.description().as_bytes());
        io.accept(call, ok);
    }
}

#[test]
fn account_k_serves_call_k_mod_n() {
    let place = Place::new();
    let file = place.path("users.csv");
    let sipp = "SEQUENTIAL\n# who;where\nada;600;[authentication username=ada password=zanzibar]\nbob;700;\n";
    let ours = "user,password,exten\nada,zanzibar,600\nbob,,700\n";
    for (text, field) in [(sipp, "[field1]"), (ours, "{exten}")] {
        fs::write(&file, text).expect("written");
        let far = FarEnd::start(Notes);
        let port = far.sip.port();
        let accounts = format!("sip.accounts={}", file.display());
        let to = format!("sip.to={field}");
        let set = [&accounts, &to, "sip.headers.X-T=tenant {user}-{call}", "sip.domain=pbx.example"];
        let place = Place::new();
        let (notes, calls) = run_against(&place, far, 3, &set, 0);
        assert_all_went_well(&place, &calls, &["ada", "bob", "ada"]);
        let notes: Vec<_> = notes.into_iter().map(|(_, note)| note).collect();
        for (call, (user, exten)) in [("ada", 600), ("bob", 700), ("ada", 600)].into_iter().enumerate() {
            let from = format!("<sip:{user}@pbx.example>");
            let rest = format!("sip:{exten}@pbx.example {user}-{call}");
            assert!(notes[call].starts_with(&from) && notes[call].ends_with(&rest), "{port}: {notes:?}");
        }
        for name in ["scenario.toml", "summary.json", "environment.json", "report.html"] {
            let text = fs::read_to_string(place.out().join(name)).expect(name);
            assert!(!text.contains("zanzibar"), "a password is in {name}");
        }
    }
}

#[test]
fn a_file_that_will_not_do_is_told_of_before_the_first_call() {
    let place = Place::new();
    let file = place.path("users.csv");
    let accounts = format!("sip.accounts={}", file.display());
    let refused = |set: &[&str], words: &[&str]| {
        let said = stderr(&ends_with(&mut place.run("smoke", &[&[&*accounts], set].concat()), 2));
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not in:\n{said}");
    };
    refused(&[], &["sip.accounts", "cannot be read"]);
    fs::write(&file, "name,password\nada,x\n").expect("written");
    refused(&[], &["line 1", "called `user`"]);
    fs::write(&file, "user,pasword\nada,x\n").expect("written");
    refused(&[], &["line 1", "did you mean `password`?"]);
    fs::write(&file, "user,password\nada,x\nada,y\n").expect("written");
    refused(&[], &["line 3", "another password than in line 2"]);
    fs::write(&file, "user,password\nada,zanzibar\n").expect("written");
    refused(&["sip.headers.X-T={tenant}"], &["sip.headers.X-T", "{tenant}"]);
    refused(&["sip.to={password}"], &["sip.to", "password"]);
}
