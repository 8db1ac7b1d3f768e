//! The judgement gives back what the service was told to do.

use super::*;

/// Responses of all turns but the last, which the call's end may have cut.
fn responses(held: &Held) -> Vec<Option<u64>> {
    let judged = held.talk.turns.len() - 1;
    held.talk.turns[..judged].iter().map(|turn| turn.response.map(|d| d.as_nanos() as u64)).collect()
}

#[test]
fn set_delays_come_back_to_the_nanosecond() {
    for delay in [|_| Some(200), |_| Some(700), |_| Some(1500), |turn: u32| Some(200 + u64::from(turn) * 37)]
    {
        for (ptime, rate_hz) in [(20, 8000), (10, 16_000), (30, 8000)] {
            let turns = vec![say(0), say(1)];
            let script = Arc::new(Script::new(turns, false, ms(15_000), prompts(rate_hz), rate_hz).unwrap());
            let held = call_at(&script, Manners { delay, ..Manners::default() }, 120, (ms(ptime), rate_hz));
            assert_all_but_last_fit(&held);
            let injected: Vec<_> = held.service.injected.iter().map(|d| d.map(|d| d * 1_000_000)).collect();
            let measured = responses(&held);
            assert!(measured.len() >= 20, "{}", measured.len());
            assert_eq!(measured, injected[..measured.len()]);
            assert!(held.talk.dead_air.is_empty() && held.talk.talk_over.is_zero());
            assert!(!held.talk.echoes_caller && !held.talk.never_speaks && held.talk.endless.is_none());
        }
    }
}

#[test]
fn turns_without_an_answer_are_told_apart() {
    let manners = Manners { delay: |turn| (turn % 3 != 1).then_some(400), ..Manners::default() };
    let held = call(&script(vec![say(0), say(1)], false), manners, 300);
    assert_all_but_last_fit(&held);
    let judged = held.talk.turns.len() - 1;
    assert!(judged > 30);
    for (turn, injected) in held.talk.turns[..judged].iter().zip(&held.service.injected) {
        assert_eq!(turn.no_reply, injected.is_none(), "{turn:?}");
        assert_eq!(turn.response, injected.map(ms), "{turn:?}");
        // The caller waits 15 s for it, in silence.
        let dead = held.talk.dead_air.iter().filter(|(from, _)| *from == turn.said_to).count();
        assert_eq!(dead, usize::from(injected.is_none()));
    }
}

#[test]
fn yields_come_back_and_the_interruption_is_answered() {
    let over = Turn { say: Some(1), interrupt_after: Some(ms(800)), ..Turn::default() };
    for yields_after in [150, 300, 590] {
        let manners = Manners { yields_after: Some(yields_after), ..Manners::default() };
        let held = call(&script(vec![say(0), over.clone()], false), manners, 120);
        assert_all_but_last_fit(&held);
        assert_eq!(held.spoken.missed, 0);
        let judged = &held.talk.turns[..held.talk.turns.len() - 1];
        let overs: Vec<_> = judged.iter().filter(|turn| turn.kind == UtteranceKind::Interruption).collect();
        assert!(overs.len() >= 12, "{}", overs.len());
        for turn in judged {
            assert_eq!(turn.response, Some(ms(700)), "{turn:?}");
        }
        for turn in overs {
            assert_eq!(turn.stop, Some(ms(yields_after)), "{turn:?}");
            assert_eq!(turn.talk_over, ms(yields_after));
            let begun = held.service.talk.iter().rfind(|part| part.from < turn.said_from).unwrap();
            let after = turn.said_from.since(begun.from);
            assert!(after >= ms(800) && after < ms(821), "{after:?}");
        }
    }
}

#[test]
fn a_service_that_does_not_yield_is_judged_by_its_own_end() {
    let over = Turn { say: Some(1), interrupt_after: Some(ms(800)), ..Turn::default() };
    let held = call(&script(vec![say(0), over], false), Manners::default(), 120);
    let overs = held.talk.turns.iter().filter(|turn| turn.kind == UtteranceKind::Interruption);
    for turn in overs.take(10) {
        let end = held.service.talk.iter().find(|part| part.to > turn.said_from).unwrap().to;
        assert_eq!(turn.stop, Some(end.since(turn.said_from)));
        assert_eq!(turn.discarded, Some(Discard::DoubleTalk));
    }
}

