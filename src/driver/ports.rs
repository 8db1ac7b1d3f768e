//! The driver's RTP ports: one even port a call, those that others hold passed over.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::net::udp::{StampedSocket, buffer_for};
use crate::values::PortRange;

/// Every call has a socket of its own: two seconds of the shortest packet time.
pub(super) const RECEIVE_BUFFER: usize = buffer_for(2 * 100);

/// Even ports of a range, the longest unused first.
#[derive(Debug)]
pub(super) struct RtpPorts {
    local: IpAddr,
    free: VecDeque<u16>,
}

impl RtpPorts {
    pub fn new(local: IpAddr, range: PortRange) -> Self {
        let free = (range.from..=range.to).filter(|port| port % 2 == 0).collect();
        RtpPorts { local, free }
    }

    /// Binds the next port that nobody else holds. `None` when there is none.
    ///
    /// # Errors
    /// Those of the system that are not about the port: no descriptors, no such address.
    pub fn bind(&mut self) -> io::Result<Option<(u16, Arc<StampedSocket>)>> {
        for _ in 0..self.free.len() {
            let Some(port) = self.free.pop_front() else { break };
            match StampedSocket::bind(SocketAddr::new(self.local, port), RECEIVE_BUFFER) {
                Ok(socket) => return Ok(Some((port, Arc::new(socket)))),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => self.free.push_back(port),
                Err(e) => {
                    self.free.push_front(port);
                    return Err(e);
                }
            }
        }
        Ok(None)
    }

    /// Gives a port back; it rests behind all the others.
    pub fn give_back(&mut self, port: u16) {
        self.free.push_back(port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};

    #[test]
    fn ports_of_others_are_passed_over_and_released_ones_rest() {
        // Three even ports, the first of them held by somebody else.
        let (from, other) = (0..)
            .find_map(|n| {
                let from = 41_000 + n * 8;
                UdpSocket::bind((Ipv4Addr::LOCALHOST, from)).ok().map(|s| (from, s))
            })
            .unwrap();
        let mut ports = RtpPorts::new(Ipv4Addr::LOCALHOST.into(), PortRange { from, to: from + 5 });
        let first = ports.bind().unwrap().unwrap();
        let second = ports.bind().unwrap().unwrap();
        assert!(first.0 > from && second.0 > from && first.0.is_multiple_of(2));
        assert!(ports.bind().unwrap().is_none());
        drop(first.1);
        ports.give_back(first.0);
        drop(other);
        assert_eq!(ports.bind().unwrap().unwrap().0, from);
        assert_eq!(ports.bind().unwrap().unwrap().0, first.0);
    }
}
