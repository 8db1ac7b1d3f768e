//! Calls that are wanted, of either kind of load: the lines of a closed one, the arrivals of an open one.

use std::collections::VecDeque;
use std::time::Duration;

use super::Suppression;
use super::arrivals::{Arrivals, Lengths};
use crate::scenario::schedule::Spacing;
use crate::scenario::{Load, Scenario};
use crate::shard::Shard;
use crate::stamp::Stamp;
use crate::table::{Deadlines, Table};
use crate::values::Ramp;

/// A call that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The line that places it, from 0.
    pub line: u32,
    /// The time at which the schedule wants its INVITE sent.
    pub intended_at: Stamp,
    /// Length of the call; `None` is to the end of the run.
    pub length: Option<Duration>,
}

/// An attempt that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// To be placed.
    Call(Slot),
    /// Not to be placed, nor later.
    Suppressed(Suppression),
    /// Another shard's.
    Foreign,
}

/// Intended times, and the lines that calls are on.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Each line holds one call after another.
    Closed(Lines),
    /// Calls come at a rate.
    Open(Arrivals),
}

impl Wanted {
    /// No calls yet, of the kind of load that a scenario has.
    pub(super) fn new(scenario: &Scenario, shard: Shard, epoch: Stamp) -> Self {
        match scenario.is_open() {
            true => Wanted::Open(Arrivals::new(&scenario.load, shard, epoch)),
            false => Wanted::Closed(Lines::new(&scenario.load, shard, epoch)),
        }
    }

    /// True for an open load.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Wanted::Open(_))
    }

    /// The earliest intended time.
    pub(super) fn next(&self) -> Option<Stamp> {
        match self {
            Wanted::Closed(lines) => lines.waiting.next(),
            Wanted::Open(arrivals) => arrivals.next(),
        }
    }

    /// Takes the earliest attempt that is due.
    pub(super) fn take(&mut self, now: Stamp) -> Option<Due> {
        match self {
            Wanted::Closed(lines) => lines.take(now).map(Due::Call),
            Wanted::Open(arrivals) => arrivals.take(now),
        }
    }

    /// The line is free: the next call of a closed load is wanted at `wanted`, or as soon as the rate permits.
    pub(super) fn rest(&mut self, line: u32, wanted: Stamp) {
        match self {
            Wanted::Closed(lines) => lines.rest(line, wanted),
            Wanted::Open(arrivals) => arrivals.rest(line),
        }
    }

    /// The line's first attempt was answered or has ended.
    pub(super) fn decide(&mut self, line: u32) {
        if let Wanted::Closed(lines) = self {
            lines.undecided.remove(line);
        }
    }

    /// The line is retired, and has a call that is to end.
    pub(super) fn retire(&mut self, line: u32) {
        if let Wanted::Closed(lines) = self {
            lines.undecided.insert(line, ());
        }
    }

    /// Number of lines of a closed load whose first attempt is still open.
    pub(super) fn undecided(&self) -> usize {
        match self {
            Wanted::Closed(lines) => lines.undecided.len(),
            Wanted::Open(_) => 0,
        }
    }

    /// No more calls.
    pub(super) fn close(&mut self) {
        match self {
            Wanted::Closed(lines) => lines.close(),
            Wanted::Open(arrivals) => arrivals.close(),
        }
    }
}

/// All lines of a closed load. Each waits for its next call, has one, or is retired.
#[derive(Debug)]
pub(super) struct Lines {
    shard: Shard,
    spacing: Spacing,
    /// Lines that are wanted, of all shards, in the order in which they came.
    held: VecDeque<u32>,
    waiting: Deadlines<u32>,
    /// Lines that hold calls, in the order in which they came. One that is retired does not come back: its last
    /// call may still be ending when another is wanted.
    active: VecDeque<u32>,
    /// The next line's number, whoever has it.
    fresh: u32,
    /// Lines whose first attempt has been neither answered nor ended, and retired ones with a call.
    undecided: Table<u32, ()>,
    lengths: Lengths,
}

impl Lines {
    fn new(load: &Load, shard: Shard, epoch: Stamp) -> Self {
        Lines {
            shard,
            spacing: Spacing::new(load.ramp, load.calls, epoch),
            held: VecDeque::new(),
            waiting: Deadlines::new(),
            active: VecDeque::new(),
            fresh: 0,
            undecided: Table::new(),
            lengths: Lengths::dealt(load, shard),
        }
    }

    /// Lines of this shard's that are wanted.
    pub(super) fn own(&self) -> u32 {
        self.active.len() as u32
    }

    /// Wants so many lines of all shards together: new ones are placed from `now` on, spaced by the ramp; the newest are
    /// retired, and returned.
    pub(super) fn change(&mut self, calls: u32, ramp: Ramp, now: Stamp) -> Vec<u32> {
        let before = self.held.len() as u32;
        let first = self.shard.first_from(self.fresh) - self.fresh;
        self.spacing = Spacing::dealt(ramp, calls.abs_diff(before), now, self.shard, first);
        for _ in before..calls {
            let line = self.fresh;
            self.fresh += 1;
            self.held.push_back(line);
            if !self.shard.has(line) {
                continue;
            }
            self.active.push_back(line);
            self.undecided.insert(line, ());
            self.rest(line, now);
        }
        self.retire_to(calls)
    }

    /// Retires the newest lines, of all shards, until `calls` are left; returns this shard's.
    fn retire_to(&mut self, calls: u32) -> Vec<u32> {
        while self.held.len() as u32 > calls {
            self.held.pop_back();
        }
        let newest = self.held.back().copied();
        let keeps = self.active.partition_point(|line| newest.is_some_and(|newest| *line <= newest));
        let retired: Vec<_> = self.active.drain(keeps..).collect();
        for line in &retired {
            self.waiting.set(*line, None);
        }
        retired
    }

    fn take(&mut self, now: Stamp) -> Option<Slot> {
        let (intended_at, line) = self.waiting.pop(now)?;
        Some(Slot { line, intended_at, length: self.lengths.draw() })
    }

    fn rest(&mut self, line: u32, wanted: Stamp) {
        // Numbers only grow, so the active lines stand in their order.
        if self.active.binary_search(&line).is_err() {
            self.undecided.remove(line);
            return;
        }
        let at = self.spacing.take(wanted);
        self.waiting.set(line, Some(at));
    }

    fn close(&mut self) {
        self.active.clear();
        self.held.clear();
        self.waiting.clear();
    }
}
