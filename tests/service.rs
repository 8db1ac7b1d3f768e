//! The built-in service against real Asterisks: every call bridged, none silent, nothing left.

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::Method;
use loadtest::ari::outcome::Outcome;
use loadtest::asterisk::{Asterisk, Managed, Places, StartConfig, find};
use loadtest::net::http::{BODY_LIMIT, HttpClient, Limits};
use loadtest::rtp::Codec;
use loadtest::service::{Finished, Service, ServiceConfig, ServiceError, ServiceReport};
use support::{Caller, Echo};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

const QUICK: Limits = Limits { timeout: Duration::from_secs(5), body: BODY_LIMIT };

/// An Asterisk of the test's own.
struct Lab {
    asterisk: Managed,
    ari: HttpClient,
    config: ServiceConfig,
    _dir: TempDir,
}

/// A service that runs.
struct Running {
    stop: oneshot::Sender<()>,
    http: HttpClient,
    task: JoinHandle<Result<Finished, ServiceError>>,
}

impl Lab {
    /// An Asterisk with RTP ports from `rtp` on; the service's ports are the `ports` above 21000 + `rtp`.
    async fn new(lane: u16, ports: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let install = find::find(&Places::from_environment(None)).unwrap_or_else(|e| panic!("{e}"));
        let mut start = StartConfig::new(install, dir.path().join("logs"));
        start.run_base = dir.path().to_path_buf();
        let rtp = 10_000 + lane * 1000;
        start.ports.rtp = rtp..=rtp + 999;
        let (user, password) = (start.ari.user.clone(), start.ari.password.expose().to_string());
        let asterisk = Asterisk::start(start).await.expect("Asterisk starts");
        let ari = HttpClient::new(&format!("{}/ari", asterisk.ari_url()), Some((&user, &password))).unwrap();
        let first = 21_000 + lane * 1000;
        let config = ServiceConfig {
            ari_url: asterisk.ari_url(),
            user,
            password,
            ports: format!("{first}-{}", first + ports - 1).parse().unwrap(),
            http: Some("127.0.0.1:0".parse().unwrap()),
            ..Default::default()
        };
        Lab { asterisk, ari, config, _dir: dir }
    }

    async fn serve(&self) -> Running {
        serve(self.config.clone()).await
    }

    fn sip(&self) -> SocketAddr {
        self.asterisk.sip_addr()
    }

    async fn count(&self, what: &str) -> usize {
        let answer = self.ari.send(Method::GET, what, QUICK).await.unwrap();
        serde_json::from_slice::<Vec<serde_json::Value>>(&answer.body).unwrap().len()
    }

    async fn left(&self) -> (usize, usize) {
        (self.count("/channels").await, self.count("/bridges").await)
    }

    /// Waits for Asterisk to hold nothing, up to 5 s.
    async fn assert_empty(&self) {
        for _ in 0..100 {
            if self.left().await == (0, 0) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("(channels, bridges) left: {:?}", self.left().await);
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.asterisk.pid())).unwrap().count()
    }

    async fn end(self) {
        let log = self.asterisk.log().clone();
        self.asterisk.stop(Duration::from_secs(5)).await;
        // Asterisk's own words for a caller who hung up while being added to the bridge.
        let expected = "Session already DISCONNECTED";
        let is_strange = |line: &&String| line.contains("] ERROR[") && !line.contains(expected);
        let tail = log.tail();
        let strange: Vec<_> = tail.iter().filter(is_strange).collect();
        assert!(strange.is_empty(), "{strange:#?}");
    }
}

async fn serve(config: ServiceConfig) -> Running {
    let service = Service::start(config).await.expect("the service starts");
    let address = service.http_address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(service.run(async move { drop(stopped.await) }));
    Running { stop, http: HttpClient::new(&format!("http://{address}"), None).unwrap(), task }
}

impl Running {
    async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let answer = self.http.send(Method::GET, path, QUICK).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    async fn stop(self) -> ServiceReport {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().expect("a clean end").report
    }
}

/// Every probe came back once, in order, with the service's stamps between the caller's own.
fn assert_whole(echo: &Echo, id: u32) {
    assert_eq!((echo.probes.len() as u32, echo.other), (echo.sent, 0), "call {id}");
    for (n, probe) in echo.probes.iter().enumerate() {
        assert_eq!(probe.seq, n as u32, "call {id}");
        let reflection = probe.reflection.expect("a reflected probe");
        assert!(probe.sent_at <= reflection.in_at && reflection.in_at <= reflection.out_at, "call {id}");
        assert_eq!(reflection.received, n as u32 + 1, "call {id}");
    }
}

