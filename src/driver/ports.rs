//! The driver's RTP ports: an even port and its socket for each call.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::net::ports::{PortPool, TakeError};
use crate::net::udp::{StampedSocket, buffer_for};
use crate::values::PortRange;

/// Every call has a socket of its own: two seconds of the shortest packet time.
pub(super) const RECEIVE_BUFFER: usize = buffer_for(2 * 100);

/// Short, since a lane may keep a call's socket for a moment after its port was given back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct RtpPorts {
    local: IpAddr,
    pool: PortPool,
}

impl RtpPorts {
    pub fn new(local: IpAddr, range: PortRange) -> Self {
        RtpPorts { local, pool: PortPool::new(range, RETRY_AFTER).even() }
    }

    /// Binds the next port that nobody else holds. `None` when there is none.
    ///
    /// # Errors
    /// System errors that another port would not cure: no descriptors, no such address.
    pub fn bind(&mut self) -> io::Result<Option<(u16, Arc<StampedSocket>)>> {
        let bind = |port| StampedSocket::bind(SocketAddr::new(self.local, port), RECEIVE_BUFFER);
        match self.pool.take(clock::now(), bind) {
            Ok((port, socket)) => Ok(Some((port, Arc::new(socket)))),
            Err(TakeError::Exhausted { .. }) => Ok(None),
            Err(TakeError::Bind { error, .. }) => Err(error),
        }
    }

    /// Gives a port back; it rests behind all the others.
    pub fn give_back(&mut self, port: u16) {
        self.pool.give_back(port);
    }
}
