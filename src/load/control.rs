//! The load's phases: ramp, warm-up, hold, drain; and the early end.

use std::collections::VecDeque;
use std::time::Duration;

use super::attempt::Attempt;
use super::lines::{Due, Wanted};
use super::{BATCH, Count, Input, Output, Stop, Suppression};
use crate::record::{Ending, Phase};
use crate::scenario::Scenario;
use crate::scenario::schedule::{Spacing, ramp_duration};
use crate::stamp::Stamp;
use crate::table::{Deadlines, Table};

/// Time between fixing a bound of the measured window and the bound itself, so that all threads know
/// it in time and agree on which packets lie inside.
const NOTICE: Duration = Duration::from_millis(300);
/// Slack of the ramp's longest duration.
const SLACK: Duration = Duration::from_secs(1);

/// Deadlines of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CallDeadline {
    /// It has lasted as long as planned.
    HangUp(u32),
    /// Its line no longer waits for the answer to its BYE.
    ByeAnswer(u32),
}

/// Load control: lines, calls and phases.
///
/// After every input, carry out all of [`Control::poll`] before the next one, and look at
/// [`Control::poll_timeout`] again.
#[derive(Debug)]
pub struct Control {
    pub(super) scenario: Scenario,
    pub(super) epoch: Stamp,
    pub(super) phase: Phase,
    phase_from: Stamp,
    window: Option<(Stamp, Stamp)>,
    pub(super) lines: Wanted,
    /// Attempts by number, while they last.
    pub(super) attempts: Table<u32, Attempt>,
    pub(super) deadlines: Deadlines<CallDeadline>,
    outputs: VecDeque<Output>,
    pub(super) placed: u32,
    pub(super) answered: u32,
    pub(super) failed: u32,
    pub(super) calls_up: u32,
    calls_at_start: u32,
}

impl Control {
    /// The scenario's load, whose first calls are wanted from `epoch` on.
    pub fn new(scenario: Scenario, epoch: Stamp) -> Self {
        Control {
            lines: Wanted::new(&scenario.load, epoch),
            scenario,
            epoch,
            phase: Phase::Ramp,
            phase_from: epoch,
            window: None,
            attempts: Table::new(),
            deadlines: Deadlines::new(),
            outputs: VecDeque::new(),
            placed: 0,
            answered: 0,
            failed: 0,
            calls_up: 0,
            calls_at_start: 0,
        }
    }

    /// The phase, and since when.
    pub fn phase(&self) -> (Phase, Stamp) {
        (self.phase, self.phase_from)
    }

    /// Share of the phase that is over, 0–1.
    pub fn done(&self, now: Stamp) -> f64 {
        let lines = f64::from(self.scenario.load.calls.max(1));
        let done = match (self.phase, self.phase_end()) {
            (Phase::Ramp, _) if !self.lines.is_open() => 1.0 - self.lines.undecided() as f64 / lines,
            (Phase::Drain, _) => 1.0 - self.attempts.len() as f64 / lines,
            (Phase::Ramp | Phase::Warmup | Phase::Hold, end) => {
                let whole = end.map_or(0.0, |end| end.since(self.phase_from).as_secs_f64());
                now.since(self.phase_from).as_secs_f64() / whole.max(1e-9)
            }
        };
        done.clamp(0.0, 1.0)
    }

    /// Calls that are answered and not over.
    pub fn calls_up(&self) -> u32 {
        self.calls_up
    }

    /// Calls up at the start of the hold phase.
    pub fn calls_at_start(&self) -> u32 {
        self.calls_at_start
    }

    /// Calls placed so far.
    pub fn placed(&self) -> u32 {
        self.placed
    }

