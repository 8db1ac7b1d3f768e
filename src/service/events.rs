//! The event connection: ARI's WebSocket, kept open.
//!
//! The read loop stamps, parses and forwards; whatever an event leads to happens elsewhere.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::ari::event::{Event, EventError, MAX_EVENT_LEN};
use crate::ari::request::encoded;
use crate::clock;
use crate::net::http::basic_auth;
use crate::stamp::Stamp;

/// From connecting to the end of the handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A connection on which nothing has been heard for one of these is pinged; for two, it is given up.
const QUIET_LIMIT: Duration = Duration::from_secs(5);
/// The same for connecting again: an Asterisk that is just starting may take a connection and forget it.
const RECONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Longest pause before the first attempt to connect again; it doubles with every attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest while nobody is there: callers are refused until it is over, and one small request a second burdens
/// nobody.
const LONGEST_ABSENT: Duration = Duration::from_secs(1);
/// The longest where somebody is there who refuses the connection, or takes it and breaks it.
const LONGEST_REFUSED: Duration = Duration::from_secs(10);
/// A connection that has lasted so long was a good one.
const SETTLED: Duration = Duration::from_secs(10);

/// Pauses between attempts to connect: each is up to twice as long as the one before.
#[derive(Debug)]
struct Backoff {
    pause: Duration,
}

impl Backoff {
    fn new() -> Backoff {
        Backoff { pause: FIRST_PAUSE }
    }

    /// The next pause, between half of its grown length and all of it, as `unit` (0 to 1) says.
    fn next(&mut self, longest: Duration, unit: f64) -> Duration {
        let pause = self.pause.min(longest);
        self.pause = (pause * 2).min(longest);
        jittered(pause, unit)
    }
}

/// Between half of a pause and all of it, as `unit` (0 to 1) says, so that many do not come back at once.
pub(super) fn jittered(pause: Duration, unit: f64) -> Duration {
    pause / 2 + pause.mul_f64(unit / 2.0)
}

/// A message of the event connection.
#[derive(Debug)]
pub enum EventMessage {
    /// An event.
    Event {
        /// Time of its reading.
        at: Stamp,
        /// Time of its making, by Asterisk's clock.
        made_at: Option<Stamp>,
        /// The event itself.
        event: Event,
    },
    /// A message that is no event.
    Malformed(EventError),
    /// The connection was lost; connecting again has begun.
    Disconnected(String),
    /// It was lost for the first reason, and connecting again has failed for the second.
    StillDisconnected(String, ConnectError),
    /// The connection is there again. Events in between are lost.
    Reconnected,
}

/// The address of the events, and the account.
#[derive(Debug, Clone)]
pub struct EventSource {
    url: String,
    authorization: HeaderValue,
}

/// An event connection that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server answered the handshake with this status.
    #[error("HTTP status {0}")]
    Status(u16),
    /// Nobody answered, or not as a WebSocket server does, or the request cannot be put into words.
    #[error("{0}")]
    Unreachable(String),
}

type EventSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An open event connection.
pub struct EventConnection {
    source: EventSource,
    socket: EventSocket,
}

impl EventSource {
    /// The events of application `app` at `ari_url` (`http://host:port`).
    ///
    /// # Errors
    /// For an address or credentials that HTTP does not allow.
    pub fn new(ari_url: &str, user: &str, password: &str, app: &str) -> Result<Self, ConnectError> {
        let bad =
            |why: &dyn std::fmt::Display| ConnectError::Unreachable(format!("cannot be asked for: {why}"));
        let rest = ari_url.strip_prefix("http://").ok_or_else(|| bad(&"not an http:// address"))?;
        let url = format!("ws://{}/ari/events?app={}", rest.trim_end_matches('/'), encoded(app));
        let authorization = basic_auth(user, password).map_err(|error| bad(&error))?;
        Ok(EventSource { url, authorization })
    }

    /// Connects once.
    ///
    /// # Errors
    /// [`ConnectError`]; a status of 401 means wrong credentials.
    pub async fn connect(self) -> Result<EventConnection, ConnectError> {
        let socket = self.open(CONNECT_LIMIT).await?;
        Ok(EventConnection { source: self, socket })
    }

    async fn open(&self, limit: Duration) -> Result<EventSocket, ConnectError> {
        let unreachable = |error: WsError| ConnectError::Unreachable(error.to_string());
        let mut request = self.url.as_str().into_client_request().map_err(unreachable)?;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_EVENT_LEN))
            // Pongs to a server that does not read would pile up.
            .max_write_buffer_size(MAX_EVENT_LEN)
            .max_frame_size(Some(MAX_EVENT_LEN));
        let connecting = connect_async_with_config(request, Some(config), true);
        match tokio::time::timeout(limit, connecting).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(WsError::Http(answer))) => Err(ConnectError::Status(answer.status().as_u16())),
            Ok(Err(error)) => Err(unreachable(error)),
            Err(_) => Err(ConnectError::Unreachable(format!("no answer within {limit:?}"))),
        }
    }
}

