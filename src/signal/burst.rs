//! The bursts: eight letters of 50 ms in an order that call and number decide.
//!
//! A burst has to survive codecs, and voice activity detection and noise suppression on the way, so a letter is made as
//! speech is: harmonics of a gliding pitch under two formants, with some breath, between 300 and 3400 Hz. That its pitch
//! glides and its phases are random keeps the correlation at other delays small. Letters are made once, so that a burst
//! costs the thread that sends it a copy.

use std::f64::consts::{PI, TAU};
use std::sync::LazyLock;

use super::RATE_HZ;

/// Letters of a burst.
const LETTERS: usize = 8;
/// Samples of a letter, 50 ms.
const LETTER_LEN: usize = 400;
/// Samples of a burst, 400 ms.
pub const BURST_LEN: usize = LETTERS * LETTER_LEN;
/// Bits of a burst's code that choose one letter. Two bursts that have six letters of eight in common at one delay would
/// pass for each other: of a thousand million pairs not one.
const BITS: u32 = 6;
const ALPHABET: usize = 1 << BITS;
/// Root mean square of a letter, -18 dBFS: half of the loudest that speech in G.711 has on average.
const LEVEL: f64 = 4125.0;
/// Rise and fall of a letter, 6 ms: no click.
const RAMP: usize = 48;
const LOWEST_HZ: f64 = 320.0;
const HIGHEST_HZ: f64 = 3380.0;
/// Seed of the alphabet.
const SEED: u64 = 0x51_6E_A1;

static LETTER: LazyLock<Vec<[i16; LETTER_LEN]>> =
    LazyLock::new(|| (0..ALPHABET as u64).map(|n| letter(&mut Random(SEED ^ n << 32))).collect());

/// Name of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// Number of the call.
    pub call: u32,
    /// Number of the burst in the call, from 0.
    pub number: u32,
}

impl Burst {
    /// The sample at `index`; silence behind the end.
    pub fn sample(&self, index: usize) -> i16 {
        let place = index / LETTER_LEN;
        if place >= LETTERS {
            return 0;
        }
        let code = mix(u64::from(self.call) << 32 | u64::from(self.number));
        let choice = (code >> (place as u32 * BITS)) as usize % ALPHABET;
        LETTER[choice][index % LETTER_LEN]
    }
}

/// All samples of a burst.
pub fn burst(burst: Burst) -> Vec<i16> {
    (0..BURST_LEN).map(|index| burst.sample(index)).collect()
}

/// A bijection that scatters its input over all bits (the finaliser of SplitMix64).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

struct Random(u64);

impl Random {
    /// 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(1);
        (mix(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, from: f64, to: f64) -> f64 {
        from + self.next() * (to - from)
    }
}

fn letter(random: &mut Random) -> [i16; LETTER_LEN] {
    let from_hz = random.between(95.0, 240.0);
    // Upwards or downwards by a third to two thirds: the period of no pitch lasts.
    let glide = 1.0 + random.between(0.3, 0.6);
    let to_hz = if random.next() < 0.5 { from_hz * glide } else { from_hz / glide };
    let formants = [random.between(350.0, 950.0), random.between(1100.0, 2900.0)];
    let weight = |hz: f64| {
        let near = formants.map(|formant| (-((hz - formant) / 350.0).powi(2)).exp());
        0.15 + near[0] + 0.7 * near[1]
    };
    let phases: Vec<f64> = (0..64).map(|_| random.between(0.0, TAU)).collect();
    let breath: Vec<_> =
        (0..30).map(|_| (random.between(LOWEST_HZ, HIGHEST_HZ), random.between(0.0, TAU))).collect();
    let (seconds, rate) = (LETTER_LEN as f64 / f64::from(RATE_HZ), f64::from(RATE_HZ));
    let mut samples = [0.0; LETTER_LEN];
    for (n, sample) in samples.iter_mut().enumerate() {
        let t = n as f64 / rate;
        let turns = from_hz * t + (to_hz - from_hz) * t * t / (2.0 * seconds);
        let pitch = from_hz + (to_hz - from_hz) * t / seconds;
        let voiced = phases.iter().enumerate().skip(1).map(|(harmonic, phase)| {
            let hz = pitch * harmonic as f64;
            let is_inside = (LOWEST_HZ..=HIGHEST_HZ).contains(&hz);
            if is_inside { weight(hz) * (TAU * turns * harmonic as f64 + phase).sin() } else { 0.0 }
        });
        let hiss = breath.iter().map(|(hz, phase)| (TAU * hz * t + phase).sin());
        *sample = (voiced.sum::<f64>() + 0.12 * hiss.sum::<f64>()) * envelope(n);
    }
    let power = samples.iter().map(|s| s * s).sum::<f64>() / LETTER_LEN as f64;
    let gain = LEVEL * random.between(0.7, 1.2) / power.sqrt();
    samples.map(|sample| (sample * gain).round().clamp(-32_000.0, 32_000.0) as i16)
}

/// Raised cosines at both ends.
fn envelope(n: usize) -> f64 {
    let from_end = n.min(LETTER_LEN - 1 - n);
    if from_end >= RAMP { 1.0 } else { 0.5 - 0.5 * (PI * (from_end as f64 + 0.5) / RAMP as f64).cos() }
}
