//! `loadtest service` as a program: its settings, its words, its last file; and as a run starts it.

mod common;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use common::{Place, ends_with};
use loadtest::ari::outcome::Outcome;
use loadtest::rtp::Codec;
use loadtest::service::ServiceSummary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Caller;
use support::lab::Lab;
use tokio::time::sleep;

fn terminate(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("the program runs");
}

fn summary(path: &std::path::Path) -> ServiceSummary {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("a summary")
}

#[tokio::test]
async fn an_exhausted_pool_is_said_once_and_the_service_goes_on() {
    let lab = Lab::new(0, 3).await;
    let place = Place::new(0);
    let (file, range) = (place.path("service.json"), lab.config.ports.to_string());
    let mut child = place
        .program()
        .args(["service", "--http", "127.0.0.1:0", "--metrics-file"])
        .arg(&file)
        .env("ARI_URL", &lab.config.ari_url)
        .env("ARI_PASS", &lab.config.password)
        .env("PORT_RANGE", &range)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (ready, is_ready) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let tell = |line: &String| {
            if line.contains("ready for calls") {
                let _ = ready.send(());
            }
        };
        lines.inspect(tell).collect::<Vec<_>>()
    });
    is_ready.recv_timeout(Duration::from_secs(10)).expect("a service that is ready");

    let mut held = Vec::new();
    for id in 0..3 {
        held.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    for id in 3..8 {
        assert_eq!(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.err(), Some(503));
    }
    held.pop().unwrap().hang_up().await;
    sleep(Duration::from_millis(500)).await;
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
    let refused = summary.outcomes.iter().find(|count| count.outcome == Outcome::NoPort);
    assert_eq!(refused.map(|count| count.calls), Some(5));
    lab.end().await;
}

#[test]
fn a_run_sends_its_media_through_the_echo_server_that_its_scenario_names() {
    let place = Place::new(1);
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
    assert!(echo.returned >= place.count("packets.received"), "{echo:?}");
    assert_eq!(echo.round_trip.count, echo.returned);
    // What the service does with a packet includes the way to the echo server.
    let service_time = place.metric("service_time.p50").as_f64().unwrap();
    assert!(service_time > echo.round_trip.p50_ms.unwrap() / 2.0, "{service_time} {echo:?}");
    let scenario = fs::read_to_string(place.out().join("scenario.toml")).unwrap();
    assert!(scenario.contains("echo = \"127.0.0.1:"), "{scenario}");
}

#[test]
fn an_echo_server_that_cannot_be_found_is_said_before_anything_starts() {
    let place = Place::new(2);
    for (echo, words) in [("nowhere", "write host and port"), ("no.such.host.invalid:4000", "--echo")] {
        let output = place
            .program()
            .args(["service", "--password", "x", "--echo", echo])
            .output()
            .expect("the program starts");
        assert_ne!(output.status.code(), Some(0));
        let said = common::stderr(&output);
        assert!(said.contains(words), "{said}");
    }
    ends_with(&mut place.run("smoke", &["service.echo=nowhere"]), 2);
}
