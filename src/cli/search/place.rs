//! A search's folder: a new one, or that of a search which goes on.

use std::path::Path;

use super::{Args, stored};
use crate::cli::{Failure, say};
use crate::clock;
use crate::files::Dir;
use crate::gate::{Gate, Subject};
use crate::report::capacity::CapacityReport;
use crate::run::capacity;
use crate::run::folder::{CAPACITY, Claim, SEARCH, TRIALS};
use crate::run::foreseen::unjudged as unjudged_in;
use crate::run::plan::read_scenario;
use crate::run::{Folder, RunError, RunPlan};
use crate::scenario::{Scenario, too_few};
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
    /// The answer so far of a search that goes on, with what came after it.
    pub former: Option<CapacityReport>,
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
    let (plan, goals) = planned(args, scenario)?;
    claimed(args, plan, goals)
}

/// The plan and the goals of a new search.
///
/// # Errors
/// A scenario or an account that cannot be used.
pub fn planned(args: &Args, scenario: &Path) -> Result<(RunPlan, Vec<Goal>), Failure> {
    let read = RunPlan::read(scenario, &args.overrides());
    let plan = read.map_err(|error| args.reworded(error.into()))?;
    let goals = goals(&plan)?;
    Ok((plan, goals))
}

/// The place of a new search.
///
/// # Errors
/// A folder that cannot be used.
pub fn claimed(args: &Args, plan: RunPlan, goals: Vec<Goal>) -> Result<Place, Failure> {
    let text = plan.resolved.to_toml();
    let name = match &plan.scenario().name {
        name if name.contains("capacity") => name.clone(),
        name => format!("{name}-capacity"),
    };
    let mut folder =
        Folder::claim(args.out.as_deref(), &name, clock::now(), Claim::Run(SEARCH, text.as_bytes()))?;
    folder.lock()?;
    Ok(Place { plan, goals, folder, trials: Vec::new(), former: None })
}

fn resumed(args: &Args, path: &Path) -> Result<Place, Failure> {
    let scenario = path.join(SEARCH);
    if !is_plain_file(&scenario) {
        return Err(no_search(path));
    }
    let plan = RunPlan::read(&scenario, &args.anew())?;
    let goals = goals(&plan)?;
    let mut folder = Folder::open(path)?;
    folder.own_logs()?;
    folder.lock()?;
    Ok(Place { plan, goals, folder, trials: trials(path)?, former: former(path) })
}

/// The answer so far. A search that was killed has none, and so nothing that came after one; its trials are what it goes
/// on from, so an answer that cannot be read is made anew from them.
fn former(path: &Path) -> Option<CapacityReport> {
    if !Dir::open(path).is_ok_and(|dir| dir.has(CAPACITY)) {
        return None;
    }
    let warned = |failure: &Failure| {
        say::err(format!(
            "warning: {failure}; the answer is made anew from the trials, and what came after the search is forgotten"
        ));
    };
    stored::stored(path).inspect_err(warned).ok()
}

/// True for a file that is no link: the scenario of a search names programs to start, and a link leads to somebody
/// else's.
fn is_plain_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
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
    // A line that was cut off may end within a character.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = str::from_utf8(&bytes[..whole]).map_err(|error| unreadable(&error))?;
    search::read(text).map_err(|error| RunError::Unusable(format!("{}: {error}", path.display())))
}

/// The answer of a stored search, from its trials.
///
/// # Errors
/// It cannot be read.
pub fn answer(path: &Path) -> Result<Answer, Failure> {
    let scenario = path.join(SEARCH);
    if !is_plain_file(&scenario) {
        return Err(no_search(path));
    }
    // No account and no scheduling is needed to read it.
    let scenario = read_scenario(&scenario, &[])?.scenario;
    // Bounds need no limits of the driver.
    let mut search = Search::new(&scenario.search, scenario.goals(), capacity::unlimited(&scenario));
    trials(path)?.iter().for_each(|trial| search.add(trial));
    Ok(search.answer(Cut::OutOfTime))
}

/// The goals, of a scenario whose load can be searched and whose gates can be judged.
fn goals(plan: &RunPlan) -> Result<Vec<Goal>, Failure> {
    let scenario = plan.scenario();
    let goals = scenario.goals();
    if let Some(mistake) = of_load(scenario).or_else(|| of_goals(&goals)) {
        return Err(Failure::usage(mistake));
    }
    let hold = scenario.search.final_trial;
    let Some(smallest) = scenario.search.smallest() else { return Ok(goals) };
    let unjudged = |goal: &Goal| scenario.traffic().unjudged(&goal.gates, smallest, hold.0);
    if let Some(found) = goals.iter().find_map(unjudged) {
        let (message, cure) = too_few(&found, smallest, hold);
        return Err(Failure::usage(format!("{message}: {cure}")));
    }
    let trial = plan.at_load(smallest, hold, Vec::new());
    let unjudged = |gate: &Gate| unjudged_in(trial.scenario(), gate);
    if let Some(found) = goals.iter().flat_map(|goal| &goal.gates).find_map(unjudged) {
        return Err(Failure::usage(format!(
            "{found}, so no trial of {hold} at {smallest} can be: leave it out"
        )));
    }
    Ok(goals)
}

/// A load that cannot be searched.
fn of_load(scenario: &Scenario) -> Option<&'static str> {
    let kind = scenario.search.kind;
    if !scenario.stage.is_empty() {
        return Some("a search chooses its loads itself: leave [[stage]] out of the scenario");
    }
    if kind == Kind::Calls && scenario.is_open() {
        return Some(
            "the scenario offers attempts at a rate (load.rate), and the search is for calls held at once: search with \
             --rate, or leave load.rate out",
        );
    }
    (kind == Kind::Rate && scenario.load.call_duration.is_none()).then_some(
        "a search for attempts a second needs calls that end: set load.call_duration, as in 5s, and load.calls above \
         the largest rate times that",
    )
}

/// Goals that say nothing of a load.
fn of_goals(goals: &[Goal]) -> Option<&'static str> {
    if goals.iter().any(|goal| goal.gates.is_empty()) {
        return Some(
            "the scenario has no gates, and a load that nothing is asked of is carried always: name some in [gates] \
             require, or sets of them in [search.goals]",
        );
    }
    let of_stage = |gate: &Gate| matches!(gate.subject, Subject::Stage(..));
    let is_any = goals.iter().flat_map(|goal| &goal.gates).any(of_stage);
    is_any.then_some("a trial has no stages, and a gate names one: leave `stage.N:` out of it")
}
