//! Tables of the built-in service's own record.

use super::figures;
use crate::metrics::{Group, Metric, Statistic, Summary};
use crate::record::{Durations, RestOperation, ServiceLinks, ServiceRecord};
use crate::report::words;
use crate::values::{Unit, Value, show};

/// The tables of a run with the built-in service.
pub(super) struct ServiceTables<'a> {
    /// Stages of a call, from its StasisStart on.
    pub stages: Vec<DurationRow>,
    /// REST operations: their answers by status, and their durations.
    pub operations: Vec<(String, DurationRow)>,
    /// Numbers of calls and their outcomes.
    pub outcomes: Vec<(u64, String)>,
    /// Media connections and what happened to them; empty where there were none.
    pub links: Vec<(u64, &'static str)>,
    /// The service's counts.
    pub counts: Vec<&'a Metric>,
    pub record: &'a ServiceRecord,
}

/// A distribution of durations, in milliseconds without the unit.
pub(super) struct DurationRow {
    pub name: String,
    pub count: u64,
    /// 50th, 95th, 99th percentile, largest.
    pub cells: [DurationCell; 4],
}

/// A duration, and whether it rests on too few samples.
pub(super) struct DurationCell {
    pub shown: String,
    pub too_few: bool,
}

pub(super) fn tables<'a>(record: &'a ServiceRecord, summary: &'a Summary) -> ServiceTables<'a> {
    let stages = &record.stages;
    let mut rows = vec![
        row("answered", &stages.answered),
        row("media channel ready", &stages.media_ready),
        row("bridged", &stages.bridged),
        row("first packet", &stages.first_packet),
        row("call over to all given back", &stages.released),
        row("event lag", &record.events.lag),
    ];
    if let Some(echo) = &record.echo {
        rows.push(row("echo server and back", &echo.round_trip));
    }
    ServiceTables {
        stages: rows,
        operations: record.operations.iter().map(|(name, o)| (answers(o), row(name, &o.latency))).collect(),
        outcomes: record
            .outcomes
            .iter()
            .map(|o| {
                let what = [Some(o.outcome.as_str()), o.operation.as_deref()];
                let status = o.status.map(|status| status.to_string());
                let words: Vec<_> = what.into_iter().flatten().chain(status.as_deref()).collect();
                (o.calls, words::one_line(&words.join(" ").replace('_', " ")))
            })
            .collect(),
        links: record.links.as_ref().map(links).unwrap_or_default(),
        counts: figures::chosen(summary, |d| d.group == Group::Service && d.unit == Unit::Count),
        record,
    }
}

/// The counts that are not nought.
fn links(links: &ServiceLinks) -> Vec<(u64, &'static str)> {
    let ServiceLinks { connected, failed, broken, stalled, strangers, silence, queue_max, xoff } = *links;
    let all = [
        (connected, "connections that carried a call's media"),
        (failed, "connections that could not be opened"),
        (broken, "connections that ended under a call or could not be read"),
        (stalled, "of these: Asterisk had not read for 2 s"),
        (strangers, "connections that named no call"),
        (silence, "frames of silence that kept AudioSocket going"),
        (queue_max, "packets of 20 ms that waited in Asterisk for one call, at most"),
        (xoff, "times that Asterisk asked to send no more"),
    ];
    all.into_iter().filter(|(count, _)| *count > 0).collect()
}

fn row(name: &str, durations: &Durations) -> DurationRow {
    let of = durations.milliseconds();
    let cell = |(ms, statistic): (Option<f64>, Statistic)| DurationCell {
        shown: ms
            .map_or("–".into(), |ms| show(Value::Number(ms), Unit::Ms).trim_end_matches(" ms").to_string()),
        too_few: ms.is_some() && statistic.is_too_few(of.count),
    };
    let cells = [
        (of.p50_ms, Statistic::P50),
        (of.p95_ms, Statistic::P95),
        (of.p99_ms, Statistic::P99),
        (of.max_ms, Statistic::Max),
    ]
    .map(cell);
    DurationRow { name: words::one_line(&name.replace('_', " ")), count: of.count, cells }
}

/// `204: 50, 404: 1, none: 2, repeated 1`
fn answers(operation: &RestOperation) -> String {
    let mut parts: Vec<_> = operation.statuses.iter().map(|(code, n)| format!("{code}: {n}")).collect();
    if operation.unanswered > 0 {
        parts.push(format!("no answer: {}", operation.unanswered));
    }
    if operation.retries > 0 {
        parts.push(format!("repeated: {}", operation.retries));
    }
    parts.join(", ")
}
