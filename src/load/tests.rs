//! Load control in virtual time, against a scripted far end.

use std::time::Duration;

use proptest::prelude::*;

use super::far_end::{MS, S, SETUP, Script, World, answer, load};
use super::{CallSignal, Count, Input, Stop};
use crate::record::{Ending, Phase, Suppression};
use crate::scenario::{Hangup, Scenario};
use crate::sip::call::{CallEvent, CallRemark, Times};
use crate::values::Span;

const MANY: u32 = 10_000;

/// Every attempt has one record, of its number; each is counted once by how it ended.
fn assert_each_ended_once(world: &World) {
    let mut calls: Vec<_> = world.records.iter().map(|r| r.call).collect();
    calls.sort_unstable();
    assert!(calls.into_iter().eq(0..world.placed_at.len() as u32), "each attempt ends once");
    let of = |endings: &[Ending]| world.records.iter().filter(|r| endings.contains(&r.ending)).count() as u32;
    assert_eq!(world.counted(Count::Attempted) as usize, world.placed_at.len());
    assert_eq!(world.counted(Count::Failed), of(&[Ending::Rejected, Ending::Timeout]));
    assert_eq!(world.counted(Count::Dropped), of(&[Ending::RemoteHangup]));
    assert_eq!(world.counted(Count::MediaLost), of(&[Ending::MediaLost]));
    let answered = world.records.iter().filter(|r| r.ending.was_answered()).count() as u32;
    let ended = [Count::Ended, Count::Dropped, Count::MediaLost].map(|what| world.counted(what));
    assert_eq!((world.counted(Count::Answered), ended.iter().sum::<u32>()), (answered, answered));
    assert_eq!(world.control.calls_up(), 0);
}

/// No event may cost a walk over all lines or calls; only changes of phase may.
fn assert_work_is_logarithmic(world: &World) {
    let average = world.touched as f64 / world.events as f64;
    let bound = f64::from(MANY).log2();
    assert!(average <= bound, "{average:.1} entries touched by an event, {bound:.1} allowed");
}

fn elapsed(world: &World, phase: Phase) -> f64 {
    let (_, at) = world.phases.iter().find(|(p, _)| *p == phase).expect("it had this phase");
    world.elapsed(*at)
}

#[test]
fn ten_thousand_lines_ramp_hold_and_hang_up_in_turn() {
    let mut world = World::new(load(MANY, "1000/s", 30 * S), |_| Script::Answers(100 * MS));
    world.run();
    assert_each_ended_once(&world);
    assert_work_is_logarithmic(&world);
    let names: Vec<_> = world.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(names, [Phase::Ramp, Phase::Warmup, Phase::Hold, Phase::Drain]);
    let times: Vec<_> = world.phases.iter().map(|(_, at)| world.elapsed(*at)).collect();
    assert_eq!(times, [0.0, 10.099, 12.099, 42.099]);
    assert_eq!((world.most_up, world.calls_at_start()), (MANY, MANY));
    assert!(world.records.iter().all(|r| r.ending == Ending::Completed));
    // A thousand a second, up and down.
    assert!(world.placed_at.windows(2).all(|pair| pair[1].since(pair[0]) == MS));
    assert!(world.hung_up.iter().map(|(_, call)| *call).eq(0..MANY));
    assert!(world.hung_up.windows(2).all(|pair| pair[1].0.since(pair[0].0) == MS));
    let (from, to) = world.window().expect("a window");
    assert_eq!((world.elapsed(from), to.since(from)), (12.099, 30 * S));
}

#[test]
fn ten_thousand_lines_of_all_kinds_replace_their_calls() {
    let script = |call: u32| match call % 16 {
        0 => Script::Rejects(50 * MS),
        1 => Script::Silent,
        2 => Script::HangsUp(2 * S),
        3 => Script::IgnoresBye,
        4 => Script::Dies(3 * S),
        5 => Script::Answers(SETUP + S),
        6 => Script::Answers(20 * S),
        n => Script::Answers(MS * n),
    };
    let mut wanted = load(MANY, "1000/s", 20 * S);
    wanted.call_duration = Some(Span(5 * S).into());
    let mut world = World::new(wanted, script);
    world.run();
    assert_each_ended_once(&world);
    assert_work_is_logarithmic(&world);
    assert!(world.most_up > MANY / 3 && world.most_up <= MANY, "{} up", world.most_up);
    assert!(world.placed_at.len() > 4 * MANY as usize, "{} placed", world.placed_at.len());
    assert!(world.placed_at.windows(2).all(|pair| pair[1].since(pair[0]) >= MS));
    // Calls that are answered when the run ends are cut short.
    let in_full = elapsed(&world, Phase::Drain) - 30.0;
    for (n, ending) in [
        (0, Ending::Rejected),
        (1, Ending::Timeout),
        (2, Ending::RemoteHangup),
        (3, Ending::HangupFailed),
        (4, Ending::MediaLost),
        (5, Ending::Timeout),
        (6, Ending::Completed),
        (7, Ending::Completed),
    ] {
        let mut of_kind = world.records.iter().filter(|r| r.call % 16 == n && r.intended_s < in_full);
        assert!(of_kind.all(|r| r.ending == ending), "{ending:?}");
    }
}

