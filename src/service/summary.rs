//! The service's last words: everything it has counted, as the file of `--metrics-file`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metrics::{Metrics, Snapshot};
use super::stats::{Durations, OperationStats, PortCounts, ServiceReport};
use crate::ari::outcome::Outcome;

/// All that a service has counted in its life. Durations are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// The same as GET /metrics would give.
    pub metrics: Metrics,
    /// Calls.
    pub calls: Calls,
    /// Calls that are over, by how they ended: `outcome`, for `refused` also `operation` and `status`,
    /// and `calls`.
    pub outcomes: Vec<OutcomeCount>,
    /// Requests that repeated an earlier one, of all operations.
    pub retries: u64,
    /// How long the stages of the calls' set-up and teardown took.
    pub stages: StageSummary,
    /// REST operations by name: `answer`, `create_bridge`, `create_media`, `add_channels`, `hang_up`,
    /// `delete_media`, `delete_bridge`.
    pub operations: BTreeMap<String, OperationSummary>,
    /// Asterisk's events.
    pub events: Events,
    /// The port pool at the end.
    pub ports: PortCounts,
    /// The media of all calls.
    pub media: Media,
    /// Packets to the echo server and back; `null` without one.
    pub echo: Option<Echo>,
}

/// Calls by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Callers that entered the application.
    pub total: u64,
    /// Among them: found waiting there, and not told of by an event.
    pub adopted: u64,
    /// Not over yet.
    pub active: u64,
    /// Bridged: caller and media have both entered the bridge.
    pub bridged: u64,
    /// Bridged, and over without a single media packet.
    pub silent: u64,
    /// Left alone because there were far too many.
    pub unheeded: u64,
    /// After which something could not be deleted.
    pub left_behind: u64,
    /// Channels and bridges that no call knew of, and that were deleted.
    pub strays: u64,
}

/// How many calls ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCount {
    /// The way.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How many.
    pub calls: u64,
}

/// The stages, each from the caller's StasisStart unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// To the answer's 204.
    pub answered: Percentiles,
    /// To the media channel's StasisStart, of calls that are over.
    pub media_ready: Percentiles,
    /// To the later ChannelEnteredBridge.
    pub bridged: Percentiles,
    /// To the kernel's stamp of the first media packet, of calls that are over.
    pub first_packet: Percentiles,
    /// From the end of the call to nothing held.
    pub released: Percentiles,
}

/// One REST operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationSummary {
    /// From asking to the whole answer, of requests that were answered.
    pub latency: Percentiles,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Requests that repeated an earlier one.
    pub retries: u64,
}

/// Events of ARI's WebSocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// All that were read.
    pub total: u64,
    /// The same by their type; `Other` are those that no call depends on.
    pub by_type: BTreeMap<String, u64>,
    /// From the time that Asterisk gives an event, cut to milliseconds, until it was dealt with. It
    /// needs a shared clock, and is up to 1 ms too long.
    pub lag: Percentiles,
    /// Events whose time is later than their reading, left out of `lag`: the clocks differ.
    pub ahead: u64,
    /// Messages that were no events.
    pub malformed: u64,
    /// Starts of channels that had hung up already (the dialplan's extension `h`), which are no calls.
    pub hung_up_starts: u64,
    /// Times that the connection was lost.
    pub disconnects: u64,
}

/// Datagrams of all calls that are over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// From Asterisk.
    pub received: u64,
    /// Sent back to Asterisk.
    pub sent: u64,
    /// Probes that never came here, by the gaps in their numbers.
    pub lost: u64,
    /// Dropped by the kernel for lack of buffer space.
    pub drops: u64,
    /// Neither RTP nor sent anywhere.
    pub not_rtp: u64,
    /// From anybody else, or from before the peer was known.
    pub strangers: u64,
    /// Sends that failed.
    pub send_errors: u64,
}

/// Packets to the echo server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Echo {
    /// Sent there.
    pub relayed: u64,
    /// Back from there.
    pub returned: u64,
    /// Not back when 256 later ones were sent, or when the call ended.
    pub lost: u64,
    /// From just before the send call to the kernel's receive stamp.
    pub round_trip: Percentiles,
}

