//! Host names in session descriptions: a message that has one waits until it is looked up, and its call's next ones
//! behind it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::net::resolve::look_up;
use crate::sip::Message;
use crate::stamp::Stamp;

/// Longest time that a message waits: a far end sends its 200 again until its ACK comes, for 32 s.
const WITHIN: Duration = Duration::from_secs(5);
/// The most names of a run that are looked up: a far end could make up one for each call.
const MOST_NAMES: usize = 256;
/// The most messages that wait at once.
const MOST_WAITING: usize = 1024;
/// The most messages of a call that wait: a far end has a 200 and a few provisional answers, and sends again what
/// gets no answer.
const MOST_OF_CALL: usize = 8;

/// A message as it came.
pub(super) struct Received {
    pub message: Message,
    pub at: Stamp,
    pub from: SocketAddr,
}

/// A message that waits.
struct Waiting {
    received: Received,
    /// Names in its session description.
    names: Vec<String>,
}

type Found = Result<IpAddr, String>;

/// Names that were looked up, and messages that wait for others.
pub(super) struct Lookups {
    /// Addresses are to be reached from here.
    local: IpAddr,
    known: HashMap<String, Found>,
    asked: HashSet<String>,
    /// By Call-ID, each call's in the order in which they came; a call of which none waits is not in it.
    waiting: BTreeMap<String, VecDeque<Waiting>>,
    /// A name was looked up since they were last gone through.
    has_news: bool,
    tell: UnboundedSender<(String, Found)>,
    told: UnboundedReceiver<(String, Found)>,
}

impl Lookups {
    pub fn new(local: IpAddr) -> Self {
        let (tell, told) = unbounded_channel();
        let (known, asked, waiting) = (HashMap::new(), HashSet::new(), BTreeMap::new());
        Lookups { local, known, asked, waiting, has_news: false, tell, told }
    }

    /// Takes a message, and gives it back unless it has to wait.
    pub fn admit(&mut self, mut received: Received) -> Option<Received> {
        let earlier = self.waiting.get(received.message.call_id());
        let is_behind = earlier.is_some();
        if earlier.is_some_and(|earlier| is_surplus(earlier, &received.message)) {
            return None;
        }
        let names = received.message.names();
        names.iter().for_each(|name| self.ask(name));
        let is_open = names.iter().any(|name| self.asked.contains(name));
        if (is_open || is_behind) && self.count() < MOST_WAITING {
            let call = received.message.call_id().to_string();
            self.waiting.entry(call).or_default().push_back(Waiting { received, names });
            return None;
        }
        self.enter(&mut received.message, names);
        Some(received)
    }

    /// Waits for the answer to a lookup.
    pub async fn answered(&mut self) {
        if let Some((name, found)) = self.told.recv().await {
            self.asked.remove(&name);
            self.known.insert(name, found);
            self.has_news = true;
        }
    }

