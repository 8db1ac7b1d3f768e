//! An HTTP/1.1 client for one server: pooled connections, Basic authentication, bounded answers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::values::cut;

/// Idle connections are closed before the server does it: Asterisk's session_keep_alive is 15 s, and
/// a request on a connection that the server is just closing is lost.
const IDLE_BELOW: Duration = Duration::from_secs(10);

/// Requests under way at once, each on a connection of its own; more wait for their turn. Asterisk's
/// sessionlimit is 100 unless configured, WebSockets included, and it closes what goes beyond
/// without an answer.
const MOST_AT_ONCE: usize = 64;

/// Bytes of the reason for which an answer was not understood.
const REASON_MAX: usize = 200;

/// The usual bound of an answer's body.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// A server and how to speak to it. Clones share their connections; requests run side by side.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client<HttpConnector, Empty<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
    turns: Arc<Semaphore>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Bounds of a request.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// From asking to the body's end, the wait for a turn included.
    pub timeout: Duration,
    /// Most bytes of the body.
    pub body: usize,
}

/// A request without the answer that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server has not seen the request: it cannot be said in HTTP, or there was no connection.
    #[error("{0}")]
    NotSent(String),
    /// No whole answer came in time, or none that was understood.
    #[error("{0}")]
    NoAnswer(String),
    /// [`HttpClient::get`] was answered with another status than 200.
    #[error("GET {path} was answered with HTTP status {status}")]
    Status {
        /// The path and query.
        path: String,
        /// The status.
        status: u16,
    },
}

impl From<hyper::http::Error> for HttpError {
    fn from(error: hyper::http::Error) -> HttpError {
        HttpError::NotSent(format!("cannot be said in HTTP: {error}"))
    }
}

impl HttpClient {
    /// A client for the server at `base` (`http://host:port`, with a path that goes before every
    /// request's). Connects when it is first asked.
    ///
    /// # Errors
    /// For an address of another form, also for `https`, which is not spoken here.
    pub fn new(base: &str, credentials: Option<(&str, &str)>) -> Result<Self, HttpError> {
        let bad = || HttpError::NotSent(format!("`{base}` is not an address of the form http://HOST:PORT"));
        let base = base.trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() || uri.query().is_some() {
            return Err(bad());
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_BELOW)
            .pool_max_idle_per_host(MOST_AT_ONCE)
            .build(connector);
        let authorization = credentials.map(|(user, password)| basic_auth(user, password)).transpose()?;
        let turns = Arc::new(Semaphore::new(MOST_AT_ONCE));
        Ok(HttpClient { client, base: base.to_string(), authorization, turns })
    }

