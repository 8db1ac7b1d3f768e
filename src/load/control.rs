//! The load's phases: ramp, warm-up, hold, drain; and the early end.

use std::collections::VecDeque;
use std::time::Duration;

use super::attempt::Attempt;
use super::lines::Lines;
use super::{BATCH, Count, Input, Output, Stop};
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
    pub(super) lines: Lines,
    /// Attempts by number, while they last.
    pub(super) attempts: Table<u32, Attempt>,
    pub(super) deadlines: Deadlines<CallDeadline>,
    outputs: VecDeque<Output>,
    pub(super) placed: u32,
    pub(super) calls_up: u32,
    calls_at_start: u32,
}

impl Control {
    /// The scenario's load, whose first calls are wanted from `epoch` on.
    pub fn new(scenario: Scenario, epoch: Stamp) -> Self {
        Control {
            lines: Lines::new(&scenario.load, epoch),
            scenario,
            epoch,
            phase: Phase::Ramp,
            phase_from: epoch,
            window: None,
            attempts: Table::new(),
            deadlines: Deadlines::new(),
            outputs: VecDeque::new(),
            placed: 0,
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
            (Phase::Ramp, _) => 1.0 - self.lines.undecided() as f64 / lines,
            (Phase::Drain, _) => 1.0 - self.attempts.len() as f64 / lines,
            (Phase::Warmup | Phase::Hold, end) => {
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
                self.count(Count::Suppressed, now);
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
            let (slot, due) = (self.lines.take(now), self.deadlines.pop(now));
            if let Some(slot) = slot {
                self.push(Output::Open(slot));
            }
            match due {
                Some((_, CallDeadline::HangUp(call))) => self.hang_up_due(call),
                Some((_, CallDeadline::ByeAnswer(call))) => self.free_line(now, call),
                None if slot.is_none() => return,
                None => {}
            }
        }
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
        let is_due = self.phase_end().is_some_and(|end| end <= now);
        match self.phase {
            Phase::Ramp if is_due || self.lines.undecided() == 0 => self.end_ramp(now),
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

    /// All lines have been decided, or have had their time: the hold phase can be fixed.
    fn end_ramp(&mut self, now: Stamp) {
        if self.calls_up == 0 {
            // Nobody answers; holding nothing for minutes would tell no more.
            self.drain(now, false);
            return;
        }
        let from = now + self.scenario.measure.warmup.0.max(NOTICE);
        let to = from + self.scenario.load.duration.0;
        self.window = Some((from, to));
        self.push(Output::Window { from, to });
        self.enter(Phase::Warmup, now);
    }

    /// No more calls. Those that are up end, spaced as they came; an attempt that is under way still
    /// gets its answer, for the schedule wanted it. At once, all end now.
    fn drain(&mut self, now: Stamp, at_once: bool) {
        self.enter(Phase::Drain, now);
        self.lines.close();
        let mut spacing = Spacing::new(self.scenario.load.ramp, now);
        for call in self.attempts.keys() {
            let is_up = self.attempts.get(call).is_some_and(Attempt::is_up);
            let in_turn = (is_up && !at_once).then(|| spacing.take(now));
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
