//! SIP as a caller needs it: messages, SDP, digest, timers, transactions and one call's state machine.
//!
//! Nothing here knows a socket or a clock. A [`call::Call`] is driven with messages, commands and
//! times, and drained with [`call::Call::poll`]; requests outside of any call go to [`uas::answer`].

mod body;
pub mod call;
mod dialog;
pub mod digest;
pub mod framing;
mod grammar;
pub mod identity;
pub mod message;
pub mod options;
mod outgoing;
mod parse;
pub mod register;
mod salvage;
pub mod sdp;
pub mod timers;
mod transaction;
mod transport;
pub mod uas;

/// Says whether something may be sent to an address that a peer has named, and if not, why. Whoever owns the
/// sockets knows: not to one of its own, and not where the kernel does not let it.
pub type Vet<'a> = &'a dyn Fn(std::net::SocketAddr) -> Result<(), String>;

/// Lets everything pass.
pub fn anywhere(_: std::net::SocketAddr) -> Result<(), String> {
    Ok(())
}

pub use call::{Call, CallConfig, CallEvent, CallOutput};
pub use grammar::user_part;
pub use identity::Identity;
pub use message::{Message, Method};
pub use outgoing::SipDatagram;
pub use parse::{MAX_HEADERS, ParseError, parse};
pub use salvage::{Heard, Unreadable, hear};
pub use transport::{Broken, Transport};

#[cfg(test)]
mod torture;
