//! `loadtest run`: place the calls of a scenario, measure, report, judge.

use std::path::PathBuf;

use super::deliver::{Delivery, Options};
use super::progress::Display;
use super::{Exit, Failure, interrupt, say};
use crate::clock;
use crate::driver::Stop;
use crate::metrics::{catalogue, per_call};
use crate::run::plan::headline;
use crate::run::preflight::survey;
use crate::run::{Folder, Observer as _, Plan, Testbed, execute};
use crate::scenario::{Scenario, ServiceMode};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest run scenarios/smoke.toml\n  \
    loadtest run scenarios/50x5m.toml --set load.calls=100 --out /tmp/hundred\n  \
    loadtest run scenarios/smoke.toml --set 'gates.require=[\"rtt.p95 < 15ms\"]'")]
pub struct Args {
    /// The scenario file (TOML).
    #[arg(required_unless_present = "list_metrics")]
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
    options: Options,
    /// List every metric that a gate can name, and end.
    #[arg(long)]
    list_metrics: bool,
}

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    if args.list_metrics {
        list_metrics();
        return Ok(Exit::Pass);
    }
    let path = args.scenario.clone().unwrap_or_default();
    let plan = Plan::read(&path, &args.set)?;
    let mut warnings = survey(plan.scenario())?.clear()?;
    warnings.extend(plan.granted.warning.clone());
    let plan = plan.hold_against(args.options.baseline()?)?;
    let folder = Folder::create(args.out.as_deref(), &plan.scenario().name, clock::now())?;
    folder.write("scenario.toml", plan.resolved.to_toml().as_bytes())?;

    let mut interrupt = interrupt::listen()?;
    let display = Display::new(args.options.quiet);
    announce(plan.scenario(), &warnings, &display);
    let logs = folder.logs();
    let up = tokio::select! {
        up = Testbed::up(&plan, &logs) => up,
        _ = interrupt.wait_for(|stop| *stop != Stop::No) => {
            folder.discard();
            return Ok(Exit::Interrupted);
        }
    };
    // A folder without a run in it would only look like one.
    let mut testbed = up.inspect_err(|_| folder.discard())?;
    let finished = execute(&plan, &mut testbed, interrupt, &display).await;
    display.finish();
    testbed.down().await;
    let finished = finished?;
    let delivery = Delivery {
        resolved: &plan.resolved,
        summary: &finished.summary,
        verdict: &finished.verdict,
        folder: &folder,
        raw: &finished.raw,
        options: &args.options,
    };
    delivery.deliver()
}

fn list_metrics() {
    let line = |name: &str, help: &str| say::out(format_args!("{name:24} {help}"));
    catalogue::all().for_each(|metric| line(metric.name, metric.help));
    say::out("\nAfter \"every call:\", for each call by itself\n");
    per_call::ALL.iter().for_each(|metric| line(metric.name, metric.help));
}

/// Announces the run before anything is started.
fn announce(scenario: &Scenario, warnings: &[String], display: &Display) {
    display.remark(&headline(scenario));
    warnings.iter().for_each(|warning| display.remark(&format!("warning: {warning}")));
    let service = &scenario.service;
    if service.mode == ServiceMode::External {
        let (app, within) = (&service.app, service.ready_within);
        display.remark(&format!("waiting for the application `{app}`, up to {within}"));
    }
}
