//! `loadtest run` as one driver of several: its share, and where it coordinates, the report of all.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use super::deliver::{Delivery, DeliveryOptions};
use super::live::LiveServer;
use super::meeting::{Joining, Meet, Meeting};
use super::progress::Display;
use super::run::{announce, bring_up};
use super::share::{Totalled, called_off, merged, send, tell, write};
use super::{Exit, Failure, interrupt, say};
use crate::clock;
use crate::driver::Stop;
use crate::gate::{Watch, doubt};
use crate::run::environment::beforehand;
use crate::run::folder::SHARDS;
use crate::run::options_probe::ask_before;
use crate::run::preflight::survey_share;
use crate::run::together::{Gathered, Link, Place, Refusal, RunShard, StartAt, hello, share_of};
use crate::run::{Finished, Folder, Observer, Part, RunPlan, execute_part};
use crate::shard::Shard;
use crate::stamp::Stamp;
use crate::values::Span;

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
    let mut warnings = survey_share(&share_of(plan.scenario(), shard), plan.scenario())?.clear()?;
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
        match &link {
            Some(link) => self.tell_live(link),
            None => {
                folder.discard();
                self.display.finish();
                say::err("interrupted before the first call; no report");
            }
        }
        Ok(link)
    }

    /// Has `--live` tell of this share, or where this process coordinates, of all.
    fn tell_live(&self, link: &Link) {
        let Some(live) = self.display.live().filter(|_| !self.shard.is_only()) else { return };
        match &link.place {
            Some(place) => live.tell_of_all(place.beats()),
            None => live.tell_of_share(self.shard.index),
        }
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
            let is_called_off = error.is_called_off();
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
            Err(failure) => (failure.exit() as u8, failure.to_string()),
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
        let head = format!("all {} shards: {}", self.shard.count, finished.verdict.outcome);
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
        Ok(judged.map_or(Exit::Inconclusive, |judged| tell(judged, true, self.options.quiet)))
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

/// A share that was not made, and whether that is because there was no run.
struct Broken(Failure, bool);

fn is_called_off(broken: &Broken) -> bool {
    broken.1
}
