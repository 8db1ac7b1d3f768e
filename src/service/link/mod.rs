//! One call's link: a task between the call's connection to Asterisk and the one who speaks on it.

pub mod audiosocket;
mod echo;
pub mod rtp;
pub mod speaker;
pub mod websocket;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use self::audiosocket::AudioSocket;
use self::echo::EchoSpeaker;
use self::rtp::Rtp;
use self::speaker::{BotSpeaker, Outgoing, Speaker};
use self::websocket::WebSocket;
use super::links::{LinkShared, NewLink};
use super::media::MediaCounts;
use super::reflector::StreamEvent;
use crate::ari::MediaPeer;
use crate::clock;
use crate::external::audiosocket::KeepAlive;
use crate::rtp::Codec;
use crate::stamp::Stamp;

/// Longest wait for Asterisk to read what is sent to it; then its reader is taken for stuck.
const WRITE_LIMIT: Duration = Duration::from_secs(2);
/// Samples of a frame of 20 ms, at 8000 Hz.
const FRAME_LEN: usize = 160;
/// Interval of asking chan_websocket for its queue.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A command to a link.
pub enum LinkCommand {
    /// Asterisk's side is known.
    Connect(MediaPeer),
    /// A connection is there.
    Attach(Box<Carrier>),
    /// No connection came about.
    Failed(String),
    /// The call is over.
    Remove,
}

/// A connection that carries audio in the call's codec.
pub enum Carrier {
    AudioSocket(AudioSocket),
    WebSocket(WebSocket),
    Rtp(Box<Rtp>),
}

/// News of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Carried {
    /// Audio, in the buffer that was given.
    Audio,
    /// A digit that the caller has pressed.
    Digit(char),
    /// Something else that needs nothing.
    Nothing,
    /// Frames that wait in Asterisk.
    Queue(u64),
    /// Asterisk wants no more for now.
    Full,
    /// It has ended as it should.
    Ended,
}

impl Carrier {
    /// The next news. Nothing is lost where the wait is given up.
    async fn receive(&mut self, codec: Codec, audio: &mut Vec<u8>) -> io::Result<Carried> {
        match self {
            Carrier::AudioSocket(socket) => socket.receive(codec, audio).await,
            Carrier::WebSocket(socket) => socket.receive(audio).await,
            Carrier::Rtp(rtp) => rtp.receive(codec, audio).await,
        }
    }

    async fn send(&mut self, codec: Codec, frame: &Outgoing) -> io::Result<()> {
        let now = clock::now();
        let sending = async {
            match self {
                Carrier::AudioSocket(socket) => socket.send(codec, &frame.audio).await,
                Carrier::WebSocket(socket) => socket.send(&frame.audio).await,
                Carrier::Rtp(rtp) if frame.is_noise => rtp.send_noise(now).await,
                Carrier::Rtp(rtp) => rtp.send(codec, &frame.audio, frame.restarts, now).await,
            }
        };
        bounded(sending).await
    }

    /// Ends it, as far as Asterisk listens.
    async fn close(self) {
        let closing = async {
            match self {
                Carrier::AudioSocket(socket) => socket.close().await,
                Carrier::WebSocket(socket) => socket.close().await,
                Carrier::Rtp(_) => Ok(()),
            }
        };
        let _ = bounded(closing).await;
    }
}

async fn bounded(writing: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    match tokio::time::timeout(WRITE_LIMIT, writing).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "Asterisk does not read what is sent to it")),
    }
}

/// One call's link.
pub struct Link {
    new: NewLink,
    shared: Arc<LinkShared>,
    commands: UnboundedSender<LinkCommand>,
    inbox: UnboundedReceiver<LinkCommand>,
    carrier: Option<Carrier>,
    speaker: Speaker,
    counts: MediaCounts,
    has_heard: bool,
    /// Of AudioSocket: Asterisk's reader can spin while it waits for a header, and freezes all of Asterisk then
    /// (<https://github.com/asterisk/asterisk/issues/2089>).
    keep_alive: Option<KeepAlive>,
    /// Time at which chan_websocket is asked for its queue.
    ask_at: Option<Stamp>,
}

