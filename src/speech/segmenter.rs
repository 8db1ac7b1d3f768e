//! Segments of speech in a row of energies, one a step of 2 ms.
//!
//! METRICS, "Conversation": windows of 8 ms every 2 ms, an onset holds for 10 ms, a gap under 200 ms does not end a
//! segment, one shorter than 60 ms is none.

use std::sync::LazyLock;

/// Milliseconds of a step: windows begin so far apart.
pub(super) const STEP_MS: u32 = 2;
/// Steps of a window: 8 ms.
const WINDOW_STEPS: usize = 4;
/// Steps that an onset holds for: 10 ms.
const HOLD_STEPS: u32 = 5;
/// Steps of the shortest gap that ends a segment: 200 ms.
pub(super) const GAP_STEPS: u32 = 100;
/// Steps of the shortest segment: 60 ms.
const SHORTEST_STEPS: u32 = 30;

/// Power of the lowest level, -66 dBFS: digital silence and G.711's idle noise count as it.
pub(super) const LOWEST_DB: f32 = -66.0;
/// Levels to a dB: a byte holds -66 to -2.25 dBFS.
const LEVELS_PER_DB: f32 = 4.0;

/// The level of a power (1 is full scale), as a byte; louder ones count as the highest.
pub(super) fn level_of(power: f32) -> u8 {
    // `as` saturates, also at the logarithm of zero.
    ((10.0 * power.log10() - LOWEST_DB) * LEVELS_PER_DB).round() as u8
}

/// A level in dBFS.
pub(super) fn db_of(level: u8) -> f32 {
    LOWEST_DB + f32::from(level) / LEVELS_PER_DB
}

/// The power of a level: a look-up, since each step asks for it.
pub(super) fn power_at(level: u8) -> f32 {
    static POWERS: LazyLock<[f32; 256]> =
        LazyLock::new(|| std::array::from_fn(|level| power_of(db_of(level as u8))));
    POWERS[usize::from(level)]
}

/// The power of so many dBFS.
pub(super) fn power_of(db: f32) -> f32 {
    10f32.powf(db / 10.0)
}

/// Mean power over the last window.
#[derive(Debug, Clone)]
pub(super) struct Window {
    last: [f32; WINDOW_STEPS],
    at: usize,
}

impl Window {
    /// A window over silence.
    pub(super) fn new() -> Self {
        Window { last: [power_of(LOWEST_DB); WINDOW_STEPS], at: 0 }
    }

    /// Moves on by a step of this power and returns the window's.
    pub(super) fn slide(&mut self, power: f32) -> f32 {
        self.last[self.at] = power;
        self.at = (self.at + 1) % WINDOW_STEPS;
        self.last.iter().sum::<f32>() / WINDOW_STEPS as f32
    }
}

/// A segment in steps: its first, and one past its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Span {
    fn is_speech(self) -> bool {
        self.to - self.from >= SHORTEST_STEPS
    }
}

/// Finds segments, step by step. The threshold may change from step to step.
#[derive(Debug, Clone, Default)]
pub(super) struct Segmenter {
    /// The number of the step that comes next.
    next: u32,
    /// Bit n: the step n before the next had a power over the threshold.
    loud: u8,
    /// Windows in a row over the threshold.
    held: u32,
    /// Step in which the row begins.
    onset: u32,
    open: Option<Span>,
    /// The last segment that is long enough, still open or not.
    last: Option<Span>,
    count: u32,
}

impl Segmenter {
    /// Takes a step of this power, which ends a window of that mean; returns the segment that a new one has closed.
    pub(super) fn step(&mut self, power: f32, window: f32, threshold: f32) -> Option<Span> {
        let at = self.next;
        self.next += 1;
        self.loud = ((self.loud << 1) | u8::from(power >= threshold)) & ((1 << WINDOW_STEPS) - 1);
        if window < threshold || self.loud == 0 {
            self.held = 0;
            return None;
        }
        // The window ends with the onset: the onset is in the first of its steps that is loud by itself.
        let (oldest, newest) = (self.loud.ilog2(), self.loud.trailing_zeros());
        if self.held == 0 {
            self.onset = at.saturating_sub(oldest);
        }
        self.held += 1;
        if self.held < HOLD_STEPS {
            return None;
        }
        let to = at.saturating_sub(newest) + 1;
        self.voice(Span { from: self.onset.min(to), to })
    }

