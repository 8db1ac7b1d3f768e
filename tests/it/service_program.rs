//! `loadtest service` as a program: its settings, its words, its last file; and as a run starts it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::lab::{Lab, Passing, QUICK};
use crate::harness::{Caller, Guarded, PATIENCE, Place, comes_true, ends_with, rows, stderr};
use hyper::Method;
use loadtest::ari::CallIds;
use loadtest::net::http::HttpClient;
use loadtest::record::ServiceRecord;
use loadtest::rtp::Codec;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

fn terminate(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("the program runs");
}

fn summary(path: &Path) -> ServiceRecord {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("a summary")
}

/// `loadtest service` that is ready for calls, where its /health is, and what it says until its end.
async fn start(
    place: &Place,
    lab: &Lab,
    ari_url: &str,
    file: &Path,
) -> (Guarded, SocketAddr, JoinHandle<Vec<String>>) {
    start_as(place.program(), lab, ari_url, file).await
}

/// The same of a program that was given its limits.
async fn start_as(
    mut program: Command,
    lab: &Lab,
    ari_url: &str,
    file: &Path,
) -> (Guarded, SocketAddr, JoinHandle<Vec<String>>) {
    program
        .args(["service", "--http", "127.0.0.1:0", "--metrics-file"])
        .arg(file)
        .env("ARI_URL", ari_url)
        .env("ARI_PASS", &lab.config.password)
        .env("PORT_RANGE", lab.config.port_range.to_string())
        .stderr(Stdio::piped());
    let mut child = Guarded::spawn(&mut program);
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (ready, mut is_ready) = mpsc::unbounded_channel();
    let reader = std::thread::spawn(move || {
        let mut address = None;
        let tell = |line: &String| {
            if let Some((_, at)) = line.split_once("health and metrics on http://") {
                address = at.parse().ok();
            }
            if let Some(address) = address.filter(|_| line.contains("ready for calls")) {
                let _ = ready.send(address);
            }
        };
        lines.inspect(tell).collect::<Vec<_>>()
    });
    let address = timeout(PATIENCE, is_ready.recv()).await.ok().flatten().expect("a service that is ready");
    (child, address, reader)
}

#[tokio::test]
async fn a_service_that_another_takes_over_from_says_so_and_writes_its_counts() {
    let lab = Lab::new(3).await;
    let place = Place::new();
    let file = place.path("service.json");
    let (mut child, _, reader) = start(&place, &lab, &lab.config.ari_url, &file).await;
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    sleep(Duration::from_millis(300)).await;
    let second = lab.serve().await;
    assert!(caller.is_hung_up().await);
    assert_ne!(child.wait().unwrap().code(), Some(0));
    let said = reader.join().unwrap();
    assert!(said.iter().any(|line| line.contains("give one of the two another --app")), "{said:#?}");
    let summary = summary(&file);
    assert_eq!((summary.calls.total, summary.ports.in_use), (1, 0));
    lab.assert_empty().await;
    second.stop().await;
    lab.end().await;
}

#[tokio::test]
async fn a_refused_reconnection_is_said_once_and_is_the_reason_on_health() {
    let lab = Lab::new(3).await;
    let place = Place::new();
    let wire = lab.wire().await;
    let file = place.path("service.json");
    let (mut child, address, reader) = start(&place, &lab, &format!("http://{}", wire.address), &file).await;
    let http = HttpClient::new(&format!("http://{address}"), None).unwrap();
    let told = async |words: &str| {
        let says_so = comes_true(async || {
            let answer = http.send(Method::GET, "/health", QUICK).await.unwrap();
            String::from_utf8_lossy(&answer.body).contains(words)
        });
        assert!(says_so.await, "/health does not say `{words}`");
    };
    wire.answer("GET", "/ari/events", 401, 3);
    wire.answer("GET", "/ari/events", 403, u32::MAX);
    wire.passing.send(Passing::Cut).unwrap();
    told("no event connection").await;
    wire.passing.send(Passing::Open).unwrap();
    told("HTTP status 401").await;
    told("HTTP status 403").await;
    wire.forget();
    told("\"healthy\"").await;
    terminate(&child);
    // The wire passes the goodbye on meanwhile.
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let said = reader.join().unwrap();
    for status in ["401", "403"] {
        let is_it = |line: &&String| line.contains(" WARN ") && line.contains(&format!("status={status}"));
        assert_eq!(said.iter().filter(is_it).count(), 1, "{said:#?}");
    }
    lab.end().await;
}

