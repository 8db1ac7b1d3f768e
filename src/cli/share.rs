//! The shares of a run: written, sent, merged; and word of how the run of all fares and ends.

use tokio::sync::watch;

use super::deliver::{Delivery, DeliveryOptions};
use super::progress::Display;
use super::{Exit, Failure, say};
use crate::driver::Progress;
use crate::files::Dir;
use crate::rendezvous::{Absence, FILES, Totals};
use crate::report::Format;
use crate::run::folder::SHARDS;
use crate::run::together::merged::Shares;
use crate::run::together::{Gathered, Link};
use crate::run::{Finished, Folder, Observer, RunError, RunPlan, conclude};

/// Largest file of a share.
const MOST_BYTES: u64 = 1 << 30;

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
    let mut shares = Shares::default();
    for folder in (0..count).filter_map(delivered) {
        // One that cannot be read is missing from the run, which is inconclusive by that; the others are not lost with it.
        if let Err(error) = shares.add(&folder, &plan.scenario().limits) {
            say::err(format_args!("warning: {error}"));
        }
    }
    let run = shares.merge(&plan.resolved, count, Some(gathered));
    Ok(conclude(plan, run, Vec::new())?)
}

/// Says the coordinator's verdict, or that it was lost, to a driver that `keeps_share` in a folder of its own or does not.
pub fn tell(judged: Result<(u8, String), String>, keeps_share: bool, quiet: bool) -> Exit {
    match judged {
        Ok((exit, text)) => {
            if !quiet {
                say::err(text);
            }
            Exit::of(exit)
        }
        Err(why) => {
            let rest = if keeps_share { "; `loadtest merge` can join the shares that are there" } else { "" };
            say::err(format_args!("inconclusive: the coordinator was lost ({why}){rest}"));
            Exit::Inconclusive
        }
    }
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
    pub totals: watch::Receiver<Totals>,
}

impl Observer for Totalled<'_> {
    fn progress(&self, progress: &Progress<'_>) {
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
