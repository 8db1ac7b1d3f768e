//! The metrics as OpenMetrics text, for Prometheus and its like.

use super::metrics::Snapshot;
use crate::openmetrics::{Labels, Page, Samples, plain};
use crate::record::OutcomeCount;

/// First part of every metric's name.
const PREFIX: &str = "loadtest_service";

/// The text, which ends in `# EOF`.
pub fn text(now: &Snapshot) -> String {
    let mut page = Page::default();
    calls(&mut page, now);
    asterisk(&mut page, now);
    media(&mut page, now);
    page.text(PREFIX, Labels::new())
}

/// The text in the older format of Prometheus, which `promtool check metrics` reads.
pub fn plain_text(now: &Snapshot) -> String {
    plain(&text(now))
}

fn calls(page: &mut Page, now: &Snapshot) {
    let (calls, stages) = (&now.record.calls, &now.record.stages);
    let healthy = u64::from(now.degraded.is_none());
    page.gauge("healthy", None, "1, or 0 while /health says degraded", healthy);
    page.counter("calls", "Callers that entered the application", calls.total);
    page.counter("calls_adopted", "Callers that were found waiting in the application", calls.adopted);
    page.gauge("calls_active", None, "Calls that are not over yet", calls.active);
    page.counter("calls_bridged", "Calls whose caller and media were both in the bridge", calls.bridged);
    page.counter("calls_silent", "Bridged calls that ended without a media packet", calls.silent);
    let outcomes = now.record.outcomes.iter().map(|outcome| (outcome_labels(outcome), outcome.calls));
    page.counter("calls_ended", "Calls that are over, by how they ended", Samples::from_iter(outcomes));
    let left = calls.left_behind;
    page.counter("calls_left_behind", "Calls after which something could not be deleted", left);
    let stages = [
        ("answered", &stages.answered),
        ("media_ready", &stages.media_ready),
        ("bridged", &stages.bridged),
        ("first_packet", &stages.first_packet),
        ("released", &stages.released),
    ];
    page.durations(
        "stage_duration",
        "From the caller's StasisStart to each stage; released: from the call's end to nothing held",
        Samples::from_iter(stages.map(|(stage, durations)| (vec![("stage", stage.to_string())], durations))),
    );
}

fn asterisk(page: &mut Page, now: &Snapshot) {
    let (record, ports) = (&now.record, &now.record.ports);
    let operations = || record.operations.iter().map(|(op, stats)| (("operation", op.clone()), stats));
    let answers = operations().flat_map(|(operation, stats)| {
        let answered = stats.statuses.iter().map(|(status, count)| (status.to_string(), *count));
        let unanswered = (stats.unanswered > 0).then(|| ("none".to_string(), stats.unanswered));
        let answers = answered.chain(unanswered);
        answers.map(move |(status, count)| (vec![operation.clone(), ("status", status)], count))
    });
    let help = "REST requests by HTTP status; none: without an answer";
    page.counter("rest_requests", help, Samples::from_iter(answers));
    let retries = operations().map(|(operation, stats)| (vec![operation], stats.retries));
    let help = "REST requests that repeated an earlier one";
    page.counter("rest_retries", help, Samples::from_iter(retries));
    let latencies = operations().map(|(operation, stats)| (vec![operation], &stats.latency));
    let help = "From a REST request to its whole answer";
    page.durations("rest_duration", help, Samples::from_iter(latencies));
    let events = record.events.by_type.iter().map(|(kind, count)| (vec![("type", kind.to_string())], *count));
    page.counter("events", "ARI events by type", Samples::from_iter(events));
    page.counter("events_malformed", "WebSocket messages that were no events", record.events.malformed);
    let lag = &record.events.lag;
    page.durations("event_lag", "From Asterisk's time of an event until it was dealt with", lag);
    page.counter("disconnects", "Times that the event connection was lost", record.events.disconnects);
    page.counter("strays_deleted", "Channels and bridges of ours that no call knew of", record.calls.strays);
    page.gauge("ports_in_use", None, "Media ports that calls hold", ports.in_use);
    page.gauge("ports_free", None, "Media ports that can be taken", ports.free);
    page.gauge("ports_held_by_others", None, "Media ports that other programs hold", ports.held_by_others);
    page.counter("calls_without_port", "Calls turned away because no port was free", ports.refused);
}

