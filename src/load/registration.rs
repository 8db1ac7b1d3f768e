//! The registrations of a run: all asked for at a rate before the first call, kept fresh meanwhile, taken back at the end.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::BATCH;
use crate::record::{LogLine, MOST_LINE_CHARS, MOST_LINES, RegisterRecord};
use crate::sip::register::{
    RegisterEvent, RegisterFailure, RegisterOutput, Registration, RegistrationConfig,
};
use crate::sip::{Broken, Message, SipDatagram, Unreadable};
use crate::stamp::Stamp;
use crate::table::{Deadlines, Table};
use crate::values::Rate;

/// Time that a registrar has for the last answers once all registrations have been taken back.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Stage of the registrations as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Registering,
    /// All are registered, or have failed.
    Settled,
    Leaving,
}

/// All registrations, as a state machine: times and messages in, datagrams out.
#[derive(Debug)]
pub struct Registrations {
    all: Table<u32, Registration>,
    by_call_id: HashMap<String, u32>,
    timers: Deadlines<u32>,
    outputs: VecDeque<SipDatagram>,
    stage: Stage,
    /// Those that wait for their turn, and when the next one has it.
    waiting: VecDeque<u32>,
    next_turn: Stamp,
    interval: Duration,
    /// Registrations without an outcome in this stage.
    open: u32,
    give_up: Option<Stamp>,
    began: Stamp,
    record: RegisterRecord,
}

impl Registrations {
    /// Asks for each from `now` on, at a rate.
    pub fn new(
        configs: impl IntoIterator<Item = RegistrationConfig>,
        rate: Rate,
        now: Stamp,
    ) -> Registrations {
        let mut all = Table::new();
        let mut by_call_id = HashMap::new();
        for (number, config) in (0..).zip(configs) {
            by_call_id.insert(config.call_id.clone(), number);
            all.insert(number, Registration::new(config));
        }
        let count = all.len() as u32;
        Registrations {
            all,
            by_call_id,
            timers: Deadlines::new(),
            outputs: VecDeque::new(),
            stage: Stage::Registering,
            waiting: (0..count).collect(),
            next_turn: now,
            interval: Duration::from_secs_f64(1.0 / rate.0),
            open: count,
            give_up: None,
            began: now,
            record: RegisterRecord { wanted: count.into(), rate_per_s: rate.0, ..RegisterRecord::default() },
        }
    }

    /// True once each is registered or has failed.
    pub fn is_settled(&self) -> bool {
        self.stage != Stage::Registering
    }

    /// True once nothing is left to be taken back.
    pub fn is_over(&self, now: Stamp) -> bool {
        self.stage == Stage::Leaving && (self.open == 0 || self.give_up.is_some_and(|at| at <= now))
    }

    /// Counts so far.
    pub fn record(&self) -> &RegisterRecord {
        &self.record
    }

    /// Begins to take all registrations back, at the rate at which they were asked for.
    pub fn leave(&mut self, now: Stamp) {
        if self.stage == Stage::Leaving {
            return;
        }
        self.stage = Stage::Leaving;
        let is_held = |number: &u32| self.all.get(*number).is_some_and(Registration::may_be_held);
        self.record.leaving = self.all.keys().iter().filter(|number| is_held(number)).count() as u64;
        let there = |number: &u32| self.all.get(*number).is_some_and(|registration| !registration.is_over());
        self.waiting = self.all.keys().into_iter().filter(there).collect();
        (self.open, self.next_turn) = (self.waiting.len() as u32, now);
        self.give_up = Some(now + self.interval.saturating_mul(self.open) + LAST_ANSWERS);
    }

    /// Takes a message that was received at `at`; false if it is of no registration.
    pub fn handle_message(&mut self, at: Stamp, message: &Message) -> bool {
        let Some(number) = self.by_call_id.get(message.call_id()).copied() else { return false };
        if let Some(registration) = self.all.get_mut(number) {
            registration.handle_message(at, message);
            self.drain(at, number);
        }
        true
    }

    /// Takes a message that cannot be read; false if it is of no registration.
    pub fn handle_unreadable(&mut self, unreadable: &Unreadable) -> bool {
        let Some(number) = unreadable.call_id.as_ref().and_then(|id| self.by_call_id.get(id)).copied() else {
            return false;
        };
        if let Some(registration) = self.all.get_mut(number) {
            registration.handle_unreadable(unreadable);
        }
        true
    }

    /// Takes the end of a connection at `now`: requests may have gone there.
    pub fn handle_transport_error(&mut self, now: Stamp, broken: &Broken) {
        for number in self.all.keys() {
            if let Some(registration) = self.all.get_mut(number) {
                registration.handle_transport_error(now, broken);
                self.drain(now, number);
            }
        }
    }

    /// The next datagram to be sent, until there is none.
    pub fn poll(&mut self) -> Option<SipDatagram> {
        self.outputs.pop_front()
    }

