//! The user agent: one UDP socket, all calls' state machines, their timers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::clock::Timeline;
use crate::net::udp::{Batch, StampedSocket};
use crate::sip::call::{Call, CallConfig, CallEvent, Output, Times};
use crate::sip::message::{self, Message};
use crate::sip::uas;
use crate::stamp::Stamp;

/// A SIP datagram cannot be longer.
const DATAGRAM: usize = 65_535;
const BATCH: usize = 8;
/// The socket's buffer: a burst of a thousand answers fits.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Something that happened to a call.
pub(super) struct Happening {
    pub call: u32,
    pub event: CallEvent,
    /// The call's times so far.
    pub times: Times,
    /// Requests sent again so far.
    pub retransmissions: u32,
}

/// Owns all SIP calls of the run.
pub(super) struct UserAgent {
    /// For waiting and receiving.
    socket: UdpSocket,
    /// The same socket for sending: tokio's refuses to send before it has been polled once.
    sending: std::net::UdpSocket,
    local: SocketAddr,
    batch: Batch,
    calls: HashMap<u32, Call>,
    by_call_id: HashMap<String, u32>,
    /// When calls want to be woken; an entry may be out of date, so the call is asked again.
    timers: BinaryHeap<Reverse<(Stamp, u32)>>,
    happenings: Vec<Happening>,
    /// A tag for answers outside of calls.
    tag: String,
    /// Nanoseconds by which the wall clock has been set since the start; received stamps are shifted
    /// back by it, so that timers and delays do not jump.
    pub step_ns: i64,
    /// Whether any SIP message has come that belongs to a call.
    pub heard: bool,
    /// What went wrong on the socket.
    pub troubles: Troubles,
}

/// What went wrong on the SIP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Troubles {
    /// Datagrams that were no SIP.
    pub garbage: u64,
    /// SIP messages that belong to no call of this run, or to none any more.
    pub strays: u64,
    /// Datagrams that the full socket buffer dropped.
    pub drops: u64,
    /// Messages that the kernel refused to send.
    pub unsent: u64,
}

impl UserAgent {
    /// Binds a free port of `local`.
    pub fn bind(local: SocketAddr, tag: String) -> io::Result<Self> {
        let socket = StampedSocket::bind(local, RECEIVE_BUFFER)?;
        let local = socket.local_addr()?;
        let sending = socket.into_std();
        Ok(UserAgent {
            socket: UdpSocket::from_std(sending.try_clone()?)?,
            sending,
            local,
            batch: Batch::new(BATCH, DATAGRAM),
            calls: HashMap::new(),
            by_call_id: HashMap::new(),
            timers: BinaryHeap::new(),
            happenings: Vec::new(),
            tag,
            step_ns: 0,
            heard: false,
            troubles: Troubles::default(),
        })
    }

    /// The address that calls come from.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends the INVITE.
    pub fn place(&mut self, number: u32, config: CallConfig, now: Stamp) {
        let mut call = Call::new(config);
        call.invite(now);
        self.by_call_id.insert(call.call_id().to_string(), number);
        self.calls.insert(number, call);
        self.drain(number);
    }

    /// Hangs up, or cancels what is not up yet.
    pub fn hang_up(&mut self, number: u32, now: Stamp) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.hang_up(now);
            self.drain(number);
        }
    }

    /// Waits until there is something to read. Cancel-safe.
    pub async fn readable(&self) {
        if self.socket.readable().await.is_err() {
            // The reactor is gone, and with it the run.
            std::future::pending().await
        }
    }

    /// Reads all that is there and hands it to the calls.
    pub fn receive(&mut self) {
        loop {
            let mut messages: Vec<(Message, Stamp, SocketAddr)> = Vec::new();
            let (mut garbage, mut drops) = (0, self.troubles.drops);
            let step_ns = self.step_ns;
            let result = self.socket.try_io(Interest::READABLE, || {
                self.batch.receive(&self.socket, |datagram| {
                    drops = datagram.drops.map_or(drops, u64::from);
                    let at = Timeline::unstepped(datagram.received_at, step_ns);
                    match message::parse(datagram.bytes) {
                        Ok(message) => messages.push((message, at, datagram.from)),
                        Err(_) => garbage += 1,
                    }
                })
            });
            self.troubles.garbage += garbage;
            self.troubles.drops = drops;
            for (mut message, at, from) in messages {
                message.received_from(from);
                self.dispatch(&message, at, from);
            }
            // Fewer than asked for: empty. An error comes from ICMP and belongs to a send, which its
            // timer repeats.
            if !matches!(result, Ok(n) if n == BATCH) {
                break;
            }
        }
    }

    fn dispatch(&mut self, message: &Message, at: Stamp, from: SocketAddr) {
        let number = self.by_call_id.get(message.call_id()).copied();
        if let Some((number, call)) = number.and_then(|n| self.calls.get_mut(&n).map(|c| (n, c))) {
            self.heard = true;
            call.handle_message(at, message);
            self.drain(number);
            return;
        }
        self.troubles.strays += 1;
        if let Some(answer) = uas::answer(message, &self.tag) {
            let _ = self.sending.send_to(&answer, message.answer_to().unwrap_or(from));
        }
    }

    /// When the next timer runs out.
    pub fn next_timeout(&self) -> Option<Stamp> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Runs out the timers due by `now`.
    pub fn handle_timeouts(&mut self, now: Stamp) {
        while let Some(Reverse((_, number))) = self.timers.peek().copied().filter(|t| t.0.0 <= now) {
            self.timers.pop();
            let Some(call) = self.calls.get_mut(&number) else { continue };
            if call.poll_timeout().is_some_and(|due| due <= now) {
                call.handle_timeout(now);
                self.drain(number);
            }
        }
    }

    /// What has happened since the last call of this.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// Sends what the call wants sent, notes what happened, sets its timer, forgets it when it is over.
    fn drain(&mut self, number: u32) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        while let Some(output) = call.poll() {
            match output {
                Output::Send { destination, bytes } => {
                    // A datagram that the kernel refuses is one lost on the way: timers repeat it.
                    self.troubles.unsent += u64::from(self.sending.send_to(&bytes, destination).is_err());
                }
                Output::Event(event) => self.happenings.push(Happening {
                    call: number,
                    event,
                    times: *call.times(),
                    retransmissions: call.retransmissions(),
                }),
            }
        }
        if call.is_terminated() {
            let call_id = call.call_id().to_string();
            self.calls.remove(&number);
            self.by_call_id.remove(&call_id);
        } else if let Some(at) = call.poll_timeout() {
            self.timers.push(Reverse((at, number)));
        }
    }
}