    /// The messages that wait no longer.
    pub fn take(&mut self) -> Vec<Received> {
        let mut ready = Vec::new();
        if !std::mem::take(&mut self.has_news) {
            return ready;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        for queue in waiting.values_mut() {
            let is_open = |of: &Waiting| of.names.iter().any(|name| self.asked.contains(name));
            let count = queue.iter().take_while(|waiting| !is_open(waiting)).count();
            for Waiting { mut received, names } in queue.drain(..count) {
                self.enter(&mut received.message, names);
                ready.push(received);
            }
        }
        waiting.retain(|_, queue| !queue.is_empty());
        self.waiting = waiting;
        ready
    }

    /// The number of messages that wait.
    fn count(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    fn ask(&mut self, name: &str) {
        let is_known = self.known.contains_key(name) || self.asked.contains(name);
        if is_known || self.known.len() + self.asked.len() >= MOST_NAMES {
            return;
        }
        self.asked.insert(name.into());
        let (name, from, tell) = (name.to_string(), self.local, self.tell.clone());
        tokio::spawn(async move {
            let found = match timeout(WITHIN, look_up(&format!("{name}:0"), Some(from))).await {
                Ok(found) => found.map(|address| address.ip()),
                Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
            };
            // The run may have ended.
            let _ = tell.send((name, found));
        });
    }

    fn enter(&self, message: &mut Message, names: Vec<String>) {
        for name in names {
            let unasked =
                || Err(format!("more than {MOST_NAMES} names, or {MOST_WAITING} messages that wait"));
            let found = self.known.get(&name).cloned().unwrap_or_else(unasked);
            message.look_up(name, found);
        }
    }
}

/// True for a message that is not to wait behind its call's `earlier` ones: one of them that comes again, which would
/// look as if nobody had heard our ACK, or one too many.
fn is_surplus(earlier: &VecDeque<Waiting>, message: &Message) -> bool {
    let is_again = |waiting: &Waiting| {
        let first = &waiting.received.message;
        first.cseq() == message.cseq()
            && first.status() == message.status()
            && first.to_tag() == message.to_tag()
    };
    earlier.len() >= MOST_OF_CALL || earlier.iter().any(is_again)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse;

    fn received(call: &str, host: &str) -> Received {
        numbered(call, host, 1)
    }

    fn numbered(call: &str, host: &str, cseq: u32) -> Received {
        let sdp = format!("v=0\r\nc=IN IP4 {host}\r\nm=audio 4000 RTP/AVP 0\r\n");
        let sdp = if host.is_empty() { String::new() } else { sdp };
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:c@d>;tag=2\r\nCall-ID: {call}\r\nCSeq: {cseq} INVITE\r\nContent-Type: application/sdp\r\n\r\n{sdp}"
        );
        Received {
            message: parse(text.as_bytes()).unwrap(),
            at: Stamp::ZERO,
            from: "127.0.0.1:5060".parse().unwrap(),
        }
    }

    fn lookups() -> Lookups {
        Lookups::new("127.0.0.1".parse().unwrap())
    }

    #[tokio::test]
    async fn a_message_waits_for_its_name_and_its_calls_next_behind_it() {
        let mut lookups = lookups();
        assert!(lookups.admit(received("a", "localhost")).is_none());
        assert!(lookups.admit(numbered("a", "", 2)).is_none(), "it would overtake");
        for host in ["localhost", "other.example"] {
            assert!(lookups.admit(received("a", host)).is_none(), "it comes again, and is dropped");
        }
        assert!(
            lookups.admit(received("b", "")).is_some() && lookups.admit(received("c", "192.0.2.1")).is_some()
        );
        assert!(lookups.take().is_empty());
        lookups.answered().await;
        let ready = lookups.take();
        assert_eq!(ready.len(), 2);
        let description = ready[0].message.description().unwrap().unwrap();
        let loopback = "127.0.0.1".parse().unwrap();
        assert_eq!(description.streams[0].connection, crate::sip::sdp::Connection::Ip(loopback));
        // It is known from now on.
        assert!(lookups.admit(received("d", "LOCALHOST")).is_some());
    }

    #[tokio::test]
    async fn so_many_messages_of_a_call_wait() {
        let mut lookups = lookups();
        for cseq in 1..100 {
            assert!(lookups.admit(numbered("a", "localhost", cseq)).is_none());
        }
        assert_eq!(lookups.count(), MOST_OF_CALL);
        lookups.answered().await;
        let numbers: Vec<_> = lookups.take().iter().map(|ready| ready.message.cseq().number).collect();
        assert_eq!(numbers, (1..=MOST_OF_CALL as u32).collect::<Vec<_>>());
        assert!(lookups.waiting.is_empty() && lookups.admit(numbered("a", "", 100)).is_some());
    }

    #[tokio::test]
    async fn names_are_looked_up_up_to_a_bound() {
        let mut lookups = lookups();
        for n in 0..MOST_NAMES {
            lookups.known.insert(format!("h{n}"), Err("x".into()));
        }
        let refused = lookups.admit(received("a", "one-more")).expect("it does not wait");
        let description = refused.message.description().unwrap().unwrap();
        assert!(format!("{:?}", description.streams[0].connection).contains("more than 256 names"));
    }
}
