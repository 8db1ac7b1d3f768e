//! Samples that a trial gives its gates: a percentile p needs n(1 − p) ≥ 100.

use std::time::Duration;

use super::load::{Kind, Load};
use crate::gate::{Gate, Subject};
use crate::metrics::{Group, SHORTEST_TURN};
use crate::values::Span;

/// A goal of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// Its name, as in `--require` and in the records of trials.
    pub name: String,
    /// Its gates, all of which must hold.
    pub gates: Vec<Gate>,
}

/// Traffic of a trial, as far as it says how many samples there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Interval of a call's packets.
    pub ptime: Duration,
    /// Mean length of a call; `None` where calls last as long as the trial.
    pub call_duration: Option<Duration>,
    /// Of a call, in which its packets do not count.
    pub warmup: Duration,
}

/// A gate that cannot be judged in a trial of a given length at a given load.
#[derive(Debug, Clone, PartialEq)]
pub struct Unjudged {
    /// The gate as written.
    pub gate: String,
    /// Samples that the trial gives it.
    pub has: u64,
    /// Samples that it needs.
    pub needs: u64,
    /// The shortest hold that would do, in whole seconds; `None` where no length does.
    pub would_do: Option<Span>,
}

impl Traffic {
    /// The first gate that a trial of that length gives too few samples.
    pub fn unjudged(&self, gates: &[Gate], load: Load, hold: Duration) -> Option<Unjudged> {
        gates.iter().find_map(|gate| {
            let needs = samples_needed(gate)?;
            let (at_once, per_second) = self.samples(gate, load, needs)?;
            let has = (at_once + per_second * hold.as_secs_f64()) as u64;
            let seconds = ((needs as f64 - at_once) / per_second).ceil();
            let would_do = Duration::try_from_secs_f64(seconds).ok().map(Span);
            (has < needs).then(|| Unjudged { gate: gate.text.clone(), has, needs, would_do })
        })
    }

    /// Samples of a gate's metric in a trial: those that any trial has, and those of each second. `None` where they
    /// are not foreseen.
    fn samples(&self, gate: &Gate, load: Load, needs: u64) -> Option<(f64, f64)> {
        let packets_per_call = 1.0 / self.ptime.as_secs_f64();
        let calls_a_second = self.call_duration.map(|duration| 1.0 / duration.as_secs_f64());
        let group = match gate.subject {
            Subject::EveryCall(_) => {
                let of_a_call =
                    |call: Duration| call.saturating_sub(self.warmup).as_secs_f64() * packets_per_call;
                // A call that is too short has too few however long the trial is.
                let has = self.call_duration.map(of_a_call).filter(|has| *has < needs as f64);
                return Some(has.map_or((0.0, packets_per_call), |has| (has, 0.0)));
            }
            Subject::Run(definition) if definition.is_of_turns() => {
                let per_second = load.number() / SHORTEST_TURN.as_secs_f64();
                return (load.kind() == Kind::Calls).then_some((0.0, per_second));
            }
            Subject::Run(definition) => definition.group,
            // A search has no stages.
            Subject::Stage(..) => return None,
        };
        match (group, load.kind(), calls_a_second) {
            (Group::Packets | Group::Instrument, Kind::Calls, _) => {
                Some((0.0, load.number() * packets_per_call))
            }
            // Calls up are those that come in a second times their length.
            (Group::Packets | Group::Instrument, Kind::Rate, Some(each)) => {
                Some((0.0, load.number() / each * packets_per_call))
            }
            (Group::SetUp | Group::Service, Kind::Rate, _) => Some((0.0, load.number())),
            (Group::SetUp | Group::Service, Kind::Calls, each) => {
                Some((load.number(), load.number() * each.unwrap_or_default()))
            }
            _ => None,
        }
    }
}

