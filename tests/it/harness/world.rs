//! One call's state machine and a small Asterisk on the other side of its requests, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use loadtest::ari::call::{AriCall, SETUP_LIMIT, TEARDOWN_LIMIT};
use loadtest::ari::event::Event;
use loadtest::ari::exchange::{AriInput, AriOutput};
use loadtest::ari::outcome::ServiceCall;
use loadtest::ari::request::{AriRequest, Operation};
use loadtest::ari::{CallIds, MediaPeer, MediaPlace, MediaTarget};
use loadtest::stamp::Stamp;

pub const CALLER: &str = "1700000000.1";

pub fn ids() -> CallIds {
    CallIds::new("app", CALLER, 1, 1)
}

pub fn asterisk_media() -> MediaPeer {
    MediaPeer::Rtp("127.0.0.1:12000".parse().unwrap())
}

/// A call, and what exists on the other side of its requests.
pub struct World {
    pub call: AriCall,
    pub now: Stamp,
    /// Requests that wait for their answer.
    pub asked: Vec<AriRequest>,
    /// Events that wait for their delivery.
    pub events: VecDeque<Event>,
    pub caller: bool,
    pub media: bool,
    pub media_was: bool,
    pub media_heard: bool,
    pub bridge: bool,
    pub connected: Option<MediaPeer>,
    pub bridged: bool,
    pub requests: Vec<AriRequest>,
    pub released: usize,
    pub ended: Option<ServiceCall>,
}

/// The fate of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// Carried out and answered.
    Honest,
    /// Carried out, and the answer is lost.
    AnswerLost,
    /// Never arrives.
    NotSent,
    /// Not carried out, with this answer.
    Refused(u16),
    /// Answered as if carried out, but the channels never enter the bridge.
    Pretended,
}

impl World {
    pub fn new() -> Self {
        let place = MediaPlace::Rtp("127.0.0.1:21000".parse().unwrap());
        let target = MediaTarget { app: "app".into(), place, format: "ulaw" };
        let mut world = World::around(AriCall::new(at(0), ids(), target, 7));
        world.collect();
        world
    }

    pub fn around(call: AriCall) -> Self {
        World {
            call,
            now: at(0),
            asked: Vec::new(),
            events: VecDeque::new(),
            caller: true,
            media: false,
            media_was: false,
            media_heard: false,
            bridge: false,
            connected: None,
            bridged: false,
            requests: Vec::new(),
            released: 0,
            ended: None,
        }
    }

    pub fn handle(&mut self, input: AriInput<'_>) {
        self.call.handle(self.now, input);
        self.collect();
    }

    pub fn collect(&mut self) {
        while let Some(output) = self.call.poll() {
            assert!(self.ended.is_none(), "{output:?} after the end");
            match output {
                AriOutput::Request(request) => {
                    let again = self.asked.iter().any(|open| open.operation == request.operation);
                    assert!(!again, "two of {request:?} at once");
                    self.requests.push(request.clone());
                    self.asked.push(request);
                }
                AriOutput::ConnectMedia(peer) => self.connected = Some(peer),
                AriOutput::ReleasePort => self.released += 1,
                AriOutput::Bridged(_) => self.bridged = true,
                AriOutput::Ended(record) => self.ended = Some(record),
                AriOutput::Answered(_) | AriOutput::MediaReady(_) | AriOutput::Note(_) => {}
            }
        }
    }

    /// Answers the oldest request of `operation`.
    pub fn answer(&mut self, operation: Operation, fate: Fate) {
        let n = self.asked.iter().position(|r| r.operation == operation);
        self.answer_nth(n.unwrap_or_else(|| panic!("{operation} was not asked for")), fate);
    }

    pub fn answer_nth(&mut self, n: usize, fate: Fate) {
        let request = self.asked.remove(n);
        let operation = request.operation;
        let (status, media) = match fate {
            Fate::NotSent => return self.handle(AriInput::NoAnswer { operation, sent: false }),
            Fate::Refused(status) => (status, None),
            _ => self.carry_out(&request, fate == Fate::Pretended),
        };
        if fate == Fate::AnswerLost {
            self.handle(AriInput::NoAnswer { operation, sent: true });
        } else {
            self.handle(AriInput::Answer { operation, status, media });
        }
    }

