//! One driver of several that make run after run: the trials of a search, the runs of a comparison.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::meeting::{Joining, Meet};
use super::progress::Display;
use super::run::bring_up;
use super::share::{Totalled, called_off, merged, send, tell, write};
use super::{Exit, Failure, say};
use crate::clock;
use crate::driver::Stop;
use crate::gate::Watch;
use crate::rendezvous::{Purpose, Room, Task};
use crate::run::environment::beforehand;
use crate::run::folder::{Claim, SHARDS};
use crate::run::together::{Gathered, Link, Place, RunShard, Told, hello_of};
use crate::run::{Finished, Folder, Part, RunError, RunPlan, Testbed, execute_part};
use crate::scenario::Resolved;
use crate::shard::Shard;

/// A driver that has joined the others.
pub struct Fleet {
    link: Link,
    shard: Shard,
    /// Hash of what all have in common.
    scenario: String,
    interrupt: watch::Receiver<Stop>,
    /// The user's wish, or the others' that everything should end.
    ending: watch::Receiver<Stop>,
    quiet: bool,
    cause: Option<Cause>,
}

/// Reason for which there is no further run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A shard is missing.
    Lost(String),
    /// A shard's user has ended it.
    Interrupted(String),
}

impl Cause {
    fn of(gathered: &Gathered) -> Option<Cause> {
        let is_whole = gathered.roll.iter().all(|shard| shard.absence.is_none());
        match gathered.interrupted {
            Some(_) => Some(Cause::Interrupted(called_off(gathered))),
            None if is_whole && gathered.start.is_some() => None,
            None => Some(Cause::Lost(called_off(gathered))),
        }
    }

    /// The reason in words.
    pub fn why(&self) -> &str {
        match self {
            Cause::Lost(why) | Cause::Interrupted(why) => why,
        }
    }

    /// The exit code that it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            Cause::Lost(_) => Exit::Inconclusive,
            Cause::Interrupted(_) => Exit::Interrupted,
        }
    }
}

impl Fleet {
    /// Joins the others, for these scenarios; `None` when the user interrupts that.
    ///
    /// # Errors
    /// Nobody is there, or this shard is refused.
    pub async fn join(
        meet: &Meet<'_>,
        (purpose, shard): (Purpose, Shard),
        scenarios: &[&Resolved],
        mut interrupt: watch::Receiver<Stop>,
        quiet: bool,
    ) -> Result<Option<Fleet>, Failure> {
        let Some(first) = scenarios.first() else { return Err(Failure::broke("there is no scenario")) };
        let hello = hello_of(purpose, scenarios, shard, &beforehand(first).host);
        let (scenario, display) = (hello.scenario.clone(), Display::new(quiet, &first.scenario));
        let (folder, watch) = (PathBuf::new(), None);
        let joining = Joining { meet, hello, folder, watch, display: &display, quiet };
        let joined = joining.join(&mut interrupt).await;
        display.finish();
        let Some(link) = joined? else { return Ok(None) };
        let ending = either(interrupt.clone(), link.wish.clone());
        Ok(Some(Fleet { link, shard, scenario, interrupt, ending, quiet, cause: None }))
    }

    /// True where this process chooses the runs and has the answer.
    pub fn coordinates(&self) -> bool {
        self.link.place.is_some()
    }

    /// This shard.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// The user's wish, or the others' that everything should end.
    pub fn ending(&self) -> watch::Receiver<Stop> {
        self.ending.clone()
    }

    /// Reason for which there is no further run.
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Says that this driver is prepared, with its room.
    pub fn prepared(&self, room: Room) {
        self.link.prepared(room);
    }

    /// This driver cannot go on.
    pub fn failed(&self, failure: &Failure) {
        self.link.failed(failure.to_string());
    }

    /// Says that this driver is prepared, with its room; at the coordinator the rooms of all, once they are. `None` where
    /// there will be no run: [`Fleet::cause`] says why.
    pub async fn prepare(&mut self, room: Room) -> Option<Vec<Room>> {
        self.link.prepared(room);
        self.rooms().await
    }

    /// Somebody has ended what comes before the first run.
    pub async fn unprepared(&mut self) {
        self.rooms().await;
    }

    /// Somebody has ended what comes before the next run: there is none.
    pub async fn part(&mut self, task: Task) {
        let Some(mut place) = self.link.place.take() else { return };
        // It is called off, whichever of the two is heard first.
        place.next(task, PathBuf::new(), None);
        let gathered = self.gathered(&mut place).await;
        self.link.place = Some(place);
        self.cause = gathered.as_ref().and_then(Cause::of).or(self.cause.take());
    }

    async fn rooms(&mut self) -> Option<Vec<Room>> {
        let mut place = self.link.place.take()?;
        let gathered = self.gathered(&mut place).await;
        self.link.place = Some(place);
        let gathered = gathered?;
        if gathered.rooms.is_empty() {
            self.cause = Cause::of(&gathered);
            return None;
        }
        Some(gathered.rooms)
    }

