//! The answer of a search: printed, written, and as an exit code.

use super::Args;
use super::hunt::Found;
use crate::cli::{Exit, Failure, say};
use crate::gate::Outcome;
use crate::search::{Answer, Change, Ending, Require, compare};

/// Prints and writes the answer, and returns the exit code.
///
/// # Errors
/// A file that cannot be written; else what broke the search.
pub fn deliver(
    args: &Args,
    found: &Found,
    requirements: &[Require],
    baseline: Option<&Answer>,
) -> Result<Exit, Failure> {
    let answer = &found.answer;
    if !args.quiet {
        for goal in &answer.goals {
            say::out(format_args!("{}: {}", goal.goal, goal.sentence));
        }
        say::out(found.place().display());
    }
    if let Some(why) = &found.broken {
        return Err(Failure::broke(why.clone()));
    }
    if found.interrupted {
        return Ok(Exit::Interrupted);
    }
    Ok(exit(answer, requirements, baseline))
}

/// A condition that fails comes before a capacity that has fallen, and that before doubt.
fn exit(answer: &Answer, requirements: &[Require], baseline: Option<&Answer>) -> Exit {
    let judged: Vec<_> = requirements.iter().map(|require| require.judge(answer)).collect();
    let has_fallen =
        baseline.is_some_and(|base| compare(base, answer).iter().any(|found| found.change == Change::Less));
    let is_open = answer.goals.iter().any(|goal| !is_answered(&goal.ending));
    if judged.contains(&Outcome::Fail) {
        Exit::GateFailed
    } else if has_fallen {
        Exit::Regressed
    } else if judged.contains(&Outcome::Inconclusive) || requirements.is_empty() && is_open {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}

/// True for a capacity that is known as far as it was asked for.
fn is_answered(ending: &Ending) -> bool {
    matches!(ending, Ending::Regular | Ending::Floor | Ending::MinimumFails)
}
