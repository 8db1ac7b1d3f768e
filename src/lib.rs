//! Load and latency testing of Asterisk services with real SIP calls and real RTP.
//!
//! Data flows one way: scenario → driver → record → metrics → gate → report.
//! ARCHITECTURE.md has the map; `tests/it/tidy.rs` holds which module may import which.

// `cli::say` prints; the macros panic when standard output is a closed pipe.
#![warn(missing_docs, clippy::too_many_lines, clippy::print_stdout, clippy::print_stderr)]

pub mod analysis;
pub mod ari;
pub mod asterisk;
pub mod child;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod driver;
pub mod echo;
pub mod gate;
pub mod impair;
mod load;
pub mod measure;
pub mod metrics;
pub mod net;
pub mod record;
pub mod report;
pub mod rtp;
pub mod run;
pub mod scenario;
pub mod scheduling;
pub mod service;
pub mod sip;
pub mod stamp;
pub mod values;
