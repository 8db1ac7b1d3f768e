//! The built-in service's own record of its calls: counted by it, written by it, kept by the run.
//!
//! The service counts into it. Written, its durations become percentiles in milliseconds, which is what
//! everybody else reads.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Latencies;
use super::histogram::LOWEST_NS;

/// Counts of a service's life, from its `--metrics-file`; absent keys are at their defaults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceRecord {
    /// Callers that entered the application, and what became of them.
    pub calls: ServiceCalls,
    /// Calls that are over, by how they ended.
    pub outcomes: Vec<OutcomeCount>,
    /// Requests that repeated an earlier one, of all operations.
    pub retries: u64,
    /// Stages of a call's set-up, each from the caller's StasisStart.
    pub stages: ServiceStages,
    /// REST operations by name: `answer`, `create_bridge`, `create_media`, `add_channels`, `hang_up`,
    /// `delete_media`, `delete_bridge`.
    pub operations: BTreeMap<String, RestOperation>,
    /// ARI's events.
    pub events: ServiceEvents,
    /// The pool of media ports.
    pub ports: ServicePorts,
    /// Datagrams of all calls that are over.
    pub media: ServiceMedia,
    /// Packets to the echo server and back; `null` without one.
    pub echo: Option<ServiceEcho>,
    /// Connections of the calls' media over AudioSocket and WebSocket, and of bots; `null` of an echo over RTP.
    pub links: Option<ServiceLinks>,
    /// Turns of a service that talks, by its own word, of calls that are over; `null` for one that echoes.
    pub talk: Option<ServiceTalk>,
}

/// Calls by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceCalls {
    /// Callers that entered the application.
    pub total: u64,
    /// Among them: found waiting there, and not announced by an event.
    pub adopted: u64,
    /// Not over yet.
    pub active: u64,
    /// Caller and media have both entered the bridge.
    pub bridged: u64,
    /// Bridged, and over without a single media packet.
    pub silent: u64,
    /// Ignored because there were far too many.
    pub unheeded: u64,
    /// After which something could not be deleted.
    pub left_behind: u64,
    /// Channels and bridges that no call knew of, and that were deleted.
    pub strays: u64,
}

/// Number of calls that ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct OutcomeCount {
    /// The way, as `completed`, `no_port`, `not_bridged`, `refused`.
    pub outcome: String,
    /// Refused by Asterisk: what.
    pub operation: Option<String>,
    /// Refused by Asterisk: with which HTTP status; none when there was no answer.
    pub status: Option<u16>,
    /// Number of calls.
    pub calls: u64,
}

/// Stages of calls.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceStages {
    /// To the answer's 204.
    pub answered: Durations,
    /// To the media channel's StasisStart.
    pub media_ready: Durations,
    /// To the later ChannelEnteredBridge.
    pub bridged: Durations,
    /// To the kernel's stamp of the first media packet.
    pub first_packet: Durations,
    /// From the call's end to nothing held.
    pub released: Durations,
}

/// One REST operation over all calls.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RestOperation {
    /// From asking to the whole answer, of requests that were answered.
    pub latency: Durations,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Requests that repeated an earlier one.
    pub retries: u64,
}

/// Events of ARI's WebSocket.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceEvents {
    /// All that were read.
    pub total: u64,
    /// The same by their type; `Other` are those that no call depends on.
    pub by_type: BTreeMap<String, u64>,
    /// From Asterisk's time of an event, cut to milliseconds, until it was dealt with. It needs a shared
    /// clock, and is up to 1 ms too long.
    pub lag: Durations,
    /// Events whose time is later than their reading, left out of `lag`: the clocks differ.
    pub ahead: u64,
    /// Messages that were no events.
    pub malformed: u64,
    /// Starts of channels that had hung up already (the dialplan's extension `h`), which are no calls.
    pub hung_up_starts: u64,
    /// Times that the connection was lost.
    pub disconnects: u64,
}

