//! Holds: what is injected around them comes back exactly, and nothing else does.

use std::time::Duration;

use proptest::prelude::*;

use super::{Hold, MS, Machine, Network, Truth, close, number, play, play_on};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Holds one after another, each by the pause before it, its length, and the time until the driver learns of it.
fn holds(each: &[(u64, u64, u64)]) -> Vec<Hold> {
    let mut at = Duration::ZERO;
    let hold = |(pause, length, learnt_after): &(u64, u64, u64)| {
        let from = at + ms(*pause);
        at = from + ms(*length);
        Hold { lasts: from..at, learnt_after: ms(*learnt_after) }
    };
    each.iter().map(hold).collect()
}

#[test]
fn nothing_is_lost_by_a_hold_and_nothing_is_awaited() {
    // From 3 s on for 2 s; 40 ms go by until the driver knows, in which two packets a call go to nobody.
    let network =
        Network { up: 5 * MS, down: 5 * MS, holds: holds(&[(3000, 2000, 40)]), ..Network::default() };
    let (summary, truth) = play(&network, 5, 8);
    assert_eq!((truth.lost(), number(&summary, "loss.count")), (0, 0.0));
    assert_eq!(truth.excused, 10);
    assert_eq!(number(&summary, "excused.count"), 10.0);
    // Seven seconds are measured, in two of them nothing was sent, and what went to nobody does not count.
    assert_eq!((truth.sent, number(&summary, "packets.sent")), (1240, 1240.0));
    assert_eq!(number(&summary, "packets.clipped"), 0.0);
    assert!(summary.calls.iter().all(|call| call.total_sent == call.total_received && call.excused == 2));
    let rows: u64 = summary.seconds.iter().map(|second| second.measured_sent).sum();
    assert_eq!(rows, truth.sent);
    assert!(summary.seconds.iter().all(|second| second.lost == 0), "{:?}", summary.seconds);
    assert!(number(&summary, "jitter.max") < 0.001, "the time between is no jitter");
}

#[test]
fn a_call_that_is_on_hold_from_its_start_clips_nothing() {
    let network = Network { up: 5 * MS, holds: holds(&[(0, 2500, 0)]), ..Network::default() };
    let (summary, truth) = play(&network, 3, 6);
    assert_eq!(number(&summary, "packets.sent"), truth.sent as f64);
    assert_eq!(truth.sent, 3 * 175);
    for metric in ["loss.count", "packets.clipped", "excused.count"] {
        assert_eq!(number(&summary, metric), 0.0, "{metric}");
    }
}

#[test]
fn a_hold_that_never_ends_leaves_the_losses_before_it() {
    let network = Network {
        down: 9 * MS,
        lose_down_every: 10,
        holds: holds(&[(4000, 60_000, 100)]),
        ..Network::default()
    };
    let (summary, truth) = play(&network, 4, 9);
    assert!(truth.lost() > 0 && truth.excused >= 20, "{truth:?}");
    assert_eq!(number(&summary, "packets.sent"), truth.sent as f64);
    assert_eq!(number(&summary, "loss.count"), truth.lost() as f64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    /// Losses come back exactly, on their way, however often and wherever the calls are held, also over the edges of the
    /// measured window and while packets are delayed and overtaken.
    #[test]
    fn losses_beside_holds_are_those_that_were_injected(
        up in 0u32..40, down in 0u32..40,
        lose_up_every in prop::sample::select(vec![0u32, 7, 33]),
        lose_down_every in prop::sample::select(vec![0u32, 11, 50]),
        delay_every in prop::sample::select(vec![0u32, 5, 13]),
        extra in prop::sample::select(vec![30u32, 65, 150]),
        each in proptest::collection::vec((400u64..2500, 100u64..2500, 0u64..200), 0..4),
        begins_on_hold: bool,
        calls in 1usize..8,
    ) {
        let mut holds = holds(&each);
        if let Some(first) = holds.first_mut().filter(|_| begins_on_hold) {
            *first = Hold { lasts: Duration::ZERO..first.lasts.end, learnt_after: Duration::ZERO };
        }
        let network = Network {
            up: up * MS, down: down * MS, lose_up_every, lose_down_every, delay_every, extra: extra * MS, holds,
            ..Network::default()
        };
        let (run, truth): (_, Truth) = play_on(&Machine::default(), &network, calls, 8);
        let rows: u64 = run.seconds.iter().map(|second| second.measured_sent).sum();
        prop_assert_eq!(rows, truth.sent);
        let summary = loadtest::metrics::summarize(run);
        prop_assert_eq!(number(&summary, "packets.sent"), truth.sent as f64);
        prop_assert_eq!(number(&summary, "loss.count"), truth.lost() as f64);
        prop_assert_eq!(number(&summary, "packets.received"), (truth.sent - truth.lost()) as f64);
        let [lost_up, lost_down, unknown] = ["loss.up_count", "loss.down_count", "loss.unattributed_count"]
            .map(|name| number(&summary, name) as u64);
        prop_assert!(lost_up <= truth.lost_up && lost_down <= truth.lost_down, "{} {} {:?}", lost_up, lost_down, truth);
        prop_assert_eq!(lost_up + lost_down + unknown, truth.lost());
        prop_assert_eq!(number(&summary, "reordered.count"), truth.reordered as f64);
        prop_assert_eq!(number(&summary, "late.count"), truth.late as f64);
        let rtt = f64::from(up + down);
        prop_assert!(close(number(&summary, "rtt.min"), rtt), "{} {}", number(&summary, "rtt.min"), rtt);
    }
}
