//! The rendezvous of shards, without input or output: who takes part, when they start, how they fare, how they end.
//!
//! A shard opens one connection to the coordinator. The coordinator greets with a number of its own making, the shard
//! answers with another, and from there on every frame bears an HMAC under keys that follow from both numbers and the
//! run's key: who does not know that key can send nothing that is listened to, read nothing back that it could use again,
//! and gets no answer but the end of the connection.
//!
//! A search and a comparison make run after run over the same connections: each shard first says what its machine carries,
//! then the coordinator gives one task after another, each of which is a run of its own, and at last the verdict.
//!
//! Both sides are state machines of this project's shape: `handle`, then `poll` until empty, `poll_timeout`.

mod coordinator;
mod member;
mod message;
mod roll;
mod seal;
mod task;
#[cfg(test)]
mod tests;

pub use coordinator::{Coordinator, CoordinatorEvent, CoordinatorInput, CoordinatorOutput, Settings};
pub use member::{Member, MemberInput, MemberOutput};
pub use message::{Beat, FILES, Hello, HowToEnd, Lately, Totals, cut};
pub use roll::{Absence, Attendance};
pub use seal::{GREETING, Nonce, RunSecret, SecretError};
pub use task::{Purpose, Room, Task};

use std::time::Duration;

/// Time between two heartbeats.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);
/// Silence after which the other side is lost. A cut link is told by nothing else.
pub const LOST_AFTER: Duration = Duration::from_secs(4);
/// Time that the calls of a shard may last longer than those of the first that has ended: all have one schedule, and the
/// longest hang-up takes half a minute.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(120);
/// Time for a new connection to say who it is.
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Connections that have not said who they are: all shards at once, and as many strangers. One more ends the oldest.
pub const MOST_STRANGERS: usize = 2 * crate::shard::MOST_SHARDS as usize;
/// Clock exchanges of each shard before the start; the one with the shortest way counts.
pub const EXCHANGES: u32 = 12;
/// Time from the last shard's being ready to the start: long enough for word of it to reach all.
pub const START_NOTICE: Duration = Duration::from_millis(1000);
/// The same for the end of a ramp.
pub const RAMP_NOTICE: Duration = Duration::from_millis(500);
/// Wait of a shard that has delivered everything, for the verdict: the coordinator works through all records.
pub const VERDICT_WITHIN: Duration = Duration::from_secs(600);
