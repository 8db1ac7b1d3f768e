//! Conversations with the built-in service's bot through a real Asterisk: its manners come back as they were set.

use std::collections::HashMap;
use std::path::Path;

use crate::harness::{Browser, Place, comes_to_be, ends_with, rows, stderr};

const TALK: [&str; 3] = ["media.mode=conversation", "load.calls=2", "load.ramp=10/s"];
const GATES: &str =
    r#"gates.require=["calls.answered == 100%","calls.dropped_count == 0","calls.silent_count == 0"]"#;

type Rows = Vec<HashMap<String, String>>;

/// Plays calls that talk; returns their turns.
#[track_caller]
fn turns(place: &Place, set: &[&str]) -> Rows {
    ends_with(&mut place.run("smoke", &[&TALK[..], &[GATES], set].concat()), 0);
    rows(&place.out().join("turns.csv"))
}

fn number(row: &HashMap<String, String>, column: &str) -> Option<f64> {
    row[column].parse().ok()
}

/// The median of a column, of the turns that have it.
fn median(turns: &Rows, column: &str) -> f64 {
    let mut all: Vec<f64> = turns.iter().filter_map(|turn| number(turn, column)).collect();
    assert!(all.len() >= 2, "{column}: {turns:?}");
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Asserts that a set time comes back: never earlier, and not by much later, in proportion, on whatever machine.
#[track_caller]
fn comes_back(turns: &Rows, column: &str, set_ms: f64) {
    let got = median(turns, column);
    assert!((set_ms - 2.0..set_ms * 1.5).contains(&got), "{column}: {got} ms, set were {set_ms}");
}

#[test]
fn a_set_delay_and_a_set_yield_come_back() {
    let place = Place::new();
    let script = [
        "turn=[{say='hello'},{say='hello',interrupt_after='800ms'}]",
        "service.talk.delay=700ms",
        "service.talk.yields_after=400ms",
        "driver.lanes=2",
        "load.duration=16s",
    ];
    let turns = turns(&place, &script);
    comes_back(&turns, "response_ms", 700.0);
    comes_back(&turns, "stop_ms", 400.0);
    let talk = place.summary()["environment"]["service_record"]["talk"].clone();
    assert_eq!((&talk["kept_silent"], &talk["talked_through"]), (&0.into(), &0.into()), "{talk}");
    assert!(talk["yielded"].as_u64() >= Some(2), "{talk}");
    assert_eq!(place.metric("turn.no_reply_ratio"), 0.0);
    assert_eq!(place.metric("rtt.p50"), serde_json::Value::Null, "no probe is sent");
}

#[test]
fn a_set_delay_comes_back_through_audiosocket() {
    let place = Place::new();
    let turns = turns(
        &place,
        &[
            "service.media=audiosocket",
            "service.talk.delay=900ms",
            "turn=[{say='hello'}]",
            "load.duration=14s",
        ],
    );
    comes_back(&turns, "response_ms", 900.0);
}

#[test]
fn a_set_delay_comes_back_through_a_websocket() {
    let place = Place::new();
    let turns = turns(
        &place,
        &["service.media=websocket", "service.talk.delay=900ms", "turn=[{say='hello'}]", "load.duration=14s"],
    );
    comes_back(&turns, "response_ms", 900.0);
}

#[test]
fn a_service_that_stays_silent_is_a_turn_without_a_reply_and_a_greeting_is_timed() {
    let place = Place::new();
    let turns = turns(
        &place,
        &[
            "turn=[{say='hello'}]",
            "conversation.greeting=true",
            "conversation.reply_within=3s",
            "service.talk.greeting=true",
            "service.talk.silent_share=100%",
            "load.duration=14s",
        ],
    );
    let of = |kind: &str| turns.iter().filter(|turn| turn["kind"] == kind).collect::<Vec<_>>();
    let greeted = of("greeting");
    assert_eq!(greeted.len(), 2, "{turns:?}");
    assert!(greeted.iter().all(|turn| number(turn, "response_ms").is_some()), "{greeted:?}");
    let said: Vec<_> = of("say").into_iter().filter(|turn| turn["discarded"].is_empty()).collect();
    assert!(said.len() >= 2 && said.iter().all(|turn| turn["no_reply"] == "true"), "{said:?}");
}

#[test]
fn digits_are_heard_and_answered() {
    let place = Place::new();
    // Asterisk's externalMedia over RTP hands none on.
    let way = "service.media=audiosocket";
    let turns = turns(&place, &["turn=[{dtmf='1#'}]", way, "service.talk.delay=700ms", "load.duration=12s"]);
    assert!(
        turns.iter().any(|turn| turn["kind"] == "dtmf" && number(turn, "response_ms").is_some()),
        "{turns:?}"
    );
    let talk = place.summary()["environment"]["service_record"]["talk"].clone();
    assert!(talk["digits"].as_u64() >= Some(4), "{talk}");
}

#[test]
fn a_backchannel_stops_no_bot_that_waits_longer_and_a_filler_is_no_content() {
    let place = Place::new();
    let turns = turns(
        &place,
        &[
            "turn=[{say='hello'},{backchannel='mhm'}]",
            "service.talk.filler=true",
            "service.talk.yields_after=500ms",
            "load.duration=16s",
        ],
    );
    let backchannels: Vec<_> = turns.iter().filter(|turn| turn["kind"] == "backchannel").collect();
    assert!(!backchannels.is_empty(), "{turns:?}");
    assert!(backchannels.iter().all(|turn| turn["false_stop"] != "true"), "{backchannels:?}");
    let answered: Vec<_> = turns.iter().filter(|turn| number(turn, "content_ms").is_some()).collect();
    assert!(!answered.is_empty(), "{turns:?}");
    for turn in answered {
        assert!(number(turn, "content_ms") > number(turn, "response_ms"), "{turn:?}");
    }
}

#[test]
fn prompts_and_turns_that_cannot_be_are_refused_before_the_run() {
    let place = Place::new();
    std::fs::write(place.path("no.wav"), b"RIFF....").unwrap();
    let file = format!("turn=[{{say='{}'}}]", place.path("no.wav").display());
    for (set, words) in [
        (&["turn=[{say='nobody'}]"][..], "hello"),
        (&[file.as_str()], "WAV"),
        (&["turn=[{dtmf='1x'}]"], "0-9"),
        (&["turn=[{wait='nothing'}]"], "does nothing"),
        (&["media.codec=G722"], "G.711"),
    ] {
        let set = [&["media.mode=conversation", "service.talk.delay=700ms"][..], set].concat();
        let said = stderr(&ends_with(&mut place.run("smoke", &set), 2));
        assert!(said.contains(words), "{set:?}: {said}");
    }
    let echo = ["media.mode=conversation"];
    let said = stderr(&ends_with(&mut place.run("smoke", &echo), 2));
    assert!(said.contains("[service.talk]"), "{said}");
}

/// Names of a run's findings.
fn findings(place: &Place) -> Vec<String> {
    let found = place.summary()["findings"].as_array().cloned().unwrap_or_default();
    found.iter().filter_map(|finding| finding["name"].as_str().map(String::from)).collect()
}

#[test]
fn a_bot_that_never_speaks_is_named_so_where_its_silence_comes_and_where_nothing_does() {
    for (between, name) in [("silence", "never_speaks"), ("nothing", "silent")] {
        let place = Place::new();
        let between = format!("service.talk.between={between}");
        let set = [
            "turn=[{say='hello'}]",
            "conversation.reply_within=2s",
            "service.talk.silent_share=100%",
            between.as_str(),
            "load.duration=8s",
        ];
        ends_with(&mut place.run("smoke", &[&TALK[..], &["gates.require=[]"], &set].concat()), 0);
        assert_eq!(findings(&place), [name]);
        let turns = rows(&place.out().join("turns.csv"));
        assert_eq!(turns.iter().filter(|turn| turn["kind"] == "mute").count(), 2, "{turns:?}");
    }
}

/// Plays calls that are no conversation; asserts their one finding, and that each of them is named by this kind.
#[track_caller]
fn are_named(set: &[&str], code: i32, (name, kind): (&str, &str)) {
    let place = Place::new();
    let set = [&TALK[..], &["gates.require=[]", "turn=[{say='hello'}]"], set].concat();
    ends_with(&mut place.run("smoke", &set), code);
    assert_eq!(findings(&place), [name]);
    let turns = rows(&place.out().join("turns.csv"));
    assert_eq!(turns.iter().filter(|turn| turn["kind"] == kind).count(), 2, "{turns:?}");
    assert_eq!(place.metric("calls.dropped_count"), 0.0);
}

#[test]
fn a_bot_that_never_stops_is_named_so() {
    let set = ["service.talk.ends=false", "service.talk.delay=200ms", "load.duration=24s"];
    // No turn ends in the measured window, so nothing is known of any.
    are_named(&set, 12, ("speaks_without_end", "endless"));
}

#[test]
fn an_echo_in_the_place_of_a_bot_is_named_so() {
    are_named(&["sip.to=echo", "service.mode=none", "load.duration=12s"], 0, ("own_voice", "own_voice"));
}

/// Samples of both sides of a stereo WAV of 8 kHz and 16 bit.
fn sides(wav: &[u8]) -> [Vec<i16>; 2] {
    assert_eq!((&wav[..4], &wav[22..28]), (&b"RIFF"[..], &[2, 0, 0x40, 0x1F, 0, 0][..]));
    let frames = wav[44..].chunks_exact(4);
    let side = |n: usize| frames.clone().map(|f| i16::from_le_bytes([f[n], f[n + 1]])).collect();
    [side(0), side(2)]
}

/// Milliseconds from the end of the left side's speech to the onset of the right's that follows `said_to` seconds in.
fn gap_ms([left, right]: &[Vec<i16>; 2], said_to: f64) -> f64 {
    let is_loud = |sample: &i16| sample.unsigned_abs() > 300;
    let after = ((said_to - 0.05) * 8000.0) as usize;
    let onset = after + right[after..].iter().position(is_loud).expect("an answer");
    let end = left[..onset].iter().rposition(is_loud).expect("a question") + 1;
    (onset - end) as f64 / 8.0
}

#[test]
fn the_worst_turns_can_be_heard_and_what_one_hears_is_what_was_measured() {
    let place = Place::new();
    let script = [
        "turn=[{say='hello'},{say='hello',interrupt_after='800ms'}]",
        "service.talk.delay=700ms",
        "service.talk.yields_after=400ms",
        "service.talk.delay_to=1200ms",
        "load.duration=16s",
        "capture.calls=[1]",
    ];
    let turns = turns(&place, &script);
    let talk = rows(&place.out().join("talk.csv"));
    let heads: Vec<_> = talk.iter().filter(|row| row["side"] == "excerpt").collect();
    let of = |why: &str| heads.iter().filter(|row| row["why"] == why).count();
    assert!(of("longest_response") >= 2 && of("longest_stop") >= 1 && of("named") == 1, "{heads:?}");
    let told = place.summary()["excerpts"].clone();
    assert_eq!(told.as_array().map(Vec::len), Some(heads.len()), "{told}");
    for (head, line) in heads.iter().zip(told.as_array().unwrap()) {
        assert_eq!(line["audio"].as_str(), Some(head["audio"].as_str()));
        let audio = sides(&std::fs::read(place.out().join(&head["audio"])).unwrap());
        let (from, to) = (number(head, "from_s").unwrap(), number(head, "to_s").unwrap());
        assert!((audio[0].len() as f64 / 8000.0 - (to - from)).abs() < 0.01);
        if head["why"] == "longest_response" {
            let is_own = |turn: &&HashMap<String, String>| {
                ["call", "turn"].iter().all(|key| turn[*key] == head[*key])
                    && number(turn, "response_ms").is_some()
            };
            let turn = turns.iter().find(is_own).unwrap();
            let gap = gap_ms(&audio, number(turn, "said_to_s").unwrap() - from);
            let measured = number(turn, "response_ms").unwrap();
            assert!((gap - measured).abs() < 6.0, "{gap} ms are heard, {measured} were measured");
        }
    }
    let page = std::fs::read_to_string(place.out().join("report.html")).unwrap();
    assert_eq!(page.matches("<audio ").count(), heads.len());

    // The stored run tells the same, elsewhere too.
    let again = place.path("again");
    let from = place.out();
    let report = |out: &Path| {
        let mut report = place.program();
        report.args(["report", "--quiet", "--out"]).arg(out).arg(&from);
        report
    };
    ends_with(&mut report(&again), 0);
    for head in &heads {
        let [one, other] = [&from, &again].map(|folder| std::fs::read(folder.join(&head["audio"])).unwrap());
        assert_eq!(one, other);
    }
    let shown = std::fs::read_to_string(again.join("report.html")).unwrap();
    assert_eq!(shown.matches("<figure ").count(), page.matches("<figure ").count());
    assert!(again.join("plots/worst-turns.png").exists() && again.join("plots/turns-over-time.png").exists());

    let file = from.join("report.html");
    let mut browser = Browser::start();
    browser.shape(1280, "light");
    browser.open(&file);
    // Nothing is fetched before somebody wants to hear it.
    let complaints = browser.complaints(&file);
    assert!(complaints.is_empty(), "{complaints:#?}");
    browser.value("const sound = document.querySelector('audio'); sound.preload = 'auto'; sound.load()");
    assert!(comes_to_be(|| browser.value("sound.duration").as_f64() > Some(1.0)), "the page plays it");

    // Where the audio cannot be written, all else is.
    let barred = place.path("barred");
    std::fs::create_dir(&barred).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), barred.join("audio")).unwrap();
    let said = stderr(&ends_with(&mut report(&barred), 1));
    assert!(said.contains("audio"), "{said}");
    for name in ["calls.csv", "turns.csv", "talk.csv", "summary.json", "report.html"] {
        assert!(barred.join(name).exists(), "{name}");
    }
}

#[test]
fn without_captures_no_audio_is_kept_and_the_pictures_are_there() {
    let place = Place::new();
    let script =
        ["turn=[{say='hello'}]", "service.talk.delay=700ms", "load.duration=10s", "capture.seconds=0s"];
    turns(&place, &script);
    let talk = rows(&place.out().join("talk.csv"));
    assert!(!talk.is_empty() && talk.iter().all(|row| row["audio"].is_empty()), "{talk:?}");
    assert!(!place.out().join("audio").exists());
    let page = std::fs::read_to_string(place.out().join("report.html")).unwrap();
    assert!(page.contains("id=\"worst-turns\"") && !page.contains("<audio "));
}
