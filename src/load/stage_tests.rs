//! Stages in virtual time: ramps between them, a measured window each, and what is counted in which.

use super::far_end::{MS, S, Script, World, load};
use super::{Count, Stop};
use crate::record::{Ending, Phase, Suppression};
use crate::scenario::{Arrivals, CallDuration, Load, Scenario, Stage};
use crate::values::{Rate, Span};
use std::time::Duration;

fn stage(calls: u32, ramp: &str, hold: Duration) -> Stage {
    Stage { calls: Some(calls), rate: None, ramp: Some(ramp.parse().unwrap()), hold: Span(hold) }
}

fn offered(rate: f64, ramp: &str, hold: Duration) -> Stage {
    Stage { calls: None, rate: Some(Rate(rate)), ..stage(0, ramp, hold) }
}

fn world(load: Load, stage: Vec<Stage>) -> World {
    World::of(Scenario { load, stage, ..Scenario::default() }, |_| Script::Answers(100 * MS))
}

/// Windows in seconds since the start.
fn windows(world: &World) -> Vec<(f64, f64)> {
    world.windows.iter().map(|(from, to)| (world.elapsed(*from), world.elapsed(*to))).collect()
}

/// Calls up at a time, by the calls' records.
fn up_at(world: &World, at: f64) -> usize {
    let is_up = |record: &&crate::record::CallRecord| {
        let since = world.elapsed(world.placed_at[record.call as usize]) + 0.1;
        record.held_ms.is_some_and(|held| (since..since + held.as_ms() / 1000.0).contains(&at))
    };
    world.records.iter().filter(is_up).count()
}

#[test]
fn a_closed_load_goes_up_and_down_by_its_ramps_and_measures_none_of_them() {
    let stages = vec![
        stage(10, "10/s", 20 * S),
        stage(50, "4s", 30 * S),
        stage(5, "9s", 10 * S),
        stage(8, "1s", 10 * S),
    ];
    let mut world = world(load(1, "10/s", S), stages);
    world.run();
    // The last of ten is answered at 1.0 s, and the window begins on the first whole second 2 s later.
    let windows = windows(&world);
    assert_eq!(windows[0], (3.0, 23.0));
    // Forty more in 4 s, the last of them placed 3.9 s and answered 4.0 s after the first stage's end.
    assert_eq!(windows[1], (29.0, 59.0));
    // Forty-five hung up in 9 s, the last after 8.8 s; 15 ms later it is over, and the path settles for 2 s.
    assert_eq!(windows[2], (70.0, 80.0));
    assert_eq!(windows[3], (83.0, 93.0));
    for ((from, to), calls) in windows.iter().zip([10, 50, 5, 8]) {
        for at in [from + 0.001, (from + to) / 2.0, to - 0.001] {
            assert_eq!(up_at(&world, at), calls, "at {at} s");
        }
    }
    let starts: Vec<_> = world.control.stages().iter().map(|stage| stage.calls_at_start).collect();
    assert_eq!((starts, world.most_up), (vec![10, 50, 5, 8], 50));
    let begins: Vec<_> = world.control.stages().iter().map(|stage| stage.begin_s).collect();
    assert_eq!(begins, [0.0, 23.0, 59.0, 80.0]);
    // Each stage ramps, warms up and holds; at the end all is hung up.
    let phases: Vec<_> = world.phases.iter().map(|(phase, _)| *phase).collect();
    let one = [Phase::Ramp, Phase::Warmup, Phase::Hold];
    assert_eq!(phases, [&one[..], &one, &one, &one, &[Phase::Drain]].concat());
    // The newest calls went first, 0.2 s apart.
    let down: Vec<_> =
        world.hung_up.iter().filter(|(at, _)| (59.0..70.0).contains(&world.elapsed(*at))).collect();
    assert_eq!(down.len(), 45);
    assert!(down.iter().all(|(_, call)| *call >= 5));
    assert!(down.windows(2).all(|pair| pair[1].0.since(pair[0].0) == 200 * MS));
    assert!(world.records.iter().all(|record| record.ending == Ending::Completed));
    assert_eq!(world.records.len(), 53);
}

