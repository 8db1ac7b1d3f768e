//! The targets of a run side by side: one table for the page, the text and Markdown, and rows for programs.

use serde::Serialize;

use super::charts::is_echo;
use crate::metrics::{Summary, TargetFigures, TargetStatistic};
use crate::values::{Unit, Value, show};

/// Heads of the columns behind the target.
pub(super) const HEADS: [&str; 10] = [
    "attempts",
    "answered",
    "failed",
    "dropped",
    "packets",
    "lost",
    "RTT p50, ms",
    "RTT p95, ms",
    "RTT p99, ms",
    "SRD p95, ms",
];

/// A target for people.
pub(super) struct Row {
    /// Its number, from 0, and its address.
    pub target: String,
    /// Figures, in the order of the heads.
    pub cells: [String; HEADS.len()],
}

/// The targets; `None` of a run with one, whose figures are the run's own.
pub(super) fn table(summary: &Summary) -> Option<Vec<Row>> {
    let has_probes = is_echo(summary);
    let rows = || summary.targets.iter().map(|target| row(target, has_probes)).collect();
    (!summary.targets.is_empty()).then(rows)
}

/// `has_probes`: packets are counted one by one where probes are sent, and in no other mode.
fn row(target: &TargetFigures, has_probes: bool) -> Row {
    let of_packets = |shown: String| if has_probes { shown } else { "–".into() };
    let lost = match target.loss() {
        Some(loss) => format!("{} ({})", target.lost, show(Value::Number(loss), Unit::Ratio)),
        None => "–".into(),
    };
    let [p50, p95, p99] = target.rtt.map(ms);
    Row {
        target: format!("{}: {}", target.number, target.address),
        cells: [
            target.attempts.to_string(),
            target.answered.to_string(),
            target.failed.to_string(),
            target.dropped.to_string(),
            of_packets(target.sent.to_string()),
            of_packets(lost),
            p50,
            p95,
            p99,
            ms(target.srd_p95),
        ],
    }
}

/// A percentile for people, `*` where it rests on too few samples.
fn ms(of: TargetStatistic) -> String {
    let few = if of.too_few { "*" } else { "" };
    match of.value {
        Value::Number(_) => format!("{}{few}", show(of.value, Unit::Ms).trim_end_matches(" ms")),
        Value::Lost => format!("lost{few}"),
        Value::NoData => "–".into(),
    }
}

/// A target for programs.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct TargetLine<'a> {
    /// Its number, from 0: call k went to number k mod their count.
    target: u32,
    /// Its address, as in the scenario.
    address: &'a str,
    /// INVITEs of new calls.
    attempts: u64,
    /// Attempts answered with 200.
    answered: u64,
    /// Attempts that were not answered.
    failed: u64,
    /// Answered calls that ended before their time.
    dropped: u64,
    /// Packets of the measured window sent.
    sent: u64,
    /// Of these, packets not back in time.
    lost: u64,
    /// Share of the packets lost, 0–1; null without any.
    loss_ratio: Option<f64>,
    /// Median of the round trip, in milliseconds: `"lost"` where the rank falls among the lost, null without packets.
    #[cfg_attr(test, schemars(schema_with = "super::schema::milliseconds"))]
    rtt_p50_ms: Value,
    /// 95th percentile of it.
    #[cfg_attr(test, schemars(schema_with = "super::schema::milliseconds"))]
    rtt_p95_ms: Value,
    /// 99th percentile of it.
    #[cfg_attr(test, schemars(schema_with = "super::schema::milliseconds"))]
    rtt_p99_ms: Value,
    /// Packets that these rest on.
    rtt_samples: u64,
    /// 95th percentile of the session request delay, in milliseconds; null without answers.
    #[cfg_attr(test, schemars(schema_with = "super::schema::milliseconds"))]
    srd_p95_ms: Value,
    /// Calls that it rests on.
    srd_samples: u64,
}

/// The targets for programs; none of a run with one.
pub(super) fn lines(summary: &Summary) -> Vec<TargetLine<'_>> {
    fn line(target: &TargetFigures) -> TargetLine<'_> {
        let TargetFigures { number, attempts, answered, failed, dropped, sent, lost, .. } = *target;
        let [p50, p95, p99] = target.rtt;
        TargetLine {
            target: number,
            address: &target.address,
            attempts,
            answered,
            failed,
            dropped,
            sent,
            lost,
            loss_ratio: target.loss(),
            rtt_p50_ms: p50.value,
            rtt_p95_ms: p95.value,
            rtt_p99_ms: p99.value,
            rtt_samples: p99.samples,
            srd_p95_ms: target.srd_p95.value,
            srd_samples: target.srd_p95.samples,
        }
    }
    summary.targets.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;
    use crate::report::fixture::judged;
    use crate::report::terminal::{self, Look};
    use crate::report::{Format, render};

    #[test]
    fn each_target_has_its_row_wherever_figures_stand_and_one_alone_has_none() {
        assert!(table(&judged(fixture::typical(), &[]).0).is_none());
        let mut run = fixture::of_targets();
        run.environment.targets[1] = "<script>|`\n".into();
        let (summary, verdict) = judged(run, &[]);
        let rows = table(&summary).expect("two targets");
        assert_eq!((rows[0].target.as_str(), rows[0].cells[0].as_str()), ("0: 192.0.2.1:5060", "26"));
        assert!(rows[1].cells[9].ends_with('*'), "{:?}", rows[1].cells);
        for format in [Format::Markdown, Format::Html, Format::Json] {
            let files = render(format, &summary, &verdict, "").unwrap();
            let text = String::from_utf8_lossy(&files[0].bytes);
            assert!(text.contains("192.0.2.1:5060") && text.contains(&rows[0].cells[4]), "{}", files[0].path);
            assert!(format == Format::Json || !text.contains("<script>|"), "{}", files[0].path);
        }
        let text = terminal::summary(&summary, &verdict, Look::default());
        assert!(text.contains("Targets") && text.contains("0: 192.0.2.1:5060"), "{text}");
        let json: serde_json::Value =
            serde_json::from_slice(&render(Format::Json, &summary, &verdict, "").unwrap()[0].bytes).unwrap();
        assert_eq!(json["targets"][0]["attempts"], 26);
        assert!(json["targets"][1]["rtt_p99_ms"].is_number(), "{}", json["targets"]);
    }
}
