//! Errors of finding, starting and reaching an Asterisk, each with its cure.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

/// A socket of Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display)]
pub enum Socket {
    /// SIP over UDP.
    #[strum(to_string = "SIP (UDP)")]
    Sip,
    /// SIP over TCP, or TLS over that.
    #[strum(to_string = "SIP (TCP)")]
    SipStream,
    /// HTTP over TCP, which carries ARI.
    #[strum(to_string = "HTTP (TCP)")]
    Http,
}

/// A private Asterisk that cannot be found, configured, started or reached.
#[derive(Debug, thiserror::Error)]
pub enum AsteriskError {
    /// Somebody else holds a port.
    #[error("{socket} port {} is taken: stop what holds it ({}) or choose another port", .addr.port(), holder_hint(*.socket, *.addr))]
    PortTaken {
        /// The socket that Asterisk wanted there.
        socket: Socket,
        /// The address that could not be bound.
        addr: SocketAddr,
    },
    /// Anything else, in a sentence with its reason and its cure.
    #[error("{0}")]
    Failed(String),
}

impl AsteriskError {
    /// An attempt at a file or folder, as in `cannot create`.
    pub(super) fn file(attempt: &str, path: &Path, reason: impl Display) -> Self {
        AsteriskError::Failed(format!("{attempt} {}: {reason}", path.display()))
    }

    /// A failure that `lines` explain, each shown on a line of its own.
    pub(super) fn with_lines(what: &str, lines: &[String]) -> Self {
        let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
        AsteriskError::Failed(format!("{what}{lines}"))
    }
}

fn holder_hint(socket: Socket, addr: SocketAddr) -> String {
    let kind = if socket == Socket::Sip { 'u' } else { 't' };
    format!("`ss -{kind}lpn 'sport = :{}'` names it", addr.port())
}
