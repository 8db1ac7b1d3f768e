//! A call's state machine against a small Asterisk of its own, in virtual time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use loadtest::ari::call::{Call, GONE_LIMIT, SETUP_LIMIT, TEARDOWN_LIMIT, UNBRIDGED_LIMIT};
use loadtest::ari::event::Event;
use loadtest::ari::exchange::{Input, Output};
use loadtest::ari::outcome::{CallRecord, Outcome};
use loadtest::ari::request::{HangUpReason, Operation, Request};
use loadtest::ari::{CallIds, MediaTarget};
use loadtest::stamp::Stamp;
use proptest::prelude::*;

const CALLER: &str = "1700000000.1";

fn ids() -> CallIds {
    CallIds::new("app", CALLER)
}

fn asterisk_media() -> SocketAddr {
    "127.0.0.1:12000".parse().unwrap()
}

/// A call, and what exists on the other side of its requests.
struct World {
    call: Call,
    now: Stamp,
    /// Requests that wait for their answer.
    asked: Vec<Request>,
    /// Events that wait for their delivery.
    events: VecDeque<Event>,
    caller: bool,
    media: bool,
    media_was: bool,
    media_heard: bool,
    bridge: bool,
    connected: Option<SocketAddr>,
    bridged: bool,
    requests: Vec<Request>,
    released: usize,
    ended: Option<CallRecord>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// Carried out and answered.
    Honest,
    /// Carried out, and the answer is lost.
    AnswerLost,
    /// Never arrives.
    NotSent,
    /// Not carried out, with this answer.
    Refused(u16),
    /// Answered as if carried out, but the channels never enter the bridge.
    Pretended,
}

impl World {
    fn new() -> Self {
        let target =
            MediaTarget { app: "app".into(), host: "127.0.0.1:21000".parse().unwrap(), format: "ulaw" };
        let mut world = World::around(Call::new(at(0), ids(), target, 7));
        world.collect();
        world
    }

