//! `loadtest search`: how many calls, or attempts a second, does it carry?

mod after;
mod args;
mod deliver;
mod hunt;
mod limits;
mod place;
mod several;
mod stored;

pub use args::Args;
pub use stored::{compared, is_search, report};

use super::{Exit, Failure, interrupt, say};
use after::After;
use hunt::{Found, Hunt};
use place::Place;

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    if let Some(shard) = args.meeting.wanted()? {
        return several::run(&args, shard).await;
    }
    let baseline = args.baseline()?;
    let place = Place::of(&args)?;
    let requirements = args.requirements(&place.plan, &place.goals);
    let requirements = requirements.inspect_err(|_| place.folder.discard())?;
    let interrupt = interrupt::listen()?;
    let had_trials = !place.trials.is_empty();
    let Some(hunt) = Hunt::begin(&args, place, interrupt, None).await? else {
        say::err(match had_trials {
            true => "interrupted before the next trial; those that were made stay as they are",
            false => "interrupted before the first trial; nothing is kept",
        });
        return Ok(Exit::Interrupted);
    };
    let found = hunted(&args, hunt).await?;
    deliver::deliver(&args, &found, &requirements, baseline.as_ref())
}

/// Plays a search to its end, with what was wanted after it.
async fn hunted(args: &Args, mut hunt: Hunt<'_>) -> Result<Found, Failure> {
    let played = hunt.play().await;
    let after = match &played {
        Ok(answer) => hunt.after(args, answer).await,
        Err(_) => After::default(),
    };
    hunt.end(played, after).await
}