    /// The time of the next [`Registrations::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        let turn = (!self.waiting.is_empty()).then_some(self.next_turn);
        [turn, self.timers.next(), self.give_up].into_iter().flatten().min()
    }

    /// Does what is due at `now`; if that is much, some of it waits for the next call of this.
    pub fn handle_timeout(&mut self, now: Stamp) {
        for _ in 0..BATCH {
            let is_turn = !self.waiting.is_empty() && self.next_turn <= now;
            if let Some(number) = if is_turn { self.waiting.pop_front() } else { None } {
                self.next_turn += self.interval;
                self.take_turn(now, number);
                continue;
            }
            let Some((_, number)) = self.timers.pop(now) else { return };
            if let Some(registration) = self.all.get_mut(number) {
                registration.handle_timeout(now);
                self.drain(now, number);
            }
        }
    }

    fn take_turn(&mut self, now: Stamp, number: u32) {
        let Some(registration) = self.all.get_mut(number) else { return };
        match self.stage {
            Stage::Registering => {
                self.record.attempts += 1;
                registration.start(now);
            }
            Stage::Settled => {}
            Stage::Leaving => {
                registration.stop(now);
                // One that was never asked for says nothing of its end.
                self.open = self.open.saturating_sub(u32::from(registration.is_over()));
            }
        }
        self.drain(now, number);
    }

    /// Takes a registration's outputs, and sets its timer.
    fn drain(&mut self, now: Stamp, number: u32) {
        let Some(registration) = self.all.get_mut(number) else { return };
        let mut events = Vec::new();
        while let Some(output) = registration.poll() {
            match output {
                RegisterOutput::Send(datagram) => self.outputs.push_back(datagram),
                RegisterOutput::Event(event) => events.push(event),
            }
        }
        self.timers.set(number, registration.poll_timeout());
        events.iter().for_each(|event| self.count(now, event));
    }

    fn count(&mut self, now: Stamp, event: &RegisterEvent) {
        let is_first = self.stage == Stage::Registering;
        match event {
            RegisterEvent::Registered { took } => {
                self.record.registered += 1;
                self.record.time.record(*took);
            }
            RegisterEvent::Failed(failure) => {
                self.record.failed += 1;
                note(&mut self.record.failures, failure);
            }
            RegisterEvent::Refreshed => self.record.refreshed += 1,
            RegisterEvent::RefreshFailed(failure) => {
                self.record.refresh_failed += 1;
                note(&mut self.record.failures, failure);
            }
            RegisterEvent::Left { is_agreed } => self.record.left += u64::from(*is_agreed),
        }
        let is_outcome = match event {
            RegisterEvent::Registered { .. } => is_first,
            RegisterEvent::Failed(_) | RegisterEvent::Left { .. } => true,
            RegisterEvent::Refreshed | RegisterEvent::RefreshFailed(_) => false,
        };
        self.open = self.open.saturating_sub(u32::from(is_outcome));
        if is_first && self.open == 0 {
            self.stage = Stage::Settled;
            self.record.took_s = now.since(self.began).as_secs_f64();
        }
    }
}