/// The pool of media ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServicePorts {
    /// Ports that calls hold.
    pub in_use: u64,
    /// Ports that can be taken.
    pub free: u64,
    /// Ports that other programs held when they were last tried.
    pub held_by_others: u64,
    /// Calls that were turned away because there was no port.
    pub refused: u64,
}

/// Datagrams of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceMedia {
    /// From Asterisk.
    pub received: u64,
    /// Sent back to Asterisk.
    pub sent: u64,
    /// Probes that never came here, by the gaps in their numbers.
    pub lost: u64,
    /// Dropped by full socket buffers.
    pub drops: u64,
    /// Neither RTP nor sent anywhere.
    pub not_rtp: u64,
    /// From anybody else, or from before the peer was known.
    pub strangers: u64,
    /// Sends that failed.
    pub send_errors: u64,
}

/// Packets to the echo server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceEcho {
    /// Sent there.
    pub relayed: u64,
    /// Back from there.
    pub returned: u64,
    /// Not back when 256 later ones were sent, or when the call ended.
    pub lost: u64,
    /// From just before the send call to the kernel's receive stamp.
    pub round_trip: Durations,
}

/// Connections of calls whose media go over AudioSocket or WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceLinks {
    /// That have carried a call's media.
    pub connected: u64,
    /// That could not be opened.
    pub failed: u64,
    /// That ended under a call, or carried something unreadable.
    pub broken: u64,
    /// That Asterisk has not read from for two seconds.
    pub stalled: u64,
    /// Closed because they named no call.
    pub strangers: u64,
    /// Frames of silence with which AudioSocket is kept going.
    pub silence: u64,
    /// Most frames of 20 ms that waited in Asterisk for one call, by its own word (WebSocket).
    pub queue_max: u64,
    /// Times that Asterisk asked to send no more for now (WebSocket, MEDIA_XOFF).
    pub xoff: u64,
}

/// Turns by the word of the bot that took them: the truth that a measurement has to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ServiceTalk {
    /// Turns of callers.
    pub heard: u64,
    /// Among them: answered.
    pub answered: u64,
    /// Among them: left without an answer, as set.
    pub kept_silent: u64,
    /// Times that it fell silent for a caller who spoke over it.
    pub yielded: u64,
    /// Times that a caller spoke over it and it spoke on.
    pub talked_through: u64,
    /// Callers who spoke on before the answer was due.
    pub resumed: u64,
    /// Digits heard.
    pub digits: u64,
}

impl ServiceEcho {
    /// The share of the packets that did not come back, those under way left out; `None` without any.
    pub fn loss_ratio(&self) -> Option<f64> {
        let decided = self.returned + self.lost;
        (decided > 0).then(|| self.lost as f64 / decided as f64)
    }
}

/// A distribution of durations in milliseconds; `None` where there is no sample.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Milliseconds {
    /// Samples, those above 60 s included.
    pub count: u64,
    /// Samples above 60 s, which the others leave out.
    pub above: u64,
    /// Mean.
    pub mean_ms: Option<f64>,
    /// Median.
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// Largest.
    pub max_ms: Option<f64>,
}

/// A distribution of durations, in files its percentiles in milliseconds; `None` where there is no sample.
/// Counted here, 1 µs to 60 s, it has their exact sum as well; read from a file, the percentiles alone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Milliseconds"))]
#[serde(from = "Milliseconds", into = "Milliseconds")]
pub struct Durations {
    /// Made when the first one is counted: a file may hold very many distributions.
    latencies: Option<Box<Latencies>>,
    sum: Duration,
    read: Milliseconds,
}

impl From<Milliseconds> for Durations {
    fn from(read: Milliseconds) -> Durations {
        Durations { read, ..Default::default() }
    }
}

impl From<Durations> for Milliseconds {
    fn from(durations: Durations) -> Milliseconds {
        durations.milliseconds()
    }
}

