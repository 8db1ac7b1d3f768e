//! The worst passages of a run, with their audio: what was said, and what was heard of it.

use super::RATE_HZ;
use crate::signal::Burst;
use crate::speech::Clip;

/// Most passages that are kept.
pub const MOST_WORST: usize = 5;
/// Scores below this are worth hearing: "good" on the scale of P.800.
const WORTH_HEARING: f64 = 4.0;

/// A passage that is kept.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    mos_lqo: f64,
    name: Burst,
    /// Stereo: said on the left, heard on the right.
    wav: Vec<u8>,
}

/// The worst so far. Of equal ones the earlier stay.
#[derive(Debug, Default)]
pub struct Worst(Vec<Kept>);

impl Worst {
    /// Notes a passage with its score; keeps it if it is among the worst.
    pub fn take(&mut self, name: Burst, mos_lqo: f64, said: &[i16], heard: &[i16]) {
        let place = self.0.partition_point(|kept| kept.mos_lqo <= mos_lqo);
        if mos_lqo < WORTH_HEARING && place < MOST_WORST {
            let wav = Clip::to_wav_stereo(said, heard, RATE_HZ);
            self.0.insert(place, Kept { mos_lqo, name, wav });
            self.0.truncate(MOST_WORST);
        }
    }

    /// Their names and audio, the worst first.
    pub fn finish(self) -> impl Iterator<Item = (Burst, Vec<u8>)> {
        self.0.into_iter().map(|kept| (kept.name, kept.wav))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_scores_stay_and_good_ones_are_never_kept() {
        let mut worst = Worst::default();
        for (number, score) in (0..).zip([3.0, 4.5, 2.0, 3.9, 3.0, 1.5, 3.5, 4.0, 2.5]) {
            worst.take(Burst { call: 1, number }, score, &[1, 2], &[3]);
        }
        let kept: Vec<_> = worst.finish().collect();
        assert_eq!(kept.iter().map(|(name, _)| name.number).collect::<Vec<_>>(), [5, 2, 8, 0, 4]);
        assert_eq!(kept[0].1, Clip::to_wav_stereo(&[1, 2], &[3], RATE_HZ));
    }
}
