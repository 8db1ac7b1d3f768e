//! A private Asterisk and a service in front of it, for one test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Method;
use loadtest::ari::outcome::ServiceOutcome;
use loadtest::asterisk::{Managed, SearchPlaces, StartConfig, find};
use loadtest::net::http::{BODY_LIMIT, HttpClient, HttpLimits};
use loadtest::record::OutcomeCount;
use loadtest::service::stats::Counts;
use loadtest::service::{AriService, ServiceConfig, ServiceEnd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinHandle;

use super::{Echo, Lane, PATIENCE, Target, comes_true};

pub const QUICK: HttpLimits = HttpLimits { timeout: PATIENCE, body: BODY_LIMIT };

/// An Asterisk of the test's own.
pub struct Lab {
    pub asterisk: Managed,
    pub start: StartConfig,
    pub ari: HttpClient,
    pub config: ServiceConfig,
    _dir: TempDir,
    _lane: Lane,
}

/// A service that runs.
pub struct Running {
    pub stop: oneshot::Sender<()>,
    pub address: SocketAddr,
    pub http: HttpClient,
    pub task: JoinHandle<ServiceEnd>,
}

impl Lab {
    /// An Asterisk on ports of its own, and settings of a service that has `ports` ports.
    pub async fn new(ports: u16) -> Self {
        let lane = Lane::claim();
        let dir = tempfile::tempdir().unwrap();
        let install = find::find(&SearchPlaces::from_environment(None)).unwrap_or_else(|e| panic!("{e}"));
        let mut start = StartConfig::new(install, dir.path().join("logs"));
        start.run_base = dir.path().to_path_buf();
        start.ports.rtp = lane.asterisk();
        let (user, password) = (start.ari.user.clone(), start.ari.password.expose().to_string());
        let asterisk = Managed::start(start.clone()).await.expect("Asterisk starts");
        // So that another can take its place.
        start.ports.sip = asterisk.sip_addr().port();
        start.ports.http = asterisk.http_addr().port();
        let ari = HttpClient::new(&format!("{}/ari", asterisk.ari().url), Some((&user, &password))).unwrap();
        let first = *lane.service().start();
        let config = ServiceConfig {
            ari_url: asterisk.ari().url.clone(),
            user,
            password,
            port_range: format!("{first}-{}", first + ports - 1).parse().unwrap(),
            http: "127.0.0.1:0".parse().unwrap(),
            ..Default::default()
        };
        Lab { asterisk, start, ari, config, _dir: dir, _lane: lane }
    }

    pub async fn serve(&self) -> Running {
        serve(self.config.clone()).await
    }

    /// A service that reaches Asterisk over a wire that can be tampered with.
    pub async fn serve_over(&self, wire: &Wire) -> Running {
        let ari_url = format!("http://{}", wire.address);
        serve(ServiceConfig { ari_url, ..self.config.clone() }).await
    }

    /// A wire to Asterisk's HTTP server.
    pub async fn wire(&self) -> Wire {
        Wire::to(self.asterisk.http_addr()).await
    }

    /// Address to call, and the account.
    pub fn sip(&self) -> Target {
        Target::of(&self.asterisk)
    }

    pub async fn count(&self, what: &str) -> usize {
        let answer = self.ari.send(Method::GET, what, QUICK).await.unwrap();
        serde_json::from_slice::<Vec<serde_json::Value>>(&answer.body).unwrap().len()
    }

    pub async fn left(&self) -> (usize, usize) {
        (self.count("/channels").await, self.count("/bridges").await)
    }

    /// Waits for Asterisk to hold nothing.
    pub async fn assert_empty(&self) {
        self.assert_left(0, 0).await;
    }

    /// Waits for Asterisk to hold so many.
    pub async fn assert_left(&self, channels: usize, bridges: usize) {
        let so_many = comes_true(async || self.left().await == (channels, bridges)).await;
        assert!(so_many, "(channels, bridges) left: {:?}", self.left().await);
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.asterisk.process().pid())).unwrap().count()
    }

    /// Waits for Asterisk to have at most so many descriptors: it closes the connections of a service that has
    /// gone one after the other.
    pub async fn assert_descriptors(&self, most: usize) {
        let so_few = comes_true(async || self.descriptors() <= most).await;
        assert!(so_few, "{} descriptors, {most} allowed", self.descriptors());
    }

    pub async fn end(self) {
        self.asterisk.stop(Duration::from_secs(5)).await;
        // Asterisk's own words for a caller who hung up while being added to the bridge, and for a
        // connection that a test has cut.
        let expected = ["Session already DISCONNECTED", "Error reading from web socket"];
        let is_strange =
            |line: &&String| line.contains("] ERROR[") && !expected.iter().any(|words| line.contains(words));
        let tail = self.asterisk.output().tail();
        let strange: Vec<_> = tail.iter().filter(is_strange).collect();
        assert!(strange.is_empty(), "{strange:#?}");
    }
}

