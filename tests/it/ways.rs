//! The built-in service's ways besides RTP through a real Asterisk: AudioSocket and chan_websocket.

use serde_json::Value;

use crate::harness::{Place, ends_with, stderr};

const GATES: &str = r#"gates.require=["calls.answered == 100%","calls.dropped_count == 0","calls.silent_count == 0","loss.count == 0","corrupted.count == 0"]"#;

/// Plays calls whose media go by `way`; returns the service's own record.
#[track_caller]
fn service_of(place: &Place, way: &str, set: &[&str]) -> Value {
    let way = format!("service.media={way}");
    let calls = ["load.calls=3", "load.duration=4s", &way];
    ends_with(&mut place.run("smoke", &[&calls[..], set].concat()), 0);
    place.summary()["environment"]["service_record"].clone()
}

#[track_caller]
fn is_echoed(way: &str, set: &[&str]) {
    let place = Place::new();
    let service = service_of(&place, way, &[&[GATES], set].concat());
    let links = &service["links"];
    assert_eq!(
        (&links["connected"], &links["broken"], &links["failed"]),
        (&3.into(), &0.into(), &0.into()),
        "{links}"
    );
    assert_eq!(service["calls"]["left_behind"], 0);
    assert!(place.count("packets.sent") > 400, "{way}");
    assert_eq!(place.count("packets.sent"), place.count("packets.received"), "{way}");
}

#[test]
fn every_probe_comes_back_through_audiosocket_in_mu_law() {
    is_echoed("audiosocket", &[]);
}

#[test]
fn every_probe_comes_back_through_audiosocket_in_a_law_and_longer_packets() {
    is_echoed("audiosocket", &["media.codec=PCMA", "media.ptime=40ms", "load.duration=8s"]);
}

#[test]
fn every_probe_comes_back_through_a_websocket() {
    is_echoed("websocket", &[]);
}

#[test]
fn a_delay_set_comes_back_as_service_time_through_audiosocket() {
    let place = Place::new();
    service_of(&place, "audiosocket", &[GATES, "service.delay=80ms"]);
    let p50 = place.metric("service_time.p50").as_f64().expect("the service stamps");
    assert!(p50 >= 80.0, "{p50} ms in the service");
}

#[test]
fn ways_that_cannot_be_are_refused_before_the_run() {
    for (set, words) in [
        (&["service.media=websocket", "media.ptime=40ms"][..], "20 ms"),
        (&["service.media=audiosocket", "media.codec=G722"], "PCMU"),
        (&["service.media=websocket", "service.mode=none", "sip.to=echo"], "without a service"),
        (&["service.media=audiosocket", "service.echo=127.0.0.1:4000"], "service.echo"),
    ] {
        let place = Place::new();
        let mut run = place.run("smoke", set);
        let said = stderr(&ends_with(&mut run, 2));
        assert!(said.contains(words), "{set:?}: {said}");
    }
}
