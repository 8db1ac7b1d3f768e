//! A point in time as a plain value, so that pure code can take the time as an argument.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds since the Unix epoch on CLOCK_REALTIME, the clock of the kernel's receive stamps.
///
/// Arithmetic saturates: a stamp that arrived from a socket may hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// The epoch itself; in tests the start of virtual time.
    pub const ZERO: Stamp = Stamp(0);

    /// A stamp from nanoseconds since the Unix epoch.
    pub const fn from_ns(ns: u64) -> Self {
        Stamp(ns)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this stamp; zero if `earlier` is later.
    pub const fn since(self, earlier: Stamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Signed nanoseconds from `earlier` to this stamp.
    pub const fn ns_since(self, earlier: Stamp) -> i64 {
        let (later, sign) =
            if self.0 >= earlier.0 { (self.0 - earlier.0, 1) } else { (earlier.0 - self.0, -1) };
        if later > i64::MAX as u64 { i64::MAX * sign } else { later as i64 * sign }
    }
}

impl Add<Duration> for Stamp {
    type Output = Stamp;
    fn add(self, d: Duration) -> Stamp {
        Stamp(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Stamp {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Stamp {
    type Output = Stamp;
    fn sub(self, d: Duration) -> Stamp {
        Stamp(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let end = Stamp::from_ns(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Stamp::ZERO - Duration::from_secs(1), Stamp::ZERO);
        assert_eq!(end.ns_since(Stamp::ZERO), i64::MAX);
        assert_eq!(Stamp::ZERO.ns_since(end), -i64::MAX);
        assert_eq!(Stamp::from_ns(5).ns_since(Stamp::from_ns(8)), -3);
    }
}
