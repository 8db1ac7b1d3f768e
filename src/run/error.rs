//! Errors of planning, setting up, making and storing a run, each with its cure.

use std::io;
use std::path::{Path, PathBuf};

use super::application::ApplicationError;
use crate::asterisk::AsteriskError;
use crate::driver::DriverError;
use crate::net::resolve::Unresolved;
use crate::record::hlog::HlogError;
use crate::record::stored::StoredError;
use crate::scenario::ScenarioError;

/// An error that keeps a run from being made or kept. Calls that fail are outcomes of a run, not errors.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario is invalid.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The scenario file cannot be read.
    #[error("cannot read the scenario {}: {reason}; see scenarios/ for examples", .path.display())]
    ScenarioFile {
        /// The file.
        path: PathBuf,
        /// The system's reason, or ours.
        reason: String,
    },
    /// The SIP account is incomplete.
    #[error("SIP_USER and SIP_PASS go together; only one of them is set")]
    HalfAccount,
    /// The ARI account is missing.
    #[error(
        "the application's account is not known: set ARI_USER and ARI_PASS, as in Asterisk's ari.conf, in the \
         environment or in a .env file"
    )]
    NoAccount,
    /// An external Asterisk without an address.
    #[error("an external Asterisk needs asterisk.sip")]
    NoTarget,
    /// The plan wants other processes than the testbed's.
    #[error("the testbed was brought up for another {0}: bring up one for this scenario")]
    OtherTestbed(&'static str),
    /// No stored run is comparable.
    #[error("nothing to hold the run against: {0}")]
    Baseline(String),
    /// The results' folder is in use.
    #[error("{} holds a run already; choose another folder with --out", .0.display())]
    Occupied(PathBuf),
    /// A stored run or a folder of them cannot be read.
    #[error("cannot read {}: {error}{cure}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
        /// The cure, behind a semicolon; may be empty.
        cure: &'static str,
    },
    /// A stored run is damaged.
    #[error("{}: {error}", .folder.display())]
    Stored {
        /// Its folder.
        folder: PathBuf,
        /// The file and the place in it.
        error: StoredError,
    },
    /// A folder has no runs in it, or too many.
    #[error("{0}")]
    Runs(String),
    /// The machine lacks something that the run needs.
    #[error("{0}")]
    Obstacle(String),
    /// A host has no address.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// The kernel refuses something that every run needs.
    #[error("{what}: {error}")]
    System {
        /// The attempt that it refused.
        what: &'static str,
        /// The system's reason.
        error: io::Error,
    },
    /// Asterisk cannot be found or started.
    #[error(transparent)]
    Asterisk(#[from] AsteriskError),
    /// The service under test cannot be started, or does not appear at Asterisk.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// The driver cannot start, or a thread of it has ended.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The interval log cannot be serialised.
    #[error(transparent)]
    Intervals(#[from] HlogError),
    /// The circumstances cannot be serialised.
    #[error("environment.json cannot be written: {0}")]
    Environment(serde_json::Error),
    /// A result cannot be written.
    #[error("cannot write {}: {error}{cure}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
        /// The cure, behind a semicolon; may be empty.
        cure: &'static str,
    },
}

impl RunError {
    /// A results' folder that cannot be made or written.
    pub fn unwritable_folder(path: &Path, error: io::Error) -> RunError {
        RunError::Write { path: path.into(), error, cure: "; choose another folder with --out" }
    }
}
