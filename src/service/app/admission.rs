//! Admission: a caller gets a place among the calls, a port and a socket, or is turned away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit};
use strum::VariantArray as _;

use super::{App, Entry};
use crate::ari::call::AriCall;
use crate::ari::outcome::ServiceOutcome;
use crate::ari::{CallIds, MediaPlace, MediaTarget};
use crate::rtp::Codec;
use crate::service::links::NewLink;
use crate::service::sockets::Sockets;
use crate::stamp::Stamp;

/// Callers known at once, those included that are being turned away: far more than an Asterisk carries.
const MOST_CALLS: usize = 20_000;

/// Descriptors for what is no call: 64 requests to Asterisk at once, 128 connections to /health and /metrics, and
/// what a process has anyway.
const RESERVED: u64 = 256;

/// Kind of the lines about calls that are refused for want of a port.
pub(super) const NO_PORT: &str = "no port";

impl App {
    pub(super) fn on_call(&mut self, at: Stamp, channel: &str, args: &[String]) {
        self.shared.record().calls.total += 1;
        if self.calls.len() >= MOST_CALLS {
            self.shared.record().calls.unheeded += 1;
            return;
        }
        self.serial += 1;
        let ids = self.ids(channel);
        let seed = self.seed ^ self.serial;
        let codec = codec_of(args, self.config.codec);
        match self.place_for_call(at, codec) {
            Ok((port, place)) => {
                let target =
                    MediaTarget { app: self.config.app.clone(), place, format: codec.asterisk_name() };
                self.insert(channel, AriCall::new(at, ids, target, seed), Some(port));
            }
            Err(why) => self.insert(channel, AriCall::turn_away(at, ids, why, seed), None),
        }
    }

    /// Names for the call of channel `caller`, which no other call gets.
    pub(super) fn ids(&self, caller: &str) -> CallIds {
        CallIds::new(&self.config.app, caller, self.life, self.serial)
    }

    pub(super) fn insert(&mut self, caller: &str, call: AriCall, port: Option<u16>) {
        let caller: Arc<str> = caller.into();
        self.started.extend(port.map(|port| (port, call.started_at())));
        self.calls.insert(caller.clone(), Entry { call, serial: self.serial, port, hang_up_at: None });
        self.carry_out(&caller);
        self.count_active();
    }

    /// Takes a port and makes the place for the call's media: a socket of the reflector's, or a link; else the reason
    /// to turn the caller away.
    fn place_for_call(&mut self, now: Stamp, codec: Codec) -> Result<(u16, MediaPlace), ServiceOutcome> {
        if self.stop_by.is_some() {
            return Err(ServiceOutcome::Shutdown);
        }
        let (ip, echo, is_full) = (self.config.media_ip, self.echo, self.ports.in_use() >= self.most_sockets);
        let bind = |port| match is_full {
            true => Err(io::Error::other("the limit of file descriptors leaves room for no further call")),
            false => match &self.links {
                Some(links) if !links.needs_socket() => Ok(None),
                Some(_) | None => Sockets::bind((ip, port).into(), echo).map(Some),
            },
        };
        match self.ports.take(now, bind) {
            Ok((port, sockets)) => {
                // The SSRC only has to differ between streams (RFC 3550 section 8.1).
                let ssrc = (self.seed ^ self.serial.wrapping_mul(0x9E37_79B9)) as u32;
                let host = SocketAddr::new(ip, port);
                match (&mut self.links, sockets) {
                    (Some(links), sockets) => {
                        let socket = sockets.map(|sockets| sockets.asterisk);
                        return Ok((port, links.add(NewLink { port, host, codec, ssrc, socket })));
                    }
                    (None, Some(sockets)) => self.reflector.add(port, sockets, ssrc),
                    (None, None) => {}
                }
                Ok((port, MediaPlace::Rtp(host)))
            }
            Err(error) => {
                match self.repeats.add(NO_PORT, now) {
                    Some(0) => tracing::error!("{error}"),
                    Some(refused) => {
                        tracing::error!("{error}; {refused} other calls refused since last said")
                    }
                    None => {}
                }
                Err(ServiceOutcome::NoPort)
            }
        }
    }
}

/// The media channel's codec: the dialplan's word if it says one, else the configured one.
fn codec_of(args: &[String], configured: Codec) -> Codec {
    let said = args.first().and_then(|arg| Codec::VARIANTS.iter().find(|codec| codec.asterisk_name() == arg));
    said.filter(|codec| codec.is_via_external_media()).copied().unwrap_or(configured)
}

