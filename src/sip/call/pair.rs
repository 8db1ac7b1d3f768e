//! A call and a scripted callee on a seeded network that loses, doubles and reorders, in virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use super::callee::{Callee, Script};
use super::{Call, CallConfig, CallEvent, CallOutput, CallState, Habits};
use crate::rtp::Codec;
use crate::sip::digest::Credentials;
use crate::sip::identity::Identity;
use crate::sip::message::{Message, Method};
use crate::sip::sdp::{LocalMedia, MediaDirection};
use crate::sip::timers::TIMER_B;
use crate::sip::{Heard, SipDatagram, Transport, hear, parse};
use crate::stamp::Stamp;

impl Call {
    /// True from the answer until a side hangs up.
    pub(super) fn is_up(&self) -> bool {
        self.state == CallState::Up
    }
}

impl CallEvent {
    /// True for the last event of a call.
    pub(crate) fn ends_call(&self) -> bool {
        use CallEvent::{Answered, MediaChanged, MediaOffered, Provisional, Remark};
        !matches!(
            self,
            Provisional { .. } | Answered { .. } | MediaChanged { .. } | MediaOffered { .. } | Remark(_)
        )
    }
}

/// Refuses the call's own sockets and what a kernel would refuse, as its owner does.
pub(super) fn vet(to: SocketAddr) -> Result<(), String> {
    let config = config();
    let own = [SocketAddr::new(config.media.ip, config.media.rtp_port), config.local];
    match own.contains(&to) || to.ip().to_string().ends_with(".255") {
        true => Err(format!("{to} is refused")),
        false => Ok(()),
    }
}

/// The direction of the hold that the only event tells of, if it is one.
pub(super) fn hold_of(events: &[CallEvent]) -> Option<MediaDirection> {
    match events {
        [CallEvent::Answered { answer, .. } | CallEvent::MediaChanged { answer, .. }] => answer.on_hold(),
        other => panic!("{other:?}"),
    }
}

pub(super) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A moment of virtual time.
pub(super) fn at_ms(n: u64) -> Stamp {
    Stamp::ZERO + ms(n)
}

pub(super) fn config() -> CallConfig {
    CallConfig {
        target: "sip:echo@192.0.2.1:5060".into(),
        remote: "192.0.2.1:5060".parse().unwrap(),
        local: "192.0.2.9:5070".parse().unwrap(),
        transport: Transport::Udp,
        identity: Identity::plain("sip:alice@192.0.2.9:5070", "sip:echo@192.0.2.1:5060"),
        habits: Habits::default(),
        call_id: "call-1@loadtest".into(),
        from_tag: "caller-tag".into(),
        seed: 0xfeed,
        credentials: Some(Credentials { username: "alice".into(), password: "secret".into() }),
        media: LocalMedia {
            ip: "192.0.2.9".parse().unwrap(),
            rtp_port: 40000,
            codec: Codec::Pcmu,
            ptime_ms: 20,
            session_id: 7,
            srtp: None,
            events: false,
        },
        setup_timeout: TIMER_B,
        session_expires: None,
    }
}

/// Treatment of each datagram by the network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    pub(super) loss_percent: u64,
    pub(super) duplicate_percent: u64,
    /// The longest way; the shortest is 1 ms, so anything above reorders.
    pub(super) longest_ms: u64,
}

pub(super) const PERFECT: Network = Network { loss_percent: 0, duplicate_percent: 0, longest_ms: 1 };

/// A small generator (xorshift), so that a failing seed can be played again.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Call,
    Callee,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    Invite,
    HangUp,
}

pub(super) struct Pair {
    pub(super) call: Call,
    pub(super) callee: Callee,
    pub(super) now: Stamp,
    pub(super) events: Vec<CallEvent>,
    /// Messages of the call: time, and the first word or two.
    pub(super) sent: Vec<(Stamp, String)>,
    /// Where they went.
    pub(super) destinations: Vec<SocketAddr>,
    commands: Vec<(Stamp, Command)>,
    in_flight: Vec<(Stamp, End, Vec<u8>)>,
    network: Network,
    dice: Dice,
}

impl Pair {
    pub(super) fn new(script: Script) -> Self {
        Pair::with(config(), script, PERFECT, 1)
    }

    /// A pair whose call is placed at time zero.
    pub(super) fn with(config: CallConfig, script: Script, network: Network, seed: u64) -> Self {
        Pair {
            call: Call::new(config),
            callee: Callee::new(script),
            now: Stamp::ZERO,
            events: Vec::new(),
            sent: Vec::new(),
            destinations: Vec::new(),
            commands: vec![(Stamp::ZERO, Command::Invite)],
            in_flight: Vec::new(),
            network,
            dice: Dice::new(seed),
        }
    }

    pub(super) fn hang_up_at(mut self, after: Duration) -> Self {
        self.commands.push((Stamp::ZERO + after, Command::HangUp));
        self
    }

    /// A pair whose call has been up for a while, at 1 s.
    pub(super) fn up(script: Script) -> Self {
        let mut pair = Pair::new(script);
        pair.run_until(at_ms(1000));
        assert!(pair.call.is_up());
        pair
    }

