//! Verdicts of a machine in doubt: gates that it may leave open, and gates that it may not.

use super::*;

/// The verdict over twenty calls of thirty seconds on this machine, their round trip `rtt_ms` long.
fn judged(machine: &Machine, rtt_ms: u32, gates: &[&str]) -> Verdict {
    let network = Network { up: MS, service: (rtt_ms - 1) * MS, ..Network::default() };
    let (run, _) = play_on(machine, &network, 20, 31);
    let gates: Vec<_> = gates.iter().map(|gate| Gate::parse(gate).expect("a gate")).collect();
    judge(&summarize(run), &gates, &Limits::default())
}

/// A third of its seconds has stalls of 8 ms, in which a fifth of the packets is due.
fn late_machine() -> Machine {
    Machine { stalled_s: 11..21, stall: 8 * MS, control: Some(MS / 10), ..Machine::default() }
}

pub(super) fn outcomes(verdict: &Verdict) -> Vec<Outcome> {
    verdict.gates.iter().map(|gate| gate.outcome).collect()
}

#[test]
fn a_late_driver_changes_no_gate_that_holds_or_breaks_all_the_same() {
    let gates = ["rtt.p99 < 20ms", "rtt.p99 < 8ms", "rtt.p99 < 4ms", "loss.ratio == 0%", "late.count == 0"];
    let verdict = judged(&late_machine(), 5, &gates);
    let (pass, open, fail) = (Outcome::Pass, Outcome::Inconclusive, Outcome::Fail);
    assert_eq!(outcomes(&verdict), [pass, open, fail, pass, pass], "{verdict:#?}");
    assert!(verdict.doubt.reasons[0].contains("could not send on time"), "{verdict:#?}");
    let quiet = verdict.doubt.quiet.as_ref().expect("seconds");
    assert_eq!(
        (quiet.seconds.iter().copied().collect::<Vec<_>>(), quiet.of),
        ((1..11).chain(21..31).collect(), 30)
    );
    let readings = verdict.gates[0].interval.expect("in doubt").readings;
    let [best, worst] =
        [readings.best, readings.worst].map(|end| end.and_then(Value::number).expect("a time"));
    // Injected were 5 ms, and on top of them up to 8 ms.
    assert!(close(best, 5.0) && worst > 11.0 && worst <= 13.02, "{best} … {worst}");
    assert_eq!(judged(&late_machine(), 5, &gates[..1]).outcome, pass, "with doubt");
    assert_eq!(judged(&Machine { stall: MS, ..late_machine() }, 5, &gates[1..2]).outcome, pass, "no doubt");
}

#[test]
fn a_slow_service_fails_by_its_quiet_seconds_and_only_by_them() {
    let gates = ["rtt.p50 < 20ms"];
    assert_eq!(judged(&late_machine(), 50, &gates).outcome, Outcome::Fail);
    let never_quiet = Machine { stalled_s: 0..31, ..late_machine() };
    assert_eq!(judged(&never_quiet, 50, &gates).outcome, Outcome::Inconclusive);
}

#[test]
fn a_machine_whose_control_stream_breaks_the_bound_fails_nobody() {
    let gates = ["rtt.p95 < 2ms", "rtt.p95 < 4ms"];
    for stalled_s in [0..0, 11..21, 0..31] {
        let is_late = !stalled_s.is_empty();
        let slow = Machine { stalled_s, control: Some(3 * MS), ..late_machine() };
        let verdict = judged(&slow, 5, &gates);
        assert_eq!(verdict.gates[0].outcome, Outcome::Inconclusive, "{verdict:#?}");
        assert_eq!(verdict.doubt.is_any(), is_late);
        if !is_late {
            assert_eq!(verdict.gates[1].outcome, Outcome::Fail, "its control stream holds this one");
        }
    }
}

#[test]
fn packets_that_a_stopped_driver_never_sent_are_lost_at_worst() {
    let stopped = Some((Duration::from_secs(12), Duration::from_secs(3)));
    let machine = Machine { stopped, control: Some(MS / 10), ..Machine::default() };
    let verdict = judged(&machine, 5, &["loss.count == 0", "loss.ratio < 11%", "rtt.p50 < 20ms"]);
    assert_eq!(outcomes(&verdict), [Outcome::Inconclusive, Outcome::Pass, Outcome::Pass], "{verdict:#?}");
    // Twenty calls, fifty packets a second, three seconds.
    assert_eq!(verdict.gates[0].interval.expect("in doubt").to_string(), "best 0 … worst 3,000");
}

#[test]
fn a_stopped_driver_has_skipped_the_packets_of_the_window_alone_wherever_it_stopped() {
    // Five calls, fifty packets a second; the window is from the first second to the sixth.
    for (from_ms, lasts_ms, skipped) in [(500, 3000, 625), (4500, 3_600_000, 375), (500, 3_600_000, 1250)] {
        let stopped = Some((MS * from_ms, MS * lasts_ms));
        let machine = Machine { stopped, ..Machine::default() };
        let (run, truth) = play_on(&machine, &Network { up: 3 * MS, ..Network::default() }, 5, 6);
        assert_eq!(run.environment.skipped, skipped, "stopped after {from_ms} ms for {lasts_ms} ms");
        assert_eq!(truth.sent + skipped, 1250);
    }
}
