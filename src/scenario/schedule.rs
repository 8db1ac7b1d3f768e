//! Intended times of the calls.

use std::time::Duration;

use crate::shard::Shard;
use crate::stamp::Stamp;
use crate::values::Ramp;

/// Spaces events so that they never come faster than a rate.
#[derive(Debug, Clone, Copy)]
pub struct Spacing {
    interval: Duration,
    next: Stamp,
}

impl Spacing {
    /// `calls` events on a ramp, the first at `start` at the earliest. Later ones come no faster.
    pub fn new(ramp: Ramp, calls: u32, start: Stamp) -> Self {
        Spacing { interval: interval(ramp, calls), next: start }
    }

    /// A shard's part of `calls` events on a ramp: every N-th of their places, beginning with number `first`.
    pub fn dealt(ramp: Ramp, calls: u32, start: Stamp, shard: Shard, first: u32) -> Self {
        let each = interval(ramp, calls);
        Spacing { interval: each.saturating_mul(shard.count), next: start + each.saturating_mul(first) }
    }

    /// Takes a place for an event that is wanted at `wanted`, and says when it may come.
    pub fn take(&mut self, wanted: Stamp) -> Stamp {
        let at = self.next.max(wanted);
        self.next = at + self.interval;
        at
    }
}

/// Time from one of `calls` calls on a ramp to the next.
fn interval(ramp: Ramp, calls: u32) -> Duration {
    match ramp {
        Ramp::At(rate) => Duration::from_secs_f64(1.0 / rate.0),
        Ramp::Within(span) => span.0 / calls.max(1),
    }
}

/// Time from the first to the last of `calls` calls on a ramp.
pub fn ramp_duration(ramp: Ramp, calls: u32) -> Duration {
    let last = calls.saturating_sub(1);
    match ramp {
        Ramp::At(rate) => Duration::from_secs_f64(f64::from(last) / rate.0),
        Ramp::Within(_) => interval(ramp, calls).saturating_mul(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Rate, Span};

    fn at(rate: f64) -> Ramp {
        Ramp::At(Rate(rate))
    }

    fn ms(ms: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn events_keep_their_distance_and_idle_time_saves_nothing_up() {
        let mut spacing = Spacing::new(at(10.0), 1, ms(0));
        assert_eq!([0, 0, 0].map(|wanted| spacing.take(ms(wanted))), [ms(0), ms(100), ms(200)]);
        assert_eq!([5000, 5000].map(|wanted| spacing.take(ms(wanted))), [ms(5000), ms(5100)]);
    }

    #[test]
    fn the_ramp_ends_with_its_last_call() {
        assert_eq!(ramp_duration(at(10.0), 50), Duration::from_millis(4900));
        assert_eq!(ramp_duration(at(0.5), 1), Duration::ZERO);
        let within = Ramp::Within(Span(Duration::from_secs(5)));
        assert_eq!(ramp_duration(within, 50), Duration::from_millis(4900));
        assert_eq!(ramp_duration(within, 0), Duration::ZERO);
        let mut spacing = Spacing::new(within, 50, ms(0));
        assert_eq!([0, 0].map(|wanted| spacing.take(ms(wanted))), [ms(0), ms(100)]);
    }
}
