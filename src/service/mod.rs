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
mod link;
mod links;
mod listing;
pub mod media;
pub mod metrics;
pub mod openmetrics;
pub mod reflector;
mod relay;
mod repeats;
mod sockets;
pub mod stats;
mod tasks;
mod way;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use hyper::Method;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::ari::request::{NOTHING, is_read_only, read_only};
use crate::net::http::{BODY_LIMIT, HttpClient, HttpLimits};
use crate::net::http_server;
use crate::net::resolve::resolve;
use crate::talk::BotVoice;
use crate::values::MediaWay;
use app::App;
pub use config::ServiceConfig;
use events::{ConnectError, EventConnection, EventSource};
use http::SharedCounts;
use link::speaker::Talking;
use links::{LinkShared, Links};
use media::MediaTotals;
use metrics::MetricsFile;
use reflector::{Reflector, ReflectorConfig, StreamEvent};

/// Events read and not handled yet. When it is full the connection is not read, and Asterisk waits.
const EVENT_QUEUE: usize = 4096;

/// Longest wait for the answer to the first question, whether the account may write.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// Longest time for closing the event connection.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// Signal that has `loadtest service` write its counts into its file at once.
pub const WRITE_COUNTS: Signal = Signal::SIGUSR1;
/// Signal that has it count from zero.
pub const COUNT_ANEW: Signal = Signal::SIGUSR2;

/// A service that cannot run, in a sentence with its cure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(String);

impl ServiceError {
    /// The reflector could not be started, or ended.
    fn media(error: io::Error) -> Self {
        ServiceError(format!("the media thread: {error}"))
    }
}

/// The end of a service.
#[derive(Debug)]
pub struct ServiceEnd {
    /// Everything that it has counted.
    pub counted: MetricsFile,
    /// The reason, if it ended by itself.
    pub failure: Option<ServiceError>,
}

/// A service that is connected to Asterisk and listens, but takes no calls yet.
pub struct AriService {
    app: App,
    events: EventConnection,
    stream_events: UnboundedReceiver<StreamEvent>,
    listener: TcpListener,
    shared: Arc<SharedCounts>,
}

impl AriService {
    /// Connects to Asterisk and takes what the service needs.
    ///
    /// # Errors
    /// [`ServiceError`], with its cure, for whatever cannot be had.
    pub async fn start(config: ServiceConfig) -> Result<Self, ServiceError> {
        // Asterisk would take it and send nowhere; and what it hears from elsewhere it drops.
        if config.media_ip.is_unspecified() || config.media_ip.is_multicast() {
            return Err(ServiceError(format!(
                "{} is not an address that Asterisk can send media to: give this machine's own, as Asterisk sees \
                 it, with --media-ip",
                config.media_ip
            )));
        }
        let base = server(&config.ari_url);
        let client = HttpClient::new(&format!("{base}/ari"), Some((&config.user, &config.password)))
            .map_err(|error| ServiceError(format!("--ari-url: {error}")))?;
        let echo = match &config.echo {
            Some(echo) => Some(resolve(echo, "--echo", None).await.map_err(|e| ServiceError(e.to_string()))?),
            None => None,
        };
        let listener = listen(config.http).await?;
        let (sender, stream_events) = mpsc::unbounded_channel();
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let reflector = ReflectorConfig {
            range: config.port_range,
            has_echo: echo.is_some(),
            hold: config.hold(),
            priority: config.priority,
            lanes: config.lanes.count(cpus, config.port_range.count()),
        };
        let reflector = Reflector::start(reflector, &sender).map_err(ServiceError::media)?;
        let links = links(&config, sender).await?;
        may_write(&client, &config).await?;
        let events = connect(&config).await?;
        let totals = links.as_ref().map_or_else(|| reflector.totals(), Links::totals).clone();
        let shared = Arc::new(SharedCounts::new(totals));
        let app = App::new(config, echo, client, reflector, links, shared.clone());
        Ok(AriService { app, events, stream_events, listener, shared })
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
        let AriService { app, events, stream_events, listener, shared } = self;
        let (to_app, incoming) = mpsc::channel(EVENT_QUEUE);
        let mut events_task = JoinSet::new();
        events_task.spawn(events.forward(to_app));
        let mut http_task = JoinSet::new();
        let router = http::router(shared.clone());
        http_task.spawn(http_server::serve(listener, router));
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

/// Links for media that the reflector thread does not carry; `None` where it carries them all.
async fn links(
    config: &ServiceConfig,
    events: UnboundedSender<StreamEvent>,
) -> Result<Option<Links>, ServiceError> {
    if config.media == MediaWay::Rtp && !config.talk {
        return Ok(None);
    }
    let talking = config.talk.then(|| Talking {
        manners: Arc::new(config.manners.manners()),
        voice: Arc::new(BotVoice::builtin()),
    });
    let http = server(&config.ari_url).trim_start_matches("http://").to_string();
    let shared = LinkShared {
        totals: Arc::new(MediaTotals::of_links()),
        events,
        hold: config.hold(),
        talking,
        up: AtomicU32::new(0),
        http,
    };
    let links = Links::start(config.media, (config.media_ip, config.port_range), shared).await;
    links.map(Some).map_err(ServiceError::media)
}

/// The server's address without the `/ari` that every path gets anyway.
fn server(ari_url: &str) -> &str {
    let url = ari_url.trim_end_matches('/');
    url.strip_suffix("/ari").unwrap_or(url).trim_end_matches('/')
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address).await.map_err(|error| {
        ServiceError(format!(
            "cannot listen on {address} for /health and /metrics: {error}; choose another address with --http \
             (in a scenario: service.http)"
        ))
    })
}

/// Finds out whether the account may write, before Asterisk lists an application that can do nothing.
async fn may_write(client: &HttpClient, config: &ServiceConfig) -> Result<(), ServiceError> {
    let limits = HttpLimits { timeout: ASK_LIMIT, body: BODY_LIMIT };
    match client.send(Method::DELETE, NOTHING, limits).await {
        Ok(answer) if is_read_only(answer.status, &answer.body) => {
            Err(ServiceError(read_only(server(&config.ari_url), &config.user)))
        }
        // Whatever is wrong with others, connecting tells.
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn connect(config: &ServiceConfig) -> Result<EventConnection, ServiceError> {
    let url = server(&config.ari_url).to_string();
    let connecting =
        async { EventSource::new(&url, &config.user, &config.password, &config.app)?.connect().await };
    connecting.await.map_err(|error| {
        ServiceError(match error {
            ConnectError::Status(status @ (401 | 403)) => format!(
                "Asterisk at {url} refuses user `{}` (HTTP status {status}): check --user and the password against \
                 ari.conf",
                config.user
            ),
            reason => format!(
                "no ARI at {url}: {reason}. Is Asterisk running, with http.conf enabled and res_ari loaded, and is \
                 --ari-url right?"
            ),
        })
    })
}
