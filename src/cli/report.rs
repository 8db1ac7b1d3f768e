//! `loadtest report`: judges a stored run and renders it again, or renders a stored search.

use std::path::PathBuf;

use super::deliver::{Delivery, DeliveryOptions};
use super::progress::Display;
use super::{Exit, Failure, say, search};
use crate::metrics::summarize;
use crate::run::plan::{parse_gates, verdict};
use crate::run::{Finished, Folder, stored};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest report reports/50x5m-20261122T163258Z\n  \
    loadtest report reports/example --report markdown --out /tmp/again\n  \
    loadtest report reports/example --set 'gates.require=[\"rtt.p95 < 1ms\"]' --out /tmp/strict\n\n\
    The folder of a search is rendered again from its capacity.json. The exit code is the verdict, as for a run or \
    a search.")]
pub struct Args {
    /// The folder of a run or of a search.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    /// Judge by other gates or limits than the run's own; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder to write into [default: the run's].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    options: DeliveryOptions,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    if !stored::is_run(&args.run) && search::is_search(&args.run) {
        if let Some(set) = args.set.first() {
            return Err(Failure::usage(format!(
                "--set {set}: a search has judged its trials as it went, and chosen their loads by that; search anew"
            )));
        }
        return search::report(&args.run, args.out.as_deref(), &args.options);
    }
    if !stored::is_run(&args.run) {
        let run = args.run.display();
        return Err(Failure::usage(format!(
            "{run} is not the folder of a run: there is no environment.json in it; reports/example is one"
        )));
    }
    let judges =
        |set: &&String| ["gates.", "limits."].iter().any(|table| set.trim_start().starts_with(table));
    if let Some(other) = args.set.iter().find(|set| !judges(set)) {
        return Err(Failure::usage(format!(
            "--set {other}: the run has been made; only [gates] and [limits] can be set to judge it anew"
        )));
    }
    let files = stored::files(&args.run)?;
    if let Some(note) = files.note().filter(|_| !args.options.quiet) {
        say::err(format_args!("{}: {note}", args.run.display()));
    }
    let resolved = stored::scenario(&args.run, &files, &args.set)?;
    let gates = parse_gates(&resolved)?;
    let baseline = args.options.baseline()?;
    let summary = summarize(stored::read(&args.run, &files)?);
    let verdict = verdict(&resolved, &gates, &summary, baseline.as_ref());
    let folder = Folder::open(args.out.as_deref().unwrap_or(&args.run))?;
    let captures = if folder.is_at(&args.run) { Vec::new() } else { stored::audio(&args.run, &summary) };
    let finished = Finished { summary, verdict, raw: Vec::new(), captures };
    let (options, display) = (&args.options, &Display::new(args.options.quiet, &resolved.scenario));
    let source = Some(args.run.as_path());
    Delivery { resolved: &resolved, finished: &finished, folder: &folder, options, display, source }.deliver()
}
