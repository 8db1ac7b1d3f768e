//! The user agent (UAC): all calls of a run by Call-ID, their timers, and the answers to everybody else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use super::BATCH;
use crate::sip::call::{Call, CallConfig, CallEvent, CallOutput, Times};
use crate::sip::message::Message;
use crate::sip::{Broken, SipDatagram, Unreadable, Vet, uas};
use crate::stamp::Stamp;
use crate::table::{Deadlines, Table};

/// An event of a call, with the times of its signalling and the requests sent again so far.
#[derive(Debug, Clone)]
pub struct CallSignal {
    /// Number of the call.
    pub call: u32,
    /// Its event.
    pub event: CallEvent,
    /// Times of its signalling so far.
    pub times: Times,
    /// Requests sent again so far.
    pub retransmissions: u32,
}

/// Outputs of [`Agent`].
#[derive(Debug)]
pub enum AgentOutput {
    /// A datagram to be sent.
    Send(SipDatagram),
    /// An event for [`super::Control`].
    Signal(CallSignal),
}

/// All SIP calls of a run, until their last transaction has ended: up to 32 s after the call.
#[derive(Debug)]
pub struct Agent {
    calls: Table<u32, Call>,
    by_call_id: HashMap<String, u32>,
    timers: Deadlines<u32>,
    outputs: VecDeque<AgentOutput>,
    /// To tag of answers outside of calls.
    tag: String,
    has_heard: bool,
    strays: u64,
    /// Calls whose CANCEL is out.
    cancelling: HashSet<u32>,
}

impl Agent {
    /// An agent without calls; `tag` is its To tag in answers outside of calls.
    pub fn new(tag: String) -> Self {
        Agent {
            calls: Table::new(),
            by_call_id: HashMap::new(),
            timers: Deadlines::new(),
            outputs: VecDeque::new(),
            tag,
            has_heard: false,
            strays: 0,
            cancelling: HashSet::new(),
        }
    }

    /// True once any SIP message has come that belongs to a call.
    pub fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Messages that belong to no call, or to none any more.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// True while a far end may still answer an INVITE that was cancelled, which then is to be hung up.
    pub fn is_cancelling(&self) -> bool {
        !self.cancelling.is_empty()
    }

    /// Notes that a message with this Call-ID has come, though it may have to wait; true if it is of a call under way.
    pub fn hears(&mut self, call_id: &str) -> bool {
        let is_known = self.by_call_id.contains_key(call_id);
        self.has_heard |= is_known;
        is_known
    }

    /// Sends the INVITE of a new call.
    pub fn place(&mut self, now: Stamp, number: u32, config: CallConfig) {
        let mut call = Call::new(config);
        call.invite(now);
        self.by_call_id.insert(call.call_id().to_string(), number);
        self.calls.insert(number, call);
        self.drain(number);
    }

    /// Hangs up, or cancels what is not up yet.
    pub fn hang_up(&mut self, now: Stamp, number: u32) {
        if let Some(call) = self.calls.get_mut(number) {
            call.hang_up(now);
            self.drain(number);
        }
    }

    /// Takes a message that was received at `at` from `from`. `vet` is asked of each address that it names.
    pub fn handle_message(&mut self, at: Stamp, message: &Message, from: SocketAddr, vet: Vet<'_>) {
        let number = self.by_call_id.get(message.call_id()).copied();
        if let Some((number, call)) = number.and_then(|n| Some((n, self.calls.get_mut(n)?))) {
            self.has_heard = true;
            call.handle_message(at, message, vet);
            self.drain(number);
            return;
        }
        self.strays += 1;
        if let Some(bytes) = uas::answer(message, &self.tag) {
            let destination = message.answer_to().unwrap_or(from);
            self.outputs.push_back(AgentOutput::Send(SipDatagram { destination, bytes }));
        }
    }

    /// Takes a message that was received at `at` and cannot be read; false if it belongs to no call.
    pub fn handle_unreadable(&mut self, at: Stamp, unreadable: &Unreadable) -> bool {
        let number = unreadable.call_id.as_ref().and_then(|id| self.by_call_id.get(id)).copied();
        let Some((number, call)) = number.and_then(|n| Some((n, self.calls.get_mut(n)?))) else {
            return false;
        };
        self.has_heard = true;
        call.handle_unreadable(at, unreadable);
        self.drain(number);
        true
    }

