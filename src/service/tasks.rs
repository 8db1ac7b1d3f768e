//! Requests as tasks: each asks Asterisk something and brings the answer back to the loop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method as HttpMethod;

use super::listing::{CallSnapshot, Listing};
use crate::ari::exchange::Input;
use crate::ari::request::{Method, Operation, Request, media_address};
use crate::clock;
use crate::net::http::{BODY_LIMIT, HttpAnswer, HttpClient, HttpError, Limits};
use crate::stamp::Stamp;

/// From asking to the whole answer. Asterisk answers in milliseconds; one that needs longer than this
/// is not going to.
const REQUEST_LIMITS: Limits = Limits { timeout: Duration::from_secs(5), body: BODY_LIMIT };

/// The result of a task.
pub enum TaskResult {
    Answer {
        caller: Arc<str>,
        serial: u64,
        operation: Operation,
        asked_at: Stamp,
        answered_at: Stamp,
        result: Result<HttpAnswer, HttpError>,
    },
    Listing {
        number: u64,
        known: Vec<CallSnapshot>,
        result: Result<Listing, HttpError>,
    },
    StrayAnswer {
        operation: Operation,
        asked_at: Stamp,
        answered_at: Stamp,
        status: Option<u16>,
    },
}

/// Sends a call's request.
pub fn ask(
    client: Arc<HttpClient>,
    caller: Arc<str>,
    serial: u64,
    request: &Request,
) -> impl Future<Output = TaskResult> + use<> {
    let operation = request.operation();
    let (method, path) = (http_method(request.method()), request.path_and_query());
    async move {
        let asked_at = clock::now();
        let result = client.send(method, &path, REQUEST_LIMITS).await;
        TaskResult::Answer { caller, serial, operation, asked_at, answered_at: clock::now(), result }
    }
}

/// Deletes something of ours that belongs to no call, for the `attempt`th time.
pub fn delete_stray(
    client: Arc<HttpClient>,
    request: &Request,
    attempt: u8,
) -> impl Future<Output = TaskResult> + use<> {
    let operation = request.operation();
    let (method, path) = (http_method(request.method()), request.path_and_query());
    async move {
        let asked_at = clock::now();
        let result = client.send(method, &path, REQUEST_LIMITS).await;
        let answered_at = clock::now();
        let status = result.as_ref().ok().map(|answer| answer.status);
        let failure = match &result {
            Ok(answer) if (200..300).contains(&answer.status) || answer.status == 404 => None,
            Ok(answer) => Some(format!("HTTP status {}", answer.status)),
            Err(error) => Some(error.to_string()),
        };
        match failure {
            // Once for each: the repetitions are counted.
            Some(error) if attempt == 1 => tracing::warn!(error, path, "a stray of ours was not deleted"),
            Some(error) => tracing::debug!(error, path, attempt, "a stray of ours was not deleted"),
            None => {}
        }
        TaskResult::StrayAnswer { operation, asked_at, answered_at, status }
    }
}

/// Lists channels and bridges, for the `number`th time.
pub async fn list(client: Arc<HttpClient>, number: u64, known: Vec<CallSnapshot>) -> TaskResult {
    TaskResult::Listing { number, known, result: Listing::fetch(&client).await }
}

/// The input that the result of a request is to its call.
pub fn input_of(operation: Operation, result: &Result<HttpAnswer, HttpError>) -> Input<'static> {
    match result {
        Ok(answer) => {
            let is_media = operation == Operation::CreateMedia && answer.status < 300;
            let media = if is_media { media_address(&answer.body) } else { None };
            Input::Answer { operation, status: answer.status, media }
        }
        Err(error) => {
            // Counted, and the call that fails by it says so.
            tracing::debug!(%operation, %error, "no answer from Asterisk");
            Input::NoAnswer { operation, sent: error.may_have_been_sent() }
        }
    }
}

fn http_method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::GET,
        Method::Post => HttpMethod::POST,
        Method::Delete => HttpMethod::DELETE,
    }
}
