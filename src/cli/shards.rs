//! `loadtest run` as one driver of several: its share, and where it coordinates, the report of all.

use std::net::SocketAddr;
use std::path::Path;

use tokio::sync::watch;

use super::deliver::{Delivery, DeliveryOptions};
use super::live::LiveServer;
use super::progress::Display;
use super::run::{announce, bring_up};
use super::{Exit, Failure, interrupt, say};
use crate::driver::{DriverError, Stop};
use crate::files::Dir;
use crate::gate::{Watch, doubt};
use crate::rendezvous::FILES;
use crate::report::Format;
use crate::run::environment::beforehand;
use crate::run::folder::SHARDS;
use crate::run::options_probe::ask_before;
use crate::run::preflight::survey;
use crate::run::together::merged::Shares;
use crate::run::together::{
    Gathered, KEY, Link, Place, Refusal, Rendezvous, RunShard, StartAt, hello, join, secret, share_of,
};
use crate::run::{Finished, Folder, Observer, Part, RunError, RunPlan, conclude, execute_part};
use crate::shard::{Identified, Shard, identify};
use crate::values::{HostPort, Span};

/// Largest file of a share.
const MOST_BYTES: u64 = 1 << 30;

/// Options of a run that several drivers make.
#[derive(Debug, clap::Args)]
pub struct ShardOptions {
    /// Place the share of one driver of several: shard I, from 0, of N [default: what the engine says, as LOADTEST_SHARD and
    /// LOADTEST_SHARDS, or SLURM_PROCID and SLURM_NTASKS].
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Where the drivers meet: the one that owns HOST coordinates and has the report. All need the same LOADTEST_KEY.
    #[arg(long, value_name = "HOST:PORT", env = "LOADTEST_RENDEZVOUS", conflicts_with = "start_at")]
    rendezvous: Option<HostPort>,
    /// Longest wait at the rendezvous for the other drivers, and then for all to be ready.
    #[arg(long, value_name = "TIME", default_value = "2m", requires = "rendezvous")]
    wait: Span,
    /// Start at this instant, with drivers that have no network between them and clocks that agree; `loadtest merge` makes
    /// the report. UTC as in 2026-11-27T14:00:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME", env = "LOADTEST_START_AT")]
    start_at: Option<StartAt>,
}

impl ShardOptions {
    /// The shard that this process is; `None` for an ordinary run.
    ///
    /// # Errors
    /// Nobody says which, or where all meet.
    pub fn wanted(&self) -> Result<Option<Shard>, Failure> {
        let (has_way, has_shard) =
            (self.rendezvous.is_some() || self.start_at.is_some(), self.shard.is_some());
        if !has_way && has_shard {
            return Err(Failure::usage(
                "--shard places a share of a run: say where its drivers meet with --rendezvous HOST:PORT, or when they start \
                 with --start-at TIME",
            ));
        }
        if !has_way {
            return Ok(None);
        }
        let variable = |name: &'static str| std::env::var(name).ok();
        let Identified { shard, .. } =
            identify(self.shard, variable).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Some(shard))
    }
}

/// Makes the share of `shard`, and where this process coordinates, the run of all.
pub async fn run(
    plan: RunPlan,
    shard: Shard,
    shards: &ShardOptions,
    (out, options, live): (Option<&Path>, &DeliveryOptions, Option<SocketAddr>),
) -> Result<Exit, Failure> {
    Refusal::look(plan.scenario(), shard)?;
    let key = shards.rendezvous.is_some().then(|| secret(std::env::var(KEY).ok())).transpose()?;
    if shards.start_at.is_some_and(|at| at.0 <= crate::clock::now()) {
        return Err(Failure::usage("--start-at is over: give all drivers an instant that they can keep"));
    }
    let mut warnings = survey(&share_of(plan.scenario(), shard))?.clear()?;
    warnings.extend(ask_before(&plan).await?);
    warnings.extend(plan.granted.warnings());
    let plan = plan.hold_against(options.baseline()?)?;
    let interrupt = interrupt::listen()?;
    let live = LiveServer::wanted(live, &plan).await?;
    let display = Display::new(options.quiet, plan.scenario()).with_live(live);
    let driver = ShardRun { plan: &plan, shard, options, display: &display };
    match (shards.rendezvous.as_ref().zip(key), shards.start_at) {
        (Some((at, secret)), _) => {
            let folder = plan.folder(out)?;
            announce(plan.scenario(), &warnings, &display);
            let joined = driver.join(at, secret, shards.wait, (&folder, interrupt.clone())).await;
            let link = joined.inspect_err(|_| folder.discard())?;
            let Some(link) = link else { return Ok(Exit::Interrupted) };
            driver.linked(link, &folder, interrupt).await
        }
        (None, Some(at)) => {
            let folder = plan.folder(out)?;
            announce(plan.scenario(), &warnings, &display);
            driver.alone(at, &folder, interrupt).await
        }
        (None, None) => Err(Failure::usage("--rendezvous or --start-at is missing")),
    }
}

