//! The detector: loudness of one side of a call over its whole life, and the segments in which it speaks.
//!
//! Samples lie one behind another on a line; silence fills the time in which none came. Each packet anchors its first
//! sample to its receive stamp, and the time of a sample is that of its packet plus its offset in it: no play-out
//! buffer, whose depth would be a guess, delays the ear. Jitter thus moves an edge by the jitter of its own packet.

use std::ops::Range;
use std::time::Duration;

use super::segmenter::{GAP_STEPS, STEP_MS, Segmenter, Span, Window, db_of, level_of, power_at, power_of};
use crate::stamp::Stamp;

/// Speech is so much louder than the floor.
const OVER_FLOOR_DB: f32 = 10.0;
/// A floor above this is no noise: a side that never stops would otherwise be its own floor.
const HIGHEST_FLOOR_DB: f32 = -45.0;
/// One part in so many lies below the floor: the 10th percentile.
const FLOOR_SHARE: u32 = 10;
/// An hour.
const MAX_STEPS: usize = 3600 * 1000 / STEP_MS as usize;
/// An hour of packets of 5 ms.
const MAX_ANCHORS: usize = 3600 * 200;
/// Edges kept to the sample; further ones are kept to the step.
const MAX_EDGES: usize = 65_536;
/// Packets further apart or closer than their samples say by no more than this follow one another.
const TOLERANCE: Duration = Duration::from_millis(1);
/// A gap ends a segment from here on. Also, a packet that RTP's time stamps put directly behind the last one, and that
/// comes so much later than they say, comes after silence: many services stop sending without letting their time stamps
/// run on.
const GAP: Duration = Duration::from_millis((GAP_STEPS * STEP_MS) as u64);

/// A stretch in which somebody speaks, by the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its first voiced sample.
    pub from: Stamp,
    /// The end of its last voiced sample.
    pub to: Stamp,
}

/// The detector's view in mid-call, with the floor so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Live {
    /// Speaking, or silent for less than 200 ms; true from 60 ms after the onset on.
    pub speaking: bool,
    /// The onset of the current or the last segment.
    pub began_at: Option<Stamp>,
    /// The end of its last voiced sample so far.
    pub voiced_until: Option<Stamp>,
    /// Segments so far, the current one included.
    pub segments: u32,
}

/// First sample of a packet, and when it was heard.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    position: u32,
    at: Stamp,
}

/// A step at which the level crosses the threshold, with the first and the last of its samples over it.
#[derive(Debug, Clone, Copy)]
struct Edge {
    step: u32,
    first: u8,
    last: u8,
}

/// The step that is being filled.
#[derive(Debug, Clone, Default)]
struct Step {
    /// Samples in it.
    len: u32,
    squares: u64,
    /// First and last sample over the threshold.
    loud: Option<(u8, u8)>,
}

/// Energies of one side of a call over its whole life, one byte a step of 2 ms.
///
/// Holds an hour, some 5 MB of it for packets of 20 ms, and takes no more from then on: see [`Loudness::is_full`].
#[derive(Debug, Clone)]
pub struct Loudness {
    rate_hz: u32,
    step_len: u32,
    levels: Vec<u8>,
    anchors: Vec<Anchor>,
    edges: Vec<Edge>,
    step: Step,
    /// Loud samples of the step before, if it was over the threshold.
    before: Option<(u8, u8)>,
    window: Window,
    live: Segmenter,
    /// Windows that end in a step with samples, by level.
    heard: [u32; 256],
    heard_count: u32,
    /// Windows that end in a step without.
    unheard: u32,
    is_full: bool,
}

impl Loudness {
    /// Nothing heard yet; `rate_hz` is taken into 8000 to 48,000.
    pub fn new(rate_hz: u32) -> Self {
        let rate_hz = rate_hz.clamp(8000, 48_000);
        Loudness {
            rate_hz,
            step_len: rate_hz * STEP_MS / 1000,
            levels: Vec::new(),
            anchors: Vec::new(),
            edges: Vec::new(),
            step: Step::default(),
            before: None,
            window: Window::new(),
            live: Segmenter::default(),
            heard: [0; 256],
            heard_count: 0,
            unheard: 0,
            is_full: false,
        }
    }

