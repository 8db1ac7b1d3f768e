//! GET /health and GET /metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::media::MediaTotals;
use super::metrics::{ServiceMetrics, Snapshot};
use super::openmetrics;
use super::stats::Counts;
use crate::clock;
use crate::openmetrics::Form;
use crate::record::ServiceCalls;

/// Counts and health, shared between the loop that fills them in and the endpoints that show them.
#[derive(Debug)]
pub struct SharedCounts {
    record: Mutex<Counts>,
    degraded: Mutex<Option<String>>,
    media: Arc<MediaTotals>,
}

impl SharedCounts {
    /// Healthy, and nothing counted yet.
    pub fn new(media: Arc<MediaTotals>) -> Self {
        SharedCounts { record: Mutex::default(), degraded: Mutex::default(), media }
    }

    /// The counts. Held for moments only, and never while waiting for anything.
    pub fn record(&self) -> MutexGuard<'_, Counts> {
        // Counts are valid at every step: a panic elsewhere does not spoil them.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why the service is not healthy, or, with `None`, that it is.
    pub fn set_degraded(&self, why: Option<String>) {
        *self.degraded.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Everything as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: clock::now(),
            degraded: self.degraded(),
            record: Counts {
                echo: self.media.echo(),
                links: self.media.links_now(),
                talk: self.media.talked_now(),
                ..self.record().clone()
            },
            media: self.media.now(),
        }
    }

    /// Counts from zero. Calls that are under way and the port pool keep their state.
    pub fn reset(&self) {
        let mut record = self.record();
        let calls = ServiceCalls { active: record.calls.active, ..Default::default() };
        *record = Counts { calls, ports: record.ports, ..Default::default() };
        self.media.reset();
    }

    fn degraded(&self) -> Option<String> {
        self.degraded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The endpoints.
pub fn router(shared: Arc<SharedCounts>) -> Router {
    Router::new().route("/health", get(health)).route("/metrics", get(metrics)).with_state(shared)
}

async fn health(State(shared): State<Arc<SharedCounts>>) -> (StatusCode, Json<Value>) {
    match shared.degraded() {
        None => (StatusCode::OK, Json(json!({"status": "healthy"}))),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "degraded", "reason": why}))),
    }
}

/// JSON, unless OpenMetrics text, or Prometheus' older one, is what the client likes better.
async fn metrics(State(shared): State<Arc<SharedCounts>>, headers: HeaderMap) -> Response {
    let now = shared.snapshot();
    // A list may be spread over several headers (RFC 9110 section 5.3).
    let accepted: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let body = match Form::preferred(&accepted.join(",")) {
        form @ Form::OpenMetrics => {
            ([(CONTENT_TYPE, form.content_type())], openmetrics::text(&now)).into_response()
        }
        form @ Form::Plain => {
            ([(CONTENT_TYPE, form.content_type())], openmetrics::plain_text(&now)).into_response()
        }
        Form::Json => Json(ServiceMetrics::of(&now)).into_response(),
    };
    ([(VARY, "Accept")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn health_follows_the_state() {
        let shared = Arc::new(SharedCounts::new(Arc::default()));
        let (status, body) = health(State(shared.clone())).await;
        assert_eq!((status, body.0), (StatusCode::OK, json!({"status": "healthy"})));
        shared.set_degraded(Some("no events".into()));
        let (status, body) = health(State(shared)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body.0, json!({"status": "degraded", "reason": "no events"}));
    }
}
