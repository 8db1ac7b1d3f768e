//! Figures of a run over a network that is known.

use super::*;

#[test]
fn a_perfect_network_is_reported_as_perfect() {
    let (summary, truth) =
        play(&Network { up: 3 * MS, down: 2 * MS, service: MS, ..Default::default() }, 5, 6);
    assert_eq!(truth.sent, 5 * 5 * 50);
    assert_eq!(number(&summary, "packets.sent"), truth.sent as f64);
    for (metric, ms) in [("rtt.min", 6.0), ("rtt.max", 6.0), ("rtt.p50", 6.0), ("rtt_intended.p99", 6.0)] {
        assert!(close(number(&summary, metric), ms), "{metric}");
    }
    for (metric, ms) in [("up.p50", 3.0), ("down.p50", 2.0), ("service_time.p50", 1.0), ("path_rtt.p50", 5.0)]
    {
        assert!(close(number(&summary, metric), ms), "{metric}");
    }
    for metric in ["loss.count", "late.count", "duplicate.count", "reordered.count", "corrupted.count"] {
        assert_eq!(number(&summary, metric), 0.0, "{metric}");
    }
}

#[test]
fn two_per_cent_lost_is_two_per_cent_and_ranks_last() {
    let network = Network { up: 15 * MS, down: 15 * MS, lose_down_every: 50, ..Default::default() };
    let (summary, truth) = play(&network, 10, 21);
    assert_eq!(number(&summary, "loss.ratio"), truth.lost() as f64 / truth.sent as f64);
    assert_eq!(number(&summary, "loss.ratio"), 0.02);
    assert!(close(number(&summary, "rtt.p95"), 30.0));
    assert_eq!(summary.metric("rtt.p99").map(|m| m.value), Some(Value::Lost));
}

#[test]
fn a_packet_that_takes_longer_than_lost_after_is_lost_and_not_late() {
    let network = Network { delay_every: 10, extra: 2500 * MS, down: MS, ..Default::default() };
    let (summary, truth) = play(&network, 2, 11);
    assert_eq!(number(&summary, "loss.count"), truth.sent as f64 / 10.0);
    assert_eq!(number(&summary, "late.count"), 0.0);
    assert_eq!(number(&summary, "reordered.count"), 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..Default::default() })]

    /// Counts come back exactly and delays to within a histogram step, for any network.
    #[test]
    fn the_summary_tells_what_was_injected(
        up in 0u32..40, down in 0u32..40, service in 0u32..5,
        lose_up_every in prop::sample::select(vec![0u32, 7, 33]),
        lose_down_every in prop::sample::select(vec![0u32, 11, 50]),
        repeat_every in prop::sample::select(vec![0u32, 3, 20]),
        delay_every in prop::sample::select(vec![0u32, 5, 13]),
        extra in prop::sample::select(vec![30u32, 65, 150]),
        drain in prop::sample::select(vec![0u32, 0, 40, 190]),
        calls in 1usize..25,
    ) {
        let rtt = up + down + service;
        let network = Network {
            up: up * MS, down: down * MS, service: service * MS,
            lose_up_every, lose_down_every, repeat_every, delay_every, extra: extra * MS, drain,
            holds: Vec::new(), later: None,
        };
        let (summary, truth) = play(&network, calls, 5);
        prop_assert_eq!(number(&summary, "packets.sent"), truth.sent as f64);
        prop_assert_eq!(number(&summary, "loss.count"), truth.lost() as f64);
        prop_assert_eq!(number(&summary, "packets.received"), (truth.sent - truth.lost()) as f64);
        // Each loss is told on its way, but for those at a call's end, behind which nothing came back.
        let [lost_up, lost_down, unknown] = ["loss.up_count", "loss.down_count", "loss.unattributed_count"]
            .map(|name| number(&summary, name) as u64);
        prop_assert!(lost_up <= truth.lost_up && lost_down <= truth.lost_down, "{lost_up} {lost_down} {truth:?}");
        prop_assert_eq!(lost_up + lost_down + unknown, truth.lost());
        prop_assert!(unknown <= 3 * calls as u64, "{unknown} of {calls} calls");
        prop_assert_eq!(number(&summary, "late.count"), truth.late as f64);
        prop_assert_eq!(number(&summary, "duplicate.count"), truth.repeated as f64);
        prop_assert_eq!(number(&summary, "reordered.count"), truth.reordered as f64);
        let rtt = f64::from(rtt + drain.saturating_sub(5 * 50 - 1));
        prop_assert!(close(number(&summary, "rtt.min"), rtt), "{} {rtt}", number(&summary, "rtt.min"));
        prop_assert!(close(number(&summary, "up.min"), f64::from(up)));
        prop_assert!(close(number(&summary, "service_time.p50"), f64::from(service)));
    }
}
