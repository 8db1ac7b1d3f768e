//! RunDigest of a run: all that a comparison needs of it, and which digests are comparable.

use super::pairs::Segment;
use crate::metrics::Summary;
use crate::record::Environment;
use crate::values::Value;

/// Times that are compared: RTT percentiles, beside which the control stream's of the same rank stand, and those of
/// turns, which have no counterpart that bypasses the service.
pub const METRICS: [&str; 11] = [
    "rtt.p50",
    "rtt.p90",
    "rtt.p95",
    "rtt.p99",
    "rtt.p99.9",
    "turn.response.mean",
    "turn.response.p50",
    "turn.response.p95",
    "turn.content.mean",
    "bargein.stop.mean",
    "bargein.stop.p50",
];

/// The one that is compared where none is named: of calls that talk, no packet comes back.
pub fn usual(is_conversation: bool) -> &'static str {
    if is_conversation { "turn.response.mean" } else { "rtt.p99" }
}

/// Measured windows that differ by less than this share have the same length.
const SAME_LENGTH: f64 = 0.1;

/// A run as far as comparisons go; a thousand of them fit into memory.
#[derive(Debug, Clone)]
pub struct RunDigest {
    /// Name of the run's folder.
    pub name: String,
    /// Machine, program and load.
    pub environment: Environment,
    /// By the places of [`METRICS`]; `None` where nothing was measured.
    pub(super) segments: [Option<Segment>; METRICS.len()],
    /// Share of the calls that were answered and kept to their planned end; none in a run that broke.
    pub(super) served: f64,
    /// The instrument was beyond its limits.
    pub in_doubt: bool,
    /// Reason of worthless figures: it broke, or its clock was set.
    pub worthless: Option<String>,
    /// Reason of an early end.
    pub(super) cut_short: Option<&'static str>,
}

impl RunDigest {
    /// Of a run whose instrument was judged.
    pub fn of(name: String, summary: &Summary, in_doubt: bool) -> RunDigest {
        let run = &summary.environment;
        let broke = (!run.broken.is_empty()).then(|| format!("it broke: {}", run.broken));
        let cut_short =
            [(run.interrupted, "it was interrupted"), (run.ended_early.is_some(), "a gate ended it")];
        RunDigest {
            name,
            environment: run.clone(),
            segments: METRICS.map(|metric| segment(summary, metric)),
            served: if broke.is_some() { 0.0 } else { served(summary) },
            in_doubt,
            worthless: broke.or_else(|| run.clock_set()),
            cut_short: cut_short.into_iter().find_map(|(is_so, why)| is_so.then_some(why)),
        }
    }

    /// True if its calls talked.
    pub fn is_conversation(&self) -> bool {
        self.segment(usual(true)).is_some()
    }

    /// The time `metric`, one of [`METRICS`].
    pub fn segment(&self, metric: &str) -> Option<Segment> {
        self.segments[METRICS.iter().position(|name| *name == metric)?]
    }
}

/// True if both are of one run.
pub(super) fn is_same_run(one: &Environment, other: &Environment) -> bool {
    one.started_at == other.started_at && !one.started_at.is_empty()
}

/// Difference of machine or program.
pub(super) fn other_machine(ours: &Environment, theirs: &Environment) -> Option<String> {
    another("CPU", &ours.cpu, &theirs.cpu)
        .or_else(|| another("number of CPUs", &ours.cpus, &theirs.cpus))
        .or_else(|| another("kernel", &ours.kernel, &theirs.kernel))
        .or_else(|| another("loadtest", &ours.version, &theirs.version))
}

/// Difference of load. Before a run its length is not known.
pub(super) fn other_load(ours: &Environment, theirs: &Environment) -> Option<String> {
    another("codec", &ours.media(), &theirs.media())
        .or_else(|| another("number of calls", &ours.calls, &theirs.calls))
        .or_else(|| another("packet time in ms", &ours.ptime_ms, &theirs.ptime_ms))
        .or_else(|| another("lost_after in ms", &ours.lost_after_ms, &theirs.lost_after_ms))
        .or_else(|| {
            let (ours, theirs) = (ours.measured_s()?, theirs.measured_s()?);
            let is_same = (ours - theirs).abs() <= SAME_LENGTH * ours.max(theirs);
            (!is_same).then(|| format!("another length: {theirs:.1} s measured, not {ours:.1} s"))
        })
}

/// Difference of scenario.
pub(super) fn other_scenario(ours: &Environment, theirs: &Environment) -> Option<String> {
    (ours.scenario_hash != theirs.scenario_hash)
        .then(|| "another scenario or --set, or a hash by an older loadtest".into())
}

/// All differences of machine, program, load and scenario, one of each kind.
pub fn differences(ours: &Environment, theirs: &Environment) -> Vec<String> {
    [other_machine, other_load, other_scenario]
        .into_iter()
        .filter_map(|differs| differs(ours, theirs))
        .collect()
}

fn another<T: PartialEq + std::fmt::Display>(what: &str, ours: &T, theirs: &T) -> Option<String> {
    (ours != theirs).then(|| format!("another {what}: {theirs}, not {ours}"))
}