#[test]
fn lines_that_are_retired_dial_no_more_and_fresh_ones_replace_their_calls() {
    let wanted = Load { call_duration: Some(Span(4 * S).into()), ..load(1, "20/s", S) };
    let stages = vec![stage(40, "20/s", 20 * S), stage(10, "20/s", 20 * S), stage(40, "20/s", 20 * S)];
    let mut world = world(wanted, stages);
    world.run();
    let windows = windows(&world);
    let most = |from: f64, to: f64| {
        (0..20).map(|n| up_at(&world, from + (to - from) * f64::from(n) / 20.0)).max().unwrap()
    };
    for ((from, to), calls) in windows.iter().zip([40, 10, 40]) {
        let most = most(*from, *to);
        assert!(most <= calls && most + 2 >= calls, "{most} of {calls}");
    }
    assert_eq!(world.counted(Count::Attempted), world.records.len() as u32);
    assert!(world.most_up <= 40);
    assert!(world.control.poll_timeout().is_none());
}

#[test]
fn an_open_load_changes_its_rate_and_what_is_suppressed_belongs_to_its_stage() {
    let call_duration = Some(CallDuration::Constant(Span(2 * S)));
    let wanted = Load { call_duration, arrivals: Arrivals::Even, ..load(30, "5s", S) };
    // 20, 80 and 10 erlang for 30 calls at once.
    let stages = vec![offered(10.0, "4s", 20 * S), offered(40.0, "0s", 20 * S), offered(5.0, "2s", 20 * S)];
    let mut world = world(wanted, stages);
    world.run();
    // Each window begins a call's length after its ramp.
    assert_eq!(windows(&world), [(6.0, 26.0), (28.0, 48.0), (52.0, 72.0)]);
    let of = |n: usize| world.control.stages()[n].suppressed;
    // While the rate falls again, more are wanted than there are lines for.
    assert_eq!((of(0).total(), of(2).total(), of(2).cap), (0, 26, 26));
    // From the start of the second stage on 40 attempts a second for 22 s; 30 lines carry one in 2.115 s each.
    let (blocked, offered) = (of(1).cap as f64, 40.0 * 22.0);
    assert_eq!(u64::from(world.counted(Count::Suppressed(Suppression::Cap))), of(1).cap + of(2).cap);
    assert!((blocked / offered - (1.0 - 30.0 / 2.115 / 40.0)).abs() < 0.02, "{blocked} of {offered}");
    let placed = |from: f64, to: f64| {
        world.placed_at.iter().filter(|at| (from..to).contains(&world.elapsed(**at))).count() as f64
    };
    assert!((placed(6.0, 26.0) - 200.0).abs() <= 1.0 && (placed(52.0, 72.0) - 100.0).abs() <= 1.0);
    // While the rate falls from 40 to 5 in 2 s, 45 are wanted.
    let wanted = placed(48.0, 50.0) + f64::from(of(2).total() as u32);
    assert!((wanted - 45.0).abs() <= 1.0, "{wanted}");
    assert!(world.records.iter().all(|record| record.ending == Ending::Completed));
}

#[test]
fn a_stop_in_one_stage_plays_no_other() {
    let mut world = world(load(1, "10/s", S), vec![stage(5, "10/s", 20 * S), stage(9, "10/s", 20 * S)]);
    world.run_until(world.now + 10 * S);
    world.stop(Stop::Early);
    world.run();
    assert_eq!((world.control.stages().len(), world.most_up), (1, 5));
    let stage = &world.control.stages()[0];
    assert_eq!((stage.from_s, stage.to_s), (Some(3.0), Some(10.3)));
}
