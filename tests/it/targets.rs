//! One run over two real Asterisks: calls dealt in turn, figures by target, and the one that fares worse by name.

use std::fs;

use serde_json::Value;

use crate::harness::{Place, UsersAsterisk, ends_with, rows, stderr};

const CALLS: u64 = 20;
/// Password of ARI at both.
const ARI_PASS: &str = "one-for-both";

/// Two Asterisks that echo by themselves, each with a place of its own.
struct Two {
    places: [Place; 2],
    asterisks: [UsersAsterisk; 2],
}

impl Two {
    fn start() -> Two {
        let places = [Place::new(), Place::new()];
        let start = |n: usize| {
            UsersAsterisk::start_as(&places[n], &[], |mut command| {
                command.env("ARI_PASS", ARI_PASS);
                command
            })
        };
        let asterisks = [0, 1].map(start);
        Two { places, asterisks }
    }

    fn said(&self, name: &str) -> [String; 2] {
        [0, 1].map(|n: usize| self.asterisks[n].said(name).to_string())
    }

    /// Runs with these settings besides, as the first one's user; returns `summary.json`, and the answers' places.
    fn run(&self, set: &[String], code: i32) -> (Value, String) {
        let ([one, two], [ari, other]) = (self.said("SIP"), self.said("ARI_URL"));
        let far = [
            "asterisk.mode=external".to_string(),
            format!("asterisk.sip=[\"{one}\", \"{two}\"]"),
            format!("asterisk.ari=[\"{ari}\", \"{other}\"]"),
            "service.mode=none".into(),
            "sip.to=echo".into(),
            format!("load.calls={CALLS}"),
            "load.ramp=20/s".into(),
            "load.duration=2s".into(),
            // No line tries again: its next call would go to the other one.
            "load.retry_after=1h".into(),
            "limits.send_lateness_p99=1h".into(),
        ];
        let set: Vec<_> = far.iter().chain(set).map(String::as_str).collect();
        let place = &self.places[0];
        let mut command = place.run("smoke", &set);
        command.env("SIP_USER", &self.said("SIP_USER")[0]).env("SIP_PASS", &self.said("SIP_PASS")[0]);
        command.env("ARI_USER", &self.said("ARI_USER")[0]).env("ARI_PASS", ARI_PASS);
        let output = ends_with(&mut command, code);
        let summary = fs::read(place.out().join("summary.json")).expect("a summary");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        (serde_json::from_slice(&summary).expect("JSON"), said)
    }

    fn stop(self) {
        self.asterisks.into_iter().for_each(UsersAsterisk::stop);
    }
}

fn counts(target: &Value) -> [u64; 4] {
    ["attempts", "answered", "failed", "dropped"].map(|name| target[name].as_u64().expect("a count"))
}

#[test]
fn two_that_echo_have_half_of_the_calls_each_and_add_up_to_the_run() {
    let two = Two::start();
    // Account k is that of call k, and so of target k mod 2.
    let ([one, other], [its, others]) = (two.said("SIP_USER"), two.said("SIP_PASS"));
    let accounts = two.places[0].path("users.csv");
    fs::write(&accounts, format!("user,password\n{one},{its}\n{other},{others}\n")).expect("a file");
    let set = [
        format!("sip.accounts={}", accounts.display()),
        "gates.require=[\"calls.answered == 100%\", \"leaks == 0\"]".into(),
    ];
    let (summary, said) = two.run(&set, 0);
    let targets = summary["targets"].as_array().expect("a row each");
    assert_eq!(targets.iter().map(counts).collect::<Vec<_>>(), [[CALLS / 2, CALLS / 2, 0, 0]; 2], "{said}");
    // Each was asked before as the caller of its first call.
    assert!(!said.contains("it refuses user"), "{said}");
    let sum = |name: &str| targets.iter().map(|target| target[name].as_u64().expect(name)).sum::<u64>();
    assert_eq!(summary["metrics"]["packets"]["sent"].as_u64(), Some(sum("sent")));
    assert_eq!(summary["metrics"]["loss"]["count"].as_u64(), Some(sum("lost")));
    assert_eq!(summary["samples"]["rtt"].as_u64(), Some(sum("rtt_samples")));
    assert!(sum("sent") > CALLS * 50, "{summary}");
    assert!(
        targets.iter().all(|target| target["rtt_p50_ms"].is_number() && target["srd_p95_ms"].is_number())
    );
    // Both were asked for channels, while calls were up and after the last.
    let environment = &summary["environment"];
    assert_eq!(
        (&environment["observed"]["ari"]["callers"], &environment["leaks"]["unknown"]),
        (&CALLS.into(), &"".into())
    );
    // Media come from where each was called.
    let addresses = two.said("SIP");
    for (target, address) in targets.iter().zip(&addresses) {
        assert_eq!(target["address"].as_str(), Some(address.as_str()));
        assert!(said.contains(address.as_str()), "{said}");
    }
    let log = fs::read_to_string(two.places[0].out().join("rtt.hlog")).expect("a log");
    let tags = |tag: &str| log.lines().filter(|line| line.starts_with(&format!("Tag={tag},"))).count();
    assert_eq!([tags("rtt_target_0"), tags("rtt_target_1"), tags("rtt_target_2")], [1, 1, 0]);
    // The folder gives the same figures again.
    let again = two.places[0].path("again");
    let mut report = two.places[0].program();
    report.arg("report").arg(two.places[0].out()).arg("--out").arg(&again);
    ends_with(report.args(["--report", "json"]), 0);
    let read: Value = serde_json::from_slice(&fs::read(again.join("summary.json")).unwrap()).unwrap();
    assert_eq!(read["targets"], summary["targets"]);
    two.stop();
}

#[test]
fn one_that_refuses_every_call_is_named_and_the_other_is_measured() {
    let two = Two::start();
    let (summary, said) = two.run(&["gates.require=[\"calls.answered == 100%\"]".into()], 10);
    let targets = summary["targets"].as_array().expect("a row each");
    let half = CALLS / 2;
    assert_eq!(counts(&targets[0]), [half, half, 0, 0], "{said}");
    assert_eq!(counts(&targets[1]), [half, 0, half, 0], "{said}");
    assert!(targets[1]["rtt_p50_ms"].is_null() && targets[0]["rtt_p50_ms"].is_number());
    let calls = rows(&two.places[0].out().join("calls.csv"));
    let of_second = calls.iter().filter(|call| call["call"].parse::<u64>().expect("a number") % 2 == 1);
    assert!(
        of_second.clone().count() as u64 == half
            && of_second.into_iter().all(|call| call["ending"] == "auth_failed")
    );
    let finding = &summary["findings"][0];
    let bad = &two.said("SIP")[1];
    assert_eq!(finding["name"], "target_failing", "{said}");
    assert!(finding["what"].as_str().expect("words").contains(bad.as_str()), "{finding}");
    assert_eq!(summary["environment"]["broken"], "");
    // It was said before the first call.
    assert!(said.contains(&format!("warning: asterisk.sip, {bad}: it refuses user")), "{said}");
    two.stop();
}
