//! Coordinator and shards in virtual time, with clocks that differ and ways that take their time; and who else may call.

mod clocks;
mod rounds;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::record::Phase;
use crate::stamp::Stamp;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const KEY: &str = "a key that all of them know";
const WAIT: Duration = Duration::from_secs(60);

fn secret(key: &str) -> RunSecret {
    RunSecret::new(key).unwrap()
}

fn hello(index: u32, count: u32) -> Hello {
    Hello {
        index,
        count,
        version: "0.2.0".into(),
        scenario: "5ce1".into(),
        host: format!("h{index}"),
        purpose: Purpose::Run,
    }
}

/// A shard with a clock and a way of its own.
struct Shard {
    member: Member,
    skew_ns: i64,
    way: Duration,
    /// Reads and sends nothing any more.
    is_cut: bool,
    beat: Beat,
    heard: Vec<MemberOutput>,
}

/// Bytes, or the end of the connection, on their way.
enum Parcel {
    ToShard(u64, Option<Vec<u8>>),
    ToCoordinator(u64, Option<Vec<u8>>),
}

struct World {
    now: Stamp,
    coordinator: Coordinator,
    shards: BTreeMap<u64, Shard>,
    parcels: BTreeMap<(Stamp, u64), Parcel>,
    order: u64,
    events: Vec<CoordinatorEvent>,
}

impl World {
    fn new(count: u32) -> World {
        World::like(hello(0, count))
    }

    fn like(like: Hello) -> World {
        let now = Stamp::ZERO + 1_000_000 * S;
        let settings = Settings { like, secret: secret(KEY), run_id: 7, wait: WAIT };
        let coordinator = Coordinator::new(settings, now);
        let (shards, parcels) = Default::default();
        World { now, coordinator, shards, parcels, order: 0, events: Vec::new() }
    }

    /// World of `count` shards that have all come, with these clocks and ways.
    fn of(clocks: &[(i64, Duration)]) -> World {
        let count = clocks.len() as u32;
        let mut world = World::new(count);
        for (index, (skew_ns, way)) in (0..).zip(clocks) {
            world.join(hello(index, count), KEY, *skew_ns, *way);
        }
        world.run_for(S);
        world
    }

    fn join(&mut self, hello: Hello, key: &str, skew_ns: i64, way: Duration) -> u64 {
        let id = self.shards.len() as u64;
        let now = Stamp::from_ns(self.now.as_ns().saturating_add_signed(skew_ns));
        let member = Member::new(hello, secret(key), [id as u8 + 100; 32], now);
        self.shards.insert(
            id,
            Shard { member, skew_ns, way, is_cut: false, beat: Beat::default(), heard: Vec::new() },
        );
        self.coordinator.handle(self.now, CoordinatorInput::Opened(id, [id as u8; 32]));
        self.settle();
        id
    }

    fn post(&mut self, way: Duration, parcel: Parcel) {
        self.order += 1;
        self.parcels.insert((self.now + way, self.order), parcel);
    }

