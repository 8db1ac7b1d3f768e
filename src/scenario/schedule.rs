//! Intended times of the calls.

use std::time::Duration;

use crate::stamp::Stamp;
use crate::values::Rate;

/// Spaces events so that they never come faster than a rate.
#[derive(Debug, Clone, Copy)]
pub struct Spacing {
    interval: Duration,
    next: Stamp,
}

impl Spacing {
    /// Events at `rate` at the most, the first at `start` at the earliest.
    pub fn new(rate: Rate, start: Stamp) -> Self {
        Spacing { interval: Duration::from_secs_f64(1.0 / rate.0), next: start }
    }

    /// Takes a place for an event that is wanted at `wanted`, and says when it may come.
    pub fn take(&mut self, wanted: Stamp) -> Stamp {
        let at = self.next.max(wanted);
        self.next = at + self.interval;
        at
    }
}

/// Time from the first to the last of `calls` calls at `rate`.
pub fn ramp_duration(rate: Rate, calls: u32) -> Duration {
    Duration::from_secs_f64(f64::from(calls.saturating_sub(1)) / rate.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn events_keep_their_distance_and_idle_time_saves_nothing_up() {
        let mut spacing = Spacing::new(Rate(10.0), ms(0));
        assert_eq!([0, 0, 0].map(|wanted| spacing.take(ms(wanted))), [ms(0), ms(100), ms(200)]);
        assert_eq!([5000, 5000].map(|wanted| spacing.take(ms(wanted))), [ms(5000), ms(5100)]);
    }

    #[test]
    fn the_ramp_ends_with_its_last_call() {
        assert_eq!(ramp_duration(Rate(10.0), 50), Duration::from_millis(4900));
        assert_eq!(ramp_duration(Rate(0.5), 1), Duration::ZERO);
    }
}
