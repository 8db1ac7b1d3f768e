//! Delay and loss injected in one stage: they show in its figures and gates, and in no others.

use super::doubt::outcomes;
use super::*;

/// A run of three stages: the second is slow and loses packets, the third is slower yet; between them, in what is not
/// measured, the network is worse than in any.
fn staged() -> (Run, Vec<Truth>, Vec<Range<u64>>) {
    let windows = vec![2..14, 17..29, 32..44];
    let network = |up: u32, lose_down_every| Network {
        up: up * MS,
        down: 2 * MS,
        lose_down_every,
        ..Default::default()
    };
    let chain = [(14, network(400, 3)), (17, network(18, 25)), (29, network(300, 2)), (32, network(38, 0))];
    let later = chain
        .into_iter()
        .rev()
        .fold(None, |later, (from_s, network)| Some((from_s, Box::new(Network { later, ..network }))));
    let first = Network { later, ..network(3, 0) };
    let machine = Machine { control: Some(MS / 10), ..Machine::default() };
    let (mut run, truths) = play_stages(&machine, &first, 20, &windows);
    let record = |seconds: &Range<u64>| StageRecord {
        calls: Some(20),
        begin_s: seconds.start as f64 - 2.0,
        from_s: Some(seconds.start as f64),
        to_s: Some(seconds.end as f64),
        calls_at_start: 20,
        ..StageRecord::default()
    };
    run.environment.stages = windows.iter().map(record).collect();
    (run, truths, windows)
}

#[test]
fn what_is_injected_in_a_stage_comes_back_in_its_figures_and_in_no_others() {
    let (run, truths, _) = staged();
    let summary = summarize(run);
    assert_eq!(summary.stages.len(), 3);
    for ((stage, truth), rtt_ms) in summary.stages.iter().zip(&truths).zip([5.0, 20.0, 40.0]) {
        let of = &stage.summary;
        assert_eq!(number(of, "packets.sent"), truth.sent as f64);
        assert_eq!(number(of, "loss.count"), truth.lost() as f64);
        assert_eq!(number(of, "packets.received"), (truth.sent - truth.lost()) as f64);
        for metric in ["rtt.min", "rtt.p50", "rtt.p95"] {
            assert!(close(number(of, metric), rtt_ms), "{metric} {} {rtt_ms}", number(of, metric));
        }
        assert!(close(number(of, "control.p50"), 0.1));
    }
    assert_eq!(number(&summary.stages[1].summary, "loss.ratio"), 0.04);
    assert_eq!(summary.stages[1].summary.metric("rtt.p99").map(|m| m.value), Some(Value::Lost));
    // The whole is the sum of the windows, and has nothing of what lies between.
    let sum = |of: fn(&Truth) -> u64| truths.iter().map(of).sum::<u64>() as f64;
    assert_eq!(number(&summary, "packets.sent"), sum(|truth| truth.sent));
    assert_eq!(number(&summary, "loss.count"), sum(Truth::lost));
    assert!(close(number(&summary, "rtt.min"), 5.0) && close(number(&summary, "rtt.p50"), 20.0));
    // Nothing of the control stream's, of calls' ends and of leaks is a stage's own by mistake.
    assert_eq!(summary.stages[0].summary.metric("jitter.max").map(|m| m.value), Some(Value::NoData));
}

#[test]
fn a_gate_of_a_stage_is_judged_by_that_stage_alone() {
    let (run, ..) = staged();
    let gates = [
        "stage.1: rtt.p95 < 6ms",
        "stage.2: rtt.p95 < 6ms",
        "stage.2: loss.ratio < 5%",
        "stage.3: loss.count == 0",
        "stage.3: rtt.p95 < 41ms",
        "stage.4: rtt.p95 < 41ms",
        "loss.count == 0",
    ];
    let parsed: Vec<_> = gates.iter().map(|gate| Gate::parse(gate).expect("a gate")).collect();
    let verdict = judge(&summarize(run), &parsed, &Limits::default());
    let (pass, open, fail) = (Outcome::Pass, Outcome::Inconclusive, Outcome::Fail);
    assert_eq!(outcomes(&verdict), [pass, fail, pass, pass, pass, open, fail], "{verdict:#?}");
    assert_eq!(verdict.gates[5].reason, "nothing was measured");
}
