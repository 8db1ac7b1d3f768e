//! Gates held against a run that is still going on: when is it hopeless?

use std::time::Duration;

use super::judge::{breaks_from_above, judge_metric};
use super::{Gate, Op, Outcome, Subject};
use crate::metrics::{Course, Definition, Metric, Readings};
use crate::record::{EndedEarly, Live};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at a run once a second, and calls it hopeless when a gate has been broken at every look for as
/// long as is asked for: what heals in between begins anew. What can only grow, as a count, cannot heal.
#[derive(Debug)]
pub struct Watch {
    gates: Vec<Watched>,
    after: Duration,
    next: Duration,
}

#[derive(Debug)]
struct Watched {
    gate: Gate,
    definition: &'static Definition,
    broken_since: Option<Duration>,
}

impl Watch {
    /// Watches those of `gates` that can be judged before the end.
    pub fn new(gates: &[Gate], after: Duration) -> Watch {
        let watched = |gate: &Gate| match gate.subject {
            Subject::Run(definition) if can_be_watched(gate, definition) => {
                Some(Watched { gate: gate.clone(), definition, broken_since: None })
            }
            _ => None,
        };
        Watch { gates: gates.iter().filter_map(watched).collect(), after, next: Duration::ZERO }
    }

    /// Number of gates watched.
    pub fn count(&self) -> usize {
        self.gates.len()
    }

    /// Looks at what has been counted so far, `at` so long after the hold phase began; returns the first
    /// gate that makes the run hopeless.
    pub fn look(&mut self, at: Duration, live: &Live) -> Option<EndedEarly> {
        if at < self.next {
            return None;
        }
        self.next = at + LOOK_EVERY;
        let after = self.after;
        self.gates.iter_mut().filter_map(|watched| watched.look(at, live, after)).next()
    }
}

impl Watched {
    fn look(&mut self, at: Duration, live: &Live, after: Duration) -> Option<EndedEarly> {
        let (metric, _) = self.definition.so_far(live)?;
        let control = self.definition.control_so_far(live);
        // A bound that the machine alone breaks is not decided, let alone hopeless.
        let by_machine = control.is_some_and(|value| breaks_from_above(&self.gate, value));
        if by_machine || !is_broken(&self.gate, &metric) {
            self.broken_since = None;
            return None;
        }
        let since = *self.broken_since.get_or_insert(at);
        let (gate, actual) = (self.gate.text.clone(), metric.to_string());
        let (since_s, at_s) = (since.as_secs_f64(), at.as_secs_f64());
        (at - since >= after).then_some(EndedEarly { gate, actual, since_s, at_s })
    }
}

/// Outcome of a gate by what has been counted so far; `None` for one that is judged at the end alone.
pub fn so_far(gate: &Gate, live: &Live) -> Option<Outcome> {
    let Subject::Run(definition) = gate.subject else { return None };
    let (metric, _) = definition.so_far(live)?;
    Some(judge_metric(gate, &metric, &Readings::exactly(metric.value)).0)
}

/// No data and too few samples break nothing; at the end they are no pass either.
fn is_broken(gate: &Gate, metric: &Metric) -> bool {
    judge_metric(gate, metric, &Readings::exactly(metric.value)).0 == Outcome::Fail
}

