//! Open loads in virtual time, held against what the theory of traffic says of them.

use std::time::Duration;

use proptest::prelude::*;

use super::far_end::{MS, S, Script, World, load};
use super::{Count, Stop};
use crate::record::{Ending, Phase, Suppression};
use crate::scenario::{Arrivals, CallDuration, Load, erlang_b};
use crate::values::{Rate, Span};

/// Time that the far end, the media and a BYE add to a call's length: 100 + 5 + 10 ms.
const AROUND_S: f64 = 0.115;

fn open(rate: f64, arrivals: Arrivals, call: CallDuration, cap: u32, hold: Duration) -> Load {
    let (rate, call_duration) = (Some(Rate(rate)), Some(call));
    Load { rate, arrivals, call_duration, ..load(cap, "0s", hold) }
}

fn exponential(seconds: u32) -> CallDuration {
    CallDuration::Exponential(Span(seconds * S))
}

fn suppressed(world: &World, why: Suppression) -> u32 {
    world.counted(Count::Suppressed(why))
}

fn all_suppressed(world: &World) -> u32 {
    [Suppression::Cap, Suppression::Port, Suppression::Late].map(|why| suppressed(world, why)).iter().sum()
}

fn attempts(world: &World) -> u32 {
    world.placed_at.len() as u32
}

/// Seconds from the start to the end of the hold phase, after which nothing is offered.
fn offered_for(world: &World) -> f64 {
    world.elapsed(world.window().expect("a window").1)
}

/// Mean number of calls up in the measured window, by the calls' records.
fn carried(world: &World) -> f64 {
    let (from, to) = world.window().expect("a window");
    let (from, to) = (world.elapsed(from), world.elapsed(to));
    let up = world.records.iter().filter_map(|record| {
        let (since, held) = (world.elapsed(world.placed_at[record.call as usize]) + 0.1, record.held_ms?);
        Some(((since + held.as_ms() / 1000.0).min(to) - since.max(from)).max(0.0))
    });
    up.sum::<f64>() / (to - from)
}

/// No attempt is placed later than it may be, whatever held the driver up.
fn assert_none_is_late(world: &World) {
    for record in &world.records {
        let late = world.elapsed(world.placed_at[record.call as usize]) - record.intended_s;
        assert!((0.0..=0.1).contains(&late), "call {} was placed {late} s late", record.call);
    }
}

