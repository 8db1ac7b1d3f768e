//! A UDP echo for RTP: probes come back with stamps and counts added, other RTP as it was.
//!
//! Safe to leave running. It answers RTP only, with at most one datagram per datagram, never with
//! more bytes than came, and never what an echo has answered already (`streams`), so that two of
//! them pointed at each other fall silent. Nobody has all of its table or its time (`peers`).

mod counts;
mod peers;
mod streams;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

pub use counts::EchoCounts;
pub use streams::{MOST_STREAMS, MOST_STREAMS_OF_SOCKET};

use crate::clock;
use crate::net::poller::{Poller, Waker};
use crate::net::udp::{self, Batch, Datagram, buffer_for};
use crate::rtp::reflector::Reflected;
use streams::{Refusal, Streams};

/// Datagrams read with one system call.
const BATCH: usize = 32;
/// Longest datagram that is read whole: an Ethernet frame's. Longer ones are not answered.
const DATAGRAM: usize = 1500;
/// One socket for everybody: 100 ms of 1,000 streams.
const RECEIVE_BUFFER: usize = buffer_for(100 * 50);

/// The server's handle. Dropping it ends its threads and frees the port.
#[derive(Debug)]
pub struct EchoServer {
    local: SocketAddr,
    receive_buffer: usize,
    stop: Arc<AtomicBool>,
    lanes: Vec<(Waker, JoinHandle<EchoCounts>)>,
}

impl EchoServer {
    /// Listens on `address` and echoes from a thread of its own. Port 0 takes any free one.
    ///
    /// # Errors
    /// Errors of the system calls; `AddrInUse` when another program holds the port.
    pub fn start(address: SocketAddr) -> io::Result<Self> {
        EchoServer::with_lanes(address, 1)
    }

