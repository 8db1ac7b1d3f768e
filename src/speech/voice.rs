//! Built-in prompts: a voice that sounds like speech and says nothing, so that no recording's licence is in the way.
//!
//! A source-filter synthesis: glottal pulses of a jittered pitch, and noise for the hissing sounds, through resonators at
//! the formants of vowels. Seeded by the prompt's own number: the same samples every time.

use std::f64::consts::{PI, TAU};

use super::Clip;

/// Prompts come at the telephone's rate; [`Clip::at_rate`] has the other.
const RATE_HZ: u32 = 8000;
const SAMPLES_PER_MS: usize = RATE_HZ as usize / 1000;
/// Peak of a prompt, about -6 dBFS.
const PEAK: f64 = 0.5;

/// Somebody who speaks.
struct Voice {
    pitch_hz: f64,
    /// Formants as multiples of those in [`VOWELS`]: a shorter throat has higher ones.
    formants: f64,
}

const CALLER: Voice = Voice { pitch_hz: 118.0, formants: 1.0 };
const BOT: Voice = Voice { pitch_hz: 205.0, formants: 1.15 };

/// One prompt: phrases of so many milliseconds, with so much silence between them.
struct Recipe {
    name: &'static str,
    voice: Voice,
    phrases_ms: &'static [usize],
    pause_ms: usize,
}

const fn recipe(name: &'static str, voice: Voice, phrases_ms: &'static [usize]) -> Recipe {
    Recipe { name, voice, phrases_ms, pause_ms: 600 }
}

const RECIPES: [Recipe; 9] = [
    recipe("hello", CALLER, &[1200]),
    recipe("order", CALLER, &[3000]),
    recipe("question", CALLER, &[2000]),
    recipe("number", CALLER, &[2500]),
    recipe("mhm", CALLER, &[350]),
    recipe("pause", CALLER, &[1100, 1300]),
    recipe("answer", BOT, &[2500]),
    recipe("filler", BOT, &[300]),
    recipe("greeting", BOT, &[1500]),
];

/// Names of the built-in prompts: the caller's, then the bot's `answer`, `filler` and `greeting`.
pub const BUILTIN: [&str; RECIPES.len()] = {
    let mut names = [""; RECIPES.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = RECIPES[n].name;
        n += 1;
    }
    names
};

/// The built-in prompt of this name, at 8000 Hz: voiced from its first to its last sample, no silence in it for 100 ms or
/// longer but the 600 ms in `pause`, its peak at -6 dBFS. `None` for a name that [`BUILTIN`] lacks.
///
/// Synthesised at every call, in a millisecond or two.
pub fn builtin(name: &str) -> Option<Clip> {
    let (number, recipe) = (0u64..).zip(&RECIPES).find(|(_, recipe)| recipe.name == name)?;
    let mut chance = Chance(number);
    let mut samples = Vec::new();
    for &ms in recipe.phrases_ms {
        if !samples.is_empty() {
            samples.resize(samples.len() + recipe.pause_ms * SAMPLES_PER_MS, 0);
        }
        samples.extend(phrase(&recipe.voice, ms * SAMPLES_PER_MS, &mut chance));
    }
    Some(Clip { rate_hz: RATE_HZ, samples })
}

/// First three formants of vowels in Hz, as a man's are; the fourth is the same for all.
const VOWELS: [[f64; 3]; 6] = [
    [730.0, 1090.0, 2440.0],
    [530.0, 1840.0, 2480.0],
    [280.0, 2250.0, 2950.0],
    [490.0, 1350.0, 1690.0],
    [570.0, 850.0, 2410.0],
    [310.0, 900.0, 2240.0],
];
const FOURTH_HZ: f64 = 3400.0;
const BANDWIDTHS_HZ: [f64; 4] = [70.0, 90.0, 130.0, 180.0];
/// Formants move by this share of the way in a sample: 20 ms to the next vowel.
const GLIDE: f64 = 1.0 / (20 * SAMPLES_PER_MS) as f64;
const SYLLABLE_MS: usize = 180;
/// So long does the throat ring up before a phrase.
const LEAD_MS: usize = 150;
/// A hissing sound begins a syllable with so much noise.
const HISS_MS: usize = 60;

/// Uniform chance from a linear congruential generator (Knuth's multiplier).
struct Chance(u64);

impl Chance {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() * n as f64) as usize % n
    }
}

/// A pair of poles, of unit gain for a constant.
#[derive(Default)]
struct Resonator {
    last: [f64; 2],
}

