//! Choice of free ports.

use std::fmt::Display;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;

use super::error::{AsteriskError, Socket};

/// Bounded: a range that leaves no port at all would be asked for ever.
const TRIES: usize = 64;

/// Tests that `addr` can be bound at this moment.
pub(super) fn check(socket: Socket, addr: SocketAddr) -> Result<(), AsteriskError> {
    bind(socket, addr).map(|_| ()).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => AsteriskError::PortTaken { socket, addr },
        _ => refused(socket, addr, source),
    })
}

/// A port that is free at this moment and outside `avoid`.
pub(super) fn pick(socket: Socket, ip: IpAddr, avoid: &[RangeInclusive<u16>]) -> Result<u16, AsteriskError> {
    let addr = SocketAddr::new(ip, 0);
    for _ in 0..TRIES {
        let bound = bind(socket, addr).map_err(|error| refused(socket, addr, error))?;
        if !avoid.iter().any(|range| range.contains(&bound.port())) {
            return Ok(bound.port());
        }
    }
    Err(refused(socket, addr, "every free port lies in the RTP range"))
}

fn refused(socket: Socket, addr: SocketAddr, reason: impl Display) -> AsteriskError {
    AsteriskError::Failed(format!("Asterisk cannot listen on {addr} for {socket}: {reason}"))
}

/// Binds and lets go again. A listener is bound as Asterisk binds it, with SO_REUSEADDR.
fn bind(socket: Socket, addr: SocketAddr) -> std::io::Result<SocketAddr> {
    match socket {
        Socket::Sip => UdpSocket::bind(addr)?.local_addr(),
        Socket::SipStream | Socket::Http => TcpListener::bind(addr)?.local_addr(),
    }
}