impl Link {
    /// A link that nothing has connected yet.
    pub fn new(
        new: NewLink,
        shared: Arc<LinkShared>,
        commands: UnboundedSender<LinkCommand>,
        inbox: UnboundedReceiver<LinkCommand>,
    ) -> Self {
        let up = shared.up.fetch_add(1, Ordering::Relaxed) + 1;
        let speaker = match &shared.talking {
            None => Speaker::Echo(Box::new(EchoSpeaker::new(shared.hold))),
            Some(talking) => {
                let seed = u64::from(new.ssrc);
                Speaker::Bot(Box::new(BotSpeaker::new(talking, new.codec, seed, clock::now(), up)))
            }
        };
        Link {
            speaker,
            new,
            shared,
            commands,
            inbox,
            carrier: None,
            counts: MediaCounts::default(),
            has_heard: false,
            keep_alive: None,
            ask_at: None,
        }
    }

    /// Carries until the call is over.
    pub async fn run(mut self) {
        let mut audio = Vec::new();
        loop {
            let keep_alive = self.keep_alive.as_ref().map(KeepAlive::timeout);
            // A bot has nobody to speak to before there is a connection.
            let speaks = self.carrier.is_some().then(|| self.speaker.wake()).flatten();
            let wake = [speaks, keep_alive, self.ask_at].into_iter().flatten().min();
            let codec = self.new.codec;
            tokio::select! {
                command = self.inbox.recv() => match command {
                    Some(LinkCommand::Connect(peer)) => self.connect(peer),
                    Some(LinkCommand::Attach(carrier)) => self.attach(*carrier),
                    Some(LinkCommand::Failed(why)) => {
                        tracing::debug!(port = self.new.port, why, "no connection for a call's media");
                        self.shared.totals.links(|links| links.failed += 1);
                    }
                    Some(LinkCommand::Remove) | None => break,
                },
                carried = receive(&mut self.carrier, codec, &mut audio) => {
                    let at = clock::now();
                    match carried {
                        Ok(carried) => self.take(carried, &audio, at),
                        Err(error) => self.break_off(&error),
                    }
                }
                () = super::app::sleep_until(wake) => {}
            }
            self.speak().await;
        }
        self.end().await;
    }

    fn connect(&mut self, peer: MediaPeer) {
        let name = match (peer, self.new.socket.take()) {
            (MediaPeer::WebSocket(name), _) => name,
            (MediaPeer::Rtp(peer), Some(socket)) => {
                return match Rtp::new(socket, peer, self.new.ssrc) {
                    Ok(rtp) => self.attach(Carrier::Rtp(Box::new(rtp))),
                    Err(error) => self.break_off(&error),
                };
            }
            (MediaPeer::Rtp(_) | MediaPeer::Connects, _) => return,
        };
        let (commands, http) = (self.commands.clone(), self.shared.http.clone());
        tokio::spawn(async move {
            let command = match WebSocket::connect(&http, &name).await {
                Ok(socket) => LinkCommand::Attach(Box::new(Carrier::WebSocket(socket))),
                Err(why) => LinkCommand::Failed(why),
            };
            // The call may have ended meanwhile.
            let _ = commands.send(command);
        });
    }

    fn attach(&mut self, carrier: Carrier) {
        let now = clock::now();
        match carrier {
            Carrier::AudioSocket(_) => self.keep_alive = Some(KeepAlive::new(now)),
            Carrier::WebSocket(_) => self.ask_at = Some(now + ASK_EVERY),
            Carrier::Rtp(_) => {}
        }
        self.shared.totals.links(|links| links.connected += 1);
        self.carrier = Some(carrier);
    }

