//! Captures: rings of each call's last packets, its SIP messages, the choice of the calls that are kept, and the bytes of
//! their files.
//!
//! Nothing here reads a clock or writes a file: packets and messages come in with their stamps, and pcapng and ladders
//! go out at the end. Everything is bounded: a ring's slots, a call's messages and their length, the bytes of all
//! messages, and the number of calls that are kept.

mod frame;
mod ladder;
mod message;
mod pcapng;
mod plain;
mod recorder;
mod ring;

pub use message::number_of;
pub use recorder::{Captured, Recorder, Settings};
pub use ring::{PacketRing, slots};

/// Way of a message or a packet, as the driver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the driver.
    Sent,
    /// To it.
    Received,
}