/// A distribution of durations in milliseconds; `null` where there is no sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many, those above 60 s included.
    pub count: u64,
    /// How many above 60 s, which the others leave out.
    pub above: u64,
    /// Mean.
    pub mean_ms: Option<f64>,
    /// Median.
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

impl From<&Durations> for Percentiles {
    fn from(durations: &Durations) -> Self {
        Percentiles {
            count: durations.count(),
            above: durations.above,
            mean_ms: durations.mean_ms(),
            p50_ms: durations.quantile_ms(0.50),
            p95_ms: durations.quantile_ms(0.95),
            p99_ms: durations.quantile_ms(0.99),
            max_ms: durations.max_ms(),
        }
    }
}

impl From<&OperationStats> for OperationSummary {
    fn from(stats: &OperationStats) -> Self {
        OperationSummary {
            latency: (&stats.latency).into(),
            statuses: stats.statuses.clone(),
            unanswered: stats.unanswered,
            retries: stats.retries,
        }
    }
}

impl ServiceSummary {
    /// What was counted up to that moment.
    pub fn of(now: &Snapshot) -> Self {
        let report = &now.report;
        let outcomes = report.outcomes.iter();
        let operations = report.operations.iter();
        let stages = &report.stages;
        ServiceSummary {
            metrics: Metrics::of(now),
            calls: Calls {
                total: report.calls,
                adopted: report.adopted,
                active: report.active,
                bridged: report.bridged,
                silent: report.silent,
                unheeded: report.unheeded,
                left_behind: report.left_behind,
                strays: report.strays,
            },
            outcomes: outcomes.map(|(&outcome, &calls)| OutcomeCount { outcome, calls }).collect(),
            retries: report.retries,
            stages: StageSummary {
                answered: (&stages.answered).into(),
                media_ready: (&stages.media_ready).into(),
                bridged: (&stages.bridged).into(),
                first_packet: (&stages.first_packet).into(),
                released: (&stages.released).into(),
            },
            operations: operations.map(|(op, stats)| (op.key().to_string(), stats.into())).collect(),
            events: events(report),
            ports: report.ports,
            media: media(report),
            echo: now.media.echo.as_ref().map(|echo| Echo {
                relayed: echo.relayed,
                returned: echo.returned,
                lost: echo.lost,
                round_trip: (&echo.round_trips).into(),
            }),
        }
    }
}

fn events(report: &ServiceReport) -> Events {
    Events {
        total: report.events.values().sum(),
        by_type: report.events.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
        lag: (&report.event_lag).into(),
        ahead: report.events_ahead,
        malformed: report.events_malformed,
        hung_up_starts: report.hung_up_starts,
        disconnects: report.disconnects,
    }
}

fn media(report: &ServiceReport) -> Media {
    let media = &report.media;
    Media {
        received: media.received,
        sent: media.reflected + media.plain,
        lost: media.expected.saturating_sub(media.distinct),
        drops: media.drops,
        not_rtp: media.not_rtp,
        strangers: media.strangers,
        send_errors: media.send_errors,
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::nothing;
    use super::*;
    use crate::ari::request::Operation;
    use std::time::Duration;

    #[test]
    fn what_is_written_is_read_again() {
        let mut now = nothing();
        let refused = Outcome::Refused { operation: Operation::AddChannels, status: Some(422) };
        now.report.outcomes.extend([(Outcome::Completed, 3), (refused, 1)]);
        now.report.add_answer(Operation::Answer, Some(204), Duration::from_millis(2));
        now.report.add_attempt(Operation::Answer, 2);
        now.media.echo = Some(Default::default());
        let summary = ServiceSummary::of(&now);
        let text = serde_json::to_string_pretty(&summary).unwrap();
        assert_eq!(serde_json::from_str::<ServiceSummary>(&text).unwrap(), summary, "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value["outcomes"][1],
            serde_json::json!({"outcome": "refused", "operation": "add_channels", "status": 422, "calls": 1})
        );
        assert_eq!(value["operations"]["answer"]["statuses"]["204"], 1);
        assert_eq!((&value["retries"], &value["operations"]["answer"]["retries"]), (&1.into(), &1.into()));
        assert!(value["stages"]["bridged"]["p50_ms"].is_null());
    }
}
