//! A discrete Fourier transform of a power of two (Cooley and Tukey, radix 2, in place).
//!
//! Our own, since the planners of the libraries are generic and made anew in the crate that names them: a minute of
//! compiling for 50 lines of work that is done once a second.

use std::f64::consts::TAU;
use std::ops::{Add, Mul, Sub};

/// A complex number.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Complex {
    pub re: f32,
    pub im: f32,
}

impl Complex {
    pub fn conjugate(self) -> Complex {
        Complex { im: -self.im, ..self }
    }
}

impl Add for Complex {
    type Output = Complex;

    fn add(self, other: Complex) -> Complex {
        Complex { re: self.re + other.re, im: self.im + other.im }
    }
}

impl Sub for Complex {
    type Output = Complex;

    fn sub(self, other: Complex) -> Complex {
        Complex { re: self.re - other.re, im: self.im - other.im }
    }
}

impl Mul for Complex {
    type Output = Complex;

    fn mul(self, other: Complex) -> Complex {
        Complex { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }
}

/// Roots of unity for transforms of one length.
pub(super) struct Fft {
    roots: Vec<Complex>,
}

impl Fft {
    /// For `len` numbers, a power of two.
    pub fn new(len: usize) -> Fft {
        debug_assert!(len.is_power_of_two());
        let root = |n: usize| -TAU * n as f64 / len as f64;
        let complex = |angle: f64| Complex { re: angle.cos() as f32, im: angle.sin() as f32 };
        Fft { roots: (0..len / 2).map(|n| complex(root(n))).collect() }
    }

    /// Transforms in place.
    pub fn forward(&self, data: &mut [Complex]) {
        let len = self.roots.len() * 2;
        assert_eq!(data.len(), len, "the length that the roots are for");
        let bits = len.trailing_zeros();
        for n in 0..len {
            let mirrored = n.reverse_bits() >> (usize::BITS - bits);
            if n < mirrored {
                data.swap(n, mirrored);
            }
        }
        let mut half = 1;
        while half < len {
            let step = self.roots.len() / half;
            for block in data.chunks_exact_mut(2 * half) {
                let (even, odd) = block.split_at_mut(half);
                for ((even, odd), root) in even.iter_mut().zip(odd).zip(self.roots.iter().step_by(step)) {
                    let turned = *odd * *root;
                    (*even, *odd) = (*even + turned, *even - turned);
                }
            }
            half *= 2;
        }
    }

    /// Transforms back, without the division by the length.
    pub fn back(&self, data: &mut [Complex]) {
        data.iter_mut().for_each(|n| *n = n.conjugate());
        self.forward(data);
        data.iter_mut().for_each(|n| *n = n.conjugate());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_that_defines_it_and_comes_back() {
        const LEN: usize = 64;
        let fft = Fft::new(LEN);
        let wave: Vec<_> =
            (0..LEN).map(|n| Complex { re: (n * n % 17) as f32, im: (n * 7 % 5) as f32 }).collect();
        let mut data = wave.clone();
        fft.forward(&mut data);
        for (bin, found) in data.iter().enumerate() {
            let mut sum = Complex::default();
            for (n, value) in wave.iter().enumerate() {
                let angle = -TAU * (bin * n) as f64 / LEN as f64;
                sum = sum + *value * Complex { re: angle.cos() as f32, im: angle.sin() as f32 };
            }
            assert!((sum.re - found.re).abs() + (sum.im - found.im).abs() < 0.01, "{bin}: {sum:?} {found:?}");
        }
        fft.back(&mut data);
        for (value, again) in wave.iter().zip(&data) {
            assert!((value.re - again.re / LEN as f32).abs() < 1e-3, "{value:?} {again:?}");
        }
    }
}