fn samples_needed(gate: &Gate) -> Option<u64> {
    match gate.subject {
        Subject::Run(definition) | Subject::Stage(_, definition) => definition.samples_needed(),
        Subject::EveryCall(metric) => metric.statistic?.samples_needed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(texts: &[&str]) -> Vec<Gate> {
        texts.iter().map(|text| Gate::parse(text).unwrap()).collect()
    }

    fn traffic(call_s: Option<u64>) -> Traffic {
        Traffic {
            ptime: Duration::from_millis(20),
            call_duration: call_s.map(Duration::from_secs),
            warmup: Duration::from_secs(2),
        }
    }

    fn would_do(traffic: Traffic, gate: &str, load: Load, seconds: u64) -> Option<Option<String>> {
        let found = traffic.unjudged(&gates(&["loss.ratio < 1%", gate]), load, Duration::from_secs(seconds));
        found.map(|found| found.would_do.map(|span| span.to_string()))
    }

    #[test]
    fn a_percentile_of_packets_needs_calls_times_seconds() {
        let calls = |n| Load::calls(n).unwrap();
        // 10 calls · 50 packets · 15 s are 7,500 of 10,000.
        assert_eq!(would_do(traffic(None), "rtt.p99 < 20ms", calls(10), 15), Some(Some("20s".into())));
        assert_eq!(would_do(traffic(None), "rtt.p99 < 20ms", calls(14), 15), None);
        assert_eq!(would_do(traffic(None), "rtt.p99.9 < 20ms", calls(10), 60), Some(Some("3m 20s".into())));
        assert_eq!(would_do(traffic(None), "rtt.max < 20ms", calls(1), 1), None);
        assert_eq!(
            would_do(traffic(None), "every call: rtt.p95 < 20ms", calls(900), 15),
            Some(Some("40s".into()))
        );
        assert_eq!(
            would_do(traffic(Some(30)), "every call: rtt.p95 < 20ms", calls(900), 60),
            Some(None),
            "a call has 1,400 packets, and 2,000 are needed"
        );
        assert_eq!(would_do(traffic(Some(90)), "every call: rtt.p95 < 20ms", calls(900), 60), None);
        let found = traffic(None).unjudged(&gates(&["rtt.p99 < 20ms"]), calls(10), Duration::from_secs(15));
        let found = found.unwrap();
        assert_eq!((found.has, found.needs, found.gate.as_str()), (7_500, 10_000, "rtt.p99 < 20ms"));
    }

    #[test]
    fn a_percentile_of_set_up_times_needs_attempts() {
        let (calls, rate) = (Load::calls(50).unwrap(), Load::rate(10.0).unwrap());
        assert_eq!(
            would_do(traffic(None), "srd.p95 < 1s", calls, 60),
            Some(None),
            "fifty calls are fifty samples"
        );
        // 50 at once, and five a second.
        assert_eq!(would_do(traffic(Some(10)), "srd.p95 < 1s", calls, 60), Some(Some("6m 30s".into())));
        assert_eq!(would_do(traffic(None), "srd.p95 < 1s", rate, 60), Some(Some("3m 20s".into())));
        assert_eq!(would_do(traffic(Some(2)), "rtt.p99 < 20ms", rate, 10), None, "20 calls up");
        assert_eq!(would_do(traffic(None), "rtt.p99 < 20ms", rate, 10), None, "not foreseen");
    }

    #[test]
    fn a_percentile_of_turns_needs_many_more_seconds_than_one_of_packets() {
        let calls = |n| Load::calls(n).unwrap();
        // At the most a turn every 3 s.
        assert_eq!(would_do(traffic(None), "turn.response.p50 < 1s", calls(10), 30), Some(Some("1m".into())));
        assert_eq!(would_do(traffic(None), "turn.response.p50 < 1s", calls(20), 30), None);
        assert_eq!(would_do(traffic(None), "bargein.stop.p95 < 1s", calls(10), 30), Some(Some("10m".into())));
        for gate in ["turn.response.mean < 1s", "turn.response.max < 1s", "turn.no_reply_ratio == 0%"] {
            assert_eq!(would_do(traffic(None), gate, calls(1), 3), None, "{gate}");
        }
    }
}
