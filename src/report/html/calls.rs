//! Calls as rows of tables.

use crate::record::{CallRecord, Quantile};
use crate::report::words;
use crate::values::Ns;

/// A call as text, cell by cell.
pub(super) struct CallRow {
    pub call: u32,
    pub good: bool,
    pub started: String,
    pub ending: String,
    pub cells: [String; 11],
}

impl CallRow {
    /// The heads of `cells`.
    pub(super) const HEADS: [&'static str; 11] =
        ["SRD", "answer", "first echo", "sent", "lost", "late", "p50", "p95", "p99", "largest", "jitter"];
}

impl From<&CallRecord> for CallRow {
    fn from(call: &CallRecord) -> CallRow {
        let delay = |value: Option<Ns>| value.map_or("–".into(), words::ms);
        let of_packets = |quantile: Quantile| match quantile {
            Quantile::Above | Quantile::Lost => "lost".into(),
            Quantile::At(_) | Quantile::NoData => delay(quantile.ns()),
        };
        let packets = |count: u64| if call.total_sent == 0 { "–".into() } else { count.to_string() };
        CallRow {
            call: call.call,
            good: call.is_good(),
            started: format!("{:.1}", call.intended_s),
            ending: ending(call),
            cells: [
                delay(call.srd_ms),
                delay(call.answer_delay_ms),
                delay(call.first_echo_ms),
                packets(call.sent),
                packets(call.lost),
                packets(call.late),
                of_packets(call.rtt_p50_ms),
                of_packets(call.rtt_p95_ms),
                of_packets(call.rtt_p99_ms),
                delay(call.rtt_max_ms),
                delay(call.jitter_ms),
            ],
        }
    }
}

/// A call's ending in words.
pub(super) fn ending(call: &CallRecord) -> String {
    let mut said = call.ending.name().replace('_', " ");
    if call.is_silent() {
        said.push_str(", silent");
    }
    let status = call.status.filter(|_| !call.ending.was_answered()).map(|s| s.to_string());
    let why = [status.unwrap_or_default(), words::one_line(&call.reason)].join(" ");
    match why.trim() {
        "" => said,
        why => format!("{said}: {why}"),
    }
}

/// Picks the calls to look at first, by their rank.
pub(super) fn worst(calls: &[CallRecord], count: usize) -> Vec<&CallRecord> {
    let mut order: Vec<&CallRecord> = calls.iter().collect();
    order.sort_by_key(|call| call.rank());
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_went_wrong_comes_first_then_the_slowest() {
        let (mut summary, _) = fixture::typical();
        summary.calls[7].rtt_p99_ms = Quantile::Lost;
        let rows: Vec<_> = worst(&summary.calls, 4).into_iter().map(CallRow::from).collect();
        assert_eq!(rows[0].ending, "rejected: 503 Service Unavailable");
        for (row, call) in rows[1..3].iter().zip([7, 31]) {
            assert_eq!((row.call, row.cells[8].as_str()), (call, "lost"));
        }
        let slowest = summary.calls.iter().max_by_key(|c| c.rtt_p99_ms.ns()).unwrap();
        assert_eq!(rows[3].call, slowest.call);
    }
}