    fn around(call: Call) -> Self {
        World {
            call,
            now: at(0),
            asked: Vec::new(),
            events: VecDeque::new(),
            caller: true,
            media: false,
            media_was: false,
            media_heard: false,
            bridge: false,
            connected: None,
            bridged: false,
            requests: Vec::new(),
            released: 0,
            ended: None,
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.call.handle(self.now, input);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.call.poll() {
            assert!(self.ended.is_none(), "{output:?} after the end");
            match output {
                Output::Request(request) => {
                    let again = self.asked.iter().any(|open| open.operation() == request.operation());
                    assert!(!again, "two of {request:?} at once");
                    self.requests.push(request.clone());
                    self.asked.push(request);
                }
                Output::ConnectMedia(peer) => self.connected = Some(peer),
                Output::ReleasePort => self.released += 1,
                Output::Bridged(_) => self.bridged = true,
                Output::Ended(record) => self.ended = Some(record),
                Output::Answered(_) | Output::Note(_) => {}
            }
        }
    }

    /// Answers the oldest request of `operation`.
    fn answer(&mut self, operation: Operation, fate: Fate) {
        let n = self.asked.iter().position(|r| r.operation() == operation);
        self.answer_nth(n.unwrap_or_else(|| panic!("{operation} was not asked for")), fate);
    }

    fn answer_nth(&mut self, n: usize, fate: Fate) {
        let request = self.asked.remove(n);
        let operation = request.operation();
        let (status, media) = match fate {
            Fate::NotSent => return self.handle(Input::NoAnswer { operation, sent: false }),
            Fate::Refused(status) => (status, None),
            _ => self.carry_out(&request, fate == Fate::Pretended),
        };
        if fate == Fate::AnswerLost {
            self.handle(Input::NoAnswer { operation, sent: true });
        } else {
            self.handle(Input::Answer { operation, status, media });
        }
    }

    fn carry_out(&mut self, request: &Request, pretend: bool) -> (u16, Option<SocketAddr>) {
        let CallIds { caller, media, bridge } = ids();
        let entered = |channel: String| Event::ChannelEnteredBridge { bridge: bridge.clone(), channel };
        match request.operation() {
            Operation::Answer if self.caller => (204, None),
            Operation::CreateBridge => {
                self.bridge = true;
                (200, None)
            }
            Operation::CreateMedia if self.media_was => (409, None),
            Operation::CreateMedia => {
                (self.media, self.media_was) = (true, true);
                self.events.push_back(start(&media));
                (200, Some(asterisk_media()))
            }
            Operation::AddChannels if !self.caller || !self.media => (400, None),
            Operation::AddChannels if !self.bridge => (404, None),
            Operation::AddChannels if !self.media_heard => (422, None),
            Operation::AddChannels => {
                if !pretend {
                    self.events.extend([entered(caller), entered(media)]);
                }
                (204, None)
            }
            Operation::HangUp if self.caller => {
                self.hang_up();
                (204, None)
            }
            Operation::DeleteMedia if self.media => {
                self.lose_media();
                (204, None)
            }
            Operation::DeleteBridge if self.bridge => {
                self.lose_bridge();
                (204, None)
            }
            _ => (404, None),
        }
    }

    fn hang_up(&mut self) {
        if std::mem::take(&mut self.caller) {
            self.events.push_back(Event::StasisEnd { channel: CALLER.into() });
        }
    }

    fn lose_media(&mut self) {
        if std::mem::take(&mut self.media) {
            let channel = ids().media;
            self.events.push_back(Event::StasisEnd { channel: channel.clone() });
            self.events.push_back(Event::ChannelDestroyed { channel, cause: 16 });
        }
    }

    fn lose_bridge(&mut self) {
        if std::mem::take(&mut self.bridge) {
            self.events.push_back(Event::BridgeDestroyed { bridge: ids().bridge });
        }
    }

    fn deliver_nth(&mut self, n: usize) {
        let Some(event) = self.events.remove(n) else { return };
        if event == start(&ids().media) {
            self.media_heard = true;
        }
        self.handle(Input::Event(&event));
    }

    fn deliver(&mut self) {
        while !self.events.is_empty() {
            self.deliver_nth(0);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.call.poll_timeout().is_some_and(|due| due <= self.now) {
            self.handle(Input::Timeout);
        }
    }

    /// Everything that is asked for happens at once, and time passes, until the call is over.
    fn settle(&mut self) -> CallRecord {
        let begun = self.now;
        for _ in 0..1000 {
            if let Some(record) = self.ended.clone() {
                assert_eq!(self.call.poll_timeout(), None);
                return record;
            }
            if !self.asked.is_empty() {
                self.answer_nth(0, Fate::Honest);
            } else if !self.events.is_empty() {
                self.deliver_nth(0);
            } else {
                let due = self.call.poll_timeout().expect("a call that is not over waits for something");
                self.pass(due.since(self.now));
            }
            assert!(self.now.since(begun) <= SETUP_LIMIT + TEARDOWN_LIMIT, "a bounded end");
        }
        panic!("no end in sight");
    }

    /// A call that is bridged.
    fn bridged() -> Self {
        let mut world = World::new();
        for operation in [Operation::Answer, Operation::CreateBridge, Operation::CreateMedia] {
            world.answer(operation, Fate::Honest);
        }
        world.deliver();
        world.answer(Operation::AddChannels, Fate::Honest);
        world.deliver();
        assert!(world.bridged && world.connected == Some(asterisk_media()));
        world
    }

    fn asked_for(&self, operation: Operation) -> usize {
        self.requests.iter().filter(|request| request.operation() == operation).count()
    }

    fn assert_nothing_left(&self) {
        assert!(!self.caller && !self.media && !self.bridge);
        assert_eq!(self.released, 1);
    }
}

fn at(ms: u64) -> Stamp {
    Stamp::ZERO + Duration::from_millis(ms)
}

fn start(channel: &str) -> Event {
    Event::StasisStart { channel: channel.into(), args: vec![], protocol_id: None, hung_up: false }
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
    assert_eq!(world.requests.last(), Some(&Request::DeleteMedia { channel: ids().media }));
    world.answer(Operation::DeleteMedia, Fate::Honest);
    assert_eq!(world.asked_for(Operation::DeleteBridge), 0);
    world.deliver();
    world.answer(Operation::DeleteBridge, Fate::Honest);
    let record = world.ended.clone().unwrap();
    assert_eq!((record.outcome, record.retries), (Outcome::Completed, 0));
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
    assert_eq!(record.outcome, Outcome::CallerGone);
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
    assert_eq!(world.settle().outcome, Outcome::CallerGone);
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
    assert_eq!((record.outcome, record.ended_at), (Outcome::NotBridged, Stamp::ZERO + SETUP_LIMIT));
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
    let refused = Outcome::Refused { operation: Operation::AddChannels, status: Some(422) };
    let record = world.settle();
    assert_eq!((record.outcome, record.retries), (refused, 5));
    world.assert_nothing_left();

    let mut world = World::new();
    world.answer(Operation::CreateMedia, Fate::Refused(400));
    let record = world.settle();
    assert_eq!(record.retries, 0);
    assert_eq!(world.asked_for(Operation::DeleteMedia), 0, "it never was");
    let hang_up = Request::HangUp { channel: CALLER.into(), reason: HangUpReason::Congestion };
    assert!(world.requests.contains(&hang_up));
    world.assert_nothing_left();
}

#[test]
fn a_media_channel_whose_creation_was_not_answered_is_not_created_twice() {
    let mut world = World::new();
    world.answer(Operation::CreateMedia, Fate::AnswerLost);
    let refused = Outcome::Refused { operation: Operation::CreateMedia, status: None };
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
    assert_eq!(world.settle().outcome, Outcome::CallerGone);
}

#[test]
fn what_breaks_under_a_bridged_call_ends_it() {
    type Break = fn(&mut World);
    let breaks: [(Break, Outcome); 4] = [
        (World::lose_media, Outcome::MediaLost),
        (World::lose_bridge, Outcome::BridgeLost),
        (
            |world| {
                let CallIds { media, bridge, .. } = ids();
                world.events.push_back(Event::ChannelLeftBridge { bridge, channel: media });
            },
            Outcome::Unbridged,
        ),
        (|world| world.handle(Input::Shutdown), Outcome::Shutdown),
    ];
    for (break_it, outcome) in breaks {
        let mut world = World::bridged();
        break_it(&mut world);
        world.deliver();
        assert_eq!(world.settle().outcome, outcome);
        let hang_up = Request::HangUp { channel: CALLER.into(), reason: HangUpReason::Normal };
        assert!(world.requests.contains(&hang_up));
        world.assert_nothing_left();
    }
}

#[test]
fn a_channel_that_leaves_the_bridge_for_a_moment_is_forgiven() {
    let mut world = World::bridged();
    let CallIds { media, bridge, .. } = ids();
    let left = Event::ChannelLeftBridge { bridge: bridge.clone(), channel: media.clone() };
    world.handle(Input::Event(&left));
    world.pass(UNBRIDGED_LIMIT / 2);
    world.handle(Input::Event(&Event::ChannelEnteredBridge { bridge, channel: media }));
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
    let mut world = World::around(Call::turn_away(at(0), ids(), Outcome::NoPort, 1));
    world.collect();
    let hang_up = Request::HangUp { channel: CALLER.into(), reason: HangUpReason::Congestion };
    assert_eq!(world.requests, [hang_up]);
    assert_eq!(world.settle().outcome, Outcome::NoPort);
    assert_eq!(world.released, 0);
    assert!(!world.caller);
}

#[test]
fn answers_to_an_ended_call_are_nothing() {
    let mut world = World::bridged();
    world.hang_up();
    world.settle();
    for operation in Operation::ALL {
        world.handle(Input::Answer { operation, status: 200, media: Some(asterisk_media()) });
        world.handle(Input::NoAnswer { operation, sent: true });
    }
    world.handle(Input::Event(&start(&ids().media)));
    world.handle(Input::Shutdown);
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
        1 => Just(Step::Shutdown),
    ]
}

impl World {
    fn take_step(&mut self, step: &Step) {
        match step {
            Step::Answer(n, fate) if !self.asked.is_empty() => {
                let n = n % self.asked.len();
                // 409 to the answering of a caller who is in the application would be a lie.
                let lie = *fate == Fate::Refused(409) && self.asked[n].operation() == Operation::Answer;
                self.answer_nth(n, if lie { Fate::Honest } else { *fate });
            }
            Step::Deliver(n) if !self.events.is_empty() => self.deliver_nth(n % self.events.len()),
            Step::LoseEvent(n) if !self.events.is_empty() => drop(self.events.remove(n % self.events.len())),
            Step::Pass(ms) => self.pass(Duration::from_millis(*ms)),
            Step::HangUp => self.hang_up(),
            Step::LoseMedia => self.lose_media(),
            // While its creation is being repeated, an end would not say of which one.
            Step::LoseBridge if self.call.has_bridge() => self.lose_bridge(),
            Step::Repeat => self.handle(Input::Event(&start(CALLER))),
            Step::Shutdown => self.handle(Input::Shutdown),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// Whatever happens in whatever order: once the caller has hung up or the service shuts down, the
    /// call ends in bounded time, the port is released exactly once, and nothing is left in Asterisk
    /// that the record does not name.
    #[test]
    fn any_life_ends_with_nothing_held(steps in prop::collection::vec(step(), 0..60), by_shutdown: bool) {
        let mut world = World::new();
        for step in &steps {
            world.take_step(step);
        }
        if by_shutdown {
            world.handle(Input::Shutdown);
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
