//! Interarrival jitter of one call.

use std::time::Duration;

use crate::rtp::Codec;
use crate::stamp::Stamp;
use crate::values::Ns;

/// Interarrival jitter (RFC 3550 section 6.4.1 and appendix A.8). It is one source's: another one has a clock of
/// its own, so its jitter begins anew. The source before is remembered, for its last packets may come late, and
/// it may come back.
#[derive(Debug)]
pub(super) struct Jitter {
    ns_per_tick: f64,
    current: Option<Source>,
    former: Option<Source>,
    largest_ns: Option<f64>,
}

/// A clock that is further from the time of arrival than this, in nanoseconds, was set anew.
const SET_ANEW_NS: f64 = 10e9;

/// Packets of one SSRC.
#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: u32,
    /// Arrival and RTP timestamp of its last packet; `None` after a pause.
    last: Option<(Stamp, u32)>,
    /// `None` before its second packet.
    ns: Option<f64>,
}

impl Jitter {
    pub(super) fn new(codec: Codec) -> Self {
        Jitter { ns_per_tick: codec.ns_per_tick(), current: None, former: None, largest_ns: None }
    }

    /// Takes the arrival of a packet of the source `ssrc`.
    pub(super) fn arrive(&mut self, at: Stamp, rtp_timestamp: u32, ssrc: u32) {
        let is_current = |source: &Source| source.ssrc == ssrc;
        if !self.current.as_ref().is_some_and(is_current) {
            std::mem::swap(&mut self.current, &mut self.former);
        }
        let last = Some((at, rtp_timestamp));
        let Some(source) = self.current.as_mut().filter(|source| is_current(source)) else {
            self.current = Some(Source { ssrc, last, ns: None });
            return;
        };
        let Some((before, timestamp)) = std::mem::replace(&mut source.last, last) else { return };
        let ns = source.ns.unwrap_or_default();
        let ticks = f64::from(rtp_timestamp.wrapping_sub(timestamp) as i32);
        let difference = (at.ns_since(before) as f64 - ticks * self.ns_per_tick).abs();
        // No network holds a packet back so long: the source has set its clock anew.
        if difference > SET_ANEW_NS {
            return;
        }
        let ns = ns + (difference - ns) / 16.0;
        source.ns = Some(ns);
        self.largest_ns = Some(self.largest_ns.unwrap_or_default().max(ns));
    }

    /// Notes a pause in what is sent: the time between the packets around it is no jitter.
    pub(super) fn pause(&mut self) {
        for source in [&mut self.current, &mut self.former].into_iter().flatten() {
            source.last = None;
        }
    }

    /// Jitter of the last source that has one.
    pub(super) fn value(&self) -> Option<Ns> {
        let ns = [self.current, self.former].into_iter().find_map(|source| source?.ns);
        ns.map(whole)
    }

    /// The largest that it has been, of any source.
    pub(super) fn largest(&self) -> Option<Ns> {
        self.largest_ns.map(whole)
    }
}

fn whole(ns: f64) -> Ns {
    Ns::from(Duration::from_nanos(ns as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Packets of 20 ms, each with the time by which it is late, its SSRC and where the source's clock began.
    fn jitter(packets: impl IntoIterator<Item = (u64, u32, u32)>) -> Jitter {
        let mut jitter = Jitter::new(Codec::Pcmu);
        for (n, (late_ms, ssrc, clock)) in (0u32..).zip(packets) {
            let at = Stamp::from_ns((1000 + 20 * u64::from(n) + late_ms) * MS);
            jitter.arrive(at, clock.wrapping_add(160 * n), ssrc);
        }
        jitter
    }

    #[test]
    fn it_is_the_average_of_the_standard() {
        // D is 8 ms each time: J goes to 8 ms by a sixteenth of what is missing (RFC 3550 appendix A.8).
        let even = jitter((0..200).map(|n| (n % 2 * 8, 1, 0)));
        assert!((7.99..8.0).contains(&even.value().unwrap().as_ms()), "{even:?}");
        assert_eq!(jitter([(0, 1, 0), (8, 1, 0)]).value(), Some(Ns(MS / 2)));
        assert_eq!((jitter([(0, 1, 0)]).value(), jitter([]).largest()), (None, None));
    }

    #[test]
    fn another_source_begins_anew_and_what_comes_late_of_the_old_one_does_not() {
        let before = (0..100).map(|n| (n % 2 * 8, 1, 0));
        let changed = jitter(before.clone().chain((0..100).map(|_| (0, 2, 807_813_896))));
        assert_eq!(changed.value(), Some(Ns(0)));
        assert!((7.9..8.0).contains(&changed.largest().unwrap().as_ms()), "{changed:?}");
        // The old one's packets among the new one's: each is held against its own clock.
        let mixed = jitter((0..100).map(|n| if n % 7 == 0 { (0, 1, 0) } else { (0, 2, u32::MAX - 5) }));
        assert_eq!((mixed.value(), mixed.largest()), (Some(Ns(0)), Some(Ns(0))));
        // It comes back, and its clock has gone on.
        let back = jitter((0..90).map(|n| if n / 30 == 1 { (0, 2, 99) } else { (0, 1, 0) }));
        assert_eq!((back.value(), back.largest()), (Some(Ns(0)), Some(Ns(0))));
        // One that has sent a single packet has no jitter yet.
        let last = jitter(before.chain([(0, 3, 5)]));
        assert!(last.value().unwrap().as_ms() > 7.9, "{last:?}");
    }

    #[test]
    fn a_pause_is_no_jitter_and_what_was_before_it_stays() {
        let mut jitter = jitter((0..100).map(|n| (n % 2 * 8, 1, 0)));
        let before = jitter.value();
        jitter.pause();
        jitter.arrive(Stamp::from_ns(60_000 * MS), 16_000, 1);
        assert_eq!((jitter.value(), jitter.largest()), (before, before));
        jitter.arrive(Stamp::from_ns(60_020 * MS), 16_160, 1);
        assert!(jitter.value() < before);
    }

    #[test]
    fn a_clock_that_jumps_under_the_same_source_is_jitter_as_the_standard_says() {
        let jumped = jitter((0..100).map(|n| (0, 1, if n < 50 { 0 } else { 8000 })));
        assert!((62.4..=62.5).contains(&jumped.largest().unwrap().as_ms()), "{jumped:?}");
        // Not one that begins somewhere else altogether.
        let set_anew = jitter((0..100).map(|n| (0, 1, if n < 50 { 0 } else { 807_813_896 })));
        assert_eq!(set_anew.largest(), Some(Ns(0)));
    }
}
