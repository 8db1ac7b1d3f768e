//! A call's state machine against a small Asterisk of its own, in virtual time.

use std::time::Duration;

use crate::harness::world::{CALLER, Fate, World, asterisk_media, at, ids, start};
use loadtest::ari::CallIds;
use loadtest::ari::call::{AriCall, GONE_LIMIT, SETUP_LIMIT, UNBRIDGED_LIMIT};
use loadtest::ari::event::Event;
use loadtest::ari::exchange::AriInput;
use loadtest::ari::outcome::ServiceOutcome;
use loadtest::ari::request::{AriRequest, HangUpReason, Operation};
use loadtest::stamp::Stamp;
use proptest::prelude::*;
use strum::VariantArray as _;

/// A request for something that exists already.
fn request(operation: Operation, reason: HangUpReason) -> AriRequest {
    AriRequest::of(operation, &ids(), None, reason).expect("only creating media needs a target")
}

#[test]
fn a_call_goes_in_the_order_that_has_no_races() {
    let mut world = World::new();
    assert_eq!(world.requests.len(), 3);
    world.answer(Operation::CreateMedia, Fate::Honest);
    world.answer(Operation::CreateBridge, Fate::Honest);
    world.deliver();
    assert!(world.asked_for(Operation::AddChannels) == 0, "the answer is not through");
    world.pass(Duration::from_millis(30));
    world.answer(Operation::Answer, Fate::Honest);
    world.answer(Operation::AddChannels, Fate::Honest);
    world.deliver_nth(0);
    assert!(!world.bridged, "only one of two is in");
    world.deliver();
    assert!(world.bridged && world.call.is_bridged());
    assert_eq!(world.call.poll_timeout(), None);

    world.pass(Duration::from_secs(60));
    world.hang_up();
    world.deliver();
    assert_eq!(world.requests.last(), Some(&request(Operation::DeleteMedia, HangUpReason::Normal)));
    world.answer(Operation::DeleteMedia, Fate::Honest);
    assert_eq!(world.asked_for(Operation::DeleteBridge), 0);
    world.deliver();
    world.answer(Operation::DeleteBridge, Fate::Honest);
    let record = world.ended.clone().unwrap();
    assert_eq!((record.outcome, record.retries), (ServiceOutcome::Completed, 0));
    assert_eq!((record.answered_at, record.bridged_at), (Some(at(30)), Some(at(30))));
    assert_eq!(world.asked_for(Operation::HangUp), 0);
    world.assert_nothing_left();
}

#[test]
fn a_caller_who_is_gone_is_an_outcome() {
    let mut world = World::new();
    world.caller = false;
    world.answer(Operation::Answer, Fate::Honest);
    let record = world.settle();
    assert_eq!(record.outcome, ServiceOutcome::CallerGone);
    assert_eq!(world.asked_for(Operation::HangUp), 0);
    world.assert_nothing_left();
}

#[test]
fn a_creation_under_way_is_waited_for_before_it_is_deleted() {
    let mut world = World::new();
    world.hang_up();
    world.deliver();
    assert_eq!(world.requests.len(), 3, "nothing is deleted yet");
    world.answer(Operation::CreateMedia, Fate::Honest);
    assert_eq!(world.asked_for(Operation::DeleteMedia), 1);
    assert_eq!(world.settle().outcome, ServiceOutcome::CallerGone);
    world.assert_nothing_left();
}

#[test]
fn an_adding_that_succeeded_only_in_words_ends_the_call() {
    let mut world = World::new();
    for operation in [Operation::Answer, Operation::CreateBridge, Operation::CreateMedia] {
        world.answer(operation, Fate::Honest);
    }
    world.deliver();
    world.answer(Operation::AddChannels, Fate::Pretended);
    let record = world.settle();
    assert_eq!((record.outcome, record.ended_at), (ServiceOutcome::NotBridged, Stamp::ZERO + SETUP_LIMIT));
    world.assert_nothing_left();
}

