//! The trials of a search, one after another on one testbed.

use std::time::Duration;

use tokio::sync::watch;

use super::Args;
use super::after::After;
use super::limits::{Limits, fits, limits, of_all, own_cap, room, said_of_others, taken, told_of_all};
use super::place::Place;
use crate::cli::deliver::{Delivery, DeliveryOptions};
use crate::cli::fleet::{Cause, Fleet};
use crate::cli::progress::Display;
use crate::cli::run::bring_up;
use crate::cli::{Failure, say};
use crate::clock;
use crate::driver::Stop;
use crate::gate::{Verdict, judge};
use crate::record::Environment;
use crate::rendezvous::Task;
use crate::report::Format;
use crate::report::capacity::{AfterSearch, CapacityReport, SearchPlace, Sources};
use crate::run::capacity;
use crate::run::environment::beforehand;
use crate::run::folder::{Claim, TRIALS, rfc3339};
use crate::run::{Finished, Folder, RunError, RunPlan, Testbed, execute};
use crate::search::{
    self, Answer, Cut, Figures, Goal, Length, Load, Outcome, Planned, Require, Search, Step, Trial,
};
use crate::stamp::Stamp;
use crate::values::{Span, Unit, Value, show};

/// Reports of a trial: its page and its data. Charts of their own would take as long as a short trial.
const TRIAL_REPORTS: [Format; 4] = [Format::Html, Format::Csv, Format::Json, Format::Markdown];

/// A search under way.
pub struct Hunt<'f> {
    pub(super) plan: RunPlan,
    pub(super) goals: Vec<Goal>,
    pub(super) folder: Folder,
    testbed: Testbed,
    /// The others, of a search by several drivers.
    fleet: Option<&'f mut Fleet>,
    search: Search,
    pub(super) trials: Vec<Trial>,
    /// The report of before a resumption.
    former: Option<CapacityReport>,
    pub(super) limits: Limits,
    environment: Option<Environment>,
    began: Stamp,
    /// Time that it has taken, that of trials before a resumption included.
    spent: Duration,
    /// Breakage that ended its last trial.
    breakage: Option<String>,
    interrupt: watch::Receiver<Stop>,
    quiet: bool,
}

/// A search that has ended.
pub struct Found {
    plan: RunPlan,
    goals: Vec<Goal>,
    /// Its folder.
    pub folder: Folder,
    trials: Vec<Trial>,
    /// The answer.
    pub answer: Answer,
    limits: Limits,
    /// Machine and versions, as the last trial found them.
    environment: Option<Environment>,
    /// UTC, RFC 3339.
    started_at: String,
    /// Machine and programs before a resumption, for one that made no trial.
    place: Option<SearchPlace>,
    spent: Duration,
    after: Vec<AfterSearch>,
    remarks: Vec<String>,
    /// True if the user ended it.
    pub interrupted: bool,
    /// Breakage that ended it.
    pub broken: Option<String>,
    /// Shard that is missing, which ended it.
    pub lost: Option<String>,
}

