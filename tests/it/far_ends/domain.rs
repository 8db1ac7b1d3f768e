//! Far ends that want a domain, a header or a route of theirs.

use super::{FarCall, FarEnd, Io, Odd, assert_all_went_well, run_against};
use crate::harness::Place;

/// Takes a call only if the INVITE has all of these; the request as it was read goes into the notes.
struct Wants {
    uri: &'static str,
    from: &'static str,
    more: Vec<String>,
}

impl Odd for Wants {
    fn on_invite(&mut self, io: &mut Io, call: &mut FarCall) {
        let invite = &call.invite;
        let uri = invite.uri().unwrap_or_default();
        // What has no reader of its own stands in what is shown of a message.
        let whole = format!("{invite:?}");
        let is_wanted = uri.starts_with(self.uri)
            && invite.to().contains(self.uri)
            && invite.from().contains(self.from)
            && self.more.iter().all(|text| whole.contains(text));
        let note = format!("{uri} | {} | {} | {whole}", invite.to(), invite.from());
        io.note(call, note);
        if !is_wanted {
            return io.reply(call, 404);
        }
        let ok = call.ok(call.description().as_bytes());
        io.accept(call, ok);
    }
}

/// Runs a call with these settings; `asterisk.sip` is the far end unless they say otherwise.
#[track_caller]
fn is_taken(wants: Wants, set: impl FnOnce(u16) -> Vec<String>) {
    let place = Place::new();
    let far = FarEnd::start(wants);
    let set = set(far.sip.port());
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let (notes, calls) = run_against(&place, far, 1, &set, 0);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_all_went_well(&place, &calls, &["wanted"]);
}

#[test]
fn a_name_stands_in_uri_to_and_from_as_it_was_written() {
    let wants = Wants { uri: "sip:loadtest@localhost:", from: "@localhost>", more: Vec::new() };
    is_taken(wants, |port| vec![format!("asterisk.sip=localhost:{port}")]);
}

#[test]
fn a_domain_of_its_own_and_headers_of_ones_own_are_sent() {
    let from = r#""Load \"7\"" <sip:loadtest@pbx.example>"#;
    let wants = Wants { uri: "sip:loadtest@pbx.example", from, more: vec!["\"acme/0\"".into()] };
    is_taken(wants, |_| {
        ["sip.domain=pbx.example", "sip.display=Load \"7\"", "sip.headers.X-Tenant=acme/{call}"]
            .map(String::from)
            .into()
    });
}

#[test]
fn an_outbound_proxy_is_a_route_and_the_target_stays_a_name() {
    let wants = Wants { uri: "sip:loadtest@pbx.invalid", from: "@pbx.invalid>", more: vec![";lr>".into()] };
    is_taken(wants, |port| {
        vec!["asterisk.sip=pbx.invalid:5060".into(), format!("sip.proxy=127.0.0.1:{port}")]
    });
}