fn outcomes(pairs: &[(Outcome, u64)]) -> BTreeMap<Outcome, u64> {
    pairs.iter().copied().collect()
}

#[tokio::test]
async fn fifty_calls_are_bridged_echoed_and_cleared() {
    let lab = Lab::new(0, 60).await;
    let before = lab.descriptors();
    let service = lab.serve().await;
    let mut calls = JoinSet::new();
    for id in 0..50 {
        let sip = lab.sip();
        calls.spawn(async move {
            let codec = Codec::Pcmu;
            let caller = Caller::call(sip, "service", id, codec).await.expect("an answer");
            // The 200 comes before both are in the bridge.
            sleep(Duration::from_millis(300)).await;
            let echo = caller.talk(Duration::from_secs(2), codec).await;
            (id, echo, caller.hang_up().await)
        });
        sleep(Duration::from_millis(50)).await;
    }
    for (id, echo, bye) in calls.join_all().await {
        assert_whole(&echo, id);
        assert_eq!(bye, 200, "call {id}");
    }
    lab.assert_empty().await;
    let (status, metrics) = service.get("/metrics").await;
    assert_eq!(
        (status, &metrics["total_channels"], &metrics["total_latencies"]),
        (200, &50.into(), &50.into())
    );
    assert_eq!((&metrics["active_channels"], &metrics["packet_loss_ratio"]), (&0.into(), &0.0.into()));
    assert!(metrics["p99_latency"].as_f64().unwrap() > 0.0);
    assert_eq!(service.get("/health").await.0, 200);

    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(Outcome::Completed, 50)]));
    assert_eq!((report.bridged, report.silent, report.left_behind, report.hung_up_starts), (50, 0, 0, 0));
    assert_eq!((report.media.reflected, report.media.expected), (5000, 5000));
    assert_eq!((report.media.strangers, report.media.drops, report.media.send_errors), (0, 0, 0));
    assert_eq!(report.stages.first_packet.count(), 50);
    let after = lab.descriptors();
    assert!(after <= before + 4, "{before} descriptors before, {after} after");
    lab.end().await;
}

#[tokio::test]
async fn callers_who_hang_up_at_the_worst_moment_leave_nothing() {
    // Few ports, so that each is used again and again.
    let lab = Lab::new(1, 40).await;
    let service = lab.serve().await;
    let mut calls = JoinSet::new();
    for id in 0..150 {
        let sip = lab.sip();
        calls.spawn(async move {
            let caller = Caller::call(sip, "service", id, Codec::Pcmu).await.expect("an answer");
            sleep(Duration::from_micros(u64::from(id) * 137 % 9000)).await;
            caller.hang_up().await
        });
        sleep(Duration::from_millis(25)).await;
    }
    calls.join_all().await;
    lab.assert_empty().await;
    let report = service.stop().await;
    assert_eq!((report.calls, report.left_behind, report.active), (150, 0, 0));
    let over: u64 = report.outcomes.values().sum();
    assert_eq!(over, 150, "{:?}", report.outcomes);
    let kinds = [Outcome::Completed, Outcome::CallerGone];
    assert!(report.outcomes.keys().all(|outcome| kinds.contains(outcome)), "{:?}", report.outcomes);
    lab.end().await;
}

#[tokio::test]
async fn without_a_port_a_call_is_turned_away_and_the_next_one_is_not() {
    let lab = Lab::new(2, 3).await;
    let service = lab.serve().await;
    let mut held = Vec::new();
    for id in 0..3 {
        held.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    assert_eq!(service.get("/health").await.0, 503);
    for id in 3..6 {
        assert_eq!(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.err(), Some(503));
    }
    held.pop().unwrap().hang_up().await;
    sleep(Duration::from_millis(300)).await;
    let again = Caller::call(lab.sip(), "service", 6, Codec::Pcmu).await.expect("an answer");
    sleep(Duration::from_millis(200)).await;
    assert_whole(&again.talk(Duration::from_millis(400), Codec::Pcmu).await, 6);
    for caller in held.iter().chain([&again]) {
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(Outcome::Completed, 4), (Outcome::NoPort, 3)]));
    lab.end().await;
}