    /// Speech in these steps, which the open segment may hold already.
    fn voice(&mut self, voiced: Span) -> Option<Span> {
        let (span, closed) = match self.open {
            Some(open) if voiced.from.saturating_sub(open.to) < GAP_STEPS => {
                (Span { to: open.to.max(voiced.to), ..open }, None)
            }
            open => (voiced, open.filter(|span| span.is_speech())),
        };
        self.open = Some(span);
        if span.is_speech() {
            let is_new = self.last.is_none_or(|last| last.from != span.from);
            self.count += u32::from(is_new);
            self.last = Some(span);
        }
        closed
    }

    /// Passes over steps of silence that follow a window of silence.
    pub(super) fn skip(&mut self, steps: u32) {
        self.next = self.next.saturating_add(steps);
        self.loud = 0;
        self.held = 0;
    }

    /// The last segment, if it is one.
    pub(super) fn finish(self) -> Option<Span> {
        self.open.filter(|span| span.is_speech())
    }

    /// The current or the last segment.
    pub(super) fn last(&self) -> Option<Span> {
        self.last
    }

    /// Segments so far, the current one included.
    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLD_DB: f32 = -56.0;

    fn spans(levels_db: impl IntoIterator<Item = f32>) -> Vec<(u32, u32)> {
        let (mut window, mut segmenter, mut found) = (Window::new(), Segmenter::default(), Vec::new());
        for db in levels_db {
            let power = power_of(db);
            found.extend(segmenter.step(power, window.slide(power), power_of(THRESHOLD_DB)));
        }
        let count = segmenter.count();
        found.extend(segmenter.finish());
        assert_eq!(found.len() as u32, count);
        found.iter().map(|span| (span.from, span.to)).collect()
    }

    /// Silence and speech in turn, so many steps each.
    fn row(steps: &[usize]) -> Vec<f32> {
        let level = |n: usize| if n.is_multiple_of(2) { LOWEST_DB } else { -20.0 };
        steps.iter().enumerate().flat_map(|(n, &steps)| vec![level(n); steps]).collect()
    }

    #[test]
    fn levels_are_quarters_of_a_decibel() {
        for (power, level) in [(0.0, 0), (1e-9, 0), (power_of(-66.0), 0), (power_of(-65.0), 4), (1.0, 255)] {
            assert_eq!(level_of(power), level);
        }
        assert!((db_of(level_of(power_of(-26.1))) + 26.1).abs() < 0.13);
    }

    #[test]
    fn edges_are_those_of_the_loud_steps() {
        assert_eq!(spans(row(&[50, 40, 200])), [(50, 90)]);
        assert_eq!(spans(row(&[0, 40])), [(0, 40)]);
    }

    #[test]
    fn a_gap_ends_a_segment_from_200_ms_on() {
        assert_eq!(spans(row(&[7, 40, 99, 40, 9])), [(7, 186)]);
        assert_eq!(spans(row(&[7, 40, 100, 40, 9])), [(7, 47), (147, 187)]);
    }

    #[test]
    fn under_60_ms_is_no_speech_and_a_click_ends_no_gap() {
        assert_eq!(spans(row(&[7, 29, 150])), []);
        assert_eq!(spans(row(&[7, 30, 150])), [(7, 37)]);
        // A single loud step fills its window for 8 ms, which is short of 10.
        assert_eq!(spans(row(&[7, 40, 60, 1, 60, 40, 9])), [(7, 47), (168, 208)]);
    }

    proptest! {
        #[test]
        fn segments_are_in_order_apart_and_long_enough(levels in prop::collection::vec(-70f32..0.0, 0..2000)) {
            let found = spans(levels.iter().copied());
            prop_assert!(found.iter().all(|(from, to)| to - from >= SHORTEST_STEPS && *to as usize <= levels.len()));
            prop_assert!(found.windows(2).all(|pair| pair[1].0 - pair[0].1 >= GAP_STEPS));
        }

        #[test]
        fn drawn_segments_come_back(steps in prop::collection::vec((100usize..200, 30usize..90), 1..20)) {
            let steps: Vec<usize> = steps.iter().flat_map(|(gap, voice)| [*gap, *voice]).collect();
            let mut at = 0;
            let drawn: Vec<(u32, u32)> = steps.chunks(2).map(|pair| {
                let from = at + pair[0] as u32;
                at = from + pair[1] as u32;
                (from, at)
            }).collect();
            prop_assert_eq!(spans(row(&steps)), drawn);
        }
    }
}
