//! One call of the service under any sequence of events, answers and times.

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use loadtest::ari::call::{AriCall, SETUP_LIMIT, TEARDOWN_LIMIT};
use loadtest::ari::event::Event;
use loadtest::ari::exchange::{AriInput, AriOutput};
use loadtest::ari::outcome::ServiceOutcome;
use loadtest::ari::request::Operation;
use loadtest::ari::{CallIds, MediaPeer, MediaPlace, MediaTarget};
use loadtest::stamp::Stamp;
use strum::VariantArray;

use super::far::{any, steps};

/// The most outputs of one input: all operations asked for, their notes, and the end.
const MOST_OUTPUTS: usize = 24;

#[derive(Debug)]
enum Step {
    Event {
        kind: Kind,
        whose: Whose,
        bridge: bool,
    },
    Answer {
        operation: Operation,
        status: Status,
        has_media: bool,
    },
    NoAnswer {
        operation: Operation,
        sent: bool,
    },
    HangUp,
    Shutdown,
    Restarted,
    /// The next timer is punctual.
    Timer,
    /// Nobody looks for a while: tenths of a second.
    Stall(u8),
}

#[derive(Debug, Clone, Copy, VariantArray)]
enum Kind {
    Start,
    End,
    Destroyed,
    Entered,
    Left,
    BridgeDestroyed,
    Replaced,
    Other,
}

#[derive(Debug, Clone, Copy, VariantArray)]
enum Whose {
    Caller,
    Media,
    Stranger,
}

#[derive(Debug, Clone, Copy, VariantArray)]
enum Status {
    Ok,
    NoContent,
    BadRequest,
    Forbidden,
    NotFound,
    Conflict,
    Precondition,
    Unprocessable,
    Broken,
    Unavailable,
    Redirect,
    Nonsense,
}

impl Step {
    fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match bytes.int_in_range(0..=10)? {
            0..=2 => Step::Event { kind: any(bytes)?, whose: any(bytes)?, bridge: bytes.arbitrary()? },
            3..=5 => {
                let (operation, status) = (any(bytes)?, any(bytes)?);
                Step::Answer { operation, status, has_media: bytes.arbitrary()? }
            }
            6 => Step::NoAnswer { operation: any(bytes)?, sent: bytes.arbitrary()? },
            7 => match bytes.int_in_range(0..=2)? {
                0 => Step::HangUp,
                1 => Step::Shutdown,
                _ => Step::Restarted,
            },
            8 | 9 => Step::Timer,
            _ => Step::Stall(bytes.arbitrary()?),
        })
    }
}

/// All that the owner of a call was told.
struct Told {
    call: AriCall,
    now: Stamp,
    /// Operations that an answer is owed to.
    asked: BTreeSet<Operation>,
    marks: [u32; 3],
    port_is_free: bool,
    has_ended: bool,
}

/// A call ends within its bounds whatever Asterisk says, gives its port back once, and asks for nothing
/// twice at a time.
pub fn ari_call(input: &[u8]) {
    let mut bytes = Unstructured::new(input);
    let Ok((turned_away, seed)) = bytes.arbitrary::<(bool, u8)>() else { return };
    let now = Stamp::from_ns(1 << 60);
    let ids = CallIds { caller: "c".into(), media: "m".into(), bridge: "b".into() };
    let place = MediaPlace::Rtp("127.0.0.1:4000".parse().expect("it is one"));
    let target = MediaTarget { app: "app".into(), place, format: "ulaw" };
    let call = match turned_away {
        true => AriCall::turn_away(now, ids, ServiceOutcome::NoPort, seed.into()),
        false => AriCall::new(now, ids, target, seed.into()),
    };
    let mut told = Told {
        call,
        now,
        asked: BTreeSet::new(),
        marks: [0; 3],
        // A caller who is turned away never had one.
        port_is_free: turned_away,
        has_ended: false,
    };
    told.drain();
    for step in steps(bytes, 512, Step::any) {
        told.play(step);
    }
    // Asterisk falls silent: what it is asked gets no answer.
    told.handle(AriInput::Shutdown);
    let begin = told.now;
    while let Some(at) = told.call.poll_timeout() {
        told.now = told.now.max(at);
        told.handle(AriInput::Timeout);
        let all = SETUP_LIMIT + TEARDOWN_LIMIT + Duration::from_secs(1);
        assert!(told.now.since(begin) <= all, "it never ends");
    }
    assert!(told.has_ended && told.port_is_free, "no timer is set and it is not over");
}

