//! Words and numbers for people that several reports share.

use crate::analysis::{Metric, Value, show};
use crate::gate::Outcome;
use crate::samples::Environment;

/// A mark that reads without colour.
pub(super) fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✓",
        Outcome::Fail => "✗",
        Outcome::Inconclusive => "?",
    }
}

/// A figure without its unit, for tables whose head names it.
pub(super) fn bare(metric: &Metric) -> String {
    match metric.value {
        Value::Number(_) => {
            let shown = show(metric.value, metric.definition.unit);
            shown.split(' ').next().unwrap_or_default().to_string()
        }
        Value::Lost => "lost".into(),
        Value::NoData => "–".into(),
    }
}

/// The part of a metric's name before the first dot.
pub(super) fn group(name: &str) -> &str {
    name.split_once('.').map_or(name, |(group, _)| group)
}

/// What the run was, in a line: calls, time measured, codec, start.
pub(super) fn circumstances(environment: &Environment) -> String {
    let calls = match environment.calls {
        1 => "1 call".to_string(),
        n => format!("{n} calls"),
    };
    let measured = match (environment.window_from_s, environment.window_to_s) {
        (Some(from), Some(to)) => format!("{} measured", span(to - from)),
        _ => "nothing measured".to_string(),
    };
    let started = environment.started_at.trim_end_matches('Z').replacen('T', " ", 1);
    let interrupted = if environment.interrupted { ", interrupted" } else { "" };
    one_line(&format!(
        "{calls}, {measured}{interrupted}, {} {} ms, {started} UTC",
        environment.codec, environment.ptime_ms
    ))
}

/// A span of seconds as `42 s`, `5 min`, `1 h 05 min`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole % 3600 / 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// Text of others without line breaks and control characters, which would let it pose as more.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
