//! Run after run over the same connections, and what nobody of a run sends.

use super::*;
use crate::record::EndedEarly;

const TRIAL: Task = Task::Trial { load: 40.0, hold_ns: 5_000_000_000, enough_ns: Some(0), goal: None };

/// Shards of a search, all of which have come.
fn searching(count: u32) -> World {
    let mut world = World::like(Hello { purpose: Purpose::Search, ..hello(0, count) });
    for index in 0..count {
        let skew = i64::from(index) * 3_000_000_000;
        world.join(Hello { purpose: Purpose::Search, ..hello(index, count) }, KEY, skew, MS);
    }
    world.run_for(S);
    world
}

fn room(calls: u32) -> Room {
    Room { calls, by: "ports\u{1b}[2J".into(), streams: calls, broke: None }
}

/// All say that they are prepared.
fn prepared(count: u32) -> World {
    let mut world = searching(count);
    for id in 0..u64::from(count) {
        world.tell(id, MemberInput::Prepared(room(10 + id as u32)));
    }
    world.run_for(S);
    world
}

fn next(world: &mut World, run_id: u32, task: Task) {
    let now = world.now;
    world.coordinator.handle(now, CoordinatorInput::Next(run_id, task));
    world.settle();
    world.run_for(S);
}

/// Plays the run that all were told of, to its last record.
fn play(world: &mut World) {
    world.all(|| MemberInput::Ready);
    world.run_for(2 * S);
    world.hold(2, |_| Beat { settled: 1, phase: Phase::Hold, ..Beat::default() });
    let ids: Vec<u64> = world.shards.keys().copied().collect();
    for id in ids {
        let skew = world.shards[&id].skew_ns;
        let now = Stamp::from_ns(world.now.as_ns().saturating_add_signed(skew));
        world.tell(id, MemberInput::Ended(now));
        world.tell(id, MemberInput::File("calls.csv", b"x"));
        world.tell(id, MemberInput::Delivered);
        // The figures of this run are not to be those of the next.
        world.shards.get_mut(&id).unwrap().beat = Beat::default();
    }
    world.run_for(S);
}

fn count(world: &World, is: impl Fn(&CoordinatorEvent) -> bool) -> usize {
    world.events.iter().filter(|event| is(event)).count()
}

#[test]
fn run_follows_run_until_the_verdict_and_each_has_its_start_and_its_ramp() {
    let mut world = searching(3);
    for id in [0, 1] {
        world.tell(id, MemberInput::Prepared(room(10)));
    }
    // What comes before the first run takes its time.
    world.run_for(3 * WAIT);
    assert!(
        world.absences().is_empty() && count(&world, |e| matches!(e, CoordinatorEvent::Prepared(_))) == 0
    );
    world.tell(2, MemberInput::Prepared(room(7)));
    world.run_for(S);
    let rooms = world.events.iter().find_map(|event| match event {
        CoordinatorEvent::Prepared(rooms) => Some(rooms.clone()),
        _ => None,
    });
    let rooms = rooms.expect("all are prepared");
    assert_eq!(rooms.iter().map(|room| room.calls).collect::<Vec<_>>(), [10, 10, 7]);
    assert!(rooms.iter().all(|room| !room.by.contains('\u{1b}')), "{rooms:?}");
    for run in 1..=3u32 {
        next(&mut world, run, TRIAL);
        assert!(world.heard(2, |output| *output == MemberOutput::Next(run, TRIAL)));
        play(&mut world);
        assert_eq!(count(&world, |e| matches!(e, CoordinatorEvent::Starts(_))), run as usize);
        assert_eq!(count(&world, |e| *e == CoordinatorEvent::AllDelivered), run as usize);
        let ramps = |output: &&MemberOutput| matches!(output, MemberOutput::RampOver(1, _));
        assert_eq!(world.shards[&1].heard.iter().filter(ramps).count(), run as usize);
        let started =
            world.coordinator.roll().iter().map(|shard| shard.started_at.unwrap()).collect::<Vec<_>>();
        assert!(started.iter().max().unwrap().since(*started.iter().min().unwrap()) <= 2 * MS, "{started:?}");
        // The coordinator draws charts, and the target rests.
        world.run_for(30 * S);
    }
    assert!(world.absences().is_empty(), "{:?}", world.absences());
    let now = world.now;
    world.coordinator.handle(now, CoordinatorInput::Verdict(0, "40 to 50 calls".into()));
    world.settle();
    world.run_for(S);
    assert!((0..3).all(|id| world.heard(id, |o| *o == MemberOutput::Verdict(0, "40 to 50 calls".into()))));
}