impl<'f> Hunt<'f> {
    /// Finds the limits, and brings the testbed up; `None` when the user interrupts that.
    ///
    /// # Errors
    /// Whatever keeps calls from being placed.
    pub async fn begin(
        args: &Args,
        place: Place,
        interrupt: watch::Receiver<Stop>,
        mut fleet: Option<&'f mut Fleet>,
    ) -> Result<Option<Hunt<'f>>, Failure> {
        let Place { plan, goals, folder, trials, former } = place;
        let began = clock::now();
        let said = |line: &str| {
            if !args.quiet {
                say::err(line);
            }
        };
        let here = SearchPlace::of(&beforehand(&plan.resolved));
        let differing = former.as_ref().map(|former| former.differs_from(&here, &goals)).unwrap_or_default();
        if !differing.is_empty() {
            let differing = differing.join(", ");
            said(&format!("warning: the trials of before were made with another {differing}: search anew"));
        }
        let limits = match fleet.as_deref_mut() {
            Some(fleet) => limits_of_all(&plan, &goals, fleet, &said).await,
            None => {
                let cap = own_cap(&plan).and_then(|cap| fits(&plan, &goals, &trials, cap));
                limits(&plan, cap.inspect_err(|_| folder.discard())?, interrupt.clone(), &said).await
            }
        };
        let Some(limits) = limits.inspect_err(|_| folder.discard())? else {
            folder.discard();
            return Ok(None);
        };
        let mut ending = fleet.as_deref().map_or_else(|| interrupt.clone(), Fleet::ending);
        let Some(testbed) = bring_up(&plan, &folder, &mut ending).await? else {
            if let Some(fleet) = fleet {
                // Nobody plays it.
                fleet.part(Task::Trial { load: 1.0, hold_ns: 0, enough_ns: None, goal: None }).await;
            }
            return Ok(None);
        };
        said_of_others(&plan, &testbed, &said).await;
        let conditions = capacity::conditions(plan.scenario(), &limits.driver, &limits.cap);
        let mut search = Search::new(&plan.scenario().search, goals.clone(), conditions);
        trials.iter().for_each(|trial| search.add(trial));
        let spent = taken(&trials) + clock::now().since(began);
        let (quiet, environment, breakage) = (args.quiet, None, None);
        Ok(Some(Hunt {
            plan,
            goals,
            folder,
            testbed,
            fleet,
            search,
            trials,
            former,
            limits,
            environment,
            began,
            spent,
            breakage,
            interrupt,
            quiet,
        }))
    }

    /// Makes trial after trial until there is an answer, the user ends it, or the testbed breaks.
    ///
    /// # Errors
    /// A trial that cannot be made or stored. What was found so far is stored.
    pub async fn play(&mut self) -> Result<Answer, Failure> {
        loop {
            let step = self.search.next(self.spent);
            let (load, hold, length, enough) = match step {
                Step::Done(answer) => return Ok(*answer),
                Step::Trial { load, hold, length, enough, .. } => (load, hold, length, enough),
            };
            if self.is_interrupted() {
                return Ok(self.search.answer(Cut::Interrupted));
            }
            let began = clock::now();
            let written = self.trial(load, hold, length, enough).await?;
            self.spent += clock::now().since(began);
            written.unwrap_or(Ok(()))?;
            // The target has not broken where a driver was lost.
            if self.fleet.as_ref().is_some_and(|fleet| fleet.cause().is_some()) {
                return Ok(self.search.answer(Cut::Interrupted));
            }
            if let Some(breakage) = &self.breakage {
                // Its last output is in the error, and in the trial's logs.
                let what = breakage.split("; its last output").next().unwrap_or(breakage);
                return Ok(self.search.answer(Cut::Broke(load, what.into())));
            }
            if self.is_interrupted() {
                return Ok(self.search.answer(Cut::Interrupted));
            }
            let begins = clock::now();
            self.rest().await;
            self.spent += clock::now().since(begins);
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn is_interrupted(&self) -> bool {
        *self.interrupt.borrow() != Stop::No
            || self.fleet.as_ref().is_some_and(|fleet| fleet.cause().is_some())
    }

    /// One trial, judged and stored. Within, the outcome of writing its report: its record is kept whatever became of
    /// that. `None` where other drivers kept it from being made.
    async fn trial(
        &mut self,
        load: Load,
        hold: Span,
        length: Length,
        enough: Span,
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        let number = self.trials.len() as u64 + 1;
        let name = self.new_folder(number);
        let plan = self.plan.of_trial(load, hold, enough, &self.goals);
        let enough_ns = Some(Task::ns(enough.0));
        let task = Task::Trial { load: load.number(), hold_ns: Task::ns(hold.0), enough_ns, goal: None };
        let title = self.title(number, load, hold);
        let Some((finished, written)) = self.run(&plan, &name, &title, task).await? else { return Ok(None) };
        let verdicts = self.verdicts(&finished);
        let planned = Planned { number, load, hold, length, folder: name };
        let named = verdicts.iter().map(|(name, verdict)| (name.as_str(), verdict));
        let trial = Trial::judged(planned, &finished.summary, named);
        self.breakage = Some(finished.summary.environment.broken).filter(|broken| !broken.is_empty());
        self.tell(&trial);
        self.keep(trial)?;
        Ok(Some(written))
    }

    /// Makes a run on the testbed, and stores it in a folder of that name. The second is the outcome of that. `None`
    /// where other drivers kept it from being made.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) async fn run(
        &mut self,
        plan: &RunPlan,
        name: &str,
        title: &str,
        task: Task,
    ) -> Result<Option<(Finished, Result<(), Failure>)>, Failure> {
        let scenario = plan.resolved.to_toml();
        let out = self.folder.path().join(name);
        let claim = Claim::Run("scenario.toml", scenario.as_bytes());
        let folder = Folder::claim(Some(&out), name, clock::now(), claim)?;
        let display = Display::of_many(self.quiet, plan.scenario(), title);
        let finished = match &mut self.fleet {
            Some(fleet) => fleet.play(task, plan, &mut self.testbed, (&folder, &display)).await,
            None => {
                let finished = execute(plan, &mut self.testbed, self.interrupt.clone(), &display).await;
                finished.map(Some).map_err(Failure::from)
            }
        };
        let Some(finished) = finished.inspect_err(|_| display.finish())? else {
            display.finish();
            folder.discard();
            return Ok(None);
        };
        self.environment = Some(finished.summary.environment.clone());
        let options = DeliveryOptions::files(&TRIAL_REPORTS);
        let resolved = &plan.resolved;
        let delivery = Delivery {
            resolved,
            finished: &finished,
            folder: &folder,
            options: &options,
            display: &display,
            source: None,
        };
        let written = delivery.write();
        display.finish();
        Ok(Some((finished, written)))
    }

    /// The name of a trial's folder. One of that number may be there, of a trial that was killed.
    fn new_folder(&self, number: u64) -> String {
        let usual = format!("trial-{number:02}");
        let others = (2..).map(|again| format!("{usual}-{again}"));
        let mut names = std::iter::once(usual.clone()).chain(others);
        // Invariant: a folder has fewer entries than there are numbers.
        names.find(|name| !self.folder.has(name)).unwrap_or(usual)
    }

    /// The verdict of a trial by the gates of each goal.
    fn verdicts(&self, finished: &Finished) -> Vec<(String, Verdict)> {
        let limits = &self.plan.scenario().limits;
        let verdict = |goal: &Goal| (goal.name.clone(), judge(&finished.summary, &goal.gates, limits));
        self.goals.iter().map(verdict).collect()
    }

    /// Adds a trial to the search, and to the file of trials.
    fn keep(&mut self, trial: Trial) -> Result<(), RunError> {
        self.search.add(&trial);
        self.trials.push(trial);
        let lines: String = self.trials.iter().map(search::write).collect();
        self.folder.write(TRIALS, lines.as_bytes())
    }

    /// Lets what is under way arrive, and the target come to rest.
    pub(super) async fn rest(&mut self) {
        let mut interrupt = self.fleet.as_ref().map_or(self.interrupt.clone(), |fleet| fleet.ending());
        tokio::select! {
            () = tokio::time::sleep(self.plan.scenario().search.rest.0) => {}
            _ = interrupt.wait_for(|stop| *stop != Stop::No) => {}
        }
    }

    /// `trial 7: 196 calls for 1m · so far 187 to 234 calls · some 12 min more at the most, …`
    fn title(&self, number: u64, load: Load, hold: Span) -> String {
        let minutes = self.search.longest(self.spent).as_secs().div_ceil(60);
        let so_far = self.bounds_so_far();
        format!(
            "trial {number}: {load} for {hold} · {so_far} · some {minutes} min more at the most, unless trials contradict \
             each other or are void"
        )
    }

    /// Every goal's bounds so far: `187 to 234 calls`.
    fn bounds_so_far(&self) -> String {
        self.goals.iter().map(|goal| self.so_far(goal)).collect::<Vec<_>>().join(", ")
    }

    fn so_far(&self, goal: &Goal) -> String {
        let name = if self.goals.len() > 1 { format!("{} ", goal.name) } else { String::new() };
        let (lower, upper) = self.search.bounds(&goal.name);
        format!("{name}{}", search::range(lower, upper))
    }

    fn tell(&self, trial: &Trial) {
        if !self.quiet {
            trial.outcomes.iter().for_each(|(goal, outcome)| say::err(self.line(trial, goal, outcome)));
        }
    }

    fn line(&self, trial: &Trial, goal: &str, outcome: &Outcome) -> String {
        let Trial { number, load, effective_s, .. } = trial;
        let name = if self.goals.len() > 1 { format!("{goal}: ") } else { String::new() };
        let said = match outcome {
            Outcome::Good => "good".to_string(),
            Outcome::Bad { gate, actual } => format!("bad, `{gate}`: {actual}"),
            Outcome::Void { reason } => format!("void, {reason}"),
        };
        format!("trial {number}: {load}, {effective_s:.0} s: {name}{said} ({})", figures(trial))
    }

    /// Stops what was started.
    ///
    /// # Errors
    /// Those of [`Hunt::play`].
    pub async fn end(mut self, played: Result<Answer, Failure>, after: After) -> Result<Found, Failure> {
        let cause = self.fleet.as_ref().and_then(|fleet| fleet.cause().cloned());
        let is_user = *self.interrupt.borrow() != Stop::No;
        let interrupted = is_user || matches!(cause, Some(Cause::Interrupted(_)));
        let lost = cause.filter(|cause| matches!(cause, Cause::Lost(_))).map(|cause| cause.why().to_string());
        let broken = self.testbed.has_broken().await.map(|breakage| breakage.to_string());
        // The target that answers the calls may be nobody's child.
        let broken = broken.or(self.breakage.take());
        let so_far = (!self.quiet).then(|| self.bounds_so_far());
        let _ = self.testbed.down().await;
        let Hunt { plan, goals, folder, trials, former, limits, environment, began, spent, .. } = self;
        let answer = played.inspect_err(|_| {
            // Whatever broke, the trials are there.
            if let Some(so_far) = so_far.filter(|_| !trials.is_empty()) {
                let folder = folder.path().display();
                say::err(format!("so far: {so_far}; `loadtest search --resume {folder}` goes on from there"));
            }
        })?;
        let place = former.as_ref().map(|former| former.environment.clone());
        let started_at = place.as_ref().map_or_else(|| rfc3339(began), |place| place.started_at.clone());
        let mut runs = former.map_or(Vec::new(), |former| former.after);
        runs.extend(after.runs);
        Ok(Found {
            plan,
            goals,
            folder,
            trials,
            answer,
            limits,
            environment,
            started_at,
            place,
            spent,
            after: runs,
            remarks: after.remarks,
            interrupted,
            broken: broken.or(after.failed),
            lost,
        })
    }
}

