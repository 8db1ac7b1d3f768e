//! Sockets with kernel stamps, and readiness of many of them at once.

pub mod http;
pub mod poller;
pub mod udp;
