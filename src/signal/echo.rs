//! The echo of what was said, found in what is heard beside it, however loud somebody else speaks over it.

use std::time::Duration;

use super::ear::Excerpt;
use super::fft::{Complex, Fft, load};
use super::{RATE_HZ, samples_in};

/// Samples of a block: a second of speech, and a second in which it may come back.
const BLOCK: usize = 16_384;
/// Most samples of speech that are looked for, 1.02 s.
pub const MOST_SAID: usize = BLOCK / 2;
/// Fewest: of less, a word of somebody else may be like it.
pub const LEAST_SAID: usize = RATE_HZ as usize / 5;
/// Longest delay of an echo: the room that a block leaves, less the packets from before the speech.
pub const LONGEST_ECHO: Duration = Duration::from_millis(900);
/// Share of the speech's amplitude from which its echo counts: -12 dB (METRICS).
const LEAST_GAIN: f64 = 0.251;
/// Height of the echo's peak over the rest of the correlation, in standard deviations. The highest of 8,000 that are chance
/// is near 4.
const LEAST_PEAK: f32 = 10.0;
/// Bins of the telephone's band, in which alone there is speech.
const BAND: std::ops::Range<usize> = 300 * BLOCK / RATE_HZ as usize..3400 * BLOCK / RATE_HZ as usize;

/// What was said, as it came back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Echo {
    /// From the sending of a sample to the receipt of the same.
    pub delay: Duration,
    /// Its amplitude as a share of what was said; negative where the sign is reversed.
    pub gain: f64,
}

/// Finds echoes; holds the transform and its memory.
pub struct EchoFinder {
    fft: Fft,
    said: Vec<Complex>,
    heard: Vec<Complex>,
}

impl std::fmt::Debug for EchoFinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EchoFinder").finish_non_exhaustive()
    }
}

impl Default for EchoFinder {
    fn default() -> Self {
        let blank = vec![Complex::default(); BLOCK];
        EchoFinder { fft: Fft::new(BLOCK), said: blank.clone(), heard: blank }
    }
}

impl EchoFinder {
    /// The echo of `said` at -12 dB and more in what was heard from its sending on, if it is there within [`LONGEST_ECHO`]
    /// and while it was still being said: what comes after that is a repetition.
    ///
    /// The delay is where the two signals agree best by their phases alone (the transform of their cross-spectrum, each bin
    /// at the magnitude of 1), since voices of one pitch agree by their harmonics at every period. The gain is that of `said`
    /// in what was heard at that delay: exact beside silence, and to some 2 dB beside a voice as loud, and as deep.
    pub fn find(&mut self, said: &[i16], heard: &Excerpt) -> Option<Echo> {
        let said = said.get(..MOST_SAID).unwrap_or(said);
        if said.len() < LEAST_SAID {
            return None;
        }
        let at = self.agreement(said, &heard.samples)?;
        let received_at = heard.received_at(at);
        let delay = received_at.since(heard.sent_at);
        let is_echo = delay <= LONGEST_ECHO && samples_in(delay) < said.len() as u64;
        let gain = gain(said, heard.samples.get(at..)?);
        (is_echo && gain.abs() >= LEAST_GAIN).then_some(Echo { delay, gain })
    }

    /// Sample at which `heard` agrees with `said`, if it does at any.
    fn agreement(&mut self, said: &[i16], heard: &[i16]) -> Option<usize> {
        let lags = heard.len().min(BLOCK - said.len());
        load(&mut self.said, said);
        load(&mut self.heard, heard);
        self.fft.forward(&mut self.said);
        self.fft.forward(&mut self.heard);
        for (bin, (said, heard)) in self.said.iter().zip(&mut self.heard).enumerate() {
            let product = *heard * said.conj();
            let magnitude = product.norm();
            let is_in_band = BAND.contains(&bin.min(BLOCK - bin));
            *heard = if is_in_band && magnitude > 0.0 { product / magnitude } else { Complex::default() };
        }
        self.fft.back(&mut self.heard);
        let products = self.heard.get(..lags)?;
        let power: f32 = self.heard.iter().map(|product| product.re * product.re).sum();
        let deviation = (power / BLOCK as f32).sqrt();
        let (at, peak) = (0..).zip(products).max_by(|(_, a), (_, b)| a.re.abs().total_cmp(&b.re.abs()))?;
        (deviation > 0.0 && peak.re.abs() >= LEAST_PEAK * deviation).then_some(at)
    }
}

/// Amplitude of `said` in `heard`, which begins with it.
fn gain(said: &[i16], heard: &[i16]) -> f64 {
    let pairs = said.iter().zip(heard);
    let shared: f64 = pairs.clone().map(|(said, heard)| f64::from(*said) * f64::from(*heard)).sum();
    let own: f64 = pairs.map(|(said, _)| f64::from(*said).powi(2)).sum();
    if own > 0.0 { shared / own } else { 0.0 }
}
