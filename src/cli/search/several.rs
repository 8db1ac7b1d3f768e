//! A search by several drivers: one chooses the trials and has the answer, the others play what they are told.

use std::path::Path;
use std::time::Duration;

use super::hunt::Hunt;
use super::{Args, deliver, hunted, limits, place};
use crate::cli::fleet::{Fleet, Player, Scratch, say_nothing_made};
use crate::cli::run::bring_up;
use crate::cli::{Exit, Failure, interrupt, say};
use crate::rendezvous::{Purpose, Task};
use crate::run::RunPlan;
use crate::run::together::Refusal;
use crate::scenario::Scenario;
use crate::search::{Goal, Kind, Load, Require};
use crate::shard::Shard;
use crate::values::Span;

/// Runs the subcommand as one driver of several.
pub async fn run(args: &Args, shard: Shard) -> Result<Exit, Failure> {
    if args.resume.is_some() {
        return Err(Failure::usage(
            "--resume is for a search of one driver: several begin anew, with --min near the bound that is known",
        ));
    }
    let (plan, goals) = place::planned(args, args.scenario.as_deref().unwrap_or(Path::new("")))?;
    let requirements = args.requirements(&plan, &goals)?;
    refuse(plan.scenario(), shard)?;
    let Some(meet) = args.meeting.meet()? else { return Err(Failure::usage("--rendezvous is missing")) };
    let interrupt = interrupt::listen()?;
    let scratch = Scratch::new()?;
    let (who, scenarios) = ((Purpose::Search, shard), [&plan.resolved]);
    let joined = Fleet::join(&meet, who, &scenarios, interrupt.clone(), args.quiet).await?;
    let Some(mut fleet) = joined else {
        say::err("interrupted before the first trial; nothing is kept");
        return Ok(Exit::Interrupted);
    };
    if !fleet.coordinates() {
        return play(args, &plan, &goals, (fleet, scratch)).await;
    }
    let judged = coordinate(args, (plan, goals), &requirements, &mut fleet, interrupt).await;
    fleet.judge(&judged);
    judged.map(|(exit, _)| exit)
}

/// Refuses what several drivers cannot search.
fn refuse(scenario: &Scenario, shard: Shard) -> Result<(), Failure> {
    let mut smallest = scenario.clone();
    if scenario.search.kind == Kind::Calls {
        let min = scenario.search.smallest().unwrap_or_else(|| Kind::Calls.usual_min());
        smallest.load.calls = min.number() as u32;
        if smallest.load.calls < shard.count {
            return Err(Failure::usage(format!(
                "the smallest load of the search, {min}, leaves some of {} drivers without a call: raise search.min to {0} at \
                 the least",
                shard.count
            )));
        }
    }
    Ok(Refusal::look(&smallest, shard)?)
}

/// Searches; the exit code, and the answer in a line for each goal.
async fn coordinate(
    args: &Args,
    (plan, goals): (RunPlan, Vec<Goal>),
    requirements: &[Require],
    fleet: &mut Fleet,
    interrupt: tokio::sync::watch::Receiver<crate::driver::Stop>,
) -> Result<(Exit, String), Failure> {
    let baseline = args.baseline()?;
    let place = place::claimed(args, plan, goals)?;
    let Some(hunt) = Hunt::begin(args, place, interrupt, Some(&mut *fleet)).await? else {
        return Ok(say_nothing_made(fleet.cause()));
    };
    let found = hunted(args, hunt).await?;
    let exit = deliver::deliver(args, &found, requirements, baseline.as_ref())?;
    let sentences = found.answer.goals.iter().map(|goal| match found.answer.goals.len() {
        1 => goal.sentence.clone(),
        _ => format!("{}: {}", goal.goal, goal.sentence),
    });
    let here = || found.interrupted.then(|| format!("shard {} was interrupted", fleet.shard().index));
    let cause = fleet.cause().map(|cause| cause.why().to_string()).or_else(here);
    Ok((exit, cause.into_iter().chain(sentences).collect::<Vec<_>>().join("\n")))
}

/// Plays trial after trial as the coordinator chooses them.
async fn play(
    args: &Args,
    plan: &RunPlan,
    goals: &[Goal],
    (fleet, scratch): (Fleet, Scratch),
) -> Result<Exit, Failure> {
    let said = |line: &str| {
        if !args.quiet {
            say::err(line);
        }
    };
    let mut testbed = None;
    let broken = match prepare(plan, &fleet, &scratch, &said).await {
        Ok(up) => {
            testbed = up;
            None
        }
        Err(failure) => {
            fleet.failed(&failure);
            Some(failure)
        }
    };
    let plan_of = |task: &Task| trial(plan, goals, task);
    let exit = Player { fleet, scratch, testbed, plan: &plan_of }.attend().await;
    broken.map_or(exit, Err)
}

/// Finds this driver's room, looks at the target, and says that it is prepared; `None` where somebody ends that.
async fn prepare(
    plan: &RunPlan,
    fleet: &Fleet,
    scratch: &Scratch,
    said: &dyn Fn(&str),
) -> Result<Option<crate::run::Testbed>, Failure> {
    let mut ending = fleet.ending();
    let Some(room) = limits::room(plan, fleet.shard(), ending.clone(), said).await? else { return Ok(None) };
    let testbed = bring_up(plan, &scratch.folder("testbed", plan)?, &mut ending).await?;
    if testbed.is_some() {
        fleet.prepared(room);
    }
    Ok(testbed)
}

/// The plan of a task and its title; `None` for a load that is not on the search's grid.
fn trial(plan: &RunPlan, goals: &[Goal], task: &Task) -> Option<(RunPlan, String)> {
    let Task::Trial { load, hold_ns, enough_ns, goal } = task else { return None };
    let load = Load::of(plan.scenario().search.kind, *load)?;
    let (hold, time) = (Span(Duration::from_nanos(*hold_ns)), |ns: u64| Span(Duration::from_nanos(ns)));
    let of_task = match (enough_ns, goal) {
        (Some(enough), _) => plan.of_trial(load, hold, time(*enough), goals),
        (None, goal) => plan.at_load(load, hold, goals.get(goal.unwrap_or_default() as usize)?.gates.clone()),
    };
    Some((of_task, format!("{load} of all drivers for {hold}")))
}
