//! The claim of a rendezvous: whoever owns its host listens, everybody connects. Repeated until it succeeds, for a host's
//! name may not resolve yet, and its owner may come last.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::clock;
use crate::stamp::Stamp;
use crate::values::HostPort;

/// Pause between two tries.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Time for a name, or for a connection.
const EACH: Duration = Duration::from_secs(2);

/// A connection to the coordinator, and its listener where this process is to be it.
pub(super) struct Claimed {
    pub stream: TcpStream,
    pub listener: Option<TcpListener>,
}

/// Tries until `deadline`.
///
/// # Errors
/// The last fault.
pub(super) async fn claim(place: &HostPort, deadline: Stamp) -> io::Result<Claimed> {
    loop {
        match attempt(place).await {
            Ok(claimed) => return Ok(claimed),
            Err(error) if clock::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
}

async fn attempt(place: &HostPort) -> io::Result<Claimed> {
    let named = place.to_string();
    let addresses: Vec<SocketAddr> = within(lookup_host(named.as_str())).await?.collect();
    if let Some(own) = addresses.iter().find(|address| is_own(address.ip())) {
        // On the wildcard: Debian gives a machine's own name to 127.0.1.1, which no other can reach.
        let any: IpAddr =
            if own.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let any = if own.ip().is_loopback() && place.is_loopback() { own.ip() } else { any };
        match TcpListener::bind(SocketAddr::new(any, own.port())).await {
            Ok(listener) => {
                let stream = connect(*own).await?;
                return Ok(Claimed { stream, listener: Some(listener) });
            }
            // Another shard on this machine was faster.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match connect(address).await {
            Ok(stream) => return Ok(Claimed { stream, listener: None }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = within(TcpStream::connect(to)).await?;
    // Clocks are exchanged over it: nothing is to wait for company.
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn within<T>(wanted: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(EACH, wanted).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// True for an address of this machine's.
fn is_own(ip: IpAddr) -> bool {
    !ip.is_multicast() && UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}
