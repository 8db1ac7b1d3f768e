//! What the built-in service has counted, as far as the run's report shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The service's own word on the run, from its `--metrics-file`; keys that it does not have are at
/// their defaults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceRecord {
    /// Callers that entered the application, and what became of them.
    pub calls: ServiceCalls,
    /// Calls that are over, by how they ended.
    pub outcomes: Vec<ServiceOutcome>,
    /// Requests that repeated an earlier one.
    pub retries: u64,
    /// Stages of a call's set-up, each from the caller's StasisStart.
    pub stages: ServiceStages,
    /// REST operations by name.
    pub operations: BTreeMap<String, RestOperation>,
    /// ARI's events.
    pub events: ServiceEvents,
    /// Packets to the echo server, where one is named.
    pub echo: Option<ServiceEcho>,
    /// Packets of the calls; in the run's files under `service_drops`.
    #[serde(skip_serializing)]
    pub media: ServiceMedia,
}

/// The calls' packets, as far as they bear on the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceMedia {
    /// Datagrams that full socket buffers dropped.
    pub drops: u64,
}

/// Counts of calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceCalls {
    /// Callers that entered the application.
    pub total: u64,
    /// Among them: found waiting there, and not told of by an event.
    pub adopted: u64,
    /// Caller and media have both entered the bridge.
    pub bridged: u64,
    /// Bridged, and over without a single media packet.
    pub silent: u64,
    /// After which something could not be deleted.
    pub left_behind: u64,
    /// Channels and bridges that no call knew of, and that were deleted.
    pub strays: u64,
}

/// How many calls ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceOutcome {
    /// The way, as `completed`, `no_port`, `not_bridged`, `refused`.
    pub outcome: String,
    /// Refused by Asterisk: what.
    pub operation: Option<String>,
    /// Refused by Asterisk: with which HTTP status; none when there was no answer.
    pub status: Option<u16>,
    /// How many.
    pub calls: u64,
}

/// The stages.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceStages {
    /// To the answer's 204.
    pub answered: Milliseconds,
    /// To the media channel's StasisStart.
    pub media_ready: Milliseconds,
    /// To the later ChannelEnteredBridge.
    pub bridged: Milliseconds,
    /// To the first media packet.
    pub first_packet: Milliseconds,
    /// From the call's end to nothing held.
    pub released: Milliseconds,
}

/// One REST operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RestOperation {
    /// From asking to the whole answer.
    pub latency: Milliseconds,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Requests that repeated an earlier one.
    pub retries: u64,
}

/// ARI's events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceEvents {
    /// All that were read.
    pub total: u64,
    /// From Asterisk's time of an event until it was dealt with.
    pub lag: Milliseconds,
    /// Times that the connection was lost.
    pub disconnects: u64,
}

/// Packets to the echo server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceEcho {
    /// Sent there.
    pub relayed: u64,
    /// Not back.
    pub lost: u64,
    /// There and back.
    pub round_trip: Milliseconds,
}

/// A distribution of durations in milliseconds; `None` where there is no sample.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Milliseconds {
    /// Samples.
    pub count: u64,
    /// Median.
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// Largest.
    pub max_ms: Option<f64>,
}
