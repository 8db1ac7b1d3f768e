//! GET /health and GET /metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};

use super::reflector::MediaTotals;
use super::stats::ServiceReport;
use crate::clock;

/// A caller who waits longer than this between StasisStart and a working echo is late: this
/// project's own choice, a syllable's length, after which the start of what is said is missed.
pub const LATE_AFTER: Duration = Duration::from_millis(200);

/// What the endpoints show, shared with the loop that fills it in.
#[derive(Debug)]
pub struct Shared {
    report: Mutex<ServiceReport>,
    degraded: Mutex<Option<String>>,
    media: Arc<MediaTotals>,
}

impl Shared {
    /// Healthy, and nothing counted yet.
    pub fn new(media: Arc<MediaTotals>) -> Self {
        Shared { report: Mutex::default(), degraded: Mutex::default(), media }
    }

    /// The counts. Held for moments only, and never while waiting for anything.
    pub fn report(&self) -> MutexGuard<'_, ServiceReport> {
        // Counts are valid at every step: a panic elsewhere does not spoil them.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why the service is not healthy, or, with `None`, that it is.
    pub fn set_degraded(&self, why: Option<String>) {
        *self.degraded.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn degraded(&self) -> Option<String> {
        self.degraded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The body of GET /metrics. A number that there is no sample for is `null`, never 0.
#[derive(Debug, Clone, Serialize)]
pub struct Metrics {
    /// Callers that entered the application so far.
    pub total_channels: u64,
    /// Calls that are not over yet.
    pub active_channels: u64,
    /// Latencies counted: one for each call that was bridged. A latency is the time from a caller's
    /// StasisStart until caller and media are both in the bridge, which is when the echo works.
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
    /// Share of the latencies above `late_after_ms`, 0 to 1.
    pub late_ratio: Option<f64>,
    /// Share of the probes, by the gaps in their numbers, that never came here: lost on the way from
    /// the caller to the service, 0 to 1. `null` when the callers send no probes.
    pub packet_loss_ratio: Option<f64>,
    /// When this was read: milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// What `late_ratio` counts as late, ms.
    pub late_after_ms: u64,
    /// Bridged calls during which no media came at all, of those that are over.
    pub silent_calls: u64,
    /// Media packets received and sent back so far, and dropped by the kernel.
    pub media: Value,
    /// Calls that are over, by how they ended.
    pub outcomes: Vec<Value>,
    /// For each REST operation: answers by status, requests without an answer, p50 and p99 in ms.
    pub operations: Value,
}

impl Metrics {
    /// The metrics as they are now.
    pub fn read(shared: &Shared) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let report = shared.report().clone();
        let latency = &report.stages.bridged;
        let media = &shared.media;
        let outcomes = report.outcomes.iter().map(|(outcome, calls)| {
            let mut value = json!(outcome);
            value["calls"] = json!(calls);
            value
        });
        let operations = report.operations.iter().map(|(operation, stats)| {
            let value = json!({
                "operation": operation,
                "statuses": stats.statuses,
                "unanswered": stats.unanswered,
                "p50_ms": stats.latency.quantile_ms(0.5),
                "p99_ms": stats.latency.quantile_ms(0.99),
            });
            value
        });
        Metrics {
            total_channels: report.calls,
            active_channels: report.active,
            total_latencies: latency.count(),
            p50_latency: latency.quantile_ms(0.50),
            p95_latency: latency.quantile_ms(0.95),
            p99_latency: latency.quantile_ms(0.99),
            max_latency: latency.max_ms(),
            avg_latency: latency.mean_ms(),
            late_ratio: latency.share_above(LATE_AFTER),
            packet_loss_ratio: media.loss_ratio(),
            timestamp: clock::now().as_ns() / 1_000_000,
            late_after_ms: LATE_AFTER.as_millis() as u64,
            silent_calls: report.silent,
            media: json!({
                "received": media.received.load(Relaxed),
                "sent": media.sent.load(Relaxed),
                "socket_drops": media.drops.load(Relaxed),
            }),
            outcomes: outcomes.collect(),
            operations: operations.collect(),
        }
    }
}

/// The endpoints.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/health", get(health)).route("/metrics", get(metrics)).with_state(shared)
}

async fn health(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Value>) {
    match shared.degraded() {
        None => (StatusCode::OK, Json(json!({"status": "healthy"}))),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "degraded", "reason": why}))),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Json<Metrics> {
    Json(Metrics::read(&shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn health_follows_the_state() {
        let shared = Arc::new(Shared::new(Arc::default()));
        let (status, body) = health(State(shared.clone())).await;
        assert_eq!((status, body.0), (StatusCode::OK, json!({"status": "healthy"})));
        shared.set_degraded(Some("no events".into()));
        let (status, body) = health(State(shared)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body.0, json!({"status": "degraded", "reason": "no events"}));
    }

    #[test]
    fn metrics_without_samples_are_null() {
        let shared = Shared::new(Arc::default());
        let value = serde_json::to_value(Metrics::read(&shared)).unwrap();
        for key in ["p50_latency", "p99_latency", "avg_latency", "late_ratio", "packet_loss_ratio"] {
            assert_eq!(value[key], Value::Null, "{key}");
        }
        assert_eq!(value["total_latencies"], 0);
        shared.report().stages.bridged.record(Duration::from_millis(4));
        shared.report().stages.bridged.record(Duration::from_millis(400));
        let value = serde_json::to_value(Metrics::read(&shared)).unwrap();
        assert_eq!((&value["total_latencies"], &value["late_ratio"]), (&json!(2), &json!(0.5)));
    }
}
