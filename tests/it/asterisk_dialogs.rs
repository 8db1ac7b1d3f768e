//! A real Asterisk that insists on reliable provisional responses and on session timers, refreshes in mid-call, and
//! takes itself out of the media's way.

use std::net::SocketAddr;
use std::path::Path;

use loadtest::asterisk::{Managed, SearchPlaces, StartConfig, find};
use tokio::runtime::Runtime;

use crate::far_ends::{FarEnd, Plain};
use crate::harness::{PATIENCE, Place, ends_with};

/// Gates that do not depend on how fast the machine is.
const COUNTS: &str = r#"gates.require=["calls.answered == 100%", "calls.silent_count == 0", "calls.dropped_count == 0", "loss.count == 0"]"#;

/// Its endpoint, in the place of one without timers.
const ENDPOINT: [(&str, &str); 1] =
    [("timers = no\n", "100rel = required\ntimers = always\ntimers_min_se = 90\ntimers_sess_expires = 90\n")];

/// Extensions beside the plain ones: a 183 with a session description before the answer, and refreshes in mid-call.
const DIALPLAN: &str = "\
exten => early,1,Progress()\n same => n,Wait(1)\n same => n,Answer()\n same => n,Echo()\n
exten => update,1,Answer()\n same => n,Wait(1)\n same => n,Set(PJSIP_SEND_SESSION_REFRESH()=update)\n same => n,Echo()\n
exten => invite,1,Answer()\n same => n,Wait(1)\n same => n,Set(PJSIP_SEND_SESSION_REFRESH()=invite)\n same => n,Echo()\n\n";

struct Strict {
    runtime: Runtime,
    managed: Managed,
}

impl Strict {
    /// Starts one whose endpoints and dialplan are as given: lines of the endpoint, each with its replacement, and
    /// further extensions.
    fn start(place: &Place, endpoint: &[(&str, &str)], dialplan: &str) -> Self {
        let install = find::find(&SearchPlaces::from_environment(None)).unwrap_or_else(|e| panic!("{e}"));
        let mut config = StartConfig::new(install, place.path("strict-logs"));
        config.run_base = place.path("");
        config.ports.rtp = place.lane().asterisk();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let managed = runtime.block_on(Managed::start(config)).expect("Asterisk starts");
        let etc = managed.run_dir().join("etc");
        endpoint.iter().for_each(|(line, instead)| edit(&etc.join("pjsip.conf"), line, instead));
        edit(&etc.join("extensions.conf"), "; 486 Busy Here\n", dialplan);
        let strict = Strict { runtime, managed };
        for command in [
            "module load res_pjsip_history.so",
            "module load app_dial.so",
            "module reload res_pjsip.so",
            "dialplan reload",
        ] {
            strict.says(command);
        }
        let endpoint = strict.says("pjsip show endpoints");
        assert!(strict.says("pjsip set history on").contains("nabled"), "{endpoint}");
        strict
    }

    /// What a command on its console says.
    fn says(&self, command: &str) -> String {
        let output = self.managed.console().args(["-rx", command]).output().expect("a console");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Messages of this kind so far: `<==` are ours, `==>` Asterisk's.
    fn seen(&self, direction: &str, message: &str) -> usize {
        let history = self.says("pjsip show history");
        history.lines().filter(|line| line.contains(direction) && line.contains(message)).count()
    }

    /// Calls it, and holds the call for a while.
    fn call(&self, to: &str, duration: &str) {
        let place = Place::new();
        let account = self.managed.sip_account();
        let target = format!("asterisk.sip={}", self.managed.sip_addr());
        let (to, duration) = (format!("sip.to={to}"), format!("load.duration={duration}"));
        let set =
            ["asterisk.mode=external", &target, "service.mode=none", "load.calls=1", &to, &duration, COUNTS];
        let mut run = place.run("smoke", &set);
        ends_with(run.env("SIP_USER", &account.user).env("SIP_PASS", account.password.expose()), 0);
    }

    fn stop(self) {
        self.runtime.block_on(self.managed.stop(PATIENCE));
    }
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).expect("it is there");
    assert!(text.contains(from), "{}", file.display());
    std::fs::write(file, text.replacen(from, to, 1)).expect("it is ours");
}

#[test]
fn asterisk_that_wants_pracks_and_refreshes_has_its_way() {
    let place = Place::new();
    let strict = Strict::start(&place, &ENDPOINT, DIALPLAN);
    strict.call("early", "3s");
    assert_eq!(strict.seen("<==", "PRACK"), 1, "{}", strict.says("pjsip show history"));
    strict.call("update", "3s");
    assert_eq!(strict.seen("==>", "UPDATE"), 1, "{}", strict.says("pjsip show history"));
    strict.call("invite", "3s");
    assert_eq!(strict.seen("==>", "INVITE"), 1, "{}", strict.says("pjsip show history"));
    // Nothing of it was refused.
    assert_eq!(strict.seen("<==", "SIP/2.0 4"), 0, "{}", strict.says("pjsip show history"));
    strict.stop();
}

#[test]
fn a_session_with_asterisk_is_refreshed_at_half_of_its_interval() {
    let place = Place::new();
    let strict = Strict::start(&place, &ENDPOINT, DIALPLAN);
    strict.call("echo", "47s");
    let refreshes =
        strict.seen("<==", "UPDATE") + strict.seen("==>", "UPDATE") + strict.seen("==>", "INVITE");
    assert_eq!(refreshes, 1, "{}", strict.says("pjsip show history"));
    strict.stop();
}

/// Calls a far end through an Asterisk that stays in the media's way, or does not; the INVITEs that it sent.
fn through_asterisk(direct_media: &str) -> usize {
    let (place, far) = (Place::new(), FarEnd::start(Plain));
    let (direct, dialplan) = (format!("direct_media = {direct_media}\n"), dialplan_to(far.sip));
    // An endpoint of its own for the way out.
    let edits =
        [("direct_media = no\n", &*direct), ("[registered](!)\n", "[out](media)\n\n[registered](!)\n")];
    let asterisk = Strict::start(&place, &edits, &dialplan);
    asterisk.call("out", "4s");
    let invites = asterisk.seen("==>", "INVITE");
    assert_eq!(asterisk.seen("<==", "SIP/2.0 4"), 0, "{}", asterisk.says("pjsip show history"));
    asterisk.stop();
    far.stop();
    invites
}

fn dialplan_to(far: SocketAddr) -> String {
    format!("exten => out,1,Dial(PJSIP/out/sip:far@{far})\n\n")
}

#[test]
fn media_that_asterisk_sends_past_itself_are_measured_like_any_other() {
    assert_eq!(through_asterisk("no"), 1);
    // One into the call, and one to either side that moves the media; more if they come back at its end.
    assert!(through_asterisk("yes") >= 3);
}
