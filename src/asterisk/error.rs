//! Errors of finding, starting and reaching an Asterisk, each with its cure.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::config::ConfigError;

/// A socket of Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// SIP over UDP.
    Sip,
    /// HTTP over TCP, which carries ARI.
    Http,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Socket::Sip => "SIP (UDP)",
            Socket::Http => "HTTP (TCP)",
        })
    }
}

/// A private Asterisk that cannot be found, started or reached.
#[derive(Debug, thiserror::Error)]
pub enum AsteriskError {
    /// No Asterisk anywhere; the lines say where was looked and why each place did not do.
    #[error(
        "no usable Asterisk found; run asterisk/install.sh, or name one with LOADTEST_ASTERISK{}",
        indented(.looked)
    )]
    NotFound {
        /// One line for each place.
        looked: Vec<String>,
    },
    /// The Asterisk that was asked for does not do.
    #[error("{} cannot be used: {reason}", .path.display())]
    Unusable {
        /// The program or folder that was named.
        path: PathBuf,
        /// Its fault, and the cure.
        reason: String,
    },
    /// The configuration could not be rendered or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Somebody else holds a port.
    #[error("{socket} port {} is taken: stop what holds it ({}) or choose another port", .addr.port(), holder_hint(*.socket, *.addr))]
    PortTaken {
        /// The socket that Asterisk wanted there.
        socket: Socket,
        /// The address that could not be bound.
        addr: SocketAddr,
    },
    /// An address that this machine does not have, or a port that this user may not bind.
    #[error("Asterisk cannot listen on {addr} for {socket}: {source}")]
    CannotBind {
        /// The socket that Asterisk wanted there.
        socket: Socket,
        /// The address that could not be bound.
        addr: SocketAddr,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// The process could not be started at all.
    #[error("cannot start {}: {source}", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("Asterisk ended before it was ready ({status}); its last output:{}", indented(.last))]
    Exited {
        /// Its exit status.
        status: ExitStatus,
        /// The last lines it logged.
        last: Vec<String>,
    },
    /// It runs, but ARI does not answer.
    #[error(
        "Asterisk did not answer ARI within {within:?} ({problem}); is the machine overloaded? Its last output:{}",
        indented(.last)
    )]
    NotReady {
        /// The time that was allowed.
        within: Duration,
        /// The last answer, or why there was none.
        problem: String,
        /// The last lines it logged.
        last: Vec<String>,
    },
    /// A file or folder of ours.
    #[error("{what} {}: {source}", .path.display())]
    Io {
        /// The attempt, as in `cannot create`.
        what: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

fn holder_hint(socket: Socket, addr: SocketAddr) -> String {
    let kind = if socket == Socket::Sip { 'u' } else { 't' };
    format!("`ss -{kind}lpn 'sport = :{}'` names it", addr.port())
}
