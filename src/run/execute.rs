//! One trial on a testbed: leak check, the calls with their faults, leak check, verdict.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;

use super::ari_look::{Looks, Marks};
use super::environment::unmatched;
use super::faults::{Done, Faults};
use super::folder::rfc3339;
use super::leak_check::{LeakCheck, unknown};
use super::part::Part;
use super::plan::{RunPlan, verdict};
use super::remarks::{of_links, remarks, silent_target};
use super::testbed::{Broken, Testbed};
use super::{Observer, RunError};
use crate::driver::{self, DriverConfig, Progress, Recorded, Stop};
use crate::gate::{Verdict, Watch};
use crate::metrics::{Summary, summarize};
use crate::net::capabilities::Capabilities;
use crate::record::{Breakage, EndedEarly, Environment, Leaks, Observed, Phase, Run, hlog};
use crate::scenario::AsteriskMode;
use crate::stamp::Stamp;
use crate::values::{counted, visible_json};

/// A trial that has been played, to its end or not, or a stored run that is judged again.
#[derive(Debug)]
pub struct Finished {
    /// Its figures.
    pub summary: Summary,
    /// Its verdict by the plan's gates, limits and baseline.
    pub verdict: Verdict,
    /// The raw files that no report brings, by name: `environment.json` and `rtt.hlog`.
    pub raw: Vec<(&'static str, Vec<u8>)>,
    /// Captures and audio of a new run, by their paths in its folder.
    pub captures: Vec<(String, Vec<u8>)>,
}

/// Plays one trial: places the calls of `plan` on `testbed`, which can then play the next.
///
/// `interrupt` is the user's wish to end early: [`Stop::Soon`] hangs up, [`Stop::Now`] waits for nobody;
/// there is a result all the same. `observer` hears of progress and of everything remarkable.
///
/// # Errors
/// When the testbed is another plan's, or the driver cannot start. A testbed that breaks ends the trial and is
/// in its result.
pub async fn execute(
    plan: &RunPlan,
    testbed: &mut Testbed,
    interrupt: watch::Receiver<Stop>,
    observer: &dyn Observer,
) -> Result<Finished, RunError> {
    execute_part(plan, testbed, interrupt, observer, Part::Whole).await
}

/// Plays one trial as [`execute`] does, of which this driver may have a part only.
///
/// # Errors
/// Those of [`execute`], and a run of several drivers that was called off before its first call.
pub async fn execute_part(
    plan: &RunPlan,
    testbed: &mut Testbed,
    interrupt: watch::Receiver<Stop>,
    observer: &dyn Observer,
    mut part: Part<'_>,
) -> Result<Finished, RunError> {
    let starts = testbed.begin_trial(plan)?;
    let service = &plan.scenario().service;
    let is_managed = plan.scenario().asterisk.mode == AsteriskMode::Managed;
    let marks =
        Marks { run_id: part.run_id().unwrap_or_else(rand::random), app: service.app.clone(), is_managed };
    let leak_check = match part.counts_leaks() {
        true => Some(LeakCheck::begin(testbed, marks.clone()).await),
        false => None,
    };
    let mut trial = Trial {
        plan,
        observer,
        run_id: marks.run_id,
        looks: Looks::new(marks, testbed.aris().to_vec(), plan.scenario().hold()),
        is_ending: testbed.ending(),
        early_end: EarlyEnd::new(plan, &part),
        stop: watch::Sender::new(Stop::No),
        interrupt,
        faults: Vec::new(),
    };
    let unmatched_before = unmatched();
    let (mut recorded, broken) = trial.play(testbed, &mut part).await?;
    part.ended(&recorded);
    recorded.run.environment.share = part.share(&recorded);
    recorded.run.environment.observed.unmatched = unmatched().saturating_sub(unmatched_before);
    let leaks = match &leak_check {
        Some(check) => trial.leaks(check, testbed, &mut part).await,
        None => unknown(part.who_counts()),
    };
    let environment = testbed.describe(plan, starts, recorded.run.environment.clone()).await;
    let broken = match broken {
        Some(by) => Some(by),
        None => testbed.has_broken().await,
    };
    recorded.run.environment = trial.complete(&recorded, broken, leaks, environment).await;
    let files = recorded.captured.files.into_iter().chain(recorded.audio);
    conclude(plan, recorded.run, files.collect())
}

fn tell_of_registering(plan: &RunPlan, observer: &dyn Observer) {
    let sip = &plan.scenario().sip;
    if sip.register {
        let accounts = plan.accounts.as_ref().map_or(1, |accounts| accounts.all().len());
        let accounts = counted(accounts as u64, "account");
        observer.stage(&format!("registering {accounts} at {}", sip.register_rate));
    }
}

/// A trial under way.
struct Trial<'a> {
    plan: &'a RunPlan,
    observer: &'a dyn Observer,
    run_id: u32,
    looks: Looks,
    /// Set when the calls begin to end.
    is_ending: Arc<AtomicBool>,
    early_end: EarlyEnd,
    /// Tells the driver to end, for whatever reason.
    stop: watch::Sender<Stop>,
    interrupt: watch::Receiver<Stop>,
    /// Faults carried out so far.
    faults: Vec<Done>,
}

