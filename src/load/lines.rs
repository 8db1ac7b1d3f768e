//! Calls that are wanted, of either kind of load: the lines of a closed one, the arrivals of an open one.

use super::Suppression;
use super::arrivals::{Arrivals, Lengths};
use crate::scenario::schedule::Spacing;
use crate::scenario::{Load, Target};
use crate::stamp::Stamp;
use crate::table::{Deadlines, Table};
use std::time::Duration;

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
    /// The calls of a load, from `epoch` on.
    pub(super) fn new(load: &Load, epoch: Stamp) -> Self {
        match load.target() {
            Target::Calls(_) => Wanted::Closed(Lines::new(load, epoch)),
            Target::Rate(rate) => {
                let mut arrivals = Arrivals::new(load, epoch);
                arrivals.change(rate, load.ramp_length(), epoch);
                Wanted::Open(arrivals)
            }
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
    spacing: Spacing,
    waiting: Deadlines<u32>,
    /// Lines whose first attempt has been neither answered nor ended.
    undecided: Table<u32, ()>,
    lengths: Lengths,
    is_closed: bool,
}

impl Lines {
    /// Lines whose first calls are wanted from `epoch` on, spaced by the ramp.
    fn new(load: &Load, epoch: Stamp) -> Self {
        let mut lines = Lines {
            spacing: Spacing::new(load.ramp, load.calls, epoch),
            waiting: Deadlines::new(),
            undecided: Table::new(),
            lengths: Lengths::new(load),
            is_closed: false,
        };
        for line in 0..load.calls {
            lines.undecided.insert(line, ());
            lines.rest(line, epoch);
        }
        lines
    }

    fn take(&mut self, now: Stamp) -> Option<Slot> {
        let (intended_at, line) = self.waiting.pop(now)?;
        Some(Slot { line, intended_at, length: self.lengths.draw() })
    }

    fn rest(&mut self, line: u32, wanted: Stamp) {
        if !self.is_closed {
            let at = self.spacing.take(wanted);
            self.waiting.set(line, Some(at));
        }
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.waiting.clear();
    }
}
