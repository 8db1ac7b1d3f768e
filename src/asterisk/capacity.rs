//! How many calls a range of RTP ports and a number of file descriptors carry.
//!
//! Asterisk must never run out of RTP ports on an externalMedia leg: it crashes then
//! (asterisk/asterisk#1757). So this is asked before the first call is placed.

use std::ops::RangeInclusive;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// RTP instances of a call: the caller's leg and the externalMedia leg.
pub const RTP_INSTANCES_PER_CALL: u32 = 2;

/// File descriptors of a call: RTP, RTCP and alert pipes of two channels, and its timer.
pub const DESCRIPTORS_PER_CALL: u64 = 9;

/// File descriptors that Asterisk has open without a call, and some for ARI connections.
pub const DESCRIPTORS_BESIDES: u64 = 100;

/// The highest limit that Asterisk is given: it walks all of them when it forks.
const DESCRIPTORS_MAX: u64 = 65_536;

/// Calls that Asterisk can carry at once with these RTP ports.
///
/// An RTP instance takes an even port and the odd one above it for RTCP; an odd first port is
/// rounded up (`res_rtp_asterisk.c`). With an even last port Asterisk would also bind the RTCP port
/// just outside the range; that pair is not counted.
pub fn calls_for_ports(ports: RangeInclusive<u16>) -> u32 {
    let first = u32::from(*ports.start()).next_multiple_of(2);
    let last = u32::from(*ports.end());
    let pairs = (last + 1).saturating_sub(first) / 2;
    pairs / RTP_INSTANCES_PER_CALL
}

/// The number of ports that carry `calls` at once, from an even first port.
pub fn ports_for_calls(calls: u32) -> u32 {
    calls.saturating_mul(RTP_INSTANCES_PER_CALL).saturating_mul(2)
}

/// File descriptors that Asterisk needs for `calls` at once.
pub fn descriptors_for_calls(calls: u32) -> u64 {
    u64::from(calls) * DESCRIPTORS_PER_CALL + DESCRIPTORS_BESIDES
}

/// Calls that Asterisk can carry at once with this many file descriptors.
pub fn calls_for_descriptors(descriptors: u64) -> u32 {
    let calls = descriptors.saturating_sub(DESCRIPTORS_BESIDES) / DESCRIPTORS_PER_CALL;
    u32::try_from(calls).unwrap_or(u32::MAX)
}

/// The descriptor limit that a managed Asterisk gets: the hard limit (`ulimit -Hn`), within reason.
pub fn descriptors_for_asterisk() -> u64 {
    // Invariant of the kernel: reading a resource limit that exists does not fail; 1024 is the usual one.
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard);
    hard.min(DESCRIPTORS_MAX)
}

/// Raises this process's own descriptor limit to its hard limit and returns what it is then.
///
/// # Errors
/// The kernel's refusal; the limit is then what it was.
pub fn raise_descriptors() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(DESCRIPTORS_MAX).max(soft);
    if wanted > soft {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn two_even_ports_a_call() {
        assert_eq!(calls_for_ports(10_000..=20_000), 2500);
        assert_eq!(calls_for_ports(10_000..=10_003), 1);
        assert_eq!(calls_for_ports(10_000..=10_002), 0);
        assert_eq!(calls_for_ports(10_001..=10_004), 0);
        assert_eq!(calls_for_ports(10_001..=10_005), 1);
        assert_eq!(calls_for_ports(0..=u16::MAX), 16_384);
        assert_eq!(calls_for_ports(u16::MAX..=u16::MAX), 0);
        assert_eq!(calls_for_ports(20_000..=10_000), 0);
    }

    #[test]
    fn the_number_that_would_do_does() {
        for calls in [1, 50, 2500] {
            let last = 10_000 + ports_for_calls(calls) - 1;
            assert_eq!(calls_for_ports(10_000..=last as u16), calls);
            assert_eq!(calls_for_descriptors(descriptors_for_calls(calls)), calls);
        }
        assert_eq!(calls_for_descriptors(7), 0);
        assert_eq!(calls_for_descriptors(u64::MAX), u32::MAX);
    }
}
