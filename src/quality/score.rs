//! Full-reference speech quality: PESQ, the listening quality of what came back of a call against what was said.
//!
//! The model is that of ITU-T P.862, in the crate `pesq`; this file holds the bounds of its input and the cases in
//! which its score would mislead.

use std::cell::Cell;
use std::panic::{UnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::speech::voiced_parts;

/// Shortest audio worth a score, in seconds. One lost packet of 20 ms costs 0.2 to 0.6 of MOS in 3 s of speech at
/// 8000 Hz, and at most 0.25 in 10 s.
pub const MIN_SECONDS: u32 = 3;

/// Longest audio, in seconds; bounds time and memory.
pub const MAX_SECONDS: u32 = 60;

/// Reason for which there is no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unscorable {
    /// The model knows two rates.
    #[error("audio of {0} Hz, and only audio of 8000 or 16000 Hz has a score")]
    Rate(u32),
    /// Either side is shorter than [`MIN_SECONDS`].
    #[error("less than {MIN_SECONDS} s of audio: a score of so little says nothing")]
    TooShort,
    /// Either side is longer than [`MAX_SECONDS`].
    #[error("more than {MAX_SECONDS} s of audio: score a part of it")]
    TooLong,
    /// No speech in the reference.
    #[error("nobody speaks in the reference")]
    SilentReference,
    /// No speech came back: the model would call digital silence perfect.
    #[error("no speech came back")]
    NothingHeard,
    /// The model found no utterance to compare, or failed on this audio.
    #[error("what came back cannot be matched with the reference")]
    NoMatch,
}

/// MOS-LQO of `heard` against `reference`, both at `rate_hz`: from about 1.0, bad, to that of an exact copy, which is
/// 4.55 at 8000 Hz (P.862 mapped by P.862.1) and 4.64 at 16,000 Hz (P.862.2).
///
/// The two scales are not comparable. Level and delay are aligned before the comparison: they cost nothing, even where the
/// delay changes between utterances. Takes 5 ms and more a second of audio, so it belongs off the media threads.
///
/// # Errors
/// [`Unscorable`] for a rate, a length or a silence outside the validity of the model, and where it finds nothing to compare.
pub fn score(reference: &[i16], heard: &[i16], rate_hz: u32) -> Result<f64, Unscorable> {
    if !matches!(rate_hz, 8000 | 16_000) {
        return Err(Unscorable::Rate(rate_hz));
    }
    let lasts = |seconds: u32| seconds as usize * rate_hz as usize;
    for samples in [reference, heard] {
        if samples.len() < lasts(MIN_SECONDS) {
            return Err(Unscorable::TooShort);
        }
        if samples.len() > lasts(MAX_SECONDS) {
            return Err(Unscorable::TooLong);
        }
    }
    if voiced_parts(reference, rate_hz).is_empty() {
        return Err(Unscorable::SilentReference);
    }
    if voiced_parts(heard, rate_hz).is_empty() {
        return Err(Unscorable::NothingHeard);
    }
    model(reference, heard, rate_hz)
}

/// The model's own score.
fn model(reference: &[i16], heard: &[i16], rate_hz: u32) -> Result<f64, Unscorable> {
    // `pesq` 0.2 indexes out of bounds on one in a few hundred pairs of garbage (its splitting.rs and alignment.rs).
    // A call's audio is hostile, and one bad call is not to end the run. The crate keeps no state but caches of
    // tables, and none of them is being filled where it fails.
    let scored = in_silence(|| {
        if rate_hz == 8000 {
            pesq::pesq_8k(reference, heard).map(|raw| pesq::score::mos_lqo(f64::from(raw)))
        } else {
            pesq::pesq_wb(reference, heard)
        }
    });
    match scored {
        Some(Ok(mos)) if mos.is_finite() => Ok(f64::from(mos)),
        Some(_) | None => Err(Unscorable::NoMatch),
    }
}

