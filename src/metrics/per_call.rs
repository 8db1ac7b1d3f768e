//! Metrics of single calls, for gates that every call must hold.

use super::Summary;
use super::metric::Statistic;
use crate::record::CallRecord;
use crate::values::{Ns, Unit, Value};

/// A metric of one call. Where a metric of the whole run has the same name, this is the same figure of
/// one call.
#[derive(Debug)]
pub struct PerCall {
    /// As in gates, after `every call:`.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// One line on its meaning, with the source of the definition.
    pub help: &'static str,
    /// Which statistic of the call's packets it is; `None` for any other figure.
    statistic: Option<Statistic>,
    of: fn(&CallRecord) -> Value,
}

/// A metric's value for one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallValue {
    /// The call's number.
    pub call: u32,
    /// The value.
    pub value: Value,
    /// Where it rests on too few samples: how many, and how many are needed.
    pub missing_samples: Option<(u64, u64)>,
}

/// Names are unique, so a name stands for its row.
impl PartialEq for PerCall {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl PerCall {
    /// Its value for `call`. `Lost` where it is a percentile that falls among the lost, or a largest
    /// round trip of a call that has lost packets.
    fn value(&self, call: &CallRecord) -> Value {
        (self.of)(call)
    }

    /// Its value for each call that a gate on every call looks at: answered, with media that counts. What
    /// never came that far is for the gates on `calls`.
    pub fn values(&self, summary: &Summary) -> Vec<CallValue> {
        let judged = summary.calls.iter().filter(|call| is_judged(call));
        let value = |call: &CallRecord| CallValue {
            call: call.call,
            value: self.value(call),
            missing_samples: self.missing_samples(call),
        };
        judged.map(value).collect()
    }

    /// Samples that it rests on, and those that it needs, where those are fewer.
    fn missing_samples(&self, call: &CallRecord) -> Option<(u64, u64)> {
        let needed = self.statistic?.samples_needed()?;
        (call.sent < needed).then_some((call.sent, needed))
    }
}

const fn row(name: &'static str, unit: Unit, help: &'static str, of: fn(&CallRecord) -> Value) -> PerCall {
    PerCall { name, unit, help, statistic: None, of }
}

const fn percentile(
    name: &'static str,
    help: &'static str,
    statistic: Statistic,
    of: fn(&CallRecord) -> Value,
) -> PerCall {
    PerCall { name, unit: Unit::Ms, help, statistic: Some(statistic), of }
}

fn count(n: u64) -> Value {
    Value::Number(n as f64)
}

fn ratio(n: u64, call: &CallRecord) -> Value {
    if call.sent == 0 { Value::NoData } else { Value::Number(n as f64 / call.sent as f64) }
}

fn time(ns: Option<Ns>) -> Value {
    ns.map_or(Value::NoData, |ns| Value::Number(ns.as_ms()))
}

/// Every metric of a call, in the order of documentation.
pub static ALL: [PerCall; 28] = [
    row("srd", Unit::Ms, "session request delay, INVITE to first 18x or 2xx (RFC 6076 4.3)", |c| {
        time(c.srd_ms)
    }),
    row("answer_delay", Unit::Ms, "INVITE to 200", |c| time(c.answer_delay_ms)),
    row("first_echo", Unit::Ms, "200 received to first own probe back; lost for a silent call", |c| {
        if c.is_silent() { Value::Lost } else { time(c.first_echo_ms) }
    }),
    row("sdd", Unit::Ms, "session disconnect delay, BYE to its final answer (RFC 6076 4.4)", |c| {
        time(c.sdd_ms)
    }),
    row("held", Unit::Ms, "answer to end", |c| time(c.held_ms)),
    row("retransmissions", Unit::Count, "SIP requests sent again", |c| count(c.retransmissions.into())),
    row("packets.sent", Unit::Count, "probes sent in the measured window", |c| count(c.sent)),
    row("packets.received", Unit::Count, "of these, distinct probes back within lost_after", |c| {
        count(c.received)
    }),
    row("packets.clipped", Unit::Count, "probes sent before the first echo", |c| count(c.total_clipped)),
    row("loss.ratio", Unit::Ratio, "probes sent and not back within lost_after", |c| ratio(c.lost, c)),
    row("loss.count", Unit::Count, "probes sent and not back within lost_after", |c| count(c.lost)),
    row("late.ratio", Unit::Ratio, "probes back, but later than the call's minimum RTT + late_after", |c| {
        ratio(c.late, c)
    }),
    row("late.count", Unit::Count, "probes back, but later than the call's minimum RTT + late_after", |c| {
        count(c.late)
    }),
    row("late.ratio_20ms", Unit::Ratio, "late for a playout depth of 20 ms", |c| ratio(c.late_20ms, c)),
    row("late.ratio_40ms", Unit::Ratio, "late for a playout depth of 40 ms", |c| ratio(c.late_40ms, c)),
    row("late.ratio_60ms", Unit::Ratio, "late for a playout depth of 60 ms", |c| ratio(c.late_60ms, c)),
    row("late.ratio_100ms", Unit::Ratio, "late for a playout depth of 100 ms", |c| ratio(c.late_100ms, c)),
    row("late.ratio_200ms", Unit::Ratio, "late for a playout depth of 200 ms", |c| ratio(c.late_200ms, c)),
    row("duplicate.count", Unit::Count, "probes that came back again", |c| count(c.duplicates)),
    row("reordered.count", Unit::Count, "probes back below the next expected number (RFC 4737)", |c| {
        count(c.reordered)
    }),
    row("corrupted.count", Unit::Count, "RTP whose payload was not a whole probe", |c| count(c.corrupted)),
    row("rtt.min", Unit::Ms, "smallest round trip of the whole call", |c| match c.rtt_min_ms {
        None if c.sent > 0 => Value::Lost,
        smallest => time(smallest),
    }),
    percentile("rtt.p50", "median round trip, to 3 digits", Statistic::P50, |c| c.rtt_p50_ms.into()),
    percentile("rtt.p95", "95th percentile of the round trip, to 3 digits", Statistic::P95, |c| {
        c.rtt_p95_ms.into()
    }),
    percentile("rtt.p99", "99th percentile of the round trip, to 3 digits", Statistic::P99, |c| {
        c.rtt_p99_ms.into()
    }),
    row("rtt.max", Unit::Ms, "largest round trip, to 3 digits; lost where a packet was", |c| {
        if c.lost > 0 { Value::Lost } else { time(c.rtt_max_ms) }
    }),
    row("jitter", Unit::Ms, "interarrival jitter at the call's end (RFC 3550 A.8)", |c| time(c.jitter_ms)),
    row("drift", Unit::MsPerMinute, "slope of the per-second median RTT (Theil-Sen)", |c| {
        c.drift_ms_per_min.map_or(Value::NoData, Value::Number)
    }),
];

fn is_judged(call: &CallRecord) -> bool {
    call.ending.was_answered() && call.sent > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue;
    use crate::record::{DIGITS, Ending, PLAYOUT_DEPTHS_MS, Quantile};

    fn metric(name: &str) -> &'static PerCall {
        ALL.iter().find(|m| m.name == name).unwrap()
    }

