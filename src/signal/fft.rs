//! The discrete Fourier transform of blocks of one length.
//!
//! By one algorithm of `rustfft`, without its planner: that is generic, and would be made anew here with every algorithm that
//! it may choose, for blocks whose length is known.

use rustfft::algorithm::Radix4;
use rustfft::{Fft as _, FftDirection};

/// A complex number.
pub(super) type Complex = rustfft::num_complex::Complex<f32>;

/// Transforms of one length, and their memory.
pub(super) struct Fft {
    forward: Radix4<f32>,
    back: Radix4<f32>,
    scratch: Vec<Complex>,
}

impl Fft {
    /// For `len` numbers, a power of two.
    pub fn new(len: usize) -> Fft {
        let [forward, back] =
            [FftDirection::Forward, FftDirection::Inverse].map(|direction| Radix4::new(len, direction));
        let scratch = forward.get_inplace_scratch_len().max(back.get_inplace_scratch_len());
        Fft { forward, back, scratch: vec![Complex::default(); scratch] }
    }

    /// Transforms in place.
    pub fn forward(&mut self, data: &mut [Complex]) {
        self.forward.process_with_scratch(data, &mut self.scratch);
    }

    /// Transforms back, without the division by the length.
    pub fn back(&mut self, data: &mut [Complex]) {
        self.back.process_with_scratch(data, &mut self.scratch);
    }
}

/// Fills a block with samples, and with silence behind them.
pub(super) fn load(block: &mut [Complex], samples: &[i16]) {
    let samples = samples.iter().map(|sample| f32::from(*sample)).chain(std::iter::repeat(0.0));
    for (place, re) in block.iter_mut().zip(samples) {
        *place = Complex { re, im: 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    #[test]
    fn it_is_the_sum_that_defines_it_and_comes_back() {
        const LEN: usize = 64;
        let mut fft = Fft::new(LEN);
        let wave: Vec<_> =
            (0..LEN).map(|n| Complex { re: (n * n % 17) as f32, im: (n * 7 % 5) as f32 }).collect();
        let mut data = wave.clone();
        fft.forward(&mut data);
        for (bin, found) in data.iter().enumerate() {
            let mut sum = Complex::default();
            for (n, value) in wave.iter().enumerate() {
                let angle = -TAU * (bin * n) as f64 / LEN as f64;
                sum += *value * Complex { re: angle.cos() as f32, im: angle.sin() as f32 };
            }
            assert!((sum.re - found.re).abs() + (sum.im - found.im).abs() < 0.01, "{bin}: {sum:?} {found:?}");
        }
        fft.back(&mut data);
        for (value, again) in wave.iter().zip(&data) {
            assert!((value.re - again.re / LEN as f32).abs() < 1e-3, "{value:?} {again:?}");
        }
    }
}
