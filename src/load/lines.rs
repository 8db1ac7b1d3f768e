//! Intended times of a closed load: lines that each hold one call after another.
//!
//! An open load, at a rate that does not depend on how calls end, is another source of slots with the same
//! functions: [`Lines::next`] and [`Lines::take`] from its schedule, and nothing to do in [`Lines::rest`].

use crate::scenario::Load;
use crate::scenario::schedule::Spacing;
use crate::stamp::Stamp;
use crate::table::{Deadlines, Table};

/// A call that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The line that places it, from 0.
    pub line: u32,
    /// The time at which the schedule wants its INVITE sent.
    pub intended_at: Stamp,
}

/// All lines. Each waits for its next call, has one, or is retired.
#[derive(Debug)]
pub(super) struct Lines {
    spacing: Spacing,
    waiting: Deadlines<u32>,
    /// Lines whose first attempt has been neither answered nor ended.
    undecided: Table<u32, ()>,
    is_closed: bool,
}

impl Lines {
    /// Lines whose first calls are wanted from `epoch` on, spaced by the ramp's rate.
    pub(super) fn new(load: &Load, epoch: Stamp) -> Self {
        let mut lines = Lines {
            spacing: Spacing::new(load.ramp, epoch),
            waiting: Deadlines::new(),
            undecided: Table::new(),
            is_closed: false,
        };
        for line in 0..load.calls {
            lines.undecided.insert(line, ());
            lines.rest(line, epoch);
        }
        lines
    }

    /// The earliest intended time.
    pub(super) fn next(&self) -> Option<Stamp> {
        self.waiting.next()
    }

    /// Takes the earliest call that is due.
    pub(super) fn take(&mut self, now: Stamp) -> Option<Slot> {
        self.waiting.pop(now).map(|(intended_at, line)| Slot { line, intended_at })
    }

    /// The line is free: its next call is wanted at `wanted`, or as soon as the rate permits.
    pub(super) fn rest(&mut self, line: u32, wanted: Stamp) {
        if !self.is_closed {
            let at = self.spacing.take(wanted);
            self.waiting.set(line, Some(at));
        }
    }

    /// The line's first attempt was answered or has ended.
    pub(super) fn decide(&mut self, line: u32) {
        self.undecided.remove(line);
    }

    /// Number of lines whose first attempt is still open.
    pub(super) fn undecided(&self) -> usize {
        self.undecided.len()
    }

    /// Retires all lines: no more calls.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.waiting.clear();
    }
}
