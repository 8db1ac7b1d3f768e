//! The bot's ear: energy over a fixed threshold, held for 10 ms; exact to the sample at both edges of clean speech.

use std::time::Duration;

use super::manners::span;
use crate::stamp::Stamp;

/// Silence after which the caller's turn has ended. Built-in prompts have none of 100 ms and longer inside.
pub const TURN_END: Duration = Duration::from_millis(160);

/// Amplitude at -56 dB of full scale, ten above the level that the detector of METRICS.md gives to digital silence.
const AMPLITUDE: u16 = 52;
/// Steps of 2 ms in a window of 8 ms.
const WINDOW: usize = 4;
/// Loud windows, one each step, from the first to that which ends 10 ms after it. A click fills four.
const HELD: u32 = 6;
/// Delay of a packet up to which it still continues the audio before it.
const LATE: Duration = Duration::from_millis(40);

/// Speech in a stretch of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Voiced {
    /// First voiced sample of the run that goes on.
    pub from: Stamp,
    /// End of its last voiced sample so far.
    pub until: Stamp,
}

/// 2 ms of audio.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    samples: u64,
    /// Sum of the squares.
    energy: u64,
    first: Option<Stamp>,
    last: Option<Stamp>,
}

impl Step {
    fn is_loud(steps: &[Step]) -> bool {
        let samples: u64 = steps.iter().map(|step| step.samples).sum();
        let energy: u64 = steps.iter().map(|step| step.energy).sum();
        samples > 0 && energy >= samples * u64::from(AMPLITUDE).pow(2)
    }
}

#[derive(Debug, Clone, Copy)]
struct Run {
    voiced: Voiced,
    windows: u32,
}

/// Detector of speech in one side of a call.
#[derive(Debug)]
pub(super) struct Ear {
    rate_hz: u32,
    /// The latest steps, the oldest first.
    window: [Step; WINDOW],
    /// The step that is filling.
    filling: Step,
    run: Option<Run>,
    end: Option<Stamp>,
}

impl Ear {
    pub fn new(rate_hz: u32) -> Self {
        Ear { rate_hz, window: Default::default(), filling: Step::default(), run: None, end: None }
    }

    /// Takes audio whose first sample was heard at `at`; at most one run of speech is told of, so that callers cut
    /// long audio. Audio that does not follow on that before starts from silence.
    pub fn hear(&mut self, at: Stamp, samples: &[i16]) -> Option<Voiced> {
        if self.end.is_none_or(|end| at > end + LATE) {
            self.window = Default::default();
            self.filling = Step::default();
            self.run = None;
        }
        let mut heard = None;
        for (n, sample) in samples.iter().enumerate() {
            let magnitude = sample.unsigned_abs();
            let step = &mut self.filling;
            step.samples += 1;
            step.energy += u64::from(magnitude).pow(2);
            if magnitude >= AMPLITUDE {
                step.first = step.first.or(Some(at + span(n, self.rate_hz)));
                step.last = Some(at + span(n + 1, self.rate_hz));
            }
            if step.samples >= u64::from(self.rate_hz / 500).max(1) {
                heard = self.step().or(heard);
            }
        }
        self.end = Some(at + span(samples.len(), self.rate_hz));
        heard
    }

    /// Ends a step; speech if it is part of some.
    fn step(&mut self) -> Option<Voiced> {
        self.window.rotate_left(1);
        self.window[WINDOW - 1] = std::mem::take(&mut self.filling);
        if !Step::is_loud(&self.window) {
            self.run = None;
            return None;
        }
        // A loud window holds a loud step, and a loud step a sample over the threshold.
        let first = self.window.iter().find(|step| Step::is_loud(&[**step])).and_then(|step| step.first)?;
        let last = self.window.iter().filter_map(|step| step.last).next_back()?;
        let run = self.run.get_or_insert(Run { voiced: Voiced { from: first, until: last }, windows: 0 });
        run.voiced.until = run.voiced.until.max(last);
        run.windows = run.windows.saturating_add(1);
        (run.windows >= HELD).then_some(run.voiced)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(us: u64) -> Stamp {
        Stamp::from_ns(1_000_000_000 + us * 1000)
    }

    /// A tone of so many samples; loud at each of them.
    fn tone(samples: usize) -> Vec<i16> {
        (0..samples).map(|n| if n % 2 == 0 { 8000 } else { -8000 }).collect()
    }

    /// Hears audio in packets of so many samples; the first and last speech told of.
    fn hear(ear: &mut Ear, start_us: u64, samples: &[i16], packet: usize) -> Vec<Voiced> {
        let mut start = at(start_us);
        let mut told = Vec::new();
        for part in samples.chunks(packet) {
            told.extend(ear.hear(start, part));
            start += span(part.len(), ear.rate_hz);
        }
        told
    }

    #[test]
    fn clicks_and_idle_noise_are_no_speech() {
        let mut audio = vec![8i16; 800];
        audio[400] = 32_000;
        audio[401] = i16::MIN;
        audio[600..616].fill(20_000);
        assert_eq!(hear(&mut Ear::new(8000), 0, &audio, 160), []);
    }

    #[test]
    fn audio_after_a_break_is_new() {
        let mut ear = Ear::new(8000);
        assert_eq!(hear(&mut ear, 0, &tone(80), 80), [], "10 ms, held for less");
        assert_eq!(hear(&mut ear, 100_000, &tone(80), 80), []);
        let told = hear(&mut ear, 130_000, &tone(160), 160);
        assert_eq!(told, [Voiced { from: at(100_000), until: at(150_000) }], "20 ms late is no break");
    }

    proptest! {
        #[test]
        fn edges_are_exact(
            before in 0usize..700, voiced in 160usize..2000, packet in 1usize..500, is_wide: bool, start_us in 0u64..100,
        ) {
            let rate = if is_wide { 16_000 } else { 8_000 };
            let mut audio = vec![0; before];
            audio.extend(tone(voiced));
            audio.resize(audio.len() + 700, 0);
            let told = hear(&mut Ear::new(rate), start_us, &audio, packet);
            let last = told.last().expect("speech");
            let us = |samples: usize| samples as f64 * 1e6 / f64::from(rate);
            let off = |stamp: Stamp, samples| stamp.ns_since(at(start_us)) as f64 / 1e3 - us(samples);
            prop_assert!(off(last.from, before).abs() < 1.0, "{}", off(last.from, before));
            prop_assert!(off(last.until, before + voiced).abs() < 1.0, "{}", off(last.until, before + voiced));
        }

        #[test]
        fn no_audio_makes_it_panic(
            rate in any::<u32>(), parts in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<i16>(), 0..99)), 0..9),
        ) {
            let mut ear = Ear::new(rate);
            for (ns, samples) in parts {
                let _ = ear.hear(Stamp::from_ns(ns), &samples);
            }
        }
    }
}
