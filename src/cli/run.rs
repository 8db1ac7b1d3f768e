//! `loadtest run`: place the calls of a scenario, measure, report, judge.

use std::cell::RefCell;
use std::future::Future;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::sync::watch;

use super::deliver::{self, Delivery, FORMATS, format_parser};
use super::progress::Display;
use super::{Exit, Failure, say};
use crate::clock;
use crate::compare::baseline::Baseline;
use crate::driver::{self, DriverConfig, Recorded, Stop};
use crate::gate::{Gate, Watch};
use crate::metrics::{Summary, catalogue, per_call, summarize};
use crate::net::signals::Signals;
use crate::record::{CallRecord, EndedEarly, Ending, Leaks, Phase, Run, hlog};
use crate::report::Format;
use crate::run::application::{symptoms, without_last_words};
use crate::run::environment::{Circumstances, beforehand, gather};
use crate::run::faults::{Done, Faults};
use crate::run::folder::Folder;
use crate::run::leak_check::{Audit, unknown};
use crate::run::preflight::{Plan, headline, survey};
use crate::run::testbed::Stage;
use crate::scenario::{Resolved, Scenario, ServiceMode};
use crate::scheduling::Scheduling;
use crate::sip::digest::Credentials;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest run scenarios/smoke.toml\n  \
    loadtest run scenarios/50x5m.toml --set load.calls=100 --out /tmp/hundred\n  \
    loadtest run scenarios/smoke.toml --set 'gates.require=[\"rtt.p95 < 15ms\"]'")]
pub struct Args {
    /// The scenario file (TOML).
    #[arg(required_unless_present = "list_metrics")]
    scenario: Option<PathBuf>,
    /// Override a scenario key; may be given more than once.
    ///
    /// KEY has its table before it, as in load.calls. VALUE is TOML; what is none is taken as a string, so
    /// that `5m` needs no quotes.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder for the results; it must not hold a run yet [default: reports/<name>-<UTC time>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Reports to write.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = format_parser(),
          default_value = FORMATS)]
    report: Vec<Format>,
    /// Hold the run against stored ones of the same scenario, machine and version: a run's folder, or a
    /// folder of them.
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Say nothing but errors; the exit code is the verdict.
    #[arg(long, short)]
    quiet: bool,
    /// List every metric that a gate can name, and end.
    #[arg(long)]
    list_metrics: bool,
}

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    if args.list_metrics {
        list_metrics();
        return Ok(Exit::Pass);
    }
    let path = args.scenario.clone().unwrap_or_default();
    let Plan { resolved, gates, credentials, granted } = Plan::read(&path, &args.set)?;
    let mut warnings = survey(&resolved.scenario)?.clear()?.warnings;
    warnings.extend(granted.warning.clone());
    let baseline = baseline(args.baseline.as_deref(), &resolved)?;
    let folder = Folder::create(args.out.as_deref(), &resolved.scenario.name, clock::now())?;
    folder.write("scenario.toml", resolved.to_toml().as_bytes())?;

    let (stop_sender, stop) = watch::channel(Stop::No);
    let mut interrupt = Interrupt::listen(stop_sender)?;
    let mut display = Display::new(args.quiet);
    announce(&resolved.scenario, &warnings, &display);
    let logs = folder.logs();
    let stage = tokio::select! {
        stage = Stage::set(&resolved.scenario, &logs) => stage,
        () = interrupt.wait() => {
            folder.discard();
            return Ok(Exit::Interrupted);
        }
    };
    // A folder without a run in it would only look like one.
    let mut stage = stage.inspect_err(|_| folder.discard())?;
    let target = stage.target.to_string();
    let sender = Sender { credentials, scheduling: granted.scheduling.clone(), stop };
    let mut abort = Abort::new(&resolved.scenario, &gates, &display);
    let played = perform(&resolved, &mut stage, sender, &mut interrupt, &mut display, &mut abort).await;
    let struck = stage.strike().await;
    let Played { recorded, broken, faults, leaks } = played?;
    let broken = broken.or_else(|| nobody_there(&recorded, &target));

    let early = abort.ended_early.as_ref().map(|early| format!("gate `{}` {early}", early.gate));
    let remarks = early.into_iter().chain(struck.remarks).chain(remarks_of(&resolved, &recorded));
    let circumstances = Circumstances {
        asterisk: struck.asterisk_is,
        service: struck.service_is,
        scheduling: granted.scheduling.to_string(),
        interrupted: interrupt.signals.came(),
        ended_early: abort.ended_early,
        broken: broken.clone(),
        service_drops: struck.service_drops,
        faults_undone: (resolved.scenario.fault.len() - faults.iter().filter(|f| f.is_over()).count()) as u64,
        service_record: struck.service_record,
        faults: faults.iter().map(|f| f.record(recorded.epoch)).collect(),
        leaks,
        remarks: remarks.chain(granted.warning).collect(),
    };
    let (summary, log) = conclude(&resolved, recorded, circumstances)?;
    let verdict = deliver::verdict(&resolved, &gates, &summary, baseline.as_ref());
    let (formats, verdict) = (args.report.as_slice(), &verdict);
    let delivery = Delivery { resolved: &resolved, summary: &summary, verdict, folder: &folder, formats };
    // The figures first: whatever becomes of the files, they have been said.
    if !args.quiet {
        delivery.tell();
    }
    let environment = serde_json::to_vec_pretty(&summary.environment).context("environment.json")?;
    let raw = [folder.write("environment.json", &environment), folder.write("rtt.hlog", &log)];
    let rendered = delivery.write();
    raw.into_iter().chain([rendered]).collect::<Result<(), _>>()?;
    match broken {
        Some(why) if args.quiet => Err(Failure::broke(why)),
        Some(why) => Err(Failure::broke(without_last_words(&why))),
        None if interrupt.signals.came() => Ok(Exit::Interrupted),
        None => Ok(verdict.outcome.into()),
    }
}

