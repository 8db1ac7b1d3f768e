//! Fate of a passage: its place in the audio, the part of it that never came, and its score.

use super::score::{Unscorable, score};
use super::{Passages, RATE_HZ};
use crate::signal::Excerpt;

/// Steps of a loudness curve: 4 ms.
const STEP: usize = RATE_HZ as usize / 250;

/// Fate of a passage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// It came back, well or badly.
    Scored {
        /// MOS-LQO, from about 1 to 4.55.
        mos_lqo: f64,
        /// Share of its audio that never came, 0 to 1.
        missing: f64,
    },
    /// The call ended before all of it might have come back.
    CutOff,
    /// The model has no score for it.
    Unscored(Unscorable),
}

/// The fate of the passage of `excerpt`, and what was heard in its place: as many samples as were said.
pub fn judge(passages: &Passages, excerpt: &Excerpt) -> (Fate, Vec<i16>) {
    let said = passages.of(excerpt.burst.number);
    let place = locate(said, &excerpt.samples);
    // Some steps more or less of silence at the end are no cut.
    let is_whole = place + said.len() <= excerpt.samples.len() + 10 * STEP;
    // The end that never came is silence too.
    let mut heard: Vec<i16> = excerpt.samples.iter().skip(place).take(said.len()).copied().collect();
    heard.resize(said.len(), 0);
    if excerpt.is_cut && !is_whole {
        return (Fate::CutOff, heard);
    }
    let fate = match score(said, &heard, RATE_HZ) {
        Ok(mos_lqo) => Fate::Scored { mos_lqo, missing: missing(excerpt, place, said.len()) },
        Err(why) => Fate::Unscored(why),
    };
    (fate, heard)
}

/// The sample of `heard` with which `said` begins, to a step: where their curves of loudness are most alike. The model
/// aligns both to the sample by itself, but takes whatever is in front of the passage and behind it for a part of it.
fn locate(said: &[i16], heard: &[i16]) -> usize {
    let (said, heard) = (curve(said), curve(heard));
    let mut best = (0.0, 0);
    // The power of the stretch that lies under `said`, as it moves along.
    let mut power: f64 = heard.iter().take(said.len()).map(|x| x * x).sum();
    for first in 0..=heard.len().saturating_sub(said.len()) {
        let product: f64 = said.iter().zip(&heard[first..]).map(|(a, b)| a * b).sum();
        let likeness = product / power.max(1.0).sqrt();
        if likeness > best.0 {
            best = (likeness, first);
        }
        let (leaves, enters) = (heard.get(first), heard.get(first + said.len()));
        power += enters.map_or(0.0, |x| x * x) - leaves.map_or(0.0, |x| x * x);
    }
    best.1 * STEP
}

/// Root mean square of each step.
fn curve(samples: &[i16]) -> Vec<f64> {
    let power = |step: &[i16]| step.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
    samples.chunks(STEP).map(|step| (power(step) / STEP as f64).sqrt()).collect()
}

/// The share of `len` samples from `place` on that are in no packet. Packets are of one length, or followed by a gap.
fn missing(excerpt: &Excerpt, place: usize, len: usize) -> f64 {
    // One packet alone is all that came, whatever its length.
    let packet = excerpt.packet_len().unwrap_or(excerpt.samples.len());
    let end = place + len;
    let mut came = 0;
    // Packets may overlap: each sample counts once.
    let mut until = place;
    for (first, _) in &excerpt.packets {
        let (from, to) = ((*first).max(until), (first + packet).min(end));
        if from < to {
            (came, until) = (came + to - from, to);
        }
    }
    1.0 - came as f64 / len.max(1) as f64
}
