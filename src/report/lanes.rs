//! The driver's lanes side by side: one table for the page, the text and Markdown.

use super::charts::is_echo;
use crate::metrics::Summary;
use crate::record::LaneRecord;
use crate::values::{Unit, Value, show};

/// Heads of the columns behind the lane's number.
pub(super) const HEADS: [&str; 10] = [
    "calls",
    "sent",
    "received",
    "missed slots",
    "send lateness p99, ms",
    "max, ms",
    "receive lag p99, ms",
    "socket drops",
    "pacer, cores",
    "receiver, cores",
];

/// A lane for people.
pub(super) struct Row {
    /// Its number, from 1.
    pub number: u32,
    /// Figures, in the order of the heads.
    pub cells: [String; HEADS.len()],
}

/// The lanes; `None` of a run with one, whose figures are the run's own.
pub(super) fn table(summary: &Summary) -> Option<Vec<Row>> {
    let lanes = &summary.environment.lanes;
    (lanes.len() > 1).then(|| lanes.iter().map(|lane| row(lane, is_echo(summary))).collect())
}

/// `has_probes`: packets are counted one by one where probes are sent, and in no other mode.
fn row(lane: &LaneRecord, has_probes: bool) -> Row {
    let packets = |count: u64| if has_probes { count.to_string() } else { "–".into() };
    let figure = |value: Option<f64>, unit| value.map_or("–".into(), |n| show(Value::Number(n), unit));
    let ms = |value| figure(value, Unit::Ms).trim_end_matches(" ms").to_string();
    // Average, and the busiest second.
    let cores = |mean, max| format!("{} ({})", figure(mean, Unit::Mean), figure(max, Unit::Mean));
    Row {
        number: lane.lane.saturating_add(1),
        cells: [
            lane.calls.to_string(),
            packets(lane.sent),
            packets(lane.received),
            lane.missed_slots.to_string(),
            ms(lane.send_lateness_p99_ms),
            ms(lane.send_lateness_max_ms),
            ms(lane.receive_lag_p99_ms),
            lane.socket_drops.to_string(),
            cores(lane.pacer_cpu, lane.pacer_cpu_max),
            cores(lane.receiver_cpu, lane.receiver_cpu_max),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::terminal::{self, Look};
    use crate::report::{Format, fixture, render};

    #[test]
    fn each_lane_has_its_row_wherever_figures_stand_and_one_alone_has_none() {
        let (mut summary, verdict) = fixture::typical();
        assert!(table(&summary).is_none());
        let lane = |lane, drops| LaneRecord {
            lane,
            calls: 25,
            sent: 1234,
            send_lateness_p99_ms: Some(0.25),
            socket_drops: drops,
            pacer_cpu: Some(0.5),
            pacer_cpu_max: Some(0.75),
            ..LaneRecord::default()
        };
        summary.environment.lanes = vec![lane(0, 0), lane(1, 7)];
        let rows = table(&summary).expect("two lanes");
        let cells = ["25", "1234", "0", "0", "0.250", "–", "–", "7", "0.50 (0.75)", "– (–)"];
        assert_eq!((rows[1].number, &rows[1].cells), (2, &cells.map(String::from)));
        let (mut talks, _) = fixture::conversation();
        talks.environment.lanes = summary.environment.lanes.clone();
        let rows = table(&talks).expect("two lanes");
        assert_eq!(&rows[1].cells[..4], ["25", "–", "–", "0"], "no probe of it comes back");
        for format in [Format::Markdown, Format::Html, Format::Json] {
            let files = render(format, &summary, &verdict, "").unwrap();
            let text = String::from_utf8_lossy(&files[0].bytes);
            assert!(text.contains("1234"), "{}", files[0].path);
        }
        let text = terminal::summary(&summary, &verdict, Look::default());
        assert!(text.contains("Lanes of the driver") && text.contains("socket drops 7"), "{text}");
    }
}
