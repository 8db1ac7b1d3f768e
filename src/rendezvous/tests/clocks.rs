//! Threads that stood still, and instants that cannot be meant.

use super::super::message::FromCoordinator;
use super::*;

#[test]
fn who_stood_still_itself_holds_nobody_for_silent() {
    for stood_still in [true, false] {
        let mut world = World::of(&[(0, Duration::from_millis(1)); 2]);
        world.run_for(S);
        let late = world.now + 5 * S;
        let member = &mut world.shards.get_mut(&0).unwrap().member;
        if stood_still {
            world.coordinator.awoke(late);
            member.awoke(late);
        }
        member.handle_timeout(late);
        let is_lost =
            std::iter::from_fn(|| member.poll()).any(|output| matches!(output, MemberOutput::Lost(_)));
        world.coordinator.handle_timeout(late);
        let is_missed = world.coordinator.roll().iter().any(|shard| shard.absence.is_some());
        assert_eq!((is_lost, is_missed), (!stood_still, !stood_still));
    }
}

#[test]
fn an_instant_that_is_far_from_now_is_none_to_start_at() {
    for (away, is_far) in [(61 * S, true), (S, false)] {
        let mut world = World::of(&[(0, Duration::from_millis(1))]);
        world.run_for(S);
        let shard = world.shards.get_mut(&0).unwrap();
        let at_ns = (world.now + away).as_ns();
        shard.member.hear(world.now, FromCoordinator::Start { at_ns });
        let mut said = std::iter::from_fn(|| shard.member.poll());
        assert_eq!(said.any(|output| matches!(output, MemberOutput::Lost(_))), is_far);
    }
}

#[test]
fn a_shard_that_is_heard_and_does_not_end_is_named_when_it_is_long_overdue() {
    let mut world = World::of(&[(0, Duration::from_millis(1)); 3]);
    world.all(|| MemberInput::Ready);
    world.run_for(2 * S);
    for id in [0, 2] {
        let now = world.now;
        world.tell(id, MemberInput::Ended(now));
    }
    world.hold(110, |_| Beat::default());
    assert!(world.absences().is_empty() && !world.heard(0, is_end));
    world.hold(20, |_| Beat::default());
    let absences = world.absences();
    assert!(
        absences.len() == 1 && absences[0].0 == 1 && absences[0].1.contains("did not end"),
        "{absences:?}"
    );
    assert!(world.heard(0, is_end) && world.events.contains(&CoordinatorEvent::AllEnded));
}
