//! The built-in service after what must not happen: a lost connection, a crash, an Asterisk that is
//! killed, and answers that are no.

use std::time::Duration;

use crate::harness::lab::{Lab, Passing, QUICK, assert_whole, outcomes};
use crate::harness::{Caller, comes_true};
use hyper::Method;
use loadtest::ari::outcome::ServiceOutcome;
use loadtest::ari::request::Operation;
use loadtest::asterisk::Managed;
use loadtest::rtp::Codec;
use tokio::time::sleep;

#[tokio::test]
async fn a_lost_connection_is_made_again_and_what_was_missed_is_made_up() {
    let lab = Lab::new(10).await;
    let wire = lab.wire().await;
    let service = lab.serve_over(&wire).await;
    let mut callers = Vec::new();
    for id in 0..3 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    service.assert_bridged(3).await;
    wire.passing.send(Passing::Cut).unwrap();
    service.assert_health(503).await;
    // One hangs up unheard.
    callers.pop().unwrap().hang_up().await;
    lab.assert_left(5, 3).await;
    wire.passing.send(Passing::Open).unwrap();
    service.assert_health(200).await;
    lab.assert_left(4, 2).await;
    // The others are as they were, and new calls are taken.
    assert_whole(&callers[0].talk(Duration::from_millis(400), Codec::Pcmu).await, 0);
    callers.push(Caller::call(lab.sip(), "service", 9, Codec::Pcmu).await.expect("an answer"));
    service.assert_bridged(4).await;
    for caller in &callers {
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Completed, 4)]));
    assert_eq!(report.events.disconnects, 1);
    lab.end().await;
}

#[tokio::test]
async fn a_caller_whose_start_nobody_heard_is_served() {
    let lab = Lab::new(10).await;
    let wire = lab.wire().await;
    let service = lab.serve_over(&wire).await;
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
    service.assert_bridged(1).await;
    assert_served_to_the_end(&lab, &caller, 1).await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Completed, 1)]));
    assert_eq!(
        (report.calls.total, report.calls.adopted, report.calls.strays, report.events.disconnects),
        (1, 1, 0, 1)
    );
    lab.end().await;
}

#[tokio::test]
async fn a_call_whose_media_channel_came_unheard_is_bridged_all_the_same() {
    let lab = Lab::new(10).await;
    let wire = lab.wire().await;
    let service = lab.serve_over(&wire).await;
    service.assert_health(200).await;
    wire.deafen_at("/channels/externalMedia");
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    lab.assert_left(2, 1).await;
    assert_eq!(*wire.passing.borrow(), Passing::Deaf);
    sleep(Duration::from_millis(300)).await;
    wire.passing.send(Passing::Cut).unwrap();
    service.assert_health(503).await;
    wire.passing.send(Passing::Open).unwrap();
    service.assert_health(200).await;
    service.assert_bridged(1).await;
    assert_served_to_the_end(&lab, &caller, 1).await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Completed, 1)]));
    assert_eq!(
        (report.calls.total, report.calls.bridged, report.calls.adopted, report.calls.strays),
        (1, 1, 0, 0)
    );
    lab.end().await;
}

#[tokio::test]
async fn a_caller_who_was_taken_out_of_the_bridge_unheard_is_not_left_in_silence() {
    let lab = Lab::new(10).await;
    let wire = lab.wire().await;
    let service = lab.serve_over(&wire).await;
    let mut callers = Vec::new();
    for id in 0..2 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
        lab.assert_left(2 * (id as usize + 1), id as usize + 1).await;
    }
    service.assert_bridged(2).await;
    wire.passing.send(Passing::Cut).unwrap();
    service.assert_health(503).await;
    let bridges = lab.ari.send(Method::GET, "/bridges", QUICK).await.unwrap();
    let bridges: Vec<serde_json::Value> = serde_json::from_slice(&bridges.body).unwrap();
    let bridge = bridges[0]["id"].as_str().unwrap();
    let members = bridges[0]["channels"].as_array().unwrap().iter().filter_map(|id| id.as_str());
    let caller = members.min_by_key(|id| id.len()).unwrap();
    let path = format!("/bridges/{bridge}/removeChannel?channel={caller}");
    assert_eq!(lab.ari.send(Method::POST, &path, QUICK).await.unwrap().status, 204);
    lab.assert_left(4, 2).await;
    wire.passing.send(Passing::Open).unwrap();
    service.assert_health(200).await;
    // One of the two is ended for it, and the other is as it was.
    lab.assert_left(2, 1).await;
    sleep(Duration::from_millis(1500)).await;
    lab.assert_left(2, 1).await;
    let (first, second) = (&callers[0], &callers[1]);
    let limit = Duration::from_millis(500);
    let (first_over, second_over) =
        tokio::join!(first.is_hung_up_within(limit), second.is_hung_up_within(limit));
    assert_ne!(first_over, second_over);
    let (other, id) = if first_over { (second, 1) } else { (first, 0) };
    assert_served_to_the_end(&lab, other, id).await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Completed, 1), (ServiceOutcome::Unbridged, 1)]));
    lab.end().await;
}

#[tokio::test]
async fn after_a_crash_its_leftovers_are_cleared_and_its_callers_served() {
    let lab = Lab::new(10).await;
    let first = lab.serve().await;
    let mut callers = Vec::new();
    for id in 0..3 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    first.assert_bridged(3).await;
    assert_eq!(lab.left().await, (6, 3));
    first.crash().await;
    // One hangs up while there is no service: what was made for it stays.
    callers.pop().unwrap().hang_up().await;
    lab.assert_left(5, 3).await;

    let second = lab.serve().await;
    second.assert_health(200).await;
    comes_true(async || second.get("/metrics").await.1["total_latencies"] == 2).await;
    lab.assert_left(4, 2).await;
    for (id, caller) in (0..).zip(&callers) {
        assert_whole(&caller.talk(Duration::from_millis(400), Codec::Pcmu).await, id);
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    let report = second.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Completed, 2)]));
    assert_eq!((report.calls.total, report.calls.adopted, report.calls.strays), (2, 2, 6));
    lab.end().await;
}

