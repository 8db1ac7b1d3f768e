//! Passages to read aloud: prompts, joined with pauses to passages that are long enough for a score.

use super::RATE_HZ;
use crate::speech::Clip;

/// Longest prompt, in seconds: with it a passage stays within the 30 s for which the model was validated.
pub const LONGEST_PROMPT_SECONDS: usize = 20;
/// Shortest passage, pauses included. P.862.3 wants 8 s and more.
const LEAST_SAMPLES: usize = 8 * RATE_HZ as usize;
/// Silence around each prompt: 300 ms.
const PAUSE_SAMPLES: usize = 3 * RATE_HZ as usize / 10;
/// More than anybody lists.
const MOST_PROMPTS: usize = 100;

/// Reason for which prompts make no passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is none.
    #[error("there is nothing to read")]
    Nothing,
    /// There are more than 100.
    #[error("{0} prompts are listed, of at most {MOST_PROMPTS}")]
    TooMany(usize),
    /// The prompt at this place is silent.
    #[error("prompt {0} is silent")]
    Silent(usize),
    /// The prompt at this place is longer than [`LONGEST_PROMPT_SECONDS`].
    #[error("prompt {0} is longer than {LONGEST_PROMPT_SECONDS} s")]
    TooLong(usize),
}

/// Passages, which are read in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passages(Vec<Vec<i16>>);

impl Passages {
    /// Joins prompts, in turn and each at least once, to passages of 8 s and more: those of a short list are said again.
    ///
    /// # Errors
    /// None, too many, or one that is silent or too long.
    pub fn join(prompts: &[Clip]) -> Result<Passages, Unreadable> {
        match prompts.len() {
            0 => return Err(Unreadable::Nothing),
            n if n > MOST_PROMPTS => return Err(Unreadable::TooMany(n)),
            _ => {}
        }
        let prompts: Vec<Vec<i16>> = prompts.iter().map(|clip| clip.at_rate(RATE_HZ).samples).collect();
        for (n, samples) in (1..).zip(&prompts) {
            if samples.len() > LONGEST_PROMPT_SECONDS * RATE_HZ as usize {
                return Err(Unreadable::TooLong(n));
            }
            if samples.iter().all(|sample| *sample == 0) {
                return Err(Unreadable::Silent(n));
            }
        }
        let (mut passages, mut passage) = (Vec::new(), Vec::new());
        let pause = || std::iter::repeat_n(0, PAUSE_SAMPLES);
        for (n, prompt) in (1..).zip(prompts.iter().cycle()) {
            passage.extend(pause());
            passage.extend(prompt);
            if passage.len() + PAUSE_SAMPLES < LEAST_SAMPLES {
                continue;
            }
            passage.extend(pause());
            passages.push(std::mem::take(&mut passage));
            if n >= prompts.len() {
                break;
            }
        }
        Ok(Passages(passages))
    }

    /// The passage that a call reads as number `number`, from 0.
    pub fn of(&self, number: u32) -> &[i16] {
        let n = number as usize % self.0.len().max(1);
        self.0.get(n).map_or(&[], Vec::as_slice)
    }

    /// Length of the longest, in samples.
    pub fn longest(&self) -> usize {
        self.0.iter().map(Vec::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::builtin;
    use proptest::prelude::*;

    fn clip(ms: usize) -> Clip {
        Clip { rate_hz: RATE_HZ, samples: vec![1000; ms * 8] }
    }

    #[test]
    fn short_prompts_are_joined_and_long_ones_stand_alone() {
        let lengths = |prompts: &[Clip]| {
            let passages = Passages::join(prompts).unwrap();
            passages.0.iter().map(|passage| passage.len() / 8).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[clip(3000)]), [3 * 3000 + 4 * 300]);
        assert_eq!(lengths(&[clip(9000), clip(20_000)]), [9600, 20_600]);
        assert_eq!(lengths(&[clip(5000), clip(4000), clip(8000)]), [9900, 8600]);
        // The last one is too short alone, so the first is said again behind it.
        assert_eq!(lengths(&[clip(8000), clip(4000)]), [8600, 4000 + 8000 + 900]);
    }

    #[test]
    fn a_prompt_at_16_khz_is_read_at_8() {
        let wide = builtin("order").unwrap().at_rate(16_000);
        let of = |clip: Clip| Passages::join(&[clip]).unwrap().longest();
        assert_eq!(of(wide), of(builtin("order").unwrap()));
    }

    #[test]
    fn what_makes_no_passage_is_refused() {
        let silent = Clip { rate_hz: RATE_HZ, samples: vec![0; 80_000] };
        assert_eq!(Passages::join(&[]), Err(Unreadable::Nothing));
        assert_eq!(Passages::join(&vec![clip(1000); 101]), Err(Unreadable::TooMany(101)));
        assert_eq!(Passages::join(&[clip(1000), silent]), Err(Unreadable::Silent(2)));
        assert_eq!(Passages::join(&[clip(20_001)]), Err(Unreadable::TooLong(1)));
        assert_eq!(
            Passages::join(&[Clip { rate_hz: RATE_HZ, samples: Vec::new() }]),
            Err(Unreadable::Silent(1))
        );
    }

    proptest! {
        #[test]
        fn every_prompt_is_read_in_passages_that_can_be_scored(
            lengths in proptest::collection::vec(60usize..20_000, 1..12)
        ) {
            let clips: Vec<_> = lengths.iter().map(|ms| clip(*ms)).collect();
            let passages = Passages::join(&clips).unwrap();
            let seconds = |samples: usize| samples as f64 / f64::from(RATE_HZ);
            for passage in &passages.0 {
                prop_assert!((8.0..=30.0).contains(&seconds(passage.len())), "{}", passage.len());
            }
            let read: usize = passages.0.iter().map(Vec::len).sum();
            prop_assert!(read > lengths.iter().sum::<usize>() * 8);
        }
    }
}
