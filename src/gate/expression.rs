//! Gate expressions: `METRIC OP VALUE`, over the whole run, one stage of it, or for every call by itself.
//!
//! `docs/gates.md` has the same grammar, for people:
//!
//! ```text
//! <gate>      ::= <metric> <op> <value> | "stage." <n> ":" <metric> <op> <value>
//!               | "every call:" <call-metric> <op> <value>
//! <op>        ::= "<" | "<=" | "==" | "!=" | ">=" | ">"
//! <value>     ::= <number> | <number> <unit>
//! <unit>      ::= "us" | "µs" | "ms" | "s" | "%" | "MiB" | "MB" | "MiB/min"
//! ```
//! Stages count from 1. A metric is any name of the catalogue, or a group that has a `total` by itself, as `leaks`. Times and
//! ratios need their unit, for `== 100` and `< 20` mean different things to different people; 0 needs none.

use std::fmt;

use crate::metrics::per_call::{self, PerCall};
use crate::metrics::{Definition, catalogue};
use crate::values::Unit;

/// A gate, checked against the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// As written.
    pub text: String,
    /// The metric that it judges.
    pub subject: Subject,
    /// The comparison that must hold.
    pub op: Op,
    /// The bound, in the metric's unit.
    pub bound: f64,
}

/// The subject of a gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subject {
    /// One figure of the run.
    Run(&'static Definition),
    /// One figure of a stage, by its number from 1.
    Stage(usize, &'static Definition),
    /// A figure of each call.
    EveryCall(&'static PerCall),
}

impl Subject {
    /// The metric's name.
    pub fn name(&self) -> &'static str {
        match self {
            Subject::Run(definition) | Subject::Stage(_, definition) => definition.name,
            Subject::EveryCall(per_call) => per_call.name,
        }
    }

    /// The metric's unit.
    pub fn unit(&self) -> Unit {
        match self {
            Subject::Run(definition) | Subject::Stage(_, definition) => definition.unit,
            Subject::EveryCall(per_call) => per_call.unit,
        }
    }
}

/// Longest gate, in bytes: a report has a line for each.
const LONGEST: usize = 1000;
/// Before a gate that every call must hold.
const EVERY_CALL: &str = "every call:";
/// Before the number of the stage that a gate is over, which a colon follows.
const STAGE: &str = "stage.";

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
    /// `!=`
    Differs,
}

/// The reason for which an expression is no gate, and its cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct GateError {
    /// The mistake.
    pub reason: String,
    /// An expression that would do.
    pub cure: String,
}

/// Longest first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Op); 6] = [
    ("<=", Op::AtMost),
    (">=", Op::AtLeast),
    ("==", Op::Equal),
    ("!=", Op::Differs),
    ("<", Op::Less),
    (">", Op::More),
];

impl Op {
    /// The comparison as it is written.
    pub fn symbol(self) -> &'static str {
        // Invariant: the table has every operator.
        OPERATORS.iter().find(|(_, op)| *op == self).map_or("", |(symbol, _)| symbol)
    }

    /// True if `actual OP bound` holds; nothing holds of what is no number.
    pub fn holds(self, actual: f64, bound: f64) -> bool {
        match self {
            Op::Less => actual < bound,
            Op::AtMost => actual <= bound,
            Op::Equal => actual == bound,
            Op::AtLeast => actual >= bound,
            Op::More => actual > bound,
            Op::Differs => actual != bound && !actual.is_nan(),
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Gate {
    /// Reads an expression.
    ///
    /// # Errors
    /// No operator, an unknown metric (with the nearest known one), a value that is no number or of
    /// the wrong unit.
    pub fn parse(text: &str) -> Result<Gate, GateError> {
        Gate::read(text).map_err(|mistake| mistake.told())
    }

    /// Reads an expression, in little time where it is none: the search for its cure is the mistake's.
    ///
    /// # Errors
    /// As those of [`Gate::parse`].
    pub fn read(text: &str) -> Result<Gate, Mistake<'_>> {
        if text.len() > LONGEST {
            return Err(Mistake::TooLong(text.len()));
        }
        let (name, op, value) = parted(text).ok_or(Mistake::NoComparison(text))?;
        let subject = subject(name)?;
        let bound = number(value, subject.unit()).ok_or(Mistake::NoValue { value, subject })?;
        Ok(Gate { text: text.trim().into(), subject, op, bound })
    }
}

/// Name, comparison and value of an expression, none of them checked.
pub fn parted(text: &str) -> Option<(&str, Op, &str)> {
    let (name, rest) = text.split_at(text.find(['<', '>', '=', '!'])?);
    let (sign, op) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign))?;
    Some((name.trim(), *op, rest[sign.len()..].trim()))
}

