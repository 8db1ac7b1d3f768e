//! `loadtest run`: place the calls of a scenario, measure, report, judge.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::sync::watch;

use super::deliver::{Delivery, DeliveryOptions};
use super::live::LiveServer;
use super::progress::Display;
use super::shards::{self, ShardOptions};
use super::{Exit, Failure, interrupt, say};
use crate::driver::{DriverError, Stop};
use crate::metrics::{catalogue, per_call};
use crate::run::options_probe::ask_before;
use crate::run::plan::headline;
use crate::run::preflight::survey;
use crate::run::{Finished, Folder, Observer as _, RunError, RunPlan, Testbed, execute};
use crate::scenario::{Scenario, ServiceMode, keys};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest run scenarios/smoke.toml\n  \
    loadtest run scenarios/50x5m.toml --set load.calls=100 --out /tmp/hundred\n  \
    loadtest run scenarios/smoke.toml --set 'gates.require=[\"rtt.p95 < 15ms\"]'\n  \
    loadtest run --list-keys\n  \
    loadtest run --list-keys --format json > scenario.schema.json")]
pub struct Args {
    /// The scenario file (TOML).
    #[arg(required_unless_present_any = ["list_metrics", "list_keys"])]
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
    #[command(flatten)]
    shards: ShardOptions,
    #[command(flatten)]
    options: DeliveryOptions,
    /// Serve figures of the run under way as OpenMetrics at http://ADDRESS/metrics, for Prometheus and Grafana.
    #[arg(long, value_name = "ADDRESS")]
    live: Option<SocketAddr>,
    /// List every metric that a gate can name, and end.
    #[arg(long)]
    list_metrics: bool,
    /// List every key of a scenario with type, default, range and meaning, and end.
    #[arg(long, conflicts_with = "list_metrics")]
    list_keys: bool,
    /// Form of --list-keys: text, or the JSON schema of a scenario, by which editors complete and check the keys.
    #[arg(long, value_name = "FORM", value_parser = ["text", "json"], default_value = "text", requires = "list_keys")]
    format: String,
}

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    if args.list_metrics {
        list_metrics();
        return Ok(Exit::Pass);
    }
    if args.list_keys {
        let listing = if args.format == "json" { keys::SCHEMA.into() } else { keys::listing() };
        say::out(listing.trim_end());
        return Ok(Exit::Pass);
    }
    let path = args.scenario.clone().unwrap_or_default();
    let shard = args.shards.wanted()?;
    let plan = RunPlan::read(&path, &args.set)?;
    if let Some(shard) = shard {
        return shards::run(plan, shard, &args.shards, (args.out.as_deref(), &args.options, args.live)).await;
    }
    let mut warnings = survey(plan.scenario())?.clear()?;
    warnings.extend(ask_before(&plan).await?);
    warnings.extend(plan.granted.warnings());
    let plan = plan.hold_against(args.options.baseline()?)?;
    let interrupt = interrupt::listen()?;
    let live = LiveServer::wanted(args.live, &plan).await?;
    let folder = plan.folder(args.out.as_deref())?;
    let display = Display::new(args.options.quiet, plan.scenario()).with_live(live);
    announce(plan.scenario(), &warnings, &display);
    plan.early_end().iter().for_each(|remark| display.remark(remark));
    let Some(finished) = play(&plan, &folder, interrupt, &display).await? else {
        display.finish();
        say::err("interrupted before the first call; no report");
        return Ok(Exit::Interrupted);
    };
    let (resolved, options, display) = (&plan.resolved, &args.options, &display);
    Delivery { resolved, finished: &finished, folder: &folder, options, display, source: None }.deliver()
}

/// Makes the run of `plan`, with its logs in `folder`; `None` when the user interrupts it before its first call.
/// Without a run the folder is removed, since it would only look like one; logs that may say why are kept.
///
/// # Errors
/// Whatever keeps the run from being made.
pub async fn play(
    plan: &RunPlan,
    folder: &Folder,
    mut interrupt: watch::Receiver<Stop>,
    display: &Display,
) -> Result<Option<Finished>, Failure> {
    let Some(mut testbed) = bring_up(plan, folder, &mut interrupt).await? else { return Ok(None) };
    let finished = execute(plan, &mut testbed, interrupt, display).await;
    display.stage("stopping what the run has started");
    let broken = testbed.down().await;
    let finished = finished.and_then(|finished| finished.broken_since(plan, broken));
    // A bar stays until the reports are there.
    if finished.is_err() {
        display.finish();
    }
    // A thread that dies in mid-run leaves logs that tell why.
    let died = |error: &RunError| matches!(error, RunError::Driver(DriverError::Died(_)));
    let finished = finished.inspect_err(|error| {
        if !died(error) {
            folder.discard()
        }
    });
    Ok(Some(finished?))
}

/// Starts what the calls of `plan` need; `None` when the user interrupts that. Without it the folder is removed, but for
/// logs that may say why.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn bring_up(
    plan: &RunPlan,
    folder: &Folder,
    interrupt: &mut watch::Receiver<Stop>,
) -> Result<Option<Testbed>, Failure> {
    let logs = folder.logs();
    let up = tokio::select! {
        up = Testbed::up(plan, &logs) => up,
        _ = interrupt.wait_for(|stop| *stop != Stop::No) => {
            folder.discard();
            return Ok(None);
        }
    };
    let failed = |error| {
        let failure = Failure::from(error);
        if failure.is_mistake() {
            folder.discard();
            return failure;
        }
        failure.with_logs(folder.discard_failed())
    };
    up.map(Some).map_err(failed)
}

fn list_metrics() {
    let line = |name: &str, help: &str| say::out(format_args!("{name:24} {help}"));
    catalogue::all().for_each(|metric| line(metric.name, metric.help));
    say::out("\nAfter \"every call:\", for each call by itself\n");
    per_call::ALL.iter().for_each(|metric| line(metric.name, metric.help));
}

/// Announces the run before anything is started.
pub fn announce(scenario: &Scenario, warnings: &[String], display: &Display) {
    display.remark(&headline(scenario));
    warnings.iter().for_each(|warning| display.remark(&format!("warning: {warning}")));
    let service = &scenario.service;
    if service.mode == ServiceMode::External {
        let (app, within) = (&service.app, service.ready_within);
        display.remark(&format!("waiting for the application `{app}`, up to {within}"));
    }
}
