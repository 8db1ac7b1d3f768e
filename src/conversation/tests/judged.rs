//! Judgements of single turns, laid out by hand.

use super::*;

fn said(kind: UtteranceKind, from: u64, to: u64) -> Utterance {
    Utterance {
        turn: 0,
        entry: 0,
        kind,
        from: at(from),
        to: at(to),
        pauses: Vec::new(),
        expects_reply: kind != UtteranceKind::Backchannel,
        cut: false,
    }
}

fn rules(ended: u64) -> TalkRules {
    TalkRules {
        answered_at: START,
        ended_at: at(ended),
        reply_within: ms(15_000),
        wants_greeting: false,
        echoes: Vec::new(),
    }
}

fn part(from: u64, to: u64) -> Segment {
    Segment { from: at(from), to: at(to) }
}

fn judged(said: Vec<Utterance>, service: &[Segment], gaps: &[(u64, u64)], ended: u64) -> Vec<TurnRecord> {
    let gaps: Vec<_> = gaps.iter().map(|(from, to)| (at(*from), at(*to))).collect();
    judge(&Spoken { utterances: said, ..Spoken::default() }, service, &gaps, &rules(ended)).turns
}

use UtteranceKind::{Backchannel, Dtmf, Interruption, Say};

#[test]
fn losses_count_at_an_edge_or_where_they_can_hide_one() {
    let one =
        |gaps: &[(u64, u64)]| judged(vec![said(Say, 0, 1000)], &[part(1700, 4000)], gaps, 30_000).remove(0);
    assert_eq!(one(&[(1200, 1240)]).response, Some(ms(700)));
    assert_eq!(one(&[(2000, 2500)]).response, Some(ms(700)));
    assert_eq!(one(&[(1680, 1700)]).discarded, Some(Discard::LostAtEdge));
    assert_eq!(one(&[(1200, 1260)]).discarded, Some(Discard::LostAtEdge));
    let silent = |gaps: &[(u64, u64)]| judged(vec![said(Say, 0, 1000)], &[], gaps, 30_000).remove(0);
    assert!(silent(&[(3000, 3020)]).no_reply);
    assert_eq!(silent(&[(3000, 4000)]).discarded, Some(Discard::LostAtEdge));
}

#[test]
fn double_talk_counts_near_the_end_only() {
    let one =
        |to| judged(vec![said(Say, 0, 1000)], &[part(300, to), part(1700, 2500)], &[], 30_000).remove(0);
    assert_eq!(one(700).response, Some(ms(700)));
    assert_eq!(one(701).discarded, Some(Discard::DoubleTalk));
    assert_eq!(one(1200).discarded, Some(Discard::DoubleTalk));
    assert_eq!(one(1200).reply, Some((at(300), at(2500))));
    assert_eq!(one(700).talk_over, ms(400));
}

#[test]
fn no_reply_needs_all_of_its_time() {
    let one = |ended| judged(vec![said(Say, 0, 1000)], &[], &[], ended).remove(0);
    assert_eq!(one(15_999).discarded, Some(Discard::CallEnded));
    assert!(one(16_000).no_reply);
    let two =
        |next| judged(vec![said(Say, 0, 1000), said(Say, next, next + 500)], &[], &[], 90_000).remove(0);
    assert_eq!(two(9000).discarded, Some(Discard::SpokeAgain));
    assert!(two(16_000).no_reply);
    let late = judged(vec![said(Say, 0, 1000)], &[part(16_001, 17_000)], &[], 90_000).remove(0);
    assert!(late.no_reply && late.reply.is_none());
    let cut = Utterance { cut: true, ..said(Say, 0, 1000) };
    assert_eq!(judged(vec![cut], &[], &[], 1000)[0].discarded, Some(Discard::CallEnded));
}