/// The stored runs that this one will be held against. That none of them will do is said before the run.
fn baseline(folder: Option<&Path>, resolved: &Resolved) -> Result<Option<Baseline>, Failure> {
    let baseline = deliver::baseline(folder)?;
    let run = beforehand(resolved);
    match baseline.as_ref().filter(|baseline| !baseline.is_of_use(&run)) {
        Some(useless) => {
            let why = useless.left_out(&run).unwrap_or_default();
            Err(Failure::usage(format!("nothing to hold the run against: {why}")))
        }
        None => Ok(baseline),
    }
}

fn list_metrics() {
    let line = |name: &str, help: &str| say::out(format_args!("{name:24} {help}"));
    catalogue::all().for_each(|metric| line(metric.name, metric.help));
    say::out("\nAfter \"every call:\", for each call by itself\n");
    per_call::ALL.iter().for_each(|metric| line(metric.name, metric.help));
}

/// What is said before anything is started.
fn announce(scenario: &Scenario, warnings: &[String], display: &Display) {
    display.say(&headline(scenario));
    warnings.iter().for_each(|warning| display.say(&format!("warning: {warning}")));
    let service = &scenario.service;
    if service.mode == ServiceMode::External {
        let (app, within) = (&service.app, service.ready_within);
        display.say(&format!("waiting for the application `{app}`, up to {within}"));
    }
}

/// What the driver needs besides scenario and stage.
struct Sender {
    credentials: Option<Credentials>,
    scheduling: Scheduling,
    stop: watch::Receiver<Stop>,
}

/// What is known once the last call is over.
struct Played {
    recorded: Recorded,
    /// What broke, if anything did.
    broken: Option<String>,
    faults: Vec<Done>,
    leaks: Leaks,
}