#[test]
fn only_what_can_help_is_retried_and_only_so_often() {
    let mut world = World::new();
    world.answer(Operation::CreateBridge, Fate::Honest);
    world.answer(Operation::CreateMedia, Fate::Honest);
    world.deliver();
    world.answer(Operation::Answer, Fate::Refused(412));
    assert_eq!(world.asked_for(Operation::Answer), 1);
    world.pass(Duration::from_millis(50));
    world.answer(Operation::Answer, Fate::Honest);
    for _ in 0..5 {
        world.answer(Operation::AddChannels, Fate::Refused(422));
        world.pass(Duration::from_secs(1));
    }
    let refused = ServiceOutcome::Refused { operation: Operation::AddChannels, status: Some(422) };
    let record = world.settle();
    assert_eq!((record.outcome, record.retries), (refused, 5));
    world.assert_nothing_left();

    let mut world = World::new();
    world.answer(Operation::CreateMedia, Fate::Refused(400));
    let record = world.settle();
    assert_eq!(record.retries, 0);
    assert_eq!(world.asked_for(Operation::DeleteMedia), 0, "it never was");
    let hang_up = request(Operation::HangUp, HangUpReason::Congestion);
    assert!(world.requests.contains(&hang_up));
    world.assert_nothing_left();
}

#[test]
fn a_media_channel_whose_creation_was_not_answered_is_not_created_twice() {
    let mut world = World::new();
    world.answer(Operation::CreateMedia, Fate::AnswerLost);
    let refused = ServiceOutcome::Refused { operation: Operation::CreateMedia, status: None };
    assert_eq!(world.settle().outcome, refused);
    assert_eq!((world.asked_for(Operation::CreateMedia), world.asked_for(Operation::DeleteMedia)), (1, 1));
    world.assert_nothing_left();
}

#[test]
fn a_refused_adding_whose_caller_turns_out_to_be_gone_is_the_callers_doing() {
    let mut world = World::new();
    for operation in [Operation::Answer, Operation::CreateBridge, Operation::CreateMedia] {
        world.answer(operation, Fate::Honest);
    }
    world.deliver();
    world.hang_up();
    world.answer(Operation::AddChannels, Fate::Honest);
    world.answer(Operation::HangUp, Fate::Honest);
    assert_eq!(world.settle().outcome, ServiceOutcome::CallerGone);
}

#[test]
fn what_breaks_under_a_bridged_call_ends_it() {
    type Break = fn(&mut World);
    let breaks: [(Break, ServiceOutcome); 4] = [
        (World::lose_media, ServiceOutcome::MediaLost),
        (World::lose_bridge, ServiceOutcome::BridgeLost),
        (
            |world| {
                let CallIds { media, bridge, .. } = ids();
                world.events.push_back(Event::ChannelLeftBridge { bridge, channel: media });
            },
            ServiceOutcome::Unbridged,
        ),
        (|world| world.handle(AriInput::Shutdown), ServiceOutcome::Shutdown),
    ];
    for (break_it, outcome) in breaks {
        let mut world = World::bridged();
        break_it(&mut world);
        world.deliver();
        assert_eq!(world.settle().outcome, outcome);
        let hang_up = request(Operation::HangUp, HangUpReason::Normal);
        assert!(world.requests.contains(&hang_up));
        world.assert_nothing_left();
    }
}

#[test]
fn a_call_goes_with_the_asterisk_that_had_it() {
    let mut world = World::bridged();
    world.restart();
    let asked = world.requests.len();
    let record = world.settle();
    assert_eq!((record.outcome, record.left_behind.any()), (ServiceOutcome::AsteriskRestarted, false));
    assert_eq!((world.requests.len(), world.released), (asked, 1), "there is nothing to delete");

    // A request to the old one may have reached the new one.
    let mut world = World::new();
    world.answer(Operation::CreateBridge, Fate::Honest);
    world.restart();
    world.answer(Operation::CreateMedia, Fate::Honest);
    world.answer(Operation::Answer, Fate::Refused(404));
    assert_eq!(world.settle().outcome, ServiceOutcome::AsteriskRestarted);
    assert_eq!(world.asked_for(Operation::DeleteMedia), 1);
    world.assert_nothing_left();
}

#[test]
fn a_channel_that_leaves_the_bridge_for_a_moment_is_forgiven() {
    let mut world = World::bridged();
    let CallIds { media, bridge, .. } = ids();
    let left = Event::ChannelLeftBridge { bridge: bridge.clone(), channel: media.clone() };
    world.handle(AriInput::Event(&left));
    world.pass(UNBRIDGED_LIMIT / 2);
    world.handle(AriInput::Event(&Event::ChannelEnteredBridge { bridge, channel: media }));
    world.pass(UNBRIDGED_LIMIT * 3);
    assert!(world.call.is_bridged() && world.call.poll_timeout().is_none());
}

#[test]
fn an_end_that_is_not_heard_of_does_not_hold_the_port() {
    let mut world = World::bridged();
    world.hang_up();
    world.deliver();
    world.answer(Operation::DeleteMedia, Fate::Honest);
    world.events.clear();
    world.pass(GONE_LIMIT);
    world.answer(Operation::DeleteBridge, Fate::Honest);
    let record = world.ended.clone().unwrap();
    assert!(record.left_behind.media && !record.left_behind.bridge);
    assert_eq!(world.released, 1);
}

