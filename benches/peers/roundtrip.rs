//! Round trips by the least code that can measure them, and as irtt reports them.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use loadtest::clock::{self, Timeline};
use loadtest::net::udp::{self, Batch};
use loadtest::rtp::packet::{HEADER_LEN, StreamSender};
use loadtest::rtp::probe::{Probe, RunKey};
use loadtest::rtp::{Codec, Format};
use loadtest::stamp::Stamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::{Outcome, quantile};

/// An answer that takes longer is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// The socket on which answers come in.
enum Ears {
    Plain(UdpSocket),
    Stamped(UdpSocket, Box<Batch>),
}

impl Ears {
    fn open(to: SocketAddr, kernel: bool) -> Outcome<Self> {
        let any = SocketAddr::new(if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
        if kernel {
            let socket = udp::bind_stamped(any, 1 << 18)?;
            socket.connect(to)?;
            return Ok(Ears::Stamped(socket, Box::new(Batch::new(1, 2048))));
        }
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(LOST_AFTER))?;
        Ok(Ears::Plain(socket))
    }

    fn send(&self, packet: &[u8]) -> std::io::Result<usize> {
        match self {
            Ears::Plain(socket) => socket.send(packet),
            Ears::Stamped(socket, _) => socket.send(packet),
        }
    }

    /// Arrival of the answer numbered `number`; `None` when it did not come.
    fn hear(&mut self, number: u32) -> Outcome<Option<Stamp>> {
        let is_it = |datagram: &[u8]| {
            let payload = datagram.get(HEADER_LEN..).unwrap_or_default();
            Probe::read(payload).is_ok_and(|probe| probe.seq == number)
        };
        loop {
            match self {
                Ears::Plain(socket) => {
                    let mut buffer = [0; 2048];
                    match socket.recv(&mut buffer) {
                        Ok(len) => {
                            let at = clock::now();
                            if is_it(&buffer[..len]) {
                                return Ok(Some(at));
                            }
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                        Err(error) => return Err(error.into()),
                    }
                }
                Ears::Stamped(socket, batch) => {
                    let mut ready = [PollFd::new(std::os::fd::AsFd::as_fd(socket), PollFlags::POLLIN)];
                    if poll(&mut ready, PollTimeout::try_from(LOST_AFTER)?)? == 0 {
                        return Ok(None);
                    }
                    let mut at = None;
                    batch.receive(socket, |datagram| {
                        at = is_it(datagram.bytes).then_some(datagram.received_at);
                    })?;
                    if at.is_some() {
                        return Ok(at);
                    }
                }
            }
        }
    }
}

/// Sends `count` probes to the echo `to`, one each `interval`, waiting for each one's answer.
pub fn measure(to: SocketAddr, count: u64, interval: Duration, kernel: bool) -> Outcome<Value> {
    let mut ears = Ears::open(to, kernel)?;
    let mut sender = StreamSender::new(RunKey::new(0xBE, [1; 16]), 1, 1, Format::of(Codec::Pcmu, interval));
    let timeline = Timeline::start();
    let mut due = timeline.now();
    let mut rtts = Vec::with_capacity(count as usize);
    for number in 0..count as u32 {
        due = (due + interval).max(timeline.now());
        timeline.sleep_until(due, Duration::ZERO);
        let sent_at = clock::now();
        ears.send(sender.packet(due, sent_at))?;
        rtts.push(ears.hear(number)?.map_or(u64::MAX, |at| at.since(sent_at).as_nanos() as u64));
    }
    Ok(figures(rtts))
}

/// The figures of round trips in nanoseconds, of which a lost packet's is the largest of all.
fn figures(mut rtts: Vec<u64>) -> Value {
    rtts.sort_unstable();
    let ms = |p| quantile(&rtts, p).filter(|ns| *ns != u64::MAX).map(|ns| ns as f64 / 1e6);
    let received = rtts.iter().filter(|ns| **ns != u64::MAX).count();
    json!({ "p50_ms": ms(0.5), "p99_ms": ms(0.99), "sent": rtts.len(), "received": received })
}

/// irtt's own figures: it takes its server's time away from each round trip.
pub fn of_irtt(file: &Path) -> Outcome<Value> {
    let document: Value = serde_json::from_slice(&fs::read(file)?)?;
    let trips = document["round_trips"].as_array().ok_or("no round trips in irtt's file")?;
    Ok(figures(trips.iter().map(|trip| trip["delay"]["rtt"].as_u64().unwrap_or(u64::MAX)).collect()))
}