#[tokio::test]
async fn an_asterisk_that_is_killed_under_calls_and_started_again_is_served_again() {
    let mut lab = Lab::new(10).await;
    let service = lab.serve().await;
    let mut callers = Vec::new();
    for id in 0..3 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    service.assert_bridged(3).await;
    let start = lab.start.clone();
    drop(lab.asterisk);
    service.assert_health(503).await;
    let (_, health) = service.get("/health").await;
    assert_eq!(health["status"], "degraded");
    assert!(health["reason"].as_str().unwrap().contains("no event connection"), "{health}");
    // Long enough for the pauses between attempts to have grown to their longest.
    sleep(Duration::from_secs(3)).await;

    lab.asterisk = Managed::start(start).await.expect("Asterisk starts again");
    service.assert_health(200).await;
    let caller = Caller::call(lab.sip(), "service", 7, Codec::Pcmu).await.expect("an answer");
    service.assert_bridged(4).await;
    assert_served_to_the_end(&lab, &caller, 7).await;
    let report = service.stop().await;
    assert_eq!(
        report.outcomes,
        outcomes(&[(ServiceOutcome::Completed, 1), (ServiceOutcome::AsteriskRestarted, 3)])
    );
    assert_eq!((report.events.disconnects, report.ports.in_use, report.calls.left_behind), (1, 0, 0));
    lab.end().await;
}

#[tokio::test]
async fn what_asterisk_cannot_do_just_now_is_asked_for_again() {
    let lab = Lab::new(10).await;
    let wire = lab.wire().await;
    let service = lab.serve_over(&wire).await;
    service.assert_health(200).await;
    wire.answer("POST", "/answer", 412, 2);
    wire.answer("POST", "/addChannel", 422, 1);
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    service.assert_bridged(1).await;
    assert_served_to_the_end(&lab, &caller, 1).await;
    let (_, text) = service.get_as("/metrics", "application/openmetrics-text").await;
    let retries = r#"loadtest_service_rest_retries_total{operation="answer"} 2"#;
    assert!(text.lines().any(|line| line == retries), "{text}");
    let finished = service.finish().await;
    assert_eq!(finished.counted.record.outcomes, outcomes(&[(ServiceOutcome::Completed, 1)]));
    let (answer, add) =
        (&finished.counted.record.operations["answer"], &finished.counted.record.operations["add_channels"]);
    assert_eq!((answer.statuses[&412], answer.statuses[&204], answer.retries), (2, 1, 2));
    assert_eq!((add.statuses[&422], add.statuses[&204], add.retries), (1, 1, 1));
    assert_eq!(finished.counted.record.retries, 3);
    lab.end().await;
}

#[tokio::test]
async fn a_call_that_is_bridged_only_in_words_or_not_at_all_is_ended_and_named() {
    let lab = Lab::new(10).await;
    let wire = lab.wire().await;
    let service = lab.serve_over(&wire).await;
    service.assert_health(200).await;
    wire.answer("POST", "/addChannel", 404, 1);
    let refused = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    assert!(refused.is_hung_up().await);
    lab.assert_empty().await;
    wire.answer("POST", "/addChannel", 204, 1);
    let silent = Caller::call(lab.sip(), "service", 2, Codec::Pcmu).await.expect("an answer");
    assert!(silent.is_hung_up().await);
    lab.assert_empty().await;
    let report = service.stop().await;
    let no = ServiceOutcome::Refused { operation: Operation::AddChannels, status: Some(404) };
    assert_eq!(report.outcomes, outcomes(&[(no, 1), (ServiceOutcome::NotBridged, 1)]));
    assert_eq!((report.calls.bridged, report.calls.left_behind, report.retries), (0, 0, 0));
    lab.end().await;
}

#[tokio::test]
async fn a_caller_behind_leftovers_that_do_not_go_is_hung_up_and_the_next_one_served() {
    let lab = Lab::new(10).await;
    let first = lab.serve().await;
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    first.assert_bridged(1).await;
    first.crash().await;
    let wire = lab.wire().await;
    wire.answer("DELETE", "/bridges/", 500, u32::MAX);
    let second = lab.serve_over(&wire).await;
    assert_eq!(second.get("/health").await.0, 503);
    assert!(caller.is_hung_up().await);
    second.assert_health(200).await;
    lab.assert_left(0, 1).await;
    wire.forget();
    let next = Caller::call(lab.sip(), "service", 2, Codec::Pcmu).await.expect("an answer");
    second.assert_bridged(1).await;
    assert_whole(&next.talk(Duration::from_millis(400), Codec::Pcmu).await, 2);
    next.hang_up().await;
    lab.assert_left(0, 1).await;
    let report = second.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Completed, 1), (ServiceOutcome::NotCleared, 1)]));
    assert_eq!((report.calls.adopted, report.calls.strays), (0, 2));
    let deletions = &report.operations["delete_bridge"];
    assert!(deletions.statuses[&500] > 2, "{deletions:?}");
    assert_eq!(deletions.retries, deletions.statuses[&500] - 1);
    lab.end().await;
}

/// The caller hears all that it says, and hangs up; nothing of its call is left.
async fn assert_served_to_the_end(lab: &Lab, caller: &Caller, id: u32) {
    assert_whole(&caller.talk(Duration::from_millis(400), Codec::Pcmu).await, id);
    caller.hang_up().await;
    lab.assert_empty().await;
}