fn segment(summary: &Summary, metric: &str) -> Option<Segment> {
    let ms = |name: &str| match summary.metric(name)?.value {
        Value::Number(ms) => Some(ms),
        Value::Lost => Some(f64::INFINITY),
        Value::NoData => None,
    };
    let too_few = summary.metric(metric).is_some_and(|m| m.too_few && m.value != Value::Lost);
    let control_ms = metric.strip_prefix("rtt.").and_then(|statistic| ms(&format!("control.{statistic}")));
    Some(Segment { ms: ms(metric)?, control_ms, control_p99_ms: ms("control.p99"), too_few })
}

fn served(summary: &Summary) -> f64 {
    let number = |name: &str| summary.metric(name).and_then(|m| m.value.number()).unwrap_or(0.0);
    let kept = 1.0 - (number("calls.dropped_count") / number("calls.answered_count").max(1.0)).min(1.0);
    number("calls.answered") * kept
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metrics::summarize;
    use crate::record::{CallRecord, EndedEarly, Ending, Run, TurnRow};
    use crate::values::Ns;

    fn of(environment: Environment, calls: Vec<CallRecord>) -> RunDigest {
        let run = Run { environment, calls, ..Run::default() };
        RunDigest::of("run".into(), &summarize(run), false)
    }

    /// A run of 1 ms whose control stream took 0.1 ms.
    pub fn digest(name: &str, change: impl FnOnce(&mut RunDigest)) -> RunDigest {
        let segment = Segment { ms: 1.0, control_ms: Some(0.1), control_p99_ms: Some(0.1), too_few: false };
        let mut digest = of(Environment::default(), Vec::new());
        (digest.name, digest.served) = (name.into(), 1.0);
        digest.segments = [Some(segment); METRICS.len()];
        change(&mut digest);
        digest
    }

    #[test]
    fn a_call_that_is_given_up_is_one_call() {
        let mut calls = [0, 1, 2, 3].map(|n| CallRecord { call: n, line: n, ..CallRecord::default() });
        calls.iter_mut().for_each(|call| call.ending = Ending::Completed);
        calls[0].ending = Ending::MediaLost;
        assert_eq!(of(Environment::default(), calls.into()).served, 0.75);
    }

    #[test]
    fn times_of_turns_have_no_control_stream_beside_them() {
        let echoes = of(Environment::default(), Vec::new());
        assert!(!echoes.is_conversation() && echoes.segment("turn.response.mean").is_none());
        let turn = TurnRow { response_ms: Ns::from_ms(700.0).ok(), ..TurnRow::default() };
        let window = (Some(0.0), Some(10.0));
        let environment =
            Environment { window_from_s: window.0, window_to_s: window.1, ..Environment::default() };
        let run = Run { environment, turns: vec![turn; 3], ..Run::default() };
        let talks = RunDigest::of("run".into(), &summarize(run), false);
        assert!(talks.is_conversation());
        let mean = talks.segment("turn.response.mean").unwrap();
        assert_eq!((mean.ms, mean.control_ms, mean.too_few), (700.0, None, false));
        assert!(talks.segment("turn.response.p95").unwrap().too_few, "of three turns");
    }

    #[test]
    fn another_machine_load_or_program_is_named() {
        let run = Environment { cpu: "EPYC".into(), calls: 50, cpus: 2, ..Environment::default() };
        let machine = |other: Environment| other_machine(&run, &other).unwrap_or_default();
        let load = |other: Environment| other_load(&run, &other).unwrap_or_default();
        assert_eq!((machine(run.clone()), load(run.clone())), (String::new(), String::new()));
        let other = Environment { cpu: "Xeon".into(), ..run.clone() };
        assert_eq!(machine(other), "another CPU: Xeon, not EPYC");
        assert!(machine(Environment { version: "9".into(), ..run.clone() }).contains("loadtest: 9"));
        assert!(machine(Environment { cpus: 4, ..run.clone() }).contains("CPUs: 4, not 2"));
        assert!(load(Environment { calls: 100, ..run.clone() }).contains("calls: 100, not 50"));
        let lasting = |s| Environment { window_from_s: Some(1.0), window_to_s: Some(1.0 + s), ..run.clone() };
        let long = lasting(20.0);
        let said = other_load(&long, &lasting(2.0)).unwrap();
        assert_eq!(said, "another length: 2.0 s measured, not 20.0 s");
        assert_eq!(other_load(&long, &lasting(19.0)), None);
        assert_eq!(other_load(&run, &long), None, "before the run its length is not known");
    }

    #[test]
    fn worthless_figures_and_short_runs_are_told_from_whole_ones() {
        let run = of(Environment::default(), Vec::new());
        assert_eq!((run.worthless, run.cut_short), (None, None));
        let broke = of(Environment { broken: "x died".into(), ..Environment::default() }, Vec::new());
        assert!(broke.worthless.unwrap().contains("x died"));
        let kept = CallRecord { ending: Ending::Completed, ..CallRecord::default() };
        let of_one = |broken: &str| {
            of(Environment { broken: broken.into(), ..Environment::default() }, vec![kept.clone()]).served
        };
        assert_eq!((of_one(""), of_one("x died")), (1.0, 0.0));
        let set = of(Environment { clock_step_ns: 5_000_000, ..Environment::default() }, Vec::new());
        assert!(set.worthless.unwrap().contains("clock"));
        let early = Some(EndedEarly::default());
        let early = of(Environment { ended_early: early, ..Environment::default() }, Vec::new());
        assert!(early.worthless.is_none() && early.cut_short.is_some());
    }
}
