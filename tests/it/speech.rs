//! Quality of speech through a real Asterisk: a clean path scores as its codec does, loss costs, silence has no score.

use crate::harness::{Place, ends_with, rows, stderr};

const READ: [&str; 6] = [
    "media.mode=speech",
    "load.calls=2",
    "load.ramp=10/s",
    "load.duration=24s",
    "service.mode=builtin",
    r#"gates.require=["calls.answered == 100%","calls.silent_count == 0","speech_quality.count >= 2","speech_quality.unscored_count == 0"]"#,
];

/// The metrics of a run whose callers read aloud: the median score, and the share of audio that never came.
#[track_caller]
fn read_aloud(set: &[&str]) -> (f64, f64) {
    let place = Place::new();
    ends_with(&mut place.run("smoke", &[&READ[..], set].concat()), 0);
    let rows = rows(&place.out().join("quality.csv"));
    let scores =
        rows.iter().filter(|row| row["unscored"].is_empty()).map(|row| row["mos_lqo"].parse::<f64>());
    assert!(scores.into_iter().all(|mos| mos.is_ok_and(|mos| (1.0..4.6).contains(&mos))), "{rows:?}");
    let kept: Vec<_> = rows.iter().filter(|row| !row["audio"].is_empty()).collect();
    for row in &kept {
        let wav = std::fs::read(place.out().join(&row["audio"])).expect("audio of a passage");
        assert!(wav.starts_with(b"RIFF") && row["mos_lqo"].parse::<f64>().unwrap() < 4.0, "{row:?}");
    }
    assert_eq!(place.metric("rtt.p50"), serde_json::Value::Null, "no probe is sent");
    assert_eq!(place.metric("mos.plain"), serde_json::Value::Null, "the estimate is of probes");
    let figure = |name| place.metric(name).as_f64().unwrap_or_else(|| panic!("{name}: {rows:?}"));
    assert_eq!(kept.is_empty(), figure("speech_quality.min") >= 4.0, "the worst are kept: {rows:?}");
    (figure("speech_quality.p50"), figure("speech_quality.missing_ratio"))
}

#[test]
fn a_clean_path_scores_as_its_codec_and_loss_costs() {
    let (clean, missing) = read_aloud(&[]);
    assert!(clean >= 4.0 && missing < 0.01, "{clean}, {missing} missing");
    let (some, few) = read_aloud(&["impair.out.loss=5%"]);
    let (bad, many) = read_aloud(&["impair.out.loss=15%"]);
    assert!((0.02..0.1).contains(&few) && (0.08..0.25).contains(&many), "{few}, {many} missing");
    assert!(clean > some + 0.5 && some > bad + 0.2, "{clean} clean, {some} at 5 %, {bad} at 15 %");
}

#[test]
fn transcoding_costs_little() {
    let (mos, missing) = read_aloud(&["service.codec=G722", "media.codec=PCMA"]);
    assert!(mos >= 3.5 && missing < 0.01, "{mos}, {missing} missing");
}

/// Everything that goes out is lost, so nothing comes back.
#[test]
fn a_path_without_sound_has_no_score_and_ends_in_time() {
    let place = Place::new();
    let set = ["impair.out.loss=100%", "gates.require=[]"];
    ends_with(&mut place.run("smoke", &[&READ[..], &set].concat()), 0);
    assert_eq!(place.metric("speech_quality.unscored_ratio"), 1.0);
    assert_eq!(place.metric("speech_quality.count"), 0.0);
    let rows = rows(&place.out().join("quality.csv"));
    let reasons: Vec<_> = rows.iter().map(|row| row["unscored"].as_str()).collect();
    assert!(reasons.contains(&"silence"), "{reasons:?}");
    assert!(reasons.iter().all(|why| ["silence", "cut_off"].contains(why)), "{reasons:?}");
}

#[test]
fn what_cannot_be_read_aloud_is_refused_before_the_run() {
    for (set, words) in [
        (&["service.codec=G722"][..], "no probe survives"),
        (&["media.mode=speech", "media.codec=L16", "service.codec=PCMU"], "no coder for it"),
        (&["media.mode=speech", "load.duration=8s"], "does not end within a call"),
        (&["media.mode=speech", r#"speech.say=["nobody"]"#], "nobody cannot be read"),
        (&["media.mode=speech", "impair.back.loss=1%"], "impair.back"),
    ] {
        let place = Place::new();
        let mut run = place.run("smoke", set);
        let said = stderr(&ends_with(&mut run, 2));
        assert!(said.contains(words), "{set:?}: {said}");
    }
}
