//! Delay of audio through a real Asterisk, by bursts: what was injected comes back, transcoded or not.

use crate::harness::{Place, ends_with, rows, stderr};

const BURSTS: [&str; 6] = [
    "media.mode=signal",
    "signal.every=700ms",
    "load.calls=2",
    "load.ramp=10/s",
    "load.duration=8s",
    r#"gates.require=["calls.answered == 100%","calls.silent_count == 0","signal_delay.count >= 8","signal_delay.rejected_ratio == 0%"]"#,
];

/// On a machine that is busy a mixer drops what comes late, and coders blur what follows a gap: some bursts are not found then.
const MOST_FOUND: &str =
    r#"gates.require=["calls.answered == 100%","calls.silent_count == 0","signal_delay.count >= 4"]"#;

/// Least and median delay of calls that play bursts.
#[track_caller]
fn delays(set: &[&str]) -> (f64, f64) {
    let place = Place::new();
    ends_with(&mut place.run("smoke", &[&BURSTS[..], set].concat()), 0);
    let rows = rows(&place.out().join("signals.csv"));
    let peaks = rows.iter().filter(|row| row["rejected"].is_empty()).map(|row| row["peak"].parse::<f64>());
    assert!(peaks.into_iter().all(|peak| peak.is_ok_and(|peak| (0.7..=1.0).contains(&peak))), "{rows:?}");
    let of_call = |call| rows.iter().filter(|row| row["call"] == call).count();
    assert!(of_call("0") > 0 && of_call("1") > 0, "{rows:?}");
    assert_eq!(place.metric("rtt.p50"), serde_json::Value::Null, "no probe is sent");
    assert_eq!(place.metric("signal_delay.inverted_count"), 0.0);
    let ms = |name| place.metric(name).as_f64().unwrap_or_else(|| panic!("{name}: {rows:?}"));
    (ms("signal_delay.min"), ms("signal_delay.p50"))
}

#[test]
fn a_delay_set_comes_back_in_the_audio() {
    let (least, median) = delays(&["service.delay=80ms", "driver.lanes=2"]);
    assert!(least >= 80.0 && median < 120.0, "{least} ms, median {median} ms, set were 80");
}

#[test]
fn transcoding_there_and_back_takes_its_own_delay_beside_the_injected_one() {
    let (plain, _) = delays(&["media.codec=PCMA"]);
    let (transcoded, _) = delays(&["service.codec=G722"]);
    // The filters of G.722 alone take 3 ms each way.
    assert!(transcoded > plain + 4.0, "{plain} ms plain, {transcoded} ms through G.722");
    let (delayed, _) = delays(&["service.codec=G722", "service.delay=80ms"]);
    let added = delayed - transcoded;
    assert!((70.0..120.0).contains(&added), "{added} ms more, set were 80");
}

#[test]
fn callers_in_another_codec_than_the_service_are_measured_too() {
    let (plain, _) = delays(&["media.codec=PCMU"]);
    for codec in ["G722", "opus"] {
        let callers = format!("media.codec={codec}");
        let (transcoded, _) = delays(&[&callers, "service.codec=PCMU", MOST_FOUND]);
        // The two coders at the caller's own end take 1.4 and 6.5 ms of that.
        assert!(transcoded > plain + 1.0, "{plain} ms plain, {transcoded} ms for callers in {codec}");
        let (delayed, _) = delays(&[&callers, "service.codec=PCMU", "service.delay=80ms", MOST_FOUND]);
        let added = delayed - transcoded;
        assert!((70.0..120.0).contains(&added), "{codec}: {added} ms more, set were 80");
    }
}

/// The mixer has a clock of its own of 20 ms, the fixed buffer 200 ms: each of them costs time that a bridge of two does not.
#[test]
fn the_mixer_and_a_jitter_buffer_cost_their_time() {
    let (plain, _) = delays(&[]);
    let (_, mixed) = delays(&["asterisk.bridge=softmix", MOST_FOUND]);
    assert!(mixed > plain + 5.0, "{plain} ms plain, {mixed} ms mixed");
    let (buffered, _) = delays(&["asterisk.jitter_buffer=fixed", MOST_FOUND]);
    assert!(buffered > plain + 100.0, "{plain} ms plain, {buffered} ms through the fixed buffer");
}

#[test]
fn bursts_come_back_through_audiosocket() {
    let (least, _) = delays(&["service.media=audiosocket", "service.delay=40ms"]);
    assert!(least >= 40.0, "{least} ms, set were 40");
}

#[test]
fn combinations_that_measure_nothing_are_refused_before_the_run() {
    for (set, words) in [
        (&["service.codec=G722"][..], "media.mode = \"signal\""),
        (&["media.mode=signal", "service.codec=opus"], "Asterisk drops"),
        (&["media.mode=signal", "media.codec=L16", "service.codec=PCMU"], "no coder for it"),
        (&["media.codec=opus"], "service.codec = \"PCMU\""),
        (&["asterisk.bridge=softmix"], "no probe survives being mixed"),
        (&["media.mode=signal", "signal.every=100ms"], "signal.every"),
        (&["media.mode=signal", "service.codec=PCMA", "service.media=audiosocket"], "over RTP"),
    ] {
        let place = Place::new();
        let mut run = place.run("smoke", set);
        let said = stderr(&ends_with(&mut run, 2));
        assert!(said.contains(words), "{set:?}: {said}");
    }
}