/// True if the gate's metric is known before the end and the gate, once broken, may well stay so: what
/// grows is below any bound in the beginning.
fn can_be_watched(gate: &Gate, definition: &'static Definition) -> bool {
    definition.so_far(&Live::default()).is_some_and(|(_, course)| match course {
        Course::Varies => true,
        Course::Grows => {
            matches!(gate.op, Op::Less | Op::AtMost) || gate.op == Op::Equal && gate.bound == 0.0
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(gates: &[&str], after_s: u64) -> Watch {
        let gates: Vec<_> = gates.iter().map(|g| Gate::parse(g).unwrap()).collect();
        Watch::new(&gates, Duration::from_secs(after_s))
    }

    fn live(sent: u64, lost: u64) -> Live {
        let mut live = Live { sent, lost, ..Live::default() };
        live.rtt.record_n(5_000_000, sent - lost);
        live
    }

    /// Looks every 200 ms from `from` to `to` seconds at the same state.
    fn look(watch: &mut Watch, from: u64, to: u64, live: &Live) -> Option<EndedEarly> {
        (from * 5..to * 5).find_map(|n| watch.look(Duration::from_millis(n * 200), live))
    }

    #[test]
    fn a_gate_broken_on_end_ends_the_run_and_one_that_heals_begins_anew() {
        let mut w = watch(&["rtt.p50 < 1s", "loss.ratio < 1%"], 10);
        assert_eq!(look(&mut w, 0, 5, &live(1000, 9)), None);
        assert_eq!(look(&mut w, 5, 14, &live(2000, 100)), None);
        assert_eq!(look(&mut w, 14, 15, &live(20_000, 100)), None, "it has healed");
        let found = look(&mut w, 15, 60, &live(20_000, 500)).expect("hopeless");
        assert_eq!((found.gate.as_str(), found.actual.as_str()), ("loss.ratio < 1%", "2.50 %"));
        assert_eq!((found.since_s, found.at_s), (15.0, 25.0));
    }

    #[test]
    fn percentiles_need_their_samples_and_losses_do_not() {
        let mut w = watch(&["rtt.p99 < 1ms"], 1);
        assert_eq!(look(&mut w, 0, 30, &live(9_900, 0)), None);
        assert!(look(&mut w, 30, 40, &live(10_000, 0)).is_some_and(|h| h.actual == "5.001 ms"));
        let mut w = watch(&["rtt.p99 < 1s"], 1);
        assert!(look(&mut w, 0, 30, &live(200, 20)).is_some_and(|h| h.actual == "lost"));
        assert_eq!(look(&mut watch(&["rtt.p50 < 1ms", "loss.ratio < 1%"], 1), 0, 30, &Live::default()), None);
    }

    #[test]
    fn a_machine_that_breaks_the_bound_alone_makes_no_run_hopeless() {
        let mut slow = live(20_000, 0);
        slow.control.record_n(2_000_000, 1000);
        let hopeless = |gate, live: &Live| look(&mut watch(&[gate], 1), 0, 30, live).is_some();
        assert!(!hopeless("rtt.p99 < 1ms", &slow));
        let losing = Live { control_lost: 20, ..live(20_000, 0) };
        assert!(!hopeless("rtt.p99 < 3ms", &Live { control_lost: 20, ..slow.clone() }));
        assert!(!hopeless("rtt.p99 < 3ms", &losing), "all that is known of it is lost");
        assert!(hopeless("rtt.p99 < 3ms", &slow) && hopeless("rtt.p99 < 1ms", &live(20_000, 0)));
        assert!(hopeless("rtt.p99 > 6ms", &slow), "no bound from above");
    }

    #[test]
    fn only_what_can_be_known_and_cannot_be_made_up_for_is_watched() {
        let count = |gate| watch(&[gate], 1).count();
        for gate in [
            "loss.ratio < 1%",
            "loss.count == 0",
            "late.ratio <= 1%",
            "rtt.p99.9 < 20ms",
            "rtt.max < 1s",
            "rtt.mean < 10ms",
            "calls.answered == 100%",
            "calls.failed_count < 3",
            "calls.dropped_count == 0",
        ] {
            assert_eq!(count(gate), 1, "{gate}");
        }
        for gate in [
            "calls.answered_count >= 100",
            "calls.answered_count == 100",
            "calls.failed_count != 1",
            "leaks == 0",
            "calls.silent_count == 0",
            "packets.sent > 0",
            "srd.p99 < 1s",
            "rtt.min < 1ms",
            "every call: loss.ratio < 1%",
        ] {
            assert_eq!(count(gate), 0, "{gate}");
        }
    }

    #[test]
    fn attempts_that_fail_break_their_gates() {
        let mut w = watch(&["calls.answered == 100%", "calls.failed_count == 0"], 3);
        let mut live = live(1000, 0);
        live.answered = 5;
        assert_eq!(look(&mut w, 0, 20, &live), None);
        live.failed = 1;
        assert!(look(&mut w, 20, 24, &live).is_some_and(|h| h.actual == "83.33 %"));
    }
}