/// The limits of all drivers; `None` where there will be no run of them.
async fn limits_of_all(
    plan: &RunPlan,
    goals: &[Goal],
    fleet: &mut Fleet,
    said: &dyn Fn(&str),
) -> Result<Option<Limits>, Failure> {
    let Some(room) = room(plan, fleet.shard(), fleet.ending(), said).await? else {
        fleet.unprepared().await;
        return Ok(None);
    };
    let Some(rooms) = fleet.prepare(room).await else { return Ok(None) };
    let limits = of_all(&rooms);
    fits(plan, goals, &[], limits.cap.clone())?;
    told_of_all(plan, &limits, said)?;
    Ok(Some(limits))
}

/// `rtt p99 8.2 ms, loss 0 %, Asterisk 1.31 of 2 cores`: what a glance at a trial wants; of a conversation the mean
/// response in the place of the first two.
fn figures(trial: &Trial) -> String {
    let Figures {
        rtt_p99_ms,
        loss_ratio,
        turn_response_mean_ms: response,
        asterisk_cores,
        machine_cores,
        ..
    } = trial.figures;
    let rtt = || format!("rtt p99 {}", show(rtt_p99_ms, Unit::Ms));
    let loss = || format!("loss {}", show(loss_ratio, Unit::Ratio));
    let media = match response {
        Value::NoData => vec![rtt(), loss()],
        _ => vec![format!("response mean {}", show(response, Unit::Ms))],
    };
    let cores = asterisk_cores.number().map(|cores| format!("Asterisk {cores:.2} of {machine_cores} cores"));
    media.into_iter().chain(cores).collect::<Vec<_>>().join(", ")
}

impl Found {
    /// The report of the search.
    pub fn report(&self, requirements: &[Require]) -> CapacityReport {
        let environment = self.environment.clone().unwrap_or_else(|| beforehand(&self.plan.resolved));
        let scenario = self.plan.scenario();
        let mut report = CapacityReport::of(&Sources {
            answer: &self.answer,
            trials: &self.trials,
            settings: &scenario.search,
            goals: &self.goals,
            requirements,
            limit: &self.limits.of(scenario),
            environment: &environment,
            started_at: &self.started_at,
            elapsed: self.spent,
        });
        report.after.clone_from(&self.after);
        report.remarks.extend(self.remarks.iter().cloned());
        report.remarks.extend(self.lost.as_ref().map(|why| format!("It ended before its time: {why}")));
        match (&self.environment, &self.place) {
            (None, Some(place)) => report.environment = place.clone(),
            _ => {
                let scheduling = &mut report.environment.scheduling;
                scheduling.service = environment.service_scheduling;
                scheduling.asterisk = environment.asterisk_scheduling;
            }
        }
        // Its own: that of a trial is another for every load.
        report.environment.scenario_hash = scenario.hash();
        report
    }
}
