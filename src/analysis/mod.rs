//! Meaning of a run's records beyond counting: recovery from faults, drift, the E-model, the tail
//! explained.

pub mod drift;
pub mod explain;
pub mod fault;
pub mod mos;
