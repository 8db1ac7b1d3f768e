//! Errors of planning, setting up, making and storing a run, each with its cure.

use std::fmt::Display;
use std::path::Path;

use crate::asterisk::AsteriskError;
use crate::driver::DriverError;
use crate::net::resolve::Unresolved;
use crate::scenario::ScenarioError;

/// An error that keeps a run from being made or kept. Calls that fail are outcomes of a run, not errors.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario is invalid.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A file, a folder or an account that the user gives, or does not give, cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// The machine, Asterisk or the service lacks or refuses something that the run needs.
    #[error("{0}")]
    Obstacle(String),
    /// A host has no address.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// Asterisk cannot be found or started.
    #[error(transparent)]
    Asterisk(#[from] AsteriskError),
    /// The driver cannot start, or a thread of it has ended.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

impl RunError {
    /// True if somebody else ended the run before it had begun: another driver, or whoever has it.
    pub fn is_called_off(&self) -> bool {
        matches!(self, RunError::Driver(DriverError::CalledOff))
    }

    /// A stored run or a folder of them that cannot be read. A cure begins with a semicolon.
    pub fn unreadable(path: &Path, error: impl Display, cure: &str) -> RunError {
        RunError::Unusable(format!("cannot read {}: {error}{cure}", path.display()))
    }

    /// A result that cannot be written. A cure begins with a semicolon.
    pub fn unwritable(path: &Path, error: impl Display, cure: &str) -> RunError {
        RunError::Obstacle(format!("cannot write {}: {error}{cure}", path.display()))
    }

    /// A results' folder that cannot be made or written.
    pub fn unwritable_folder(path: &Path, error: impl Display) -> RunError {
        RunError::unwritable(path, error, "; choose another folder with --out")
    }
}