#[test]
fn stops_need_a_talking_service_and_silence_after() {
    let one = |parts: &[Segment], gaps: &[(u64, u64)], ended| {
        let turn = judged(vec![said(Interruption, 1000, 2500)], parts, gaps, ended).remove(0);
        (turn.stop.map(|stop| stop.as_millis()), turn.stop_discarded)
    };
    assert_eq!(one(&[part(0, 1400)], &[], 9000), (Some(400), None));
    assert_eq!(one(&[part(0, 1400), part(1699, 1900)], &[], 9000), (Some(900), None));
    assert_eq!(one(&[part(0, 1400), part(1700, 1900)], &[], 9000), (Some(400), None));
    assert_eq!(one(&[part(0, 1000)], &[], 9000), (None, Some(Discard::NotTalking)));
    assert_eq!(one(&[part(0, 3000)], &[], 3200), (None, Some(Discard::CallEnded)));
    assert_eq!(one(&[part(0, 1400)], &[(1400, 1420)], 9000), (None, Some(Discard::LostAtEdge)));
    assert_eq!(one(&[part(0, 1400)], &[(1500, 1600)], 9000), (None, Some(Discard::LostAtEdge)));
}

#[test]
fn a_talk_near_its_end_is_no_false_stop() {
    let one = |to, ended| {
        let turn = judged(vec![said(Backchannel, 1000, 1350)], &[part(0, to)], &[], ended).remove(0);
        (turn.false_stop, turn.stop_discarded)
    };
    assert_eq!(one(1040, 9000), (None, Some(Discard::NotTalking)));
    assert_eq!(one(1300, 9000), (Some(true), None));
    assert_eq!(one(2050, 9000), (Some(false), None));
    assert_eq!(one(2049, 2200), (None, Some(Discard::CallEnded)));
    assert_eq!(one(2100, 2100), (Some(false), None));
}

#[test]
fn a_signal_that_is_the_caller_s_own_discards() {
    let echoes = vec![(at(800), at(1500))];
    let rules = TalkRules { echoes, ..rules(30_000) };
    let spoken = Spoken { utterances: vec![said(Say, 0, 1000)], ..Spoken::default() };
    let talk = judge(&spoken, &[part(770, 1530), part(1800, 2500)], &[], &rules);
    assert_eq!(talk.turns[0].discarded, Some(Discard::OwnEcho));
    assert!(talk.echoes_caller && talk.talk_over.is_zero());
}

/// The service talks, the caller interrupts it, and his echo lies over the end of its talk, or beside it.
#[test]
fn an_echo_over_the_end_of_a_talk_hides_the_stop() {
    let stop = |talk: &[Segment]| {
        let rules = TalkRules { echoes: vec![(at(1100), at(2600))], ..rules(30_000) };
        let spoken = Spoken { utterances: vec![said(Interruption, 1000, 2500)], ..Spoken::default() };
        let turn = judge(&spoken, talk, &[], &rules).turns.remove(0);
        (turn.stop, turn.stop_discarded)
    };
    assert_eq!(stop(&[part(0, 2605)]), (None, Some(Discard::OwnEcho)));
    assert_eq!(stop(&[part(0, 5000)]), (None, Some(Discard::OwnEcho)));
    assert_eq!(stop(&[part(0, 1010), part(1110, 2590)]), (Some(ms(10)), None));
}

#[test]
fn an_answer_as_long_as_the_prompt_is_no_echo() {
    let spoken = vec![said(Say, 0, 2500), said(Say, 6000, 8500), said(Say, 12_000, 14_500)];
    let service = [part(2700, 5200), part(8700, 11_200), part(14_700, 17_200)];
    assert!(judged(spoken, &service, &[], 40_000).iter().all(|turn| turn.response == Some(ms(200))));
}

#[test]
fn backchannels_and_digits_leave_the_turn_alone() {
    let all = vec![said(Dtmf, 0, 500), said(Backchannel, 2000, 2350)];
    let turns = judged(all, &[part(900, 1200), part(1900, 4000)], &[], 9000);
    assert_eq!((turns[0].response, turns[0].content), (Some(ms(400)), Some(ms(1400))));
    assert_eq!(turns[0].reply, Some((at(900), at(4000))));
    assert_eq!(turns[1].talk_over, ms(350));
    assert_eq!(serde_json::to_string(&Discard::LostAtEdge).unwrap(), r#""lost_at_edge""#);
}
