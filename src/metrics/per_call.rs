//! Metrics of single calls, for gates that every call must hold.

use Bounds::*;
use Unit::*;

use super::facts::{known, number, ratio};
use super::metric::{Better, Statistic};
use super::{Readings, Summary};
use crate::record::{CallRecord, Quantile};
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
    /// Direction in which it improves.
    pub better: Better,
    /// Which statistic of the call's packets it is; `None` for any other figure.
    pub statistic: Option<Statistic>,
    of: fn(&CallRecord) -> Value,
    /// Readings that a doubt leaves to it.
    pub bounds: Bounds,
}

/// The readings that a doubt leaves to a metric of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// The value alone: lateness cannot bend it.
    Fixed,
    /// A best and a worst one.
    Both,
    /// A worst one: nobody knows how much of it the driver made.
    Worst,
    /// None.
    Neither,
}

/// Packets of any call that the driver may have kept from it, and how late it sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slack {
    /// Never sent.
    pub skipped: u64,
    /// Dropped by the driver's own sockets and queues, or refused by its kernel.
    pub own_losses: u64,
    /// Largest send lateness; `None` where it is not known.
    pub lateness: Option<Ns>,
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
    pub fn value(&self, call: &CallRecord) -> Value {
        (self.of)(call)
    }

    /// Its readings for `call` in doubt: its own computation on the best and the worst record that the doubt
    /// allows.
    pub(super) fn readings(&self, call: &CallRecord, slack: &Slack) -> Readings {
        let value = self.value(call);
        let known = |call| Some(self.value(&call)).filter(|value| *value != Value::NoData);
        match self.bounds {
            Bounds::Fixed => Readings::exactly(value),
            Bounds::Both => {
                Readings::around(value, known(best(call, slack)), known(worst(call, slack)), self.better)
            }
            Bounds::Worst => Readings::around(value, None, known(worst(call, slack)), self.better),
            Bounds::Neither => Readings::UNBOUNDED,
        }
    }

    /// Samples that it rests on, and those that it needs, where those are fewer.
    pub fn missing_samples(&self, call: &CallRecord) -> Option<(u64, u64)> {
        let needed = self.statistic?.samples_needed()?;
        (call.sent < needed).then_some((call.sent, needed))
    }
}

/// The record of a call to which all of the driver's own losses came back.
fn best(call: &CallRecord, slack: &Slack) -> CallRecord {
    CallRecord {
        lost: call.lost.saturating_sub(slack.own_losses),
        received: (call.received + slack.own_losses).min(call.sent),
        ..call.clone()
    }
}

/// The record of a call that all of the driver's own losses belong to, and whose packets are as late as the
/// latest of all.
fn worst(call: &CallRecord, slack: &Slack) -> CallRecord {
    let Slack { skipped, own_losses, lateness } = *slack;
    let more = skipped + own_losses;
    let later = |ns: Option<Ns>, by: Ns| ns.map(|ns| Ns(ns.0.saturating_add(by.0)));
    // Packets that were never sent may all be this call's, and rank as lost.
    let rtt = |ns| if skipped > 0 { None } else { later(ns, lateness?) };
    let percentile = |of: Quantile| match (of, lateness) {
        (Quantile::At(ns), Some(lateness)) if skipped == 0 => Quantile::At(ns.saturating_add(lateness.0)),
        (Quantile::NoData, _) => Quantile::NoData,
        _ => Quantile::Lost,
    };
    let from_invite = |ns| later(ns, call.invite_late_ms);
    CallRecord {
        sent: call.sent + skipped,
        lost: call.lost + skipped,
        late: call.late + more,
        late_20ms: call.late_20ms + more,
        late_40ms: call.late_40ms + more,
        late_60ms: call.late_60ms + more,
        late_100ms: call.late_100ms + more,
        late_200ms: call.late_200ms + more,
        duplicates: call.duplicates + own_losses,
        reordered: call.reordered + own_losses,
        corrupted: call.corrupted + own_losses,
        srd_ms: from_invite(call.srd_ms),
        answer_delay_ms: from_invite(call.answer_delay_ms),
        first_echo_ms: from_invite(call.first_echo_ms),
        sdd_ms: from_invite(call.sdd_ms),
        rtt_min_ms: rtt(call.rtt_min_ms),
        rtt_p50_ms: percentile(call.rtt_p50_ms),
        rtt_p95_ms: percentile(call.rtt_p95_ms),
        rtt_p99_ms: percentile(call.rtt_p99_ms),
        rtt_max_ms: rtt(call.rtt_max_ms),
        ..call.clone()
    }
}

const fn row(
    bounds: Bounds,
    name: &'static str,
    unit: Unit,
    help: &'static str,
    of: fn(&CallRecord) -> Value,
) -> PerCall {
    PerCall { name, unit, help, better: Better::Smaller, statistic: None, of, bounds }
}