    fn tell(&mut self, id: u64, input: MemberInput<'_>) {
        let shard = self.shards.get_mut(&id).unwrap();
        let now = Stamp::from_ns(self.now.as_ns().saturating_add_signed(shard.skew_ns));
        shard.member.handle(now, input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.coordinator.poll() {
            match output {
                CoordinatorOutput::Send(id, bytes) => {
                    let way = self.shards.get(&id).map_or(MS, |shard| shard.way);
                    self.post(way, Parcel::ToShard(id, Some(bytes)));
                }
                CoordinatorOutput::Close(id) => {
                    let way = self.shards.get(&id).map_or(MS, |shard| shard.way);
                    self.post(way, Parcel::ToShard(id, None));
                }
                CoordinatorOutput::Event(event) => self.events.push(event),
            }
        }
        let ids: Vec<u64> = self.shards.keys().copied().collect();
        for id in ids {
            let mut sent = VecDeque::new();
            let shard = self.shards.get_mut(&id).unwrap();
            while let Some(output) = shard.member.poll() {
                match output {
                    MemberOutput::Send(bytes) if !shard.is_cut => sent.push_back(bytes),
                    MemberOutput::Send(_) => {}
                    other => shard.heard.push(other),
                }
            }
            let way = shard.way;
            sent.into_iter().for_each(|bytes| self.post(way, Parcel::ToCoordinator(id, Some(bytes))));
        }
    }

    fn run_until(&mut self, end: Stamp) {
        loop {
            let theirs = self.shards.values().filter(|shard| !shard.is_cut).filter_map(|shard| {
                let at = shard.member.poll_timeout()?;
                Some(Stamp::from_ns(at.as_ns().saturating_add_signed(-shard.skew_ns)))
            });
            let parcel = self.parcels.first_key_value().map(|((at, _), _)| *at);
            let timers = theirs.chain(self.coordinator.poll_timeout()).chain(parcel);
            let next = timers.min().filter(|next| *next <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            match self.parcels.first_key_value() {
                Some(((at, _), _)) if *at <= self.now => {
                    let (_, parcel) = self.parcels.pop_first().unwrap();
                    self.deliver(parcel);
                }
                _ => {
                    self.coordinator.handle_timeout(self.now);
                    for shard in self.shards.values_mut().filter(|shard| !shard.is_cut) {
                        let now = Stamp::from_ns(self.now.as_ns().saturating_add_signed(shard.skew_ns));
                        shard.member.handle_timeout(now);
                    }
                }
            }
            self.settle();
        }
    }

    /// Goes on for a while, in which shards send their heartbeats.
    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let ids: Vec<u64> = self.shards.keys().copied().collect();
            for id in ids {
                let beat = self.shards[&id].beat.clone();
                self.tell(id, MemberInput::Beat(Box::new(beat)));
            }
            self.run_until(end.min(self.now + BEAT_EVERY));
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::ToShard(id, bytes) => {
                let Some(shard) = self.shards.get_mut(&id).filter(|shard| !shard.is_cut) else { return };
                let now = Stamp::from_ns(self.now.as_ns().saturating_add_signed(shard.skew_ns));
                shard.member.handle(now, bytes.as_deref().map_or(MemberInput::Closed, MemberInput::Bytes));
            }
            Parcel::ToCoordinator(id, bytes) => {
                let input =
                    bytes.as_deref().map_or(CoordinatorInput::Closed(id), |b| CoordinatorInput::Bytes(id, b));
                self.coordinator.handle(self.now, input);
            }
        }
    }

    fn all(&mut self, input: impl Fn() -> MemberInput<'static>) {
        let ids: Vec<u64> = self.shards.keys().copied().collect();
        ids.into_iter().for_each(|id| self.tell(id, input()));
    }

    /// Plays a whole run in heartbeats, for `seconds`.
    fn hold(&mut self, seconds: u32, beat: impl Fn(u32) -> Beat) {
        for _ in 0..seconds * 2 {
            let ids: Vec<u64> = self.shards.keys().copied().collect();
            for id in ids {
                self.shards.get_mut(&id).unwrap().beat = beat(id as u32);
            }
            self.run_for(BEAT_EVERY);
        }
    }

    fn heard(&self, id: u64, is: impl Fn(&MemberOutput) -> bool) -> bool {
        self.shards[&id].heard.iter().any(is)
    }

    /// The start, by the coordinator's clock, as each shard was told it.
    fn starts(&self) -> Vec<Stamp> {
        let start = |shard: &Shard| {
            shard.heard.iter().find_map(|output| match output {
                MemberOutput::Start(at) => {
                    Some(Stamp::from_ns(at.as_ns().saturating_add_signed(-shard.skew_ns)))
                }
                _ => None,
            })
        };
        self.shards.values().filter_map(start).collect()
    }