#[test]
fn where_nobody_answers_nothing_is_held() {
    let mut world = World::new(load(3, "10/s", 300 * S), |_| Script::Silent);
    world.run();
    assert_each_ended_once(&world);
    assert_eq!(world.window(), None);
    assert_eq!(elapsed(&world, Phase::Drain), 0.2 + SETUP.as_secs_f64());
}

#[test]
fn a_line_whose_bye_has_no_answer_goes_on_after_two_seconds() {
    let mut wanted = load(1, "10/s", 10 * S);
    wanted.call_duration = Some(Span(4 * S).into());
    let mut world = World::new(wanted, |call| match call {
        0 => Script::IgnoresBye,
        _ => Script::Answers(100 * MS),
    });
    world.run();
    assert_each_ended_once(&world);
    // Answered at 0.1 s, media over 5 ms after its 4 s.
    assert_eq!(world.elapsed(world.placed_at[1]), 6.105);
    let first = world.records.iter().find(|r| r.call == 0).expect("a record");
    assert_eq!((first.ending, first.reason.as_str()), (Ending::HangupFailed, "BYE was never answered"));
    assert_eq!(world.most_up, 1);
}

#[test]
fn a_call_that_falls_silent_gets_its_bye_and_its_line_goes_on_at_once() {
    let mut world = World::new(load(1, "10/s", 30 * S), |call| match call {
        0 => Script::Dies(7 * S),
        _ => Script::Answers(100 * MS),
    });
    world.run();
    assert_each_ended_once(&world);
    assert_eq!(world.elapsed(world.placed_at[1]), 7.1);
    assert_eq!((world.elapsed(world.hung_up[0].0), world.hung_up[0].1), (7.1, 0));
    assert_eq!(world.records.iter().filter(|r| r.ending == Ending::MediaLost).count(), 1);
}

#[test]
fn a_failed_attempt_is_followed_by_a_rest() {
    let mut wanted = load(1, "10/s", 5 * S);
    wanted.retry_after = Span(3 * S);
    let mut world =
        World::new(wanted, |call| if call < 2 { Script::Rejects(50 * MS) } else { Script::Answers(MS) });
    world.run();
    // The first failure decides the only line, and with nobody up the run is over.
    assert_eq!((world.placed_at.len(), world.records.len()), (1, 1));

    let mut wanted = load(2, "10/s", 15 * S);
    wanted.retry_after = Span(3 * S);
    let mut world = World::new(wanted, |call| {
        if call == 1 || call == 2 { Script::Rejects(50 * MS) } else { Script::Answers(MS) }
    });
    world.run();
    let placed: Vec<_> = world.placed_at.iter().map(|at| world.elapsed(*at)).collect();
    assert_eq!(placed, [0.0, 0.1, 3.15, 6.2]);
}

#[test]
fn attempts_without_a_port_are_suppressed_and_tried_again() {
    let mut wanted = load(2, "1/s", 5 * S);
    wanted.call_duration = Some(Span(3 * S).into());
    let mut world = World::new(wanted, |_| Script::Answers(100 * MS));
    world.ports.truncate(1);
    world.run();
    assert_each_ended_once(&world);
    assert_eq!(world.most_up, 1);
    let suppressed = world.counted(Count::Suppressed(Suppression::Port));
    assert!(suppressed >= 2, "{suppressed} suppressed");
    // The port is used again, by a line that had none.
    let lines: Vec<_> = world.records.iter().map(|r| r.line).collect();
    assert!(lines.contains(&0) && lines.contains(&1), "{lines:?}");
}

