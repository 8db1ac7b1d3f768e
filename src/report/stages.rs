//! The stages of a run side by side: one table for the page, the text, Markdown and `stages.csv`.

use super::words;
use crate::metrics::{Metric, Stage, Summary, catalogue};
use crate::record::{Offered, StageRecord};
use crate::values::{Unit, Value, counted, show};

/// Metrics of a stage, each with its words.
const METRICS: [(&str, &str); 12] = [
    ("calls.attempts", "attempts"),
    ("calls.answered", "answered"),
    ("calls.suppressed_count", "suppressed"),
    ("calls.carried_erlang", "erlang carried"),
    ("srd.p95", "SRD p95, ms"),
    ("rtt.p50", "RTT p50, ms"),
    ("rtt.p95", "RTT p95, ms"),
    ("rtt.p99", "RTT p99, ms"),
    ("loss.ratio", "lost"),
    ("late.ratio", "late"),
    ("control.p99", "control p99, ms"),
    ("cpu.asterisk_mean", "Asterisk, cores"),
];

/// Heads and rows for people.
pub(super) struct Table<'a> {
    /// Heads of the metrics' columns.
    pub heads: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Row<'a>>,
}

/// A stage for people.
pub(super) struct Row<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// The calls wanted.
    pub load: String,
    /// The measured window, from the run's start.
    pub window: String,
    /// Figures, in the order of the heads.
    pub cells: Vec<Option<&'a Metric>>,
}

impl Row<'_> {
    /// A figure for people, `*` where it rests on too few samples.
    pub fn cell(metric: Option<&Metric>) -> String {
        match metric {
            Some(metric) if metric.definition.unit == Unit::Ms => {
                words::bare(metric) + if metric.too_few { "*" } else { "" }
            }
            Some(metric) if metric.definition.unit == Unit::Cores => words::bare(metric),
            Some(metric) if metric.value != Value::NoData => metric.to_string(),
            _ => "–".into(),
        }
    }

    /// All figures for people.
    pub fn shown(&self) -> Vec<String> {
        self.cells.iter().map(|cell| Row::cell(*cell)).collect()
    }
}

/// The stages; `None` of a run without.
pub(super) fn table(summary: &Summary) -> Option<Table<'_>> {
    let of = |stage: &Stage, name: &str| stage.summary.metric(name).is_some_and(|m| m.value != Value::NoData);
    // A column without any figure says nothing.
    let known: Vec<_> =
        METRICS.into_iter().filter(|(name, _)| summary.stages.iter().any(|stage| of(stage, name))).collect();
    let rows: Vec<_> = summary
        .numbered_stages()
        .map(|(number, stage)| Row {
            number,
            load: load(&stage.record),
            window: window(&stage.record),
            cells: known.iter().map(|(name, _)| stage.summary.metric(name)).collect(),
        })
        .collect();
    (!rows.is_empty()).then(|| Table { heads: known.iter().map(|(_, words)| *words).collect(), rows })
}

/// The calls wanted, for people: `20 calls`, `12/s, 360.00 erlang`.
pub(super) fn load(record: &StageRecord) -> String {
    match (record.calls, record.offered) {
        (Some(calls), _) => counted(calls.into(), "call"),
        (None, Some(offered)) => self::offered(&offered),
        (None, None) => "–".into(),
    }
}

/// Offered traffic, for people: `12/s, 360.00 erlang`.
pub(super) fn offered(offered: &Offered) -> String {
    let [rate, erlang] = [offered.rate_per_s, offered.erlang()].map(|n| show(Value::Number(n), Unit::Mean));
    format!("{}/s, {erlang} erlang", rate.trim_end_matches(".00"))
}

fn window(record: &StageRecord) -> String {
    match (record.from_s, record.to_s) {
        (Some(from), Some(to)) => format!("{from:.0}–{to:.0} s"),
        _ => "–".into(),
    }
}

/// `stages.csv`: a row a stage, with its load, its times and every figure that a stage has by itself.
pub(super) fn csv(summary: &Summary) -> Result<Vec<u8>, ::csv::Error> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let metrics: Vec<_> = catalogue::all().filter(|d| d.by_stage).collect();
    let fixed = ["stage", "calls", "rate_per_s", "begin_s", "from_s", "to_s"];
    writer.write_record(fixed.into_iter().chain(metrics.iter().map(|d| d.name)))?;
    for (number, Stage { record, summary }) in summary.numbered_stages() {
        let or_empty = |value: Option<String>| value.unwrap_or_default();
        let seconds = |at: Option<f64>| or_empty(at.map(|s| s.to_string()));
        let mut row = vec![
            number.to_string(),
            or_empty(record.calls.map(|calls| calls.to_string())),
            or_empty(record.offered.map(|offered| offered.rate_per_s.to_string())),
            record.begin_s.to_string(),
            seconds(record.from_s),
            seconds(record.to_s),
        ];
        row.extend(metrics.iter().map(|d| match summary.metric(d.name).map(|m| m.value) {
            Some(Value::Number(n)) => n.to_string(),
            Some(Value::Lost) => "lost".into(),
            Some(Value::NoData) | None => String::new(),
        }));
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::terminal::{self, Look};
    use crate::report::{Format, fixture, render};

    #[test]
    fn each_stage_has_its_row_wherever_figures_stand() {
        let (summary, verdict) = fixture::staged();
        let table = table(&summary).expect("stages");
        assert_eq!(table.rows.len(), 2);
        let of = |metric: &str| {
            let column = table.heads.iter().position(|head| *head == metric).expect(metric);
            [0, 1].map(|row: usize| table.rows[row].shown()[column].clone())
        };
        // Fifty were placed from the first second on, and none in the second stage.
        assert_eq!(of("attempts")[1], "0");
        assert_ne!(of("RTT p99, ms")[0], "–");
        for format in [Format::Markdown, Format::Html] {
            let files = render(format, &summary, &verdict, "").unwrap();
            let text = String::from_utf8_lossy(&files[0].bytes);
            for word in ["20 calls", "50 calls", "10–100 s", "110–200 s"] {
                assert!(text.contains(word), "{word} in {}", files[0].path);
            }
        }
        let text = terminal::summary(&summary, &verdict, Look::default());
        assert!(
            text.contains("1  20 calls, held 10–100 s") && text.contains("stage.2: loss.ratio"),
            "{text}"
        );
        let of_csv = render(Format::Csv, &summary, &verdict, "").unwrap();
        let csv = of_csv.iter().find(|file| file.path == "stages.csv").expect("stages.csv");
        let mut reader = ::csv::Reader::from_reader(csv.bytes.as_slice());
        let heads = reader.headers().unwrap().clone();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let at = |name: &str| heads.iter().position(|head| head == name).expect(name);
        assert_eq!((rows.len(), &rows[1][at("stage")], &rows[1][at("from_s")]), (2, "2", "110"));
        let sent: Vec<f64> = rows.iter().map(|row| row[at("packets.sent")].parse().unwrap()).collect();
        assert_eq!(sent, [50.0 * 50.0 * 90.0; 2]);
        assert!(!heads.iter().any(|head| head == "leaks.total"));
    }

    #[test]
    fn a_run_without_stages_has_no_table_of_them() {
        let (summary, verdict) = fixture::typical();
        assert!(table(&summary).is_none());
        assert!(
            render(Format::Csv, &summary, &verdict, "").unwrap().iter().all(|file| file.path != "stages.csv")
        );
        let json = render(Format::Json, &summary, &verdict, "").unwrap();
        assert!(!String::from_utf8_lossy(&json[0].bytes).contains("\"stages\": [\n"));
    }
}
