//! A search's folder: a new one, or that of a search which goes on.

use std::path::Path;

use super::Args;
use crate::cli::Failure;
use crate::clock;
use crate::files::Dir;
use crate::run::capacity;
use crate::run::folder::{Claim, SEARCH, TRIALS};
use crate::run::plan::read_scenario;
use crate::run::{Folder, RunError, RunPlan};
use crate::scenario::too_few;
use crate::search::{self, Answer, Cut, Goal, Kind, Search, Trial};

/// The plan of a search and its folder, with the trials that it has already.
pub struct Place {
    /// The scenario, with the settings of the command line.
    pub plan: RunPlan,
    /// Goals that the load is judged by.
    pub goals: Vec<Goal>,
    /// The folder.
    pub folder: Folder,
    /// Trials made before.
    pub trials: Vec<Trial>,
}

impl Place {
    /// # Errors
    /// A scenario, an account or a folder that cannot be used.
    pub fn of(args: &Args) -> Result<Place, Failure> {
        match (&args.resume, &args.scenario) {
            (Some(folder), _) => resumed(args, folder),
            (None, scenario) => begun(args, scenario.as_deref().unwrap_or(Path::new(""))),
        }
    }
}

fn begun(args: &Args, scenario: &Path) -> Result<Place, Failure> {
    let plan = RunPlan::read(scenario, &args.overrides())?;
    let goals = goals(&plan)?;
    let text = plan.resolved.to_toml();
    let name = format!("{}-capacity", plan.scenario().name);
    let folder =
        Folder::claim(args.out.as_deref(), &name, clock::now(), Claim::Run(SEARCH, text.as_bytes()))?;
    Ok(Place { plan, goals, folder, trials: Vec::new() })
}

fn resumed(args: &Args, path: &Path) -> Result<Place, Failure> {
    let scenario = path.join(SEARCH);
    if !scenario.is_file() {
        return Err(no_search(path));
    }
    let plan = RunPlan::read(&scenario, &args.anew())?;
    let goals = goals(&plan)?;
    let folder = Folder::open(path)?;
    Ok(Place { plan, goals, folder, trials: trials(path)? })
}

fn no_search(path: &Path) -> Failure {
    let shown = path.display();
    Failure::usage(format!(
        "{shown} is not the folder of a search: there is no {SEARCH} in it; name the folder that a search has said it \
         writes into"
    ))
}

/// The trials of a stored search; none where the first has not ended.
///
/// # Errors
/// They cannot be read, or are damaged.
pub fn trials(path: &Path) -> Result<Vec<Trial>, RunError> {
    let unreadable = |error: &dyn std::fmt::Display| RunError::unreadable(&path.join(TRIALS), error, "");
    let dir = Dir::open(path).map_err(|error| RunError::unreadable(path, error, ""))?;
    let bytes = match dir.read(TRIALS, search::MOST_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| unreadable(&error))?,
    };
    let text = str::from_utf8(&bytes).map_err(|error| unreadable(&error))?;
    search::read(text).map_err(|error| RunError::Unusable(format!("{}: {error}", path.display())))
}

/// The answer of a stored search, from its trials.
///
/// # Errors
/// It cannot be read.
pub fn answer(path: &Path) -> Result<Answer, Failure> {
    let scenario = path.join(SEARCH);
    if !scenario.is_file() {
        return Err(no_search(path));
    }
    // No account and no scheduling is needed to read it.
    let scenario = read_scenario(&scenario, &[])?.scenario;
    // Bounds need no limits of the driver.
    let mut search = Search::new(&scenario.search, scenario.goals(), capacity::unlimited(&scenario));
    trials(path)?.iter().for_each(|trial| search.add(trial));
    Ok(search.answer(Cut::OutOfTime))
}

/// The goals, each of which has to have gates.
fn goals(plan: &RunPlan) -> Result<Vec<Goal>, Failure> {
    let goals = plan.scenario().goals();
    if goals.iter().any(|goal| goal.gates.is_empty()) {
        return Err(Failure::usage(
            "the scenario has no gates, and a load that nothing is asked of is carried always: name some in \
             [gates] require, or sets of them in [search.goals]",
        ));
    }
    if !plan.scenario().stage.is_empty() {
        return Err(Failure::usage("a search chooses its loads itself: leave [[stage]] out of the scenario"));
    }
    if plan.scenario().search.kind == Kind::Rate && plan.scenario().load.call_duration.is_none() {
        return Err(Failure::usage(
            "a search for attempts a second needs calls that end: set load.call_duration, as in 5s, and load.calls \
             above the largest rate times that",
        ));
    }
    let (scenario, hold) = (plan.scenario(), plan.scenario().search.final_trial);
    let unjudged = |smallest| {
        let mut gates = goals.iter().map(|goal| scenario.traffic().unjudged(&goal.gates, smallest, hold.0));
        gates.find_map(|found| found.map(|found| too_few(&found, smallest, hold)))
    };
    if let Some((message, cure)) = scenario.search.smallest().and_then(unjudged) {
        return Err(Failure::usage(format!("{message}: {cure}")));
    }
    Ok(goals)
}
