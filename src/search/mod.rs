//! Capacity: how many calls, or attempts a second, an Asterisk and its service carry.
//!
//! The classification of loads is that of RFC 9971 (MLRsearch), Appendix A; a trial is bad when a gate is broken
//! (an extension of its section 4.7.1). Two deviations: a trial that the machine disturbed is void and not bad
//! (section 4.9.1 would count it as loss, and blame the service for the driver), and a trial that ended early for a
//! broken gate counts as a short one with the seconds it took.
//!
//! A [`Search`] is told of [`Trial`]s and says the next [`Step`]: the same settings, trials and time spent always
//! give the same one, so that a stored search replays from its records.

mod answer;
mod bounds;
mod classify;
#[cfg(test)]
mod drifting;
#[cfg(test)]
mod going_on;
mod judged;
mod load;
mod planner;
mod require;
mod samples;
mod settings;
#[cfg(test)]
mod simulated;
mod stored;
mod trial;
mod wording;

pub use answer::{Answer, Broke, Change, Comparison, Ending, GoalAnswer, compare};
pub use classify::{Class, Rule, Rules, Standing, Sums, classify, standing};
pub use judged::{Planned, outcome};
pub use load::{Kind, Load};
pub use planner::{Conditions, Costs, Cut, Most, Search, Step};
pub use require::{Require, RequireError};
pub use samples::{Goal, Traffic, Unjudged};
pub use settings::Settings;
pub(crate) use stored::{LONGEST_NAME, MOST_GOALS, MOST_TRIALS, is_folder, is_goal_name};
pub use stored::{MOST_BYTES, StoredError, read, write};
pub use trial::{Ended, FORMAT, Figures, Length, Outcome, Trial};
pub use wording::range;
