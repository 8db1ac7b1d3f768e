//! Ground truth: the whole measurement in virtual time through a network that delays, loses, repeats and
//! reorders on purpose, by a driver whose clock jumps, so that Summary and verdict can be held against what
//! was injected.

use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::ops::Range;
use std::time::Duration;

use loadtest::gate::{Gate, Limits, Outcome, Verdict, judge};
use loadtest::measure::{
    Class, MediaSecond, ReceiveTally, Rules, SendTally, Sent, StreamReceiver, StreamSent, Wheel, Window,
};
use loadtest::metrics::{Summary, summarize};
use loadtest::record::{
    CallRecord, Ending, Environment, FORMAT_VERSION, Phase, Run, SecondRecord, StageRecord,
};
use loadtest::rtp::packet::StreamSender;
use loadtest::rtp::probe::{Probe, RunKey};
use loadtest::rtp::reflector::StreamReflector;
use loadtest::rtp::{Codec, Format};
use loadtest::stamp::Stamp;
use loadtest::values::Value;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const PTIME: Duration = Duration::from_millis(20);

/// A network that treats packets by their number, so that the truth can be counted.
#[derive(Debug, Clone, Default)]
struct Network {
    up: Duration,
    down: Duration,
    service: Duration,
    /// Every so many packets of a call is lost on the way up; 0 is none.
    lose_up_every: u32,
    lose_down_every: u32,
    repeat_every: u32,
    /// Every so many packets comes back this much later.
    delay_every: u32,
    extra: Duration,
    /// A queue on the way that holds this much at first and drains by 1 ms a packet.
    drain: u32,
    /// Another network from this second of the run on.
    later: Option<(u64, Box<Network>)>,
}

impl Network {
    /// The network at a time.
    fn at(&self, at: Stamp) -> &Network {
        match &self.later {
            Some((from_s, later)) if at.since(rules().epoch).as_secs() >= *from_s => later.at(at),
            _ => self,
        }
    }
}

/// A machine on which the driver does not run for a while, again and again: what was due meanwhile is sent
/// late. `Default` has no such seconds, and no control stream.
#[derive(Debug, Clone, Default)]
struct Machine {
    /// Every 40 ms of these seconds it does not run for so long.
    stalled_s: Range<u64>,
    stall: Duration,
    /// It does not run at all from here on for so long.
    stopped: Option<(Duration, Duration)>,
    /// Round trip of the control stream.
    control: Option<Duration>,
}

const STALL_EVERY_NS: u64 = 40_000_000;

impl Machine {
    /// The first time from `due` on at which the driver runs.
    fn runs_at(&self, due: Stamp) -> Stamp {
        let epoch = rules().epoch;
        if let Some((from, lasts)) =
            self.stopped.filter(|(from, lasts)| (epoch + *from..epoch + *from + *lasts).contains(&due))
        {
            return epoch + from + lasts;
        }
        let since = due.since(epoch);
        let begin = due - Duration::from_nanos(since.as_nanos() as u64 % STALL_EVERY_NS);
        if self.stalled_s.contains(&since.as_secs()) { due.max(begin + self.stall) } else { due }
    }
}

fn hits(every: u32, n: u32) -> bool {
    every > 0 && n % every == every - 1
}

/// Counts of what was injected into the packets of the measured window.
#[derive(Debug, Default, PartialEq, Eq)]
struct Truth {
    sent: u64,
    lost_up: u64,
    lost_down: u64,
    late: u64,
    repeated: u64,
    reordered: u64,
}

impl Truth {
    fn lost(&self) -> u64 {
        self.lost_up + self.lost_down
    }
}

/// A datagram on its way to the driver; the heap gives the earliest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    at: std::cmp::Reverse<Stamp>,
    order: std::cmp::Reverse<u64>,
    call: usize,
    number: u32,
    bytes: Vec<u8>,
}

struct Stream {
    class: Class,
    sender: StreamSender,
    sent: StreamSent,
    receiver: StreamReceiver,
    reflector: StreamReflector,
    number: u32,
    /// Round trip of each packet that comes back, and whether it is measured.
    trips: Vec<(Duration, bool)>,
    seen: HashSet<u32>,
    next: u32,
}

fn rules() -> Rules {
    Rules {
        key: RunKey::new(77, [7; 16]),
        epoch: Stamp::from_ns(1_000_000_000_000),
        ptime: PTIME,
        late_after: 60 * MS,
        lost_after: 2000 * MS,
        shared_clock: true,
    }
}