    /// Waits for what the desk gathers; `None` when the user waits for nobody. Every shard is heard or lost, so it comes.
    async fn gathered(&mut self, place: &mut Place) -> Option<Gathered> {
        let mut seen = Stop::No;
        loop {
            tokio::select! {
                gathered = &mut place.gathered => return Some(gathered.unwrap_or_default()),
                stop = beyond(&mut self.interrupt, seen) => {
                    if stop == Stop::Now {
                        self.cause = Some(Cause::Interrupted("interrupted".into()));
                        return None;
                    }
                    self.link.interrupted();
                    seen = stop;
                }
            }
        }
    }

    /// Makes a run of all drivers, in `folder`, which gets the shares as well. `None` where there was none:
    /// [`Fleet::cause`] says why; it may also say that there will be no other.
    ///
    /// # Errors
    /// Whatever keeps this process from its share, or from the run of all.
    pub async fn play(
        &mut self,
        task: Task,
        plan: &RunPlan,
        testbed: &mut Testbed,
        (folder, display): (&Folder, &Display),
    ) -> Result<Option<Finished>, Failure> {
        let Some(mut place) = self.link.place.take() else {
            return Err(Failure::broke("another driver coordinates"));
        };
        let shares = folder.path().join(SHARDS);
        let gates = &plan.scenario().gates;
        let watch = gates.abort_on_fail.then(|| Watch::new(&plan.enders, gates.abort_after.0));
        place.next(task, shares.clone(), watch);
        let called_off = tokio::select! {
            told = self.link.told() => match told {
                Told::Next(_) => None,
                Told::Over(_) => Some(Gathered::default()),
            },
            gathered = &mut place.gathered => Some(gathered.unwrap_or_default()),
        };
        self.link.place = Some(place);
        if let Some(gathered) = called_off {
            self.cause = Cause::of(&gathered);
            return Ok(None);
        }
        let own = Folder::open(&shares.join(self.shard.index.to_string()))?;
        let broken = match self.share(plan, testbed, display).await {
            Ok(share) => {
                let written = write(plan, &share, &own, display);
                match &written {
                    Ok(()) => self.link.delivered(),
                    Err(failure) => self.link.failed(failure.to_string()),
                }
                written.err()
            }
            Err(error) => {
                let is_called_off = error.is_called_off();
                match is_called_off {
                    true => self.link.parted(),
                    false => self.link.failed(error.to_string()),
                }
                (!is_called_off).then(|| error.into())
            }
        };
        display.stage("waiting for the other shards' records");
        let Some(mut place) = self.link.place.take() else { return Ok(None) };
        let gathered = self.gathered(&mut place).await;
        self.link.place = Some(place);
        let Some(gathered) = gathered else { return Ok(None) };
        self.cause = Cause::of(&gathered);
        let is_empty = gathered.start.is_none() || gathered.roll.iter().all(|shard| shard.absence.is_some());
        match broken {
            Some(failure) => Err(failure),
            None if is_empty => {
                own.discard();
                let _ = fs::remove_dir(&shares);
                Ok(None)
            }
            None => merged(plan, &gathered, folder).map(Some),
        }
    }

    /// Plays the share of a run.
    async fn share(
        &mut self,
        plan: &RunPlan,
        testbed: &mut Testbed,
        display: &Display,
    ) -> Result<Finished, RunError> {
        let of = RunShard { shard: self.shard, run_id: self.link.run_id, scenario: self.scenario.clone() };
        let shown = Totalled { display, totals: self.link.totals.clone() };
        let part = Part::Linked(of, &mut self.link);
        execute_part(plan, testbed, self.interrupt.clone(), &shown, part).await
    }

    /// Hands out the answer: its exit code, and a line or more that say it.
    pub fn judge(self, judged: &Result<(Exit, String), Failure>) {
        let Some(place) = &self.link.place else { return };
        match judged {
            Ok((exit, text)) => place.judge(*exit as u8, text.clone()),
            Err(failure) => {
                self.link.failed(failure.to_string());
                place.judge(failure.exit() as u8, failure.to_string());
            }
        }
        // Who waits for nobody does not wait until all have heard.
        if *self.interrupt.borrow() != Stop::Now {
            self.link.close();
        }
    }
}

/// Folder of a driver whose records lie with the coordinator; removed at its end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one that nobody else can read.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> Result<Scratch, Failure> {
        let path = std::env::temp_dir().join(format!("loadtest-share-{:016x}", rand::random::<u64>()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| RunError::unwritable_folder(&path, error))?;
        Ok(Scratch(path))
    }

    /// A folder in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder(&self, name: &str, plan: &RunPlan) -> Result<Folder, Failure> {
        let scenario = plan.resolved.to_toml();
        let claim = Claim::Run("scenario.toml", scenario.as_bytes());
        Ok(Folder::claim(Some(&self.0.join(name)), name, clock::now(), claim)?)
    }

    fn clear(path: &Path) {
        // What cannot be removed goes with the whole of it, or with the machine's temporary files.
        let _ = fs::remove_dir_all(path);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        Scratch::clear(&self.0);
    }
}