pub async fn serve(config: ServiceConfig) -> Running {
    let service = AriService::start(config).await.expect("the service starts");
    let address = service.http_address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(service.run(async move { drop(stopped.await) }));
    Running { stop, address, http: HttpClient::new(&format!("http://{address}"), None).unwrap(), task }
}

impl Running {
    /// GET with an Accept header: the head of the answer, and its body.
    pub async fn get_as(&self, path: &str, accept: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_string())
    }

    /// Waits until /health says `status`.
    pub async fn assert_health(&self, status: u16) {
        let says_so = comes_true(async || self.get("/health").await.0 == status).await;
        assert!(says_so, "/health: {:?}", self.get("/health").await);
    }

    /// Waits until so many calls were bridged, both channels of each: from then on nothing they send is lost.
    pub async fn assert_bridged(&self, calls: u64) {
        let name = r#"loadtest_service_stage_duration_seconds_count{stage="bridged"}"#;
        let are_bridged = comes_true(async || self.sample(name).await == Some(calls)).await;
        assert!(are_bridged, "{calls} calls were not bridged: {:?}", self.get("/metrics").await);
    }

    /// Waits until so many ports are free.
    pub async fn assert_free(&self, ports: u64) {
        let name = "loadtest_service_ports_free";
        let are_free = comes_true(async || self.sample(name).await >= Some(ports)).await;
        assert!(are_free, "{ports} ports were not free: {:?}", self.get("/metrics").await);
    }

    /// The value of a sample of /metrics, if it is a whole number.
    async fn sample(&self, name: &str) -> Option<u64> {
        let (_, text) = self.get_as("/metrics", "application/openmetrics-text").await;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    pub async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let answer = self.http.send(Method::GET, path, QUICK).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    pub async fn stop(self) -> Counts {
        self.finish().await.counted.record
    }

    pub async fn finish(self) -> ServiceEnd {
        self.stop.send(()).unwrap();
        let mut finished = self.task.await.unwrap();
        finished.counted.record.outcomes.sort();
        assert!(finished.failure.is_none(), "a clean end: {:?}", finished.failure);
        finished
    }

    /// Ends it on the spot, as a crash does: nothing is cleared.
    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Every probe came back once, in order, with the service's stamps between the caller's own, and counted
/// before the next one came.
pub fn assert_whole(echo: &Echo, id: u32) {
    assert_back(echo, id);
    let received: Vec<_> = echo.probes.iter().filter_map(|probe| Some(probe.reflection?.received)).collect();
    assert_eq!(received, (1..=echo.sent).collect::<Vec<_>>(), "call {id}");
}

/// The same but for the count: an answer that an echo server has held up counts what has come since.
pub fn assert_back(echo: &Echo, id: u32) {
    assert_eq!((echo.probes.len() as u32, echo.other), (echo.sent, 0), "call {id}");
    for (n, probe) in echo.probes.iter().enumerate() {
        assert_eq!(probe.seq, n as u32, "call {id}");
        let reflection = probe.reflection.expect("a reflected probe");
        assert!(probe.sent_at <= reflection.in_at && reflection.in_at <= reflection.out_at, "call {id}");
        assert!(reflection.received > n as u32, "call {id}");
    }
}

/// Sorted, as [`Running::finish`] returns them.
pub fn outcomes(pairs: &[(ServiceOutcome, u64)]) -> Vec<OutcomeCount> {
    let mut counts = Counts::default();
    pairs.iter().for_each(|(outcome, calls)| (0..*calls).for_each(|_| counts.add_outcome(*outcome)));
    counts.outcomes.sort();
    counts.outcomes
}

/// The way in which a [`Wire`] treats the connections over it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Passing {
    /// Passes them on.
    Open,
    /// Passes them on, and keeps what comes over the event connection to itself.
    Deaf,
    /// Keeps them, and passes nothing on.
    Frozen,
    /// Ends them, and every new one.
    Cut,
}

/// A request that a [`Wire`] answers by itself.
struct Lie {
    method: &'static str,
    path_part: &'static str,
    status: u16,
    times: u32,
}

type Lies = Arc<Mutex<Vec<Lie>>>;