impl PartialEq for Durations {
    fn eq(&self, other: &Durations) -> bool {
        self.milliseconds() == other.milliseconds()
    }
}

impl Durations {
    /// Counts one duration; below 1 µs it counts as 1 µs.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.get_or_insert_default().record(ns.max(LOWEST_NS));
        self.sum = self.sum.saturating_add(duration);
    }

    /// Takes over what another has counted, which is empty then and keeps its memory.
    pub fn take_over(&mut self, other: &mut Durations) {
        if let Some(latencies) = &mut other.latencies {
            self.latencies.get_or_insert_default().extend(latencies.counts());
            latencies.reset();
        }
        self.sum = self.sum.saturating_add(std::mem::take(&mut other.sum));
    }

    /// Number of durations, those above 60 s included.
    pub fn count(&self) -> u64 {
        self.read.count + self.latencies.as_ref().map_or(0, |latencies| latencies.len())
    }

    /// Number of durations up to `limit`.
    pub fn count_within(&self, limit: Duration) -> u64 {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.as_ref().map_or(0, |latencies| latencies.histogram().count_between(0, limit))
    }

    /// The share of durations longer than `limit`; `None` without any.
    pub fn share_above(&self, limit: Duration) -> Option<f64> {
        let above = self.count() - self.count_within(limit);
        (self.count() > 0).then(|| above as f64 / self.count() as f64)
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Its percentiles.
    pub fn milliseconds(&self) -> Milliseconds {
        let Some(latencies) = self.latencies.as_ref().filter(|latencies| !latencies.is_empty()) else {
            return self.read;
        };
        let ms = |ns: u64| ns as f64 / 1e6;
        let histogram = latencies.histogram();
        let quantile = |q| (!histogram.is_empty()).then(|| ms(histogram.value_at_quantile(q)));
        Milliseconds {
            count: self.count(),
            above: latencies.above(),
            mean_ms: latencies.mean().map(|ns| ns / 1e6),
            p50_ms: quantile(0.50),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            max_ms: latencies.max().map(ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_hide_nothing() {
        let mut d = Durations::default();
        assert_eq!((d.milliseconds(), d.share_above(Duration::ZERO)), (Milliseconds::default(), None));
        for ms in [1, 2, 3, 70_000] {
            d.record(Duration::from_millis(ms));
        }
        let ms = d.milliseconds();
        assert_eq!((d.count(), ms.count, ms.above), (4, 4, 1));
        assert_eq!(d.share_above(Duration::from_millis(2)), Some(0.5));
        assert!((ms.p50_ms.unwrap() - 2.0).abs() < 0.01 && (ms.max_ms.unwrap() - 3.0).abs() < 0.01);
        assert_eq!((d.sum(), d.count_within(Duration::from_millis(1))), (Duration::from_millis(70_006), 1));
        let mut sum = d.clone();
        sum.take_over(&mut d);
        assert_eq!((sum.milliseconds().count, sum.milliseconds().above), (8, 2));
        assert_eq!(sum.sum(), Duration::from_millis(140_012));
        assert_eq!((d.count(), d.sum()), (0, Duration::ZERO));
    }

    #[test]
    fn durations_are_written_as_the_percentiles_that_are_read() {
        let mut counted = ServiceRecord::default();
        counted.stages.bridged.record(Duration::from_millis(4));
        counted.events.by_type.insert("StasisStart".into(), 7);
        counted.operations.entry("answer".into()).or_default().statuses.insert(204, 1);
        counted.echo = Some(ServiceEcho { relayed: 3, ..Default::default() });
        let written = serde_json::to_value(&counted).unwrap();
        let read: ServiceRecord = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read.stages.bridged.milliseconds(), counted.stages.bridged.milliseconds());
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
        assert!(written["stages"]["answered"]["p50_ms"].is_null());
        assert_eq!(written["operations"]["answer"]["statuses"]["204"], 1);
    }
}
