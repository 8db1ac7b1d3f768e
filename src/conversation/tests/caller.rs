//! Packets of callers: loops, pauses, digits, stamps.

use super::*;

#[test]
fn stamps_are_those_of_the_voiced_samples() {
    let held = call(&script(vec![say(0)], false), Manners::default(), 10);
    let first = &held.spoken.utterances[0];
    let (sent_at, _) = held.frames[0];
    assert_eq!(first.from, sent_at + time_of(37, 8000));
    // Sample 37 + 9611 = 9648 is one past the last voiced one: sample 48 of packet 60.
    assert_eq!(first.to, held.frames[60].0 + time_of(48, 8000));
    let pausing = call(&script(vec![say(3)], false), Manners::default(), 10);
    let (said, packet) = (&pausing.spoken.utterances[0], |n: usize| pausing.frames[n].0);
    assert_eq!(
        said.pauses,
        [Pause { from: packet(35) + time_of(3, 8000), to: packet(65) + time_of(3, 8000) }]
    );
}

#[test]
fn an_end_at_a_packet_s_end_is_in_that_packet() {
    let exact = vec![clip(8000, &[0, 1600])];
    let script = Arc::new(Script::new(vec![say(0)], false, ms(15_000), exact, 8000).unwrap());
    let held = call(&script, Manners::default(), 3);
    assert_eq!(held.spoken.utterances[0].to, held.frames[9].0 + ms(20));
    assert_eq!(held.frames[9].1, Frame::Audio);
    assert_eq!(held.frames[10].1, Frame::Silence);
}

#[test]
fn the_script_begins_anew_until_the_call_ends() {
    let held = call(&script(vec![say(0), say(1), say(2)], false), Manners::default(), 60);
    let told: Vec<_> = held.spoken.utterances.iter().map(|said| (said.turn, said.entry)).collect();
    assert!(told.len() > 10);
    let expected: Vec<_> = (0..told.len() as u32).map(|n| (n, n % 3)).collect();
    assert_eq!(told, expected);
}

#[test]
fn pauses_and_turns_without_waiting() {
    let turns = vec![
        Turn { wait: Wait::Nothing, ..say(1) },
        Turn { wait: Wait::Nothing, pause: ms(500), ..say(1) },
        Turn { pause: ms(300), ..Turn::default() },
    ];
    let held = call(&script(turns, false), Manners { delay: |_| None, ..Manners::default() }, 10);
    let [first, second] = &held.spoken.utterances[..] else { panic!("{:?}", held.spoken) };
    let between = second.from.since(first.to);
    assert!(between >= ms(500) && between < ms(535), "{between:?}");
    // The mute entry waits for the reply to the second one.
    assert!(!first.expects_reply && second.expects_reply);
}

#[test]
fn digits_go_out_as_events_and_are_answered() {
    let turns = vec![Turn { dtmf: Some("1#".parse().unwrap()), ..Turn::default() }];
    let held = call(&script(turns, false), Manners::default(), 2);
    let codes: Vec<_> = held
        .frames
        .iter()
        .map(|(_, frame)| match frame {
            Frame::Event(event) if event.is_first => 'F',
            Frame::Event(event) if event.is_end => 'E',
            Frame::Event(_) => '.',
            Frame::Silence => '_',
            Frame::Audio => 'A',
        })
        .collect();
    assert!(codes.iter().collect::<String>().starts_with("F...EEE___F...EEE___"));
    let said = &held.spoken.utterances[0];
    assert_eq!((said.kind, said.from), (UtteranceKind::Dtmf, held.frames[0].0));
    assert_eq!(said.to, held.frames[14].0 + ms(20));
    assert!(said.expects_reply);
}

#[test]
fn digits_follow_the_prompt_and_take_its_reply() {
    let turns = vec![Turn { dtmf: Some("5".parse().unwrap()), ..say(1) }];
    let held = call(&script(turns, false), Manners { delay: |_| None, ..Manners::default() }, 3);
    let [prompt, digit] = &held.spoken.utterances[..] else { panic!("{:?}", held.spoken) };
    assert_eq!((prompt.kind, digit.kind), (UtteranceKind::Say, UtteranceKind::Dtmf));
    assert!(!prompt.expects_reply && digit.expects_reply);
    assert!(digit.from.since(prompt.to) >= ms(100));
}