    fn take(&mut self, carried: Carried, audio: &[u8], at: Stamp) {
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.heard_or_sent(at);
        }
        match carried {
            Carried::Audio => {
                self.counts.received += 1;
                if !std::mem::replace(&mut self.has_heard, true) {
                    // Nobody listens any more when the service is ending.
                    let _ = self.shared.events.send(StreamEvent::FirstPacket { port: self.new.port, at });
                }
                let up = self.shared.up.load(Ordering::Relaxed);
                if !self.speaker.hear(audio, at, up) {
                    self.counts.drops += 1;
                }
            }
            Carried::Digit(_) => self.speaker.hear_digit(at),
            Carried::Queue(frames) => {
                self.shared.totals.links(|links| links.queue_max = links.queue_max.max(frames));
            }
            Carried::Full => self.shared.totals.links(|links| links.xoff += 1),
            Carried::Nothing => {}
            Carried::Ended => self.drop_carrier(),
        }
    }

    /// Sends everything that is due.
    async fn speak(&mut self) {
        while self.carrier.is_some()
            && let Some(frame) = self.speaker.poll(clock::now())
        {
            if let Some(keep_alive) = &mut self.keep_alive {
                keep_alive.heard_or_sent(clock::now());
            }
            if !self.send(&frame).await {
                return;
            }
        }
        let now = clock::now();
        if self.keep_alive.as_mut().is_some_and(|keep_alive| keep_alive.is_due(now)) {
            let audio = vec![self.new.codec.silence(); FRAME_LEN];
            self.shared.totals.links(|links| links.silence += 1);
            self.send(&Outgoing { audio, restarts: true, is_noise: false }).await;
        }
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = Some(now + ASK_EVERY);
            if let Some(Carrier::WebSocket(socket)) = &mut self.carrier
                && let Err(error) = bounded(socket.ask()).await
            {
                self.break_off(&error);
            }
        }
        self.count_probes();
    }

    async fn send(&mut self, frame: &Outgoing) -> bool {
        let Some(carrier) = &mut self.carrier else { return false };
        match carrier.send(self.new.codec, frame).await {
            Ok(()) => {
                self.counts.sent += 1;
                true
            }
            Err(error) => {
                self.counts.send_errors += 1;
                self.break_off(&error);
                false
            }
        }
    }

    fn break_off(&mut self, error: &io::Error) {
        tracing::debug!(port = self.new.port, %error, "a call's media connection has ended");
        let is_stalled = error.kind() == io::ErrorKind::TimedOut;
        self.shared.totals.links(|links| {
            links.broken += 1;
            links.stalled += u64::from(is_stalled);
        });
        self.drop_carrier();
    }

    /// Closes it in doubt: a header that is cut hangs Asterisk's channel for good.
    fn drop_carrier(&mut self) {
        (self.carrier, self.keep_alive, self.ask_at) = (None, None, None);
    }

    fn count_probes(&mut self) {
        let (expected, distinct) = self.speaker.newly_counted();
        self.counts.expected += expected;
        self.counts.distinct += distinct;
    }

    async fn end(mut self) {
        self.shared.up.fetch_sub(1, Ordering::Relaxed);
        self.count_probes();
        if let Some(told) = self.speaker.told() {
            self.shared.totals.talked(told);
        }
        if let Some(carrier) = self.carrier.take() {
            carrier.close().await;
        }
        self.shared.totals.add(0, &mut self.counts.clone(), true);
        let _ = self.shared.events.send(StreamEvent::Removed { port: self.new.port, counts: self.counts });
    }
}

/// The next news of a connection; never, while there is none.
async fn receive(carrier: &mut Option<Carrier>, codec: Codec, audio: &mut Vec<u8>) -> io::Result<Carried> {
    match carrier {
        Some(carrier) => carrier.receive(codec, audio).await,
        None => std::future::pending().await,
    }
}