/// Passes TCP connections on, or not.
pub struct Wire {
    pub address: SocketAddr,
    pub passing: watch::Sender<Passing>,
    lies: Lies,
    deafening: Deafening,
    forged: broadcast::Sender<Vec<u8>>,
}

/// A part of the path of the request with which a [`Wire`] becomes [`Passing::Deaf`].
type Deafening = Arc<Mutex<Option<&'static str>>>;

impl Wire {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (passing, now) = watch::channel(Passing::Open);
        let lies = Lies::default();
        let deafening = Deafening::default();
        let (told, switch, last) = (lies.clone(), passing.clone(), deafening.clone());
        let (forged, _) = broadcast::channel(1);
        let forging = forged.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut now, told) = (now.clone(), told.clone());
                let (switch, last) = (switch.clone(), last.clone());
                let mut forged = forging.subscribe();
                tokio::spawn(async move {
                    if *now.borrow() == Passing::Cut {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        biased;
                        _ = now.wait_for(|now| !matches!(now, Passing::Open | Passing::Deaf)) => {}
                        _ = pass(&mut near, &mut far, &told, &last, &switch, &mut forged) => {}
                    }
                    let _ = now.wait_for(|now| *now != Passing::Frozen).await;
                });
            }
        });
        Wire { address, passing, lies, deafening, forged }
    }

    /// Sends events of its own over the event connection, while Asterisk itself sends none.
    pub fn forge(&self, events: impl IntoIterator<Item = String>) {
        let frames = events.into_iter().flat_map(|event| {
            // A whole text of 126 to 65,535 bytes, unmasked as a server's are (RFC 6455 section 5.2).
            let len = u16::try_from(event.len()).expect("a short event");
            assert!(len > 125, "a length of two bytes is for longer ones");
            [&[0x81, 126][..], &len.to_be_bytes(), event.as_bytes()].concat()
        });
        self.forged.send(frames.collect()).expect("somebody is connected");
    }

    /// Passes no event on from the next request on that has `path_part` in its path.
    pub fn deafen_at(&self, path_part: &'static str) {
        *self.deafening.lock().unwrap() = Some(path_part);
    }

    /// Answers the next requests of `method` with `path_part` in their path by itself with `status`, so
    /// many `times`.
    pub fn answer(&self, method: &'static str, path_part: &'static str, status: u16, times: u32) {
        self.lies.lock().unwrap().push(Lie { method, path_part, status, times });
    }

    /// Tells the truth again.
    pub fn forget(&self) {
        self.lies.lock().unwrap().clear();
    }
}

/// The status to answer by ourselves, if `bytes` begin with a request that is to be lied to.
fn lie_to(bytes: &[u8], lies: &Lies) -> Option<u16> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().next()?;
    let mut lies = lies.lock().unwrap();
    let asked = |lie: &&mut Lie| {
        lie.times > 0 && line.starts_with(&format!("{} /", lie.method)) && line.contains(lie.path_part)
    };
    let lie = lies.iter_mut().find(asked)?;
    lie.times -= 1;
    Some(lie.status)
}

/// `bytes` begin with a request that has `part` in its path.
fn asks_for(bytes: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(bytes).lines().next().is_some_and(|line| line.contains(part))
}

/// Copies both ways. Requests have no bodies and come one by one, each in one piece.
async fn pass(
    near: &mut TcpStream,
    far: &mut TcpStream,
    lies: &Lies,
    deafening: &Deafening,
    switch: &watch::Sender<Passing>,
    forged: &mut broadcast::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    let (mut out, mut back) = (vec![0; 1 << 14], vec![0; 1 << 14]);
    let mut has_events = false;
    loop {
        tokio::select! {
            got = near.read(&mut out) => match got? {
                0 => return Ok(()),
                len => {
                    has_events |= asks_for(&out[..len], "/ari/events?");
                    if deafening.lock().unwrap().take_if(|part| asks_for(&out[..len], part)).is_some() {
                        switch.send_replace(Passing::Deaf);
                    }
                    match lie_to(&out[..len], lies) {
                        Some(status) => {
                            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                            near.write_all(answer.as_bytes()).await?;
                        }
                        None => far.write_all(&out[..len]).await?,
                    }
                }
            },
            frames = forged.recv() => match frames {
                Ok(frames) if has_events => near.write_all(&frames).await?,
                _ => {}
            },
            got = far.read(&mut back) => match got? {
                0 => return Ok(()),
                _ if has_events && *switch.borrow() == Passing::Deaf => {}
                len => near.write_all(&back[..len]).await?,
            },
        }
    }
}