#[tokio::test]
async fn a_leftover_that_does_not_go_at_once_is_named_once_and_its_deletions_are_counted() {
    let lab = Lab::new(3).await;
    let place = Place::new();
    let wire = lab.wire().await;
    let bridge = CallIds::new(&lab.config.app, "1.1", 1, 1).bridge;
    let path = format!("/bridges/{bridge}?type=mixing");
    assert_eq!(lab.ari.send(Method::POST, &path, QUICK).await.unwrap().status, 200);
    wire.answer("DELETE", "/bridges/", 500, 2);
    let file = place.path("service.json");
    let (mut child, _, reader) = start(&place, &lab, &format!("http://{}", wire.address), &file).await;
    lab.assert_empty().await;
    sleep(Duration::from_millis(200)).await;
    terminate(&child);
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let said = reader.join().unwrap();
    let named = |line: &&String| line.contains("not deleted") && line.contains("HTTP status 500");
    assert_eq!(said.iter().filter(named).count(), 1, "{said:#?}");
    let summary = summary(&file);
    let deletions = &summary.operations["delete_bridge"];
    assert_eq!((deletions.statuses[&500], deletions.statuses[&204]), (2, 1));
    assert_eq!((deletions.retries, summary.retries), (2, 2));
    lab.end().await;
}

