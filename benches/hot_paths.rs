//! Work done once a packet or a SIP message, and the replay of a search, timed: `cargo bench --bench hot_paths`.

use std::hint::black_box;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use loadtest::measure::{Class, ReceiveTally, Rules, StreamReceiver, Window};
use loadtest::record::Latencies;
use loadtest::rtp::Codec;
use loadtest::rtp::packet::{HEADER_LEN, StreamSender, read};
use loadtest::rtp::probe::{Probe, RunKey};
use loadtest::rtp::reflector::StreamReflector;
use loadtest::search::{
    Conditions, Costs, Ended, FORMAT, Figures, Goal, Length, Load, Outcome, Search, Settings, Step, Traffic,
    Trial,
};
use loadtest::sip;
use loadtest::stamp::Stamp;

const PTIME: Duration = Duration::from_millis(20);
const KEY: RunKey = RunKey::new(1, [1; 16]);
const EPOCH: Stamp = Stamp::from_ns(1_800_000_000_000_000_000);
/// Packets of one stream in one sample: a minute's. A packet that came before takes a short cut, so
/// each is new.
const STREAM: u32 = 3000;

fn main() {
    divan::main();
}

fn rules() -> Rules {
    let (late_after, lost_after) = (Duration::from_millis(60), Duration::from_secs(2));
    Rules { key: KEY, epoch: EPOCH, ptime: PTIME, late_after, lost_after, shared_clock: true }
}

/// A stream's packets, and when each was sent.
fn stream() -> Vec<(Stamp, Vec<u8>)> {
    let mut sender = StreamSender::new(KEY, 1, 7, Codec::Pcmu, 0, PTIME);
    let packet = |n: u32| {
        let at = EPOCH + PTIME * n;
        (at, sender.packet(at, at).to_vec())
    };
    (0..STREAM).map(packet).collect()
}

/// The stream as it comes back.
fn reflected() -> Vec<(Stamp, Vec<u8>)> {
    let mut reflector = StreamReflector::new(9);
    let mut answer = [0; 1500];
    let mut packets = stream();
    for (at, packet) in &mut packets {
        let (len, _) = reflector.reflect(packet, *at, || *at, &mut answer).expect("the packet is RTP");
        packet.copy_from_slice(&answer[..len]);
    }
    packets
}

#[divan::bench]
fn packet_with_probe_encoded(bencher: Bencher) {
    let mut sender = StreamSender::new(KEY, 1, 7, Codec::Pcmu, 0, PTIME);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        black_box(sender.packet(black_box(EPOCH), black_box(EPOCH)));
    });
}

#[divan::bench]
fn probe_encoded(bencher: Bencher) {
    let (_, packet) = &reflected()[0];
    let probe = Probe::read(&packet[HEADER_LEN..]).expect("a probe");
    let mut payload = [0xFF; 160];
    bencher
        .counter(ItemsCount::new(1u32))
        .bench_local(|| black_box(&probe).write(black_box(&mut payload), &KEY));
}

#[divan::bench]
fn packet_with_probe_decoded(bencher: Bencher) {
    let (_, packet) = &reflected()[0];
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| read(black_box(packet), &KEY, 1));
}

#[divan::bench]
fn probe_decoded(bencher: Bencher) {
    let (_, packet) = &reflected()[0];
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| Probe::read(black_box(&packet[HEADER_LEN..])));
}

/// Cost of a probe's mark: once when it is sent, once when it is back.
#[divan::bench]
fn probe_checked(bencher: Bencher) {
    let (_, packet) = &reflected()[0];
    let check = || KEY.has_signed(black_box(&packet[HEADER_LEN..]));
    bencher.counter(ItemsCount::new(1u32)).bench_local(check);
}

#[divan::bench]
fn a_minute_reflected(bencher: Bencher) {
    let packets = stream();
    let mut answer = [0; 1500];
    bencher.counter(ItemsCount::new(STREAM)).with_inputs(|| StreamReflector::new(9)).bench_local_refs(
        |reflector| {
            for (at, packet) in &packets {
                black_box(reflector.reflect(packet, *at, || *at, &mut answer));
            }
        },
    );
}

#[divan::bench]
fn a_minute_received(bencher: Bencher) {
    let packets = reflected();
    let window = Window::default();
    window.set(EPOCH, EPOCH + PTIME * STREAM);
    let fresh = || (StreamReceiver::new(rules(), 1, Class::Call, EPOCH), ReceiveTally::new(rules()));
    bencher.counter(ItemsCount::new(STREAM)).with_inputs(fresh).bench_local_refs(|(receiver, tally)| {
        for (n, (at, packet)) in packets.iter().enumerate() {
            let back = *at + Duration::from_micros(200 + n as u64 % 100);
            receiver.receive(packet, back, back + Duration::from_micros(20), &window, tally);
            if n % 50 == 0 {
                tally.close_seconds(back, |row| {
                    black_box(row);
                });
            }
        }
    });
}

/// The questions that a call asks of every message.
#[divan::bench]
fn sip_answer_read(bencher: Bencher) {
    let datagram = include_bytes!("../tests/corpus/sip/asterisk-200-INVITE");
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        let message = sip::parse(black_box(datagram)).expect("a message");
        black_box((message.branch().is_some(), message.to_tag().is_some(), message.contact().is_some()));
        message
    });
}

#[divan::bench]
fn latency_recorded(bencher: Bencher) {
    let mut latencies = Latencies::default();
    let mut ns = 200_000;
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        ns = (ns * 7 + 13_001) % 3_000_000;
        latencies.record(black_box(ns));
    });
}

/// Trials of a stored search.
const TRIALS: u64 = 1_000_000;

/// One trial for each load up to a thousand calls; those above 600 are bad.
fn trials() -> Vec<Trial> {
    let trial = |calls: u32| Trial {
        format: FORMAT,
        number: calls.into(),
        load: Load::calls(calls).expect("a load"),
        planned_s: 60.0,
        effective_s: 60.0,
        took_s: 75.0,
        length: Length::Full,
        ended: Ended::Planned,
        outcomes: ["good", "tolerable"].map(|goal| (goal.into(), outcome(calls))).into(),
        full_of_own_load: false,
        leaks: Some(0),
        figures: Figures::default(),
        folder: "trial".into(),
    };
    (1..=1000).map(trial).collect()
}

fn outcome(calls: u32) -> Outcome {
    match calls {
        ..=600 => Outcome::Good,
        _ => Outcome::Bad { gate: "rtt.p99 < 20ms".into(), actual: "24.100 ms".into() },
    }
}

/// A search that goes on from a million trials: each is added to its load's sums, then the next step is chosen.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn a_million_trials_classified(bencher: Bencher) {
    let trials = trials();
    let search = || {
        let goals = ["good", "tolerable"].map(|name| Goal { name: name.into(), gates: Vec::new() });
        let conditions = Conditions {
            traffic: Traffic { ptime: PTIME, call_duration: None },
            costs: Costs::default(),
            driver_most: None,
            ports_most: None,
        };
        Search::new(&Settings { min: Some(1.0), ..Settings::default() }, goals.into(), conditions)
    };
    bencher.counter(ItemsCount::new(TRIALS)).with_inputs(search).bench_local_refs(|search| {
        trials.iter().cycle().take(TRIALS as usize).for_each(|trial| search.add(trial));
        let step = search.next(Duration::ZERO);
        assert!(matches!(step, Step::Done(_)), "{step:?}");
        step
    });
}
