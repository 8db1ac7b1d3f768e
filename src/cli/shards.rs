//! `loadtest run` as one driver of several: its share, and where it coordinates, the report of all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use super::deliver::{Delivery, DeliveryOptions};
use super::live::LiveServer;
use super::progress::Display;
use super::run::{announce, bring_up};
use super::{Exit, Failure, interrupt, say};
use crate::clock;
use crate::driver::{DriverError, Stop};
use crate::files::Dir;
use crate::gate::{Watch, doubt};
use crate::rendezvous::{Absence, FILES, Hello, RunSecret};
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
use crate::stamp::Stamp;
use crate::values::{HostPort, Span};

/// Largest file of a share.
const MOST_BYTES: u64 = 1 << 30;

/// The drivers of a run, and where they meet.
#[derive(Debug, clap::Args)]
pub struct Meeting {
    /// Place the share of one driver of several: shard I, from 0, of N [default: what the engine says, as LOADTEST_SHARD and
    /// LOADTEST_SHARDS, or SLURM_PROCID and SLURM_NTASKS].
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Where the drivers meet: the one that owns HOST coordinates and has the report. All need the same LOADTEST_KEY.
    #[arg(long, value_name = "HOST:PORT", env = "LOADTEST_RENDEZVOUS")]
    rendezvous: Option<HostPort>,
    /// Longest wait at the rendezvous for the other drivers, and then for all to be ready.
    #[arg(long, value_name = "TIME", default_value = "2m", requires = "rendezvous")]
    wait: Span,
}

/// Options of a run that several drivers make.
#[derive(Debug, clap::Args)]
pub struct ShardOptions {
    #[command(flatten)]
    meeting: Meeting,
    /// Start at this instant, with drivers that have no network between them and clocks that agree; `loadtest merge` makes
    /// the report. UTC as in 2026-11-27T14:00:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME", env = "LOADTEST_START_AT", conflicts_with = "rendezvous")]
    start_at: Option<StartAt>,
}

/// A rendezvous, its key, and the time for all to come.
pub struct Meet<'a> {
    at: &'a HostPort,
    secret: RunSecret,
    wait: Span,
}

impl Meeting {
    /// The shard that this process is, of those that meet; `None` for an ordinary command.
    ///
    /// # Errors
    /// Nobody says which, or where all meet.
    pub fn wanted(&self) -> Result<Option<Shard>, Failure> {
        match (&self.rendezvous, self.shard) {
            (Some(_), _) => self.identified().map(Some),
            (None, Some(_)) => Err(Failure::usage(
                "--shard makes this one driver of several: say where they meet with --rendezvous HOST:PORT",
            )),
            (None, None) => Ok(None),
        }
    }

    fn identified(&self) -> Result<Shard, Failure> {
        let variable = |name: &'static str| std::env::var(name).ok();
        let Identified { shard, .. } =
            identify(self.shard, variable).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(shard)
    }

    /// Where and how all meet, if they do.
    ///
    /// # Errors
    /// There is no key.
    pub fn meet(&self) -> Result<Option<Meet<'_>>, Failure> {
        let Some(at) = &self.rendezvous else { return Ok(None) };
        Ok(Some(Meet { at, secret: secret(std::env::var(KEY).ok())?, wait: self.wait }))
    }
}

impl ShardOptions {
    /// The shard that this process is; `None` for an ordinary run.
    ///
    /// # Errors
    /// Nobody says which, or where all meet.
    pub fn wanted(&self) -> Result<Option<Shard>, Failure> {
        let has_way = self.meeting.rendezvous.is_some() || self.start_at.is_some();
        if !has_way && self.meeting.shard.is_some() {
            return Err(Failure::usage(
                "--shard places a share of a run: say where its drivers meet with --rendezvous HOST:PORT, or when they start \
                 with --start-at TIME",
            ));
        }
        has_way.then(|| self.meeting.identified()).transpose()
    }
}

/// A shard's way to the others.
pub struct Joining<'a> {
    pub meet: &'a Meet<'a>,
    pub hello: Hello,
    /// For the coordinator: folder of the shards' files, and what may end the run.
    pub folder: PathBuf,
    pub watch: Option<Watch>,
    pub display: &'a Display,
    pub quiet: bool,
}

