//! Words and numbers for people that several reports share.

use super::stages;
use crate::diagnosis::Finding;
use crate::gate::{GateResult, Outcome, Verdict};
use crate::metrics::{EndingCount, Metric, Summary};
use crate::record::Environment;
use crate::values::{Ns, Unit, Value, counted, show, visible};

/// A mark that reads without colour.
pub(super) fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✓",
        Outcome::Fail | Outcome::Regressed => "✗",
        Outcome::Inconclusive => "?",
    }
}

/// Explanation of intervals, for reports that show one.
pub(super) const INTERVALS: &str = "best … worst: the readings that the doubt allows; a gate passes if both hold and \
                                    fails if neither does; nothing bounds an unknown one, and for a pass the worst is enough";

/// A gate's interval, in doubt: `best 0.310 … worst 14.902 ms`. One that nothing bounds on either side, as that of
/// a run that broke, says no more than the doubt itself.
pub(super) fn interval(gate: &GateResult) -> Option<String> {
    gate.interval.filter(|interval| !interval.readings.are_unknown()).map(|interval| interval.to_string())
}

/// True if a gate shows an interval.
pub(super) fn has_intervals(verdict: &Verdict) -> bool {
    verdict.gates.iter().any(|gate| interval(gate).is_some())
}

/// A gate's value, in doubt with its interval: `14.321 ms (best 0.310 … worst 14.902 ms)`.
pub(super) fn actual(gate: &GateResult) -> String {
    let actual = one_line(&gate.actual);
    match interval(gate) {
        Some(interval) => format!("{actual} ({interval})"),
        None => actual,
    }
}

/// The endings of the calls, the most frequent first: `50 completed`, `1 rejected: 486 Busy here`.
pub(super) fn endings(summary: &Summary, most: usize) -> Vec<String> {
    let said = |ending: &EndingCount| format!("{} {}", ending.count, one_line(&ending.what));
    let mut lines: Vec<_> = summary.endings.iter().take(most).map(said).collect();
    let more: u64 = summary.endings.iter().skip(most).map(|ending| ending.count).sum();
    if more > 0 {
        lines.push(format!("{more} in other ways (calls.csv)"));
    }
    if lines.is_empty() {
        lines.push("none was placed".into());
    }
    lines
}

/// A finding in a line.
pub(super) fn finding(finding: &Finding) -> String {
    let Finding { what, cause, cure, seen, .. } = finding;
    let [what, cause, cure, seen] = [what, cause, cure, seen].map(|words| sentence(words));
    one_line(&format!("{what} Likely: {cause} Try: {cure} Seen in {seen}"))
}

/// Words with the stop that they lack: quoted reasons may end in one of their own.
pub(super) fn sentence(words: &str) -> String {
    let stop = if words.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{words}{stop}")
}

/// A duration in milliseconds, without the unit.
pub(super) fn ms(duration: Ns) -> String {
    without_unit(&show(Value::Number(duration.as_ms()), Unit::Ms))
}

fn without_unit(shown: &str) -> String {
    shown.split(' ').next().unwrap_or_default().to_string()
}

/// A command line that a shell would read as these words.
pub(super) fn command_line(command: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    let quoted = command.iter().map(|word| match word {
        word if !word.is_empty() && word.chars().all(plain) => word.clone(),
        word => format!("'{}'", word.replace('\'', "'\\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A figure without its unit, for tables whose head names it.
pub(super) fn bare(metric: &Metric) -> String {
    match metric.value {
        Value::Number(_) => without_unit(&show(metric.value, metric.definition.unit)),
        Value::Lost => "lost".into(),
        Value::NoData => "–".into(),
    }
}

/// Names behind the `count` things that they name, the first ones of many; nothing where there are none.
pub(super) fn listed(names: &[String], count: u64) -> String {
    match (names, count.saturating_sub(names.len() as u64)) {
        ([], _) => String::new(),
        (names, 0) => format!(" ({})", names.join(", ")),
        (names, more) => format!(" ({} and {more} more)", names.join(", ")),
    }
}

/// The run in a line: calls, time measured, codec, start.
pub(super) fn circumstances(environment: &Environment) -> String {
    let calls = match environment.offered {
        Some(offered) => stages::offered(&offered),
        None => counted(environment.calls.into(), "call"),
    };
    let measured = match environment.measured_s() {
        Some(seconds) => format!("{} measured", span(seconds)),
        None => "nothing measured".to_string(),
    };
    let started = environment.started_at.trim_end_matches('Z').replacen('T', " ", 1);
    let interrupted = if environment.interrupted { ", interrupted" } else { "" };
    let transport = match environment.transport.as_str() {
        "" => String::new(),
        transport => format!(" over {transport}"),
    };
    one_line(&format!(
        "{calls}{transport}, {measured}{interrupted}, {} {} ms, {started} UTC",
        environment.media(),
        environment.ptime_ms
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

/// A time since the run's start: `0:30`, `12:00`, `1:05:00`; `0:00.5` where steps are less than a second.
pub(super) fn clock(seconds: f64, step: f64) -> String {
    let seconds = seconds.max(0.0);
    if step < 1.0 {
        let tenths = (seconds * 10.0).round() as u64;
        return format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10);
    }
    let whole = seconds as u64;
    match whole / 3600 {
        0 => format!("{}:{:02}", whole / 60, whole % 60),
        h => format!("{h}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

/// Text of others on one line and with marks for what is hidden in it: it would pose as more otherwise.
pub(super) fn one_line(text: &str) -> String {
    visible(&text.replace(['\n', '\r', '\t'], " ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        let said = [0.0, 42.4, 60.0, 313.4, 3600.0, 3900.0, -1.0].map(span);
        assert_eq!(said, ["0 s", "42 s", "1 min", "5 min 13 s", "1 h", "1 h 05 min", "0 s"]);
    }

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let words = ["loadtest", "run", "my scenario.toml", "--set", "name=it's"].map(String::from);
        assert_eq!(command_line(&words), r"loadtest run 'my scenario.toml' --set 'name=it'\''s'");
    }

    #[test]
    fn names_left_out_are_counted() {
        let names = ["a", "b"].map(String::from);
        assert_eq!([2, 7].map(|n| listed(&names, n)), [" (a, b)", " (a, b and 5 more)"]);
        assert_eq!(listed(&[], 3), "");
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(one_line("a\nb\u{1b}[31mc\u{202e}"), "a b␛[31mc⟨U+202E⟩");
    }
}
