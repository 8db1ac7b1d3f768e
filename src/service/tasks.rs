//! Requests as tasks: each asks Asterisk something and brings the answer back to the loop.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;

use super::listing::{CallSnapshot, Listing};
use crate::ari::exchange::AriInput;
use crate::ari::request::{AriRequest, Operation, media_peer};
use crate::clock;
use crate::net::http::{BODY_LIMIT, HttpAnswer, HttpClient, HttpError, HttpLimits};
use crate::stamp::Stamp;

/// From asking to the whole answer. Asterisk answers in milliseconds; one that needs longer than this
/// is not going to.
const REQUEST_LIMITS: HttpLimits = HttpLimits { timeout: Duration::from_secs(5), body: BODY_LIMIT };

/// The result of a task.
pub enum TaskResult {
    Answer {
        /// The call's caller and serial; `None` for a deletion of something that belongs to no call.
        call: Option<(Arc<str>, u64)>,
        request: AriRequest,
        asked_at: Stamp,
        answered_at: Stamp,
        result: Result<HttpAnswer, HttpError>,
    },
    Listing {
        number: u64,
        known: Vec<CallSnapshot>,
        result: Result<Listing, HttpError>,
    },
}

/// Sends a request.
pub async fn ask(client: Arc<HttpClient>, call: Option<(Arc<str>, u64)>, request: AriRequest) -> TaskResult {
    let method = if request.operation.deletes() { Method::DELETE } else { Method::POST };
    let asked_at = clock::now();
    let result = client.send(method, &request.path, REQUEST_LIMITS).await;
    TaskResult::Answer { call, request, asked_at, answered_at: clock::now(), result }
}

/// Lists channels and bridges, for the `number`th time.
pub async fn list(client: Arc<HttpClient>, number: u64, known: Vec<CallSnapshot>) -> TaskResult {
    TaskResult::Listing { number, known, result: Listing::fetch(&client).await }
}

/// The input that the result of a request is to its call.
pub fn input_of(operation: Operation, result: &Result<HttpAnswer, HttpError>) -> AriInput<'static> {
    match result {
        Ok(answer) => {
            let is_media = operation == Operation::CreateMedia && answer.status < 300;
            let media = if is_media { media_peer(&answer.body) } else { None };
            AriInput::Answer { operation, status: answer.status, media }
        }
        Err(error) => {
            // Counted, and the call that fails by it says so.
            tracing::debug!(%operation, %error, "no answer from Asterisk");
            AriInput::NoAnswer { operation, sent: !matches!(error, HttpError::NotSent(_)) }
        }
    }
}