    /// True once no call is left and none will come.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Drain && self.attempts.is_empty()
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Stamp, input: Input) {
        match input {
            Input::Opened { slot, port } => self.place(now, slot, port),
            Input::Suppressed(slot) => {
                self.count(Count::Suppressed(Suppression::Port), now);
                self.lines.decide(slot.line);
                self.lines.rest(slot.line, now);
            }
            Input::Signal(signal) => self.signalled(now, &signal),
            Input::Dead { call, at } => {
                let reason = format!("nothing heard for {}", self.scenario.load.dead_after);
                self.give_up(call, at, reason);
            }
            Input::MediaOver(call) => self.media_over(now, call),
            Input::Stop(stop) => self.interrupt(now, stop),
        }
        self.end_phase_if_due(now);
    }

    /// Does what is due at `now`; if that is much, some of it waits for the next call of this.
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.end_phase_if_due(now);
        for _ in 0..BATCH {
            let (wanted, due) = (self.take(now), self.deadlines.pop(now));
            let is_idle = wanted.is_none() && due.is_none();
            match wanted {
                Some(Due::Call(slot)) => self.push(Output::Open(slot)),
                Some(Due::Suppressed(why)) => self.count(Count::Suppressed(why), now),
                None => {}
            }
            match due {
                Some((_, CallDeadline::HangUp(call))) => self.hang_up_due(call),
                Some((_, CallDeadline::ByeAnswer(call))) => self.free_line(now, call),
                None => {}
            }
            if is_idle {
                return;
            }
        }
    }

    /// The earliest attempt that is due. Those of an open load that are due only after the hold are not the hold's,
    /// however late it is.
    fn take(&mut self, now: Stamp) -> Option<Due> {
        let end = self.phase_end().filter(|_| self.phase == Phase::Hold && self.lines.is_open());
        let is_in_time = |next| end.is_none_or(|end| next < end);
        self.lines.next().filter(|next| is_in_time(*next))?;
        self.lines.take(now)
    }

    /// The next output, until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The time of the next [`Control::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        [self.lines.next(), self.deadlines.next(), self.phase_end()].into_iter().flatten().min()
    }

    /// Closes the attempts that nobody waits for any more.
    pub fn abandon(&mut self) {
        for call in self.attempts.keys() {
            if let Some(attempt) = self.attempts.remove(call) {
                self.push(Output::Closed(Box::new(attempt.abandoned())));
            }
        }
        self.calls_up = 0;
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn count(&mut self, what: Count, at: Stamp) {
        self.push(Output::Count { what, at });
    }

    /// End of the phase, as far as it depends on time alone.
    fn phase_end(&self) -> Option<Stamp> {
        match self.phase {
            Phase::Ramp if self.lines.is_open() => Some(self.epoch + self.scenario.load.ramp_length()),
            Phase::Ramp => {
                let ramp = ramp_duration(self.scenario.load.ramp, self.scenario.load.calls);
                Some(self.epoch + ramp + self.scenario.sip.setup_timeout.0 + SLACK)
            }
            Phase::Warmup => self.window.map(|(from, _)| from),
            Phase::Hold => self.window.map(|(_, to)| to),
            Phase::Drain => None,
        }
    }

    fn end_phase_if_due(&mut self, now: Stamp) {
        // Attempts of an open load that were due before the end are placed or suppressed before it.
        let is_settled = |end| !self.lines.is_open() || self.lines.next().is_none_or(|next| next >= end);
        let is_due = self.phase_end().is_some_and(|end| end <= now && is_settled(end));
        let is_decided = !self.lines.is_open() && self.lines.undecided() == 0;
        match self.phase {
            Phase::Ramp if is_due || is_decided => self.end_ramp(now),
            Phase::Warmup if is_due && self.is_hopeless() => {
                self.push(Output::Cut(now));
                self.drain(now, false);
            }
            Phase::Warmup if is_due => {
                self.calls_at_start = self.calls_up;
                self.enter(Phase::Hold, now);
            }
            Phase::Hold if is_due => self.drain(now, false),
            _ => {}
        }
    }

    fn enter(&mut self, phase: Phase, now: Stamp) {
        (self.phase, self.phase_from) = (phase, now);
    }

    /// True if nobody answers: holding nothing for minutes would tell no more.
    fn is_hopeless(&self) -> bool {
        match self.lines.is_open() {
            true => self.answered == 0 && self.failed > 0,
            false => self.phase == Phase::Ramp && self.calls_up == 0,
        }
    }

    /// All lines have been decided, or have had their time, or the rate has risen: the hold phase can be fixed.
    fn end_ramp(&mut self, now: Stamp) {
        if self.is_hopeless() {
            self.drain(now, false);
            return;
        }
        let warmup = self.scenario.measure.warmup.0;
        let from = match self.phase_end().filter(|_| self.lines.is_open()) {
            Some(risen) => (risen + warmup.max(self.scenario.load.settles_after())).max(now + NOTICE),
            None => now + warmup.max(NOTICE),
        };
        let to = from + self.scenario.load.duration.0;
        self.window = Some((from, to));
        self.push(Output::Window { from, to });
        self.enter(Phase::Warmup, now);
    }

    /// No more calls. Those that are up end, spaced as they came, or of an open load when they would have ended
    /// anyway if that is sooner; an attempt that is under way still gets its answer, for the schedule wanted it. At
    /// once, all end now.
    fn drain(&mut self, now: Stamp, at_once: bool) {
        self.enter(Phase::Drain, now);
        self.lines.close();
        let load = &self.scenario.load;
        let count = if self.lines.is_open() { self.calls_up } else { load.calls };
        let (mut spacing, is_open) = (Spacing::new(load.ramp, count, now), self.lines.is_open());
        for call in self.attempts.keys() {
            let is_up = self.attempts.get(call).is_some_and(Attempt::is_up);
            let planned = self.deadlines.get(CallDeadline::HangUp(call)).filter(|_| is_open);
            let in_turn = (is_up && !at_once).then(|| spacing.take(now));
            let in_turn = in_turn.map(|turn| planned.map_or(turn, |planned| planned.min(turn)));
            self.deadlines.set(CallDeadline::HangUp(call), in_turn);
            match (is_up, at_once) {
                (true, true) => self.stop_media(call),
                (false, true) => self.push(Output::HangUp(call)),
                (_, false) => {}
            }
        }
    }

    /// Ends all calls: as at a planned end, at once but in order, or with a last BYE to each and no wait
    /// for an answer.
    fn interrupt(&mut self, now: Stamp, stop: Stop) {
        if stop == Stop::No {
            return;
        }
        self.push(Output::Cut(now + NOTICE));
        let calls = self.attempts.keys();
        for call in &calls {
            if let Some(attempt) = self.attempts.get_mut(*call).filter(|a| a.is_up() && !a.is_stopping) {
                attempt.record.ending = Ending::Interrupted;
                attempt.record.reason = "the run ended early".into();
            }
        }
        self.drain(now, stop > Stop::Early);
        if stop == Stop::Now {
            calls.into_iter().for_each(|call| self.push(Output::HangUp(call)));
        }
    }
}

#[cfg(test)]
impl Control {
    /// The number of calls up is kept, not counted: asserts that both agree.
    pub(super) fn assert_up_is_counted(&self) {
        let is_up = |call: &u32| self.attempts.get(*call).is_some_and(Attempt::is_up);
        assert_eq!(self.attempts.keys().iter().filter(|call| is_up(call)).count() as u32, self.calls_up);
    }
}
