//! One SIP call under any sequence of messages and times: of well-spelt ones, and of any bytes.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use loadtest::sip::{Call, CallEvent, CallOutput, Heard, Message, anywhere, hear};
use loadtest::stamp::Stamp;

use super::far::{Ask, Reply, Sent, steps};
use super::signalling::config;

/// The most outputs of one input: every transaction that a call remembers says something.
const MOST_OUTPUTS: usize = 48;
/// Requests that the far end remembers.
const REMEMBERED: usize = 64;
/// Time for which an answered request is remembered: 64 × T1 (RFC 3261 17.2.2).
const TRANSACTION: Duration = Duration::from_secs(32);

#[derive(Debug)]
enum Step {
    Reply(Reply),
    Ask(Ask),
    /// The last message comes once more.
    Again,
    /// The next timer is punctual.
    Timer,
    /// Time passes, and the timers are punctual: tenths of a second.
    Wait(u8),
    /// Nobody looks for a while: tenths of a second.
    Stall(u8),
    HangUp,
}

impl Step {
    fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match bytes.int_in_range(0..=8)? {
            0..=2 => Step::Reply(Reply::any(bytes)?),
            3 => Step::Ask(Ask::any(bytes)?),
            4 => Step::Again,
            5 => Step::Timer,
            6 => Step::Wait(bytes.arbitrary()?),
            7 => Step::Stall(bytes.arbitrary()?),
            _ => Step::HangUp,
        })
    }
}

/// A call, and all that its owner was told.
struct Told {
    call: Call,
    now: Stamp,
    sent: Sent,
    requests: Vec<Message>,
    is_answered: bool,
    has_ended: bool,
}

/// A call ends, once, whatever comes; it tells its owner things in an order that makes sense; and each
/// input leads to a bounded number of outputs.
pub fn dialog(input: &[u8]) {
    let mut told = Told::placed();
    let mut last = None;
    let mut heard_at = told.now;
    for step in steps(Unstructured::new(input), 256, Step::any) {
        match step {
            Step::Reply(reply) => last = reply.to(&told.requests),
            Step::Ask(ask) => last = ask.of(&told.requests[0]),
            Step::Again => {
                if let Some(message) = &last {
                    // A timer that is due already is no repetition's doing.
                    told.pass(told.now);
                    let before = (told.is_answered, told.has_ended);
                    told.call.handle_message(told.now, message, &anywhere);
                    let moved = told.drain();
                    // A repetition after half a minute may find its transaction forgotten.
                    if told.now.since(heard_at) < TRANSACTION {
                        assert_eq!(before, (told.is_answered, told.has_ended), "news again: {message:?}");
                        assert!(!moved, "the media moves again: {message:?}");
                    }
                }
                continue;
            }
            Step::Timer => {
                if let Some(at) = told.call.poll_timeout() {
                    told.pass(at);
                }
                continue;
            }
            Step::Wait(tenths) => {
                told.pass(told.now + Duration::from_millis(100 * u64::from(tenths)));
                continue;
            }
            Step::Stall(tenths) => {
                told.now += Duration::from_millis(100 * u64::from(tenths));
                continue;
            }
            Step::HangUp => {
                told.call.hang_up(told.now);
                told.drain();
                continue;
            }
        }
        heard_at = told.now;
        if let Some(message) = &last {
            told.call.handle_message(told.now, message, &anywhere);
            told.drain();
        }
    }
    told.ends();
}

/// Between two messages of a conversation.
const NEXT: &[u8] = b"\n%%\n";

