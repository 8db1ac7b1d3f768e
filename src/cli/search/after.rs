//! Runs after a search, on request: a soak at the lower bound, an overload, and the way back from it.

use std::time::Duration;

use super::Args;
use super::hunt::Hunt;
use crate::cli::{Failure, say};
use crate::clock;
use crate::gate::judge;
use crate::metrics::Summary;
use crate::rendezvous::Task;
use crate::report::capacity::{AfterSearch, OutcomeWord};
use crate::run::folder::{OVERLOAD, SOAK};
use crate::search::{Answer, Ended, Goal, Length, Load, Most, Planned, Trial};
use crate::stamp::Stamp;
use crate::values::{Span, counted, cut};

/// Most trials in which a target may become well again: with trials of 15 s some five minutes.
const MOST_RECOVERIES: u32 = 10;
/// Most runs of one name in a search's folder.
const MOST_OF_A_NAME: u32 = 1000;
/// Most ways in which calls were refused, in a report.
const MOST_REFUSALS: usize = 8;
/// Longest name of such a way: it holds what the far end says.
const LONGEST_REFUSAL: usize = 200;

/// Name of the trials after an overload; each has its number.
const RECOVERY: &str = "recovery";

/// Figures of a soak; those without a value are left out.
const OF_SOAK: [&str; 10] = [
    "rtt.p50",
    "rtt.p99",
    "loss.ratio",
    "turn.response.p50",
    "turn.response.p95",
    "turn.no_reply_ratio",
    "calls.dropped_count",
    "drift.max",
    "memory.service_growth",
    "memory.asterisk_growth",
];
const OF_OVERLOAD: [&str; 10] = [
    "calls.answered",
    "calls.dropped_count",
    "srd.p95",
    "rtt.p50",
    "rtt.p99",
    "loss.ratio",
    "turn.response.p50",
    "turn.response.p95",
    "turn.no_reply_ratio",
    "cpu.asterisk_mean",
];
const OF_RECOVERY: [&str; 5] = ["calls.answered", "srd.p95", "rtt.p99", "loss.ratio", "turn.response.p95"];

/// Runs after a search.
#[derive(Debug, Default)]
pub struct After {
    /// Those that were made.
    pub runs: Vec<AfterSearch>,
    /// Remarks on those that were not.
    pub remarks: Vec<String>,
    /// Reason for which one could not be made or stored.
    pub failed: Option<String>,
}

/// The bounds of one goal.
struct Bounds {
    goal: Goal,
    lower: Load,
    upper: Option<Load>,
}

/// A run that was made, with what is told of it.
struct Made {
    told: AfterSearch,
    summary: Summary,
    trial: Trial,
    began: Stamp,
}

impl Made {
    /// Begin and end of its window, in seconds of the clock; of the whole run where no call came up.
    fn window(&self) -> (f64, f64) {
        let environment = &self.summary.environment;
        let began = self.began.as_ns() as f64 / 1e9;
        let from = environment.window_from_s.unwrap_or_default();
        (began + from, began + environment.window_to_s.unwrap_or(environment.elapsed_s))
    }
}

