//! The built-in service under test: answers calls over ARI and sends their media back.
//!
//! Three parts run side by side. The event connection reads, stamps and forwards. The loop in `app`
//! owns every call's state machine, the port pool and the counts; requests run as tasks and their
//! answers come back to it. The reflector thread owns the media sockets.

mod app;
pub mod config;
mod delay;
pub mod events;
pub mod http;
mod listing;
pub mod media;
pub mod metrics;
pub mod openmetrics;
pub mod reflector;
mod refusals;
mod relay;
pub mod stats;
mod tasks;
mod way;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

use crate::net::http::{HttpClient, HttpError};
use crate::net::resolve::{Unresolved, resolve};
use app::App;
pub use config::ServiceConfig;
use events::{ConnectError, EventConnection, EventSource};
use http::SharedCounts;
use metrics::MetricsFile;
use reflector::{Reflector, StreamEvent};

/// Events read and not handled yet. When it is full the connection is not read, and Asterisk waits.
const EVENT_QUEUE: usize = 4096;

/// Longest time for closing the event connection.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// A service that cannot run. The text names the cure.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The address is not one.
    #[error("--ari-url: {0}")]
    BadUrl(#[from] HttpError),
    /// The echo server has no address.
    #[error(transparent)]
    Echo(#[from] Unresolved),
    /// The media address is one that nobody can send to.
    #[error(
        "{0} is not an address that Asterisk can send media to: give this machine's own, as Asterisk sees it, with --media-ip"
    )]
    MediaAddress(IpAddr),
    /// Asterisk does not know the user or the password.
    #[error(
        "Asterisk at {url} refuses user `{user}` (HTTP status {status}): check --user and the password against ari.conf"
    )]
    Credentials {
        /// Asterisk's HTTP server.
        url: String,
        /// The user.
        user: String,
        /// 401 or 403.
        status: u16,
    },
    /// Nobody speaks ARI there.
    #[error(
        "no ARI at {url}: {reason}. Is Asterisk running, with http.conf enabled and res_ari loaded, and is --ari-url right?"
    )]
    Unreachable {
        /// Asterisk's HTTP server.
        url: String,
        /// The failure.
        reason: String,
    },
    /// Another client took the application over.
    #[error(
        "another client has connected to Asterisk as application `{0}` and gets its events now: give one of the two another --app (in a scenario: service.app)"
    )]
    Replaced(String),
    /// The address for /health and /metrics cannot be had.
    #[error(
        "cannot listen on {address} for /health and /metrics: {error}; choose another address with --http (in a scenario: service.http)"
    )]
    Http {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        error: io::Error,
    },
    /// The reflector could not be started, or ended.
    #[error("the media thread: {0}")]
    Media(io::Error),
}

/// The end of a service.
#[derive(Debug)]
pub struct ServiceEnd {
    /// Everything that it has counted.
    pub counted: MetricsFile,
    /// The reason, if it ended by itself: [`ServiceError::Replaced`] or [`ServiceError::Media`].
    pub failure: Option<ServiceError>,
}

/// A service that is connected to Asterisk and listens, but takes no calls yet.
pub struct Service {
    app: App,
    events: EventConnection,
    stream_events: UnboundedReceiver<StreamEvent>,
    listener: TcpListener,
    shared: Arc<SharedCounts>,
}

impl Service {
    /// Connects to Asterisk and takes what the service needs.
    ///
    /// # Errors
    /// [`ServiceError`], with its cure, for whatever cannot be had.
    pub async fn start(config: ServiceConfig) -> Result<Self, ServiceError> {
        // Asterisk would take it and send nowhere; and what it hears from elsewhere it drops.
        if config.media_ip.is_unspecified() || config.media_ip.is_multicast() {
            return Err(ServiceError::MediaAddress(config.media_ip));
        }
        let base = server(&config.ari_url);
        let client = HttpClient::new(&format!("{base}/ari"), Some((&config.user, &config.password)))?;
        let echo = match &config.echo {
            Some(echo) => Some(resolve(echo, "--echo").await?),
            None => None,
        };
        let listener = listen(config.http).await?;
        let (sender, stream_events) = mpsc::unbounded_channel();
        let delay = config.delay.map(|delay| delay.0).filter(|delay| !delay.is_zero());
        let reflector = Reflector::start(config.port_range, echo.is_some(), delay, sender);
        let reflector = reflector.map_err(ServiceError::Media)?;
        let events = connect(&config).await?;
        let shared = Arc::new(SharedCounts::new(reflector.totals().clone()));
        let app = App::new(config, echo, client, reflector, shared.clone());
        Ok(Service { app, events, stream_events, listener, shared })
    }

    /// Address of GET /health and GET /metrics.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// The counts, to be read or reset while the service runs.
    pub fn counts(&self) -> Arc<SharedCounts> {
        self.shared.clone()
    }

    /// Takes calls until `shutdown` completes; then hangs up, clears, and returns its counts. So it
    /// does when it has to end by itself, with the reason.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> ServiceEnd {
        let address = self.http_address();
        let Service { app, events, stream_events, listener, shared } = self;
        let (to_app, incoming) = mpsc::channel(EVENT_QUEUE);
        let mut events_task = JoinSet::new();
        events_task.spawn(events.forward(to_app));
        let mut http_task = JoinSet::new();
        let router = http::router(shared.clone());
        http_task.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "/health and /metrics have ended");
            }
        });
        if let Some(address) = address {
            tracing::info!("health and metrics on http://{address}");
        }
        let outcome = app.run(incoming, stream_events, shutdown).await;
        // The event connection closes when it finds that nobody takes its events; it ends with
        // its set at the latest, as do the endpoints.
        let _ = tokio::time::timeout(CLOSE_LIMIT, events_task.join_next()).await;
        ServiceEnd { counted: MetricsFile::of(shared.snapshot()), failure: outcome.err() }
    }
}

/// The server's address without the `/ari` that every path gets anyway.
fn server(ari_url: &str) -> &str {
    let url = ari_url.trim_end_matches('/');
    url.strip_suffix("/ari").unwrap_or(url).trim_end_matches('/')
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address).await.map_err(|error| ServiceError::Http { address, error })
}

async fn connect(config: &ServiceConfig) -> Result<EventConnection, ServiceError> {
    let url = server(&config.ari_url).to_string();
    let connecting =
        async { EventSource::new(&url, &config.user, &config.password, &config.app)?.connect().await };
    connecting.await.map_err(|error| match error {
        ConnectError::Status(status @ (401 | 403)) => {
            ServiceError::Credentials { url: url.clone(), user: config.user.clone(), status }
        }
        other => ServiceError::Unreachable { url: url.clone(), reason: other.to_string() },
    })
}
