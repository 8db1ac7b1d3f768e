//! `loadtest check`: the needs and obstacles of a run, without a call placed.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Exit, Failure, check_call, say};
use crate::ari::request::read_only;
use crate::asterisk::{SearchPlaces, find};
use crate::run::RunPlan;
use crate::run::application::{describe, external_ari, refusal, silent};
use crate::run::options_probe::{
    Login, ProbeResult, of_target, probe_all, turned_down, unanswered, unconnected,
};
use crate::run::plan::headline;
use crate::run::preflight::{Survey, survey};
use crate::run::targets::resolve_all;
use crate::scenario::{AsteriskMode, Scenario, ServiceMode};
use crate::values::counted;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest check scenarios/50x5m.toml\n  \
    loadtest check scenarios/50x5m.toml --set load.calls=2000\n  \
    loadtest check scenarios/smoke.toml --call\n\n\
    Ends with 0 when nothing is in the way of `loadtest run`, with 2 otherwise; with --call with 1 when\n\
    the call did not go through.")]
pub struct Args {
    /// The scenario file (TOML).
    scenario: PathBuf,
    /// Override a scenario key; may be given more than once.
    ///
    /// KEY has its table before it, as in load.calls. VALUE is TOML; what is none is taken as a string, so
    /// that `5m` needs no quotes.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Place one call of a few seconds, and say what happened at each of its steps.
    ///
    /// Asterisk and the service are started as `run` would start them, or found.
    #[arg(long)]
    call: bool,
}

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let plan = RunPlan::without_account(&args.scenario, &args.set)?;
    let scenario = plan.scenario();
    say::out(headline(scenario));
    let mut survey = survey(scenario)?;
    resources(&survey, scenario);
    callers(&plan);
    asterisk(&plan, &mut survey).await;
    match plan.account() {
        Ok(()) => service(scenario, &mut survey).await,
        Err(error) => survey.obstacles.push(error.to_string()),
    }
    let gates = scenario.gates.require.join(", ");
    say::out(format_args!("  {:22} {}", "gates", if gates.is_empty() { "none" } else { &gates }));
    survey.warnings.iter().for_each(|warning| say::err(format_args!("warning: {warning}")));
    survey.obstacles.iter().for_each(|obstacle| say::err(format_args!("error: {obstacle}")));
    if survey.obstacles.is_empty() && args.call {
        return check_call::place(plan).await;
    }
    if survey.obstacles.is_empty() {
        let but = if survey.warnings.is_empty() { "" } else { ", but for what the warnings say" };
        say::out(format_args!("Nothing is in the way{but}. {}", not_tried(scenario)));
        return Ok(Exit::Pass);
    }
    Ok(Exit::Usage)
}

/// The parts of a run that only a call can try.
fn not_tried(scenario: &Scenario) -> &'static str {
    match (scenario.asterisk.mode, scenario.service.mode) {
        (AsteriskMode::External, ServiceMode::Builtin | ServiceMode::Command) => {
            "Not tried: a call, the dialplan, and the service, which was not started."
        }
        (AsteriskMode::External, _) => "Not tried: a call, and what the dialplan does with it.",
        (AsteriskMode::Managed, ServiceMode::None) => {
            "Not tried: Asterisk was not started, and no call placed."
        }
        (AsteriskMode::Managed, _) => {
            "Not tried: neither Asterisk nor the service was started, and no call placed."
        }
    }
}

/// Prints the resources needed and free.
fn resources(survey: &Survey, scenario: &Scenario) {
    say::out(format_args!("  {:22} {:>9} {:>9}", "", "needed", "free"));
    for resource in &survey.resources {
        let (name, of) = (resource.name, &resource.of);
        say::out(format_args!("  {name:22} {:>9} {:>9}  {of}", resource.needed, resource.free));
    }
    let per_second = f64::from(scenario.calls()) / scenario.media.ptime.0.as_secs_f64();
    say::out(format_args!("  {:22} {per_second:>9.0} a second, each way", "packets"));
}

/// Prints the callers of a file, and what they do before the first call.
fn callers(plan: &RunPlan) {
    let sip = &plan.scenario().sip;
    let of_file = |path| Some((plan.accounts.as_ref()?.all().len() as u64, path));
    let said = match (sip.accounts.as_ref().and_then(of_file), sip.register) {
        (None, false) => return,
        (None, true) => format!("one account, registered before the first call at {}", sip.register_rate),
        (Some((count, path)), false) => format!("{} out of {path}", counted(count, "account")),
        (Some((count, path)), true) => format!(
            "{} out of {path}, registered before the first call at {}",
            counted(count, "account"),
            sip.register_rate
        ),
    };
    say::out(format_args!("  {:22} {said}", "callers"));
}