/// Everything on the set stage: the first census, the calls with their faults, the last census.
async fn perform(
    resolved: &Resolved,
    stage: &mut Stage,
    Sender { credentials, scheduling, stop }: Sender,
    interrupt: &mut Interrupt,
    display: &mut Display,
    abort: &mut Abort,
) -> Result<Played, Failure> {
    let scenario = &resolved.scenario;
    let audit = Audit::begin(stage, scenario).await;
    let (watched, watching) = watch::channel(stage.watched());
    let (hold_from, holding) = watch::channel(None);
    let config = DriverConfig {
        scenario,
        target: stage.target,
        credentials,
        run_id: rand::random(),
        watched: watching,
        hold_from,
        scheduling,
        stop,
    };
    let mut faults = Vec::new();
    let played = {
        let display = RefCell::new(&mut *display);
        let say = |text: &str| display.borrow().say(text);
        let faults = Faults { scenario, hold_from: holding, watched, say: &say, done: &mut faults };
        play(config, faults.attend(stage), interrupt, &display, abort).await
    };
    display.finish();
    let (recorded, broken) = played?;
    let leaks = match interrupt.level() {
        Stop::Now => unknown("the run was ended at once"),
        Stop::No | Stop::Early | Stop::Soon => tokio::select! {
            leaks = audit.conclude(stage.watched()) => leaks,
            // The second Ctrl-C ends at once, whatever does not answer.
            () = interrupt.at_once() => unknown("the run was ended at once"),
        },
    };
    Ok(Played { recorded, broken, faults, leaks })
}

/// Runs the driver; if what attends to the stage says that it broke, ends the run and says why.
async fn play(
    config: DriverConfig<'_>,
    attend: impl Future<Output = (String, Stop)>,
    interrupt: &mut Interrupt,
    display: &RefCell<&mut Display>,
    abort: &mut Abort,
) -> Result<(Recorded, Option<String>), Failure> {
    let mut broken = None;
    let stop = interrupt.stop.clone();
    let mut show = |progress: &driver::Progress| {
        display.borrow_mut().show(progress);
        if let Some(why) = abort.look(progress) {
            display.borrow().say(&why);
            raise(&stop, Stop::Early);
        }
    };
    let drive = driver::run(config, &mut show);
    tokio::pin!(drive, attend);
    loop {
        tokio::select! {
            recorded = &mut drive => {
                let recorded = recorded.map_err(anyhow::Error::from)?;
                return Ok((recorded, broken));
            }
            (why, stop) = &mut attend, if broken.is_none() => {
                broken = Some(why);
                interrupt.raise(stop);
            }
            () = interrupt.wait() => {}
        }
    }
}

/// Ctrl-C and SIGTERM: the first hangs up in order, the second ends at once.
struct Interrupt {
    stop: watch::Sender<Stop>,
    signals: Signals,
}

impl Interrupt {
    fn listen(stop: watch::Sender<Stop>) -> Result<Self, Failure> {
        Ok(Interrupt { stop, signals: Signals::listen().map_err(anyhow::Error::from)? })
    }

    /// Waits for a signal and passes it on.
    async fn wait(&mut self) {
        let stop = if self.signals.came() { Stop::Now } else { Stop::Soon };
        self.signals.next().await;
        self.raise(stop);
    }

    /// How the run was asked to end, if it was.
    fn level(&self) -> Stop {
        *self.stop.borrow()
    }

    /// Returns once everything is to end at once.
    async fn at_once(&mut self) {
        while self.level() != Stop::Now {
            self.wait().await;
        }
    }

    fn raise(&self, stop: Stop) {
        raise(&self.stop, stop);
    }
}

fn raise(sender: &watch::Sender<Stop>, stop: Stop) {
    sender.send_if_modified(|current| {
        let raised = stop > *current;
        *current = stop.max(*current);
        raised
    });
}

/// `gates.abort_on_fail`: ends a run that has become hopeless.
struct Abort {
    watch: Option<Watch>,
    ended_early: Option<EndedEarly>,
}

