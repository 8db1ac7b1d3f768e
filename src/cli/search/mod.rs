//! `loadtest search`: how many calls, or attempts a second, does it carry?

mod args;
mod deliver;
mod hunt;
mod place;

pub use args::Args;

use super::{Exit, Failure, interrupt, say};
use hunt::Hunt;
use place::Place;

/// Runs the subcommand.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let place = Place::of(&args)?;
    let requirements = args.requirements(&place.plan, &place.goals)?;
    let baseline = args.baseline()?;
    let interrupt = interrupt::listen()?;
    let Some(mut hunt) = Hunt::begin(&args, place, interrupt).await? else {
        say::err("interrupted before the first trial; nothing is kept");
        return Ok(Exit::Interrupted);
    };
    let played = hunt.play().await;
    let found = hunt.end(played).await?;
    deliver::deliver(&args, &found, &requirements, baseline.as_ref())
}
