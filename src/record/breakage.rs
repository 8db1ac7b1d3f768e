//! Breakage of a run: the event that ended it before its time.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Event that broke a run. Its `Display` is `broken` of `environment.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Breakage {
    /// A process of the run ended by itself.
    Ended {
        /// The process.
        process: TestedProcess,
        /// Kind of its end.
        death: Death,
        /// Exit status in words.
        status: String,
        /// Last lines of its output; empty without any.
        last_output: String,
    },
    /// A process did not come back after a planned fault.
    NotBack {
        /// The process.
        process: TestedProcess,
        /// Reason.
        reason: String,
    },
    /// No SIP message came from the target.
    Silent {
        /// Address that SIP was sent to.
        target: String,
    },
}

/// A process that a run starts and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TestedProcess {
    /// Asterisk.
    Asterisk,
    /// The ARI service.
    Service,
}

/// Kind of a process's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// It exited, or was asked to.
    Exited,
    /// SIGKILL.
    Killed,
    /// A signal that stands for an error in the program: SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE.
    Crashed,
}

impl Breakage {
    /// The event in a sentence, without the output of the process.
    pub fn sentence(&self) -> String {
        match self {
            Breakage::Ended { process, status, .. } => {
                format!("{process} ended by itself during the run ({status})")
            }
            Breakage::NotBack { process, reason } => {
                format!("{process} did not come back after the planned fault: {reason}")
            }
            Breakage::Silent { target } => {
                format!("nothing answers SIP at {target}: is it running, and is the address right?")
            }
        }
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())?;
        match self {
            Breakage::Ended { last_output, .. } => write!(f, "; its last output: {last_output}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for TestedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TestedProcess::Asterisk => "Asterisk",
            TestedProcess::Service => "the service",
        })
    }
}