    /// A pair whose INVITE has come, and has no answer.
    pub(super) fn invited(config: CallConfig) -> Self {
        let script = Script { provisional: vec![], answer: None, ..Script::default() };
        let mut pair = Pair::with(config, script, PERFECT, 1);
        pair.run_until(at_ms(10));
        pair
    }

    /// The INVITE that came last.
    pub(super) fn invite(&self) -> Message {
        let invite = self.callee.received.iter().rfind(|message| *message.method() == Method::Invite);
        invite.expect("an INVITE").clone()
    }

    /// Hands the call a message of the peer's past the network; what it sends and tells.
    pub(super) fn say(&mut self, now_ms: u64, bytes: &[u8]) -> (Vec<Message>, Vec<CallEvent>) {
        self.call.handle_message(at_ms(now_ms), &parse(bytes).expect("the test's message parses"), &vet);
        self.said()
    }

    /// Lets timers run out at this time; what the call sends and tells.
    pub(super) fn wait(&mut self, now_ms: u64) -> (Vec<Message>, Vec<CallEvent>) {
        self.call.handle_timeout(at_ms(now_ms));
        self.said()
    }

    /// What the call has sent and told since it was asked last.
    pub(super) fn said(&mut self) -> (Vec<Message>, Vec<CallEvent>) {
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        while let Some(output) = self.call.poll() {
            match output {
                CallOutput::Send(datagram) => {
                    sent.push(parse(&datagram.bytes).expect("what the call sends parses"))
                }
                CallOutput::Event(event) => events.push(event),
            }
        }
        (sent, events)
    }

    /// Runs until nothing is left to happen, and panics if that never comes.
    pub(super) fn run(&mut self) {
        self.run_until(Stamp::from_ns(u64::MAX));
    }

    pub(super) fn run_until(&mut self, until: Stamp) {
        for _ in 0..5_000 {
            let next = [
                self.in_flight.iter().map(|(at, ..)| *at).min(),
                self.commands.iter().map(|(at, _)| *at).min(),
                self.call.poll_timeout(),
                self.callee.poll_timeout(),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|at| *at <= until) else { return };
            self.now = next.max(self.now);
            self.step();
        }
        panic!("never at rest: {:?}\n{:#?}", self.call, self.sent);
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(i) = self.commands.iter().position(|(at, _)| *at <= now) {
            match self.commands.remove(i).1 {
                Command::Invite => self.call.invite(now),
                Command::HangUp => self.call.hang_up(now),
            }
        }
        while let Some(i) = self.in_flight.iter().position(|(at, ..)| *at <= now) {
            let (_, to, bytes) = self.in_flight.swap_remove(i);
            match (to, hear(&bytes)) {
                (End::Call, Heard::Message(message)) => self.call.handle_message(now, &message, &vet),
                (End::Call, Heard::Unreadable(unreadable)) => self.call.handle_unreadable(now, &unreadable),
                (End::Callee, Heard::Message(message)) => self.callee.handle_message(now, message),
                (End::Callee, Heard::Unreadable(unreadable)) => panic!("{unreadable}"),
            }
        }
        self.call.handle_timeout(now);
        self.callee.handle_timeout(now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.call.poll() {
            match output {
                CallOutput::Event(event) => self.events.push(event),
                CallOutput::Send(SipDatagram { bytes, destination }) => {
                    self.destinations.push(destination);
                    self.sent.push((self.now, summary(&bytes)));
                    self.launch(End::Callee, bytes);
                }
            }
        }
        for bytes in std::mem::take(&mut self.callee.out) {
            self.launch(End::Call, bytes);
        }
    }

    fn launch(&mut self, to: End, bytes: Vec<u8>) {
        if self.dice.below(100) < self.network.loss_percent {
            return;
        }
        let copies = 1 + u64::from(self.dice.below(100) < self.network.duplicate_percent);
        for _ in 0..copies {
            let way = ms(1 + self.dice.below(self.network.longest_ms));
            self.in_flight.push((self.now + way, to, bytes.clone()));
        }
    }

    /// The milliseconds at which the call sent messages that begin with `what`.
    pub(super) fn sent_ms(&self, what: &str) -> Vec<u64> {
        let matching = self.sent.iter().filter(|(_, line)| line.starts_with(what));
        matching.map(|(at, _)| at.as_ns() / 1_000_000).collect()
    }

    /// The event that ended the call, which must be the only one of its kind and the last.
    pub(super) fn ending(&self) -> &CallEvent {
        let endings = self.events.iter().filter(|event| event.ends_call()).count();
        assert_eq!(endings, 1, "{:#?}", self.events);
        let last = self.events.last().expect("one event at least");
        assert!(last.ends_call(), "{:#?}", self.events);
        last
    }
}

/// Methods of requests, and codes of responses.
pub(super) fn spelt(sent: &[Message]) -> Vec<String> {
    let word = |message: &Message| match message.status() {
        Some(code) => format!("{code} {}", message.method()),
        None => message.method().to_string(),
    };
    sent.iter().map(word).collect()
}

/// `INVITE` of a request, `200 INVITE` of a response.
fn summary(bytes: &[u8]) -> String {
    let message = parse(bytes).expect("what the call sends parses");
    match message.status() {
        Some(code) => format!("{code} {}", message.method()),
        None => message.method().to_string(),
    }
}