thread_local! {
    /// The model is at work on this thread.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}
static HOOK: Once = Once::new();

/// The result of `work`; `None` if it panics, of which nobody is told: that is an outcome here, and would read as a fault of
/// the program.
fn in_silence<T>(work: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    HOOK.call_once(|| {
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            if !AT_WORK.get() {
                tell(panic);
            }
        }));
    });
    AT_WORK.set(true);
    let done = catch_unwind(work).ok();
    AT_WORK.set(false);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::{Clip, builtin};

    /// Four of the built-in prompts with silence around them: 10 s.
    fn speech(rate_hz: u32) -> Vec<i16> {
        let mut samples = vec![0; 2400];
        for name in ["hello", "order", "question", "number"] {
            samples.extend(builtin(name).unwrap().samples);
            samples.extend([0; 2400]);
        }
        Clip { rate_hz: 8000, samples }.at_rate(rate_hz).samples
    }

    /// Numbers that look random, the same ones every time.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    /// The audio with `percent` of its packets of 20 ms replaced by silence.
    fn with_loss(samples: &[i16], rate_hz: u32, percent: u64, seed: u64) -> Vec<i16> {
        let mut chance = Chance(seed);
        let mut lossy = samples.to_vec();
        for packet in lossy.chunks_mut(rate_hz as usize / 50) {
            if chance.below(100) < percent {
                packet.fill(0);
            }
        }
        lossy
    }

    /// The audio with evenly spread noise of this peak.
    fn with_noise(samples: &[i16], peak: u64) -> Vec<i16> {
        let mut chance = Chance(1);
        let noisy =
            |sample: &i16| sample.saturating_add((chance.below(2 * peak) as i64 - peak as i64) as i16);
        samples.iter().map(noisy).collect()
    }

    #[test]
    fn a_copy_scores_the_top_of_its_scale() {
        for (rate_hz, top) in [(8000, 4.5486), (16_000, 4.6439)] {
            let said = speech(rate_hz);
            let mos = score(&said, &said, rate_hz).unwrap();
            assert!((mos - top).abs() < 0.001, "{mos} at {rate_hz} Hz");
        }
    }

    #[test]
    fn delay_and_level_cost_nothing() {
        let said = speech(8000);
        let late: Vec<i16> = std::iter::repeat_n(0, 4000).chain(said.iter().copied()).collect();
        let faint: Vec<i16> = said.iter().map(|sample| sample / 4).collect();
        for heard in [late, faint] {
            let mos = score(&said, &heard, 8000).unwrap();
            assert!(mos > 4.4, "{mos}");
        }
    }

    #[test]
    fn more_loss_scores_less() {
        for rate_hz in [8000, 16_000] {
            let said = speech(rate_hz);
            let mean = |percent| {
                let scores =
                    (1..=3).map(|seed| score(&said, &with_loss(&said, rate_hz, percent, seed), rate_hz));
                scores.map(Result::unwrap).sum::<f64>() / 3.0
            };
            let means = [0, 1, 3, 10, 30].map(mean);
            assert!(means.is_sorted_by(|more, less| more > less), "{means:?} at {rate_hz} Hz");
            assert!(means[3] < means[0] - 1.5, "{means:?} at {rate_hz} Hz");
        }
    }

    #[test]
    fn more_noise_scores_less() {
        let said = speech(8000);
        let scores = [30, 300, 3000].map(|peak| score(&said, &with_noise(&said, peak), 8000).unwrap());
        assert!(scores.is_sorted_by(|more, less| more > less), "{scores:?}");
        assert!(scores[0] > scores[2] + 1.5, "{scores:?}");
    }

    #[test]
    fn other_speech_and_a_stuck_codec_score_the_bottom() {
        let said = speech(8000);
        let mut other = builtin("answer").unwrap().samples;
        other.extend(builtin("greeting").unwrap().samples);
        let stuck = vec![-32_124; said.len()];
        for heard in [other, stuck] {
            let scored = score(&said, &heard, 8000);
            assert!(!matches!(scored, Ok(mos) if mos > 1.5), "{scored:?}");
        }
    }

    #[test]
    fn silence_is_no_score() {
        let said = speech(8000);
        let silence = vec![0; said.len()];
        // The reason for the check: the model has no power to scale the level by, and finds no difference.
        assert!(model(&said, &silence, 8000).is_ok_and(|mos| mos > 4.5));
        assert_eq!(score(&said, &silence, 8000), Err(Unscorable::NothingHeard));
        assert_eq!(score(&silence, &said, 8000), Err(Unscorable::SilentReference));
        let comfort_noise = with_noise(&silence, 3);
        assert_eq!(score(&said, &comfort_noise, 8000), Err(Unscorable::NothingHeard));
    }

    #[test]
    fn rates_and_lengths_are_bounded() {
        let said = speech(8000);
        let long = said.repeat(7);
        assert_eq!(score(&said, &said, 48_000), Err(Unscorable::Rate(48_000)));
        assert_eq!(score(&said, &[], 8000), Err(Unscorable::TooShort));
        assert_eq!(score(&[], &said, 8000), Err(Unscorable::TooShort));
        assert_eq!(score(&said, &said[..23_999], 8000), Err(Unscorable::TooShort));
        assert_eq!(score(&said, &long, 8000), Err(Unscorable::TooLong));
        assert_eq!(score(&long, &said, 8000), Err(Unscorable::TooLong));
    }

    /// Pieces of speech, noise, silence and square waves, 3 to 6 s in all.
    fn garbage(chance: &mut Chance, said: &[i16]) -> Vec<i16> {
        let mut samples = Vec::new();
        while samples.len() < 24_000 {
            let len = 1 + chance.below(12_000) as usize;
            let from = chance.below((said.len() - len) as u64) as usize;
            let period = 4 + chance.below(80) as usize;
            match chance.below(4) {
                0 => samples.extend(vec![0; len]),
                1 => samples.extend((0..len).map(|_| (chance.below(65_536) as i64 - 32_768) as i16)),
                2 => samples
                    .extend((0..len).map(|n| if n % period < period / 2 { i16::MAX } else { i16::MIN })),
                _ => samples.extend(&said[from..from + len]),
            }
        }
        samples
    }

    #[test]
    fn a_failure_of_the_model_is_no_score() {
        let said = speech(8000);
        // Pairs on which `pesq` 0.2 panics, in its splitting.rs and its alignment.rs.
        for seed in [27, 175] {
            let mut chance = Chance(seed);
            let (reference, heard) = (garbage(&mut chance, &said), garbage(&mut chance, &said));
            assert_eq!(score(&reference, &heard, 8000), Err(Unscorable::NoMatch), "seed {seed}");
        }
        assert!(score(&said, &said, 8000).is_ok_and(|mos| mos > 4.5), "and the next call has its score");
    }

    #[test]
    fn garbage_scores_within_the_scale_or_not_at_all() {
        let said = speech(8000);
        let mut chance = Chance(2);
        for _ in 0..10 {
            let (reference, heard) = (garbage(&mut chance, &said), garbage(&mut chance, &said));
            for rate_hz in [8000, 16_000] {
                let scored = score(&reference, &heard, rate_hz);
                assert!(!matches!(scored, Ok(mos) if !(0.9..4.7).contains(&mos)), "{scored:?}");
            }
        }
    }
}
