//! SIP over TCP and TLS: one connection to each target for all of its calls, kept alive and opened again when it ends, and
//! one to each other address that a far end names, until others need its place.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use super::connection::{Came, Connection, Ended};
use super::{Received, Tap, WireConfig, WireCounts};
use crate::clock::{self, Timeline};
use crate::net::tls::Tls;
use crate::sip::timers::TIMER_F;
use crate::sip::{Broken, SipDatagram, Transport};
use crate::stamp::Stamp;

/// Most connections at once, those to the targets among them, but for the one more that any number of targets leaves. Far
/// ends name their peers, and may name many.
const MOST_CONNECTIONS: usize = 64;
/// Pause before the connection to a target is opened again, where nobody has sent anything meanwhile.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
const BUFFER: usize = 64 << 10;

/// A target, and the connection to it.
struct Home {
    address: SocketAddr,
    tls: Option<Tls>,
    /// Our end of the connection; calls name it, so that a new one begins at the same port.
    local: SocketAddr,
    /// Time at which the connection is opened again.
    reopen_at: Option<Stamp>,
    /// It has been open.
    was_open: bool,
    /// It has ended since, and no other is open.
    is_lost: bool,
}

pub(super) struct Streams {
    transport: Transport,
    /// In the order of the targets.
    homes: Vec<Home>,
    connections: Vec<Connection>,
    broken: VecDeque<Broken>,
    /// The first one that could not be opened, or has ended while it was of use.
    pub first_broken: Option<String>,
    buffer: Vec<u8>,
}

impl Streams {
    /// Opens the connections to `targets`. Of several, some may stay away: calls to those fail, and each is tried again.
    ///
    /// # Errors
    /// None comes about: the reason of the first, in words.
    pub async fn open(config: &WireConfig, local: SocketAddr, targets: &[SocketAddr]) -> io::Result<Self> {
        let home = |(n, address): (usize, &SocketAddr)| Home {
            address: *address,
            tls: config.tls.get(n).cloned(),
            local,
            reopen_at: None,
            was_open: false,
            is_lost: false,
        };
        let mut streams = Streams {
            transport: config.transport,
            homes: targets.iter().enumerate().map(home).collect(),
            connections: Vec::new(),
            broken: VecDeque::new(),
            first_broken: None,
            buffer: vec![0; BUFFER],
        };
        let mut refused = BTreeMap::new();
        targets.iter().for_each(|target| streams.begin(clock::now(), *target));
        let mut unused = WireCounts::default();
        loop {
            // Nobody has been asked anything: there is nothing to hear.
            streams.receive(clock::now(), 0, &mut unused, &mut |_, _, _| ());
            while let Some(broken) = streams.poll_broken() {
                refused.insert(broken.peer, broken.why);
            }
            let is_settled = |home: &Home| home.was_open || refused.contains_key(&home.address);
            if streams.homes.iter().all(is_settled) {
                break;
            }
            let wake = streams.poll_timeout().unwrap_or_else(clock::now);
            tokio::select! {
                () = streams.ready() => {}
                () = tokio::time::sleep_until(clock::tokio_deadline(wake)) => {
                    streams.handle_timeout(clock::now());
                }
            }
        }
        match targets.first().and_then(|first| refused.remove(first)) {
            Some(why) if !streams.homes.iter().any(|home| home.was_open) => Err(io::Error::other(why)),
            _ => Ok(streams),
        }
    }

    /// Our end of the connection to target number `target`.
    pub fn local(&self, target: usize) -> SocketAddr {
        // Invariant: there is a target.
        self.homes.get(target).unwrap_or(&self.homes[0]).local
    }

    fn home(&mut self, peer: SocketAddr) -> Option<&mut Home> {
        self.homes.iter_mut().find(|home| home.address == peer)
    }

    fn is_home(&self, peer: SocketAddr) -> bool {
        self.homes.iter().any(|home| home.address == peer)
    }

    /// The client of TLS for a peer: a target's own, and for a peer that a far end names, that of the target on its host.
    fn tls(&self, peer: SocketAddr) -> Option<Tls> {
        let of = |is: &dyn Fn(&&Home) -> bool| self.homes.iter().find(is);
        let home = of(&|home| home.address == peer).or_else(|| of(&|home| home.address.ip() == peer.ip()));
        home.or(self.homes.first()).and_then(|home| home.tls.clone())
    }

