//! The sockets of one call: towards Asterisk, and towards an echo server.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::net::udp;

/// Asked of the kernel for each socket: a second of 20 ms packets with its bookkeeping.
const RECEIVE_BUFFER: usize = 128 * 1024;

/// The sockets of one call.
#[derive(Debug)]
pub struct Sockets {
    /// Towards Asterisk.
    pub asterisk: UdpSocket,
    /// Towards the echo server, on a port of the call's own, so that the server tells the calls apart.
    pub echo: Option<UdpSocket>,
}

impl Sockets {
    /// Binds `address` for Asterisk, and a port that the kernel picks for the echo server, if there is one.
    ///
    /// # Errors
    /// Errors of the system calls; `AddrInUse` when another program holds `address`.
    pub fn bind(address: SocketAddr, echo: Option<SocketAddr>) -> io::Result<Self> {
        let asterisk = udp::bind_stamped(address, RECEIVE_BUFFER)?;
        // A lack of ports here does not mean that another program holds `address`.
        let echo = echo.map(connected).transpose().map_err(io::Error::other)?;
        Ok(Sockets { asterisk, echo })
    }
}

fn connected(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = udp::bind_stamped(any, RECEIVE_BUFFER)?;
    socket.connect(peer)?;
    Ok(socket)
}