impl Trial<'_> {
    /// Runs the driver and the faults; a testbed that breaks ends the driver.
    async fn play(
        &mut self,
        testbed: &mut Testbed,
        part: &mut Part<'_>,
    ) -> Result<(Recorded, Option<Breakage>), RunError> {
        let Trial { plan, observer, run_id, looks, is_ending, early_end, stop, interrupt, faults } = self;
        let (watched, watching) = watch::channel(testbed.watched());
        let (hold_from, holding) = watch::channel(None);
        let config = DriverConfig {
            scenario: plan.scenario(),
            environment: Environment { command: plan.command.clone(), ..part.beforehand(plan) },
            targets: testbed.targets().to_vec(),
            wire: testbed.wire().clone(),
            credentials: testbed.credentials(plan),
            accounts: plan.accounts.clone(),
            script: plan.script.clone(),
            passages: plan.passages.clone(),
            run_id: *run_id,
            watched: watching,
            hold_from,
            scheduling: plan.granted.driver.scheduling.clone(),
            stop: stop.subscribe(),
            together: part.together(),
        };
        let targets = testbed.targets().to_vec();
        raise(stop, *interrupt.borrow_and_update());
        let faults = Faults {
            scenario: plan.scenario(),
            hold_from: holding,
            watched,
            observer: *observer,
            done: faults,
        };
        let attend = faults.attend(testbed);
        tell_of_registering(plan, *observer);
        let (mut beats, mut others) = (part.beats(), part.wishes());
        let mut show = |progress: &Progress<'_>| {
            observer.progress(progress);
            looks.progress(progress);
            beats.beat(progress);
            is_ending.store(progress.phase == Phase::Drain, Relaxed);
            if let Some(why) = early_end.look(progress) {
                observer.remark(&why);
                raise(stop, Stop::Early);
            }
        };
        let drive = driver::run(config, &mut show);
        tokio::pin!(drive, attend);
        let mut broken = None;
        loop {
            tokio::select! {
                recorded = &mut drive => {
                    let recorded = recorded?;
                    let broken = broken.or_else(|| silent_target(&recorded, &targets));
                    return Ok((recorded, broken));
                }
                Broken { by, stop: how } = &mut attend, if broken.is_none() => {
                    broken = Some(by);
                    raise(stop, how);
                }
                wish = wish(interrupt) => {
                    part.interrupted();
                    raise(stop, wish);
                }
                (wish, why) = others.next() => {
                    observer.remark(&why);
                    raise(stop, wish);
                }
            }
        }
    }

    /// Counts what the calls have left; a user's second Ctrl-C ends that at once.
    async fn leaks(&mut self, check: &LeakCheck, testbed: &Testbed, part: &mut Part<'_>) -> Leaks {
        const AT_ONCE: &str = "the run was ended at once";
        if *self.stop.borrow() == Stop::Now {
            return unknown(AT_ONCE);
        }
        self.observer.stage("counting what the calls have left");
        let at_once = async { while wish(&mut self.interrupt).await != Stop::Now {} };
        let conclude = async {
            part.all_ended().await;
            check.conclude(testbed.started()).await
        };
        tokio::select! {
            leaks = conclude => leaks,
            broken = testbed.broken() => unknown(broken.by),
            () = at_once => unknown(AT_ONCE),
        }
    }

    /// Completes the environment that driver and testbed have recorded.
    async fn complete(
        self,
        recorded: &Recorded,
        broken: Option<Breakage>,
        leaks: Leaks,
        environment: Environment,
    ) -> Environment {
        let (plan, granted) = (self.plan, &self.plan.granted);
        // A run that was ended early says so at its gate.
        let links = environment.service_record.as_ref().and_then(|record| record.links.as_ref());
        let links = links.map(of_links).unwrap_or_default();
        let remarks = environment.remarks.into_iter().chain(remarks(plan.scenario(), recorded)).chain(links);
        let remarks = remarks.chain(Capabilities::here().missing());
        let (ari, foreign) = self.looks.finish().await;
        let foreign = (foreign > 0).then(|| {
            format!("{foreign} channels and bridges in Asterisk are other callers': they are left out of the leak check")
        });
        let observed = Observed { ari, ..environment.observed };
        let over = self.faults.iter().filter(|fault| fault.is_over()).count();
        let mut environment = Environment {
            started_at: rfc3339(recorded.epoch),
            scheduling: granted.driver.scheduling.to_string(),
            interrupted: *self.interrupt.borrow() != Stop::No,
            faults: self.faults.iter().map(|fault| fault.record(recorded.epoch)).collect(),
            faults_undone: (plan.scenario().fault.len() - over) as u64,
            leaks,
            remarks: remarks.chain(foreign).chain(granted.warnings()).collect(),
            observed,
            ended_early: self.early_end.ended,
            ..environment
        };
        broken.into_iter().for_each(|breakage| environment.break_by(breakage));
        environment
    }
}

