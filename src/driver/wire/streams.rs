//! SIP over TCP and TLS: one connection to the target for all calls, opened again when it ends, and one to each other
//! address that a far end names.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use super::connection::Connection;
use super::{Broken, Received, Tap, WireConfig, WireCounts};
use crate::clock::{self, Timeline};
use crate::net::tls::Tls;
use crate::sip::{SipDatagram, Transport};
use crate::stamp::Stamp;

/// Most connections at once; the one to the target is one of them. Far ends name their peers, and may name many.
const MOST_CONNECTIONS: usize = 64;
/// Pause before the connection to the target is opened again, where nobody has sent anything meanwhile.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
const BUFFER: usize = 64 << 10;

pub(super) struct Streams {
    transport: Transport,
    tls: Option<Tls>,
    target: SocketAddr,
    /// Our end of the connection to the target; calls name it, so that a new one begins at the same port.
    local: SocketAddr,
    connections: Vec<Connection>,
    broken: VecDeque<Broken>,
    /// Time at which the connection to the target is opened again.
    reopen_at: Option<Stamp>,
    /// The one to the target has been open.
    was_open: bool,
    /// It has ended since, and no other is open.
    is_lost: bool,
    buffer: Vec<u8>,
}

impl Streams {
    /// Opens the connection to `target`.
    ///
    /// # Errors
    /// It does not come about: the reason, in words.
    pub async fn open(config: &WireConfig, local: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let mut streams = Streams {
            transport: config.transport,
            tls: config.tls.clone(),
            target,
            local,
            connections: Vec::new(),
            broken: VecDeque::new(),
            reopen_at: None,
            was_open: false,
            is_lost: false,
            buffer: vec![0; BUFFER],
        };
        streams.begin(clock::now(), target);
        let mut unused = WireCounts::default();
        loop {
            // Nobody has been asked anything: there is nothing to hear.
            streams.receive(clock::now(), 0, &mut unused, &mut |_, _, _| ());
            if let Some(broken) = streams.poll_broken() {
                return Err(io::Error::other(broken.why));
            }
            if streams.was_open {
                return Ok(streams);
            }
            let wake = streams.poll_timeout().unwrap_or_else(clock::now);
            tokio::select! {
                () = streams.ready() => {}
                () = tokio::time::sleep_until(clock::tokio_deadline(wake)) => {
                    streams.handle_timeout(clock::now());
                }
            }
        }
    }