impl Joining<'_> {
    /// Joins the others; `None` when the user interrupts that.
    ///
    /// # Errors
    /// Nobody is there, or this shard is refused.
    pub async fn join(self, interrupt: &mut watch::Receiver<Stop>) -> Result<Option<Link>, Failure> {
        let Joining { meet: Meet { at, secret, wait }, hello, folder, watch, display, quiet } = self;
        let (index, count) = (hello.index, hello.count);
        let hint = move |text: &str| {
            if !quiet {
                say::err(text);
            }
        };
        let (at, secret, wait) = ((*at).clone(), secret.clone(), wait.0);
        display
            .remark(&format!("shard {index}/{count}: waiting for the others at {at}, up to {}", Span(wait)));
        let rendezvous = Rendezvous { at, hello, secret, wait, folder, watch, hint: Box::new(hint) };
        let link = tokio::select! {
            link = join(rendezvous) => link?,
            _ = interrupt.wait_for(|stop| *stop != Stop::No) => return Ok(None),
        };
        if link.place.is_some() {
            display.remark(&format!("this process coordinates all {count} shards"));
        }
        Ok(Some(link))
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
    let meet = shards.meeting.meet()?;
    if shards.start_at.is_some_and(|at| at.0 <= clock::now()) {
        return Err(Failure::usage("--start-at is over: give all drivers an instant that they can keep"));
    }
    let mut warnings = survey(&share_of(plan.scenario(), shard))?.clear()?;
    let mut interrupt = interrupt::listen()?;
    if let Some(at) = shards.start_at
        && !slept_until(before(at, &plan, shard), options.quiet, &mut interrupt).await
    {
        say::err("interrupted before the first call; no report");
        return Ok(Exit::Interrupted);
    }
    warnings.extend(ask_before(&plan).await?);
    warnings.extend(plan.granted.warnings());
    let plan = plan.hold_against(options.baseline()?)?;
    let live = LiveServer::wanted(live, &plan).await?;
    let display = Display::new(options.quiet, plan.scenario()).with_live(live);
    let driver = ShardRun { plan: &plan, shard, options, display: &display };
    match (meet, shards.start_at) {
        (Some(meet), _) => {
            let folder = plan.folder(out)?;
            announce(plan.scenario(), &warnings, &display);
            let joined = driver.join(&meet, &folder, interrupt.clone()).await;
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

/// Time before `--start-at` in which a target is asked and looked at.
const LOOKS: Duration = Duration::from_secs(8);

/// The time at which a share that starts at `at` begins with what the far end sees: not long before, for it is to see
/// nothing but the run, and registrations are not to expire.
fn before(at: StartAt, plan: &RunPlan, shard: Shard) -> Stamp {
    let sip = &plan.scenario().sip;
    let accounts = plan.accounts.as_ref().map_or(1, |accounts| accounts.all().len());
    let own = shard.share(accounts as u32).max(1);
    // The rate is that of all shards together.
    let each = f64::from(shard.count) / sip.register_rate.0.max(f64::MIN_POSITIVE);
    let registering = if sip.register { f64::from(own) * each } else { 0.0 };
    at.0 - LOOKS - Duration::try_from_secs_f64(registering).unwrap_or_default()
}

/// Waits; false when the user interrupts that.
async fn slept_until(at: Stamp, quiet: bool, interrupt: &mut watch::Receiver<Stop>) -> bool {
    let left = at.since(clock::now()).as_secs();
    if left > 0 && !quiet {
        say::err(format_args!("nothing is sent for {} yet", Span(Duration::from_secs(left))));
    }
    tokio::select! {
        () = tokio::time::sleep_until(clock::tokio_deadline(at)) => true,
        _ = interrupt.wait_for(|stop| *stop != Stop::No) => false,
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
        meet: &Meet<'_>,
        folder: &Folder,
        mut interrupt: watch::Receiver<Stop>,
    ) -> Result<Option<Link>, Failure> {
        let gates = &self.plan.scenario().gates;
        let joining = Joining {
            meet,
            hello: hello(&self.plan.resolved, self.shard, &beforehand(&self.plan.resolved).host),
            folder: folder.path().join(SHARDS),
            watch: gates.abort_on_fail.then(|| Watch::new(&self.plan.enders, gates.abort_after.0)),
            display: self.display,
            quiet: self.options.quiet,
        };
        let link = joining.join(&mut interrupt).await?;
        if link.is_none() {
            folder.discard();
            self.display.finish();
            say::err("interrupted before the first call; no report");
        }
        Ok(link)
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
        let played_nothing = played.as_ref().is_err_and(is_called_off);
        let broken = match played {
            Ok(share) => self.hand_over(&share, folder, &link, coordinates).err(),
            Err(failure) if is_called_off(&failure) => {
                // Where the others have begun meanwhile, they are not to wait for this one.
                link.parted();
                None
            }
            Err(failure) => Some(failure.0),
        };
        if let Some(broken) = &broken {
            link.failed(broken.to_string());
        }
        // The others end inconclusive for want of this one.
        let ended_it = played_nothing && *interrupt.borrow() != Stop::No;
        let exit = match link.place.take() {
            Some(place) => self.judge_all(place, folder, &mut interrupt).await,
            None => self.await_verdict(&link, &mut interrupt).await,
        };
        if played_nothing && !coordinates {
            folder.discard();
        }
        if coordinates && *interrupt.borrow() != Stop::Now {
            // All are to hear of the verdict.
            link.close();
        }
        match broken {
            Some(broken) => Err(broken),
            None if ended_it && exit.is_ok() => Ok(Exit::Interrupted),
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
        let mut others = part.wishes();
        let up = tokio::select! {
            up = bring_up(self.plan, folder, &mut interrupt) => up.map_err(|failure| Broken(failure, false))?,
            // Nobody is waited for who is not needed any more.
            (_, why) = others.next() => return Err(Broken(Failure::broke(why), true)),
        };
        let Some(mut testbed) = up else {
            part.interrupted();
            return Err(Broken(Failure::broke("interrupted"), true));
        };
        let finished = execute_part(self.plan, &mut testbed, interrupt, observer, part).await;
        let broken = testbed.down().await;
        let finished = finished.and_then(|finished| finished.broken_since(self.plan, broken));
        finished.map_err(|error| {
            let is_called_off = matches!(error, RunError::Driver(DriverError::CalledOff));
            Broken(Failure::from(error), is_called_off)
        })
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
            write(self.plan, share, &Folder::open(&own)?, self.display)?;
        } else {
            write(self.plan, share, folder, self.display)?;
            send(folder, link)?;
        }
        link.delivered();
        Ok(())
    }

    /// Merges all shares and judges the run; all shards hear of it.
    async fn judge_all(
        &self,
        mut place: Place,
        folder: &Folder,
        interrupt: &mut watch::Receiver<Stop>,
    ) -> Result<Exit, Failure> {
        self.display.stage("waiting for the other shards' records");
        let gathered = tokio::select! {
            gathered = &mut place.gathered => gathered.unwrap_or_default(),
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
        place.judge(told.0, told.1);
        judged.map(|(exit, _)| exit)
    }

    fn merge(&self, gathered: &Gathered, folder: &Folder) -> Result<(Exit, String), Failure> {
        let plan = self.plan;
        let finished = merged(plan, gathered, folder)?;
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
        Ok(judged.map_or(Exit::Inconclusive, |judged| tell(judged, self.options.quiet)))
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
        let written = write(self.plan, &share, folder, self.display);
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

/// Writes a share into its folder.
pub fn write(plan: &RunPlan, share: &Finished, folder: &Folder, display: &Display) -> Result<(), Failure> {
    folder.write("scenario.toml", plan.resolved.to_toml().as_bytes())?;
    let (resolved, options) = (&plan.resolved, DeliveryOptions::files(&[Format::Csv]));
    Delivery { resolved, finished: share, folder, options: &options, display, source: None }.write()
}

/// Sends the files of a share to the coordinator.
pub fn send(folder: &Folder, link: &Link) -> Result<(), Failure> {
    let dir = Dir::open(folder.path()).map_err(|error| Failure::broke(error.to_string()))?;
    for name in FILES.into_iter().filter(|name| dir.has(name)) {
        let unread = |error| RunError::unreadable(&folder.path().join(name), error, "");
        link.file(name, dir.read(name, MOST_BYTES).map_err(unread)?);
    }
    Ok(())
}

/// The run that the shares in a folder make, with those that are not there.
pub fn merged(plan: &RunPlan, gathered: &Gathered, folder: &Folder) -> Result<Finished, Failure> {
    let count = gathered.roll.len() as u32;
    let delivered = |index: u32| {
        let is_there = gathered.roll.get(index as usize).is_some_and(|shard| shard.absence.is_none());
        is_there.then(|| folder.path().join(SHARDS).join(index.to_string()))
    };
    let folders: Vec<_> = (0..count).filter_map(delivered).collect();
    let shares = Shares::read(folders.iter().map(|path| path.as_path()), &plan.scenario().limits)?;
    let run = shares.merge(&plan.resolved, count, Some(gathered));
    Ok(conclude(plan, run, Vec::new())?)
}

/// Says the coordinator's verdict, or that it was lost.
pub fn tell(judged: Result<(u8, String), String>, quiet: bool) -> Exit {
    match judged {
        Ok((exit, text)) => {
            if !quiet {
                say::err(text);
            }
            Exit::of(exit)
        }
        Err(why) => {
            say::err(format_args!(
                "inconclusive: the coordinator was lost ({why}); `loadtest merge` can join the shares that are there"
            ));
            Exit::Inconclusive
        }
    }
}

/// A share that was not made, and whether that is because there was no run.
struct Broken(Failure, bool);

fn is_called_off(broken: &Broken) -> bool {
    broken.1
}

/// The reasons for which there was no run.
pub fn called_off(gathered: &Gathered) -> String {
    let missing = (0..).zip(&gathered.roll).filter_map(|(index, shard): (u32, _)| {
        // Others were the reason why it was ended.
        let absence = shard.absence.as_ref().filter(|absence| **absence != Absence::Parted)?;
        let at = if shard.host.is_empty() { String::new() } else { format!(" ({})", shard.host) };
        Some(format!("shard {index}{at} {absence}"))
    });
    let missing: Vec<_> = missing.collect();
    match gathered.interrupted {
        Some(index) => format!("shard {index} was interrupted"),
        None if missing.is_empty() => "the run was called off".into(),
        None => missing.join("; "),
    }
}

/// Shows the counts of all beside this driver's own.
pub struct Totalled<'a> {
    pub display: &'a Display,
    pub totals: watch::Receiver<crate::rendezvous::Totals>,
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
