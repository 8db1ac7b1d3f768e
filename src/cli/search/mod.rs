//! `loadtest search`: how many calls, or attempts a second, does it carry?

mod after;
mod args;
mod deliver;
mod hunt;
mod limits;
mod place;
mod stored;

pub use args::Args;
pub use stored::{compared, is_search, report};

use super::{Exit, Failure, interrupt, say};
use after::After;
use hunt::Hunt;
use place::Place;

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let baseline = args.baseline()?;
    let place = Place::of(&args)?;
    let requirements = args.requirements(&place.plan, &place.goals);
    let requirements = requirements.inspect_err(|_| place.folder.discard())?;
    let interrupt = interrupt::listen()?;
    let had_trials = !place.trials.is_empty();
    let Some(mut hunt) = Hunt::begin(&args, place, interrupt).await? else {
        say::err(match had_trials {
            true => "interrupted before the next trial; those that were made stay as they are",
            false => "interrupted before the first trial; nothing is kept",
        });
        return Ok(Exit::Interrupted);
    };
    let played = hunt.play().await;
    let after = match &played {
        Ok(answer) => hunt.after(&args, answer).await,
        Err(_) => After::default(),
    };
    let found = hunt.end(played, after).await?;
    deliver::deliver(&args, &found, &requirements, baseline.as_ref())
}
