//! A driver's part in a run: all of it, or the share of one shard.

use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::environment::beforehand;
use super::plan::RunPlan;
use super::together::{Link, RunShard};
use crate::driver::{Progress, Recorded, Stop, Together};
use crate::record::{Environment, ShareRecord};
use crate::rendezvous::{BEAT_EVERY, Beat};
use crate::shard::Shard;
use crate::stamp::Stamp;

/// A driver's part in a run.
pub enum Part<'a> {
    /// The run has one driver.
    Whole,
    /// It has several, which are in touch.
    Linked(RunShard, &'a mut Link),
    /// It has several, which know nothing of each other but when they start.
    Alone(RunShard, Stamp),
}

impl Part<'_> {
    /// True where this driver makes the run by itself.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Part::Whole)
    }

    /// Name of the run, where it has one already.
    pub(super) fn run_id(&self) -> Option<u32> {
        self.of().map(|of| of.run_id)
    }

    fn of(&self) -> Option<&RunShard> {
        match self {
            Part::Whole => None,
            Part::Linked(of, _) | Part::Alone(of, _) => Some(of),
        }
    }

    /// The environment as it is known before the first call.
    pub(super) fn beforehand(&self, plan: &RunPlan) -> Environment {
        let mut environment = beforehand(&plan.resolved);
        if let Some(RunShard { shard, .. }) = self.of() {
            environment.calls = shard.share(environment.calls);
            if let Some(offered) = &mut environment.offered {
                offered.rate_per_s /= f64::from(shard.count);
            }
        }
        environment
    }

    /// True where this process looks for what calls have left: only one can know when all have ended.
    pub(super) fn counts_leaks(&self) -> bool {
        match self {
            Part::Whole => true,
            Part::Linked(_, link) => link.place.is_some(),
            Part::Alone(of, _) => of.shard.is_only(),
        }
    }

    /// The reason for which a shard has no leak check of its own.
    pub(super) fn who_counts(&self) -> &'static str {
        match self {
            Part::Alone(..) => "drivers that are not in touch cannot know when all calls have ended",
            Part::Whole | Part::Linked(..) => "one of the shards counts for all",
        }
    }

    /// The driver's ends of it.
    pub(super) fn together(&mut self) -> Option<Together> {
        let shard = self.of()?.shard;
        let (ready, is_ready) = oneshot::channel();
        let (start, ramp_over) = match self {
            Part::Whole => return None,
            Part::Linked(_, link) => {
                let says_ready = link.when_ready();
                tokio::spawn(async move {
                    if is_ready.await.is_ok() {
                        says_ready();
                    }
                });
                (link.start.clone(), link.ramp_over.clone())
            }
            Part::Alone(_, at) => (watch::channel(Some(*at)).1, watch::channel(None).1),
        };
        Some(Together { shard, ready: Some(ready), start, ramp_over })
    }

    /// The sender of live figures.
    pub(super) fn beats(&self) -> Beats {
        let to = match self {
            Part::Linked(_, link) => Some(link.beats.clone()),
            Part::Whole | Part::Alone(..) => None,
        };
        Beats { to, next: Duration::ZERO }
    }

    /// The others' wishes.
    pub fn wishes(&self) -> Wishes {
        match self {
            Part::Linked(_, link) => Wishes(Some(link.wish.clone())),
            Part::Whole | Part::Alone(..) => Wishes(None),
        }
    }

    /// The user wants the run ended, which all are told.
    pub fn interrupted(&self) {
        if let Part::Linked(_, link) = self {
            link.interrupted();
        }
    }

    /// No call is left.
    pub(super) fn ended(&self, recorded: &Recorded) {
        if let Part::Linked(_, link) = self {
            link.ended(recorded.started_at);
        }
    }

    /// Waits until no driver has a call left.
    pub(super) async fn all_ended(&mut self) {
        if let Part::Linked(_, link) = self
            && let Some(place) = &mut link.place
        {
            let _ = (&mut place.all_ended).await;
        }
    }

    /// The share that this driver has made.
    pub(super) fn share(&self, recorded: &Recorded) -> Option<ShareRecord> {
        let RunShard { shard, run_id, scenario } = self.of()?.clone();
        let (planned_ns, started_ns) = (recorded.epoch.as_ns(), recorded.started_at.as_ns());
        let ended_early = match self {
            Part::Linked(_, link) => link.early.borrow().clone(),
            Part::Whole | Part::Alone(..) => None,
        };
        let Shard { index, count } = shard;
        Some(ShareRecord { index, count, run_id, scenario, planned_ns, started_ns, ended_early })
    }
}

/// Live figures on their way to the coordinator.
pub(super) struct Beats {
    to: Option<watch::Sender<Beat>>,
    next: Duration,
}

impl Beats {
    /// Hands on the figures, now and then.
    pub(super) fn beat(&mut self, progress: &Progress<'_>) {
        let Some(to) = self.to.as_ref().filter(|_| progress.elapsed >= self.next) else { return };
        self.next = progress.elapsed + BEAT_EVERY;
        to.send_replace(Beat {
            phase: progress.phase,
            stage: progress.stage as u32,
            settled: progress.settled,
            calls_up: progress.calls_up,
            calls: progress.calls,
            attempts: progress.attempts,
            lately: (&progress.recent).into(),
            ..Beat::of(progress.live)
        });
    }
}

/// Wishes of the other drivers that the run should end.
pub struct Wishes(Option<watch::Receiver<(Stop, String)>>);

impl Wishes {
    /// The next one, and why.
    pub async fn next(&mut self) -> (Stop, String) {
        if let Some(wishes) = &mut self.0 {
            while wishes.changed().await.is_ok() {
                let (stop, why) = wishes.borrow_and_update().clone();
                if stop != Stop::No {
                    return (stop, why);
                }
            }
        }
        std::future::pending().await
    }
}
