//! The long tables, on request: every latency, every count.

use std::fmt::Write as _;

use super::{NAME, Pen, WIDTH, paragraph, table};
use crate::metrics::{Definition, Group, Metric, Statistic, Summary, catalogue};
use crate::report::{headline, words};
use crate::values::{Unit, Value};

/// All of them.
pub(super) fn all(text: &mut String, pen: Pen, summary: &Summary) {
    latencies(text, pen, summary, "Packets, ms", &catalogue::LATENCIES);
    latencies(text, pen, summary, "Calls, ms", &catalogue::SIGNALLING);
    service(text, pen, summary);
    if summary.metrics.iter().any(|m| m.too_few) {
        text.push_str("  * rests on fewer than 100 / (1 - p) samples\n");
    }
    if let Some(explanation) = &summary.explanation {
        text.push('\n');
        paragraph(text, "  ", explanation, str::to_string);
    }
    counts(text, pen, summary);
}

/// A table with a row per latency and a column per statistic.
fn latencies(text: &mut String, pen: Pen, summary: &Summary, title: &str, blocks: &[[Definition; 8]]) {
    let known = |d: &Definition| summary.metric(d.name).is_some_and(|m| m.value != Value::NoData);
    // A row without any figure says nothing.
    let blocks: Vec<_> = blocks.iter().filter(|block| block.iter().any(known)).collect();
    if blocks.is_empty() {
        return;
    }
    let heads = Statistic::ALL.map(|statistic| format!("{} ", statistic.key()));
    let cells = |block: &[Definition; 8]| block.each_ref().map(|d| cell(summary.metric(d.name)));
    let rows = blocks.into_iter().map(|block| (block[0].family().to_string(), cells(block)));
    table(text, pen, &format!("{title:NAME$}"), 0, heads, rows.collect());
}

/// The service's own account: from a caller's StasisStart on.
fn service(text: &mut String, pen: Pen, summary: &Summary) {
    if summary.environment.service_record.is_none() {
        return;
    }
    let heads = headline::STATISTICS.map(|key| format!("{key} "));
    let rows = headline::STAGES.map(|stage| {
        let of = |key| cell(summary.metric(&format!("ari.{stage}_{key}")));
        (stage.to_string(), headline::STATISTICS.map(of))
    });
    table(text, pen, &format!("{:NAME$}", "Service, ms"), 10, heads, rows.into());
}

/// A figure without its unit, `*` where it rests on too few samples.
fn cell(metric: Option<&Metric>) -> String {
    let shown = metric.map_or("–".into(), words::bare);
    let mark = if metric.is_some_and(|m| m.too_few) { '*' } else { ' ' };
    format!("{shown}{mark}")
}

/// Every other figure: a paragraph per group, each figure behind the rest of its name.
fn counts(text: &mut String, pen: Pen, summary: &Summary) {
    let _ = writeln!(text, "\n{}", pen.bold("Counts and ratios"));
    let mut group = "";
    let mut room = 0;
    for metric in catalogue::counts().filter_map(|d| summary.metric(d.name)) {
        // The service's times have a table of their own.
        let elsewhere = metric.definition.group == Group::Service && metric.definition.unit == Unit::Ms;
        if metric.value == Value::NoData || elsewhere {
            continue;
        }
        let (this, key) = metric.definition.family_and_key();
        let value = metric.to_string();
        let wide = key.len() + value.chars().count() + 3;
        if this == group && wide <= room {
            text.push_str("  ");
        } else {
            let name = if this == group { "" } else { this };
            let end = if group.is_empty() { "" } else { "\n" };
            let _ = write!(text, "{end}  {name:rest$} ", rest = NAME - 2);
            room = WIDTH - NAME;
        }
        group = this;
        room = room.saturating_sub(wide);
        let _ = write!(text, "{} {value}", pen.dim(key));
    }
    text.push('\n');
}
