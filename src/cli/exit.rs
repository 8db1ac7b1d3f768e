//! Exit codes, and the errors that lead to them.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use super::say;
use crate::gate::Outcome;
use crate::run::RunError;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every gate holds.
    Pass = 0,
    /// The run broke.
    Broke = 1,
    /// Bad command line or scenario.
    Usage = 2,
    /// A gate is broken.
    GateFailed = 10,
    /// Slower than what it was compared with.
    Regressed = 11,
    /// Nothing can be said.
    Inconclusive = 12,
    /// Ended by Ctrl-C, SIGTERM or SIGHUP.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of that number; a run that broke for any other.
    pub fn of(code: u8) -> Exit {
        let all = [
            Exit::Pass,
            Exit::Usage,
            Exit::GateFailed,
            Exit::Regressed,
            Exit::Inconclusive,
            Exit::Interrupted,
        ];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Exit::Broke)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Exit {
        match outcome {
            Outcome::Pass => Exit::Pass,
            Outcome::Fail => Exit::GateFailed,
            Outcome::Regressed => Exit::Regressed,
            Outcome::Inconclusive => Exit::Inconclusive,
        }
    }
}

/// An error that ends the program, with its exit code.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// The command line or the scenario is at fault.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Usage, error: anyhow::Error::msg(message.into()) }
    }

    /// The run could not be made or finished.
    pub fn broke(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Broke, error: anyhow::Error::msg(message.into()) }
    }

    /// True if it is a mistake in what the user has given, which the message names in full.
    pub fn is_mistake(&self) -> bool {
        self.exit == Exit::Usage
    }

    /// Its exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Adds the folder of the logs that may say more.
    pub fn with_logs(self, logs: Option<PathBuf>) -> Self {
        let Some(logs) = logs else { return self };
        let error = anyhow::Error::msg(format!("{self}\nLogs of what was started are in {}", logs.display()));
        Failure { error, ..self }
    }

    /// The same with another text.
    pub fn reworded(self, reword: impl FnOnce(String) -> String) -> Self {
        let error = anyhow::Error::msg(reword(self.to_string()));
        Failure { error, ..self }
    }

    /// Prints it, and returns the exit code.
    pub fn print(&self) -> ExitCode {
        let text = self.to_string();
        // Errors of a scenario come rendered, with their own heading.
        let heading = if text.starts_with("error") { "" } else { "error: " };
        say::err(format_args!("{heading}{text}"));
        self.exit.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// Every error breaks the run, but for mistakes in what the user has given.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let is_mistake = matches!(error.downcast_ref(), Some(RunError::Scenario(_) | RunError::Unusable(_)));
        Failure { exit: if is_mistake { Exit::Usage } else { Exit::Broke }, error }
    }
}
