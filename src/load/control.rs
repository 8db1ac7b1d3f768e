//! The load's phases: of each stage ramp, warm-up and hold, then drain; and the early end.

use std::collections::VecDeque;
use std::time::Duration;

use super::attempt::Attempt;
use super::lines::{Due, Wanted};
use super::{BATCH, Count, Input, Output, Stop, Suppression};
use crate::record::{Ending, LiveTarget, Offered, Phase, StageRecord};
use crate::scenario::schedule::{Spacing, ramp_duration};
use crate::scenario::{Load, Planned, Scenario, Target};
use crate::shard::Shard;
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
    /// The driver whose calls these are.
    pub(super) shard: Shard,
    pub(super) epoch: Stamp,
    pub(super) phase: Phase,
    phase_from: Stamp,
    /// The stages that are still to be played.
    coming: VecDeque<Planned>,
    /// The stage that is played.
    planned: Planned,
    /// Start of its ramp, as planned.
    stage_from: Stamp,
    /// Calls that its ramp brings up or takes away.
    ramped: u32,
    /// End of the stage's ramp that all shards have agreed on.
    ramp_over: Option<Stamp>,
    /// The stages so far: the last is the one that is played.
    stages: Vec<StageRecord>,
    /// The measured window of the stage, once it is fixed.
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
    /// The same counts by target, where there are several.
    pub(super) targets: Vec<LiveTarget>,
}

impl Control {
    /// The scenario's load, whose first calls are wanted from `epoch` on.
    pub fn new(scenario: Scenario, epoch: Stamp) -> Self {
        Control::dealt(scenario, Shard::ONLY, epoch)
    }

    /// A shard's calls of the scenario's load.
    ///
    /// Bounds of phases are the same for all shards: they follow from the schedule, and the end of a closed load's ramp
    /// from what the shards have told each other ([`Input::RampOver`]), or from the longest that it can take.
    pub fn dealt(scenario: Scenario, shard: Shard, epoch: Stamp) -> Self {
        let mut coming = VecDeque::from(scenario.stages());
        // Invariant: a load without stages is one.
        let planned = coming.pop_front().expect("a load has a stage");
        let targets = match scenario.targets() {
            1 => 0,
            several => several as usize,
        };
        let mut control = Control {
            targets: vec![LiveTarget::default(); targets],
            lines: Wanted::new(&scenario, shard, epoch),
            scenario,
            shard,
            epoch,
            phase: Phase::Ramp,
            phase_from: epoch,
            coming,
            planned,
            stage_from: epoch,
            ramped: 0,
            ramp_over: None,
            stages: Vec::new(),
            window: None,
            attempts: Table::new(),
            deadlines: Deadlines::new(),
            outputs: VecDeque::new(),
            placed: 0,
            answered: 0,
            failed: 0,
            calls_up: 0,
        };
        control.begin_stage(planned, epoch, epoch);
        control
    }

    /// The phase, and since when.
    pub fn phase(&self) -> (Phase, Stamp) {
        (self.phase, self.phase_from)
    }

    /// Share of the phase that is over, 0–1.
    pub fn done(&self, now: Stamp) -> f64 {
        let lines = |count: u32| f64::from(count.max(1));
        let done = match (self.phase, self.phase_end()) {
            (Phase::Ramp, _) if !self.lines.is_open() => {
                1.0 - self.lines.undecided() as f64 / lines(self.ramped)
            }
            (Phase::Drain, _) => 1.0 - self.attempts.len() as f64 / lines(self.scenario.calls()),
            (Phase::Ramp | Phase::Warmup | Phase::Hold, end) => {
                let whole = end.map_or(0.0, |end| end.since(self.phase_from).as_secs_f64());
                now.since(self.phase_from).as_secs_f64() / whole.max(1e-9)
            }
        };
        done.clamp(0.0, 1.0)
    }

    /// Number of stages whose lines of this shard have all been answered, or have failed: what other shards wait for.
    pub fn settled(&self) -> u32 {
        let is_settled = self.phase != Phase::Ramp || self.lines.undecided() == 0;
        (self.stages.len() - usize::from(!is_settled)) as u32
    }

    /// Calls that are answered and not over.
    pub fn calls_up(&self) -> u32 {
        self.calls_up
    }

    /// Counts by target; empty where there is one.
    pub fn targets(&self) -> &[LiveTarget] {
        &self.targets
    }

