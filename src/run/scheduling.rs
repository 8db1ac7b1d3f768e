//! Asks the kernel for the scheduling that a run or a ping wants, before anything begins.

use anyhow::Context as _;

use crate::cli::Failure;
use crate::scheduling::{Refused, Scheduling};

/// What the media threads get.
pub struct Granted {
    /// What the kernel permits.
    pub scheduling: Scheduling,
    /// Why there is no real-time priority, where one was asked for.
    pub warning: Option<String>,
}

/// Finds out what of `asked` is permitted. A CPU that cannot be had is the user's mistake, and goes to
/// `wrong`; a priority that cannot be had is the machine's rule, and a warning.
pub fn grant(asked: Scheduling, wrong: impl FnOnce(&Refused) -> Failure) -> Result<Granted, Failure> {
    let (scheduling, refused) = asked.permitted().context("cannot start a thread")?;
    if let Some(cpus) = refused.iter().find(|r| matches!(r, Refused::Cpus { .. })) {
        return Err(wrong(cpus));
    }
    Ok(Granted { scheduling, warning: refused.first().map(ToString::to_string) })
}
