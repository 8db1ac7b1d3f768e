//! The built-in service after what must not happen: a lost connection, a crash, an Asterisk that is killed.

mod support;

use std::time::Duration;

use loadtest::ari::outcome::Outcome;
use loadtest::asterisk::Asterisk;
use loadtest::rtp::Codec;
use loadtest::service::ServiceConfig;
use support::Caller;
use support::lab::{Lab, Passing, Wire, assert_whole, outcomes, serve};
use tokio::time::sleep;

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
    wire.passing.send(Passing::Cut).unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(service.get("/health").await.0, 503);
    // One hangs up unheard.
    callers.pop().unwrap().hang_up().await;
    sleep(Duration::from_millis(200)).await;
    wire.passing.send(Passing::Open).unwrap();
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

#[tokio::test]
async fn a_caller_whose_start_nobody_heard_is_served() {
    let lab = Lab::new(0, 10).await;
    let wire = Wire::to(lab.asterisk.http_addr()).await;
    let ari_url = format!("http://{}", wire.address);
    let service = serve(ServiceConfig { ari_url, ..lab.config.clone() }).await;
    service.assert_health(200).await;
    wire.passing.send(Passing::Frozen).unwrap();
    let breaks = async {
        // The caller is in the application, and its StasisStart is lost with the connection.
        lab.assert_left(1, 0).await;
        wire.passing.send(Passing::Cut).unwrap();
        sleep(Duration::from_millis(100)).await;
        wire.passing.send(Passing::Open).unwrap();
    };
    let (caller, ()) = tokio::join!(Caller::call(lab.sip(), "service", 1, Codec::Pcmu), breaks);
    let caller = caller.expect("an answer");
    sleep(Duration::from_millis(300)).await;
    assert_whole(&caller.talk(Duration::from_millis(400), Codec::Pcmu).await, 1);
    caller.hang_up().await;
    lab.assert_empty().await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(Outcome::Completed, 1)]));
    assert_eq!((report.calls, report.adopted, report.strays, report.disconnects), (1, 1, 0, 1));
    lab.end().await;
}

#[tokio::test]
async fn after_a_crash_its_leftovers_are_cleared_and_its_callers_served() {
    let lab = Lab::new(1, 10).await;
    let first = lab.serve().await;
    let mut callers = Vec::new();
    for id in 0..3 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(lab.left().await, (6, 3));
    first.crash().await;
    // One hangs up while there is no service: what was made for it stays.
    callers.pop().unwrap().hang_up().await;
    lab.assert_left(5, 3).await;

    let second = lab.serve().await;
    second.assert_health(200).await;
    for _ in 0..100 {
        sleep(Duration::from_millis(50)).await;
        if second.get("/metrics").await.1["total_latencies"] == 2 {
            break;
        }
    }
    assert_eq!(lab.left().await, (4, 2));
    for (id, caller) in (0..).zip(&callers) {
        assert_whole(&caller.talk(Duration::from_millis(400), Codec::Pcmu).await, id);
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    let report = second.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(Outcome::Completed, 2)]));
    assert_eq!((report.calls, report.adopted, report.strays), (2, 2, 6));
    lab.end().await;
}

#[tokio::test]
async fn an_asterisk_that_is_killed_under_calls_and_started_again_is_served_again() {
    let mut lab = Lab::new(2, 10).await;
    let service = lab.serve().await;
    let mut callers = Vec::new();
    for id in 0..3 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    sleep(Duration::from_millis(300)).await;
    let start = lab.start.clone();
    drop(lab.asterisk);
    service.assert_health(503).await;
    let (_, health) = service.get("/health").await;
    assert_eq!(health["status"], "degraded");
    assert!(health["reason"].as_str().unwrap().contains("no event connection"), "{health}");
    // Long enough for the pauses between attempts to have grown to their longest.
    sleep(Duration::from_secs(3)).await;

    lab.asterisk = Asterisk::start(start).await.expect("Asterisk starts again");
    service.assert_health(200).await;
    let caller = Caller::call(lab.sip(), "service", 7, Codec::Pcmu).await.expect("an answer");
    sleep(Duration::from_millis(300)).await;
    assert_whole(&caller.talk(Duration::from_millis(400), Codec::Pcmu).await, 7);
    caller.hang_up().await;
    lab.assert_empty().await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(Outcome::Completed, 1), (Outcome::AsteriskRestarted, 3)]));
    assert_eq!((report.disconnects, report.ports.in_use, report.left_behind), (1, 0, 0));
    lab.end().await;
}
