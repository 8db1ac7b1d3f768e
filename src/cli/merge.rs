//! `loadtest merge`: one run out of the shares of several drivers.

use std::path::{Path, PathBuf};

use super::deliver::{Delivery, DeliveryOptions};
use super::progress::Display;
use super::{Exit, Failure};
use crate::clock;
use crate::run::folder::Claim;
use crate::run::plan::{parse_gates, verdict};
use crate::run::together::merged::Shares;
use crate::run::{Folder, conclude_with, stored};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest merge share-0 share-1 share-2 --out /tmp/all\n  \
    loadtest merge reports/whole/shards/* --report markdown --out /tmp/again\n\n\
    A shard whose folder is not there makes the run inconclusive. The exit code is the verdict, as for a run.")]
pub struct Args {
    /// The folders of the shares.
    #[arg(value_name = "DIR", required = true)]
    shares: Vec<PathBuf>,
    /// Folder for the results; it must not hold a run yet [default: reports/<name>-<UTC time>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    options: DeliveryOptions,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let paths: Vec<&Path> = args.shares.iter().map(PathBuf::as_path).collect();
    let Some(first) = paths.first() else { return Err(Failure::usage("name the folders of the shares")) };
    let resolved = stored::scenario(first, &stored::files(first)?, &[])?;
    let gates = parse_gates(&resolved)?;
    let baseline = args.options.baseline()?;
    let shares = Shares::read(paths.iter().copied(), &resolved.scenario.limits)?;
    let count = shares.count();
    let run = shares.merge(&resolved, count, None);
    let finished =
        conclude_with(run, Vec::new(), |summary| verdict(&resolved, &gates, summary, baseline.as_ref()))?;
    let scenario = resolved.to_toml();
    let claim = Claim::Run("scenario.toml", scenario.as_bytes());
    let folder = Folder::claim(args.out.as_deref(), &resolved.scenario.name, clock::now(), claim)?;
    let (options, display) = (&args.options, &Display::new(args.options.quiet, &resolved.scenario));
    Delivery { resolved: &resolved, finished: &finished, folder: &folder, options, display, source: None }
        .deliver()
}