#[test]
fn a_caller_without_a_port_is_turned_away_unanswered() {
    let mut world = World::around(AriCall::turn_away(at(0), ids(), ServiceOutcome::NoPort, 1));
    world.collect();
    let hang_up = request(Operation::HangUp, HangUpReason::Congestion);
    assert_eq!(world.requests, [hang_up]);
    assert_eq!(world.settle().outcome, ServiceOutcome::NoPort);
    assert_eq!(world.released, 0);
    assert!(!world.caller);
}

#[test]
fn answers_to_an_ended_call_are_nothing() {
    let mut world = World::bridged();
    world.hang_up();
    world.settle();
    for &operation in Operation::VARIANTS {
        world.handle(AriInput::Answer { operation, status: 200, media: Some(asterisk_media()) });
        world.handle(AriInput::NoAnswer { operation, sent: true });
    }
    world.handle(AriInput::Event(&start(&ids().media)));
    world.handle(AriInput::Shutdown);
    assert_eq!(world.released, 1);
}

/// One step of a disorderly life.
#[derive(Debug, Clone)]
enum Step {
    Answer(usize, Fate),
    Deliver(usize),
    LoseEvent(usize),
    Pass(u64),
    HangUp,
    LoseMedia,
    LoseBridge,
    Repeat,
    Restart,
    Shutdown,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        6 => Just(Fate::Honest),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::NotSent),
        1 => Just(Fate::Pretended),
        // 404 to a deletion is not among them: it would be a lie.
        2 => prop::sample::select(vec![400, 401, 409, 412, 422, 500, 503]).prop_map(Fate::Refused),
    ];
    prop_oneof![
        8 => (any::<usize>(), fate).prop_map(|(n, fate)| Step::Answer(n, fate)),
        6 => any::<usize>().prop_map(Step::Deliver),
        1 => any::<usize>().prop_map(Step::LoseEvent),
        3 => (0u64..4000).prop_map(Step::Pass),
        1 => Just(Step::HangUp),
        1 => Just(Step::LoseMedia),
        1 => Just(Step::LoseBridge),
        1 => Just(Step::Repeat),
        1 => Just(Step::Restart),
        1 => Just(Step::Shutdown),
    ]
}

impl World {
    fn take_step(&mut self, step: &Step) {
        match step {
            Step::Answer(n, fate) if !self.asked.is_empty() => {
                let n = n % self.asked.len();
                // 409 to the answering of a caller who is in the application would be a lie.
                let lie = *fate == Fate::Refused(409) && self.asked[n].operation == Operation::Answer;
                self.answer_nth(n, if lie { Fate::Honest } else { *fate });
            }
            Step::Deliver(n) if !self.events.is_empty() => self.deliver_nth(n % self.events.len()),
            Step::LoseEvent(n) if !self.events.is_empty() => drop(self.events.remove(n % self.events.len())),
            Step::Pass(ms) => self.pass(Duration::from_millis(*ms)),
            Step::HangUp => self.hang_up(),
            Step::LoseMedia => self.lose_media(),
            // While its creation is being repeated, an end would not say of which one.
            Step::LoseBridge if self.call.has_bridge() => self.lose_bridge(),
            Step::Repeat => self.handle(AriInput::Event(&start(CALLER))),
            Step::Restart => self.restart(),
            Step::Shutdown => self.handle(AriInput::Shutdown),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// For any events in any order: once the caller has hung up or the service shuts down, the
    /// call ends in bounded time, the port is released exactly once, and nothing is left in Asterisk
    /// that the record does not name.
    #[test]
    fn any_life_ends_with_nothing_held(steps in prop::collection::vec(step(), 0..60), by_shutdown: bool) {
        let mut world = World::new();
        for step in &steps {
            world.take_step(step);
        }
        if by_shutdown {
            world.handle(AriInput::Shutdown);
        } else {
            // Once more if it was lost: after a lost connection a listing of the channels tells it.
            world.caller = true;
            world.hang_up();
        }
        let record = world.settle();
        prop_assert_eq!(world.released, 1);
        prop_assert!(!world.media || record.left_behind.media);
        prop_assert!(!world.bridge || record.left_behind.bridge);
        prop_assert!(!world.caller || record.left_behind.caller);
        prop_assert!(world.requests.len() <= 60, "{} requests", world.requests.len());
    }
}
