//! The transactions of RFC 3261 17 over UDP, one function per input, without a socket or a clock.

mod client;
mod invite_client;
mod server;

pub(super) use client::Client;
pub(super) use invite_client::InviteClient;
pub(super) use server::Server;

use std::net::SocketAddr;

/// Bytes and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) destination: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// What a client transaction wants done when its timers have been looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, or nothing that concerns anybody else.
    Nothing,
    /// The request is sent again.
    Resend,
    /// Nobody answered in time (RFC 3261 8.1.3.1: to be treated as a 408).
    TimedOut,
}
