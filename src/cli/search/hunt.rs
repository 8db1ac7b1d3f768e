//! The trials of a search, one after another on one testbed.

use std::time::Duration;

use tokio::sync::watch;

use super::Args;
use super::after::After;
use super::place::Place;
use crate::cli::deliver::{Delivery, DeliveryOptions};
use crate::cli::progress::Display;
use crate::cli::{Failure, say};
use crate::clock;
use crate::driver::Stop;
use crate::gate::{Verdict, judge};
use crate::record::Environment;
use crate::report::Format;
use crate::report::capacity::{AfterSearch, CapacityReport, LoadLimit, Sources};
use crate::run::capacity::{self, Cap, DriverLimit, common_gates, driver_limit};
use crate::run::environment::beforehand;
use crate::run::folder::{Claim, TRIALS, rfc3339};
use crate::run::preflight::{raise_descriptors, survey};
use crate::run::{Finished, Folder, RunError, RunPlan, Testbed, execute};
use crate::scenario::{AsteriskMode, Scenario};
use crate::search::{
    self, Answer, Cut, Ended, Goal, Kind, Length, Load, Outcome, Planned, Require, Search, Step, Trial,
};
use crate::stamp::Stamp;
use crate::values::{Span, counted};

/// Reports of a trial: its page and its data. Charts of their own would take as long as a short trial.
const TRIAL_REPORTS: [Format; 4] = [Format::Html, Format::Csv, Format::Json, Format::Markdown];

/// A search under way.
pub struct Hunt {
    pub(super) plan: RunPlan,
    pub(super) goals: Vec<Goal>,
    pub(super) folder: Folder,
    testbed: Testbed,
    search: Search,
    pub(super) trials: Vec<Trial>,
    pub(super) limits: Limits,
    environment: Option<Environment>,
    began: Stamp,
    /// Time that trials have taken, those of before a resumption included.
    spent: Duration,
    interrupt: watch::Receiver<Stop>,
    quiet: bool,
}

/// Limits of the load that are known before the first trial.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Ports and descriptors.
    pub cap: Cap,
    /// The driver's own.
    pub driver: DriverLimit,
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
    began: Stamp,
    spent: Duration,
    after: Vec<AfterSearch>,
    remarks: Vec<String>,
    /// True if the user ended it.
    pub interrupted: bool,
    /// Breakage that ended it.
    pub broken: Option<String>,
}

