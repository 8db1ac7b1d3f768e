//! Load and latency testing of Asterisk services with real SIP calls and real RTP.
//!
//! Data flows one way: scenario → driver → record → metrics → gate → report.
//! Internal: only this package's own programs, tests and benches use it, and it follows no semantic
//! versioning. ARCHITECTURE.md has the map; `tests/it/tidy.rs` holds which module may import which.

// `cli::say` prints; the macros panic when standard output is a closed pipe.
#![warn(missing_docs, clippy::too_many_lines, clippy::print_stdout, clippy::print_stderr)]

pub mod accounts;
mod analysis;
pub mod ari;
pub mod asterisk;
pub mod capture;
mod child;
pub mod cli;
pub mod clock;
mod compare;
pub mod conversation;
mod diagnosis;
pub mod driver;
pub mod echo;
pub mod excerpt;
pub mod external;
mod files;
pub mod gate;
mod impair;
pub mod load;
pub mod measure;
pub mod metrics;
pub mod net;
mod openmetrics;
pub mod quality;
pub mod record;
pub mod rendezvous;
mod report;
pub mod rtp;
pub mod run;
pub mod scenario;
mod scheduling;
pub mod search;
pub mod service;
pub mod shard;
pub mod signal;
pub mod sip;
pub mod speech;
pub mod stamp;
mod table;
pub mod talk;
pub mod values;