impl Abort {
    fn new(scenario: &Scenario, gates: &[Gate], display: &Display) -> Abort {
        let after = scenario.gates.abort_after;
        let watch = scenario.gates.abort_on_fail.then(|| Watch::new(gates, after.0));
        if let Some(watch) = &watch {
            let (count, all) = (watch.count(), gates.len());
            display.say(&format!(
                "abort_on_fail: a gate broken for {after} ends the run; {count} of {all} can be judged before its end"
            ));
        }
        Abort { watch, ended_early: None }
    }

    /// Why the run is to end now.
    fn look(&mut self, progress: &driver::Progress) -> Option<String> {
        let watch = self.watch.as_mut().filter(|_| progress.phase == Phase::Hold)?;
        let hopeless = watch.look(progress.in_phase, progress.live)?;
        // Said once: from here on there is nothing to end.
        self.watch = None;
        let (since_s, at_s) = (hopeless.since.as_secs_f64(), hopeless.at.as_secs_f64());
        let early = EndedEarly { gate: hopeless.gate, actual: hopeless.actual, since_s, at_s };
        let said = format!("gate `{}` {early}", early.gate);
        self.ended_early = Some(early);
        Some(said)
    }
}

/// A target that has not said a word to anybody is not there: no outcome of calls, but a broken set-up.
fn nobody_there(recorded: &Recorded, target: &str) -> Option<String> {
    let silent = |call: &CallRecord| call.ending == Ending::Timeout && call.srd_ms.is_none();
    let all = !recorded.calls.is_empty() && recorded.calls.iter().all(silent);
    (all && !recorded.heard)
        .then(|| format!("nothing answers SIP at {target}: is it running, and is the address right?"))
}

fn remarks_of(resolved: &Resolved, recorded: &Recorded) -> Vec<String> {
    let mut remarks = Vec::new();
    let calls = resolved.scenario.load.calls;
    if recorded.window.is_none() {
        remarks.push("no call came up, so nothing was held or measured".into());
    } else if recorded.calls_at_start < calls {
        remarks.push(format!("the hold phase began with {} of {calls} calls up", recorded.calls_at_start));
    }
    if recorded.suppressed > 0 {
        remarks.push(format!(
            "{} calls could not be placed: {}",
            recorded.suppressed, recorded.suppressed_because
        ));
    }
    if recorded.heard {
        remarks.extend(symptoms(&resolved.scenario, &recorded.calls));
    }
    for (direction, impaired) in ["out", "back"].into_iter().zip(&recorded.impaired) {
        let counts = impaired.counts;
        if counts.seen() > 0 {
            remarks.push(format!(
                "impaired on purpose on the way {direction}: of {} packets {} lost, {} doubled, {} sent ahead, {} delayed",
                counts.seen(), counts.lost, counts.duplicated, counts.reordered, counts.delayed
            ));
        }
    }
    let mut trouble = |count: u64, what: &str| {
        if count > 0 {
            remarks.push(format!("{count} {what}"));
        }
    };
    trouble(recorded.socket_errors.garbage, "datagrams on the SIP port were not SIP");
    trouble(
        recorded.socket_errors.unsent,
        "SIP messages could not be sent: is the target reachable from sip.local?",
    );
    remarks
}

/// The Summary, and the interval log of the histograms.
fn conclude(
    resolved: &Resolved,
    recorded: Recorded,
    circumstances: Circumstances,
) -> Result<(Summary, Vec<u8>), Failure> {
    let environment = gather(resolved, &recorded, circumstances);
    let (from, to) = recorded.window.unwrap_or((recorded.epoch, recorded.epoch));
    let log = hlog::write(&recorded.histograms, from, to.since(from)).map_err(anyhow::Error::from)?;
    let run = Run {
        environment,
        calls: recorded.calls,
        seconds: recorded.seconds,
        call_seconds: recorded.call_seconds,
        silences: recorded.silences,
        histograms: recorded.histograms,
    };
    Ok((summarize(run), log))
}