    fn absences(&self) -> Vec<(u32, String)> {
        let of = |event: &CoordinatorEvent| match event {
            CoordinatorEvent::Absent(index, absence) => Some((*index, absence.to_string())),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }
}

fn is_end(output: &MemberOutput) -> bool {
    matches!(output, MemberOutput::End(HowToEnd::Soon, _))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..Default::default() })]

    /// Clocks that are up to 14 s apart, and ways of up to 20 ms: all start within the error of the exchanges.
    #[test]
    fn all_start_at_one_instant_whatever_their_clocks_say(
        clocks in prop::collection::vec((-14_000_000_000i64..14_000_000_000, 10u64..20_000), 1..6),
    ) {
        let clocks: Vec<_> = clocks.into_iter().map(|(skew, us)| (skew, Duration::from_micros(us))).collect();
        let mut world = World::of(&clocks);
        world.run_for(2 * S);
        prop_assert!(world.starts().is_empty(), "nobody is ready");
        world.all(|| MemberInput::Ready);
        world.run_for(S / 2);
        let starts = world.starts();
        prop_assert_eq!(starts.len(), clocks.len());
        let spread = starts.iter().max().unwrap().since(*starts.iter().min().unwrap());
        prop_assert!(spread <= 2 * MS / 1000, "ways are the same both ways here: {spread:?}");
        prop_assert!(starts.iter().all(|at| *at > world.now), "word comes before it");
        for (attendance, (skew, way)) in world.coordinator.roll().iter().zip(&clocks) {
            prop_assert!((attendance.offset_ns.unwrap() - skew).abs() <= 1);
            prop_assert_eq!(attendance.way_ns.unwrap(), 2 * way.as_nanos() as u64);
        }
    }
}

