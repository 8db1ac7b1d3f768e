//! The coordinator's end: one for all shards, its own included, which comes over a connection as the others do.

mod door;
mod rounds;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::message::{Beat, FILES, FromCoordinator, FromShard, Hello, HowToEnd, Totals, cut};
use super::roll::{Absence, Attendance, Exchanges};
use super::seal::{Nonce, RunSecret};
use super::task::{Room, Task};
use super::{BEAT_EVERY, EXCHANGES, HELLO_WITHIN, LOST_AFTER, OVERDUE_AFTER, RAMP_NOTICE, START_NOTICE};
use crate::record::{EndedEarly, Live, Phase};
use crate::stamp::Stamp;
use door::Connection;

/// Terms that all shards of a run must agree on, and the time for which they are waited for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Number, version and scenario that a hello must have; its index and host are nobody's.
    pub like: Hello,
    /// Key that they must know.
    pub secret: RunSecret,
    /// Name of the run in every call and probe.
    pub run_id: u32,
    /// Time for all to come, and then for all to be ready.
    pub wait: Duration,
}

/// Inputs of [`Coordinator`]. Connections go by numbers of the owner's, none of which comes again.
#[derive(Debug)]
pub enum CoordinatorInput<'a> {
    /// A connection was opened; the nonce is new.
    Opened(u64, Nonce),
    /// Bytes came on it.
    Bytes(u64, &'a [u8]),
    /// It was closed by the other side, or does not take what is sent.
    Closed(u64),
    /// A gate over all has made the run hopeless.
    EndsEarly(EndedEarly),
    /// The run is to end.
    End(HowToEnd, String),
    /// The next of many runs, with its name.
    Next(u32, Task),
    /// The run is judged, or the last of many.
    Verdict(u8, String),
}

/// Outputs of [`Coordinator`].
#[derive(Debug, PartialEq)]
pub enum CoordinatorOutput {
    /// Send these bytes.
    Send(u64, Vec<u8>),
    /// Close the connection once they are sent.
    Close(u64),
    /// Something the owner wants to know.
    Event(CoordinatorEvent),
}

/// Events of a run's shards.
#[derive(Debug, PartialEq)]
pub enum CoordinatorEvent {
    /// A shard has come.
    Came(u32),
    /// All have come, and are prepared for the first of many runs: their rooms, by number.
    Prepared(Vec<Room>),
    /// All have come, and are ready: second 0 begins then.
    Starts(Stamp),
    /// A shard is missing from now on.
    Absent(u32, Absence),
    /// There will be no run: somebody was missing before its start.
    CalledOff,
    /// A shard's user has ended the run.
    Interrupted(u32),
    /// A gate over all ends the run.
    EndsEarly(EndedEarly),
    /// No shard has a call left.
    AllEnded,
    /// A part of a shard's file, one of [`FILES`], in order.
    File(u32, &'static str, Vec<u8>),
    /// All files of all shards that are left have come.
    AllDelivered,
}

/// A shard that has come.
struct Present {
    connection: u64,
    host: String,
    heard_at: Stamp,
    clock: Exchanges,
    /// Its word that it is prepared for the first of many runs.
    room: Option<Room>,
    is_ready: bool,
    beat: Beat,
    started_ns: Option<u64>,
    has_ended: bool,
    has_delivered: bool,
    absence: Option<Absence>,
}

/// Progress of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before the first of many runs.
    Preparing,
    /// All are prepared, and nothing is given to do yet.
    Prepared,
    Gathering,
    Running,
    /// No shard has a call left.
    Ended,
    /// Everything is there.
    Delivered,
    CalledOff,
}

/// The coordinator's state machine.
pub struct Coordinator {
    settings: Settings,
    stage: Stage,
    /// Until then all must have come, and then be ready, and then have ended.
    deadline: Stamp,
    connections: BTreeMap<u64, Connection>,
    present: BTreeMap<u32, Present>,
    /// Shards that never came.
    absent: BTreeMap<u32, Absence>,
    /// The last refusal of a shard that knows the key.
    refused: Option<String>,
    /// Stages whose ramp is over.
    ramps_over: u32,
    /// The run is to end: whoever starts to listen only now is told as well.
    ending: Option<HowToEnd>,
    next_beat: Stamp,
    outputs: VecDeque<CoordinatorOutput>,
}