fn raise(stop: &watch::Sender<Stop>, wanted: Stop) {
    stop.send_if_modified(|current| {
        let raised = wanted > *current;
        *current = wanted.max(*current);
        raised
    });
}

/// Waits for the user's next wish.
async fn wish(interrupt: &mut watch::Receiver<Stop>) -> Stop {
    match interrupt.changed().await {
        Ok(()) => *interrupt.borrow_and_update(),
        // Nobody is left to wish anything.
        Err(_) => std::future::pending().await,
    }
}

/// `gates.abort_on_fail`: ends a trial that has become hopeless.
struct EarlyEnd {
    watch: Option<Watch>,
    ended: Option<EndedEarly>,
}

impl EarlyEnd {
    fn new(plan: &RunPlan, part: &Part<'_>) -> EarlyEnd {
        let gates = &plan.scenario().gates;
        // A share's figures are not those of the run.
        let watch =
            (gates.abort_on_fail && part.is_whole()).then(|| Watch::new(&plan.enders, gates.abort_after.0));
        EarlyEnd { watch, ended: None }
    }

    /// The reason to end now, once.
    fn look(&mut self, progress: &Progress<'_>) -> Option<String> {
        let watch = self.watch.as_mut().filter(|_| progress.phase == Phase::Hold)?;
        let early = watch.look(progress.in_phase, progress.live)?;
        self.watch = None;
        let why = format!("gate `{}` {early}", early.gate);
        self.ended = Some(early);
        Some(why)
    }
}

impl Finished {
    /// Notes what has broken since: Asterisk or the service ended by itself before the run stopped it.
    ///
    /// # Errors
    /// Those of [`execute`].
    pub fn broken_since(mut self, plan: &RunPlan, by: Option<Breakage>) -> Result<Finished, RunError> {
        let environment = &mut self.summary.environment;
        let Some(by) = by.filter(|_| environment.broken.is_empty()) else { return Ok(self) };
        environment.break_by(by);
        let written = environment_file(environment)?;
        self.raw
            .iter_mut()
            .filter(|(name, _)| *name == ENVIRONMENT)
            .for_each(|(_, raw)| raw.clone_from(&written));
        self.verdict = verdict(&plan.resolved, &plan.gates, &self.summary, plan.baseline.as_ref());
        Ok(self)
    }
}

const ENVIRONMENT: &str = "environment.json";

fn environment_file(environment: &Environment) -> Result<Vec<u8>, RunError> {
    let unwritable = |error| RunError::Obstacle(format!("{ENVIRONMENT} cannot be written: {error}"));
    let written = serde_json::to_string_pretty(environment).map_err(unwritable)?;
    // Far ends have written some of it; on a terminal none of that is to do anything.
    Ok(visible_json(&written).into_owned().into_bytes())
}

/// The figures and the verdict of a run's records.
///
/// # Errors
/// Its environment cannot be written.
pub fn conclude(plan: &RunPlan, run: Run, captures: Vec<(String, Vec<u8>)>) -> Result<Finished, RunError> {
    conclude_with(run, captures, |summary| {
        verdict(&plan.resolved, &plan.gates, summary, plan.baseline.as_ref())
    })
}

/// The figures of a run's records, and the verdict that `judge` comes to.
///
/// # Errors
/// Its environment cannot be written.
pub fn conclude_with(
    run: Run,
    captures: Vec<(String, Vec<u8>)>,
    judge: impl FnOnce(&Summary) -> Verdict,
) -> Result<Finished, RunError> {
    let log = hlog::write(&run.intervals, Stamp::from_ns(run.environment.epoch_ns.unwrap_or_default()));
    let environment = environment_file(&run.environment)?;
    let summary = summarize(run);
    let verdict = judge(&summary);
    Ok(Finished { summary, verdict, raw: vec![(ENVIRONMENT, environment), ("rtt.hlog", log)], captures })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Ladder, LadderMessage};

    #[test]
    fn what_far_ends_have_written_acts_on_no_terminal_and_reads_back() {
        let body = "\u{9b}2J\u{1b}[31m\u{202e}\u{2066}\u{2028}\u{7f}ü\n".to_string();
        let messages = vec![LadderMessage { body, ..LadderMessage::default() }];
        let mut environment = Environment::default();
        environment.observed.ladders = vec![Ladder { messages, ..Ladder::default() }];
        let written = String::from_utf8(environment_file(&environment).unwrap()).unwrap();
        assert!(
            !written.contains(|c: char| c.is_control() && c != '\n')
                && !written.contains(['\u{202e}', '\u{2066}', '\u{2028}'])
        );
        let again: Environment = serde_json::from_str(&written).unwrap();
        assert_eq!(again.observed.ladders, environment.observed.ladders);
    }
}