    /// The counts of a call's target, where there are several.
    pub(super) fn target(&mut self, call: u32) -> Option<&mut LiveTarget> {
        let target = self.scenario.target_of(call);
        self.targets.get_mut(target as usize)
    }

    /// The stages that have begun.
    pub fn stages(&self) -> &[StageRecord] {
        &self.stages
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
            Input::RampOver { stage, at } => {
                if stage as usize == self.stages.len() && self.phase == Phase::Ramp && !self.lines.is_open() {
                    self.ramp_over.get_or_insert(at);
                }
            }
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
                Some(Due::Foreign) | None => {}
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
        loop {
            self.lines.next().filter(|next| is_in_time(*next))?;
            match self.lines.take(now)? {
                Due::Foreign => {}
                due => return Some(due),
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
        self.targets.iter_mut().for_each(|target| target.calls_up = 0);
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn count(&mut self, what: Count, at: Stamp) {
        if let (Count::Suppressed(why), Some(stage)) = (what, self.stages.last_mut()) {
            stage.suppressed.count(why);
        }
        self.push(Output::Count { what, at });
    }

    /// End of the phase, as far as it depends on time alone.
    fn phase_end(&self) -> Option<Stamp> {
        match self.phase {
            Phase::Ramp if self.lines.is_open() => {
                Some(self.stage_from + Load::ramp_over(self.planned.ramp, self.ramped.into()))
            }
            Phase::Ramp => {
                let ramp = ramp_duration(self.planned.ramp, self.ramped);
                let longest = self.stage_from + ramp + self.scenario.sip.setup_timeout.0 + SLACK;
                Some(self.ramp_over.map_or(longest, |agreed| agreed.min(longest)))
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
        let is_decided = !self.has_fixed_bounds() && self.lines.undecided() == 0;
        match self.phase {
            Phase::Ramp if is_due || is_decided => self.end_ramp(now),
            Phase::Warmup if is_due && self.is_hopeless() => {
                self.push(Output::Cut(now));
                self.drain(now, false);
            }
            Phase::Warmup if is_due => {
                let calls_up = self.calls_up;
                self.stages.last_mut().into_iter().for_each(|stage| stage.calls_at_start = calls_up);
                self.enter(Phase::Hold, now);
            }
            Phase::Hold if is_due => match self.coming.pop_front() {
                // With fixed bounds it begins where the last has ended, however late it is.
                Some(planned) => {
                    let from = self.phase_end().filter(|_| self.has_fixed_bounds()).unwrap_or(now);
                    self.begin_stage(planned, from, now);
                }
                None => self.drain(now, false),
            },
            _ => {}
        }
    }

    fn enter(&mut self, phase: Phase, now: Stamp) {
        (self.phase, self.phase_from) = (phase, now);
    }

    /// Goes up or down to the calls of a stage, from `from` on.
    fn begin_stage(&mut self, planned: Planned, from: Stamp, now: Stamp) {
        let load = &self.scenario.load;
        let before = self.stages.last().map_or(0.0, |_| load.calls_of(self.planned.target));
        // A part of a call takes a part of the ramp's time for one.
        let ramped = (load.calls_of(planned.target) - before).abs();
        (self.planned, self.stage_from, self.window, self.ramp_over) = (planned, from, None, None);
        self.ramped = ramped.ceil() as u32;
        let begin_s = from.since(self.epoch).as_secs_f64();
        let mut record = StageRecord { begin_s, ..StageRecord::default() };
        let retired = match (&mut self.lines, planned.target) {
            (Wanted::Closed(lines), Target::Calls(calls)) => {
                let retired = lines.change(calls, planned.ramp, from);
                record.calls = Some(lines.own());
                retired
            }
            (Wanted::Open(arrivals), Target::Rate(rate)) => {
                let mean_call_s = load.mean_call().unwrap_or_default().as_secs_f64();
                let rate_per_s = rate / f64::from(self.shard.count);
                record.offered = Some(Offered { rate_per_s, mean_call_s });
                arrivals.change(rate, Load::ramp_over(planned.ramp, self.ramped.into()), from);
                Vec::new()
            }
            // A scenario's stages are of one kind.
            _ => Vec::new(),
        };
        self.stages.push(record);
        self.enter(Phase::Ramp, now);
        self.retire(&retired, now);
    }

    /// True if the bounds of phases follow from the schedule, and not from what becomes of this driver's own calls.
    fn has_fixed_bounds(&self) -> bool {
        self.lines.is_open() || !self.shard.is_only()
    }

    /// Turns of this shard's calls to end on the stage's ramp: it has `own`, and all shards together `whole`.
    fn spacing(&self, own: u32, whole: u32, now: Stamp) -> Spacing {
        let calls = if self.shard.is_only() { own } else { whole };
        Spacing::dealt(self.planned.ramp, calls, now, self.shard, self.shard.index)
    }

    /// Hangs up the calls of retired lines, spaced by the ramp; those that are not up yet are cancelled.
    fn retire(&mut self, lines: &[u32], now: Stamp) {
        if lines.is_empty() {
            return;
        }
        let mut spacing = self.spacing(self.ramped, self.ramped, now);
        for call in self.attempts.keys() {
            let of_line =
                |attempt: &&Attempt| attempt.has_line && lines.binary_search(&attempt.record.line).is_ok();
            let Some(attempt) = self.attempts.get(call).filter(of_line) else { continue };
            self.lines.retire(attempt.record.line);
            if !attempt.is_up() {
                self.push(Output::HangUp(call));
            } else if !attempt.is_stopping {
                let planned = self.deadlines.get(CallDeadline::HangUp(call));
                let turn = spacing.take(now);
                let at = planned.map_or(turn, |planned| planned.min(turn));
                self.deadlines.set(CallDeadline::HangUp(call), Some(at));
                self.change(call, |attempt| attempt.is_retired = true);
            }
        }
    }

    /// True if nobody answers: holding nothing for minutes would tell no more.
    fn is_hopeless(&self) -> bool {
        match self.lines.is_open() {
            // Others may have calls that are answered, and a run does not become smaller.
            _ if !self.shard.is_only() => false,
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
        let from = match self.phase_end().filter(|_| self.has_fixed_bounds()) {
            Some(risen) if self.lines.is_open() => {
                (risen + warmup.max(self.scenario.load.settles_after())).max(now + NOTICE)
            }
            Some(risen) => (risen + warmup.max(NOTICE)).max(now + NOTICE),
            None => now + warmup.max(NOTICE),
        };
        // A driver that is late by less comes to the same second as the others.
        let is_free = self.scenario.stage.is_empty() && self.shard.is_only();
        let from = if is_free { from } else { self.next_second(from) };
        let to = from + self.planned.hold;
        self.window = Some((from, to));
        let since_start = |at: Stamp| Some(at.since(self.epoch).as_secs_f64());
        if let Some(stage) = self.stages.last_mut() {
            (stage.from_s, stage.to_s) = (since_start(from), since_start(to));
        }
        self.push(Output::Window { from, to });
        self.enter(Phase::Warmup, now);
    }

    /// The first whole second of the run from `at` on: no second of the interval log has packets of two stages.
    fn next_second(&self, at: Stamp) -> Stamp {
        let since = at.since(self.epoch);
        let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
        self.epoch + Duration::from_secs(seconds)
    }

    /// No more calls. Those that are up end, spaced as they came, or of an open load when they would have ended
    /// anyway if that is sooner; an attempt that is under way still gets its answer, for the schedule wanted it. At
    /// once, all end now.
    fn drain(&mut self, now: Stamp, at_once: bool) {
        self.enter(Phase::Drain, now);
        self.lines.close();
        let is_open = self.lines.is_open();
        let whole = self.scenario.load.calls_of(self.planned.target).ceil() as u32;
        let mut spacing = self.spacing(self.calls_up, whole, now);
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
        self.coming.clear();
        let end_s = (now + NOTICE).since(self.epoch).as_secs_f64();
        if let Some(stage) = self.stages.last_mut() {
            stage.to_s = stage.to_s.map(|to| to.min(end_s).max(stage.from_s.unwrap_or(to)));
        }
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
        let sum = |of: fn(&LiveTarget) -> u64| self.targets.iter().map(of).sum::<u64>();
        if !self.targets.is_empty() {
            let sums = [sum(|t| t.calls_up), sum(|t| t.attempts), sum(|t| t.answered), sum(|t| t.failed)];
            assert_eq!(sums, [self.calls_up, self.placed, self.answered, self.failed].map(u64::from));
        }
    }
}