/// A driver that plays what the coordinator chooses.
pub struct Player<'a> {
    pub fleet: Fleet,
    pub scratch: Scratch,
    /// What stands for all runs; without it each brings up its own.
    pub testbed: Option<Testbed>,
    /// Plan of a task, and its title.
    pub plan: &'a dyn Fn(&Task) -> Option<(RunPlan, String)>,
}

impl Player<'_> {
    /// Plays until the coordinator has its answer, and ends with its exit code.
    ///
    /// # Errors
    /// Whatever keeps this driver from its share.
    pub async fn attend(mut self) -> Result<Exit, Failure> {
        let (mut seen, mut broken) = (Stop::No, None);
        let over = loop {
            let fleet = &mut self.fleet;
            let told = tokio::select! {
                told = fleet.link.told() => told,
                stop = beyond(&mut fleet.interrupt, seen) => {
                    if stop == Stop::Now {
                        return Ok(Exit::Interrupted);
                    }
                    fleet.link.interrupted();
                    seen = stop;
                    continue;
                }
            };
            let task = match told {
                Told::Over(over) => break over,
                Told::Next(task) => task,
            };
            if let Err(failure) = self.task(&task).await {
                self.fleet.link.failed(failure.to_string());
                broken = Some(failure);
            }
        };
        if let Some(testbed) = self.testbed.take() {
            let _ = testbed.down().await;
        }
        let exit = tell(over, false, self.fleet.quiet);
        match broken {
            Some(failure) => Err(failure),
            None if *self.fleet.interrupt.borrow() != Stop::No => Ok(Exit::Interrupted),
            None => Ok(exit),
        }
    }

    async fn task(&mut self, task: &Task) -> Result<(), Failure> {
        const NAME: &str = "share";
        let (plan, title) = (self.plan)(task)
            .ok_or_else(|| Failure::broke("the coordinator wants a run that there is not"))?;
        let folder = self.scratch.folder(NAME, &plan)?;
        let display = Display::of_many(self.fleet.quiet, plan.scenario(), &title);
        let played = match &mut self.testbed {
            Some(testbed) => self.fleet.share(&plan, testbed, &display).await.map_err(Some),
            None => anew(&mut self.fleet, &plan, &folder, &display).await,
        };
        let handed = match played {
            Ok(share) => {
                let handed =
                    write(&plan, &share, &folder, &display).and_then(|()| send(&folder, &self.fleet.link));
                // A failure is told by the caller: what was not sent was not delivered.
                handed.inspect(|()| self.fleet.link.delivered())
            }
            Err(Some(error)) if !error.is_called_off() => Err(error.into()),
            Err(_) => {
                self.fleet.link.parted();
                Ok(())
            }
        };
        display.finish();
        Scratch::clear(folder.path());
        handed
    }
}

/// Plays a share on a testbed of its own; an error of `None` is the wish of somebody that it should not be.
async fn anew(
    fleet: &mut Fleet,
    plan: &RunPlan,
    folder: &Folder,
    display: &Display,
) -> Result<Finished, Option<RunError>> {
    let up = bring_up(plan, folder, &mut fleet.ending()).await;
    let up = up.map_err(|failure| Some(RunError::Obstacle(failure.to_string())))?;
    let Some(mut testbed) = up else {
        if *fleet.interrupt.borrow() != Stop::No {
            fleet.link.interrupted();
        }
        return Err(None);
    };
    let share = fleet.share(plan, &mut testbed, display).await;
    let broken = testbed.down().await;
    share.and_then(|share| share.broken_since(plan, broken)).map_err(Some)
}

/// Waits for a wish that is more urgent than `seen`.
async fn beyond(wishes: &mut watch::Receiver<Stop>, seen: Stop) -> Stop {
    match wishes.wait_for(|stop| *stop > seen).await {
        Ok(stop) => *stop,
        // Nobody is left to wish anything.
        Err(_) => std::future::pending().await,
    }
}

/// The more urgent of the user's wish and that of the others, who may end everything.
fn either(
    mut user: watch::Receiver<Stop>,
    mut others: watch::Receiver<(Stop, String)>,
) -> watch::Receiver<Stop> {
    let (to, ending) = watch::channel(Stop::No);
    tokio::spawn(async move {
        loop {
            let theirs = others.borrow_and_update().0;
            // A gate ends its run alone.
            let theirs = if theirs < Stop::Soon { Stop::No } else { theirs };
            let wish = theirs.max(*user.borrow_and_update());
            to.send_if_modified(|known| std::mem::replace(known, wish) != wish);
            let is_there = tokio::select! {
                changed = user.changed() => changed.is_ok(),
                changed = others.changed() => changed.is_ok(),
            };
            if !is_there {
                // Kept: without a sender nobody could wait for a wish.
                return std::future::pending().await;
            }
        }
    });
    ending
}

/// Says why there will be no run, where nothing was made yet.
pub fn say_nothing_made(cause: Option<&Cause>) -> (Exit, String) {
    let why = cause.map_or("interrupted", Cause::why).to_string();
    say::err(format_args!("no call was placed: {why}"));
    (cause.map_or(Exit::Interrupted, Cause::exit), why)
}