#[test]
fn a_whole_run_from_hello_to_verdict() {
    let mut world = World::of(&[(0, MS), (5_000_000_000, MS), (-3_000_000, 2 * MS)]);
    world.all(|| MemberInput::Ready);
    world.run_for(2 * S);
    world.hold(3, |index| Beat { settled: u32::from(index != 1), calls_up: 4, ..Beat::default() });
    let is_ramp_over = |output: &MemberOutput| matches!(output, MemberOutput::RampOver(1, _));
    assert!(!world.heard(0, is_ramp_over), "one is not decided");
    let beat = |_| Beat {
        settled: 1,
        calls_up: 4,
        phase: Phase::Hold,
        sent: 100,
        rtt: vec![(1024, 99)],
        ..Beat::default()
    };
    world.hold(4, beat);
    assert!((0..3).all(|id| world.heard(id, is_ramp_over)));
    assert_eq!(world.shards[&0].heard.iter().filter(|output| is_ramp_over(output)).count(), 1);
    let live = world.coordinator.live().unwrap();
    assert_eq!((live.sent, live.rtt.len()), (300, 297));
    let totals = Totals { shards: 3, calls_up: 12, sent: 300, ..Totals::default() };
    assert!(world.heard(2, |output| *output == MemberOutput::Totals(totals)));
    let file: Vec<u8> = (0..1_300_000u32).map(|n| n as u8).collect();
    for id in 0..3 {
        let began = world.now.as_ns().saturating_add_signed(world.shards[&id].skew_ns);
        world.tell(id, MemberInput::Ended(Stamp::from_ns(began)));
        world.tell(id, MemberInput::File("calls.csv", &file));
        world.tell(id, MemberInput::File("turns.csv", b""));
        world.tell(id, MemberInput::Delivered);
    }
    world.run_for(S);
    let of_one: Vec<u8> = world
        .events
        .iter()
        .filter_map(|event| match event {
            CoordinatorEvent::File(1, "calls.csv", bytes) => Some(bytes.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(of_one == file, "{} bytes", of_one.len());
    let ends: Vec<_> = world
        .events
        .iter()
        .filter(|e| matches!(e, CoordinatorEvent::AllEnded | CoordinatorEvent::AllDelivered))
        .collect();
    assert_eq!(ends, [&CoordinatorEvent::AllEnded, &CoordinatorEvent::AllDelivered]);
    let began = world.coordinator.roll().iter().map(|shard| shard.started_at.unwrap()).collect::<Vec<_>>();
    assert!(began.iter().max().unwrap().since(*began.iter().min().unwrap()) <= 2 * MS / 1000, "{began:?}");
    // The coordinator works through all records, and is not taken for lost.
    world.run_for(30 * S);
    let now = world.now;
    world.coordinator.handle(now, CoordinatorInput::Verdict(10, "rtt.p99 < 1ms\nis broken".into()));
    world.settle();
    world.run_for(S);
    assert!((0..3).all(|id| world.heard(id, |o| *o == MemberOutput::Verdict(10, "rtt.p99 < 1ms\nis broken".into()))));
    assert!(world.absences().is_empty());
}

#[test]
fn a_shard_whose_connection_ends_is_lost_at_once_and_a_silent_one_after_four_seconds() {
    for is_closed in [true, false] {
        let mut world = World::of(&[(0, MS); 3]);
        world.all(|| MemberInput::Ready);
        world.run_for(2 * S);
        world.hold(2, |_| Beat::default());
        world.shards.get_mut(&1).unwrap().is_cut = true;
        let cut_at = world.now;
        if is_closed {
            world.post(MS, Parcel::ToCoordinator(1, None));
        }
        while !world.heard(2, is_end) {
            world.hold(1, |_| Beat::default());
            assert!(world.now.since(cut_at) < 6 * S);
        }
        let took = world.now.since(cut_at);
        assert_eq!(took <= S, is_closed, "{took:?}");
        let (_, why) = &world.absences()[0];
        assert!(why.contains(if is_closed { "connection ended" } else { "for 4 s" }), "{why}");
        assert!(
            world.heard(0, |o| matches!(o, MemberOutput::End(_, why) if why.contains("shard 1 was lost")))
        );
        // Those that are left deliver, and the run is whole without it.
        for id in [0, 2] {
            world.tell(id, MemberInput::Ended(Stamp::ZERO));
            world.tell(id, MemberInput::Delivered);
        }
        world.run_for(S);
        assert!(world.events.contains(&CoordinatorEvent::AllDelivered) && world.absences().len() == 1);
    }
}

#[test]
fn a_coordinator_that_falls_silent_is_lost_to_its_shards() {
    let mut world = World::of(&[(0, MS), (9_000_000_000, MS)]);
    world.all(|| MemberInput::Ready);
    world.run_for(2 * S);
    world.shards.get_mut(&1).unwrap().is_cut = true;
    let shard = world.shards.get_mut(&1).unwrap();
    let at = shard.member.poll_timeout().unwrap();
    shard.member.handle_timeout(at - MS);
    assert_eq!(shard.member.poll(), None);
    shard.member.handle_timeout(at);
    assert!(matches!(shard.member.poll(), Some(MemberOutput::Lost(_))));
}

#[test]
fn who_is_missing_or_late_at_the_barrier_is_named_and_there_is_no_run() {
    let mut world = World::new(3);
    for index in [0, 2] {
        world.join(hello(index, 3), KEY, 0, MS);
    }
    world.run_for(WAIT - S);
    assert!(world.events.iter().all(|event| matches!(event, CoordinatorEvent::Came(_))));
    world.run_for(2 * S);
    let absences = world.absences();
    assert!(
        absences.len() == 1 && absences[0].0 == 1 && absences[0].1.contains("did not come"),
        "{absences:?}"
    );
    assert!(world.heard(0, is_end) && world.heard(1, is_end));
    assert!(world.events.contains(&CoordinatorEvent::CalledOff));
    let mut world = World::of(&[(0, MS); 3]);
    world.tell(0, MemberInput::Ready);
    world.tell(2, MemberInput::Ready);
    world.run_for(WAIT + S);
    let absences = world.absences();
    assert!(
        absences.len() == 1 && absences[0].0 == 1 && absences[0].1.contains("late to the barrier"),
        "{absences:?}"
    );
    assert!(world.starts().is_empty() && world.events.contains(&CoordinatorEvent::CalledOff));
    assert!(world.heard(0, is_end));
}

#[test]
fn strangers_to_the_run_are_refused_with_the_reason() {
    let with = |change: fn(&mut Hello)| {
        let mut hello = hello(1, 2);
        change(&mut hello);
        hello
    };
    for (hello, word) in [
        (with(|hello| hello.version = "9.9".into()), "version 9.9"),
        (with(|hello| hello.count = 3), "of 3, this run has 2"),
        (with(|hello| hello.index = 2), "beyond"),
        (with(|hello| hello.scenario = "other".into()), "another scenario"),
        (with(|hello| hello.index = 0), "already"),
    ] {
        let mut world = World::new(2);
        world.join(self::hello(0, 2), KEY, 0, MS);
        world.run_for(100 * MS);
        let id = world.join(hello, KEY, 0, MS);
        world.run_for(100 * MS);
        let is_refused =
            |output: &MemberOutput| matches!(output, MemberOutput::Refused(why) if why.contains(word));
        assert!(world.heard(id, is_refused), "{word}: {:?}", world.shards[&id].heard);
        assert_eq!(world.coordinator.totals().shards, 1);
    }
    let mut world = World::new(2);
    let id = world.join(hello(0, 2), "a key that nobody else knows", 0, MS);
    world.run_for(S);
    assert!(world.events.is_empty() && world.heard(id, |output| matches!(output, MemberOutput::Lost(_))));
}

#[test]
fn a_flood_of_connections_and_a_slow_one_keep_nobody_out_and_grow_nothing() {
    let mut world = World::new(1);
    for id in 1000..6000u64 {
        let now = world.now;
        world.coordinator.handle(now, CoordinatorInput::Opened(id, [7; 32]));
        world.coordinator.handle(now, CoordinatorInput::Bytes(id, &[b'x'; 40]));
        world.settle();
    }
    let id = world.join(hello(0, 1), KEY, 0, MS);
    world.run_for(S);
    assert!(world.heard(id, |output| *output == MemberOutput::Welcome(7)));
    // A byte a second says nothing in time.
    let slow = 9000;
    world.coordinator.handle(world.now, CoordinatorInput::Opened(slow, [8; 32]));
    for _ in 0..10 {
        world.coordinator.handle(world.now, CoordinatorInput::Bytes(slow, b"x"));
        world.run_for(S);
    }
    world.coordinator.handle(world.now, CoordinatorInput::Bytes(slow, &[0; 64]));
    assert_eq!(world.coordinator.stranger_count(), 0, "all had their time");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    /// Garbage before and after the hello, from strangers and from a broken shard, in any pieces.
    #[test]
    fn no_bytes_are_too_strange(
        pieces in prop::collection::vec((0u64..4, prop::collection::vec(any::<u8>(), 0..120), any::<bool>()), 0..40),
    ) {
        let mut world = World::of(&[(0, MS), (0, MS)]);
        world.run_for(50 * MS);
        for (id, bytes, is_closed) in pieces {
            // Shard 0 is never touched.
            let id = id + 1;
            world.coordinator.handle(world.now, CoordinatorInput::Opened(id + 10, [1; 32]));
            world.coordinator.handle(world.now, CoordinatorInput::Bytes(id, &bytes));
            world.coordinator.handle(world.now, CoordinatorInput::Bytes(id + 10, &bytes));
            if is_closed {
                world.coordinator.handle(world.now, CoordinatorInput::Closed(id + 10));
            }
            let mut member = Member::new(hello(0, 2), secret(KEY), [3; 32], world.now);
            member.handle(world.now, MemberInput::Bytes(&bytes));
            world.run_for(20 * MS);
        }
        world.run_for(100 * MS);
        let roll = world.coordinator.roll();
        prop_assert!(roll[0].absence.is_none() && roll[0].offset_ns.is_some());
    }
}
