//! The built-in service against real Asterisks: every call bridged, none silent, nothing left.

use std::time::Duration;

use crate::harness::lab::{Lab, assert_back, assert_whole, outcomes};
use crate::harness::{Caller, comes_true};
use loadtest::ari::outcome::ServiceOutcome;
use loadtest::echo::EchoServer;
use loadtest::rtp::Codec;
use loadtest::service::{AriService, ServiceConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

#[tokio::test]
async fn fifty_calls_are_bridged_echoed_and_cleared() {
    let lab = Lab::new(60).await;
    let before = lab.descriptors();
    let service = lab.serve().await;
    let mut calls = JoinSet::new();
    for id in 0..50 {
        let sip = lab.sip();
        calls.spawn(
            async move { (id, Caller::call(sip, "service", id, Codec::Pcmu).await.expect("an answer")) },
        );
        sleep(Duration::from_millis(50)).await;
    }
    let callers = calls.join_all().await;
    // The 200 comes before both are in the bridge.
    service.assert_bridged(50).await;
    let mut calls = JoinSet::new();
    for (id, caller) in callers {
        calls.spawn(async move {
            let echo = caller.talk(Duration::from_secs(2), Codec::Pcmu).await;
            (id, echo, caller.hang_up().await)
        });
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
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Completed, 50)]));
    assert_eq!((report.calls.bridged, report.calls.silent, report.calls.left_behind), (50, 0, 0));
    assert_eq!(report.events.hung_up_starts, 0);
    assert_eq!((report.media.received, report.media.sent, report.media.lost), (5000, 5000, 0));
    assert_eq!((report.media.strangers, report.media.drops, report.media.send_errors), (0, 0, 0));
    assert_eq!(report.stages.first_packet.count(), 50);
    lab.assert_descriptors(before + 4).await;
    lab.end().await;
}

#[tokio::test]
async fn callers_who_hang_up_at_the_worst_moment_leave_nothing() {
    // Few ports, so that each is used again and again.
    let lab = Lab::new(40).await;
    let service = lab.serve().await;
    let mut calls = JoinSet::new();
    // Each of so many at a time finds a port, however long the ones before it take to give theirs back.
    const AT_A_TIME: u64 = 16;
    for id in 0..150 {
        while calls.len() as u64 >= AT_A_TIME {
            calls.join_next().await.expect("a call").expect("it ends");
        }
        service.assert_free(AT_A_TIME).await;
        let sip = lab.sip();
        calls.spawn(async move {
            let caller = Caller::call(sip, "service", id, Codec::Pcmu).await.expect("an answer");
            sleep(Duration::from_micros(u64::from(id) * 137 % 9000)).await;
            caller.hang_up().await
        });
        sleep(Duration::from_millis(25)).await;
        while calls.try_join_next().is_some() {}
    }
    calls.join_all().await;
    lab.assert_empty().await;
    let report = service.stop().await;
    assert_eq!((report.calls.total, report.calls.left_behind, report.calls.active), (150, 0, 0));
    let over: u64 = report.outcomes.iter().map(|o| o.calls).sum();
    assert_eq!(over, 150, "{:?}", report.outcomes);
    let kinds = ["completed", "caller_gone"];
    assert!(report.outcomes.iter().all(|o| kinds.contains(&o.outcome.as_str())), "{:?}", report.outcomes);
    lab.end().await;
}

#[tokio::test]
async fn without_a_port_a_call_is_turned_away_and_the_next_one_is_not() {
    let lab = Lab::new(3).await;
    let service = lab.serve().await;
    let mut held = Vec::new();
    for id in 0..3 {
        held.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    // A caller who hangs up before is gone, and not served.
    service.assert_bridged(3).await;
    assert_eq!(service.get("/health").await.0, 503);
    for id in 3..6 {
        let refusal = Caller::try_call(lab.sip(), "service", id, Codec::Pcmu).await.err().unwrap();
        assert!(refusal.starts_with("SIP/2.0 503 "), "{refusal}");
        assert!(refusal.to_ascii_lowercase().contains("reason: q.850;cause=34"), "{refusal}");
    }
    held.pop().unwrap().hang_up().await;
    service.assert_health(200).await;
    let again = Caller::call(lab.sip(), "service", 6, Codec::Pcmu).await.expect("an answer");
    service.assert_bridged(4).await;
    assert_whole(&again.talk(Duration::from_millis(400), Codec::Pcmu).await, 6);
    for caller in held.iter().chain([&again]) {
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    let report = service.stop().await;
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Completed, 4), (ServiceOutcome::NoPort, 3)]));
    lab.end().await;
}