    /// Sends a request without a body and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`HttpError`]; after [`HttpError::NotSent`] another attempt is no repetition.
    pub async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        limits: HttpLimits,
    ) -> Result<HttpAnswer, HttpError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path_and_query}", self.base));
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Empty::new())?;
        tokio::time::timeout(limits.timeout, self.exchange(request, limits.body))
            .await
            .unwrap_or_else(|_| Err(HttpError::NoAnswer(format!("no answer within {:?}", limits.timeout))))
    }

    /// Asks for `path` and reads the JSON of an answer with status 200.
    ///
    /// # Errors
    /// [`HttpError`], also for any other status.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, limits: HttpLimits) -> Result<T, HttpError> {
        let HttpAnswer { status, body } = self.send(Method::GET, path, limits).await?;
        if status != 200 {
            return Err(HttpError::Status { path: path.to_string(), status });
        }
        serde_json::from_slice(&body).map_err(|reason| {
            // It may quote the whole answer.
            let reason = cut(&reason.to_string(), REASON_MAX);
            HttpError::NoAnswer(format!("the answer to GET {path} was not understood: {reason}"))
        })
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>, limit: usize) -> Result<HttpAnswer, HttpError> {
        // Invariant: the semaphore is never closed; were it, going without a turn would do no harm.
        let _turn = self.turns.acquire().await.ok();
        let answer = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                HttpError::NotSent(format!("cannot connect to {}: {}", self.base, innermost(&error)))
            } else {
                broken(&error)
            }
        })?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                HttpError::NoAnswer(format!("an answer of more than {limit} bytes"))
            } else {
                broken(&*error)
            }
        })?;
        Ok(HttpAnswer { status, body: body.to_bytes() })
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> HttpError {
    HttpError::NoAnswer(format!("the connection broke: {}", innermost(error)))
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

/// The value of an Authorization header for Basic authentication (RFC 7617), marked as sensitive.
///
/// # Errors
/// Never in practice: Base64 is always a valid header value.
pub fn basic_auth(user: &str, password: &str) -> Result<HeaderValue, hyper::http::Error> {
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const QUICK: HttpLimits = HttpLimits { timeout: Duration::from_secs(5), body: 1000 };

    /// The head of one request.
    async fn read_head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                break;
            }
            head.push(byte[0]);
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Serves connections one after the other, with one answer per request, and returns the heads
    /// with the number of the connection that each came on.
    async fn serve(listener: TcpListener, answers: Vec<&'static str>) -> Vec<(usize, String)> {
        let mut heads = Vec::new();
        let mut answers = answers.into_iter();
        for connection in 0.. {
            if answers.len() == 0 {
                break;
            }
            let (mut stream, _) = listener.accept().await.unwrap();
            loop {
                let head = read_head(&mut stream).await;
                let Some(answer) = answers.next().filter(|_| !head.is_empty()) else { break };
                heads.push((connection, head));
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains("Connection: close") || answers.len() == 0 {
                    break;
                }
            }
        }
        heads
    }

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/ari/", listener.local_addr().unwrap());
        (listener, base)
    }

    #[tokio::test]
    async fn requests_share_a_connection_and_carry_the_credentials() {
        let (listener, base) = listener().await;
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let server = tokio::spawn(serve(listener, vec![ok, "HTTP/1.1 204 No Content\r\n\r\n"]));
        let client = HttpClient::new(&base, Some(("user", "päss"))).unwrap();
        let first = client.send(Method::GET, "/a?b=c", QUICK).await.unwrap();
        assert_eq!((first.status, &first.body[..]), (200, &b"hi"[..]));
        assert_eq!(client.send(Method::DELETE, "/d", QUICK).await.unwrap().status, 204);
        let heads = server.await.unwrap();
        assert_eq!((heads[0].0, heads[1].0), (0, 0));
        assert!(heads[0].1.starts_with("GET /ari/a?b=c HTTP/1.1\r\n"), "{}", heads[0].1);
        assert!(heads[1].1.contains("authorization: Basic dXNlcjpww6Rzcw==\r\n"), "{}", heads[1].1);
    }

    #[tokio::test]
    async fn every_failure_has_its_name() {
        let (silent, base) = listener().await;
        let client = HttpClient::new(&base, None).unwrap();
        let hurry = HttpLimits { timeout: Duration::from_millis(50), ..QUICK };
        let error = client.send(Method::GET, "/", hurry).await.unwrap_err();
        assert!(matches!(error, HttpError::NoAnswer(_)), "{error}");
        assert_eq!(error.to_string(), "no answer within 50ms");
        drop(silent);
        let error = client.send(Method::GET, "/", QUICK).await.unwrap_err();
        assert!(matches!(error, HttpError::NotSent(_)), "{error}");
        assert!(error.to_string().starts_with("cannot connect to http://127.0.0.1:"), "{error}");

        let (noisy, base) = listener().await;
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\nConnection: close\r\n\r\n";
        tokio::spawn(serve(noisy, vec![long, "SSH-2.0-OpenSSH\r\n\r\nConnection: close"]));
        let client = HttpClient::new(&base, None).unwrap();
        let error = client.send(Method::GET, "/", QUICK).await.unwrap_err();
        let said = error.to_string();
        assert!(
            said == "an answer of more than 1000 bytes" || said.starts_with("the connection broke"),
            "{said}"
        );
        let error = client.send(Method::GET, "/", QUICK).await.unwrap_err();
        assert!(error.to_string().starts_with("the connection broke: "), "{error}");
    }

    #[tokio::test]
    async fn get_reads_the_json_of_status_200_alone() {
        let (listener, base) = listener().await;
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]";
        let no = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n[1]";
        tokio::spawn(serve(listener, vec![ok, ok, no]));
        let client = HttpClient::new(&base, None).unwrap();
        assert_eq!(client.get::<[u8; 1]>("/a", QUICK).await.unwrap(), [1]);
        let error = client.get::<String>("/a", QUICK).await.unwrap_err();
        assert!(error.to_string().contains("GET /a was not understood"), "{error}");
        let error = client.get::<[u8; 1]>("/a?b=c", QUICK).await.unwrap_err();
        assert_eq!(error.to_string(), "GET /a?b=c was answered with HTTP status 404");
    }

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for bad in ["", "127.0.0.1:8088", "https://localhost:8088", "http://", "http://h/?q=1"] {
            assert!(matches!(HttpClient::new(bad, None), Err(HttpError::NotSent(_))), "{bad}");
        }
        assert!(HttpClient::new("http://[::1]:8088", None).is_ok());
    }
}