    /// Takes audio whose first sample was heard at `at`.
    ///
    /// With `contiguous`, RTP's time stamps say that it directly follows the audio taken last: jitter of less than
    /// 200 ms then leaves no gap and cuts nothing. Otherwise the time since the last sample is silence, and samples that
    /// overlap it by more than 1 ms are cut. No samples and `contiguous` false: silence up to `at`; to be called
    /// so at the answer and at the end of the call, or the time before the first packet and after the last is no part
    /// of it.
    pub fn push(&mut self, at: Stamp, contiguous: bool, samples: &[i16]) {
        if self.is_full {
            return;
        }
        let late_ns = self.heard_until().map_or(0, |until| at.ns_since(until));
        let follows = late_ns.unsigned_abs() <= TOLERANCE.as_nanos() as u64
            || (contiguous && late_ns < GAP.as_nanos() as i64);
        if !follows && late_ns > 0 {
            self.fill(late_ns.unsigned_abs());
        }
        let early = if follows { 0 } else { self.count(late_ns.min(0).unsigned_abs()) };
        let Some(rest) = samples.get(usize::try_from(early).unwrap_or(usize::MAX)..) else { return };
        if rest.is_empty() && early > 0 {
            return;
        }
        self.anchor(at + self.length(early));
        let threshold = self.threshold();
        // Squares of samples are held against it, of which 32,768 is full scale.
        let loud_from = (f64::from(threshold) * FULL_SCALE) as u64;
        for &sample in rest {
            let square = u64::from(sample.unsigned_abs()).pow(2);
            if square >= loud_from {
                let n = self.step.len as u8;
                self.step.loud = Some((self.step.loud.map_or(n, |(first, _)| first), n));
            }
            self.step.squares += square;
            self.step.len += 1;
            if self.step.len == self.step_len {
                self.end_step(threshold);
            }
        }
    }

    /// The segments so far, by the floor over all of it; in order, and none overlaps another.
    ///
    /// An edge is exact to 2 ms, and to the sample where the floor at the time already was the one of now.
    pub fn segments(&self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for span in self.spans() {
            // Packets that came in a burst were heard at once: the order of their samples is that of the line.
            let from = self.onset(span).max(segments.last().map_or(Stamp::ZERO, |last| last.to));
            segments.push(Segment { from, to: self.end(span).max(from) });
        }
        segments
    }

    /// The floor in dBFS, -66 to -45: the 10th percentile of the windows' energies.
    ///
    /// Of those with audio, if that is noise: a share of time without packets does not make noise speech. Otherwise of
    /// all, so that a service that sends nothing but speech has silence for its floor.
    pub fn floor_db(&self) -> f32 {
        let heard = self.percentile(0);
        let level = if db_of(heard) <= HIGHEST_FLOOR_DB { heard } else { self.percentile(self.unheard) };
        db_of(level).min(HIGHEST_FLOOR_DB)
    }

    /// The view so far, at `now`, which tells silence from a packet that has yet to come.
    pub fn live(&self, now: Stamp) -> Live {
        let Some(span) = self.live.last() else { return Live::default() };
        let began_at = self.onset(span);
        let until = self.end(span).max(began_at);
        Live {
            speaking: now.since(until) < GAP,
            began_at: Some(began_at),
            voiced_until: Some(until),
            segments: self.live.count(),
        }
    }

    /// An hour is full, or its time without packets is: no more audio is taken.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The end of the last packet's last sample.
    fn heard_until(&self) -> Option<Stamp> {
        let anchor = self.anchors.last()?;
        Some(anchor.at + self.length(u64::from(self.position() - anchor.position)))
    }

    /// The number of the sample that comes next. Invariant: an hour of samples fits, at 48 kHz as well.
    fn position(&self) -> u32 {
        self.levels.len() as u32 * self.step_len + self.step.len
    }