#[test]
fn who_is_lost_between_two_runs_is_noticed_and_there_is_no_other() {
    for is_closed in [true, false] {
        let mut world = prepared(3);
        next(&mut world, 1, TRIAL);
        play(&mut world);
        world.shards.get_mut(&1).unwrap().is_cut = true;
        if is_closed {
            world.post(MS, Parcel::ToCoordinator(1, None));
        }
        world.run_for(LOST_AFTER + S);
        assert!(world.heard(
            2,
            |output| matches!(output, MemberOutput::End(HowToEnd::Soon, why) if why.contains("shard 1"))
        ));
        next(&mut world, 2, TRIAL);
        assert_eq!(count(&world, |e| *e == CoordinatorEvent::CalledOff), 1);
        assert!(!world.heard(2, |output| matches!(output, MemberOutput::Next(2, _))));
        let now = world.now;
        world.coordinator.handle(now, CoordinatorInput::Verdict(12, "shard 1 was lost".into()));
        world.settle();
        world.run_for(S);
        assert!([0, 2].iter().all(|id| world.heard(*id, |o| matches!(o, MemberOutput::Verdict(12, _)))));
    }
}

#[test]
fn a_coordinator_that_falls_silent_between_two_runs_is_lost_as_soon_as_in_one() {
    let mut world = prepared(2);
    next(&mut world, 1, TRIAL);
    play(&mut world);
    let member = &mut world.shards.get_mut(&1).unwrap().member;
    let at = member.poll_timeout().unwrap();
    member.handle_timeout(at);
    assert!(matches!(member.poll(), Some(MemberOutput::Lost(_))));
    let now = Stamp::from_ns(world.now.as_ns().saturating_add_signed(3_000_000_000));
    assert!(at.since(now) <= LOST_AFTER, "{:?}", at.since(now));
}

#[test]
fn who_was_ended_with_the_others_hears_the_verdict_and_an_interrupt_ends_what_was_to_come() {
    let mut world = prepared(3);
    next(&mut world, 1, TRIAL);
    world.tell(1, MemberInput::Interrupted);
    world.run_for(S);
    assert!(world.events.contains(&CoordinatorEvent::Interrupted(1)));
    assert!(world.heard(
        0,
        |o| matches!(o, MemberOutput::End(HowToEnd::Soon, why) if why.contains("shard 1 was interrupted"))
    ));
    [0, 2].iter().for_each(|id| world.tell(*id, MemberInput::Parted));
    // Whoever coordinates works through the records first.
    world.run_for(10 * S);
    assert!(!(0..3).any(|id| world.heard(id, |o| matches!(o, MemberOutput::Lost(_)))));
    let now = world.now;
    world.coordinator.handle(now, CoordinatorInput::Verdict(130, "shard 1 was interrupted".into()));
    world.settle();
    world.run_for(S);
    assert!((0..3).all(|id| world.heard(id, |o| matches!(o, MemberOutput::Verdict(130, _)))));
}