const fn round_trip(
    name: &'static str,
    help: &'static str,
    statistic: Statistic,
    of: fn(&CallRecord) -> Value,
) -> PerCall {
    PerCall { statistic: Some(statistic), ..row(Bounds::Worst, name, Unit::Ms, help, of) }
}

fn time(ns: Option<Ns>) -> Value {
    known(ns.map(Ns::as_ms))
}

/// Every metric of a call, in the order of documentation.
#[rustfmt::skip]
pub static ALL: [PerCall; 28] = [
    row(Worst, "srd", Ms, "session request delay, INVITE to first 18x or 2xx (RFC 6076 4.3)",
        |c| time(c.srd_ms)),
    row(Worst, "answer_delay", Ms, "INVITE to 200", |c| time(c.answer_delay_ms)),
    row(Worst, "first_echo", Ms, "200 received to first own probe back; lost for a silent call",
        |c| if c.is_silent() { Value::Lost } else { time(c.first_echo_ms) }),
    row(Worst, "sdd", Ms, "session disconnect delay, BYE to its final answer (RFC 6076 4.4)",
        |c| time(c.sdd_ms)),
    row(Fixed, "held", Ms, "answer to end", |c| time(c.held_ms)),
    row(Fixed, "retransmissions", Count, "SIP requests sent again", |c| number(c.retransmissions.into())),
    row(Fixed, "packets.sent", Count, "probes sent in the measured window", |c| number(c.sent)),
    PerCall {
        better: Better::Larger,
        ..row(Both, "packets.received", Count, "of these, distinct probes back within lost_after",
            |c| number(c.received))
    },
    row(Worst, "packets.clipped", Count, "probes sent before the first echo", |c| number(c.total_clipped)),
    row(Both, "loss.ratio", Ratio, "probes sent and not back within lost_after", |c| ratio(c.lost, c.sent)),
    row(Both, "loss.count", Count, "probes sent and not back within lost_after", |c| number(c.lost)),
    row(Worst, "late.ratio", Ratio, "probes back, but later than the call's minimum RTT + late_after",
        |c| ratio(c.late, c.sent)),
    row(Worst, "late.count", Count, "probes back, but later than the call's minimum RTT + late_after",
        |c| number(c.late)),
    row(Worst, "late.ratio_20ms", Ratio, "late for a playout depth of 20 ms", |c| ratio(c.late_20ms, c.sent)),
    row(Worst, "late.ratio_40ms", Ratio, "late for a playout depth of 40 ms", |c| ratio(c.late_40ms, c.sent)),
    row(Worst, "late.ratio_60ms", Ratio, "late for a playout depth of 60 ms", |c| ratio(c.late_60ms, c.sent)),
    row(Worst, "late.ratio_100ms", Ratio, "late for a playout depth of 100 ms", |c| ratio(c.late_100ms, c.sent)),
    row(Worst, "late.ratio_200ms", Ratio, "late for a playout depth of 200 ms", |c| ratio(c.late_200ms, c.sent)),
    row(Both, "duplicate.count", Count, "probes that came back again", |c| number(c.duplicates)),
    row(Both, "reordered.count", Count, "probes back below the next expected number (RFC 4737)",
        |c| number(c.reordered)),
    row(Both, "corrupted.count", Count, "RTP whose payload was not a whole probe", |c| number(c.corrupted)),
    round_trip("rtt.min", "smallest round trip of the whole call", Statistic::Min,
        |c| if c.rtt_min_ms.is_none() && c.sent > 0 { Value::Lost } else { time(c.rtt_min_ms) }),
    round_trip("rtt.p50", "median round trip, to 3 digits", Statistic::P50, |c| c.rtt_p50_ms.into()),
    round_trip("rtt.p95", "95th percentile of the round trip, to 3 digits", Statistic::P95,
        |c| c.rtt_p95_ms.into()),
    round_trip("rtt.p99", "99th percentile of the round trip, to 3 digits", Statistic::P99,
        |c| c.rtt_p99_ms.into()),
    round_trip("rtt.max", "largest round trip, to 3 digits; lost where a packet was", Statistic::Max,
        |c| if c.lost > 0 { Value::Lost } else { time(c.rtt_max_ms) }),
    row(Neither, "jitter", Ms, "interarrival jitter at the call's end (RFC 3550 A.8)", |c| time(c.jitter_ms)),
    row(Neither, "drift", MsPerMinute, "slope of the per-second median RTT (Theil-Sen)",
        |c| known(c.drift_ms_per_min)),
];

/// The calls that a gate on every call looks at: answered, with media that counts. What never came that far is
/// for the gates on `calls`.
pub fn judged(summary: &Summary) -> impl Iterator<Item = &CallRecord> {
    summary.calls.iter().filter(|call| call.ending.was_answered() && call.sent > 0)
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
                assert_eq!((d.unit, d.better, d.statistic()), (m.unit, m.better, m.statistic), "{}", d.name);
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
