//! The only reader of time: wall stamps for measuring, the monotonic clock for waiting.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

use crate::stamp::Stamp;

fn read(clock: ClockId) -> u64 {
    // Invariant: these clocks exist on every Linux, so reading them cannot fail.
    let t = clock_gettime(clock).expect("clock_gettime on a clock that Linux always has");
    t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
}

/// The time now, on the clock that the kernel stamps received packets with.
pub fn now() -> Stamp {
    Stamp::from_ns(read(ClockId::CLOCK_REALTIME))
}

/// CPU time that the calling thread has used so far.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(read(ClockId::CLOCK_THREAD_CPUTIME_ID))
}

/// CPU time that the whole process has used so far.
pub fn process_cpu() -> Duration {
    Duration::from_nanos(read(ClockId::CLOCK_PROCESS_CPUTIME_ID))
}

/// The deadline as tokio's timers want it. Tokio steps by 1 ms: for signalling, never for media.
pub fn tokio_deadline(at: Stamp) -> tokio::time::Instant {
    tokio::time::Instant::now() + at.since(now())
}

/// Maps wall stamps to the monotonic clock, so that waiting is immune to steps of the wall clock.
///
/// Both clocks are slewed alike; they part only when somebody sets the time. The offset is taken
/// once; [`Timeline::step_ns`] is the way that the wall clock has been moved since.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    offset_ns: u64,
}

impl Timeline {
    /// Takes the offset between the two clocks now.
    pub fn start() -> Self {
        Timeline { offset_ns: offset_ns() }
    }

    /// The wall time now as this timeline counts it: unmoved by later steps.
    pub fn now(&self) -> Stamp {
        Stamp::from_ns(read(ClockId::CLOCK_MONOTONIC) + self.offset_ns)
    }

    /// The deadline as tokio's timers want it. Tokio steps by 1 ms: for signalling, never for media.
    pub fn tokio_deadline(&self, at: Stamp) -> tokio::time::Instant {
        tokio::time::Instant::now() + at.since(self.now())
    }

    /// A stamp of the wall clock, which was set by `step_ns` since the start, as this timeline counts.
    pub fn unstepped(at: Stamp, step_ns: i64) -> Stamp {
        let ns = at.as_ns();
        Stamp::from_ns(match u64::try_from(step_ns) {
            Ok(forward) => ns.saturating_sub(forward),
            Err(_) => ns.saturating_add(step_ns.unsigned_abs()),
        })
    }

    /// Nanoseconds by which the wall clock was set forward (or, negative, back) since the start.
    pub fn step_ns(&self) -> i64 {
        offset_ns() as i64 - self.offset_ns as i64
    }

    /// Sleeps until `spin` before `at`, then spins until `at`. Returns at once for a time gone by.
    pub fn sleep_until(&self, at: Stamp, spin: Duration) {
        let wake = (at - spin).as_ns().saturating_sub(self.offset_ns);
        if wake > read(ClockId::CLOCK_MONOTONIC) {
            let until = TimeSpec::new((wake / 1_000_000_000) as i64, (wake % 1_000_000_000) as i64);
            // An interrupted sleep ends early; the spin below covers what is left of it.
            let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until);
        }
        while self.now() < at {
            std::hint::spin_loop();
        }
    }
}

fn offset_ns() -> u64 {
    // The tightest of a few readings: a preemption between the two reads would pass for a step.
    let mut best = (u64::MAX, 0);
    for _ in 0..5 {
        let before = read(ClockId::CLOCK_MONOTONIC);
        let wall = read(ClockId::CLOCK_REALTIME);
        let width = read(ClockId::CLOCK_MONOTONIC) - before;
        if width < best.0 {
            best = (width, wall.saturating_sub(before + width / 2));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_never_ends_before_the_deadline() {
        let line = Timeline::start();
        for spin_us in [0, 50] {
            let at = line.now() + Duration::from_micros(700);
            line.sleep_until(at, Duration::from_micros(spin_us));
            assert!(line.now() >= at);
        }
    }
}