    /// Waits until a connection has something to do.
    pub async fn ready(&self) {
        poll_fn(|context| {
            // Each is asked, so that each wakes.
            let asked = self.connections.iter().map(|connection| connection.poll_ready(context).is_ready());
            if asked.fold(false, |any, ready| any | ready) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// See [`super::Wire::receive`].
    pub fn receive(
        &mut self,
        now: Stamp,
        step_ns: i64,
        counts: &mut WireCounts,
        tap: Tap<'_>,
    ) -> (Vec<Received>, Stamp) {
        let (mut messages, mut read_until) = (Vec::new(), now);
        let mut ended = Vec::new();
        for connection in &mut self.connections {
            let peer = connection.peer;
            let mut last = now;
            let mut each = |came: Came<'_>, at| {
                let heard = match came {
                    Came::Message(bytes) => {
                        last = Timeline::unstepped(at, step_ns);
                        tap(last, peer, bytes);
                        counts.heard(bytes, peer, true)
                    }
                    // It is late, or the last: the time is ours.
                    Came::Part(bytes, unreadable) => {
                        last = now;
                        tap(last, peer, bytes);
                        counts.unreadable(unreadable)
                    }
                };
                messages.extend(heard.map(|heard| (heard, last, peer)));
            };
            let opened = connection.write().map_err(Ended::from);
            let read = opened.and_then(|()| connection.read(now, &mut self.buffer, &mut each));
            // An answer to a ping, or the next step of TLS.
            match read.and_then(|is_all| connection.write().map(|()| is_all).map_err(Ended::from)) {
                Ok(true) => {}
                Ok(false) => read_until = read_until.min(last),
                Err(why) => ended.push((peer, why)),
            }
            let home = self.homes.iter_mut().find(|home| home.address == peer);
            if let Some(home) = home.filter(|_| connection.is_open()) {
                home.was_open = true;
                counts.reopened += u64::from(std::mem::take(&mut home.is_lost));
            }
        }
        ended.into_iter().for_each(|(peer, why)| self.end(now, peer, why));
        // Calls hear what came over each connection in the order of its receipt.
        messages.sort_by_key(|(_, at, _)| *at);
        (messages, read_until)
    }

    /// Sends a message over the connection to its destination, which is opened if there is none.
    pub fn send(&mut self, now: Stamp, message: &SipDatagram, counts: &mut WireCounts) {
        let SipDatagram { destination, bytes } = message;
        let find = |streams: &Streams| streams.connections.iter().position(|c| c.peer == *destination);
        let at = match find(self) {
            Some(at) => at,
            None => {
                self.begin(now, *destination);
                // It may have been refused at once.
                let Some(at) = find(self) else {
                    counts.unsent += 1;
                    return;
                };
                at
            }
        };
        let connection = &mut self.connections[at];
        if let Err(why) = connection.send(now, bytes).and_then(|()| connection.write()) {
            counts.unsent += 1;
            self.end(now, *destination, why.into());
        }
    }

    fn begin(&mut self, now: Stamp, peer: SocketAddr) {
        // Invariant: there is a target, and all are reached from one address.
        let any = SocketAddr::new(self.homes[0].local.ip(), 0);
        let mut mine = any;
        let is_target = self.home(peer).map(|home| (home.reopen_at, mine) = (None, home.local)).is_some();
        if self.connections.len() >= MOST_CONNECTIONS.max(self.homes.len() + 1) && !is_target {
            self.make_room(now);
        }
        let tls = self.tls(peer);
        // The port may still be held by the connection that has ended.
        let begin = |from| Connection::begin(now, (from, peer), tls.as_ref(), is_target);
        let begun = begin(mine).or_else(|_| begin(any));
        match begun {
            Ok(connection) => {
                if let (Some(home), Ok(local)) = (self.home(peer), connection.local()) {
                    home.local = local;
                }
                self.connections.push(connection);
            }
            Err(error) => self.end(now, peer, error.to_string().into()),
        }
    }

    /// Ends the connection that has been idle longest, but none to a target.
    fn make_room(&mut self, now: Stamp) {
        let others = self.connections.iter().filter(|connection| !self.is_home(connection.peer));
        let idlest = others.min_by_key(|connection| connection.used_at()).map(|connection| connection.peer);
        if let Some(peer) = idlest {
            let why = format!("another one takes its place, for {MOST_CONNECTIONS} are open");
            self.end(now, peer, why.into());
        }
    }

    /// Ends a connection, if there is one, and tells why.
    fn end(&mut self, now: Stamp, peer: SocketAddr, ended: Ended) {
        let at = self.connections.iter().position(|connection| connection.peer == peer);
        let (is_target, mut was_open, mut is_idle) = (self.is_home(peer), false, false);
        if let Some(mut connection) = at.map(|at| self.connections.swap_remove(at)) {
            was_open = connection.is_open();
            // Far ends end those that nobody uses, and so do we.
            is_idle = was_open && !is_target && connection.used_at() + TIMER_F <= now;
            connection.close();
        }
        if let Some(home) = self.home(peer) {
            home.reopen_at = Some(now + REOPEN_AFTER);
            home.is_lost |= was_open;
        }
        let Ended { why, is_unreadable } = ended;
        let transport = self.transport;
        let how = if was_open { "has ended" } else { "could not be opened" };
        let why = format!("the {transport} connection to {peer} {how}: {why}");
        if !is_idle && self.first_broken.is_none() {
            self.first_broken = Some(why.clone());
        }
        self.broken.push_back(Broken { peer, why, was_open, is_unreadable });
    }

    pub fn poll_broken(&mut self) -> Option<Broken> {
        self.broken.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Stamp> {
        let reopened = self.homes.iter().filter_map(|home| home.reopen_at);
        self.connections.iter().filter_map(Connection::poll_timeout).chain(reopened).min()
    }

    pub fn handle_timeout(&mut self, now: Stamp) {
        let late = self.connections.iter_mut().filter(|c| c.poll_timeout().is_some_and(|at| at <= now));
        let ended = late.filter_map(|c| c.handle_timeout(now).err().map(|why| (c.peer, why)));
        let ended: Vec<_> = ended.collect();
        ended.into_iter().for_each(|(peer, why)| self.end(now, peer, why.into()));
        let is_due = |home: &&Home| home.reopen_at.is_some_and(|at| at <= now);
        let due: Vec<_> = self.homes.iter().filter(is_due).map(|home| home.address).collect();
        due.into_iter().for_each(|target| self.begin(now, target));
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.connections.iter_mut().for_each(Connection::close);
    }
}

#[cfg(test)]
mod tests;