#[test]
fn ten_thousand_poisson_calls_are_blocked_as_erlang_b_says_and_carry_the_rest() {
    const RATE: f64 = 50.0;
    let runs: Vec<_> = (1..=5)
        .map(|seed| {
            let load = Load { seed, ..open(RATE, Arrivals::Poisson, exponential(2), 100, 200 * S) };
            let mut world = World::new(load, |_| Script::Answers(100 * MS));
            world.run();
            assert_none_is_late(&world);
            let (placed, blocked) = (attempts(&world), suppressed(&world, Suppression::Cap));
            assert_eq!(all_suppressed(&world), blocked);
            // Three means of 2 s until as many calls are up as the rate sustains, then 200 s.
            assert_eq!(offered_for(&world), 206.0);
            let (offered, wanted) = (f64::from(placed + blocked), RATE * 206.0);
            assert!((offered - wanted).abs() < 5.0 * wanted.sqrt(), "{offered} attempts, {wanted} wanted");
            (f64::from(blocked) / offered, carried(&world))
        })
        .collect();
    // A line is taken for the length of a call and what is around it. How long calls last each does not matter
    // to Erlang's formula.
    let blocked = erlang_b(RATE * (2.0 + AROUND_S), 100);
    // Up is a call from its answer to the answer to its BYE.
    let up = RATE * (1.0 - blocked) * (2.0 + 0.015);
    for (what, expected, of) in [
        ("blocked", blocked, runs.iter().map(|run| run.0).collect::<Vec<_>>()),
        ("carried", up, runs.iter().map(|run| run.1).collect()),
    ] {
        let n = of.len() as f64;
        let mean = of.iter().sum::<f64>() / n;
        let error = (of.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        // 99.9 % of Student's t with four degrees of freedom lie within 8.6 standard errors.
        assert!((mean - expected).abs() < 8.6 * error, "{what}: {mean} ± {error}, not {expected}");
        assert!((mean / expected - 1.0).abs() < 0.15, "{what}: {mean}, not {expected}");
    }
}

#[test]
fn a_load_below_its_cap_is_offered_in_full_and_holds_its_erlang_from_the_start_of_the_hold() {
    // 40 erlang of constant calls, whose attempts come exactly even: as many are up at any time.
    let call = CallDuration::Constant(Span(4 * S));
    let mut world = World::new(
        Load { ramp: "10s".parse().unwrap(), ..open(10.0, Arrivals::Even, call, 60, 30 * S) },
        |_| Script::Answers(100 * MS),
    );
    world.run();
    assert_eq!((all_suppressed(&world), attempts(&world)), (0, 5 * 10 + 10 * 34));
    let times: Vec<_> = world.phases.iter().map(|(phase, at)| (*phase, world.elapsed(*at))).collect();
    // The rate rises for 10 s; the last call of the ramp is over one call's length later.
    let phases = [Phase::Ramp, Phase::Warmup, Phase::Hold, Phase::Drain];
    assert_eq!(times, phases.into_iter().zip([0.0, 10.0, 14.0, 44.0]).collect::<Vec<_>>());
    let error = f64::from(world.calls_at_start()) - 10.0 * (4.0 + 0.015);
    assert!(error.abs() <= 1.0, "{} up at the start", world.calls_at_start());
    assert!((carried(&world) - 10.0 * (4.0 + 0.015)).abs() < 0.2, "{}", carried(&world));
    let last = world.placed_at.windows(2).filter(|pair| world.elapsed(pair[0]) >= 10.0);
    assert!(
        last.map(|pair| pair[1].since(pair[0])).all(|gap| gap.abs_diff(100 * MS) < Duration::from_nanos(3))
    );
}

#[test]
fn a_driver_that_is_held_up_suppresses_what_it_missed_and_places_none_of_it_later() {
    let call = CallDuration::Constant(Span(S));
    for (stall_from, stall) in [(9 * S, 2 * S), (22 * S, 3 * S)] {
        let mut world =
            World::new(open(100.0, Arrivals::Even, call.clone(), 500, 20 * S), |_| Script::Answers(MS));
        world.run_until(world.now + stall_from);
        let before = attempts(&world);
        world.now += stall;
        world.run();
        assert_none_is_late(&world);
        // Warm-up of 2 s, then 20 s: a stall at the end hides no attempt that was due before it.
        let end = 22.0f64.min(stall_from.as_secs_f64() + stall.as_secs_f64() - 0.1);
        let due = ((end - stall_from.as_secs_f64()) * 100.0).round() as u32;
        if stall_from == 9 * S {
            assert!(suppressed(&world, Suppression::Late).abs_diff(due) <= 1, "{due} {before}");
        }
        assert_eq!(all_suppressed(&world), suppressed(&world, Suppression::Late));
        assert_eq!(attempts(&world) + all_suppressed(&world), 2200);
    }
    // Nobody looked from one second before the end of the hold to long after it.
    let mut world = World::new(open(100.0, Arrivals::Even, call, 500, 20 * S), |_| Script::Answers(MS));
    world.run_until(world.now + 21 * S);
    world.now += 5 * S;
    world.run();
    assert_none_is_late(&world);
    assert_eq!(attempts(&world) + all_suppressed(&world), 2200);
    assert!(suppressed(&world, Suppression::Late).abs_diff(100) <= 1);
}

#[test]
fn attempts_without_a_port_are_suppressed_by_that_name_and_not_tried_again() {
    let call = CallDuration::Constant(Span(2 * S));
    let mut world = World::new(open(10.0, Arrivals::Even, call, 50, 20 * S), |_| Script::Answers(100 * MS));
    world.ports.truncate(10);
    world.run();
    let (placed, without) = (attempts(&world), suppressed(&world, Suppression::Port));
    assert_eq!((placed + without, all_suppressed(&world)), (220, without));
    // Ten ports, each taken for 2.115 s, and attempts come every 0.1 s: one that finds none is gone.
    assert!((95..=106).contains(&placed), "{placed} placed");
}

#[test]
fn an_open_load_goes_on_whatever_becomes_of_its_calls() {
    let script = |call: u32| match call % 4 {
        0 => Script::Rejects(50 * MS),
        1 => Script::Silent,
        2 => Script::HangsUp(300 * MS),
        _ => Script::Answers(100 * MS),
    };
    let mut world = World::new(open(20.0, Arrivals::Even, exponential(1), 400, 40 * S), script);
    world.run();
    assert_eq!((attempts(&world), all_suppressed(&world)), (20 * 43, 0));
    assert_none_is_late(&world);
    // A rejected call is followed by the next attempt in its time, not by a rest.
    assert!(world.placed_at.windows(2).all(|pair| pair[1].since(pair[0]).abs_diff(50 * MS) < MS));
}

#[test]
fn where_nobody_answers_an_open_load_ends_before_its_hold() {
    let mut world =
        World::new(open(5.0, Arrivals::Even, exponential(20), 400, 300 * S), |_| Script::Rejects(MS));
    world.run();
    assert!(world.elapsed(world.now) < 61.0, "{}", world.elapsed(world.now));
    assert!(world.window().is_none_or(|(from, to)| to <= from));
    assert!(world.records.iter().all(|record| record.ending == Ending::Rejected));
}

#[test]
fn at_the_planned_end_no_call_outlasts_its_own_end_or_its_turn() {
    let call = CallDuration::List(vec![Span(2 * S), Span(60 * S)]);
    let mut world = World::new(
        Load { ramp: "20s".parse().unwrap(), ..open(5.0, Arrivals::Poisson, call, 400, 80 * S) },
        |_| Script::Answers(100 * MS),
    );
    world.run();
    let drained = world.elapsed(world.now) - offered_for(&world);
    assert!((10.0..=20.2).contains(&drained), "{drained} s for all to be hung up");
    assert!(world.records.iter().all(|record| record.ending == Ending::Completed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_attempt_is_placed_or_counted_and_no_call_is_lost(
        scripts in proptest::collection::vec(prop_oneof![
            (0u64..3000).prop_map(|ms| Script::Answers(Duration::from_millis(ms))),
            (0u64..3000).prop_map(|ms| Script::Rejects(Duration::from_millis(ms))),
            Just(Script::Silent),
            Just(Script::IgnoresBye),
            (0u64..5000).prop_map(|ms| Script::HangsUp(Duration::from_millis(ms))),
        ], 1..8),
        (rate, cap, ports) in (1u32..80, 1u32..60, 1usize..80),
        (ramp, mean, seed) in (0u64..6, 1u32..4, any::<u32>()),
        is_even in any::<bool>(),
        stalls in proptest::collection::vec((0u64..9000, 0u64..3000), 0..4),
        stop in proptest::option::of((0u64..15_000, prop_oneof![Just(Stop::Early), Just(Stop::Soon)])),
    ) {
        let arrivals = if is_even { Arrivals::Even } else { Arrivals::Poisson };
        let wanted = open(f64::from(rate), arrivals, exponential(mean), cap, 10 * S);
        let wanted = Load { seed, ramp: format!("{ramp}s").parse().unwrap(), ..wanted };
        let mut world = World::new(wanted, move |call| scripts[call as usize % scripts.len()]);
        world.ports.truncate(ports);
        for (after, stall) in stalls {
            world.run_until(world.now + Duration::from_millis(after));
            world.now += Duration::from_millis(stall);
        }
        if let Some((after, level)) = stop {
            world.run_until(world.now + Duration::from_millis(after));
            world.stop(level);
        }
        world.run();
        prop_assert!(world.most_up <= cap);
        assert_none_is_late(&world);
        let mut closed: Vec<_> = world.records.iter().map(|r| r.call).collect();
        closed.sort_unstable();
        prop_assert!(closed.into_iter().eq(0..attempts(&world)));
        prop_assert!(world.control.poll_timeout().is_none(), "deadlines of calls that are over");
        // A load that nobody answers ends before its hold does, at the first look after a stall.
        let is_whole = stop.is_none() && world.window().is_some_and(|(from, to)| to.since(from) >= 10 * S);
        if is_whole && is_even {
            let hold_end = offered_for(&world);
            let due = f64::from(rate) * (hold_end - ramp as f64 / 2.0);
            let found = f64::from(attempts(&world) + all_suppressed(&world));
            prop_assert!((found - due).abs() <= 1.001, "{found} attempts of {due}");
        }
    }
}