/// Prints the Asterisks that a run would use, and notes what is in their way.
async fn asterisk(plan: &RunPlan, survey: &mut Survey) {
    let scenario = plan.scenario();
    let print = |is: &str| say::out(format_args!("  {:22} {is}", "Asterisk"));
    if scenario.asterisk.mode == AsteriskMode::External {
        let targets = match resolve_all(scenario).await {
            Ok(targets) => targets,
            Err(failure) => return survey.obstacles.push(failure.to_string()),
        };
        let asked = probe_all(plan, &targets).await;
        for ((number, target), result) in (0..).zip(targets).zip(asked) {
            print(&external(plan, (number, target), result, survey));
        }
        return;
    }
    match find::find(&SearchPlaces::from_environment(None)) {
        Ok(install) => print(&format!("{} ({})", install.version, install.program.display())),
        Err(e) => survey.obstacles.push(e.to_string()),
    }
}

/// Result of the OPTIONS probe of a target, in words.
fn external(
    plan: &RunPlan,
    (number, target): (u32, SocketAddr),
    result: ProbeResult,
    survey: &mut Survey,
) -> String {
    let scenario = plan.scenario();
    let (user, transport, (_, key)) =
        (plan.user_of(number), scenario.asterisk.transport, scenario.next_hops());
    let (why, is_closed) = match result {
        ProbeResult::Answered { status, reason, callee, login } => {
            let named = |said| of_target(scenario, target, said);
            let obstacle = login.obstacle(scenario, user).map(named);
            if obstacle.is_none() {
                survey.warnings.extend(turned_down(key, &callee, status, &reason).map(named));
            }
            survey.obstacles.extend(obstacle);
            let login = match &login {
                Login::NotAsked => String::new(),
                Login::Taken(realm) => {
                    format!(", and takes user `{}` (realm `{realm}`)", user.unwrap_or_default())
                }
                Login::Missing(realm) | Login::Refused(realm) => format!(" (realm `{realm}`)"),
                Login::Odd(_) => String::new(),
            };
            return format!("external, {target} answers OPTIONS with {status} {reason}{login}");
        }
        ProbeResult::Unreadable(why) => {
            survey.obstacles.push(format!(
                "{key}: {target} answers OPTIONS, but cannot be read: {why}; mend there what the reason names, or take what \
                 rewrites SIP on the way (ALG) out of it"
            ));
            return format!("external, {target} answers OPTIONS in SIP that cannot be read");
        }
        ProbeResult::Unconnected(why) => {
            survey.obstacles.push(unconnected(key, transport, &why));
            return format!("external, no connection to {target}");
        }
        ProbeResult::Silent(why) => (why, false),
        ProbeResult::Unreachable(why) => (why, true),
    };
    let said = unanswered(key, target, transport, &why);
    // Asterisk answers; what merely echoes calls need not.
    let is_in_the_way = is_closed || scenario.service.mode.is_application();
    if is_in_the_way { &mut survey.obstacles } else { &mut survey.warnings }.push(said);
    format!("external, {target} does not answer OPTIONS")
}

/// Prints the service that would answer, and asks an external Asterisk about it.
async fn service(scenario: &Scenario, survey: &mut Survey) {
    let service = &scenario.service;
    say::out(format_args!("  {:22} {}", "service", describe(service)));
    if service.mode.is_application() {
        for url in &scenario.asterisk.ari {
            application(scenario, &url.0, survey).await;
        }
    }
}

/// Asks the ARI of one Asterisk about the application.
async fn application(scenario: &Scenario, url: &str, survey: &mut Survey) {
    let service = &scenario.service;
    let ari = match external_ari(url) {
        Ok(ari) => ari,
        Err(error) => return survey.obstacles.push(error.to_string()),
    };
    // One that somebody else runs has its own account; this one is to look on.
    if service.mode.is_started() && ari.may_write().await.is_ok_and(|may| !may) {
        survey.obstacles.push(read_only(&ari.shown(), &ari.account.user));
    }
    match ari.lists(&service.app).await {
        Ok(false) if service.mode == ServiceMode::External => survey.obstacles.push(format!(
            "Asterisk at {url} does not list the application `{}`: is the service running, and is service.app \
             its application?",
            service.app
        )),
        // Asterisk also lists an application that has gone without its channels, and that is no obstacle.
        Ok(true) if service.mode.is_started() => survey.warnings.push(format!(
            "Asterisk at {url} lists an application `{}` already: the run's will take its place",
            service.app
        )),
        Ok(_) => {}
        Err(error) => {
            let refused = refusal(&ari, &error);
            survey.obstacles.push(refused.unwrap_or_else(|| silent(&format!("at {url}"), &error)).to_string());
        }
    }
}
