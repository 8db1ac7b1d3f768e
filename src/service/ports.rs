//! The pool of UDP ports that calls' media arrives on.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::stats::PortCounts;
use crate::stamp::Stamp;
use crate::values::PortRange;

/// How long a port that another program held is passed over before it is tried again.
const HELD_FOR: Duration = Duration::from_secs(60);

/// The line about an exhausted pool is not repeated more often than this.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The free ports of a range, the longest unused first: a port rests as long as the pool allows
/// before it carries another call, so that stragglers of the last call find nobody.
///
/// Odd ports are used as well as even ones, since these streams have no RTCP beside them.
#[derive(Debug)]
pub struct PortPool {
    range: PortRange,
    free: VecDeque<u16>,
    /// Ports that another program held when they were last tried, and when to try them again.
    held: VecDeque<(Stamp, u16)>,
    in_use: usize,
    reported_at: Option<Stamp>,
    refused: u64,
    unreported: u64,
}

/// Why no port could be taken.
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
    /// A pool in which every port of `range` is free.
    pub fn new(range: PortRange) -> Self {
        let free = (range.from..=range.to).collect();
        PortPool {
            range,
            free,
            held: VecDeque::new(),
            in_use: 0,
            reported_at: None,
            refused: 0,
            unreported: 0,
        }
    }

    /// The whole range.
    pub fn range(&self) -> PortRange {
        self.range
    }

    /// How many ports are what.
    pub fn counts(&self) -> PortCounts {
        PortCounts {
            in_use: self.in_use as u64,
            free: self.free.len() as u64,
            held_by_others: self.held.len() as u64,
            refused: self.refused,
        }
    }

    /// Whether the next call will be refused.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Takes the port that has been free the longest and that `bind` can bind.
    ///
    /// A port that another program holds (`AddrInUse`) is passed over, and not tried again for a
    /// while: each is tried once a minute at most, which keeps taking O(1) on average.
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
        let error = loop {
            let Some(port) = self.free.pop_front() else {
                break TakeError::Exhausted { range: self.range, in_use: self.in_use, held: self.held.len() };
            };
            match bind(port) {
                Ok(socket) => {
                    self.in_use += 1;
                    return Ok((port, socket));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    self.held.push_back((now + HELD_FOR, port));
                }
                Err(error) => {
                    self.free.push_front(port);
                    break TakeError::Bind { port, error };
                }
            }
        };
        self.refused += 1;
        self.unreported += 1;
        Err(error)
    }

    /// How many calls were refused since this was last asked and answered; `None` when that was a
    /// moment ago, so that a full pool is reported once in a while and not for every call.
    pub fn refusals_to_report(&mut self, now: Stamp) -> Option<u64> {
        let lately = self.reported_at.is_some_and(|at| now.since(at) < REPORT_EVERY);
        if lately || self.unreported == 0 {
            return None;
        }
        self.reported_at = Some(now);
        Some(std::mem::take(&mut self.unreported))
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
        PortPool::new(range.parse().unwrap())
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
        assert_eq!(pool.counts(), PortCounts { in_use: 3, ..Default::default() });
    }

    #[test]
    fn exhaustion_is_said_once_with_a_count() {
        let mut pool = pool("21000-21100");
        for _ in 0..101 {
            assert!(take(&mut pool, at(0)).is_some());
        }
        let mut said = Vec::new();
        for second in 0..=12 {
            let error = pool.take(at(second), |_| Ok(())).unwrap_err();
            assert_eq!(error.to_string(), "no ports available in 21000-21100: 101 in use");
            said.extend(pool.refusals_to_report(at(second)));
        }
        assert_eq!(said, [1, 10]);
        assert_eq!(pool.counts().refused, 13);
        pool.give_back(21007);
        assert_eq!(take(&mut pool, at(13)), Some(21007));
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
