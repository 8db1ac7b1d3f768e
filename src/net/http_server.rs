//! An HTTP/1.1 server that nobody can fill: few connections in all and from each source, none of them idle for long.
//!
//! A new connection is always taken. Where there are too many, the oldest makes way: whoever holds connections and
//! asks nothing loses them, and a question that is asked at once is answered.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinSet};

/// Connections at once.
const MOST: usize = 128;
/// Connections from one source at once: a scraper, a health check and a person have enough.
const MOST_FROM_ONE: usize = 32;
/// From the connection's or the last answer's beginning to the end of a request's headers. A kept connection that is
/// idle ends with it.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Life of a connection: an answer that nobody reads ends with it.
const LONGEST: Duration = Duration::from_secs(300);
/// Bytes of a request's head.
const HEAD_MAX: usize = 16 * 1024;
/// Pause after a connection could not be taken, for want of descriptors say.
const TAKE_AGAIN: Duration = Duration::from_millis(50);

/// Serves for ever.
pub async fn serve(listener: TcpListener, router: Router) {
    let mut open = Connections::default();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            taken = listener.accept() => match taken {
                Ok((stream, from)) => {
                    let source = source(from.ip());
                    open.make_room(source).iter().for_each(AbortHandle::abort);
                    open.add(source, tasks.spawn(connection(stream, router.clone())));
                }
                // Of one connection, or of all: in either case the next may be taken.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not taken");
                    tokio::time::sleep(TAKE_AGAIN).await;
                }
            },
            Some(ended) = tasks.join_next_with_id() => {
                open.remove(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that breaks off is no event.
    let _: Result<Result<(), hyper::Error>, _> = tokio::time::timeout(LONGEST, serving).await;
}

/// The source of a connection: a host with IPv6 has a network of addresses for itself.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Connections(VecDeque<(IpAddr, AbortHandle)>);

impl Connections {
    fn add(&mut self, source: IpAddr, connection: AbortHandle) {
        self.0.push_back((source, connection));
    }

    fn remove(&mut self, id: Id) {
        self.0.retain(|(_, connection)| connection.id() != id);
    }

    /// Takes out what has to end for one more from `source`.
    fn make_room(&mut self, source: IpAddr) -> Vec<AbortHandle> {
        let mut ending = Vec::new();
        let mut end_oldest = |all: &mut Self, of: IpAddr| {
            let at = all.0.iter().position(|(source, _)| *source == of);
            ending.extend(at.and_then(|at| all.0.remove(at)).map(|(_, connection)| connection));
        };
        if self.0.iter().filter(|(other, _)| *other == source).count() >= MOST_FROM_ONE {
            end_oldest(self, source);
        }
        if self.0.len() >= MOST {
            let mut counts = HashMap::<IpAddr, usize>::new();
            self.0.iter().for_each(|(source, _)| *counts.entry(*source).or_default() += 1);
            if let Some((busiest, _)) = counts.into_iter().max_by_key(|(_, count)| *count) {
                end_oldest(self, busiest);
            }
        }
        ending
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn idle_and_dripping_connections_make_way_for_a_question() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/health", get(|| async { "well" }));
        let server = tokio::spawn(serve(listener, router));
        let mut held = Vec::new();
        for n in 0..10 * MOST_FROM_ONE {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if n % 2 == 0 {
                stream.write_all(b"GET /health HTTP/1.1\r\nX: ").await.unwrap();
            }
            held.push(stream);
        }
        for _ in 0..3 {
            assert!(ask(address).await.ends_with("well"));
        }
        // All but the youngest have been ended by the server.
        let mut ended = 0;
        for stream in held.iter_mut().take(9 * MOST_FROM_ONE) {
            ended += usize::from(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        }
        assert_eq!(ended, 9 * MOST_FROM_ONE);
        server.abort();
    }

    #[tokio::test]
    async fn the_busiest_source_makes_way_where_there_are_too_many() {
        let mut open = Connections::default();
        let mut tasks = JoinSet::new();
        let network = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut add = |open: &mut Connections, source| {
            let ending = open.make_room(source);
            open.add(source, tasks.spawn(std::future::pending::<()>()));
            ending.len()
        };
        for n in 0..MOST {
            assert_eq!(add(&mut open, network(if n < 20 { 1 } else { (n % 50) as u8 + 10 })), 0);
        }
        assert_eq!(add(&mut open, network(2)), 1);
        assert_eq!(open.0.iter().filter(|(source, _)| *source == network(1)).count(), 19);
        assert_eq!(open.0.len(), MOST);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let same = |a: &str, b: &str| source(a.parse().unwrap()) == source(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:2") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
    }
}