impl Coordinator {
    /// Waits for shards from `now` on.
    pub fn new(settings: Settings, now: Stamp) -> Coordinator {
        let has_rounds = settings.like.purpose.has_rounds();
        Coordinator {
            deadline: now + settings.wait,
            settings,
            stage: if has_rounds { Stage::Preparing } else { Stage::Gathering },
            connections: BTreeMap::new(),
            present: BTreeMap::new(),
            absent: BTreeMap::new(),
            refused: None,
            ramps_over: 0,
            ending: None,
            next_beat: now + BEAT_EVERY,
            outputs: VecDeque::new(),
        }
    }

    /// The roll: every shard that the run should have, by number.
    pub fn roll(&self) -> Vec<Attendance> {
        let of = |index: u32| match self.present.get(&index) {
            Some(shard) => Attendance {
                host: shard.host.clone(),
                offset_ns: shard.clock.offset_ns(),
                way_ns: shard.clock.way_ns(),
                started_at: shard.started_ns.map(|ns| shard.clock.ours(Stamp::from_ns(ns))),
                absence: shard.absence.clone(),
            },
            None => Attendance { absence: self.absent.get(&index).cloned(), ..Attendance::default() },
        };
        (0..self.settings.like.count).map(of).collect()
    }

    /// Counts of the shards that are there.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.attending().for_each(|(_, shard)| totals += &shard.beat);
        totals
    }

    /// Live figures of all shards together, once each of them holds.
    pub fn live(&self) -> Option<Live> {
        let is_held = |(_, shard): (&u32, &Present)| shard.beat.phase == Phase::Hold;
        if self.stage != Stage::Running || !self.attending().all(is_held) {
            return None;
        }
        let mut live = Live::default();
        self.attending().for_each(|(_, shard)| live += &shard.beat.live());
        Some(live)
    }

    /// The latest figures of each shard that is there, by number.
    pub fn beats(&self) -> impl Iterator<Item = (u32, &Beat)> {
        self.attending().map(|(index, shard)| (*index, &shard.beat))
    }

    fn attending(&self) -> impl Iterator<Item = (&u32, &Present)> {
        self.present.iter().filter(|(_, shard)| shard.absence.is_none())
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Stamp, input: CoordinatorInput<'_>) {
        match input {
            CoordinatorInput::Opened(id, nonce) => self.opened(now, id, nonce),
            CoordinatorInput::Bytes(id, bytes) => self.bytes(now, id, bytes),
            CoordinatorInput::Closed(id) => {
                let of = self.connections.remove(&id).and_then(|connection| connection.index);
                of.into_iter().for_each(|index| self.lose(index, Absence::Gone));
            }
            CoordinatorInput::EndsEarly(early) => self.ends_early(&early),
            CoordinatorInput::End(how, why) => self.end(how, &why),
            CoordinatorInput::Next(run_id, task) => self.next_round(now, run_id, &task),
            CoordinatorInput::Verdict(exit, text) => {
                // Those that could not go on wait for it as well.
                let of_shards = self.connections.iter().filter(|(_, connection)| connection.index.is_some());
                let ids: Vec<_> = of_shards.map(|(id, _)| *id).collect();
                let verdict = FromCoordinator::Verdict { exit, text };
                ids.into_iter().for_each(|id| self.tell(id, &verdict));
                let ids: Vec<_> = self.connections.keys().copied().collect();
                ids.into_iter().for_each(|id| self.close(id));
            }
        }
        self.advance(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Stamp) {
        let late = self.strangers().filter(|(_, stranger)| stranger.opened_at + HELLO_WITHIN <= now);
        let late: Vec<_> = late.map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.close(id));
        let silent = self.awaited().filter(|(_, shard)| shard.heard_at + LOST_AFTER <= now);
        let silent: Vec<_> = silent.map(|(index, _)| *index).collect();
        silent.into_iter().for_each(|index| self.lose(index, Absence::Silent));
        if self.ends_waiting().is_some_and(|deadline| deadline <= now) {
            self.miss();
        }
        if self.next_beat <= now {
            self.next_beat = now + BEAT_EVERY;
            let totals = self.totals();
            // Those that could not go on wait for the verdict as well.
            let known: Vec<_> =
                self.connections.iter().filter(|(_, is)| is.index.is_some()).map(|(id, _)| *id).collect();
            known.into_iter().for_each(|id| self.tell(id, &FromCoordinator::Totals(Box::new(totals))));
        }
        self.advance(now);
    }

    /// Notes that the coordinator itself has stood still until `now`: whoever was not heard meanwhile was not silent.
    pub fn awoke(&mut self, now: Stamp) {
        self.present.values_mut().for_each(|shard| shard.heard_at = now);
    }

    /// The next output, until there is none.
    pub fn poll(&mut self) -> Option<CoordinatorOutput> {
        self.outputs.pop_front()
    }

    /// The time of the next [`Coordinator::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        let hello = self.strangers().map(|(_, stranger)| stranger.opened_at + HELLO_WITHIN).min();
        let silent = self.awaited().map(|(_, shard)| shard.heard_at + LOST_AFTER).min();
        [hello, silent, self.ends_waiting(), Some(self.next_beat)].into_iter().flatten().min()
    }

    fn hear(&mut self, now: Stamp, id: u64, message: FromShard) {
        let index = self.connections.get(&id).and_then(|connection| connection.index);
        let (index, message) = match (index, message) {
            (None, FromShard::Hello(hello)) => return self.admit(now, id, &hello),
            (None, _) => return self.close(id),
            (Some(index), message) => (index, message),
        };
        let Some(shard) = self.present.get_mut(&index).filter(|shard| shard.absence.is_none()) else {
            return;
        };
        shard.heard_at = now;
        match message {
            FromShard::Hello(_) => self.send_away(id, index, "it said twice who it is"),
            FromShard::Pong { number, at_ns } => {
                let has_ended = shard.clock.end(number, Stamp::from_ns(at_ns), now);
                if has_ended && shard.clock.count < EXCHANGES {
                    self.ping(now, index);
                }
            }
            FromShard::Prepared(room) if self.stage == Stage::Preparing => shard.room = Some(room.tidy()),
            // It was under way when another one ended everything.
            FromShard::Prepared(_) if self.stage == Stage::CalledOff => {}
            FromShard::Prepared(_) => self.send_away(id, index, "it said what nobody had asked it"),
            FromShard::Ready => shard.is_ready = true,
            FromShard::Beat(beat) => shard.beat = *beat,
            FromShard::Interrupted => {
                self.event(CoordinatorEvent::Interrupted(index));
                self.end(HowToEnd::Soon, &format!("shard {index} was interrupted"));
                self.call_off();
            }
            // It was under way when everything was called off.
            FromShard::Ended { .. } if self.stage == Stage::CalledOff => {}
            FromShard::Ended { .. } if !matches!(self.stage, Stage::Running) => {
                self.send_away(id, index, "it ended what has not begun");
            }
            FromShard::Ended { started_ns } => {
                if self.ends_waiting().is_none() {
                    self.deadline = now + OVERDUE_AFTER;
                }
                let Some(shard) = self.present.get_mut(&index) else { return };
                (shard.has_ended, shard.started_ns) = (true, Some(started_ns));
            }
            FromShard::File { name, bytes } => match FILES.into_iter().find(|file| *file == name) {
                Some(file) if shard.has_ended && !shard.has_delivered => {
                    self.event(CoordinatorEvent::File(index, file, bytes.0));
                }
                _ => self.send_away(id, index, "it sent a file that nobody asked for"),
            },
            FromShard::Delivered if shard.has_ended => shard.has_delivered = true,
            FromShard::Delivered => self.send_away(id, index, "it delivered before it had ended"),
            FromShard::Parted => self.lose(index, Absence::Parted),
            FromShard::Failed { why } => self.lose(index, Absence::Failed(cut(&why))),
        }
    }

    fn ping(&mut self, now: Stamp, index: u32) {
        let Some(shard) = self.present.get_mut(&index) else { return };
        let (number, id) = (shard.clock.begin(now), shard.connection);
        self.tell(id, &FromCoordinator::Ping { number });
    }

    /// Goes on as far as the shards allow.
    fn advance(&mut self, now: Stamp) {
        let count = self.settings.like.count as usize;
        let are_all = |is: fn(&Present) -> bool, of: &Coordinator| of.attending().all(|(_, shard)| is(shard));
        let have_all_come = self.attending().count() == count;
        if self.stage == Stage::Preparing && have_all_come {
            self.prepare();
        }
        if self.stage == Stage::Gathering && have_all_come {
            let is_set = |shard: &Present| {
                shard.is_ready && shard.clock.count >= EXCHANGES && shard.clock.offset_ns().is_some()
            };
            if are_all(is_set, self) {
                self.start(now);
            }
        }
        if self.stage == Stage::Running {
            self.end_ramp(now);
            if are_all(|shard| shard.has_ended, self) {
                self.stage = Stage::Ended;
                self.event(CoordinatorEvent::AllEnded);
            }
        }
        if self.stage == Stage::Ended && are_all(|shard| shard.has_delivered, self) {
            self.stage = Stage::Delivered;
            self.event(CoordinatorEvent::AllDelivered);
        }
    }

    fn start(&mut self, now: Stamp) {
        let at = now + START_NOTICE;
        self.stage = Stage::Running;
        self.tell_all(|shard| FromCoordinator::Start { at_ns: shard.clock.theirs(at).as_ns() });
        self.event(CoordinatorEvent::Starts(at));
    }

    /// Ends the ramp of the next stage for all, once the lines of all are decided.
    fn end_ramp(&mut self, now: Stamp) {
        let settled = self.attending().map(|(_, shard)| shard.beat.settled).min().unwrap_or_default();
        if settled <= self.ramps_over || self.ending.is_some() {
            return;
        }
        self.ramps_over += 1;
        let (stage, at) = (self.ramps_over, now + RAMP_NOTICE);
        self.tell_all(|shard| FromCoordinator::RampOver { stage, at_ns: shard.clock.theirs(at).as_ns() });
    }

    /// Names those that keep the run from its start: who never came or, where all came, who is not ready.
    fn miss(&mut self) {
        let missing: Vec<_> =
            (0..self.settings.like.count).filter(|index| !self.present.contains_key(index)).collect();
        for index in &missing {
            let absence = Absence::NeverCame { refused: self.refused.clone() };
            self.absent.insert(*index, absence.clone());
            self.end(HowToEnd::Soon, &format!("shard {index} {absence}"));
            self.event(CoordinatorEvent::Absent(*index, absence));
        }
        if missing.is_empty() {
            let (is_late, absence): (fn(&Present) -> bool, _) = match self.stage {
                Stage::Running => (|shard| !shard.has_ended, Absence::Overdue),
                _ => (|shard| !shard.is_ready, Absence::NotReady),
            };
            let late: Vec<_> =
                self.attending().filter(|(_, shard)| is_late(shard)).map(|(index, _)| *index).collect();
            late.into_iter().for_each(|index| self.lose(index, absence.clone()));
        }
        self.call_off();
    }

    fn call_off(&mut self) {
        if matches!(self.stage, Stage::Preparing | Stage::Gathering) {
            self.stage = Stage::CalledOff;
            self.event(CoordinatorEvent::CalledOff);
        }
    }

    /// Goes on without a shard, which nobody else can stand in for: the run ends.
    fn lose(&mut self, index: u32, absence: Absence) {
        let Some(shard) = self.present.get_mut(&index) else { return };
        // Who has delivered everything may go, and all may where there is no run.
        let may_go = shard.has_delivered && !self.settings.like.purpose.has_rounds();
        if shard.absence.is_some() || may_go || self.stage == Stage::CalledOff {
            return;
        }
        shard.absence = Some(absence.clone());
        self.event(CoordinatorEvent::Absent(index, absence.clone()));
        self.end(HowToEnd::Soon, &format!("shard {index} {absence}"));
        self.call_off();
    }

    fn send_away(&mut self, id: u64, index: u32, why: &str) {
        self.close(id);
        self.lose(index, Absence::Wrong(why.into()));
    }

    fn end(&mut self, how: HowToEnd, why: &str) {
        if self.ending.is_none_or(|before| before < how) {
            self.ending = Some(how);
            self.tell_all(|_| FromCoordinator::End { how, why: why.into() });
        }
    }

    fn tell_all(&mut self, message: impl Fn(&Present) -> FromCoordinator) {
        let told: Vec<_> = self.attending().map(|(_, shard)| (shard.connection, message(shard))).collect();
        told.iter().for_each(|(id, message)| self.tell(*id, message));
    }

    fn tell(&mut self, id: u64, message: &FromCoordinator) {
        let channel = self.connections.get_mut(&id).and_then(|connection| connection.channel.as_mut());
        if let Some(channel) = channel {
            self.outputs.push_back(CoordinatorOutput::Send(id, channel.seal(message)));
        }
    }

    fn close(&mut self, id: u64) {
        if self.connections.remove(&id).is_some() {
            self.outputs.push_back(CoordinatorOutput::Close(id));
        }
    }

    fn event(&mut self, event: CoordinatorEvent) {
        self.outputs.push_back(CoordinatorOutput::Event(event));
    }
}
