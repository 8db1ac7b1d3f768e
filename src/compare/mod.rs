//! Runs compared: two builds pair by pair, and one run against a stored baseline.

pub mod baseline;
pub mod builds;
pub mod digest;
pub mod pairs;