#[tokio::test]
async fn a_shutdown_hangs_up_and_clears() {
    let lab = Lab::new(20).await;
    let service = lab.serve().await;
    let mut callers = Vec::new();
    for id in 0..5 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    service.assert_bridged(5).await;
    let hung_up = async {
        for caller in &callers {
            assert!(caller.is_hung_up().await);
        }
    };
    let (report, ()) = tokio::join!(service.stop(), hung_up);
    assert_eq!(report.outcomes, outcomes(&[(ServiceOutcome::Shutdown, 5)]));
    assert_eq!((report.calls.left_behind, report.calls.active), (0, 0));
    lab.assert_empty().await;
    lab.end().await;
}

#[tokio::test]
async fn a_law_survives_when_the_service_is_told() {
    let mut lab = Lab::new(20).await;
    lab.config.codec = Codec::Pcma;
    let service = lab.serve().await;
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcma).await.expect("an answer");
    service.assert_bridged(1).await;
    assert_whole(&caller.talk(Duration::from_millis(600), Codec::Pcma).await, 1);
    caller.hang_up().await;
    service.stop().await;
    lab.end().await;
}

#[tokio::test]
async fn what_is_missing_at_the_start_is_said_with_its_cure() {
    let lab = Lab::new(3).await;
    let wrong = ServiceConfig { password: "wrong".into(), ..lab.config.clone() };
    let error = AriService::start(wrong).await.err().unwrap();
    assert!(error.to_string().contains("refuses user `loadtest` (HTTP status 401)"), "{error}");
    let nobody = ServiceConfig { ari_url: "http://127.0.0.1:9".into(), ..lab.config.clone() };
    let error = AriService::start(nobody).await.err().unwrap();
    assert!(error.to_string().starts_with("no ARI at http://127.0.0.1:9: "), "{error}");
    let nowhere = ServiceConfig { media_ip: "0.0.0.0".parse().unwrap(), ..lab.config.clone() };
    let error = AriService::start(nowhere).await.err().unwrap();
    assert!(error.to_string().contains("--media-ip"), "{error}");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = taken.local_addr().unwrap();
    let error = AriService::start(ServiceConfig { http, ..lab.config.clone() }).await.err().unwrap();
    assert!(error.to_string().contains("--http"), "{error}");
    lab.end().await;
}

#[tokio::test]
async fn another_service_under_the_same_name_ends_the_first() {
    let lab = Lab::new(3).await;
    let first = lab.serve().await;
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    first.assert_bridged(1).await;
    let second = lab.serve().await;
    let finished = first.task.await.unwrap();
    let failure = finished.failure.expect("a reason").to_string();
    assert!(failure.contains("another client has connected"), "{failure}");
    assert_eq!((finished.counted.record.calls.total, finished.counted.record.calls.bridged), (1, 1));
    assert!(caller.is_hung_up().await);
    lab.assert_empty().await;
    second.stop().await;
    lab.end().await;
}

#[tokio::test]
async fn with_an_echo_server_its_round_trips_are_measured_and_its_losses_counted() {
    let mut lab = Lab::new(10).await;
    let echo = EchoServer::start("127.0.0.1:0".parse().unwrap()).unwrap();
    lab.config.echo = Some(echo.local_addr().to_string().parse().unwrap());
    let service = lab.serve().await;
    let mut callers = Vec::new();
    for id in 0..2 {
        callers.push(Caller::call(lab.sip(), "service", id, Codec::Pcmu).await.expect("an answer"));
    }
    service.assert_bridged(2).await;
    // The stamps between the caller's own are the service's, and not the echo's inside of them.
    let whole = callers[0].talk(Duration::from_secs(1), Codec::Pcmu).await;
    assert_back(&whole, 0);
    for (probe, rtt) in whole.probes.iter().zip(&whole.rtt) {
        let reflection = probe.reflection.unwrap();
        assert!(reflection.out_at.since(reflection.in_at) < *rtt);
    }
    // The media thread's counts are shown a second later or so.
    comes_true(async || service.get("/metrics").await.1["total_latencies"] == 50).await;
    let metrics = service.get("/metrics").await.1;
    assert_eq!((&metrics["total_latencies"], &metrics["packet_loss_ratio"]), (&50.into(), &0.0.into()));
    assert!(metrics["p50_latency"].as_f64().unwrap() > 0.0);
    let (_, text) = service.get_as("/metrics", "application/openmetrics-text").await;
    assert!(text.contains("loadtest_service_echo_round_trip_seconds_count 50\n"), "{text}");

    assert_eq!(echo.stop().probes, 50);
    let silent = callers[1].talk(Duration::from_millis(400), Codec::Pcmu).await;
    assert_eq!((silent.sent, silent.probes.len()), (20, 0));
    for caller in &callers {
        caller.hang_up().await;
    }
    lab.assert_empty().await;
    let finished = service.finish().await;
    let echo = finished.counted.record.echo.unwrap();
    assert_eq!((echo.relayed, echo.returned, echo.lost), (70, 50, 20));
    assert_eq!(finished.counted.metrics.packet_loss_ratio, Some(20.0 / 70.0));
    assert_eq!((finished.counted.record.media.received, finished.counted.record.media.sent), (70, 50));
    lab.end().await;
}