    pub fn carry_out(&mut self, request: &AriRequest, pretend: bool) -> (u16, Option<MediaPeer>) {
        let CallIds { caller, media, bridge } = ids();
        let entered = |channel: String| Event::ChannelEnteredBridge { bridge: bridge.clone(), channel };
        match request.operation {
            Operation::Answer if self.caller => (204, None),
            Operation::CreateBridge => {
                self.bridge = true;
                (200, None)
            }
            Operation::CreateMedia if self.media_was => (409, None),
            Operation::CreateMedia => {
                (self.media, self.media_was) = (true, true);
                self.events.push_back(start(&media));
                (200, Some(asterisk_media()))
            }
            Operation::AddChannels if !self.caller || !self.media => (400, None),
            Operation::AddChannels if !self.bridge => (404, None),
            Operation::AddChannels if !self.media_heard => (422, None),
            Operation::AddChannels => {
                if !pretend {
                    self.events.extend([entered(caller), entered(media)]);
                }
                (204, None)
            }
            Operation::HangUp if self.caller => {
                self.hang_up();
                (204, None)
            }
            Operation::DeleteMedia if self.media => {
                self.lose_media();
                (204, None)
            }
            Operation::DeleteBridge if self.bridge => {
                self.lose_bridge();
                (204, None)
            }
            _ => (404, None),
        }
    }

    pub fn hang_up(&mut self) {
        if std::mem::take(&mut self.caller) {
            self.events.push_back(Event::StasisEnd { channel: CALLER.into() });
        }
    }

    pub fn lose_media(&mut self) {
        if std::mem::take(&mut self.media) {
            let channel = ids().media;
            self.events.push_back(Event::StasisEnd { channel: channel.clone() });
            self.events.push_back(Event::ChannelDestroyed { channel });
        }
    }

    pub fn lose_bridge(&mut self) {
        if std::mem::take(&mut self.bridge) {
            self.events.push_back(Event::BridgeDestroyed { bridge: ids().bridge });
        }
    }

    /// Another Asterisk in the place of this one, which knows of nothing; the service notices.
    pub fn restart(&mut self) {
        (self.caller, self.media, self.bridge) = (false, false, false);
        self.events.clear();
        self.handle(AriInput::AsteriskRestarted);
    }

    pub fn deliver_nth(&mut self, n: usize) {
        let Some(event) = self.events.remove(n) else { return };
        if event == start(&ids().media) {
            self.media_heard = true;
        }
        self.handle(AriInput::Event(&event));
    }

    pub fn deliver(&mut self) {
        while !self.events.is_empty() {
            self.deliver_nth(0);
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.call.poll_timeout().is_some_and(|due| due <= self.now) {
            self.handle(AriInput::Timeout);
        }
    }

    /// Everything that is asked for happens at once, and time passes, until the call is over.
    pub fn settle(&mut self) -> ServiceCall {
        let begun = self.now;
        for _ in 0..1000 {
            if let Some(record) = self.ended.clone() {
                assert_eq!(self.call.poll_timeout(), None);
                return record;
            }
            if !self.asked.is_empty() {
                self.answer_nth(0, Fate::Honest);
            } else if !self.events.is_empty() {
                self.deliver_nth(0);
            } else {
                let due = self.call.poll_timeout().expect("a call that is not over waits for something");
                self.pass(due.since(self.now));
            }
            assert!(self.now.since(begun) <= SETUP_LIMIT + TEARDOWN_LIMIT, "a bounded end");
        }
        panic!("no end in sight");
    }

    /// A call that is bridged.
    pub fn bridged() -> Self {
        let mut world = World::new();
        for operation in [Operation::Answer, Operation::CreateBridge, Operation::CreateMedia] {
            world.answer(operation, Fate::Honest);
        }
        world.deliver();
        world.answer(Operation::AddChannels, Fate::Honest);
        world.deliver();
        assert!(world.bridged && world.connected == Some(asterisk_media()));
        world
    }

    pub fn asked_for(&self, operation: Operation) -> usize {
        self.requests.iter().filter(|request| request.operation == operation).count()
    }

    pub fn assert_nothing_left(&self) {
        assert!(!self.caller && !self.media && !self.bridge);
        assert_eq!(self.released, 1);
    }
}

pub fn at(ms: u64) -> Stamp {
    Stamp::ZERO + Duration::from_millis(ms)
}

pub fn start(channel: &str) -> Event {
    Event::StasisStart { channel: channel.into(), args: vec![], protocol_id: None, hung_up: false }
}