/// Plays `calls` calls for `seconds` through the network; the first second is not measured.
fn play(network: &Network, calls: usize, seconds: u64) -> (Summary, Truth) {
    let (run, truth) = play_on(&Machine::default(), network, calls, seconds);
    (summarize(run), truth)
}

fn stream(class: Class, id: u32) -> Stream {
    let rules = rules();
    Stream {
        class,
        sender: StreamSender::new(rules.key, id, id, Format::of(Codec::Pcmu, PTIME)),
        sent: StreamSent::default(),
        receiver: StreamReceiver::new(rules, id, class, Format::of(Codec::Pcmu, PTIME), rules.epoch),
        reflector: StreamReflector::new(1000 + id),
        number: 0,
        trips: Vec::new(),
        seen: HashSet::new(),
        next: 0,
    }
}

/// Plays the same on a machine that may be late, by the pacer's own steps.
fn play_on(machine: &Machine, network: &Network, calls: usize, seconds: u64) -> (Run, Truth) {
    let whole = 1..seconds;
    let (run, mut truths) = play_stages(machine, network, calls, std::slice::from_ref(&whole));
    (run, truths.remove(0))
}

/// Plays the same with several measured windows, given in seconds of the run; what is true of each.
fn play_stages(
    machine: &Machine,
    network: &Network,
    calls: usize,
    windows: &[Range<u64>],
) -> (Run, Vec<Truth>) {
    let rules = rules();
    let window = Window::default();
    let at_s = |s: u64| rules.epoch + Duration::from_secs(s);
    windows.iter().for_each(|seconds| window.set(at_s(seconds.start), at_s(seconds.end)));
    let (from, to) = window.bounds().expect("a window");
    let mut truths: Vec<Truth> = windows.iter().map(|_| Truth::default()).collect();
    let mut outside = Truth::default();
    let mut wheel = Wheel::new(PTIME, MS, rules.epoch, true);
    let mut all: Vec<Stream> = (0..calls as u32).map(|id| stream(Class::Call, id)).collect();
    all.extend(machine.control.map(|_| stream(Class::Control, calls as u32)));
    let beside = Network { up: machine.control.unwrap_or_default(), ..Network::default() };
    (0..all.len()).for_each(|n| wheel.add(n as u32, n));
    let (mut send, mut receive) = (SendTally::new(rules), ReceiveTally::new(rules));
    let mut book = Book::default();
    let mut flying = BinaryHeap::new();
    let mut order = 0;
    while wheel.due() < to {
        let due = wheel.due();
        let now = machine.runs_at(due);
        if now.since(due) > rules.lost_after {
            let counted = |n: &usize| if *n < calls { window.counted(rules.epoch) } else { to..to };
            let skipped = wheel.skip_to(now, counted);
            send.skipped(skipped, now.since(due));
            continue;
        }
        send.turn(due).iter().for_each(|second| book.add(second));
        let streams = wheel.advance().to_vec();
        for n in streams {
            let call = &mut all[n];
            let packet = call.sender.packet(due, now).to_vec();
            let sent = Sent { intended_at: due, sent_at: now, call_took: Duration::ZERO };
            send.sent(&mut call.sent, &sent, call.class, &window, rules.epoch);
            let is_call = call.class == Class::Call;
            let through = if is_call { network } else { &beside };
            let stage =
                windows.iter().position(|seconds| (at_s(seconds.start)..at_s(seconds.end)).contains(&due));
            let stage = stage.filter(|_| is_call);
            let truth = stage.map_or(&mut outside, |stage| &mut truths[stage]);
            for (at, bytes) in cross(through.at(due), call, &packet, now, stage.is_some(), truth) {
                order += 1;
                let order = std::cmp::Reverse(order);
                flying.push(Flying { at: std::cmp::Reverse(at), order, call: n, number: call.number, bytes });
            }
            call.number += 1;
        }
        deliver(&mut flying, now, &mut all, (&window, from), &mut receive, &mut truths[0]);
    }
    let end = Stamp::from_ns(u64::MAX);
    deliver(&mut flying, end, &mut all, (&window, from), &mut receive, &mut truths[0]);
    truths[0].late = all[..calls].iter().map(late).sum();
    book.run.environment.skipped = send.skipped;
    book.add(&send.finish());
    all.truncate(calls);
    (book.conclude(all, receive, windows), truths)
}