    pub fn local(&self) -> SocketAddr {
        self.local
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
            let each = |bytes: Vec<u8>, at| {
                last = Timeline::unstepped(at, step_ns);
                tap(last, peer, &bytes);
                messages.extend(counts.heard(&bytes, peer, true).map(|heard| (heard, last, peer)));
            };
            let read = connection.write().and_then(|()| connection.read(now, &mut self.buffer, each));
            // An answer to a ping, or the next step of TLS.
            match read.and_then(|is_all| connection.write().map(|()| is_all)) {
                Ok(true) => {}
                Ok(false) => read_until = read_until.min(last),
                Err(why) => ended.push((peer, why)),
            }
            if peer == self.target && connection.is_open() {
                self.was_open = true;
                counts.reopened += u64::from(std::mem::take(&mut self.is_lost));
            }
        }
        ended.into_iter().for_each(|(peer, why)| self.end(now, peer, &why));
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
        if let Err(why) = connection.queue(now, bytes).and_then(|()| connection.write()) {
            counts.unsent += 1;
            self.end(now, *destination, &why);
        }
    }

    fn begin(&mut self, now: Stamp, peer: SocketAddr) {
        let is_target = peer == self.target;
        if is_target {
            self.reopen_at = None;
        }
        if self.connections.len() >= MOST_CONNECTIONS && !is_target {
            let why = format!("{MOST_CONNECTIONS} connections are open, and no more are opened");
            return self.broken.push_back(self.told(peer, &why));
        }
        let any = SocketAddr::new(self.local.ip(), 0);
        let tls = self.tls.as_ref();
        let mine = if is_target { self.local } else { any };
        // The port may still be held by the connection that has ended.
        let begun =
            Connection::begin(now, mine, peer, tls).or_else(|_| Connection::begin(now, any, peer, tls));
        match begun {
            Ok(connection) => {
                if is_target && let Ok(local) = connection.local() {
                    self.local = local;
                }
                self.connections.push(connection);
            }
            Err(error) => self.end(now, peer, &error.to_string()),
        }
    }

    /// Ends a connection, if there is one, and tells why.
    fn end(&mut self, now: Stamp, peer: SocketAddr, why: &str) {
        let at = self.connections.iter().position(|connection| connection.peer == peer);
        let ended = at.map(|at| self.connections.swap_remove(at));
        let was_open = ended.is_some_and(|mut connection| {
            let was_open = connection.is_open();
            connection.close();
            was_open
        });
        if peer == self.target {
            self.reopen_at = Some(now + REOPEN_AFTER);
            self.is_lost |= was_open;
        }
        let transport = self.transport;
        let how = if was_open { "has ended" } else { "could not be opened" };
        let told = format!("the {transport} connection to {peer} {how}: {why}");
        self.broken.push_back(Broken { peer, why: told });
    }

    fn told(&self, peer: SocketAddr, why: &str) -> Broken {
        Broken { peer, why: format!("no {} connection to {peer}: {why}", self.transport) }
    }

    pub fn poll_broken(&mut self) -> Option<Broken> {
        self.broken.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Stamp> {
        self.connections.iter().map(Connection::poll_timeout).chain(self.reopen_at).min()
    }

    pub fn handle_timeout(&mut self, now: Stamp) {
        let late = self.connections.iter_mut().filter(|connection| connection.poll_timeout() <= now);
        let ended = late.filter_map(|c| c.handle_timeout(now).err().map(|why| (c.peer, why)));
        let ended: Vec<_> = ended.collect();
        ended.into_iter().for_each(|(peer, why)| self.end(now, peer, &why));
        if self.reopen_at.is_some_and(|at| at <= now) {
            self.begin(now, self.target);
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.connections.iter_mut().for_each(Connection::close);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sip::{Heard, Method};

    const TCP: WireConfig = WireConfig { transport: Transport::Tcp, tls: None };

    fn options(n: u32) -> String {
        format!(
            "OPTIONS sip:x@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{n}\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:x@h>\r\n\
             Call-ID: c\r\nCSeq: {n} OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
    }

    struct Lab {
        listener: TcpListener,
        streams: Streams,
        counts: WireCounts,
        peer: TcpStream,
    }

    async fn lab() -> Lab {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let streams = Streams::open(&TCP, "127.0.0.1:0".parse().unwrap(), target).await.unwrap();
        let (peer, from) = listener.accept().await.unwrap();
        assert_eq!(from, streams.local());
        Lab { listener, streams, counts: WireCounts::default(), peer }
    }

    impl Lab {
        fn send(&mut self, n: u32) {
            let destination = self.streams.target;
            let message = SipDatagram { destination, bytes: options(n).into_bytes() };
            self.streams.send(clock::now(), &message, &mut self.counts);
        }

        /// CSeq numbers of what comes, until there are so many or the connection ends.
        async fn hear(&mut self, most: usize) -> (Vec<u32>, Option<Broken>) {
            let mut heard = Vec::new();
            loop {
                let (messages, _) =
                    self.streams.receive(clock::now(), 0, &mut self.counts, &mut |_, _, _| ());
                for (message, _, from) in messages {
                    let Heard::Message(message) = message else { panic!("{message:?}") };
                    assert_eq!((message.method(), message.answer_to()), (&Method::Options, Some(from)));
                    heard.push(message.cseq().number);
                }
                let broken = self.streams.poll_broken();
                if heard.len() >= most || broken.is_some() {
                    return (heard, broken);
                }
                self.streams.ready().await;
            }
        }

        async fn expect(&mut self, text: &str) {
            let mut got = vec![0; text.len()];
            self.peer.read_exact(&mut got).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&got), text);
        }
    }

    #[tokio::test]
    async fn messages_go_both_ways_in_any_pieces_and_a_ping_is_answered() {
        let mut lab = lab().await;
        lab.send(1);
        lab.send(2);
        lab.expect(&format!("{}{}", options(1), options(2))).await;
        let text = format!("{}\r\n\r\n{}{}", options(7), options(8), options(9));
        for piece in text.as_bytes().chunks(37) {
            lab.peer.write_all(piece).await.unwrap();
            lab.peer.flush().await.unwrap();
        }
        assert_eq!(lab.hear(3).await, (vec![7, 8, 9], None));
        lab.expect("\r\n").await;
        // Nothing was sent for a while.
        let later = lab.streams.poll_timeout().expect("a ping");
        lab.streams.handle_timeout(later);
        lab.expect("\r\n\r\n").await;
        assert_eq!(lab.counts, WireCounts::default());
    }

    #[tokio::test]
    async fn a_connection_that_ends_is_told_of_and_opened_again_from_the_same_port() {
        let mut lab = lab().await;
        let local = lab.streams.local();
        lab.peer.write_all(options(1).as_bytes()).await.unwrap();
        lab.peer.shutdown().await.unwrap();
        let (heard, broken) = lab.hear(usize::MAX).await;
        let why = broken.expect("it has ended").why;
        assert_eq!(heard, [1], "what came before the end counts");
        assert!(why.contains("has ended: the far end closed it"), "{why}");
        // Nobody sends anything: it is opened again all the same.
        let at = lab.streams.poll_timeout().expect("another try");
        lab.streams.handle_timeout(at);
        lab.peer = lab.listener.accept().await.unwrap().0;
        lab.send(2);
        // The kernel may not have opened it yet.
        let sent = options(2);
        tokio::select! {
            () = lab.streams.ready() => {}
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        lab.streams.receive(clock::now(), 0, &mut lab.counts, &mut |_, _, _| ());
        lab.expect(&sent).await;
        assert_eq!((lab.counts.reopened, lab.streams.local()), (1, local));
    }

    #[tokio::test]
    async fn what_is_no_sip_ends_the_connection_with_a_reason() {
        for (text, why) in [
            (
                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
                "without Content-Length, `HTTP/1.1 400 Bad Request`",
            ),
            ("x\r\nContent-Length: 70000\r\n\r\n", "65536 allowed"),
        ] {
            let mut lab = lab().await;
            lab.peer.write_all(text.as_bytes()).await.unwrap();
            let broken = lab.hear(usize::MAX).await.1.expect("it has ended");
            assert!(broken.why.contains(why), "{}", broken.why);
        }
    }

    #[tokio::test]
    async fn a_target_that_is_not_there_is_an_error_in_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        drop(listener);
        let error =
            Streams::open(&TCP, "127.0.0.1:0".parse().unwrap(), target).await.err().expect("an error");
        let words = error.to_string();
        assert!(
            words
                .contains(&format!("the TCP connection to {target} could not be opened: Connection refused")),
            "{words}"
        );
    }
}
