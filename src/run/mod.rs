//! One run, callable from anywhere: plan it, bring a testbed up, execute trials on it, store them.
//!
//! Nothing here prints or knows exit codes: progress and remarks go to an [`Observer`], and errors are
//! [`RunError`]s.

pub mod application;
mod ari_look;
pub mod capacity;
mod connections;
pub mod environment;
mod error;
mod execute;
mod faults;
pub mod folder;
pub mod foreseen;
mod leak_check;
mod logs;
mod managed;
mod neighbours;
pub mod options_probe;
mod part;
pub mod plan;
pub mod preflight;
mod prompts;
mod remarks;
pub mod scheduling;
pub mod stored;
pub mod targets;
mod testbed;
pub mod together;
mod wire;

pub use error::RunError;
pub use execute::{Finished, conclude, conclude_with, execute, execute_part};
pub use folder::Folder;
pub use part::Part;
pub use plan::RunPlan;
pub use testbed::Testbed;

use crate::driver::Progress;

/// Hears of a run while it goes on.
pub trait Observer {
    /// The present state, a few times a second.
    fn progress(&self, progress: &Progress<'_>);

    /// An event that a user wants to know of, in a line.
    fn remark(&self, text: &str);

    /// Work once the calls are over, which may take seconds.
    fn stage(&self, _text: &str) {}
}
