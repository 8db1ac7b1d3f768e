//! Samples of which a metric takes one statistic.

use super::metric::Statistic;
use crate::record::{Latencies, Milliseconds, rank};
use crate::values::Value;

/// Samples of one kind.
#[derive(Debug)]
pub(super) enum Distribution<'a> {
    /// Packets, of which `lost` ones rank as slower than any that came back. `later` has the same statistic
    /// added to that of `back`.
    Packets { back: &'a Latencies, lost: u64, later: Option<&'a Latencies> },
    /// A delay per call in nanoseconds, ascending.
    Calls(Vec<u64>),
    /// As the service has summed them up; `None` where there is no such service.
    Service(Option<Milliseconds>),
}

impl<'a> Distribution<'a> {
    /// Packets as they were measured.
    pub fn packets(back: &'a Latencies, lost: u64) -> Self {
        Distribution::Packets { back, lost, later: None }
    }

    /// The samples that a statistic of it rests on; `None` without a service that sums up.
    pub fn samples(&self) -> Option<u64> {
        match self {
            Distribution::Packets { back, lost, .. } => Some(back.len() + lost),
            Distribution::Calls(delays) => Some(delays.len() as u64),
            Distribution::Service(times) => times.map(|times| times.count),
        }
    }

    /// The statistic.
    pub fn at(&self, statistic: Statistic) -> Value {
        match self {
            Distribution::Packets { back, lost, later } => {
                let later = later.map(|later| of_packets(later, 0, statistic));
                sum(of_packets(back, *lost, statistic), later)
            }
            Distribution::Calls(delays) => of_calls(delays, statistic),
            Distribution::Service(times) => {
                let ms = times.and_then(|times| of_service(&times, statistic));
                ms.map_or(Value::NoData, Value::Number)
            }
        }
    }
}

fn sum(value: Value, more: Option<Value>) -> Value {
    match (value, more) {
        (Value::Number(ms), Some(Value::Number(more))) => Value::Number(ms + more),
        (Value::Number(_), Some(Value::Lost)) => Value::Lost,
        (value, _) => value,
    }
}

fn of_packets(back: &Latencies, lost: u64, statistic: Statistic) -> Value {
    match (statistic, statistic.quantile()) {
        (_, Some(q)) => quantile(back, q, lost),
        (Statistic::Min, _) => milliseconds(back.min()),
        (Statistic::Mean, _) => back.mean().map_or(Value::NoData, |ns| Value::Number(ns / 1e6)),
        // No other statistic has no quantile.
        _ if lost > 0 => Value::Lost,
        _ => milliseconds(back.max()),
    }
}

fn of_calls(ascending: &[u64], statistic: Statistic) -> Value {
    let calls = ascending.len() as u64;
    let at = |rank: u64| ascending.get(rank as usize - 1).copied();
    match (statistic, statistic.quantile()) {
        _ if calls == 0 => Value::NoData,
        (_, Some(q)) => milliseconds(at(rank(q, calls))),
        (Statistic::Min, _) => milliseconds(at(1)),
        (Statistic::Mean, _) => {
            let sum: f64 = ascending.iter().map(|ns| *ns as f64).sum();
            Value::Number(sum / calls as f64 / 1e6)
        }
        _ => milliseconds(at(calls)),
    }
}

/// The service sums its times up to four statistics.
fn of_service(times: &Milliseconds, statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::P50 => times.p50_ms,
        Statistic::P95 => times.p95_ms,
        Statistic::P99 => times.p99_ms,
        Statistic::Max => times.max_ms,
        Statistic::Min | Statistic::Mean | Statistic::P90 | Statistic::P999 => None,
    }
}

/// A percentile in milliseconds, `lost` packets ranking last.
pub(super) fn quantile(back: &Latencies, q: f64, lost: u64) -> Value {
    back.quantile(q, lost).into()
}

fn milliseconds(ns: Option<u64>) -> Value {
    ns.map_or(Value::NoData, |ns| Value::Number(ns as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A histogram rounds to three digits, which a delay that stands in `calls.csv` must not be.
        #[test]
        fn delays_of_calls_are_exact(mut delays in proptest::collection::vec(0..100_000_000_000u64, 1..200)) {
            delays.sort_unstable();
            let (calls, n) = (Distribution::Calls(delays.clone()), delays.len());
            for statistic in Statistic::ALL {
                let Value::Number(ms) = calls.at(statistic) else { panic!("{statistic:?}") };
                let expected = match statistic {
                    Statistic::Min => delays[0] as f64 / 1e6,
                    Statistic::Max => delays[n - 1] as f64 / 1e6,
                    Statistic::Mean => delays.iter().sum::<u64>() as f64 / n as f64 / 1e6,
                    percentile => {
                        // The smallest delay that this share of the calls does not exceed.
                        let share = percentile.quantile().unwrap() * n as f64 - 1e-9;
                        let reached = (1..=n).find(|at| *at as f64 >= share).unwrap();
                        delays[reached - 1] as f64 / 1e6
                    }
                };
                prop_assert!((ms - expected).abs() <= expected * 1e-12, "{statistic:?}: {ms}, not {expected}");
            }
        }
    }

    #[test]
    fn no_call_is_no_data() {
        let none = Distribution::Calls(vec![]);
        assert_eq!((none.at(Statistic::P99), none.samples()), (Value::NoData, Some(0)));
    }

    #[test]
    fn percentiles_of_the_service_know_their_samples() {
        let times = Milliseconds { count: 250, p95_ms: Some(7.5), ..Default::default() };
        let of = Distribution::Service(Some(times));
        assert_eq!((of.at(Statistic::P95), of.samples()), (Value::Number(7.5), Some(250)));
        assert!(Statistic::P95.is_too_few(250));
        assert_eq!(of.at(Statistic::P99), Value::NoData);
        let none = Distribution::Service(None);
        assert_eq!((none.at(Statistic::P95), none.samples()), (Value::NoData, None));
    }
}
