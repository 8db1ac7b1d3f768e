//! Inputs that make no sense: no panic, no hang, figures within the call.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// Stamps around a call, and at both ends of time.
fn stamps() -> impl Strategy<Value = Stamp> {
    prop_oneof![
        8 => (0..20_000u64).prop_map(at),
        1 => any::<u64>().prop_map(Stamp::from_ns),
        1 => Just(Stamp::from_ns(u64::MAX)),
        1 => Just(Stamp::ZERO),
    ]
}

fn spans(most: usize) -> impl Strategy<Value = Vec<(Stamp, Stamp)>> {
    vec((stamps(), stamps()), 0..most)
}

fn utterances() -> impl Strategy<Value = Vec<Utterance>> {
    let kind = prop_oneof![
        Just(UtteranceKind::Say),
        Just(UtteranceKind::Interruption),
        Just(UtteranceKind::Backchannel),
        Just(UtteranceKind::Dtmf),
    ];
    let one = (stamps(), stamps(), spans(4), kind, any::<(bool, bool)>());
    let one = one.prop_map(|(from, to, pauses, kind, (expects_reply, cut))| Utterance {
        turn: 0,
        entry: 0,
        kind,
        from,
        to,
        pauses: pauses.into_iter().map(|(from, to)| Pause { from, to }).collect(),
        expects_reply,
        cut,
    });
    vec(one, 0..12)
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![8 => (0..3000u64).prop_map(ms), 1 => Just(Duration::MAX), 1 => Just(Duration::ZERO)]
}

fn turns() -> impl Strategy<Value = Turn> {
    let wait = prop_oneof![Just(Wait::Reply), Just(Wait::Nothing)];
    let dtmf = option::of(prop_oneof![Just("1#"), Just("0")]);
    let prompt = || option::of(0..5usize);
    let one = (prompt(), wait, option::of(durations()), durations(), prompt(), dtmf);
    one.prop_map(|(say, wait, interrupt_after, pause, backchannel, dtmf)| Turn {
        say,
        wait,
        interrupt_after,
        pause,
        backchannel,
        dtmf: dtmf.map(|text| text.parse().unwrap()),
    })
}

fn lives() -> impl Strategy<Value = Live> {
    (any::<bool>(), option::of(stamps()), option::of(stamps()), any::<u32>()).prop_map(
        |(speaking, began_at, voiced_until, segments)| Live { speaking, began_at, voiced_until, segments },
    )
}

proptest! {
    #[test]
    fn any_call_is_judged(
        utterances in utterances(), service in spans(12), gaps in spans(6), echoes in spans(3),
        (answered_at, ended_at) in (stamps(), stamps()), reply_within in durations(), wants_greeting: bool,
    ) {
        let service: Vec<_> = service.into_iter().map(|(from, to)| Segment { from, to }).collect();
        let spoken = Spoken { utterances, ..Spoken::default() };
        let rules = TalkRules { answered_at, ended_at, reply_within, wants_greeting, echoes };
        let talk = judge(&spoken, &service, &gaps, &rules);
        prop_assert_eq!(talk.turns.len(), spoken.utterances.len());
        prop_assert!(talk.dead_air.iter().all(|(from, to)| *from >= answered_at && *to <= ended_at && from < to));
        for turn in &talk.turns {
            let reading = usize::from(turn.response.is_some()) + usize::from(turn.no_reply)
                + usize::from(turn.discarded.is_some());
            prop_assert_eq!(reading, usize::from(turn.expects_reply), "{:?}", turn);
            prop_assert!(turn.response.is_none_or(|response| response <= reply_within));
            prop_assert!(turn.content.is_none_or(|content| Some(content) >= turn.response));
            prop_assert!(turn.stop.is_none() || turn.stop_discarded.is_none());
        }
        let mut other_order = service.clone();
        other_order.reverse();
        prop_assert_eq!(judge(&spoken, &other_order, &gaps, &rules), talk);
    }

    #[test]
    fn any_view_of_the_service_is_borne(
        turns in vec(turns(), 1..4), greeting: bool, lives in vec(lives(), 1..6), starts_after in durations(),
        (ptime_ms, clock_hz) in (0..200u64, any::<u32>()), sent in vec((stamps(), 0..400usize), 1..300),
    ) {
        let Ok(script) = Script::new(turns, greeting, ms(1000), prompts(8000), 8000) else { return Ok(()) };
        let mut caller = Caller::new(Arc::new(script), starts_after, ms(ptime_ms), clock_hz);
        let mut out = [7; 400];
        for (n, (now, samples)) in sent.iter().enumerate() {
            let frame = caller.next(*now, lives[n % lives.len()], &mut out[..*samples]);
            prop_assert!(frame == Frame::Audio || out[..*samples].iter().all(|sample| *sample == 0));
        }
        let spoken = caller.finish();
        prop_assert!(spoken.utterances.len() <= sent.len());
    }
}
