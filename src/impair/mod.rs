//! A network made worse on purpose: the fate of each packet, and a line that holds it back.
//!
//! Pure: a seed decides, time comes in as an argument, so that the same run meets the same network.

mod impairer;
mod line;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::values::{Percent, Span};
pub use impairer::{ImpairCounts, Impairer};
pub use line::DelayLine;

/// Impairment of one direction of a stream. Words and behaviour are those of Linux's
/// `tc netem`, but for the order of packets: see [`Impairment::jitter`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Impairment {
    /// Extra one-way delay of every packet.
    pub delay: Span,
    /// Spread of the delay to both sides, evenly, up to `delay` itself. Packets keep their order, as on a path
    /// with one queue.
    // One that drew a shorter delay than the packet before waits for it. (netem, whose default distribution
    // this is, lets it overtake, which adds a reordering that nobody asked for.)
    pub jitter: Span,
    /// Share of packets that are lost.
    pub loss: Percent,
    /// Average number of packets lost in a row; 1 is loss at random.
    // Loss at random already comes in runs of 1 / (1 − `loss`); a number up to that means loss at random. A larger
    // one makes it a Gilbert model: a good state that loses nothing and a bad one that loses everything.
    pub burst: f64,
    /// Share of the packets passed that arrive twice; the copy draws a delay of its own.
    pub duplicate: Percent,
    /// Share of the packets passed that are sent at once, ahead of those still held back. They overtake somebody
    /// only where `delay` exceeds `media.ptime`.
    pub reorder: Percent,
}

impl Default for Impairment {
    /// Nothing happens to any packet: each key by itself is one thing to try.
    fn default() -> Self {
        Impairment {
            delay: Span(Duration::ZERO),
            jitter: Span(Duration::ZERO),
            loss: Percent(0.0),
            // Loss at random, the simplest thing to say about a path.
            burst: 1.0,
            duplicate: Percent(0.0),
            reorder: Percent(0.0),
        }
    }
}

impl Impairment {
    /// True if no packet would notice.
    pub fn is_nothing(&self) -> bool {
        self.delay.0.is_zero() && self.loss.0 <= 0.0 && self.duplicate.0 <= 0.0
    }

    /// The longest that a packet can be held back.
    pub fn longest(&self) -> Duration {
        self.delay.0.saturating_add(self.jitter.min(self.delay).0)
    }
}

/// A direction, seen from the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the driver to Asterisk.
    Out,
    /// From Asterisk to the driver.
    Back,
}

/// The seed of one direction of one call, so that calls meet independent networks and a call meets
/// the same one in every run with the same `seed`.
pub fn stream_seed(seed: u32, direction: Direction, call: u32) -> u64 {
    // An odd factor maps distinct pairs to distinct numbers; this one is 2^64 divided by the golden
    // ratio, whose multiples lie far apart.
    let mixed = (u64::from(seed) << 32 | u64::from(call)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match direction {
        Direction::Out => mixed,
        Direction::Back => !mixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_stream_has_a_seed_of_its_own() {
        let mut seeds = HashSet::new();
        for seed in 0..4 {
            for call in 0..1000 {
                seeds.insert(stream_seed(seed, Direction::Out, call));
                seeds.insert(stream_seed(seed, Direction::Back, call));
            }
        }
        assert_eq!(seeds.len(), 8000);
    }

    #[test]
    fn nothing_is_nothing_and_jitter_counts_up_to_the_delay() {
        assert!(Impairment::default().is_nothing());
        let ms = Duration::from_millis;
        let odd = Impairment { delay: Span(ms(5)), jitter: Span(ms(9)), ..Default::default() };
        assert!(!odd.is_nothing());
        assert_eq!(odd.longest(), ms(10));
    }
}