/// Sends one packet through the network: when which bytes come back.
fn cross(
    network: &Network,
    call: &mut Stream,
    packet: &[u8],
    at: Stamp,
    measured: bool,
    truth: &mut Truth,
) -> Vec<(Stamp, Vec<u8>)> {
    let (n, count) = (call.number, u64::from(measured));
    truth.sent += count;
    if hits(network.lose_up_every, n) {
        truth.lost_up += count;
        return vec![];
    }
    let in_at = at + network.up;
    let out_at = in_at + network.service;
    let mut answer = vec![0; packet.len()];
    let reflected = call.reflector.reflect(packet, in_at, || out_at, &mut answer);
    assert_eq!(reflected.expect("a probe is reflected").0, packet.len());
    if hits(network.lose_down_every, n) {
        truth.lost_down += count;
        return vec![];
    }
    let slow = hits(network.delay_every, n);
    let queue = MS * network.drain.saturating_sub(n);
    let extra = if slow { network.extra } else { Duration::ZERO } + queue;
    let mut arrivals = vec![(out_at + network.down + extra, answer)];
    call.trips.push((arrivals[0].0.since(at), measured));
    if hits(network.repeat_every, n) {
        truth.repeated += count;
        arrivals.push((arrivals[0].0 + MS, arrivals[0].1.clone()));
    }
    arrivals
}

fn deliver(
    flying: &mut BinaryHeap<Flying>,
    until: Stamp,
    all: &mut [Stream],
    (window, from): (&Window, Stamp),
    tally: &mut ReceiveTally,
    truth: &mut Truth,
) {
    while flying.peek().is_some_and(|f| f.at.0 <= until) {
        let Some(Flying { at, call, number, bytes, .. }) = flying.pop() else { return };
        let call = &mut all[call];
        let probe = Probe::read(&bytes[12..]).expect("a probe");
        let in_time = at.0.since(probe.sent_at) <= rules().lost_after;
        if in_time && call.seen.insert(number) {
            truth.reordered += u64::from(number < call.next && probe.intended_at >= from);
            call.next = call.next.max(number + 1);
        }
        call.receiver.receive(&bytes, at.0, at.0, window, tally);
    }
}

/// Measured packets back in time that a playout buffer of 60 ms, anchored on the call's smallest round
/// trip, would have missed.
fn late(call: &Stream) -> u64 {
    let in_time = || call.trips.iter().filter(|(trip, _)| *trip <= rules().lost_after);
    let smallest = in_time().map(|(trip, _)| *trip).min().unwrap_or_default();
    in_time().filter(|(trip, measured)| *measured && *trip > smallest + 60 * MS).count() as u64
}

/// The run's books, as the driver keeps them.
#[derive(Default)]
struct Book {
    run: Run,
    rows: BTreeMap<u32, SecondRecord>,
}

impl Book {
    fn add(&mut self, second: &MediaSecond) {
        let number = second.record.second;
        *self.rows.entry(number).or_default() += &second.record;
        self.run.intervals.add_second(number, &second.latencies);
    }

    /// The run on a machine of which nobody else uses anything.
    fn conclude(mut self, all: Vec<Stream>, mut receive: ReceiveTally, windows: &[Range<u64>]) -> Run {
        let is_held = |second: u32| windows.iter().any(|seconds| seconds.contains(&second.into()));
        let calls = all.into_iter().map(|call| {
            let report = call.receiver.finish(&mut receive);
            let mut record = CallRecord { ending: Ending::Completed, ..CallRecord::default() };
            report.enter(&call.sent, &mut record);
            record
        });
        self.run.calls = calls.collect();
        assert_eq!(receive.finish(|second| self.add(&second)), 0);
        let row = |(second, counted): (u32, SecondRecord)| SecondRecord {
            second,
            phase: if is_held(second) { Phase::Hold } else { Phase::Ramp },
            cpu_driver: Some(0.2),
            cpu_busiest_thread: Some(0.2),
            cpu_machine: Some(0.1),
            cpu_steal: Some(0.0),
            ..counted
        };
        let seconds: Vec<_> = self.rows.into_iter().map(row).collect();
        let late_after_ms = rules().late_after.as_secs_f64() * 1000.0;
        let environment =
            Environment { format: FORMAT_VERSION, cpus: 2, late_after_ms, ..self.run.environment };
        Run { environment, seconds, ..self.run }
    }
}

fn number(summary: &Summary, name: &str) -> f64 {
    match summary.metric(name).expect("a known metric").value {
        Value::Number(n) => n,
        other => panic!("{name} is {other:?}"),
    }
}

/// Within the histogram's step: three significant digits.
fn close(actual: f64, truth_ms: f64) -> bool {
    (actual - truth_ms).abs() <= truth_ms * 0.001 + 0.001
}

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
            lose_up_every, lose_down_every, repeat_every, delay_every, extra: extra * MS, drain, later: None,
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

fn outcomes(verdict: &Verdict) -> Vec<Outcome> {
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