    /// The same from several threads, each with a socket on that address: the kernel gives all datagrams of one sender
    /// to the same one. They share the table's room equally.
    ///
    /// # Errors
    /// As [`EchoServer::start`].
    pub fn with_lanes(address: SocketAddr, lanes: u32) -> io::Result<Self> {
        let lanes = lanes.max(1);
        // Alone on the port, which shows that nobody else holds it. It makes room for those that share it.
        let alone = udp::bind_stamped(address, RECEIVE_BUFFER)?;
        let local = alone.local_addr()?;
        let receive_buffer = udp::receive_buffer(&alone)?;
        let sockets: Vec<_> = if lanes == 1 {
            vec![alone]
        } else {
            drop(alone);
            let shared = (0..lanes).map(|_| udp::bind_shared(local, RECEIVE_BUFFER));
            shared.collect::<io::Result<_>>()?
        };
        let mut server =
            EchoServer { local, receive_buffer, stop: Arc::new(AtomicBool::new(false)), lanes: Vec::new() };
        for socket in sockets {
            let poller = Poller::new()?;
            poller.add(&socket, 0)?;
            let (waker, stopped) = (poller.waker(), server.stop.clone());
            let echo = EchoThread {
                socket,
                local,
                streams: Streams::new(MOST_STREAMS / lanes as usize),
                counts: EchoCounts::default(),
                answer: [0; DATAGRAM],
            };
            let run = move || echo.run(poller, &stopped);
            server.lanes.push((waker, thread::Builder::new().name("echo".into()).spawn(run)?));
        }
        Ok(server)
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The receive buffer that the kernel grants, and the one wanted, in bytes: with less, a stall
    /// shorter than 100 ms loses packets of a thousand streams.
    pub fn receive_buffer(&self) -> (usize, usize) {
        (self.receive_buffer, RECEIVE_BUFFER)
    }

    /// Ends the threads and returns what has passed, to the last datagram.
    pub fn stop(mut self) -> EchoCounts {
        self.end()
    }

    /// The threads' counts, the first time; a panic on one has been reported where it happened.
    fn end(&mut self) -> EchoCounts {
        self.stop.store(true, Relaxed);
        self.lanes.iter().for_each(|(waker, _)| waker.wake());
        let mut sum = EchoCounts::default();
        for (_, thread) in self.lanes.drain(..) {
            sum += thread.join().unwrap_or_default();
        }
        sum
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// State of the thread, which does not lock, allocate or log per packet.
struct EchoThread {
    socket: UdpSocket,
    local: SocketAddr,
    streams: Streams,
    counts: EchoCounts,
    answer: [u8; DATAGRAM],
}

impl EchoThread {
    fn run(mut self, mut poller: Poller, stop: &AtomicBool) -> EchoCounts {
        let mut batch = Batch::new(BATCH, DATAGRAM);
        while !stop.load(Relaxed) {
            if let Err(error) = poller.wait(1000, |_| ()) {
                tracing::error!(%error, "cannot wait for datagrams; the echo ends");
                return self.counts;
            }
            // An unconnected socket reports no ICMP errors, so an error is that nothing is there.
            while matches!(self.serve(&mut batch), Ok(BATCH)) && !stop.load(Relaxed) {}
        }
        let drops = udp::drops(&self.socket).unwrap_or_default().into();
        EchoCounts { drops: self.counts.drops.max(drops), ..self.counts }
    }

    fn serve(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let EchoThread { socket, local, streams, counts, answer } = self;
        batch.receive(&*socket, |datagram| {
            counts.received += 1;
            counts.drops = counts.drops.max(datagram.drops.unwrap_or(0).into());
            if !may_be_answered(datagram.from, *local) {
                counts.unanswerable += 1;
                return;
            }
            let whole = if datagram.truncated { &[] } else { datagram.bytes };
            match streams.answer(whole, datagram.from, datagram.received_at, clock::now, answer) {
                Ok((len, kind)) => send(socket, &answer[..len], kind, &datagram, counts),
                Err(Refusal::NotRtp) => counts.not_rtp += 1,
                Err(Refusal::Echoed) => counts.echoed += 1,
                Err(Refusal::Repeated) => counts.repeated += 1,
                Err(Refusal::NoRoom) => counts.no_room += 1,
                Err(Refusal::TooFast) => counts.too_fast += 1,
            }
        })
    }
}

fn send(
    socket: &UdpSocket,
    answer: &[u8],
    kind: Reflected,
    question: &Datagram<'_>,
    counts: &mut EchoCounts,
) {
    match socket.send_to(answer, question.from) {
        Ok(sent) => {
            counts.bytes += sent as u64;
            match kind {
                Reflected::Probe => counts.probes += 1,
                Reflected::Plain => counts.plain += 1,
            }
        }
        Err(_) => counts.send_errors += 1,
    }
}

/// True if an answer to `from` can only reach one other program. An address that is one of many
/// could multiply it, and the server's own would bring it back.
fn may_be_answered(from: SocketAddr, local: SocketAddr) -> bool {
    let (ip, own) = (from.ip().to_canonical(), local.ip().to_canonical());
    let many = ip.is_multicast() || ip.is_unspecified() || ip == std::net::Ipv4Addr::BROADCAST;
    let itself = from.port() == local.port() && (ip == own || own.is_unspecified() && ip.is_loopback());
    from.port() != 0 && !many && !itself
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_other_program_is_answered() {
        let check = |from: &str, local: &str| may_be_answered(from.parse().unwrap(), local.parse().unwrap());
        assert!(check("127.0.0.1:5000", "127.0.0.1:4000"));
        assert!(check("127.0.0.2:4000", "127.0.0.1:4000"));
        assert!(check("[::ffff:10.0.0.1]:4000", "[::]:4000"));
        for from in ["127.0.0.1:0", "224.0.0.1:9", "255.255.255.255:9", "0.0.0.0:9", "127.0.0.1:4000"] {
            assert!(!check(from, "127.0.0.1:4000"), "{from}");
        }
        assert!(!check("127.0.0.1:4000", "0.0.0.0:4000"));
        assert!(!check("[::ffff:127.0.0.1]:4000", "[::]:4000"));
        assert!(!check("[ff02::1]:9", "[::]:4000"));
        assert!(!check("[::ffff:224.0.0.1]:9", "[::]:4000"));
    }

    #[test]
    fn ends_and_frees_the_port() {
        let echo = EchoServer::start(([127, 0, 0, 1], 0).into()).unwrap();
        let address = echo.local_addr();
        let taken = EchoServer::start(address).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(echo.stop(), EchoCounts::default());
        drop(EchoServer::start(address).unwrap());
        EchoServer::start(address).unwrap();
    }

    #[test]
    fn several_lanes_are_one_echo_that_keeps_each_senders_order() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let echo = EchoServer::with_lanes(any, 3).unwrap();
        let address = echo.local_addr();
        assert_eq!(EchoServer::start(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let senders: Vec<_> = (0..16).map(|_| UdpSocket::bind(any).unwrap()).collect();
        for sender in &senders {
            sender.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
            sender.connect(address).unwrap();
            for number in 0..10 {
                sender.send(&[&[0x80, 0, 0, number][..], &[7; 168]].concat()).unwrap();
            }
        }
        for sender in &senders {
            let mut answer = [0; DATAGRAM];
            let numbers: Vec<_> =
                (0..10).map(|_| sender.recv(&mut answer).map(|_| answer[3]).unwrap()).collect();
            assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        }
        let counts = echo.stop();
        assert_eq!((counts.received, counts.plain, counts.drops), (160, 160, 0));
        drop(EchoServer::start(address).unwrap());
    }
}
