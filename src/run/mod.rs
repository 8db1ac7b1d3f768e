//! One run from its plan to its record: what it needs, the testbed, faults, leak check, folder.

pub mod application;
pub mod environment;
pub mod faults;
pub mod folder;
pub mod leak_check;
pub mod options_probe;
pub mod preflight;
pub mod resolve;
pub mod scheduling;
pub mod testbed;