/// One driver's run.
struct ShardRun<'a> {
    plan: &'a RunPlan,
    shard: Shard,
    options: &'a DeliveryOptions,
    display: &'a Display,
}

impl ShardRun<'_> {
    /// Joins the others; `None` when the user interrupts that.
    async fn join(
        &self,
        at: &HostPort,
        secret: crate::rendezvous::RunSecret,
        wait: Span,
        (folder, mut interrupt): (&Folder, watch::Receiver<Stop>),
    ) -> Result<Option<Link>, Failure> {
        let gates = &self.plan.scenario().gates;
        let host = beforehand(&self.plan.resolved).host;
        let rendezvous = Rendezvous {
            at: at.clone(),
            hello: hello(&self.plan.resolved, self.shard, &host),
            secret,
            wait: wait.0,
            folder: folder.path().join(SHARDS),
            watch: gates.abort_on_fail.then(|| Watch::new(&self.plan.enders, gates.abort_after.0)),
        };
        self.display.remark(&format!("shard {}: waiting for the others at {at}, up to {wait}", self.shard));
        let link = tokio::select! {
            link = join(rendezvous) => link?,
            _ = interrupt.wait_for(|stop| *stop != Stop::No) => {
                folder.discard();
                self.display.finish();
                say::err("interrupted before the first call; no report");
                return Ok(None);
            }
        };
        if let Some(live) = self.display.live().filter(|_| !self.shard.is_only()) {
            match &link.place {
                Some(place) => live.tell_of_all(place.beats.clone()),
                None => live.tell_of_share(self.shard.index),
            }
        }
        if link.place.is_some() {
            self.display.remark(&format!("this process coordinates all {} shards", self.shard.count));
        }
        Ok(Some(link))
    }

    /// Plays the share in touch with the others, and ends with the verdict of all.
    async fn linked(
        &self,
        mut link: Link,
        folder: &Folder,
        mut interrupt: watch::Receiver<Stop>,
    ) -> Result<Exit, Failure> {
        let scenario = hello(&self.plan.resolved, self.shard, "").scenario;
        let of = RunShard { shard: self.shard, run_id: link.run_id, scenario };
        let shown = Totalled { display: self.display, totals: link.totals.clone() };
        let played = self.play(folder, interrupt.clone(), &shown, Part::Linked(of, &mut link)).await;
        let coordinates = link.place.is_some();
        let broken = match played {
            Ok(share) => self.hand_over(&share, folder, &link, coordinates).err(),
            Err(failure) if is_called_off(&failure) => {
                // Where the others have begun meanwhile, they are not to wait for this one.
                link.failed("it was ended before its first call".into());
                None
            }
            Err(failure) => Some(failure.0),
        };
        if let Some(broken) = &broken {
            link.failed(broken.to_string());
        }
        let exit = match link.place.take() {
            Some(place) => self.judge_all(place, folder, &mut interrupt).await,
            None => self.await_verdict(&link, &mut interrupt).await,
        };
        if coordinates {
            // All are to hear of the verdict.
            link.close();
        }
        match broken {
            Some(broken) => Err(broken),
            None => exit,
        }
    }

    async fn play(
        &self,
        folder: &Folder,
        mut interrupt: watch::Receiver<Stop>,
        observer: &dyn Observer,
        part: Part<'_>,
    ) -> Result<Finished, Broken> {
        let up =
            bring_up(self.plan, folder, &mut interrupt).await.map_err(|failure| Broken(failure, false))?;
        let Some(mut testbed) = up else { return Err(Broken(Failure::broke("interrupted"), true)) };
        let finished = execute_part(self.plan, &mut testbed, interrupt, observer, part).await;
        let broken = testbed.down().await;
        let finished = finished.and_then(|finished| finished.broken_since(self.plan, broken));
        finished.map_err(|error| {
            let is_called_off = matches!(error, RunError::Driver(DriverError::CalledOff));
            Broken(Failure::from(error), is_called_off)
        })
    }

    /// Writes the share into its folder.
    fn write(&self, share: &Finished, folder: &Folder) -> Result<(), Failure> {
        folder.write("scenario.toml", self.plan.resolved.to_toml().as_bytes())?;
        let options = DeliveryOptions::files(&[Format::Csv]);
        let (resolved, display) = (&self.plan.resolved, self.display);
        Delivery { resolved, finished: share, folder, options: &options, display, source: None }.write()
    }

    /// Writes the share, and sends it to the coordinator unless that is this process.
    fn hand_over(
        &self,
        share: &Finished,
        folder: &Folder,
        link: &Link,
        coordinates: bool,
    ) -> Result<(), Failure> {
        if coordinates {
            let own = folder.path().join(SHARDS).join(self.shard.index.to_string());
            self.write(share, &Folder::open(&own)?)?;
        } else {
            self.write(share, folder)?;
            let dir = Dir::open(folder.path()).map_err(|error| Failure::broke(error.to_string()))?;
            for name in FILES.into_iter().filter(|name| dir.has(name)) {
                let unread = |error| RunError::unreadable(&folder.path().join(name), error, "");
                link.file(name, dir.read(name, MOST_BYTES).map_err(unread)?);
            }
        }
        link.delivered();
        Ok(())
    }

    /// Merges all shares and judges the run; all shards hear of it.
    async fn judge_all(
        &self,
        place: Place,
        folder: &Folder,
        interrupt: &mut watch::Receiver<Stop>,
    ) -> Result<Exit, Failure> {
        self.display.stage("waiting for the other shards' records");
        let gathered = tokio::select! {
            gathered = place.gathered => gathered.unwrap_or_default(),
            _ = interrupt.wait_for(|stop| *stop == Stop::Now) => return Ok(Exit::Interrupted),
        };
        let judged = match gathered.start {
            Some(_) => self.merge(&gathered, folder),
            None => {
                self.display.finish();
                folder.discard();
                let why = called_off(&gathered);
                say::err(format_args!("no call was placed: {why}"));
                Ok((Exit::Inconclusive, why))
            }
        };
        let told = match &judged {
            Ok((exit, text)) => (*exit as u8, text.clone()),
            Err(failure) => (Exit::Broke as u8, failure.to_string()),
        };
        let _ = place.verdict.send(told);
        judged.map(|(exit, _)| exit)
    }

    fn merge(&self, gathered: &Gathered, folder: &Folder) -> Result<(Exit, String), Failure> {
        let plan = self.plan;
        let delivered = |index: u32| {
            let is_there = gathered.roll.get(index as usize).is_some_and(|shard| shard.absence.is_none());
            is_there.then(|| folder.path().join(SHARDS).join(index.to_string()))
        };
        let folders: Vec<_> = (0..self.shard.count).filter_map(delivered).collect();
        let shares = Shares::read(folders.iter().map(|path| path.as_path()), &plan.scenario().limits)?;
        let run = shares.merge(&plan.resolved, self.shard.count, Some(gathered));
        let finished = conclude(plan, run, Vec::new())?;
        let (resolved, options, display) = (&plan.resolved, self.options, self.display);
        let exit =
            Delivery { resolved, finished: &finished, folder, options, display, source: None }.deliver()?;
        let doubts: Vec<_> = finished.verdict.doubt.sentences().collect();
        let broken = finished.verdict.gates.iter().filter(|gate| gate.outcome != crate::gate::Outcome::Pass);
        let gates = broken.map(|gate| format!("{}: {} ({})", gate.expression, gate.outcome, gate.actual));
        let head = format!("{} of all {} shards", finished.verdict.outcome, self.shard.count);
        Ok((exit, std::iter::once(head).chain(gates).chain(doubts).collect::<Vec<_>>().join("\n")))
    }

    /// Waits for the coordinator's verdict; a second Ctrl-C waits for nobody.
    async fn await_verdict(
        &self,
        link: &Link,
        interrupt: &mut watch::Receiver<Stop>,
    ) -> Result<Exit, Failure> {
        self.display.stage("waiting for the verdict");
        let mut verdict = link.verdict.clone();
        let judged = tokio::select! {
            judged = verdict.wait_for(Option::is_some) => judged.ok().and_then(|judged| judged.clone()),
            _ = interrupt.wait_for(|stop| *stop == Stop::Now) => return Ok(Exit::Interrupted),
        };
        self.display.finish();
        match judged {
            Some(Ok((exit, text))) => {
                if !self.options.quiet {
                    say::err(text);
                }
                Ok(Exit::of(exit))
            }
            Some(Err(why)) => {
                say::err(format_args!(
                    "inconclusive: the coordinator was lost ({why}); `loadtest merge` can join the shares that are there"
                ));
                Ok(Exit::Inconclusive)
            }
            None => Ok(Exit::Inconclusive),
        }
    }

    /// Plays the share at an instant, without word from the others.
    async fn alone(
        &self,
        at: StartAt,
        folder: &Folder,
        interrupt: watch::Receiver<Stop>,
    ) -> Result<Exit, Failure> {
        let scenario = hello(&self.plan.resolved, self.shard, "").scenario;
        let run_id = at.run_id(&scenario, self.shard.count);
        let of = RunShard { shard: self.shard, run_id, scenario };
        let part = Part::Alone(of, at.0);
        let share = match self.play(folder, interrupt, self.display, part).await {
            Ok(share) => share,
            Err(Broken(_, true)) => {
                self.display.finish();
                folder.discard();
                say::err("interrupted before the first call; no report");
                return Ok(Exit::Interrupted);
            }
            Err(Broken(failure, false)) => return Err(failure),
        };
        let written = self.write(&share, folder);
        self.display.finish();
        written?;
        let environment = &share.summary.environment;
        let doubt = doubt(&share.summary, &self.plan.scenario().limits);
        if !self.options.quiet {
            doubt.sentences().for_each(|reason| say::err(format_args!("in doubt: {reason}")));
            let shown = folder.path().display();
            say::out(format_args!(
                "The share of shard {} is in {shown}; `loadtest merge` judges all of them together.",
                self.shard
            ));
        }
        match environment.broken.as_str() {
            "" if environment.interrupted => Ok(Exit::Interrupted),
            "" if doubt.is_any() && !self.shard.is_only() => Ok(Exit::Inconclusive),
            "" => Ok(Exit::Pass),
            why => Err(Failure::broke(why)),
        }
    }
}

