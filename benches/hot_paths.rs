//! Work done once a packet, a SIP message or a call, and the replay of a search, timed: `cargo bench --bench hot_paths`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use loadtest::load::{Agent, AgentOutput, Control, Input, Output};
use loadtest::measure::{Class, ReceiveTally, Rules, StreamReceiver, Window};
use loadtest::record::Latencies;
use loadtest::rtp::packet::{HEADER_LEN, StreamSender, read};
use loadtest::rtp::probe::{Probe, RunKey};
use loadtest::rtp::reflector::StreamReflector;
use loadtest::rtp::srtp::{Keys, MASTER_LEN, SrtpReceiver, SrtpSender, Suite};
use loadtest::rtp::{Codec, Format};
use loadtest::scenario::{self, CallDuration, Scenario};
use loadtest::search::{
    Conditions, Costs, Ended, FORMAT, Figures, Goal, Length, Load, Outcome, Search, Settings, Step, Traffic,
    Trial,
};
use loadtest::sip::sdp::LocalMedia;
use loadtest::sip::{self, CallConfig, Identity, Transport};
use loadtest::stamp::Stamp;
use loadtest::values::{Ramp, Rate, Span};

const PTIME: Duration = Duration::from_millis(20);
const KEY: RunKey = RunKey::new(1, [1; 16]);
const PCMU: Format = Format::of(Codec::Pcmu, PTIME);
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
    let mut sender = StreamSender::new(KEY, 1, 7, PCMU);
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
    let mut sender = StreamSender::new(KEY, 1, 7, PCMU);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        black_box(sender.packet(black_box(EPOCH), black_box(EPOCH)));
    });
}

const KEYS: Keys = Keys::new(Suite::Sha1With80, [7; MASTER_LEN]);

/// What SRTP adds to a packet on its way out.
#[divan::bench]
fn srtp_protect(bencher: Bencher) {
    let (_, packet) = &stream()[0];
    let mut sender = SrtpSender::new(&KEYS);
    let protect = || black_box(sender.protect(black_box(packet)).map(<[u8]>::len));
    bencher.counter(ItemsCount::new(1u32)).bench_local(protect);
}

/// What SRTP adds to a packet on its way in.
#[divan::bench]
fn srtp_open(bencher: Bencher) {
    let (_, packet) = &stream()[0];
    let mut sender = SrtpSender::new(&KEYS);
    let protected = sender.protect(packet).expect("it is RTP").to_vec();
    let (mut receiver, mut plain) = (SrtpReceiver::new(&KEYS), Vec::new());
    let open = || assert!(receiver.open(black_box(&protected), &mut plain));
    bencher.counter(ItemsCount::new(1u32)).bench_local(open);
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
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| read(black_box(packet), &PCMU, &KEY, 1));
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
    let fresh = || (StreamReceiver::new(rules(), 1, Class::Call, PCMU, EPOCH), ReceiveTally::new(rules()));
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
            traffic: Traffic { ptime: PTIME, call_duration: None, warmup: Duration::ZERO },
            costs: Costs::default(),
            driver_most: None,
            cap: None,
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

/// Signalling of an open load against a far end that answers at once, in virtual time: load control, user agent, and
/// the reading of every answer. No sockets, no media.
struct Churn {
    control: Control,
    agent: Agent,
    now: Stamp,
    scenario: Scenario,
    /// Answers on their way.
    answers: VecDeque<Vec<u8>>,
}

impl Churn {
    /// 100 attempts a second of 10 s each, until 1,000 calls are up.
    fn at_1000_calls() -> Churn {
        let call_duration = Some(CallDuration::Constant(Span(Duration::from_secs(10))));
        let (rate, ramp) = (Some(Rate(100.0)), Ramp::Within(Span(Duration::ZERO)));
        let load = scenario::Load {
            calls: 2000,
            rate,
            ramp,
            call_duration,
            duration: Span(HOUR),
            ..scenario::Load::default()
        };
        let scenario = Scenario { load, ..Scenario::default() };
        let (control, agent) = (Control::new(scenario.clone(), EPOCH), Agent::new("tag".into()));
        let mut churn = Churn { control, agent, now: EPOCH, scenario, answers: VecDeque::new() };
        // Timers of ended calls run for 32 s more: from then on there are as many as there will be.
        churn.play(Duration::from_secs(60));
        assert_eq!(churn.control.calls_up(), 1000);
        churn
    }