impl Hunt {
    /// Finds the limits, and brings the testbed up; `None` when the user interrupts that.
    ///
    /// # Errors
    /// Whatever keeps calls from being placed.
    pub async fn begin(
        args: &Args,
        place: Place,
        mut interrupt: watch::Receiver<Stop>,
    ) -> Result<Option<Hunt>, Failure> {
        let Place { plan, goals, folder, trials } = place;
        let said = |line: &str| {
            if !args.quiet {
                say::err(line);
            }
        };
        let limits = match limits(&plan, interrupt.clone(), &said).await {
            Ok(Some(limits)) => limits,
            Ok(None) => {
                folder.discard();
                return Ok(None);
            }
            Err(error) => {
                folder.discard();
                return Err(error);
            }
        };
        let logs = folder.logs();
        let up = tokio::select! {
            up = Testbed::up(&plan, &logs) => up,
            _ = interrupt.wait_for(|stop| *stop != Stop::No) => {
                folder.discard();
                return Ok(None);
            }
        };
        let testbed = up?;
        said_of_others(&plan, &testbed, &said).await;
        let conditions = capacity::conditions(plan.scenario(), &limits.driver, &limits.cap);
        let mut search = Search::new(&plan.scenario().search, goals.clone(), conditions);
        trials.iter().for_each(|trial| search.add(trial));
        let spent = trials.iter().map(|trial| trial.took_s).sum::<f64>();
        let spent = Duration::try_from_secs_f64(spent).unwrap_or_default();
        let quiet = args.quiet;
        let (environment, began) = (None, clock::now());
        Ok(Some(Hunt {
            plan,
            goals,
            folder,
            testbed,
            search,
            trials,
            limits,
            environment,
            began,
            spent,
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
            let began = clock::now();
            let Some(trial) = self.trial(load, hold, length, enough).await? else {
                return Ok(self.search.answer(Cut::Interrupted));
            };
            self.spent += clock::now().since(began);
            let has_ended = trial.ended;
            self.tell(&trial);
            self.keep(trial)?;
            if has_ended == Ended::Broke || self.is_interrupted() {
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
    }

    /// One trial, judged and stored; `None` when the user had ended it before its first call.
    async fn trial(
        &mut self,
        load: Load,
        hold: Span,
        length: Length,
        enough: Span,
    ) -> Result<Option<Trial>, Failure> {
        if self.is_interrupted() {
            return Ok(None);
        }
        let number = self.trials.len() as u64 + 1;
        let name = self.new_folder(number);
        let plan = self.plan.of_trial(load, hold, enough, common_gates(&self.goals));
        let finished = self.run(&plan, &name, &self.title(number, load, hold)).await?;
        let verdicts = self.verdicts(&finished);
        let planned = Planned { number, load, hold, length, folder: name };
        let named = verdicts.iter().map(|(name, verdict)| (name.as_str(), verdict));
        Ok(Some(Trial::judged(planned, &finished.summary, named)))
    }

    /// Makes a run on the testbed, and stores it in a folder of that name.
    ///
    /// # Errors
    /// It cannot be made or stored.
    pub(super) async fn run(&mut self, plan: &RunPlan, name: &str, title: &str) -> Result<Finished, Failure> {
        let scenario = plan.resolved.to_toml();
        let out = self.folder.path().join(name);
        let claim = Claim::Run("scenario.toml", scenario.as_bytes());
        let folder = Folder::claim(Some(&out), name, clock::now(), claim)?;
        let display = Display::titled(self.quiet, plan.scenario(), title);
        let finished = execute(plan, &mut self.testbed, self.interrupt.clone(), &display).await;
        let finished = finished.inspect_err(|_| display.finish())?;
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
        written?;
        Ok(finished)
    }

    /// The name of a trial's folder. One of that number may be there, of a trial that was killed.
    fn new_folder(&self, number: u64) -> String {
        let usual = format!("trial-{number:02}");
        let others = (2..).map(|again| format!("{usual}-{again}"));
        let mut names = std::iter::once(usual.clone()).chain(others);
        // Invariant: a folder has fewer entries than there are numbers.
        names.find(|name| !self.folder.path().join(name).exists()).unwrap_or(usual)
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
        let mut interrupt = self.interrupt.clone();
        tokio::select! {
            () = tokio::time::sleep(self.plan.scenario().search.rest.0) => {}
            _ = interrupt.wait_for(|stop| *stop != Stop::No) => {}
        }
    }

    /// `trial 7: 196 calls for 1m · so far 187 to 234 calls · at most 12 min more`
    fn title(&self, number: u64, load: Load, hold: Span) -> String {
        let so_far: Vec<_> = self.goals.iter().map(|goal| self.so_far(goal)).collect();
        let minutes = self.search.longest(self.spent).as_secs().div_ceil(60);
        format!("trial {number}: {load} for {hold} · {} · at most {minutes} min more", so_far.join(", "))
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
        format!("trial {number}: {load}, {effective_s:.0} s: {name}{said}")
    }

    /// Stops what was started.
    ///
    /// # Errors
    /// Those of [`Hunt::play`].
    pub async fn end(self, played: Result<Answer, Failure>, after: After) -> Result<Found, Failure> {
        let interrupted = self.is_interrupted();
        let broken = self.testbed.has_broken().await.map(|breakage| breakage.to_string());
        let _ = self.testbed.down().await;
        let Hunt { plan, goals, folder, trials, limits, environment, began, spent, .. } = self;
        let answer = played?;
        Ok(Found {
            plan,
            goals,
            folder,
            trials,
            answer,
            limits,
            environment,
            began,
            spent,
            after: after.runs,
            remarks: after.remarks,
            interrupted,
            broken: broken.or(after.failed),
        })
    }
}

/// Finds what limits the load before the first trial, and says so.
async fn limits(
    plan: &RunPlan,
    interrupt: watch::Receiver<Stop>,
    said: &dyn Fn(&str),
) -> Result<Option<Limits>, Failure> {
    let cap = capacity::cap(plan.scenario(), raise_descriptors()?);
    said(&capacity::told(&cap));
    let most = capacity::most_calls(plan.scenario(), &cap);
    let held = Scenario {
        load: crate::scenario::Load { calls: most, ..plan.scenario().load.clone() },
        ..plan.scenario().clone()
    };
    survey(&held)?.clear()?.iter().for_each(|warning| said(&format!("warning: {warning}")));
    plan.granted.warnings().for_each(|warning| said(&format!("warning: {warning}")));
    let driver = driver_limit(plan, most, interrupt, &mut |line| said(line)).await?;
    if let Some(driver) = &driver {
        said(&driver.told());
        drives_smallest(plan.scenario(), driver)?;
    }
    Ok(driver.map(|driver| Limits { cap, driver }))
}

/// Refuses a search whose smallest load is more than the driver manages.
fn drives_smallest(scenario: &Scenario, driver: &DriverLimit) -> Result<(), Failure> {
    let (Some(why), Some(smallest)) = (&driver.broke, scenario.search.smallest()) else { return Ok(()) };
    let calls = match smallest.kind() {
        Kind::Calls => smallest.number(),
        Kind::Rate => scenario.load.erlang(smallest.number()),
    };
    if f64::from(driver.streams) >= calls {
        return Ok(());
    }
    let managed = counted(driver.streams.into(), "stream");
    Err(Failure::broke(format!(
        "this machine cannot drive the smallest load of the search, {smallest}: against its own echo the driver managed \
         {managed}, and with more {why}; end what else runs on it, give the driver another machine, or lower search.min"
    )))
}

/// Warns of calls of others at an Asterisk that the search has not started.
async fn said_of_others(plan: &RunPlan, testbed: &Testbed, said: &dyn Fn(&str)) {
    let Some(ari) = testbed.ari().filter(|_| plan.scenario().asterisk.mode == AsteriskMode::External) else {
        return;
    };
    match ari.channels().await {
        Ok(channels) if channels.is_empty() => {}
        Ok(channels) => said(&format!(
            "warning: Asterisk has {} before the first trial, which are not the search's: it finds what is left beside \
             them, and as they come and go its trials are not alike; search while nobody else calls",
            counted(channels.len() as u64, "channel")
        )),
        Err(error) => said(&format!(
            "warning: Asterisk does not say whether others call it ({error}): the search finds what is left beside them"
        )),
    }
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
            started_at: &rfc3339(self.began),
            elapsed: self.spent,
        });
        report.after.clone_from(&self.after);
        report.remarks.extend(self.remarks.iter().cloned());
        let scheduling = &mut report.environment.scheduling;
        scheduling.service = environment.service_scheduling;
        scheduling.asterisk = environment.asterisk_scheduling;
        report
    }
}

impl Limits {
    fn of(&self, scenario: &Scenario) -> LoadLimit {
        let Limits { cap, driver } = self;
        let calls_of_one = match scenario.search.kind {
            Kind::Calls => 1.0,
            // Calls that do not end have no rate.
            Kind::Rate => scenario.load.erlang(1.0).max(f64::MIN_POSITIVE),
        };
        let (load, reason) = match scenario.search.largest() {
            Some(most) => (most.number(), "search.max".to_string()),
            None => (f64::from(capacity::most_calls(scenario, cap)) / calls_of_one, cap.by.clone()),
        };
        LoadLimit {
            load,
            reason,
            driver_load: Some(f64::from(driver.streams) / calls_of_one),
            driver_reached_it: driver.broke.is_none(),
        }
    }
}