#[test]
fn a_gate_over_all_ends_one_run_alone_and_each_shard_is_told_which() {
    let mut world = prepared(2);
    next(&mut world, 1, TRIAL);
    world.all(|| MemberInput::Ready);
    world.run_for(2 * S);
    let early =
        EndedEarly { gate: "loss.ratio < 1%".into(), actual: "3 %\u{1b}".into(), since_s: 1.0, at_s: 2.0 };
    let now = world.now;
    world.coordinator.handle(now, CoordinatorInput::EndsEarly(early.clone()));
    world.settle();
    world.run_for(S);
    let tidy = EndedEarly { actual: "3 %".into(), ..early };
    assert!((0..2).all(|id| world.heard(id, |output| *output == MemberOutput::EndsEarly(tidy.clone()))));
    play(&mut world);
    next(&mut world, 2, TRIAL);
    assert!(world.heard(1, |output| *output == MemberOutput::Next(2, TRIAL)));
}

/// Whatever a coordinator sends in the place of a task.
#[test]
fn a_task_that_no_coordinator_sends_is_not_played() {
    let trial = |load, hold_ns, enough_ns, goal| Task::Trial { load, hold_ns, enough_ns, goal };
    for task in [
        trial(0.0, 1, None, None),
        trial(-1.0, 1, None, None),
        trial(1e300, 1, None, None),
        trial(1.0, 0, None, None),
        trial(1.0, u64::MAX, None, None),
        trial(1.0, 1, Some(u64::MAX), None),
        trial(1.0, 1, None, Some(u32::MAX)),
        Task::Side { is_new: true },
    ] {
        let mut world = prepared(1);
        next(&mut world, 1, task.clone());
        assert!(!world.heard(0, |output| matches!(output, MemberOutput::Next(..))), "{task:?}");
        assert!(world.heard(0, |output| matches!(output, MemberOutput::Lost(why) if why.contains("task"))));
    }
    // One run has no second.
    let mut world = World::of(&[(0, MS)]);
    next(&mut world, 1, TRIAL);
    assert!(!world.heard(0, |output| matches!(output, MemberOutput::Next(..))));
}

#[test]
fn those_of_another_command_are_refused_and_what_nobody_asked_is_not_heard() {
    let mut world = World::like(Hello { purpose: Purpose::Search, ..hello(0, 2) });
    let id = world.join(hello(1, 2), KEY, 0, MS);
    world.run_for(S);
    let is_refused = |output: &MemberOutput| matches!(output, MemberOutput::Refused(why) if why.contains("the command run") && why.contains("search"));
    assert!(world.heard(id, is_refused), "{:?}", world.shards[&id].heard);
    // A room is told once, before the first run, and in no other kind of run.
    let mut world = World::of(&[(0, MS), (0, MS)]);
    world.tell(1, MemberInput::Prepared(room(1)));
    world.run_for(S);
    assert!(world.absences()[0].1.contains("nobody had asked"), "{:?}", world.absences());
}

#[test]
fn a_shard_that_sends_what_no_shard_sends_is_sent_away_and_named() {
    for (input, word) in [
        (MemberInput::File("calls.csv", b"x"), "nobody asked for"),
        (MemberInput::Delivered, "before it had ended"),
    ] {
        let mut world = World::of(&[(0, MS); 2]);
        world.all(|| MemberInput::Ready);
        world.run_for(2 * S);
        world.tell(1, input);
        world.run_for(100 * MS);
        let absences = world.absences();
        assert!(absences[0].0 == 1 && absences[0].1.contains(word), "{absences:?}");
    }
    let mut world = World::of(&[(0, MS); 2]);
    world.all(|| MemberInput::Ready);
    world.run_for(2 * S);
    world.tell(1, MemberInput::Ended(Stamp::ZERO));
    world.tell(1, MemberInput::File("../../etc/passwd", b"x"));
    world.run_for(100 * MS);
    assert!(!world.events.iter().any(|event| matches!(event, CoordinatorEvent::File(..))));
    assert!(world.absences()[0].1.contains("nobody asked for"));
}
