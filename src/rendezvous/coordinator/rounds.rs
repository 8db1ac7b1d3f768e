//! Run after run over the same connections, and the waits that depend on it.

use super::super::message::{FromCoordinator, HowToEnd};
use super::super::roll::Exchanges;
use super::super::{Beat, EXCHANGES, Task};
use super::{Coordinator, CoordinatorEvent, Present, Stage};
use crate::record::EndedEarly;
use crate::stamp::Stamp;

impl Coordinator {
    /// Goes on to the first of many runs once all are prepared for it.
    pub(super) fn prepare(&mut self) {
        let is_set = |shard: &Present| shard.room.is_some() && shard.clock.count >= EXCHANGES;
        if self.attending().all(|(_, shard)| is_set(shard)) {
            self.stage = Stage::Prepared;
            let rooms = self.attending().filter_map(|(_, shard)| shard.room.clone()).collect();
            self.event(CoordinatorEvent::Prepared(rooms));
        }
    }

    /// Begins the next of many runs; there is none where somebody is missing or everything was ended.
    pub(super) fn next_round(&mut self, now: Stamp, run_id: u32, task: &Task) {
        let can_begin = matches!(self.stage, Stage::Prepared | Stage::Delivered);
        let is_whole = can_begin && self.attending().count() == self.settings.like.count as usize;
        if !is_whole || self.ending == Some(HowToEnd::Soon) {
            self.stage = Stage::CalledOff;
            return self.event(CoordinatorEvent::CalledOff);
        }
        for shard in self.present.values_mut() {
            // Clocks drift apart: each run has exchanges of its own.
            (shard.clock, shard.beat) = (Exchanges::default(), Beat::default());
            (shard.is_ready, shard.has_ended, shard.has_delivered) = (false, false, false);
            shard.started_ns = None;
        }
        (self.stage, self.ramps_over, self.ending) = (Stage::Gathering, 0, None);
        self.deadline = now + self.settings.wait;
        self.tell_all(|_| FromCoordinator::Next { run_id, task: task.clone() });
        let all: Vec<u32> = self.present.keys().copied().collect();
        all.into_iter().for_each(|index| self.ping(now, index));
    }

    /// Ends the run for a broken gate, which all are told.
    pub(super) fn ends_early(&mut self, early: &EndedEarly) {
        if self.ending.is_some() {
            return;
        }
        self.tell_all(|_| FromCoordinator::EndsEarly(Box::new(early.clone())));
        self.event(CoordinatorEvent::EndsEarly(early.clone()));
        self.end(HowToEnd::Early, &format!("gate `{}` {early}", early.gate));
    }

    /// Shards that must be heard. Between the runs of many they are; after the only one, each may go that has delivered.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (&u32, &Present)> {
        let has_rounds = self.settings.like.purpose.has_rounds();
        self.attending().filter(move |(_, shard)| has_rounds || !shard.has_delivered)
    }

    /// End of the wait for those that have not come, are not ready, or do not end. What comes before the first of many
    /// runs takes its time: there each is waited for as long as it is heard.
    pub(super) fn ends_waiting(&self) -> Option<Stamp> {
        let have_all_come = self.present.len() == self.settings.like.count as usize;
        let is_waiting = match self.stage {
            Stage::Preparing => !have_all_come,
            Stage::Running => self.attending().any(|(_, shard)| shard.has_ended),
            stage => stage == Stage::Gathering,
        };
        is_waiting.then_some(self.deadline)
    }
}
