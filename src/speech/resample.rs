//! Conversion between the two rates of telephone speech, 8 and 16 kHz.

use std::f64::consts::{PI, TAU};

use super::Clip;

const NARROW_HZ: u32 = 8000;
const WIDE_HZ: u32 = 16_000;
/// Taps on either side of the filter's middle, at the wide rate: 3 ms, so that an edge rings for no longer.
const HALF_TAPS: usize = 48;
/// Middle of the filter's slope, as a share of the wide rate: at the narrow rate's 4 kHz it has fallen.
const CUTOFF: f64 = 3700.0 / WIDE_HZ as f64;

/// `clip` at `rate_hz`, or as it is where the pair of rates is not one of these two.
pub(super) fn at_rate(clip: &Clip, rate_hz: u32) -> Clip {
    match (clip.rate_hz, rate_hz) {
        (WIDE_HZ, NARROW_HZ) => Clip { rate_hz, samples: halve(&clip.samples) },
        (NARROW_HZ, WIDE_HZ) => Clip { rate_hz, samples: double(&clip.samples) },
        _ => clip.clone(),
    }
}

/// A windowed sinc (Hann), of unit gain for a constant.
fn low_pass() -> Vec<f64> {
    let middle = HALF_TAPS as f64;
    let tap = |n: usize| {
        let x = n as f64 - middle;
        let sinc = if x == 0.0 { 2.0 * CUTOFF } else { (TAU * CUTOFF * x).sin() / (PI * x) };
        sinc * 0.5 * (1.0 + (PI * x / (middle + 1.0)).cos())
    };
    let taps: Vec<f64> = (0..=2 * HALF_TAPS).map(tap).collect();
    let gain: f64 = taps.iter().sum();
    taps.iter().map(|tap| tap / gain).collect()
}

fn halve(wide: &[i16]) -> Vec<i16> {
    let taps = low_pass();
    let at = |middle: usize| -> f64 {
        let sample = |n: usize| wide.get(n).copied().map_or(0.0, f64::from);
        let near = taps.iter().enumerate();
        near.filter_map(|(k, tap)| Some(tap * sample((middle + k).checked_sub(HALF_TAPS)?))).sum()
    };
    (0..wide.len()).step_by(2).map(|middle| to_sample(at(middle))).collect()
}

fn double(narrow: &[i16]) -> Vec<i16> {
    let taps = low_pass();
    // Every second sample of the wide signal is zero before the filter: twice the gain, half the taps.
    let at = |middle: usize| -> f64 {
        let first_tap = (middle + HALF_TAPS) % 2;
        let near = taps.iter().enumerate().skip(first_tap).step_by(2);
        let sample = |n: usize| narrow.get(n / 2).copied().map_or(0.0, f64::from);
        near.filter_map(|(k, tap)| Some(2.0 * tap * sample((middle + k).checked_sub(HALF_TAPS)?))).sum()
    };
    (0..narrow.len() * 2).map(|middle| to_sample(at(middle))).collect()
}

fn to_sample(value: f64) -> i16 {
    // `as` saturates.
    value.round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate_hz: u32, hz: f64) -> Clip {
        let at = |n: u32| (10_000.0 * (TAU * hz * f64::from(n) / f64::from(rate_hz)).sin()).round() as i16;
        Clip { rate_hz, samples: (0..rate_hz / 4).map(at).collect() }
    }

    /// Largest difference away from the ends, where the filter looks at samples that are not there.
    fn difference(a: &Clip, b: &Clip) -> i32 {
        assert_eq!((a.rate_hz, a.samples.len()), (b.rate_hz, b.samples.len()));
        let inner = 100..a.samples.len() - 100;
        a.samples[inner.clone()]
            .iter()
            .zip(&b.samples[inner])
            .map(|(x, y)| (i32::from(*x) - i32::from(*y)).abs())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn tones_of_the_telephone_band_keep_level_and_phase() {
        for hz in [100.0, 300.0, 1000.0, 2500.0, 3300.0] {
            let (narrow, wide) = (tone(8000, hz), tone(16_000, hz));
            assert!(difference(&wide.at_rate(8000), &narrow) < 100, "{hz} Hz down");
            assert!(difference(&narrow.at_rate(16_000), &wide) < 100, "{hz} Hz up");
        }
    }

    #[test]
    fn no_alias_comes_down_and_no_image_goes_up() {
        let silence = Clip { rate_hz: 8000, samples: vec![0; 2000] };
        assert!(difference(&tone(16_000, 5000.0).at_rate(8000), &silence) < 50);
        // The image of 3 kHz would be at 5 kHz: the difference to the true tone holds it.
        assert!(difference(&tone(8000, 3000.0).at_rate(16_000), &tone(16_000, 3000.0)) < 100);
    }

    #[test]
    fn the_same_or_an_unknown_rate_changes_nothing() {
        let clip = Clip { rate_hz: 8000, samples: vec![1, 2, 3] };
        assert_eq!(clip.at_rate(8000), clip);
        assert_eq!(clip.at_rate(44_100), clip);
        assert_eq!(clip.at_rate(0), clip);
        let empty = Clip { rate_hz: 8000, samples: vec![] };
        assert_eq!(empty.at_rate(16_000).samples, [0i16; 0]);
        let loud = Clip { rate_hz: 16_000, samples: [i16::MAX, i16::MIN].repeat(3) };
        assert_eq!(loud.at_rate(8000).samples.len(), 3);
    }
}
