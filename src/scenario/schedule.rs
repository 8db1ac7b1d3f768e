//! When calls are wanted: the intended times, before anything real has happened.

use std::time::Duration;

use super::values::Rate;

/// When line `line` (from 0) is to place its first call, from the start of the ramp.
pub fn first_attempt(ramp: Rate, line: u32) -> Duration {
    Duration::from_secs_f64(f64::from(line) / ramp.0)
}

/// How long the ramp takes until the last line has been due.
pub fn ramp_duration(ramp: Rate, calls: u32) -> Duration {
    first_attempt(ramp, calls.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_spaced_by_the_rate() {
        assert_eq!(first_attempt(Rate(10.0), 0), Duration::ZERO);
        assert_eq!(first_attempt(Rate(10.0), 49), Duration::from_millis(4900));
        assert_eq!(ramp_duration(Rate(10.0), 50), Duration::from_millis(4900));
        assert_eq!(ramp_duration(Rate(0.5), 1), Duration::ZERO);
    }
}
