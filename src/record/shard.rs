//! Shards of a run that several drivers have made: part of `environment.json`.

use serde::{Deserialize, Serialize};

use super::EndedEarly;

/// The share of a run that one driver has made: in its own folder.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ShareRecord {
    /// Number of the shard, from 0.
    pub index: u32,
    /// Number of shards.
    pub count: u32,
    /// Name of the whole run in calls and probes.
    pub run_id: u32,
    /// Hash of what all shards must have in common.
    pub scenario: String,
    /// Start that all shards were to keep, since the Unix epoch, by this shard's clock.
    pub planned_ns: u64,
    /// Time at which this one was about to place its first call.
    pub started_ns: u64,
    /// Gate over all shards for which the coordinator has ended the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<EndedEarly>,
}

/// One shard in the run that was merged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ShardRecord {
    /// Its number, from 0. Call k of the run is that of shard k mod N.
    pub index: u32,
    /// Its machine; empty of one that never came.
    pub host: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Kernel.
    pub kernel: String,
    /// Attempts that it placed.
    pub attempts: u64,
    /// Packets that it sent in the measured window.
    pub sent: u64,
    /// Its clock less the coordinator's, in milliseconds; absent without a rendezvous.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<f64>,
    /// Error of that at the most: half of the way there and back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_error_ms: Option<f64>,
    /// Milliseconds from the common start to its own, by the coordinator's clock, or without a rendezvous by its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_late_ms: Option<f64>,
    /// 99th percentile of its send lateness in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_lateness_p99_ms: Option<f64>,
    /// Reasons to doubt its driver; none where all is well.
    pub doubts: Vec<String>,
    /// Reason for which it is missing, or not there to the end; empty where it is.
    pub missing: String,
}

impl ShardRecord {
    /// True if the run is whole and certain as far as this shard goes.
    pub fn is_well(&self) -> bool {
        self.doubts.is_empty() && self.missing.is_empty()
    }
}

/// Milliseconds between the first and the last start of the shards; `None` where fewer than two are known.
pub fn start_spread_ms(shards: &[ShardRecord]) -> Option<f64> {
    let starts: Vec<f64> = shards.iter().filter_map(|shard| shard.started_late_ms).collect();
    let (first, last) =
        starts.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), at| (a.min(*at), b.max(*at)));
    (starts.len() > 1).then_some(last - first)
}
