//! Figures of each of several targets: the calls dealt to it, and all of their packets.
//!
//! Counts are sums over its calls; its round trips are a histogram of its own in the interval log, so that its percentiles
//! are exact, and add up over several drivers.

use std::collections::BTreeMap;

use super::Summary;
use super::distribution::Distribution;
use super::facts::sorted;
use super::metric::Statistic;
use crate::record::{CallRecord, Ending, Latencies};
use crate::values::Value;

/// Percentiles of the round trip that a target has.
pub const OF_RTT: [Statistic; 3] = [Statistic::P50, Statistic::P95, Statistic::P99];

/// One target of several.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetFigures {
    /// Its number, from 0: call k went to number k mod their count.
    pub number: u32,
    /// Its address, as in the scenario.
    pub address: String,
    /// INVITEs of new calls.
    pub attempts: u64,
    /// Attempts answered with 200.
    pub answered: u64,
    /// Attempts that were not answered.
    pub failed: u64,
    /// Of these, attempts to which it said nothing at all in SIP.
    pub mute: u64,
    /// Answered calls that ended before their time.
    pub dropped: u64,
    /// Packets of the measured window sent.
    pub sent: u64,
    /// Of these, packets not back in time.
    pub lost: u64,
    /// Percentiles of the round trip in milliseconds, in the order of [`OF_RTT`]; lost packets rank last.
    pub rtt: [TargetStatistic; OF_RTT.len()],
    /// 95th percentile of the session request delay in milliseconds.
    pub srd_p95: TargetStatistic,
}

/// A percentile, and the samples that it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TargetStatistic {
    /// Milliseconds.
    pub value: Value,
    /// Samples.
    pub samples: u64,
    /// True if it rests on too few of them.
    pub too_few: bool,
}

impl TargetStatistic {
    fn of(samples: &Distribution<'_>, statistic: Statistic) -> TargetStatistic {
        let count = samples.samples().unwrap_or_default();
        let too_few = count > 0 && statistic.is_too_few(count);
        TargetStatistic { value: samples.at(statistic), samples: count, too_few }
    }
}

impl TargetFigures {
    fn new(number: u32, address: &str, calls: &[&CallRecord], back: &Latencies) -> TargetFigures {
        let count = |is: fn(&CallRecord) -> bool| calls.iter().filter(|call| is(call)).count() as u64;
        let answered = count(|call| call.ending.was_answered());
        let attempts = calls.len() as u64;
        let lost = calls.iter().map(|call| call.lost).sum();
        let packets = Distribution::packets(back, lost);
        let delays = sorted(calls.iter().filter_map(|call| call.srd_ms).map(|delay| delay.0));
        TargetFigures {
            number,
            address: address.into(),
            attempts,
            answered,
            failed: attempts - answered,
            mute: count(is_mute),
            dropped: count(CallRecord::is_dropped),
            sent: calls.iter().map(|call| call.sent).sum(),
            lost,
            rtt: OF_RTT.map(|statistic| TargetStatistic::of(&packets, statistic)),
            srd_p95: TargetStatistic::of(&delays, Statistic::P95),
        }
    }

    /// Attempts that failed, or were answered and dropped.
    pub fn unfinished(&self) -> u64 {
        self.failed.saturating_add(self.dropped)
    }

    /// Share of the packets lost, 0–1; `None` without any.
    pub fn loss(&self) -> Option<f64> {
        (self.sent > 0).then(|| self.lost as f64 / self.sent as f64)
    }
}

/// True for an attempt that nothing came back to.
fn is_mute(call: &CallRecord) -> bool {
    let is_unheard = call.srd_ms.is_none() && call.trying_ms.is_none();
    is_unheard && matches!(call.ending, Ending::Timeout | Ending::Unreachable)
}

/// The targets of a run; none of a run with one, whose figures are the run's own.
pub(super) fn of(summary: &Summary) -> Vec<TargetFigures> {
    let addresses = &summary.environment.targets;
    if addresses.len() < 2 {
        return Vec::new();
    }
    let mut by_target: Vec<Vec<&CallRecord>> = vec![Vec::new(); addresses.len()];
    for call in &summary.calls {
        by_target[call.call as usize % addresses.len()].push(call);
    }
    let back: BTreeMap<u32, Latencies> = summary.intervals.targets().collect();
    let none = Latencies::default();
    let each = (0..).zip(addresses).zip(&by_target);
    each.map(|((number, address), calls)| {
        TargetFigures::new(number, address, calls, back.get(&number).unwrap_or(&none))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::summarize;
    use super::*;
    use crate::record::fixture;

    #[test]
    fn targets_add_up_to_the_run_and_one_has_no_table() {
        assert!(summarize(fixture::typical()).targets.is_empty());
        let summary = summarize(fixture::of_targets());
        let sum = |of: fn(&TargetFigures) -> u64| summary.targets.iter().map(of).sum::<u64>() as f64;
        for (name, of) in [
            ("calls.attempts", (|t| t.attempts) as fn(&TargetFigures) -> u64),
            ("calls.answered_count", |t| t.answered),
            ("calls.failed_count", |t| t.failed),
            ("calls.dropped_count", |t| t.dropped),
            ("packets.sent", |t| t.sent),
            ("loss.count", |t| t.lost),
        ] {
            assert_eq!(summary.metric(name).unwrap().value, Value::Number(sum(of)), "{name}");
        }
        let whole = summary.metric("rtt.p99").unwrap();
        assert_eq!(whole.samples, Some(summary.targets.iter().map(|t| t.rtt[2].samples).sum()));
        let [near, far] = [0, 1].map(|n: usize| summary.targets[n].rtt[0].value.number().unwrap());
        assert!(near < far, "{near} {far}");
    }

    #[test]
    fn percentiles_rank_lost_packets_last_and_say_when_they_rest_on_few() {
        let mut run = fixture::of_targets();
        run.calls.iter_mut().filter(|call| call.call % 2 == 1).for_each(|call| call.lost = call.sent);
        let summary = summarize(run);
        let [one, two] = summary.targets.try_into().expect("two");
        assert!(two.rtt.iter().all(|of| of.value == Value::Lost), "{two:?}");
        assert!(one.rtt[2].value.number().is_some() && !one.rtt[2].too_few);
        assert!(one.srd_p95.too_few && one.srd_p95.samples == one.answered, "{one:?}");
    }
}