/// Calls that the limit of descriptors leaves room for, with one socket each or two.
pub(super) fn most_sockets(has_echo: bool) -> u64 {
    // Invariant of the kernel: reading a resource limit that exists does not fail; 1024 is the usual one.
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    (limit - RESERVED.min(limit / 4)) / if has_echo { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::ari::event::Event;
    use crate::clock;
    use crate::net::http::HttpClient;
    use crate::scheduling::Priority;
    use crate::service::delay::Hold;
    use crate::service::events::EventMessage;
    use crate::service::http::SharedCounts;
    use crate::service::reflector::{Reflector, ReflectorConfig};
    use crate::service::{EVENT_QUEUE, ServiceConfig};
    use crate::values::PortRange;

    const FLOOD: usize = 50_000;
    const LIMIT: Duration = Duration::from_secs(120);

    fn start(channel: String) -> Event {
        Event::StasisStart { channel, args: Vec::new(), protocol_id: None, hung_up: false }
    }

    /// An Asterisk that knows of no channel; each channel that is to be answered goes to `answered`.
    async fn knows_nobody(listener: TcpListener, answered: mpsc::UnboundedSender<String>) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(refuse(stream, answered.clone()));
        }
    }

    async fn refuse(mut stream: TcpStream, answered: mpsc::UnboundedSender<String>) {
        let mut request = [0; 2048];
        // A request without a body is one segment.
        while let Ok(len @ 1..) = stream.read(&mut request).await {
            let text = String::from_utf8_lossy(&request[..len]);
            let path = text.split(' ').nth(1).unwrap_or_default();
            if let Some(channel) = path.strip_suffix("/answer").and_then(|path| path.rsplit('/').next()) {
                let _ = answered.send(channel.into());
            }
            let answer: &[u8] = match text.starts_with("GET ") {
                true => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
                false => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            };
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_flood_of_callers_is_bounded_refused_and_counted_and_the_next_one_is_served() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = HttpClient::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        // Ports beside one that was free a moment ago; those that somebody holds are passed over.
        let from =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port().min(65_000);
        let range = PortRange { from, to: from + 9 };
        let (sender, stream_events) = mpsc::unbounded_channel();
        let reflector = ReflectorConfig {
            range,
            has_echo: false,
            hold: Hold::default(),
            priority: Priority::default(),
            lanes: 1,
        };
        let reflector = Reflector::start(reflector, &sender).unwrap();
        let shared = Arc::new(SharedCounts::new(reflector.totals().clone()));
        let config = ServiceConfig { port_range: range, ..Default::default() };
        let mut app = App::new(config, None, client, reflector, None, shared.clone());

        // Nobody answers meanwhile: nothing else runs on this thread.
        for n in 0..FLOOD {
            app.on_event(clock::now(), &start(format!("flood-{n}")));
        }
        let served = app.ports.in_use() as usize;
        assert!((1..=10).contains(&served), "{served} ports");
        let calls = shared.snapshot().record.calls;
        assert_eq!((calls.total, calls.active), (FLOOD as u64, MOST_CALLS as u64));
        assert_eq!((calls.unheeded, app.calls.len()), ((FLOOD - MOST_CALLS) as u64, MOST_CALLS));
        // Three requests set a call up, one hangs a caller up; no other work waits, and no other memory is held.
        assert_eq!(app.tasks.len(), MOST_CALLS - served + 3 * served);
        assert_eq!((app.started.len(), app.closing.len()), (served, 0));

        let (answered, mut answers) = mpsc::unbounded_channel();
        tokio::spawn(knows_nobody(listener, answered));
        let (events, incoming) = mpsc::channel(EVENT_QUEUE);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(incoming, stream_events, async move { drop(stopped.await) }));
        let cleared = async {
            while shared.snapshot().record.calls.active > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, cleared).await.expect("every caller of the flood is cleared");
        let record = shared.snapshot().record;
        let no_port =
            record.outcomes.iter().find(|count| count.outcome == "no_port").map(|count| count.calls);
        assert_eq!(no_port, Some((MOST_CALLS - served) as u64), "{:?}", record.outcomes);

        let now = clock::now();
        let event = start("later".into());
        events.send(EventMessage::Event { at: now, made_at: None, event }).await.expect("it still runs");
        let is_served = async { while answers.recv().await.expect("it still runs") != "later" {} };
        tokio::time::timeout(LIMIT, is_served).await.expect("the next caller is answered");
        stop.send(()).expect("it still runs");
        running.await.expect("no panic").expect("a clean end");
    }
}