#[test]
fn the_far_end_hangs_up_as_planned_too_early_or_not_at_all() {
    for (hangup, script, ending, held) in [
        (Hangup::Callee, Script::HangsUp(6 * S), Ending::Completed, 6.0),
        (Hangup::Callee, Script::HangsUp(5 * S), Ending::RemoteHangup, 5.0),
        // Five seconds of grace, then 5 ms for the media and 10 ms for the BYE.
        (Hangup::Callee, Script::Answers(MS), Ending::HangupFailed, 11.015),
        (Hangup::Both, Script::HangsUp(6 * S), Ending::Completed, 6.0),
        (Hangup::Both, Script::Answers(MS), Ending::Completed, 6.265),
        (Hangup::Caller, Script::HangsUp(5 * S), Ending::RemoteHangup, 5.0),
        (Hangup::Caller, Script::Answers(MS), Ending::Completed, 6.015),
    ] {
        let mut wanted = load(1, "10/s", 60 * S);
        (wanted.call_duration, wanted.hangup) = (Some(Span(6 * S).into()), hangup);
        let mut world = World::new(wanted, move |_| script);
        world.run();
        assert_each_ended_once(&world);
        let first = world.records.iter().find(|r| r.call == 0).expect("a record");
        let seconds = first.held_ms.map(|held| held.as_ms() / 1000.0);
        assert_eq!((first.ending, seconds), (ending, Some(held)), "{hangup:?} {script:?}");
    }
}

/// Every other call is answered late, so that both kinds are there when the run is stopped.
fn stopped_after(after: Duration, level: Stop) -> World {
    let script = |call| Script::Answers(if call % 2 == 0 { 100 * MS } else { 10 * S });
    let mut world = World::new(load(100, "20/s", 300 * S), script);
    world.run_until(world.now + after);
    world.stop(level);
    world
}

#[test]
fn an_early_end_hangs_up_in_turn_and_waits_for_answers() {
    let mut world = stopped_after(2 * S, Stop::Early);
    let (placed, stopped_at) = (world.placed_at.len(), world.now);
    world.run();
    assert_eq!(world.placed_at.len(), placed, "no call is placed after a stop");
    assert_each_ended_once(&world);
    let up = world.hung_up.iter().take(20).map(|(at, call)| (at.since(stopped_at).as_millis(), *call));
    // Twenty a second, 5 ms after the media has been stopped.
    assert!(up.eq((0..20).map(|n| (u128::from(5 + 50 * n), 2 * n))), "{:?}", world.hung_up);
    let interrupted = world.records.iter().filter(|r| r.ending == Ending::Interrupted);
    assert!(interrupted.map(|r| r.call).eq((0..20).map(|n| 2 * n)));
    // Those under way were answered, and heard for a second.
    assert_eq!(world.counted(Count::Answered) as usize, placed);
    assert!(world.records.iter().filter(|r| r.call % 2 == 1).all(|r| r.ending == Ending::Completed));
}

#[test]
fn a_soon_end_hangs_up_and_cancels_all_at_once() {
    for after in [2 * S, 20 * S] {
        let mut world = stopped_after(after, Stop::Soon);
        let (placed, stopped_at) = (world.placed_at.len(), world.now);
        world.run();
        assert_eq!(world.placed_at.len(), placed);
        assert_each_ended_once(&world);
        assert!(world.now.since(stopped_at) < 100 * MS, "it took {:?}", world.now.since(stopped_at));
        let (up, waiting) = if after == 2 * S { (20, 21) } else { (100, 0) };
        let of = |ending| world.records.iter().filter(|r| r.ending == ending).count();
        assert_eq!((of(Ending::Interrupted), of(Ending::Cancelled)), (up, waiting));
        let cut = world.window().map(|(_, to)| to.since(stopped_at));
        assert_eq!(cut, (after == 20 * S).then_some(300 * MS));
    }
}

#[test]
fn an_immediate_end_sends_a_last_bye_and_closes_what_is_left() {
    let mut world = stopped_after(2 * S, Stop::Now);
    let mut wanted: Vec<_> = world.hung_up.iter().map(|(_, call)| *call).collect();
    wanted.sort_unstable();
    wanted.dedup();
    assert!(wanted.into_iter().eq(0..41));
    world.control.abandon();
    world.inject(Input::MediaOver(0));
    assert!(world.control.is_over());
    let endings = world.records.iter().map(|r| r.ending);
    let ending = |n| if n % 2 == 0 && n < 40 { Ending::Interrupted } else { Ending::Cancelled };
    assert!(endings.eq((0..41).map(ending)));
}