fn media(page: &mut Page, now: &Snapshot) {
    let media = &now.media;
    page.counter("media_received_packets", "Media packets from Asterisk", media.received);
    page.counter("media_sent_packets", "Media packets sent back to Asterisk", media.sent);
    let lost = media.lost();
    page.counter("media_lost_packets", "Probes that never came here, by gaps in their numbers", lost);
    page.counter("media_dropped_packets", "Media packets that the kernel dropped", media.drops);
    let Some(echo) = &now.record.echo else { return };
    page.counter("echo_relayed_packets", "Packets sent to the echo server", echo.relayed);
    page.counter("echo_returned_packets", "Packets back from the echo server", echo.returned);
    page.counter("echo_lost_packets", "Packets that the echo server did not send back", echo.lost);
    let trips = &echo.round_trip;
    page.durations("echo_round_trip", "To the echo server and back, packet by packet", trips);
}

fn outcome_labels(ended: &OutcomeCount) -> Labels {
    let mut labels = vec![("outcome", ended.outcome.clone())];
    if let Some(operation) = &ended.operation {
        labels.push(("operation", operation.clone()));
        labels.push(("status", ended.status.map_or("none".to_string(), |status| status.to_string())));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::nothing;
    use super::*;
    use crate::ari::outcome::ServiceOutcome;
    use crate::ari::request::Operation;
    use std::collections::HashSet;
    use std::time::Duration;

    fn full() -> Snapshot {
        let mut now = nothing();
        let refused = ServiceOutcome::Refused { operation: Operation::Answer, status: None };
        [ServiceOutcome::Completed; 3].into_iter().chain([refused]).for_each(|o| now.record.add_outcome(o));
        now.record.add_answer(Operation::Answer, Some(204), Duration::from_millis(3));
        now.record.add_answer(Operation::Answer, None, Duration::ZERO);
        now.record.add_event("StasisStart", None, now.at, now.at);
        for ms in [3, 70_000] {
            now.record.stages.bridged.record(Duration::from_millis(ms));
        }
        now.record.echo = Some(Default::default());
        now
    }

    #[test]
    fn the_text_is_openmetrics() {
        let text = text(&full());
        for line in [
            "# TYPE loadtest_service_calls_ended counter",
            r#"loadtest_service_calls_ended_total{outcome="completed"} 3"#,
            r#"loadtest_service_calls_ended_total{outcome="refused",operation="answer",status="none"} 1"#,
            r#"loadtest_service_rest_requests_total{operation="answer",status="204"} 1"#,
            r#"loadtest_service_rest_requests_total{operation="answer",status="none"} 1"#,
            "# UNIT loadtest_service_stage_duration_seconds seconds",
            r#"loadtest_service_stage_duration_seconds_bucket{le="0.0025",stage="bridged"} 0"#,
            r#"loadtest_service_stage_duration_seconds_bucket{le="0.005",stage="bridged"} 1"#,
            r#"loadtest_service_stage_duration_seconds_bucket{le="10.0",stage="bridged"} 1"#,
            r#"loadtest_service_stage_duration_seconds_bucket{le="+Inf",stage="bridged"} 2"#,
            r#"loadtest_service_stage_duration_seconds_sum{stage="bridged"} 70.003"#,
            "loadtest_service_healthy 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let help: Vec<_> = text.lines().filter(|line| line.starts_with("# HELP ")).collect();
        let names: HashSet<_> = help.iter().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(names.len(), help.len(), "a name appears twice");
    }

    #[test]
    fn promtool_has_nothing_to_say() {
        assert_eq!(crate::openmetrics::lint::problems(&plain_text(&full())), [""; 0]);
    }

    /// Every metric that the dashboard asks for is there, under the labels that it asks by.
    #[test]
    fn the_dashboard_asks_for_what_there_is() {
        let text = text(&full());
        let dashboard = include_str!("../../docs/grafana-dashboard.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
        assert!(queries.len() >= panels.len(), "a panel without a query");
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for query in queries {
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let names: Vec<_> = words.filter(|word| word.starts_with(PREFIX)).collect();
            assert!(!names.is_empty(), "{query}");
            let grouped = query.split("by (").nth(1).map(|rest| rest.split(')').next().unwrap());
            for name in names {
                let of_name = |line: &&&str| line.split(['{', ' ']).next() == Some(name);
                let sample = samples.iter().find(of_name);
                let sample = sample.unwrap_or_else(|| panic!("{name} of {query} is not in\n{text}"));
                for label in grouped.iter().flat_map(|labels| labels.split(',')).map(str::trim) {
                    assert!(sample.contains(&format!("{label}=\"")), "{label} of {query} is not in {sample}");
                }
            }
        }
    }
}
