//! Shards in virtual time: what they place together is what one driver places.

use std::time::Duration;

use proptest::prelude::*;

use super::Input;
use super::far_end::{MS, S, SETUP, Script, World, load};
use crate::record::{CallRecord, Ending, Phase};
use crate::scenario::{Arrivals, CallDuration, Load, Scenario, Stage};
use crate::shard::Shard;
use crate::stamp::Stamp;
use crate::values::{Rate, Span};

/// Each shard's world, played to its end. Far ends answer after 100 ms.
fn worlds(scenario: &Scenario, count: u32) -> Vec<World> {
    let world = |index| {
        let shard = Shard::new(index, count).expect("a shard");
        let mut world = World::dealt(scenario.clone(), shard, |_| Script::Answers(100 * MS));
        world.run();
        world
    };
    (0..count).map(world).collect()
}

/// All records in the order of their numbers.
fn records(worlds: &[World]) -> Vec<CallRecord> {
    let mut all: Vec<_> = worlds.iter().flat_map(|world| world.records.iter().cloned()).collect();
    all.sort_by_key(|record| record.call);
    all
}

/// Number, line and intended time of each call that is wanted before `until_s`, with its length where it was held to its end.
fn schedule(records: &[CallRecord], until_s: f64) -> Vec<(u32, u32, f64, Option<u64>)> {
    let placed = records.iter().filter(|record| record.intended_s < until_s);
    let held = |record: &CallRecord| {
        let is_whole = record.ending == Ending::Completed;
        record
            .held_ms
            .filter(|held| is_whole && record.intended_s + held.as_ms() / 1000.0 < until_s)
            .map(|held| held.0)
    };
    placed.map(|record| (record.call, record.line, record.intended_s, held(record))).collect()
}

