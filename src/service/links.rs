//! Links: media of calls that do not pass through the reflector thread, with a task for each call.
//!
//! AudioSocket and WebSocket are streams over TCP, and a service that talks has a clock of its own on every way. Each
//! call's task waits for its connection, carries frames, and hands its counts back at its end, as the reflector does.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};

use super::delay::Hold;
use super::link::audiosocket::AudioSocket;
use super::link::speaker::Talking;
use super::link::{Carrier, Link, LinkCommand};
use super::media::MediaTotals;
use super::reflector::StreamEvent;
use crate::ari::{MediaPeer, MediaPlace};
use crate::rtp::Codec;
use crate::values::{MediaWay, PortRange, Uuid};

/// Time in which a connection has to name its call.
const GREETING_LIMIT: Duration = Duration::from_secs(2);
/// Connections that have not named their call yet.
const MOST_UNNAMED: usize = 256;
/// Pause after a connection that could not be taken, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Everything that all links share.
pub struct LinkShared {
    /// Counts, readable while calls last.
    pub totals: Arc<MediaTotals>,
    /// Told of first packets and ends.
    pub events: UnboundedSender<StreamEvent>,
    /// Delay of what is echoed.
    pub hold: Hold,
    /// Bots instead of the echo.
    pub talking: Option<Talking>,
    /// Calls whose link exists.
    pub up: AtomicU32,
    /// Asterisk's HTTP server, as `host:port`.
    pub http: String,
}

/// A call that gets a link.
pub struct NewLink {
    /// Its place.
    pub port: u16,
    /// Address of that place.
    pub host: SocketAddr,
    /// Its codec.
    pub codec: Codec,
    /// SSRC of what is sent over RTP.
    pub ssrc: u32,
    /// Its socket, over RTP.
    pub socket: Option<UdpSocket>,
}

type Commands = UnboundedSender<LinkCommand>;

/// Calls that wait for the connection that names them.
#[derive(Default)]
struct Waiting(Mutex<HashMap<Uuid, Commands>>);

impl Waiting {
    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Commands>> {
        // Whole at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The links of a service.
pub struct Links {
    way: MediaWay,
    shared: Arc<LinkShared>,
    /// Address of the listener, of AudioSocket.
    listening: Option<SocketAddr>,
    waiting: Arc<Waiting>,
    /// Tasks' commands, and the names that connections know them by, by port.
    calls: HashMap<u16, (Commands, Option<Uuid>)>,
    /// Ends with this.
    _accepting: JoinSet<()>,
}

impl Links {
    /// Links by `way`. AudioSocket is listened to on the first free port of `ports` at `ip`.
    ///
    /// # Errors
    /// No port of the range is free for the listener.
    pub async fn start(
        way: MediaWay,
        (ip, ports): (std::net::IpAddr, PortRange),
        shared: LinkShared,
    ) -> io::Result<Self> {
        let (waiting, mut accepting) = (Arc::new(Waiting::default()), JoinSet::new());
        let shared = Arc::new(shared);
        let mut listening = None;
        if way == MediaWay::AudioSocket {
            let listener = listen(ip, ports).await?;
            listening = Some(listener.local_addr()?);
            accepting.spawn(accept(listener, waiting.clone(), shared.clone()));
        }
        Ok(Links { way, shared, listening, waiting, calls: HashMap::new(), _accepting: accepting })
    }

    /// The running totals.
    pub fn totals(&self) -> &Arc<MediaTotals> {
        &self.shared.totals
    }

    /// True if each call takes a UDP socket.
    pub fn needs_socket(&self) -> bool {
        self.way == MediaWay::Rtp
    }

    /// Starts a call's link; returns the place that Asterisk is told.
    pub fn add(&mut self, new: NewLink) -> MediaPlace {
        let (commands, inbox) = unbounded_channel();
        let (port, host) = (new.port, new.host);
        let link = Link::new(new, self.shared.clone(), commands.clone(), inbox);
        tokio::spawn(link.run());
        let (place, name) = match (self.way, self.listening) {
            (MediaWay::AudioSocket, Some(listening)) => {
                let uuid = Uuid::from_random(rand::random());
                self.waiting.calls().insert(uuid, commands.clone());
                (MediaPlace::AudioSocket(listening, uuid), Some(uuid))
            }
            (MediaWay::WebSocket, _) => (MediaPlace::WebSocket, None),
            (MediaWay::Rtp | MediaWay::AudioSocket, _) => (MediaPlace::Rtp(host), None),
        };
        self.calls.insert(port, (commands, name));
        place
    }

    /// Tells a call's link of Asterisk's side.
    pub fn connect(&self, port: u16, peer: MediaPeer) {
        if let Some((commands, _)) = self.calls.get(&port) {
            // A task that has ended has said so.
            let _ = commands.send(LinkCommand::Connect(peer));
        }
    }

    /// Ends a call's link; its [`StreamEvent::Removed`] follows.
    pub fn remove(&mut self, port: u16) {
        let Some((commands, name)) = self.calls.remove(&port) else { return };
        if let Some(name) = name {
            self.waiting.calls().remove(&name);
        }
        let _ = commands.send(LinkCommand::Remove);
    }
}

/// Listens on the first port that is free.
async fn listen(ip: std::net::IpAddr, ports: PortRange) -> io::Result<TcpListener> {
    let mut last = io::Error::other("there is no port in the range");
    for port in ports.from..=ports.to {
        match TcpListener::bind((ip, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(io::Error::new(
        last.kind(),
        format!("no port of {ports} at {ip} is free to listen on for AudioSocket: {last}"),
    ))
}

/// Takes connections, and hands each to the call that it names.
async fn accept(listener: TcpListener, waiting: Arc<Waiting>, shared: Arc<LinkShared>) {
    let mut greetings = JoinSet::new();
    // Those that have not named their call yet, the oldest first.
    let mut unnamed: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        while greetings.try_join_next().is_some() {}
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // A flood of connections that name no call is not to keep memory. Asterisk names it at once: the oldest goes.
        unnamed.retain(|greeting| !greeting.is_finished());
        if unnamed.len() >= MOST_UNNAMED
            && let Some(oldest) = unnamed.pop_front()
        {
            oldest.abort();
            shared.totals.links(|links| links.strangers += 1);
        }
        let (waiting, shared) = (waiting.clone(), shared.clone());
        unnamed.push_back(greetings.spawn(async move {
            if let Err(why) = greet(stream, &waiting).await {
                tracing::debug!(%from, why, "a connection for AudioSocket is closed");
                shared.totals.links(|links| links.strangers += 1);
            }
        }));
    }
}

/// Reads the name of its call from a connection.
async fn greet(stream: TcpStream, waiting: &Waiting) -> Result<(), String> {
    let greeting = tokio::time::timeout(GREETING_LIMIT, AudioSocket::greet(stream)).await;
    let (socket, uuid) = greeting.map_err(|_| "it does not name its call".to_string())??;
    let commands = waiting.calls().remove(&uuid).ok_or_else(|| format!("{uuid} is no call's"))?;
    // The call may have ended just now.
    let _ = commands.send(LinkCommand::Attach(Box::new(Carrier::AudioSocket(socket))));
    Ok(())
}