impl Resonator {
    fn ring(&mut self, input: f64, hz: f64, bandwidth_hz: f64) -> f64 {
        let radius = (-PI * bandwidth_hz / f64::from(RATE_HZ)).exp();
        let (b, c) = (2.0 * radius * (TAU * hz / f64::from(RATE_HZ)).cos(), -radius * radius);
        let output = (1.0 - b - c) * input + b * self.last[0] + c * self.last[1];
        self.last = [output, self.last[0]];
        output
    }
}

/// The derivative of the flow through the glottis, `phase` of its period after it closed: a sharp edge, rest, then a slow
/// opening.
fn pulse(phase: f64) -> f64 {
    match phase {
        p if p < 0.08 => -(1.0 - p / 0.08),
        p if p < 0.5 => 0.0,
        // As much up as it went down: no offset.
        p => 0.04 * PI * (PI * (p - 0.5) / 0.5).sin(),
    }
}

/// Loudness of the voice within a syllable: never silent, so that no gap is in a phrase.
fn envelope(part: f64) -> f64 {
    0.45 + 0.55 * (PI * part).sin()
}

/// The throat: formants that move, and the pulses that ring in them.
struct Throat<'a> {
    voice: &'a Voice,
    formants: [f64; 3],
    target: [f64; 3],
    resonators: [Resonator; 4],
    phase: f64,
    /// Jitter of this period's pitch.
    wobble: f64,
    /// Magnitude of late, by which vowels are made equally loud.
    level: f64,
}

impl Throat<'_> {
    /// The next sample, of a mean magnitude of about 1; `melody` scales the pitch.
    fn sound(&mut self, melody: f64, chance: &mut Chance) -> f64 {
        self.phase += self.voice.pitch_hz * melody * self.wobble / f64::from(RATE_HZ);
        if self.phase >= 1.0 {
            self.phase -= 1.0;
            self.wobble = 0.97 + 0.06 * chance.next();
        }
        for (now, goal) in self.formants.iter_mut().zip(self.target) {
            *now += (goal - *now) * GLIDE;
        }
        let mut sound = pulse(self.phase);
        for (k, (resonator, bandwidth)) in self.resonators.iter_mut().zip(BANDWIDTHS_HZ).enumerate() {
            let hz = self.formants.get(k).map_or(FOURTH_HZ, |hz| hz * self.voice.formants);
            sound = resonator.ring(sound, hz, bandwidth);
        }
        self.level += (sound.abs() - self.level) * GLIDE;
        limited(sound / self.level.max(f64::MIN_POSITIVE))
    }
}

/// Softly held below 3: a few peaks would otherwise decide how loud the rest may be.
fn limited(sound: f64) -> f64 {
    3.0 * (sound / 3.0).tanh()
}

/// A phrase of so many samples.
fn phrase(voice: &Voice, len: usize, chance: &mut Chance) -> Vec<i16> {
    let syllables = (len / (SYLLABLE_MS * SAMPLES_PER_MS)).max(1);
    let syllable_len = len.div_ceil(syllables);
    let formants = VOWELS[chance.below(VOWELS.len())];
    let mut throat = Throat {
        voice,
        formants,
        target: formants,
        resonators: Default::default(),
        phase: 0.0,
        wobble: 1.0,
        level: 0.0,
    };
    // It sounds before it is heard: the phrase begins at full voice, with a pulse.
    for _ in 0..LEAD_MS * SAMPLES_PER_MS {
        throat.sound(1.1, chance);
    }
    throat.phase = 0.0;
    let mut is_hiss = false;
    let sample = |n: usize| {
        let within = n % syllable_len;
        if within == 0 && n > 0 {
            throat.target = VOWELS[chance.below(VOWELS.len())];
            is_hiss = chance.next() < 0.4;
        }
        let through = n as f64 / len as f64;
        let melody = 1.1 - 0.2 * through + 0.06 * (TAU * through * syllables as f64 / 3.0).sin();
        let hiss = if is_hiss && within < HISS_MS * SAMPLES_PER_MS { chance.next() - 0.5 } else { 0.0 };
        throat.sound(melody, chance) * envelope(within as f64 / syllable_len as f64) + hiss
    };
    to_peak(&(0..len).map(sample).collect::<Vec<f64>>())
}

