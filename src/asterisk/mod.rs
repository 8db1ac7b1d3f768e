//! A private Asterisk: found or pointed at, configured, started, watched and stopped again.

pub mod ari;
mod certificate;
pub mod config;
pub mod descriptors;
mod error;
pub mod find;
pub mod log;
pub mod modules;
mod ports;
mod process;
mod rundir;

pub use ari::Ari;
pub use error::{AsteriskError, Socket};
pub use find::{Install, SearchPlaces};
pub use log::LogCounts;
pub use process::{Account, LOG_FILE, Managed, Ports, StartConfig};