/// A share that was not made, and whether that is because there was no run.
struct Broken(Failure, bool);

fn is_called_off(broken: &Broken) -> bool {
    broken.1
}

/// The reasons for which there was no run.
fn called_off(gathered: &Gathered) -> String {
    let missing = (0..).zip(&gathered.roll).filter_map(|(index, shard): (u32, _)| {
        let absence = shard.absence.as_ref()?;
        let at = if shard.host.is_empty() { String::new() } else { format!(" ({})", shard.host) };
        Some(format!("shard {index}{at} {absence}"))
    });
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() { "the run was called off".into() } else { missing.join("; ") }
}

/// Shows the counts of all beside this driver's own.
struct Totalled<'a> {
    display: &'a Display,
    totals: watch::Receiver<crate::rendezvous::Totals>,
}

impl Observer for Totalled<'_> {
    fn progress(&self, progress: &crate::driver::Progress<'_>) {
        let all = *self.totals.borrow();
        if all.shards > 0 {
            let failed = if all.failed > 0 { format!(", {} failed", all.failed) } else { String::new() };
            let (shards, up, placed) = (all.shards, all.calls_up, all.attempts);
            self.display.note(format!("all {shards} shards: {up} up, {placed} placed{failed}"));
        }
        self.display.progress(progress);
    }

    fn remark(&self, text: &str) {
        self.display.remark(text);
    }

    fn stage(&self, text: &str) {
        Display::stage(self.display, text);
    }
}
