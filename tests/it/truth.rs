//! Ground truth: the whole measurement in virtual time through a network that delays, loses, repeats and
//! reorders on purpose, by a driver whose clock jumps, so that Summary and verdict can be held against what
//! was injected.

mod doubt;
mod figures;
mod holds;
mod stages;

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
    /// Holds by the far end, in their order.
    holds: Vec<Hold>,
    /// Another network from this second of the run on.
    later: Option<(u64, Box<Network>)>,
}

/// A hold, in times since the run's start.
#[derive(Debug, Clone)]
struct Hold {
    /// The far end returns nothing meanwhile.
    lasts: Range<Duration>,
    /// The driver learns of its beginning and of its end so much later.
    learnt_after: Duration,
}

impl Network {
    fn is_held(&self, at: Stamp) -> bool {
        self.holds.iter().any(|hold| hold.lasts.contains(&at.since(rules().epoch)))
    }

    fn is_known_held(&self, at: Stamp) -> bool {
        let since = at.since(rules().epoch);
        let known = |hold: &Hold| hold.lasts.start + hold.learnt_after..hold.lasts.end + hold.learnt_after;
        self.holds.iter().any(|hold| known(hold).contains(&since))
    }

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
    /// Under way at the start of a hold, and not returned: neither sent nor lost.
    excused: u64,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Up,
    Down,
    /// It reached a far end that returns nothing on hold.
    Held,
    /// It has come back, however late.
    Back,
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
    is_on_hold: bool,
    last_at: Stamp,
    /// Each packet's fate, and the window that it lies in.
    fates: Vec<(Fate, Option<usize>)>,
    /// Packets sent before each hold was learnt.
    held_after: Vec<u32>,
}

impl Stream {
    /// The driver learns of a hold, or of its end.
    fn hold(&mut self, is_on_hold: bool, at: Stamp, window: &Window, tally: &mut ReceiveTally) {
        if std::mem::replace(&mut self.is_on_hold, is_on_hold) == is_on_hold {
            return;
        }
        if !is_on_hold {
            self.receiver.resume(at);
            return;
        }
        self.receiver.hold();
        self.receiver.paused(self.sender.sent(), self.last_at, window, tally);
        self.held_after.push(self.sender.sent());
    }

    /// Takes the packets that were under way at a hold from what was sent and lost: those behind the last one that came
    /// back, half a second of them at the most.
    fn excuse(&self, truths: &mut [Truth]) {
        let before = std::iter::once(0).chain(self.held_after.iter().copied());
        for (before, sent) in before.zip(&self.held_after) {
            let under_way = before.max(sent.saturating_sub(25)) as usize..*sent as usize;
            let unreturned = self.fates[under_way].iter().rev().take_while(|(fate, _)| *fate != Fate::Back);
            for (fate, stage) in unreturned {
                let Some(truth) = stage.map(|stage| &mut truths[stage]) else { continue };
                truth.sent -= 1;
                truth.lost_up -= u64::from(matches!(fate, Fate::Up | Fate::Held));
                truth.lost_down -= u64::from(*fate == Fate::Down);
                truth.excused += 1;
            }
        }
    }
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
        is_on_hold: false,
        last_at: Stamp::ZERO,
        fates: Vec::new(),
        held_after: Vec::new(),
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
        deliver(&mut flying, now, &mut all, (&window, from), &mut receive, &mut truths[0]);
        let is_on_hold = network.is_known_held(due);
        all[..calls].iter_mut().for_each(|call| call.hold(is_on_hold, due, &window, &mut receive));
        let streams = wheel.advance().to_vec();
        for n in streams {
            let call = &mut all[n];
            if call.is_on_hold {
                call.sender.skip();
                continue;
            }
            call.last_at = due;
            let packet = call.sender.packet(due, now).to_vec();
            let sent = Sent { intended_at: due, sent_at: now, call_took: Duration::ZERO };
            send.sent(&mut call.sent, &sent, call.class, &window, rules.epoch);
            let is_call = call.class == Class::Call;
            let through = if is_call { network } else { &beside };
            let stage =
                windows.iter().position(|seconds| (at_s(seconds.start)..at_s(seconds.end)).contains(&due));
            let stage = stage.filter(|_| is_call);
            let truth = stage.map_or(&mut outside, |stage| &mut truths[stage]);
            let (fate, arrivals) = cross(through.at(due), call, &packet, now, stage.is_some(), truth);
            call.fates.push((fate, stage));
            for (at, bytes) in arrivals {
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
    all[..calls].iter().for_each(|call| call.excuse(&mut truths));
    book.run.environment.skipped = send.skipped;
    book.add(&send.finish());
    all.truncate(calls);
    (book.conclude(all, receive, windows), truths)
}

/// Sends one packet through the network: its fate, and when which bytes come back.
fn cross(
    network: &Network,
    call: &mut Stream,
    packet: &[u8],
    at: Stamp,
    measured: bool,
    truth: &mut Truth,
) -> (Fate, Vec<(Stamp, Vec<u8>)>) {
    let (n, count) = (call.number, u64::from(measured));
    truth.sent += count;
    if hits(network.lose_up_every, n) {
        truth.lost_up += count;
        return (Fate::Up, vec![]);
    }
    let in_at = at + network.up;
    if network.is_held(in_at) {
        // Lost, unless the driver learns of the hold.
        truth.lost_up += count;
        return (Fate::Held, vec![]);
    }
    let out_at = in_at + network.service;
    let mut answer = vec![0; packet.len()];
    let reflected = call.reflector.reflect(packet, in_at, || out_at, &mut answer);
    assert_eq!(reflected.expect("a probe is reflected").0, packet.len());
    if hits(network.lose_down_every, n) {
        truth.lost_down += count;
        return (Fate::Down, vec![]);
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
    (Fate::Back, arrivals)
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
        let mut seconds: Vec<_> = self.rows.into_iter().map(row).collect();
        seconds.iter_mut().for_each(SecondRecord::conclude);
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
