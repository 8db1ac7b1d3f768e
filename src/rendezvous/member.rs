//! A shard's end of the rendezvous.

use std::collections::VecDeque;
use std::time::Duration;

use super::message::{Beat, Bytes, CHUNK, FromCoordinator, FromShard, Hello, HowToEnd, Totals, cut, tidy};
use super::seal::{Channel, GREETING, Nonce, RunSecret};
use super::task::{Room, Task};
use super::{HELLO_WITHIN, LOST_AFTER, VERDICT_WITHIN};
use crate::record::EndedEarly;
use crate::stamp::Stamp;

/// Distance of a start, or of a ramp's end, that can be meant: it is told about a second before.
const NEAR: Duration = Duration::from_secs(60);

/// Inputs of [`Member`].
#[derive(Debug)]
pub enum MemberInput<'a> {
    /// Bytes came.
    Bytes(&'a [u8]),
    /// The coordinator has closed the connection.
    Closed,
    /// Everything is there for the first of many runs.
    Prepared(Room),
    /// Everything is there for the first call.
    Ready,
    /// Live figures.
    Beat(Box<Beat>),
    /// The user wants the run ended.
    Interrupted,
    /// No call is left; the first was about to be placed at this time.
    Ended(Stamp),
    /// A file of the shard's folder.
    File(&'a str, &'a [u8]),
    /// All files are handed over.
    Delivered,
    /// The shard was ended before its first call, by whoever ended all.
    Parted,
    /// The shard cannot go on.
    Failed(String),
}

/// Outputs of [`Member`].
#[derive(Debug, Clone, PartialEq)]
pub enum MemberOutput {
    /// Send these bytes.
    Send(Vec<u8>),
    /// The shard takes part in the run of this name.
    Welcome(u32),
    /// The next of many runs has this name and this task.
    Next(u32, Task),
    /// Second 0 begins then.
    Start(Stamp),
    /// The ramp of stage number `.0` is over then.
    RampOver(u32, Stamp),
    /// Counts of all shards.
    Totals(Totals),
    /// A gate over all ends the run; [`MemberOutput::End`] follows.
    EndsEarly(EndedEarly),
    /// The run is to end.
    End(HowToEnd, String),
    /// The verdict: exit code, and lines.
    Verdict(u8, String),
    /// The shard is not wanted.
    Refused(String),
    /// The coordinator is lost.
    Lost(String),
}

/// A shard's state machine.
pub struct Member {
    hello: Hello,
    secret: RunSecret,
    nonce: Nonce,
    /// Bytes before the coordinator's greeting is whole.
    early: Vec<u8>,
    channel: Option<Channel>,
    is_welcome: bool,
    has_delivered: bool,
    is_over: bool,
    is_elsewhere: bool,
    opened_at: Stamp,
    heard_at: Stamp,
    outputs: VecDeque<MemberOutput>,
}

impl Member {
    /// A shard whose connection is open since `now`; its nonce is new.
    pub fn new(hello: Hello, secret: RunSecret, nonce: Nonce, now: Stamp) -> Member {
        Member {
            hello,
            secret,
            nonce,
            early: Vec::new(),
            channel: None,
            is_welcome: false,
            has_delivered: false,
            is_over: false,
            is_elsewhere: false,
            opened_at: now,
            heard_at: now,
            outputs: VecDeque::new(),
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Stamp, input: MemberInput<'_>) {
        if self.is_over {
            return;
        }
        match input {
            MemberInput::Bytes(bytes) => self.bytes(now, bytes),
            MemberInput::Closed => self.lost("its connection ended"),
            MemberInput::Prepared(room) => self.tell(&FromShard::Prepared(Box::new(room.tidy()))),
            MemberInput::Ready => self.tell(&FromShard::Ready),
            MemberInput::Beat(beat) => self.tell(&FromShard::Beat(beat)),
            MemberInput::Interrupted => self.tell(&FromShard::Interrupted),
            MemberInput::Ended(started_at) => self.tell(&FromShard::Ended { started_ns: started_at.as_ns() }),
            MemberInput::File(name, bytes) => {
                // An empty file is one as well.
                let whole = bytes.is_empty().then_some(bytes);
                for part in whole.into_iter().chain(bytes.chunks(CHUNK)) {
                    self.tell(&FromShard::File { name: name.into(), bytes: Bytes(part.to_vec()) });
                }
            }
            MemberInput::Delivered => {
                self.has_delivered = true;
                self.tell(&FromShard::Delivered);
            }
            MemberInput::Parted => self.tell(&FromShard::Parted),
            MemberInput::Failed(why) => self.tell(&FromShard::Failed { why: cut(&why) }),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Stamp) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.lost("nothing was heard of it any more");
        }
    }