#[tokio::test]
async fn a_shutdown_hangs_up_and_clears() {
    let lab = Lab::new(3, 20).await;
    let service = lab.serve().await;
    let mut callers = Vec::new();
    for id in 0..5 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    sleep(Duration::from_millis(200)).await;
    let hung_up = async {
        for caller in &callers {
            assert!(caller.is_hung_up(Duration::from_secs(3)).await);
        }
    };
    let (report, ()) = tokio::join!(service.stop(), hung_up);
    assert_eq!(report.outcomes, outcomes(&[(Outcome::Shutdown, 5)]));
    assert_eq!((report.left_behind, report.active), (0, 0));
    lab.assert_empty().await;
    lab.end().await;
}

#[tokio::test]
async fn a_law_survives_when_the_service_is_told() {
    let mut lab = Lab::new(4, 20).await;
    lab.config.codec = Codec::Pcma;
    let service = lab.serve().await;
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcma).await.expect("an answer");
    sleep(Duration::from_millis(200)).await;
    assert_whole(&caller.talk(Duration::from_millis(600), Codec::Pcma).await, 1);
    caller.hang_up().await;
    service.stop().await;
    lab.end().await;
}

#[tokio::test]
async fn what_is_missing_at_the_start_is_said_with_its_cure() {
    let lab = Lab::new(5, 3).await;
    let wrong = ServiceConfig { password: "wrong".into(), ..lab.config.clone() };
    let error = Service::start(wrong).await.err().unwrap();
    assert!(matches!(error, ServiceError::Credentials { status: 401, .. }), "{error}");
    let nobody = ServiceConfig { ari_url: "http://127.0.0.1:9".into(), ..lab.config.clone() };
    let error = Service::start(nobody).await.err().unwrap();
    assert!(error.to_string().starts_with("no ARI at http://127.0.0.1:9: "), "{error}");
    let nowhere = ServiceConfig { media_ip: "0.0.0.0".parse().unwrap(), ..lab.config.clone() };
    let error = Service::start(nowhere).await.err().unwrap();
    assert!(error.to_string().contains("--media-ip"), "{error}");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = Some(taken.local_addr().unwrap());
    let error = Service::start(ServiceConfig { http, ..lab.config.clone() }).await.err().unwrap();
    assert!(error.to_string().contains("--http"), "{error}");
    lab.end().await;
}

#[tokio::test]
async fn another_service_under_the_same_name_ends_the_first() {
    let lab = Lab::new(6, 3).await;
    let first = lab.serve().await;
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    sleep(Duration::from_millis(200)).await;
    let second = lab.serve().await;
    let error = first.task.await.unwrap().err().unwrap();
    assert!(matches!(error, ServiceError::Replaced(_)), "{error}");
    assert!(caller.is_hung_up(Duration::from_secs(3)).await);
    lab.assert_empty().await;
    second.stop().await;
    lab.end().await;
}

/// Passes TCP connections on until it is cut, and again after.
struct Wire {
    address: SocketAddr,
    cut: tokio::sync::watch::Sender<bool>,
}

impl Wire {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_cut = is_cut.clone();
                tokio::spawn(async move {
                    if *is_cut.borrow() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Wire { address, cut }
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_what_was_missed_is_made_up() {
    let lab = Lab::new(7, 10).await;
    let wire = Wire::to(lab.asterisk.http_addr()).await;
    let ari_url = format!("http://{}", wire.address);
    let service = serve(ServiceConfig { ari_url, ..lab.config.clone() }).await;
    let mut callers = Vec::new();
    for id in 0..3 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    sleep(Duration::from_millis(300)).await;
    wire.cut.send(true).unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(service.get("/health").await.0, 503);
    // One hangs up unheard.
    callers.pop().unwrap().hang_up().await;
    sleep(Duration::from_millis(200)).await;
    wire.cut.send(false).unwrap();
    let mut healthy = false;
    for _ in 0..100 {
        sleep(Duration::from_millis(50)).await;
        healthy = service.get("/health").await.0 == 200;
        if healthy && lab.left().await == (4, 2) {
            break;
        }
    }
    assert!(healthy);
    assert_eq!(lab.left().await, (4, 2));
    // The others are as they were, and new calls are taken.
    assert_whole(&callers[0].talk(Duration::from_millis(400), Codec::Pcmu).await, 0);
    callers.push(Caller::call(lab.sip(), "service", 9, Codec::Pcmu).await.expect("an answer"));
    sleep(Duration::from_millis(200)).await;
    for caller in &callers {
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(Outcome::Completed, 4)]));
    assert_eq!(report.disconnects, 1);
    lab.end().await;
}
