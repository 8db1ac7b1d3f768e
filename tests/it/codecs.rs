//! Each codec through a real Asterisk, unchanged: no packet is lost, and none comes back as another one.

use crate::harness::{Place, ends_with};

const GATES: &str = r#"gates.require=["calls.answered == 100%","calls.dropped_count == 0","calls.silent_count == 0","loss.count == 0","corrupted.count == 0","other_payload.count == 0"]"#;

/// What is answered by `sip.to = "echo"`, without an application.
const ECHO: [&str; 2] = ["service.mode=none", "sip.to=echo"];

#[track_caller]
fn is_carried(codec: &str, set: &[&str]) {
    let (place, codec_set) = (Place::new(), format!("media.codec={codec}"));
    let plain = ["load.calls=3", "load.duration=3s", &codec_set, GATES];
    ends_with(&mut place.run("smoke", &[&plain[..], set].concat()), 0);
    assert_eq!(place.summary()["environment"]["codec"], codec);
    assert!(place.count("packets.sent") > 300, "{codec}");
}

#[test]
fn g722_is_carried_by_application_and_service() {
    is_carried("G722", &[]);
}

#[test]
fn g722_is_carried_by_an_echo_in_the_dialplan_at_other_packet_times() {
    is_carried("G722", &[&ECHO[..], &["media.ptime=40ms", "load.duration=5s"]].concat());
}

#[test]
fn opus_is_carried_by_an_echo_in_the_dialplan() {
    is_carried("opus", &ECHO);
}

#[test]
fn l16_is_carried_by_an_echo_in_the_dialplan() {
    is_carried("L16", &ECHO);
}