#[tokio::test]
async fn metrics_come_in_the_form_that_is_asked_for() {
    let lab = Lab::new(10).await;
    let service = lab.serve().await;
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    service.assert_bridged(1).await;
    assert_whole(&caller.talk(Duration::from_millis(400), Codec::Pcmu).await, 1);
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2,*/*;q=0.1";
    let (head, text) = service.get_as("/metrics", prometheus).await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in [
        "loadtest_service_calls_total 1",
        "loadtest_service_calls_active 1",
        "loadtest_service_ports_in_use 1",
        "loadtest_service_ports_free 9",
        "loadtest_service_media_received_packets_total 20",
        "loadtest_service_media_sent_packets_total 20",
        r#"loadtest_service_rest_requests_total{operation="answer",status="204"} 1"#,
        // While the call is up: none of them waits for its end.
        r#"loadtest_service_stage_duration_seconds_count{stage="media_ready"} 1"#,
        r#"loadtest_service_stage_duration_seconds_count{stage="bridged"} 1"#,
        r#"loadtest_service_stage_duration_seconds_count{stage="first_packet"} 1"#,
        r#"loadtest_service_events_total{type="ChannelEnteredBridge"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let (head, body) = service.get_as("/metrics", "*/*").await;
    assert!(head.contains("content-type: application/json") && head.contains("vary: accept"), "{head}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap().as_object().unwrap().len(), 11);
    caller.hang_up().await;
    lab.assert_empty().await;

    let record = service.stop().await;
    let stages = &record.stages;
    let stages = [&stages.answered, &stages.media_ready, &stages.bridged, &stages.first_packet];
    let [answered, media_ready, bridged, first_packet] = stages.map(|stage| stage.milliseconds());
    for stage in [answered, media_ready, bridged, first_packet] {
        assert_eq!(stage.count, 1);
        assert!(stage.p50_ms.unwrap() > 0.0 && stage.p50_ms <= stage.max_ms);
    }
    assert!(answered.max_ms <= bridged.max_ms && bridged.max_ms < first_packet.max_ms);
    assert_eq!(record.operations["add_channels"].statuses[&204], 1);
    let events = &record.events;
    assert_eq!((events.by_type["StasisStart"], events.malformed, events.ahead), (2, 0, 0));
    assert_eq!((events.lag.count(), events.by_type.values().sum::<u64>()), (events.total, events.total));
    lab.end().await;
}

#[tokio::test]
async fn callers_by_the_thousand_that_are_none_are_refused_and_the_next_call_is_served() {
    const FLOOD: u64 = 5000;
    let lab = Lab::new(10).await;
    let wire = lab.wire().await;
    let service = lab.serve_over(&wire).await;
    service.assert_health(200).await;
    let start = |n| {
        let channel = format!(r#"{{"id":"flood-{n}","name":"PJSIP/driver-{n}","state":"Ring"}}"#);
        let time = "2026-11-26T09:00:00.000+0000";
        format!(
            r#"{{"type":"StasisStart","application":"loadtest","timestamp":"{time}","args":[],"channel":{channel}}}"#
        )
    };
    wire.forge((0..FLOOD).map(start));
    let ended = async || {
        let (_, metrics) = service.get("/metrics").await;
        metrics["total_channels"] == FLOOD && metrics["active_channels"] == 0
    };
    assert!(comes_true(ended).await, "{:?}", service.get("/metrics").await);
    service.assert_free(10).await;
    lab.assert_empty().await;
    let caller = Caller::call(lab.sip(), "service", 1, Codec::Pcmu).await.expect("an answer");
    service.assert_bridged(1).await;
    assert_whole(&caller.talk(Duration::from_millis(400), Codec::Pcmu).await, 1);
    caller.hang_up().await;
    lab.assert_empty().await;
    let report = service.stop().await;
    let told: u64 = report.outcomes.iter().map(|count| count.calls).sum();
    assert_eq!((report.calls.total, told + report.calls.unheeded), (FLOOD + 1, FLOOD + 1));
    let count = |outcome: &str| {
        report.outcomes.iter().filter(|count| count.outcome == outcome).map(|count| count.calls).sum::<u64>()
    };
    assert!(count("no_port") > 0 && count("completed") == 1, "{:?}", report.outcomes);
    assert_eq!((report.calls.left_behind, report.events.malformed), (0, 0));
    lab.end().await;
}
