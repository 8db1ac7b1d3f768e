//! The figures of one media lane of the driver: a pacer and a receiver.

use serde::{Deserialize, Serialize};

/// A lane's share of a run. Absent where the driver has one lane: its figures are the run's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LaneRecord {
    /// Its number, from 0.
    pub lane: u32,
    /// Calls that it was given.
    pub calls: u32,
    /// Packets of the measured window sent.
    pub sent: u64,
    /// Of these, distinct ones back.
    pub received: u64,
    /// Of those sent, packets that left later than the next one of their stream was due.
    pub missed_slots: u64,
    /// 99th percentile of the send lateness of the measured window, in milliseconds.
    pub send_lateness_p99_ms: Option<f64>,
    /// Largest send lateness of the measured window, in milliseconds.
    pub send_lateness_max_ms: Option<f64>,
    /// 99th percentile of the time from the kernel's receive stamp to reading, in milliseconds.
    pub receive_lag_p99_ms: Option<f64>,
    /// Datagrams that its sockets dropped for want of buffer space.
    pub socket_drops: u64,
    /// Measured packets that were never sent: the machine was stopped for longer than `lost_after`.
    pub skipped: u64,
    /// Packets that the kernel would not send.
    pub unsent: u64,
    /// CPU of its pacer while the calls were held, in cores: average and busiest second.
    pub pacer_cpu: Option<f64>,
    /// Its busiest second.
    pub pacer_cpu_max: Option<f64>,
    /// CPU of its receiver while the calls were held, in cores.
    pub receiver_cpu: Option<f64>,
    /// Its busiest second.
    pub receiver_cpu_max: Option<f64>,
}
