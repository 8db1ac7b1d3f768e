//! One registration under any sequence of answers and times.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use loadtest::sip::Message;
use loadtest::sip::register::{RegisterEvent, RegisterOutput, Registration, RegistrationConfig};
use loadtest::stamp::Stamp;

use super::far::{Reply, Sent, steps};
use super::signalling::config as call_config;

/// The most outputs of one input.
const MOST_OUTPUTS: usize = 16;
/// Requests that the registrar remembers.
const REMEMBERED: usize = 64;

#[derive(Debug)]
enum Step {
    Reply(Reply),
    /// The last answer comes once more.
    Again,
    /// The next timer is punctual.
    Timer,
    /// Nobody looks for a while: seconds.
    Stall(u8),
    Stop,
}

impl Step {
    fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match bytes.int_in_range(0..=6)? {
            0..=2 => Step::Reply(Reply::any(bytes)?),
            3 => Step::Again,
            4 => Step::Timer,
            5 => Step::Stall(bytes.arbitrary()?),
            _ => Step::Stop,
        })
    }
}

/// A registration, and all that its owner was told.
struct Told {
    registration: Registration,
    now: Stamp,
    sent: Sent,
    requests: Vec<Message>,
    is_registered: bool,
    has_ended: bool,
}

/// A registration ends, once, when it is to; it tells its owner things in an order that makes sense; and each input
/// leads to a bounded number of outputs.
pub fn register(input: &[u8]) {
    let mut told = Told::asked_for();
    let mut last = None;
    for step in steps(Unstructured::new(input), 256, Step::any) {
        match step {
            Step::Reply(reply) => last = reply.to(&told.requests),
            Step::Again => {}
            Step::Timer => {
                if let Some(at) = told.registration.poll_timeout() {
                    told.pass(at);
                }
                continue;
            }
            Step::Stall(seconds) => {
                told.now += Duration::from_secs(seconds.into());
                continue;
            }
            Step::Stop => {
                told.registration.stop(told.now);
                told.drain();
                continue;
            }
        }
        if let Some(message) = &last {
            told.registration.handle_message(told.now, message);
            told.drain();
        }
    }
    told.ends();
}

impl Told {
    fn asked_for() -> Self {
        let config = call_config();
        let registration = Registration::new(RegistrationConfig {
            registrar: "sip:192.0.2.1".into(),
            identity: config.identity,
            user: "caller".into(),
            remote: config.remote,
            local: config.local,
            transport: config.transport,
            call_id: config.call_id,
            from_tag: config.from_tag,
            seed: config.seed,
            credentials: config.credentials,
            expires_s: 60,
            timeout: Duration::from_secs(10),
        });
        let mut told = Told {
            registration,
            now: Stamp::from_ns(1 << 60),
            sent: Sent::default(),
            requests: Vec::new(),
            is_registered: false,
            has_ended: false,
        };
        told.registration.start(told.now);
        told.drain();
        told
    }

    /// Takes it back: it always comes to an end, in the time of one request.
    fn ends(mut self) {
        self.registration.stop(self.now);
        self.drain();
        let begin = self.now;
        while let Some(at) = self.registration.poll_timeout().filter(|_| !self.has_ended) {
            self.pass(at);
            assert!(self.now.since(begin) <= Duration::from_secs(60), "it never ends");
        }
        assert!(self.registration.is_over(), "no timer is set and it is not over");
    }

    fn pass(&mut self, until: Stamp) {
        self.now = self.now.max(until);
        self.registration.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        for n in 0.. {
            assert!(n <= MOST_OUTPUTS, "it never stops");
            let event = match self.registration.poll() {
                None => break,
                Some(RegisterOutput::Send(datagram)) => {
                    if let Some(message) = self.sent.read(&datagram.bytes)
                        && self.requests.len() < REMEMBERED
                    {
                        self.requests.push(message);
                    }
                    continue;
                }
                Some(RegisterOutput::Event(event)) => event,
            };
            assert!(!self.has_ended, "{event:?} after the end");
            match event {
                RegisterEvent::Registered { .. } => {
                    assert!(!self.is_registered, "registered twice");
                    self.is_registered = true;
                }
                RegisterEvent::Refreshed | RegisterEvent::RefreshFailed(_) => {
                    assert!(self.is_registered, "{event:?} of what was never there");
                }
                RegisterEvent::Failed(_) => {
                    assert!(!self.is_registered, "{event:?} of what is there");
                    self.has_ended = true;
                }
                RegisterEvent::Left { .. } => self.has_ended = true,
            }
        }
    }
}