#[test]
fn backchannels_tell_false_stops() {
    let listener = Turn { backchannel: Some(2), ..say(0) };
    for (yields_after, is_false) in [(None, false), (Some(400), false), (Some(200), true)] {
        let manners = Manners { yields_after, answer: vec![(0, 4000)], ..Manners::default() };
        let held = call(&script(vec![listener.clone()], false), manners, 120);
        assert_all_but_last_fit(&held);
        let backs = held.talk.turns.iter().filter(|turn| turn.kind == UtteranceKind::Backchannel);
        let told: Vec<_> = backs.map(|turn| turn.false_stop).collect();
        assert!(told.len() >= 10);
        let judged = told.len() - 1;
        assert!(told[..judged].iter().all(|told| *told == Some(is_false)), "{yields_after:?} {told:?}");
        let mut says = held.talk.turns.iter().filter(|turn| turn.kind == UtteranceKind::Say);
        if !is_false {
            assert!(says.by_ref().take(8).all(|turn| turn.response == Some(ms(700))));
        }
    }
}

/// A stop is one by 300 ms of silence, whatever follows; a false stop is one by 700 ms, for the caller did not ask for it.
#[test]
fn a_service_that_talks_on_after_a_silence_has_stopped_by_its_length() {
    let over = Turn { say: Some(1), interrupt_after: Some(ms(800)), ..Turn::default() };
    let listener = Turn { backchannel: Some(2), ..say(0) };
    let judged = |turn: &Turn, kind: UtteranceKind, resumes_after: u64| {
        let manners = Manners {
            yields_after: Some(200),
            resumes_after: Some(resumes_after),
            answer: vec![(0, 4000)],
            ..Manners::default()
        };
        let held = call(&script(vec![say(0), turn.clone()], false), manners, 120);
        let last = held.talk.turns.len() - 1;
        let mut judged = held.talk.turns[..last].to_vec();
        judged.retain(|turn| turn.kind == kind);
        // The caller takes 700 ms for the end of the reply too, and goes on.
        assert!(!judged.is_empty(), "{resumes_after}");
        judged
    };
    for (resumes_after, stop) in [(290, 790), (310, 200), (600, 200)] {
        for turn in judged(&over, UtteranceKind::Interruption, resumes_after) {
            assert_eq!((turn.stop, turn.stop_discarded), (Some(ms(stop)), None), "{resumes_after}: {turn:?}");
        }
    }
    for (resumes_after, is_false) in [(310, false), (690, false), (710, true)] {
        for turn in judged(&listener, UtteranceKind::Backchannel, resumes_after) {
            assert_eq!(turn.false_stop, Some(is_false), "{resumes_after}: {turn:?}");
        }
    }
}

#[test]
fn a_filler_is_a_response_and_no_content() {
    let manners = Manners { answer: vec![(0, 300), (600, 2000)], ..Manners::default() };
    let held = call(&script(vec![say(0)], false), manners, 60);
    assert_all_but_last_fit(&held);
    for turn in &held.talk.turns[..held.talk.turns.len() - 1] {
        assert_eq!((turn.response, turn.content), (Some(ms(700)), Some(ms(1600))));
        let (from, to) = turn.reply.unwrap();
        assert_eq!((from.since(turn.said_to), to.since(from)), (ms(700), ms(2900)));
    }
}

#[test]
fn premature_answers_are_counted() {
    // It takes the pause of 600 ms for the end, answers in it, and yields to the second phrase.
    let manners = Manners { delay: |_| Some(250), yields_after: Some(200), ..Manners::default() };
    let held = call(&script(vec![say(3)], false), manners, 60);
    assert_all_but_last_fit(&held);
    assert!(held.talk.turns.len() > 8);
    for turn in &held.talk.turns[..held.talk.turns.len() - 1] {
        assert!(turn.premature);
        assert_eq!(turn.response, Some(ms(250)));
        assert_eq!(turn.talk_over, ms(200));
    }
    // It does not yield: its answer runs over the end, and nothing follows.
    let held = call(&script(vec![say(3)], false), Manners { delay: |_| Some(250), ..Manners::default() }, 60);
    for turn in &held.talk.turns[..held.talk.turns.len() - 1] {
        assert_eq!((turn.premature, turn.discarded, turn.no_reply), (true, Some(Discard::Premature), false));
    }
    // It waits for longer than the pause lasts.
    let patient = Manners { delay: |_| Some(700), ..Manners::default() };
    let held = call(&script(vec![say(0)], false), patient, 60);
    assert!(held.talk.turns.iter().all(|turn| !turn.premature));
}