fn of(load: Load) -> Scenario {
    Scenario { load, ..Scenario::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..Default::default() })]

    #[test]
    fn an_open_load_is_dealt_attempt_by_attempt(
        count in 1u32..7, rate in 1.0f64..40.0, seed in any::<u32>(), is_poisson in any::<bool>(), mean in 1u64..9,
    ) {
        let arrivals = if is_poisson { Arrivals::Poisson } else { Arrivals::Even };
        let call_duration = Some(CallDuration::Exponential(Span(mean as u32 * S)));
        // So many lines that no shard finds its own taken.
        let load = Load { rate: Some(Rate(rate)), arrivals, seed, call_duration, ..load(6000, "3s", 10 * S) };
        let one = worlds(&of(load.clone()), 1);
        let shards = worlds(&of(load), count);
        let (until, lines) = (10.0, |all: Vec<(u32, u32, f64, Option<u64>)>| {
            all.into_iter().map(|(call, _, at, held)| (call, at, held)).collect::<Vec<_>>()
        });
        let whole = lines(schedule(&records(&one), until));
        prop_assert!(!whole.is_empty());
        prop_assert_eq!(lines(schedule(&records(&shards), until)), whole);
        for (index, world) in (0..).zip(&shards) {
            prop_assert!(world.records.iter().all(|record| record.call % count == index && record.line % count == index));
            prop_assert_eq!(world.window(), shards[0].window());
        }
        prop_assert_eq!(shards[0].window().map(|(from, _)| from.as_ns() / 1_000_000_000),
            one[0].window().map(|(from, _)| from.as_ns().div_ceil(1_000_000_000)));
    }

    #[test]
    fn lines_of_a_closed_load_are_dealt_one_by_one(
        count in 1u32..7, each in 1u32..5, more in 0u32..6, rate in 2u32..50, length in 2u64..9,
    ) {
        let calls = count * each + more.min(count - 1);
        let call_duration = Some(CallDuration::Constant(Span(length as u32 * S)));
        let load = Load { call_duration, ..load(calls, &format!("{rate}/s"), 30 * S) };
        let (one, shards) = (worlds(&of(load.clone()), 1), worlds(&of(load), count));
        let until = 20.0;
        let (whole, dealt) = (schedule(&records(&one), until), schedule(&records(&shards), until));
        let sorted = |all: &[(u32, u32, f64, Option<u64>)]| {
            let mut all: Vec<_> = all.iter().map(|(_, line, at, held)| (*line, (at * 1e9).round() as u64, *held)).collect();
            all.sort_unstable();
            all
        };
        // Calls that end within the ramp wait for a place behind it: with unequal shares, in another order. The ramp of a
        // shard with one line more is the longer one.
        if length * u64::from(rate) >= u64::from(calls.next_multiple_of(count)) {
            prop_assert_eq!(sorted(&dealt), sorted(&whole));
        }
        // The first call of each line has its number.
        prop_assert!(dealt.iter().take(calls as usize).all(|(call, line, ..)| call == line));
        if calls % count == 0 {
            prop_assert_eq!(&dealt, &whole);
        }
    }

    #[test]
    fn stages_begin_and_end_for_all_shards_at_once(
        count in 2u32..6, targets in prop::collection::vec(1u32..30, 1..4), decided_ms in 0u64..4000,
    ) {
        let stage = |calls: &u32| Stage { calls: Some(*calls), rate: None, ramp: None, hold: Span(5 * S) };
        let mut scenario = of(load(1, "10/s", S));
        scenario.stage = targets.iter().map(stage).collect();
        let mut shards: Vec<_> = (0..count).map(|index| {
            let shard = Shard::new(index, count).unwrap();
            World::dealt(scenario.clone(), shard, move |call| Script::Answers((50 + call % 7 * 20) * MS))
        }).collect();
        // The coordinator's part: once every shard is decided, all are told when the ramp is over.
        for (number, target) in (1..).zip(&targets) {
            let step = 100 * MS;
            while shards.iter().any(|world| world.control.settled() < number) {
                let to = shards[0].now + step;
                shards.iter_mut().for_each(|world| world.run_until(to));
            }
            let at = shards[0].now + decided_ms as u32 * MS;
            for world in &mut shards {
                world.inject(Input::RampOver { stage: number, at });
                prop_assert_eq!(world.control.phase().0, Phase::Ramp);
                world.run_until(at + 4 * S);
                prop_assert_eq!(world.control.phase().0, Phase::Hold);
            }
            let stages: Vec<_> = shards.iter().map(|world| world.control.stages().last().unwrap().clone()).collect();
            prop_assert_eq!(stages.iter().map(|stage| stage.calls.unwrap()).sum::<u32>(), *target);
            prop_assert_eq!(stages.iter().map(|stage| stage.calls_at_start).sum::<u32>(), *target);
            for stage in &stages {
                prop_assert_eq!((stage.begin_s, stage.from_s, stage.to_s), (stages[0].begin_s, stages[0].from_s, stages[0].to_s));
            }
        }
        shards.iter_mut().for_each(World::run);
        prop_assert!(shards.iter().all(|world| world.windows == shards[0].windows));
    }
}

#[test]
fn without_word_from_the_others_a_ramp_takes_its_longest_and_is_the_same_for_all() {
    let shards = worlds(&of(load(9, "10/s", 5 * S)), 3);
    let from = |world: &World| world.elapsed(world.window().unwrap().0);
    // 0.8 s of ramp, 32 s of set-up, one of slack, two of warm-up, and the next whole second.
    assert!(shards.iter().all(|world| from(world) == (SETUP + 4 * S).as_secs_f64()), "{}", from(&shards[0]));
}

#[test]
fn a_shard_whose_calls_all_fail_holds_with_the_others_and_one_without_calls_too() {
    let scenario = of(load(2, "10/s", 5 * S));
    for index in 0..3 {
        let shard = Shard::new(index, 3).unwrap();
        let mut world = World::dealt(scenario.clone(), shard, |call| match call {
            0 => Script::Answers(100 * MS),
            _ => Script::Rejects(100 * MS),
        });
        world.run_until(Stamp::ZERO + 1036 * S + 500 * MS);
        assert_eq!(world.control.phase().0, Phase::Hold, "shard {index}");
        world.run();
        assert_eq!(world.window().map(|(from, to)| to.since(from)), Some(Duration::from_secs(5)));
    }
}