impl EventConnection {
    /// Forwards events for as long as anybody takes them, connecting again when the connection is
    /// lost. Ends by itself only when another client has taken the application over: connecting
    /// again would take it back, and the two would never stop.
    pub async fn forward(self, to: Sender<EventMessage>) {
        let EventConnection { source, mut socket } = self;
        let mut backoff = Backoff::new();
        loop {
            let opened_at = clock::now();
            let lost = tokio::select! {
                lost = read(&mut socket, &to) => lost,
                () = to.closed() => None,
            };
            let Some(reason) = lost else {
                // Asterisk warns of a connection that ends without this; more is not expected of it.
                let _ = socket.close(None).await;
                return;
            };
            // The old connection is dropped first: Asterisk would otherwise replace it by the new one.
            drop(socket);
            if to.send(EventMessage::Disconnected(reason.clone())).await.is_err() {
                return;
            }
            if clock::now().since(opened_at) >= SETTLED {
                backoff = Backoff::new();
            }
            let Some(again) = reconnect(&source, &to, &reason, &mut backoff).await else { return };
            socket = again;
            if to.send(EventMessage::Reconnected).await.is_err() {
                return;
            }
        }
    }
}

/// Reads until the connection is lost, and says why; `None` when there is to be no other.
async fn read(socket: &mut EventSocket, to: &Sender<EventMessage>) -> Option<String> {
    let mut pinged = false;
    loop {
        let message = match tokio::time::timeout(QUIET_LIMIT, socket.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Some(error.to_string()),
            Ok(None) => return Some("Asterisk closed it".to_string()),
            Err(_) if pinged => return Some(format!("nothing heard for {:?}", 2 * QUIET_LIMIT)),
            Err(_) => {
                pinged = true;
                if let Err(error) = socket.send(Message::Ping(Default::default())).await {
                    return Some(error.to_string());
                }
                continue;
            }
        };
        let at = clock::now();
        pinged = false;
        let Message::Text(text) = message else { continue };
        tracing::trace!(%text, "event");
        let incoming = match Event::parse_dated(&text) {
            Ok((event, made_at)) => EventMessage::Event { at, made_at, event },
            Err(error) => EventMessage::Malformed(error),
        };
        let replaced = matches!(incoming, EventMessage::Event { event: Event::ApplicationReplaced, .. });
        if to.send(incoming).await.is_err() || replaced {
            return None;
        }
    }
}

async fn reconnect(
    source: &EventSource,
    to: &Sender<EventMessage>,
    lost: &str,
    backoff: &mut Backoff,
) -> Option<EventSocket> {
    let mut said = Vec::new();
    // Whoever has broken the connection may be there.
    let mut longest = LONGEST_REFUSED;
    loop {
        tokio::time::sleep(backoff.next(longest, rand::random())).await;
        if to.is_closed() {
            return None;
        }
        let error = match source.open(RECONNECT_LIMIT).await {
            Ok(socket) => return Some(socket),
            Err(error) => error,
        };
        longest = match error {
            ConnectError::Status(_) => LONGEST_REFUSED,
            ConnectError::Unreachable(_) => LONGEST_ABSENT,
        };
        match error {
            // No pause mends these: somebody has to look at the configuration.
            ConnectError::Status(status @ (401 | 403)) if !said.contains(&status) => {
                said.push(status);
                let cure = "check --user and the password against ari.conf";
                tracing::warn!(status, "Asterisk refuses the event connection: {cure}; trying on");
            }
            ref error => tracing::debug!(%error, "no event connection yet"),
        }
        to.send(EventMessage::StillDisconnected(lost.to_string(), error)).await.ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_of_their_reason() {
        let mut backoff = Backoff::new();
        let refused: Vec<_> = (0..9).map(|_| backoff.next(LONGEST_REFUSED, 1.0).as_millis()).collect();
        assert_eq!(refused, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.next(LONGEST_ABSENT, 1.0), LONGEST_ABSENT);
        assert_eq!(backoff.next(LONGEST_ABSENT, 0.0), LONGEST_ABSENT / 2);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_its_handshake_is_tried_ever_more_seldom() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let connected = EventSource::new(&url, "u", "p", "a").unwrap().connect();
        let breaks = async {
            let mut tried = 0;
            loop {
                // Dropped as soon as it is open.
                tokio_tungstenite::accept_async(server.accept().await.unwrap().0).await.unwrap();
                tried += 1;
                if tried == 5 {
                    return clock::now();
                }
            }
        };
        let begun = clock::now();
        let (to, mut from) = tokio::sync::mpsc::channel(64);
        let forwards = async { connected.await.unwrap().forward(to).await };
        let drains = async { while from.recv().await.is_some() {} };
        let ended = tokio::select! {
            ended = breaks => ended,
            () = forwards => panic!("it goes on trying"),
            () = drains => panic!("it goes on telling"),
        };
        // Four pauses of at least half of 100, 200, 400 and 800 ms.
        assert!(ended.since(begun) >= Duration::from_millis(750), "{:?}", ended.since(begun));
    }

    #[test]
    fn the_url_is_asterisks() {
        let source = EventSource::new("http://127.0.0.1:8088/", "u", "p", "a&b").unwrap();
        assert_eq!(source.url, "ws://127.0.0.1:8088/ari/events?app=a%26b");
        assert!(EventSource::new("https://x", "u", "p", "a").is_err());
    }

    #[tokio::test]
    async fn pongs_that_nobody_reads_do_not_pile_up() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let accept =
            async { tokio_tungstenite::accept_async(server.accept().await.unwrap().0).await.unwrap() };
        let source = EventSource::new(&url, "u", "p", "a").unwrap();
        let (_server, socket) = tokio::join!(accept, source.open(CONNECT_LIMIT));
        assert_eq!(socket.unwrap().get_config().max_write_buffer_size, MAX_EVENT_LEN);
    }
}