#[test]
fn a_late_start_places_what_is_due_in_batches() {
    let mut world = World::new(load(MANY, "10000/s", 2 * S), |_| Script::Answers(MS));
    world.now += 2 * S;
    world.run_until(world.now);
    assert_eq!(world.placed_at.len(), MANY as usize);
    // A call that is placed touches a handful of entries, and 64 are placed at a time.
    assert!(world.most_touched < 1000, "{} entries touched by one event", world.most_touched);
}

fn script() -> impl Strategy<Value = Script> {
    let ms = |most: u64| (0..most).prop_map(Duration::from_millis);
    prop_oneof![
        ms(40_000).prop_map(Script::Answers),
        ms(400).prop_map(Script::Answers),
        ms(5000).prop_map(Script::Rejects),
        Just(Script::Silent),
        ms(8000).prop_map(Script::HangsUp),
        Just(Script::IgnoresBye),
        ms(8000).prop_map(Script::Dies),
    ]
}

/// Inputs that nothing has asked for.
fn stray() -> impl Strategy<Value = Input> {
    let event = (0..8).prop_map(|n| {
        let at = crate::stamp::Stamp::ZERO + 1001 * S;
        match n {
            0 => CallEvent::Answered { at, answer: answer() },
            1 => CallEvent::MediaChanged { at, answer: answer() },
            2 => CallEvent::RemoteHangup { at, cause: None },
            3 => CallEvent::HungUp { at, code: Some(500) },
            4 => CallEvent::Cancelled { at },
            5 => CallEvent::MediaOffered { at },
            6 => CallEvent::Remark(CallRemark::Unreadable { why: "x".into() }),
            _ => CallEvent::Provisional { code: 180, at },
        }
    });
    (0u32..60, proptest::option::of(event), any::<bool>()).prop_map(|(call, event, is_dead)| match event {
        Some(event) => Input::Signal(CallSignal { call, event, times: Times::default(), retransmissions: 1 }),
        None if is_dead => Input::Dead { call, at: crate::stamp::Stamp::ZERO + 1001 * S },
        None => Input::MediaOver(call),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_load_comes_to_its_end_and_loses_no_call(
        scripts in proptest::collection::vec(script(), 1..20),
        calls in 1u32..30,
        ramp in 1u32..100,
        ports in 1usize..40,
        call_duration in proptest::option::of(500u64..9000),
        hangup in prop_oneof![Just(Hangup::Caller), Just(Hangup::Callee), Just(Hangup::Both)],
        strays in proptest::collection::vec((0u64..3000, stray()), 0..40),
        stops in proptest::collection::vec((0u64..20_000, prop_oneof![Just(Stop::Early), Just(Stop::Soon)]), 0..3),
        targets in 1u32..5,
    ) {
        let mut wanted = load(calls, &format!("{ramp}/s"), 10 * S);
        wanted.call_duration = call_duration.map(|ms| Span(Duration::from_millis(ms)).into());
        wanted.hangup = hangup;
        let mut scenario = Scenario { load: wanted, ..Scenario::default() };
        let listed: Vec<_> = (0..targets).map(|n| format!("'h{n}:1'")).collect();
        scenario.asterisk = toml::from_str(&format!("sip = [{}]", listed.join(", "))).unwrap();
        let mut world = World::of(scenario, move |call| scripts[call as usize % scripts.len()]);
        world.ports.truncate(ports);
        for (after, input) in strays {
            world.run_until(world.now + Duration::from_millis(after));
            world.inject(input);
            world.control.assert_up_is_counted();
        }
        for (after, level) in stops {
            world.run_until(world.now + Duration::from_millis(after));
            world.stop(level);
            world.control.assert_up_is_counted();
        }
        world.run();
        prop_assert!(world.most_up <= calls);
        let mut closed: Vec<_> = world.records.iter().map(|r| r.call).collect();
        closed.sort_unstable();
        prop_assert!(closed.into_iter().eq(0..world.placed_at.len() as u32));
        for (n, target) in (0..).zip(world.control.targets()) {
            let dealt = (0..world.placed_at.len() as u32).filter(|call| call % targets == n).count();
            prop_assert_eq!((target.attempts, target.calls_up), (dealt as u64, 0));
        }
        prop_assert!(world.control.poll_timeout().is_none(), "deadlines of calls that are over");
    }
}
