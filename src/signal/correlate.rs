//! Normalised cross-correlation of a burst with audio, by blocks.

use super::burst::{BURST_LEN, Burst};
use super::ear::Excerpt;
use super::fft::{Complex, Fft, load};
use super::{LEAST_PEAK, Outcome, burst};

/// Samples of a block: 0.6 s of delays at a time, in which most bursts are found.
const BLOCK: usize = 8192;
/// Delays that a block decides.
const LAGS: usize = BLOCK - BURST_LEN + 1;
/// Share of the peak at which its rising edge is taken: a codec that broadens the peak moves its maximum, not its edge.
const EDGE: f32 = 0.95;
/// Samples by which an edge may lie before its peak, 2 ms.
const WIDEST_EDGE: usize = 16;
/// Mean power below which audio is silence: less than the smallest steps of G.711.
const LEAST_POWER: f64 = 4.0;

/// A burst found in audio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Sample with which it begins.
    pub at: usize,
    /// Normalised correlation, -1 to 1.
    pub correlation: f32,
}

/// Finds bursts; holds the transform and its memory.
pub struct Correlator {
    fft: Fft,
    /// Transform of the burst.
    wanted: Vec<Complex>,
    block: Vec<Complex>,
    /// Normalised correlation by delay.
    likeness: Vec<f32>,
    /// Sums of the squares of all samples before each.
    energy: Vec<f64>,
}

impl std::fmt::Debug for Correlator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correlator").finish_non_exhaustive()
    }
}

impl Default for Correlator {
    fn default() -> Self {
        let blank = vec![Complex::default(); BLOCK];
        let (likeness, energy) = (Vec::new(), Vec::new());
        Correlator { fft: Fft::new(BLOCK), wanted: blank.clone(), block: blank, likeness, energy }
    }
}

impl Correlator {
    /// Fate of a burst in what was heard after it.
    pub fn judge(&mut self, wanted: Burst, heard: &Excerpt) -> Outcome {
        match self.find(wanted, &heard.samples) {
            None => Outcome::Silence,
            Some(found) if found.correlation.abs() < LEAST_PEAK => Outcome::Unlike(found.correlation.abs()),
            Some(Match { at, correlation }) => Outcome::Found {
                delay: heard.received_at(at).since(heard.sent_at),
                peak: correlation.abs().min(1.0),
                inverted: correlation < 0.0,
            },
        }
    }

    /// The first place in `heard` that is like the burst, or else that which is most like it; `None` in silence.
    pub fn find(&mut self, wanted: Burst, heard: &[i16]) -> Option<Match> {
        let lags = (heard.len() + 1).saturating_sub(BURST_LEN);
        let norm = self.prepare(wanted, heard);
        self.likeness.clear();
        let mut best = None;
        while self.likeness.len() < lags {
            let from = self.likeness.len();
            self.block(heard, from, (lags - from).min(LAGS), norm);
            best = peak(&self.likeness);
            // A peak at the end of the block may go on in the next.
            let is_whole = |found: &Match| found.at + WIDEST_EDGE < self.likeness.len();
            if best.is_some_and(|found| found.correlation.abs() >= LEAST_PEAK && is_whole(&found)) {
                break;
            }
        }
        best.filter(|found| found.correlation != 0.0).map(|found| self.edge(found))
    }

    /// Transforms the burst, sums up the energy of what was heard, and returns the burst's norm.
    fn prepare(&mut self, wanted: Burst, heard: &[i16]) -> f64 {
        self.energy.clear();
        self.energy.push(0.0);
        let mut sum = 0.0;
        self.energy.extend(heard.iter().map(|sample| {
            sum += f64::from(*sample).powi(2);
            sum
        }));
        load(&mut self.wanted, &burst(wanted));
        let norm = self.wanted.iter().map(|sample| f64::from(sample.re).powi(2)).sum::<f64>().sqrt();
        self.fft.forward(&mut self.wanted);
        norm
    }

    /// Appends the likeness at `count` delays from `from` on.
    fn block(&mut self, heard: &[i16], from: usize, count: usize, norm: f64) {
        load(&mut self.block, &heard[from..]);
        self.fft.forward(&mut self.block);
        for (heard, wanted) in self.block.iter_mut().zip(&self.wanted) {
            *heard *= wanted.conj();
        }
        self.fft.back(&mut self.block);
        let likeness = self.block[..count].iter().enumerate().map(|(lag, product)| {
            let power = self.energy[from + lag + BURST_LEN] - self.energy[from + lag];
            if power < LEAST_POWER * BURST_LEN as f64 {
                return 0.0;
            }
            (f64::from(product.re) / BLOCK as f64 / (norm * power.sqrt())) as f32
        });
        self.likeness.extend(likeness);
    }

    /// The rising edge of a peak.
    fn edge(&self, found: Match) -> Match {
        let least = EDGE * found.correlation.abs();
        let is_on_it = |likeness: f32| likeness * found.correlation.signum() >= least;
        let before = self.likeness[..found.at].iter().rev().take(WIDEST_EDGE);
        let at = found.at - before.take_while(|likeness| is_on_it(**likeness)).count();
        Match { at, ..found }
    }
}

/// Greatest magnitude, the first of equals.
fn peak(likeness: &[f32]) -> Option<Match> {
    let all = likeness.iter().enumerate();
    let greatest = all.rev().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
    greatest.map(|(at, correlation)| Match { at, correlation: *correlation })
}