/// A call to which a conversation happens. `@1`, `@2` and so on stand for the branch of what the call has
/// sent first, second and so on; `@tag` for its tag.
pub fn call(input: &[u8]) {
    let mut told = Told::placed();
    let mut rest = input;
    for n in 0..32 {
        let end = rest.windows(NEXT.len()).position(|w| w == NEXT).unwrap_or(rest.len());
        told.now += Duration::from_millis(20 + 500 * (n % 3));
        match hear(&filled(&rest[..end], &told.requests)) {
            Heard::Message(message) => told.call.handle_message(told.now, &message, &anywhere),
            Heard::Unreadable(unreadable) => told.call.handle_unreadable(told.now, &unreadable),
        }
        told.drain();
        told.pass(told.now);
        rest = rest.get(end + NEXT.len()..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
    }
    told.ends();
}

fn filled(message: &[u8], requests: &[Message]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(message).replace("@tag", "ours");
    // ACK and CANCEL have the branch of their INVITE.
    let mut branches: Vec<&str> = Vec::new();
    for branch in requests.iter().filter_map(Message::branch) {
        if !branches.contains(&branch) {
            branches.push(branch);
        }
    }
    for (n, branch) in branches.iter().enumerate().take(9) {
        text = text.replace(&format!("@{}", n + 1), branch);
    }
    text.into_bytes()
}

impl Told {
    /// A call that has just been placed.
    fn placed() -> Self {
        let mut told = Told {
            call: Call::new(config()),
            now: Stamp::from_ns(1 << 60),
            sent: Sent::default(),
            requests: Vec::new(),
            is_answered: false,
            has_ended: false,
        };
        told.call.invite(told.now);
        told.drain();
        told
    }

    /// Hangs up: a call always comes to an end, and in the time that RFC 3261's timers add up to.
    fn ends(mut self) {
        self.call.hang_up(self.now);
        self.drain();
        let begin = self.now;
        while let Some(at) = self.call.poll_timeout() {
            self.pass(at);
            assert!(self.now.since(begin) <= Duration::from_secs(150), "it never ends");
        }
        assert!(self.call.is_terminated() && self.has_ended, "no timer is set and it is not over");
    }

    /// Time passes until `until`, and each timer that is due is run. Afterwards none is in the past.
    fn pass(&mut self, until: Stamp) {
        let mut runs = 0;
        while let Some(at) = self.call.poll_timeout().filter(|at| *at <= until) {
            // A timer may have been due while nobody looked.
            self.now = self.now.max(at);
            self.call.handle_timeout(self.now);
            self.drain();
            runs += 1;
            assert!(runs <= 2000, "timers are due again and again");
        }
        self.now = self.now.max(until);
    }

    /// Takes the outputs; true if the media has moved.
    fn drain(&mut self) -> bool {
        let mut moved = false;
        for n in 0.. {
            assert!(n <= MOST_OUTPUTS, "it never stops");
            let event = match self.call.poll() {
                None => break,
                Some(CallOutput::Send(datagram)) => {
                    if let Some(message) = self.sent.read(&datagram.bytes).filter(Message::is_request)
                        && self.requests.len() < REMEMBERED
                    {
                        self.requests.push(message);
                    }
                    continue;
                }
                Some(CallOutput::Event(event)) => event,
            };
            assert!(!self.has_ended, "{event:?} after the end");
            self.has_ended = !matches!(
                event,
                CallEvent::Provisional { .. }
                    | CallEvent::Answered { .. }
                    | CallEvent::MediaChanged { .. }
                    | CallEvent::MediaOffered { .. }
                    | CallEvent::Remark(_)
            );
            match event {
                CallEvent::Answered { .. } => {
                    assert!(!self.is_answered, "answered twice");
                    self.is_answered = true;
                }
                CallEvent::MediaChanged { .. } => {
                    assert!(self.is_answered, "media of a call that is not up");
                    moved = true;
                }
                CallEvent::HungUp { .. } | CallEvent::RemoteHangup { .. } => {
                    assert!(self.is_answered, "{event:?} of a call that never was up");
                }
                CallEvent::Failed { .. } | CallEvent::Cancelled { .. } => {
                    assert!(!self.is_answered, "{event:?} of a call that is up");
                }
                _ => {}
            }
        }
        let is_set = self.call.poll_timeout().is_some();
        assert!(is_set || self.is_answered || self.has_ended, "it waits for nothing");
        moved
    }
}