/// Counts a failure among the first distinct ones.
fn note(failures: &mut Vec<LogLine>, failure: &RegisterFailure) {
    let text: String = failure.to_string().chars().take(MOST_LINE_CHARS).collect();
    match failures.iter().position(|line| line.text == text) {
        Some(at) => failures[at].count += 1,
        None if failures.len() < MOST_LINES => failures.push(LogLine { text, count: 1 }),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Identity, Transport, parse};

    fn at_ms(n: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(n)
    }

    fn config(number: u32) -> RegistrationConfig {
        let record = format!("sip:{number}@pbx.example");
        RegistrationConfig {
            registrar: "sip:pbx.example".into(),
            identity: Identity::plain(&record, &record),
            user: number.to_string(),
            remote: "192.0.2.1:5060".parse().unwrap(),
            local: "192.0.2.9:5070".parse().unwrap(),
            transport: Default::default(),
            call_id: format!("reg-{number}"),
            from_tag: "us".into(),
            seed: number.into(),
            credentials: None,
            expires_s: 3600,
            timeout: Duration::from_secs(5),
        }
    }

    fn answer(request: &Message, code: u16) -> Message {
        let text = format!(
            "SIP/2.0 {code} Because\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=them\r\nCall-ID: {}\r\nCSeq: {} REGISTER\r\n\r\n",
            request.via(),
            request.from(),
            request.to(),
            request.call_id(),
            request.cseq().number,
        );
        parse(text.as_bytes()).expect("it parses")
    }

    /// Plays until `is_done`; every request is answered after 10 ms with what `code` says for its user. Returns when
    /// each was sent, in ms.
    fn play(
        all: &mut Registrations,
        mut now: Stamp,
        code: impl Fn(&Message) -> Option<u16>,
        is_done: impl Fn(&Registrations, Stamp) -> bool,
    ) -> (Vec<u64>, Stamp) {
        let (mut sent, mut coming) = (Vec::new(), VecDeque::new());
        while !is_done(all, now) {
            all.handle_timeout(now);
            while let Some(datagram) = all.poll() {
                let request = parse(&datagram.bytes).expect("it parses");
                sent.push(now.since(Stamp::ZERO).as_millis() as u64);
                if let Some(code) = code(&request) {
                    coming.push_back((now + Duration::from_millis(10), answer(&request, code)));
                }
            }
            if is_done(all, now) {
                break;
            }
            let arrival = coming.front().map(|(at, _)| *at);
            now =
                [arrival, all.poll_timeout()].into_iter().flatten().min().expect("something is due").max(now);
            while coming.front().is_some_and(|(at, _)| *at <= now) {
                let (at, answer) = coming.pop_front().expect("one is there");
                assert!(all.handle_message(at, &answer));
            }
        }
        (sent, now)
    }

    #[test]
    fn registrations_keep_their_rate_and_calls_wait_for_the_last_outcome() {
        let mut all = Registrations::new((0..20).map(config), Rate(10.0), at_ms(0));
        let refuses = |request: &Message| Some(if request.to().contains(":7@") { 403 } else { 200 });
        let (sent, now) = play(&mut all, at_ms(0), refuses, |all, _| all.is_settled());
        assert_eq!(sent, (0..20).map(|n| n * 100).collect::<Vec<_>>());
        assert_eq!(now, at_ms(1910));
        let record = all.record();
        assert_eq!((record.attempts, record.registered, record.failed), (20, 19, 1));
        assert_eq!((record.failures[0].text.as_str(), record.time.count()), ("403 Because", 19));

        all.leave(now);
        let (sent, _) = play(&mut all, now, |_| Some(200), Registrations::is_over);
        assert_eq!(
            (sent.len(), all.record().leaving, all.record().left),
            (19, 19, 19),
            "who failed has nothing to take back"
        );
    }

    #[test]
    fn a_registrar_that_falls_silent_is_not_waited_for_without_end() {
        let mut all = Registrations::new((0..3).map(config), Rate(1000.0), at_ms(0));
        let (_, now) = play(&mut all, at_ms(0), |_| Some(200), |all, _| all.is_settled());
        all.leave(now);
        let (_, end) = play(&mut all, now, |_| None, Registrations::is_over);
        assert!(end.since(now) < Duration::from_secs(3));
        assert_eq!((all.record().leaving, all.record().left), (3, 0));
    }

    #[test]
    fn a_storm_outlives_the_end_of_its_connection_and_tells_of_the_second_one() {
        let broken = Broken {
            peer: config(0).remote,
            why: "the TCP connection to 192.0.2.1:5060 has ended: the far end closed it".into(),
            was_open: true,
            is_unreadable: false,
        };
        let config = |number| RegistrationConfig { transport: Transport::Tcp, ..config(number) };
        let mut all = Registrations::new((0..10).map(config), Rate(1000.0), at_ms(0));
        let asked = |all: &mut Registrations| -> Vec<Message> {
            std::iter::from_fn(|| all.poll()).map(|sent| parse(&sent.bytes).expect("it parses")).collect()
        };
        all.handle_timeout(at_ms(5));
        let first = asked(&mut all);
        assert_eq!(first.len(), 6);
        assert!(all.handle_message(at_ms(6), &answer(&first[0], 200)));
        // Five have no answer: they are asked again over another connection.
        all.handle_transport_error(at_ms(7), &broken);
        assert_eq!(asked(&mut all), first[1..]);
        assert!(all.handle_message(at_ms(8), &answer(&first[1], 200)));
        all.handle_transport_error(at_ms(9), &broken);
        assert_eq!(asked(&mut all), []);
        // The others are asked in their turn.
        let (sent, now) = play(&mut all, at_ms(9), |_| Some(200), |all, _| all.is_settled());
        assert_eq!((sent, now), (vec![9, 9, 9, 9], at_ms(19)));
        let record = all.record();
        assert_eq!((record.attempts, record.registered, record.failed), (10, 6, 4));
        assert_eq!((record.failures[0].text.as_str(), record.failures[0].count), (broken.why.as_str(), 4));
    }

    #[test]
    fn nobody_answers() {
        let mut all = Registrations::new((0..2).map(config), Rate(1000.0), at_ms(0));
        let (_, now) = play(&mut all, at_ms(0), |_| None, |all, _| all.is_settled());
        assert!(now <= at_ms(5_002));
        assert_eq!((all.record().failed, all.record().failures[0].count), (2, 2));
        assert!(!all.handle_message(now, &parse(
            b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:b@h>\r\n\
              Call-ID: other\r\nCSeq: 1 OPTIONS\r\n\r\n"
        ).expect("it parses")));
    }
}