    fn play(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let due = [self.control.poll_timeout(), self.agent.poll_timeout()];
            let next = due.into_iter().flatten().fold(end, Stamp::min).max(self.now);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next;
            self.control.handle_timeout(next);
            self.agent.handle_timeout(next);
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        loop {
            if let Some(output) = self.control.poll() {
                match output {
                    Output::Open(slot) => self.control.handle(self.now, Input::Opened { slot, port: 40_000 }),
                    Output::Invite { call, port, .. } => {
                        self.agent.place(self.now, call, config(call, port, &self.scenario))
                    }
                    Output::HangUp(call) => self.agent.hang_up(self.now, call),
                    Output::StopMedia(call) => self.control.handle(self.now, Input::MediaOver(call)),
                    _ => {}
                }
                continue;
            }
            match self.agent.poll() {
                Some(AgentOutput::Send(datagram)) => self.answers.extend(answer(&datagram.bytes)),
                Some(AgentOutput::Signal(signal)) => self.control.handle(self.now, Input::Signal(signal)),
                None => match self.answers.pop_front() {
                    Some(bytes) => {
                        let message = sip::parse(&bytes).expect("it is SIP");
                        self.agent.handle_message(self.now, &message, far(), &sip::anywhere);
                    }
                    None => return,
                },
            }
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn far() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

fn config(call: u32, rtp_port: u16, scenario: &Scenario) -> CallConfig {
    let local = SocketAddr::from(([192, 0, 2, 9], 5070));
    let (codec, session_id) = (scenario.media.codec, call.into());
    CallConfig {
        target: format!("sip:echo@{}", far()),
        remote: far(),
        local,
        transport: Transport::Udp,
        identity: Identity::plain("sip:alice@192.0.2.9:5070", "sip:echo@192.0.2.1:5060"),
        habits: Default::default(),
        call_id: format!("{call:016x}@{}", local.ip()),
        from_tag: format!("{call:016x}"),
        seed: call.into(),
        credentials: None,
        media: LocalMedia {
            ip: local.ip(),
            rtp_port,
            codec,
            ptime_ms: 20,
            session_id,
            srtp: None,
            events: false,
        },
        setup_timeout: scenario.sip.setup_timeout.0,
        session_expires: None,
    }
}

/// The far end: 180 and 200 to an INVITE, 200 to a BYE.
fn answer(request: &[u8]) -> Vec<Vec<u8>> {
    let text = std::str::from_utf8(request).expect("our own requests are text");
    let header = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 11000 RTP/AVP 0\r\n";
    let reply =
        |status: &str, body: &str| {
            let tag = if header("To:").contains(";tag=") { "" } else { ";tag=far" };
            let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
            format!(
            "SIP/2.0 {status}\r\n{}\r\n{}\r\n{}{tag}\r\n{}\r\n{}\r\nContact: <sip:echo@192.0.2.1:5060>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            header("Via:"), header("From:"), header("To:"), header("Call-ID:"), header("CSeq:"), body.len()
        )
        .into_bytes()
        };
    match text.split(' ').next() {
        Some("INVITE") => vec![reply("180 Ringing", ""), reply("200 OK", sdp)],
        Some("BYE") => vec![reply("200 OK", "")],
        _ => Vec::new(),
    }
}

/// A second of 1,000 calls at 100 attempts a second: the time is the share of a core that signalling takes.
#[divan::bench]
fn second_of_signalling_at_1000_calls_and_100_attempts(bencher: Bencher) {
    let mut churn = Churn::at_1000_calls();
    bencher.counter(ItemsCount::new(100u32)).bench_local(|| churn.play(Duration::from_secs(1)));
}
