//! Load and latency testing of Asterisk services with real SIP calls and real RTP.
//!
//! Data flows one way: scenario → driver → samples → analysis → gate → report.
//! ARCHITECTURE.md has the map; `tests/tidy.rs` holds which module may import which.

#![warn(missing_docs, clippy::too_many_lines)]

pub mod analysis;
pub mod ari;
pub mod asterisk;
pub mod child;
pub mod cli;
pub mod clock;
pub mod driver;
pub mod echo;
pub mod gate;
pub mod impair;
pub mod measure;
pub mod net;
pub mod report;
pub mod rtp;
pub mod samples;
pub mod scenario;
pub mod scheduling;
pub mod service;
pub mod sip;
pub mod stamp;
