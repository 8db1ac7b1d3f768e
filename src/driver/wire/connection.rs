//! One connection of SIP: being opened, TLS or not, messages in and out without waiting for anybody.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConnection;

use crate::clock;
use crate::net::stream::StampedStream;
use crate::net::tls::Tls;
use crate::sip::Unreadable;
use crate::sip::framing::{Frame, Framer, PING, PONG};
use crate::stamp::Stamp;

/// Longest wait for a connection and its TLS.
pub(super) const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// Time without anything sent after which a connection is kept alive: NATs and firewalls forget idle ones.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Wait for the rest of a message, after which those who wait for it are told. It is read all the same: TCP sends again what
/// is lost after 0.2 s, and then twice as late each time.
const REST_WITHIN: Duration = Duration::from_secs(1);
/// Most bytes that wait for a peer who does not read: some thousand messages.
const MOST_UNSENT: usize = 4 << 20;
/// Reads at a time, so that no flood keeps timers and media waiting.
const READS: usize = 32;

/// Something that has come over a connection.
pub(super) enum Came<'a> {
    /// A message.
    Message(&'a [u8]),
    /// As much as there is of one whose end has not come, or is not to be told.
    Part(&'a [u8], Unreadable),
}

/// The end of a connection.
pub(super) struct Ended {
    /// The reason, in words.
    pub why: String,
    /// The messages of the far end cannot be told apart.
    pub is_unreadable: bool,
}

impl From<String> for Ended {
    fn from(why: String) -> Self {
        Ended { why, is_unreadable: false }
    }
}

/// A connection that is opened with the first bytes for it.
pub(super) struct Connection {
    pub peer: SocketAddr,
    stream: StampedStream,
    session: Option<(Box<ClientConnection>, Tls)>,
    framer: Framer,
    is_connected: bool,
    /// The end of the wait for it to open; `None` once it is.
    opens_by: Option<Stamp>,
    /// Messages that wait for it to open.
    queue: Vec<u8>,
    /// Bytes that the kernel has not taken.
    unsent: Vec<u8>,
    /// Time at which it is kept alive, where it is.
    ping_at: Option<Stamp>,
    /// Time of the last message over it.
    used_at: Stamp,
    /// End of the wait for the rest of a message.
    rest_by: Option<Stamp>,
    /// That message has been told of.
    is_told: bool,
    /// A message has come over it.
    has_heard: bool,
}

impl Connection {
    /// Begins to open one from `local` to `peer`, which is kept alive or not.
    ///
    /// # Errors
    /// It cannot be.
    pub fn begin(
        now: Stamp,
        (local, peer): (SocketAddr, SocketAddr),
        tls: Option<&Tls>,
        is_kept_alive: bool,
    ) -> io::Result<Self> {
        let stream = StampedStream::begin(local, peer)?;
        let session = tls.map(|tls| {
            let session = tls.begin().map_err(|error| io::Error::other(tls.words(&error)))?;
            Ok::<_, io::Error>((Box::new(session), tls.clone()))
        });
        Ok(Connection {
            peer,
            stream,
            session: session.transpose()?,
            framer: Framer::default(),
            is_connected: false,
            opens_by: Some(now + OPENS_WITHIN),
            queue: Vec::new(),
            unsent: Vec::new(),
            ping_at: is_kept_alive.then_some(now + PING_EVERY),
            used_at: now,
            rest_by: None,
            is_told: false,
            has_heard: false,
        })
    }

    /// Our own end.
    ///
    /// # Errors
    /// Errors of getsockname(2).
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// True once messages can go both ways.
    pub fn is_open(&self) -> bool {
        self.opens_by.is_none()
    }

    /// Time of the last message over it.
    pub fn used_at(&self) -> Stamp {
        self.used_at
    }

    /// Puts a message behind those that wait.
    ///
    /// # Errors
    /// The peer does not read.
    pub fn send(&mut self, now: Stamp, message: &[u8]) -> Result<(), String> {
        self.used_at = now;
        self.queue(now, message)
    }

    fn queue(&mut self, now: Stamp, bytes: &[u8]) -> Result<(), String> {
        if self.queue.len() + self.unsent.len() + bytes.len() > MOST_UNSENT {
            return Err(format!("{MOST_UNSENT} bytes wait for the far end, which does not read"));
        }
        self.queue.extend_from_slice(bytes);
        self.ping_at = self.ping_at.map(|_| now + PING_EVERY);
        Ok(())
    }

    /// Goes on with opening it and sends what the kernel takes.
    ///
    /// # Errors
    /// The connection is of no use any more: the reason.
    pub fn write(&mut self) -> Result<(), String> {
        if !self.is_connected {
            match self.stream.is_connected() {
                Ok(false) => return Ok(()),
                Ok(true) => self.is_connected = true,
                Err(error) => return Err(error.to_string()),
            }
        }
        match &mut self.session {
            None => {
                self.opens_by = None;
                self.unsent.append(&mut self.queue);
            }
            Some((session, _)) => {
                if !session.is_handshaking() {
                    self.opens_by = None;
                    // It goes into memory.
                    session.writer().write_all(&self.queue).map_err(|error| error.to_string())?;
                    self.queue.clear();
                }
                while session.wants_write() {
                    session.write_tls(&mut self.unsent).map_err(|error| error.to_string())?;
                }
            }
        }
        while !self.unsent.is_empty() {
            match self.stream.send(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Reads messages; false if some may be left. What has come of a message without an end is handed out once: when its
    /// rest is late, and when the connection ends.
    ///
    /// # Errors
    /// The connection is of no use any more: the reason. What came before it has been handed out.
    pub fn read(
        &mut self,
        now: Stamp,
        buffer: &mut [u8],
        each: &mut dyn FnMut(Came<'_>, Stamp),
    ) -> Result<bool, Ended> {
        let read = self.read_messages(now, buffer, each);
        if read.is_err() || self.rest_by.is_some_and(|by| by <= now) {
            self.rest_by = None;
            let is_told = std::mem::replace(&mut self.is_told, true);
            if let Some((part, unreadable)) = self.framer.unfinished().filter(|_| !is_told) {
                each(Came::Part(part, unreadable), now);
            }
        }
        read
    }

    fn read_messages(
        &mut self,
        now: Stamp,
        buffer: &mut [u8],
        each: &mut dyn FnMut(Came<'_>, Stamp),
    ) -> Result<bool, Ended> {
        if !self.is_connected {
            return Ok(true);
        }
        for _ in 0..READS {
            let (count, stamp) = match self.stream.receive(buffer) {
                Ok((0, _)) => return Err(self.closed().into()),
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string().into()),
            };
            let outcome = self.take(&buffer[..count]);
            self.hand_out(now, stamp.unwrap_or_else(clock::now), each)?;
            outcome?;
        }
        Ok(false)
    }

    /// Hands out the messages that are whole since `at`.
    fn hand_out(
        &mut self,
        now: Stamp,
        at: Stamp,
        each: &mut dyn FnMut(Came<'_>, Stamp),
    ) -> Result<(), Ended> {
        loop {
            match self.framer.next_frame() {
                Ok(Some(Frame::Message(message))) => {
                    (self.used_at, self.is_told, self.has_heard) = (now, false, true);
                    each(Came::Message(&message), at);
                }
                Ok(Some(Frame::Ping)) => self.queue(now, PONG)?,
                Ok(None) => break,
                Err(error) => {
                    let unfinished = self.framer.unfinished();
                    let is_unreadable = unfinished.is_some_and(|(_, told)| told.is_meant_as_sip());
                    return Err(Ended { why: format!("it sent {error}"), is_unreadable });
                }
            }
        }
        let is_awaited = self.framer.is_waiting() && !self.is_told;
        self.rest_by = is_awaited.then_some(now + REST_WITHIN);
        Ok(())
    }

    fn closed(&self) -> String {
        let why = match (self.is_open(), self.session.is_some() && !self.has_heard) {
            (false, _) => {
                "before TLS was agreed on; is that its port for TLS (5061 is usual), and does it want a certificate of the \
                 caller (sip.tls.certificate, sip.tls.key)?"
            }
            // Asterisk without a certificate of the caller ends it at once, and with a wrong one after that.
            (true, true) => {
                "before it had said anything; if it wants a certificate of the caller, name one that it trusts in \
                 sip.tls.certificate and sip.tls.key; its log says more"
            }
            (true, false) => return "the far end closed it".into(),
        };
        format!("the far end closed it {why}")
    }

    /// Takes bytes of the stream into the framer, by way of TLS where that is spoken.
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some((session, tls)) = &mut self.session else {
            self.framer.push(bytes);
            return Ok(());
        };
        let mut rest = bytes;
        let mut plain = [0; 4096];
        while !rest.is_empty() {
            if session.read_tls(&mut rest).map_err(|error| error.to_string())? == 0 {
                break;
            }
            let state = session.process_new_packets();
            loop {
                match session.reader().read(&mut plain) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => self.framer.push(&plain[..count]),
                }
            }
            let state = state.map_err(|error| tls.words(&error))?;
            if state.peer_has_closed() {
                return Err(self.closed());
            }
        }
        Ok(())
    }

    /// Ready when [`Connection::read`] or [`Connection::write`] has something to do.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_ready(context, self.is_connected, !self.is_connected || !self.unsent.is_empty())
    }

    /// The time at which [`Connection::handle_timeout`] or [`Connection::read`] has something to do, if there is one.
    pub fn poll_timeout(&self) -> Option<Stamp> {
        [self.opens_by.or(self.ping_at), self.rest_by].into_iter().flatten().min()
    }

    /// Keeps it alive.
    ///
    /// # Errors
    /// It has not opened in time.
    pub fn handle_timeout(&mut self, now: Stamp) -> Result<(), String> {
        if self.opens_by.is_some_and(|at| at <= now) {
            let waited = OPENS_WITHIN.as_secs();
            return Err(match self.is_connected {
                true => format!("TLS was not agreed on within {waited} s"),
                false => format!("nobody answered within {waited} s"),
            });
        }
        if self.opens_by.is_none() && self.ping_at.is_some_and(|at| at <= now) {
            self.queue(now, PING)?;
            self.write()?;
        }
        Ok(())
    }

    /// Says goodbye, as far as the kernel takes it at once.
    pub fn close(&mut self) {
        if let Some((session, _)) = &mut self.session {
            session.send_close_notify();
        }
        // It is over in any case.
        let _ = self.write();
    }
}