    #[test]
    fn a_name_means_the_same_for_a_call_and_for_the_run() {
        for m in &ALL {
            if let Some(d) = catalogue::find(m.name) {
                assert_eq!(d.unit, m.unit, "{}", d.name);
            }
        }
        for (n, m) in ALL.iter().enumerate() {
            assert!(ALL[n + 1..].iter().all(|o| o != m), "{} twice", m.name);
        }
    }

    #[test]
    fn every_playout_depth_has_its_row() {
        let mut call = CallRecord::default();
        (call.sent, call.late_20ms, call.late_40ms, call.late_60ms) = (100, 5, 4, 3);
        (call.late_100ms, call.late_200ms) = (2, 1);
        let late = PLAYOUT_DEPTHS_MS.map(|ms| metric(&format!("late.ratio_{ms}ms")).value(&call));
        assert_eq!(late, [0.05, 0.04, 0.03, 0.02, 0.01].map(Value::Number));
    }

    #[test]
    fn precision_in_words_is_that_of_the_histograms() {
        let of_calls = ALL.iter().map(|m| (m.name, m.help));
        let said = of_calls.chain(catalogue::all().map(|d| (d.name, d.help)));
        let said: Vec<_> = said.filter(|(_, help)| help.contains("digits")).collect();
        assert!(!said.is_empty());
        for (name, help) in said {
            assert!(help.contains(&format!("to {DIGITS} digits")), "{name}: {help}");
        }
    }

    #[test]
    fn a_silent_call_has_lost_everything() {
        let mut call = CallRecord::default();
        (call.ending, call.sent, call.total_sent, call.lost) = (Ending::Completed, 500, 500, 500);
        call.rtt_p99_ms = Quantile::Lost;
        assert!(is_judged(&call));
        for name in ["rtt.min", "rtt.p99", "rtt.max", "first_echo"] {
            assert_eq!(metric(name).value(&call), Value::Lost, "{name}");
        }
        assert_eq!(metric("loss.ratio").value(&call), Value::Number(1.0));
        assert_eq!(metric("jitter").value(&call), Value::NoData);
    }

    #[test]
    fn a_percentile_knows_how_many_packets_it_needs() {
        let mut call = CallRecord { sent: 9_999, ..CallRecord::default() };
        assert_eq!(metric("rtt.p99").missing_samples(&call), Some((9_999, 10_000)));
        call.sent = 10_000;
        assert_eq!(metric("rtt.p99").missing_samples(&call), None);
        assert_eq!(metric("loss.ratio").missing_samples(&CallRecord::default()), None);
    }
}