    /// Notes that this driver itself has stood still until `now`: the coordinator was not silent meanwhile.
    pub fn awoke(&mut self, now: Stamp) {
        self.heard_at = self.heard_at.max(now);
        self.opened_at = self.opened_at.max(now);
    }

    /// True if what was reached is no rendezvous, nor will become one.
    pub fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// The next output, until there is none.
    pub fn poll(&mut self) -> Option<MemberOutput> {
        self.outputs.pop_front()
    }

    /// The time of the next [`Member::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        let at = match () {
            () if self.is_over => return None,
            () if !self.is_welcome => self.opened_at + HELLO_WITHIN,
            // Between the runs of many it is heard as during them.
            () if self.has_delivered && !self.hello.purpose.has_rounds() => self.heard_at + VERDICT_WITHIN,
            () => self.heard_at + LOST_AFTER,
        };
        Some(at)
    }

    fn bytes(&mut self, now: Stamp, bytes: &[u8]) {
        self.heard_at = now;
        match &mut self.channel {
            Some(channel) => channel.feed(bytes),
            None => self.greeted(bytes),
        }
        while let Some(channel) = &mut self.channel {
            match channel.next::<FromCoordinator>() {
                Ok(Some(message)) => self.hear(now, message),
                Ok(None) => return,
                Err(fault) => return self.lost(&fault.to_string()),
            }
        }
    }

    /// Answers the coordinator's greeting.
    fn greeted(&mut self, bytes: &[u8]) {
        self.early.extend_from_slice(bytes);
        let known = self.early.len().min(GREETING.len());
        if self.early[..known] != GREETING[..known] {
            self.is_elsewhere = true;
            return self.lost("what listens there is no rendezvous of this version of loadtest");
        }
        let rest = self.early.get(GREETING.len()..).and_then(|rest| rest.split_first_chunk::<32>());
        let Some((coordinator, more)) = rest else { return };
        let mut channel = Channel::of_shard(&self.secret, coordinator, &self.nonce);
        channel.feed(more);
        self.early.clear();
        self.outputs.push_back(MemberOutput::Send(self.nonce.to_vec()));
        self.outputs.push_back(MemberOutput::Send(channel.seal(&FromShard::Hello(self.hello.clone()))));
        self.channel = Some(channel);
    }

    pub(super) fn hear(&mut self, now: Stamp, message: FromCoordinator) {
        let is_early = !matches!(
            message,
            FromCoordinator::Welcome { .. } | FromCoordinator::Ping { .. } | FromCoordinator::Refused { .. }
        );
        if is_early && !self.is_welcome {
            return self.lost("it spoke before it had let this driver in");
        }
        let is_near = |at_ns: u64| now.as_ns().abs_diff(at_ns) <= NEAR.as_nanos() as u64;
        let output = match message {
            FromCoordinator::Start { at_ns } | FromCoordinator::RampOver { at_ns, .. } if !is_near(at_ns) => {
                return self.lost("it named an instant that is far from now");
            }
            FromCoordinator::Welcome { run_id } => {
                self.is_welcome = true;
                MemberOutput::Welcome(run_id)
            }
            FromCoordinator::Ping { number } => {
                return self.tell(&FromShard::Pong { number, at_ns: now.as_ns() });
            }
            FromCoordinator::Next { run_id, task } => {
                if !task.is_sound(self.hello.purpose) {
                    return self.lost("it sent a task that no coordinator of this command sends");
                }
                self.has_delivered = false;
                MemberOutput::Next(run_id, task)
            }
            FromCoordinator::Start { at_ns } => MemberOutput::Start(Stamp::from_ns(at_ns)),
            FromCoordinator::RampOver { stage, at_ns } => {
                MemberOutput::RampOver(stage, Stamp::from_ns(at_ns))
            }
            FromCoordinator::Totals(totals) => MemberOutput::Totals(*totals),
            FromCoordinator::EndsEarly(early) => MemberOutput::EndsEarly(tidy(*early)),
            FromCoordinator::End { how, why } => MemberOutput::End(how, cut(&why)),
            FromCoordinator::Verdict { exit, text } => {
                self.over();
                MemberOutput::Verdict(exit, text.chars().filter(|c| *c == '\n' || !c.is_control()).collect())
            }
            FromCoordinator::Refused { why } => {
                self.over();
                MemberOutput::Refused(cut(&why))
            }
        };
        self.outputs.push_back(output);
    }

    fn lost(&mut self, why: &str) {
        if !self.is_over {
            self.over();
            self.outputs.push_back(MemberOutput::Lost(why.into()));
        }
    }

    /// Nothing more is heard or said.
    fn over(&mut self) {
        (self.is_over, self.channel) = (true, None);
    }

    fn tell(&mut self, message: &FromShard) {
        if let Some(channel) = &mut self.channel {
            self.outputs.push_back(MemberOutput::Send(channel.seal(message)));
        }
    }
}
