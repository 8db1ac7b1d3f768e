//! Load and latency testing of Asterisk services with real SIP calls and real RTP.
//!
//! Data flows one way: scenario → driver → samples → analysis → gate → report.
//! ARCHITECTURE.md has the map; `tests/tidy.rs` holds which module may import which.

#![warn(missing_docs, clippy::too_many_lines)]

pub mod ari;
pub mod asterisk;
pub mod clock;
pub mod net;
pub mod rtp;
pub mod service;
pub mod stamp;
