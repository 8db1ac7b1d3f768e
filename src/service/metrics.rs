//! The body of GET /metrics as JSON, and the moment that every form of the metrics is made from.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::media::MediaCounts;
use super::stats::Counts;
use crate::record::Durations;
use crate::stamp::Stamp;

/// A caller who waits longer than this between StasisStart and a working echo is late: this
/// project's own choice, a syllable's length, after which the start of what is said is missed.
pub const SETUP_LATE_AFTER: Duration = Duration::from_millis(200);

/// A packet that takes longer than this to the echo server and back is late: a common playout
/// buffer's depth, as the scenario's `late_after`.
pub const ECHO_LATE_AFTER: Duration = Duration::from_millis(60);

/// Everything that there is to show, at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its time.
    pub at: Stamp,
    /// The reason for being degraded; `None` for a healthy service.
    pub degraded: Option<String>,
    /// Counts of the loop, with the echo's.
    pub record: Counts,
    /// Counts of the media thread, calls under way included.
    pub media: MediaCounts,
}

/// The body of GET /metrics as JSON: these keys and no others. A number that there is no sample for
/// is `null`, never 0.
///
/// With an echo server a *latency* is one packet's way to it and back: from just before the send call
/// to the kernel's receive stamp. Without one it is one call's set-up: from the caller's StasisStart
/// until caller and media are both in the bridge, which is when the echo works.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceMetrics {
    /// Callers that entered the application so far.
    pub total_channels: u64,
    /// Calls that are not over yet.
    pub active_channels: u64,
    /// Latencies counted.
    pub total_latencies: u64,
    /// Median latency, ms.
    pub p50_latency: Option<f64>,
    /// 95th percentile, ms.
    pub p95_latency: Option<f64>,
    /// 99th percentile, ms.
    pub p99_latency: Option<f64>,
    /// Longest latency, ms.
    pub max_latency: Option<f64>,
    /// Mean latency, ms.
    pub avg_latency: Option<f64>,
    /// Share of the latencies above [`ECHO_LATE_AFTER`] with an echo server, above
    /// [`SETUP_LATE_AFTER`] without, 0 to 1.
    pub late_ratio: Option<f64>,
    /// With an echo server: share of the packets sent there that did not come back, 0 to 1; those
    /// under way are not decided and not counted. Without: share of the callers' probes, by the gaps
    /// in their numbers, that never came here; `null` when the callers send no probes.
    pub packet_loss_ratio: Option<f64>,
    /// Time of the reading, as in `2026-11-26T06:51:54.966002+00:00` (RFC 3339, microseconds, UTC with its offset).
    pub timestamp: String,
}

impl ServiceMetrics {
    /// The metrics at that moment.
    pub fn of(now: &Snapshot) -> Self {
        let (latency, late_after, loss): (&Durations, _, _) = match &now.record.echo {
            Some(echo) => (&echo.round_trip, ECHO_LATE_AFTER, echo.loss_ratio()),
            None => (&now.record.stages.bridged, SETUP_LATE_AFTER, now.media.loss_ratio()),
        };
        let ms = latency.milliseconds();
        ServiceMetrics {
            total_channels: now.record.calls.total,
            active_channels: now.record.calls.active,
            total_latencies: ms.count,
            p50_latency: ms.p50_ms,
            p95_latency: ms.p95_ms,
            p99_latency: ms.p99_ms,
            max_latency: ms.max_ms,
            avg_latency: ms.mean_ms,
            late_ratio: latency.share_above(late_after),
            packet_loss_ratio: loss,
            timestamp: rfc3339(now.at),
        }
    }
}

/// RFC 3339 to the microsecond, with the offset in figures.
fn rfc3339(at: Stamp) -> String {
    let time = UNIX_EPOCH + Duration::from_nanos(at.as_ns());
    humantime::format_rfc3339_micros(time).to_string().replace('Z', "+00:00")
}

/// The file of `--metrics-file`.
#[derive(Debug, Serialize)]
pub struct MetricsFile {
    /// The answer that GET /metrics would give at the same moment.
    pub metrics: ServiceMetrics,
    /// Everything counted.
    #[serde(flatten)]
    pub record: Counts,
}

impl MetricsFile {
    /// The file's content at that moment.
    pub fn of(now: Snapshot) -> Self {
        MetricsFile { metrics: ServiceMetrics::of(&now), record: now.record }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::relay::RelayCounts;
    use super::*;
    use serde_json::{Value, json};

    /// A service that has done nothing yet.
    pub fn nothing() -> Snapshot {
        Snapshot { at: Stamp::ZERO, degraded: None, record: Default::default(), media: Default::default() }
    }

    const KEYS: [&str; 11] = [
        "total_channels",
        "active_channels",
        "total_latencies",
        "p50_latency",
        "p95_latency",
        "p99_latency",
        "max_latency",
        "avg_latency",
        "late_ratio",
        "packet_loss_ratio",
        "timestamp",
    ];

    #[test]
    fn the_keys_are_these_and_no_others_and_null_without_samples() {
        let mut now = nothing();
        let value = serde_json::to_value(ServiceMetrics::of(&now)).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().collect();
        let mut expected = KEYS;
        expected.sort_unstable();
        assert_eq!(keys, expected);
        for key in ["p50_latency", "p99_latency", "avg_latency", "late_ratio", "packet_loss_ratio"] {
            assert_eq!(value[key], Value::Null, "{key}");
        }
        assert_eq!(value["total_latencies"], 0);
        assert_eq!(value["timestamp"], "1970-01-01T00:00:00.000000+00:00");
        for ms in [4, 400] {
            now.record.stages.bridged.record(Duration::from_millis(ms));
        }
        let value = serde_json::to_value(ServiceMetrics::of(&now)).unwrap();
        assert_eq!((&value["total_latencies"], &value["late_ratio"]), (&json!(2), &json!(0.5)));
    }

    #[test]
    fn with_an_echo_server_latencies_are_its_round_trips() {
        let mut now = nothing();
        now.record.stages.bridged.record(Duration::from_millis(4));
        let mut echo = RelayCounts { relayed: 5, returned: 3, lost: 1, ..Default::default() };
        for ms in [1, 2, 100] {
            echo.round_trip.record(Duration::from_millis(ms));
        }
        now.record.echo = Some(echo);
        let metrics = ServiceMetrics::of(&now);
        assert_eq!((metrics.total_latencies, metrics.packet_loss_ratio), (3, Some(0.25)));
        assert_eq!(metrics.late_ratio, Some(1.0 / 3.0));
        assert!((metrics.max_latency.unwrap() - 100.0).abs() < 0.1);
    }
}
