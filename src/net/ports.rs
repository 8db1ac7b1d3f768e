//! A pool of UDP ports for the media of calls.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::stamp::Stamp;
use crate::values::PortRange;

/// The free ports of a range, the longest unused first: a port rests as long as the pool allows
/// before it carries another call, so that stragglers of the last call find nobody.
#[derive(Debug)]
pub struct PortPool {
    range: PortRange,
    retry_after: Duration,
    free: VecDeque<u16>,
    /// Ports that another program held when they were last tried, and when to try them again.
    held: VecDeque<(Stamp, u16)>,
    in_use: usize,
}

/// A call is left without a port.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// None is free.
    #[error("no ports available in {range}: {in_use} in use{}", held_by_others(*.held))]
    Exhausted {
        /// The whole range.
        range: PortRange,
        /// Ports that calls hold.
        in_use: usize,
        /// Ports that other programs hold.
        held: usize,
    },
    /// A free port could not be bound for a reason that no other port would cure, such as a lack of
    /// descriptors.
    #[error("cannot bind port {port}: {error}")]
    Bind {
        /// The port, which is free again.
        port: u16,
        /// The system's reason.
        error: io::Error,
    },
}

fn held_by_others(held: usize) -> String {
    if held == 0 { String::new() } else { format!(", {held} held by other programs") }
}

impl PortPool {
    /// A pool in which every port of `range` is free. A port that another program holds is tried again
    /// after `retry_after`.
    pub fn new(range: PortRange, retry_after: Duration) -> Self {
        let free = (range.from..=range.to).collect();
        PortPool { range, retry_after, free, held: VecDeque::new(), in_use: 0 }
    }

    /// The same without the odd ports, which RTP leaves to RTCP (RFC 3550 section 11).
    pub fn even(mut self) -> Self {
        self.free.retain(|port| port % 2 == 0);
        self
    }

    /// The whole range.
    pub fn range(&self) -> PortRange {
        self.range
    }

    /// Ports that calls hold.
    pub fn in_use(&self) -> u64 {
        self.in_use as u64
    }

    /// Ports that can be taken.
    pub fn free(&self) -> u64 {
        self.free.len() as u64
    }

    /// Ports that other programs held when they were last tried.
    pub fn held_by_others(&self) -> u64 {
        self.held.len() as u64
    }

    /// Takes the port that has been free the longest and that `bind` can bind.
    ///
    /// A port that another program holds (`AddrInUse`) is passed over, and not tried again for a
    /// while, which keeps taking O(1) on average.
    ///
    /// # Errors
    /// [`TakeError`].
    pub fn take<S>(
        &mut self,
        now: Stamp,
        mut bind: impl FnMut(u16) -> io::Result<S>,
    ) -> Result<(u16, S), TakeError> {
        while let Some((_, port)) = self.held.front().copied().filter(|(again_at, _)| *again_at <= now) {
            self.held.pop_front();
            self.free.push_back(port);
        }
        loop {
            let Some(port) = self.free.pop_front() else {
                let (in_use, held) = (self.in_use, self.held.len());
                return Err(TakeError::Exhausted { range: self.range, in_use, held });
            };
            match bind(port) {
                Ok(socket) => {
                    self.in_use += 1;
                    return Ok((port, socket));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    self.held.push_back((now + self.retry_after, port));
                }
                Err(error) => {
                    self.free.push_front(port);
                    return Err(TakeError::Bind { port, error });
                }
            }
        }
    }

    /// Gives back a port that was taken, after its socket was closed.
    pub fn give_back(&mut self, port: u16) {
        self.in_use = self.in_use.saturating_sub(1);
        self.free.push_back(port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Stamp {
        Stamp::ZERO + Duration::from_secs(s)
    }

    fn pool(range: &str) -> PortPool {
        PortPool::new(range.parse().unwrap(), Duration::from_secs(60))
    }

    fn take(pool: &mut PortPool, now: Stamp) -> Option<u16> {
        pool.take(now, |_| Ok(())).ok().map(|(port, ())| port)
    }

    #[test]
    fn a_released_port_rests_behind_all_others() {
        let mut pool = pool("2100-2102");
        assert_eq!(take(&mut pool, at(0)), Some(2100));
        pool.give_back(2100);
        let next: Vec<_> = (0..3).map(|_| take(&mut pool, at(0)).unwrap()).collect();
        assert_eq!(next, [2101, 2102, 2100]);
        assert_eq!((pool.in_use(), pool.free(), pool.held_by_others()), (3, 0, 0));
    }

    #[test]
    fn an_exhausted_pool_says_what_it_holds_and_an_even_one_leaves_every_other_port() {
        let mut pool = pool("21000-21100").even();
        assert_eq!(pool.free(), 51);
        for _ in 0..51 {
            assert!(take(&mut pool, at(0)).is_some_and(|port| port % 2 == 0));
        }
        let error = pool.take(at(0), |_| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "no ports available in 21000-21100: 51 in use");
        pool.give_back(21008);
        assert_eq!(take(&mut pool, at(13)), Some(21008));
    }

    #[test]
    fn a_port_that_another_program_holds_is_remembered_and_retried_later() {
        let mut pool = pool("2100-2102");
        let tries = std::cell::RefCell::new(Vec::new());
        let bind = |port| {
            tries.borrow_mut().push(port);
            if port == 2100 { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(()) }
        };
        assert_eq!(pool.take(at(0), bind).unwrap().0, 2101);
        assert_eq!(pool.take(at(1), bind).unwrap().0, 2102);
        let error = pool.take(at(2), bind).unwrap_err();
        assert_eq!(error.to_string(), "no ports available in 2100-2102: 2 in use, 1 held by other programs");
        assert!(pool.take(at(61), bind).is_err());
        assert_eq!(*tries.borrow(), [2100, 2101, 2102, 2100]);
        assert_eq!(pool.take(at(200), |_| Ok(())).unwrap().0, 2100);
    }

    #[test]
    fn another_reason_costs_no_port() {
        let mut pool = pool("2100-2100");
        let error = pool.take(at(0), |_| Err::<(), _>(io::Error::from_raw_os_error(24))).unwrap_err();
        assert!(matches!(error, TakeError::Bind { port: 2100, .. }));
        assert_eq!(pool.take(at(0), |_| Ok(())).unwrap().0, 2100);
    }
}
