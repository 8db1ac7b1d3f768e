//! A run of several drivers: the rendezvous' sockets and threads, and the merge of what the drivers have recorded.
//!
//! Connections are kept by a thread of their own, so that no work of the driver's keeps a heartbeat back.

mod claim;
mod coordinate;
mod link;
pub mod merged;
mod shards;
mod tether;

pub use coordinate::{Beats, Gathered};
pub use link::{Link, Place, Rendezvous, Told, join};
pub use shards::{KEY, Refusal, RunShard, StartAt, hello, hello_of, secret, share_of};