#[test]
fn greetings() {
    let greets = Manners { greeting: Some((430, 1500)), ..Manners::default() };
    let held = call(&script(vec![say(0)], true), greets, 30);
    assert_eq!((held.talk.greeting, held.talk.no_greeting), (Some(ms(430)), false));
    let first = &held.talk.turns[0];
    let waited = first.said_from.since(at(430 + 1500));
    assert!(waited >= ms(700) && waited < ms(726), "{waited:?}");
    assert_eq!(first.response, Some(ms(700)));

    let held = call(&script(vec![say(0)], true), Manners::default(), 60);
    assert_eq!((held.talk.greeting, held.talk.no_greeting), (None, true));
    let (from, to) = held.talk.dead_air[0];
    assert_eq!((from, to.since(from)), (START, ms(15_000)));
}

#[test]
fn services_that_never_speak_or_never_stop() {
    let held = call(&script(vec![say(0)], false), Manners { delay: |_| None, ..Manners::default() }, 90);
    assert!(held.talk.never_speaks && held.talk.endless.is_none());
    let no_replies = held.talk.turns.iter().filter(|turn| turn.no_reply).count();
    assert_eq!(no_replies, held.talk.turns.len() - 1);

    let endless = Manners { greeting: Some((0, 10_000_000)), ..Manners::default() };
    let held = call(&script(vec![say(0)], true), endless.clone(), 200);
    assert!(held.talk.endless.is_some() && !held.talk.never_speaks);
    // The caller speaks over it after a minute; nothing can be judged, and nothing hangs.
    assert!(held.talk.turns.len() >= 2);
    assert!(held.talk.turns.iter().all(|turn| turn.response.is_none() && !turn.no_reply));
    let held = call(&script(vec![say(0)], true), endless, 12);
    assert!(held.talk.endless.is_some());
}

#[test]
fn an_echo_is_no_answer() {
    for delay in [40, 250, 800] {
        let turns = vec![say(0), say(3), Turn { wait: Wait::Nothing, pause: ms(900), ..say(1) }];
        let held = call(&script(turns, false), Manners { echo: Some(delay), ..Manners::default() }, 60);
        assert!(held.talk.echoes_caller, "{delay}");
        for turn in &held.talk.turns[..held.talk.turns.len() - 1] {
            assert_eq!(turn.response, None);
            assert_eq!(turn.discarded, turn.expects_reply.then_some(Discard::OwnEcho), "{turn:?}");
        }
        assert!(held.talk.talk_over.is_zero());
    }
}

#[test]
fn silence_in_the_service_s_turn_is_dead_air() {
    let manners = Manners { delay: |_| Some(3000), ..Manners::default() };
    let held = call(&script(vec![say(0)], false), manners, 60);
    let judged = &held.talk.turns[..held.talk.turns.len() - 1];
    let expected: Vec<_> = judged.iter().map(|turn| (turn.said_to, turn.said_to + ms(3000))).collect();
    assert_eq!(held.talk.dead_air[..judged.len()], expected);
    assert!(held.talk.dead_air.iter().all(|(_, to)| *to <= held.ended_at));
    // A second before two seconds, and one after.
    for (delay, count) in [(1999, 0), (2001, judged.len())] {
        let delays: fn(u32) -> Option<u64> = if delay == 1999 { |_| Some(1999) } else { |_| Some(2001) };
        let held = call(&script(vec![say(0)], false), Manners { delay: delays, ..Manners::default() }, 60);
        assert!(held.talk.dead_air.len() >= count);
        assert!(count > 0 || held.talk.dead_air.is_empty());
    }
}
