//! Runs held against each other: pairs of segments, a stored baseline, and whether runs are comparable.

pub mod alike;
pub mod baseline;
pub mod compared;
pub mod pairs;
