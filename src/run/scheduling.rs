//! Asks the kernel for the scheduling that a run or a ping wants, before anything begins.

use super::RunError;
use crate::scheduling::{Refused, Scheduling};

/// The scheduling that the media threads get.
#[derive(Debug)]
pub struct Granted {
    /// As far as the kernel permits it.
    pub scheduling: Scheduling,
    /// The refusal of a real-time priority, where one was asked for.
    pub warning: Option<String>,
}

/// Asks for `asked`. A CPU that cannot be had is a mistake in the settings, and the error of `wrong`; a
/// priority that cannot be had is a rule of the machine, and a warning.
///
/// # Errors
/// That mistake, or that there can be no thread at all.
pub fn grant<E: From<RunError>>(asked: Scheduling, wrong: impl FnOnce(&Refused) -> E) -> Result<Granted, E> {
    let permitted = asked.permitted();
    let (scheduling, refused) =
        permitted.map_err(|error| RunError::Obstacle(format!("cannot start a thread: {error}")))?;
    if let Some(cpus) = refused.iter().find(|r| matches!(r, Refused::Cpus { .. })) {
        return Err(wrong(cpus));
    }
    Ok(Granted { scheduling, warning: refused.first().map(ToString::to_string) })
}
