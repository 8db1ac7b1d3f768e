//! Sockets with kernel stamps, readiness of many at once, a pool of ports, host names, TLS, HTTP, signals.

pub mod capabilities;
pub mod http;
pub mod http_server;
pub mod poller;
pub mod ports;
pub mod prefetch;
pub mod resolve;
pub mod signals;
pub mod stream;
pub mod tls;
mod trust;
pub mod udp;
