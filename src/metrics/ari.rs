//! The metrics of group `ari`: what the built-in service says of its calls.

use crate::record::{Milliseconds, ServiceRecord};
use crate::values::Value;

/// Outcomes of the service that are counted by themselves: key and name.
const OUTCOMES: [(&str, &str); 3] =
    [("not_bridged_count", "not_bridged"), ("no_port_count", "no_port"), ("refused_count", "refused")];

/// The metric `ari.KEY`, and the samples that a percentile rests on with its quantile.
pub(super) fn value(service: &ServiceRecord, key: &str) -> (Value, Option<(u64, f64)>) {
    let count = |n: u64| (Value::Number(n as f64), None);
    if let Some((_, name)) = OUTCOMES.iter().find(|(own, _)| *own == key) {
        let of = service.outcomes.iter().filter(|o| o.outcome == *name);
        return count(of.map(|o| o.calls).sum());
    }
    match key {
        "calls_count" => count(service.calls.total),
        "retries_count" => count(service.retries),
        "strays_count" => count(service.calls.strays),
        "disconnects_count" => count(service.events.disconnects),
        _ => match key.rsplit_once('_') {
            Some((stage, statistic)) => duration(service, stage, statistic),
            None => (Value::NoData, None),
        },
    }
}

fn duration(service: &ServiceRecord, stage: &str, statistic: &str) -> (Value, Option<(u64, f64)>) {
    let of: Milliseconds = match stage {
        "answered" => service.stages.answered,
        "bridged" => service.stages.bridged,
        "first_packet" => service.stages.first_packet,
        "event_lag" => service.events.lag,
        _ => return (Value::NoData, None),
    };
    let (ms, quantile) = match statistic {
        "p50" => (of.p50_ms, Some(0.5)),
        "p95" => (of.p95_ms, Some(0.95)),
        "p99" => (of.p99_ms, Some(0.99)),
        _ => (of.max_ms, None),
    };
    (ms.map_or(Value::NoData, Value::Number), quantile.map(|q| (of.count, q)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ServiceOutcome;

    #[test]
    fn stages_and_outcomes_are_found_by_their_names() {
        let mut service = ServiceRecord { retries: 3, ..Default::default() };
        service.stages.first_packet = Milliseconds { count: 250, p95_ms: Some(7.5), ..Default::default() };
        let outcome = |name: &str, status, calls| ServiceOutcome {
            outcome: name.into(),
            status,
            calls,
            ..Default::default()
        };
        service.outcomes = vec![outcome("refused", Some(404), 2), outcome("refused", None, 1)];
        assert_eq!(value(&service, "first_packet_p95"), (Value::Number(7.5), Some((250, 0.95))));
        assert_eq!(value(&service, "first_packet_p99"), (Value::NoData, Some((250, 0.99))));
        assert_eq!(value(&service, "refused_count").0, Value::Number(3.0));
        assert_eq!(value(&service, "retries_count").0, Value::Number(3.0));
        assert_eq!(value(&service, "unheard_of").0, Value::NoData);
    }
}
