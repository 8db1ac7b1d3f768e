//! Asks the kernel for the scheduling that a run or a ping wants, before anything begins.

use super::RunError;
use crate::scheduling::{Priority, Refused, Scheduling};
use crate::values::Realtime;

/// Scheduling as far as the kernel permits it.
#[derive(Debug, Clone)]
pub struct Granted {
    /// In force.
    pub scheduling: Scheduling,
    /// The refusal of a real-time priority, where one was asked for by name.
    pub warning: Option<String>,
}

/// Scheduling of all parts of a run that are its own.
#[derive(Debug, Clone)]
pub struct Shares {
    /// The driver's media threads.
    pub driver: Granted,
    /// The service that the run starts: its CPUs, and the priority of the built-in one's reflector thread.
    pub service: Granted,
    /// The Asterisk that the run starts: its CPUs.
    pub asterisk: Granted,
}

impl Shares {
    /// Refusals that the user should hear of.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        [&self.driver, &self.service].into_iter().filter_map(|granted| granted.warning.clone())
    }
}

/// Asks for a priority and for CPUs. A CPU that cannot be had is a mistake in the settings, and the error of
/// `wrong`; a priority that cannot be had is a rule of the machine, and a warning.
///
/// # Errors
/// That mistake, or that there can be no thread at all.
pub fn grant<E: From<RunError>>(
    realtime: Realtime,
    cpus: &[usize],
    wrong: impl FnOnce(&Refused) -> E,
) -> Result<Granted, E> {
    let priority = match realtime {
        Realtime::Off => Priority::Ordinary,
        // On a full machine a real-time priority here makes Asterisk wait longer than it saves us.
        Realtime::Auto => Priority::Raised,
        Realtime::On => Priority::Realtime,
    };
    let asked = Scheduling { priority, cpus: cpus.to_vec() };
    let permitted = asked.permitted();
    let (scheduling, refused) =
        permitted.map_err(|error| RunError::Obstacle(format!("cannot start a thread: {error}")))?;
    if let Some(cpus) = refused.iter().find(|r| matches!(r, Refused::Cpus { .. })) {
        return Err(wrong(cpus));
    }
    let warning = refused.first().filter(|_| realtime == Realtime::On).map(ToString::to_string);
    Ok(Granted { scheduling, warning })
}