impl Told {
    fn play(&mut self, step: Step) {
        match step {
            Step::Event { kind, whose, bridge } => self.handle(AriInput::Event(&event(kind, whose, bridge))),
            Step::Answer { operation, status, has_media } => {
                self.asked.remove(&operation);
                let media = has_media.then(|| MediaPeer::Rtp("127.0.0.1:12000".parse().expect("it is one")));
                self.handle(AriInput::Answer { operation, status: code(status), media });
            }
            Step::NoAnswer { operation, sent } => {
                self.asked.remove(&operation);
                self.handle(AriInput::NoAnswer { operation, sent });
            }
            Step::HangUp => self.handle(AriInput::HangUp),
            Step::Shutdown => self.handle(AriInput::Shutdown),
            Step::Restarted => self.handle(AriInput::AsteriskRestarted),
            Step::Timer => {
                self.now = self.now.max(self.call.poll_timeout().unwrap_or(self.now));
                self.handle(AriInput::Timeout);
            }
            Step::Stall(tenths) => self.now += Duration::from_millis(100 * u64::from(tenths)),
        }
    }

    fn handle(&mut self, input: AriInput<'_>) {
        self.call.handle(self.now, input);
        self.drain();
        let is_ahead = self.call.poll_timeout().is_none_or(|at| at > self.now);
        assert!(is_ahead, "a timer is in the past");
    }

    fn drain(&mut self) {
        let mark = |marks: &mut [u32; 3], n: usize| {
            marks[n] += 1;
            assert_eq!(marks[n], 1, "told twice");
        };
        for n in 0.. {
            assert!(n <= MOST_OUTPUTS, "it never stops");
            let Some(output) = self.call.poll() else { return };
            assert!(!self.has_ended, "{output:?} after the end");
            match output {
                AriOutput::Request(request) => {
                    assert!(self.asked.insert(request.operation), "{} twice at a time", request.operation);
                }
                AriOutput::Answered(_) => mark(&mut self.marks, 0),
                AriOutput::MediaReady(_) => mark(&mut self.marks, 1),
                AriOutput::Bridged(_) => mark(&mut self.marks, 2),
                AriOutput::ReleasePort => {
                    assert!(!self.port_is_free, "the port is given back twice");
                    self.port_is_free = true;
                }
                AriOutput::Ended(record) => {
                    self.has_ended = true;
                    assert!(self.port_is_free, "it ended and kept the port");
                    assert!(record.started_at <= record.ended_at && record.ended_at <= record.released_at);
                    let counted = [record.answered_at, record.media_ready_at, record.bridged_at];
                    assert_eq!(counted.map(|at| u32::from(at.is_some())), self.marks);
                }
                AriOutput::ConnectMedia(_) | AriOutput::Note(_) => {}
            }
        }
    }
}

fn event(kind: Kind, whose: Whose, is_our_bridge: bool) -> Event {
    let channel = match whose {
        Whose::Caller => "c",
        Whose::Media => "m",
        Whose::Stranger => "x",
    };
    let (channel, bridge) = (channel.to_string(), if is_our_bridge { "b" } else { "y" }.to_string());
    match kind {
        Kind::Start => {
            Event::StasisStart { channel, args: Vec::new(), protocol_id: None, hung_up: is_our_bridge }
        }
        Kind::End => Event::StasisEnd { channel },
        Kind::Destroyed => Event::ChannelDestroyed { channel },
        Kind::Entered => Event::ChannelEnteredBridge { bridge, channel },
        Kind::Left => Event::ChannelLeftBridge { bridge, channel },
        Kind::BridgeDestroyed => Event::BridgeDestroyed { bridge },
        Kind::Replaced => Event::ApplicationReplaced,
        Kind::Other => Event::Other,
    }
}

fn code(status: Status) -> u16 {
    match status {
        Status::Ok => 200,
        Status::NoContent => 204,
        Status::BadRequest => 400,
        Status::Forbidden => 403,
        Status::NotFound => 404,
        Status::Conflict => 409,
        Status::Precondition => 412,
        Status::Unprocessable => 422,
        Status::Broken => 500,
        Status::Unavailable => 503,
        Status::Redirect => 302,
        Status::Nonsense => u16::MAX,
    }
}