#[test]
fn an_interruption_by_digits() {
    let over = Turn { dtmf: Some("0".parse().unwrap()), interrupt_after: Some(ms(500)), ..Turn::default() };
    let held = call(&script(vec![say(0), over], false), Manners::default(), 9);
    assert_eq!(held.spoken.utterances[1].kind, UtteranceKind::Interruption);
    // The service does not listen to digits: it talks on to the end of its 2.5 s.
    let stop = held.talk.turns[1].stop.unwrap();
    assert!(stop > ms(1970) && stop <= ms(2000), "{stop:?}");
}

#[test]
fn a_missed_interruption_is_a_turn_and_a_missed_backchannel_nothing() {
    let short = Manners { answer: vec![(0, 400)], ..Manners::default() };
    let over = Turn { say: Some(1), interrupt_after: Some(ms(800)), ..Turn::default() };
    let held = call(&script(vec![say(0), over], false), short.clone(), 30);
    assert!(held.spoken.missed >= 3);
    assert!(held.spoken.utterances.iter().all(|said| said.kind == UtteranceKind::Say));
    let mhm = Turn { backchannel: Some(2), ..Turn::default() };
    let held = call(&script(vec![say(0), mhm], false), short, 30);
    assert!(held.spoken.missed >= 3);
    assert!(held.spoken.utterances.iter().all(|said| said.entry == 0 && said.turn < 12));
    assert_all_but_last_fit(&held);
}

#[test]
fn backchannels_in_a_row_are_a_second_apart() {
    let mhm = Turn { backchannel: Some(2), wait: Wait::Nothing, ..Turn::default() };
    let endless = Manners { greeting: Some((0, 1_000_000)), ..Manners::default() };
    let held = call(&script(vec![mhm], false), endless, 20);
    let onsets: Vec<_> = held.spoken.utterances.iter().map(|said| said.from).collect();
    assert!(onsets.len() >= 10);
    assert!(onsets.windows(2).all(|pair| pair[1].since(pair[0]) >= ms(1350)));
}

#[test]
fn a_script_of_backchannels_alone_does_not_spin() {
    let mhm = Turn { backchannel: Some(2), wait: Wait::Nothing, ..Turn::default() };
    let held = call(&script(vec![mhm.clone(), mhm], false), Manners::default(), 60);
    assert!(held.spoken.utterances.is_empty());
    assert!((3..=4).contains(&held.spoken.missed), "{}", held.spoken.missed);
}

#[test]
fn calls_are_out_of_step() {
    let starts: Vec<_> = (0..50).map(|call| out_of_step(call, ms(10_000))).collect();
    for share in 0..10 {
        let begun = starts.iter().filter(|start| start.as_millis() / 1000 == share).count();
        assert!((3..=7).contains(&begun), "{begun} of 50 begin in second {share}");
    }
    for after in [0, 1000, 3730] {
        let mut caller = Caller::new(script(vec![say(1)], false), ms(after), PTIME, 8000);
        let mut out = [0; 160];
        let slots = 0u64..;
        let first =
            slots.map(|n| n * 20).find(|t| caller.next(at(*t), Live::default(), &mut out) == Frame::Audio);
        assert_eq!(first, Some(after.next_multiple_of(20)));
    }
    assert_eq!(script(vec![say(1), Turn { pause: ms(500), ..say(2) }], false).own_time().as_millis(), 1756);
}

#[test]
fn a_call_s_end_cuts_the_utterance() {
    let held = call(&script(vec![say(4)], false), Manners::default(), 1);
    let said = &held.spoken.utterances[0];
    assert!(said.cut);
    assert_eq!(said.to, held.frames[49].0 + ms(20));
    assert_eq!(held.talk.turns[0].discarded, Some(Discard::CallEnded));
    // Cut in its own pause: the voiced part before it has been said.
    let held = call(&script(vec![say(3)], false), Manners::default(), 1);
    let said = &held.spoken.utterances[0];
    assert!(said.cut && said.pauses.is_empty());
    assert_eq!(said.to, held.frames[35].0 + time_of(3, 8000));
}

#[test]
fn the_record_is_bounded() {
    let turns = vec![Turn { wait: Wait::Nothing, ..say(0) }];
    let short = vec![clip(8000, &[0, 640])];
    let script = Arc::new(Script::new(turns, false, ms(15_000), short, 8000).unwrap());
    let mut caller = Caller::new(script, Duration::ZERO, PTIME, 8000);
    let mut out = [0; 160];
    for n in 0..4 * 10_005 {
        assert_eq!(caller.next(at(n * 20), Live::default(), &mut out), Frame::Audio);
    }
    let spoken = caller.finish();
    assert_eq!((spoken.utterances.len(), spoken.unrecorded), (10_000, 5));
}