    /// Samples in so many nanoseconds.
    fn count(&self, ns: u64) -> u64 {
        let count = (u128::from(ns) * u128::from(self.rate_hz) + NS_PER_S / 2) / NS_PER_S;
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    fn length(&self, samples: u64) -> Duration {
        let ns = u128::from(samples) * NS_PER_S / u128::from(self.rate_hz);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// The next sample is heard at `at`.
    fn anchor(&mut self, at: Stamp) {
        let (position, has_room) = (self.position(), self.anchors.len() < MAX_ANCHORS);
        match self.anchors.last_mut() {
            Some(last) if last.position == position => last.at = at,
            _ if has_room => self.anchors.push(Anchor { position, at }),
            _ => self.is_full = true,
        }
    }

    /// Silence of so many nanoseconds, to the nearest step: a packet behind silence begins a step of its own.
    fn fill(&mut self, ns: u64) {
        let mut samples = self.count(ns);
        if self.step.len > 0 {
            samples = samples.saturating_sub(u64::from(self.step_len - self.step.len));
            self.step.len = self.step_len;
            self.end_step(self.threshold());
        }
        let step_len = u64::from(self.step_len);
        let room = MAX_STEPS.saturating_sub(self.levels.len()) as u64;
        let steps = ((samples + step_len / 2) / step_len).min(room) as u32;
        // The window's last samples slide out of it; then silence is only counted.
        let slides = steps.min(8);
        let threshold = self.threshold();
        for _ in 0..slides {
            self.take_level(0, false, threshold);
        }
        let rest = steps - slides;
        if rest > 0 {
            self.levels.resize(self.levels.len() + rest as usize, 0);
            self.live.skip(rest);
            self.unheard += rest;
        }
        self.is_full |= self.levels.len() >= MAX_STEPS;
    }

    fn end_step(&mut self, threshold: f32) {
        let Step { squares, loud, .. } = std::mem::take(&mut self.step);
        let power = squares as f64 / (f64::from(self.step_len) * FULL_SCALE);
        let level = level_of(power as f32);
        let loud = loud.filter(|_| power_at(level) >= threshold);
        let step = self.levels.len() as u32;
        match (self.before, loud) {
            (None, Some(loud)) => self.edge(step, loud),
            (Some(before), None) => self.edge(step - 1, before),
            _ => {}
        }
        self.take_level(level, true, threshold);
        self.before = loud;
    }

    /// Keeps the loud samples of a step at an edge; its onset may be kept already.
    fn edge(&mut self, step: u32, (first, last): (u8, u8)) {
        let is_kept = self.edges.last().is_some_and(|edge| edge.step == step);
        if !is_kept && self.edges.len() < MAX_EDGES {
            self.edges.push(Edge { step, first, last });
        }
    }

    fn take_level(&mut self, level: u8, is_heard: bool, threshold: f32) {
        if self.levels.len() >= MAX_STEPS {
            self.is_full = true;
            return;
        }
        if !is_heard && let Some(before) = self.before.take() {
            self.edge(self.levels.len() as u32 - 1, before);
        }
        self.levels.push(level);
        let power = power_at(level);
        let window = self.window.slide(power);
        if is_heard {
            self.heard[usize::from(level_of(window))] += 1;
            self.heard_count += 1;
        } else {
            self.unheard += 1;
        }
        self.live.step(power, window, threshold);
    }

    /// The 10th percentile of the windows' levels, `silent` more at the lowest level included.
    fn percentile(&self, silent: u32) -> u8 {
        let (all, mut below) = (self.heard_count + silent, silent);
        for (level, &count) in (0..=u8::MAX).zip(&self.heard) {
            below += count;
            if below > all / FLOOR_SHARE {
                return level;
            }
        }
        0
    }

    /// The power from which on it is speech, by the floor so far.
    fn threshold(&self) -> f32 {
        power_of(self.floor_db() + OVER_FLOOR_DB)
    }

    fn spans(&self) -> Vec<Span> {
        let (mut window, mut segmenter) = (Window::new(), Segmenter::default());
        let threshold = self.threshold();
        let steps = self.levels.iter().map(|&level| power_at(level));
        let mut spans: Vec<Span> =
            steps.filter_map(|power| segmenter.step(power, window.slide(power), threshold)).collect();
        spans.extend(segmenter.finish());
        spans
    }

    fn edge_at(&self, step: u32) -> Option<&Edge> {
        let n = self.edges.binary_search_by_key(&step, |edge| edge.step).ok()?;
        self.edges.get(n)
    }

    fn onset(&self, span: Span) -> Stamp {
        let first = self.edge_at(span.from).map_or(0, |edge| u32::from(edge.first));
        self.stamp(span.from * self.step_len + first, 0)
    }

    fn end(&self, span: Span) -> Stamp {
        let step = span.to.saturating_sub(1);
        let last = self.edge_at(step).map_or(self.step_len - 1, |edge| u32::from(edge.last));
        self.stamp(step * self.step_len + last, 1)
    }

    /// The instant so many samples after the begin of the sample at `position`, by the packet that holds it.
    fn stamp(&self, position: u32, after: u32) -> Stamp {
        let behind = self.anchors.partition_point(|anchor| anchor.position <= position);
        let Some(anchor) = self.anchors.get(behind.saturating_sub(1)) else { return Stamp::ZERO };
        anchor.at + self.length(u64::from(position.saturating_sub(anchor.position) + after))
    }
}

const NS_PER_S: u128 = 1_000_000_000;
/// Square of a full-scale sample.
const FULL_SCALE: f64 = 32_768.0 * 32_768.0;

/// Voiced parts of a clip, to the sample, as they are in a call with silence around it.
pub fn voiced_parts(samples: &[i16], rate_hz: u32) -> Vec<Range<usize>> {
    let mut loudness = Loudness::new(rate_hz);
    loudness.push(Stamp::ZERO, false, &[]);
    loudness.push(Stamp::ZERO + loudness.length(samples.len() as u64), false, samples);
    let lead = loudness.anchors.last().map_or(0, |anchor| anchor.position as usize);
    let step_len = loudness.step_len as usize;
    // The last step counts only when it is full.
    loudness.push(Stamp::ZERO, true, &vec![0; step_len - 1]);
    let loud_from = (f64::from(loudness.threshold()) * FULL_SCALE) as u64;
    let is_loud = |sample: &i16| u64::from(sample.unsigned_abs()).pow(2) >= loud_from;
    let part = |span: Span| {
        let steps = (span.from as usize * step_len).checked_sub(lead)?..(span.to as usize * step_len - lead);
        let within = samples.get(steps.start..steps.end.min(samples.len()))?;
        let (first, last) = (within.iter().position(is_loud)?, within.iter().rposition(is_loud)?);
        Some(steps.start + first..steps.start + last + 1)
    };
    loudness.spans().into_iter().filter_map(part).collect()
}

#[cfg(test)]
mod tests;