/// A mistake in an expression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mistake<'a> {
    /// More bytes than a gate may have.
    TooLong(usize),
    /// No operator.
    NoComparison(&'a str),
    /// Neither a metric nor one of every call.
    NoMetric(&'a str),
    /// A metric of the run that there is not.
    UnknownMetric(&'a str),
    /// No number of a stage.
    NoStage(&'a str),
    /// A metric that no stage has by itself.
    NotOfStage(&'static str),
    /// A metric of a call that there is not.
    UnknownOfCall(&'a str),
    /// No number, or one of another unit.
    NoValue {
        /// In its place.
        value: &'a str,
        /// The metric that it is for.
        subject: Subject,
    },
}

impl Mistake<'_> {
    /// Reason and cure.
    pub fn told(&self) -> GateError {
        let example = || "write METRIC OP VALUE as in rtt.p99 < 20ms".to_string();
        let (reason, cure) = match self {
            Mistake::TooLong(bytes) => (format!("a gate of {bytes} bytes is beyond {LONGEST}"), example()),
            Mistake::NoComparison(text) => {
                (format!("`{text}` has no comparison (<, <=, ==, >=, >, !=)"), example())
            }
            Mistake::NoMetric(text) => (
                format!("`{text}` is no metric"),
                format!("write METRIC OP VALUE, {EVERY_CALL} METRIC OP VALUE, or {STAGE}1: METRIC OP VALUE"),
            ),
            Mistake::UnknownMetric(name) => (
                format!("there is no metric `{name}`"),
                suggestion(name, catalogue::all().map(|definition| definition.name)),
            ),
            Mistake::NoStage(number) => (
                format!("`{number}` is no stage"),
                "write its number from 1, as in stage.2: rtt.p99 < 20ms".into(),
            ),
            Mistake::NotOfStage(name) => (
                format!("`{name}` is a figure of the whole run, not of a stage"),
                format!("leave the stage out, as in {name}"),
            ),
            Mistake::UnknownOfCall(name) => (
                format!("there is no metric `{name}` of a call"),
                suggestion(name, per_call::ALL.iter().map(|metric| metric.name)),
            ),
            Mistake::NoValue { value, subject } => (
                format!("`{value}` is no value for {}", subject.name()),
                expected(subject.unit()).to_string(),
            ),
        };
        GateError { reason, cure }
    }
}

fn subject(text: &str) -> Result<Subject, Mistake<'_>> {
    if let Some(name) = text.strip_prefix(EVERY_CALL).map(str::trim) {
        let found = per_call::ALL.iter().find(|m| m.name == name).map(Subject::EveryCall);
        return found.ok_or(Mistake::UnknownOfCall(name));
    }
    if let Some((number, name)) = text.strip_prefix(STAGE).and_then(|rest| rest.split_once(':')) {
        let stage = number.trim().parse().ok().filter(|stage| *stage > 0).ok_or(Mistake::NoStage(number))?;
        return match subject(name.trim())? {
            Subject::Run(definition) if definition.by_stage => Ok(Subject::Stage(stage, definition)),
            Subject::Run(definition) => Err(Mistake::NotOfStage(definition.name)),
            Subject::Stage(..) | Subject::EveryCall(_) => Err(Mistake::NoMetric(text)),
        };
    }
    if text.contains(':') || text.starts_with(EVERY_CALL.trim_end_matches(':')) {
        return Err(Mistake::NoMetric(text));
    }
    let is_it = |d: &&Definition| d.name == text || d.name.strip_suffix(".total") == Some(text);
    catalogue::all().find(is_it).map(Subject::Run).ok_or(Mistake::UnknownMetric(text))
}

fn expected(unit: Unit) -> &'static str {
    match unit {
        Unit::Ms => "give a time with its unit as in 20ms, 500us or 1.5s",
        Unit::Ratio => "give a share in per cent as in 0.1% or 100%",
        Unit::Count => "give a whole number as in 0",
        Unit::Cores => "give a number of cores as in 0.5",
        Unit::Mib => "give a number of MiB as in 150",
        Unit::MibPerMinute => "give MiB per minute as in 0.5",
        Unit::MsPerMinute => "give milliseconds per minute as in 0.5",
        Unit::Score => "give a score as in 4.0",
        Unit::Mean => "give a number as in 1.5",
    }
}

/// A unit behind a number, and the number in the metric's unit.
type Suffix = (&'static str, fn(f64) -> f64);

fn number(text: &str, unit: Unit) -> Option<f64> {
    // 0.1 % must be the same number as 0.001, so hundredths are divided.
    let suffixes: &[Suffix] = match unit {
        Unit::Ms => {
            &[("us", |us| us * 0.001), ("µs", |us| us * 0.001), ("ms", |ms| ms), ("s", |s| s * 1000.0)]
        }
        Unit::Ratio => &[("%", |percent| percent / 100.0)],
        Unit::MibPerMinute => &[("MiB/min", |mib| mib), ("", |mib| mib)],
        Unit::Mib => &[("MiB", |mib| mib), ("MB", |mib| mib), ("", |mib| mib)],
        _ => &[("", |number| number)],
    };
    let before = |suffix: &str| text.strip_suffix(suffix)?.trim().parse::<f64>().ok();
    let value = suffixes.iter().find_map(|(suffix, of)| Some(of(before(suffix)?)));
    value.filter(|value| value.is_finite()).or_else(|| before("").filter(|zero| *zero == 0.0))
}

/// Names of other tools and of RFC 6076, and ours.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["asr", "answer_seizure_ratio", "calls.asr", "answered", "success_rate"], "calls.answered"),
    (&["ser"], "calls.ser"),
    (&["ner", "seer"], "calls.seer"),
    (&["pdd", "post_dial_delay"], "srd.p95"),
    (&["packet_loss", "packets.lost"], "loss.ratio"),
];

fn suggestion(name: &str, known: impl Iterator<Item = &'static str>) -> String {
    let known: Vec<_> = known.collect();
    let lower = name.to_ascii_lowercase();
    let ours = ELSEWHERE.iter().find(|(names, _)| names.contains(&lower.as_str()));
    if let Some((_, ours)) = ours.filter(|(_, ours)| known.contains(ours)) {
        return format!("did you mean `{ours}`?");
    }
    let goes_on = |rest: &str| rest.starts_with('.') || name.contains('.') && rest.starts_with('_');
    let is_in = |known: &&str| known.strip_prefix(name).is_some_and(goes_on);
    let members: Vec<_> = known.iter().copied().filter(is_in).collect();
    match &members[..] {
        [] => {}
        [one] => return format!("did you mean `{one}`?"),
        more => return format!("say which: {}", more.join(", ")),
    }
    // A long text is no name with a slip in it.
    let name: String = name.chars().take(64).collect();
    let near = known
        .into_iter()
        .flat_map(|known| [Some(known), known.strip_suffix(".total")])
        .flatten()
        .map(|known| (strsim::osa_distance(known, &name), known))
        .min_by_key(|(distance, _)| *distance);
    match near.filter(|(distance, _)| *distance <= name.len() / 2) {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => "`loadtest run --list-metrics` names them all".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> (&'static str, Op, f64) {
        let gate = Gate::parse(text).unwrap_or_else(|e| panic!("{e}"));
        (gate.subject.name(), gate.op, gate.bound)
    }

    #[test]
    fn expressions_are_read_in_the_metrics_unit() {
        assert_eq!(parse("rtt.p99 < 20ms"), ("rtt.p99", Op::Less, 20.0));
        assert_eq!(parse("rtt.p99.9<=500us"), ("rtt.p99.9", Op::AtMost, 0.5));
        assert_eq!(parse("  rtt.max > 1.5s "), ("rtt.max", Op::More, 1500.0));
        assert_eq!(parse("loss.ratio < 0.1%"), ("loss.ratio", Op::Less, 0.001));
        assert_eq!(parse("loss.ratio < 1e-1%"), ("loss.ratio", Op::Less, 0.001));
        assert_eq!(parse("loss.ratio == 0"), ("loss.ratio", Op::Equal, 0.0));
        assert_eq!(parse("calls.answered == 100%"), ("calls.answered", Op::Equal, 1.0));
        assert_eq!(parse("leaks == 0"), ("leaks.total", Op::Equal, 0.0));
        assert_eq!(parse("calls.silent_count == 0"), ("calls.silent_count", Op::Equal, 0.0));
    }

    #[test]
    fn a_stage_is_named_by_its_number_from_1() {
        let gate = Gate::parse("stage.2: rtt.p99 < 20ms").unwrap();
        assert!(matches!(gate.subject, Subject::Stage(2, definition) if definition.name == "rtt.p99"));
        assert_eq!((gate.text.as_str(), gate.bound), ("stage.2: rtt.p99 < 20ms", 20.0));
        let fails = |text: &str| Gate::parse(text).map_err(|e| format!("{e} / {}", e.cure)).unwrap_err();
        for text in [
            "stage.0: rtt.p99 < 1ms",
            "stage.x: rtt.p99 < 1ms",
            "stage.-1: rtt.p99 < 1ms",
            "stage.: rtt.p99 < 1ms",
        ] {
            assert!(fails(text).contains("is no stage / write its number from 1"), "{text}");
        }
        assert!(fails("stage.1: rtt.p98 < 1ms").contains("did you mean `rtt.p9"));
        assert!(fails("stage.1: leaks == 0").contains("`leaks.total` is a figure of the whole run"));
        assert!(fails("stage.1: stage.2: rtt.p99 < 1ms").contains("is no metric"));
        assert!(fails("stage.1: every call: loss.ratio < 1%").contains("is no metric"));
        assert!(fails("stage.1 rtt.p99 < 1ms").contains("stage.1 rtt.p99"));
        assert!(Gate::parse("stage.99999999999999999999: rtt.p99 < 1ms").is_err());
    }

    #[test]
    fn mistakes_are_named_with_a_cure() {
        let fails = |text: &str| Gate::parse(text).map_err(|e| format!("{e} / {}", e.cure)).unwrap_err();
        assert!(fails("rtt.p98 < 20ms").contains("did you mean `rtt.p9"));
        assert!(fails("los.ratio < 1%").contains("`loss.ratio`"));
        assert!(fails("quux < 1").contains("--list-metrics"));
        assert!(fails("register.ok == 100%").contains("did you mean `register.ok_ratio`?"));
        assert!(fails("ASR >= 95%").contains("did you mean `calls.answered`?"));
        assert!(fails("leak == 0").contains("did you mean `leaks`"));
        assert!(
            fails("rtt.p999 < 1ms").contains("`rtt.p99.9`") || fails("rtt.p999 < 1ms").contains("`rtt.p99`")
        );
        assert!(fails("rtt < 20ms").contains("say which: rtt.min, rtt.mean, rtt.p50"));
        assert!(fails("every call: loss < 1%").contains("say which: loss.ratio, loss.count"));
        assert!(fails("every call loss.ratio < 1%").contains("every call: METRIC"));
        assert!(fails("rtt.p99 20ms").contains("no comparison"));
        assert!(fails("rtt.p99 = 20ms").contains("no comparison"));
        assert!(fails("rtt.p99 < 20%").contains("20ms"));
        assert!(fails("loss.ratio < 3ms").contains("0.1%"));
        assert!(fails("rtt.p99 < fast").contains("`fast`"));
        assert!(fails("rtt.p99 < inf").contains("`inf`"));
        assert!(fails("rtt.p99 <= 1e306s").contains("`1e306s`"), "infinite in milliseconds");
        assert!(fails("rtt.p99 < 20").contains("with its unit"));
        assert!(fails("calls.answered == 100").contains("100%"));
    }

    #[test]
    fn a_gate_has_a_greatest_length() {
        let padded = |n: usize| Gate::parse(&format!("rtt.p99 <{}20ms", " ".repeat(n - 13)));
        assert!(padded(LONGEST).is_ok());
        let refused = padded(70_000).unwrap_err();
        assert!(
            refused.reason.contains("70000 bytes") && refused.cure.contains("METRIC OP VALUE"),
            "{refused:?}"
        );
        let name = Gate::parse(&"x".repeat(70_000)).unwrap_err();
        assert!(name.reason.len() < 100, "{name}");
    }

    #[test]
    fn every_call_has_metrics_of_its_own() {
        let gate = Gate::parse("every call: loss.ratio < 1%").unwrap();
        assert!(matches!(gate.subject, Subject::EveryCall(m) if m.name == "loss.ratio"));
        assert_eq!(
            (gate.op, gate.bound, gate.text.as_str()),
            (Op::Less, 0.01, "every call: loss.ratio < 1%")
        );
        assert_eq!(parse("every call:srd<=2s"), ("srd", Op::AtMost, 2000.0));
        let fails = |text: &str| Gate::parse(text).map_err(|e| format!("{e} / {}", e.cure)).unwrap_err();
        assert!(fails("every call: calls.answered == 100%").contains("of a call"));
        assert!(fails("every call: los.ratio < 1%").contains("`loss.ratio`"));
        assert!(fails("each call: loss.ratio < 1%").contains("every call:"));
    }

    proptest! {
        #[test]
        fn any_text_at_all_is_safe(text in "\\PC{0,60}") {
            let _ = Gate::parse(&text);
        }
    }
}
