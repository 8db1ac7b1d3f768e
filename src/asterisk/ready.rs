//! Asks a starting Asterisk over HTTP whether ARI answers this user.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::config::Secret;
use crate::net::http::{HttpClient, HttpError, Limits};

/// A ping's answer has 100 bytes; an Asterisk under way to being ready may leave it waiting.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(2), body: 16 * 1024 };

/// A ping without its answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Something is there that does not know the user: not the Asterisk that was started.
    UnknownUser,
    /// Nothing useful came.
    Silent(String),
}

/// One `GET /ari/asterisk/ping`; the error says in words what came instead of 200.
pub(super) async fn ping(addr: SocketAddr, user: &str, password: &Secret) -> Result<(), Refused> {
    let silent = |e: HttpError| Refused::Silent(e.to_string());
    let client =
        HttpClient::new(&format!("http://{addr}"), Some((user, password.expose()))).map_err(silent)?;
    match client.get("/ari/asterisk/ping", LIMITS).await {
        Ok(IgnoredAny) => Ok(()),
        Err(HttpError::Status { status: 401, .. }) => Err(Refused::UnknownUser),
        Err(other) => Err(silent(other)),
    }
}