/// Samples without offset, the loudest of them at [`PEAK`].
fn to_peak(wave: &[f64]) -> Vec<i16> {
    let offset = wave.iter().sum::<f64>() / wave.len() as f64;
    let loudest = wave.iter().fold(f64::MIN_POSITIVE, |most, value| most.max((value - offset).abs()));
    let scale = PEAK * f64::from(i16::MAX) / loudest;
    wave.iter().map(|value| ((value - offset) * scale).round() as i16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::Loudness;
    use crate::stamp::Stamp;

    fn of(name: &str) -> Clip {
        builtin(name).expect("a built-in prompt")
    }

    fn ms(samples: usize) -> f64 {
        samples as f64 / SAMPLES_PER_MS as f64
    }

    #[test]
    fn lengths_are_those_that_the_documentation_names() {
        let lengths: Vec<_> = BUILTIN.iter().map(|name| (*name, ms(of(name).samples.len()))).collect();
        assert_eq!(
            lengths,
            [
                ("hello", 1200.0),
                ("order", 3000.0),
                ("question", 2000.0),
                ("number", 2500.0),
                ("mhm", 350.0),
                ("pause", 3000.0),
                ("answer", 2500.0),
                ("filler", 300.0),
                ("greeting", 1500.0),
            ]
        );
        assert_eq!(builtin("Hello"), None);
    }

    #[test]
    fn every_prompt_is_voiced_to_its_ends_at_both_rates() {
        for name in BUILTIN {
            for rate_hz in [8000, 16_000] {
                let clip = of(name).at_rate(rate_hz);
                let voiced = clip.voiced().expect("a voice");
                let two_ms = rate_hz as usize / 500;
                assert!(voiced.start <= two_ms, "{name} at {rate_hz}: {voiced:?}");
                assert!(clip.samples.len() - voiced.end <= two_ms, "{name} at {rate_hz}: {voiced:?}");
            }
        }
    }

    #[test]
    fn only_the_one_with_a_pause_has_a_pause() {
        for name in BUILTIN {
            let lengths: Vec<_> = of(name).pauses().iter().map(|gap| ms(gap.len()).round()).collect();
            assert_eq!(lengths, if name == "pause" { vec![600.0] } else { vec![] }, "{name}");
        }
    }

    /// Not by the detector: the quietest 20 ms outside the pause, against the loudest threshold that there is.
    #[test]
    fn no_stretch_inside_is_quiet() {
        for name in BUILTIN {
            let clip = of(name);
            let pauses = clip.pauses();
            for (n, window) in clip.samples.windows(160).enumerate().step_by(8) {
                if pauses.iter().any(|gap| n + 160 > gap.start && n < gap.end) {
                    continue;
                }
                let power = window.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 160.0;
                let db = 10.0 * (power / 32_768f64.powi(2)).log10();
                assert!(db > -35.0, "{name} at {} ms: {db}", ms(n));
            }
        }
    }

    #[test]
    fn the_peak_is_6_db_below_full_scale_and_the_same_every_time() {
        for name in BUILTIN {
            let clip = of(name);
            let peak = clip.samples.iter().map(|s| s.unsigned_abs()).max();
            assert!(peak.is_some_and(|peak| peak.abs_diff(16_384) < 2), "{name}: {peak:?}");
            assert_eq!(clip, of(name));
            let mean = clip.samples.iter().map(|s| f64::from(*s)).sum::<f64>() / clip.samples.len() as f64;
            assert!(mean.abs() < 200.0, "{name} has an offset of {mean}");
        }
    }

    #[test]
    fn prompts_differ_from_one_another() {
        for (n, one) in BUILTIN.iter().enumerate() {
            for other in &BUILTIN[n + 1..] {
                let (a, b) = (of(one).samples, of(other).samples);
                let same = a.iter().zip(&b).filter(|(x, y)| x == y).count();
                assert!(same * 10 < a.len().min(b.len()), "{one} and {other}: {same} samples are the same");
            }
        }
    }

    /// Sent without a packet between: the detector sees them whole even then.
    #[test]
    fn the_detector_finds_them_whole_after_nothing_at_all() {
        for name in BUILTIN {
            let clip = of(name);
            let mut loudness = Loudness::new(RATE_HZ);
            loudness.push(Stamp::ZERO, false, &clip.samples);
            let segments = loudness.segments();
            let (first, last) = (segments.first().expect("a voice"), segments.last().expect("a voice"));
            assert!(first.from.as_ns() < 2_500_000, "{name}: {first:?}");
            assert!(last.to.as_ns() + 2_500_000 > clip.samples.len() as u64 * 125_000, "{name}: {last:?}");
        }
    }
}
