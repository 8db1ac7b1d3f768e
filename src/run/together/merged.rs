//! Folders of the shards → the run that they have made together.

use std::path::Path;

use super::coordinate::Gathered;
use crate::gate::{Limits, doubt};
use crate::metrics::summarize;
use crate::record::merge::{Share, merge};
use crate::record::{Run, Series, ShardRecord, ShareRecord};
use crate::run::environment::beforehand;
use crate::run::{RunError, stored};
use crate::scenario::Resolved;
use crate::shard::Shard;
use crate::stamp::Stamp;

/// Start that is no common one any more, as an attempt that is later than this is not placed.
const MOST_LATE_MS: f64 = 100.0;

/// Shares that were read back, each with its row in the report.
#[derive(Default)]
pub struct Shares {
    /// Word of the first one on the run, and its version of this program.
    first: Option<(ShareRecord, String)>,
    shares: Vec<Share>,
    rows: Vec<ShardRecord>,
    count: u32,
}

impl Shares {
    /// Reads the shares in these folders, which must be of one run.
    ///
    /// # Errors
    /// A folder that cannot be read, is no share, or one of another run.
    pub fn read<'a>(
        folders: impl IntoIterator<Item = &'a Path>,
        limits: &Limits,
    ) -> Result<Shares, RunError> {
        let mut found = Shares::default();
        folders.into_iter().try_for_each(|folder| found.add(folder, limits))?;
        Ok(found)
    }

    /// Adds the share in this folder.
    ///
    /// # Errors
    /// It cannot be read, is no share, or one of another run than those that are there.
    pub fn add(&mut self, folder: &Path, limits: &Limits) -> Result<(), RunError> {
        let refused =
            |why: &str| Err(RunError::Unusable(format!("{} cannot be merged: {why}", folder.display())));
        let run = stored::read(folder, &stored::files(folder)?)?;
        let Some(share) = run.environment.share.clone() else {
            return refused("it is no share of a run of several drivers, but a whole one");
        };
        if Shard::new(share.index, share.count).is_none() {
            return refused("its number is none of a run's shards");
        }
        if let Some((known, version)) = &self.first {
            if share.run_id != known.run_id || share.count != known.count {
                return refused("it is of another run than the first");
            }
            if share.scenario != known.scenario || run.environment.version != *version {
                return refused("its scenario or its version of loadtest is another than the first's");
            }
        }
        if self.shares.iter().any(|known| known.index == share.index) {
            return refused(&format!("shard {} is there already", share.index));
        }
        if run.calls.iter().any(|call| call.call % share.count != share.index) {
            return refused("it has calls that are dealt to another shard");
        }
        self.first.get_or_insert_with(|| (share.clone(), run.environment.version.clone()));
        self.count = share.count;
        self.rows.push(row(&share, &run, limits));
        self.shares.push(Share { index: share.index, run });
        Ok(())
    }

    /// Number of shards that the run has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The run, and a row for each shard that it should have had. `gathered` is what the coordinator knows.
    pub fn merge(mut self, resolved: &Resolved, count: u32, gathered: Option<&Gathered>) -> Run {
        self.add_windows();
        let mut rows: Vec<_> = (0..count).map(|index| self.row(index, gathered)).collect();
        // Each share knows by whose wish it ended; a coordinator knows better.
        let of_share = |share: &Share| share.run.environment.share.as_ref()?.ended_early.clone();
        let ended_early = self.shares.iter().find_map(of_share);
        let mut run = merge(self.shares);
        let environment = &mut run.environment;
        if environment.format == 0 {
            // Nobody has delivered anything.
            *environment = beforehand(resolved);
        }
        if count > 1 {
            // What the scenario offers is no sum of rounded parts.
            environment.offered = beforehand(resolved).offered;
            environment.share = None;
            environment.shards = std::mem::take(&mut rows);
        } else {
            environment.share = None;
        }
        if let Some(early) = gathered.and_then(|gathered| gathered.ended_early.clone()).or(ended_early) {
            environment.ended_early = Some(early);
        }
        run
    }

    /// A window of its own is a reason to doubt a shard: its packets are of another time than the others'.
    fn add_windows(&mut self) {
        let window = |share: &Share| (share.run.environment.window_from_s, share.run.environment.window_to_s);
        // Windows begin with whole seconds; the end of one that is cut short is each driver's own, by milliseconds.
        let is_near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 0.5,
            (a, b) => a == b,
        };
        let is_same = |a: (Option<f64>, Option<f64>), b: (Option<f64>, Option<f64>)| {
            is_near(a.0, b.0) && is_near(a.1, b.1)
        };
        // That of most: one driver that was late is the odd one.
        let common =
            self.shares.iter().map(window).max_by_key(|wanted| {
                self.shares.iter().filter(|share| is_same(window(share), *wanted)).count()
            });
        for (share, row) in self.shares.iter().zip(&mut self.rows) {
            if common.is_some_and(|common| !is_same(window(share), common)) {
                row.doubts.push("its measured window is not that of the others".into());
            }
        }
    }

    fn row(&self, index: u32, gathered: Option<&Gathered>) -> ShardRecord {
        let known = self.rows.iter().find(|row| row.index == index).cloned();
        let mut row = known.unwrap_or_else(|| ShardRecord {
            index,
            missing: "its records are not there".into(),
            ..ShardRecord::default()
        });
        let Some(gathered) = gathered else { return row };
        let Some(attendance) = gathered.roll.get(index as usize) else { return row };
        let ms = |ns: i64| ns as f64 / 1e6;
        if row.host.is_empty() {
            row.host.clone_from(&attendance.host);
        }
        row.clock_offset_ms = attendance.offset_ns.map(ms);
        row.clock_error_ms = attendance.way_ns.map(|ns| ns as f64 / 2e6);
        let late = attendance
            .started_at
            .zip(gathered.start)
            .map(|(at, start): (Stamp, Stamp)| ms(at.ns_since(start)));
        row.started_late_ms = late.or(row.started_late_ms);
        if let Some(absence) = &attendance.absence {
            row.missing = absence.to_string();
        }
        row
    }
}

/// A shard's row, by its own records.
fn row(share: &ShareRecord, run: &Run, limits: &Limits) -> ShardRecord {
    let summary = summarize(run.clone());
    let environment = &summary.environment;
    let mut doubts = if share.count > 1 { doubt(&summary, limits).reasons } else { Vec::new() };
    let lateness = run.intervals.totals_among(|_| true).remove(&Series::SendLateness);
    let late_ns = share.started_ns as i128 - share.planned_ns as i128;
    let late_ms = late_ns as f64 / 1e6;
    if share.count > 1 && late_ms > MOST_LATE_MS {
        doubts.push(format!("it started {late_ms:.0} ms late"));
    }
    ShardRecord {
        index: share.index,
        host: environment.host.clone(),
        cpu: environment.cpu.clone(),
        cpus: environment.all_cpus(),
        kernel: environment.kernel.clone(),
        attempts: summary.calls.len() as u64,
        sent: summary.calls.iter().map(|call| call.sent).sum(),
        started_late_ms: Some(late_ms),
        send_lateness_p99_ms: lateness.and_then(|all| all.quantile(0.99, 0).ns()).map(|ns| ns.as_ms()),
        doubts,
        ..ShardRecord::default()
    }
}