    /// Takes the end of a connection, for all calls: some of their requests may have gone there.
    pub fn handle_transport_error(&mut self, at: Stamp, broken: &Broken) {
        for number in self.calls.keys() {
            if let Some(call) = self.calls.get_mut(number) {
                call.handle_transport_error(at, broken);
                self.drain(number);
            }
        }
    }

    /// The next output, until there is none.
    pub fn poll(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }

    /// The time of the next [`Agent::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Stamp> {
        self.timers.next()
    }

    /// Runs out timers that are due at `now`; if there are many, some wait for the next call of this.
    pub fn handle_timeout(&mut self, now: Stamp) {
        for _ in 0..BATCH {
            let Some((_, number)) = self.timers.pop(now) else { return };
            if let Some(call) = self.calls.get_mut(number) {
                call.handle_timeout(now);
                self.drain(number);
            }
        }
    }

    /// Takes a call's outputs, sets its timer, forgets it when it is over.
    fn drain(&mut self, number: u32) {
        let Some(call) = self.calls.get_mut(number) else { return };
        while let Some(output) = call.poll() {
            self.outputs.push_back(match output {
                CallOutput::Send(datagram) => AgentOutput::Send(datagram),
                CallOutput::Event(event) => AgentOutput::Signal(CallSignal {
                    call: number,
                    event,
                    times: *call.times(),
                    retransmissions: call.retransmissions(),
                }),
            });
        }
        self.timers.set(number, call.poll_timeout());
        match call.is_being_cancelled() {
            true => self.cancelling.insert(number),
            false => self.cancelling.remove(&number),
        };
        if call.is_terminated() {
            self.by_call_id.remove(call.call_id());
            self.calls.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::message::Method;
    use crate::sip::sdp::LocalMedia;
    use crate::sip::{Identity, anywhere, parse};
    use crate::table::touched;

    const CALLS: u32 = 300;
    const PEER: &str = "192.0.2.1:5060";

    fn config(number: u32) -> CallConfig {
        let local: SocketAddr = "192.0.2.9:5070".parse().unwrap();
        let media = LocalMedia {
            ip: local.ip(),
            rtp_port: 40_000,
            codec: Default::default(),
            ptime_ms: 20,
            session_id: number.into(),
            srtp: None,
            events: false,
        };
        CallConfig {
            target: format!("sip:echo@{PEER}"),
            remote: PEER.parse().unwrap(),
            local,
            transport: Default::default(),
            identity: Identity::plain("sip:alice@192.0.2.9:5070", "sip:echo@192.0.2.1:5060"),
            habits: Default::default(),
            call_id: format!("call-{number}"),
            from_tag: "us".into(),
            seed: number.into(),
            credentials: None,
            media,
            setup_timeout: Duration::from_secs(32),
            session_expires: None,
        }
    }

    fn at_s(seconds: u64) -> Stamp {
        Stamp::ZERO + Duration::from_secs(seconds)
    }

    /// Messages sent, and numbers of the calls that had an event.
    fn drained(agent: &mut Agent) -> (Vec<Message>, Vec<u32>) {
        let (mut sent, mut told) = (Vec::new(), Vec::new());
        while let Some(output) = agent.poll() {
            match output {
                AgentOutput::Send(datagram) => sent.push(parse(&datagram.bytes).expect("it parses")),
                AgentOutput::Signal(signal) => told.push(signal.call),
            }
        }
        (sent, told)
    }

    fn busy(invite: &Message) -> Message {
        let text = format!(
            "SIP/2.0 486 Busy Here\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=them\r\nCall-ID: {}\r\nCSeq: 1 INVITE\r\n\r\n",
            invite.via(),
            invite.from(),
            invite.to(),
            invite.call_id(),
        );
        parse(text.as_bytes()).expect("it parses")
    }

    #[test]
    fn messages_find_their_call_until_32_s_after_its_end_and_none_walks_over_the_others() {
        let mut agent = Agent::new("tag".into());
        (0..CALLS).for_each(|number| agent.place(at_s(1), number, config(number)));
        let (invites, _) = drained(&mut agent);
        assert_eq!(invites.len(), CALLS as usize);
        touched();
        let mut placed: Vec<_> = (0..CALLS).zip(&invites).collect();
        placed.reverse();
        for (number, invite) in placed {
            // The answer is lost on the way, and comes again.
            for is_first in [true, false] {
                agent.handle_message(at_s(2), &busy(invite), PEER.parse().unwrap(), &anywhere);
                let (sent, told) = drained(&mut agent);
                assert_eq!(sent.iter().map(Message::method).collect::<Vec<_>>(), [&Method::Ack]);
                assert_eq!(told, if is_first { vec![number] } else { vec![] });
            }
        }
        let average = touched() / u64::from(2 * CALLS);
        assert!(average < 12, "{average} entries touched by a message");
        assert!(agent.has_heard() && agent.strays() == 0);

        while let Some(at) = agent.poll_timeout() {
            assert!(at <= at_s(34), "timer D of the INVITE is the last");
            agent.handle_timeout(at);
        }
        assert!(agent.calls.is_empty() && agent.by_call_id.is_empty());
        agent.handle_message(at_s(35), &busy(&invites[0]), PEER.parse().unwrap(), &anywhere);
        assert_eq!((agent.strays(), drained(&mut agent).0.len()), (1, 0), "responses are not answered");
    }

    #[test]
    fn a_request_outside_of_calls_is_answered_where_it_came_from() {
        let mut agent = Agent::new("tag".into());
        let text = "OPTIONS sip:x@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx;rport\r\n\
            From: <sip:a@h>;tag=a\r\nTo: <sip:x@h>\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n\r\n";
        let from: SocketAddr = "192.0.2.7:4060".parse().unwrap();
        let mut options = parse(text.as_bytes()).expect("it parses");
        options.received_from(from);
        agent.handle_message(at_s(1), &options, from, &anywhere);
        let Some(AgentOutput::Send(datagram)) = agent.poll() else { panic!("no answer") };
        let SipDatagram { destination, bytes } = datagram;
        let answer = parse(&bytes).expect("it parses");
        assert_eq!((destination, answer.status(), answer.to_tag()), (from, Some(200), Some("tag")));
        assert!(!agent.hears("c") && !agent.has_heard());
        agent.place(at_s(1), 0, config(0));
        let (invites, _) = drained(&mut agent);
        assert!(agent.hears(invites[0].call_id()) && agent.has_heard());
    }

    #[test]
    fn an_answer_is_judged_by_its_receipt_however_late_it_is_read() {
        let mut agent = Agent::new("tag".into());
        (0..2).for_each(|number| agent.place(at_s(1), number, config(number)));
        let (invites, _) = drained(&mut agent);
        // Nobody has looked for a minute; the setup timeout is 32 s.
        let reasons = [(0, 32), (1, 34)].map(|(number, answered_s)| {
            agent.handle_message(at_s(answered_s), &busy(&invites[number]), PEER.parse().unwrap(), &anywhere);
            let outputs = std::iter::from_fn(|| agent.poll());
            let signals: Vec<_> = outputs.filter(|o| matches!(o, AgentOutput::Signal(_))).collect();
            format!("{signals:?}")
        });
        assert!(reasons[0].contains("486") && !reasons[0].contains("Timeout"), "{reasons:?}");
        assert!(reasons[1].contains("Timeout") && !reasons[1].contains("486"), "{reasons:?}");
    }

    #[test]
    fn timers_of_many_calls_run_out_in_batches() {
        let mut agent = Agent::new("tag".into());
        (0..CALLS).for_each(|number| agent.place(at_s(1), number, config(number)));
        drained(&mut agent);
        let mut resent = 0;
        while agent.poll_timeout().is_some_and(|at| at <= at_s(2)) {
            agent.handle_timeout(at_s(2));
            let (sent, _) = drained(&mut agent);
            assert!(sent.len() <= BATCH);
            resent += sent.len();
        }
        assert_eq!(resent, CALLS as usize);
    }
}