#[test]
fn scripts_that_cannot_be_played() {
    let refused = |turn: Turn| Script::new(vec![turn], false, ms(1), prompts(8000), 8000).unwrap_err();
    let idle = Turn { wait: Wait::Nothing, ..Turn::default() };
    assert_eq!(refused(idle), ScriptError::Idle { turn: 0 });
    assert_eq!(refused(say(9)), ScriptError::NoPrompt { turn: 0, prompt: 9, prompts: 5 });
    let mute = Turn { interrupt_after: Some(ms(1)), ..Turn::default() };
    assert_eq!(refused(mute), ScriptError::MuteInterruption { turn: 0 });
    let paused = Turn { interrupt_after: Some(ms(1)), pause: ms(1), ..say(0) };
    assert_eq!(refused(paused), ScriptError::PausedInterruption { turn: 0 });
    let of = |clips, within| Script::new(vec![say(0)], false, ms(within), clips, 8000).unwrap_err();
    assert_eq!(of(vec![clip(8000, &[500])], 1), ScriptError::Silent { prompt: 0 });
    assert_eq!(of(prompts(16_000), 1), ScriptError::Rate { prompt: 0, found_hz: 16_000, rate_hz: 8000 });
    assert_eq!(of(prompts(8000), 0), ScriptError::NoTime);
    let none = Script::new(Vec::new(), false, ms(1), Vec::new(), 8000).unwrap_err();
    assert_eq!(none, ScriptError::NoTurns);
    assert_eq!(refused(Turn { wait: Wait::Reply, ..Turn::default() }), ScriptError::Mute);
    assert_eq!(refused(say(9)).to_string(), "turn 1 says prompt 10, and there are only 5");
}

#[test]
fn nobody_interrupts_a_pause_between_sentences() {
    let halting = Manners { answer: vec![(0, 700), (180, 2000)], ..Manners::default() };
    let over = Turn { say: Some(1), interrupt_after: Some(ms(820)), ..Turn::default() };
    let held = call(&script(vec![say(0), over], false), Manners { yields_after: Some(300), ..halting }, 30);
    let onset = held.spoken.utterances[1].from.since(held.service.talk[0].from);
    // Due at 820 ms, in the pause from 700 to 880 ms.
    assert!(onset >= ms(880) && onset < ms(901), "{onset:?}");
    assert_eq!(held.talk.turns[1].stop, Some(ms(300)));
}

#[test]
fn skipped_packets_move_the_stamps_of_the_rest() {
    let mut caller = Caller::new(script(vec![say(1)], false), Duration::ZERO, PTIME, 8000);
    let mut out = [0; 160];
    for n in (0..60).filter(|n| *n != 10 && *n != 11) {
        caller.next(at(n * 20), Live::default(), &mut out);
    }
    let said = &caller.finish().utterances[0];
    // 7253 samples, and 40 ms in which nothing was sent.
    assert_eq!(said.to.since(said.from), time_of(7253, 8000) + ms(40));
}

/// Fates of the turns that are judged, in order.
fn judged(held: &Held) -> Vec<Reply> {
    let fits = |turn: &&TurnRecord| turn.discarded.is_none() && turn.expects_reply;
    let fate =
        |turn: &TurnRecord| turn.response.map(Reply::After).or(turn.no_reply.then_some(Reply::Missing));
    held.talk.turns.iter().filter(fits).filter_map(fate).collect()
}

#[test]
fn turns_are_told_in_mid_call_as_they_are_judged_at_its_end() {
    let plain = script(vec![say(0), say(1)], false);
    let interrupting = script(vec![say(0), Turn { interrupt_after: Some(ms(1000)), ..say(1) }], false);
    let some = |n: u32| (n % 3 != 1).then_some(300 + 170 * u64::from(n % 5));
    let yields = Manners { delay: some, yields_after: Some(200), ..Manners::default() };
    let stubborn = Manners { delay: some, ..Manners::default() };
    for (script, manners, least) in
        [(&plain, stubborn.clone(), 10), (&interrupting, yields, 10), (&interrupting, stubborn, 0)]
    {
        let held = call(script, manners, 200);
        let (told, judged) = (&held.replies, judged(&held));
        assert!(judged.len() >= least, "{judged:?}");
        // The call's end may cut the last one.
        assert!(judged.len() - told.len() <= 1 && judged.starts_with(told), "{told:?} of {judged:?}");
        assert!(least == 0 || told.contains(&Reply::Missing), "{told:?}");
    }
}