impl Hunt<'_> {
    /// Holds the lower bound and offers more than the upper one, as far as that is wanted.
    pub async fn after(&mut self, args: &Args, answer: &Answer) -> After {
        let mut after = After::default();
        let is_broken = self.trials.last().is_some_and(|trial| trial.ended == Ended::Broke);
        if args.soak.is_none() && args.overload.is_none() || self.is_interrupted() || is_broken {
            return after;
        }
        let Some(bounds) = self.strictest(answer) else {
            after.remarks.push("no soak or overload was made: no load is known to be carried".into());
            return after;
        };
        let made = self.soak_and_overload(args, &bounds, &mut after).await;
        after.failed = made.err().map(|failure| failure.to_string());
        after
    }

    /// Bounds of the goal that carries least.
    fn strictest(&self, answer: &Answer) -> Option<Bounds> {
        let found = answer.goals.iter().filter(|goal| goal.lower.is_some()).min_by_key(|goal| goal.lower)?;
        let goal = self.goals.iter().find(|goal| goal.name == found.goal)?;
        Some(Bounds { goal: goal.clone(), lower: found.lower?, upper: found.upper })
    }

    async fn soak_and_overload(
        &mut self,
        args: &Args,
        bounds: &Bounds,
        after: &mut After,
    ) -> Result<(), Failure> {
        if let Some(hold) = args.soak {
            let mut made = self.make(bounds, SOAK, bounds.lower, hold, &OF_SOAK).await?;
            made.told.lines.push(left_behind(made.trial.leaks));
            let goes_on = made.trial.ended == Ended::Planned;
            after.runs.push(made.told);
            if !goes_on || self.is_interrupted() {
                return Ok(());
            }
            self.rest().await;
        }
        match args.overload.map(|share| self.overload(bounds, share)) {
            Some(Ok(load)) if !self.is_interrupted() => self.overloaded(bounds, load, after).await,
            Some(Err(why)) => {
                after.remarks.push(why);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The load of an overload: more than is carried, and no more than the ports and the driver manage.
    fn overload(&self, bounds: &Bounds, share: f64) -> Result<Load, String> {
        let wanted = bounds.upper.unwrap_or(bounds.lower).raised(share);
        let Some(Most { load: most, by }) = self.limits.most(self.plan.scenario()) else { return Ok(wanted) };
        match wanted.min(most) {
            load if load > bounds.lower => Ok(load),
            _ => Err(format!("no overload was made: {by} carries no more than the {}", bounds.lower)),
        }
    }

    /// Offers too much, and tries the lower bound until it is carried again.
    async fn overloaded(&mut self, bounds: &Bounds, load: Load, after: &mut After) -> Result<(), Failure> {
        let hold = self.plan.scenario().search.final_trial;
        let mut made = self.make(bounds, OVERLOAD, load, hold, &OF_OVERLOAD).await?;
        made.told.lines.extend(refusals(&made.summary));
        let (goes_on, (_, ended)) = (made.trial.ended == Ended::Planned, made.window());
        let at = after.runs.len();
        after.runs.push(made.told);
        if goes_on && let Some(line) = self.recover(bounds, ended, after).await? {
            after.runs[at].lines.push(line);
        }
        Ok(())
    }

    /// Tries the lower bound until it is carried, and says how long after an overload that was; `None` where the
    /// trials were cut short.
    async fn recover(
        &mut self,
        bounds: &Bounds,
        ended: f64,
        after: &mut After,
    ) -> Result<Option<String>, Failure> {
        let hold = self.recovery_hold(bounds);
        let mut was_bad = false;
        for number in 1..=MOST_RECOVERIES {
            if self.is_interrupted() {
                return Ok(None);
            }
            let made = self.make(bounds, RECOVERY, bounds.lower, hold, &OF_RECOVERY).await?;
            let (outcome, goes_on) = (made.told.outcome, made.trial.ended == Ended::Planned);
            let (from, _) = made.window();
            after.runs.push(made.told);
            if !goes_on {
                return Ok(None);
            }
            was_bad |= outcome == OutcomeWord::Bad;
            if outcome == OutcomeWord::Good {
                return Ok(Some(well(bounds.lower, from - ended, number)));
            }
        }
        let trials = counted(MOST_RECOVERIES.into(), "trial");
        Ok(Some(match was_bad {
            true => format!("not well again: none of {trials} at {} was good", bounds.lower),
            false => format!("nobody knows whether it was well again: all of {trials} were void"),
        }))
    }

    /// The length of an initial trial, where that gives every gate its samples.
    fn recovery_hold(&self, bounds: &Bounds) -> Span {
        let scenario = self.plan.scenario();
        let (initial, full) = (scenario.search.initial_trial, scenario.search.final_trial);
        let is_judged = || scenario.traffic().unjudged(&bounds.goal.gates, bounds.lower, initial.0).is_none();
        if initial.0 > Duration::ZERO && initial.0 < full.0 && is_judged() { initial } else { full }
    }

    /// Makes a run at a load, whatever becomes of its gates, and judges it by those of one goal.
    async fn make(
        &mut self,
        bounds: &Bounds,
        name: &str,
        load: Load,
        hold: Span,
        figures: &[&str],
    ) -> Result<Made, Failure> {
        let folder = self.free(name);
        let plan = self.plan.at_load(load, hold, bounds.goal.gates.clone());
        let began = clock::now();
        let goal = self.goals.iter().position(|goal| goal.name == bounds.goal.name).map(|goal| goal as u32);
        let task = Task::Trial { load: load.number(), hold_ns: Task::ns(hold.0), enough_ns: None, goal };
        let title = format!("{folder}: {load} for {hold}");
        let Some((finished, written)) = self.run(&plan, &folder, &title, task).await? else {
            return Err(Failure::broke(format!("{folder} was not made: the drivers have parted")));
        };
        written?;
        let summary = finished.summary;
        let verdict = judge(&summary, &bounds.goal.gates, &plan.scenario().limits);
        let planned = Planned { number: 1, load, hold, length: Length::Full, folder };
        let trial = Trial::judged(planned, &summary, [(bounds.goal.name.as_str(), &verdict)]);
        let mut told = AfterSearch::of(&trial.folder.replace('-', " "), &trial, &summary, figures);
        // A void one says it itself.
        if trial.ended == Ended::Interrupted && told.outcome != OutcomeWord::Void {
            told.lines.push("interrupted before its time".into());
        }
        if !self.is_quiet() {
            say::err(format!("{}: {load}, {:.0} s: {}", told.title, told.effective_s, told.outcome));
        }
        Ok(Made { told, summary, trial, began })
    }

    /// A name of a run that no folder in the search's has yet: `soak`, `soak-2`; those of recoveries have a number
    /// always.
    fn free(&self, name: &str) -> String {
        let numbered = (1..MOST_OF_A_NAME).map(|n| match n {
            1 if name != RECOVERY => name.to_string(),
            n => format!("{name}-{n}"),
        });
        let mut free = numbered.filter(|name| !self.folder.has(name));
        // A claim refuses one that is taken.
        free.next().unwrap_or_else(|| name.to_string())
    }
}

fn left_behind(leaks: Option<u64>) -> String {
    match leaks {
        Some(0) => "nothing was left behind".into(),
        Some(left) => format!("{} left behind", counted(left, "resource")),
        None => "what was left behind could not be counted".into(),
    }
}

/// Attempts that were admitted, and how the others ended.
fn refusals(summary: &Summary) -> Vec<String> {
    let number = |name| summary.metric(name).and_then(|metric| metric.value.number()).unwrap_or_default();
    let attempts = counted(number("calls.attempts") as u64, "attempt");
    let admitted = format!("{} of {attempts} admitted", number("calls.answered_count"));
    let refused = summary.unanswered();
    let dropped = number("calls.dropped_count") as u64;
    let dropped =
        (dropped > 0).then(|| format!("{dropped} of those that were admitted ended before their time"));
    if refused.is_empty() {
        return std::iter::once(format!("{admitted}, none refused")).chain(dropped).collect();
    }
    let said =
        refused.iter().map(|ending| format!("{} {}", ending.count, cut(&ending.what, LONGEST_REFUSAL)));
    let more: u64 = refused.iter().skip(MOST_REFUSALS).map(|ending| ending.count).sum();
    let more = (more > 0).then(|| format!("{more} others"));
    let said: Vec<_> = said.take(MOST_REFUSALS).chain(more).collect();
    std::iter::once(format!("{admitted}; the others: {}", said.join(", "))).chain(dropped).collect()
}

fn well(lower: Load, after_s: f64, trial: u32) -> String {
    // A trial is judged as a whole: the target may have been well before its window began.
    let span = Span(Duration::from_secs(after_s.max(0.0).ceil() as u64));
    format!("well again within {span} of its end: {lower} were carried from there on, in recovery {trial}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_reads_well() {
        assert_eq!(left_behind(Some(0)), "nothing was left behind");
        assert_eq!(left_behind(Some(2)), "2 resources left behind");
        let calls = Load::calls(187).unwrap();
        assert_eq!(
            well(calls, 12.3, 2),
            "well again within 13s of its end: 187 calls were carried from there on, in recovery 2"
        );
        assert_eq!(calls.raised(1.5), Load::calls(281).unwrap());
        assert_eq!(Load::calls(1).unwrap().raised(1.1), Load::calls(2).unwrap());
        assert_eq!(Load::rate(12.5).unwrap().raised(1.5), Load::rate(18.75).unwrap());
    }
}