#[tokio::test]
async fn an_exhausted_pool_is_said_once_and_the_service_goes_on() {
    let lab = Lab::new(3).await;
    let place = Place::new();
    let (file, range) = (place.path("service.json"), lab.config.port_range.to_string());
    let (mut child, address, reader) = start(&place, &lab, &lab.config.ari_url, &file).await;
    let http = HttpClient::new(&format!("http://{address}"), None).unwrap();

    let mut held = Vec::new();
    for id in 0..3 {
        held.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    for id in 3..8 {
        assert_eq!(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.err(), Some(503));
    }
    held.pop().unwrap().hang_up().await;
    // Its port is free again.
    while http.send(Method::GET, "/health", QUICK).await.unwrap().status != 200 {
        sleep(Duration::from_millis(50)).await;
    }
    held.push(Caller::call(lab.sip(), "service", 9, Codec::Pcmu).await.expect("an answer"));
    for caller in &held {
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let said = reader.join().unwrap();
    let full: Vec<_> = said.iter().filter(|line| line.contains("no ports available")).collect();
    assert_eq!(full.len(), 1, "{said:#?}");
    assert!(full[0].ends_with(&format!("no ports available in {range}: 3 in use")), "{}", full[0]);
    let summary = summary(&file);
    assert_eq!((summary.calls.total, summary.ports.refused, summary.ports.in_use), (9, 5, 0));
    let refused = summary.outcomes.iter().find(|count| count.outcome == "no_port");
    assert_eq!(refused.map(|count| count.calls), Some(5));
    lab.end().await;
}

#[test]
fn a_run_sends_its_media_through_the_echo_server_that_its_scenario_names() {
    let place = Place::new();
    let mut echo =
        place.program().args(["echo", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(echo.stdout.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    let address = line.split(' ').find_map(|word| word.trim_end_matches(';').parse::<SocketAddr>().ok());
    let key = format!("service.echo={}", address.expect("where it listens"));
    let gates = r#"gates.require=["calls.answered == 100%", "loss.ratio < 50%"]"#;
    ends_with(&mut place.run("smoke", &[&key, "load.duration=3s", gates]), 0);
    terminate(&echo);
    assert_eq!(echo.wait().unwrap().code(), Some(0));

    let summary = summary(&place.out().join("logs/service.json"));
    let echo = summary.echo.expect("an echo server");
    assert_eq!(echo.relayed, echo.returned + echo.lost);
    // Along the whole way, warm-up included, no more comes out than went in.
    let calls = rows(&place.out().join("calls.csv"));
    let all = |what: &str| calls.iter().map(|call| call[what].parse::<u64>().expect("a count")).sum::<u64>();
    let way = [all("total_sent"), echo.relayed, echo.returned, all("total_received")];
    assert!(way.is_sorted_by(|a, b| a >= b) && way[3] > 0, "{way:?}");
    assert_eq!(echo.round_trip.count(), echo.returned);
    // Service time includes the way to the echo server.
    let service_time = place.metric("service_time.p50").as_f64().unwrap();
    assert!(service_time > echo.round_trip.milliseconds().p50_ms.unwrap() / 2.0, "{service_time} {echo:?}");
    let scenario = fs::read_to_string(place.out().join("scenario.toml")).unwrap();
    assert!(scenario.contains("echo = \"127.0.0.1:"), "{scenario}");
}

#[test]
fn an_echo_server_that_cannot_be_found_is_said_before_anything_starts() {
    let place = Place::new();
    for (echo, words) in [("nowhere", "write host and port"), ("no.such.host.invalid:4000", "--echo")] {
        let output = place
            .program()
            .args(["service", "--password", "x", "--echo", echo])
            .output()
            .expect("the program starts");
        assert_ne!(output.status.code(), Some(0));
        let said = stderr(&output);
        assert!(said.contains(words), "{said}");
    }
    ends_with(&mut place.run("smoke", &["service.echo=nowhere"]), 2);
}

#[tokio::test]
async fn a_lack_of_descriptors_is_named_and_leaves_the_service_and_its_calls_alone() {
    /// A quarter of it is kept back.
    const DESCRIPTORS: u64 = 96;
    const ROOM: u32 = 72;
    let lab = Lab::new(80).await;
    let place = Place::new();
    let file = place.path("service.json");
    let mut program = place.program();
    let limit = || Ok(setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS)?);
    // SAFETY: setrlimit(2) is async-signal-safe, and nothing else is called between fork and exec.
    unsafe { program.pre_exec(limit) };
    let (mut child, address, reader) = start_as(program, &lab, &lab.config.ari_url, &file).await;
    let http = HttpClient::new(&format!("http://{address}"), None).unwrap();

    let mut held = Vec::new();
    for id in 0..ROOM {
        held.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    for id in ROOM..ROOM + 3 {
        assert_eq!(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.err(), Some(503));
    }
    assert_eq!(
        http.send(Method::GET, "/health", QUICK).await.unwrap().status,
        200,
        "it is served all the same"
    );
    held.pop().unwrap().hang_up().await;
    lab.assert_left(2 * held.len(), held.len()).await;
    let is_free = comes_true(async || {
        let answer = http.send(Method::GET, "/metrics", QUICK).await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["active_channels"] == held.len()
    });
    assert!(is_free.await, "the call that was hung up is over");
    held.push(Caller::call(lab.sip(), "service", 99, Codec::Pcmu).await.expect("an answer"));
    for caller in &held {
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let said = reader.join().unwrap();
    let named =
        |line: &&String| line.contains("the limit of file descriptors leaves room for no further call");
    assert_eq!(said.iter().filter(named).count(), 1, "{said:#?}");
    let summary = summary(&file);
    assert_eq!((summary.calls.total, summary.ports.refused), (u64::from(ROOM) + 4, 3));
    lab.end().await;
}
